//! Fields of hello, Plan and Package: type 1, length 1, value (`docs/link.md`, Fields).
//!
//! The three structs here are what an end keeps of them. Reading ignores fields it does not know, also known ones that
//! belong to another frame; a known field of a wrong length refuses the frame.

use crate::frame::Writer;
pub use crate::image::{Digest, Image, Resume};
use heapless::String;
use sota_errors::LinkError;

/// Component, hardware and bootloader identifiers.
pub type Name = String<32, u8>;
/// Versions.
pub type Version = String<64, u8>;

#[allow(missing_docs)]
pub(crate) mod kind {
    pub(crate) const BLOCK: u8 = 0x01;
    pub(crate) const WINDOW: u8 = 0x02;
    pub(crate) const PAGE: u8 = 0x03;
    pub(crate) const SLOT: u8 = 0x04;
    pub(crate) const COMPONENT: u8 = 0x05;
    pub(crate) const VERSION: u8 = 0x06;
    pub(crate) const BOOT: u8 = 0x07;
    pub(crate) const RESUME: u8 = 0x08;
    pub(crate) const HARDWARE: u8 = 0x09;
    pub(crate) const BOOTLOADER: u8 = 0x0A;
    pub(crate) const RATE: u8 = 0x0B;
    pub(crate) const FLAGS: u8 = 0x0C;
    pub(crate) const SOURCE: u8 = 0x10;
    pub(crate) const TARGET: u8 = 0x11;
    pub(crate) const SPACE: u8 = 0x12;
    pub(crate) const BATTERY: u8 = 0x13;
    pub(crate) const SIGNAL: u8 = 0x14;
    pub(crate) const LENGTH: u8 = 0x15;
    pub(crate) const SHA256: u8 = 0x16;
    pub(crate) const MD5: u8 = 0x17;
    pub(crate) const CRC32: u8 = 0x18;
}

const MALFORMED: LinkError = LinkError::LinkMalformed;

/// Takes `(type, value)` one after the other; an error for a field that is longer than what is left.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u8, &'a [u8]), LinkError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (head, rest) = match self.0 {
            [] => return None,
            [kind, len, rest @ ..] => ((*kind, usize::from(*len)), rest),
            _ => ((0, usize::MAX), &[][..]),
        };
        match rest.split_at_checked(head.1) {
            Some((value, rest)) => {
                self.0 = rest;
                Some(Ok((head.0, value)))
            }
            None => {
                self.0 = &[];
                Some(Err(MALFORMED))
            }
        }
    }
}

/// Each puts the value there, and gives whether it is one.
fn bytes<const N: usize>(value: &[u8], out: &mut [u8; N]) -> bool {
    match value.try_into() {
        Ok(bytes) => {
            *out = bytes;
            true
        }
        Err(_) => false,
    }
}

fn byte(value: &[u8], out: &mut u8) -> bool {
    bytes(value, core::array::from_mut(out))
}

fn half(value: &[u8], out: &mut u16) -> bool {
    let mut bytes = [0; 2];
    let good = self::bytes(value, &mut bytes);
    *out = u16::from_le_bytes(bytes);
    good
}

fn word(value: &[u8], out: &mut u32) -> bool {
    let mut bytes = [0; 4];
    let good = self::bytes(value, &mut bytes);
    *out = u32::from_le_bytes(bytes);
    good
}

fn text<const N: usize>(value: &[u8], out: &mut String<N, u8>) -> bool {
    out.clear();
    !has_control(value) && core::str::from_utf8(value).is_ok_and(|text| out.push_str(text).is_ok())
}

/// Of UTF-8: U+0000 to U+001F, U+007F to U+009F.
fn has_control(value: &[u8]) -> bool {
    let mut before = 0;
    value.iter().any(|byte| {
        let second = core::mem::replace(&mut before, *byte) == 0xC2;
        *byte < 0x20 || *byte == 0x7F || (second && *byte < 0xA0)
    })
}

/// A text that says who someone is cannot be empty.
fn name(value: &[u8], out: &mut Name) -> bool {
    text(value, out) && !out.is_empty()
}

/// How the MCU's present image came to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Boot {
    /// It is kept.
    #[default]
    Confirmed,
    /// It runs on trial: the next reset brings the old one back.
    Trial,
    /// A new image was reverted; the number says why (0: not known).
    Reverted(u16),
}

/// Fields of a hello. An end fills in what it has.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the table in docs/link.md
pub struct Hello {
    pub block: u16,
    pub window: u8,
    pub page: u32,
    pub slot: u32,
    pub component: Name,
    pub version: Version,
    pub boot: Boot,
    pub resume: Option<Resume>,
    pub hardware: Name,
    pub bootloader: Name,
    pub rate: u32,
    pub pulls: bool,
    pub asks: bool,
}

impl Default for Hello {
    fn default() -> Self {
        Hello {
            block: 64,
            window: 1,
            page: 0,
            slot: 0,
            component: Name::new(),
            version: Version::new(),
            boot: Boot::Confirmed,
            resume: None,
            hardware: Name::new(),
            bootloader: Name::new(),
            rate: 0,
            pulls: false,
            asks: false,
        }
    }
}

impl Hello {
    /// Reads the fields. `whole`: those that only an MCU has, too; else they are ignored.
    ///
    /// # Errors
    /// [`LinkError::LinkMalformed`].
    pub fn parse(fields: &[u8], whole: bool) -> Result<Hello, LinkError> {
        let mut hello = Hello::default();
        let mut good = true;
        for field in Fields(fields) {
            let (kind, value) = field?;
            good &= match kind {
                kind::BLOCK => half(value, &mut hello.block),
                kind::WINDOW => byte(value, &mut hello.window),
                kind::RATE => word(value, &mut hello.rate),
                _ if !whole => true,
                kind::PAGE => word(value, &mut hello.page),
                kind::SLOT => word(value, &mut hello.slot),
                kind::COMPONENT => name(value, &mut hello.component),
                kind::VERSION => text(value, &mut hello.version),
                kind::BOOT => {
                    let mut boot = [0; 3];
                    let good = bytes(value, &mut boot);
                    let [state, low, high] = boot;
                    hello.boot = match state {
                        0 => Boot::Confirmed,
                        1 => Boot::Trial,
                        2 => Boot::Reverted(u16::from_le_bytes([low, high])),
                        _ => return Err(MALFORMED),
                    };
                    good
                }
                kind::RESUME => {
                    let (head, digest) = value.split_first_chunk::<9>().ok_or(MALFORMED)?;
                    let [a, b, c, d, e, f, g, h, kind] = *head;
                    hello.resume = Some(Resume {
                        offset: u32::from_le_bytes([a, b, c, d]),
                        length: u32::from_le_bytes([e, f, g, h]),
                        digest: Digest::new(kind, digest).ok_or(MALFORMED)?,
                    });
                    true
                }
                kind::HARDWARE => name(value, &mut hello.hardware),
                kind::BOOTLOADER => name(value, &mut hello.bootloader),
                kind::FLAGS => {
                    let mut flags = 0;
                    let good = byte(value, &mut flags);
                    hello.pulls = flags & 1 != 0;
                    hello.asks = flags & 2 != 0;
                    good
                }
                _ => true,
            };
        }
        match good && hello.block >= 64 {
            true => Ok(hello),
            false => Err(MALFORMED),
        }
    }

    /// Writes the fields in the order of their types. `whole`: those that only an MCU has, too.
    pub fn write(&self, w: &mut Writer, whole: bool) {
        w.field(kind::BLOCK, &self.block.to_le_bytes());
        w.field(kind::WINDOW, &[self.window]);
        if whole {
            w.field(kind::PAGE, &self.page.to_le_bytes());
            w.field(kind::SLOT, &self.slot.to_le_bytes());
            w.name(kind::COMPONENT, &self.component);
            w.field(kind::VERSION, self.version.as_bytes());
            let (state, number) = match self.boot {
                Boot::Confirmed => (0, 0),
                Boot::Trial => (1, 0),
                Boot::Reverted(number) => (2, number),
            };
            let [low, high] = u16::to_le_bytes(number);
            w.field(kind::BOOT, &[state, low, high]);
            if let Some(resume) = &self.resume {
                resume.write(w);
            }
            w.name(kind::HARDWARE, &self.hardware);
            w.name(kind::BOOTLOADER, &self.bootloader);
        }
        w.field(kind::RATE, &self.rate.to_le_bytes());
        if whole {
            let flags = u8::from(self.pulls) | u8::from(self.asks) << 1;
            w.field(kind::FLAGS, &[flags]);
        }
    }
}

/// A plan: event 10700.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Plan {
    /// Whose image it is.
    pub component: Name,
    /// Version it is for; empty: any.
    pub source: Version,
    /// Version afterwards.
    pub target: Version,
    /// Bytes needed in the slot.
    pub use_space: u32,
    /// Least battery in %.
    pub battery_limit_percent: u8,
    /// Least RSRP in dBm.
    pub min_signal_dbm: i16,
}

impl Plan {
    /// Reads the fields.
    ///
    /// # Errors
    /// [`LinkError::LinkMalformed`].
    #[inline(never)]
    pub fn parse(fields: &[u8]) -> Result<Plan, LinkError> {
        let mut plan = Plan::default();
        let mut good = true;
        for field in Fields(fields) {
            let (kind, value) = field?;
            good &= match kind {
                kind::COMPONENT => name(value, &mut plan.component),
                kind::SOURCE => text(value, &mut plan.source),
                kind::TARGET => text(value, &mut plan.target),
                kind::SPACE => word(value, &mut plan.use_space),
                kind::BATTERY => byte(value, &mut plan.battery_limit_percent),
                kind::SIGNAL => {
                    let mut signal = 0;
                    let good = half(value, &mut signal);
                    plan.min_signal_dbm = signal.cast_signed();
                    good
                }
                _ => true,
            };
        }
        match good {
            true => Ok(plan),
            false => Err(MALFORMED),
        }
    }

    /// Writes the fields; what is empty or 0 is left out.
    pub fn write(&self, w: &mut Writer) {
        w.name(kind::COMPONENT, &self.component);
        w.name(kind::SOURCE, &self.source);
        w.name(kind::TARGET, &self.target);
        w.field(kind::SPACE, &self.use_space.to_le_bytes());
        if self.battery_limit_percent != 0 {
            w.field(kind::BATTERY, &[self.battery_limit_percent]);
        }
        if self.min_signal_dbm != 0 {
            w.field(kind::SIGNAL, &self.min_signal_dbm.to_le_bytes());
        }
    }
}

/// A package: event 10701.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Package {
    /// Whose image it is.
    pub component: Name,
    /// Hardware it is for; empty: not told.
    pub hardware: Name,
    /// Version afterwards.
    pub target: Version,
    /// The image.
    pub image: Image,
}

impl Package {
    /// Reads the fields.
    ///
    /// # Errors
    /// [`LinkError::LinkMalformed`], also without a length.
    #[inline(never)]
    pub fn parse(fields: &[u8]) -> Result<Package, LinkError> {
        let mut package = Package::default();
        let image = &mut package.image;
        let mut good = true;
        for field in Fields(fields) {
            let (kind, value) = field?;
            good &= match kind {
                kind::COMPONENT => name(value, &mut package.component),
                kind::HARDWARE => name(value, &mut package.hardware),
                kind::TARGET => text(value, &mut package.target),
                kind::LENGTH => word(value, &mut image.length),
                kind::SHA256 => bytes(value, image.sha256.insert([0; 32])),
                kind::MD5 => bytes(value, image.md5.insert([0; 16])),
                kind::CRC32 => word(value, image.crc32.insert(0)),
                _ => true,
            };
        }
        match good && image.length > 0 {
            true => Ok(package),
            false => Err(MALFORMED),
        }
    }

    /// Writes the fields; what is empty is left out.
    pub fn write(&self, w: &mut Writer) {
        let image = &self.image;
        w.name(kind::COMPONENT, &self.component);
        w.name(kind::HARDWARE, &self.hardware);
        w.name(kind::TARGET, &self.target);
        w.field(kind::LENGTH, &image.length.to_le_bytes());
        if let Some(sha256) = &image.sha256 {
            w.field(kind::SHA256, sha256);
        }
        if let Some(md5) = &image.md5 {
            w.field(kind::MD5, md5);
        }
        if let Some(crc32) = image.crc32 {
            w.field(kind::CRC32, &crc32.to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{CONTROL_LEN, HELLO_LEN, encode};

    /// The buffers hold the longest of everything, also when COBS finds nothing to spare.
    #[test]
    fn the_longest_fields_fit() {
        let name = Name::try_from("n".repeat(32).as_str()).unwrap();
        let version = Version::try_from("v".repeat(64).as_str()).unwrap();
        let hello = Hello {
            block: 0xFFFF,
            window: 1,
            page: u32::MAX,
            slot: u32::MAX,
            component: name.clone(),
            version: version.clone(),
            boot: Boot::Reverted(0x101),
            resume: Some(Resume {
                offset: u32::MAX,
                length: u32::MAX,
                digest: Digest::sha256([1; 32]),
            }),
            hardware: name.clone(),
            bootloader: name.clone(),
            rate: u32::MAX,
            pulls: true,
            asks: true,
        };
        let mut out = [0; CONTROL_LEN];
        let n = encode(&mut out[..HELLO_LEN], 1, 0x101, |w| {
            w.u8(1).u16(0x101).u16(0x101);
            hello.write(w, true);
        });
        assert!(n > 0 && n <= HELLO_LEN);
        let package = Package {
            component: name.clone(),
            hardware: name.clone(),
            target: version.clone(),
            image: Image {
                length: u32::MAX,
                sha256: Some([1; 32]),
                md5: Some([1; 16]),
                crc32: Some(u32::MAX),
            },
        };
        assert!(encode(&mut out, 6, 1, |w| package.write(w.u16(1))) > 0);
        let plan = Plan {
            component: name,
            source: version.clone(),
            target: version,
            use_space: u32::MAX,
            battery_limit_percent: 100,
            min_signal_dbm: -113,
        };
        assert!(encode(&mut out, 5, 1, |w| plan.write(w.u16(1))) > 0);
    }

    #[test]
    fn a_field_that_is_cut_or_of_a_wrong_length() {
        for fields in [
            &[1][..],
            &[1, 2, 0],
            &[1, 1, 64],
            &[1, 2, 63, 0],
            &[5, 0],
            &[7, 3, 3, 0, 0],
            &[8, 9, 0, 0, 0, 0, 0, 0, 0, 0, 3],
            &[6, 1, 0x0A],
            &[6, 1, 0xFF],
        ] {
            assert_eq!(Hello::parse(fields, true), Err(MALFORMED), "{fields:?}");
        }
        assert_eq!(Package::parse(&[]), Err(MALFORMED));
        assert_eq!(Package::parse(&[0x15, 4, 0, 0, 0, 0]), Err(MALFORMED));
        let twice = [1, 2, 128, 0, 99, 0, 1, 2, 0, 1];
        assert_eq!(Hello::parse(&twice, true).map(|hello| hello.block), Ok(256));
    }
}
