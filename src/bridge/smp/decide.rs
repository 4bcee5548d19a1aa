//! What is done next: decided by the slots alone, each time anew.

use super::slots::{self, Next, is_busy, next};
use super::{CHECKS, MOVES, Phase, REWINDS, SmpBridge};
use crate::message::{Command, Millis, Reply};
use sota_smp::image::Scan;
use sota_smp::{Job, SmpError};

impl SmpBridge {
    /// The slots were read before the piece.
    pub(super) fn looked<F>(&mut self, now: Millis, engine: &mut F)
    where
        F: FnMut(Command, &mut [u8]) -> Reply,
    {
        if let Err(error) = self.find_hash(engine) {
            return self.give_up(error);
        }
        if let Some(hash) = self.scan.hash()
            && next(self.client.slots(), hash) != Next::Missing
        {
            return self.has_all(now);
        }
        if is_busy(self.client.slots()) {
            // MCUboot settles it: what waits is started, what is on trial goes
            return self.another_move(Phase::Reset, Job::Reset);
        }
        let Some((start, length)) = self.piece else {
            return self.idle();
        };
        match self.lost.take() {
            Some(offset) if offset < start => self.rewind(offset),
            _ => {
                let end = start.saturating_add(length);
                self.work(Phase::Upload, Job::Upload { start, end });
            }
        }
    }

    /// A slot has the package's image.
    fn has_all(&mut self, now: Millis) {
        match (self.updating, self.has_last_piece()) {
            (true, _) => self.settle(now),
            (false, true) => self.enter(Phase::Install),
            (false, false) => self.enter(Phase::Release),
        }
    }

    /// The slots were read after the last piece.
    pub(super) fn verified(&mut self, now: Millis) {
        let Some(hash) = self.scan.hash() else {
            // its header is gone with the module's reset, and the TLVs are in a piece before
            self.rewinds += 1;
            return match self.rewinds > REWINDS || self.updating {
                true => self.give_up(SmpError::SmpSource),
                false => self.rewind(0),
            };
        };
        if next(self.client.slots(), hash) != Next::Missing {
            return self.has_all(now);
        }
        self.checks += 1;
        if self.checks >= CHECKS {
            return self.give_up(SmpError::SmpDiffers);
        }
        self.upload_anew();
        self.lost = Some(0);
        self.look();
    }

    /// The server has nothing of it that counts.
    fn upload_anew(&mut self) {
        if let Some(package) = &self.package {
            self.client.image(package.length, package.sha256);
        }
    }

    fn rewind(&mut self, offset: u32) {
        if offset == 0 {
            self.scan = Scan::new(self.length());
        }
        self.enter(Phase::Rewind(offset));
    }

    /// The slots were read in state 9.
    pub(super) fn settled<F>(&mut self, now: Millis, engine: &mut F)
    where
        F: FnMut(Command, &mut [u8]) -> Reply,
    {
        if self.piece.is_none() {
            self.piece = Some((0, self.length()));
        }
        if self.scan.hash().is_none() {
            // without it only what waits or is on trial can be told apart
            let _ = self.find_hash(engine);
        }
        let slots = self.client.slots();
        let then = match self.scan.hash() {
            Some(hash) => next(slots, hash),
            None => slots::next_without_hash(slots),
        };
        match then {
            Next::Runs => self.enter(Phase::Report),
            Next::Keep(hash) => self.another_move(Phase::Keep, Job::Confirm(hash)),
            Next::Reset => self.another_move(Phase::Reset, Job::Reset),
            Next::Test(_) if self.trials >= self.config.trials.max(1) => {
                self.give_up(SmpError::SmpReverted);
            }
            Next::Test(hash) => {
                self.trials += 1;
                self.work(Phase::Test, Job::Test(hash));
            }
            Next::Missing if self.trials > 0 => self.give_up(SmpError::SmpRejected),
            Next::Missing if self.scan.hash().is_none() => self.give_up(SmpError::SmpSource),
            Next::Missing => {
                // what the module holds may be all of it
                self.checks += 1;
                if self.checks >= CHECKS {
                    return self.give_up(SmpError::SmpDiffers);
                }
                self.piece = Some((0, self.length()));
                self.upload_anew();
                self.pace.begin(now);
                self.look();
            }
        }
    }

    /// Something that is done again and again where an MCU does not do what it says.
    fn another_move(&mut self, phase: Phase, job: Job) {
        self.moves += 1;
        match self.moves > MOVES {
            true => self.give_up(SmpError::SmpNotReset),
            false => self.work(phase, job),
        }
    }

    /// Looks for the hash in the bytes of the piece.
    fn find_hash<F>(&mut self, engine: &mut F) -> Result<(), SmpError>
    where
        F: FnMut(Command, &mut [u8]) -> Reply,
    {
        let Some((start, length)) = self.piece else {
            return Ok(());
        };
        let end = start.saturating_add(length);
        while let Some((at, want)) = self.scan.wants() {
            if at >= end {
                return Ok(()); // in a later piece
            }
            let want = (want as u32).min(end - at);
            let mut bytes = [0; 64];
            let place = bytes.get_mut(..want as usize).unwrap_or_default();
            let command = Command::Read {
                start: at,
                len: want,
            };
            let is_read = at >= start && engine(command, place) == Reply::Read(place.len());
            match (is_read, self.scan.is_tail()) {
                (true, tail) => match self.scan.put(place) {
                    // what the last piece has is no list of TLVs: it was one before
                    Err(_) if tail => return Ok(()),
                    done => done?,
                },
                (false, true) => self.scan.skip(),
                (false, false) if self.has_last_piece() => {
                    self.scan = Scan::tail(self.length(), start);
                }
                (false, false) => return Ok(()), // its header is gone
            }
        }
        match self.scan.has_failed() && !self.scan.is_tail() {
            true => Err(SmpError::SmpNotMcuboot),
            false => Ok(()),
        }
    }
}
