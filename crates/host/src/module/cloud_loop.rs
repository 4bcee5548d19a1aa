//! The cloud's thread: the UDP socket.

use super::{Common, Heard, Net, Room};
use crate::clock::HostRandom;
use sota::cloud::{Cloud, Config, OVERHEAD, Peer};
use sota::message::{ToCloud, ToEngine};
use sota::platform::{Clock, Random, Readings};
use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::os::fd::AsFd;

/// Greatest datagram received, in bytes.
const DATAGRAM: usize = 2048;
/// Message ids remembered to tell a retransmission from a new message.
const RECENT: usize = 32;
/// A good-bye that is not answered holds the program no longer than this, in ms.
const FAREWELL_MS: u64 = 3_000;

pub(super) struct CloudLoop<const B: usize> {
    common: Common<B>,
    cloud: Cloud<B>,
    room: Room,
    /// One socket per address family of the peers.
    socket: UdpSocket,
    server: Option<SocketAddr>,
    source: Option<SocketAddr>,
    to_engine: Option<ToEngine<B>>,
    from_engine: Option<ToCloud>,
    net: Net,
    told: Net,
    recent: VecDeque<u16>,
    /// The configuration to go on with.
    next: Option<Config>,
}

impl<const B: usize> CloudLoop<B> {
    pub(super) fn new(
        common: Common<B>,
        config: Config,
        readings: Readings,
        cell: u32,
        room: Room,
    ) -> io::Result<CloudLoop<B>> {
        // Both families where the system has them, else IPv4 alone.
        let socket = UdpSocket::bind("[::]:0").or_else(|_| UdpSocket::bind("0.0.0.0:0"))?;
        socket.set_nonblocking(true)?;
        let mut cloud = Cloud::new(config, random());
        cloud.on_readings(readings);
        cloud.on_cell(cell);
        Ok(CloudLoop {
            common,
            cloud,
            room,
            socket,
            server: None,
            source: None,
            to_engine: None,
            from_engine: None,
            net: Net::default(),
            told: Net::default(),
            recent: VecDeque::new(),
            next: None,
        })
    }

    pub(super) fn run(&mut self) {
        while !self.common.ended() {
            self.step();
        }
        self.farewell();
    }

    /// De-registers, so that the server does not wait for the lifetime's end.
    fn farewell(&mut self) {
        let now = self.common.clock.now();
        let end = now + FAREWELL_MS;
        let mut leave = Some(ToCloud::Connect(false));
        while self.cloud.is_registered() && self.common.clock.now() < end {
            leave.take_if(|message| self.cloud.on_engine(now, message));
            // The engine's thread may have ended: what is for it is dropped.
            while self.cloud.next_to_engine().is_some() {}
            self.step();
        }
    }

    fn step(&mut self) {
        let now = self.common.clock.now();
        self.hear_engine(now);
        self.receive(now);
        self.reconfigure(now);
        self.cloud
            .poll(now, random(), self.room.is_free(&self.common));
        self.look_up(now);
        self.tell_engine();
        self.send();
        if self.net != self.told {
            self.told = self.net;
            self.common.tell(Heard::Net(self.net));
        }
        let now = self.common.clock.now();
        let ms = self.cloud.deadline().map(|at| at.saturating_sub(now));
        // What the engine's mailbox could not take wakes us when it has taken one.
        self.common.sleeper.sleep(&[self.socket.as_fd()], None, ms);
    }

    /// Goes on with other settings when the machine is ready for them.
    fn reconfigure(&mut self, now: u64) {
        let given = &self.common.boxes.config;
        let given = given.lock().unwrap_or_else(|e| e.into_inner()).take();
        self.next = given.or(self.next.take());
        if self.next.is_none() || !self.cloud.may_reconfigure(now) {
            return;
        }
        if let Some(config) = self.next.take() {
            (self.server, self.source) = (None, None);
            self.cloud.reconfigure(now, config, random());
        }
    }

    fn hear_engine(&mut self, now: u64) {
        loop {
            let Some(mut message) = self.from_engine.take().or_else(|| {
                let message = self.common.boxes.to_cloud.try_recv()?;
                self.common.boxes.engine.wake();
                Some(message)
            }) else {
                return;
            };
            if !self.cloud.on_engine(now, &mut message) {
                self.from_engine = Some(message);
                return;
            }
        }
    }

    fn receive(&mut self, now: u64) {
        let mut datagram = [0; DATAGRAM];
        // An error here is an earlier datagram that met a closed port: lost, as on any network.
        while let Ok((count, from)) = self.socket.recv_from(&mut datagram) {
            let from = plain(from);
            let peer = if Some(from) == self.server {
                Peer::Server
            } else if Some(from) == self.source {
                Peer::Source
            } else {
                continue;
            };
            self.net.received += 1;
            self.cloud.on_datagram(now, peer, &datagram[..count]);
            // A block is handed on before the next datagram is looked at.
            self.tell_engine();
        }
    }

    fn look_up(&mut self, now: u64) {
        while let Some(lookup) = self.cloud.next_lookup() {
            let (peer, host, port) = (lookup.peer, lookup.host.to_owned(), lookup.port);
            let found = (host.as_str(), port).to_socket_addrs();
            let found = found.ok().and_then(|mut all| all.next());
            match peer {
                Peer::Server => self.server = found,
                Peer::Source => self.source = found,
            }
            self.cloud.on_resolved(now, peer, found.is_some());
        }
    }

    fn tell_engine(&mut self) {
        loop {
            let Some(message) = self
                .to_engine
                .take()
                .or_else(|| self.cloud.next_to_engine())
            else {
                return;
            };
            if let Err(message) = self.common.boxes.to_engine.try_send(message) {
                self.to_engine = Some(message);
                return;
            }
        }
    }

    fn send(&mut self) {
        let mut datagram = vec![0; B + OVERHEAD];
        while let Some((peer, count)) = self.cloud.next_datagram(&mut datagram) {
            let address = match peer {
                Peer::Server => self.server,
                Peer::Source => self.source,
            };
            let datagram = &datagram[..count];
            self.count(datagram);
            if let Some(address) = address {
                // A failed send is a lost datagram.
                let _ = self.socket.send_to(datagram, self.mapped(address));
            }
        }
    }

    fn count(&mut self, datagram: &[u8]) {
        self.net.sent += 1;
        // Confirmable (RFC 7252 section 3): type 0, message id in bytes 2 and 3.
        let &[first, _, high, low, ..] = datagram else {
            return;
        };
        if (first >> 4) & 3 != 0 {
            return;
        }
        let id = u16::from_be_bytes([high, low]);
        if self.recent.contains(&id) {
            self.net.retransmissions += 1;
            return;
        }
        self.recent.push_back(id);
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
    }

    /// An IPv4 address as a socket of both families wants it.
    fn mapped(&self, address: SocketAddr) -> SocketAddr {
        let dual = self.socket.local_addr().is_ok_and(|own| own.is_ipv6());
        match address {
            SocketAddr::V4(v4) if dual => (v4.ip().to_ipv6_mapped(), v4.port()).into(),
            other => other,
        }
    }
}

/// The address without the mapping of a socket of both families.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn random() -> u32 {
    let mut bytes = [0; 4];
    HostRandom.fill(&mut bytes);
    u32::from_le_bytes(bytes)
}
