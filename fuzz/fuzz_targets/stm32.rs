//! See `sota_fuzz::rom`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sota_fuzz::rom::run(data));
