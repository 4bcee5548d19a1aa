//! Tests of the whole engine over a strict NOR flash in memory.

mod flash;
mod upgrade;
mod world;
