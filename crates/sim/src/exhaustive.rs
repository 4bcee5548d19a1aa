//! Power cut before, in the middle of and after everything, one case each.
//!
//! The world is small: 4 KiB in two pieces, a network and a UART that harm nothing. A first run without faults counts its
//! flash operations, datagrams and frames; then each of them is a place where power goes, on each side.
//!
//! Over the binary link ([`link_cases`]) every flash operation of module and MCU, the bootloader's swap and the way back
//! of an image that never confirms among them, and every frame in each direction.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::Micros;
use crate::fault::{Edge, Fault, What, When};
use crate::net::Profile;
use crate::node::Node;
use crate::rules::Broken;
use crate::setup::{Protocol, Setup};
use crate::world::{Outcome, World};

/// Seed of every case: only the place of the cut differs.
const SEED: u64 = 1;
/// How long power is away.
const OFF: Micros = 500_000;
const MODULE: Node = Node::Module(0);
const MCU: Node = Node::Mcu(0);

/// The small world.
pub fn setup() -> Setup {
    Setup {
        package: 4_096,
        piece: 2_048,
        network: Profile::PERFECT,
        activate_at: 1_000_000,
        ..Setup::default()
    }
}

/// How many places there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// Flash operations of the module.
    pub module_flash: u64,
    /// Flash operations of the MCU.
    pub mcu_flash: u64,
    /// Datagrams, both ways.
    pub datagrams: u64,
    /// UART frames, both ways.
    pub frames: u64,
    /// Commits of the Center.
    pub commits: u64,
}

/// Which cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Before, in the middle of and after every flash operation, datagram, frame and commit, on each side.
    Singles,
    /// A second cut at every flash operation that follows the first, in the middle of both.
    Pairs,
    /// The same with every combination of before, middle and after.
    AllPairs,
}

/// A case that broke a rule.
pub type Failed = (Vec<Fault>, Broken);

/// The small world over the link: this package, in pieces of 8 KiB or less. Without `confirms` the new image is
/// reverted and not tried again. With a `greatest_baud` the line begins at 115,200.
pub fn link_setup(package: u32, confirms: bool, greatest_baud: u32) -> Setup {
    let usual = setup();
    Setup {
        protocol: Protocol::Link {
            greatest_baud,
            confirms,
        },
        baud: if greatest_baud > 0 {
            115_200
        } else {
            usual.baud
        },
        package,
        piece: (package / 2).next_multiple_of(1024).min(8_192),
        retries: confirms.into(),
        ..usual
    }
}

/// One run without faults.
pub fn places(setup: &Setup) -> Places {
    let outcome = run(setup, &[]);
    Places {
        module_flash: outcome.flash.0,
        mcu_flash: outcome.flash.1,
        datagrams: outcome.datagrams,
        frames: outcome.frames,
        commits: outcome.commits,
    }
}

fn run(setup: &Setup, faults: &[Fault]) -> Outcome {
    let mut world = World::new(setup, SEED, faults);
    world.look_always();
    world.run()
}

fn cut(node: Node, when: When) -> Fault {
    Fault {
        when,
        what: What::Cut(node, OFF),
    }
}

/// Every case.
pub fn cases(which: Which, places: &Places) -> Vec<Vec<Fault>> {
    match which {
        Which::Singles => singles(places)
            .into_iter()
            .map(|fault| vec![fault])
            .collect(),
        Which::Pairs => pairs(places, &[Edge::Middle]),
        Which::AllPairs => pairs(places, &Edge::ALL),
    }
}

fn singles(places: &Places) -> Vec<Fault> {
    let mut all = Vec::new();
    for edge in Edge::ALL {
        for (node, count) in [(MODULE, places.module_flash), (MCU, places.mcu_flash)] {
            all.extend((0..count).map(|n| cut(node, When::Flash(node, n, edge))));
        }
        for node in [MODULE, Node::Center] {
            all.extend((0..places.datagrams).map(|n| cut(node, When::Datagram(n, edge))));
        }
        for node in [MODULE, MCU] {
            all.extend((0..places.frames).map(|n| cut(node, When::Frame(n, edge))));
        }
    }
    for edge in [Edge::Before, Edge::After] {
        // The first commits furnish the Center, before there is a plan.
        all.extend((6..places.commits).map(|n| cut(Node::Center, When::Commit(n, edge))));
    }
    all
}

/// Every flash operation of module and MCU and every frame, on each side: before, in the middle and after.
///
/// A frame's first byte, its middle and its last one count; cut is the sender, and cut is the receiver. Of an upgrade that
/// is reverted only the MCU's operations from `from` on are new.
pub fn link_cases(places: &Places, from: Option<u64>) -> Vec<Vec<Fault>> {
    let mut all = Vec::new();
    for edge in Edge::ALL {
        let first = from.unwrap_or(0);
        all.extend((first..places.mcu_flash).map(|n| cut(MCU, When::Flash(MCU, n, edge))));
        if from.is_some() {
            continue;
        }
        all.extend((0..places.module_flash).map(|n| cut(MODULE, When::Flash(MODULE, n, edge))));
        for node in [MODULE, MCU] {
            all.extend((0..places.frames).map(|n| cut(node, When::Frame(n, edge))));
        }
    }
    all.into_iter().map(|fault| vec![fault]).collect()
}

/// A recovery does operations of its own, so the second cut goes on a little past the first run's count.
fn pairs(places: &Places, edges: &[Edge]) -> Vec<Vec<Fault>> {
    const RECOVERY: u64 = 12;
    let sides = [(MODULE, places.module_flash), (MCU, places.mcu_flash)];
    let mut all = Vec::new();
    for (first, count) in sides {
        for (second, most) in sides {
            for n in 0..count {
                let from = if first == second { n + 1 } else { 0 };
                for m in from..most + RECOVERY {
                    for a in edges {
                        for b in edges {
                            all.push(vec![
                                cut(first, When::Flash(first, n, *a)),
                                cut(second, When::Flash(second, m, *b)),
                            ]);
                        }
                    }
                }
            }
        }
    }
    // Module with MCU and MCU with module are the same pairs.
    all.retain(
        |pair| !matches!((pair[0].what, pair[1].what), (What::Cut(a, _), What::Cut(b, _)) if a > b),
    );
    all
}

/// Runs the cases on `threads` threads; `progress` hears how many are done.
pub fn run_cases(
    setup: &Setup,
    cases: &[Vec<Fault>],
    threads: usize,
    progress: &(dyn Fn(usize) + Sync),
) -> Vec<Failed> {
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while let Some((place, faults)) = {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    cases.get(place).map(|case| (place, case))
                } {
                    if let Some(broken) = run(setup, faults).broken {
                        let mut all = failed.lock().unwrap_or_else(|e| e.into_inner());
                        all.push((place, (faults.clone(), broken)));
                    }
                    progress(place + 1);
                }
            });
        }
    });
    let mut failed = failed.into_inner().unwrap_or_else(|e| e.into_inner());
    failed.sort_by_key(|(place, _)| *place);
    failed.into_iter().map(|(_, failed)| failed).collect()
}
