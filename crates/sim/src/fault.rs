//! What goes wrong in a world, and when: a list that is drawn from the seed, shortened by the shrinker and written by
//! hand in the table of scenarios.

use std::fmt;

use crate::Micros;
use crate::net::Profile;
use crate::node::Node;
use crate::uart::LineFaults;

/// Where in an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Edge {
    /// Nothing of it is done.
    Before,
    /// Half of it is done.
    Middle,
    /// All of it is done, nobody knows.
    After,
}

impl Edge {
    /// All three.
    pub const ALL: [Edge; 3] = [Edge::Before, Edge::Middle, Edge::After];
}

/// When a fault happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// At this virtual time.
    At(Micros),
    /// At this flash operation of the node (writes count one, erases one a page), counted from the world's beginning.
    Flash(Node, u64, Edge),
    /// At this datagram of the world, counted from 0.
    Datagram(u64, Edge),
    /// At this frame (what one side gives the UART at once), counted from 0 over both directions of device 0.
    Frame(u64, Edge),
    /// At this commit of the Center's store.
    Commit(u64, Edge),
}

/// Direction of a UART.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Module to MCU.
    ToMcu,
    /// MCU to module.
    ToModule,
}

/// What a person does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// Cancels device 0 in the plan.
    Cancel,
    /// Tries device 0 again.
    Retry,
    /// Suspends the plan.
    Suspend,
    /// Resumes it.
    Resume,
    /// Terminates it.
    Terminate,
    /// Disables device 0.
    Disable,
    /// Enables it.
    Enable,
    /// The module's own program asks for a plan (OtaRequest).
    Request,
    /// The host refuses (action 0).
    Refuse,
    /// The host announces this version of the MCU (SetMcuVersion).
    Announce(&'static str),
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Power goes and comes back after this time.
    Cut(Node, Micros),
    /// One bit of the staging flash of device 0 flips at rest.
    FlipStaging {
        /// Byte.
        offset: u32,
        /// Bit 0..=7.
        bit: u8,
    },
    /// One bit of the journal of device 0 flips at rest.
    FlipJournal {
        /// Byte.
        offset: u32,
        /// Bit 0..=7.
        bit: u8,
    },
    /// One bit of the MCU's flash flips at rest.
    FlipMcu {
        /// Byte.
        offset: u32,
        /// Bit 0..=7.
        bit: u8,
    },
    /// A page of staging takes no erase and no write any more.
    StagingSectorDies(u32),
    /// A page of the MCU's flash takes no erase and no write any more.
    McuSectorDies(u32),
    /// The network is like this for a time.
    Network(Profile, Micros),
    /// Nothing goes through for a time.
    NetworkDown(Micros),
    /// The NAT forgets: the module's next datagram comes from another port.
    Rebind,
    /// The module gets another address.
    NewAddress,
    /// The UART harms bytes for a time.
    Uart(LineFaults, Micros),
    /// Nothing comes through one way of the UART for a time.
    Silence(Way, Micros),
    /// This many random bytes come out of nowhere.
    Babble(Way, u32),
    /// The Center's wall clock jumps by this many ms; back only at its next start.
    CenterClock(i64),
    /// The module's clock jumps forward by this many ms.
    ModuleClock(u64),
    /// Battery in % and signal in dBm from now on.
    Readings(u8, i16),
    /// A person acts.
    Operator(Operator),
}

/// One line of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// When.
    pub when: When,
    /// What.
    pub what: What,
}

impl Fault {
    /// Until when it lasts, if it begins at `now`.
    pub fn lasts_until(&self, now: Micros) -> Micros {
        match self.what {
            What::Cut(_, time)
            | What::Network(_, time)
            | What::NetworkDown(time)
            | What::Uart(_, time)
            | What::Silence(_, time) => now.saturating_add(time),
            _ => now,
        }
    }
}

/// Virtual time as people read it.
pub fn clock(at: Micros) -> String {
    let (s, us) = (at / 1_000_000, at % 1_000_000);
    format!("{:02}:{:02}:{:02}.{us:06}", s / 3600, s / 60 % 60, s % 60)
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.when {
            When::At(at) => write!(f, "at {}", clock(at))?,
            When::Flash(node, n, edge) => write!(f, "{edge:?} flash operation {n} of {node}")?,
            When::Datagram(n, edge) => write!(f, "{edge:?} datagram {n}")?,
            When::Frame(n, edge) => write!(f, "{edge:?} frame {n}")?,
            When::Commit(n, edge) => write!(f, "{edge:?} commit {n}")?,
        }
        let s = |us: Micros| format!("{} ms", us / 1000);
        match self.what {
            What::Cut(node, off) => write!(f, ": power of {node} goes for {}", s(off)),
            What::Network(profile, time) => write!(f, ": network {profile:?} for {}", s(time)),
            What::NetworkDown(time) => write!(f, ": network down for {}", s(time)),
            What::Uart(noise, time) => write!(f, ": UART {noise:?} for {}", s(time)),
            What::Silence(way, time) => write!(f, ": UART silent {way:?} for {}", s(time)),
            other => write!(f, ": {other:?}"),
        }
    }
}
