//! MCUboot's images, as `imgtool sign` writes them: header, image, protected TLVs, TLVs (MCUboot `docs/design.md`,
//! "Image format"). Little-endian.
//!
//! | header, at | bytes | |
//! |---|---|---|
//! | 0 | 4 | magic `96F3B83D` |
//! | 4 | 4 | load address |
//! | 8 | 2 | header size: the image, with its vector table, begins there |
//! | 10 | 2 | size of the protected TLVs |
//! | 12 | 4 | image size |
//! | 16 | 4 | flags; `04`, `08`: encrypted |
//! | 20 | 8 | version: major 1, minor 1, revision 2, build 4 |
//! | 28 | 4 | |
//!
//! TLVs: magic 2 (`6908` protected, `6907`), total size 2, then type 2, length 2, value. Type `10` is the SHA-256 over header,
//! image and protected TLVs. Signatures (types `20` and up) are not checked.

use crate::digest::Digests;
use crate::flash::FlashFailed;
use crate::flash::{CHUNK, read as read_words};
use crate::layout::{Layout, WORD_MOST};
use embedded_storage::nor_flash::NorFlash;
use sota_errors::McuError;

const MAGIC: u32 = 0x96F3_B83D;
const HEADER: u32 = 32;
const ENCRYPTED: u32 = 0x04 | 0x08;
const TLV_PROTECTED: u16 = 0x6908;
const TLV: u16 = 0x6907;
const TLV_SHA256: u16 = 0x10;
const TLV_HEAD: u32 = 4;

/// A version, in the order in which greater is newer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Major.
    pub major: u8,
    /// Minor.
    pub minor: u8,
    /// Revision.
    pub revision: u16,
    /// Build.
    pub build: u32,
}

/// What header and TLVs say. All within the bytes that were given to [`read`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// Version.
    pub version: Version,
    /// Header's size: where the vector table is.
    pub header: u32,
    /// Bytes of header, image and protected TLVs, which the SHA-256 is over.
    pub hashed: u32,
    /// Bytes with all TLVs.
    pub total: u32,
    /// The SHA-256 that the TLVs have.
    pub sha256: [u8; 32],
}

impl Info {
    /// Whether the image has its own SHA-256; all of it at once.
    ///
    /// # Errors
    /// 404.
    pub fn is_intact<F: NorFlash>(&self, flash: &mut F, at: u32) -> Result<bool, FlashFailed> {
        let mut digests = Digests::new(at, self.hashed);
        while !digests.step(flash)? {}
        Ok(digests.sha256() == self.sha256)
    }
}

/// What the image in the other slot has to be to run. Its own SHA-256 is looked at in one go: the package's digest has covered
/// the bytes.
///
/// # Errors
/// 404, 410, 622.
pub(crate) fn judge<F: NorFlash>(flash: &mut F, layout: &Layout, length: u32) -> Result<(), u16> {
    let new = read(flash, layout.other, length).map_err(McuError::number)?;
    let intact = new.is_intact(flash, layout.other);
    if !intact.map_err(FlashFailed::number)? {
        return Err(McuError::ImageHeader.number());
    }
    // The factory's image may be none of MCUboot's: nothing is older than that.
    match read(flash, layout.active, layout.active_len) {
        Ok(old) if new.version < old.version => Err(sota_errors::LinkError::OldImage.number()),
        _ => Ok(()),
    }
}

/// Reads so many bytes of any address.
fn bytes<F: NorFlash, const N: usize>(flash: &mut F, at: u32) -> Result<[u8; N], McuError> {
    let mut words = [0; CHUNK];
    let inside = at % WORD_MOST;
    let whole = (inside + N as u32).next_multiple_of(WORD_MOST) as usize;
    read_words(
        flash,
        at - inside,
        words.get_mut(..whole).unwrap_or_default(),
    )?;
    let found = words
        .get(inside as usize..)
        .and_then(|rest| rest.first_chunk());
    found.copied().ok_or(McuError::ImageHeader)
}

const fn half(low: u8, high: u8) -> u16 {
    u16::from_le_bytes([low, high])
}

/// Reads header and TLVs of the image at `at`, which has at most `most` bytes.
///
/// # Errors
/// 410: it is none, it is encrypted, it has no SHA-256, or it reaches beyond `most`. 404.
pub fn read<F: NorFlash>(flash: &mut F, at: u32, most: u32) -> Result<Info, McuError> {
    let bad = Err(McuError::ImageHeader);
    if most < HEADER {
        return bad;
    }
    let head: [u8; HEADER as usize] = bytes(flash, at)?;
    let (words, _) = head.as_chunks::<4>();
    let word = |i: usize| words.get(i).map_or(0, |word| u32::from_le_bytes(*word));
    let header = word(2) & 0xFFFF;
    let protected = word(2) >> 16;
    let encrypted = word(4) & ENCRYPTED != 0;
    if word(0) != MAGIC || encrypted || header < HEADER {
        return bad;
    }
    let [major, minor, r0, r1] = word(5).to_le_bytes();
    let version = Version {
        major,
        minor,
        revision: half(r0, r1),
        build: word(6),
    };
    let image = header.checked_add(word(3));
    let hashed = image.and_then(|end| end.checked_add(protected));
    let (Some(image), Some(hashed)) = (image, hashed) else {
        return bad;
    };
    if hashed.checked_add(TLV_HEAD).is_none_or(|end| end > most) {
        return bad;
    }
    if protected > 0 {
        let [m0, m1, n0, n1] = bytes(flash, at + image)?;
        if half(m0, m1) != TLV_PROTECTED || u32::from(half(n0, n1)) != protected {
            return bad;
        }
    }
    let [m0, m1, n0, n1] = bytes(flash, at + hashed)?;
    let total = hashed + u32::from(half(n0, n1));
    if half(m0, m1) != TLV || total > most {
        return bad;
    }
    let mut place = hashed + TLV_HEAD;
    while place + TLV_HEAD <= total {
        let [t0, t1, n0, n1] = bytes(flash, at + place)?;
        let length = u32::from(half(n0, n1));
        place += TLV_HEAD;
        if place + length > total {
            break;
        }
        if half(t0, t1) == TLV_SHA256 && length == 32 {
            let sha256 = bytes(flash, at + place)?;
            return Ok(Info {
                version,
                header,
                hashed,
                total,
                sha256,
            });
        }
        place += length;
    }
    bad
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use embedded_storage::nor_flash::{ErrorType, NorFlashErrorKind, ReadNorFlash};
    use proptest::prelude::*;
    use std::vec::Vec;

    struct Rom(Vec<u8>);

    impl ErrorType for Rom {
        type Error = NorFlashErrorKind;
    }

    impl ReadNorFlash for Rom {
        const READ_SIZE: usize = 16;
        fn read(&mut self, at: u32, out: &mut [u8]) -> Result<(), NorFlashErrorKind> {
            let found = self.0.get(at as usize..at as usize + out.len());
            out.copy_from_slice(found.ok_or(NorFlashErrorKind::OutOfBounds)?);
            Ok(())
        }
        fn capacity(&self) -> usize {
            self.0.len()
        }
    }

    impl NorFlash for Rom {
        const WRITE_SIZE: usize = 1;
        const ERASE_SIZE: usize = 64;
        fn erase(&mut self, _: u32, _: u32) -> Result<(), NorFlashErrorKind> {
            Err(NorFlashErrorKind::Other)
        }
        fn write(&mut self, _: u32, _: &[u8]) -> Result<(), NorFlashErrorKind> {
            Err(NorFlashErrorKind::Other)
        }
    }

    /// `imgtool sign --header-size 0x20 --pad-header --align 4 --slot-size 0x1000 --version 1.2.3+45 [--security-counter 5]` of
    /// 00 01 … 24.
    const PLAIN: &str = include_str!("../tests/mcuboot/plain.hex");
    const PROTECTED: &str = include_str!("../tests/mcuboot/protected.hex");

    fn rom(text: &str) -> (Rom, u32) {
        let mut image = hex::decode(text.trim()).unwrap();
        let length = image.len() as u32;
        image.resize(1024, 0xFF);
        (Rom(image), length)
    }

    #[test]
    fn what_imgtool_wrote() {
        for (text, hashed) in [(PLAIN, 32 + 37), (PROTECTED, 32 + 37 + 12)] {
            let (mut rom, length) = rom(text);
            let info = read(&mut rom, 0, length).unwrap();
            let version = info.version;
            assert_eq!(
                (
                    version.major,
                    version.minor,
                    version.revision,
                    version.build
                ),
                (1, 2, 3, 45)
            );
            assert_eq!((info.header, info.hashed, info.total), (32, hashed, length));
            assert!(info.is_intact(&mut rom, 0).unwrap());
            // Each byte that counts is covered.
            for at in 0..hashed as usize {
                rom.0[at] ^= 0x80;
                let found = read(&mut rom, 0, length);
                assert!(found.is_err() || !found.unwrap().is_intact(&mut rom, 0).unwrap_or(false));
                rom.0[at] ^= 0x80;
            }
            // And nothing is read beyond what there is.
            for most in 0..length {
                assert_eq!(
                    read(&mut rom, 0, most),
                    Err(McuError::ImageHeader),
                    "{most}"
                );
            }
        }
    }

    #[test]
    fn encrypted_is_refused() {
        let (mut rom, length) = rom(PLAIN);
        rom.0[16] = 4;
        assert_eq!(read(&mut rom, 0, length), Err(McuError::ImageHeader));
    }

    proptest! {
        #[test]
        fn any_bytes_do_not_panic(mut bytes in prop::collection::vec(any::<u8>(), 1024), magic: bool, most in 0u32..1024) {
            if magic {
                bytes[..4].copy_from_slice(&MAGIC.to_le_bytes());
                let size = bytes[12] % 64;
                bytes[8..16].copy_from_slice(&[32, 0, 0, 0, size, 0, 0, 0]);
            }
            let _ = read(&mut Rom(bytes), 0, most);
        }
    }
}
