//! See `sota_fuzz::transfer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sota_fuzz::transfer::run(data));
