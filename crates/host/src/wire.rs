//! The UART line: two pseudo-terminals joined by a copier that keeps to a baud rate.
//!
//! ```text
//!  module -- slave A | master A <-- Lane --> master B | slave B -- MCU
//! ```
//!
//! Both masters, and one descriptor of each slave, live here: an end that is killed and started again
//! finds the line as it was. Like a UART without flow control, bytes for an end that does not read are
//! lost when its buffer (the kernel's, at least 4 KiB) is full; they are counted.

use crate::pty::Pty;
use crate::wake::{self, Wake};
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

/// Start bit, eight data bits, stop bit.
const BITS_PER_BYTE: u64 = 10;
const NANOS: u64 = 1_000_000_000;
/// Bytes a lane holds before it stops reading its sender.
const LANE: usize = 1024;

/// One direction: a queue whose bytes come due at the line's speed. Time comes in as nanoseconds.
#[derive(Debug)]
pub struct Lane {
    queue: VecDeque<u8>,
    nanos_per_byte: u64,
    /// When the line has finished the byte before the queue's first.
    free_at: u64,
}

impl Lane {
    /// An idle line of `baud` bits per second; 0 counts as 1.
    pub fn new(baud: u32) -> Lane {
        Lane {
            queue: VecDeque::with_capacity(LANE),
            nanos_per_byte: (BITS_PER_BYTE * NANOS / u64::from(baud.max(1))).max(1),
            free_at: 0,
        }
    }

    /// Bytes it takes now.
    pub fn room(&self) -> usize {
        LANE - self.queue.len()
    }

    /// Sends `bytes` (at most [`Lane::room`]; what is more is not taken). Returns how many it took.
    pub fn push(&mut self, now: u64, bytes: &[u8]) -> usize {
        if self.queue.is_empty() {
            self.free_at = self.free_at.max(now);
        }
        let taken = bytes.len().min(self.room());
        self.queue.extend(&bytes[..taken]);
        taken
    }

    /// Moves the bytes that have arrived by `now` to `out`.
    pub fn arrived(&mut self, now: u64, out: &mut Vec<u8>) {
        let elapsed = now.saturating_sub(self.free_at) / self.nanos_per_byte;
        let count = self.queue.len().min(elapsed as usize);
        out.extend(self.queue.drain(..count));
        self.free_at += count as u64 * self.nanos_per_byte;
    }

    /// When the next byte has arrived, in nanoseconds; `None` when nothing is under way.
    pub fn next(&self) -> Option<u64> {
        (!self.queue.is_empty()).then(|| self.free_at + self.nanos_per_byte)
    }
}

/// What went over a wire so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Bytes delivered from end A to end B.
    pub a_to_b: u64,
    /// Bytes delivered from end B to end A.
    pub b_to_a: u64,
    /// Bytes lost because the receiver's buffer was full.
    pub lost: u64,
}

#[derive(Debug, Default)]
struct Counters {
    delivered: [AtomicU64; 2],
    lost: AtomicU64,
}

/// A line between two paths; it runs in a thread of its own until it is dropped.
#[derive(Debug)]
pub struct Wire {
    ends: [PathBuf; 2],
    stop: Arc<AtomicBool>,
    wake: Wake,
    counters: Arc<Counters>,
    thread: Option<JoinHandle<()>>,
}

impl Wire {
    /// A line of `baud` bits per second in each direction.
    ///
    /// # Errors
    /// No pseudo-terminals, descriptors or threads left.
    pub fn new(baud: u32) -> io::Result<Wire> {
        let ptys = [Pty::new()?, Pty::new()?];
        let ends = [ptys[0].path().to_owned(), ptys[1].path().to_owned()];
        let stop = Arc::new(AtomicBool::new(false));
        let counters = Arc::new(Counters::default());
        let (wake, sleeper) = wake::pair()?;
        let mut copier = Copier {
            ptys,
            lanes: [Lane::new(baud), Lane::new(baud)],
            began: Instant::now(),
            counters: counters.clone(),
            sleeper,
        };
        let ended = stop.clone();
        let thread = std::thread::Builder::new()
            .name("wire".into())
            .spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    copier.step();
                }
            })?;
        Ok(Wire {
            ends,
            stop,
            wake,
            counters,
            thread: Some(thread),
        })
    }

    /// Path of end A and of end B.
    pub fn ends(&self) -> &[PathBuf; 2] {
        &self.ends
    }

    /// What went over it.
    pub fn carried(&self) -> Carried {
        Carried {
            a_to_b: self.counters.delivered[0].load(Ordering::Relaxed),
            b_to_a: self.counters.delivered[1].load(Ordering::Relaxed),
            lost: self.counters.lost.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.wake.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Copier {
    ptys: [Pty; 2],
    /// Lane i carries from end i to the other.
    lanes: [Lane; 2],
    began: Instant,
    counters: Arc<Counters>,
    sleeper: wake::Sleeper,
}

impl Copier {
    fn now(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    /// Takes what the ends sent, delivers what has arrived, sleeps until there is more to do.
    fn step(&mut self) {
        for from in 0..2 {
            self.take(from);
            self.deliver(from);
        }
        let now = self.now();
        let next = self.lanes.iter().filter_map(Lane::next).min();
        // Rounded up to whole milliseconds: a batch of bytes per wake-up instead of one each.
        let ms = next.map(|at| at.saturating_sub(now).div_ceil(1_000_000));
        let open: Vec<_> = (0..2).filter(|&i| self.lanes[i].room() > 0).collect();
        let fds: Vec<_> = open
            .iter()
            .map(|&i| self.ptys[i].master().as_fd())
            .collect();
        self.sleeper.sleep(&fds, None, ms);
    }

    fn take(&mut self, from: usize) {
        let mut bytes = [0; LANE];
        let room = self.lanes[from].room();
        if room == 0 {
            return;
        }
        // An error here is "nothing there": the slave we hold keeps the line from hanging up.
        if let Ok(count) = self.ptys[from].master().read(&mut bytes[..room]) {
            let now = self.now();
            self.lanes[from].push(now, &bytes[..count]);
        }
    }

    fn deliver(&mut self, from: usize) {
        let mut bytes = Vec::new();
        self.lanes[from].arrived(self.now(), &mut bytes);
        if bytes.is_empty() {
            return;
        }
        let taken = self.ptys[1 - from].master().write(&bytes).unwrap_or(0);
        self.counters.delivered[from].fetch_add(taken as u64, Ordering::Relaxed);
        let lost = (bytes.len() - taken) as u64;
        self.counters.lost.fetch_add(lost, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs::OpenOptions;

    #[test]
    fn a_byte_takes_ten_bits() {
        let mut lane = Lane::new(9_600);
        let byte = BITS_PER_BYTE * NANOS / 9_600;
        let mut out = Vec::new();
        lane.push(1_000, b"ab");
        lane.arrived(1_000 + byte - 1, &mut out);
        assert_eq!(out, b"");
        assert_eq!(lane.next(), Some(1_000 + byte));
        lane.arrived(1_000 + byte, &mut out);
        assert_eq!(out, b"a");
        lane.arrived(1_000 + 2 * byte, &mut out);
        assert_eq!(out, b"ab");
        assert_eq!(lane.next(), None);
    }

    #[test]
    fn an_idle_line_saves_nothing_up() {
        let mut lane = Lane::new(9_600);
        let mut out = Vec::new();
        lane.push(10 * NANOS, b"abc");
        lane.arrived(10 * NANOS, &mut out);
        assert_eq!(out, b"");
    }

    #[test]
    fn a_full_lane_takes_no_more() {
        let mut lane = Lane::new(9_600);
        assert_eq!(lane.push(0, &[0; LANE + 5]), LANE);
        assert_eq!(lane.push(0, &[0]), 0);
    }

    #[test]
    fn both_directions_carry_every_byte_in_raw_mode() {
        let wire = Wire::new(4_000_000).unwrap();
        let open = |path| OpenOptions::new().read(true).write(true).open(path);
        let [mut a, mut b] = wire.ends().each_ref().map(|path| open(path).unwrap());
        // Every byte value: CR, LF, XON, EOF, interrupt would not survive a cooked terminal.
        let all: Vec<u8> = (0..=255).collect();
        let mut got = [0; 256];
        a.write_all(&all).unwrap();
        b.read_exact(&mut got).unwrap();
        assert_eq!(got[..], all);
        b.write_all(&all).unwrap();
        a.read_exact(&mut got).unwrap();
        assert_eq!(got[..], all);
    }

    #[test]
    fn the_line_survives_an_end_that_closes() {
        let wire = Wire::new(4_000_000).unwrap();
        let open = |path| OpenOptions::new().read(true).write(true).open(path);
        let mut a = open(&wire.ends()[0]).unwrap();
        drop(open(&wire.ends()[1]).unwrap());
        let mut b = open(&wire.ends()[1]).unwrap();
        a.write_all(b"still here").unwrap();
        let mut got = [0; 10];
        b.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"still here");
    }

    proptest! {
        /// In order, nothing lost or doubled, never faster than the line.
        #[test]
        fn a_lane_is_a_paced_queue(
            baud in 300u32..10_000_000,
            steps in prop::collection::vec((0u64..5_000_000, prop::collection::vec(any::<u8>(), 0..80)), 1..50),
        ) {
            let mut lane = Lane::new(baud);
            let (mut now, mut sent, mut out) = (0, Vec::new(), Vec::new());
            for (gap, bytes) in steps {
                now += gap;
                let taken = lane.push(now, &bytes);
                sent.extend_from_slice(&bytes[..taken]);
                lane.arrived(now, &mut out);
                prop_assert!(out.len() as u64 * lane.nanos_per_byte <= now);
                prop_assert!(sent.starts_with(&out));
            }
            now += LANE as u64 * lane.nanos_per_byte;
            lane.arrived(now, &mut out);
            prop_assert_eq!(sent, out);
        }
    }
}
