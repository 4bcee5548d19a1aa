//! MCUboot images: made, and looked at (MCUboot `docs/design.md`, "Image format").

use sha2::{Digest, Sha256};

const MAGIC: [u8; 4] = [0x3D, 0xB8, 0xF3, 0x96];
const HEADER: usize = 32;

/// A body that begins with this never comes up.
pub const HANGS: &[u8] = b"HANG";
/// A body that begins with this has a signature that the bootloader does not take.
pub const UNSIGNED: &[u8] = b"NOT SIGNED";

/// An image as `imgtool sign` without a key makes it: header, body, SHA-256 in the TLVs. The version is major, minor, revision, build.
pub fn build(version: [u32; 4], body: &[u8]) -> Vec<u8> {
    let [major, minor, revision, number] = version;
    let mut out = MAGIC.to_vec();
    out.extend([0; 4]);
    out.extend((HEADER as u16).to_le_bytes());
    out.extend([0; 2]);
    out.extend((body.len() as u32).to_le_bytes());
    out.extend([0; 4]);
    out.extend([major as u8, minor as u8]);
    out.extend((revision as u16).to_le_bytes());
    out.extend(number.to_le_bytes());
    out.resize(HEADER, 0);
    out.extend_from_slice(body);
    let sha256 = Sha256::digest(&out);
    out.extend([0x07, 0x69, 40, 0, 0x10, 0, 32, 0]);
    out.extend_from_slice(&sha256);
    out
}

/// What header and TLVs say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// "1.2.3", or "1.2.3.4" where the build is not 0, as Zephyr writes it.
    pub version: String,
    /// To compare.
    pub order: (u8, u8, u16, u32),
    /// The hash of the TLVs.
    pub hash: [u8; 32],
    /// Bytes with the TLVs.
    pub length: usize,
    hashed: usize,
    body: usize,
}

fn half(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..at + 2)?;
    Some(usize::from(u16::from_le_bytes([bytes[0], bytes[1]])))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Looks at what begins here; `None`: it has no header, or no hash.
pub fn info(slot: &[u8]) -> Option<Info> {
    if !slot.starts_with(&MAGIC) {
        return None;
    }
    let (body, protected) = (half(slot, 8)?, half(slot, 10)?);
    let hashed = body + word(slot, 12)? as usize + protected;
    if half(slot, hashed)? != 0x6907 {
        return None;
    }
    let length = hashed + half(slot, hashed + 2)?;
    let mut at = hashed + 4;
    while at + 4 <= length {
        let (kind, len) = (half(slot, at)?, half(slot, at + 2)?);
        at += 4;
        if (kind, len) == (0x10, 32) {
            let order = (
                *slot.get(20)?,
                *slot.get(21)?,
                half(slot, 22)? as u16,
                word(slot, 24)?,
            );
            let (major, minor, revision, build) = order;
            let mut version = format!("{major}.{minor}.{revision}");
            if build > 0 {
                version += &format!(".{build}");
            }
            return Some(Info {
                version,
                order,
                hash: slot.get(at..at + 32)?.try_into().ok()?,
                length,
                hashed,
                body,
            });
        }
        at += len;
    }
    None
}

impl Info {
    /// Whether the bytes are what the hash is of.
    pub fn is_intact(&self, slot: &[u8]) -> bool {
        let hashed = slot.get(..self.hashed);
        hashed.is_some_and(|bytes| Sha256::digest(bytes)[..] == self.hash)
    }

    /// Whether the image's body begins so.
    pub fn begins(&self, slot: &[u8], with: &[u8]) -> bool {
        slot.get(self.body..)
            .is_some_and(|body| body.starts_with(with))
    }
}
