//! /4 Connectivity Monitoring.

use super::{Kind, Operations, ResourceDef};

/// Object id.
pub const OBJECT_ID: u16 = 4;

/// Resource ids.
pub mod resource {
    /// Network bearer in use; 7 = NB-IoT.
    pub const BEARER: u16 = 0;
    /// Network bearers there are.
    pub const AVAILABLE_BEARERS: u16 = 1;
    /// Radio signal strength; on NB-IoT RSRP in dBm.
    pub const SIGNAL_STRENGTH: u16 = 2;
    /// Link quality.
    pub const LINK_QUALITY: u16 = 3;
    /// IP addresses.
    pub const IP_ADDRESSES: u16 = 4;
    /// Cell.
    pub const CELL_ID: u16 = 8;
}

/// The resources.
pub const RESOURCES: &[ResourceDef] = &[
    ResourceDef::mandatory(resource::BEARER, Operations::Read, Kind::Integer),
    ResourceDef::new(
        resource::AVAILABLE_BEARERS,
        Operations::Read,
        Kind::Integer,
        true,
        true,
    ),
    ResourceDef::mandatory(resource::SIGNAL_STRENGTH, Operations::Read, Kind::Integer),
    ResourceDef::optional(resource::LINK_QUALITY, Operations::Read, Kind::Integer),
    ResourceDef::new(
        resource::IP_ADDRESSES,
        Operations::Read,
        Kind::String,
        true,
        true,
    ),
    ResourceDef::optional(resource::CELL_ID, Operations::Read, Kind::Integer),
];
