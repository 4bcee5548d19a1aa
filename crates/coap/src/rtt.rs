//! Time-out from the measured round trip (RFC 6298), in whole milliseconds.
//!
//! | event | time-out |
//! |---|---|
//! | nothing measured yet | ACK_TIMEOUT of the set |
//! | sample R (first) | SRTT = R, RTTVAR = R / 2, SRTT + 4 RTTVAR |
//! | sample R (later) | RTTVAR = 3/4 RTTVAR + 1/4 abs(SRTT - R), SRTT = 7/8 SRTT + 1/8 R, SRTT + 4 RTTVAR |
//! | an exchange needed retransmission | the present one doubled, kept until the next clean sample |
//!
//! always at least [`FLOOR_MS`] and at most ACK_TIMEOUT of the set.
//!
//! Karn's rule: an exchange that was retransmitted gives no sample, because its answer may belong to any
//! of the transmissions. Without the doubling a link whose round trip grew beyond all retransmissions would
//! never give a clean sample again, and the time-out would stay too small for ever.

use crate::params::Params;

/// Smallest time-out. Below, the peer's own scheduling would cause needless retransmissions.
pub const FLOOR_MS: u32 = 200;

/// Estimator for one peer; 20 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rtt {
    /// 8 x SRTT, 0 = no sample yet.
    srtt8: u32,
    /// 4 x RTTVAR.
    rttvar4: u32,
    timeout: u32,
    ceiling: u32,
}

impl Rtt {
    /// Begins with the set's ACK_TIMEOUT, which stays the ceiling.
    pub const fn new(params: &Params) -> Rtt {
        Rtt {
            srtt8: 0,
            rttvar4: 0,
            timeout: params.ack_timeout_ms,
            ceiling: params.ack_timeout_ms,
        }
    }

    /// The time-out for the next exchange, before jitter.
    pub const fn timeout_ms(&self) -> u32 {
        self.timeout
    }

    /// Smoothed round trip; `None` before the first sample.
    pub const fn smoothed_ms(&self) -> Option<u32> {
        match self.srtt8 {
            0 => None,
            srtt8 => Some(srtt8 / 8),
        }
    }

    /// Takes the round trip of an exchange that was answered without retransmission
    /// ([`crate::Exchange::sample_ms`]).
    pub fn sample(&mut self, rtt_ms: u32) {
        // Longer than the ceiling says no more than the ceiling; also keeps the products in 32 bits.
        let rtt = rtt_ms.clamp(1, self.ceiling.clamp(1, 1 << 24));
        if self.srtt8 == 0 {
            self.srtt8 = rtt * 8;
            self.rttvar4 = rtt * 2;
        } else {
            let error = rtt.abs_diff(self.srtt8 / 8);
            self.rttvar4 = self.rttvar4 - self.rttvar4 / 4 + error;
            self.srtt8 = (self.srtt8 - self.srtt8 / 8 + rtt).max(8);
        }
        self.timeout = self.bounded(self.srtt8 / 8 + self.rttvar4.max(1));
    }

    /// An exchange was retransmitted, answered or not: call once for each such exchange. (Not once for each
    /// transmission: a burst of lost frames is not a longer round trip.)
    pub fn retransmitted(&mut self) {
        self.timeout = self.bounded(self.timeout.saturating_mul(2));
    }

    /// Takes what a finished exchange taught: its sample, or one doubling if it was retransmitted.
    pub fn learn(&mut self, exchange: &crate::Exchange) {
        match exchange.sample_ms() {
            Some(rtt) => self.sample(rtt),
            None if exchange.retransmissions() > 0 => self.retransmitted(),
            None => {}
        }
    }

    fn bounded(&self, timeout: u32) -> u32 {
        timeout.max(FLOOR_MS).min(self.ceiling)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn begins_with_the_set_and_follows_samples() {
        let mut rtt = Rtt::new(&Params::RFC7252);
        assert_eq!((rtt.timeout_ms(), rtt.smoothed_ms()), (2_000, None));
        rtt.sample(400);
        assert_eq!(rtt.timeout_ms(), 400 + 4 * 200);
        rtt.sample(400);
        assert_eq!(
            (rtt.timeout_ms(), rtt.smoothed_ms()),
            (400 + 4 * 150, Some(400))
        );
        rtt.sample(800); // RTTVAR 150 -> 112.5 + 100, SRTT 450
        assert_eq!(rtt.timeout_ms(), 450 + 850);
    }

    #[test]
    fn floor_and_ceiling() {
        let mut rtt = Rtt::new(&Params::RFC7252);
        for _ in 0..20 {
            rtt.sample(0);
        }
        assert_eq!(rtt.timeout_ms(), FLOOR_MS);
        rtt.sample(u32::MAX);
        assert_eq!(rtt.timeout_ms(), 2_000);
    }

    #[test]
    fn doubling_is_kept_until_a_clean_sample() {
        let mut rtt = Rtt::new(&Params::NB_IOT);
        for _ in 0..30 {
            rtt.sample(300);
        }
        let before = rtt.timeout_ms();
        rtt.retransmitted();
        assert_eq!(rtt.timeout_ms(), before * 2);
        for _ in 0..20 {
            rtt.retransmitted();
        }
        assert_eq!(rtt.timeout_ms(), 15_000);
        rtt.sample(300);
        assert!(rtt.timeout_ms() < 400);
    }
}
