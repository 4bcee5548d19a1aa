//! The server's half (feature `server`).

pub mod registration;
