//! Tests of the whole engine over a strict NOR flash in memory.

mod flash;
mod journal;
mod rules;
mod set;
mod upgrade;
mod versions;
mod world;
