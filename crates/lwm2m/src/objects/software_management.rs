//! /9 Software Management: one instance per MCU component.

use super::{Kind, Operations, ResourceDef};

/// Object id.
pub const OBJECT_ID: u16 = 9;

/// Resource ids.
pub mod resource {
    /// Component identifier.
    pub const PACKAGE_NAME: u16 = 0;
    /// Version the component runs.
    pub const PACKAGE_VERSION: u16 = 1;
    /// The package itself (push).
    pub const PACKAGE: u16 = 2;
    /// Where the package is; writing it starts the download.
    pub const PACKAGE_URI: u16 = 3;
    /// Install; only in Delivered.
    pub const INSTALL: u16 = 4;
    /// Uninstall.
    pub const UNINSTALL: u16 = 6;
    /// [`UpdateState`](super::UpdateState).
    pub const UPDATE_STATE: u16 = 7;
    /// [`UpdateResult`](super::UpdateResult).
    pub const UPDATE_RESULT: u16 = 9;
    /// Activate.
    pub const ACTIVATE: u16 = 10;
    /// Deactivate.
    pub const DEACTIVATE: u16 = 11;
    /// Is it active?
    pub const ACTIVATION_STATE: u16 = 12;
}

/// The resources.
pub const RESOURCES: &[ResourceDef] = &[
    ResourceDef::mandatory(resource::PACKAGE_NAME, Operations::Read, Kind::String),
    ResourceDef::mandatory(resource::PACKAGE_VERSION, Operations::Read, Kind::String),
    ResourceDef::optional(resource::PACKAGE, Operations::Write, Kind::Opaque),
    ResourceDef::optional(resource::PACKAGE_URI, Operations::Write, Kind::String),
    ResourceDef::mandatory(resource::INSTALL, Operations::Execute, Kind::None),
    ResourceDef::mandatory(resource::UNINSTALL, Operations::Execute, Kind::None),
    ResourceDef::mandatory(resource::UPDATE_STATE, Operations::Read, Kind::Integer),
    ResourceDef::mandatory(resource::UPDATE_RESULT, Operations::Read, Kind::Integer),
    ResourceDef::mandatory(resource::ACTIVATE, Operations::Execute, Kind::None),
    ResourceDef::mandatory(resource::DEACTIVATE, Operations::Execute, Kind::None),
    ResourceDef::mandatory(resource::ACTIVATION_STATE, Operations::Read, Kind::Boolean),
];

/// Resource 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum UpdateState {
    /// No package.
    Initial = 0,
    /// The download began.
    DownloadStarted = 1,
    /// Downloaded, not verified.
    Downloaded = 2,
    /// Downloaded and verified.
    Delivered = 3,
    /// Installed.
    Installed = 4,
}

impl UpdateState {
    /// The value with this number; `None`: the standard has none.
    pub const fn from_number(number: u64) -> Option<UpdateState> {
        Some(match number {
            0 => UpdateState::Initial,
            1 => UpdateState::DownloadStarted,
            2 => UpdateState::Downloaded,
            3 => UpdateState::Delivered,
            4 => UpdateState::Installed,
            _ => return None,
        })
    }

    /// The number on the wire.
    pub const fn number(self) -> u8 {
        self as u8
    }
}

/// Resource 9.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum UpdateResult {
    /// No result yet.
    Initial = 0,
    /// Downloading.
    Downloading = 1,
    /// Installed.
    Installed = 2,
    /// Downloaded and verified.
    Verified = 3,
    /// Not enough storage.
    NotEnoughStorage = 50,
    /// Out of memory.
    OutOfMemory = 51,
    /// Connection lost.
    ConnectionLost = 52,
    /// Integrity check failed.
    IntegrityFailed = 53,
    /// Unsupported package type.
    UnsupportedType = 54,
    /// Invalid URI.
    InvalidUri = 56,
    /// An error the device defines.
    DeviceError = 57,
    /// The installation failed.
    InstallFailed = 58,
    /// The removal failed.
    UninstallFailed = 59,
}

impl UpdateResult {
    /// The value with this number; `None`: the standard has none.
    pub const fn from_number(number: u64) -> Option<UpdateResult> {
        Some(match number {
            0 => UpdateResult::Initial,
            1 => UpdateResult::Downloading,
            2 => UpdateResult::Installed,
            3 => UpdateResult::Verified,
            50 => UpdateResult::NotEnoughStorage,
            51 => UpdateResult::OutOfMemory,
            52 => UpdateResult::ConnectionLost,
            53 => UpdateResult::IntegrityFailed,
            54 => UpdateResult::UnsupportedType,
            56 => UpdateResult::InvalidUri,
            57 => UpdateResult::DeviceError,
            58 => UpdateResult::InstallFailed,
            59 => UpdateResult::UninstallFailed,
            _ => return None,
        })
    }

    /// The number on the wire.
    pub const fn number(self) -> u8 {
        self as u8
    }
}
