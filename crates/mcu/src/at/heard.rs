//! What the module says by itself.

use super::dialogue::{PAUSE_MS, Step};
use super::event::Heard;
use super::line::Data;
use super::{AtAgent, Phase};
use embedded_storage::nor_flash::NorFlash;
use sota_errors::McuError;
use sota_link::Millis;
use sota_link::field::{Boot, Image, Version};

impl Phase {
    /// What was heard once may be asked for again.
    pub(super) const fn may_ask(self) -> bool {
        !matches!(
            self,
            Phase::Hello
                | Phase::Errors
                | Phase::Considering
                | Phase::Answering
                | Phase::Installed
                | Phase::Failed
        )
    }

    /// A package is under way.
    pub(super) const fn has_image(self) -> bool {
        matches!(
            self,
            Phase::Receiving | Phase::Verifying | Phase::Ready | Phase::Installing
        )
    }
}

impl<const BLOCK: usize> AtAgent<BLOCK> {
    /// `sum`: of the line.
    pub(super) fn on_line<F: NorFlash>(
        &mut self,
        now: Millis,
        flash: &mut F,
        sum: u32,
        heard: Heard,
    ) {
        // Until the image is confirmed the other slot is not to be written.
        let deaf = self.on_trial() || self.talk.phase == Phase::Installed;
        let talk = &mut self.talk;
        match heard {
            Heard::Final(ok) => {
                if let Some(step) = talk.step {
                    self.on_answer(now, flash, step, ok);
                }
            }
            Heard::Data(start, length) => self.on_data_begins(start, length),
            Heard::Start(start) if talk.step == Some(Step::Ask) => talk.start = Some(start),
            Heard::Version(right) if talk.step == Some(Step::Check) => talk.known = right,
            Heard::Reason(number) => self.due.fault = number,
            _ if deaf => {}
            Heard::Connected if talk.phase == Phase::Idle => {
                // It was perhaps reset, and knows no version.
                talk.go(Phase::Announce);
                self.wait(now, PAUSE_MS);
            }
            Heard::Plan(target, space) => self.on_plan(now, sum, target, space),
            Heard::Package(image) => self.on_package(now, flash, sum, image),
            Heard::Piece(length, start, piece) => self.on_piece(now, length, start, piece),
            Heard::Code(10702) => talk.asked = 0,
            Heard::Code(10705)
                if matches!(talk.phase, Phase::Check | Phase::Request | Phase::Idle) =>
            {
                talk.pending = false;
                self.due.ended = Some(0);
            }
            Heard::Code(10706) => self.on_failure(now),
            _ => {}
        }
    }

    fn on_data_begins(&mut self, start: u32, length: u32) {
        let talk = &self.talk;
        let (data, most) = match talk.step {
            Some(Step::Read) if talk.once => (Data::Compare, talk.read.1),
            Some(Step::Read) => (Data::Store, talk.read.1),
            Some(Step::Keep) => (Data::Drop, talk.read.1),
            _ => return,
        };
        let right = start == talk.read.0 && length <= most.into();
        if right && (data != Data::Compare || length == most.into()) {
            self.rx.take_data(length as u16, data);
        }
    }

    /// 10706: of this MCU's upgrade, if there is one; it has no component.
    fn on_failure(&mut self, now: Millis) {
        let talk = &mut self.talk;
        let reverted = matches!(self.boot.boot(), Boot::Reverted(_)) && talk.phase == Phase::Idle;
        let mine = core::mem::take(&mut talk.pending) || reverted;
        if mine {
            self.due.ended = Some(McuError::ModuleGaveUp.number());
        } else if !matches!(talk.phase, Phase::Considering | Phase::Failed) {
            return;
        }
        self.plans.clear();
        self.packages.clear();
        self.drop_transfer();
        let talk = &mut self.talk;
        talk.wrong = 0;
        // A part that is worn out never gets better, and each try costs messages on the air.
        let pause = PAUSE_MS << talk.failures.min(10);
        talk.failures = talk.failures.saturating_add(1);
        talk.go(Phase::Hello);
        self.wait(now, pause);
    }

    fn on_plan(&mut self, now: Millis, sum: u32, target: Version, space: u32) {
        let talk = &mut self.talk;
        if matches!(talk.phase, Phase::Considering | Phase::Answering) {
            return;
        }
        talk.asked = 0;
        let counts = self.plans.hear(sum);
        // One that comes is not given up for a line that was perhaps garbled.
        self.plans.kept = counts || !talk.phase.has_image();
        if self.plans.kept {
            (self.target, self.space) = (target, space);
        }
        match counts {
            true => self.on_plan_counts(now),
            false => talk.wait_until = talk.wait_until.min(now),
        }
    }

    /// What 10700 says counts: it is answered.
    pub(super) fn on_plan_counts(&mut self, now: Millis) {
        self.plans.clear();
        self.packages.clear();
        self.drop_transfer();
        let talk = &mut self.talk;
        (talk.refused, talk.wrong) = (0, 0);
        talk.go(Phase::Answering);
        if self.space > self.layout.capacity() {
            talk.refused = McuError::SlotTooSmall.number();
        } else if self.config.asks_first {
            talk.phase = Phase::Considering;
            self.due.plan = true;
        }
        talk.wait_until = now;
    }

    fn on_package<F: NorFlash>(&mut self, now: Millis, flash: &mut F, sum: u32, image: Image) {
        let talk = &mut self.talk;
        talk.asked = 0;
        match talk.phase {
            Phase::Hello | Phase::Considering | Phase::Failed => return,
            // It was confirmed, and the answer was lost.
            Phase::Answering if talk.refused == 0 => talk.go(Phase::Accepted),
            Phase::Answering => return,
            _ => {}
        }
        let has_image = talk.phase.has_image();
        let is = |length, digest| (length, digest) == (image.length, image.digest());
        if has_image && is(self.image.length, self.image.digest()) {
            return self.packages.clear();
        }
        let resume = self.slot.record().resume();
        let known = (resume.as_ref()).is_some_and(|known| is(known.length, Some(known.digest)));
        if known || self.packages.hear(sum) {
            return self.take(now, flash, image);
        }
        self.packages.kept = !has_image;
        if !has_image {
            self.image = image;
            talk.no_piece();
        }
        talk.wait_until = talk.wait_until.min(now);
    }

    fn on_piece(&mut self, now: Millis, length: u32, start: u32, piece: u32) {
        let talk = &mut self.talk;
        talk.asked = 0;
        let has_image = talk.phase.has_image();
        if !has_image && !self.packages.kept {
            // 10701 was lost: the module says it again.
            if matches!(talk.phase, Phase::Idle | Phase::Accepted) {
                talk.phase = Phase::Accepted;
                talk.wait_until = now;
            }
            return;
        }
        if length != self.image.length {
            return;
        }
        let heard = (start, start.saturating_add(piece));
        talk.sure = talk.piece == Some(heard) && !talk.open;
        (talk.piece, talk.open) = (Some(heard), false);
        if matches!(talk.phase, Phase::Receiving | Phase::Installing) {
            talk.wait_until = now;
        }
    }
}
