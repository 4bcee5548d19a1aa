//! See `sota_fuzz::coap`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sota_fuzz::coap::run(data));
