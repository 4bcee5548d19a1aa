#![forbid(unsafe_code)]
//! The deterministic world: what lies between and below the machines of the relay, on virtual time, from one seed.
//!
//! The same seed gives the same story, byte for byte, on any machine. So nothing here reads a clock, uses a
//! floating-point number, walks a `HashMap`, or keeps state outside its own value. Every model has a stream of
//! random numbers of its own: a fault more in one does not move the faults of another.
//!
//! | module | what it is | faults |
//! |---|---|---|
//! | [`rng`] | the streams of random numbers | - |
//! | [`flash`] | NOR flash with the rules of the real part; partitions share one power | power cut before, in and after an operation; flipped bits, failing pages, marginal pages |
//! | [`net`] | datagrams between addresses | loss, bursts, duplicates, reordering, rate, MTU, NAT rebinding, a cut direction |
//! | [`uart`] | one direction of a serial line, paced by its baud rate | bytes lost, doubled, flipped, inserted; silence, noise, power cut |

pub mod flash;
pub mod net;
pub mod rng;
pub mod uart;

pub use rng::Rng;

/// Virtual time: microseconds since the world began.
pub type Micros = u64;
