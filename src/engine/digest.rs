//! The three digests of a package, carried from piece to piece and over restarts.
//!
//! A piece is hashed from staging when it is complete, so what was verified is what is in the flash,
//! not what came over the air. The state at the piece's end goes into the journal
//! (byte for byte the `SerializableState` of sha2 and md-5 0.11, stable within their 0.11 line).
//!
//! Both digests work on blocks of 64 bytes and end with the same padding, so they share one buffer; the crates'
//! own buffering, once for each, takes 1 KB more.

use core::slice::from_ref;

use crc::{CRC_32_ISO_HDLC, Crc, NoTable};
use md5::block_api::compress;
use sha2::block_api::compress256;

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

/// SHA-256 before the first block (FIPS 180-4, 5.3.3).
const SHA256_START: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// MD5 before the first block (RFC 1321, 3.3).
const MD5_START: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// The running digests.
#[derive(Clone)]
pub(super) struct Digests {
    sha256: [u32; 8],
    md5: [u32; 4],
    crc32: u32,
    /// Whole blocks taken.
    blocks: u32,
    /// The block that is not whole yet, and its bytes.
    block: [u8; 64],
    used: u8,
}

impl Default for Digests {
    fn default() -> Self {
        Digests {
            sha256: SHA256_START,
            md5: MD5_START,
            crc32: 0,
            blocks: 0,
            block: [0; 64],
            used: 0,
        }
    }
}

impl Digests {
    /// Takes the next bytes of the package.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.crc32 = crc32(self.crc32, bytes);
        for byte in bytes {
            self.push(*byte);
        }
    }

    #[inline(never)]
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.block.get_mut(usize::from(self.used)) {
            *place = byte;
        }
        self.used += 1;
        if self.used == 64 {
            let block = from_ref(&self.block);
            compress256(&mut self.sha256, block);
            compress(&mut self.md5, block);
            // A package has less than 2^32 bytes.
            self.blocks = self.blocks.wrapping_add(1);
            self.used = 0;
        }
    }

    /// The state, to be loaded again by [`Digests::load`].
    pub(super) fn save(&self) -> [u8; SAVED] {
        let mut out = [0; SAVED];
        let (sha, rest) = out.split_at_mut(104);
        let (md, crc) = rest.split_at_mut(88);
        self.save_one(&self.sha256, sha);
        self.save_one(&self.md5, md);
        crc.copy_from_slice(&self.crc32.to_le_bytes());
        out
    }

    /// The state's words, the blocks taken as u64, the buffer's length and its 63 bytes.
    fn save_one(&self, words: &[u32], out: &mut [u8]) {
        let (places, _) = out.as_chunks_mut::<4>();
        for (place, word) in places.iter_mut().zip(words.iter().chain([&self.blocks])) {
            *place = word.to_le_bytes();
        }
        if let Some([used, buffer @ ..]) = out.last_chunk_mut::<64>() {
            *used = self.used;
            let bytes = self.block.iter().take(self.used.into());
            for (place, byte) in buffer.iter_mut().zip(bytes) {
                *place = *byte;
            }
        }
    }

    /// The digests with this state, `None` if it is not one.
    pub(super) fn load(saved: &[u8]) -> Option<Self> {
        let (words, _) = saved.get(..SAVED)?.as_chunks::<4>();
        let word = |at: usize| words.get(at).map_or(0, |word| u32::from_le_bytes(*word));
        let (used, bytes) = saved.get(40..104)?.split_first()?;
        let mut block = [0; 64];
        block[..63].copy_from_slice(bytes);
        let digests = Digests {
            sha256: core::array::from_fn(word),
            md5: core::array::from_fn(|i| word(26 + i)),
            crc32: word(48),
            blocks: word(8),
            block,
            used: *used,
        };
        // Two buffers that differ, or a length or a rest that no engine wrote: not what was saved.
        (digests.used < 64 && digests.save() == *saved.get(..SAVED)?).then_some(digests)
    }

    /// The same with the padding taken: SHA-256 and MD5 of the bytes are its words, big-endian and little-endian.
    #[inline(never)]
    fn finish(&self) -> Digests {
        let bits = (u64::from(self.blocks) << 9) + (u64::from(self.used) << 3);
        let mut end = self.clone();
        end.push(0x80);
        while end.used != 56 {
            end.push(0);
        }
        end.block[56..].copy_from_slice(&bits.to_be_bytes());
        compress256(&mut end.sha256, from_ref(&end.block));
        end.block[56..].copy_from_slice(&bits.to_le_bytes());
        compress(&mut end.md5, from_ref(&end.block));
        end
    }

    /// Whether every digest that was announced is the one of the bytes taken.
    pub(super) fn matches(&self, info: &DownloadInfo) -> bool {
        let mut end = self.finish();
        for word in &mut end.sha256 {
            *word = word.swap_bytes();
        }
        let sha256 = info.sha256.as_ref();
        let md5 = info.md5.as_ref();
        info.crc32.is_none_or(|announced| announced == self.crc32)
            && md5.is_none_or(|announced| same(announced, &end.md5))
            && sha256.is_none_or(|announced| same(announced, &end.sha256))
    }
}

/// Whether the bytes are those of the little-endian words.
#[inline(never)]
fn same(bytes: &[u8], words: &[u32]) -> bool {
    let mut announced = bytes.as_chunks::<4>().0.iter();
    words
        .iter()
        .all(|word| announced.next() == Some(&word.to_le_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use md5::{Digest, digest::common::hazmat::SerializableState};
    use proptest::prelude::*;

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

    proptest! {
        /// Digests and saved states are those of the crates, whatever the length.
        #[test]
        fn digests_and_states_are_those_of_the_crates(
            bytes in proptest::collection::vec(any::<u8>(), 0..400), cut in 0usize..400,
        ) {
            let (mut sha, mut md) = (sha2::Sha256::new(), md5::Md5::new());
            let mut ours = Digests::default();
            let (head, tail) = bytes.split_at(cut.min(bytes.len()));
            for part in [head, tail] {
                sha.update(part);
                md.update(part);
                ours.update(part);
                let saved = ours.save();
                prop_assert_eq!(&saved[..104], &sha.serialize()[..]);
                prop_assert_eq!(&saved[104..192], &md.serialize()[..]);
                ours = Digests::load(&saved).unwrap();
            }
            let end = ours.finish();
            let (sha256, md5) = (end.sha256.map(u32::to_be_bytes), end.md5.map(u32::to_le_bytes));
            prop_assert_eq!(sha256.as_flattened(), &sha.finalize()[..]);
            prop_assert_eq!(md5.as_flattened(), &md.finalize()[..]);
        }
    }

    #[test]
    fn a_wrong_state_is_refused() {
        assert!(Digests::load(&[0xFF; SAVED]).is_none());
        assert!(Digests::load(&[0; SAVED - 1]).is_none());
    }
}
