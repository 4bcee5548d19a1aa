//! Datagrams between addresses: a network with delay, loss and NAT, on virtual time.
//!
//! Each direction between two hosts is a link of its own, with its own stream of random numbers. A datagram meets,
//! in this order:
//!
//! | stage | what it does | lost as |
//! |---|---|---|
//! | NAT of the sender | its source becomes the public address | - |
//! | the link is cut | at the sending, and once more at the arrival | [`DropReason::Cut`] |
//! | MTU | IP and UDP headers count; nothing is fragmented | [`DropReason::TooBig`] |
//! | rate | it waits until those before it are sent, at most [`QUEUE_US`] | [`DropReason::QueueFull`] |
//! | loss | `loss_ppm`, or in a burst that of the [`Burst`] (Gilbert-Elliott: the state may change at each datagram) | [`DropReason::Lost`] |
//! | delay | random in `delay_us`, but never before one sent earlier | - |
//! | reordering | comes later than that, and others may pass it | - |
//! | duplicate | a second one comes later than the first, and others may come between | - |
//! | NAT of the receiver | the public address becomes the device's | [`DropReason::NoMapping`] |
//! | the receiver moved | nobody has this address any more | [`DropReason::NoHost`] |
//!
//! A datagram that reaches the loss stage uses up the same amount of random numbers whatever becomes of it.

mod link;
mod nat;
mod profile;
#[cfg(test)]
mod tests;
mod trace;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::{IpAddr, SocketAddr};

use crate::Micros;
use crate::rng::Rng;
use link::Link;
pub use link::QUEUE_US;
pub use nat::Nat;
use nat::{Nats, Owner};
pub use profile::{Burst, Profile};
pub use trace::{DropReason, NetEvent, NetStats};

/// Buffers kept for use again.
const SPARE_BUFFERS: usize = 64;

/// A datagram that has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// When.
    pub at: Micros,
    /// Its source as the receiver sees it: behind a NAT the public address.
    pub from: SocketAddr,
    /// The receiver's own address.
    pub to: SocketAddr,
    /// The payload. [`Net::recycle`] takes it back, so that the next datagram needs no new memory.
    pub bytes: Vec<u8>,
}

/// The network. Hosts need no registration: an address is a host.
#[derive(Clone, Debug)]
pub struct Net {
    rng: Rng,
    profile: Profile,
    /// Where in `links` the direction between two hosts (their own addresses) is.
    index: BTreeMap<(SocketAddr, SocketAddr), usize>,
    links: Vec<Link>,
    nats: Nats,
    /// Addresses that a device has left.
    left: BTreeSet<SocketAddr>,
    flights: BinaryHeap<Flight>,
    next_id: u64,
    next_sequence: u64,
    spare: Vec<Vec<u8>>,
    tracing: bool,
    events: Vec<NetEvent>,
    stats: NetStats,
}

/// A datagram under way. The one that arrives next is the greatest.
#[derive(Clone, Debug)]
struct Flight {
    at: Micros,
    sequence: u64,
    id: u64,
    link: usize,
    from: SocketAddr,
    to: SocketAddr,
    bytes: Vec<u8>,
}

impl Ord for Flight {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.sequence).cmp(&(self.at, self.sequence))
    }
}

impl PartialOrd for Flight {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Flight {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Flight {}

impl Net {
    /// A network in which every link has `profile`, until [`Net::set_profile`]. `rng` decides everything.
    pub fn new(rng: Rng, profile: Profile) -> Net {
        Net {
            rng,
            profile,
            index: BTreeMap::new(),
            links: Vec::new(),
            nats: Nats::default(),
            left: BTreeSet::new(),
            flights: BinaryHeap::new(),
            next_id: 0,
            next_sequence: 0,
            spare: Vec::new(),
            tracing: false,
            events: Vec::new(),
            stats: NetStats::default(),
        }
    }

    /// The profile of all links that have none of their own.
    pub fn set_default_profile(&mut self, profile: Profile) {
        self.profile = profile;
    }

    /// The profile of the direction from `from` to `to`, both the hosts' own addresses (inside the NAT).
    pub fn set_profile(&mut self, from: SocketAddr, to: SocketAddr, profile: Profile) {
        let link = self.link(from, to);
        self.links[link].profile = Some(profile);
    }

    /// Cuts the direction from `from` to `to`, both the hosts' own addresses (inside the NAT). What is under way
    /// is lost if it would arrive before [`Net::restore`].
    pub fn cut(&mut self, from: SocketAddr, to: SocketAddr) {
        let link = self.link(from, to);
        self.links[link].cut = true;
    }

    /// Ends what [`Net::cut`] began.
    pub fn restore(&mut self, from: SocketAddr, to: SocketAddr) {
        let link = self.link(from, to);
        self.links[link].cut = false;
    }

    /// Puts `device` behind a NAT whose outside address is `public`. Several devices may share that; a host may
    /// not have it.
    pub fn add_nat(&mut self, device: SocketAddr, public: IpAddr, nat: Nat) {
        self.nats.add(device, public, nat);
    }

    /// The public address that the device's NAT gave it last, idle or not.
    pub fn public_address(&self, device: SocketAddr) -> Option<SocketAddr> {
        self.nats.public_address(device)
    }

    /// The NAT of `device` forgets its mapping: inbound is dropped, and the next outbound gets a new port.
    pub fn rebind_now(&mut self, device: SocketAddr) {
        self.nats.rebind(device);
    }

    /// A device gets another address of its own (a new attachment to its network). Its links stay as they are
    /// (profile, cut, queue); what comes to the old address is lost; its NAT has no mapping for the new one yet.
    pub fn change_device_address(&mut self, old: SocketAddr, new: SocketAddr) {
        let moved = |host| if host == old { new } else { host };
        let index = std::mem::take(&mut self.index).into_iter();
        self.index = index
            .map(|((from, to), link)| ((moved(from), moved(to)), link))
            .collect();
        self.nats.change(old, new);
        self.left.insert(old);
        self.left.remove(&new);
    }

    /// Sends a datagram: zero, one or two deliveries come of it.
    pub fn send(&mut self, now: Micros, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let id = self.next_id;
        self.next_id += 1;
        self.stats.sent += 1;
        let source = self.nats.outbound(now, from);
        self.trace(|| NetEvent::Send {
            at: now,
            id,
            from,
            source,
            to,
            len: bytes.len() as u32,
        });
        let host = match self.nats.owner(to) {
            Owner::Host => to,
            Owner::Device(device) => device,
            Owner::Nobody => return self.dropped(now, id, DropReason::NoMapping),
        };
        let link = self.link(from, host);
        let taken = self.links[link].take(now, bytes.len(), to.is_ipv6(), &self.profile);
        let arrival = match taken {
            Ok(arrival) => arrival,
            Err(reason) => return self.dropped(now, id, reason),
        };
        self.stats.reordered += u64::from(arrival.reordered);
        for at in [Some(arrival.at), arrival.again].into_iter().flatten() {
            let mut buffer = self.spare.pop().unwrap_or_default();
            buffer.extend_from_slice(bytes);
            self.flights.push(Flight {
                at,
                sequence: self.next_sequence,
                id,
                link,
                from: source,
                to,
                bytes: buffer,
            });
            self.next_sequence += 1;
        }
        if arrival.again.is_some() {
            self.stats.duplicated += 1;
            self.trace(|| NetEvent::Duplicate { at: now, id });
        }
    }

    /// When [`Net::pop`] has something to do next. It may answer `None` then: a datagram can get lost at its end.
    pub fn next_at(&self) -> Option<Micros> {
        self.flights.peek().map(|flight| flight.at)
    }

    /// The next datagram that has arrived by `now`, in the order of arrival, then of sending.
    pub fn pop(&mut self, now: Micros) -> Option<Delivery> {
        while self.next_at()? <= now {
            let flight = self.flights.pop()?;
            let (at, id) = (flight.at, flight.id);
            match self.arrive(&flight) {
                Ok(to) => {
                    self.stats.delivered += 1;
                    self.trace(|| NetEvent::Deliver { at, id, to });
                    return Some(Delivery {
                        at,
                        from: flight.from,
                        to,
                        bytes: flight.bytes,
                    });
                }
                Err(reason) => {
                    self.dropped(at, id, reason);
                    self.recycle(flight.bytes);
                }
            }
        }
        None
    }

    /// Who gets it.
    fn arrive(&self, flight: &Flight) -> Result<SocketAddr, DropReason> {
        if self.links[flight.link].cut {
            return Err(DropReason::Cut);
        }
        let host = self.nats.inbound(flight.at, flight.to);
        let host = host.ok_or(DropReason::NoMapping)?;
        if self.left.contains(&host) {
            return Err(DropReason::NoHost);
        }
        Ok(host)
    }

    /// Takes back the buffer of a delivery.
    pub fn recycle(&mut self, mut bytes: Vec<u8>) {
        if self.spare.len() < SPARE_BUFFERS {
            bytes.clear();
            self.spare.push(bytes);
        }
    }

    /// Whether events are kept for [`Net::drain_events`]; they are not until this was called.
    pub fn set_tracing(&mut self, on: bool) {
        self.tracing = on;
    }

    /// What happened since the last call, in order.
    pub fn drain_events(&mut self) -> impl Iterator<Item = NetEvent> {
        self.events.drain(..)
    }

    /// Counts since the network was made.
    pub fn stats(&self) -> NetStats {
        self.stats
    }

    fn trace(&mut self, event: impl FnOnce() -> NetEvent) {
        if self.tracing {
            self.events.push(event());
        }
    }

    fn dropped(&mut self, at: Micros, id: u64, reason: DropReason) {
        self.stats.count(reason);
        self.trace(|| NetEvent::Drop { at, id, reason });
    }

    /// The direction between two hosts; made when it is first spoken of. Its stream has the names of the two, so
    /// it does not depend on who spoke first.
    fn link(&mut self, from: SocketAddr, to: SocketAddr) -> usize {
        if let Some(&link) = self.index.get(&(from, to)) {
            return link;
        }
        let rng = self.rng.fork(&format!("{from}>{to}"));
        let link = self.links.len();
        self.links.push(Link::new(rng));
        self.index.insert((from, to), link);
        link
    }
}
