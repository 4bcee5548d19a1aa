//! Times of `docs/link.md`, Timers, and the time-out of a block from the measured round trip (RFC 6298).

/// Milliseconds of the caller's clock; never goes back.
pub type Millis = u64;

pub(crate) const HELLO_FIRST: u32 = 250;
pub(crate) const HELLO_MOST: u32 = 30_000;
pub(crate) const ACTION: u64 = 10_000;
pub(crate) const PROBE_EVERY: u64 = 100;
pub(crate) const ERROR: u32 = 1_000;
const BEAT: u32 = 1_000;
const BEAT_IDLE: u32 = 30_000;
const DEAD: u32 = 5_000;
const DEAD_IDLE: u32 = 95_000;
/// At another rate than the base: a peer that was reset is found sooner.
const DEAD_FAST: u32 = 2_000;

/// The earliest of several deadlines.
pub(crate) fn earliest(deadlines: &[Option<Millis>]) -> Option<Millis> {
    deadlines.iter().flatten().copied().min()
}

/// What follows from the time of a full frame on the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timing {
    /// A frame of a whole block, ms, at least 1.
    frame: u32,
}

impl Timing {
    pub(crate) const ZERO: Timing = Timing { frame: 0 };

    pub(crate) fn new(block: u16, baud: u32) -> Timing {
        let bits = (u32::from(block) + 20) * 10;
        // Rounded up.
        Timing {
            frame: (bits * 1_000 - 1) / baud.max(1) + 1,
        }
    }

    pub(crate) fn frame(self) -> u32 {
        self.frame
    }

    pub(crate) fn repeat(self) -> u32 {
        2 * self.frame() + 200
    }

    pub(crate) fn fallback(self) -> u32 {
        4 * self.frame() + 400
    }

    pub(crate) fn beat(self, idle: bool) -> u32 {
        if idle { BEAT_IDLE } else { BEAT }
    }

    pub(crate) fn dead(self, idle: bool, fast: bool) -> u32 {
        let least = match (fast, idle) {
            (true, _) => DEAD_FAST,
            (_, true) => DEAD_IDLE,
            _ => DEAD,
        };
        least.max(8 * self.frame())
    }
}

/// Time-out of a block, ms. Karn's rule is the caller's: only blocks that were sent once give samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rto {
    /// 8 x SRTT, 0 = no sample yet.
    srtt8: u32,
    /// 4 x RTTVAR.
    rttvar4: u32,
    timeout: u32,
    floor: u32,
    ceiling: u32,
}

impl Rto {
    #[cfg(feature = "pull")]
    pub(crate) const ZERO: Rto = Rto {
        srtt8: 0,
        rttvar4: 0,
        timeout: 0,
        floor: 0,
        ceiling: 0,
    };

    pub(crate) fn new(timing: Timing) -> Rto {
        let ceiling = timing.frame.saturating_mul(8).max(5_000);
        Rto {
            srtt8: 0,
            rttvar4: 0,
            timeout: timing
                .frame
                .saturating_mul(3)
                .saturating_add(500)
                .min(ceiling),
            floor: timing
                .frame
                .saturating_mul(2)
                .saturating_add(20)
                .min(ceiling),
            ceiling,
        }
    }

    pub(crate) fn timeout(&self) -> u64 {
        self.timeout.into()
    }

    /// A block that was sent once was acknowledged after so long.
    pub(crate) fn sample(&mut self, rtt: u64) {
        // Also keeps the products in 32 bits: a ceiling is under 2^28.
        let rtt = u32::try_from(rtt)
            .unwrap_or(u32::MAX)
            .clamp(1, self.ceiling);
        if self.srtt8 == 0 {
            self.srtt8 = rtt.saturating_mul(8);
            self.rttvar4 = rtt.saturating_mul(2);
        } else {
            let error = rtt.abs_diff(self.srtt8 / 8);
            self.rttvar4 = (self.rttvar4 - self.rttvar4 / 4).saturating_add(error);
            self.srtt8 = (self.srtt8 - self.srtt8 / 8).saturating_add(rtt);
        }
        self.timeout = (self.srtt8 / 8)
            .saturating_add(self.rttvar4)
            .clamp(self.floor, self.ceiling);
    }

    /// A block was not acknowledged in time.
    pub(crate) fn expired(&mut self) {
        self.timeout = self
            .timeout
            .saturating_mul(2)
            .clamp(self.floor, self.ceiling);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_at_the_usual_rates() {
        assert_eq!(Timing::new(1024, 115_200).frame(), 91);
        assert_eq!(Timing::new(1024, 921_600).frame(), 12);
        assert_eq!(Timing::new(64, 4_000_000).frame(), 1);
        assert_eq!(Timing::new(4096, 1).frame(), 41_160_000);
        assert_eq!(Timing::new(4096, 0), Timing::new(4096, 1));
    }

    #[test]
    fn time_out_begins_follows_doubles_and_has_ends() {
        let mut rto = Rto::new(Timing::new(1024, 115_200));
        assert_eq!(rto.timeout(), 3 * 91 + 500);
        rto.sample(100);
        assert_eq!(rto.timeout(), 100 + 200);
        for _ in 0..50 {
            rto.sample(100);
        }
        assert_eq!(rto.timeout(), 2 * 91 + 20, "the floor");
        rto.expired();
        assert_eq!(rto.timeout(), 404);
        for _ in 0..50 {
            rto.expired();
        }
        assert_eq!(rto.timeout(), 5_000, "the ceiling");
        rto.sample(u64::MAX);
        assert_eq!(rto.timeout(), 5_000);
        let mut slow = Rto::new(Timing::new(4096, 1));
        slow.sample(u64::MAX);
        slow.sample(u64::MAX);
        slow.expired();
        assert_eq!(slow.timeout(), 8 * 41_160_000);
    }
}
