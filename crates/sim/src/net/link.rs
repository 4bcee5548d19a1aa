//! One direction between two hosts.

use super::profile::Profile;
use super::trace::DropReason;
use crate::Micros;
use crate::rng::Rng;

/// Longest time a datagram waits for those before it to be sent; a later one is dropped.
pub const QUEUE_US: Micros = 10_000_000;
/// IP and UDP headers, in bytes.
const HEADERS_V4: u64 = 28;
const HEADERS_V6: u64 = 48;
/// A datagram out of its place comes at least so much later, also where the delay is 0.
const APART_US: Micros = 1_000;

/// Silence that ends a burst of losses.
const BURST_US: Micros = 60_000_000;

#[derive(Clone, Debug)]
pub(super) struct Link {
    rng: Rng,
    /// `None`: that of the network.
    pub(super) profile: Option<Profile>,
    pub(super) cut: bool,
    in_burst: bool,
    /// The sender is busy with earlier datagrams until then.
    busy_until: Micros,
    /// Arrival of the last datagram that kept its place.
    last_at: Micros,
}

/// When a datagram arrives, and when it does so again.
pub(super) struct Arrival {
    pub(super) at: Micros,
    pub(super) again: Option<Micros>,
    pub(super) reordered: bool,
}

impl Link {
    pub(super) fn new(rng: Rng) -> Link {
        Link {
            rng,
            profile: None,
            cut: false,
            in_burst: false,
            busy_until: 0,
            last_at: 0,
        }
    }

    /// Takes a datagram with `len` bytes of payload.
    pub(super) fn take(
        &mut self,
        now: Micros,
        len: usize,
        ipv6: bool,
        default: &Profile,
    ) -> Result<Arrival, DropReason> {
        let profile = self.profile.as_ref().unwrap_or(default);
        if self.cut {
            return Err(DropReason::Cut);
        }
        let packet = len as u64 + if ipv6 { HEADERS_V6 } else { HEADERS_V4 };
        if packet > u64::from(profile.mtu) {
            return Err(DropReason::TooBig);
        }
        let begins = now.max(self.busy_until);
        if begins - now > QUEUE_US {
            return Err(DropReason::QueueFull);
        }
        let sent = match profile.rate_bytes_per_s {
            Some(rate) => begins + (packet * 1_000_000).div_ceil(u64::from(rate.max(1))),
            None => begins,
        };
        // Bad reception passes with time too, not only with datagrams: else a device that sends one an hour stays in it.
        self.in_burst &= begins - self.busy_until < BURST_US;
        self.busy_until = sent;

        // Every number is drawn, needed or not: see the module's text.
        let rng = &mut self.rng;
        let (enter, leave) = profile.burst.map_or((0, 0), |b| (b.enter_ppm, b.leave_ppm));
        let changes = rng.chance(if self.in_burst { leave } else { enter });
        self.in_burst = profile.burst.is_some() && self.in_burst != changes;
        let loss = match profile.burst {
            Some(burst) if self.in_burst => burst.loss_ppm,
            _ => profile.loss_ppm,
        };
        let lost = rng.chance(loss);
        let (least, most) = profile.delay_us;
        let delay = rng.range(least..=most);
        let reordered = rng.chance(profile.reorder_ppm);
        let late = rng.range(1..=2 * most + APART_US);
        let duplicated = rng.chance(profile.duplicate_ppm);
        let apart = rng.range(1..=most + APART_US);
        if lost {
            return Err(DropReason::Lost);
        }
        let mut at = (sent + delay).max(self.last_at);
        if reordered {
            at += late;
        } else {
            self.last_at = at;
        }
        Ok(Arrival {
            at,
            again: duplicated.then_some(at + apart),
            reordered,
        })
    }
}
