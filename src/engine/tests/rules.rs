//! One rule of the reference or of the design per case: actions, restarts, versions, timers, strategy,
//! digests, rewind, cancel, strict.

use std::{format, vec::Vec};

use super::world::{BLOCK, Mcu, World};
use crate::{engine::Config, message::*, platform::Readings};

const PIECES: usize = 5000; // with 4 KiB of staging: pieces of 3072 and 1928 bytes

pub(super) fn world(config: Config) -> World {
    let mut w: World = World::new(config, 4 * 1024, PIECES);
    w.mcu = Mcu::Idle;
    w.settle();
    w
}

/// A world in which the engine stays in `state`; 8 is the first piece, 18 the last.
pub(super) fn at(config: Config, state: u8) -> World {
    let mut w = world(config);
    w.center_sends_info = false;
    if state == 0 {
        return w;
    }
    w.offer().unwrap();
    match state {
        1 => return w,
        3 => {
            assert_eq!(w.action(0), Reply::Ok);
            return w;
        }
        _ => assert_eq!(w.action(1), Reply::Ok),
    }
    w.settle();
    if state == 2 {
        return w;
    }
    w.online = matches!(state, 8 | 9 | 18);
    w.send_info();
    w.settle();
    if state == 4 {
        return w;
    }
    if matches!(state, 5 | 6) {
        for _ in 0..3 {
            w.send_block();
            w.settle();
        }
        if state == 6 {
            w.tell(ToEngine::FetchFailed(Reason::PackageNotFound));
        }
        return w;
    }
    if state != 8 {
        assert_eq!(w.action(2), Reply::Ok);
        w.settle();
    }
    if state == 9 {
        assert_eq!(w.action(3), Reply::Ok);
        w.settle();
    }
    w
}

pub(super) fn reached(w: &World, state: u8) {
    let state = State::from_number(if state == 18 { 8 } else { state }).unwrap();
    assert_eq!(w.engine.state(), state);
}

#[test]
fn every_action_in_every_state() {
    for state in [0, 1, 2, 3, 4, 5, 6, 8, 18, 9] {
        for action in 0..=4 {
            let mut w = at(Config::default(), state);
            reached(&w, state);
            let expected = match (action, state) {
                (0, 1) => Some(State::Refused),
                (1, 1 | 2) => Some(State::Confirmed),
                (2, 8) => Some(State::DownloadStarts),
                (3, 18 | 9) => Some(State::Updating),
                _ => None,
            };
            let before = w.engine.state();
            let reply = w.action(action);
            let case = format!("action {action} in {state}");
            match expected {
                Some(after) => {
                    assert_eq!(reply, Reply::Ok, "{case}");
                    assert_eq!(w.engine.state(), after, "{case}");
                }
                None => {
                    assert!(matches!(reply, Reply::Refused(_)), "{case}");
                    assert_eq!(w.engine.state(), before, "{case}");
                }
            }
        }
    }
}

#[test]
fn the_table_of_restarts() {
    // state, goes on as, the only events of the upgrade
    for (state, after, codes) in [
        (1, 1, &[10700][..]),
        (2, 2, &[]),
        (4, 5, &[10702]),
        (5, 5, &[10702]),
        (6, 5, &[10702]),
        (8, 8, &[10703]),
        (18, 8, &[10703]),
        (9, 9, &[10704]),
    ] {
        let mut w = at(Config::default(), state);
        w.settle();
        w.online = false;
        w.forget();
        let piece = w.engine.piece();
        w.restart();
        w.settle();
        reached(&w, after);
        assert_eq!(w.codes(), codes, "{state}");
        assert_eq!(
            w.states(),
            [after],
            "{state}: the state is reported again once"
        );
        assert_eq!(w.engine.piece(), piece);
        assert_eq!(w.engine.flow.failures, u8::from(state == 6), "{state}");
        if matches!(state, 5 | 6) {
            assert_eq!(w.engine.progress().0, 3 * BLOCK as u32);
            w.online = true;
            w.settle();
            assert!(w.fetches.values().all(|n| *n == 1), "no block twice");
        }
    }
    // Nothing to go on with.
    for state in [0, 3] {
        let mut w = at(Config::default(), state);
        w.settle();
        w.restart();
        w.settle();
        assert_eq!(w.engine.state(), State::None);
        assert_eq!(w.offer(), Ok(()));
    }
}

#[test]
fn the_table_of_restarts_when_strict() {
    for (state, after) in [(1, 1), (2, 0), (4, 0), (5, 0), (8, 0), (9, 9)] {
        let mut w = at(Config::strict(), state);
        w.settle();
        w.forget();
        w.restart();
        w.settle();
        reached(&w, after);
        if after == 0 {
            assert_eq!(w.states(), [6], "{state}");
            w.mcu = Mcu::Good;
            w.online = true;
            w.send_info();
            w.settle();
            assert_eq!(w.image, w.package);
        }
    }
}

#[test]
fn what_is_left_of_the_20_minutes_survives() {
    let mut w = at(Config::default(), 9);
    w.pass(15 * 60_000);
    w.restart();
    w.settle();
    reached(&w, 9);
    w.pass(4 * 60_000);
    reached(&w, 9);
    w.pass(61_000);
    assert_eq!(w.last_reason(), Some(Reason::McuUpdateTimeout));
    let mut w = at(Config::strict(), 9);
    w.pass(15 * 60_000);
    w.restart();
    w.pass(19 * 60_000);
    reached(&w, 9);
}

#[test]
fn timers() {
    for (state, strict, ms, reason) in [
        (2, false, 697_500, Reason::ConfirmedButNoDownload),
        (2, true, 30_000, Reason::ConfirmedButNoDownload),
        (4, false, 552_500, Reason::DownloadDidNotStart),
        (4, true, 5_000, Reason::DownloadDidNotStart),
        (8, false, 60_000, Reason::McuStoppedReading),
        (8, true, 60_000, Reason::McuStoppedReading),
        (9, false, 1_200_000, Reason::McuUpdateTimeout),
        (9, true, 1_200_000, Reason::McuUpdateTimeout),
    ] {
        let config = if strict {
            Config::strict()
        } else {
            Config::default()
        };
        let mut w = at(config, state);
        w.online = false;
        w.pass(ms - 1);
        reached(&w, state);
        w.pass(1);
        assert_eq!(w.last_reason(), Some(reason), "{state} {strict}");
        assert_eq!(w.states().last(), Some(if state == 4 { &6 } else { &12 }));
    }
    // 10702 every 5 s, on the air once; each read re-arms the 60 s.
    let mut w = at(Config::default(), 5);
    w.settle();
    w.forget();
    w.pass(20_000);
    assert_eq!(w.codes(), [10702; 4]);
    assert!(w.reports.is_empty());
    let mut w = at(Config::default(), 8);
    for _ in 0..3 {
        w.pass(50_000);
        assert_eq!(w.read(0, &mut [0; 8]), Reply::Read(8));
    }
    reached(&w, 8);
}

#[test]
fn five_errors_in_a_row_are_forgiven_and_no_more() {
    let mut w = at(Config::default(), 4);
    for n in 1..=6 {
        w.send_block();
        w.tell(ToEngine::FetchFailed(Reason::PackageNotFound));
        w.settle();
        if n < 6 {
            assert_eq!(w.states().last(), Some(&6), "{n}");
            assert_eq!(w.engine.state(), State::None);
            w.send_info();
            w.settle();
            reached(&w, 4);
        }
    }
    assert_eq!(w.last_reason(), Some(Reason::TooManyDownloadErrors));
    assert_eq!(
        w.codes().iter().filter(|c| **c == 10701).count(),
        1,
        "once per upgrade"
    );
}

#[test]
fn another_etag_begins_from_0() {
    let mut w = at(Config::default(), 5);
    w.etag = 2;
    w.tell(ToEngine::FetchStarted {
        total: None,
        etag: Etag::new(&[2]).unwrap(),
    });
    w.settle();
    assert_eq!(w.last_reason(), Some(Reason::PackageChanged));
    assert_eq!(w.engine.progress().0, 0);
    w.online = true;
    w.mcu = Mcu::Good;
    w.send_info();
    w.settle();
    assert_eq!(w.image, w.package);
}

#[test]
fn a_bad_package_is_refused() {
    for piece in [0, 3072] {
        let mut w = world(Config::default());
        w.mcu = Mcu::Good;
        w.corrupt = Some(piece);
        w.offer().unwrap();
        w.settle();
        assert_eq!(w.last_reason(), Some(Reason::DigestMismatch));
        assert_eq!(w.codes().last(), Some(&10706));
        assert_eq!(
            w.codes().iter().filter(|c| **c == 10703).count(),
            1,
            "early pieces as received"
        );
        assert!(matches!(w.action(3), Reply::Refused(_)));
        assert!(!w.codes().contains(&10704));
    }
    // A length that the server does not confirm.
    let mut w = at(Config::default(), 4);
    w.tell(ToEngine::FetchStarted {
        total: Some(7),
        etag: Etag::NONE,
    });
    w.settle();
    assert_eq!(w.last_reason(), Some(Reason::LengthMismatch));
}

#[test]
fn reads() {
    let mut w = at(Config::default(), 18);
    let end = PIECES as u32;
    let mut b = [0; 100];
    assert!(matches!(w.read(0, &mut b), Reply::Refused(_)), "released");
    assert!(matches!(w.read(end, &mut b), Reply::Refused(_)));
    assert_eq!(w.read(end - 7, &mut b), Reply::Read(7), "clipped");
    assert_eq!(b[..7], w.package[PIECES - 7..]);
    for _ in 0..2 {
        assert_eq!(
            w.read(3072, &mut b),
            Reply::Read(100),
            "any number of times"
        );
        assert_eq!(b[..], w.package[3072..3172]);
    }
    let mut w = at(Config::default(), 5);
    assert!(matches!(w.read(0, &mut b), Reply::Refused(_)), "only in 8");
}

#[test]
fn rewind() {
    for (offset, start) in [
        (2000, 0),
        (2048, 2048),
        (4095, 2048),
        (4096, 4096),
        (5999, 4096),
    ] {
        let mut w: World = World::new(Config::default(), 3 * 1024, 6000);
        w.mcu = Mcu::Idle;
        w.offer().unwrap();
        w.action(1);
        w.settle();
        for _ in 0..2 {
            w.action(2);
            w.settle();
        }
        assert_eq!(w.engine.piece(), Some((4096, 1904)));
        assert_eq!(w.ask(Command::Rewind(offset)), Reply::Ok);
        w.settle();
        assert_eq!(w.engine.piece().unwrap().0, start, "{offset}");
        // From there to the end, and the digests still match.
        while w.engine.piece().unwrap().0 < 4096 {
            assert_eq!(w.action(2), Reply::Ok);
            w.settle();
        }
        assert_eq!(w.action(3), Reply::Ok, "{offset}");
    }
    // More boundaries back than are kept: from 0.
    let mut w: World = World::new(Config::default(), 2 * 1024, 6000);
    w.mcu = Mcu::Idle;
    w.offer().unwrap();
    w.action(1);
    w.settle();
    for _ in 0..4 {
        w.action(2);
        w.settle();
    }
    assert_eq!(w.ask(Command::Rewind(1500)), Reply::Ok);
    w.settle();
    assert_eq!(w.engine.piece(), Some((0, 1024)));
    assert!(matches!(w.ask(Command::Rewind(5000)), Reply::Refused(_)));
}

#[test]
fn strategy_is_judged_at_confirm_time_and_before_each_piece() {
    let mut w = world(Config::default());
    w.offer.battery_limit_percent = 30;
    w.offer.min_signal_dbm = -113;
    w.offer().unwrap();
    assert_eq!(w.action(1), Reply::Refused(Reason::BatteryUnknown));
    w.readings = Readings {
        battery_percent: Some(20),
        rsrp_dbm: Some(-120),
    };
    assert_eq!(w.action(1), Reply::Refused(Reason::BatteryTooLow));
    w.readings.battery_percent = Some(80);
    assert_eq!(w.action(1), Reply::Refused(Reason::SignalTooWeak));
    assert_eq!(w.engine.state(), State::PlanReceived);
    w.readings.rsrp_dbm = Some(-100);
    assert_eq!(w.action(1), Reply::Ok);
    w.settle();
    reached(&w, 8);
    w.readings.battery_percent = Some(29);
    assert_eq!(w.action(2), Reply::Ok);
    w.pass(3_600_000);
    assert_eq!(
        w.engine.state(),
        State::DownloadStarts,
        "suspended, not failed"
    );
    assert_eq!(w.engine.last_error(), Some(Reason::BatteryTooLow));
    w.readings.battery_percent = Some(30);
    w.pass(5_000);
    reached(&w, 8);
    assert_eq!(w.action(3), Reply::Ok);
    // The host judges when strict.
    let mut w = world(Config::strict());
    w.offer.battery_limit_percent = 30;
    w.offer().unwrap();
    assert_eq!(w.action(1), Reply::Ok);
}

#[test]
fn space() {
    let mut w = world(Config::default());
    w.engine.set_mcu_slot(Some(4999));
    w.offer().unwrap();
    assert_eq!(w.action(1), Reply::Refused(Reason::NotEnoughSpace));
    w.settle();
    assert_eq!(w.last_reason(), Some(Reason::NotEnoughSpace));
    let mut w = world(Config::default());
    w.engine.set_mcu_slot(Some(5000));
    w.offer().unwrap();
    assert_eq!(w.action(1), Reply::Ok);
}

#[test]
fn cancel() {
    for state in [1, 2, 4, 5, 6, 8, 18, 9] {
        let mut w = at(Config::default(), state);
        w.forget();
        w.tell(ToEngine::Cancel {
            ticket: 1,
            instance: 1,
        });
        w.settle();
        let verdict = w.verdicts.pop().unwrap();
        if state == 9 {
            assert!(verdict.is_err());
            reached(&w, 9);
        } else {
            assert_eq!(verdict, Ok(()));
            assert_eq!(w.last_reason(), Some(Reason::Cancelled), "{state}");
            assert_eq!(w.codes().last(), Some(&10706));
            w.settle();
            assert!(!w.engine.can_take_block());
        }
    }
}

#[test]
fn the_host_gives_up() {
    for (state, reply, code) in [
        (0, Reply::Refused(Reason::AtNotAllowedNow), None),
        (1, Reply::Ok, None),
        (2, Reply::Ok, Some(&10706)),
        (3, Reply::Refused(Reason::AtNotAllowedNow), None),
        (4, Reply::Ok, Some(&10706)),
        (5, Reply::Ok, Some(&10706)),
        (6, Reply::Ok, Some(&10706)),
        (8, Reply::Ok, Some(&10706)),
        (18, Reply::Ok, Some(&10706)),
        (9, Reply::Refused(Reason::UpgradeBusy), None),
    ] {
        let mut w = at(Config::default(), state);
        w.forget();
        assert_eq!(
            w.ask(Command::Cancel(Reason::RefusedByHost)),
            reply,
            "{state}"
        );
        w.settle();
        assert_eq!(w.codes().last(), code, "{state}");
        if reply == Reply::Ok {
            assert_eq!(w.engine.last_error(), Some(Reason::RefusedByHost));
            if code.is_some() {
                assert_eq!(w.last_reason(), Some(Reason::RefusedByHost), "{state}");
            }
            assert!(!w.engine.can_take_block());
            // Once is enough, and the next plan is taken.
            assert_eq!(
                w.ask(Command::Cancel(Reason::RefusedByHost)),
                Reply::Refused(Reason::AtNotAllowedNow)
            );
            w.offer.plan = "another".try_into().unwrap();
            assert_eq!(w.offer(), Ok(()));
        }
    }
}

#[test]
fn offers_and_download_information_that_do_not_fit() {
    let mut w = at(Config::default(), 2);
    w.offer.target = "3".try_into().unwrap();
    assert_eq!(w.offer(), Err(Reason::UpgradeBusy));
    let good = w.info.clone();
    let mut results = Vec::new();
    for n in 0..5 {
        w.info = good.clone();
        match n {
            0 => w.info.plan.clear(),
            1 => w.info.uri.clear(),
            2 => w.info.length = 0,
            3 => w.info.length = (1 << 28) + 1,
            _ => {
                w.info.md5 = None;
                w.info.crc32 = None;
                w.info.sha256 = None;
            }
        }
        w.send_info();
        w.settle();
        results.push(w.verdicts.pop().unwrap().unwrap_err());
        reached(&w, 2);
    }
    use Reason::*;
    assert_eq!(
        results,
        [BadOffer, BadPackageUri, BadOffer, PackageTooLarge, NoDigest]
    );
    let mut w = world(Config::default());
    w.offer.component = "NOBODY".try_into().unwrap();
    assert_eq!(w.offer(), Err(UnknownComponent));
    // Found by fuzzing: the text went to the MCU as it was, and `OK` stood on a line of its own.
    w.offer.component = "STM32".try_into().unwrap();
    for text in ["2_0\"\r\nOK\r\n", "2;0", "\n"] {
        w.offer.target = text.try_into().unwrap();
        assert_eq!(w.offer(), Err(BadOffer), "{text:?}");
        assert_eq!(w.codes(), []);
    }
    w.info.plan.clear();
    assert_eq!(w.ask(Command::Request(2)), Reply::Refused(AtBadParameter));
    assert_eq!(w.ask(Command::Request(1)), Reply::Ok);
}

#[test]
fn a_broken_flash_ends_in_failure() {
    let mut w = at(Config::default(), 5);
    w.flash.staging.broken = true;
    w.online = true;
    w.settle();
    assert!(matches!(
        w.last_reason(),
        Some(Reason::FlashWriteFailed | Reason::FlashEraseFailed)
    ));
    assert_eq!(w.codes().last(), Some(&10706));
    let mut w = at(Config::default(), 1);
    w.flash.journal.broken = true;
    assert!(matches!(w.action(1), Reply::Refused(_)));
    w.settle();
    w.pass(10_000_000);
}

#[test]
fn the_strategy_is_judged_again_after_a_restart() {
    let mut w = at(Config::default(), 0);
    w.offer.battery_limit_percent = 30;
    w.readings.battery_percent = Some(50);
    w.mcu = Mcu::Good;
    w.center_sends_info = true;
    w.online = false;
    w.offer().unwrap();
    w.settle();
    assert_eq!(w.engine.state(), State::DownloadStarts);
    w.readings.battery_percent = Some(10);
    w.online = true;
    w.restart();
    w.pass(600_000);
    assert!(w.fetches.is_empty());
    assert_eq!(w.views.last().unwrap().reason, Some(Reason::BatteryTooLow));
    w.readings.battery_percent = Some(50);
    w.pass(5_000);
    assert_eq!(w.image, w.package);
}

#[test]
fn a_refusal_is_told_and_over() {
    let mut w = at(Config::default(), 3);
    w.settle();
    assert_eq!(w.states(), [1, 3]);
    assert_eq!(w.engine.state(), State::None);
    let view = w.views.last().unwrap();
    assert_eq!(view.components[1].last, Some(Err(Reason::RefusedByHost)));
    assert_eq!(view.answer, Some(false));
    assert_eq!(w.offer(), Ok(()));
}

#[test]
fn a_refused_registration_is_told_each_time() {
    let mut w = world(Config::default());
    assert_eq!(w.ask(Command::Connect(true)), Reply::Ok);
    w.settle();
    w.forget();
    w.tell(ToEngine::Link(false));
    w.settle();
    for _ in 0..2 {
        w.tell(ToEngine::Refused);
        w.settle();
    }
    assert_eq!(w.events, [10474, 10431, 10431].map(Event::Access));
}

#[test]
fn an_offer_that_ended_is_told_so_and_begins_nothing() {
    let mut w = at(Config::default(), 8);
    w.version("STM32", "9_9");
    w.settle();
    w.forget();
    let failed = (1, State::Failure, Some(Reason::McuRunsOtherVersion));
    for _ in 0..2 {
        assert_eq!(w.offer(), Ok(()));
        w.settle();
    }
    assert_eq!(w.reports, [failed, failed]);
    assert_eq!(w.codes(), []);
    // also after a restart, which tells it once by itself
    w.restart();
    w.settle();
    w.forget();
    assert_eq!(w.offer(), Ok(()));
    w.settle();
    assert_eq!(w.reports, [failed]);
    // the host names its component anew: nothing is known of an end
    w.version("STM32", "");
    w.version("STM32", "1_0");
    w.settle();
    w.forget();
    assert_eq!(w.offer(), Ok(()));
    assert_eq!(w.codes(), [10700]);
}
