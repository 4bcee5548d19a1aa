//! The two doors and the answers that wait for the engine.

use super::*;
use crate::message::{ComponentType, Door, Reason, State};

fn offer() -> Vec<u8> {
    payload(
        Path::instance(PLAN, 1),
        ContentFormat::SenmlCbor,
        &[
            (0, Value::String("p1")),
            (1, Value::String("STM32")),
            (2, Value::Integer(1)),
            (3, Value::String("1_0_0")),
            (4, Value::String("2_0_0")),
            (5, Value::Integer(30)),
            (6, Value::Integer(-113)),
            (7, Value::Integer(27_954)),
        ],
    )
}

fn write_offer(w: &mut World) -> Vec<u8> {
    let body = offer();
    w.request(Code::POST, "/42769/1", |b| {
        b.uint_option(option::CONTENT_FORMAT, 112).payload(&body);
    })
}

#[test]
fn an_offer_and_its_download_information() {
    let mut w = World::registered(config());
    let request = write_offer(&mut w);
    w.give(Peer::Server, &request);
    let Some(ToEngine::Offer {
        ticket,
        door,
        offer,
    }) = w.engine.pop()
    else {
        panic!("{:?}", w.engine)
    };
    assert_eq!(door, Door::Plan);
    assert_eq!(
        (offer.plan.as_str(), offer.component.as_str(), offer.kind),
        ("p1", "STM32", ComponentType::Mcu)
    );
    assert_eq!(
        (offer.source.as_str(), offer.target.as_str()),
        ("1_0_0", "2_0_0")
    );
    assert_eq!(
        (
            offer.battery_limit_percent,
            offer.min_signal_dbm,
            offer.use_space
        ),
        (30, -113, 27_954)
    );
    assert!(w.sent.is_empty(), "the answer is the engine's");
    w.verdict(ticket, Ok(()));
    let answer = w.next();
    assert_eq!(
        (message(&answer).kind(), message(&answer).code()),
        (Kind::Ack, Code::CHANGED)
    );
    // A copy of the request is answered alike and not given again.
    w.give(Peer::Server, &request);
    assert_eq!(w.next(), answer);
    assert!(w.engine.is_empty());

    let body = payload(
        Path::instance(PLAN, 1),
        ContentFormat::Tlv,
        &[
            (0, Value::String("p1")),
            (8, Value::Integer(27_954)),
            (9, Value::Opaque(&[1; 16])),
            (10, Value::Unsigned(4_022_793_929)),
            (11, Value::Opaque(&[2; 32])),
            (12, Value::String("coap://center/p/ab")),
        ],
    );
    let request = w.request(Code::POST, "/42769/1", |b| {
        b.uint_option(option::CONTENT_FORMAT, 11542).payload(&body);
    });
    w.give(Peer::Server, &request);
    let Some(ToEngine::DownloadInfo {
        ticket,
        instance,
        info,
    }) = w.engine.pop()
    else {
        panic!("{:?}", w.engine)
    };
    assert_eq!(instance, 1);
    assert_eq!((info.plan.as_str(), info.length), ("p1", 27_954));
    assert_eq!((info.md5, info.sha256), (Some([1; 16]), Some([2; 32])));
    assert_eq!(info.crc32, Some(4_022_793_929));
    assert_eq!(info.uri.as_str(), "coap://center/p/ab");
    w.verdict(ticket, Err(Reason::UpgradeBusy));
    assert_eq!(message(&w.next()).code(), Code::METHOD_NOT_ALLOWED);
}

#[test]
fn a_late_verdict_is_a_separate_response() {
    let mut w = World::registered(config());
    let request = write_offer(&mut w);
    w.give(Peer::Server, &request);
    let Some(ToEngine::Offer { ticket, .. }) = w.engine.pop() else {
        panic!()
    };
    let ack = w.next();
    assert_eq!(
        (message(&ack).kind(), message(&ack).code()),
        (Kind::Ack, Code::EMPTY)
    );
    w.give(Peer::Server, &request);
    assert_eq!(w.next(), ack, "a copy is acknowledged again, no more");
    // Another request that needs the engine has to wait.
    let busy = write_offer(&mut w);
    w.give(Peer::Server, &busy);
    assert_eq!(message(&w.next()).code(), Code::SERVICE_UNAVAILABLE);
    w.verdict(ticket, Ok(()));
    let response = w.next();
    let m = message(&response);
    assert_eq!((m.kind(), m.code()), (Kind::Con, Code::CHANGED));
    assert_eq!(m.token(), message(&request).token());
    assert_eq!(w.next(), response, "until it is acknowledged");
    w.give(Peer::Server, &sota_coap::message::ack(m.message_id()));
    w.pass(10_000);
    assert!(w.sent.is_empty());
}

#[test]
fn malformed_writes_to_the_plan() {
    let mut w = World::registered(config());
    let both = payload(
        Path::instance(PLAN, 1),
        ContentFormat::SenmlCbor,
        &[(1, Value::String("STM32")), (8, Value::Integer(5))],
    );
    let wrong = payload(
        Path::instance(PLAN, 1),
        ContentFormat::SenmlCbor,
        &[(5, Value::Integer(101))],
    );
    let read_only = payload(
        Path::instance(PLAN, 1),
        ContentFormat::SenmlCbor,
        &[(13, Value::Integer(11))],
    );
    for (format, body, code) in [
        (112, &both[..], Code::BAD_REQUEST),
        (112, &wrong, Code::BAD_REQUEST),
        (112, &read_only, Code::METHOD_NOT_ALLOWED),
        (112, b"\xff\x00", Code::BAD_REQUEST),
        (112, b"\x80", Code::BAD_REQUEST),
        (110, b"[]", Code::UNSUPPORTED_CONTENT_FORMAT),
        (50, b"[]", Code::UNSUPPORTED_CONTENT_FORMAT),
    ] {
        let answer = w.ask(Code::POST, "/42769/1", |b| {
            b.uint_option(option::CONTENT_FORMAT, format).payload(body);
        });
        assert_eq!(message(&answer).code(), code, "{format} {body:02x?}");
    }
    assert!(w.engine.is_empty());
}

/// A foreign server writes a URI: an offer, and when it was taken the download information.
fn foreign(path: &str, component: &str, kind: ComponentType) {
    let mut w = World::registered(config());
    let request = w.request(Code::PUT, path, |b| {
        b.uint_option(option::CONTENT_FORMAT, 0)
            .payload(b"coap://files:5700/fw.bin");
    });
    w.give(Peer::Server, &request);
    let Some(ToEngine::Offer {
        ticket,
        door,
        offer,
    }) = w.engine.pop()
    else {
        panic!("{:?}", w.engine)
    };
    assert_eq!((door, offer.kind), (Door::Standard, kind));
    assert_eq!(
        (offer.component.as_str(), offer.target.as_str()),
        (component, "")
    );
    w.verdict(ticket, Ok(()));
    let Some(ToEngine::DownloadInfo {
        ticket,
        instance,
        info,
    }) = w.engine.pop()
    else {
        panic!("{:?}", w.engine)
    };
    assert_eq!(instance != 0, kind == ComponentType::Mcu);
    assert_eq!(info.uri.as_str(), "coap://files:5700/fw.bin");
    assert!(w.sent.is_empty());
    w.verdict(ticket, Ok(()));
    assert_eq!(message(&w.next()).code(), Code::CHANGED);
}

#[test]
fn a_foreign_server_by_software_management() {
    foreign("/9/0/3", "STM32", ComponentType::Mcu);
}

#[test]
fn a_foreign_server_by_firmware_update() {
    foreign("/5/0/1", "module", ComponentType::Firmware);
}

#[test]
fn the_standards_objects_show_the_upgrade() {
    let mut w = World::registered(config());
    let last = |result| {
        let mut idle = view();
        idle.components[1].last = Some(result);
        idle
    };
    let at = |state, verified| View {
        active: Some(1),
        state,
        verified,
        reason: (state == State::Failure).then_some(Reason::DigestMismatch),
        ..view()
    };
    for (shown, state, result) in [
        (view(), "0", "0"),
        (at(State::PlanReceived, false), "0", "0"),
        (at(State::Confirmed, false), "0", "0"),
        (at(State::Downloading, false), "1", "1"),
        (at(State::Downloaded, false), "1", "1"),
        (at(State::Downloaded, true), "3", "3"),
        (at(State::Updating, true), "3", "3"),
        (at(State::Success, true), "4", "2"),
        (at(State::Failure, false), "0", "53"),
        (last(Ok(())), "4", "2"),
        (last(Err(Reason::McuStillRunsSource)), "0", "58"),
    ] {
        let name = std::format!("{:?}", shown.state);
        w.tell(ToCloud::View(shown));
        assert_eq!(w.read("/9/0/7"), state, "{name}");
        assert_eq!(w.read("/9/0/9"), result, "{name}");
        assert_eq!(w.read("/5/0/3"), "0", "the module is not concerned");
    }
}

#[test]
fn install_and_cancel_only_where_the_standard_allows() {
    let mut w = World::registered(config());
    let mut shown = view();
    shown.active = Some(1);
    shown.state = State::Downloading;
    w.tell(ToCloud::View(shown.clone()));
    let early = w.ask(Code::POST, "/9/0/4", |_| {});
    assert_eq!(message(&early).code(), Code::METHOD_NOT_ALLOWED);
    shown.state = State::Downloaded;
    shown.verified = true;
    w.tell(ToCloud::View(shown.clone()));
    let install = w.request(Code::POST, "/9/0/4", |_| {});
    w.give(Peer::Server, &install);
    let Some(ToEngine::Install {
        ticket,
        instance: 1,
    }) = w.engine.pop()
    else {
        panic!("{:?}", w.engine)
    };
    w.verdict(ticket, Ok(()));
    assert_eq!(message(&w.next()).code(), Code::CHANGED);
    for path in ["/42769/1/17", "/9/0/6"] {
        let cancel = w.request(Code::POST, path, |_| {});
        w.give(Peer::Server, &cancel);
        let Some(ToEngine::Cancel {
            ticket,
            instance: 1,
        }) = w.engine.pop()
        else {
            panic!("{:?}", w.engine)
        };
        w.verdict(ticket, Ok(()));
        assert_eq!(message(&w.next()).code(), Code::CHANGED);
    }
    shown.state = State::Updating;
    w.tell(ToCloud::View(shown));
    let late = w.ask(Code::POST, "/9/0/6", |_| {});
    assert_eq!(message(&late).code(), Code::METHOD_NOT_ALLOWED);
    // Of a plan any component may be cancelled, also one that the view does not show: the engine knows.
    for (path, instance, verdict, code) in [
        ("/42769/0/17", 0, Ok(()), Code::CHANGED),
        (
            "/42769/1/17",
            1,
            Err(Reason::UpgradeBusy),
            Code::METHOD_NOT_ALLOWED,
        ),
    ] {
        let cancel = w.request(Code::POST, path, |_| {});
        w.give(Peer::Server, &cancel);
        let Some(ToEngine::Cancel {
            ticket,
            instance: asked,
        }) = w.engine.pop()
        else {
            panic!("{:?}", w.engine)
        };
        assert_eq!(asked, instance);
        w.verdict(ticket, verdict);
        assert_eq!(message(&w.next()).code(), code);
    }
}
