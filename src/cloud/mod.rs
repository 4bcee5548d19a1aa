//! See the module's README line in `lib.rs`.

pub mod download;
pub mod uri;
