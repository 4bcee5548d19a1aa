//! Transmission parameters and the times that follow from them (RFC 7252 section 4.8).
//!
//! | | RFC 7252 | NB-IoT |
//! |---|---|---|
//! | ACK_TIMEOUT | 2 s | 15 s |
//! | ACK_RANDOM_FACTOR | 1.5 | 1.5 |
//! | MAX_RETRANSMIT | 4 | 4 |
//! | MAX_LATENCY | 100 s | 100 s |
//! | PROCESSING_DELAY = ACK_TIMEOUT | 2 s | 15 s |
//! | MAX_TRANSMIT_SPAN = ACK_TIMEOUT x (2^MAX_RETRANSMIT - 1) x 1.5 | 45 s | 337.5 s |
//! | MAX_TRANSMIT_WAIT = ACK_TIMEOUT x (2^(MAX_RETRANSMIT + 1) - 1) x 1.5 | 93 s | 697.5 s |
//! | MAX_RTT = 2 x MAX_LATENCY + PROCESSING_DELAY | 202 s | 215 s |
//! | EXCHANGE_LIFETIME = MAX_TRANSMIT_SPAN + MAX_RTT | 247 s | 552.5 s |
//! | NON_LIFETIME = MAX_TRANSMIT_SPAN + MAX_LATENCY | 145 s | 437.5 s |
//!
//! With the NB-IoT set a sender still waits (697.5 s) after the receiver may have forgotten the message
//! id (552.5 s). So an id is free again only after [`Params::message_id_hold_ms`], the greater of the two.

/// One parameter set. All times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Params {
    /// ACK_TIMEOUT; also the ceiling of the measured time-out.
    pub ack_timeout_ms: u32,
    /// ACK_RANDOM_FACTOR in percent, 100..=300.
    pub ack_random_percent: u16,
    /// MAX_RETRANSMIT, 0..=10.
    pub max_retransmit: u8,
    /// NSTART: exchanges open to one peer at a time.
    pub nstart: u8,
    /// MAX_LATENCY.
    pub max_latency_ms: u32,
}

impl Params {
    /// The defaults of RFC 7252 section 4.8.
    pub const RFC7252: Params = Params {
        ack_timeout_ms: 2_000,
        ack_random_percent: 150,
        max_retransmit: 4,
        nstart: 1,
        max_latency_ms: 100_000,
    };

    /// For NB-IoT, where one round trip can take ten seconds.
    pub const NB_IOT: Params = Params {
        ack_timeout_ms: 15_000,
        ..Params::RFC7252
    };

    /// From the first transmission of a CON to its last.
    pub const fn max_transmit_span_ms(&self) -> u32 {
        self.spread((1 << self.max_retransmit) - 1)
    }

    /// From the first transmission of a CON until the sender gives up.
    pub const fn max_transmit_wait_ms(&self) -> u32 {
        self.spread((2 << self.max_retransmit) - 1)
    }

    /// PROCESSING_DELAY: from receiving a CON to its ACK.
    pub const fn processing_delay_ms(&self) -> u32 {
        self.ack_timeout_ms
    }

    /// MAX_RTT.
    pub const fn max_rtt_ms(&self) -> u32 {
        2 * self.max_latency_ms + self.processing_delay_ms()
    }

    /// How long the receiver of a CON remembers its message id.
    pub const fn exchange_lifetime_ms(&self) -> u32 {
        self.max_transmit_span_ms() + self.max_rtt_ms()
    }

    /// How long the receiver of a NON remembers its message id.
    pub const fn non_lifetime_ms(&self) -> u32 {
        self.max_transmit_span_ms() + self.max_latency_ms
    }

    /// How long a sender must not use a message id again towards the same peer.
    pub const fn message_id_hold_ms(&self) -> u32 {
        let (wait, lifetime) = (self.max_transmit_wait_ms(), self.exchange_lifetime_ms());
        if wait > lifetime { wait } else { lifetime }
    }

    /// `timeout_ms` spread by ACK_RANDOM_FACTOR: `random` 0 gives it unchanged, 65535 nearly the whole factor.
    pub const fn jittered_ms(&self, timeout_ms: u32, random: u16) -> u32 {
        let extra = (self.ack_random_percent as u32).saturating_sub(100);
        // timeout x extra / 100 in 32 bits: times above 40 s lose only the rounding
        let spread = (timeout_ms / 100).saturating_mul(extra) + timeout_ms % 100 * extra / 100;
        timeout_ms.saturating_add(((spread as u64 * random as u64) >> 16) as u32)
    }

    const fn spread(&self, timeouts: u32) -> u32 {
        // divided first: 15 s x 31 x 150 would still fit, a longer set would not
        self.ack_timeout_ms / 10 * timeouts / 10 * self.ack_random_percent as u32
    }
}

/// The time `ms` after `now`, both in milliseconds. One function, as a sum of 64 bits that cannot wrap takes a
/// small processor 20 bytes of code each time.
#[inline(never)]
pub fn after(now: u64, ms: u32) -> u64 {
    now.saturating_add(u64::from(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_times_of_the_rfc() {
        let p = Params::RFC7252;
        assert_eq!(p.max_transmit_span_ms(), 45_000);
        assert_eq!(p.max_transmit_wait_ms(), 93_000);
        assert_eq!(p.max_rtt_ms(), 202_000);
        assert_eq!(p.exchange_lifetime_ms(), 247_000);
        assert_eq!(p.non_lifetime_ms(), 145_000);
        assert_eq!(p.message_id_hold_ms(), 247_000);
    }

    #[test]
    fn derived_times_of_nb_iot() {
        let p = Params::NB_IOT;
        assert_eq!(p.max_transmit_span_ms(), 337_500);
        assert_eq!(p.max_transmit_wait_ms(), 697_500);
        assert_eq!(p.exchange_lifetime_ms(), 552_500);
        assert_eq!(p.non_lifetime_ms(), 437_500);
        assert_eq!(p.message_id_hold_ms(), 697_500);
    }

    #[test]
    fn jitter_stays_inside_the_factor() {
        let p = Params::RFC7252;
        assert_eq!(p.jittered_ms(2_000, 0), 2_000);
        assert_eq!(p.jittered_ms(2_000, 32_768), 2_500);
        assert_eq!(p.jittered_ms(2_000, 65_535), 2_999);
        assert_eq!(p.jittered_ms(250, 32_768), 312);
        assert!(p.jittered_ms(u32::MAX, 65_535) == u32::MAX);
    }
}
