//! The device port: one thread of its own that answers package blocks at once and hands on the rest.
//!
//! The thread blocks in `recv_from`, so a block costs two system calls and no wake-up of another
//! thread. Whatever is not answered from memory goes through a bounded channel to the endpoint. When
//! that channel is full the datagram is dropped and counted: CoAP sends it again.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use nix::sys::socket::{setsockopt, sockopt};
use tokio::sync::mpsc;

/// Greatest datagram that is looked at, in bytes; RFC 7252 section 4.6 supposes 1152. A longer one is cut by the
/// kernel, so it is seen with one byte more than this and must not be understood.
pub const MAX_DATAGRAM: usize = 2048;
/// Wanted receive buffer of the socket in bytes: room for the bursts of a thousand clients. The kernel
/// may give less (`net.core.rmem_max`).
const RECEIVE_BUFFER: usize = 4 * 1024 * 1024;

/// One received datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Sender.
    pub peer: SocketAddr,
    /// Content.
    pub bytes: Vec<u8>,
}

/// What the thread does with a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fast {
    /// The answer stands in this many bytes of the output buffer.
    Answer(usize),
    /// It goes to the endpoint.
    HandOn,
    /// Nothing.
    Drop,
}

/// The bound port and its thread.
#[derive(Debug)]
pub struct Port {
    socket: Arc<UdpSocket>,
    local: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Port {
    /// Starts the thread on a bound socket. `fast` sees every datagram first.
    pub fn start(
        socket: UdpSocket,
        hand_on: mpsc::Sender<Datagram>,
        mut fast: impl FnMut(SocketAddr, &[u8], &mut [u8]) -> Fast + Send + 'static,
        dropped: impl Fn() + Send + 'static,
    ) -> io::Result<Port> {
        let local = socket.local_addr()?;
        // A smaller buffer only means more retransmissions.
        if let Err(error) = setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER) {
            tracing::warn!(%error, "the receive buffer stays at the system's default");
        }
        let socket = Arc::new(socket);
        let stop = Arc::new(AtomicBool::new(false));
        let (receiver, stopped) = (socket.clone(), stop.clone());
        let thread = std::thread::Builder::new()
            .name("coap-udp".into())
            .spawn(move || {
                let mut input = [0; MAX_DATAGRAM + 1];
                let mut output = [0; MAX_DATAGRAM];
                loop {
                    // An error belongs to an earlier send (ICMP port unreachable), not to this receive.
                    let Ok((length, peer)) = receiver.recv_from(&mut input) else {
                        continue;
                    };
                    let Some(bytes) = input.get(..length) else {
                        continue;
                    };
                    if stopped.load(Ordering::Acquire) {
                        return;
                    }
                    match fast(peer, bytes, &mut output) {
                        Fast::Answer(n) => {
                            if let Some(answer) = output.get(..n) {
                                // A failed send is a lost datagram.
                                let _ = receiver.send_to(answer, peer);
                            }
                        }
                        Fast::HandOn => {
                            if hand_on
                                .try_send(Datagram {
                                    peer,
                                    bytes: bytes.to_vec(),
                                })
                                .is_err()
                            {
                                dropped();
                            }
                        }
                        Fast::Drop => {}
                    }
                }
            })?;
        Ok(Port {
            socket,
            local,
            stop,
            thread: Some(thread),
        })
    }

    /// The address that was bound, with the port the system chose for 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// For answers that do not come from the thread.
    pub fn sender(&self) -> Arc<UdpSocket> {
        self.socket.clone()
    }
}

impl Drop for Port {
    /// Wakes the thread with an empty datagram and waits for its end, so that the port is free.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let mut own = self.local;
        if own.ip().is_unspecified() {
            own.set_ip(match own.ip() {
                IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        if self.socket.send_to(&[], own).is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loopback(port: u16) -> UdpSocket {
        UdpSocket::bind(("127.0.0.1", port)).unwrap()
    }

    #[test]
    fn answers_hands_on_and_gives_the_port_back() {
        let (sender, mut receiver) = mpsc::channel(1);
        let fast = |_, bytes: &[u8], out: &mut [u8]| match bytes {
            b"ping" => {
                out[..4].copy_from_slice(b"pong");
                Fast::Answer(4)
            }
            b"x" => Fast::Drop,
            _ => Fast::HandOn,
        };
        let port = Port::start(loopback(0), sender, fast, || {}).unwrap();
        let client = loopback(0);
        client.connect(port.local_addr()).unwrap();
        client.send(b"x").unwrap();
        client.send(b"other").unwrap();
        client.send(b"ping").unwrap();
        let mut buffer = [0; 16];
        assert_eq!(client.recv(&mut buffer).unwrap(), 4);
        assert_eq!(receiver.blocking_recv().unwrap().bytes, b"other");
        let address = port.local_addr();
        drop(port);
        loopback(address.port());
    }
}
