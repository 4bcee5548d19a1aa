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

fn update(id: &str, mid: u16) -> Vec<u8> {
    request(Code::POST, &format!("/rd/{id}"), mid, &[], None, b"")
}

#[test]
fn a_disabled_device_is_refused_with_the_reason_and_only_heard() {
    let mut world = World::new(Config::default());
    let id = world.register(1, "lwm2m=1.1", "", OURS);
    world.receive(1, &update(&id, 20));
    assert_eq!(world.got().code, Code::CHANGED);
    world.calls.clear();
    world.command(offer(ComponentType::Firmware, "fw"));
    assert_eq!(world.got().path, "/42769/0");
    let endpoint = device();
    world.command(DeviceCommand::Disabled { endpoint });
    // the offer in flight is not sent again, and no other goes out
    world.command(download(ComponentKind::Firmware, "fw"));
    world.advance(60_000);
    world.quiet();
    // Updates are refused, also those that bring new links, and do not move it
    for (mid, links) in [(21, &b""[..]), (22, &b"</3/0>"[..])] {
        let format = (!links.is_empty()).then_some(40);
        let path = format!("/rd/{id}");
        world.receive(2, &request(Code::POST, &path, mid, &[], format, links));
        let answer = world.got();
        assert_eq!((answer.code, answer.kind), (Code::FORBIDDEN, Kind::Ack));
        assert_eq!(answer.payload, b"1220 DeviceDisabled");
    }
    world.quiet();
    // what it tells is taken
    world.receive(
        1,
        &send(
            23,
            &[(mcu(resource::CURRENT_VERSION), Value::String("2_0"))],
        ),
    );
    world.told();
    assert_eq!(world.got().code, Code::CHANGED);
    // and when it is enabled it is sent to register
    let endpoint = device();
    world.command(DeviceCommand::Enabled { endpoint });
    assert_eq!(world.endpoint.registrations(), 0);
    world.receive(1, &update(&id, 24));
    let (call, _) = world.call();
    world.reply(call, Reply::Failed(CenterError::UnknownRegistration));
    assert_eq!(world.got().code, Code::NOT_FOUND);
    world.register(1, "lwm2m=1.1", "", OURS);
    world.command(offer(ComponentType::Firmware, "fw"));
    assert_eq!(world.got().path, "/42769/0");
}

#[test]
fn a_registration_of_a_disabled_device_is_refused_and_is_no_trouble() {
    let mut world = World::new(Config::default());
    for (mid, error, why) in [
        (13, CenterError::DeviceDisabled, "1220 DeviceDisabled"),
        (14, CenterError::UnknownProductKey, "1100 UnknownProductKey"),
    ] {
        let links = b"</3/0>";
        world.receive(
            1,
            &request(Code::POST, "/rd", mid, &["ep=pk:d1"], Some(40), links),
        );
        let (id, _) = world.call();
        world.reply(id, Reply::Failed(error));
        let answer = world.got();
        assert_eq!(answer.code, Code::FORBIDDEN);
        assert_eq!(answer.payload, why.as_bytes());
    }
    let trouble = world.endpoint.shared.lock().trouble;
    assert_eq!(trouble.failed_registrations, 1, "the unknown product's");
    // one that registers while it is disabled: the command overtakes the reply
    let links = OURS.as_bytes();
    world.receive(
        1,
        &request(Code::POST, "/rd", 15, &["ep=pk:d1"], Some(40), links),
    );
    let (call, _) = world.call();
    let endpoint = device();
    world.command(DeviceCommand::Disabled { endpoint });
    let registration = Registration {
        id: "late".into(),
        lifetime_s: 60,
        objects: OURS.into(),
        expires_at: world.now as i64 + 60_000,
        ..Registration::default()
    };
    world.reply(call, Reply::Registered(device(), registration));
    assert_eq!(world.got().code, Code::CREATED);
    world.command(offer(ComponentType::Firmware, "fw"));
    world.quiet();
    world.receive(1, &update("late", 16));
    assert_eq!(world.got().code, Code::FORBIDDEN);
}

#[test]
fn an_update_that_the_store_does_not_know_ends_what_memory_has() {
    let mut world = World::new(Config::default());
    let id = world.register(1, "lwm2m=1.1", "", OURS);
    world.receive(1, &update(&id, 20));
    assert_eq!(world.got().code, Code::CHANGED, "from memory");
    let (call, _) = world.call();
    world.reply(call, Reply::Failed(CenterError::UnknownRegistration));
    assert_eq!(world.endpoint.registrations(), 0);
    world.receive(1, &update(&id, 21));
    let (call, _) = world.call();
    world.reply(call, Reply::Failed(CenterError::UnknownRegistration));
    assert_eq!(world.got().code, Code::NOT_FOUND);
}
