//! See `sota_fuzz::mcu`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sota_fuzz::mcu::run(data));
