//! Tests of the whole engine over a strict NOR flash in memory.

mod flash;
mod journal;
#[cfg(feature = "link")]
mod link;
#[cfg(feature = "stm32")]
mod rom;
mod route;
mod rules;
mod set;
#[cfg(feature = "smp")]
mod smp;
mod upgrade;
mod versions;
mod world;
