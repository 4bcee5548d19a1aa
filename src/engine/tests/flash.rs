//! A NOR flash in memory: erase before write, alignment, bounds, and power that goes at a chosen operation.

use std::vec::Vec;

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
};

use crate::platform::Flash;

/// Power left for this many writes and erases; the next one is done half and everything fails after it.
#[derive(Clone, Debug)]
pub(super) struct Power {
    pub(super) left: Option<u32>,
    pub(super) used: u32,
}

#[derive(Clone, Debug)]
pub(super) struct Nor<const PAGE: usize, const WRITE: usize> {
    pub(super) bytes: Vec<u8>,
    pub(super) power: Power,
    pub(super) erases: u32,
    pub(super) broken: bool,
}

impl<const PAGE: usize, const WRITE: usize> Nor<PAGE, WRITE> {
    pub(super) fn new(size: usize) -> Self {
        // Not erased: what a part holds that was used for something else before.
        let bytes = (0..size).map(|i| (i * 7) as u8).collect();
        Nor {
            bytes,
            power: Power {
                left: None,
                used: 0,
            },
            erases: 0,
            broken: false,
        }
    }

    /// Bytes of an operation over `len` bytes that still happen.
    fn spend(&mut self, len: usize) -> Result<usize, NorFlashErrorKind> {
        if self.broken {
            return Err(NorFlashErrorKind::Other);
        }
        self.power.used += 1;
        match self.power.left.as_mut() {
            Some(0) => Err(NorFlashErrorKind::Other),
            Some(left) => {
                *left -= 1;
                Ok(if *left == 0 { len / 2 } else { len })
            }
            None => Ok(len),
        }
    }

    fn dead(&self) -> bool {
        self.power.left == Some(0)
    }
}

impl<const PAGE: usize, const WRITE: usize> ErrorType for Nor<PAGE, WRITE> {
    type Error = NorFlashErrorKind;
}

impl<const PAGE: usize, const WRITE: usize> ReadNorFlash for Nor<PAGE, WRITE> {
    const READ_SIZE: usize = 1;
    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        check_read(self, offset, bytes.len())?;
        let at = offset as usize;
        bytes.copy_from_slice(&self.bytes[at..at + bytes.len()]);
        Ok(())
    }
    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl<const PAGE: usize, const WRITE: usize> NorFlash for Nor<PAGE, WRITE> {
    const WRITE_SIZE: usize = WRITE;
    const ERASE_SIZE: usize = PAGE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
        check_erase(self, from, to)?;
        let n = self.spend((to - from) as usize)?;
        self.erases += (to - from) / PAGE as u32;
        self.bytes[from as usize..from as usize + n].fill(0xFF);
        if self.dead() {
            Err(NorFlashErrorKind::Other)
        } else {
            Ok(())
        }
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        check_write(self, offset, bytes.len())?;
        let at = offset as usize;
        assert!(
            self.bytes[at..at + bytes.len()].iter().all(|b| *b == 0xFF),
            "written over what is not erased at {at}"
        );
        let n = self.spend(bytes.len())?;
        self.bytes[at..at + n].copy_from_slice(&bytes[..n]);
        if n < bytes.len() {
            // The word in which power went holds anything.
            self.bytes[at + n] &= 0x5A;
        }
        if self.dead() {
            Err(NorFlashErrorKind::Other)
        } else {
            Ok(())
        }
    }
}

/// Both partitions of a module; power is one for both.
#[derive(Clone, Debug)]
pub(super) struct Parts<const PAGE: usize = 1024, const WRITE: usize = 4> {
    pub(super) staging: Nor<PAGE, WRITE>,
    pub(super) journal: Nor<PAGE, WRITE>,
    last_staging: bool,
}

impl<const PAGE: usize, const WRITE: usize> Parts<PAGE, WRITE> {
    pub(super) fn new(staging: usize, journal: usize) -> Self {
        Parts {
            staging: Nor::new(staging),
            journal: Nor::new(journal),
            last_staging: false,
        }
    }

    fn share(&mut self) {
        let power = match self.last_staging {
            true => self.staging.power.clone(),
            false => self.journal.power.clone(),
        };
        self.staging.power = power.clone();
        self.journal.power = power;
    }

    /// Power goes during the operation after `left` whole ones; `None`: it stays.
    pub(super) fn set_power(&mut self, left: Option<u32>) {
        let power = Power {
            left: left.map(|n| n + 1),
            used: 0,
        };
        self.staging.power = power.clone();
        self.journal.power = power;
    }

    pub(super) fn used(&mut self) -> u32 {
        self.share();
        self.staging.power.used
    }

    pub(super) fn dead(&mut self) -> bool {
        self.share();
        self.staging.dead()
    }
}

impl<const PAGE: usize, const WRITE: usize> Flash for Parts<PAGE, WRITE> {
    type Staging = Nor<PAGE, WRITE>;
    type Journal = Nor<PAGE, WRITE>;
    fn staging(&mut self) -> &mut Self::Staging {
        self.share();
        self.last_staging = true;
        &mut self.staging
    }
    fn journal(&mut self) -> &mut Self::Journal {
        self.share();
        self.last_staging = false;
        &mut self.journal
    }
}

#[test]
fn the_flash_is_strict() {
    let mut nor = Nor::<1024, 4>::new(2048);
    assert!(nor.erase(0, 1000).is_err());
    assert!(nor.erase(0, 4096).is_err());
    nor.erase(0, 1024).unwrap();
    assert!(nor.write(2, &[0; 4]).is_err());
    nor.write(0, &[0; 4]).unwrap();
    let again = std::panic::catch_unwind(move || nor.write(0, &[0; 4]));
    assert!(again.is_err());
}
