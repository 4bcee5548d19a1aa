//! The cases.

use crate::Outcome;
use crate::package;
use crate::world::{SEED, World};
use sota_zephyr::BLOCK;
use sota_zephyr::sota::engine::Config;
use sota_zephyr::sota::message::{Reason, State};

const LENGTH: u32 = 20_001;
const PIECE: u32 = 8 * 1024;

fn pieces() -> Config {
    Config {
        piece_limit: Some(PIECE),
        ..Config::default()
    }
}

/// An offer until its end: three pieces, each with the digests carried on, read by the MCU byte for byte.
pub(crate) fn upgrade() -> Outcome {
    let mut world = World::new(pieces());
    world.offer("first", package::info("first", SEED, LENGTH));
    world.run(u32::MAX)?;
    ensure!(world.read == LENGTH);
    ensure!(world.version() == Some("2_0"));
    ensure!(world.state() == State::None);
    ensure!(
        world.events
            == [
                10700, 10701, 10702, 10703, 10702, 10703, 10702, 10703, 10704, 10705
            ]
    );
    ensure!(world.states.last() == Some(&State::Success));
    ensure!(
        !world.states.contains(&State::DownloadError) && !world.states.contains(&State::Failure)
    );
    once(&world)
}

/// The engine starts anew after every single block, over the same flash.
pub(crate) fn restarts() -> Outcome {
    let mut world = World::new(pieces());
    world.offer("first", package::info("first", SEED, LENGTH));
    let mut restarts = 0;
    loop {
        world.run(1)?;
        if world.states.contains(&State::Success) {
            break;
        }
        let durable = world.progress();
        world.restart();
        ensure!(world.progress() == durable);
        restarts += 1;
        ensure!(restarts < 100);
    }
    ensure!(restarts >= LENGTH / BLOCK as u32);
    ensure!(world.read == LENGTH);
    ensure!(world.version() == Some("2_0"));
    ensure!(
        !world.states.contains(&State::DownloadError) && !world.states.contains(&State::Failure)
    );
    once(&world)
}

/// Each block was sent once: none is in flight when the engine starts anew.
fn once(world: &World) -> Outcome {
    let blocks = LENGTH.div_ceil(BLOCK as u32) as usize;
    let (package, behind) = world.sent.split_at(blocks);
    ensure!(package.iter().all(|times| *times == 1));
    ensure!(behind.iter().all(|times| *times == 0));
    Ok(())
}

/// The package is another than its digests say: the MCU gets nothing to read and nothing to install.
pub(crate) fn wrong_digest() -> Outcome {
    let mut world = World::new(Config::default());
    world.offer("wrong", package::info("wrong", SEED ^ 1, LENGTH));
    world.run(u32::MAX)?;
    ensure!(world.read == 0);
    ensure!(world.events.last() == Some(&10706));
    ensure!(!world.events.contains(&10703) && !world.events.contains(&10704));
    ensure!(world.states.last() == Some(&State::Failure));
    ensure!(world.reason == Some(Reason::DigestMismatch));
    ensure!(world.version() == Some("1_0"));
    next(world)
}

/// The driver refuses a write in mid-download.
pub(crate) fn flash_error() -> Outcome {
    let mut world = World::new(Config::default());
    world.spoil = Some(7);
    world.offer("first", package::info("first", SEED, LENGTH));
    world.run(u32::MAX)?;
    ensure!(world.read == 0);
    ensure!(world.events.last() == Some(&10706));
    ensure!(world.states.last() == Some(&State::Failure));
    ensure!(world.reason == Some(Reason::FlashWriteFailed));
    world.spoil = None;
    next(world)
}

/// After a failure the next plan is upgraded as if nothing had been, also by an engine that starts anew.
fn next(mut world: World) -> Outcome {
    world.restart();
    world.run(u32::MAX)?;
    world.events.clear();
    world.states.clear();
    world.offer("next", package::info("next", SEED, LENGTH));
    world.run(u32::MAX)?;
    ensure!(world.read == LENGTH);
    ensure!(world.version() == Some("2_0"));
    ensure!(world.states.last() == Some(&State::Success));
    ensure!(world.events.last() == Some(&10705));
    Ok(())
}
