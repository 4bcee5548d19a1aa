//! See `sota_fuzz::links`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sota_fuzz::links::run(data));
