#![no_std]
#![forbid(unsafe_code)]
#![doc = include_str!("../README.md")]

pub mod field;
pub mod frame;
mod image;
pub mod mcu;
pub mod message;
pub mod module;
mod rate;
mod receive;
mod session;
mod timing;
mod window;

pub use session::{Config, Line};
pub use sota_errors::LinkError;
pub use timing::Millis;
