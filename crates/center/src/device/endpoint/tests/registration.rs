//! Registration, update, lifetime.

use super::*;

#[test]
fn registrations_are_checked_and_updates_of_unknown_ones_refused() {
    let mut world = World::new(Config::default());
    for (mid, query, expected) in [
        (10, "lt=5", Code::BAD_REQUEST),
        (11, "ep=nocolon", Code::BAD_REQUEST),
        (12, "ep=a:", Code::BAD_REQUEST),
    ] {
        world.receive(
            1,
            &request(Code::POST, "/rd", mid, &[query], Some(40), b"</3/0>"),
        );
        assert_eq!(world.got().code, expected);
    }
    world.receive(
        1,
        &request(Code::POST, "/rd", 13, &["ep=no:d1"], Some(40), b"</3/0>"),
    );
    let (id, _) = world.call();
    world.reply(id, Reply::Failed(CenterError::UnknownProductKey));
    assert_eq!(world.got().code, Code::FORBIDDEN);

    world.receive(1, &request(Code::POST, "/rd/gone", 14, &[], None, b""));
    let (id, call) = world.call();
    assert!(matches!(call, Call::Update { id, .. } if id == "gone"));
    world.reply(id, Reply::Failed(CenterError::UnknownRegistration));
    assert_eq!(world.got().code, Code::NOT_FOUND);
    // a Send of a stranger
    world.receive(1, &send(15, &[(mcu(resource::REQUEST), Value::Integer(0))]));
    assert_eq!(world.got().code, Code::NOT_FOUND);
    world.receive(1, &request(Code::GET, "/rd", 16, &[], None, b""));
    assert_eq!(world.got().code, Code::METHOD_NOT_ALLOWED);
    world.quiet();
}

#[test]
fn updates_move_the_device_and_keep_it_and_the_lifetime_ends_it() {
    let mut world = World::new(Config::default());
    let id = world.register(1, "lwm2m=1.1", "", OURS);
    world.advance(200_000);
    world.receive(
        2,
        &request(Code::POST, &format!("/rd/{id}"), 20, &[], None, b""),
    );
    assert_eq!(world.got().code, Code::CHANGED);
    assert!(matches!(world.call().1, Call::Update { .. }));
    world.advance(299_999);
    assert_eq!(world.endpoint.registrations(), 1);
    world.command(offer(ComponentType::Firmware, "fw"));
    assert_eq!(world.sent.pop_front().map(|(to, _)| to), Some(address(2)));
    world.advance(1);
    assert_eq!(world.endpoint.registrations(), 0);
    world.command(offer(ComponentType::Firmware, "fw"));
    world.quiet();
}

#[test]
fn a_registration_of_before_the_restart_is_found_in_the_store_with_what_it_is_owed() {
    let mut world = World::new(Config::default());
    world.receive(1, &request(Code::POST, "/rd/old", 20, &[], None, b""));
    let (id, _) = world.call();
    // the service sends what is owed before its reply comes
    world.command(offer(ComponentType::Firmware, "fw"));
    world.quiet();
    let registration = Registration {
        id: "old".into(),
        lifetime_s: 60,
        lwm2m: "1.1".into(),
        objects: OURS.into(),
        expires_at: world.now as i64 + 60_000,
        ..Registration::default()
    };
    world.reply(id, Reply::Registered(device(), registration));
    assert_eq!(world.got().code, Code::CHANGED);
    assert_eq!(world.got().path, "/42769/0");
}

#[test]
fn registrations_are_bounded() {
    let mut world = World::new(Config {
        max_registrations: 1,
        ..Config::default()
    });
    world.register(1, "lwm2m=1.1", "", OURS);
    world.receive(
        2,
        &request(Code::POST, "/rd", 9, &["ep=pk:d2"], Some(40), b"</3/0>"),
    );
    assert_eq!(world.got().code, Code::SERVICE_UNAVAILABLE);
    world.quiet();
    // the known device may always register again
    world.register(3, "lwm2m=1.1", "", OURS);
}
