//! What a power cut, a failing part and age do to the cells. The tables are in [`super`].

use super::{ERASED, SimFlash};
use crate::rng::Rng;

/// A torn erase decides per row of so many bytes what became of it.
const ROW: usize = 32;
/// Greatest number of bits that a marginal page loses at one power-up.
const WEAK_BITS: u64 = 8;

impl<const PAGE: usize, const WRITE: usize> SimFlash<PAGE, WRITE> {
    /// Bit `bit` (0..=7) of the byte at `offset` is another from now on: the cell aged at rest.
    ///
    /// # Panics
    /// There is no such bit.
    pub fn bit_flip(&mut self, offset: u32, bit: u8) {
        assert!(bit < 8, "a byte has no bit {bit}");
        let at = offset as usize;
        if self.cells[at] == ERASED {
            self.decayed.insert(at);
        }
        self.cells[at] ^= 1 << bit;
    }

    /// Page `page` cannot be erased any more.
    pub fn fail_erase(&mut self, page: u32) {
        self.failing_erase.insert(page as usize);
    }

    /// Page `page` cannot be written any more.
    pub fn fail_write(&mut self, page: u32) {
        self.failing_write.insert(page as usize);
    }

    /// What the power-ups since the last look did to marginal pages.
    pub(super) fn age(&mut self, now: u64) {
        while self.power_ups < now {
            self.power_ups += 1;
            for &page in &self.marginal {
                // Every other time nothing: the trap must also be found by a machine that was restarted once.
                if self.rng.below(2) == 0 {
                    continue;
                }
                for _ in 0..self.rng.range(1..=WEAK_BITS) {
                    let bit = self.rng.below(8 * PAGE as u64);
                    self.cells[page * PAGE + (bit / 8) as usize] &= !(1 << (bit % 8));
                }
            }
        }
    }

    /// A write that was not finished.
    pub(super) fn tear_write(&mut self, at: usize, bytes: &[u8]) {
        let torn = self.rng.below((bytes.len() / WRITE) as u64) as usize * WRITE;
        self.program(at, &bytes[..torn]);
        let share = self.rng.range(0..=8);
        for (i, byte) in bytes.iter().enumerate().skip(torn).take(WRITE) {
            // Only bits that are to become 0 can have changed.
            self.cells[at + i] &= byte | !some_bits(&mut self.rng, share);
        }
    }

    /// What an erase, a torn one too, ends.
    pub(super) fn forget_faults(&mut self, page: usize) {
        self.unstable.remove(&page);
        self.marginal.remove(&page);
        if !self.decayed.is_empty() {
            self.decayed.retain(|at| at / PAGE != page);
        }
    }

    /// An erase that was not finished. Only a power cut leaves a page marginal: a part that says "failed" has
    /// looked at its cells.
    pub(super) fn tear_erase(&mut self, page: usize, cut: bool) {
        self.forget_faults(page);
        let unstable = match self.rng.below(if cut { 3 } else { 2 }) {
            0 => false,
            1 => true,
            _ => {
                self.cells[page * PAGE..(page + 1) * PAGE].fill(ERASED);
                self.marginal.insert(page);
                return;
            }
        };
        let mut mask = vec![0; PAGE];
        let rows = self.cells[page * PAGE..(page + 1) * PAGE].chunks_mut(ROW);
        for (row, mask) in rows.zip(mask.chunks_mut(ROW)) {
            match self.rng.below(4) {
                0 => {}
                1 => row.fill(ERASED),
                2 => row.fill(0),
                _ => {
                    let share = self.rng.range(0..=8);
                    for (cell, mask) in row.iter_mut().zip(mask) {
                        let reached = some_bits(&mut self.rng, share);
                        *mask = reached & !*cell;
                        *cell |= reached;
                    }
                }
            }
        }
        if unstable && mask.iter().any(|&bits| bits != 0) {
            self.unstable.insert(page, mask);
        }
    }

    /// Gives the unstable cells among `bytes`, read from `at` on, another value.
    pub(super) fn waver(&mut self, at: usize, bytes: &mut [u8]) {
        for (i, byte) in bytes.iter_mut().enumerate() {
            let Some(mask) = self.unstable.get(&((at + i) / PAGE)) else {
                continue;
            };
            let mask = mask[(at + i) % PAGE];
            if mask != 0 {
                *byte = *byte & !mask | self.rng.next_u32() as u8 & mask;
            }
        }
    }
}

/// A byte in which each bit is set with a chance of `share` in 8.
fn some_bits(rng: &mut Rng, share: u64) -> u8 {
    let draw = rng.next_u64().to_le_bytes();
    let bits = draw.iter().enumerate();
    bits.fold(0, |byte, (i, &lane)| {
        byte | u8::from(u64::from(lane) < share * 32) << i
    })
}
