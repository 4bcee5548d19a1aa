//! What a link is like.

use crate::Micros;

/// How one direction between two hosts behaves. Rates in parts per million of the datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Least and greatest delay of the way, in microseconds, beside the time of sending.
    pub delay_us: (Micros, Micros),
    /// Lost outside of bursts.
    pub loss_ppm: u32,
    /// Losses that come together; `None`: there are none.
    pub burst: Option<Burst>,
    /// Arriving twice.
    pub duplicate_ppm: u32,
    /// Arriving later than its place, by up to twice the greatest delay and 1 ms: others pass it.
    pub reorder_ppm: u32,
    /// Bytes per second that the sender gets onto the link, headers included (0 counts as 1); `None`: any.
    pub rate_bytes_per_s: Option<u32>,
    /// Greatest IP packet in bytes, headers included.
    pub mtu: u32,
}

/// Gilbert-Elliott losses: a link is in a burst or not, and may change at every datagram; a minute's silence ends a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burst {
    /// A burst begins.
    pub enter_ppm: u32,
    /// The burst ends.
    pub leave_ppm: u32,
    /// Lost while it lasts.
    pub loss_ppm: u32,
}

impl Profile {
    /// Everything arrives at once.
    pub const PERFECT: Profile = Profile {
        delay_us: (0, 0),
        loss_ppm: 0,
        burst: None,
        duplicate_ppm: 0,
        reorder_ppm: 0,
        rate_bytes_per_s: None,
        mtu: 65_535,
    };

    /// A wired network of 100 Mbit/s in a house.
    pub const LAN: Profile = Profile {
        delay_us: (100, 500),
        rate_bytes_per_s: Some(12_500_000),
        mtu: 1_500,
        ..Profile::PERFECT
    };

    /// NB-IoT with fair signal: about 20 kbit/s, and the MTU that 3GPP recommends (TS 23.060, annex C).
    pub const NB_IOT: Profile = Profile {
        delay_us: (300_000, 1_500_000),
        loss_ppm: 10_000,
        burst: Some(Burst {
            enter_ppm: 2_000,
            leave_ppm: 200_000,
            loss_ppm: 500_000,
        }),
        duplicate_ppm: 1_000,
        reorder_ppm: 2_000,
        rate_bytes_per_s: Some(2_500),
        mtu: 1_358,
    };

    /// Worse than anything a product should be used on.
    pub const BAD: Profile = Profile {
        delay_us: (200_000, 5_000_000),
        loss_ppm: 100_000,
        burst: Some(Burst {
            enter_ppm: 20_000,
            leave_ppm: 100_000,
            loss_ppm: 900_000,
        }),
        duplicate_ppm: 50_000,
        reorder_ppm: 100_000,
        rate_bytes_per_s: Some(1_000),
        mtu: 1_280,
    };
}
