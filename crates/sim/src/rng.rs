//! Streams of random numbers from one seed.
//!
//! | is | how |
//! |---|---|
//! | the generator | xoshiro256++ of `rand_xoshiro`, whose output is fixed by its reference code |
//! | a stream's key | SHA-256 of the seed (8 bytes, little endian), or of the parent's key and the label |
//! | a stream's state | its key; how much the parent was drawn from has no influence |

use std::ops::RangeInclusive;

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng as _, SeedableRng};
use sha2::{Digest, Sha256};

/// One million: the whole of a rate given in parts per million.
pub const MILLION: u32 = 1_000_000;

/// One stream of random numbers.
///
/// A clone goes on with the same numbers as the original; a stream of its own comes from [`Rng::fork`].
#[derive(Clone, Debug)]
pub struct Rng {
    key: [u8; 32],
    stream: Xoshiro256PlusPlus,
}

impl Rng {
    /// The first stream of a world.
    pub fn new(seed: u64) -> Rng {
        Rng::from_key(Sha256::digest(seed.to_le_bytes()).into())
    }

    fn from_key(key: [u8; 32]) -> Rng {
        Rng {
            key,
            stream: Xoshiro256PlusPlus::from_seed(key),
        }
    }

    /// An independent stream named `label`.
    ///
    /// The same label gives the same stream every time, so two parts that shall differ need two labels.
    pub fn fork(&self, label: &str) -> Rng {
        let digest = Sha256::new().chain_update(self.key).chain_update(label);
        Rng::from_key(digest.finalize().into())
    }

    /// 32 random bits; uses up as much of the stream as [`Rng::next_u64`].
    pub fn next_u32(&mut self) -> u32 {
        self.stream.next_u32()
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.stream.next_u64()
    }

    /// A number in `0..n`, each as likely as the others.
    ///
    /// # Panics
    /// `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        assert!(n > 0, "there is no number below 0");
        loop {
            // Lemire's method: the high half is the answer, unless the low half is among the few that would
            // make some answers more likely.
            let wide = u128::from(self.next_u64()) * u128::from(n);
            let low = wide as u64;
            if low >= n || low >= n.wrapping_neg() % n {
                return (wide >> 64) as u64;
            }
        }
    }

    /// A number in `range`, both ends included.
    ///
    /// # Panics
    /// The range is empty.
    pub fn range(&mut self, range: RangeInclusive<u64>) -> u64 {
        let (first, last) = range.into_inner();
        assert!(first <= last, "the range {first}..={last} is empty");
        match (last - first).checked_add(1) {
            Some(count) => first + self.below(count),
            None => self.next_u64(),
        }
    }

    /// True `per_million` times in a million; from one million on always.
    ///
    /// Uses up one number at every rate, 0 too: a fault that is switched off does not move what follows it.
    pub fn chance(&mut self, per_million: u32) -> bool {
        self.millionth() < per_million
    }

    /// A number below one million from exactly one draw (its bias is below one in 10^13).
    pub(crate) fn millionth(&mut self) -> u32 {
        ((u128::from(self.next_u64()) * u128::from(MILLION)) >> 64) as u32
    }

    /// Fills `bytes` with random bytes.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.stream.fill_bytes(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_the_one_written_down() {
        // Worked out by a program of its own from the table above. Another result: every recorded seed tells
        // another story now.
        let mut rng = Rng::new(1);
        assert_eq!(
            [rng.next_u64(), rng.next_u64()],
            [0x9c747a89c351392c, 0x9222edbf2832e504]
        );
        let mut fork = rng.fork("net");
        assert_eq!(fork.next_u64(), 0x8c876056be9a3351);
        let mut bytes = [0; 11];
        fork.fill(&mut bytes);
        assert_eq!(hex::encode(bytes), "b0f85fcda44cbc1961e16d");
        assert_eq!(fork.next_u32(), 0xdb8ad264);
        let mut bounded = rng.fork("bounded");
        let drawn: Vec<u64> = (0..6).map(|_| bounded.range(100..=109)).collect();
        assert_eq!(drawn, [104, 102, 103, 108, 100, 104]);
    }

    #[test]
    fn a_fork_depends_on_key_and_label_only() {
        let mut rng = Rng::new(7);
        let before = rng.fork("uart").next_u64();
        rng.fill(&mut [0; 100]);
        assert_eq!(rng.fork("uart").next_u64(), before);
        assert_ne!(rng.fork("net").next_u64(), before);
        assert_ne!(Rng::new(8).fork("uart").next_u64(), before);
        assert_ne!(
            rng.fork("a").fork("b").next_u64(),
            rng.fork("ab").next_u64()
        );
    }

    #[test]
    fn bounds_are_kept_and_reached() {
        let mut rng = Rng::new(3);
        let mut seen = [0u32; 6];
        for _ in 0..6_000 {
            seen[rng.below(6) as usize] += 1;
        }
        assert!(seen.iter().all(|&n| (850..1150).contains(&n)), "{seen:?}");
        assert_eq!(rng.below(1), 0);
        assert_eq!(rng.range(5..=5), 5);
        assert!((0..100).all(|_| (3..=4).contains(&rng.range(3..=4))));
        // The count of the whole range does not fit 64 bits.
        assert!((0..64).any(|_| rng.range(0..=u64::MAX) > u64::MAX / 2));
    }

    #[test]
    fn bounds_beyond_half_the_range_are_not_skewed() {
        // Three quarters of 2^64: without the rejection every third number would come as often as the other two.
        let n = 3 << 62;
        let mut rng = Rng::new(4);
        let thirds = (0..3_000)
            .filter(|_| rng.below(n).is_multiple_of(3))
            .count();
        assert!((900..1100).contains(&thirds), "{thirds}");
    }

    #[test]
    fn chance_has_its_rate_and_its_ends() {
        let mut rng = Rng::new(5);
        let hits = (0..100_000).filter(|_| rng.chance(250_000)).count();
        assert!((24_000..26_000).contains(&hits), "{hits}");
        assert!(!(0..10_000).any(|_| rng.chance(0)));
        assert!((0..10_000).all(|_| rng.chance(MILLION)));
        let (mut never, mut always) = (rng.clone(), rng.clone());
        never.chance(0);
        always.chance(u32::MAX);
        assert_eq!(never.next_u64(), always.next_u64());
    }

    #[test]
    #[should_panic(expected = "empty")]
    fn an_empty_range_is_a_mistake() {
        #[expect(clippy::reversed_empty_ranges)]
        Rng::new(0).range(2..=1);
    }
}
