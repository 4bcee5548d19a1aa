//! Retransmission, queue mode, repeated requests, unverified addresses.

use super::*;

#[test]
fn retransmits_gives_up_and_says_it_again_at_the_next_contact() {
    let mut world = World::new(Config::default());
    let id = world.register(1, "lwm2m=1.1", "", OURS);
    world.receive(
        1,
        &request(Code::POST, &format!("/rd/{id}"), 20, &[], None, b""),
    );
    world.got();
    world.command(offer(ComponentType::Firmware, "fw"));
    let first = world.sent.pop_front();
    let mut again = 0;
    while let Some(deadline) = world.endpoint.next_deadline().filter(|at| *at < 1_290_000) {
        world.advance(deadline - world.now);
        again += world
            .sent
            .iter()
            .filter(|sent| Some(*sent) == first.as_ref())
            .count();
        world.sent.clear();
    }
    assert_eq!(again, 4);
    world.calls.clear();
    // silent: nothing goes out, until it is heard
    world.command(offer(ComponentType::Firmware, "fw"));
    world.quiet();
    world.receive(
        1,
        &request(Code::POST, &format!("/rd/{id}"), 21, &[], None, b""),
    );
    assert_eq!(world.got().code, Code::CHANGED);
    assert_eq!(world.got().path, "/42769/0");
}

#[test]
fn queue_mode_waits_for_the_next_uplink() {
    let mut world = World::new(Config::default());
    let id = world.register(1, "lwm2m=1.1", "Q", OURS);
    world.advance(93_000);
    world.command(offer(ComponentType::Firmware, "fw"));
    world.quiet();
    world.receive(
        1,
        &request(Code::POST, &format!("/rd/{id}"), 20, &[], None, b""),
    );
    assert_eq!(world.got().code, Code::CHANGED);
    assert_eq!(world.got().path, "/42769/0");
}

#[test]
fn a_made_up_address_gets_at_most_three_times_what_it_sent() {
    let mut world = World::new(Config::default());
    let register = request(
        Code::POST,
        "/rd",
        1,
        &["ep=pk:d1", "lwm2m=1.1"],
        Some(40),
        OURS.as_bytes(),
    );
    world.register(1, "lwm2m=1.1", "", OURS);
    world.command(offer(ComponentType::Firmware, "fw"));
    // the answer to the registration, at most
    let mut bytes = 32;
    for _ in 0..200 {
        world.advance(1_000);
        bytes += world
            .sent
            .drain(..)
            .map(|(_, bytes)| bytes.len())
            .sum::<usize>();
    }
    assert!(bytes <= 3 * register.len(), "{bytes} of {}", register.len());
}

#[test]
fn a_repeated_request_is_worked_on_once_while_its_answer_is_on_the_way() {
    let mut world = World::new(Config::default());
    world.register(1, "lwm2m=1.1", "", OURS);
    let bytes = send(50, &[(mcu(resource::REQUEST), Value::Integer(0))]);
    world.receive(1, &bytes);
    world.receive(1, &bytes);
    assert_eq!(world.calls.len(), 1);
    world.told();
    assert_eq!(world.got().code, Code::CHANGED);
    world.quiet();
}

/// What a device answers separately: a CON of its own with the request's token.
fn separate(token: Token, mid: u16, observe: Option<u32>, text: &str) -> Vec<u8> {
    let mut out = [0; 64];
    let mut builder = Builder::new(&mut out, Kind::Con, Code::CONTENT, mid, token);
    if let Some(observe) = observe {
        builder.uint_option(option::OBSERVE, observe);
    }
    let n = builder.payload(text.as_bytes()).finish().unwrap();
    out[..n].to_vec()
}

#[test]
fn a_separate_response_is_acknowledged_as_often_as_it_comes_and_used_once() {
    let mut world = World::new(Config::default());
    world.register(1, "lwm2m=1.1", "", "</3/0>,</5/0>");
    let get = world.got();
    assert_eq!(get.path, "/3/0/3");
    world.receive(1, &message::ack(get.mid));
    world.advance(20_000);
    world.quiet();
    let response = separate(get.token, 900, None, "1_0");
    world.receive(1, &response);
    let ack = world.got();
    assert_eq!((ack.kind, ack.code, ack.mid), (Kind::Ack, Code::EMPTY, 900));
    assert_eq!(world.told().0.components[0].version, "1_0");
    assert_eq!(world.got().path, "/3/0/9");
    // the next request is out: what came before is unknown now, and the device gives it up
    world.receive(1, &response);
    assert_eq!(world.got().kind, Kind::Rst);
    world.quiet();

    // nothing follows: the copy is known
    let mut world = World::new(Config::default());
    world.register(1, "lwm2m=1.1", "", "</5/0>");
    let get = world.got();
    let response = separate(get.token, 900, None, "1_0");
    for _ in 0..3 {
        world.receive(1, &response);
        assert_eq!((world.got().kind, world.sent.len()), (Kind::Ack, 0));
        world.advance(10_000);
    }
    // versions and the request for a plan, once each
    assert_eq!(world.calls.len(), 2);
    // at last nothing of it is left
    world.advance(145_000);
    assert_eq!(world.endpoint.requests.deadline(), None);
}

#[test]
fn notifications_are_no_copies_of_an_observation_answered_separately() {
    let mut world = World::new(Config::default());
    world.register(1, "lwm2m=1.0", "", "</5/0>");
    let get = world.got();
    world.ack(1, &get, Code::CONTENT, "1_0");
    world.command(offer(ComponentType::Firmware, "firmware"));
    world.command(download(ComponentKind::Firmware, "firmware"));
    let write = world.got();
    world.ack(1, &write, Code::CHANGED, "");
    let observe = world.got();
    assert_eq!(observe.observe, Some(0));
    world.receive(1, &separate(observe.token, 900, Some(1), "1"));
    assert_eq!(world.got().kind, Kind::Ack);
    let result = world.got();
    world.ack(1, &result, Code::CONTENT, "0");
    world.calls.clear();
    world.receive(1, &separate(observe.token, 901, Some(2), "2"));
    assert_eq!(world.got().kind, Kind::Ack);
    assert_eq!(world.told().1[0].state, State::Downloaded);
}
