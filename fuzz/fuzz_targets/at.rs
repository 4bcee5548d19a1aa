//! See `sota_fuzz::at`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sota_fuzz::at::run(data));
