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
/// How often the ports' speeds are looked at. Both protocols that change the speed pause longer than that before they send.
const LOOK_MS: u64 = 1;

/// What a wire is made with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// Bits per second of both directions; of a line that follows, at its begin.
    pub baud: u32,
    /// Each direction goes at the speed that its sender has set at its port, and a receiver with another one reads rubbish, as
    /// on a real line. Speeds that this machine's ports do not have cannot be followed.
    pub follows: bool,
    /// Bytes of a million that arrive with a wrong bit.
    pub corrupt: u32,
    /// Of these bytes.
    pub seed: u64,
}

impl From<u32> for Line {
    /// A clean one of this speed.
    fn from(baud: u32) -> Line {
        Line {
            baud,
            ..Line::default()
        }
    }
}

/// One direction: a queue whose bytes come due at the line's speed. Time comes in as nanoseconds.
#[derive(Debug)]
pub struct Lane {
    /// Each byte with the nanoseconds it takes.
    queue: VecDeque<(u8, u64)>,
    nanos_per_byte: u64,
    /// As the receiver counts.
    listener: u64,
    /// When the line has finished the byte before the queue's first.
    free_at: u64,
    corrupt: u32,
    random: u64,
}

fn nanos_per_byte(baud: u32) -> u64 {
    (BITS_PER_BYTE * NANOS / u64::from(baud.max(1))).max(1)
}

impl Lane {
    /// An idle line; 0 baud counts as 1.
    pub fn new(line: impl Into<Line>) -> Lane {
        let line = line.into();
        Lane {
            queue: VecDeque::with_capacity(LANE),
            nanos_per_byte: nanos_per_byte(line.baud),
            listener: nanos_per_byte(line.baud),
            free_at: 0,
            corrupt: line.corrupt,
            // xorshift does not begin with 0
            random: line.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
        }
    }

    /// The speed of what is sent from now on.
    pub fn sends_at(&mut self, baud: u32) {
        self.nanos_per_byte = nanos_per_byte(baud);
    }

    /// The speed that the receiver reads with from now on.
    pub fn read_at(&mut self, baud: u32) {
        self.listener = nanos_per_byte(baud);
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
        let timed = bytes[..taken].iter().map(|&b| (b, self.nanos_per_byte));
        self.queue.extend(timed);
        taken
    }

    /// Moves the bytes that have arrived by `now` to `out`.
    pub fn arrived(&mut self, now: u64, out: &mut Vec<u8>) {
        while let Some(at) = self.next().filter(|at| *at <= now)
            && let Some((byte, nanos)) = self.queue.pop_front()
        {
            self.free_at = at;
            out.push(self.heard(byte, nanos));
        }
    }

    /// What the receiver takes the byte for.
    fn heard(&mut self, byte: u8, nanos: u64) -> u8 {
        if nanos != self.listener {
            return byte.rotate_left(3) ^ 0x5A;
        }
        if self.corrupt == 0 {
            return byte;
        }
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let bad = self.random % 1_000_000 < u64::from(self.corrupt);
        byte ^ (u8::from(bad) << (self.random >> 61))
    }

    /// When the next byte has arrived, in nanoseconds; `None` when nothing is under way.
    pub fn next(&self) -> Option<u64> {
        self.queue.front().map(|(_, nanos)| self.free_at + nanos)
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
    /// A line between two new pseudo-terminals.
    ///
    /// # Errors
    /// No pseudo-terminals, descriptors or threads left.
    pub fn new(line: impl Into<Line>) -> io::Result<Wire> {
        let line = line.into();
        let ptys = [Pty::new()?, Pty::new()?];
        for pty in ptys.iter().filter(|_| line.follows) {
            pty.set_baud(line.baud)?;
        }
        let ends = [ptys[0].path().to_owned(), ptys[1].path().to_owned()];
        let stop = Arc::new(AtomicBool::new(false));
        let counters = Arc::new(Counters::default());
        let (wake, sleeper) = wake::pair()?;
        let mut copier = Copier {
            ptys,
            lanes: [
                line,
                Line {
                    seed: !line.seed,
                    ..line
                },
            ]
            .map(Lane::new),
            follows: line.follows,
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
    follows: bool,
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
        // A sender changes its speed when its last byte has left: what is there after the speed was looked at, and was sent
        // before it changed, still has the old one.
        let speeds = (0..2).map(|end| self.ptys[end].baud().filter(|_| self.follows));
        let speeds: Vec<_> = speeds.collect();
        for from in 0..2 {
            self.take(from);
        }
        self.follow(&speeds);
        for from in 0..2 {
            self.deliver(from);
        }
        let now = self.now();
        let next = self.lanes.iter().filter_map(Lane::next).min();
        // Rounded up to whole milliseconds: a batch of bytes per wake-up instead of one each.
        let ms = next.map(|at| at.saturating_sub(now).div_ceil(1_000_000));
        let ms = if self.follows {
            Some(LOOK_MS.min(ms.unwrap_or(LOOK_MS)))
        } else {
            ms
        };
        let open: Vec<_> = (0..2).filter(|&i| self.lanes[i].room() > 0).collect();
        let fds: Vec<_> = open
            .iter()
            .map(|&i| self.ptys[i].master().as_fd())
            .collect();
        self.sleeper.sleep(&fds, None, ms);
    }

    fn follow(&mut self, speeds: &[Option<u32>]) {
        for (end, baud) in speeds.iter().enumerate() {
            if let Some(baud) = *baud {
                tracing::trace!(end, baud);
                self.lanes[end].sends_at(baud);
                self.lanes[1 - end].read_at(baud);
            }
        }
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

    #[test]
    fn of_a_million_bytes_so_many_have_a_wrong_bit() {
        let line = Line {
            corrupt: 100,
            seed: 7,
            ..1_000_000.into()
        };
        let (mut lane, mut out, mut now) = (Lane::new(line), Vec::new(), 0);
        for _ in 0..1_000 {
            now += LANE as u64 * lane.nanos_per_byte;
            lane.push(now, &[0; 1_000]);
            lane.arrived(now + NANOS, &mut out);
        }
        let wrong: Vec<_> = out.iter().filter(|byte| **byte != 0).collect();
        assert!((70..130).contains(&wrong.len()), "{}", wrong.len());
        assert!(wrong.iter().all(|byte| byte.count_ones() == 1));
    }

    #[test]
    fn a_line_that_follows_has_its_senders_speed_and_others_read_rubbish() {
        use crate::serial::{Serial, Source};
        let line = Line {
            follows: true,
            ..9_600.into()
        };
        let wire = Wire::new(line).unwrap();
        let [mut a, mut b] = wire
            .ends()
            .each_ref()
            .map(|path| Serial::open(Source::Path(path.clone()), 9_600).unwrap());
        let (_wake, mut sleeper) = wake::pair().unwrap();
        let mut over = |a: &mut Serial, b: &mut Serial, text: &[u8]| {
            assert_eq!(a.write(0, text), Ok(text.len()));
            let mut got = Vec::new();
            while got.len() < text.len() {
                let mut bytes = [0; 64];
                let n = b.read(0, &mut bytes).unwrap();
                got.extend_from_slice(&bytes[..n]);
                if n == 0 {
                    sleeper.sleep(&[b.fd().unwrap()], None, None);
                }
            }
            got
        };
        let set = |end: &mut Serial| {
            end.set_baud(921_600);
            std::thread::sleep(std::time::Duration::from_millis(50));
        };
        assert_eq!(over(&mut a, &mut b, b"slow"), b"slow");
        set(&mut a);
        assert_ne!(over(&mut a, &mut b, b"fast"), b"fast");
        assert_ne!(over(&mut b, &mut a, b"slow"), b"slow");
        set(&mut b);
        let began = Instant::now();
        let long = [b'x'; 900];
        assert_eq!(over(&mut a, &mut b, &long), long);
        // at 9,600 baud it would take 0.94 s
        assert!(began.elapsed().as_millis() < 800);
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
