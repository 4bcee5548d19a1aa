//! The parts of a client that can be upgraded with the standard's objects, and where each has what.
//!
//! | | /5 | /33629 | /9 |
//! |---|---|---|---|
//! | package URI | 1 | 1 | 3 |
//! | update, install | 2 | 2 | 4 |
//! | state | 3 | 3 | 7 |
//! | result | 5 | 5 | 9 |
//! | name | none | 14 | 0 |
//! | version | /3/0/3 | 15 | 1 |
//! | states in which it downloads | 1 | 1 | 1, 2 |
//! | state in which it can be updated | 2 | 2 | 3 |
//! | result that is success | 1 | 1 | 2 |
//!
//! (OMA registry: /5 1.1, /9 1.0, /33629 1.0; /3 1.1 for the version of /5.)

use core::ops::RangeInclusive;

use sota_errors::Reason;

use crate::Path;
use crate::objects::plan::ComponentType;
use crate::objects::{device, firmware_update as firmware, software_management as software};

/// One part: an instance of /5, /9 or /33629.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Component {
    object: u16,
    instance: u16,
}

/// The parts among the objects and instances that a client registered, in the order they come. /5 is left out when
/// the client has /33629, which is the same with more parts; the caller takes out repetitions.
pub fn components(
    paths: impl Iterator<Item = Path> + Clone,
) -> impl Iterator<Item = Component> + Clone {
    let advanced = paths
        .clone()
        .any(|path| path.object_id() == Some(firmware::ADVANCED_OBJECT_ID));
    paths.filter_map(move |path| {
        let component = Component::of(path)?;
        (component.object != firmware::OBJECT_ID || !advanced).then_some(component)
    })
}

impl Component {
    /// The part that this registered object or instance is; `None`: another object, or one of several instances
    /// without its number.
    pub fn of(path: Path) -> Option<Component> {
        let object = path.object_id()?;
        let instance = match object {
            // `</5>` without an instance still means /5/0.
            firmware::OBJECT_ID => path.instance_id().unwrap_or(0),
            software::OBJECT_ID | firmware::ADVANCED_OBJECT_ID => path.instance_id()?,
            _ => return None,
        };
        Some(Component { object, instance })
    }

    /// Firmware: the module itself. MCU: what is behind it.
    pub const fn kind(self) -> ComponentType {
        // /33629 instance 0 is the module itself by the habit of its users; the others are what is behind it.
        match (self.object, self.instance) {
            (firmware::OBJECT_ID, _) | (firmware::ADVANCED_OBJECT_ID, 0) => ComponentType::Firmware,
            _ => ComponentType::Mcu,
        }
    }

    /// It is the only part of its kind and has no name: /5.
    pub const fn is_nameless(self) -> bool {
        self.object == firmware::OBJECT_ID
    }

    /// An instance of /9.
    pub const fn is_software(self) -> bool {
        self.object == software::OBJECT_ID
    }

    const fn path(self, of_firmware: u16, of_software: u16) -> Path {
        let resource = if self.is_software() {
            of_software
        } else {
            of_firmware
        };
        Path::resource(self.object, self.instance, resource)
    }

    /// Writing it starts the download.
    pub const fn uri(self) -> Path {
        self.path(
            firmware::resource::PACKAGE_URI,
            software::resource::PACKAGE_URI,
        )
    }

    /// Executing it begins the update.
    pub const fn update(self) -> Path {
        self.path(firmware::resource::UPDATE, software::resource::INSTALL)
    }

    /// State of the upgrade.
    pub const fn state(self) -> Path {
        self.path(firmware::resource::STATE, software::resource::UPDATE_STATE)
    }

    /// Result of the upgrade.
    pub const fn result(self) -> Path {
        self.path(
            firmware::resource::UPDATE_RESULT,
            software::resource::UPDATE_RESULT,
        )
    }

    /// Its name; /5 has none.
    pub const fn name(self) -> Option<Path> {
        match self.is_nameless() {
            true => None,
            false => Some(self.path(
                firmware::resource::COMPONENT_NAME,
                software::resource::PACKAGE_NAME,
            )),
        }
    }

    /// The version it runs.
    pub const fn version(self) -> Path {
        match self.is_nameless() {
            true => Path::resource(device::OBJECT_ID, 0, device::resource::FIRMWARE_VERSION),
            false => self.path(
                firmware::resource::CURRENT_VERSION,
                software::resource::PACKAGE_VERSION,
            ),
        }
    }

    /// States in which it downloads.
    pub const fn downloading(self) -> RangeInclusive<u64> {
        match self.is_software() {
            true => {
                software::UpdateState::DownloadStarted as u64
                    ..=software::UpdateState::Downloaded as u64
            }
            false => firmware::State::Downloading as u64..=firmware::State::Downloading as u64,
        }
    }

    /// The state in which it can be updated.
    pub const fn downloaded(self) -> u64 {
        match self.is_software() {
            true => software::UpdateState::Delivered as u64,
            false => firmware::State::Downloaded as u64,
        }
    }

    /// The result that is success.
    pub const fn success(self) -> u64 {
        match self.is_software() {
            true => software::UpdateResult::Installed as u64,
            false => firmware::UpdateResult::Success as u64,
        }
    }

    /// What a result means: `None` when it is no failure, or not yet one.
    pub const fn failure(self, result: u64) -> Option<Reason> {
        Some(match (self.is_software(), result) {
            (true, 0..=3) | (false, 0 | 1) => return None,
            (true, 50 | 51) | (false, 2 | 3) => Reason::NotEnoughSpace,
            (true, 52) | (false, 4) => Reason::NetworkDown,
            (true, 53) | (false, 5) => Reason::DigestMismatch,
            (true, 56) | (false, 7) => Reason::BadPackageUri,
            (false, 9) => Reason::UnsupportedProtocol,
            (false, 10) => Reason::Cancelled,
            _ => Reason::ModuleUpdateFailed,
        })
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;
    use std::vec::Vec;

    fn of(links: &[&str]) -> Vec<Component> {
        components(links.iter().filter_map(|text| Path::parse(text))).collect()
    }

    #[test]
    fn which_objects_are_parts() {
        for (links, expected) in [
            (&["/1/0", "/3/0", "/5"][..], &[(5, 0)][..]),
            (&["/5/0", "/9", "/9/0", "/9/3"], &[(5, 0), (9, 0), (9, 3)]),
            (&["/5/0", "/33629/0", "/33629/1"], &[(33629, 0), (33629, 1)]),
            (&["/33629"], &[]),
            (&["/42769/0"], &[]),
        ] {
            let found: Vec<_> = of(links).iter().map(|c| (c.object, c.instance)).collect();
            assert_eq!(found, expected, "{links:?}");
        }
    }

    #[test]
    fn the_table_of_resources() {
        let rows = [
            (
                "/5/0", "/5/0/1", "/5/0/2", "/5/0/3", "/5/0/5", "", "/3/0/3", 1, 1, 2, 1,
            ),
            (
                "/33629/1",
                "/33629/1/1",
                "/33629/1/2",
                "/33629/1/3",
                "/33629/1/5",
                "/33629/1/14",
                "/33629/1/15",
                1,
                1,
                2,
                1,
            ),
            (
                "/9/2", "/9/2/3", "/9/2/4", "/9/2/7", "/9/2/9", "/9/2/0", "/9/2/1", 1, 2, 3, 2,
            ),
        ];
        for (link, uri, update, state, result, name, version, from, to, ready, success) in rows {
            let [c] = of(&[link])[..] else {
                panic!("{link}")
            };
            let paths = [c.uri(), c.update(), c.state(), c.result(), c.version()];
            let texts = paths.map(|path| path.to_string());
            assert_eq!(texts, [uri, update, state, result, version]);
            assert_eq!(c.name().map_or("".into(), |path| path.to_string()), name);
            assert_eq!(c.downloading(), from..=to);
            assert_eq!((c.downloaded(), c.success()), (ready, success));
        }
    }

    #[test]
    fn results_of_a_failure_have_a_reason() {
        use Reason::*;
        let firmware = [
            (2, NotEnoughSpace),
            (3, NotEnoughSpace),
            (4, NetworkDown),
            (5, DigestMismatch),
            (6, ModuleUpdateFailed),
            (7, BadPackageUri),
            (8, ModuleUpdateFailed),
            (9, UnsupportedProtocol),
            (10, Cancelled),
            (13, ModuleUpdateFailed),
            (u64::MAX, ModuleUpdateFailed),
        ];
        let software = [
            (50, NotEnoughSpace),
            (51, NotEnoughSpace),
            (52, NetworkDown),
            (53, DigestMismatch),
            (54, ModuleUpdateFailed),
            (56, BadPackageUri),
            (58, ModuleUpdateFailed),
        ];
        for (link, fine, failures) in [
            ("/5/0", 0..=1, &firmware[..]),
            ("/33629/0", 0..=1, &firmware),
            ("/9/0", 0..=3, &software),
        ] {
            let [c] = of(&[link])[..] else {
                panic!("{link}")
            };
            for result in fine {
                assert_eq!(c.failure(result), None, "{link} {result}");
            }
            for (result, reason) in failures {
                assert_eq!(c.failure(*result), Some(*reason), "{link} {result}");
            }
        }
    }

    #[test]
    fn what_is_the_module_itself() {
        let kinds: Vec<_> = of(&["/9/0", "/33629/0", "/33629/1"])
            .iter()
            .map(|c| c.kind())
            .collect();
        use ComponentType::*;
        assert_eq!(kinds, [Mcu, Firmware, Mcu]);
        assert_eq!(of(&["/5/0"])[0].kind(), Firmware);
    }
}
