//! The AT agent on bad lines: bytes lost, changed, doubled and inserted, silence, storms of events, echo; and what it refuses.

mod at_world;

use at_world::{Harm, Setup, TARGET, World};
use sota::message::State;
use sota_mcu::at::{Config, Output, Phase};

const HOUR: u64 = 3_600_000;
type Plain = World<256, 8>;

fn harmed(what: &str, to_mcu: Harm, to_module: Harm, twice: bool) {
    for seed in 1..=12 {
        let setup = Setup {
            to_mcu,
            to_module,
            seed,
            config: Config {
                reads_twice: twice,
                ..Setup::default().config
            },
            ..Setup::default()
        };
        let mut world = Plain::new(setup);
        let done = world.run_until(48 * HOUR, World::is_updated);
        assert!(done, "{what}, seed {seed}: {}", world.standing());
    }
}

#[test]
fn lost_bytes() {
    let harm = Harm {
        lost: 3,
        ..Harm::default()
    };
    harmed("lost", harm, harm, false);
}

#[test]
fn changed_bytes() {
    let harm = Harm {
        changed: 3,
        ..Harm::default()
    };
    harmed("changed", harm, harm, true);
}

#[test]
fn doubled_and_inserted_bytes() {
    let harm = Harm {
        doubled: 3,
        inserted: 3,
        ..Harm::default()
    };
    harmed("doubled, inserted", harm, harm, true);
}

#[test]
fn all_of_it() {
    let harm = Harm {
        lost: 2,
        changed: 2,
        doubled: 2,
        inserted: 2,
    };
    harmed("all", harm, harm, true);
}

#[test]
fn a_module_that_falls_silent_and_comes_back() {
    for after in (10..420).step_by(20) {
        let mut world = Plain::new(Setup::default());
        if world.run_until(after, World::is_updated) {
            break;
        }
        world.silent = true;
        let down = |w: &Plain| w.outputs.contains(&Output::Down);
        // On trial it is silent for less than what the image has to confirm.
        assert!(world.run_until(29_000, down) || after > 300, "{after}");
        assert!(!world.agent.as_ref().is_some_and(|a| a.is_up()) || after > 300);
        world.silent = false;
        let done = world.run_until(6 * HOUR, World::is_updated);
        assert!(done, "after {after}: {}", world.standing());
    }
}

#[test]
fn no_module_at_all_is_said_once() {
    let mut world = Plain::new(Setup::default());
    world.silent = true;
    assert!(!world.run_until(HOUR, World::is_updated));
    assert_eq!(world.outputs, [Output::Down]);
}

/// Lines of everything between the module's own, as fast as the line carries them.
#[test]
fn a_storm_of_events() {
    for storm in [
        &["+QIOTEVT: 7,10702"][..],
        &["+QIOTEVT: 2,10200", "+QIOTEVT: 3,10200", "RDY"],
        &["+QIOTEVT: 7,10700,\"ESP32\",\"\",\"9\",30,-113,99999999"],
        &["+QIOTEVT: 7,10703,\"STM32\",2100,0,1024", "+QIOTEVT: 7"],
        &["+SOTAERR: 9,\"DigestMismatch\"", "+QIOTOTARD: 0,99999"],
        &["AT+QIOTUPDATE=3", "OKOK", "ERRO", "+CREG: 1", "\u{fffd}"],
        &[
            "x234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890\
           123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345\
           678901234567890123456789012345678901234567890123456789012345678901234567890",
        ],
    ] {
        let mut world = Plain::new(Setup::default());
        world.storm = Some(storm);
        let done = world.run_until(HOUR, World::is_updated);
        assert!(done, "{storm:?}: {}", world.standing());
    }
}

/// Finals that nobody asked for.
#[test]
fn a_storm_of_answers_does_no_harm() {
    for storm in [
        &["OK"][..],
        &["ERROR"],
        &["OK", "+QIOTOTARD: 0,64", "ERROR"],
    ] {
        let mut world = Plain::new(Setup::default());
        world.storm = Some(storm);
        world.run_until(600_000, World::is_updated);
        world.storm = None;
        let done = world.run_until(6 * HOUR, World::is_updated);
        assert!(done, "{storm:?}: {}", world.standing());
    }
}

#[test]
fn echo_is_turned_off_and_does_no_harm() {
    let mut world = Plain::new(Setup::default());
    assert_eq!(world.module.bridge.on_bytes(b"ATE1\r"), 5);
    assert!(
        world.run_until(HOUR, World::is_updated),
        "{}",
        world.standing()
    );
    // Turned on again in the middle of it.
    let mut world = Plain::new(Setup::default());
    let receives = |w: &Plain| {
        w.agent
            .as_ref()
            .is_some_and(|a| a.phase() == Phase::Receiving)
    };
    assert!(world.run_until(HOUR, receives));
    world.say(b"ATE1\r");
    assert!(
        world.run_until(HOUR, World::is_updated),
        "{}",
        world.standing()
    );
}

fn failed(setup: Setup, change: impl Fn(&mut Plain)) -> Plain {
    let mut world = Plain::new(setup);
    change(&mut world);
    let failed = world.run_until(HOUR, |w| !w.ended().is_empty());
    assert!(failed, "{}", world.standing());
    world
}

#[test]
fn a_plan_that_does_not_fit_is_refused() {
    let world = failed(Setup::default(), |w| w.module.use_space = 2561);
    assert_eq!(world.ended(), [402]);
    let refused = |w: &Plain| w.module.reports.iter().any(|(s, _)| *s == State::Refused);
    assert!(refused(&world), "{:?}", world.module.reports);
    assert!(!world.commands().contains("UPDATE=1"));
}

/// The plan says less than the package has: nothing is written, and the module gives up.
#[test]
fn a_package_that_does_not_fit() {
    let setup = Setup {
        new: at_world::image(2, 2561),
        pages: 10,
        ..Setup::default()
    };
    let mut world = failed(setup, |w| w.module.use_space = 100);
    assert_eq!(world.ended()[0], 402);
    let erases = world.flash.erases;
    let gave_up = |w: &Plain| w.module.reports.iter().any(|(s, _)| *s == State::Failure);
    assert!(world.run_until(HOUR, gave_up), "{}", world.standing());
    assert_eq!(world.flash.erases, erases);
    assert!(!world.runs_new);
}

#[test]
fn a_package_without_a_digest_that_counts() {
    let setup = Setup::default();
    let world = failed(
        Setup {
            digests: [false; 3],
            ..setup
        },
        |_| {},
    );
    // The module itself takes no such package.
    assert_eq!(world.ended(), [412]);
}

/// What is harmed on its way the module does not see: it is found in the MCU's flash, received once more, and given up.
#[test]
fn a_wrong_image_is_received_twice_and_given_up() {
    for (sota_commands, piece, tries) in [(true, 1024, 2), (false, 4096, 2), (false, 1024, 1)] {
        let setup = Setup {
            piece,
            config: Config {
                sota_commands,
                ..Setup::default().config
            },
            ..Setup::default()
        };
        let mut world = Plain::new(setup);
        let other = world.setup.layout().other as usize;
        let (mut harmed, mut verified) = (0, false);
        while world.ended().is_empty() {
            world.step();
            let verifies = world
                .agent
                .as_ref()
                .is_some_and(|a| a.phase() == Phase::Verifying);
            if verifies && !core::mem::replace(&mut verified, verifies) {
                world.flash.memory[other + 2000] ^= 1;
                harmed += 1;
            }
            verified = verifies;
        }
        assert_eq!((world.ended(), harmed), (vec![403], tries), "{piece}");
        assert_eq!(world.commands().contains("AT+SOTAREWIND=0"), sota_commands);
        assert!(!world.commands().contains("UPDATE=3"));
    }
}

#[test]
fn an_image_that_is_none_of_mcuboot_s() {
    let setup = Setup {
        config: Config {
            mcuboot: true,
            ..Setup::default().config
        },
        ..Setup::default()
    };
    let world = failed(setup, |_| {});
    assert_eq!(world.ended(), [410]);
    assert!(!world.commands().contains("UPDATE=3"));
}

#[test]
fn flash_that_fails() {
    let layout = Setup::default().layout();
    for at in [
        layout.other,
        layout.other + 8 * 256,
        layout.other + 11 * 256,
    ] {
        let world = failed(Setup::default(), |w| w.flash.broken = Some((at, 512)));
        assert_eq!(world.ended(), [404], "{at:#x}");
        assert!(!world.runs_new);
    }
}

#[test]
fn a_plan_for_another_component_is_not_answered() {
    let mut world = Plain::new(Setup::default());
    world.module.no_offers = true;
    let idle = |w: &Plain| w.agent.as_ref().is_some_and(|a| a.phase() == Phase::Idle);
    assert!(world.run_until(10_000, idle));
    world.storm = Some(&["+QIOTEVT: 7,10700,\"ESP32\",\"\",\"2_0_0\",30,-113,100"]);
    world.run_until(10_000, |_| false);
    assert!(!world.commands().contains("QIOTUPDATE"));
    assert!(world.outputs.iter().all(|output| *output == Output::Up));
}

/// On trial nothing is written where the old image is, and nothing announced.
#[test]
fn on_trial_a_plan_waits() {
    let mut world = Plain::new(Setup {
        confirms: false,
        ..Setup::default()
    });
    let trial = |w: &Plain| {
        w.agent
            .as_ref()
            .is_some_and(|a| a.boot() == sota_link::field::Boot::Trial && a.is_up())
    };
    assert!(world.run_until(HOUR, trial), "{}", world.standing());
    world.said.clear();
    world.storm = Some(&[
        "+QIOTEVT: 7,10700,\"STM32\",\"\",\"3_0_0\",30,-113,100",
        "+QIOTEVT: 7,10701,\"STM32\",100,\"\",1",
        "+QIOTEVT: 7,10703,\"STM32\",100,0,100",
    ]);
    world.run_until(20_000, |_| false);
    assert!(
        world.commands().lines().all(|line| line == "ATE0"),
        "{}",
        world.commands()
    );
    world.storm = None;
    let back = world.run_until(HOUR, |w| !w.reverts.is_empty());
    assert!(back && world.reverts == [405]);
    assert!(!world.commands().contains(TARGET));
}
