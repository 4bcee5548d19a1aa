#![no_std]
#![forbid(unsafe_code)]
//! The client's side of MCUmgr's SMP over a UART, so that an MCU with Zephyr, MCUmgr and MCUboot and nothing of ours on it can be
//! upgraded. What is done when, and the limits: `docs/smp.md`.
//!
//! [`Client`] holds no UART and no clock:
//!
//! ```text
//! client.begin(job)
//! loop:
//!     client.on_bytes(now, received)
//!     while let Some(output) = client.poll(now, &mut source)
//!         Output::Done(..), Output::Failed(..): the job is over      Output::Trouble(..): for the log, it is tried again
//!     n = client.next_tx(&mut out)
//!     wait for bytes, room, or until client.deadline()
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `wire` | lines, frames, header |
//! | `message` | requests and answers in CBOR |
//! | `image` | the hash in an MCUboot image |
//! | `config` | what a product configures |
//! | `client` | jobs, time-outs, failures and tries |
//! | `fault` | what the server's refusals mean |
//! | `upload` | which part of the image goes next |

#[cfg(test)]
extern crate std;

mod client;
mod config;
mod fault;
pub mod image;
pub mod message;
#[cfg(test)]
mod tests;
mod upload;
pub mod wire;

pub use client::{Client, Done, Job, Output, Source};
pub use config::{Config, Times};
pub use fault::Fault;
pub use sota_errors::SmpError;

/// Milliseconds of the caller's clock; never goes back.
pub type Millis = u64;
