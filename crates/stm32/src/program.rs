//! What is compared, erased, written and read back, in which order.
//!
//! The head is what the MCU needs to start anything at all: the stack pointer and the reset vector, the first 8 bytes of
//! the image (or one word, if that is more). **It goes before anything is changed, and comes back when all else is there.**
//! A cut at any moment leaves a flash whose head is blank or one that holds a whole image, and the same rules bring both
//! to the end:
//!
//! | the flash at this block | head is there (an image that can be started) | head is blank |
//! |---|---|---|
//! | holds the image's block | nothing | nothing |
//! | is erased | the head's page is erased, from the image's begin again | written, read back |
//! | holds something else | the same | its page is erased, from the page's begin again |
//!
//! Where the begin lies before the piece that the module holds, the job ends with [`Done::Rewind`]. Seal writes the rest of
//! the first block, reads it back, then the head. An acknowledgement alone means nothing: the loader gives it for pages that are
//! write-protected as well.

use crate::loader::{Done, Job, Loader, Output, Source};
use crate::wire::{BLOCK, Command};
use crate::{Millis, RomError};

/// Times that the same block is erased or written before it counts as one that cannot be.
const ATTEMPTS: u8 = 3;
/// Stack pointer and reset vector.
const HEAD: u16 = 8;
const STEP: u32 = BLOCK as u32;

/// What the command under way is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    Nothing,
    Compare,
    Write,
    /// What holds `check`; the image is gone from this byte on.
    Erase(u32),
    /// Reads the block at `check`, which was erased.
    CheckErased(u32),
    ReadBack,
    Seal,
    Go,
}

/// What the job has come to.
pub(crate) struct Work {
    first: [u8; BLOCK],
    has_first: bool,
    /// The flash has a head.
    sealed: bool,
    pub(crate) has_changed: bool,
    at: u32,
    /// Erased up to here.
    blank_to: u32,
    doing: Doing,
    /// The block that an erase was for.
    check: u32,
    /// An erase was begun for what lies from here on, which the piece does not hold.
    lost: Option<u32>,
    /// Sum over what was read of the block where it was not the image's: it counts when it is read once more. What a read gives
    /// has no check but the line's parity.
    seen: Option<u32>,
    /// The block at `at` was written, so what is read next must be it.
    written: bool,
    /// How far the job has come, and how often it tried since.
    high: u32,
    attempts: u8,
    /// [`Output::Data`] was given for the block at `at`.
    shown: bool,
}

impl Work {
    pub(crate) const fn new() -> Work {
        Work {
            first: [0; BLOCK],
            has_first: false,
            sealed: true,
            has_changed: false,
            at: 0,
            blank_to: 0,
            doing: Doing::Nothing,
            check: 0,
            lost: None,
            seen: None,
            written: false,
            high: 0,
            attempts: 0,
            shown: false,
        }
    }

    pub(crate) fn begin(&mut self, job: Job) {
        self.at = match job {
            Job::Program { start, .. } => start,
            _ => 0,
        };
        self.reentered();
        (self.high, self.attempts) = (0, 0);
        if matches!(job, Job::Program { .. }) {
            self.lost = None;
        }
    }

    /// After a reset: what the last command came to is not known, so the block is looked at again.
    pub(crate) fn reentered(&mut self) {
        (self.doing, self.written) = (Doing::Nothing, false);
        (self.blank_to, self.seen) = (0, None);
        self.shown = false;
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.doing == Doing::Nothing
    }
}

impl Loader {
    pub(crate) fn work_data(&self) -> &[u8] {
        let left = self.length.saturating_sub(self.work.at).min(STEP) as usize;
        let block = match self.work.at == 0 && !self.work.sealed {
            true => &self.work.first,
            false => self.exchange.data(),
        };
        block.get(..left).unwrap_or(block)
    }

    /// The first block was read after a reset.
    pub(crate) fn looked(&mut self) {
        self.work.sealed = !self.is_blank(self.head());
    }

    /// Bytes of the head.
    fn head(&self) -> usize {
        let head = HEAD.max(u16::from(self.config.layout.word));
        usize::from(head.min(self.block_len(0)))
    }

    fn is_blank(&self, len: usize) -> bool {
        let erased = self.config.layout.erased;
        let read = self.exchange.data();
        read.get(..len)
            .unwrap_or(read)
            .iter()
            .all(|byte| *byte == erased)
    }

    /// The next command of the job, or how it ended.
    pub(crate) fn next_work(&mut self, now: Millis, source: &mut dyn Source) -> Option<Output> {
        if let Some(from) = self.work.lost.take() {
            return Some(Output::Done(Done::Rewind(from)));
        }
        match self.job? {
            Job::Program { start, end } => self.next_block(now, source, start, end),
            Job::Verify => self.next_read_back(now),
            Job::Seal => {
                if !self.work.has_first {
                    // an image that was whole before this job's image was known
                    return Some(Output::Done(match self.work.sealed {
                        true => Done::Done,
                        false => Done::Rewind(0),
                    }));
                }
                self.read(now, 0, Doing::Seal);
                None
            }
            Job::Start => {
                match self.config.start {
                    crate::Start::Reset => self.leave(),
                    crate::Start::Go => {
                        self.work.doing = Doing::Go;
                        let address = self.config.layout.base;
                        self.send(now, Command::Go { address });
                    }
                }
                None
            }
        }
    }

    fn next_block(
        &mut self,
        now: Millis,
        source: &mut dyn Source,
        start: u32,
        end: u32,
    ) -> Option<Output> {
        if !start.is_multiple_of(STEP)
            || end > self.length
            || (end < self.length && !end.is_multiple_of(STEP))
        {
            return Some(self.fatal(RomError::RomConfig, 0));
        }
        if start == 0 && !self.work.has_first {
            let mut first = [self.config.layout.erased; BLOCK];
            let len = self.length.min(STEP) as usize;
            if !first.get_mut(..len).is_some_and(|out| source.read(0, out)) {
                return Some(self.fatal(RomError::RomSource, 0));
            }
            (self.work.first, self.work.has_first) = (first, true);
        }
        if !self.work.has_first && !self.work.sealed {
            return Some(Output::Done(Done::Rewind(0)));
        }
        if self.work.at == 0 && !self.work.sealed {
            // it is Seal's
            self.work.at = STEP;
        }
        let at = self.work.at;
        if at >= end {
            return Some(Output::Done(Done::Done));
        }
        if !self.work.written && at < self.work.blank_to {
            return self.write(now, source);
        }
        self.read(now, at, Doing::Compare);
        None
    }

    fn next_read_back(&mut self, now: Millis) -> Option<Output> {
        if self.work.shown {
            self.work.shown = false;
            self.work.at = self.work.at.saturating_add(STEP);
            self.progress();
        }
        let at = self.work.at;
        if at >= self.length {
            return Some(Output::Done(Done::Done));
        }
        if at == 0 && !self.work.sealed {
            if !self.work.has_first {
                return Some(Output::Done(Done::Rewind(0)));
            }
            self.work.shown = true;
            return Some(Output::Data(0));
        }
        self.read(now, at, Doing::ReadBack);
        None
    }

    /// Whether the same was read twice in a row.
    fn is_sure(&mut self) -> bool {
        let step = |sum: u32, byte: &u8| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        let sum = self.exchange.data().iter().fold(0x811C_9DC5, step);
        let sure = self.work.seen == Some(sum);
        self.work.seen = match sure {
            true => None,
            false => Some(sum),
        };
        sure
    }

    fn address(&self, offset: u32) -> u32 {
        self.config.layout.base.saturating_add(offset)
    }

    fn read(&mut self, now: Millis, at: u32, doing: Doing) {
        self.work.doing = doing;
        let (address, len) = (self.address(at), self.block_len(at));
        self.send(now, Command::Read { address, len });
    }

    /// Writes the block at `at`.
    fn write(&mut self, now: Millis, source: &mut dyn Source) -> Option<Output> {
        let (at, len, left) = (
            self.work.at,
            self.block_len(self.work.at),
            self.length.saturating_sub(self.work.at) as usize,
        );
        let erased = self.config.layout.erased;
        let filled = self.exchange.fill(len, |data| {
            data.fill(erased);
            let left = left.min(data.len());
            data.get_mut(..left)
                .is_some_and(|data| source.read(at, data))
        });
        if !filled {
            return Some(self.fatal(RomError::RomSource, self.address(at)));
        }
        self.work.doing = Doing::Write;
        self.work.has_changed = true;
        let address = self.address(at);
        self.send(now, Command::Write { address, len });
        None
    }

    /// Erases what holds this byte of the image, or, once the head is gone, everything. The loader gives everything at once no order:
    /// power may go when the head is all that is left, and a head that is write-protected would stay for good.
    fn erase(&mut self, now: Millis, offset: u32) -> Option<Output> {
        self.work.attempts = self.work.attempts.saturating_add(1);
        self.work.has_changed = true;
        self.work.check = offset;
        if self.erases_all() && !self.work.sealed {
            self.lose(0);
            self.work.blank_to = self.length;
            self.send(now, Command::EraseAll);
            return None;
        }
        let Some(page) = self.config.layout.page(offset) else {
            return Some(self.fatal(RomError::RomConfig, self.address(offset)));
        };
        self.lose(page.start);
        self.work.blank_to = page.end;
        self.send(now, Command::Erase { page: page.number });
        None
    }

    /// The command under way was done.
    pub(crate) fn work_answered(&mut self, now: Millis, source: &mut dyn Source) -> Option<Output> {
        match core::mem::replace(&mut self.work.doing, Doing::Nothing) {
            Doing::Nothing => None,
            Doing::Compare => self.compared(now, source),
            Doing::Write => {
                self.work.written = true;
                None
            }
            Doing::Erase(from) => {
                self.read(now, self.work.check, Doing::CheckErased(from));
                None
            }
            Doing::CheckErased(from) => {
                if self.is_blank(BLOCK) {
                    let head = self.work.sealed;
                    self.erased(from);
                    if head && self.erases_all() {
                        self.work.attempts = 0;
                        return self.erase(now, 0);
                    }
                    return None;
                }
                if !self.is_sure() {
                    self.read(now, self.work.check, Doing::CheckErased(from));
                    return None;
                }
                if self.work.attempts >= ATTEMPTS {
                    let address = self.address(self.work.check);
                    return Some(self.fatal(RomError::RomProtected, address));
                }
                self.erase(now, self.work.check)
            }
            Doing::ReadBack => {
                self.work.shown = true;
                Some(Output::Data(self.work.at))
            }
            Doing::Seal => self.seal(now),
            Doing::Go => Some(self.jumped()),
        }
    }

    /// An erase begins: where it is cut nobody knows how much of the page is gone, so all of it comes again.
    fn lose(&mut self, from: u32) {
        self.work.doing = Doing::Erase(from);
        self.work.written = false;
        match self.job {
            Some(Job::Program { start, .. }) if start <= from => self.work.at = from,
            _ => self.work.lost = Some(from),
        }
    }

    /// What was to be erased is.
    fn erased(&mut self, from: u32) {
        self.progress();
        if from == 0 {
            self.work.sealed = false;
        }
    }

    /// The block at `at` was read.
    fn compared(&mut self, now: Millis, source: &mut dyn Source) -> Option<Output> {
        let at = self.work.at;
        let mut wanted = [self.config.layout.erased; BLOCK];
        let left = self.length.saturating_sub(at).min(STEP) as usize;
        if !wanted
            .get_mut(..left)
            .is_some_and(|out| source.read(at, out))
        {
            return Some(self.fatal(RomError::RomSource, self.address(at)));
        }
        let read = self.exchange.data();
        if Some(read) == wanted.get(..read.len()) {
            self.work.at = at.saturating_add(STEP);
            (self.work.written, self.work.seen) = (false, None);
            if at >= self.work.high {
                (self.work.high, self.work.attempts) = (self.work.at, 0);
            }
            self.progress();
            return None;
        }
        let blank = self.is_blank(read.len());
        // what is erased is not read so by chance
        if (!blank || self.work.written) && !self.is_sure() {
            return None; // it is read again
        }
        let stuck = self.work.attempts >= ATTEMPTS;
        match self.work.written {
            _ if self.work.sealed => self.erase(now, 0),
            // acknowledged, and nothing happened
            true if blank && stuck => Some(self.fatal(RomError::RomProtected, self.address(at))),
            true if stuck => Some(self.fatal(RomError::RomDiffers, self.address(at))),
            written if blank => {
                self.work.attempts += u8::from(written);
                self.write(now, source)
            }
            _ => self.erase(now, at),
        }
    }

    /// The first block was read: what is missing of it is written, the head last.
    fn seal(&mut self, now: Millis) -> Option<Output> {
        let erased = self.config.layout.erased;
        let (len, head) = (usize::from(self.block_len(0)), self.head());
        let wanted = self.work.first;
        let read = self.exchange.data();
        let part = |from: usize, to: usize| (read.get(from..to), wanted.get(from..to));
        let is_blank =
            |bytes: Option<&[u8]>| bytes.unwrap_or_default().iter().all(|b| *b == erased);
        let (head_read, head_wanted) = part(0, head);
        let (rest_read, rest_wanted) = part(head, len);
        let (from, to) = if rest_read != rest_wanted && is_blank(head_read) && is_blank(rest_read) {
            (head, len)
        } else if rest_read == rest_wanted && head_read == head_wanted {
            self.work.sealed = true;
            return Some(Output::Done(Done::Done));
        } else if rest_read == rest_wanted && is_blank(head_read) {
            (0, head)
        } else if !self.is_sure() {
            return None;
        } else if self.work.attempts >= ATTEMPTS {
            return Some(self.fatal(RomError::RomDiffers, self.address(0)));
        } else {
            // half of it was written when the power went
            return self.erase(now, 0);
        };
        self.work.attempts = self.work.attempts.saturating_add(1);
        if self.work.attempts > 2 * ATTEMPTS {
            return Some(self.fatal(RomError::RomProtected, self.address(0)));
        }
        let filled = self.exchange.fill((to - from) as u16, |data| {
            match wanted.get(from..to) {
                Some(wanted) => data.copy_from_slice(wanted),
                None => return false,
            }
            true
        });
        if !filled {
            return Some(self.fatal(RomError::RomConfig, self.address(0)));
        }
        self.work.doing = Doing::Write;
        let (address, len) = (self.address(from as u32), (to - from) as u16);
        self.send(now, Command::Write { address, len });
        None
    }
}
