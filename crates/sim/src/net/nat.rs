//! Address translation between devices and the rest of the network.
//!
//! | what | how |
//! |---|---|
//! | mapping | one public port per device, for all receivers; anyone may send to it |
//! | idle | counted from the last **outbound** datagram; inbound does not keep a mapping (RFC 4787, 4.3 allows both) |
//! | a mapping that is gone | its port belongs to nobody; the next outbound gets the next port of this public address |

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use crate::Micros;

/// First port given out.
const FIRST_PORT: u16 = 40_000;

/// How a NAT treats one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nat {
    /// A mapping without outbound for longer than this, in microseconds, is gone; `None`: it stays.
    pub idle_us: Option<Micros>,
}

#[derive(Clone, Debug)]
struct Device {
    nat: Nat,
    public: IpAddr,
    mapping: Option<Mapping>,
}

#[derive(Clone, Copy, Debug)]
struct Mapping {
    outside: SocketAddr,
    used_at: Micros,
}

impl Device {
    fn mapping(&self, now: Micros) -> Option<Mapping> {
        let idle_us = self.nat.idle_us.unwrap_or(Micros::MAX);
        self.mapping
            .filter(|mapping| now.saturating_sub(mapping.used_at) <= idle_us)
    }
}

/// Whose address it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// A host of its own.
    Host,
    /// A device behind a NAT, with its own address.
    Device(SocketAddr),
    /// A NAT's, for nobody.
    Nobody,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Nats {
    devices: BTreeMap<SocketAddr, Device>,
    /// Which device has this public address; that of an idle mapping too, until it is replaced.
    by_outside: BTreeMap<SocketAddr, SocketAddr>,
    next_port: BTreeMap<IpAddr, u16>,
    publics: BTreeSet<IpAddr>,
}

impl Nats {
    pub(super) fn add(&mut self, device: SocketAddr, public: IpAddr, nat: Nat) {
        self.rebind(device);
        self.publics.insert(public);
        let mapping = None;
        self.devices.insert(
            device,
            Device {
                nat,
                public,
                mapping,
            },
        );
    }

    pub(super) fn public_address(&self, device: SocketAddr) -> Option<SocketAddr> {
        let device = self.devices.get(&device)?;
        device.mapping.map(|mapping| mapping.outside)
    }

    pub(super) fn rebind(&mut self, device: SocketAddr) {
        if let Some(device) = self.devices.get_mut(&device)
            && let Some(mapping) = device.mapping.take()
        {
            self.by_outside.remove(&mapping.outside);
        }
    }

    pub(super) fn change(&mut self, old: SocketAddr, new: SocketAddr) {
        self.rebind(old);
        if let Some(device) = self.devices.remove(&old) {
            self.devices.insert(new, device);
        }
    }

    /// The source that others see.
    pub(super) fn outbound(&mut self, now: Micros, from: SocketAddr) -> SocketAddr {
        let Some(device) = self.devices.get(&from) else {
            return from;
        };
        let outside = match device.mapping(now) {
            Some(mapping) => mapping.outside,
            None => {
                let public = device.public;
                self.rebind(from);
                self.free_port(public)
            }
        };
        self.by_outside.insert(outside, from);
        if let Some(device) = self.devices.get_mut(&from) {
            device.mapping = Some(Mapping {
                outside,
                used_at: now,
            });
        }
        outside
    }

    fn free_port(&mut self, public: IpAddr) -> SocketAddr {
        let next = self.next_port.entry(public).or_insert(FIRST_PORT);
        loop {
            let outside = SocketAddr::new(public, *next);
            *next = next.checked_add(1).unwrap_or(FIRST_PORT);
            if !self.by_outside.contains_key(&outside) {
                return outside;
            }
        }
    }

    /// Whose address `to` is, be its mapping idle or not.
    pub(super) fn owner(&self, to: SocketAddr) -> Owner {
        if !self.publics.contains(&to.ip()) {
            return Owner::Host;
        }
        self.by_outside
            .get(&to)
            .map_or(Owner::Nobody, |&device| Owner::Device(device))
    }

    /// The host that gets what arrives for `to` at `now`; `None`: a NAT has no mapping for it.
    pub(super) fn inbound(&self, now: Micros, to: SocketAddr) -> Option<SocketAddr> {
        match self.owner(to) {
            Owner::Host => Some(to),
            // A replaced mapping is not in the table any more, so only its age is left to ask.
            Owner::Device(device) => self.devices.get(&device)?.mapping(now).map(|_| device),
            Owner::Nobody => None,
        }
    }
}
