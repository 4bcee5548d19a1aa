//! Bytes that are not what they should be, and floods.

use proptest::prelude::*;

use super::*;

#[test]
fn malformed_bytes_are_reset_or_ignored_and_counted() {
    let mut world = World::new(Config::default());
    world.register(1, "lwm2m=1.1", "", OURS);
    world.receive(1, &[0x40, 1, 0, 9, 0xff]);
    assert_eq!(world.got().kind, Kind::Rst);
    world.receive(1, &[0x50, 1, 0, 9, 0xff]);
    world.receive(1, b"\x16\xfe\xfd hello");
    world.receive(
        1,
        &request(Code::POST, "/dp", 40, &[], Some(112), b"\xff\xff"),
    );
    assert_eq!(world.got().code, Code::BAD_REQUEST);
    world.receive(1, &request(Code::POST, "/dp", 41, &[], Some(110), b"[]"));
    assert_eq!(world.got().code, Code::UNSUPPORTED_CONTENT_FORMAT);
    world.receive(1, &[0x40, 0, 0, 9]); // ping
    assert_eq!(world.got().kind, Kind::Rst);
    world.quiet();
    let trouble = world.endpoint.shared.lock().trouble;
    assert_eq!(
        (trouble.malformed_messages, trouble.malformed_payloads),
        (3, 1)
    );
}

proptest! {
    #[test]
    fn never_panics(datagrams in proptest::collection::vec(
        (1u16..3, proptest::collection::vec(any::<u8>(), 0..60)), 1..20)
    ) {
        let mut world = World::new(Config::default());
        world.register(1, "lwm2m=1.1", "", "</3/0>,</5/0>");
        for (port, mut bytes) in datagrams {
            if let Some(first) = bytes.first_mut() {
                *first = *first & 0x3f | 0x40; // else nearly all die at the version
            }
            world.receive(port, &bytes);
            world.advance(700);
        }
    }
}

#[test]
fn a_flood_of_made_up_registrations_is_bounded_and_harms_nobody() {
    let max_registrations = 100;
    let mut world = World::new(Config {
        max_registrations,
        ..Config::default()
    });
    let id = world.register(1, "lwm2m=1.1", "", OURS);
    let mut refused = 0;
    for i in 0..2_000u16 {
        let query = format!("ep=pk:fake{i}");
        let bytes = request(Code::POST, "/rd", i, &[&query], Some(40), OURS.as_bytes());
        world.receive(1_000 + i, &bytes);
        // every other one finds a store that takes it
        while let Some((call, asked)) = world.calls.pop_front() {
            let Call::Register(register) = asked else {
                panic!("{asked:?}")
            };
            let registration = Registration {
                id: format!("fake{i}"),
                lifetime_s: 60,
                lwm2m: "1.1".into(),
                objects: register.objects,
                expires_at: world.now as i64 + 60_000,
                ..Registration::default()
            };
            let reply = match i % 2 {
                0 => Reply::Registered(register.endpoint, registration),
                _ => Reply::Failed(CenterError::UnknownProductKey),
            };
            world.reply(call, reply);
        }
        while !world.sent.is_empty() {
            refused += usize::from(world.got().code == Code::SERVICE_UNAVAILABLE);
        }
    }
    assert_eq!(world.endpoint.registrations(), max_registrations);
    let trouble = world.endpoint.shared.lock().trouble;
    assert_eq!(trouble.refused_registrations, refused as u64);
    assert!(refused > 1_500, "{refused}");
    // the real device is served as before, and the others end with their lifetime
    let update = request(Code::POST, &format!("/rd/{id}"), 2, &[], None, b"");
    world.receive(1, &update);
    assert_eq!(world.got().code, Code::CHANGED);
    world.advance(60_000);
    assert_eq!(world.endpoint.registrations(), 1);
}
