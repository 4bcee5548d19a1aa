//! The client's half: what a device does.

pub mod registration;
pub mod send;
