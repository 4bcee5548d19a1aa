#![no_std]
#![forbid(unsafe_code)]
//! The host's side of the ROM loader that ST puts into every STM32 (application note AN3155, USART), so that an MCU with
//! nothing of ours on it can be upgraded. Wiring and limits: `docs/stm32.md`.
//!
//! [`Loader`] holds no UART, no pins and no clock:
//!
//! ```text
//! loader.begin(job)
//! loop:
//!     loader.on_bytes(now, received)
//!     while let Some(output) = loader.poll(now, &mut source)
//!         Output::Lines{..}: set both lines        Output::Data(..): read back, for a digest
//!         Output::Done(..), Output::Failed(..): the job is over      Output::Trouble(..): for the log, it is tried again
//!     n = loader.next_tx(&mut out)
//!     wait for bytes, room, or until loader.deadline()
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `wire` | codes, checksums, frames |
//! | `exchange` | one command and its answer |
//! | `layout`, `chips` | pages, and what a product configures |
//! | `loader` | the lines, entering, failures and tries |
//! | `program` | what is compared, erased, written and read back, in which order |

#[cfg(test)]
extern crate std;

pub mod chips;
mod exchange;
mod layout;
mod loader;
mod program;
pub mod wire;

pub use layout::{Config, Erase, Layout, Pages, Start, Times};
pub use loader::{Done, Fault, Job, Loader, Output, Source};
pub use sota_errors::RomError;

/// Milliseconds of the caller's clock; never goes back.
pub type Millis = u64;
