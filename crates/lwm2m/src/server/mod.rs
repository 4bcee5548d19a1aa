//! The server's half (feature `server`).
//!
//! | file | holds |
//! |---|---|
//! | [`registration`] | registration, update and de-registration, read |
//! | [`request`] | requests to a client, written: Read, Discover, Write, Execute, Observe |
//! | [`component`] | the parts of a client that /5, /9 or /33629 can upgrade |
//! | [`sequence`] | the upgrade of one such part, for a client without Plan object |

pub mod component;
pub mod registration;
pub mod request;
pub mod sequence;
#[cfg(test)]
mod sequence_tests;

pub use component::Component;
pub use request::{Operation, Request};
pub use sequence::{Action, Reached, Sequence, Step};
