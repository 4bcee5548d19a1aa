//! The AT agent: power fails at every flash operation of the MCU in a whole upgrade, and the module is restarted at many
//! moments of it.

mod at_world;

use at_world::cuts::{self, End, image};
use at_world::nor::{MOMENTS, Moment};
use at_world::{Setup, World};
use sota::message::State;
use sota_errors::McuError;
use sota_mcu::at::Config;

const MOST_MS: u64 = 6 * 3_600_000;

/// A reset of the MCU fails no plan, and nothing goes over the air twice: where pieces are multiples of 1024 all of a piece is
/// durable when it is released.
fn undisturbed<const PAGE: usize, const WORD: usize>(world: &World<PAGE, WORD>, what: &str) {
    let failed = |(state, _): &(State, u16)| *state == State::Failure;
    let reports = &world.module.reports;
    assert!(!reports.iter().any(failed), "{what}: {}", world.standing());
    assert_eq!(world.module.fetched, world.setup.new.len(), "{what}");
}

fn upgrade<const PAGE: usize, const WORD: usize>(
    setup: &Setup,
    cut: (u32, Moment),
    again: Option<(u32, Moment)>,
) -> End {
    let mut world = World::<PAGE, WORD>::new(setup.clone());
    world.flash.power_on(Some(cut));
    world.fuse = again;
    let done = world.run_until(MOST_MS, World::is_updated);
    assert!(done, "{cut:?} {again:?} {}", world.standing());
    let known = [
        McuError::TrialReset,
        McuError::TrialNotConfirmed,
        McuError::ImageLost,
    ];
    let known = known.map(McuError::number);
    assert!(
        world.reverts.iter().all(|reason| known.contains(reason)),
        "{cut:?} {}",
        world.standing()
    );
    if !setup.strict && world.reverts.is_empty() {
        undisturbed(&world, &format!("{cut:?} {again:?}"));
    }
    match world.cuts {
        0 => End::NoCut,
        _ => End::Updated,
    }
}

/// Every operation, every moment; gives the cases.
fn every_operation<const PAGE: usize, const WORD: usize>(setup: &Setup) -> u32 {
    cuts::every_operation(|seed, cut| {
        let setup = Setup {
            seed,
            ..setup.clone()
        };
        upgrade::<PAGE, WORD>(&setup, cut, None)
    })
}

#[test]
fn upgrade_and_confirm() {
    let cases = every_operation::<256, 8>(&Setup::default());
    println!("AT, in pieces, confirmed: {cases} power cuts, no brick");
    assert!(cases > 4 * 500, "{cases}");
}

#[test]
fn upgrade_and_revert() {
    let setup = Setup {
        confirms: false,
        ..Setup::default()
    };
    let cases = every_operation::<256, 8>(&setup);
    println!("AT, reverted, and all of it again: {cases} power cuts, no brick");
    assert!(cases > 4 * 1_000, "{cases}");
}

/// Quectel's commands only, and a module whose upgrade fails at a version that is announced too early: the Center offers again.
#[test]
fn strict_module_and_great_pages() {
    let setup = Setup {
        old: image(3, 2500),
        new: image(4, 3800),
        page: 1024,
        pages: 4,
        word: 16,
        piece: 2048,
        strict: true,
        config: Config {
            sota_commands: false,
            ..Setup::default().config
        },
        ..Setup::default()
    };
    let cases = every_operation::<1024, 16>(&setup);
    println!("AT, Quectel's commands and rules, great pages: {cases} power cuts, no brick");
    assert!(cases > 4 * 400, "{cases}");
}

#[test]
fn twice() {
    let setup = Setup::default();
    let mut cases = 0;
    for first in (1..).step_by(23) {
        let moment = MOMENTS[first as usize % 4];
        if upgrade::<256, 8>(&setup, (first, moment), None) == End::NoCut {
            break;
        }
        for second in [1, 2, 3, 5, 8, 13, 21, 34, 55, 89] {
            upgrade::<256, 8>(&setup, (first, moment), Some((second, Moment::Middle)));
            cases += 1;
        }
    }
    println!("AT, two cuts: {cases} cases, no brick");
    assert!(cases > 200, "{cases}");
}

/// The MCU is reset at many moments of the dialogue, where no flash operation is.
#[test]
fn mcu_reset_at_any_moment() {
    let mut cases = 0;
    for after in 5.. {
        let mut world = World::<256, 8>::new(Setup::default());
        if world.run_until(after, World::is_updated) {
            break;
        }
        world.start();
        let done = world.run_until(MOST_MS, World::is_updated);
        assert!(done, "after {after}: {}", world.standing());
        // A reset on trial brings the old image back.
        if world.reverts.is_empty() {
            undisturbed(&world, &format!("after {after}"));
        }
        cases += 1;
    }
    println!("AT, reset at any moment: {cases} cases");
    assert!(cases > 100, "{cases}");
}

/// As [`mcu_reset_at_any_moment`], of a module that says nothing twice and fails an upgrade at an old version: a reset while the
/// package comes or is installed fails nothing all the same.
#[test]
fn mcu_reset_at_any_moment_with_a_module_of_quectel_s() {
    let (mut cases, mut failed) = (0, 0);
    for after in (5..).step_by(37) {
        let setup = Setup {
            strict: true,
            mute: true,
            config: Config {
                sota_commands: false,
                ..Setup::default().config
            },
            ..Setup::default()
        };
        let mut world = World::<256, 8>::new(setup);
        if world.run_until(after, World::is_updated) {
            break;
        }
        // This engine tells of an offer once only in its strict mode, whoever asks.
        if world.module.engine.state() == State::PlanReceived {
            continue;
        }
        let progress = world.agent.as_ref().map_or((0, 0), |a| a.progress());
        world.start();
        let done = world.run_until(MOST_MS, World::is_updated);
        assert!(done, "after {after}: {}", world.standing());
        cases += 1;
        if progress.0 > 0 && world.reverts.is_empty() {
            undisturbed(&world, &format!("after {after}, {progress:?}"));
        } else {
            failed += 1;
        }
    }
    println!(
        "AT, reset at any moment, Quectel's rules: {cases} cases, {failed} before the first bytes or on trial"
    );
    assert!(cases > 100 && failed < cases, "{failed} of {cases}");
}

#[test]
fn module_restarted_at_any_moment() {
    for strict in [false, true] {
        let mut cases = 0;
        for after in 5.. {
            let setup = Setup {
                strict,
                ..Setup::default()
            };
            let mut world = World::<256, 8>::new(setup);
            if world.run_until(after, World::is_updated) {
                break;
            }
            let now = world.now;
            world.module.restart(now);
            let done = world.run_until(MOST_MS, World::is_updated);
            assert!(done, "after {after}: {}", world.standing());
            cases += 1;
        }
        println!("AT, module restarted at any moment, strict {strict}: {cases} cases");
        assert!(cases > 100, "{cases}");
    }
}
