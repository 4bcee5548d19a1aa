//! Conversations with clients that have only the standard's objects.

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

/// A client that answers every Read and Observe from its resources, and what it saw besides.
#[derive(Default)]
struct Client {
    resources: std::collections::BTreeMap<String, String>,
    /// Requests that are no GET, by method and path; each was answered 2.04.
    done: Vec<(Code, String)>,
    observe: Option<Token>,
    reports: Vec<(State, Option<u16>)>,
    asked: bool,
}

impl Client {
    fn new(resources: &[(&str, &str)]) -> Client {
        let own = |(path, value): &(&str, &str)| ((*path).to_owned(), (*value).to_owned());
        Client {
            resources: resources.iter().map(own).collect(),
            ..Client::default()
        }
    }

    fn set(&mut self, path: &str, value: &str) {
        self.resources.insert(path.to_owned(), value.to_owned());
    }

    /// Answers until there is nothing more to answer; what it told is durable at once.
    fn converse(&mut self, world: &mut World) {
        loop {
            if let Some((id, call)) = world.calls.pop_front() {
                if let Call::Told {
                    reports, request, ..
                } = call
                {
                    let short = reports.iter().map(|report| (report.state, report.reason));
                    self.reports.extend(short);
                    self.asked |= request.is_some();
                }
                world.reply(id, Reply::Done);
            } else if !world.sent.is_empty() {
                let got = world.got();
                if got.kind != Kind::Con {
                    continue;
                }
                match self.resources.get(&got.path) {
                    Some(value) if got.code == Code::GET => {
                        self.observe = got.observe.map(|_| got.token).or(self.observe);
                        let value = value.clone();
                        world.ack(1, &got, Code::CONTENT, &value);
                    }
                    None if got.code == Code::GET => world.ack(1, &got, Code::NOT_FOUND, ""),
                    _ => {
                        self.done.push((got.code, got.path.clone()));
                        world.ack(1, &got, Code::CHANGED, "");
                    }
                }
            } else {
                return;
            }
        }
    }
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

/// After a restart of the Center the rules know only "under way" or "updating"; the client knows the rest.
#[test]
fn after_a_restart_of_the_center_the_clients_own_state_leads_on() {
    let failed = |reason: sota_errors::Reason| (State::Failure, Some(reason.number()));
    let lost = (
        State::DownloadError,
        Some(sota_errors::Reason::NetworkDown.number()),
    );
    let updating = (State::Updating, None);
    // /5 and /33629: was updating; the client's state, result, version; what the rules hear; what is done
    let five = [
        (false, "1", "0", "1_0", vec![(State::Downloading, None)], ""),
        (
            false,
            "2",
            "0",
            "1_0",
            vec![(State::Downloaded, None), updating],
            "update",
        ),
        (true, "2", "0", "1_0", vec![updating], "update"),
        (false, "3", "0", "1_0", vec![updating], ""),
        (true, "3", "0", "1_0", vec![], ""),
        (true, "0", "1", "2_0", vec![(State::Success, None)], ""),
        (true, "0", "0", "2_0", vec![(State::Success, None)], ""),
        (true, "0", "0", "1_0", vec![], ""),
        (false, "0", "0", "1_0", vec![lost], ""),
        (
            false,
            "0",
            "5",
            "1_0",
            vec![failed(sota_errors::Reason::DigestMismatch)],
            "reset",
        ),
        (
            true,
            "0",
            "8",
            "1_0",
            vec![failed(sota_errors::Reason::ModuleUpdateFailed)],
            "reset",
        ),
    ];
    for (was_updating, state, result, version, reports, done) in five {
        let cases = [("/5/0", "/3/0/3", "firmware"), ("/33629/0", "", "app")];
        for (instance, version_path, name) in cases {
            let version_path = match version_path {
                "" => format!("{instance}/15"),
                path => path.to_owned(),
            };
            let client = Client::new(&[
                (&format!("{instance}/14"), name),
                (&version_path, version),
                (&format!("{instance}/3"), state),
                (&format!("{instance}/5"), result),
            ]);
            let kind = ComponentKind::Firmware;
            let client = resumed(client, instance, name, kind, was_updating);
            let text = format!("{instance}: {was_updating} {state} {result} {version}");
            heard(&client.reports, &reports, &text);
            let expected = match done {
                "update" => vec![(Code::POST, format!("{instance}/2"))],
                "reset" => vec![(Code::PUT, format!("{instance}/1"))],
                _ => Vec::new(),
            };
            assert_eq!(client.done, expected, "{text}");
        }
    }
    // /9
    let nine = [
        (false, "1", "1", "1_0", vec![(State::Downloading, None)], 0),
        (
            false,
            "3",
            "3",
            "1_0",
            vec![(State::Downloaded, None), updating],
            1,
        ),
        (true, "3", "3", "1_0", vec![updating], 1),
        (true, "4", "2", "2_0", vec![(State::Success, None)], 0),
        (false, "0", "0", "1_0", vec![lost], 0),
        (
            false,
            "0",
            "53",
            "1_0",
            vec![failed(sota_errors::Reason::DigestMismatch)],
            0,
        ),
    ];
    for (was_updating, state, result, version, reports, installs) in nine {
        let client = Client::new(&[
            ("/9/1/0", "STM32"),
            ("/9/1/1", version),
            ("/9/1/7", state),
            ("/9/1/9", result),
        ]);
        let client = resumed(client, "/9/1", "STM32", ComponentKind::Mcu, was_updating);
        let text = format!("/9/1: {was_updating} {state} {result} {version}");
        heard(&client.reports, &reports, &text);
        let install = (Code::POST, "/9/1/4".to_owned());
        assert_eq!(client.done, vec![install; installs], "{text}");
    }
}

/// The rules must hear these, in this order; a state may be heard again, which they ignore.
fn heard(reports: &[(State, Option<u16>)], expected: &[(State, Option<u16>)], text: &str) {
    let mut reports = reports.to_vec();
    reports.dedup();
    assert_eq!(reports, expected, "{text}");
}

/// Lets a client that the Center has just read from the store go on with an upgrade.
fn resumed(
    mut client: Client,
    instance: &str,
    name: &str,
    kind: ComponentKind,
    updating: bool,
) -> Client {
    let mut world = World::new(Config::default());
    world.receive(1, &request(Code::POST, "/rd/old", 20, &[], None, b""));
    let (id, _) = world.call();
    let registration = Registration {
        id: "old".into(),
        lifetime_s: 600,
        lwm2m: "1.1".into(),
        objects: format!("</3/0>,<{instance}>"),
        expires_at: world.now as i64 + 600_000,
        ..Registration::default()
    };
    world.reply(id, Reply::Registered(device(), registration));
    client.converse(&mut world);
    assert!(
        client.asked,
        "the rules are asked once its versions are read"
    );
    client.reports.clear();
    let go_on = || DeviceCommand::Resume {
        endpoint: device(),
        component: name.into(),
        kind,
        offer: "7-1".into(),
        target: "2_0".into(),
        updating,
    };
    world.command(go_on());
    client.converse(&mut world);
    // said again, it changes nothing
    if client.reports.is_empty() {
        world.command(go_on());
        client.converse(&mut world);
    }
    client
}

#[test]
fn a_cancel_after_a_restart_of_the_center_reaches_the_client() {
    let mut world = World::new(Config::default());
    let mut client = Client::new(&[("/3/0/3", "1_0"), ("/5/0/3", "1")]);
    world.register(1, "lwm2m=1.0", "", "</3/0>,</5/0>");
    client.converse(&mut world);
    world.command(DeviceCommand::Cancel {
        endpoint: device(),
        component: "firmware".into(),
        kind: ComponentKind::Firmware,
        offer: "7-1".into(),
    });
    let (_, call) = world.call();
    assert!(matches!(call, Call::CancelAnswered { taken: true, .. }));
    client.converse(&mut world);
    assert_eq!(client.done, [(Code::PUT, "/5/0/1".into())]);
}
