//! NOR flash that is strict about words and pages, and loses power at a chosen operation.

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};

/// What a power cut leaves of the operation that was under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Nothing was done.
    Before,
    /// A word: any bits. A page: words of what was there, erased ones, and any bits.
    Middle,
    /// It reads as if nothing (a word) or everything (a page) was done, and does not hold what is written to it.
    Weak,
    /// It was done.
    After,
}

pub const MOMENTS: [Moment; 4] = [Moment::Before, Moment::Middle, Moment::Weak, Moment::After];

#[derive(Debug)]
pub struct Failed(NorFlashErrorKind);

impl NorFlashError for Failed {
    fn kind(&self) -> NorFlashErrorKind {
        self.0
    }
}

/// `PAGE` bytes are erased at once, `WORD` bytes written at once, each word once.
#[derive(Clone)]
pub struct Nor<const PAGE: usize, const WORD: usize> {
    pub memory: Vec<u8>,
    /// Words written since their erase.
    written: Vec<bool>,
    weak: Vec<bool>,
    /// Pages whose erase did not end.
    torn: Vec<bool>,
    /// Pages erased and words written.
    pub operations: u32,
    pub erases: u32,
    /// Power goes at this operation.
    pub cut: Option<(u32, Moment)>,
    pub is_off: bool,
    /// Erases or writes from this address on, so many bytes, fail although power is there.
    pub broken: Option<(u32, u32)>,
    /// A word written twice, or in a page that was not erased whole, is a mistake; else it gets what such flash gives.
    pub strict: bool,
    seed: u64,
}

impl<const PAGE: usize, const WORD: usize> Nor<PAGE, WORD> {
    pub fn new(size: usize, seed: u64) -> Self {
        Nor {
            memory: vec![0xFF; size],
            written: vec![false; size / WORD],
            weak: vec![false; size / WORD],
            torn: vec![false; size / PAGE],
            operations: 0,
            erases: 0,
            cut: None,
            is_off: false,
            broken: None,
            strict: true,
            seed: seed | 1,
        }
    }

    /// As a programmer does it in the factory.
    pub fn program(&mut self, at: usize, bytes: &[u8]) {
        self.memory[at..at + bytes.len()].copy_from_slice(bytes);
        let (from, to) = (at / WORD, (at + bytes.len()).div_ceil(WORD));
        self.written[from..to].fill(true);
    }

    /// What an area holds that was used before for something else.
    pub fn litter(&mut self, from: usize, to: usize) {
        for at in from..to {
            self.memory[at] = self.random() as u8;
        }
        self.written[from / WORD..to / WORD].fill(true);
    }

    /// Power comes again. The next cut, if one is wanted, is counted from here.
    pub fn power_on(&mut self, next: Option<(u32, Moment)>) {
        self.is_off = false;
        self.cut = next.map(|(after, moment)| (self.operations + after, moment));
    }

    fn random(&mut self) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed
    }

    fn any(&mut self, from: usize, len: usize) {
        for at in from..from + len {
            self.memory[at] = self.random() as u8;
        }
    }

    /// How this operation is cut short.
    fn begin(&mut self, at: usize) -> Result<Option<Moment>, Failed> {
        let bad = |(from, len): (u32, u32)| (from..from + len).contains(&(at as u32));
        if self.is_off || self.broken.is_some_and(bad) {
            return Err(Failed(NorFlashErrorKind::Other));
        }
        self.operations += 1;
        let cut = self.cut.filter(|(n, _)| *n == self.operations);
        self.is_off = cut.is_some();
        Ok(cut.map(|(_, moment)| moment))
    }

    fn end(&self) -> Result<(), Failed> {
        match self.is_off {
            true => Err(Failed(NorFlashErrorKind::Other)),
            false => Ok(()),
        }
    }

    /// The word holds any bits. They may be those of an erased word: whoever reads it takes it for one that was never written.
    fn half(&mut self, at: usize) {
        let blank = self.memory[at..at + WORD].iter().all(|byte| *byte == 0xFF);
        (self.written[at / WORD], self.weak[at / WORD]) = (!blank, blank);
    }

    fn put_word(&mut self, at: usize, bytes: &[u8]) -> Result<(), Failed> {
        let moment = self.begin(at)?;
        let word = at / WORD;
        if moment == Some(Moment::Before) {
            return self.end();
        }
        if self.strict {
            let whole = !self.torn[at / PAGE];
            assert!(whole, "word {at:#x} in a page not erased whole");
            assert!(!self.written[word], "word {at:#x} written twice");
        }
        match moment {
            Some(Moment::Weak) => self.weak[word] = true,
            Some(Moment::Middle) => {
                self.any(at, WORD);
                self.half(at);
            }
            _ => {
                self.written[word] = true;
                // Bits are cleared, never set.
                for (bits, byte) in self.memory[at..at + WORD].iter_mut().zip(bytes) {
                    *bits &= byte;
                }
                if self.weak[word] {
                    self.any(at, WORD);
                    self.half(at);
                }
            }
        }
        self.end()
    }

    fn erase_page(&mut self, at: usize) -> Result<(), Failed> {
        let moment = self.begin(at)?;
        self.erases += 1;
        let words = at / WORD..(at + PAGE) / WORD;
        match moment {
            Some(Moment::Before) => return self.end(),
            Some(Moment::Middle) => {
                self.torn[at / PAGE] = true;
                for word in words {
                    match self.random() % 3 {
                        0 => {}
                        1 => self.memory[word * WORD..][..WORD].fill(0xFF),
                        _ => self.any(word * WORD, WORD),
                    }
                }
                return self.end();
            }
            _ => {}
        }
        self.torn[at / PAGE] = moment == Some(Moment::Weak);
        self.memory[at..at + PAGE].fill(0xFF);
        self.written[words.clone()].fill(false);
        self.weak[words].fill(false);
        self.end()
    }
}

impl<const PAGE: usize, const WORD: usize> ErrorType for Nor<PAGE, WORD> {
    type Error = Failed;
}

impl<const PAGE: usize, const WORD: usize> ReadNorFlash for Nor<PAGE, WORD> {
    const READ_SIZE: usize = 4;

    fn read(&mut self, at: u32, out: &mut [u8]) -> Result<(), Failed> {
        assert!(
            at.is_multiple_of(4) && out.len().is_multiple_of(4),
            "read of {} at {at:#x}",
            out.len()
        );
        self.end()?;
        out.copy_from_slice(&self.memory[at as usize..][..out.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.memory.len()
    }
}

impl<const PAGE: usize, const WORD: usize> NorFlash for Nor<PAGE, WORD> {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = PAGE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Failed> {
        assert!(
            (from as usize).is_multiple_of(PAGE) && (to as usize).is_multiple_of(PAGE) && from < to
        );
        (from..to)
            .step_by(PAGE)
            .try_for_each(|page| self.erase_page(page as usize))
    }

    fn write(&mut self, at: u32, bytes: &[u8]) -> Result<(), Failed> {
        let at = at as usize;
        assert!(at.is_multiple_of(WORD) && bytes.len().is_multiple_of(WORD) && !bytes.is_empty());
        (bytes.chunks(WORD).enumerate())
            .try_for_each(|(i, word)| self.put_word(at + i * WORD, word))
    }
}
