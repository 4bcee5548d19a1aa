//! See `sota_fuzz::client`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sota_fuzz::client::run(data));
