//! One direction of a serial line: 10 bits a byte, a small transmit buffer, and what a bad wire does.
//!
//! Bytes are not events: what arrives is handed out in batches.
//!
//! | a batch ends | when |
//! |---|---|
//! | with [`BATCH`] bytes | the last of them has arrived |
//! | with the last byte there is | that has arrived (the line is idle) |
//! | early | [`Line::babble`] or [`Line::cut`] come in between |
//!
//! | fault | per byte | what the receiver gets |
//! |---|---|---|
//! | lost | `lost_ppm` | nothing |
//! | doubled | `doubled_ppm` | the byte twice |
//! | flipped | `flipped_ppm` | the byte with one bit changed |
//! | inserted | `inserted_ppm` | a random byte before it |
//! | silence | until its end | nothing |
//! | babble | - | bytes that nobody sent |
//! | cut | - | nothing of what is in the buffer; of the byte just being sent, garbage or nothing |
//! | another baud rate at the receiver | - | each byte as garbage |
//!
//! A byte has at most one of the first four, from one random number; a clean line draws none.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use crate::Micros;
use crate::rng::Rng;

/// Bytes of the transmit buffer, the one being sent included.
pub const TX_BUFFER: usize = 256;
/// Bytes that are handed to the receiver at once, at most, while the line is busy.
pub const BATCH: u64 = 64;
/// Bits on the wire times microseconds in a second.
const BYTE_BIT_MICROS: u64 = 10 * 1_000_000;

/// What a bad wire does, in parts per million of the bytes. Together more than a million counts as a million.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineFaults {
    /// Bytes that vanish.
    pub lost_ppm: u32,
    /// Bytes that come twice.
    pub doubled_ppm: u32,
    /// Bytes with one bit changed.
    pub flipped_ppm: u32,
    /// Bytes that have a random byte before them.
    pub inserted_ppm: u32,
}

impl LineFaults {
    /// A good wire.
    pub const NONE: LineFaults = LineFaults {
        lost_ppm: 0,
        doubled_ppm: 0,
        flipped_ppm: 0,
        inserted_ppm: 0,
    };
}

/// Counts since the line was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineStats {
    /// Bytes put in by the sender.
    pub pushed: u64,
    /// Bytes handed to the receiver.
    pub delivered: u64,
    /// Bytes that vanished.
    pub lost: u64,
    /// Bytes that came twice.
    pub doubled: u64,
    /// Bytes with a bit changed.
    pub flipped: u64,
    /// Random bytes inserted.
    pub inserted: u64,
    /// Bytes that fell into a silence.
    pub silenced: u64,
    /// Bytes of [`Line::babble`].
    pub babbled: u64,
    /// Bytes that a [`Line::cut`] took.
    pub cut: u64,
    /// Bytes of garbage that a [`Line::cut`] left.
    pub garbage: u64,
    /// Bytes that the receiver read at another baud rate.
    pub misread: u64,
}

/// One direction of a serial line.
#[derive(Clone, Debug)]
pub struct Line {
    rng: Rng,
    baud: u32,
    /// What the receiver reads with.
    reads_at: u32,
    faults: LineFaults,
    /// Not yet batched: under way and waiting.
    queue: VecDeque<u8>,
    /// When the first byte of this burst (bytes without a gap) began.
    burst_at: Micros,
    /// Bytes of this burst that are batched. The queue follows them.
    batched: u64,
    silent_until: Micros,
    /// Batched early: due since `ready_at`.
    ready: Vec<u8>,
    ready_at: Micros,
    /// What the last `pop` lent out.
    lent: Vec<u8>,
    stats: LineStats,
}

impl Line {
    /// A line with `baud` bits per second. `rng` decides its faults.
    ///
    /// # Panics
    /// `baud` is 0.
    pub fn new(rng: Rng, baud: u32, faults: LineFaults) -> Line {
        assert!(baud > 0, "a line of 0 baud sends nothing");
        Line {
            rng,
            baud,
            reads_at: baud,
            faults,
            queue: VecDeque::with_capacity(TX_BUFFER),
            burst_at: 0,
            batched: 0,
            silent_until: 0,
            ready: Vec::new(),
            ready_at: 0,
            lent: Vec::new(),
            stats: LineStats::default(),
        }
    }

    /// The wire is another from the next batch on.
    pub fn set_faults(&mut self, faults: LineFaults) {
        self.faults = faults;
    }

    /// Bits per second that the sender has.
    pub fn baud(&self) -> u32 {
        self.baud
    }

    /// The sender has another rate from now on, also for what is in its buffer.
    pub fn send_at(&mut self, now: Micros, baud: u32) {
        if baud != self.baud && baud > 0 {
            self.batch_arrived(now);
            self.baud = baud;
            self.burst_at = now;
            self.batched = 0;
        }
    }

    /// The receiver reads at this rate from now on.
    pub fn read_at(&mut self, now: Micros, baud: u32) {
        if baud != self.reads_at {
            self.batch_arrived(now);
            self.reads_at = baud;
        }
    }

    /// Counts since the line was made.
    pub fn stats(&self) -> LineStats {
        self.stats
    }

    /// Bytes that the sender may put now. It grows with every byte sent; [`Line::next_at`] is a time to look again.
    pub fn room(&self, now: Micros) -> usize {
        TX_BUFFER - (self.queue.len() - self.arrived(now))
    }

    /// Puts bytes into the transmit buffer; they follow what is there without a gap. Returns how many went in, at
    /// most [`Line::room`]; the sender keeps the others.
    pub fn push(&mut self, now: Micros, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.room(now));
        if count == 0 {
            return 0;
        }
        if self.end_of(self.queue.len() as u64) <= now {
            // There was a gap: what has arrived by now is a batch of its own.
            self.batch_arrived(now);
            self.burst_at = now;
            self.batched = 0;
        }
        self.queue.extend(&bytes[..count]);
        self.stats.pushed += count as u64;
        count
    }

    /// When [`Line::pop`] has something to do next. It may answer `None` then: a batch can get lost wholly. It can
    /// become later by a `push`, and be past after a `babble` or `cut`.
    pub fn next_at(&self) -> Option<Micros> {
        if !self.ready.is_empty() {
            return Some(self.ready_at);
        }
        let next = (self.queue.len() as u64).min(BATCH);
        (next > 0).then(|| self.end_of(next))
    }

    /// The next batch that has arrived by `now`; call it until it answers `None`.
    pub fn pop(&mut self, now: Micros) -> Option<&[u8]> {
        while self.next_at()? <= now {
            if self.ready.is_empty() {
                self.batch((self.queue.len() as u64).min(BATCH));
            }
            if !self.ready.is_empty() {
                std::mem::swap(&mut self.ready, &mut self.lent);
                self.ready.clear();
                self.stats.delivered += self.lent.len() as u64;
                return Some(&self.lent);
            }
        }
        None
    }

    /// Nothing gets through until then: bytes that are not handed out yet and end by `until` are lost. The sender
    /// does not notice. A silence does not shorten one that lasts longer.
    pub fn silence(&mut self, until: Micros) {
        self.silent_until = self.silent_until.max(until);
    }

    /// Noise from outside: the receiver gets `bytes` after what has arrived by `now`. The wire's faults and a
    /// silence do nothing to it.
    pub fn babble(&mut self, now: Micros, bytes: &[u8]) {
        self.batch_arrived(now);
        self.ready_at = now;
        self.ready.extend_from_slice(bytes);
        self.stats.babbled += bytes.len() as u64;
    }

    /// Power goes at one of the two ends: what has not arrived by `now` never will. Every other time the byte just
    /// being sent arrives as garbage. The line can be used again at once.
    pub fn cut(&mut self, now: Micros) {
        self.batch_arrived(now);
        self.ready_at = now;
        self.stats.cut += self.queue.len() as u64;
        if !self.queue.is_empty() && self.rng.below(2) == 0 {
            self.ready.push(self.rng.next_u32() as u8);
            self.stats.garbage += 1;
        }
        self.queue.clear();
        self.burst_at = now;
        self.batched = 0;
    }

    /// When everything that is in the buffer has left; never before `now`.
    pub fn idle_at(&self, now: Micros) -> Micros {
        match self.queue.len() as u64 {
            0 => now,
            waiting => self.end_of(waiting).max(now),
        }
    }

    /// How long so many bytes take, rounded up.
    pub fn time_of(&self, bytes: u64) -> Micros {
        (bytes * BYTE_BIT_MICROS).div_ceil(u64::from(self.baud))
    }

    /// When the `count`th byte of the queue has arrived.
    fn end_of(&self, count: u64) -> Micros {
        let bits = (self.batched + count) * BYTE_BIT_MICROS;
        self.burst_at + bits.div_ceil(u64::from(self.baud))
    }

    /// Bytes of the queue that have arrived by `now`.
    fn arrived(&self, now: Micros) -> usize {
        let since = now.saturating_sub(self.burst_at);
        let done = since.saturating_mul(u64::from(self.baud)) / BYTE_BIT_MICROS;
        let waiting = self.queue.len();
        usize::try_from(done.saturating_sub(self.batched)).map_or(waiting, |n| n.min(waiting))
    }

    /// Ends a batch early, at what has arrived by `now`.
    fn batch_arrived(&mut self, now: Micros) {
        let arrived = self.arrived(now) as u64;
        if self.ready.is_empty() {
            self.ready_at = self.end_of(arrived);
        }
        self.batch(arrived);
    }

    /// Takes `count` bytes from the queue over the wire.
    fn batch(&mut self, count: u64) {
        let mut count = count as usize;
        while count > 0 && self.end_of(1) <= self.silent_until {
            self.queue.pop_front();
            self.batched += 1;
            self.stats.silenced += 1;
            count -= 1;
        }
        self.batched += count as u64;
        if self.reads_at != self.baud {
            let garbage = self.queue.drain(..count);
            self.ready.extend(garbage.map(|b| b.rotate_left(3) ^ 0x5A));
            self.stats.misread += count as u64;
            return;
        }
        if self.faults == LineFaults::NONE {
            // The usual case, so two copies of memory and no loop over bytes.
            let (front, back) = self.queue.as_slices();
            let split = count.min(front.len());
            self.ready.extend_from_slice(&front[..split]);
            self.ready.extend_from_slice(&back[..count - split]);
            self.queue.drain(..count);
            return;
        }
        let faults = self.faults;
        let lost = faults.lost_ppm;
        let doubled = lost.saturating_add(faults.doubled_ppm);
        let flipped = doubled.saturating_add(faults.flipped_ppm);
        let inserted = flipped.saturating_add(faults.inserted_ppm);
        for byte in self.queue.drain(..count) {
            let fate = self.rng.millionth();
            if fate >= inserted {
                self.ready.push(byte);
            } else if fate >= flipped {
                self.stats.inserted += 1;
                self.ready.push(self.rng.next_u32() as u8);
                self.ready.push(byte);
            } else if fate >= doubled {
                self.stats.flipped += 1;
                self.ready.push(byte ^ 1 << self.rng.below(8));
            } else if fate >= lost {
                self.stats.doubled += 1;
                self.ready.extend([byte, byte]);
            } else {
                self.stats.lost += 1;
            }
        }
    }
}
