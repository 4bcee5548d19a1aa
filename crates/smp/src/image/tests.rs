//! Images that imgtool wrote, whole, in pieces, and without their beginning.

use super::*;
use crate::tests::{Random, unhex};
use std::vec::Vec;

/// `imgtool sign --header-size 0x20 --pad-header --align 4 --slot-size 0x1000 --version 1.2.3+45 [--security-counter 5]` of
/// 00 01 … 24.
const PLAIN: &str = include_str!("../../../mcu/tests/mcuboot/plain.hex");
const PROTECTED: &str = include_str!("../../../mcu/tests/mcuboot/protected.hex");

/// Looks through it with so many bytes at a time.
fn find(scan: &mut Scan, image: &[u8], step: usize) -> Option<Hash> {
    while let Some((at, want)) = scan.wants() {
        let at = at as usize;
        let bytes = &image[at..at + want.min(step)];
        if scan.put(bytes).is_err() {
            assert!(scan.has_failed());
            return None;
        }
    }
    scan.hash().copied()
}

fn images() -> [(Vec<u8>, usize); 2] {
    // the first TLV is the hash
    [
        (unhex(PLAIN), 32 + 37 + 8),
        (unhex(PROTECTED), 32 + 37 + 12 + 8),
    ]
}

#[test]
fn what_imgtool_wrote() {
    for (image, at) in images() {
        let wanted = Hash::new(&image[at..at + 32]);
        assert!(wanted.is_some());
        for step in [1, 3, 64] {
            let mut scan = Scan::new(image.len() as u32);
            assert_eq!(find(&mut scan, &image, step), wanted);
            for start in 0..at - 8 {
                let mut tail = Scan::tail(image.len() as u32, start as u32);
                assert_eq!(find(&mut tail, &image, step), wanted, "{start}");
            }
        }
        // what comes after the TLVs is padding
        let mut padded = image.clone();
        padded.resize(4096, 0xFF);
        assert_eq!(find(&mut Scan::new(4096), &padded, 64), wanted);
        // and with the list's beginning gone there is none
        let mut tail = Scan::tail(image.len() as u32, at as u32 - 7);
        assert_eq!(find(&mut tail, &image, 64), None);
    }
}

#[test]
fn what_is_none() {
    let (image, _) = &images()[0];
    let length = image.len() as u32;
    // magic, header's size, image's size, TLVs' magic and size, the hash's type and length
    for at in [0, 3, 8, 9, 12, 15, 69, 70, 71, 73, 75] {
        let mut harmed = image.clone();
        harmed[at] ^= 0xF0;
        assert_eq!(find(&mut Scan::new(length), &harmed, 64), None, "{at}");
    }
    for cut in 0..length {
        let mut scan = Scan::new(cut);
        assert!(
            find(&mut scan, image, 64).is_none_or(|_| cut == length),
            "{cut}"
        );
    }
    assert!(Scan::new(0).wants().is_some_and(|(_, want)| want > 0));
    assert_eq!(Scan::tail(3, 0).wants(), None);
}

#[test]
fn any_bytes_do_not_panic() {
    let (image, _) = &images()[1];
    let mut random = Random(9);
    for _ in 0..5_000 {
        let mut bytes = image.clone();
        for _ in 0..3 {
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] = random.below(256) as u8;
        }
        let length = bytes.len() as u32;
        find(&mut Scan::new(length), &bytes, 64);
        find(&mut Scan::tail(length, 0), &bytes, 64);
    }
}
