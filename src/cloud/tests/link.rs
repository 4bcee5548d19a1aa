//! Registration, Send, Observe, queue mode.

use super::*;
use crate::message::{Reason, State};
use crate::platform::Readings;

#[test]
fn registers_as_the_standard_says() {
    let mut w = World::new(Config {
        queue_mode: true,
        ..config()
    });
    let bytes = w.next();
    let register = message(&bytes);
    assert_eq!(w.lookups, 1);
    assert_eq!((register.kind(), register.code()), (Kind::Con, Code::POST));
    assert!(register.path_is("/rd"));
    assert_eq!(register.uint_option(option::CONTENT_FORMAT), Some(40));
    for (key, value) in [
        ("ep", "pk:dk"),
        ("lt", "86400"),
        ("lwm2m", "1.1"),
        ("b", "U"),
        ("Q", ""),
    ] {
        assert_eq!(register.query(key), Some(value), "{key}");
    }
    assert_eq!(
        core::str::from_utf8(register.payload()).unwrap(),
        "</>;rt=\"oma.lwm2m\";ct=112,</1/0>,</3/0>,</4/0>,</5/0>,</9/0>,</42769/0>,</42769/1>"
    );
}

#[test]
fn advanced_firmware_update_takes_the_place_of_software_management() {
    let mut w = World::new(Config {
        advanced_firmware_update: true,
        ..config()
    });
    let register = w.next();
    let links = core::str::from_utf8(message(&register).payload()).unwrap();
    assert!(links.contains("</33629/0>,</33629/1>") && !links.contains("</9/"));
}

#[test]
fn a_network_that_is_back_ends_the_wait_for_a_time_out() {
    let mut w = World::new(config());
    let register = w.next();
    w.pass(1_500);
    assert!(w.sent.is_empty(), "ACK_TIMEOUT is not over");
    w.cloud.on_network();
    w.pass(1);
    assert_eq!(w.sent.len(), 1, "at once");
    assert_eq!(w.next(), register, "the same message once more");
    w.pass(3_000);
    assert!(w.sent.is_empty(), "only once");
}

#[test]
fn updates_at_the_location_and_registers_again_on_not_found() {
    let mut w = World::registered(config());
    let update = w.next();
    assert!(message(&update).path_is("/rd/7"));
    assert!(w.now >= 86_400_000 - 93_000 && w.now < 86_400_000);
    w.answer(&update, Code::NOT_FOUND, |_| {});
    let register = w.next();
    assert!(message(&register).path_is("/rd"));
    assert_eq!(w.engine, [ToEngine::Link(false)]);
}

#[test]
fn refused_says_why_and_waits_long() {
    let mut w = World::new(config());
    let register = w.next();
    w.answer(&register, Code::FORBIDDEN, |_| {});
    assert_eq!(w.cloud.last_error(), Some(Reason::UnknownProduct));
    assert_eq!(w.engine, [ToEngine::Link(false), ToEngine::Refused]);
    let before = w.now;
    let again = w.next();
    assert!(message(&again).path_is("/rd"));
    assert!(w.now - before >= 300_000);
}

#[test]
fn a_registration_answered_separately_counts_and_is_acknowledged_also_when_it_comes_again() {
    let mut w = World::new(config());
    let register = w.next();
    let (mid, token) = (message(&register).message_id(), message(&register).token());
    w.give(Peer::Server, &sota_coap::message::ack(mid));
    w.pass(30_000);
    assert!(
        w.sent.is_empty(),
        "it waits for the answer, and sends nothing again"
    );
    let mut out = [0; 64];
    let len = Builder::new(&mut out, Kind::Con, Code::CREATED, 99, token)
        .option(option::LOCATION_PATH, b"rd")
        .option(option::LOCATION_PATH, b"8")
        .finish()
        .unwrap();
    w.give(Peer::Server, &out[..len]);
    assert_eq!(w.next(), sota_coap::message::ack(99));
    assert_eq!(w.engine, [ToEngine::Link(true)]);
    let versions = w.next();
    assert!(message(&versions).path_is("/dp"));
    w.answer(&versions, Code::CHANGED, |_| {});
    w.give(Peer::Server, &out[..len]);
    assert_eq!(w.next(), sota_coap::message::ack(99));
    let update = w.next();
    assert!(message(&update).path_is("/rd/8"));
}

#[test]
fn silence_is_retransmitted_and_then_backed_off() {
    let mut w = World::new(config());
    let first = w.next();
    for _ in 0..4 {
        assert_eq!(w.next(), first, "the same datagram");
    }
    let before = w.now;
    let again = w.next();
    assert_ne!(again, first);
    assert!(w.now - before >= 15_000);
    assert_eq!(w.cloud.last_error(), Some(Reason::RegistrationTimeout));
    assert_eq!(w.lookups, 2, "the server may have moved");
}

#[test]
fn leaves_with_delete() {
    let mut w = World::registered(config());
    w.tell(ToCloud::Connect(false));
    let delete = w.next();
    assert_eq!(message(&delete).code(), Code::DELETE);
    assert!(message(&delete).path_is("/rd/7"));
    w.answer(&delete, Code::DELETED, |_| {});
    assert_eq!(w.engine, [ToEngine::Link(false)]);
    assert_eq!(w.cloud.deadline(), None);
}

#[test]
fn a_new_component_updates_the_links() {
    let mut w = World::registered(config());
    let mut more = view();
    more.components
        .push(ComponentView {
            name: "ESP".try_into().unwrap(),
            ..ComponentView::default()
        })
        .unwrap();
    w.tell(ToCloud::View(more));
    let update = w.next();
    assert!(message(&update).path_is("/rd/7"));
    let links = core::str::from_utf8(message(&update).payload()).unwrap();
    assert!(links.contains("</9/1>") && links.contains("</42769/2>"));
    w.answer(&update, Code::CHANGED, |_| {});
    assert!(message(&w.next()).path_is("/dp"), "and tells its version");
}

#[test]
fn each_state_is_told_once_and_in_order_under_loss() {
    let mut w = World::registered(config());
    let states = [
        State::PlanReceived,
        State::Confirmed,
        State::DownloadStarts,
        State::Failure,
    ];
    for state in states {
        let reason = (state == State::Failure).then_some(Reason::DigestMismatch);
        w.tell(ToCloud::Report {
            instance: 1,
            state,
            reason,
        });
    }
    let mut told: Vec<std::string::String> = Vec::new();
    let mut lost = 0;
    while told.len() < states.len() {
        let bytes = w.next();
        if !message(&bytes).path_is("/dp") {
            // Silence was long: the Update goes first.
            w.answer(&bytes, Code::CHANGED, |_| {});
            continue;
        }
        lost += 1;
        if lost % 7 != 0 {
            continue;
        }
        let state = value_of(&bytes, 13).unwrap();
        if state == "12" {
            assert_eq!(value_of(&bytes, 15).as_deref(), Some("9"));
        }
        told.push(state);
        w.answer(&bytes, Code::CHANGED, |_| {});
        w.answer(&bytes, Code::CHANGED, |_| {}); // the answer comes twice
    }
    assert_eq!(told, ["1", "2", "4", "12"]);
    w.pass(60_000);
    assert!(w.sent.is_empty(), "nothing is told again");
}

#[test]
fn reports_wait_for_the_registration_and_then_push_back() {
    let mut w = World::new(config());
    let report = || ToCloud::Report {
        instance: 1,
        state: State::Confirmed,
        reason: None,
    };
    for _ in 0..16 {
        assert!(w.cloud.on_engine(w.now, &mut report()));
    }
    let mut refused = report();
    assert!(!w.cloud.on_engine(w.now, &mut refused));
    assert_eq!(refused, report(), "it can be tried again");
    let register = w.next();
    w.answer(&register, Code::CREATED, |b| {
        b.option(option::LOCATION_PATH, b"rd");
    });
    let send = w.next();
    assert_eq!(value_of(&send, 14).as_deref(), Some("1"));
    w.answer(&send, Code::CHANGED, |_| {});
    assert!(w.cloud.on_engine(w.now, &mut refused));
}

/// A download goes on while the server refuses the device: its engine must not wait for the queue.
#[test]
fn reports_of_a_refused_device_hold_nobody_up() {
    let mut w = World::new(config());
    let report = |number| ToCloud::Report {
        instance: 1,
        state: State::from_number(number).unwrap(),
        reason: None,
    };
    for _ in 0..16 {
        w.tell(report(1));
    }
    assert!(!w.cloud.on_engine(w.now, &mut report(2)));
    let register = w.next();
    w.answer(&register, Code::FORBIDDEN, |_| {});
    for _ in 0..15 {
        w.tell(report(4));
    }
    w.tell(report(5));
    let register = w.next();
    w.answer(&register, Code::CREATED, |b| {
        b.option(option::LOCATION_PATH, b"rd");
    });
    let mut told = Vec::new();
    for _ in 0..16 {
        let send = w.next();
        told.push(value_of(&send, 13).unwrap());
        w.answer(&send, Code::CHANGED, |_| {});
    }
    assert_eq!(told[..15], ["4"; 15], "the oldest made room");
    assert_eq!(told[15], "5");
}

#[test]
fn a_report_names_the_plan_it_was_made_in() {
    let mut w = World::registered(config());
    let plan = |name: &str| View {
        active: (!name.is_empty()).then_some(1),
        plan: name.try_into().unwrap(),
        ..view()
    };
    let report = |state| ToCloud::Report {
        instance: 1,
        state,
        reason: None,
    };
    w.tell(ToCloud::View(plan("p1")));
    w.tell(report(State::Updating));
    w.tell(report(State::Success));
    // The plan is over, and another there, before the reports are acknowledged.
    w.tell(ToCloud::View(plan("")));
    let mut names = Vec::new();
    for next in ["", "p2"] {
        let send = w.next();
        names.push(value_of(&send, 0));
        w.tell(ToCloud::View(plan(next)));
        w.answer(&send, Code::CHANGED, |_| {});
    }
    assert_eq!(names, [Some("p1".into()), Some("p1".into())]);
    w.tell(report(State::PlanReceived));
    let send = w.next();
    assert_eq!(value_of(&send, 0).as_deref(), Some("p2"));
    w.answer(&send, Code::CHANGED, |_| {});
    // Of a set the view shows one component; the others are of the same name, and say who they are.
    w.tell(ToCloud::Report {
        instance: 0,
        state: State::PlanReceived,
        reason: None,
    });
    let told = records(&w.next());
    for (id, text) in [(0, "p2"), (1, "module"), (13, "1")] {
        assert!(told.contains(&(Path::resource(PLAN, 0, id), text.into())));
    }
}

#[test]
fn a_request_for_a_plan_carries_the_versions() {
    let mut w = World::registered(config());
    w.cloud.on_readings(Readings {
        battery_percent: Some(71),
        rsrp_dbm: None,
    });
    w.cloud.on_cell(71_003);
    w.tell(ToCloud::Request { sha256: true });
    let send = w.next();
    let told = records(&send);
    assert!(told.contains(&(Path::resource(4, 0, 8), "71003".into())));
    assert!(told.contains(&(Path::resource(PLAN, 0, 18), "1".into())));
    assert!(told.contains(&(Path::resource(3, 0, 9), "71".into())));
    assert!(told.contains(&(Path::resource(PLAN, 1, 1), "STM32".into())));
    assert!(told.contains(&(Path::resource(PLAN, 1, 19), "1_0_0".into())));
}

#[test]
fn after_a_long_silence_the_update_goes_first() {
    let mut w = World::registered(config());
    w.pass(40_000);
    w.tell(ToCloud::Request { sha256: false });
    let update = w.next();
    assert!(message(&update).path_is("/rd/7"));
    w.answer(&update, Code::CHANGED, |_| {});
    assert!(message(&w.next()).path_is("/dp"));
}

#[test]
fn a_server_without_send_is_asked_ever_more_rarely() {
    let mut w = World::registered(config());
    w.tell(ToCloud::Request { sha256: false });
    let send = w.next();
    w.answer(&send, Code::NOT_FOUND, |_| {});
    let update = w.next();
    assert!(message(&update).path_is("/rd/7"));
    w.answer(&update, Code::CHANGED, |_| {});
    let send = w.next();
    w.answer(&send, Code::NOT_FOUND, |_| {});
    // It may as well not find us behind the address translation: nothing is dropped.
    let mut pauses = [0u64; 4];
    for pause in &mut pauses {
        while w.sent.is_empty() {
            w.pass(500);
            *pause += 500;
        }
        let mut next = w.next();
        if message(&next).path_is("/rd/7") {
            // After so long a silence the address is told first.
            w.answer(&next, Code::CHANGED, |_| {});
            next = w.next();
        }
        assert!(message(&next).path_is("/dp"));
        // It may have been sent twice by now.
        w.sent.clear();
        w.answer(&next, Code::NOT_FOUND, |_| {});
    }
    assert!(
        pauses[0] >= 5_000 && pauses.is_sorted() && pauses[3] > 2 * pauses[0],
        "{pauses:?}"
    );
}

#[test]
fn observers_hear_changes_until_they_reset() {
    let mut w = World::registered(config());
    let mut out = [0; 64];
    let len = Builder::new(&mut out, Kind::Con, Code::GET, 1, Token::from_u32(77))
        .uint_option(option::OBSERVE, 0)
        .path("/9/0/7")
        .finish()
        .unwrap();
    w.give(Peer::Server, &out[..len]);
    let answer = w.next();
    assert_eq!(message(&answer).uint_option(option::OBSERVE), Some(0));
    assert_eq!(message(&answer).payload(), b"0");
    let token = message(&answer).token();
    let mut changed = view();
    changed.active = Some(1);
    changed.state = State::Downloading;
    w.tell(ToCloud::View(changed.clone()));
    let notification = w.next();
    let m = message(&notification);
    assert_eq!(
        (m.kind(), m.token(), m.payload()),
        (Kind::Con, token, &b"1"[..])
    );
    w.give(Peer::Server, &sota_coap::message::ack(m.message_id()));
    // Nothing that shows there changed.
    changed.progress = 10;
    w.pass(40_000);
    w.tell(ToCloud::View(changed.clone()));
    assert!(w.sent.is_empty());
    changed.state = State::Failure;
    changed.reason = Some(Reason::DigestMismatch);
    w.tell(ToCloud::View(changed.clone()));
    let update = w.next();
    assert!(message(&update).path_is("/rd/7"), "silence was long");
    w.answer(&update, Code::CHANGED, |_| {});
    let notification = w.next();
    let mid = message(&notification).message_id();
    w.give(Peer::Server, &sota_coap::message::reset(mid));
    changed.state = State::Downloading;
    w.tell(ToCloud::View(changed));
    assert!(w.sent.is_empty(), "the Reset cancelled it");
}

#[test]
fn queue_mode_says_until_when_to_listen() {
    let mut w = World::registered(Config {
        queue_mode: true,
        awake_ms: 10_000,
        ..config()
    });
    assert_eq!(w.cloud.awake_until(), Some(w.now + 10_000));
    w.tell(ToCloud::Request { sha256: false });
    assert_eq!(w.cloud.awake_until(), None, "an answer is awaited");
    assert_eq!(World::registered(config()).cloud.awake_until(), None);
}

#[test]
fn reads_discovers_and_refuses_by_the_standard() {
    let mut w = World::registered(config());
    w.cloud.on_readings(Readings {
        battery_percent: Some(71),
        rsrp_dbm: Some(-90),
    });
    assert_eq!(w.read("/3/0/9"), "71");
    assert_eq!(w.read("/4/0/2"), "-90");
    w.cloud.on_cell((1 << 28) - 1);
    assert_eq!(w.read("/4/0/8"), "268435455");
    assert_eq!(w.read("/9/0/1"), "1_0_0");
    assert_eq!(w.read("/42769/1/19"), "1_0_0");
    let tlv = w.ask(Code::GET, "/3/0", |b| {
        b.uint_option(option::ACCEPT, 11542);
    });
    assert_eq!(
        message(&tlv).uint_option(option::CONTENT_FORMAT),
        Some(11542)
    );
    let discover = w.ask(Code::GET, "/4", |b| {
        b.uint_option(option::ACCEPT, 40);
    });
    assert_eq!(
        message(&discover).payload(),
        b"</4>,</4/0>,</4/0/0>,</4/0/1>,</4/0/2>,</4/0/8>"
    );
    for (code, path, accept, want) in [
        (Code::GET, "/77/0", None, Code::NOT_FOUND),
        (Code::GET, "/9/1", None, Code::NOT_FOUND),
        (Code::GET, "/3/0/99", None, Code::NOT_FOUND),
        (Code::GET, "/x", None, Code::NOT_FOUND),
        (Code::GET, "/3/0/4", None, Code::METHOD_NOT_ALLOWED),
        (Code::GET, "/3/0", Some(110), Code::NOT_ACCEPTABLE),
        (Code::GET, "/3/0", Some(0), Code::NOT_ACCEPTABLE),
        (Code::PUT, "/3/0/9", None, Code::METHOD_NOT_ALLOWED),
        (Code::POST, "/9", None, Code::METHOD_NOT_ALLOWED),
        (Code::DELETE, "/9/0", None, Code::METHOD_NOT_ALLOWED),
        (Code::POST, "/9/0/4", None, Code::METHOD_NOT_ALLOWED),
    ] {
        let answer = w.ask(code, path, |b| {
            if let Some(accept) = accept {
                b.uint_option(option::ACCEPT, accept);
            }
        });
        assert_eq!(message(&answer).code(), want, "{code} {path}");
    }
}

#[test]
fn a_long_answer_goes_in_blocks() {
    let mut w = World::registered(config());
    let whole = w.ask(Code::GET, "/42769", |_| {});
    let whole = message(&whole).payload().to_vec();
    let mut joined = Vec::new();
    for num in 0.. {
        let part = w.ask(Code::GET, "/42769", |b| {
            b.uint_option(option::BLOCK2, num << 4 | 1);
        });
        let m = message(&part);
        assert_eq!(m.code(), Code::CONTENT);
        joined.extend_from_slice(m.payload());
        if !m.block(option::BLOCK2).unwrap().unwrap().more {
            break;
        }
    }
    assert_eq!(joined, whole);
}

#[test]
fn the_server_sets_the_lifetime_and_asks_for_an_update() {
    let mut w = World::registered(config());
    let answer = w.ask(Code::PUT, "/1/0/1", |b| {
        b.payload(b"600");
    });
    assert_eq!(message(&answer).code(), Code::CHANGED);
    let update = w.next();
    assert_eq!(message(&update).query("lt"), Some("600"));
    w.answer(&update, Code::CHANGED, |_| {});
    w.ask(Code::POST, "/1/0/8", |_| {});
    assert!(message(&w.next()).path_is("/rd/7"));
    w.ask(Code::POST, "/3/0/4", |_| {});
    assert!(w.cloud.take_reboot() && !w.cloud.take_reboot());
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_survived(
        datagrams in proptest::collection::vec(proptest::collection::vec(0u8.., 0..120), 0..20),
        server: bool,
    ) {
        let mut w = World::registered(config());
        for bytes in datagrams {
            w.give(if server { Peer::Server } else { Peer::Source }, &bytes);
        }
    }

    #[test]
    fn any_request_is_survived(
        code in 1u8..8,
        path in "/(1|3|4|5|9|42769)(/[01](/[0-9]{1,2})?)?",
        format in proptest::option::of(proptest::sample::select(std::vec![0u32, 42, 60, 112, 11542])),
        accept in proptest::option::of(proptest::sample::select(std::vec![0u32, 40, 42, 60, 112, 11542])),
        body in proptest::collection::vec(0u8.., 0..200),
    ) {
        let mut w = World::registered(config());
        let request = w.request(Code::from_byte(code), &path, |b| {
            if let Some(format) = format {
                b.uint_option(option::CONTENT_FORMAT, format);
            }
            if let Some(accept) = accept {
                b.uint_option(option::ACCEPT, accept);
            }
            b.payload(&body);
        });
        w.give(Peer::Server, &request);
        w.pass(2_000);
        proptest::prop_assert!(!w.sent.is_empty());
    }
}

fn elsewhere() -> Config {
    Config {
        host: "other".try_into().unwrap(),
        ..config()
    }
}

#[test]
fn other_settings_begin_with_a_good_bye() {
    let mut w = World::registered(config());
    assert!(!w.cloud.may_reconfigure(w.now));
    let leave = w.next();
    assert_eq!(message(&leave).code(), Code::DELETE);
    assert!(!w.cloud.may_reconfigure(w.now));
    w.answer(&leave, Code::DELETED, |_| {});
    assert!(w.cloud.may_reconfigure(w.now));
    w.cloud.reconfigure(w.now, elsewhere(), 9);
    w.step();
    assert!(message(&w.next()).path_is("/rd"));
    assert_eq!(w.cloud.view(), &view());
}

#[test]
fn a_good_bye_that_is_not_answered_ends_after_three_seconds() {
    let mut w = World::registered(config());
    assert!(!w.cloud.may_reconfigure(w.now));
    let began = w.now;
    // What the engine wants meanwhile is kept for the next machine.
    w.tell(ToCloud::Connect(false));
    while !w.cloud.may_reconfigure(w.now) {
        w.wait();
    }
    assert_eq!(w.now - began, 3_000);
    w.cloud.reconfigure(w.now, elsewhere(), 9);
    w.sent.clear();
    w.pass(60_000);
    assert!(w.sent.is_empty());
}

#[test]
fn other_settings_wait_for_the_end_of_an_upgrade() {
    let mut w = World::registered(config());
    let mut busy = view();
    busy.state = State::Downloading;
    w.tell(ToCloud::View(busy));
    assert!(!w.cloud.may_reconfigure(w.now) && !w.cloud.is_leaving());
    w.tell(ToCloud::View(view()));
    assert!(!w.cloud.may_reconfigure(w.now) && w.cloud.is_leaving());
}

#[test]
fn a_machine_without_a_server_takes_settings_at_once() {
    let mut w = World::new(Config::default());
    let mut busy = view();
    busy.state = State::Downloading;
    w.tell(ToCloud::View(busy));
    assert!(w.cloud.may_reconfigure(w.now));
    w.cloud.reconfigure(w.now, config(), 9);
    w.step();
    assert!(message(&w.next()).path_is("/rd"));
}
