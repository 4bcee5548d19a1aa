//! The LwM2M server on UDP.
//!
//! | file | holds |
//! |---|---|
//! | [`endpoint`] | the machine: datagrams, replies, commands and time in, datagrams and calls out |
//! | [`border`] | what it asks of the rest of the Center |
//! | [`peers`] | registered devices and their deadlines |
//! | [`plan_door`], [`standard_door`] | the two ways to a client: our Plan object, or /5, /9 and /33629 |
//! | [`outgoing`], [`timed_map`] | requests to devices; those that are open |
//! | [`blocks`], [`packages`] | package blocks: service, cache and counters |
//! | [`addresses`] | which addresses are verified, Echo |
//! | [`shared`] | what the UDP thread and the machine share |
//! | [`socket`] | the UDP thread |
//! | [`answers`] | what the service answers to the machine's calls |
//! | [`server`] | all of it running, with the service |

pub mod addresses;
pub mod answers;
pub mod blocks;
pub mod border;
pub mod endpoint;
pub mod outgoing;
pub mod packages;
pub mod peers;
pub mod plan_door;
pub mod server;
pub mod shared;
pub mod socket;
pub mod standard_door;
pub mod timed_map;

pub use server::{Config, DeviceServer};
