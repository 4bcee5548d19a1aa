//! A component of a client without Plan object: which resources of /5, /9 or /33629 it is, and its results.

use sota_errors::Reason;
use sota_lwm2m::{ContentFormat, Path};

use super::super::outgoing::{Outgoing, Purpose};
use super::FIRMWARE;
use crate::domain::{ComponentKind, ReportedComponent};

pub(super) const FIRMWARE_UPDATE: u16 = 5;
pub(super) const SOFTWARE_MANAGEMENT: u16 = 9;
pub(super) const ADVANCED_FIRMWARE_UPDATE: u16 = 33629;

/// One component of such a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Component {
    pub(super) object: u16,
    pub(super) instance: u16,
    pub(super) name: Option<String>,
    pub(super) version: Option<String>,
}

impl Component {
    pub(super) fn path(&self, resource: u16) -> Path {
        Path::resource(self.object, self.instance, resource)
    }

    pub(super) fn is_software(&self) -> bool {
        self.object == SOFTWARE_MANAGEMENT
    }

    pub(super) fn uri(&self) -> Path {
        self.path(if self.is_software() { 3 } else { 1 })
    }

    pub(super) fn update(&self) -> Path {
        self.path(if self.is_software() { 4 } else { 2 })
    }

    pub(super) fn state(&self) -> Path {
        self.path(if self.is_software() { 7 } else { 3 })
    }

    pub(super) fn result(&self) -> Path {
        self.path(if self.is_software() { 9 } else { 5 })
    }

    /// States in which it downloads.
    pub(super) fn downloading(&self) -> std::ops::RangeInclusive<u64> {
        1..=if self.is_software() { 2 } else { 1 }
    }

    /// The state in which it can be updated.
    pub(super) fn downloaded(&self) -> u64 {
        if self.is_software() { 3 } else { 2 }
    }

    /// The result that is success.
    pub(super) fn success(&self) -> u64 {
        if self.is_software() { 2 } else { 1 }
    }

    pub(super) fn name_path(&self) -> Option<Path> {
        match self.object {
            SOFTWARE_MANAGEMENT => Some(self.path(0)),
            ADVANCED_FIRMWARE_UPDATE => Some(self.path(14)),
            _ => None,
        }
    }

    pub(super) fn version_path(&self) -> Path {
        match self.object {
            SOFTWARE_MANAGEMENT => self.path(1),
            ADVANCED_FIRMWARE_UPDATE => self.path(15),
            _ => Path::resource(3, 0, 3),
        }
    }

    pub(super) fn kind(&self) -> ComponentKind {
        // /33629 instance 0 is the module itself by the habit of its users; the others are what is behind it.
        match (self.object, self.instance) {
            (FIRMWARE_UPDATE, _) | (ADVANCED_FIRMWARE_UPDATE, 0) => ComponentKind::Firmware,
            _ => ComponentKind::Mcu,
        }
    }

    pub(super) fn identifier(&self) -> Option<String> {
        match self.object {
            FIRMWARE_UPDATE => Some(FIRMWARE.to_owned()),
            _ => self.name.clone().filter(|name| !name.is_empty()),
        }
    }

    pub(super) fn reported(&self) -> Option<ReportedComponent> {
        let version = self.version.clone()?;
        Some(ReportedComponent {
            identifier: self.identifier()?,
            kind: self.kind(),
            version,
        })
    }
}

/// The empty URI resets /5 and /33629 to idle; /9 has no such thing.
pub(super) fn reset(component: &Component) -> Vec<Outgoing> {
    if component.is_software() {
        return Vec::new();
    }
    let purpose = Purpose::Cancel {
        offer: String::new(),
    };
    vec![Outgoing::write(
        purpose,
        component.uri(),
        ContentFormat::Text,
        Vec::new(),
    )]
}

/// The line of the catalogue for an Update Result; `None` when it is no failure.
pub(super) fn reason(software: bool, result: u64) -> Option<u16> {
    let reason = match (software, result) {
        (true, 0..=3) | (false, 0 | 1) => return None,
        (true, 50 | 51) | (false, 2 | 3) => Reason::NotEnoughSpace,
        (true, 52) | (false, 4) => Reason::NetworkDown,
        (true, 53) | (false, 5) => Reason::DigestMismatch,
        (true, 56) | (false, 7) => Reason::BadPackageUri,
        (false, 9) => Reason::UnsupportedProtocol,
        (false, 10) => Reason::Cancelled,
        _ => Reason::ModuleUpdateFailed,
    };
    Some(reason.number())
}
