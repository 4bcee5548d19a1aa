//! A flash partition as the component's NOR flash.
//!
//! `PAGE` and `WRITE` come from the devicetree when the image is built (`zephyr/CMakeLists.txt`); the shim compares
//! them with what the driver says when it opens the partition and gives no bytes where they do not agree.

use crate::config::number;
use crate::sys::{self, Area};
use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash, check_erase, check_read,
    check_write,
};
use sota::platform::Flash;

/// One partition.
pub struct Partition<const PAGE: usize, const WRITE: usize> {
    id: u8,
    size: u32,
    /// 0, or all bits where an erased byte reads as 0: the component knows 0xFF only.
    flip: u8,
}

/// Bytes turned at once where an erased byte is not 0xFF.
const CHUNK: usize = 64;

impl<const PAGE: usize, const WRITE: usize> Partition<PAGE, WRITE> {
    fn open(id: u8) -> Self {
        let Area { size, erased } = sys::flash_open(id, PAGE as u32, WRITE as u32);
        Partition {
            id,
            size: size - size % PAGE as u32,
            flip: erased ^ 0xFF,
        }
    }

    fn write_flipped(&mut self, mut at: u32, bytes: &[u8]) -> bool {
        let mut turned = [0; CHUNK];
        let step = CHUNK - CHUNK % WRITE;
        for part in bytes.chunks(step) {
            for (to, from) in turned.iter_mut().zip(part) {
                *to = from ^ self.flip;
            }
            if !sys::flash_write(self.id, at, turned.get(..part.len()).unwrap_or_default()) {
                return false;
            }
            at += part.len() as u32;
        }
        true
    }
}

/// Why an operation was not done.
#[derive(Clone, Copy, Debug)]
pub struct Failed(NorFlashErrorKind);

impl From<NorFlashErrorKind> for Failed {
    fn from(kind: NorFlashErrorKind) -> Self {
        Failed(kind)
    }
}

impl NorFlashError for Failed {
    fn kind(&self) -> NorFlashErrorKind {
        self.0
    }
}

fn done(good: bool) -> Result<(), Failed> {
    good.then_some(()).ok_or(Failed(NorFlashErrorKind::Other))
}

impl<const PAGE: usize, const WRITE: usize> ErrorType for Partition<PAGE, WRITE> {
    type Error = Failed;
}

impl<const PAGE: usize, const WRITE: usize> ReadNorFlash for Partition<PAGE, WRITE> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Failed> {
        check_read(self, offset, bytes.len())?;
        done(sys::flash_read(self.id, offset, bytes))?;
        if self.flip != 0 {
            bytes.iter_mut().for_each(|byte| *byte ^= self.flip);
        }
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.size as usize
    }
}

impl<const PAGE: usize, const WRITE: usize> NorFlash for Partition<PAGE, WRITE> {
    const WRITE_SIZE: usize = WRITE;
    const ERASE_SIZE: usize = PAGE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Failed> {
        check_erase(self, from, to)?;
        done(sys::flash_erase(self.id, from, to - from))
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Failed> {
        check_write(self, offset, bytes.len())?;
        done(match self.flip {
            0 => sys::flash_write(self.id, offset, bytes),
            _ => self.write_flipped(offset, bytes),
        })
    }
}

type Staging =
    Partition<{ number(env!("SOTA_STAGING_PAGE")) }, { number(env!("SOTA_STAGING_WRITE")) }>;
type Journal =
    Partition<{ number(env!("SOTA_JOURNAL_PAGE")) }, { number(env!("SOTA_JOURNAL_WRITE")) }>;

/// `sota,staging` and `sota,journal`.
pub struct Partitions {
    staging: Staging,
    journal: Journal,
}

impl Partitions {
    /// As the flash map has them; the shim logs what cannot be used.
    pub fn open() -> Self {
        Partitions {
            staging: Staging::open(0),
            journal: Journal::open(1),
        }
    }
}

impl Flash for Partitions {
    type Staging = Staging;
    type Journal = Journal;

    fn staging(&mut self) -> &mut Staging {
        &mut self.staging
    }

    fn journal(&mut self) -> &mut Journal {
        &mut self.journal
    }
}
