//! One direction of the UART: bytes at the sender's baud rate, harmed as wanted, heard at the receiver's.

use super::Rng;
use std::collections::VecDeque;

/// What happens to a byte, each in one of so many cases; 0 = never.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    pub lost: u64,
    pub doubled: u64,
    pub flipped: u64,
    pub inserted: u64,
    /// A burst of up to 300 bytes of garbage.
    pub babble: u64,
}

/// One direction.
pub struct Lane {
    queue: VecDeque<(u8, u32)>,
    free_at: u64,
    pub sent: u64,
}

/// Bytes of the UART's own FIFO.
const FIFO: usize = 64;

impl Lane {
    pub fn new() -> Lane {
        Lane {
            queue: VecDeque::new(),
            free_at: 0,
            sent: 0,
        }
    }

    pub fn room(&self) -> usize {
        FIFO.saturating_sub(self.queue.len())
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub fn push(&mut self, now: u64, bytes: &[u8], baud: u32) {
        if self.queue.is_empty() {
            self.free_at = self.free_at.max(now);
        }
        self.sent += bytes.len() as u64;
        self.queue.extend(bytes.iter().map(|byte| (*byte, baud)));
    }

    /// What has arrived by `now`, ns, at an end that listens at `baud`.
    pub fn arrived(
        &mut self,
        now: u64,
        baud: u32,
        faults: &Faults,
        rng: &mut Rng,
        out: &mut VecDeque<u8>,
    ) {
        while let Some((byte, at)) = self.queue.front().copied() {
            let due = self.free_at + 10_000_000_000 / u64::from(at);
            if due > now {
                return;
            }
            self.free_at = due;
            self.queue.pop_front();
            if rng.once_in(faults.inserted) {
                out.push_back(rng.next() as u8);
            }
            if rng.once_in(faults.babble) {
                for _ in 0..rng.next() % 300 {
                    out.push_back(rng.next() as u8);
                }
            }
            if rng.once_in(faults.lost) {
                continue;
            }
            let mut heard = byte;
            if at != baud || rng.once_in(faults.flipped) {
                heard ^= 1 << (rng.next() % 8);
            }
            out.push_back(heard);
            if rng.once_in(faults.doubled) {
                out.push_back(heard);
            }
        }
    }
}
