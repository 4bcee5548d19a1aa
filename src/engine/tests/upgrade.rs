//! Whole upgrades: one piece, several, a restart at every flash operation, both doors.

use std::vec;

use super::{
    flash::Parts,
    world::{BLOCK, Mcu, World},
};
use crate::{
    engine::{Config, Engine},
    message::*,
};

#[test]
fn one_piece() {
    let mut w: World = World::new(Config::default(), 8 * 1024, 5000);
    w.settle();
    assert_eq!(w.offer(), Ok(()));
    w.settle();
    assert_eq!(w.image, w.package);
    assert_eq!(w.codes(), [10700, 10701, 10702, 10703, 10704, 10705]);
    assert_eq!(w.states(), [1, 2, 4, 5, 8, 9, 11]);
    assert_eq!(w.engine.state(), State::None);
    assert_eq!(w.engine.version("STM32"), Some("2_0"));
    assert!(w.fetches.values().all(|n| *n == 1));
    let view = w.views.last().unwrap();
    assert_eq!(view.components[1].last, Some(Ok(())));
    // The next plan may come.
    w.offer.target = "3_0".try_into().unwrap();
    w.forget();
    assert_eq!(w.offer(), Ok(()));
    w.settle();
    assert_eq!(w.states(), [1, 2, 4, 5, 8, 9, 11]);
    assert_eq!(w.codes(), [10700, 10701, 10702, 10703, 10704, 10705]);
}

#[test]
fn six_pieces() {
    let mut w: World = World::new(Config::default(), 3 * 1024, 6 * 2048 - 100);
    assert_eq!(w.offer(), Ok(()));
    w.settle();
    assert_eq!(w.image, w.package);
    let mut expected = vec![10700, 10701];
    expected.extend([10702, 10703].repeat(6));
    expected.extend([10704, 10705]);
    assert_eq!(w.codes(), expected);
    let starts: std::vec::Vec<_> = w
        .events
        .iter()
        .filter_map(|e| match e {
            Event::Downloaded(Some(p)) => Some((p.start, p.piece_length)),
            _ => None,
        })
        .collect();
    assert_eq!(starts[0], (0, 2048));
    assert_eq!(starts[5], (5 * 2048, 2048 - 100));
}

#[test]
fn other_flash_geometries() {
    fn upgrade<const PAGE: usize, const WRITE: usize>(staging: usize) {
        let mut w: World<PAGE, WRITE> = World::new(Config::default(), staging, 9000);
        assert_eq!(w.offer(), Ok(()));
        w.settle();
        assert_eq!(w.image, w.package);
        assert_eq!(w.engine.state(), State::None);
        assert_eq!(w.engine.last_error(), None);
    }
    upgrade::<4096, 1>(8192);
    upgrade::<256, 8>(4096);
    upgrade::<128, 32>(2048);
    upgrade::<2048, 16>(16384);
}

/// A cut during every flash operation of an upgrade in two pieces; then it is finished.
fn cut_everywhere<const PAGE: usize, const WRITE: usize>(
    config: Config,
    staging: usize,
    length: usize,
) {
    let begin = || -> World<PAGE, WRITE> { World::new(config.clone(), staging, length) };
    let mut whole = begin();
    whole.settle();
    whole.flash.set_power(None);
    assert_eq!(whole.offer(), Ok(()));
    whole.settle();
    let operations = whole.flash.used();
    let blocks = whole.fetches.len() as u32;
    assert!(operations > blocks);
    for cut in 0..operations {
        let mut w = begin();
        w.settle();
        w.flash.set_power(Some(cut));
        let (door, offer) = (w.door, w.offer.clone());
        w.tell(ToEngine::Offer {
            ticket: 1,
            door,
            offer,
        });
        w.settle();
        assert!(w.dead(), "cut {cut} of {operations}");
        w.restart();
        w.settle();
        if w.engine.state() == State::None && !w.states().contains(&11) {
            assert_eq!(w.offer(), Ok(()), "cut {cut}");
            w.settle();
        }
        assert_eq!(
            w.image,
            w.package,
            "cut {cut}: {:?} {:?}",
            w.codes(),
            w.reports
        );
        assert_eq!(w.states().last(), Some(&11), "cut {cut}: {:?}", w.codes());
        assert!(
            !w.states().contains(&12) && !w.codes().contains(&10706),
            "cut {cut}"
        );
        let fetched: u32 = w.fetches.values().sum();
        assert!(
            fetched <= blocks + 1,
            "cut {cut}: {fetched} blocks of {blocks}: {:?} {:?} {:?}",
            w.codes(),
            w.states(),
            w.fetches
        );
        assert_eq!(
            w.codes().iter().filter(|c| **c == 10705).count(),
            1,
            "cut {cut}"
        );
    }
}

#[test]
fn power_may_go_at_every_flash_operation() {
    cut_everywhere::<1024, 4>(Config::default(), 4 * 1024, 5000);
}

#[test]
fn power_may_go_at_every_flash_operation_of_other_parts() {
    cut_everywhere::<4096, 8>(Config::default(), 8192, 6000);
    cut_everywhere::<256, 16>(Config::default(), 2048, 3000);
}

/// Two cuts close to each other: the second one in the recovery from the first.
#[test]
fn power_may_go_again_during_recovery() {
    for first in 10..60 {
        for second in 0..12 {
            let mut w: World = World::new(Config::default(), 4 * 1024, 5000);
            w.settle();
            w.flash.set_power(Some(first));
            let (door, offer) = (w.door, w.offer.clone());
            w.tell(ToEngine::Offer {
                ticket: 1,
                door,
                offer,
            });
            w.settle();
            w.flash.set_power(Some(second));
            let fetched_before: u32 = w.fetches.values().sum();
            w.restart_with_power();
            w.settle();
            if w.dead() {
                w.restart();
                w.settle();
            }
            if w.engine.state() == State::None && !w.states().contains(&11) {
                assert_eq!(w.offer(), Ok(()));
                w.settle();
            }
            assert_eq!(w.image, w.package, "{first} {second} {fetched_before}");
            assert_eq!(
                w.states().last(),
                Some(&11),
                "{first} {second}: {:?}",
                w.codes()
            );
            let fetched: u32 = w.fetches.values().sum();
            assert!(fetched <= w.fetches.len() as u32 + 2, "{first} {second}");
        }
    }
}

#[test]
fn the_standards_door() {
    for (size2, length) in [(true, 5000), (false, 1000), (false, 1024)] {
        let mut w: World = World::new(Config::default(), 3 * 1024, length);
        w.door = Door::Standard;
        w.size2 = size2;
        w.offer.target.clear();
        w.offer.use_space = 0;
        w.info = DownloadInfo {
            plan: w.info.plan.clone(),
            uri: w.info.uri.clone(),
            ..DownloadInfo::default()
        };
        w.mcu = Mcu::Idle;
        assert_eq!(w.offer(), Ok(()));
        w.send_info();
        w.settle();
        assert_eq!(w.verdicts.pop(), Some(Ok(())));
        assert_eq!(w.codes(), [10700]);
        assert_eq!(w.engine.state(), State::PlanReceived);
        w.tell(ToEngine::Install {
            ticket: 3,
            instance: 1,
        });
        w.settle();
        assert_eq!(w.verdicts.pop(), Some(Err(Reason::AtNotAllowedNow)));
        assert_eq!(w.action(1), Reply::Ok);
        w.mcu = Mcu::Good;
        w.settle();
        assert_eq!(w.image, w.package, "{size2} {length}");
        assert_eq!(w.states().last(), Some(&11));
        assert_eq!(w.engine.version("STM32"), Some("new"));
    }
}

/// A server that told no length says after some blocks that there are fewer bytes.
#[test]
fn a_length_below_what_has_come_is_refused() {
    let mut w: World = World::new(Config::default(), 3 * 1024, 1024);
    w.door = Door::Standard;
    w.offer.target.clear();
    w.offer.use_space = 0;
    w.info = DownloadInfo {
        plan: w.info.plan.clone(),
        uri: w.info.uri.clone(),
        ..DownloadInfo::default()
    };
    w.mcu = Mcu::Idle;
    w.online = false;
    w.offer().unwrap();
    w.send_info();
    w.settle();
    w.action(1);
    w.settle();
    let data = w.package[..128].try_into().unwrap();
    w.tell(ToEngine::Block { offset: 0, data });
    w.settle();
    assert_eq!(w.engine.progress().0, 128);
    w.tell(ToEngine::FetchStarted {
        total: Some(100),
        etag: Etag::NONE,
    });
    w.settle();
    assert_eq!(w.last_reason(), Some(Reason::LengthMismatch));
    let (progress, length) = w.engine.progress();
    assert!(length == 0 || progress <= length, "{progress} of {length}");
}

#[test]
fn a_foreign_server_installs() {
    let config = Config {
        auto_confirm: true,
        ..Config::default()
    };
    let mut w: World = World::new(config, 8 * 1024, 5000);
    w.door = Door::Standard;
    w.offer.target.clear();
    w.mcu = Mcu::Idle;
    assert_eq!(w.offer(), Ok(()));
    w.info.md5 = None;
    w.info.crc32 = None;
    w.info.sha256 = None;
    w.send_info();
    w.pass(600_000);
    assert_eq!(
        w.engine.state(),
        State::Downloaded,
        "the server may take its time"
    );
    assert!(w.views.last().unwrap().verified);
    w.tell(ToEngine::Install {
        ticket: 3,
        instance: 1,
    });
    w.settle();
    assert_eq!(w.verdicts.pop(), Some(Ok(())));
    assert_eq!(w.codes().last(), Some(&10704));
    w.version("STM32", "5");
    w.settle();
    assert_eq!(w.codes().last(), Some(&10705));
}

#[test]
fn the_modules_own_firmware() {
    let config = |version: &str| Config {
        own_component: "module".try_into().unwrap(),
        own_version: version.try_into().unwrap(),
        firmware_slot: Some(8192),
        ..Config::default()
    };
    for (boots, last) in [("2_0", 11), ("1_0", 12)] {
        let mut w: World = World::new(config("1_0"), 16 * 1024, 5000);
        w.offer.kind = ComponentType::Firmware;
        w.offer.component = "module".try_into().unwrap();
        assert_eq!(w.offer(), Ok(()));
        w.settle();
        assert_eq!(w.codes(), [10700, 10701, 10702, 10703, 10704]);
        assert!(
            w.events
                .iter()
                .all(|e| !matches!(e, Event::Downloaded(Some(_))))
        );
        assert!(w.engine.boot_wanted());
        w.config = config(boots);
        w.restart();
        w.settle();
        assert_eq!(w.states().last(), Some(&last));
        assert!(!w.engine.boot_wanted());
    }
    // Too large for the slot.
    let mut w: World = World::new(config("1_0"), 16 * 1024, 9000);
    w.offer.kind = ComponentType::Firmware;
    w.offer.component = "module".try_into().unwrap();
    assert_eq!(w.offer(), Ok(()));
    w.settle();
    assert_eq!(w.last_reason(), Some(Reason::NotEnoughSpace));
}

/// The new image counts when it has registered; one that does not is reverted, and the old one tells.
#[test]
fn the_modules_own_firmware_on_trial() {
    let config = |version: &str| Config {
        own_component: "module".try_into().unwrap(),
        own_version: version.try_into().unwrap(),
        firmware_slot: Some(8192),
        confirm_after_link: true,
        ..Config::default()
    };
    let on_trial = || {
        let mut w: World = World::new(config("1_0"), 16 * 1024, 5000);
        w.offer.kind = ComponentType::Firmware;
        w.offer.component = "module".try_into().unwrap();
        assert_eq!(w.offer(), Ok(()));
        w.settle();
        assert!(w.engine.boot_wanted());
        w.config = config("2_0");
        w.engine = Engine::start(w.config.clone(), w.now, &mut w.flash);
        w.settle();
        assert!(!w.engine.confirm_wanted() && !w.engine.revert_wanted());
        assert_eq!(w.states().last(), Some(&9));
        w
    };
    for (kept, last) in [(true, 11), (false, 12)] {
        let mut w = on_trial();
        w.tell(ToEngine::Link(true));
        assert!(w.engine.confirm_wanted());
        w.engine.confirmed(w.now, &mut w.flash, kept);
        w.settle();
        assert_eq!(w.states().last(), Some(&last));
        assert!(!w.engine.confirm_wanted());
    }
    // Power goes on trial: still on trial when the same image runs, failed when the old one does.
    for (runs, last) in [("2_0", 9), ("1_0", 12)] {
        let mut w = on_trial();
        w.config = config(runs);
        w.engine = Engine::start(w.config.clone(), w.now, &mut w.flash);
        w.settle();
        assert_eq!(w.states().last(), Some(&last));
    }
    // It does not register in time. The bootloader reverts, or did not: a failure in both cases, and no boot loop.
    for runs in ["1_0", "2_0"] {
        let mut w = on_trial();
        w.pass(1_200_001);
        assert!(w.engine.revert_wanted());
        assert_eq!(w.states().last(), Some(&9));
        w.config = config(runs);
        w.restart();
        w.settle();
        assert!(!w.engine.revert_wanted() && !w.engine.confirm_wanted());
        assert_eq!(w.states().last(), Some(&12));
        assert_eq!(w.last_reason(), Some(Reason::ModuleUpdateFailed));
    }
}

#[test]
fn size_in_ram() {
    let size = core::mem::size_of::<Engine<512>>();
    std::println!("Engine<512>: {size} bytes on this machine");
    assert!(size < 3 * 1024 + 512, "{size}");
    let _ = (BLOCK, Parts::<1024, 4>::new(1024, 8192));
}
