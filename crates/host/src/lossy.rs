//! A UDP proxy that loses datagrams: the bad network of `sota demo --loss`.
//!
//! Each client gets a socket of its own towards the server, so the server sees as many peers as there
//! are. Which datagrams are lost follows from the seed and the order in which they come.

use crate::wake::{self, Wake};
use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

/// Greatest datagram carried, in bytes.
const DATAGRAM: usize = 2048;
/// Clients held at once; a further one is not served.
const CLIENTS: usize = 64;

/// Decides which datagrams are lost: a percentage, from a seed (SplitMix64).
#[derive(Clone, Debug)]
pub struct Loss {
    state: u64,
    percent: u8,
}

impl Loss {
    /// `percent` in 0..=100; more counts as 100.
    pub fn new(seed: u64, percent: u8) -> Loss {
        Loss {
            state: seed,
            percent: percent.min(100),
        }
    }

    /// Whether the next datagram is lost.
    pub fn next_is_lost(&mut self) -> bool {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % 100 < u64::from(self.percent)
    }
}

/// Which way a datagram goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From a client to the server.
    Up,
    /// From the server to a client.
    Down,
}

/// What went through so far, both directions together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Datagrams carried.
    pub carried: u64,
    /// Datagrams lost on purpose.
    pub lost: u64,
}

#[derive(Debug, Default)]
struct Counters {
    carried: AtomicU64,
    lost: AtomicU64,
}

/// A proxy in a thread of its own; it runs until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    server: Arc<OnceLock<SocketAddr>>,
    stop: Arc<AtomicBool>,
    wake: Wake,
    counters: Arc<Counters>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1; carries as soon as [`Proxy::carry_to`] told where to.
    /// `seen` is called on the proxy's thread for each datagram that is about to be carried.
    ///
    /// # Errors
    /// No sockets or threads left.
    pub fn new(loss: Loss, seen: impl FnMut(Way, &[u8]) + Send + 'static) -> io::Result<Proxy> {
        let listen = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        listen.set_nonblocking(true)?;
        let address = listen.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let counters = Arc::new(Counters::default());
        let (wake, mut sleeper) = wake::pair()?;
        let server = Arc::new(OnceLock::new());
        let mut carrier = Carrier {
            server: server.clone(),
            seen: Box::new(seen),
            listen,
            clients: HashMap::new(),
            loss,
            counters: counters.clone(),
        };
        let ended = stop.clone();
        let thread = std::thread::Builder::new()
            .name("proxy".into())
            .spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    carrier.sleep(&mut sleeper);
                    carrier.step();
                }
            })?;
        Ok(Proxy {
            address,
            server,
            stop,
            wake,
            counters,
            thread: Some(thread),
        })
    }

    /// Where the server is; the first call counts.
    pub fn carry_to(&self, server: SocketAddr) {
        let _ = self.server.set(server);
    }

    /// Where clients send to instead of the server.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What went through.
    pub fn passed(&self) -> Passed {
        Passed {
            carried: self.counters.carried.load(Ordering::Relaxed),
            lost: self.counters.lost.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.wake.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

type Seen = dyn FnMut(Way, &[u8]) + Send;

struct Carrier {
    server: Arc<OnceLock<SocketAddr>>,
    seen: Box<Seen>,
    listen: UdpSocket,
    clients: HashMap<SocketAddr, UdpSocket>,
    loss: Loss,
    counters: Arc<Counters>,
}

impl Carrier {
    fn sleep(&self, sleeper: &mut wake::Sleeper) {
        let mut fds = vec![self.listen.as_fd()];
        fds.extend(self.clients.values().map(AsFd::as_fd));
        sleeper.sleep(&fds, None, None);
    }

    fn step(&mut self) {
        let mut datagram = [0; DATAGRAM];
        while let Ok((count, client)) = self.listen.recv_from(&mut datagram) {
            if !self.keep() {
                continue;
            }
            (self.seen)(Way::Up, &datagram[..count]);
            if let Some(socket) = self.towards_server(client) {
                let _ = socket.send(&datagram[..count]);
            }
        }
        let mut back = Vec::new();
        for (client, socket) in &self.clients {
            // A refused port (the server is away) is an error here: lost, as on any network.
            while let Ok(count) = socket.recv(&mut datagram) {
                back.push((*client, datagram[..count].to_vec()));
            }
        }
        for (client, datagram) in back {
            if self.keep() {
                (self.seen)(Way::Down, &datagram);
                let _ = self.listen.send_to(&datagram, client);
            }
        }
    }

    fn keep(&mut self) -> bool {
        let lost = self.loss.next_is_lost();
        let counter = if lost {
            &self.counters.lost
        } else {
            &self.counters.carried
        };
        counter.fetch_add(1, Ordering::Relaxed);
        !lost
    }

    fn towards_server(&mut self, client: SocketAddr) -> Option<&UdpSocket> {
        if !self.clients.contains_key(&client) {
            if self.clients.len() >= CLIENTS {
                return None;
            }
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
            socket.set_nonblocking(true).ok()?;
            socket.connect(*self.server.get()?).ok()?;
            self.clients.insert(client, socket);
        }
        self.clients.get(&client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_lost_is_the_percentage_and_repeats_from_its_seed() {
        let run = |seed, percent| {
            let mut loss = Loss::new(seed, percent);
            (0..10_000).map(|_| loss.next_is_lost()).collect::<Vec<_>>()
        };
        let lost = run(1, 10).iter().filter(|&&lost| lost).count();
        assert!((900..1_100).contains(&lost), "{lost}");
        assert_eq!(run(7, 30), run(7, 30));
        assert_ne!(run(7, 30), run(8, 30));
        assert!(run(1, 0).iter().all(|lost| !lost));
        assert!(run(1, 100).iter().all(|&lost| lost));
    }

    #[test]
    fn datagrams_go_both_ways() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        let seen = move |way, datagram: &[u8]| tell.send((way, datagram.to_vec())).unwrap();
        let proxy = Proxy::new(Loss::new(1, 0), seen).unwrap();
        proxy.carry_to(server.local_addr().unwrap());
        let clients = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        let mut buffer = [0; 16];
        for (i, client) in clients.iter().enumerate() {
            client.send_to(&[i as u8], proxy.address()).unwrap();
            let (_, from) = server.recv_from(&mut buffer).unwrap();
            server.send_to(&[buffer[0] + 100], from).unwrap();
        }
        for (i, client) in clients.iter().enumerate() {
            let (count, from) = client.recv_from(&mut buffer).unwrap();
            assert_eq!(
                (count, from, buffer[0]),
                (1, proxy.address(), i as u8 + 100)
            );
        }
        assert_eq!(
            proxy.passed(),
            Passed {
                carried: 4,
                lost: 0
            }
        );
        // the second client's datagram may overtake the answer to the first
        let told: Vec<_> = told.iter().take(4).collect();
        for i in [0, 1] {
            let at = |what| told.iter().position(|t| *t == what).unwrap();
            assert!(at((Way::Up, vec![i])) < at((Way::Down, vec![i + 100])));
        }
    }

    #[test]
    fn with_everything_lost_nothing_arrives() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        server.set_nonblocking(true).unwrap();
        let proxy = Proxy::new(Loss::new(1, 100), |_, _| ()).unwrap();
        proxy.carry_to(server.local_addr().unwrap());
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..20 {
            client.send_to(b"x", proxy.address()).unwrap();
        }
        while proxy.passed().lost < 20 {
            std::thread::yield_now();
        }
        drop(proxy);
        assert!(server.recv_from(&mut [0; 16]).is_err());
    }
}
