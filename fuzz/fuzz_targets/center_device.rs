//! See `sota_fuzz::center`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sota_fuzz::center::run(data));
