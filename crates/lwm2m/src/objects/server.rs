//! /1 Server: how the client keeps its registration.

use super::{Kind, Operations, ResourceDef};

/// Object id.
pub const OBJECT_ID: u16 = 1;

/// Resource ids.
pub mod resource {
    /// Short server id, 1..=65534.
    pub const SHORT_SERVER_ID: u16 = 0;
    /// Lifetime in s.
    pub const LIFETIME: u16 = 1;
    /// Default minimum period of notifications in s.
    pub const MIN_PERIOD: u16 = 2;
    /// Default maximum period of notifications in s.
    pub const MAX_PERIOD: u16 = 3;
    /// Keep notifications while offline.
    pub const NOTIFICATION_STORING: u16 = 6;
    /// Binding, `U`.
    pub const BINDING: u16 = 7;
    /// Registration Update Trigger.
    pub const UPDATE_TRIGGER: u16 = 8;
}

/// The resources.
pub const RESOURCES: &[ResourceDef] = &[
    ResourceDef::mandatory(resource::SHORT_SERVER_ID, Operations::Read, Kind::Integer),
    ResourceDef::mandatory(resource::LIFETIME, Operations::ReadWrite, Kind::Integer),
    ResourceDef::optional(resource::MIN_PERIOD, Operations::ReadWrite, Kind::Integer),
    ResourceDef::optional(resource::MAX_PERIOD, Operations::ReadWrite, Kind::Integer),
    ResourceDef::mandatory(
        resource::NOTIFICATION_STORING,
        Operations::ReadWrite,
        Kind::Boolean,
    ),
    ResourceDef::mandatory(resource::BINDING, Operations::ReadWrite, Kind::String),
    ResourceDef::mandatory(resource::UPDATE_TRIGGER, Operations::Execute, Kind::None),
];
