//! What happens to bytes on the line.

/// Loses and harms bytes on a line; every run of a seed is the same. A byte with one wrong bit is a lost one, as the UARTs
/// check parity; a harmed one has two.
#[derive(Clone, Copy, Debug)]
pub struct Noise {
    seed: u64,
    lost: u32,
    harmed: u32,
}

impl Noise {
    /// How many of a million bytes are lost, and how many harmed.
    pub fn new(seed: u64, lost: u32, harmed: u32) -> Noise {
        Noise { seed, lost, harmed }
    }

    /// Whether it does anything.
    pub fn is_on(&self) -> bool {
        self.lost + self.harmed > 0
    }

    /// A random number below `limit` (splitmix64).
    pub fn below(&mut self, limit: u64) -> u64 {
        self.seed = self.seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % limit.max(1)
    }

    /// What arrives of the bytes.
    pub fn pass(&mut self, bytes: &mut Vec<u8>) {
        let (lost, harmed) = (u64::from(self.lost), u64::from(self.lost + self.harmed));
        if harmed == 0 {
            return;
        }
        bytes.retain_mut(|byte| match self.below(1_000_000) {
            n if n < lost => false,
            n if n < harmed => {
                *byte ^= 0b11 << self.below(7);
                true
            }
            _ => true,
        });
    }
}
