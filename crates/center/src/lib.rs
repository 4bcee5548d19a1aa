#![forbid(unsafe_code)]
//! The Developer Center: who runs which version, who shall run which, and the packages for it.
//!
//! | module | holds |
//! |---|---|
//! | [`domain`] | the rules, pure |
//! | [`store`] | where entities live: memory, SQLite |
//! | [`blobs`] | the packages' files |
//! | [`service`] | the application: load, ask the domain, commit, tell the device |
//! | [`commands`] | what a device is to be told: the border to the device endpoint |

pub mod blobs;
pub mod commands;
pub mod domain;
pub mod service;
pub mod store;
