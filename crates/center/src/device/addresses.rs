//! Which addresses are known to be real, so that the Center cannot be made to flood a third party.
//!
//! An answer of more than three times the request goes only to an address that has shown that it
//! receives what we send to it (RFC 7252 section 11.3, RFC 9175 section 2.4): by returning an Echo, or
//! by a message that holds an unguessable token or registration id of ours. The set of addresses
//! verified by Echo is bounded; one that drops out is only asked for an Echo again.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use sha2::{Digest as _, Sha256};
use sota_coap::echo::server;

use super::packages::DeviceNumber;

/// An address that returned an Echo stays verified for one to two of these, in ms.
const WINDOW_MS: u64 = 300_000;
/// So old may an Echo value be, in ms.
const ECHO_FRESH_MS: u64 = 300_000;
/// Addresses kept per window.
const PER_WINDOW: usize = 32_768;

/// The verified addresses.
#[derive(Debug)]
pub struct Addresses {
    secret: [u8; 32],
    window: u64,
    fresh: HashSet<SocketAddr>,
    older: HashSet<SocketAddr>,
    devices: HashMap<SocketAddr, DeviceNumber>,
}

impl Addresses {
    /// `secret` must be unpredictable; whoever knows it can forge an Echo.
    pub fn new(secret: [u8; 32]) -> Addresses {
        Addresses {
            secret,
            window: 0,
            fresh: HashSet::new(),
            older: HashSet::new(),
            devices: HashMap::new(),
        }
    }

    /// Whether an answer of any size may go there. `now` in ms.
    pub fn is_verified(&mut self, peer: &SocketAddr, now: u64) -> bool {
        if self.devices.contains_key(peer) {
            return true;
        }
        self.turn(now);
        self.fresh.contains(peer) || self.older.contains(peer)
    }

    /// The registered device at this address, if it proved to be there.
    pub fn device(&self, peer: &SocketAddr) -> Option<DeviceNumber> {
        self.devices.get(peer).copied()
    }

    /// The peer showed that it receives at this address.
    pub fn verify(&mut self, peer: SocketAddr, now: u64) {
        self.turn(now);
        if self.fresh.len() >= PER_WINDOW {
            self.older = std::mem::take(&mut self.fresh);
        }
        self.fresh.insert(peer);
    }

    /// A registered device showed that it receives at this address; stays until [`Self::remove_device`].
    pub fn set_device(&mut self, peer: SocketAddr, device: DeviceNumber) {
        self.devices.insert(peer, device);
    }

    /// The device moved or its registration ended.
    pub fn remove_device(&mut self, peer: &SocketAddr) {
        self.devices.remove(peer);
    }

    /// The Echo value that this peer has to return.
    pub fn echo(&self, peer: &SocketAddr, now: u64) -> [u8; server::ECHO_LEN] {
        server::make(now, |time| self.mac(peer, time))
    }

    /// Whether the peer returned an Echo that was made for it lately.
    pub fn check_echo(&self, peer: &SocketAddr, echo: &[u8], now: u64) -> bool {
        let verdict = server::check(echo, now, ECHO_FRESH_MS, |time| self.mac(peer, time));
        verdict == server::Verdict::Fresh
    }

    /// Keyed hash over address and time. Every input has a fixed length but the address, whose length its family
    /// tells, so no two peers hash the same bytes.
    fn mac(&self, peer: &SocketAddr, time: &[u8; 4]) -> [u8; 8] {
        let mut hash = Sha256::new();
        hash.update(self.secret);
        hash.update(time);
        hash.update(peer.port().to_be_bytes());
        match peer.ip() {
            std::net::IpAddr::V4(ip) => hash.update(ip.octets()),
            std::net::IpAddr::V6(ip) => hash.update(ip.octets()),
        }
        let mut mac = [0; 8];
        mac.copy_from_slice(&hash.finalize()[..8]);
        mac
    }

    fn turn(&mut self, now: u64) {
        let window = now / WINDOW_MS;
        if window == self.window {
            return;
        }
        let previous = std::mem::take(&mut self.fresh);
        self.older = if window == self.window + 1 {
            previous
        } else {
            HashSet::new()
        };
        self.window = window;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], port))
    }

    #[test]
    fn an_echo_is_bound_to_the_address_and_the_time() {
        let addresses = Addresses::new([1; 32]);
        let echo = addresses.echo(&peer(1), 0);
        assert!(addresses.check_echo(&peer(1), &echo, 0));
        assert!(addresses.check_echo(&peer(1), &echo, ECHO_FRESH_MS));
        assert!(!addresses.check_echo(&peer(1), &echo, ECHO_FRESH_MS + 1_024));
        assert!(!addresses.check_echo(&peer(2), &echo, 0));
        assert!(!addresses.check_echo(&peer(1), &[], 0));
        assert!(!Addresses::new([2; 32]).check_echo(&peer(1), &echo, 0));
    }

    #[test]
    fn a_verified_address_is_forgotten_after_two_windows() {
        let mut addresses = Addresses::new([1; 32]);
        addresses.verify(peer(1), 0);
        assert!(addresses.is_verified(&peer(1), 2 * WINDOW_MS - 1));
        assert!(!addresses.is_verified(&peer(1), 2 * WINDOW_MS));
        assert!(!addresses.is_verified(&peer(2), 0));
        addresses.set_device(peer(1), 5);
        assert!(addresses.is_verified(&peer(1), 9 * WINDOW_MS));
        addresses.remove_device(&peer(1));
        assert!(!addresses.is_verified(&peer(1), 9 * WINDOW_MS));
    }

    #[test]
    fn a_flood_of_addresses_costs_a_bounded_memory() {
        let mut addresses = Addresses::new([1; 32]);
        for i in 0..200_000u32 {
            let ip = std::net::Ipv4Addr::from(i);
            addresses.verify(SocketAddr::from((ip, 1)), 0);
        }
        assert!(addresses.fresh.len() + addresses.older.len() <= 2 * PER_WINDOW);
    }
}
