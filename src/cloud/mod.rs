//! The cloud machine: LwM2M client, download, retransmission, resume (design section 3).
//!
//! | module | what it is |
//! |---|---|
//! | [`config`] | configuration, peers |
//! | [`download`] | random-access Block2 of `from..to` |
//! | [`uri`] | `coap://host[:port]/path` |

pub mod config;
pub mod download;
pub mod uri;

pub use config::{Config, Link, Lookup, Peer};
