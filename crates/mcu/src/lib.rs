#![no_std]
#![forbid(unsafe_code)]
#![doc = include_str!("../README.md")]

#[cfg(feature = "link")]
pub mod agent;
#[cfg(feature = "at")]
pub mod at;
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

#[cfg(feature = "link")]
pub use agent::{Agent, Config, Output};
#[cfg(feature = "at")]
pub use at::AtAgent;
pub use flash::FlashFailed;
pub use layout::Layout;
pub use sota_errors::McuError;
