//! A NOR flash in memory: it is written only where it is erased, it wears, and power goes when the script says.

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
};
use sota::platform::Flash;

/// Bytes of an erase page.
pub const PAGE: usize = 1024;
/// Bytes of the least write.
pub const WRITE: usize = 4;

/// One partition.
#[derive(Clone, Debug)]
pub struct Nor {
    /// What it holds.
    pub bytes: Vec<u8>,
    /// Writes and erases until power goes, in the middle of the last; `None`: it stays.
    power: Option<u32>,
    /// Every write and erase fails.
    pub broken: bool,
}

impl Nor {
    /// A partition with these bytes; its length is a multiple of [`PAGE`].
    pub fn new(bytes: Vec<u8>) -> Self {
        assert!(bytes.len().is_multiple_of(PAGE));
        Nor {
            bytes,
            power: None,
            broken: false,
        }
    }

    /// Power is gone.
    pub fn dead(&self) -> bool {
        self.power == Some(0)
    }

    /// See [`Parts::set_power`].
    pub fn set_power(&mut self, left: Option<u32>) {
        self.power = left.map(|left| left + 1);
    }

    /// Bytes of an operation over `len` bytes that still happen, `None`: none.
    fn spend(&mut self, len: usize) -> Option<usize> {
        if self.broken {
            return None;
        }
        match self.power.as_mut() {
            None => Some(len),
            Some(0) => None,
            Some(left) => {
                *left -= 1;
                Some(if *left == 0 { len / 2 } else { len })
            }
        }
    }

    fn after(&self) -> Result<(), NorFlashErrorKind> {
        match self.dead() {
            true => Err(NorFlashErrorKind::Other),
            false => Ok(()),
        }
    }
}

impl ErrorType for Nor {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Nor {
    const READ_SIZE: usize = 1;
    fn read(&mut self, offset: u32, out: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        if check_read(self, offset, out.len()).is_err() {
            panic!(
                "{} bytes at {offset} are read, outside the partition",
                out.len()
            );
        }
        out.copy_from_slice(&self.bytes[offset as usize..][..out.len()]);
        Ok(())
    }
    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl NorFlash for Nor {
    const WRITE_SIZE: usize = WRITE;
    const ERASE_SIZE: usize = PAGE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        check_erase(self, from, to).expect("whole pages inside the partition");
        let len = (to - from) as usize;
        assert_eq!(len, PAGE, "one page at a time");
        let n = self.spend(len).ok_or(NorFlashErrorKind::Other)?;
        self.bytes[from as usize..][..n].fill(0xFF);
        self.after()
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        check_write(self, offset, bytes.len()).expect("whole words inside the partition");
        let place = offset as usize..offset as usize + bytes.len();
        if self.dead() || self.broken {
            return Err(NorFlashErrorKind::Other);
        }
        assert!(
            self.bytes[place.clone()].iter().all(|byte| *byte == 0xFF),
            "a word at {place:?} is written twice"
        );
        let n = self.spend(bytes.len()).ok_or(NorFlashErrorKind::Other)?;
        self.bytes[place.start..][..n].copy_from_slice(&bytes[..n]);
        if n < bytes.len() {
            // The word in which power went holds anything.
            self.bytes[place.start + n] &= 0x5A;
        }
        self.after()
    }
}

/// Both partitions of a module; power is one for both.
#[derive(Clone, Debug)]
pub struct Parts {
    /// One piece and the scratch page.
    pub staging: Nor,
    /// The journal.
    pub journal: Nor,
}

impl Parts {
    /// Bytes of the staging partition: a piece of two pages, and the scratch page.
    pub const STAGING: usize = 3 * PAGE;
    /// Bytes of the journal: two sectors.
    pub const JOURNAL: usize = 8 * PAGE;

    /// Parts that held something else before.
    pub fn used() -> Self {
        let old = |len: usize| (0..len).map(|at| (at * 7) as u8).collect();
        Parts {
            staging: Nor::new(old(Self::STAGING)),
            journal: Nor::new(old(Self::JOURNAL)),
        }
    }

    /// Power goes in the operation after `left` whole ones of either; `None`: it stays, or comes back.
    pub fn set_power(&mut self, left: Option<u32>) {
        let power = left.map(|left| left + 1);
        (self.staging.power, self.journal.power) = (power, power);
    }

    /// Power is gone.
    pub fn dead(&self) -> bool {
        self.staging.dead() || self.journal.dead()
    }

    /// What one partition spent the other has not either.
    fn share(&mut self) {
        let least = match (self.staging.power, self.journal.power) {
            (Some(a), Some(b)) => Some(a.min(b)),
            _ => None,
        };
        (self.staging.power, self.journal.power) = (least, least);
    }
}

impl Flash for Parts {
    type Staging = Nor;
    type Journal = Nor;
    fn staging(&mut self) -> &mut Nor {
        self.share();
        &mut self.staging
    }
    fn journal(&mut self) -> &mut Nor {
        self.share();
        &mut self.journal
    }
}
