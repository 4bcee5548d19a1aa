//! Whole 64 KiB upgrades that one core simulates in a second. `benches/sim.sh` runs it and writes `docs/testing.md`.
//!
//! With a path as its argument it writes the table there, between the marks; without one it prints it.

use std::time::{Duration, Instant};

use sota_center::domain::DeviceState;
use sota_sim::draw::world_of;
use sota_sim::fault::Fault;
use sota_sim::setup::Setup;
use sota_sim::world::World;

/// How long each kind is run.
const TIME: Duration = Duration::from_secs(10);

/// 64 KiB for one device over the usual network.
fn setup() -> Setup {
    Setup {
        package: 64 * 1024,
        ..Setup::default()
    }
}

struct Figures {
    worlds: u32,
    upgraded: u32,
    seconds: f64,
    virtual_s: u64,
    datagrams: u64,
}

/// Runs worlds of these faults for a while.
fn run(faults: impl Fn(u64) -> Vec<Fault>) -> Figures {
    let mut figures = Figures {
        worlds: 0,
        upgraded: 0,
        seconds: 0.0,
        virtual_s: 0,
        datagrams: 0,
    };
    let mut spent = Duration::ZERO;
    for seed in 0.. {
        let faults = faults(seed);
        let began = Instant::now();
        let outcome = World::new(&setup(), seed, &faults).run();
        spent += began.elapsed();
        if let Some(broken) = outcome.broken {
            panic!("seed {seed} broke a rule: {broken}");
        }
        figures.worlds += 1;
        figures.upgraded += u32::from(outcome.states == [Some(DeviceState::Upgraded)]);
        figures.virtual_s += outcome.at / 1_000_000;
        figures.datagrams += outcome.datagrams;
        if spent >= TIME {
            break;
        }
    }
    figures.seconds = spent.as_secs_f64();
    figures
}

/// The faults of the first drawn world from this seed on that is of one device and has some.
fn drawn(seed: u64) -> Vec<Fault> {
    (seed * 1_000..)
        .map(world_of)
        .find(|(setup, faults)| setup.devices == 1 && !faults.is_empty())
        .map(|(_, faults)| faults)
        .unwrap_or_default()
}

fn main() {
    println!("| worlds | a second | upgraded | virtual s a world | datagrams a world |");
    println!("|---|---:|---:|---:|---:|");
    let all = [
        ("without faults", run(|_| Vec::new())),
        ("with the faults of a seed", run(drawn)),
    ];
    for (name, f) in all {
        println!(
            "| {name} | {:.0} | {:.1} % | {:.0} | {:.0} |",
            f64::from(f.worlds) / f.seconds,
            100.0 * f64::from(f.upgraded) / f64::from(f.worlds),
            f.virtual_s as f64 / f64::from(f.worlds),
            f.datagrams as f64 / f64::from(f.worlds),
        );
    }
}
