//! /5 Firmware Update, and /33629 Advanced Firmware Update, which is the same once per component.

use super::{Kind, Operations, ResourceDef};

/// Object id of Firmware Update: the module itself, one instance.
pub const OBJECT_ID: u16 = 5;
/// Object id of Advanced Firmware Update: one instance per component.
pub const ADVANCED_OBJECT_ID: u16 = 33629;

/// Resource ids.
pub mod resource {
    /// The package itself (push).
    pub const PACKAGE: u16 = 0;
    /// Where the package is; writing it starts the download, an empty one resets.
    pub const PACKAGE_URI: u16 = 1;
    /// Install; only in Downloaded.
    pub const UPDATE: u16 = 2;
    /// [`State`](super::State).
    pub const STATE: u16 = 3;
    /// [`UpdateResult`](super::UpdateResult).
    pub const UPDATE_RESULT: u16 = 5;
    /// Name of the package.
    pub const PACKAGE_NAME: u16 = 6;
    /// Version of the package.
    pub const PACKAGE_VERSION: u16 = 7;
    /// Protocols for pull: 0 CoAP, 1 CoAPS.
    pub const PROTOCOLS: u16 = 8;
    /// 0 pull, 1 push, 2 both.
    pub const DELIVERY: u16 = 9;
    /// Stop before Updating.
    pub const CANCEL: u16 = 10;
    /// /33629 only: name of the component.
    pub const COMPONENT_NAME: u16 = 14;
    /// /33629 only: version the component runs.
    pub const CURRENT_VERSION: u16 = 15;
}

/// The resources of /5.
pub const RESOURCES: &[ResourceDef] = &[
    ResourceDef::mandatory(resource::PACKAGE, Operations::Write, Kind::Opaque),
    ResourceDef::mandatory(resource::PACKAGE_URI, Operations::ReadWrite, Kind::String),
    ResourceDef::mandatory(resource::UPDATE, Operations::Execute, Kind::None),
    ResourceDef::mandatory(resource::STATE, Operations::Read, Kind::Integer),
    ResourceDef::mandatory(resource::UPDATE_RESULT, Operations::Read, Kind::Integer),
    ResourceDef::optional(resource::PACKAGE_NAME, Operations::Read, Kind::String),
    ResourceDef::optional(resource::PACKAGE_VERSION, Operations::Read, Kind::String),
    ResourceDef::new(
        resource::PROTOCOLS,
        Operations::Read,
        Kind::Integer,
        true,
        false,
    ),
    ResourceDef::mandatory(resource::DELIVERY, Operations::Read, Kind::Integer),
    ResourceDef::optional(resource::CANCEL, Operations::Execute, Kind::None),
];

/// The resources of /33629.
pub const ADVANCED_RESOURCES: &[ResourceDef] = &[
    ResourceDef::mandatory(resource::PACKAGE, Operations::Write, Kind::Opaque),
    ResourceDef::mandatory(resource::PACKAGE_URI, Operations::ReadWrite, Kind::String),
    ResourceDef::mandatory(resource::UPDATE, Operations::Execute, Kind::None),
    ResourceDef::mandatory(resource::STATE, Operations::Read, Kind::Integer),
    ResourceDef::mandatory(resource::UPDATE_RESULT, Operations::Read, Kind::Integer),
    ResourceDef::optional(resource::PACKAGE_NAME, Operations::Read, Kind::String),
    ResourceDef::optional(resource::PACKAGE_VERSION, Operations::Read, Kind::String),
    ResourceDef::new(
        resource::PROTOCOLS,
        Operations::Read,
        Kind::Integer,
        true,
        false,
    ),
    ResourceDef::mandatory(resource::DELIVERY, Operations::Read, Kind::Integer),
    ResourceDef::optional(resource::CANCEL, Operations::Execute, Kind::None),
    ResourceDef::optional(resource::COMPONENT_NAME, Operations::Read, Kind::String),
    ResourceDef::mandatory(resource::CURRENT_VERSION, Operations::Read, Kind::String),
];

/// Resource 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// No package.
    Idle = 0,
    /// The package is being downloaded.
    Downloading = 1,
    /// The package is there and verified.
    Downloaded = 2,
    /// The package is being installed.
    Updating = 3,
}

impl State {
    /// The value with this number; `None`: the standard has none.
    pub const fn from_number(number: u64) -> Option<State> {
        Some(match number {
            0 => State::Idle,
            1 => State::Downloading,
            2 => State::Downloaded,
            3 => State::Updating,
            _ => return None,
        })
    }

    /// The number on the wire.
    pub const fn number(self) -> u8 {
        self as u8
    }
}

/// Resource 5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum UpdateResult {
    /// No result yet.
    Initial = 0,
    /// Updated.
    Success = 1,
    /// Not enough flash.
    NotEnoughFlash = 2,
    /// Out of RAM.
    OutOfRam = 3,
    /// Connection lost.
    ConnectionLost = 4,
    /// Integrity check failed.
    IntegrityFailed = 5,
    /// Unsupported package type.
    UnsupportedType = 6,
    /// Invalid URI.
    InvalidUri = 7,
    /// The update failed.
    UpdateFailed = 8,
    /// Unsupported protocol.
    UnsupportedProtocol = 9,
    /// Cancelled (1.1).
    Cancelled = 10,
    /// Deferred (1.1).
    Deferred = 11,
    /// /33629: another component's state conflicts.
    ConflictingState = 12,
    /// /33629: another component's version does not fit.
    DependencyError = 13,
}

impl UpdateResult {
    /// The value with this number; `None`: the standard has none.
    pub const fn from_number(number: u64) -> Option<UpdateResult> {
        Some(match number {
            0 => UpdateResult::Initial,
            1 => UpdateResult::Success,
            2 => UpdateResult::NotEnoughFlash,
            3 => UpdateResult::OutOfRam,
            4 => UpdateResult::ConnectionLost,
            5 => UpdateResult::IntegrityFailed,
            6 => UpdateResult::UnsupportedType,
            7 => UpdateResult::InvalidUri,
            8 => UpdateResult::UpdateFailed,
            9 => UpdateResult::UnsupportedProtocol,
            10 => UpdateResult::Cancelled,
            11 => UpdateResult::Deferred,
            12 => UpdateResult::ConflictingState,
            13 => UpdateResult::DependencyError,
            _ => return None,
        })
    }

    /// The number on the wire.
    pub const fn number(self) -> u8 {
        self as u8
    }
}
