//! What the answer to each command means.

use super::dialogue::{ASK_MS, KEEP_MS, PAUSE_MS, Step, TRIES};
use super::event::ASKS;
use super::package::image_of;
use super::{AtAgent, Phase};
use embedded_storage::nor_flash::NorFlash;
use sota_errors::McuError;
use sota_link::Millis;

/// After a request that was refused, or whose plan could not be confirmed, ms.
const REQUEST_MS: u64 = 60_000;

impl<const BLOCK: usize> AtAgent<BLOCK> {
    pub(super) fn on_answer<F: NorFlash>(
        &mut self,
        now: Millis,
        flash: &mut F,
        step: Step,
        ok: bool,
    ) {
        let got = self.rx.data();
        if ok && matches!(step, Step::Read) && got == 0 {
            // The line before the data was garbled, and this is an OK in or behind it.
            return self.lost(now);
        }
        let talk = &mut self.talk;
        talk.step = None;
        talk.silent = 0;
        talk.down = false;
        if !core::mem::replace(&mut talk.up, true) {
            (self.due.up, self.due.down) = (true, false);
        }
        let told = matches!(
            step,
            Step::Announce | Step::Answer | Step::Next | Step::Rewind | Step::Update
        );
        if told && !ok {
            self.due.fault = McuError::ModuleRefused.number();
        }
        // What it was sent for is perhaps over.
        match (step, talk.phase) {
            (Step::Hello, Phase::Hello) if !ok => self.wait(now, PAUSE_MS / 10),
            (Step::Hello, Phase::Hello) => self.on_hello(now),
            (Step::Errors, Phase::Errors) => self.recall_or_announce(),
            (Step::Announce, Phase::Announce) if ok => talk.phase = Phase::Check,
            (Step::Announce, Phase::Announce) => self.refused(now),
            (Step::Check, Phase::Check) if ok && talk.known => talk.go(Phase::Request),
            // What it does not repeat it may know all the same.
            (Step::Check, Phase::Check) if talk.refusals >= TRIES => talk.go(Phase::Request),
            (Step::Check, Phase::Check) => {
                talk.phase = Phase::Announce;
                self.refused(now);
            }
            (Step::Request, Phase::Request) => self.idle(now, !ok),
            (Step::Answer, Phase::Answering) => self.on_answered(now, ok),
            (Step::Ask, _) => self.on_asked(now),
            (Step::Keep, Phase::Recall) if ok && got > 0 => self.on_recalled(now, flash),
            (Step::Keep, Phase::Recall) if !talk.ends => talk.ends = true,
            (Step::Keep, Phase::Recall) => talk.go(Phase::Announce),
            (Step::Keep, Phase::Verifying | Phase::Ready) => self.wait(now, KEEP_MS),
            (Step::Read, Phase::Receiving) if talk.read.0 != self.at + u32::from(self.rx.fill) => {}
            (Step::Read, Phase::Receiving) if ok => self.on_data(now, flash, got),
            (Step::Read, Phase::Receiving) => self.on_read_refused(now),
            (Step::Next | Step::Rewind, _) => {
                talk.no_piece();
                talk.asked = 0;
                if !ok {
                    talk.refusals = talk.refusals.saturating_add(1);
                }
                self.wait(now, if ok { ASK_MS } else { PAUSE_MS });
            }
            (Step::Update, Phase::Installing) if ok => match self.boot.request(flash) {
                Ok(()) => {
                    talk.failures = 0;
                    talk.go(Phase::Installed);
                    self.due.reset = true;
                }
                Err(error) => self.fail(now, error.number()),
            },
            (Step::Update, Phase::Installing) => {
                // It is not at its last piece, or it knows nothing of this package any more.
                talk.no_piece();
                talk.asked = 0;
                talk.refusals = talk.refusals.saturating_add(1);
                if talk.refusals >= TRIES {
                    talk.go(Phase::Announce);
                }
                self.wait(now, PAUSE_MS);
            }
            _ => {}
        }
    }

    fn on_hello(&mut self, now: Millis) {
        if self.on_trial() {
            // Its version is announced when it is confirmed: the module takes that for the upgrade's success.
            self.wait(now, ASK_MS);
        } else if self.config.sota_commands {
            self.talk.go(Phase::Errors);
        } else {
            self.recall_or_announce();
        }
    }

    fn recall_or_announce(&mut self) {
        let recalls = self.slot.record().resume().is_some();
        self.talk.go(match recalls {
            true => Phase::Recall,
            false => Phase::Announce,
        });
    }

    /// Nothing is under way.
    fn idle(&mut self, now: Millis, again: bool) {
        let request = u64::from(self.config.request_ms);
        let ms = match (request, again) {
            (0, false) => None,
            (0, true) => Some(REQUEST_MS),
            (ms, _) => Some(ms),
        };
        self.talk.request_at = ms.map(|ms| now.saturating_add(ms));
        self.talk.go(Phase::Idle);
    }

    fn on_answered(&mut self, now: Millis, ok: bool) {
        let refused = self.talk.refused;
        if !ok && self.talk.refusals < 2 * TRIES {
            return self.refused(now);
        }
        if !ok {
            // The plan is gone, perhaps.
            return self.talk.go(Phase::Announce);
        }
        if refused != 0 {
            self.due.ended = Some(refused);
            return self.idle(now, false);
        }
        self.talk.pending = true;
        self.talk.go(Phase::Accepted);
        self.wait(now, ASK_MS);
    }

    /// The same again after a pause that grows.
    fn refused(&mut self, now: Millis) {
        let refusals = self.talk.refusals;
        self.talk.refusals = refusals.saturating_add(1);
        self.wait(now, PAUSE_MS << refusals.min(6));
    }

    fn on_asked(&mut self, now: Millis) {
        self.plans.asked();
        self.packages.asked();
        let talk = &mut self.talk;
        talk.asked = talk.asked.saturating_add(1);
        // A module that does not say again where its piece is: whether it gives the next bytes tells.
        if talk.phase == Phase::Receiving
            && talk.piece.is_none()
            && talk.asked >= 2
            && let Some(start) = talk.start
        {
            talk.piece = Some((start, self.image.length));
            (talk.open, talk.sure) = (true, false);
        }
        let pause = talk.pause_ms;
        self.wait(now, pause);
    }

    /// A piece of the package that the flash knows is there, though the module did not say of which.
    fn on_recalled<F: NorFlash>(&mut self, now: Millis, flash: &mut F) {
        let (Some(resume), Some(start)) = (self.slot.record().resume(), self.talk.start) else {
            return self.talk.go(Phase::Announce);
        };
        let ends = self.talk.ends;
        self.take(now, flash, image_of(&resume));
        let talk = &mut self.talk;
        if talk.phase == Phase::Receiving {
            (talk.piece, talk.open) = (Some((start, resume.length)), true);
            if ends {
                (talk.piece, talk.asked) = (Some((start, resume.offset)), ASKS);
            }
            talk.wait_until = now;
        }
    }

    fn on_read_refused(&mut self, now: Millis) {
        let place = self.place();
        let talk = &mut self.talk;
        talk.once = false;
        match talk.piece {
            // Its length was not known: it ends here.
            Some((start, _)) if talk.open && start < place => {
                talk.piece = Some((start, place));
                talk.asked = ASKS;
            }
            _ => {
                talk.no_piece();
                self.wait(now, PAUSE_MS);
            }
        }
    }
}
