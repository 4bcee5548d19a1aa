//! The three digests of a package, carried from piece to piece and over restarts.
//!
//! A piece is hashed from staging when it is complete, so what was verified is what is in the flash,
//! not what came over the air. The state at the piece's end goes into the journal
//! (`SerializableState` of sha2 and md-5 0.11, stable within their 0.11 line).

use crc::{CRC_32_ISO_HDLC, Crc, NoTable};
use md5::{
    Digest, Md5,
    digest::common::hazmat::{SerializableState, SerializedState},
};
use sha2::Sha256;

use crate::message::DownloadInfo;

/// Bytes of a saved state: SHA-256 (104), MD5 (88), CRC-32 (4).
pub(super) const SAVED: usize = 104 + 88 + 4;

/// Without a table: 1 KiB of code less, and the flash is slower than this loop.
static CRC32: Crc<u32, NoTable> = Crc::<u32, NoTable>::new(&CRC_32_ISO_HDLC);

/// CRC-32/ISO-HDLC of `bytes` after `before`, where `before` is the CRC of what came earlier (0 = nothing).
pub(super) fn crc32(before: u32, bytes: &[u8]) -> u32 {
    // The crate takes the unreflected register as initial value.
    let mut digest = CRC32.digest_with_initial((!before).reverse_bits());
    digest.update(bytes);
    digest.finalize()
}

/// The running digests.
#[derive(Clone, Default)]
pub(super) struct Digests {
    sha256: Sha256,
    md5: Md5,
    crc32: u32,
}

impl Digests {
    /// Takes the next bytes of the package.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.md5.update(bytes);
        self.crc32 = crc32(self.crc32, bytes);
    }

    /// The state, to be loaded again by [`Digests::load`].
    pub(super) fn save(&self) -> [u8; SAVED] {
        let mut out = [0; SAVED];
        let (sha, rest) = out.split_at_mut(104);
        let (md, crc) = rest.split_at_mut(88);
        sha.copy_from_slice(&self.sha256.serialize());
        md.copy_from_slice(&self.md5.serialize());
        crc.copy_from_slice(&self.crc32.to_le_bytes());
        out
    }

    /// The digests with this state, `None` if it is not one.
    pub(super) fn load(saved: &[u8]) -> Option<Self> {
        let sha: &SerializedState<Sha256> = saved.get(..104)?.try_into().ok()?;
        let md: &SerializedState<Md5> = saved.get(104..192)?.try_into().ok()?;
        let crc: [u8; 4] = saved.get(192..SAVED)?.try_into().ok()?;
        Some(Digests {
            sha256: Sha256::deserialize(sha).ok()?,
            md5: Md5::deserialize(md).ok()?,
            crc32: u32::from_le_bytes(crc),
        })
    }

    /// Whether every digest that was announced is the one of the bytes taken.
    pub(super) fn matches(&self, info: &DownloadInfo) -> bool {
        info.crc32.is_none_or(|crc| crc == self.crc32)
            && info
                .md5
                .is_none_or(|md5| self.md5.clone().finalize().as_slice() == md5)
            && info
                .sha256
                .is_none_or(|sha| self.sha256.clone().finalize().as_slice() == sha)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values from Python's hashlib and zlib over b"123456789".
    #[test]
    fn known_values_over_a_saved_state() {
        let mut first = Digests::default();
        first.update(b"1234");
        let mut second = Digests::load(&first.save()).unwrap();
        second.update(b"56789");
        let mut info = DownloadInfo {
            crc32: Some(0xcbf4_3926),
            md5: Some(0x25f9_e794_323b_4538_85f5_181f_1b62_4d0b_u128.to_be_bytes()),
            ..DownloadInfo::default()
        };
        assert!(second.matches(&info));
        assert!(!first.matches(&info));
        info.crc32 = Some(0xcbf4_3927);
        assert!(!second.matches(&info));
    }

    #[test]
    fn a_wrong_state_is_refused() {
        assert!(Digests::load(&[0xFF; SAVED]).is_none());
        assert!(Digests::load(&[0; SAVED - 1]).is_none());
    }
}
