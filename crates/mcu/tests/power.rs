//! Power fails at every flash operation of a whole upgrade: receive, verify, swap, trial, confirm or revert. Each operation
//! is cut before, in the middle of, weakly and after it, and the count of cases is printed.

mod world;

use sota_errors::McuError;
use world::cuts::{self, End, image};
use world::nor::{MOMENTS, Moment};
use world::{Setup, World};

const MOST_MS: u64 = 3_600_000;

/// A whole upgrade with this cut, and another one so many operations after power came again.
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
    // What the trial was cut short of, and nothing else, was brought back for that reason.
    let reset = McuError::TrialReset.number();
    let late = McuError::TrialNotConfirmed.number();
    let lost = McuError::ImageLost.number();
    let allowed =
        |reason: &u16| [reset, lost].contains(reason) || (!setup.confirms && *reason == late);
    assert!(
        world.reverts.iter().all(allowed),
        "{cut:?} {}",
        world.standing()
    );
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
    println!("receive, verify, swap, trial, confirm: {cases} power cuts, no brick");
    assert!(cases > 4 * 500, "{cases}");
}

#[test]
fn upgrade_and_revert() {
    let setup = Setup {
        confirms: false,
        ..Setup::default()
    };
    let cases = every_operation::<256, 8>(&setup);
    println!(
        "receive, verify, swap, trial, revert, and all of it again: {cases} power cuts, no brick"
    );
    assert!(cases > 4 * 1_000, "{cases}");
}

/// Resume points inside pages: they are restored from the spare page.
#[test]
fn pages_greater_than_the_window() {
    let setup = Setup {
        old: image(3, 2500),
        new: image(4, 3800),
        page: 1024,
        pages: 4,
        window: 2,
        word: 16,
        piece: 1024,
        ..Setup::default()
    };
    let cases = every_operation::<1024, 16>(&setup);
    println!("great pages, words of 16: {cases} power cuts, no brick");
    assert!(cases > 4 * 400, "{cases}");
}

#[test]
fn words_of_one_byte_and_a_slot_that_is_full() {
    let setup = Setup {
        old: image(5, 256),
        new: image(6, 512),
        pages: 2,
        word: 1,
        page: 256,
        ..Setup::default()
    };
    let cases = every_operation::<256, 1>(&setup);
    println!("full slot, words of 1: {cases} power cuts, no brick");
    assert!(cases > 4 * 1_000, "{cases}");
}

/// Power fails again soon after it came back: at each of the operations with which the MCU goes on.
#[test]
fn twice() {
    let setup = Setup::default();
    let mut cases = 0;
    for first in (1..).step_by(17) {
        let moment = MOMENTS[first as usize % 4];
        if upgrade::<256, 8>(&setup, (first, moment), None) == End::NoCut {
            break;
        }
        for second in [1, 2, 3, 5, 8, 13, 21, 34, 40, 55, 70, 89] {
            for again in [Moment::Middle, Moment::Weak] {
                upgrade::<256, 8>(&setup, (first, moment), Some((second, again)));
                cases += 1;
            }
        }
    }
    println!("two cuts: {cases} cases, no brick");
    assert!(cases > 500, "{cases}");
}
