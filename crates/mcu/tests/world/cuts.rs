//! Every cut of a whole upgrade, and the images of the worlds that are cut.

use super::nor::{MOMENTS, Moment};

/// Where one world stands at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Updated,
    /// The operation that was to be cut did not come.
    NoCut,
}

/// Cuts every operation at every moment, and where bits are left to chance several times, with other seeds; gives the cases.
/// `SEEDS`: how often. `upgrade` is a whole upgrade with this seed and this cut.
pub fn every_operation(mut upgrade: impl FnMut(u64, (u32, Moment)) -> End) -> u32 {
    let seeds: u64 = std::env::var("SEEDS").map_or(1, |n| n.parse().unwrap());
    let mut cases = 0;
    for operation in 1.. {
        for (i, moment) in MOMENTS.into_iter().enumerate() {
            let chances = if moment == Moment::Middle { seeds } else { 1 };
            for chance in 1..=chances {
                let seed = chance + u64::from(operation) * 1_000;
                let seed = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
                match upgrade(seed, (operation, moment)) {
                    End::NoCut if i == 0 => return cases,
                    End::NoCut => panic!("operation {operation} is not always there"),
                    End::Updated => cases += 1,
                }
            }
        }
    }
    cases
}

/// Bytes with runs of zeros and of 0xFF, as images have.
pub fn image(seed: u64, length: usize) -> Vec<u8> {
    let mut x = seed | 1;
    (0..length)
        .map(|i| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            match i / 96 % 4 {
                1 => 0,
                2 => 0xFF,
                _ => x as u8,
            }
        })
        .collect()
}
