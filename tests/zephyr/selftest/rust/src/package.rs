//! Packages without a buffer.

use crc::{CRC_32_ISO_HDLC, Crc, NoTable};
use md5::{Digest, Md5};
use sha2::Sha256;
use sota_zephyr::sota::message::DownloadInfo;

/// Byte `at` of the package `seed`.
pub(crate) fn byte(seed: u8, at: u32) -> u8 {
    let mixed = at.wrapping_mul(0x9e37_79b1) ^ (at >> 7);
    (mixed >> 24) as u8 ^ seed
}

pub(crate) fn fill(seed: u8, start: u32, to: &mut [u8]) {
    for (to, at) in to.iter_mut().zip(start..) {
        *to = byte(seed, at);
    }
}

/// The download information of a package, with its three digests.
pub(crate) fn info(plan: &str, seed: u8, length: u32) -> DownloadInfo {
    let crc32 = Crc::<u32, NoTable>::new(&CRC_32_ISO_HDLC);
    let (mut md5, mut sha256, mut crc32) = (Md5::new(), Sha256::new(), crc32.digest());
    for at in 0..length {
        let byte = [byte(seed, at)];
        md5.update(byte);
        sha256.update(byte);
        crc32.update(&byte);
    }
    DownloadInfo {
        plan: plan.try_into().unwrap_or_default(),
        length,
        md5: Some(md5.finalize().into()),
        crc32: Some(crc32.finalize()),
        sha256: Some(sha256.finalize().into()),
        uri: "coap://192.0.2.1/p".try_into().unwrap_or_default(),
    }
}
