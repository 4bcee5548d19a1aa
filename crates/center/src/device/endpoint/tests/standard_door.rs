//! Conversations with clients that have only the standard's objects.

use super::client::Client;
use super::*;

#[test]
fn a_client_with_only_firmware_update_is_upgraded_over_its_restart() {
    let mut world = World::new(Config::default());
    world.register(1, "lwm2m=1.0", "", "</3/0>,</5/0>");
    let get = world.got();
    assert_eq!(get.path, "/3/0/3");
    world.ack(1, &get, Code::CONTENT, "1_0");
    assert_eq!(world.told().0.components[0].version, "1_0");
    let get = world.got();
    assert_eq!(get.path, "/3/0/9");
    world.ack(1, &get, Code::NOT_FOUND, "");
    // all is read: it asks for a plan
    assert_eq!(world.told().2, Some(true));

    world.command(offer(ComponentType::Firmware, "firmware"));
    let states: Vec<State> = world.told().1.iter().map(|r| r.state).collect();
    assert_eq!(states, [State::PlanReceived, State::Confirmed]);
    world.command(download(ComponentKind::Firmware, "firmware"));
    let write = world.got();
    assert_eq!((write.code, write.path.as_str()), (Code::PUT, "/5/0/1"));
    assert!(write.payload.starts_with(b"coap://127.0.0.1:5683/p/5a5a"));
    world.ack(1, &write, Code::CHANGED, "");
    assert_eq!(world.told().1[0].state, State::DownloadStarts);

    let observe = world.got();
    assert_eq!(
        (observe.path.as_str(), observe.observe),
        ("/5/0/3", Some(0))
    );
    world.ack(1, &observe, Code::CONTENT, "1");
    assert_eq!(world.told().1[0].state, State::Downloading);
    let get = world.got();
    assert_eq!(get.path, "/5/0/5");
    world.ack(1, &get, Code::CONTENT, "0");
    world.quiet();

    // a notification: downloaded
    let mut out = [0; 64];
    let mut builder = Builder::new(&mut out, Kind::Con, Code::CONTENT, 500, observe.token);
    builder.uint_option(option::OBSERVE, 9).payload(b"2");
    let n = builder.finish().unwrap();
    world.receive(1, &out[..n]);
    assert_eq!(world.got().kind, Kind::Ack);
    assert_eq!(world.told().1[0].state, State::Downloaded);
    let execute = world.got();
    assert_eq!(
        (execute.code, execute.path.as_str()),
        (Code::POST, "/5/0/2")
    );
    world.ack(1, &execute, Code::CHANGED, "");
    assert_eq!(world.told().1[0].state, State::Updating);

    // it restarts at another port and runs the new version
    world.register(2, "lwm2m=1.0", "", "</3/0>,</5/0>");
    let get = world.got();
    assert_eq!(get.path, "/3/0/3");
    world.ack(2, &get, Code::CONTENT, "2_0");
    let (facts, reports, _) = world.told();
    assert_eq!(facts.components[0].version, "2_0");
    assert_eq!(reports[0].state, State::Success);
}

#[test]
fn a_disabled_client_is_heard_and_not_driven_on() {
    let mut world = World::new(Config::default());
    world.register(1, "lwm2m=1.0", "", "</3/0>,</5/0>");
    for (path, text) in [("/3/0/3", "1_0"), ("/3/0/9", "50")] {
        let get = world.got();
        assert_eq!(get.path, path);
        world.ack(1, &get, Code::CONTENT, text);
    }
    world.command(offer(ComponentType::Firmware, "firmware"));
    world.command(download(ComponentKind::Firmware, "firmware"));
    let write = world.got();
    world.ack(1, &write, Code::CHANGED, "");
    let observe = world.got();
    assert_eq!(observe.path, "/5/0/3");
    world.ack(1, &observe, Code::CONTENT, "1");
    let get = world.got();
    world.ack(1, &get, Code::CONTENT, "0");
    world.calls.clear();
    world.quiet();
    let endpoint = device();
    world.command(DeviceCommand::Disabled { endpoint });
    let mut out = [0; 64];
    let mut builder = Builder::new(&mut out, Kind::Con, Code::CONTENT, 500, observe.token);
    builder.uint_option(option::OBSERVE, 9).payload(b"2");
    let n = builder.finish().unwrap();
    world.receive(1, &out[..n]);
    assert_eq!(world.got().kind, Kind::Ack);
    assert_eq!(world.told().1[0].state, State::Downloaded);
    // neither Execute of Update nor a question how far it is
    world.advance(60_000);
    world.quiet();
}

#[test]
fn a_client_with_only_software_management_is_polled_and_installs() {
    let mut world = World::new(Config::default());
    world.register(1, "lwm2m=1.1", "", "</3/0>,</9/0>,</9/1>");
    for (path, text) in [
        ("/9/0/0", "BLE"),
        ("/9/0/1", "5"),
        ("/9/1/0", "STM32"),
        ("/9/1/1", "1_0"),
        ("/3/0/9", "50"),
    ] {
        let get = world.got();
        assert_eq!(get.path, path);
        world.ack(1, &get, Code::CONTENT, text);
    }
    let mut known = Vec::new();
    let mut battery = None;
    while !world.calls.is_empty() {
        let facts = world.told().0;
        known.extend(facts.components);
        battery = battery.or(facts.battery_percent);
    }
    assert_eq!(battery, Some(50));
    assert_eq!(
        known.last().map(|c| (c.identifier.as_str(), c.kind)),
        Some(("STM32", ComponentKind::Mcu))
    );
    world.command(offer(ComponentType::Mcu, "STM32"));
    world.told();
    world.command(download(ComponentKind::Mcu, "STM32"));
    let write = world.got();
    assert_eq!(write.path, "/9/1/3");
    world.ack(1, &write, Code::CHANGED, "");
    world.told();
    for (path, text) in [("/9/1/7", "1"), ("/9/1/9", "1")] {
        let get = world.got();
        assert_eq!(get.path, path);
        world.ack(1, &get, Code::CONTENT, text);
    }
    assert_eq!(world.told().1[0].state, State::Downloading);
    world.quiet();
    // no notification comes: the poll finds it
    world.advance(5_000);
    for (path, text) in [("/9/1/9", "3"), ("/9/1/7", "3")] {
        let get = world.got();
        assert_eq!(get.path, path);
        world.ack(1, &get, Code::CONTENT, text);
    }
    assert_eq!(world.told().1[0].state, State::Downloaded);
    let install = world.got();
    assert_eq!(
        (install.code, install.path.as_str()),
        (Code::POST, "/9/1/4")
    );
    world.ack(1, &install, Code::CHANGED, "");
    assert_eq!(world.told().1[0].state, State::Updating);
    world.advance(5_000);
    for (path, text) in [("/9/1/1", "1_0"), ("/9/1/7", "3"), ("/9/1/9", "58")] {
        let get = world.got();
        assert_eq!(get.path, path);
        world.ack(1, &get, Code::CONTENT, text);
    }
    world.told();
    let (_, reports, _) = world.told();
    assert_eq!(
        (reports[0].state, reports[0].reason),
        (State::Failure, Some(24))
    );
}

#[test]
fn a_client_with_only_advanced_firmware_update_is_upgraded_part_by_part() {
    let mut world = World::new(Config::default());
    let mut client = Client::new(&[
        ("/33629/0/14", "app"),
        ("/33629/0/15", "7"),
        ("/33629/1/14", "STM32"),
        ("/33629/1/15", "1_0"),
        ("/33629/1/3", "0"),
        ("/33629/1/5", "0"),
    ]);
    // /5 is the same module once more and is left alone
    world.register(1, "lwm2m=1.1", "", "</3/0>,</5/0>,</33629/0>,</33629/1>");
    client.converse(&mut world);
    assert!(client.asked);

    world.command(offer(ComponentType::Mcu, "STM32"));
    client.converse(&mut world);
    client.set("/33629/1/3", "1");
    world.command(download(ComponentKind::Mcu, "STM32"));
    client.converse(&mut world);
    assert_eq!(client.done, [(Code::PUT, "/33629/1/1".into())]);

    client.set("/33629/1/3", "2");
    let mut out = [0; 64];
    let token = client.observe.expect("the state is observed");
    let mut builder = Builder::new(&mut out, Kind::Non, Code::CONTENT, 500, token);
    builder.uint_option(option::OBSERVE, 9).payload(b"2");
    let n = builder.finish().unwrap();
    world.receive(1, &out[..n]);
    client.converse(&mut world);
    assert_eq!(client.done[1..], [(Code::POST, "/33629/1/2".into())]);

    client.set("/33629/1/3", "0");
    client.set("/33629/1/5", "1");
    client.set("/33629/1/15", "2_0");
    world.advance(5_000);
    client.converse(&mut world);
    let states: Vec<State> = client.reports.iter().map(|(state, _)| *state).collect();
    let expected = [
        State::PlanReceived,
        State::Confirmed,
        State::DownloadStarts,
        State::Downloading,
        State::Downloaded,
        State::Updating,
        State::Success,
    ];
    assert_eq!(states, expected);
    // over: it is not asked any more
    world.advance(60_000);
    world.quiet();
}
