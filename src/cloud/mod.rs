//! The cloud machine: LwM2M client, download, retransmission, resume (design section 3).
//!
//! | module | what it is |
//! |---|---|
//! | [`config`] | configuration, peers |
//! | [`machine`](Cloud) | the machine's parts, and what passes between it, the engine and the port |
//! | `change` | other settings at run time |
//! | `incoming` | datagrams that came |
//! | `outgoing` | time, the choice of our next message, datagrams |
//! | `own` | our own messages, written |
//! | `objects`, `ask` | the objects as views of the engine, the doors |
//! | [`download`] | random-access Block2 of `from..to` |
//! | [`uri`] | `coap://host[:port]/path` |
//!
//! One turn of the port's loop, after any input or at [`Cloud::deadline`]:
//!
//! ```text
//! on_datagram / on_engine / on_resolved / on_readings      what came
//! poll(now, random, room)                                  time; room: the engine's mailbox has room
//! next_to_engine  -> mailbox          while the mailbox has room
//! next_lookup     -> name service     until None
//! next_datagram   -> socket           until None
//! ```

mod ask;
mod change;
pub mod config;
pub mod download;
mod incoming;
mod machine;
mod objects;
mod outgoing;
mod own;
pub mod uri;

pub use config::{Config, Link, Lookup, Peer};
pub use machine::{Cloud, OVERHEAD};

#[cfg(test)]
mod tests;
