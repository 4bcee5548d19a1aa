//! Versions of the MCU components (SetMcuVersion, GetMcuVersion) and the result of each component's last upgrade.
//!
//! A component keeps its place in the table as long as it is there: place m is `/9/m` and Plan
//! instance m + 1.

use heapless::String;

use super::record::{Reader, Writer};
use crate::message::{COMPONENTS, ComponentName, Reason, Version};
use crate::text::put;

/// MCU components.
pub(super) const MCUS: usize = COMPONENTS - 1;
/// All components share this many bytes as `c1:v1;c2:v2`.
pub const LIST_LEN: usize = 512;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Entry {
    name: ComponentName,
    version: Version,
}

/// Holds what parts the list or would end a string or a line for the host.
#[inline(never)]
pub(super) fn bad(text: &str) -> bool {
    text.bytes()
        .any(|b| matches!(b, b':' | b';' | b'"') || b < b' ')
}

/// The table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Versions {
    /// An empty name is a free place.
    entries: [Entry; MCUS],
    /// Per instance, 0 = the module.
    pub(super) last: [Option<Result<(), Reason>>; COMPONENTS],
}

impl Versions {
    /// SetMcuVersion: gives whether something changed.
    pub(super) fn set(&mut self, name: &ComponentName, version: &Version) -> Result<bool, Reason> {
        if name.is_empty() || bad(name) || bad(version) {
            return Err(Reason::NameTooLong);
        }
        let place = match self.entries.iter().position(|e| e.name == *name) {
            Some(place) => place,
            None if version.is_empty() => return Ok(false),
            None => self
                .entries
                .iter()
                .position(|e| e.name.is_empty())
                .ok_or(Reason::ComponentTableFull)?,
        };
        let others: usize = self
            .entries
            .iter()
            .enumerate()
            .filter(|(i, e)| *i != place && !e.name.is_empty())
            .map(|(_, e)| e.name.len() + e.version.len() + 2)
            .sum();
        if others + name.len() + 1 + version.len() > LIST_LEN {
            return Err(Reason::ComponentTableFull);
        }
        let Some(entry) = self.entries.get_mut(place) else {
            return Err(Reason::ComponentTableFull);
        };
        let name = if version.is_empty() {
            ""
        } else {
            name.as_str()
        };
        let renamed = entry.name != name;
        let changed = renamed || entry.version != *version;
        if renamed && let Some(last) = self.last.get_mut(place + 1) {
            *last = None;
        }
        let _ = put(&mut entry.name, name);
        let _ = put(&mut entry.version, version);
        Ok(changed)
    }

    /// Plan instance of this MCU component.
    pub(super) fn instance(&self, name: &str) -> Option<u8> {
        self.entries
            .iter()
            .position(|e| !name.is_empty() && e.name == name)
            .map(|place| place as u8 + 1)
    }

    /// Name and version of the MCU component at a place; empty for a free one.
    pub(super) fn place(&self, place: usize) -> Option<(&ComponentName, &Version)> {
        self.entries.get(place).map(|e| (&e.name, &e.version))
    }

    /// Names and versions, in the table's order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries
            .iter()
            .filter(|e| !e.name.is_empty())
            .map(|e| (e.name.as_str(), e.version.as_str()))
    }

    /// `c1:v1;c2:v2`.
    pub(super) fn list(&self) -> String<LIST_LEN> {
        let mut list = String::new();
        for (name, version) in self.iter() {
            let separator = if list.is_empty() { "" } else { ";" };
            for part in [separator, name, ":", version] {
                // Fits: `set` counted it.
                let _ = list.push_str(part);
            }
        }
        list
    }

    pub(super) fn encode(&self, w: &mut Writer) {
        for last in &self.last {
            w.u16(match last {
                None => u16::MAX,
                Some(Ok(())) => 0,
                Some(Err(reason)) => reason.number(),
            });
        }
        for entry in &self.entries {
            w.text(&entry.name);
            w.text(&entry.version);
        }
    }

    /// Into a table that knows nothing. With `None` it is what was read so far.
    #[inline(never)]
    pub(super) fn decode(&mut self, payload: &[u8]) -> Option<()> {
        let mut r = Reader(payload);
        for last in &mut self.last {
            *last = match r.u16()? {
                u16::MAX => None,
                0 => Some(Ok(())),
                number => Reason::from_number(number).map(Err),
            };
        }
        for entry in &mut self.entries {
            r.text(&mut entry.name)?;
            r.text(&mut entry.version)?;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ComponentName {
        text.try_into().unwrap()
    }
    fn version(text: &str) -> Version {
        text.try_into().unwrap()
    }

    #[test]
    fn set_get_delete() {
        let mut v = Versions::default();
        assert_eq!(v.set(&name("STM32"), &version("1_0")), Ok(true));
        assert_eq!(v.set(&name("STM32"), &version("1_0")), Ok(false));
        assert_eq!(v.set(&name("ESP"), &version("7")), Ok(true));
        assert_eq!(v.list(), "STM32:1_0;ESP:7");
        assert_eq!(v.set(&name("STM32"), &version("")), Ok(true));
        assert_eq!(v.list(), "ESP:7");
        assert_eq!(v.instance("ESP"), Some(2), "a component keeps its place");
        assert_eq!(v.instance(""), None);
        for bad in ["", "a:b", "a;b"] {
            assert_eq!(v.set(&name(bad), &version("1")), Err(Reason::NameTooLong));
        }
        assert_eq!(v.set(&name("x"), &version("1:2")), Err(Reason::NameTooLong));
        let (mut w, mut read) = (Writer::default(), Versions::default());
        v.encode(&mut w);
        assert_eq!(read.decode(&w.0), Some(()));
        assert_eq!(read, v);
    }

    #[test]
    fn the_table_has_an_end() {
        let mut v = Versions::default();
        for i in 0..MCUS {
            let n = [b'a' + i as u8];
            assert_eq!(
                v.set(&name(core::str::from_utf8(&n).unwrap()), &version("1")),
                Ok(true)
            );
        }
        assert_eq!(
            v.set(&name("z"), &version("1")),
            Err(Reason::ComponentTableFull)
        );
    }
}
