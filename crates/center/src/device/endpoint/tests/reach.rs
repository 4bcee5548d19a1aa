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
