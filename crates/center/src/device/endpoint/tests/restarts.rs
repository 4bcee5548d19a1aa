//! Restarts of the Center or of a client without Plan object, in the middle of an upgrade.

use super::client::Client;
use super::*;

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

#[test]
fn a_client_that_restarted_and_lost_its_download_is_sent_it_again() {
    let mut world = World::new(Config::default());
    let mut client = Client::new(&[("/3/0/3", "1_0"), ("/5/0/3", "0"), ("/5/0/5", "0")]);
    world.register(1, "lwm2m=1.0", "", "</3/0>,</5/0>");
    client.converse(&mut world);
    world.command(offer(ComponentType::Firmware, "firmware"));
    client.set("/5/0/3", "1");
    world.command(download(ComponentKind::Firmware, "firmware"));
    client.converse(&mut world);
    assert_eq!(client.reports.last(), Some(&(State::Downloading, None)));

    client.set("/5/0/3", "0");
    let old = client.observe.take();
    world.register(1, "lwm2m=1.0", "", "</3/0>,</5/0>");
    client.converse(&mut world);
    let lost = Some(sota_errors::Reason::NetworkDown.number());
    assert_eq!(client.reports.last(), Some(&(State::DownloadError, lost)));
    assert!(client.observe.is_some() && client.observe != old);
    client.set("/5/0/3", "1");
    world.command(download(ComponentKind::Firmware, "firmware"));
    client.converse(&mut world);
    let uri = (Code::PUT, "/5/0/1".to_owned());
    assert_eq!(client.done, [uri.clone(), uri]);
    assert_eq!(client.reports.last(), Some(&(State::Downloading, None)));
}
