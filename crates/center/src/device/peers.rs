//! The registered devices in memory, and their deadlines.
//!
//! A peer at rest is one entry here and nothing in the CoAP layer. Deadlines are one ordered set, so the
//! next one is found without a scan however many devices there are.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;

use sota_coap::{Params, Rtt, Token};
use sota_lwm2m::objects::plan::resource;
use sota_lwm2m::server::registration::Objects;
use sota_lwm2m::{ContentFormat, Path};

use super::outgoing::Outgoing;
use super::packages::DeviceNumber;
use super::standard_door::Standard;
use crate::domain::{ComponentKind, Endpoint, Registration};

/// Names a peer in this process; never given twice.
pub type PeerId = u64;

/// Objects and instances of one client that are looked at.
const MAX_OBJECTS: usize = 128;

/// The objects and instances of a registration's payload.
pub fn objects(links: &str) -> Vec<Path> {
    Objects(links).paths().take(MAX_OBJECTS).collect()
}

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// The registration's lifetime is over.
    Expiry,
    /// A client without Plan object is asked for its state.
    Poll,
}

/// Which of the design's ways leads to this client.
#[derive(Debug)]
pub enum Door {
    /// It has our Plan object.
    Plan(PlanClient),
    /// It has /5, /9 or /33629 only.
    Standard(Box<Standard>),
}

/// What is known of a client's Plan object.
#[derive(Debug, Default)]
pub struct PlanClient {
    /// Its instances, as registered.
    pub instances: Vec<u16>,
    /// Component identifier of an instance, learned from what the client tells.
    pub components: HashMap<u16, String>,
    /// Name of the last offer written to an instance.
    pub offers: HashMap<u16, String>,
}

impl PlanClient {
    /// The instance of a component: 0 is the module's own firmware.
    pub fn instance(&self, component: &str, kind: ComponentKind) -> Option<u16> {
        let named = self.components.iter().find(|(_, name)| *name == component);
        match kind {
            ComponentKind::Firmware => Some(0),
            ComponentKind::Mcu => named.map(|(instance, _)| *instance),
        }
    }

    /// Reads of names and versions, one resource each so that every answer fits one block.
    pub fn read_versions(&self, object: u16) -> Vec<Outgoing> {
        let resources = [resource::COMPONENT, resource::CURRENT_VERSION];
        let of = |i: &u16| resources.map(|r| Outgoing::read(Path::resource(object, *i, r)));
        self.instances.iter().flat_map(of).collect()
    }
}

/// What is kept with the request in flight.
#[derive(Debug)]
pub struct InFlight {
    /// To be sent again.
    pub datagram: Vec<u8>,
    /// What was asked.
    pub what: Outgoing,
}

/// A registered device.
#[derive(Debug)]
pub struct Peer {
    /// Which device.
    pub endpoint: Endpoint,
    /// Its registration as last written or updated.
    pub registration: Registration,
    /// Where it is.
    pub address: SocketAddr,
    /// Its number in the block statistics.
    pub number: DeviceNumber,
    /// It showed that it receives at its address.
    pub verified: bool,
    /// Bytes that may still be sent to it while it is not verified.
    pub credit: usize,
    /// Ends its registration, ms.
    pub expires: u64,
    /// Queue mode: reachable only shortly after it was heard.
    pub queue_mode: bool,
    /// Last message from it, ms.
    pub heard: u64,
    /// It did not answer; nothing is sent before it is heard again.
    pub silent: bool,
    /// An operator disabled it; no request is sent to it, and its Updates are refused.
    pub disabled: bool,
    /// Format in which it reads and writes more than one resource.
    pub format: ContentFormat,
    /// Registered objects and instances.
    pub objects: Vec<Path>,
    /// The way to it.
    pub door: Door,
    /// Measured round trip.
    pub rtt: Rtt,
    /// What waits to be sent.
    pub todo: VecDeque<Outgoing>,
    /// Observed paths by token.
    pub observations: HashMap<Token, Path>,
    timers: [Option<u64>; 2],
}

impl Peer {
    /// A peer that has just registered.
    pub fn new(
        endpoint: Endpoint,
        registration: Registration,
        address: SocketAddr,
        door: Door,
        now: u64,
    ) -> Peer {
        let objects = objects(&registration.objects);
        Peer {
            number: super::packages::device_number(&endpoint),
            expires: u64::try_from(registration.expires_at).unwrap_or(0),
            queue_mode: registration.binding.contains('Q'),
            format: Objects(&registration.objects).format(&registration.lwm2m),
            endpoint,
            registration,
            address,
            verified: false,
            credit: 0,
            heard: now,
            silent: false,
            disabled: false,
            objects,
            door,
            rtt: Rtt::new(&Params::RFC7252),
            todo: VecDeque::new(),
            observations: HashMap::new(),
            timers: [None; 2],
        }
    }

    /// Whether so many bytes may be sent to it, and are now: any number once it is verified, else as its credit goes.
    pub fn pay(&mut self, len: usize) -> bool {
        let may = self.verified || self.credit >= len;
        if may {
            self.credit = self.credit.saturating_sub(len);
        }
        may
    }

    /// Whether a request may go out now.
    pub fn reachable(&self, now: u64, queue_window_ms: u64) -> bool {
        !self.silent && (!self.queue_mode || now < self.heard.saturating_add(queue_window_ms))
    }
}

/// All peers.
#[derive(Debug, Default)]
pub struct Peers {
    next: PeerId,
    peers: HashMap<PeerId, Peer>,
    by_registration: HashMap<String, PeerId>,
    by_address: HashMap<SocketAddr, PeerId>,
    by_endpoint: HashMap<Endpoint, PeerId>,
    deadlines: BTreeSet<(u64, PeerId, Timer)>,
}

impl Peers {
    /// How many.
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// None.
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// Adds a peer; its endpoint and registration id must not be in the table. An older peer at the same
    /// address is no longer found by it.
    pub fn insert(&mut self, peer: Peer) -> PeerId {
        self.next += 1;
        let id = self.next;
        self.by_registration
            .insert(peer.registration.id.clone(), id);
        self.by_address.insert(peer.address, id);
        self.by_endpoint.insert(peer.endpoint.clone(), id);
        let expires = peer.expires;
        self.peers.insert(id, peer);
        self.arm(id, Timer::Expiry, Some(expires));
        id
    }

    /// Takes a peer out.
    pub fn remove(&mut self, id: PeerId) -> Option<Peer> {
        for timer in [Timer::Expiry, Timer::Poll] {
            self.arm(id, timer, None);
        }
        let peer = self.peers.remove(&id)?;
        self.by_registration.remove(&peer.registration.id);
        self.by_endpoint.remove(&peer.endpoint);
        if self.by_address.get(&peer.address) == Some(&id) {
            self.by_address.remove(&peer.address);
        }
        Some(peer)
    }

    /// The peer with this id.
    pub fn get_mut(&mut self, id: PeerId) -> Option<&mut Peer> {
        self.peers.get_mut(&id)
    }

    /// By registration id.
    pub fn by_registration(&self, id: &str) -> Option<PeerId> {
        self.by_registration.get(id).copied()
    }

    /// By address.
    pub fn by_address(&self, address: &SocketAddr) -> Option<PeerId> {
        self.by_address.get(address).copied()
    }

    /// By endpoint.
    pub fn by_endpoint(&self, endpoint: &Endpoint) -> Option<PeerId> {
        self.by_endpoint.get(endpoint).copied()
    }

    /// The peer is at another address now; its old one.
    pub fn moved(&mut self, id: PeerId, address: SocketAddr) -> Option<SocketAddr> {
        let peer = self.peers.get_mut(&id)?;
        let old = std::mem::replace(&mut peer.address, address);
        if self.by_address.get(&old) == Some(&id) {
            self.by_address.remove(&old);
        }
        self.by_address.insert(address, id);
        Some(old)
    }

    /// Sets or clears a deadline.
    pub fn arm(&mut self, id: PeerId, timer: Timer, at: Option<u64>) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let slot = &mut peer.timers[timer as usize];
        if let Some(old) = std::mem::replace(slot, at) {
            self.deadlines.remove(&(old, id, timer));
        }
        if let Some(at) = at {
            self.deadlines.insert((at, id, timer));
        }
    }

    /// The earliest deadline.
    pub fn next_deadline(&self) -> Option<u64> {
        self.deadlines.first().map(|(at, _, _)| *at)
    }

    /// Takes a deadline that has passed.
    pub fn due(&mut self, now: u64) -> Option<(PeerId, Timer)> {
        let (at, id, timer) = *self.deadlines.first()?;
        if at > now {
            return None;
        }
        self.deadlines.pop_first();
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.timers[timer as usize] = None;
        }
        Some((id, timer))
    }
}
