//! What happened in the network, for the story and for counting.

use std::fmt;
use std::net::SocketAddr;

use crate::Micros;

/// One thing that happened to a datagram. `id` is its number in the order of sending, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetEvent {
    /// It was given to the network.
    Send {
        /// When.
        at: Micros,
        /// Which.
        id: u64,
        /// The sender's own address.
        from: SocketAddr,
        /// The source that the receiver will see.
        source: SocketAddr,
        /// Where to.
        to: SocketAddr,
        /// Bytes of payload.
        len: u32,
    },
    /// It will not arrive (one copy of it, if it was duplicated).
    Drop {
        /// When that was decided.
        at: Micros,
        /// Which.
        id: u64,
        /// Why.
        reason: DropReason,
    },
    /// It will arrive twice.
    Duplicate {
        /// When that was decided.
        at: Micros,
        /// Which.
        id: u64,
    },
    /// It was handed to the receiver.
    Deliver {
        /// When.
        at: Micros,
        /// Which.
        id: u64,
        /// The receiver's own address.
        to: SocketAddr,
    },
}

/// Why a datagram does not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// By chance.
    Lost,
    /// The direction is cut.
    Cut,
    /// It is greater than the MTU.
    TooBig,
    /// Too much was waiting to be sent.
    QueueFull,
    /// The receiver's NAT has no mapping for it, or none any more.
    NoMapping,
    /// The receiver has another address now.
    NoHost,
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DropReason::Lost => "lost",
            DropReason::Cut => "the link is cut",
            DropReason::TooBig => "greater than the MTU",
            DropReason::QueueFull => "the queue is full",
            DropReason::NoMapping => "no NAT mapping",
            DropReason::NoHost => "nobody has this address",
        })
    }
}

impl fmt::Display for NetEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NetEvent::Send {
                at,
                id,
                from,
                source,
                to,
                len,
            } => {
                write!(f, "{at} #{id} {from} -> {to}, {len} bytes")?;
                if source != from {
                    write!(f, ", seen as {source}")?;
                }
                Ok(())
            }
            NetEvent::Drop { at, id, reason } => write!(f, "{at} #{id} dropped: {reason}"),
            NetEvent::Duplicate { at, id } => write!(f, "{at} #{id} duplicated"),
            NetEvent::Deliver { at, id, to } => write!(f, "{at} #{id} at {to}"),
        }
    }
}

/// Counts since the network was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetStats {
    /// Datagrams given to it.
    pub sent: u64,
    /// Datagrams handed out, duplicates too.
    pub delivered: u64,
    /// Datagrams that were to arrive twice.
    pub duplicated: u64,
    /// Datagrams that others may pass.
    pub reordered: u64,
    /// [`DropReason::Lost`].
    pub lost: u64,
    /// [`DropReason::Cut`].
    pub cut: u64,
    /// [`DropReason::TooBig`].
    pub too_big: u64,
    /// [`DropReason::QueueFull`].
    pub queue_full: u64,
    /// [`DropReason::NoMapping`].
    pub no_mapping: u64,
    /// [`DropReason::NoHost`].
    pub no_host: u64,
}

impl NetStats {
    pub(super) fn count(&mut self, reason: DropReason) {
        *match reason {
            DropReason::Lost => &mut self.lost,
            DropReason::Cut => &mut self.cut,
            DropReason::TooBig => &mut self.too_big,
            DropReason::QueueFull => &mut self.queue_full,
            DropReason::NoMapping => &mut self.no_mapping,
            DropReason::NoHost => &mut self.no_host,
        } += 1;
    }
}
