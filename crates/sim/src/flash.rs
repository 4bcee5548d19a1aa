//! NOR flash with the rules of the real part, and with what a power cut and age do to it.
//!
//! | rule | broken gives |
//! |---|---|
//! | offset and length of a write are multiples of `WRITE`, an erase covers whole pages of `PAGE` bytes | [`FlashError::NotAligned`] |
//! | nothing beyond the end, reads too | [`FlashError::OutOfBounds`] |
//! | only erased words are written (a word of all 0xFF may go anywhere and changes nothing) | [`FlashError::NotErased`] |
//!
//! A broken rule is a bug of the machine under test: nothing is changed, and [`SimFlash::violation`] tells the
//! first one at the end.
//!
//! | what happens | leaves |
//! |---|---|
//! | cut in a write | the words before a random one are written; in that one each bit is old or new; the others are old |
//! | cut in an erase | rows that are kept, erased, all 0 (NOR programs a page before it erases it), or between; bits between may read differently every time |
//! | cut in an erase, another time | a **marginal** page: it reads blank, and at later power-ups bits of it go to 0 until it is erased once more |
//! | `fail_write`, `fail_erase`, `flaky_once` | an error, and the same as a cut (never a marginal page); the power stays |
//! | `bit_flip` | one bit is another; a write over such a cell is not the machine's bug, and the bit stays 0 |
//!
//! A marginal page is a trap for a machine that looks whether a page is blank instead of erasing it:
//! [`FlashStats::marginal_writes`] counts how often one went into it.

mod faults;
mod power;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash, check_erase, check_read,
    check_write,
};

use crate::rng::Rng;
use power::Fate;
pub use power::{CutMoment, FlashPower};

/// What an erased byte reads as.
pub const ERASED: u8 = 0xFF;

/// Why a flash operation was not done, or not wholly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlashError {
    /// Offset or length is not a multiple of the write or page size.
    #[error("the flash operation is not aligned")]
    NotAligned,
    /// The range ends beyond the flash.
    #[error("the flash operation is out of bounds")]
    OutOfBounds,
    /// A word that is to be written was not erased before.
    #[error("the word at {0:#x} was not erased before the write")]
    NotErased(u32),
    /// The power is off, or went in this operation.
    #[error("the flash has no power")]
    PowerOff,
    /// The part says that the operation at this offset failed; it is done in part.
    #[error("the flash operation at {0:#x} failed")]
    Failed(u32),
}

impl NorFlashError for FlashError {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            FlashError::NotAligned => NorFlashErrorKind::NotAligned,
            FlashError::OutOfBounds => NorFlashErrorKind::OutOfBounds,
            FlashError::NotErased(_) | FlashError::PowerOff | FlashError::Failed(_) => {
                NorFlashErrorKind::Other
            }
        }
    }
}

impl From<NorFlashErrorKind> for FlashError {
    fn from(kind: NorFlashErrorKind) -> Self {
        match kind {
            NorFlashErrorKind::NotAligned => FlashError::NotAligned,
            _ => FlashError::OutOfBounds,
        }
    }
}

/// What a part holds before it is first used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstContent {
    /// 0xFF everywhere.
    Erased,
    /// Random bytes: the part was used for something else before.
    Garbage,
}

/// What was done to a flash so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlashStats {
    /// Writes and page erases that changed something or should have; those of a cut `Before` are not in.
    pub operations: u64,
    /// Page erases among them.
    pub erases: u64,
    /// Bytes programmed, whole words of torn writes too.
    pub bytes_written: u64,
    /// Erases of the page that was erased most.
    pub max_wear: u32,
    /// Writes into a page that is marginal: the machine took "reads blank" for "is erased".
    pub marginal_writes: u64,
}

/// One partition of NOR flash. `PAGE` is the erase size and `WRITE` the write size, in bytes.
///
/// A clone is a copy of the contents **on the same power**; see [`SimFlash::copy_on`] for one of its own.
#[derive(Clone, Debug)]
pub struct SimFlash<const PAGE: usize, const WRITE: usize> {
    cells: Vec<u8>,
    power: FlashPower,
    rng: Rng,
    /// Power-ups whose effect on marginal pages is in `cells`.
    power_ups: u64,
    /// Per page the cells that read differently every time.
    unstable: BTreeMap<usize, Vec<u8>>,
    marginal: BTreeSet<usize>,
    /// Bytes that lost a bit at rest: not 0xFF, though erased and not written since.
    decayed: BTreeSet<usize>,
    failing_erase: BTreeSet<usize>,
    failing_write: BTreeSet<usize>,
    wear: Vec<u32>,
    stats: FlashStats,
    violation: Option<String>,
}

/// How much of an operation is done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    Nothing,
    Part,
    Whole,
}

impl<const PAGE: usize, const WRITE: usize> SimFlash<PAGE, WRITE> {
    /// A flash of `size` bytes on `power`. `rng` decides its first content and what torn operations leave.
    ///
    /// # Panics
    /// `size` is 0 or not a whole number of pages.
    pub fn new(power: &FlashPower, mut rng: Rng, size: u32, content: FirstContent) -> Self {
        const {
            assert!(WRITE > 0 && PAGE.is_multiple_of(WRITE));
        }
        let size = size as usize;
        assert!(
            size > 0 && size.is_multiple_of(PAGE),
            "{size} bytes are not whole pages of {PAGE}"
        );
        let mut cells = vec![ERASED; size];
        if content == FirstContent::Garbage {
            rng.fill(&mut cells);
        }
        SimFlash {
            cells,
            power: power.clone(),
            rng,
            power_ups: power.power_ups().unwrap_or(0),
            unstable: BTreeMap::new(),
            marginal: BTreeSet::new(),
            decayed: BTreeSet::new(),
            failing_erase: BTreeSet::new(),
            failing_write: BTreeSet::new(),
            wear: vec![0; size / PAGE],
            stats: FlashStats::default(),
            violation: None,
        }
    }

    /// A copy on another power: that of a copied node, see [`FlashPower::copy`].
    pub fn copy_on(&self, power: &FlashPower) -> Self {
        SimFlash {
            power: power.clone(),
            ..self.clone()
        }
    }

    /// Puts `bytes` at `offset` without an operation: what the factory wrote.
    ///
    /// # Panics
    /// They do not fit.
    pub fn load(&mut self, offset: u32, bytes: &[u8]) {
        let at = offset as usize;
        self.cells[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// The power this flash is on.
    pub fn power(&self) -> &FlashPower {
        &self.power
    }

    /// The whole content, for the world to judge; works without power. A cell that reads differently every time
    /// has one of its values here.
    pub fn bytes(&mut self) -> &[u8] {
        if let Some(power_ups) = self.power.power_ups() {
            self.age(power_ups);
        }
        &self.cells
    }

    /// The first rule that the machine under test broke.
    pub fn violation(&self) -> Option<&str> {
        self.violation.as_deref()
    }

    /// What was done so far.
    pub fn stats(&self) -> FlashStats {
        self.stats
    }

    /// Erases per page.
    pub fn wear(&self) -> &[u32] {
        &self.wear
    }

    /// Pages (by number) that read blank without being erased.
    pub fn marginal_pages(&self) -> impl Iterator<Item = u32> {
        self.marginal.iter().map(|&page| page as u32)
    }

    /// Reads and operations begin here.
    fn wake(&mut self) -> Result<(), FlashError> {
        let power_ups = self.power.power_ups().ok_or(FlashError::PowerOff)?;
        self.age(power_ups);
        Ok(())
    }

    /// Remembers a broken rule; its error.
    fn broken(&mut self, error: FlashError, what: &str, from: u32, to: u64) -> FlashError {
        if self.violation.is_none() {
            self.violation = Some(format!("{what} {from:#x}..{to:#x}: {error}"));
        }
        error
    }

    /// Begins an operation at `at`: how much of it is done, and its answer.
    fn begin(&self, failing: bool, at: u32) -> (Extent, Result<(), FlashError>) {
        let able = if failing { Extent::Part } else { Extent::Whole };
        let off = Err(FlashError::PowerOff);
        match self.power.begin() {
            None | Some(Fate::Cut(CutMoment::Before)) => (Extent::Nothing, off),
            Some(Fate::Cut(CutMoment::Middle)) => (Extent::Part, off),
            Some(Fate::Cut(CutMoment::After)) => (able, off),
            Some(Fate::Flaky) => (Extent::Part, Err(FlashError::Failed(at))),
            Some(Fate::Whole) if failing => (able, Err(FlashError::Failed(at))),
            Some(Fate::Whole) => (able, Ok(())),
        }
    }

    /// The first word of a write that is not erased.
    fn not_erased(&self, at: usize, bytes: &[u8]) -> Option<usize> {
        let there = &self.cells[at..at + bytes.len()];
        if self.unstable.is_empty() && there.iter().all(|&cell| cell == ERASED) {
            return None;
        }
        (at..at + bytes.len()).step_by(WRITE).find(|&word| {
            let new = &bytes[word - at..word - at + WRITE];
            new.iter().any(|&byte| byte != ERASED)
                && (word..word + WRITE).any(|i| {
                    let wavers = self.unstable.get(&(i / PAGE));
                    wavers.is_some_and(|mask| mask[i % PAGE] != 0)
                        || (self.cells[i] != ERASED && !self.decayed.contains(&i))
                })
        })
    }

    fn program(&mut self, at: usize, bytes: &[u8]) {
        for (cell, byte) in self.cells[at..].iter_mut().zip(bytes) {
            *cell &= byte;
        }
        if !self.decayed.is_empty() {
            self.decayed.retain(|i| !(at..at + bytes.len()).contains(i));
        }
        self.stats.bytes_written += bytes.len() as u64;
    }

    fn erase_page(&mut self, page: usize) {
        let (from, to) = (page * PAGE, (page + 1) * PAGE);
        self.cells[from..to].fill(ERASED);
        self.forget_faults(page);
    }
}

impl<const PAGE: usize, const WRITE: usize> ErrorType for SimFlash<PAGE, WRITE> {
    type Error = FlashError;
}

impl<const PAGE: usize, const WRITE: usize> ReadNorFlash for SimFlash<PAGE, WRITE> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), FlashError> {
        self.wake()?;
        if let Err(kind) = check_read(self, offset, bytes.len()) {
            let to = u64::from(offset) + bytes.len() as u64;
            return Err(self.broken(kind.into(), "read of", offset, to));
        }
        let at = offset as usize;
        bytes.copy_from_slice(&self.cells[at..at + bytes.len()]);
        if !self.unstable.is_empty() {
            self.waver(at, bytes);
        }
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.cells.len()
    }
}

impl<const PAGE: usize, const WRITE: usize> NorFlash for SimFlash<PAGE, WRITE> {
    const WRITE_SIZE: usize = WRITE;
    const ERASE_SIZE: usize = PAGE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), FlashError> {
        self.wake()?;
        if let Err(kind) = check_erase(self, from, to) {
            return Err(self.broken(kind.into(), "erase of", from, u64::from(to)));
        }
        for page in from as usize / PAGE..to as usize / PAGE {
            let failing = self.failing_erase.contains(&page);
            let (extent, answer) = self.begin(failing, (page * PAGE) as u32);
            match extent {
                Extent::Nothing => return answer,
                Extent::Part => self.tear_erase(page, answer == Err(FlashError::PowerOff)),
                Extent::Whole => self.erase_page(page),
            }
            self.wear[page] += 1;
            self.stats.operations += 1;
            self.stats.erases += 1;
            self.stats.max_wear = self.stats.max_wear.max(self.wear[page]);
            answer?;
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), FlashError> {
        self.wake()?;
        let to = u64::from(offset) + bytes.len() as u64;
        if let Err(kind) = check_write(self, offset, bytes.len()) {
            return Err(self.broken(kind.into(), "write of", offset, to));
        }
        if bytes.is_empty() {
            return Ok(());
        }
        let at = offset as usize;
        if let Some(word) = self.not_erased(at, bytes) {
            return Err(self.broken(FlashError::NotErased(word as u32), "write of", offset, to));
        }
        let pages = at / PAGE..=(at + bytes.len() - 1) / PAGE;
        let failing = self.failing_write.range(pages.clone()).next().is_some();
        let (extent, answer) = self.begin(failing, offset);
        match extent {
            Extent::Nothing => return answer,
            Extent::Part => self.tear_write(at, bytes),
            Extent::Whole => self.program(at, bytes),
        }
        self.stats.operations += 1;
        self.stats.marginal_writes += u64::from(self.marginal.range(pages).next().is_some());
        answer
    }
}
