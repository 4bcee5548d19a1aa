//! How much of the line the package gets, on virtual time: the same figures on every machine.
//! `cargo test -p sota-link --test speed -- --nocapture` prints them.

mod world;

use sota_link::message::McuPhase;
use world::line::Faults;
use world::{Setup, World};

/// Share of the line's bytes that are the package's, in %, from Receiving to the last durable byte.
fn share(name: &str, setup: Setup) -> f64 {
    let baud = setup.rate[0].max(setup.baud);
    let mut world = World::new(setup);
    assert!(world.run_until(10_000_000, |w| w.mcu.phase() == McuPhase::Receiving));
    let began = world.now_us;
    let length = world.setup.length as u32;
    assert!(
        world.run_until(600_000_000, |w| w.mcu.phase() != McuPhase::Receiving),
        "{}",
        world.standing()
    );
    let seconds = (world.now_us - began) as f64 / 1e6;
    let share = f64::from(length) / (seconds * f64::from(baud) / 10.0) * 100.0;
    let twice = world.component.read - u64::from(length);
    println!(
        "{name}: {share:.1} % of {baud} baud, {:.0} bytes/s, {twice} bytes sent again",
        f64::from(length) / seconds
    );
    share
}

fn setup(baud: u32, harmed: bool) -> Setup {
    Setup {
        baud,
        length: 256 * 1024,
        piece: 256 * 1024,
        slot: 512 * 1024,
        faults: Faults {
            flipped: if harmed { 10_000 } else { 0 },
            ..Faults::default()
        },
        ..Setup::default()
    }
}

#[test]
fn a_good_line_is_used_to_97_percent() {
    for baud in [115_200, 921_600] {
        assert!(share("good", setup(baud, false)) >= 97.0);
    }
}

#[test]
fn one_byte_in_10_000_harmed_leaves_85_percent() {
    // How many of 256 blocks are harmed differs by a half from seed to seed: the figure is the mean of eight.
    for baud in [115_200, 921_600] {
        let shares = (1..=8).map(|seed| {
            let setup = Setup {
                seed,
                ..setup(baud, true)
            };
            share("harmed", setup)
        });
        let mean = shares.sum::<f64>() / 8.0;
        println!("harmed: {mean:.1} % of {baud} baud, mean of eight");
        assert!(mean >= 85.0);
    }
}

/// Pages of 4 KiB, as large NOR parts have, and pieces of 16 KiB from a network that is faster than the UART.
#[test]
fn great_pages_and_pieces() {
    for baud in [115_200, 921_600] {
        let pages = Setup {
            page: 4096,
            ..setup(baud, false)
        };
        assert!(share("4 KiB pages", pages) >= 97.0);
    }
    let pulled = Setup {
        pulls: true,
        ..setup(115_200, false)
    };
    assert!(share("pulled", pulled) >= 90.0);
}

/// The switch to a rate eight times as fast pays for itself.
#[test]
fn the_faster_rate_is_used() {
    let fast = Setup {
        rate: [921_600; 2],
        ..setup(115_200, false)
    };
    assert!(share("switched", fast) >= 90.0);
}
