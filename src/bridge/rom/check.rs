//! What was read back, against the strongest digest of the package.

use crate::message::Package;
use crc::{CRC_32_ISO_HDLC, Crc, Digest, NoTable};
use md5::Md5;
use sha2::{Digest as _, Sha256};
use sota_stm32::{Fault, RomError};

static CRC: Crc<u32, NoTable> = Crc::<u32, NoTable>::new(&CRC_32_ISO_HDLC);

enum Strongest {
    Sha256(Sha256),
    Md5(Md5),
    Crc32,
}

/// Under way, or why the upgrade is given up.
#[allow(clippy::large_enum_variant)] // there is one, in the bridge
pub(super) enum Check {
    None,
    Digest(Strong),
    Failed(Fault),
}

/// The CRC-32 is always there: it names an image without a version.
pub(super) struct Strong {
    strongest: Strongest,
    crc: Digest<'static, u32, NoTable>,
}

impl Check {
    /// Why the upgrade is given up.
    pub(super) fn error(&self) -> RomError {
        match self {
            Check::Failed(fault) => fault.error,
            _ => RomError::RomGaveUp,
        }
    }

    pub(super) fn of(package: Option<&Package>) -> Check {
        let Some(package) = package else {
            return Check::None;
        };
        let strongest = if package.sha256.is_some() {
            Strongest::Sha256(Sha256::new())
        } else if package.md5.is_some() {
            Strongest::Md5(Md5::new())
        } else {
            Strongest::Crc32
        };
        Check::Digest(Strong {
            strongest,
            crc: CRC.digest(),
        })
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        if let Check::Digest(digest) = self {
            digest.crc.update(bytes);
            match &mut digest.strongest {
                Strongest::Sha256(sha256) => sha256.update(bytes),
                Strongest::Md5(md5) => md5.update(bytes),
                Strongest::Crc32 => {}
            }
        }
    }

    pub(super) fn crc32(&self) -> u32 {
        match self {
            Check::Digest(digest) => digest.crc.clone().finalize(),
            _ => 0,
        }
    }

    /// A foreign server may have told none: then each block was compared with the engine's, and that is all there is.
    pub(super) fn matches(&self, package: Option<&Package>) -> bool {
        let (Check::Digest(digest), Some(package)) = (self, package) else {
            return false;
        };
        match &digest.strongest {
            Strongest::Sha256(sha256) => package.sha256 == Some(sha256.clone().finalize().into()),
            Strongest::Md5(md5) => package.md5 == Some(md5.clone().finalize().into()),
            Strongest::Crc32 => package.crc32.is_none_or(|crc32| crc32 == self.crc32()),
        }
    }
}
