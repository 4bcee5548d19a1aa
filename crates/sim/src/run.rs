//! Runs worlds: one, many on all cores, and a failing one until its faults are as few as they can be.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::draw::world_of;
use crate::fault::Fault;
use crate::rules::Broken;
use crate::setup::Setup;
use crate::world::{Outcome, World};

/// A seed that broke a rule.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// What was broken.
    pub broken: Broken,
    /// The shortest list of faults that still breaks a rule.
    pub faults: Vec<Fault>,
}

/// Runs one world.
pub fn run(setup: &Setup, seed: u64, faults: &[Fault]) -> Outcome {
    World::new(setup, seed, faults).run()
}

/// Runs the world of a seed.
pub fn run_seed(seed: u64) -> Outcome {
    let (setup, faults) = world_of(seed);
    run(&setup, seed, &faults)
}

/// The story of a world, line by line.
pub fn story(setup: &Setup, seed: u64, faults: &[Fault]) -> (Vec<String>, Outcome) {
    let mut world = World::new(setup, seed, faults);
    world.tell_story();
    let outcome = world.run();
    (world.story().to_vec(), outcome)
}

/// Takes faults away as long as a rule is still broken: first halves, then one by one.
pub fn shrink(setup: &Setup, seed: u64, faults: &[Fault]) -> Vec<Fault> {
    let breaks = |faults: &[Fault]| run(setup, seed, faults).broken.is_some();
    let mut left = faults.to_vec();
    let mut size = left.len().div_ceil(2).max(1);
    loop {
        let mut at = 0;
        let mut shorter = false;
        while at < left.len() {
            let mut without = left.clone();
            without.drain(at..(at + size).min(left.len()));
            if breaks(&without) {
                left = without;
                shorter = true;
            } else {
                at += size;
            }
        }
        if size == 1 && !shorter {
            return left;
        }
        size = (size / 2).max(1);
    }
}

/// Runs `seeds` on `threads` threads. `progress` hears of each seed that is done and how it ended.
pub fn run_many(
    seeds: std::ops::Range<u64>,
    threads: usize,
    progress: &(dyn Fn(u64, &Outcome) + Sync),
) -> Vec<Failure> {
    let next = AtomicU64::new(seeds.start);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let (setup, faults) = world_of(seed);
                    let outcome = run(&setup, seed, &faults);
                    progress(seed, &outcome);
                    if let Some(broken) = outcome.broken {
                        let faults = shrink(&setup, seed, &faults);
                        let mut all = failures.lock().unwrap_or_else(|e| e.into_inner());
                        all.push(Failure {
                            seed,
                            broken,
                            faults,
                        });
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap_or_else(|e| e.into_inner());
    failures.sort_by_key(|failure: &Failure| failure.seed);
    failures
}
