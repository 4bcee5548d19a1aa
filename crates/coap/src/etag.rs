//! ETag: names one version of a representation (RFC 7252 section 5.10.6).

use core::fmt;

/// 0..=8 bytes; empty means none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Etag {
    // Bytes past `len` are zero, so that the derived comparison is right.
    bytes: [u8; 8],
    len: u8,
}

impl Etag {
    /// None.
    pub const NONE: Etag = Etag {
        bytes: [0; 8],
        len: 0,
    };

    /// `None` for more than 8 bytes.
    pub fn new(etag: &[u8]) -> Option<Etag> {
        let mut bytes = [0; 8];
        bytes.get_mut(..etag.len())?.copy_from_slice(etag);
        Some(Etag {
            bytes,
            len: etag.len() as u8,
        })
    }

    /// The bytes on the wire.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&[])
    }

    /// There is none.
    pub const fn is_none(&self) -> bool {
        self.len == 0
    }
}

impl fmt::Debug for Etag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes()
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
