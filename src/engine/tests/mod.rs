//! Tests of the whole engine over a strict NOR flash in memory.

#[allow(dead_code)]
mod flash;
