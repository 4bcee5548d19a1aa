//! Does the simulator bite? Each deliberate mistake of `sota-mutants` breaks a rule within 1,000 seeds.
//!
//! `cargo test --release -p sota-sim --features mutants --test mutants -- --nocapture` prints which seed finds which
//! mistake by which rule. A seed counts only if its world breaks no rule without the mistake.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use sota_mutants::{Mutant, select};
use sota_sim::rules::Broken;
use sota_sim::run::run_seed;

/// Seeds that are tried.
const SEEDS: u64 = 1_000;

/// The first seed from `from` on whose world breaks a rule, the same for any number of cores.
fn first_broken(from: u64) -> Option<(u64, Broken)> {
    let next = AtomicU64::new(from);
    let first: Mutex<Option<(u64, Broken)>> = Mutex::new(None);
    let lock = || first.lock().unwrap_or_else(|e| e.into_inner());
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    // Seeds are taken in their order: those before the first are all under way when it is found.
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= SEEDS || lock().is_some() {
                        return;
                    }
                    if let Some(broken) = run_seed(seed).broken {
                        let mut first = lock();
                        if first.as_ref().is_none_or(|(known, _)| seed < *known) {
                            *first = Some((seed, broken));
                        }
                    }
                }
            });
        }
    });
    first.into_inner().unwrap_or_else(|e| e.into_inner())
}

/// The first seed that breaks a rule with the mistake and none without it.
fn caught(mutant: Mutant) -> Option<(u64, Broken)> {
    let mut from = 0;
    loop {
        select(Some(mutant));
        let (seed, broken) = first_broken(from)?;
        select(None);
        if run_seed(seed).broken.is_none() {
            return Some((seed, broken));
        }
        from = seed + 1;
    }
}

/// One test: what is selected is selected for the whole process.
#[test]
fn each_mutant_is_caught() {
    let mut missed = Vec::new();
    println!("| mutant | seed | rule | seen |");
    println!("|---|---|---|---|");
    for mutant in Mutant::ALL {
        let began = Instant::now();
        match caught(mutant) {
            Some((seed, broken)) => {
                println!(
                    "| {mutant:?} | {seed} | {:?} | {} |",
                    broken.rule, broken.seen
                );
            }
            None => missed.push(mutant),
        }
        eprintln!("{mutant:?}: {} s", began.elapsed().as_secs());
    }
    assert!(missed.is_empty(), "not caught by {SEEDS} seeds: {missed:?}");
}
