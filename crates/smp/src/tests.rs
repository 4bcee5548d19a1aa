//! What the tests of this crate share.

use std::string::String;
use std::vec::Vec;

/// `tests/vectors.py` wrote them.
const VECTORS: &str = include_str!("../tests/vectors.txt");

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digit = |c: u8| char::from(c).to_digit(16).unwrap() as u8;
    let text = text.trim().as_bytes();
    text.chunks(2)
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect()
}

pub(crate) fn vector(name: &str) -> Vec<u8> {
    let of = |line: &&str| line.split_once(' ').is_some_and(|(its, _)| its == name);
    let line = VECTORS.lines().find(of).unwrap_or_else(|| panic!("{name}"));
    unhex(line.split_once(' ').unwrap().1)
}

/// Bytes that are the same each time (splitmix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % limit
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.below(256) as u8).collect()
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
