//! See `sota_fuzz::smp`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sota_fuzz::smp::run(data));
