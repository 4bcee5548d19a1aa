//! Package blocks that come from the store.

use bytes::Bytes;
use sota_coap::Block;

use super::*;

#[test]
fn a_package_is_loaded_once_for_all_who_wait_and_repeats_are_counted() {
    let mut world = World::new(Config::default());
    let id = world.register(1, "lwm2m=1.1", "", OURS);
    world.receive(
        1,
        &request(Code::POST, &format!("/rd/{id}"), 20, &[], None, b""),
    );
    world.got();
    world.call();
    let get = |mid: u16, number: u32| {
        let mut out = [0; 128];
        let mut builder = Builder::new(&mut out, Kind::Con, Code::GET, mid, Token::EMPTY);
        let szx = sota_coap::Szx::S512;
        let block = Block {
            num: number,
            more: false,
            szx,
        };
        builder
            .path(&blocks::path_of(&PACKAGE))
            .block(option::BLOCK2, block);
        let n = builder.finish().unwrap();
        out[..n].to_vec()
    };
    world.receive(1, &get(30, 0));
    world.receive(1, &get(31, 1));
    let (load, call) = world.call();
    assert_eq!(
        call,
        Call::Load {
            package: PACKAGE,
            chunk: 0
        }
    );
    world.quiet();
    let data = Bytes::from(vec![3; 1000]);
    world.reply(load, Reply::Chunk { length: 1000, data });
    assert_eq!(world.got().payload, [3; 512]);
    assert_eq!(world.got().payload, [3; 488]);
    world.receive(1, &get(31, 1)); // the answer was lost
    world.receive(1, &get(32, 1)); // it restarted
    let counters = world.endpoint.shared.lock().packages.counters_of(&PACKAGE);
    assert_eq!(
        (counters.served, counters.again, counters.duplicates),
        (4, 1, 1)
    );

    world.sent.clear();
    let mut missing = get(33, 0);
    missing[10] = b'0';
    world.receive(1, &missing);
    let (load, _) = world.call();
    world.reply(load, Reply::Failed(CenterError::NoSuchPackage));
    assert_eq!(world.got().code, Code::NOT_FOUND);
}

#[test]
fn a_chunk_that_was_read_while_its_package_was_deleted_is_read_again() {
    let mut world = World::new(Config::default());
    let mut out = [0; 128];
    let mut builder = Builder::new(&mut out, Kind::Con, Code::GET, 30, Token::EMPTY);
    let n = builder.path(&blocks::path_of(&PACKAGE)).finish().unwrap();
    world.receive(1, &out[..n]);
    let (load, _) = world.call();
    world.endpoint.shared.lock().packages.forget(&PACKAGE);
    let data = Bytes::from_static(b"gone");
    world.reply(load, Reply::Chunk { length: 4, data });
    assert!(world.sent.is_empty());
    let (load, call) = world.call();
    assert!(matches!(call, Call::Load { chunk: 0, .. }));
    world.reply(load, Reply::Failed(CenterError::NoSuchPackage));
    assert_eq!(world.got().code, Code::NOT_FOUND);
    world.quiet();
}
