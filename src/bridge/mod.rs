//! See the module's README line in `lib.rs`.
