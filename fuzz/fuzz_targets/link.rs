//! See `sota_fuzz::link`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sota_fuzz::link::run(data));
