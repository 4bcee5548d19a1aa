//! A UART line for other programs: prints the paths of its two ends and carries until its input ends.
//!
//! ```text
//! cargo run -p sota-host --example wire -- BAUD [CORRUPT BYTES PER MILLION [SEED]]
//! ```

use sota_host::wire::{Line, Wire};
use std::io::{Read, stdin};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut numbers = std::env::args().skip(1);
    let mut number = |default: &str| {
        let text = numbers.next().unwrap_or_else(|| default.into());
        text.parse::<u32>().map_err(|e| format!("{text}: {e}"))
    };
    let wire = Wire::new(Line {
        baud: number("115200")?,
        corrupt: number("0")?,
        seed: number("1")?.into(),
        follows: false,
    })?;
    for end in wire.ends() {
        println!("{}", end.display());
    }
    stdin().read_to_end(&mut Vec::new())?;
    let carried = wire.carried();
    println!("{} {} {}", carried.a_to_b, carried.b_to_a, carried.lost);
    Ok(())
}
