//! Which bytes: the digests of a package, and what an MCU's flash holds of it.

use crate::field::kind;
use crate::frame::Writer;

/// The strongest digest of a package; with its length it says which package it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest {
    kind: u8,
    /// Those that a shorter one does not have are 0.
    bytes: [u8; 32],
}

impl Digest {
    /// None.
    pub const NONE: Digest = Digest {
        kind: 0,
        bytes: [0; 32],
    };

    /// CRC-32/ISO-HDLC.
    pub const fn crc32(crc32: u32) -> Digest {
        let mut bytes = [0; 32];
        [bytes[0], bytes[1], bytes[2], bytes[3]] = crc32.to_le_bytes();
        Digest { kind: 1, bytes }
    }

    /// MD5.
    pub const fn md5(md5: &[u8; 16]) -> Digest {
        let mut bytes = [0; 32];
        bytes.split_at_mut(16).0.copy_from_slice(md5);
        Digest { kind: 2, bytes }
    }

    /// SHA-256.
    pub const fn sha256(sha256: [u8; 32]) -> Digest {
        Digest {
            kind: 3,
            bytes: sha256,
        }
    }

    /// Number of its kind on the wire: 1 CRC-32, 2 MD5, 3 SHA-256.
    pub const fn kind(&self) -> u8 {
        self.kind
    }

    /// Bytes of a digest of this kind.
    const fn len(kind: u8) -> Option<usize> {
        match kind {
            1 => Some(4),
            2 => Some(16),
            3 => Some(32),
            _ => None,
        }
    }

    /// Its bytes; a CRC-32 little-endian.
    pub fn as_bytes(&self) -> &[u8] {
        let len = Self::len(self.kind).unwrap_or_default();
        self.bytes.get(..len).unwrap_or_default()
    }

    /// Its bytes and 0 behind them.
    pub const fn padded(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// The digest of this kind with these bytes and what is behind them.
    pub fn from_padded(kind: u8, bytes: &[u8]) -> Option<Digest> {
        let bytes = *bytes.as_array()?;
        matches!(kind, 1..=3).then_some(Digest { kind, bytes })
    }

    /// The digest of this kind with these bytes.
    pub fn new(kind: u8, bytes: &[u8]) -> Option<Digest> {
        let mut padded = [0; 32];
        if Self::len(kind)? != bytes.len() {
            return None;
        }
        for (to, from) in padded.iter_mut().zip(bytes) {
            *to = *from;
        }
        Some(Digest {
            kind,
            bytes: padded,
        })
    }
}

/// What an MCU's flash holds of a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resume {
    /// Bytes that are durable from the package's first on.
    pub offset: u32,
    /// The package's length in bytes.
    pub length: u32,
    /// The package's strongest digest.
    pub digest: Digest,
}

impl Resume {
    /// Writes the field.
    pub(crate) fn write(&self, w: &mut Writer) {
        let digest = self.digest.as_bytes();
        w.u8(kind::RESUME).u8(9 + digest.len() as u8);
        w.u32(self.offset).u32(self.length);
        w.u8(self.digest.kind()).bytes(digest);
    }
}

/// An image: which bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Image {
    /// Bytes.
    pub length: u32,
    /// SHA-256, if known.
    pub sha256: Option<[u8; 32]>,
    /// MD5, if known.
    pub md5: Option<[u8; 16]>,
    /// CRC-32/ISO-HDLC, if known.
    pub crc32: Option<u32>,
}

impl Image {
    /// None.
    pub const NONE: Image = Image {
        length: 0,
        sha256: None,
        md5: None,
        crc32: None,
    };

    /// It has one that this build reads.
    pub const fn has_digest(&self) -> bool {
        self.sha256.is_some()
            || (cfg!(feature = "md5") && self.md5.is_some())
            || (cfg!(feature = "crc32") && self.crc32.is_some())
    }

    /// The strongest digest.
    pub fn digest(&self) -> Option<Digest> {
        self.has_digest().then(|| self.strongest())
    }

    /// The same; without any that this build reads [`Digest::NONE`].
    pub fn strongest(&self) -> Digest {
        match (&self.sha256, &self.md5, self.crc32) {
            (Some(sha256), ..) => Digest::sha256(*sha256),
            (_, Some(md5), _) if cfg!(feature = "md5") => Digest::md5(md5),
            (.., Some(crc32)) if cfg!(feature = "crc32") => Digest::crc32(crc32),
            _ => Digest::NONE,
        }
    }
}
