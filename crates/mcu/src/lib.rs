#![no_std]
#![forbid(unsafe_code)]
#![doc = include_str!("../README.md")]

pub mod agent;
pub mod boot;
pub mod digest;
mod flash;
#[cfg(feature = "io")]
pub mod io;
pub mod layout;
#[cfg(feature = "mcuboot")]
pub mod mcuboot;
pub mod records;
pub mod slot;
pub mod state;

pub use agent::{Agent, Config, Output};
pub use flash::FlashFailed;
pub use layout::Layout;
pub use sota_errors::McuError;
