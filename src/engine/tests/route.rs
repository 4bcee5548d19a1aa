//! Several back ends at one engine: who hears what, and whose commands are taken. ESP32 is the main one's, STM32 has a
//! back end at the side.

use std::{vec, vec::Vec};

use super::{
    set::{tell, world},
    world::World,
};
use crate::{
    bridge::route::{MAIN, Routes, SIDES},
    engine::Config,
    message::*,
};

const NOT_NOW: Reply = Reply::Refused(Reason::AtNotAllowedNow);
const SIDE: usize = 1;
const OTHER: usize = 2;

/// Nobody has heard of the plan; `order`: of the two components.
fn routed(order: [usize; 2], config: Config) -> World {
    let mut w = world(config);
    w.routes = Routes::new(true);
    assert_eq!(w.routes.add("STM32".try_into().unwrap()), Ok(SIDE));
    assert_eq!(w.routes.add("LIGHT".try_into().unwrap()), Ok(OTHER));
    w.set = order.map(|place| w.set[place].clone()).into();
    w
}

/// The same, with both offered.
fn offered(order: [usize; 2]) -> World {
    let mut w = routed(order, Config::default());
    tell(&mut w, 0).unwrap();
    tell(&mut w, 1).unwrap();
    w.settle();
    w
}

/// Only STM32 is offered.
fn alone() -> World {
    let mut w = routed([0, 1], Config::default());
    w.set.remove(0);
    w.set[0].0.components = 1;
    tell(&mut w, 0).unwrap();
    w.settle();
    w
}

fn heard(w: &World, place: usize) -> Vec<u16> {
    let of = w.heard.iter().filter(|(targets, _)| targets.has(place));
    of.map(|(_, code)| *code).collect()
}

fn act(w: &mut World, from: usize, action: u8) -> Reply {
    let reply = w.ask_from(from, Command::Action(action), &mut []);
    w.settle();
    reply
}

/// The present piece, as far as it goes; what was read.
fn read(w: &mut World, from: usize) -> Vec<u8> {
    let (mut at, length) = w.engine.piece().unwrap();
    let (end, mut all) = (at + length, Vec::new());
    while at < end {
        let mut bytes = [0; 100];
        let command = Command::Read {
            start: at,
            len: 100,
        };
        let Reply::Read(n) = w.ask_from(from, command, &mut bytes) else {
            panic!("no read at {at}")
        };
        all.extend_from_slice(&bytes[..n]);
        at += n as u32;
    }
    all
}

/// Reads, goes on and reports the target, as the back end whose turn it is.
fn upgrade(w: &mut World, from: usize, component: &str) -> Vec<u8> {
    let mut image = read(w, from);
    while act(w, from, 2) == Reply::Ok {
        image.extend(read(w, from));
    }
    assert_eq!(act(w, from, 3), Reply::Ok);
    let version = Command::SetMcuVersion(component.try_into().unwrap(), "2_0".try_into().unwrap());
    let other = [SIDE, MAIN][usize::from(from == SIDE)];
    let wrong = w.ask_from(other, version.clone(), &mut []);
    assert_eq!(wrong, Reply::Refused(Reason::UnknownComponent));
    assert_eq!(w.ask_from(from, version, &mut []), Reply::Ok);
    w.settle();
    image
}

/// Everything that only the one whose turn it is may do.
fn all_refused(w: &mut World, from: usize) {
    let before = (w.engine.state(), w.engine.last_error());
    let read = Command::Read { start: 0, len: 1 };
    for command in [
        Command::Action(0),
        Command::Action(1),
        Command::Action(2),
        Command::Action(3),
        Command::Rewind(0),
        Command::Cancel(Reason::RefusedByHost),
        read,
        #[cfg(any(feature = "link", feature = "stm32", feature = "smp"))]
        Command::NotInstalled(Reason::McuStillRunsSource),
    ] {
        assert_eq!(w.ask_from(from, command.clone(), &mut [0]), NOT_NOW);
    }
    assert_eq!((w.engine.state(), w.engine.last_error()), before);
    // to announce is no error, and does nothing for what is not one's own
    let count = w.heard.len();
    assert_eq!(w.ask_from(from, Command::Announce, &mut []), Reply::Ok);
    #[cfg(any(feature = "link", feature = "stm32", feature = "smp"))]
    assert_eq!(w.ask_from(from, Command::AnnounceAll, &mut []), Reply::Ok);
    w.settle();
    assert_eq!(w.heard.len(), count);
}

#[test]
fn a_plan_of_both_is_answered_by_the_main_one_and_each_hears_of_its_own() {
    for order in [[0, 1], [1, 0]] {
        let mut w = offered(order);
        assert_eq!(
            (heard(&w, MAIN), heard(&w, SIDE)),
            (vec![10700], vec![10700])
        );
        assert_eq!(act(&mut w, SIDE, 1), NOT_NOW, "the main one is asked");
        assert_eq!(act(&mut w, SIDE, 0), NOT_NOW);
        all_refused(&mut w, OTHER);
        assert_eq!(act(&mut w, MAIN, 1), Reply::Ok);
        w.settle();
        for (offer, package) in w.set.clone() {
            let (from, other) = match offer.component.as_str() {
                "STM32" => (SIDE, MAIN),
                _ => (MAIN, SIDE),
            };
            assert_eq!(w.engine.state(), State::Downloaded);
            all_refused(&mut w, other);
            assert_eq!(upgrade(&mut w, from, &offer.component), package);
        }
        let own = [
            10700, 10707, 10701, 10702, 10703, 10702, 10703, 10704, 10705,
        ];
        assert_eq!(heard(&w, MAIN), own);
        assert_eq!(heard(&w, SIDE), own);
        assert_eq!(heard(&w, OTHER), []);
    }
}

#[test]
fn a_plan_of_the_side_alone_is_nothing_to_the_main_one() {
    let mut w = alone();
    all_refused(&mut w, MAIN);
    assert_eq!(act(&mut w, SIDE, 1), Reply::Ok);
    all_refused(&mut w, MAIN);
    upgrade(&mut w, SIDE, "STM32");
    assert_eq!(w.engine.version("STM32"), Some("2_0"));
    assert_eq!(heard(&w, MAIN), []);
    assert_eq!(heard(&w, SIDE)[..3], [10700, 10701, 10702]);
    // with nothing under way the engine says why not
    assert_eq!(act(&mut w, MAIN, 1), NOT_NOW);
    assert_eq!(w.engine.last_error(), Some(Reason::AtNotAllowedNow));
}

#[test]
fn a_plan_of_the_main_one_alone_is_nothing_to_the_side() {
    let mut w = routed([0, 1], Config::default());
    w.set.pop();
    w.set[0].0.components = 1;
    tell(&mut w, 0).unwrap();
    w.settle();
    all_refused(&mut w, SIDE);
    assert_eq!(act(&mut w, MAIN, 1), Reply::Ok);
    all_refused(&mut w, SIDE);
    upgrade(&mut w, MAIN, "ESP32");
    assert_eq!(heard(&w, SIDE), []);
}

#[test]
fn one_refusal_or_failure_ends_it_for_both() {
    let mut w = offered([0, 1]);
    assert_eq!(act(&mut w, MAIN, 0), Reply::Ok);
    assert_eq!(heard(&w, SIDE), [10700, 10707]);
    assert_eq!(w.engine.state(), State::None);

    let mut w = offered([1, 0]);
    assert_eq!(act(&mut w, MAIN, 1), Reply::Ok);
    w.settle();
    assert_eq!(
        w.ask_from(SIDE, Command::Cancel(Reason::RefusedByHost), &mut []),
        Reply::Ok
    );
    w.settle();
    // each its own end, with its own reason
    for place in [MAIN, SIDE] {
        assert_eq!(heard(&w, place).last(), Some(&10706));
        let ends = heard(&w, place)
            .iter()
            .filter(|code| **code == 10706)
            .count();
        assert_eq!(ends, 1);
    }
}

/// In state 8 and 9 of the one whose turn it is; the module is reset.
#[cfg(any(feature = "link", feature = "stm32", feature = "smp"))]
#[test]
fn after_a_reset_each_asks_for_its_own() {
    let mut w = offered([1, 0]);
    assert_eq!(act(&mut w, MAIN, 1), Reply::Ok);
    w.settle();
    for codes in [vec![10701, 10703], vec![10701, 10704]] {
        w.restart();
        w.settle();
        w.forget();
        all_refused(&mut w, MAIN);
        assert_eq!(w.ask_from(SIDE, Command::AnnounceAll, &mut []), Reply::Ok);
        w.settle();
        assert_eq!(heard(&w, SIDE), codes);
        assert_eq!(heard(&w, MAIN), []);
        if w.engine.state() == State::Downloaded {
            read(&mut w, SIDE);
            while act(&mut w, SIDE, 2) == Reply::Ok {
                read(&mut w, SIDE);
            }
            assert_eq!(act(&mut w, SIDE, 3), Reply::Ok);
        }
    }
    // a plan that waits for its answer is told again to both
    let mut w = offered([0, 1]);
    w.restart();
    w.settle();
    w.forget();
    assert_eq!(w.ask_from(SIDE, Command::AnnounceAll, &mut []), Reply::Ok);
    w.settle();
    assert_eq!(
        (heard(&w, MAIN), heard(&w, SIDE)),
        (vec![10700], vec![10700])
    );
}

#[test]
fn without_a_main_one_the_network_is_for_nobody_and_any_side_answers() {
    let mut w = alone();
    w.routes = Routes::new(false);
    w.routes.add("STM32".try_into().unwrap()).unwrap();
    w.forget();
    w.tell(ToEngine::Link(false));
    w.settle();
    assert!(!w.heard.is_empty() && w.heard.iter().all(|(targets, _)| targets.is_empty()));
    w.tell(ToEngine::Link(true));
    assert_eq!(act(&mut w, SIDE, 1), Reply::Ok);
    // the module's own firmware beside it: the application may say no before, but is not waited for
    let mut w = offered([0, 1]);
    w.routes = Routes::new(false);
    w.routes.add("STM32".try_into().unwrap()).unwrap();
    assert_eq!(act(&mut w, SIDE, 1), Reply::Ok);
}

#[test]
fn a_component_has_one_back_end() {
    let mut routes = Routes::new(false);
    let name = |text: &str| ComponentName::try_from(text).unwrap();
    assert_eq!(routes.add(name("")), Err(Reason::UnknownComponent));
    for place in 1..=SIDES {
        assert_eq!(routes.add(name(&std::format!("M{place}"))), Ok(place));
        let again = name(&std::format!("M{place}"));
        assert_eq!(routes.add(again), Err(Reason::UnknownComponent));
    }
    assert_eq!(routes.add(name("M9")), Err(Reason::ComponentTableFull));
}
