//! Bytes as text.

/// The bytes as text; `None` if they are not UTF-8.
///
/// The one place where bytes become text: [`core::str::from_utf8`] tells where the fault is and reads ASCII by words,
/// which takes a small processor 200 bytes of code more and each caller some.
#[inline(never)]
pub fn utf8(bytes: &[u8]) -> Option<&str> {
    match bytes.utf8_chunks().next() {
        None => Some(""),
        Some(chunk) => (chunk.valid().len() == bytes.len()).then_some(chunk.valid()),
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::utf8;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn as_by_core(bytes: std::vec::Vec<u8>, text in ".{0,8}", cut in 0usize..32) {
            for bytes in [&bytes[..], text.as_bytes(), &text.as_bytes()[..cut.min(text.len())]] {
                prop_assert_eq!(utf8(bytes), core::str::from_utf8(bytes).ok());
            }
        }
    }
}
