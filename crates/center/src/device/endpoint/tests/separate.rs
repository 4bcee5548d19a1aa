//! Answers that take longer than a second (RFC 7252 section 5.2.2).

use super::*;

fn registration(world: &World, id: &str) -> Registration {
    Registration {
        id: id.into(),
        address: address(1).to_string(),
        lifetime_s: 600,
        lwm2m: "1.1".into(),
        objects: OURS.into(),
        expires_at: world.now as i64 + 600_000,
        ..Registration::default()
    }
}

fn register(mid: u16) -> Vec<u8> {
    let queries = ["ep=pk:d1", "lt=600", "lwm2m=1.1"];
    request(Code::POST, "/rd", mid, &queries, Some(40), OURS.as_bytes())
}

impl World {
    /// A device registers, the store is slow: its answer goes out separately.
    fn registered_late(&mut self) -> Got {
        self.receive(1, &register(7));
        let (id, _) = self.call();
        self.advance(1_000);
        self.empty_ack(7);
        self.advance(4_000);
        let registration = registration(self, "late");
        self.reply(id, Reply::Registered(device(), registration));
        self.got()
    }

    fn empty_ack(&mut self, mid: u16) {
        let ack = self.got();
        assert_eq!((ack.kind, ack.code, ack.mid), (Kind::Ack, Code::EMPTY, mid));
    }

    /// Advances to each deadline before `until`; when something was sent, and what.
    fn sent_until(&mut self, until: u64) -> Vec<(u64, Vec<u8>)> {
        let mut sent = Vec::new();
        while let Some(at) = self.endpoint.next_deadline().filter(|at| *at < until) {
            self.advance(at - self.now);
            let now = self.now;
            sent.extend(self.sent.drain(..).map(|(_, bytes)| (now, bytes)));
        }
        sent
    }
}

#[test]
fn every_slow_request_is_acknowledged_after_a_second_and_answered_separately() {
    let told = send(50, &[(mcu(resource::REQUEST), Value::Integer(0))]);
    let unknown = || Reply::Failed(CenterError::UnknownRegistration);
    let failed = || Reply::Failed(CenterError::UnknownProductKey);
    let delete = request(Code::DELETE, "/rd/x", 50, &[], None, b"");
    let update = request(Code::POST, "/rd/x", 50, &[], None, b"");
    for (bytes, reply, expected) in [
        (register(50), failed(), Code::FORBIDDEN),
        (update, unknown(), Code::NOT_FOUND),
        (delete.clone(), Reply::Done, Code::DELETED),
        (delete, unknown(), Code::NOT_FOUND),
        (told, Reply::Done, Code::CHANGED),
    ] {
        let mut world = World::new(Config::default());
        world.register(1, "lwm2m=1.1", "", OURS);
        world.receive(1, &bytes);
        let (id, _) = world.call();
        world.advance(999);
        world.receive(1, &bytes);
        world.quiet();
        world.advance(1);
        world.empty_ack(50);
        // once, and again when asked again; the work goes on
        world.advance(30_000);
        world.quiet();
        world.receive(1, &bytes);
        world.empty_ack(50);
        world.quiet();
        world.reply(id, reply);
        let answer = world.got();
        assert_eq!((answer.kind, answer.code), (Kind::Con, expected));
        assert_eq!(answer.token, Token::from_u32(50));
        assert_ne!(answer.mid, 50);
        world.receive(1, &bytes);
        world.empty_ack(50);
        world.receive(1, &message::ack(answer.mid));
        let sent = world.sent_until(world.now + 200_000);
        assert_eq!(sent, [], "{expected:?}");
        // no answer is kept: asked again, it is worked on again
        world.receive(1, &bytes);
        assert_eq!(world.calls.len(), 1);
    }
}

#[test]
fn an_answer_in_time_is_in_the_ack_and_no_empty_one_follows() {
    let mut world = World::new(Config::default());
    world.register(1, "lwm2m=1.1", "", OURS);
    world.receive(1, &send(50, &[(mcu(resource::REQUEST), Value::Integer(0))]));
    world.advance(999);
    world.told();
    let answer = world.got();
    assert_eq!((answer.kind, answer.mid), (Kind::Ack, 50));
    assert_eq!(answer.code, Code::CHANGED);
    world.advance(1);
    world.advance(10_000);
    world.quiet();
    // one that is repeated late has its own second
    world.receive(1, &send(50, &[(mcu(resource::REQUEST), Value::Integer(0))]));
    world.call();
    world.advance(999);
    world.quiet();
    world.advance(1);
    world.empty_ack(50);
}

#[test]
fn a_non_gets_no_ack_and_a_non() {
    let mut world = World::new(Config::default());
    world.register(1, "lwm2m=1.1", "", OURS);
    let mut bytes = send(50, &[(mcu(resource::REQUEST), Value::Integer(0))]);
    bytes[0] |= 0x10;
    world.receive(1, &bytes);
    world.advance(20_000);
    assert_eq!(world.sent.len(), 0);
    world.told();
    let answer = world.got();
    assert_eq!((answer.kind, answer.code), (Kind::Non, Code::CHANGED));
    assert_eq!(world.sent_until(world.now + 200_000), []);
}

#[test]
fn a_lost_separate_answer_comes_again_and_requests_to_the_device_wait_for_its_ack() {
    let mut world = World::new(Config::default());
    let answer = world.registered_late();
    assert_eq!(
        (answer.kind, answer.code, answer.location.as_slice()),
        (
            Kind::Con,
            Code::CREATED,
            &["rd".to_owned(), "late".to_owned()][..]
        )
    );
    world.command(offer(ComponentType::Firmware, "fw"));
    world.quiet();
    let began = world.now;
    // 2 to 3 s, then twice that; sent again as it was
    let sent = world.sent_until(began + 9_000);
    assert_eq!(sent.len(), 2);
    let first = sent[0].0 - began;
    assert!((2_000..3_000).contains(&first), "{first}");
    assert_eq!(sent[1].0 - sent[0].0, 2 * first);
    for (_, bytes) in &sent {
        let again = Message::new_checked(bytes).unwrap();
        assert_eq!((again.kind(), again.code()), (Kind::Con, Code::CREATED));
        assert_eq!(again.message_id(), answer.mid);
    }
    // its empty ACK was lost too, so it asks again: nothing is registered a second time
    world.receive(1, &register(7));
    world.empty_ack(7);
    world.quiet();
    // at last
    world.receive(1, &message::ack(answer.mid));
    assert_eq!(world.got().path, "/42769/0");
    let offered = world.now;
    assert!(world.sent_until(offered + 1_000).is_empty());
}

#[test]
fn a_separate_answer_that_nobody_acknowledges_is_given_up() {
    let mut world = World::new(Config::default());
    world.registered_late();
    let sent = world.sent_until(world.now + 300_000);
    assert_eq!(sent.len(), 4);
    world.calls.clear();
    world.receive(1, &register(7));
    assert!(matches!(world.call().1, Call::Register(_)));
    world.quiet();
}

#[test]
fn a_reset_ends_a_separate_answer() {
    let mut world = World::new(Config::default());
    let answer = world.registered_late();
    // of a stranger, or with another id, it means nothing
    world.receive(2, &message::reset(answer.mid));
    world.receive(1, &message::reset(answer.mid.wrapping_add(1)));
    world.receive(1, &message::ack(answer.mid.wrapping_add(1)));
    world.quiet();
    assert_eq!(world.sent_until(world.now + 4_000).len(), 1);
    world.receive(1, &message::reset(answer.mid));
    assert_eq!(world.sent_until(world.now + 300_000), []);
    world.receive(1, &register(7));
    assert!(matches!(world.call().1, Call::Register(_)));
}

#[test]
fn a_device_that_restarts_with_the_same_message_id_is_heard() {
    let mut world = World::new(Config::default());
    let old = world.registered_late();
    let mut bytes = register(7);
    bytes[7] ^= 1; // the last byte of its token
    world.receive(1, &bytes);
    let (id, _) = world.call();
    let anew = registration(&world, "anew");
    world.reply(id, Reply::Registered(device(), anew));
    let answer = world.got();
    assert_eq!((answer.kind, answer.code), (Kind::Ack, Code::CREATED));
    assert_eq!(answer.location, ["rd", "anew"]);
    assert_ne!(answer.token, old.token);
    world.receive(1, &message::reset(old.mid));
    assert_eq!(world.sent_until(world.now + 200_000), []);
}

#[test]
fn a_made_up_address_gets_three_times_what_it_sent_at_most_from_a_slow_center() {
    for reply in [true, false] {
        let mut world = World::new(Config::default());
        // short, so that the limit is near
        let register = request(Code::POST, "/rd", 9, &["ep=pk:d1"], Some(40), b"</3/0>");
        world.receive(1, &register);
        let (id, _) = world.call();
        world.advance(1_000);
        let reply = match reply {
            true => Reply::Registered(device(), registration(&world, "made-up-and-never-heard")),
            false => Reply::Failed(CenterError::UnknownProductKey),
        };
        world.reply(id, reply);
        world.command(offer(ComponentType::Firmware, "fw"));
        let mut bytes: usize = world.sent.drain(..).map(|(_, bytes)| bytes.len()).sum();
        bytes += world
            .sent_until(world.now + 300_000)
            .iter()
            .map(|(_, bytes)| bytes.len())
            .sum::<usize>();
        assert!(bytes <= 3 * register.len(), "{bytes} of {}", register.len());
    }
}

#[test]
fn answers_that_nobody_acknowledges_leave_room_for_others() {
    let mut world = World::new(Config::default());
    let mut wave = |count: usize, first: u16| {
        for i in 0..count as u16 {
            let bytes = request(Code::POST, "/rd", 7, &["ep=no:d"], Some(40), b"</3/0>");
            world.receive(first + i, &bytes);
        }
        world.advance(1_000);
        while let Some((id, _)) = world.calls.pop_front() {
            world.reply(id, Reply::Failed(CenterError::UnknownProductKey));
        }
        let sent = world.sent.len();
        world.sent.clear();
        (sent, world.endpoint.working.len())
    };
    assert_eq!(wave(MAX_PENDING, 1_000), (2 * MAX_PENDING, MAX_PENDING));
    // answered too, once
    assert_eq!(wave(10, 10_000), (20, MAX_PENDING));
    world.register(1, "lwm2m=1.1", "", OURS);
}
