#![no_std]
#![forbid(unsafe_code)]
//! LwM2M 1.1 for tiny devices.

#[cfg(feature = "client")]
pub mod client;
pub mod objects;
