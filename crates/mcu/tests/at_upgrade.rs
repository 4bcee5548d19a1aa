//! Whole upgrades of the AT agent against the module's real AT server and engine.

mod at_world;

use at_world::{Setup, TARGET, World};
use sota::message::State;
use sota_mcu::at::{Config, Output};

const HOUR: u64 = 3_600_000;

type Default8 = World<256, 8>;

fn upgraded(setup: Setup) -> Default8 {
    let mut world = Default8::new(setup);
    let done = world.run_until(HOUR, |w| w.is_updated() && w.ended().contains(&0));
    assert!(done, "{}", world.standing());
    world
}

#[test]
fn in_pieces_with_trial_and_confirm() {
    let world = upgraded(Setup::default());
    assert_eq!(world.ended(), [0]);
    assert_eq!(world.module.offers, 1);
    assert_eq!(world.module.fetched, 2100, "each byte once");
    assert!(!world.outputs.iter().any(|o| matches!(o, Output::Fault(_))));
}
#[test]
fn in_one_piece_with_a_module_of_quectel_s_commands() {
    for piece in [1024, 4096] {
        let setup = Setup {
            piece,
            strict: true,
            config: Config {
                sota_commands: false,
                ..Setup::default().config
            },
            ..Setup::default()
        };
        let world = upgraded(setup);
        assert_eq!(world.module.fetched, 2100);
        assert!(!world.commands().contains("SOTA"));
    }
}

#[test]
fn a_module_that_says_nothing_again() {
    for piece in [1024, 4096] {
        let setup = Setup {
            piece,
            strict: true,
            mute: true,
            config: Config {
                sota_commands: false,
                ..Setup::default().config
            },
            ..Setup::default()
        };
        let world = upgraded(setup);
        assert_eq!(world.module.fetched, 2100);
        assert_eq!(world.ended(), [0]);
    }
}

/// What the flash lost, and the module has released.
fn lost_its_records(sota_commands: bool) -> Default8 {
    let setup = Setup {
        config: Config {
            sota_commands,
            ..Setup::default().config
        },
        ..Setup::default()
    };
    let mut world = Default8::new(setup);
    let second = |w: &Default8| w.agent.as_ref().is_some_and(|a| a.progress().0 > 1024);
    assert!(world.run_until(HOUR, second) || world.commands().contains("UPDATE=2"));
    let layout = world.setup.layout();
    let records = (layout.other + layout.other_len - 2 * layout.page) as usize;
    world
        .flash
        .litter(records, records + 2 * layout.page as usize);
    world.start();
    world
}

#[test]
fn a_released_piece_comes_again_where_the_module_can() {
    let mut world = lost_its_records(true);
    let done = world.run_until(HOUR, Default8::is_updated);
    assert!(done, "{}", world.standing());
    assert!(world.commands().contains("AT+SOTAREWIND=0"));
    assert_eq!(world.ended(), []);
}

#[test]
fn else_the_try_fails_and_the_next_one_goes_on() {
    let mut world = lost_its_records(false);
    let done = world.run_until(HOUR, Default8::is_updated);
    assert!(done, "{}", world.standing());
    assert_eq!(world.ended()[0], 413);
}

/// The same package is offered once more: what the flash has is not read again.
#[test]
fn another_try_goes_on_where_the_flash_ends() {
    let mut world = Default8::new(Setup::default());
    let half = |w: &Default8| w.agent.as_ref().is_some_and(|a| a.progress().0 >= 1024);
    assert!(world.run_until(HOUR, half), "{}", world.standing());
    // The line is cut until the module has given up.
    world.silent = true;
    world.run_until(1_000, |_| false);
    world.module.engine.poll(
        world.now + 200_000,
        sota::platform::Readings::default(),
        &mut world.module.parts,
    );
    world.now += 200_000;
    world.said.clear();
    world.silent = false;
    let done = world.run_until(HOUR, Default8::is_updated);
    assert!(done, "{}", world.standing());
    assert!(
        world
            .module
            .reports
            .iter()
            .any(|(s, _)| *s == State::Failure)
    );
    let commands = world.commands();
    assert!(!commands.contains("AT+QIOTOTARD=0,256"), "{commands}");
    assert!(commands.contains("AT+QIOTUPDATE=1"), "{commands}");
}

/// The module would give up an MCU that reads nothing for a minute.
#[test]
fn an_application_that_lets_it_wait() {
    let world = upgraded(Setup {
        config: Config {
            asks_first: true,
            ..Setup::default().config
        },
        lingers: 200_000,
        ..Setup::default()
    });
    assert_eq!(world.ended(), [0]);
    assert!(world.commands().contains("AT+QIOTOTARD=2048,1\n"));
}

#[test]
fn a_module_that_confirms_by_itself() {
    for asks_first in [false, true] {
        let world = upgraded(Setup {
            auto_confirm: true,
            config: Config {
                asks_first,
                ..Setup::default().config
            },
            ..Setup::default()
        });
        assert_eq!(world.module.fetched, 2100);
        assert_eq!(world.ended(), [0]);
    }
}

#[test]
fn every_digest_by_itself() {
    for digests in [
        [true, false, false],
        [false, true, false],
        [false, false, true],
    ] {
        let world = upgraded(Setup {
            digests,
            ..Setup::default()
        });
        assert_eq!(world.ended(), [0]);
    }
}

#[test]
fn the_application_is_asked() {
    let world = upgraded(Setup {
        config: Config {
            asks_first: true,
            ..Setup::default().config
        },
        ..Setup::default()
    });
    let asked = |output: &&Output| matches!(output, Output::Plan | Output::Verified);
    let asked: Vec<_> = world.outputs.iter().filter(asked).collect();
    assert_eq!(asked, [&Output::Plan, &Output::Verified]);
    assert_eq!(world.plans, [(TARGET.into(), 2100)]);
}

#[test]
fn a_reverted_image_is_told_by_the_version_and_tried_again() {
    let mut world = Default8::new(Setup {
        confirms: false,
        ..Setup::default()
    });
    let back = world.run_until(HOUR, |w| !w.reverts.is_empty());
    assert!(back, "{}", world.standing());
    assert_eq!(world.reverts, [405]);
    let ended = world.run_until(HOUR, |w| w.ended().contains(&412));
    assert!(ended, "{}", world.standing());
    // McuStillRunsSource, as the module has it.
    assert!(world.module.reports.contains(&(State::Failure, 7)));
    let done = world.run_until(HOUR, World::is_updated);
    assert!(done, "{}", world.standing());
    let plans = |(state, _): &&(State, u16)| *state == State::PlanReceived;
    assert_eq!(world.module.reports.iter().filter(plans).count(), 2);
}

#[test]
fn reads_twice_when_told_to() {
    let setup = Setup {
        config: Config {
            reads_twice: true,
            ..Setup::default().config
        },
        ..Setup::default()
    };
    let world = upgraded(setup);
    let reads = world.commands().matches("AT+QIOTOTARD=0,256\n").count();
    assert_eq!(reads, 2);
}
