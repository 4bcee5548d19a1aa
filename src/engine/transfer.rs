//! The pieces: blocks into staging, digests at a piece's end, what the MCU reads, rewind, and the rescue
//! of a page that power left half written.
//!
//! | work | one step |
//! |---|---|
//! | Check | after a start: does the last durable block end within a page? |
//! | Save | yes: the page's good bytes go to the scratch page, and the journal says so; what follows them may read erased and be half written |
//! | Restore | the page is erased and its good bytes come back; the journal forgets |
//! | Hash | some KiB of the complete piece go through the digests |
//!
//! Each step can be cut and is done again from its start: Save before its record is only a copy, Restore
//! after its record takes everything from the scratch page.

use sota_mutants::{Mutant, active};

use super::{Engine, Fetch, journal::Key, queue::Tag, record::Rescue, staging, state::Timer};
use crate::{
    message::{ComponentType, DownloadInfo, Etag, Reason, State, ToCloud},
    platform::{Flash, Readings},
    text::put,
};

/// Slow work in hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Work {
    #[default]
    None,
    Check,
    Save,
    Restore(Rescue),
    Hash {
        at: u32,
    },
}

/// Bytes hashed in one step.
const HASH_STEP: u32 = 4096;
/// Pieces begin at multiples of this: every block size divides it.
const PIECE_UNIT: u32 = 1024;

impl<const BLOCK: usize> Engine<BLOCK> {
    /// Bytes of every piece but the last; 0 when staging is too small.
    pub(super) fn piece_size<F: Flash>(&self, flash: &mut F) -> u32 {
        let usable = staging::usable(flash.staging());
        let size = match self.config.piece_limit {
            Some(limit) => usable.min(limit.max(PIECE_UNIT)),
            None => usable,
        };
        size - size % PIECE_UNIT
    }

    /// One past the last byte of the present piece.
    #[inline(never)]
    pub(super) fn piece_end(&self) -> u32 {
        let end = self.flow.piece_start.saturating_add(self.flow.piece_size);
        match self.info.length {
            0 => end,
            length => end.min(length),
        }
    }

    pub(super) fn is_last_piece(&self) -> bool {
        self.info.length > 0 && self.piece_end() == self.info.length
    }

    /// Every byte was delivered and every digest matched.
    #[inline(never)]
    pub(super) fn verified(&self) -> bool {
        match self.flow.state {
            State::Downloaded => self.is_last_piece(),
            State::Updating => true,
            _ => false,
        }
    }

    /// Block numbers have 20 bits.
    pub(super) fn too_large(&self, length: u32) -> bool {
        length.saturating_sub(1) / BLOCK as u32 >= 1 << 20
    }

    /// Whether the package of the present download information can be staged.
    pub(super) fn fits<F: Flash>(&mut self, flash: &mut F) -> Result<(), Reason> {
        if (self.flow.piece_size as usize) < BLOCK {
            return Err(Reason::StagingTooSmall);
        }
        let firmware = self
            .active_slot()
            .is_some_and(|slot| slot.kind == ComponentType::Firmware);
        if firmware {
            // Whole, whatever the limit of a piece: the bootloader takes it from staging.
            let usable = staging::usable(flash.staging());
            self.flow.piece_size = usable - usable % PIECE_UNIT;
            let slot = self.config.firmware_slot.unwrap_or(0);
            if self.info.length > self.flow.piece_size.min(slot) {
                return Err(Reason::NotEnoughSpace);
            }
        }
        Ok(())
    }

    #[inline(never)]
    pub(super) fn forget_progress(&mut self) {
        self.flow.piece_start = 0;
        self.flow.progress = 0;
        self.etag = Etag::NONE;
        self.flow.info_tag = 0;
    }

    /// From now on this download information counts.
    #[inline(never)]
    pub(super) fn take_info(&mut self, info: &DownloadInfo) {
        let DownloadInfo {
            plan,
            length,
            md5,
            crc32,
            sha256,
            uri,
        } = &mut self.info;
        let _ = put(plan, &info.plan);
        (*length, *md5, *crc32, *sha256) = (info.length, info.md5, info.crc32, info.sha256);
        let _ = put(uri, &info.uri);
    }

    /// There is no download information.
    // In place: a default would be made on the stack and moved.
    #[inline(never)]
    pub(super) fn forget_info(&mut self) {
        let DownloadInfo {
            plan,
            length,
            md5,
            crc32,
            sha256,
            uri,
        } = &mut self.info;
        plan.clear();
        (*length, *md5, *crc32, *sha256) = (0, None, None, None);
        uri.clear();
    }

    /// No block is wanted any more.
    #[inline(never)]
    pub(super) fn drop_fetch(&mut self) {
        if self.queue.fetch == Fetch::Asked {
            self.queue.stop = true;
        }
        self.queue.fetch = Fetch::Idle;
        self.suspended = None;
        self.work = Work::None;
    }

    fn downloading(&self) -> bool {
        matches!(self.flow.state, State::DownloadStarts | State::Downloading)
    }

    #[inline(never)]
    pub(super) fn ready_for_blocks(&self) -> bool {
        self.downloading() && self.work == Work::None && self.suspended.is_none()
    }

    #[inline(never)]
    pub(super) fn fetch_message(&self) -> ToCloud {
        let at = self.flow.progress;
        ToCloud::Fetch {
            uri: self.info.uri.clone(),
            from: at - at % BLOCK as u32,
            to: match self.info.length {
                0 => u32::MAX,
                _ => self.piece_end(),
            },
            etag: self.etag,
        }
    }

    /// The first answer of a fetch; comes again when a length that was not known turns out.
    pub(super) fn fetch_started<F: Flash>(
        &mut self,
        flash: &mut F,
        total: Option<u32>,
        etag: Etag,
    ) {
        if !self.downloading() || self.queue.fetch != Fetch::Asked {
            return;
        }
        if !self.etag.is_none() && etag != self.etag {
            return self.download_error(flash, Reason::PackageChanged);
        }
        let total = total.unwrap_or(self.info.length);
        // A length that comes late may say that there is less than has come.
        let less = total != 0 && total < self.flow.progress;
        if less || self.info.length != 0 && total != self.info.length {
            return self.download_error(flash, Reason::LengthMismatch);
        }
        if etag != self.etag || total != self.info.length {
            self.etag = etag;
            self.info.length = total;
            if self.too_large(total) {
                return self.download_error(flash, Reason::PackageTooLarge);
            }
            if let Err(reason) = self.fits(flash) {
                return self.download_error(flash, reason);
            }
            if let Err(reason) = self.append(flash, Key::INFO) {
                return self.give_up(flash, reason);
            }
            self.announce_start();
        }
        if self.flow.state == State::DownloadStarts {
            self.enter(flash, State::Downloading);
        }
    }

    /// One block: into staging, then into the journal.
    pub(super) fn block<F: Flash>(&mut self, flash: &mut F, offset: u32, data: &[u8]) {
        if !self.ready_for_blocks() || self.queue.fetch != Fetch::Asked {
            return;
        }
        if self.flow.state == State::DownloadStarts {
            self.enter(flash, State::Downloading);
            if self.flow.state != State::Downloading {
                return;
            }
        }
        let next = self.flow.progress;
        let Some(end) = offset.checked_add(data.len() as u32) else {
            return self.download_error(flash, Reason::LengthMismatch);
        };
        if offset > next {
            // A gap: what is missing is asked for again.
            self.queue.stop = true;
            self.queue.fetch = Fetch::Wanted;
            return;
        }
        if self.info.length > 0 && end > self.info.length {
            return self.download_error(flash, Reason::LengthMismatch);
        }
        let end = end.min(self.piece_end());
        let fresh = (next - offset) as usize..end.saturating_sub(offset) as usize;
        let Some(fresh) = data.get(fresh).filter(|fresh| !fresh.is_empty()) else {
            return;
        };
        match self.stage(flash, fresh, end) {
            Ok(()) => {}
            Err(Reason::LengthMismatch) => {
                return self.download_error(flash, Reason::LengthMismatch);
            }
            Err(reason) => return self.give_up(flash, reason),
        }
        self.flow.progress = end;
        if end == self.piece_end() {
            // A fetch whose length was not known when it was asked for has no end of its own.
            self.queue.stop = true;
            self.queue.fetch = Fetch::Idle;
            self.begin_hash(flash);
        }
    }

    #[inline(never)]
    fn stage<F: Flash>(&mut self, flash: &mut F, bytes: &[u8], end: u32) -> Result<(), Reason> {
        let write_size = <F::Staging as embedded_storage::nor_flash::NorFlash>::WRITE_SIZE as u32;
        let at = self.flow.progress - self.flow.piece_start;
        if !at.is_multiple_of(write_size)
            || (!end.is_multiple_of(write_size) && end != self.piece_end())
        {
            return Err(Reason::LengthMismatch);
        }
        let page = staging::page::<F::Staging>();
        let to = at + bytes.len() as u32;
        while self.erased_to < to {
            staging::erase(flash.staging(), self.erased_to)?;
            self.erased_to += page;
        }
        if active(Mutant::ProgressBeforeBlock)
            && let Some(journal) = self.journal.as_mut()
        {
            journal.progress(flash.journal(), end)?;
        }
        staging::write(flash.staging(), at, bytes)?;
        match self.journal.as_mut() {
            Some(journal) => journal.progress(flash.journal(), end),
            None => Err(Reason::JournalTooSmall),
        }
    }

    /// Where staging must be erased to before the next block is asked for.
    pub(super) fn wanted_erased(&self) -> u32 {
        let start = self.flow.piece_start;
        let next = self.flow.progress.saturating_add(BLOCK as u32);
        next.min(self.piece_end()).saturating_sub(start)
    }

    fn wants_erase(&self) -> bool {
        self.ready_for_blocks() && self.erased_to < self.wanted_erased()
    }

    pub(super) fn has_work(&self) -> bool {
        (self.work != Work::None && self.downloading())
            || self.wants_erase()
            || self.journal.as_ref().is_some_and(|j| j.wants_prepare())
    }

    /// One step of slow work: at most one page is erased.
    #[inline(never)]
    pub(super) fn run_work<F: Flash>(&mut self, flash: &mut F) {
        if self.work != Work::None && self.downloading() {
            if let Err(reason) = self.step(flash) {
                self.give_up(flash, reason);
            }
        } else if self.wants_erase() {
            match staging::erase(flash.staging(), self.erased_to) {
                Ok(()) => self.erased_to += staging::page::<F::Staging>(),
                Err(reason) => self.give_up(flash, reason),
            }
        } else if let Some(journal) = self.journal.as_mut()
            && let Err(reason) = journal.prepare(flash.journal())
        {
            journal.leave_unprepared();
            self.last_error = Some(reason);
        }
    }

    #[inline(never)]
    fn step<F: Flash>(&mut self, flash: &mut F) -> Result<(), Reason> {
        let page = staging::page::<F::Staging>();
        let at = self.flow.progress.saturating_sub(self.flow.piece_start);
        let start = at - at % page;
        match self.work {
            Work::None => {}
            Work::Check => {
                let mut buffer = [0; Rescue::LEN];
                let rescue = self
                    .load(flash, Key::RESCUE, &mut buffer)
                    .and_then(Rescue::decode)
                    .filter(|r| {
                        (r.page, r.len) == (start, at - start)
                            && (r.info_tag, r.progress) == (self.flow.info_tag, self.flow.progress)
                    });
                if let Some(rescue) = rescue {
                    self.work = Work::Restore(rescue);
                } else if self.flow.progress >= self.piece_end() && self.flow.progress > 0 {
                    self.begin_hash(flash);
                } else if at == start {
                    self.page_is_good(at);
                } else if active(Mutant::TornPageTrusted) {
                    self.page_is_good(start + page);
                } else {
                    self.work = Work::Save;
                }
            }
            Work::Save => {
                let scratch = staging::usable(flash.staging());
                staging::erase(flash.staging(), scratch)?;
                staging::copy(flash.staging(), start, scratch, at - start)?;
                let rescue = Rescue {
                    page: start,
                    len: at - start,
                    info_tag: self.flow.info_tag,
                    progress: self.flow.progress,
                };
                // A record that cannot be written is the end of the upgrade.
                self.work = Work::Restore(rescue);
                self.append(flash, Key::RESCUE)?;
            }
            Work::Restore(rescue) => {
                let scratch = staging::usable(flash.staging());
                staging::erase(flash.staging(), rescue.page)?;
                staging::copy(flash.staging(), scratch, rescue.page, rescue.len)?;
                self.delete_rescue(flash)?;
                self.page_is_good(rescue.page + page);
            }
            Work::Hash { at } => self.hash_step(flash, at)?,
        }
        Ok(())
    }

    pub(super) fn delete_rescue<F: Flash>(&mut self, flash: &mut F) -> Result<(), Reason> {
        match self.journal.as_mut() {
            Some(journal) => journal.delete(flash.journal(), Key::RESCUE),
            None => Ok(()),
        }
    }

    fn page_is_good(&mut self, erased_to: u32) {
        self.work = Work::None;
        self.erased_to = erased_to;
    }

    fn begin_hash<F: Flash>(&mut self, flash: &mut F) {
        match self.boundary(flash, self.flow.piece_start) {
            Some(digests) => {
                if !active(Mutant::DigestsNotCarried) || self.flow.piece_start == 0 {
                    self.digests = digests;
                }
                self.work = Work::Hash {
                    at: self.flow.piece_start,
                };
            }
            None => {
                // Without the state at the piece's start nothing can be verified: from 0.
                self.flow.piece_start = 0;
                self.flow.progress = 0;
                self.work = Work::Check;
                self.queue.fetch = Fetch::Wanted;
                self.enter(flash, State::Downloading);
            }
        }
    }

    #[inline(never)]
    fn hash_step<F: Flash>(&mut self, flash: &mut F, from: u32) -> Result<(), Reason> {
        let end = self.piece_end();
        let to = end.min(from.saturating_add(HASH_STEP));
        let mut at = from;
        let mut buffer = [0; 128];
        while at < to {
            let n = (to - at).min(128);
            let chunk = &mut buffer[..n as usize];
            staging::read(flash.staging(), at - self.flow.piece_start, chunk)?;
            self.digests.update(chunk);
            at += n;
        }
        self.work = Work::Hash { at: to };
        if to == end {
            self.work = Work::None;
            self.piece_done(flash, end)?;
        }
        Ok(())
    }

    /// The piece is complete: verify the package or keep the digests' state, then tell.
    fn piece_done<F: Flash>(&mut self, flash: &mut F, end: u32) -> Result<(), Reason> {
        let Some(active) = self.flow.active else {
            return Ok(());
        };
        if self.info.length == 0 {
            // The MCU cannot be told a piece of a package whose length nobody knows.
            self.finish(flash, active, Err(Reason::LengthMismatch));
            return Ok(());
        }
        self.announce_start();
        if self.is_last_piece() {
            if !self.digests.matches(&self.info) {
                self.finish(flash, active, Err(Reason::DigestMismatch));
                return Ok(());
            }
        } else {
            let number = end.checked_div(self.flow.piece_size).unwrap_or(0);
            self.append(flash, Key::piece(number))?;
        }
        self.flow.failures = 0;
        self.enter(flash, State::Downloaded);
        self.install_own(flash);
        Ok(())
    }

    pub(super) fn downloaded_tag(&self) -> Option<Tag> {
        Some(Tag::Downloaded {
            instance: self.flow.active?,
            start: self.flow.piece_start,
            len: self.piece_end().saturating_sub(self.flow.piece_start),
        })
    }

    /// DataRead: any range of the present piece, any number of times.
    pub(super) fn read<F: Flash>(
        &mut self,
        flash: &mut F,
        start: u32,
        len: u32,
        out: &mut [u8],
    ) -> Result<usize, Reason> {
        let mcu = self
            .active_slot()
            .is_some_and(|slot| slot.kind == ComponentType::Mcu);
        // A server's Install (/9/m/4) makes it 9 while the MCU may still be reading.
        let readable = match self.flow.state {
            State::Downloaded => true,
            State::Updating => !self.config.strict,
            _ => false,
        };
        if !readable || !mcu {
            return Err(Reason::AtNotAllowedNow);
        }
        let end = self.piece_end();
        if start < self.flow.piece_start || start >= end || len == 0 {
            return Err(Reason::AtBadParameter);
        }
        let n = out.len().min(len.min(end - start) as usize);
        let out = out
            .get_mut(..n)
            .filter(|out| !out.is_empty())
            .ok_or(Reason::AtBadParameter)?;
        staging::read(flash.staging(), start - self.flow.piece_start, out)
            .inspect_err(|reason| self.last_error = Some(*reason))?;
        if self.flow.state == State::Downloaded && self.timers.state != Timer::OFF {
            self.timers.state = Timer::after(self.now, self.config.read_ms);
        }
        Ok(n)
    }

    /// The present piece is released; the one at `start` is fetched.
    pub(super) fn next_piece<F: Flash>(
        &mut self,
        readings: Readings,
        flash: &mut F,
        start: u32,
    ) -> Result<(), Reason> {
        self.drop_fetch();
        self.flow.piece_start = start;
        self.flow.progress = start;
        self.start_piece(readings, flash)
    }

    /// The MCU wants bytes again that were released: from the boundary at or below `offset`.
    pub(super) fn rewind<F: Flash>(
        &mut self,
        readings: Readings,
        flash: &mut F,
        offset: u32,
    ) -> Result<(), Reason> {
        let mcu = self
            .active_slot()
            .is_some_and(|slot| slot.kind == ComponentType::Mcu);
        if !mcu || !(self.downloading() || self.flow.state == State::Downloaded) {
            return Err(Reason::AtNotAllowedNow);
        }
        if offset > self.piece_end() {
            return Err(Reason::AtBadParameter);
        }
        if offset >= self.flow.piece_start {
            // Staged, or being fetched: nothing to fetch again.
            self.announce();
            return Ok(());
        }
        let number = offset.checked_div(self.flow.piece_size).unwrap_or(0);
        let boundary = number.saturating_mul(self.flow.piece_size);
        let start = match self.boundary(flash, boundary) {
            Some(_) => boundary,
            None => 0,
        };
        self.next_piece(readings, flash, start)
    }
}
