//! A plan of several components: one question to the host, one component after the other, one end for all.

use std::{vec, vec::Vec};

use super::world::{Mcu, World, info, offer, package};
use crate::{engine::Config, message::*};

/// STM32 and ESP32 run 1_0; the plan brings ESP32, then STM32 to 2_0. Nobody has heard of it yet.
pub(super) fn world(config: Config) -> World {
    let mut w: World = World::new(config, 4 * 1024, 5000);
    w.version("ESP32", "1_0");
    w.mcu = Mcu::Idle;
    w.set = [("ESP32", 3500), ("STM32", 5000)]
        .map(|(component, length)| {
            let offer = Offer {
                plan: "7-1".try_into().unwrap(),
                component: component.try_into().unwrap(),
                use_space: length as u32,
                components: 2,
                ..offer("", "2_0")
            };
            let mut package = package(length);
            package.reverse();
            (offer, package)
        })
        .into();
    w.settle();
    w.forget();
    w
}

pub(super) fn tell(w: &mut World, place: usize) -> Result<(), Reason> {
    let offer = w.set[place].0.clone();
    w.offer = offer;
    w.offer()
}

/// Both are offered.
fn offered(config: Config) -> World {
    let mut w = world(config);
    tell(&mut w, 0).unwrap();
    tell(&mut w, 1).unwrap();
    w.settle();
    w
}

/// Both are confirmed and the first is fully read, or updating.
fn first_at(config: Config, state: u8) -> World {
    let mut w = offered(config);
    assert_eq!(w.action(1), Reply::Ok);
    w.center_sends_info = state > 2;
    w.contact();
    w.settle();
    if state == 9 {
        assert_eq!(w.action(2), Reply::Ok);
        w.settle();
        assert_eq!(w.action(3), Reply::Ok);
        w.settle();
    }
    w.forget();
    w
}

fn ended(w: &World) -> Vec<(u8, State, Option<Reason>)> {
    let over = |r: &&(u8, State, Option<Reason>)| r.1 >= State::Success || r.1 == State::Refused;
    w.reports.iter().filter(over).copied().collect()
}

#[test]
fn one_question_one_answer_and_one_after_the_other() {
    for config in [Config::default(), Config::strict()] {
        let mut w = offered(config);
        assert_eq!(w.codes(), [10700, 10700]);
        assert_eq!(
            w.reports,
            [
                (2, State::PlanReceived, None),
                (1, State::PlanReceived, None)
            ]
        );
        w.mcu = Mcu::Good;
        assert_eq!(w.action(1), Reply::Ok);
        w.settle();
        let one = |pieces| {
            let mut codes = vec![10701];
            codes.extend([10702, 10703].repeat(pieces));
            codes.extend([10704, 10705]);
            codes
        };
        assert_eq!(
            w.codes(),
            [vec![10700, 10700, 10707], one(2), one(2)].concat()
        );
        let of = |instance| -> Vec<u8> {
            let of = w.reports.iter().filter(|r| r.0 == instance);
            of.map(|r| r.1.number()).collect()
        };
        assert_eq!(of(2), [1, 2, 4, 5, 8, 4, 5, 8, 9, 11]);
        assert_eq!(of(1), of(2));
        for (offer, package) in &w.set {
            assert_eq!(w.images[&offer.component], *package);
            assert_eq!(w.engine.version(&offer.component), Some("2_0"));
        }
        assert_eq!(w.engine.state(), State::None);
        // and the next plan may come
        w.offer.plan = "7-2".try_into().unwrap();
        w.offer.target = "3_0".try_into().unwrap();
        assert_eq!(w.offer(), Ok(()));
    }
}

#[test]
fn the_host_is_not_asked_before_all_are_there() {
    for auto_confirm in [false, true] {
        let mut w = world(Config {
            auto_confirm,
            ..Config::default()
        });
        tell(&mut w, 0).unwrap();
        assert_eq!(w.states(), [1]);
        for action in [0, 1] {
            assert_eq!(w.action(action), Reply::Refused(Reason::AtNotAllowedNow));
        }
        // neither a host that asks, nor time, nor a restart changes that
        w.ask(Command::Request(0));
        w.pass(60_000);
        w.restart();
        w.pass(60_000);
        assert_eq!(w.engine.state(), State::PlanReceived);
        assert_eq!(tell(&mut w, 0), Ok(()), "the same again");
        assert!(w.codes().is_empty());
        w.center_sends_info = false;
        tell(&mut w, 1).unwrap();
        w.settle();
        let (codes, state) = match auto_confirm {
            false => (vec![10700, 10700], State::PlanReceived),
            true => (vec![10700, 10700, 10707], State::Confirmed),
        };
        assert_eq!((w.codes(), w.engine.state()), (codes, state));
    }
}

#[test]
fn an_answer_is_for_all() {
    let mut w = offered(Config::default());
    w.restart();
    w.settle();
    assert_eq!(w.codes(), [10700, 10700, 10700, 10700]);
    w.forget();
    assert_eq!(w.action(0), Reply::Ok);
    w.settle();
    assert_eq!(w.codes(), [10707]);
    assert_eq!(
        w.reports,
        [(1, State::Refused, None), (2, State::Refused, None)]
    );
    assert_eq!(w.engine.state(), State::None);
}

/// A set that is never complete, or never answered, is no wall.
#[test]
fn another_set_or_a_cancel_takes_the_place_of_one_that_was_not_answered() {
    for both in [false, true] {
        let begin = || match both {
            false => {
                let mut w = world(Config::default());
                tell(&mut w, 0).unwrap();
                w
            }
            true => offered(Config::default()),
        };
        let mut w = begin();
        w.forget();
        w.offer = Offer {
            plan: "7-2".try_into().unwrap(),
            components: 1,
            ..w.set[1].0.clone()
        };
        assert_eq!(w.offer(), Ok(()));
        assert_eq!(w.codes(), [10700]);
        assert_eq!(w.reports, [(1, State::PlanReceived, None)]);
        assert_eq!(w.action(1), Reply::Ok);
        w.settle();
        assert!(!w.codes().contains(&10707), "one component is no set");
        assert_eq!(w.states().last(), Some(&2), "the old set is forgotten");

        let mut w = begin();
        w.forget();
        w.tell(ToEngine::Cancel {
            ticket: 3,
            instance: 2,
        });
        w.settle();
        let other = (1, State::Failure, Some(Reason::OtherComponentFailed));
        let mut expected = vec![(2, State::Failure, Some(Reason::Cancelled)), other];
        expected.truncate(1 + usize::from(both));
        assert_eq!(w.reports, expected);
        assert_eq!(w.codes().len(), expected.len());
        assert_eq!(w.engine.state(), State::None);
        // The server writes it again because it did not hear how it ended: it is told, and nothing begins.
        w.forget();
        let mut again = vec![(2, State::Failure, Some(Reason::Cancelled))];
        assert_eq!(tell(&mut w, 0), Ok(()));
        if both {
            assert_eq!(tell(&mut w, 1), Ok(()));
            again.push(other);
        }
        w.settle();
        assert_eq!(w.reports, again);
        assert_eq!(w.codes(), []);
        assert_eq!(w.engine.state(), State::None);
        for (offer, _) in &mut w.set {
            offer.plan = "7-2".try_into().unwrap();
        }
        assert_eq!(tell(&mut w, 0), Ok(()));
        assert_eq!(w.engine.state(), State::PlanReceived);
        // what came through one door waits for the other no longer than it takes to cancel
        w.door = Door::Standard;
        assert_eq!(tell(&mut w, 1), Err(Reason::UpgradeBusy));
    }
}

#[test]
fn download_information_keeps_to_the_turn() {
    let mut w = first_at(Config::default(), 8);
    let tell = |w: &mut World, instance, plan: &str| {
        let info = info(plan, &w.package);
        w.tell(ToEngine::DownloadInfo {
            ticket: 3,
            instance,
            info,
        });
        w.settle();
        w.verdicts.pop().unwrap()
    };
    assert_eq!(tell(&mut w, 1, "7-1"), Err(Reason::UpgradeBusy));
    assert_eq!(tell(&mut w, 3, "7-1"), Err(Reason::BadOffer));
    assert_eq!(tell(&mut w, 2, "7-2"), Err(Reason::BadOffer));
    assert_eq!(w.engine.state(), State::Downloaded);
}

/// The one that waits has no limit while another is under upgrade; its own begins when that one succeeded.
#[test]
fn who_waits_is_not_late() {
    for (config, limit) in [(Config::default(), 697_500), (Config::strict(), 30_000)] {
        let mut w = first_at(config, 9);
        w.center_sends_info = false;
        w.pass(19 * 60_000);
        assert!(w.reports.is_empty());
        w.version("ESP32", "2_0");
        w.pass(limit - 1);
        assert_eq!(w.engine.state(), State::Confirmed);
        assert_eq!(ended(&w), [(2, State::Success, None)]);
        w.pass(1);
        let late = (1, State::Failure, Some(Reason::ConfirmedButNoDownload));
        assert_eq!(ended(&w)[1..], [late]);
    }
}

/// What ends one component, and what becomes of both: the one under upgrade is instance 2, in this state.
#[test]
fn one_that_fails_ends_the_others() {
    use Reason::*;
    type What = fn(&mut World);
    let cancel = |w: &mut World, instance| {
        w.tell(ToEngine::Cancel {
            ticket: 3,
            instance,
        });
    };
    let cancel_first: What = |w| {
        w.tell(ToEngine::Cancel {
            ticket: 3,
            instance: 2,
        });
    };
    let first_differs: What = |w| assert_eq!(w.version("ESP32", "9"), Reply::Ok);
    let second_differs: What = |w| assert_eq!(w.version("STM32", "9"), Reply::Ok);
    let time: What = |w| w.pass(1_200_000);
    let fail = |instance, reason| (instance, State::Failure, Some(reason));
    type Case = (u8, What, Vec<(u8, State, Option<Reason>)>);
    let cases: [Case; 7] = [
        (
            2,
            cancel_first,
            vec![fail(2, Cancelled), fail(1, OtherComponentFailed)],
        ),
        (
            2,
            time,
            vec![
                fail(1, ConfirmedButNoDownload),
                fail(2, OtherComponentFailed),
            ],
        ),
        (
            8,
            cancel_first,
            vec![fail(2, Cancelled), fail(1, OtherComponentFailed)],
        ),
        (
            8,
            first_differs,
            vec![fail(2, McuRunsOtherVersion), fail(1, OtherComponentFailed)],
        ),
        (
            8,
            second_differs,
            vec![fail(1, McuRunsOtherVersion), fail(2, OtherComponentFailed)],
        ),
        (
            9,
            first_differs,
            vec![fail(2, McuRunsOtherVersion), fail(1, OtherComponentFailed)],
        ),
        (
            9,
            time,
            vec![fail(2, McuUpdateTimeout), fail(1, OtherComponentFailed)],
        ),
    ];
    for (state, what, expected) in cases {
        let mut w = first_at(Config::default(), state);
        what(&mut w);
        w.settle();
        assert_eq!(w.reports, expected, "{state}");
        assert_eq!(w.codes(), [10706, 10706], "{state}");
        assert_eq!(w.engine.state(), State::None);
        let view = w.views.last().unwrap();
        for (instance, _, reason) in expected {
            let last = view.components[usize::from(instance)].last;
            assert_eq!(last, Some(Err(reason.unwrap())));
        }
        // it stays so
        w.forget();
        w.restart();
        w.pass(1_200_000);
        assert!(w.codes().is_empty() && !w.states().contains(&11), "{state}");
        assert_eq!(tell(&mut w, 0), Ok(()));
    }
    // An MCU that is being written is not stopped.
    for second in [second_differs, |w| {
        w.tell(ToEngine::Cancel {
            ticket: 3,
            instance: 1,
        })
    }] {
        let mut w = first_at(Config::default(), 9);
        second(&mut w);
        cancel(&mut w, 2);
        w.settle();
        assert_eq!(w.verdicts.pop(), Some(Err(UpgradeBusy)));
        assert_eq!(w.engine.state(), State::Updating);
        w.restart();
        w.settle();
        w.version("ESP32", "2_0");
        w.settle();
        assert_eq!(ended(&w)[0].0, 1);
        assert_eq!(ended(&w)[1..], [(2, State::Success, None)]);
        assert_eq!(w.engine.state(), State::None);
    }
}

#[test]
fn versions_of_one_that_waits() {
    let mut w = first_at(Config::default(), 8);
    w.version("STM32", "1_0");
    w.settle();
    assert!(w.reports.is_empty() && w.codes().is_empty(), "it waits");
    w.version("STM32", "2_0");
    w.settle();
    assert_eq!(w.reports, [(1, State::Success, None)]);
    assert_eq!(w.codes(), [10705]);
    assert_eq!(w.engine.state(), State::Downloaded, "the other goes on");
    assert_eq!(w.action(2), Reply::Ok);
    w.settle();
    assert_eq!(w.action(3), Reply::Ok);
    w.version("ESP32", "2_0");
    w.settle();
    assert_eq!(ended(&w).len(), 2);
    assert_eq!(w.codes().iter().filter(|c| **c == 10705).count(), 2);
    assert_eq!(w.engine.state(), State::None);
    // to the letter
    let mut w = first_at(Config::strict(), 8);
    w.version("STM32", "1_0");
    w.settle();
    let source = (1, State::Failure, Some(Reason::McuStillRunsSource));
    assert_eq!(w.reports[0], source);
    // both at once, and the host hears of both
    let mut w = first_at(Config::default(), 2);
    w.version("STM32", "2_0");
    w.version("ESP32", "2_0");
    w.settle();
    assert_eq!(w.codes(), [10705, 10705]);
}

/// The design's table of restarts, of the first component while the second waits.
#[test]
fn restarts() {
    for (state, codes, states) in [
        (2, &[][..], &[2, 2][..]),
        (8, &[10703], &[8]),
        (9, &[10704], &[9]),
    ] {
        let mut w = first_at(Config::default(), state);
        w.center_sends_info = false;
        w.restart();
        w.settle();
        assert_eq!(w.codes(), codes, "{state}");
        assert_eq!(w.states(), states, "{state}");
        w.center_sends_info = true;
        w.mcu = Mcu::Good;
        match state {
            2 => w.contact(),
            // the announcements again, for an MCU that reads now
            _ => w.restart(),
        }
        w.settle();
        let done = w.codes().iter().filter(|c| **c == 10705).count();
        assert_eq!(done, 2, "{state}: {:?}", w.reports);
    }
    // The second is done already when power goes in the first one's download.
    let operations = {
        let mut w = first_at(Config::default(), 8);
        w.flash.set_power(None);
        w.version("STM32", "2_0");
        w.flash.used()
    };
    for cut in 0..operations {
        let mut w = first_at(Config::default(), 8);
        w.flash.set_power(Some(cut));
        w.version("STM32", "2_0");
        assert!(w.dead());
        w.restart();
        w.mcu = Mcu::Good;
        w.settle();
        w.version("STM32", "2_0");
        w.settle();
        let done = w.codes().iter().filter(|c| **c == 10705).count();
        assert_eq!(done, 2, "cut {cut}: {:?}", w.reports);
    }
}

/// A cut during every flash operation of an upgrade of two components; then it is finished.
#[test]
fn power_may_go_at_every_flash_operation() {
    let begin = || {
        let mut w = world(Config::default());
        w.mcu = Mcu::Good;
        w
    };
    let run = |w: &mut World| {
        w.contact();
        w.settle();
    };
    let mut whole = begin();
    whole.flash.set_power(None);
    run(&mut whole);
    let operations = whole.flash.used();
    let blocks: u32 = whole.fetches.values().sum();
    assert!(whole.codes().ends_with(&[10704, 10705]) && operations > blocks);
    for cut in 0..operations {
        let mut w = begin();
        w.flash.set_power(Some(cut));
        run(&mut w);
        assert!(w.dead(), "cut {cut} of {operations}");
        w.restart();
        w.settle();
        // the Center hears from it again
        for _ in 0..3 {
            run(&mut w);
        }
        for (offer, package) in &w.set {
            let version = w.engine.version(&offer.component);
            assert_eq!(version, Some("2_0"), "cut {cut}: {:?}", w.reports);
            assert!(w.images[&offer.component] == *package, "cut {cut}");
        }
        assert_eq!(w.engine.state(), State::None, "cut {cut}");
        assert!(
            !w.states().contains(&12) && !w.codes().contains(&10706),
            "cut {cut}: {:?}",
            w.reports
        );
        let ends = w.codes().iter().filter(|c| **c == 10705).count();
        assert_eq!(ends, 2, "cut {cut}: {:?}", w.codes());
        let fetched: u32 = w.fetches.values().sum();
        assert!(fetched <= blocks + 1, "cut {cut}: {fetched} of {blocks}");
    }
}

/// The standard's door knows no sets: a foreign server upgrades each component for itself.
#[test]
fn the_standards_door_joins_nothing() {
    let mut w = world(Config::default());
    w.door = Door::Standard;
    for place in [0, 1] {
        w.offer = w.set[place].0.clone();
        w.offer.plan.clear();
        w.offer.target.clear();
        w.offer.components = 0;
        assert_eq!(w.offer(), Ok(()));
        assert_eq!(w.codes().len(), place + 1, "asked for each");
    }
    w.tell(ToEngine::Cancel {
        ticket: 3,
        instance: 2,
    });
    w.settle();
    assert_eq!(ended(&w), [(2, State::Failure, Some(Reason::Cancelled))]);
    assert_eq!(
        w.engine.state(),
        State::PlanReceived,
        "the other still waits"
    );
}

#[test]
fn an_offer_that_comes_again_in_state_6_tells_its_own_component() {
    let mut w = offered(Config::default());
    assert_eq!(w.action(1), Reply::Ok);
    w.center_sends_info = false;
    w.online = false;
    w.settle();
    let info = info("7-1", &w.set[0].1);
    w.tell(ToEngine::DownloadInfo {
        ticket: 2,
        instance: 2,
        info,
    });
    w.settle();
    w.tell(ToEngine::FetchFailed(Reason::PackageNotFound));
    w.settle();
    assert_eq!(w.last_reason(), Some(Reason::PackageNotFound));
    w.forget();
    assert_eq!((tell(&mut w, 0), tell(&mut w, 1)), (Ok(()), Ok(())));
    w.settle();
    let broken = (2, State::DownloadError, Some(Reason::PackageNotFound));
    assert_eq!(w.reports, [broken, (1, State::Confirmed, None)]);
}

#[test]
fn an_offer_that_comes_again_after_a_strict_restart_tells_state_6_of_all() {
    let mut w = offered(Config::strict());
    assert_eq!(w.action(1), Reply::Ok);
    w.center_sends_info = false;
    w.online = false;
    w.settle();
    w.restart();
    w.settle();
    w.forget();
    assert_eq!((tell(&mut w, 0), tell(&mut w, 1)), (Ok(()), Ok(())));
    w.settle();
    let again = |instance| (instance, State::DownloadError, None);
    assert_eq!(w.reports, [again(2), again(1)]);
}
