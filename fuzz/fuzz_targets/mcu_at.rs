//! See `sota_fuzz::mcu_at`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sota_fuzz::mcu_at::run(data));
