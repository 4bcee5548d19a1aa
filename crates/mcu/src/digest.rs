//! Digests over what is in flash, in steps, so that the link is served in between.

use crate::flash::{CHUNK, FlashFailed, read};
use crate::records::crc32;
use embedded_storage::nor_flash::NorFlash;
use sota_link::field::Image;

/// Bytes of a step.
pub const STEP: u32 = 512;

/// Whether this build can compare any digest of the package.
pub fn can_verify(image: &Image) -> bool {
    cfg!(feature = "sha256") && image.sha256.is_some()
        || cfg!(feature = "md5") && image.md5.is_some()
        || cfg!(feature = "crc32") && image.crc32.is_some()
}

/// SHA-256 before the first block (FIPS 180-4, 5.3.3).
#[cfg(feature = "sha256")]
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
#[cfg(feature = "md5")]
const MD5_START: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// Digests of the bytes from one address on. CRC-32 always; the others as the build has them.
///
/// The crates' own buffers are not needed: the flash is read in blocks of 64 bytes, which both take as they are.
#[derive(Clone, Debug)]
pub struct Digests {
    at: u32,
    done: u32,
    length: u32,
    crc32: u32,
    #[cfg(feature = "sha256")]
    sha256: [u32; 8],
    #[cfg(feature = "md5")]
    md5: [u32; 4],
}

impl Digests {
    /// Of `length` bytes, 1 or more, at an address that is a page's begin.
    pub const fn new(at: u32, length: u32) -> Digests {
        Digests {
            at,
            done: 0,
            length,
            crc32: 0,
            #[cfg(feature = "sha256")]
            sha256: SHA256_START,
            #[cfg(feature = "md5")]
            md5: MD5_START,
        }
    }

    /// Takes the next [`STEP`] bytes. `true`: that was all.
    ///
    /// # Errors
    /// 404.
    #[inline(never)] // what a block needs of the stack is not under what follows the last one
    pub fn step<F: NorFlash>(&mut self, flash: &mut F) -> Result<bool, FlashFailed> {
        for _ in 0..STEP / CHUNK as u32 {
            if self.block(flash)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes a block of the padded message: the bytes, 0x80, zeros up to a block's end, whose last 8 bytes are the length in
    /// bits. `true`: it was the last.
    fn block<F: NorFlash>(&mut self, flash: &mut F) -> Result<bool, FlashFailed> {
        let mut block = [0; CHUNK];
        let left = self.length.saturating_sub(self.done);
        let n = left.min(CHUNK as u32) as usize;
        if n > 0 {
            // The whole block is in the last page that the image has.
            read(flash, self.at + self.done, &mut block)?;
            self.crc32 = crc32(self.crc32, block.get(..n).unwrap_or_default());
        }
        let (_, behind) = block.split_at_mut_checked(n).unwrap_or_default();
        behind.fill(0);
        // Where the bytes end with a block, the 0x80 begins the next one.
        if self.done <= self.length
            && let Some(first) = behind.first_mut()
        {
            *first = 0x80;
        }
        self.done = self.done.saturating_add(CHUNK as u32);
        let is_last = n + 9 <= CHUNK;
        self.compress(&mut block, is_last);
        Ok(is_last)
    }

    /// SHA-256 has the length's most significant byte first, MD5 last.
    fn compress(&mut self, block: &mut [u8; CHUNK], is_last: bool) {
        let bits = u64::from(self.length) * 8;
        #[cfg(feature = "sha256")]
        {
            if is_last && let Some(place) = block.last_chunk_mut::<8>() {
                *place = bits.to_be_bytes();
            }
            sha2::block_api::compress256(&mut self.sha256, core::slice::from_ref(block));
        }
        #[cfg(feature = "md5")]
        {
            if is_last && let Some(place) = block.last_chunk_mut::<8>() {
                *place = bits.to_le_bytes();
            }
            md5::block_api::compress(&mut self.md5, core::slice::from_ref(block));
        }
        let _ = (block, bits, is_last);
    }

    /// CRC-32/ISO-HDLC.
    pub const fn crc32(&self) -> u32 {
        self.crc32
    }

    /// SHA-256.
    #[cfg(feature = "sha256")]
    pub fn sha256(&self) -> [u8; 32] {
        let mut out = [0; 32];
        let (places, _) = out.as_chunks_mut::<4>();
        for (place, word) in places.iter_mut().zip(&self.sha256) {
            *place = word.to_be_bytes();
        }
        out
    }

    /// MD5.
    #[cfg(feature = "md5")]
    pub fn md5(&self) -> [u8; 16] {
        let mut out = [0; 16];
        let (places, _) = out.as_chunks_mut::<4>();
        for (place, word) in places.iter_mut().zip(&self.md5) {
            *place = word.to_le_bytes();
        }
        out
    }

    /// Whether these are the package's: each digest that it has and this build can compare, and one at least.
    pub fn match_image(&self, image: &Image) -> bool {
        #[cfg(feature = "sha256")]
        if let Some(sha256) = &image.sha256 {
            let words = sha256.as_chunks().0.iter().zip(&self.sha256);
            if words
                .into_iter()
                .any(|(word, own)| u32::from_be_bytes(*word) != *own)
            {
                return false;
            }
        }
        #[cfg(feature = "md5")]
        if let Some(md5) = &image.md5 {
            let words = md5.as_chunks().0.iter().zip(&self.md5);
            if words
                .into_iter()
                .any(|(word, own)| u32::from_le_bytes(*word) != *own)
            {
                return false;
            }
        }
        // It is there in any case, as the bootloader's own check.
        can_verify(image) && image.crc32.is_none_or(|crc32| crc32 == self.crc32)
    }
}
