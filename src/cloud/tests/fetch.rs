//! The download on the wire.

use super::*;
use crate::message::{Etag, Reason};
use sota_coap::Block;

fn fetch(w: &mut World, uri: &str, from: u32, to: u32, etag: &[u8]) {
    w.tell(ToCloud::Fetch {
        uri: uri.try_into().unwrap(),
        from,
        to,
        etag: Etag::new(etag).unwrap(),
    });
}

/// Answers a GET from `package` with blocks of at most `16 << szx` bytes.
fn serve(w: &mut World, peer: Peer, get: &[u8], package: &[u8], etag: &[u8], szx: u8) {
    let want = message(get).block(option::BLOCK2).unwrap().unwrap();
    let szx = szx.min(want.szx.exponent());
    let size = 16usize << szx;
    let start = want.offset() as usize;
    let end = (start + size).min(package.len());
    let more = u32::from(end < package.len()) << 3;
    let bits = ((start / size) as u32) << 4 | more | u32::from(szx);
    let block = Block::decode(sota_coap::option::Uint::new(bits).as_bytes()).unwrap();
    w.answer_from(peer, get, Code::CONTENT, |b| {
        b.option(option::ETAG, etag)
            .block(option::BLOCK2, block)
            .uint_option(option::SIZE2, package.len() as u32)
            .payload(&package[start..end]);
    });
}

/// The engine's bytes so far, checked to be in order.
fn received(w: &World, from: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    for message in &w.engine {
        if let ToEngine::Block { offset, data } = message {
            assert_eq!(*offset as usize, from as usize + bytes.len());
            bytes.extend_from_slice(data);
        }
    }
    bytes
}

fn package() -> Vec<u8> {
    (0..1000u32).map(|i| (i * 7) as u8).collect()
}

#[test]
fn under_loss_and_duplicates_every_byte_comes_once() {
    let mut w = World::registered(config());
    let package = package();
    fetch(&mut w, "coap://files:5700/a%20b?x=1", 0, 1000, b"");
    let mut count = 0;
    while received(&w, 0).len() < 1000 {
        let bytes = w.next();
        let get = message(&bytes);
        if get.code() != Code::GET {
            // The registration goes on beside.
            w.answer(&bytes, Code::CHANGED, |_| {});
            continue;
        }
        assert_eq!(get.option(option::URI_HOST), Some(&b"files"[..]));
        assert_eq!(get.option(option::URI_PATH), Some(&b"a b"[..]));
        assert_eq!(get.option(option::URI_QUERY), Some(&b"x=1"[..]));
        count += 1;
        if count % 3 == 0 {
            continue;
        }
        serve(&mut w, Peer::Source, &bytes, &package, b"tag", 6);
        serve(&mut w, Peer::Source, &bytes, &package, b"tag", 6);
    }
    assert_eq!(received(&w, 0), package);
    let starts = w
        .engine
        .iter()
        .filter(|m| matches!(m, ToEngine::FetchStarted { .. }));
    assert_eq!(starts.count(), 1);
    assert!(w.engine.contains(&ToEngine::FetchStarted {
        total: Some(1000),
        etag: Etag::new(b"tag").unwrap()
    }));
}

#[test]
fn one_block_in_flight_and_none_without_room() {
    let mut w = World::registered(config());
    let package = package();
    w.room = false;
    fetch(&mut w, "coap://files/p", 0, 1000, b"");
    w.pass(20_000);
    assert!(w.sent.is_empty(), "the engine has no room");
    w.room = true;
    w.step();
    assert_eq!(w.sent.len(), 1);
    let get = w.next();
    w.room = false;
    serve(&mut w, Peer::Source, &get, &package, b"e", 6);
    w.pass(20_000);
    assert!(w.sent.is_empty());
    assert_eq!(received(&w, 0), &package[..64]);
}

#[test]
fn resumes_at_a_piece_boundary_that_is_no_block_boundary() {
    let mut w = World::registered(config());
    let package = package();
    fetch(&mut w, "coap://files/p", 200, 500, b"e");
    let mut first = true;
    while received(&w, 200).len() < 300 {
        let get = w.next();
        if core::mem::take(&mut first) {
            assert_eq!(message(&get).block(option::BLOCK2).unwrap().unwrap().num, 3);
        }
        // The server makes its blocks smaller on the way.
        let szx = if received(&w, 200).len() > 100 { 0 } else { 2 };
        serve(&mut w, Peer::Source, &get, &package, b"e", szx);
    }
    assert_eq!(received(&w, 200), &package[200..500]);
    w.pass(20_000);
    assert!(w.sent.is_empty(), "nothing beyond the piece is asked for");
}

#[test]
fn another_etag_or_a_refusal_is_the_engines_matter() {
    let package = package();
    let mut w = World::registered(config());
    fetch(&mut w, "coap://files/p", 0, 1000, b"old");
    let get = w.next();
    serve(&mut w, Peer::Source, &get, &package, b"new", 6);
    assert_eq!(w.engine, [ToEngine::FetchFailed(Reason::PackageChanged)]);
    for (uri, reason) in [
        ("http://files/p", Reason::UnsupportedProtocol),
        ("coap://", Reason::BadPackageUri),
    ] {
        w.engine.clear();
        fetch(&mut w, uri, 0, 1000, b"");
        assert_eq!(w.engine, [ToEngine::FetchFailed(reason)]);
    }
    w.engine.clear();
    fetch(&mut w, "coap://files/p", 0, 1 << 30, b"");
    assert_eq!(w.engine, [ToEngine::FetchFailed(Reason::PackageTooLarge)]);
    w.engine.clear();
    fetch(&mut w, "coap://files/p", 0, 1000, b"");
    let get = w.next();
    w.answer_from(Peer::Source, &get, Code::NOT_FOUND, |_| {});
    assert_eq!(w.engine, [ToEngine::FetchFailed(Reason::PackageNotFound)]);
}

#[test]
fn an_hour_without_network_fails_nothing() {
    let mut w = World::registered(config());
    let package = package();
    fetch(&mut w, "coap://files/p", 0, 1000, b"");
    w.pass(3_600_000);
    assert!(w.engine.is_empty());
    w.sent.clear();
    let get = w.next();
    w.give(
        Peer::Source,
        &sota_coap::message::reset(message(&get).message_id()),
    );
    assert!(w.engine.is_empty(), "a Reset neither");
    while received(&w, 0).len() < 1000 {
        let get = w.next();
        if message(&get).code() == Code::GET {
            serve(&mut w, Peer::Source, &get, &package, b"e", 6);
        }
    }
    w.sent.clear();
    fetch(&mut w, "coap://files/p", 0, 1000, b"");
    w.next();
    w.tell(ToCloud::StopFetch);
    w.pass(100_000);
    assert!(w.sent.is_empty(), "told to stop");
}

#[test]
fn a_challenge_is_repeated_with_echo() {
    let mut w = World::registered(config());
    let package = package();
    fetch(&mut w, "coap://center/p", 0, 64, b"");
    let get = w.next();
    assert_eq!(w.lookups, 1, "the package's host is the server itself");
    w.answer(&get, Code::UNAUTHORIZED, |b| {
        b.option(option::ECHO, b"challenge");
    });
    let get = w.next();
    assert_eq!(message(&get).option(option::ECHO), Some(&b"challenge"[..]));
    serve(&mut w, Peer::Server, &get, &package, b"e", 6);
    assert_eq!(received(&w, 0), &package[..64]);
}

#[test]
fn the_server_is_asked_one_thing_at_a_time() {
    let mut w = World::registered(config());
    let package = package();
    fetch(&mut w, "coap://center/p", 0, 1000, b"");
    let get = w.next();
    w.tell(ToCloud::Request { sha256: false });
    assert!(w.sent.is_empty(), "the block is in flight");
    serve(&mut w, Peer::Server, &get, &package, b"e", 6);
    let send = w.next();
    assert!(message(&send).path_is("/dp"), "then the report");
    assert!(w.sent.is_empty());
    w.answer(&send, Code::CHANGED, |_| {});
    assert_eq!(message(&w.next()).code(), Code::GET);
}

#[test]
fn a_separate_response_is_acknowledged_also_when_it_comes_again() {
    let mut w = World::registered(config());
    fetch(&mut w, "coap://files/p", 0, 64, b"");
    let get = w.next();
    let mid = message(&get).message_id();
    w.give(Peer::Source, &sota_coap::message::ack(mid));
    let mut out = [0; 200];
    let len = Builder::new(
        &mut out,
        Kind::Con,
        Code::CONTENT,
        99,
        message(&get).token(),
    )
    .payload(&[5; 64])
    .finish()
    .unwrap();
    for _ in 0..2 {
        w.give(Peer::Source, &out[..len]);
        assert_eq!(w.next(), sota_coap::message::ack(99));
    }
    assert_eq!(received(&w, 0), [5; 64]);
}

#[test]
fn no_step_is_asked_for_in_vain_while_the_server_is_silent() {
    let mut w = World::registered(config());
    fetch(&mut w, "coap://center/p", 0, 1000, b"");
    w.tell(ToCloud::Request { sha256: false });
    let end = w.now + 2 * 86_400_000;
    let mut steps = 0;
    while w.now < end {
        w.wait();
        steps += 1;
        assert!(
            steps < 20_000,
            "a step is asked for again and again at {}",
            w.now
        );
    }
    // Two days: one block or report at a time, five transmissions each, then pauses up to the caps.
    assert!(w.sent.len() < 10_000, "{} datagrams", w.sent.len());
    assert!(
        !w.engine
            .iter()
            .any(|m| matches!(m, ToEngine::FetchFailed(_)))
    );
}
