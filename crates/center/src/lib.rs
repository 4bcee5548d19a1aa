#![forbid(unsafe_code)]
//! The Developer Center: who runs which version, who shall run which, and the packages for it.
//!
//! | module | holds |
//! |---|---|
//! | [`domain`] | the rules, pure |
//! | [`store`] | where entities live: memory, SQLite |
//! | [`access`] | who calls: accounts, log-in, API tokens |
//! | [`blobs`] | the packages' files |
//! | [`backup`] | a copy of all data while it is used |
//! | [`service`] | the application: load, ask the domain, commit, tell the device |
//! | [`commands`] | what a device is to be told: the border to the device endpoint |
//! | [`deliver`] | sends what webhooks are told |
//! | [`device`] | the LwM2M server on UDP |
//! | [`api`] | REST |
//! | [`ui`] | the pages |
//!
//! [`Center::open`] opens the data and binds the addresses, [`Center::serve`] serves.

pub mod access;
pub mod api;
mod backup;
pub mod blobs;
mod center;
pub mod commands;
pub mod deliver;
pub mod device;
pub mod domain;
pub mod service;
pub mod store;
pub mod ui;

pub use backup::{Copied, backup};
pub use center::{Center, Config, DEFAULT_PLAN_OBJECT, Stop};

/// The present time: the one place where the Center reads a clock.
pub(crate) fn now() -> domain::Time {
    jiff::Timestamp::now().as_millisecond()
}
