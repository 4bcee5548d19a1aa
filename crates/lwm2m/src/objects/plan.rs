//! The Plan object: what standard LwM2M lacks for a SOTA plan. Ours, not registered with OMA yet.
//!
//! Multi-instance, one instance per component: instance 0 is the module's own firmware, instance `m + 1`
//! is MCU component `m` (whose Software Management instance is `/9/m`).
//!
//! | id | name | ops | type | unit, range |
//! |---|---|---|---|---|
//! | 0 | Plan | W R | string | at most 64 bytes; the Center's name of the offer, opaque to the device |
//! | 1 | Component | W R | string | component identifier, at most 32 bytes |
//! | 2 | Component Type | W R | integer | 0 Firmware, 1 MCU |
//! | 3 | Source Version | W R | string | at most 64 bytes, empty = any |
//! | 4 | Target Version | W R | string | at most 64 bytes |
//! | 5 | Battery Limit | W R | integer | 0..100 % |
//! | 6 | Minimum Signal | W R | integer | RSRP, -156..-31 dBm |
//! | 7 | Use Space | W R | unsigned | bytes |
//! | 8 | Package Length | W R | unsigned | bytes |
//! | 9 | MD5 | W R | opaque | 16 bytes |
//! | 10 | CRC-32 | W R | unsigned | CRC-32/ISO-HDLC |
//! | 11 | SHA-256 | W R | opaque | 32 bytes |
//! | 12 | Package URI | W R | string | at most 255 bytes |
//! | 13 | State | R | integer | [`State`] 0..12 |
//! | 14 | Host Answer | R | integer | 0 refused, 1 confirmed; absent before the host answered |
//! | 15 | Failure Number | R | integer | `docs/errors.md`, 0 = none |
//! | 16 | Failure Text | R | string | the reason's name (`docs/errors.md`), at most 64 bytes |
//! | 17 | Cancel | E | | |
//! | 18 | Request | R | integer | sent when the host asks for a plan: 0 without, 1 with SHA-256 wanted |
//! | 19 | Current Version | R | string | version this component runs, at most 64 bytes |
//! | 20 | Progress | R | unsigned | bytes of the package that are durable on the device |
//! | 21 | Components | W R | unsigned | 1..5 components that the plan offers together; 1 when it is missing |
//!
//! An **offer** is one Write of one instance with resources 0..=7 and 21, **download information** one Write with
//! 0 and 8..=12: each is one CoAP request and so atomic. Offers of the same name (0) are one **set**: the host is
//! asked once, when as many instances as 21 says have theirs.

use heapless::String;

use super::{Kind, Operations, ResourceDef};
use Kind::{Integer, Opaque, String as Text, Unsigned};
use Operations::{Execute, Read, ReadWrite};

mod wire;
pub use wire::{Report, read_download_info, read_offer, reported};
#[cfg(feature = "server")]
pub use wire::{write_download_info, write_offer};
#[cfg(test)]
mod wire_tests;

/// The resources: the table above, in `docs/lwm2m/42769.xml` and here the same (a test compares).
pub const RESOURCES: &[ResourceDef] = &[
    ResourceDef::optional(resource::PLAN, ReadWrite, Text),
    ResourceDef::optional(resource::COMPONENT, ReadWrite, Text),
    ResourceDef::optional(resource::COMPONENT_TYPE, ReadWrite, Integer),
    ResourceDef::optional(resource::SOURCE_VERSION, ReadWrite, Text),
    ResourceDef::optional(resource::TARGET_VERSION, ReadWrite, Text),
    ResourceDef::optional(resource::BATTERY_LIMIT, ReadWrite, Integer),
    ResourceDef::optional(resource::MINIMUM_SIGNAL, ReadWrite, Integer),
    ResourceDef::optional(resource::USE_SPACE, ReadWrite, Unsigned),
    ResourceDef::optional(resource::PACKAGE_LENGTH, ReadWrite, Unsigned),
    ResourceDef::optional(resource::MD5, ReadWrite, Opaque),
    ResourceDef::optional(resource::CRC32, ReadWrite, Unsigned),
    ResourceDef::optional(resource::SHA256, ReadWrite, Opaque),
    ResourceDef::optional(resource::PACKAGE_URI, ReadWrite, Text),
    ResourceDef::mandatory(resource::STATE, Read, Integer),
    ResourceDef::optional(resource::HOST_ANSWER, Read, Integer),
    ResourceDef::optional(resource::FAILURE_NUMBER, Read, Integer),
    ResourceDef::optional(resource::FAILURE_TEXT, Read, Text),
    ResourceDef::mandatory(resource::CANCEL, Execute, Kind::None),
    ResourceDef::optional(resource::REQUEST, Read, Integer),
    ResourceDef::mandatory(resource::CURRENT_VERSION, Read, Text),
    ResourceDef::optional(resource::PROGRESS, Read, Unsigned),
    ResourceDef::optional(resource::COMPONENTS, ReadWrite, Unsigned),
];

/// Default Object ID (the range for tests); `CONFIG_SOTA_PLAN_OBJECT_ID`, `--plan-object`.
pub const DEFAULT_OBJECT_ID: u16 = 42769;

/// Resource ids, see the table above.
#[allow(missing_docs)]
pub mod resource {
    pub const PLAN: u16 = 0;
    pub const COMPONENT: u16 = 1;
    pub const COMPONENT_TYPE: u16 = 2;
    pub const SOURCE_VERSION: u16 = 3;
    pub const TARGET_VERSION: u16 = 4;
    pub const BATTERY_LIMIT: u16 = 5;
    pub const MINIMUM_SIGNAL: u16 = 6;
    pub const USE_SPACE: u16 = 7;
    pub const PACKAGE_LENGTH: u16 = 8;
    pub const MD5: u16 = 9;
    pub const CRC32: u16 = 10;
    pub const SHA256: u16 = 11;
    pub const PACKAGE_URI: u16 = 12;
    pub const STATE: u16 = 13;
    pub const HOST_ANSWER: u16 = 14;
    pub const FAILURE_NUMBER: u16 = 15;
    pub const FAILURE_TEXT: u16 = 16;
    pub const CANCEL: u16 = 17;
    pub const REQUEST: u16 = 18;
    pub const CURRENT_VERSION: u16 = 19;
    pub const PROGRESS: u16 = 20;
    pub const COMPONENTS: u16 = 21;
}

/// Greatest length of a plan's name on the wire, in bytes.
pub const PLAN_LEN: usize = 64;
/// Greatest length of a component identifier, in bytes (SetMcuVersion).
pub const COMPONENT_LEN: usize = 32;
/// Greatest length of a version, in bytes (SetMcuVersion).
pub const VERSION_LEN: usize = 64;
/// Most components that a device has and a plan offers together: the module and four MCUs.
pub const COMPONENTS_MAX: u8 = 5;
/// Greatest length of a package's URI, in bytes.
pub const URI_LEN: usize = 255;

/// Component identifier.
pub type ComponentName = String<COMPONENT_LEN>;
/// Version of a component.
pub type Version = String<VERSION_LEN>;

/// What a component is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum ComponentType {
    /// The module's own firmware (FOTA).
    Firmware = 0,
    /// Software of an external MCU (SOTA).
    #[default]
    Mcu = 1,
}

/// The device's upgrade state as reported to the Center. 7 and 10 are not used by the protocol.
///
/// | state | means | leaves to |
/// |---|---|---|
/// | 0 None | no plan | 1 |
/// | 1 PlanReceived | 10700 given, host not asked yet | 2, 3, 12 |
/// | 2 Confirmed | host confirmed, waits for download information | 4, 11, 12 |
/// | 3 Refused | host refused | 0 |
/// | 4 DownloadStarts | download information is there | 5, 6, 11, 12 |
/// | 5 Downloading | blocks arrive | 6, 8, 11, 12 |
/// | 6 DownloadError | one failure counted | 0, 4, 11, 12 |
/// | 8 Downloaded | one piece is readable | 4, 9, 11, 12 |
/// | 9 Updating | the MCU flashes | 11, 12 |
/// | 11 Success | target version reported | 0 |
/// | 12 Failure | see the reason | 0 |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum State {
    #[default]
    None = 0,
    PlanReceived = 1,
    Confirmed = 2,
    Refused = 3,
    DownloadStarts = 4,
    Downloading = 5,
    DownloadError = 6,
    Downloaded = 8,
    Updating = 9,
    Success = 11,
    Failure = 12,
}

impl State {
    /// The state with this number.
    pub const fn from_number(number: u8) -> Option<State> {
        Some(match number {
            0 => State::None,
            1 => State::PlanReceived,
            2 => State::Confirmed,
            3 => State::Refused,
            4 => State::DownloadStarts,
            5 => State::Downloading,
            6 => State::DownloadError,
            8 => State::Downloaded,
            9 => State::Updating,
            11 => State::Success,
            12 => State::Failure,
            _ => return None,
        })
    }

    /// The number on the wire.
    pub const fn number(self) -> u8 {
        self as u8
    }
}

/// What the Center offers for one component (resources 0..=7 and 21).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// The Center's name of this offer, the same for every component of a set.
    pub plan: String<PLAN_LEN>,
    /// Component to be upgraded.
    pub component: ComponentName,
    /// Firmware or MCU.
    pub kind: ComponentType,
    /// Version it must run now; empty = any.
    pub source: Version,
    /// Version it runs afterwards; empty = any new one (a foreign server's plan).
    pub target: Version,
    /// Minimum battery in %, 0 = no limit.
    pub battery_limit_percent: u8,
    /// Minimum RSRP in dBm, 0 = no limit.
    pub min_signal_dbm: i16,
    /// Bytes the package needs.
    pub use_space: u32,
    /// Components offered together, this one counted; 0 and 1: this one alone.
    pub components: u8,
}

/// Where the package is and what it must be (resources 0 and 8..=12).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DownloadInfo {
    /// The offer this belongs to.
    pub plan: String<PLAN_LEN>,
    /// Package length in bytes.
    pub length: u32,
    /// MD5 over the package.
    pub md5: Option<[u8; 16]>,
    /// CRC-32/ISO-HDLC over the package.
    pub crc32: Option<u32>,
    /// SHA-256 over the package.
    pub sha256: Option<[u8; 32]>,
    /// `coap://host[:port]/path`.
    pub uri: String<URI_LEN>,
}
