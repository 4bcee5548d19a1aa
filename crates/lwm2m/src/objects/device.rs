//! /3 Device.

use super::{Kind, Operations, ResourceDef};

/// Object id.
pub const OBJECT_ID: u16 = 3;

/// Resource ids.
pub mod resource {
    /// Manufacturer.
    pub const MANUFACTURER: u16 = 0;
    /// Model.
    pub const MODEL_NUMBER: u16 = 1;
    /// Serial number.
    pub const SERIAL_NUMBER: u16 = 2;
    /// Version of the module's own firmware.
    pub const FIRMWARE_VERSION: u16 = 3;
    /// Restart the module.
    pub const REBOOT: u16 = 4;
    /// Battery in %, 0..=100.
    pub const BATTERY_LEVEL: u16 = 9;
    /// Free memory in kB.
    pub const MEMORY_FREE: u16 = 10;
    /// Error codes, 0 = none.
    pub const ERROR_CODE: u16 = 11;
    /// Supported binding, `U`.
    pub const BINDING: u16 = 16;
    /// Version of the component's software.
    pub const SOFTWARE_VERSION: u16 = 19;
}

/// The resources.
pub const RESOURCES: &[ResourceDef] = &[
    ResourceDef::optional(resource::MANUFACTURER, Operations::Read, Kind::String),
    ResourceDef::optional(resource::MODEL_NUMBER, Operations::Read, Kind::String),
    ResourceDef::optional(resource::SERIAL_NUMBER, Operations::Read, Kind::String),
    ResourceDef::optional(resource::FIRMWARE_VERSION, Operations::Read, Kind::String),
    ResourceDef::mandatory(resource::REBOOT, Operations::Execute, Kind::None),
    ResourceDef::optional(resource::BATTERY_LEVEL, Operations::Read, Kind::Integer),
    ResourceDef::optional(resource::MEMORY_FREE, Operations::Read, Kind::Integer),
    ResourceDef::new(
        resource::ERROR_CODE,
        Operations::Read,
        Kind::Integer,
        true,
        true,
    ),
    ResourceDef::mandatory(resource::BINDING, Operations::Read, Kind::String),
    ResourceDef::optional(resource::SOFTWARE_VERSION, Operations::Read, Kind::String),
];
