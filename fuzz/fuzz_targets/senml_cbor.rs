//! See `sota_fuzz::records`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sota_fuzz::records::run_senml_cbor(data));
