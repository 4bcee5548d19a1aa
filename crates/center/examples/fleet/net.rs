//! One socket for all devices: the address that a datagram leaves from, or came to, says which device it is
//! (`IP_PKTINFO`). So no limit of open files stands in the way of 100,000 devices.

use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::time::Instant;

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::libc::{in_addr, in_pktinfo};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, sendmsg, setsockopt,
    sockopt,
};

/// Devices have addresses from here on.
const FIRST: u32 = u32::from_be_bytes([127, 64, 0, 1]);
const BUFFER: usize = 4 << 20;

/// See the module's words.
pub(crate) struct Net {
    socket: UdpSocket,
    server: SockaddrIn,
    control: Vec<u8>,
    began: Instant,
}

impl Net {
    pub(crate) fn open(server: SocketAddrV4) -> Result<Net> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true).context("IP_PKTINFO")?;
        // With smaller buffers there are more retransmissions, no more.
        let _ = setsockopt(&socket, sockopt::RcvBuf, &BUFFER);
        let _ = setsockopt(&socket, sockopt::SndBuf, &BUFFER);
        socket.set_nonblocking(true)?;
        Ok(Net {
            socket,
            server: SockaddrIn::from(server),
            control: nix::cmsg_space!(in_pktinfo),
            began: Instant::now(),
        })
    }

    /// Ms since the start.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// A datagram of a device to the Center; one that cannot go out is lost.
    pub(crate) fn send(&self, device: u32, bytes: &[u8]) {
        let from = in_pktinfo {
            ipi_ifindex: 0,
            ipi_spec_dst: in_addr {
                s_addr: (FIRST + device).to_be(),
            },
            ipi_addr: in_addr { s_addr: 0 },
        };
        let _ = sendmsg(
            self.socket.as_raw_fd(),
            &[IoSlice::new(bytes)],
            &[ControlMessage::Ipv4PacketInfo(&from)],
            MsgFlags::empty(),
            Some(&self.server),
        );
    }

    /// The next datagram, if one is there: for which device, and its length.
    pub(crate) fn receive(&mut self, buffer: &mut [u8]) -> Result<Option<(u32, usize)>> {
        let mut parts = [IoSliceMut::new(buffer)];
        let got = recvmsg::<SockaddrIn>(
            self.socket.as_raw_fd(),
            &mut parts,
            Some(&mut self.control),
            MsgFlags::empty(),
        );
        let got = match got {
            // A refusal is of an earlier datagram: the Center is not there now.
            Err(Errno::EAGAIN | Errno::ECONNREFUSED) => return Ok(None),
            got => got?,
        };
        let length = got.bytes;
        let to = got.cmsgs()?.find_map(|message| match message {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                Some(u32::from_be(info.ipi_addr.s_addr).wrapping_sub(FIRST))
            }
            _ => None,
        });
        Ok(to.map(|device| (device, length)))
    }

    /// Waits for a datagram, at most so many ms.
    pub(crate) fn wait(&self, ms: u16) -> Result<()> {
        use std::os::fd::AsFd as _;
        let mut wanted = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        match poll(&mut wanted, PollTimeout::from(ms)) {
            Err(Errno::EINTR) => Ok(()),
            other => Ok(other.map(drop)?),
        }
    }

    /// Where the Center is, as its package addresses say it.
    pub(crate) fn server(&self) -> SocketAddr {
        let address = SocketAddrV4::new(self.server.ip(), self.server.port());
        SocketAddr::V4(address)
    }
}
