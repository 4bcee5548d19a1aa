#![forbid(unsafe_code)]
//! The deterministic world: Center, modules and MCUs in one process, on virtual time, from one seed.
//!
//! What runs is the code of the field: the Center's device endpoint and service over its memory store, the module's
//! three machines, the simulated MCU. Simulated are time, the network, the UART, the flash and the power.
//!
//! | module | holds |
//! |---|---|
//! | [`rng`] | the seed's random streams |
//! | [`flash`] | NOR flash that tears, flips and dies |
//! | [`net`] | the network: delay, loss, bursts, copies, NAT |
//! | [`uart`] | the UART: baud, noise, silence, babble |
//! | [`node`] | the three processors |
//! | [`setup`] | what a world is made with |
//! | [`fault`] | what goes wrong |
//! | [`draw`] | the setup and the faults that a seed stands for |
//! | [`world`] | time and order |
//! | [`rules`] | the invariants |
//! | [`exhaustive`] | power cut at every place of a small upgrade |
//! | [`story`] | datagrams as a person reads them |
//! | [`run`] | one world, many, and shrinking |
//!
//! `docs/testing.md` tells how to add a case and how to read a story.

pub mod draw;
pub mod exhaustive;
pub mod fault;
pub mod flash;
pub mod handle;
pub mod net;
pub mod node;
pub mod rng;
pub mod rules;
pub mod run;
pub mod setup;
pub mod story;
pub mod uart;
pub mod world;

/// Virtual time in microseconds since the world's beginning.
pub type Micros = u64;
