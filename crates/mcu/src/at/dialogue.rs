//! One command at a time: when it is sent, and when its answer is lost.

use super::event::{ASKS, parse};
use super::package::image_of;
use super::{AtAgent, Phase};
use crate::records::crc32;
use embedded_storage::nor_flash::NorFlash;
use sota_errors::McuError;
use sota_link::Millis;

/// The module answers within 300 ms; the rest is the line's time.
const ANSWER_MS: u64 = 2_000;
/// Bytes that come put the end of an answer off, but a module that never stops talking does not answer either.
const ANSWER_MOST_MS: u64 = 20_000;
/// After an answer that was lost the line has to be silent so long: it may come late. On a line that is never silent it is
/// listened to again all the same.
const QUIET_MS: u64 = 50;
const QUIET_MOST_MS: u64 = 1_000;
/// How long an event that was asked for may take: its line at 9600 baud, twice.
pub(super) const SAY_AGAIN_MS: u64 = 500;
/// How often the module is asked when it has to fetch a piece first, and whether it is still there.
pub(super) const ASK_MS: u64 = 10_000;
/// The module gives an MCU up that read nothing for 60 s.
pub(super) const KEEP_MS: u64 = 20_000;
/// By then it has given up an MCU that does not read.
pub(super) const FAILED_MS: u64 = 90_000;
/// Pause after an error.
pub(super) const PAUSE_MS: u64 = 1_000;
/// Questions that no event followed before it asks for a plan again.
const UNHEARD: u8 = 6;
/// Lost answers before the module counts as silent.
const SILENT: u8 = 5;
/// Refusals of a command before it is given up.
pub(super) const TRIES: u8 = 3;

/// The command in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// None of them is zero, as which no step is.
    Hello = 1,
    Errors,
    Ask,
    Announce,
    Check,
    Request,
    Answer,
    Read,
    /// A read for the module's timer, or to see whether it gives the next bytes.
    Keep,
    Next,
    Rewind,
    Update,
}

/// The dialogue's own state.
pub(super) struct Talk {
    pub(super) phase: Phase,
    pub(super) step: Option<Step>,
    /// The module answers.
    pub(super) up: bool,
    /// It was said that it does not.
    pub(super) down: bool,
    /// The piece's length is not known: it ends where the module refuses to read on.
    pub(super) open: bool,
    /// The piece was heard twice.
    pub(super) sure: bool,
    /// The bytes behind the block's were read once, and are to be read again.
    pub(super) once: bool,
    /// The piece may end where the flash does: the byte before it is asked for.
    pub(super) ends: bool,
    /// An upgrade was taken, and its end not heard.
    pub(super) pending: bool,
    /// The module knows the version that runs.
    pub(super) known: bool,
    /// 0: the plan is taken.
    pub(super) refused: u16,
    /// Lost answers in a row.
    pub(super) silent: u8,
    /// Questions since the module last said something.
    pub(super) asked: u8,
    /// Refusals of the same command.
    pub(super) refusals: u8,
    /// Wrong digests.
    pub(super) wrong: u8,
    /// Upgrades that failed, since one did not.
    pub(super) failures: u8,
    /// First byte of the piece and the one behind its last.
    pub(super) piece: Option<(u32, u32)>,
    /// Where the module said that its piece begins.
    pub(super) start: Option<u32>,
    /// What is read: where and how much.
    pub(super) read: (u32, u16),
    /// The answer is lost then, and at the latest; or, while the line is drained, it is quiet.
    until: Millis,
    until_most: Millis,
    /// Nothing is to be done before.
    pub(super) wait_until: Millis,
    /// After the answer to a question, ms.
    pub(super) pause_ms: u64,
    /// A plan is asked for then, when nothing is under way.
    pub(super) request_at: Option<Millis>,
}

impl Talk {
    /// Before the first word.
    pub(super) const NONE: Talk = {
        Talk {
            phase: Phase::Hello,
            step: None,
            up: false,
            down: false,
            open: false,
            sure: false,
            once: false,
            known: false,
            ends: false,
            pending: false,
            refused: 0,
            silent: 0,
            asked: 0,
            refusals: 0,
            wrong: 0,
            failures: 0,
            piece: None,
            start: None,
            read: (0, 0),
            until: 0,
            until_most: 0,
            wait_until: 0,
            pause_ms: 0,
            request_at: None,
        }
    };

    /// To a phase that has something to do at once.
    pub(super) fn go(&mut self, phase: Phase) {
        self.phase = phase;
        (self.asked, self.refusals, self.wait_until) = (0, 0, 0);
        self.ends = false;
    }

    pub(super) const fn piece(&self) -> Option<(u32, u32)> {
        self.piece
    }

    pub(super) fn set_piece(&mut self, piece: Option<(u32, u32)>) {
        self.piece = piece;
    }

    pub(super) fn no_piece(&mut self) {
        (self.piece, self.open, self.sure, self.once) = (None, false, false, false);
    }

    /// So many bytes were read for the first time.
    pub(super) fn read_once(&mut self, got: u16) {
        (self.once, self.asked, self.read.1) = (true, 0, got);
    }

    pub(super) fn read_on(&mut self) {
        (self.once, self.asked, self.refusals) = (false, 0, 0);
    }

    pub(super) fn count_wrong(&mut self) -> u8 {
        self.wrong = self.wrong.saturating_add(1);
        self.wrong
    }

    pub(super) fn deadline(&self, drains: bool) -> Millis {
        match self.step.is_some() || drains {
            true => self.until,
            false => self.wait_until,
        }
    }
}

impl<const BLOCK: usize> AtAgent<BLOCK> {
    /// Takes a line, looks at the clock, sends the next command.
    pub(super) fn talk<F: NorFlash>(&mut self, now: Millis, flash: &mut F) {
        if self.rx.take_heard() {
            let more = match self.rx.drains() {
                true => QUIET_MS,
                false => ANSWER_MS,
            };
            self.talk.until = now.saturating_add(more).min(self.talk.until_most);
        }
        if self.rx.is_bad() {
            self.lost(now);
        }
        if let Some(line) = self.rx.line() {
            let sum = crc32(0, line);
            let heard = parse(line, &self.config.component, &self.config.version);
            self.rx.next_line();
            self.on_line(now, flash, sum, heard);
        }
        if self.rx.drains() {
            if now < self.talk.until {
                return;
            }
            self.rx.drain(false);
        } else if self.talk.step.is_some() {
            if now >= self.talk.until {
                self.lost(now);
            }
            return;
        }
        if now >= self.talk.wait_until && self.tx.is_empty() {
            self.next(now, flash);
        }
    }

    /// No or no whole answer.
    pub(super) fn lost(&mut self, now: Millis) {
        self.rx.drain(true);
        let talk = &mut self.talk;
        talk.until = now.saturating_add(QUIET_MS);
        talk.until_most = now.saturating_add(QUIET_MOST_MS);
        talk.once = false;
        match talk.step.take() {
            None => return,
            // It may have been acted on: the module tells.
            Some(Step::Next | Step::Rewind) => talk.no_piece(),
            Some(_) => {}
        }
        talk.silent = talk.silent.saturating_add(1);
        if talk.silent < SILENT {
            return;
        }
        talk.silent = 0;
        talk.up = false;
        if !core::mem::replace(&mut talk.down, true) {
            (self.due.up, self.due.down) = (false, true);
        }
        if matches!(
            talk.phase,
            Phase::Errors | Phase::Recall | Phase::Announce | Phase::Check | Phase::Request
        ) {
            talk.go(Phase::Hello);
        }
        self.wait(now, PAUSE_MS);
    }

    pub(super) fn send(&mut self, now: Millis, step: Step) {
        let talk = &mut self.talk;
        let tx = &mut self.tx;
        match step {
            Step::Hello => tx.text("ATE0"),
            Step::Errors => tx.text("AT+SOTAERR=1"),
            Step::Ask => {
                talk.start = None;
                tx.text("AT+QIOTOTARD=?")
            }
            Step::Announce | Step::Check => {
                let tx = tx.text("AT+QIOTMCUVER=").quoted(&self.config.component);
                match step {
                    Step::Announce => tx.text(",").quoted(&self.config.version),
                    _ => tx,
                }
            }
            Step::Request if cfg!(feature = "sha256") => tx.text("AT+QIOTOTAREQ=1"),
            Step::Request => tx.text("AT+QIOTOTAREQ=0"),
            Step::Answer if talk.refused == 0 => tx.text("AT+QIOTUPDATE=1"),
            Step::Answer => tx.text("AT+QIOTUPDATE=0"),
            Step::Read | Step::Keep => {
                let (start, length) = talk.read;
                let tx = tx.text("AT+QIOTOTARD=").number(start);
                tx.text(",").number(length.into())
            }
            Step::Next => tx.text("AT+QIOTUPDATE=2"),
            Step::Rewind => tx.text("AT+SOTAREWIND=").number(self.at),
            Step::Update => tx.text("AT+QIOTUPDATE=3"),
        }
        .text("\r");
        self.rx.no_data();
        talk.known = false;
        talk.step = Some(step);
        talk.until = now.saturating_add(ANSWER_MS);
        talk.until_most = now.saturating_add(ANSWER_MOST_MS);
    }

    /// Asks for what the module has to say; so long before the next command.
    fn ask(&mut self, now: Millis, pause_ms: u64) {
        self.talk.pause_ms = pause_ms;
        self.send(now, Step::Ask);
    }

    pub(super) fn wait(&mut self, now: Millis, ms: u64) {
        self.talk.wait_until = now.saturating_add(ms);
    }

    /// The next command, or what is to be done in place of one.
    #[inline(never)]
    fn next<F: NorFlash>(&mut self, now: Millis, flash: &mut F) {
        let phase = self.talk.phase;
        if phase.may_ask() && self.doubt(now, flash) {
            return;
        }
        match phase {
            Phase::Hello => self.send(now, Step::Hello),
            Phase::Errors => self.send(now, Step::Errors),
            Phase::Recall => self.recall(now, flash),
            Phase::Announce => self.send(now, Step::Announce),
            Phase::Check => self.send(now, Step::Check),
            Phase::Request => self.send(now, Step::Request),
            Phase::Idle => match self.talk.request_at {
                Some(at) if now >= at => self.talk.go(Phase::Announce),
                at => self.talk.wait_until = at.unwrap_or(Millis::MAX),
            },
            Phase::Considering | Phase::Installed => self.talk.wait_until = Millis::MAX,
            // The module's application may have confirmed it: the download tells.
            Phase::Answering if self.talk.asked < self.talk.refusals => {
                self.ask(now, SAY_AGAIN_MS);
            }
            Phase::Answering => self.send(now, Step::Answer),
            Phase::Accepted => self.ask_for_piece(now),
            Phase::Receiving => self.receive(now, flash),
            Phase::Verifying | Phase::Ready => match self.talk.piece {
                Some((start, _)) => self.read(now, Step::Keep, start, 1),
                None => self.wait(now, KEEP_MS),
            },
            Phase::Installing => self.update(now),
            Phase::Failed => {
                self.talk.wrong = 0;
                self.talk.go(Phase::Announce);
            }
        }
    }

    /// What was heard once only. `true`: that is what it does now.
    fn doubt<F: NorFlash>(&mut self, now: Millis, flash: &mut F) -> bool {
        if self.plans.wants_asking() || self.packages.wants_asking() {
            self.ask(now, SAY_AGAIN_MS);
            return true;
        }
        // A module that does not say it again, or a line that was garbled.
        let (package, plan) = (self.packages.kept, self.plans.kept);
        self.packages.clear();
        self.plans.clear();
        if package {
            let piece = self.talk.piece;
            self.begin(now, flash);
            if self.talk.phase == Phase::Receiving {
                self.talk.piece = piece;
            }
        } else if plan {
            self.on_plan_counts(now);
        }
        package || plan
    }

    /// A part of a package is in the flash: the module has perhaps the rest of it.
    fn recall<F: NorFlash>(&mut self, now: Millis, flash: &mut F) {
        let record = *self.slot.record();
        let Some(resume) = record.resume() else {
            return self.talk.go(Phase::Announce);
        };
        if resume.offset == resume.length {
            // The module said perhaps OK to action 3, and power went: it waits for the new version.
            self.image = image_of(&resume);
            return match record.is_verified() {
                true => self.ready(),
                false => self.take(now, flash, image_of(&resume)),
            };
        }
        if self.talk.asked < ASKS {
            return self.ask(now, SAY_AGAIN_MS);
        }
        // A module that does not say again what it has: whether it gives the next bytes tells.
        match (self.talk.start, self.talk.ends) {
            (Some(start), false) if start <= resume.offset => {
                let left = resume.length - resume.offset;
                self.read(now, Step::Keep, resume.offset, left);
            }
            (Some(start), true) if start < resume.offset => {
                self.read(now, Step::Keep, resume.offset - 1, 1);
            }
            _ => self.talk.go(Phase::Announce),
        }
    }

    /// No piece is there: the module may be fetching it, or know nothing of it any more.
    fn ask_for_piece(&mut self, now: Millis) {
        match self.talk.asked >= UNHEARD {
            true => self.talk.go(Phase::Announce),
            false => self.ask(now, ASK_MS),
        }
    }

    fn read(&mut self, now: Millis, step: Step, start: u32, most: u32) {
        self.talk.read = (start, most.min(BLOCK as u32) as u16);
        self.send(now, step);
    }

    /// Place and piece decide.
    fn receive<F: NorFlash>(&mut self, now: Millis, flash: &mut F) {
        let (place, length) = (self.place(), self.image.length);
        if place >= length {
            return self.begin_verify(now);
        }
        let Some((start, end)) = self.talk.piece else {
            return self.ask_for_piece(now);
        };
        if (start..end).contains(&place) {
            let room = BLOCK as u32 - u32::from(self.rx.fill);
            let most = match self.talk.once {
                true => self.talk.read.1.into(),
                false => room.min(end - place),
            };
            return self.read(now, Step::Read, place, most);
        }
        // What is released does not come again.
        if self.is_unsure() {
            return self.ask(now, SAY_AGAIN_MS);
        }
        let refused = self.talk.refusals >= TRIES;
        if place >= end && refused {
            // It knows nothing of this package any more.
            return self.talk.go(Phase::Announce);
        }
        if place >= end {
            return match self.flush(flash) {
                Ok(()) => self.send(now, Step::Next),
                Err(number) => self.fail(now, number),
            };
        }
        match self.config.sota_commands && !refused {
            true => {
                self.rx.fill = 0;
                self.send(now, Step::Rewind);
            }
            false => self.fail(now, McuError::PieceReleased.number()),
        }
    }

    /// The piece was heard once only, and it may be heard again.
    fn is_unsure(&self) -> bool {
        !self.talk.sure && self.talk.asked < ASKS
    }

    /// The last piece has to be the present one, then action 3.
    fn update(&mut self, now: Millis) {
        match self.talk.piece {
            None if self.talk.asked < ASKS => self.ask(now, SAY_AGAIN_MS),
            Some((_, end)) if end < self.image.length && self.is_unsure() => {
                self.ask(now, SAY_AGAIN_MS);
            }
            Some((_, end)) if end < self.image.length => self.send(now, Step::Next),
            _ => self.send(now, Step::Update),
        }
    }
}
