//! The state machine: entering a state, its timers, how it ends, and where a restart goes on.
//!
//! | state | on entry | timer | when it runs out (not strict / strict times) |
//! |---|---|---|---|
//! | 1 PlanReceived | 10700 per component, when all of a set are there | tick, with auto-confirm | tries to confirm again |
//! | 2 Confirmed | | 697.5 s / 30 s | 12 |
//! | 3 Refused | | | 0 when reported |
//! | 4 DownloadStarts | 10701 once per upgrade | 552.5 s / 5 s; while suspended: tick | 6; judged again |
//! | 5 Downloading | 10702 | tick 5 s | 10702 |
//! | 6 DownloadError | counts a failure, over 5: 12 | | 0 when reported |
//! | 8 Downloaded | 10703 | 60 s since the last read | 12 |
//! | 9 Updating | 10704 | 20 min; grace | 12 |
//! | 11, 12 | 10705, 10706 | | 0 when reported |
//!
//! Restarts, not strict: 1, 2, 3, 11, 12 the same; 4, 5, 6 -> 5; 8 -> 8; 9 -> 9 with what is left.
//! Strict: 2, 4, 5, 8 -> 6 and from 0; 9 -> 9 with a new 20 min. Every state is reported again once.

use sota_coap::after;
use sota_mutants::{Mutant, active};

use super::{
    Engine, Fetch,
    journal::{Key, PAYLOAD_MAX},
    queue::{Report, Tag},
    record::{self, Flow, bit, left_ms},
    staging, strategy,
    transfer::Work,
    versions::Versions,
};
use crate::{
    message::{COMPONENTS, ComponentType, Door, Etag, Millis, Reason, State},
    platform::{Flash, Readings},
};

/// State 9: how often what is left is journaled, in ms.
const SAVE_MS: u32 = 60_000;

/// A time that may be waited for. `Option<Millis>` takes twice the bytes, and more code wherever it is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Timer(Millis);

impl Timer {
    /// Nothing is waited for.
    pub(super) const OFF: Timer = Timer(Millis::MAX);

    /// `ms` from `now`.
    pub(super) fn after(now: Millis, ms: u32) -> Timer {
        Timer(after(now, ms))
    }

    /// When it comes.
    pub(super) fn at(self) -> Option<Millis> {
        (self != Timer::OFF).then_some(self.0)
    }

    /// Ends it if it has come.
    #[inline(never)]
    fn due(&mut self, now: Millis) -> bool {
        let due = self.0 <= now;
        if due {
            *self = Timer::OFF;
        }
        due
    }
}

impl Default for Timer {
    fn default() -> Timer {
        Timer::OFF
    }
}

/// What waits for the clock.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Timers {
    /// The present state ends.
    pub(super) state: Timer,
    /// Something is repeated.
    pub(super) tick: Timer,
    /// State 9: the journal gets what is left.
    pub(super) save: Timer,
    /// State 9: the MCU runs its source version.
    pub(super) grace: Timer,
}

impl Timers {
    pub(super) fn next(&self) -> Option<Millis> {
        let first = self.state.min(self.tick).min(self.save).min(self.grace);
        first.at()
    }
}

impl<const BLOCK: usize> Engine<BLOCK> {
    #[inline(never)]
    pub(super) fn door(&self) -> Door {
        if self.flow.standard {
            Door::Standard
        } else {
            Door::Plan
        }
    }

    /// Journals the state machine.
    pub(super) fn save<F: Flash>(&mut self, flash: &mut F) -> Result<(), Reason> {
        if active(Mutant::JournalAfterActing) && self.timers.save == Timer::OFF {
            self.timers.save = Timer::after(self.now, 1_000);
            return Ok(());
        }
        if self.flow.state == State::Updating {
            self.flow.remaining_ms = left_ms(self.now, self.timers.state.at());
            self.flow.grace_ms = self.timers.grace.at().map(|at| left_ms(self.now, Some(at)));
        }
        self.append(flash, Key::FLOW)
    }

    /// Goes to a state: journal first, then what others see.
    pub(super) fn enter<F: Flash>(&mut self, flash: &mut F, state: State) {
        let now = self.now;
        let after = |ms| Timer::after(now, ms);
        let config = &self.config;
        self.flow.state = state;
        if !matches!(state, State::DownloadError | State::Failure) {
            self.flow.reason = None;
        }
        self.settled = false;
        let mut timers = Timers::default();
        let mut event = None;
        match state {
            State::None | State::Refused | State::DownloadError => {}
            State::PlanReceived => {
                if config.auto_confirm {
                    timers.tick = after(config.tick_ms);
                }
            }
            State::Confirmed => timers.state = after(config.info_wait_ms),
            State::DownloadStarts => timers.state = after(config.start_ms),
            State::Downloading => {
                timers.tick = after(config.tick_ms);
                event = Some(Tag::Downloading);
            }
            State::Downloaded => {
                // A foreign server's Install may take longer than any read.
                let waits_for_server = self.flow.standard && self.is_last_piece();
                if !waits_for_server {
                    timers.state = after(config.read_ms);
                }
                event = self.downloaded_tag();
            }
            State::Updating => {
                timers.state = after(self.flow.remaining_ms);
                timers.grace = self.flow.grace_ms.map_or(Timer::OFF, after);
                timers.save = after(SAVE_MS);
                event = Some(Tag::Updating);
            }
            State::Success | State::Failure => {}
        }
        self.timers = timers;
        if let Err(reason) = self.save(flash) {
            return self.give_up(flash, reason);
        }
        self.report_state();
        if let Some(event) = event {
            self.queue.event(event);
        }
    }

    /// Whether a component is in the present state: the one whose turn it is, before that every one.
    pub(super) fn concerns(&self, instance: u8) -> bool {
        match self.flow.active {
            Some(active) => active == instance,
            None => self.is_live(instance),
        }
    }

    /// Reports the present state for every component that is in it.
    fn report_state(&mut self) {
        for instance in 0..COMPONENTS as u8 {
            if self.concerns(instance) && self.flow.state != State::None {
                self.queue.report(Report {
                    instance,
                    state: self.flow.state,
                    reason: self.flow.reason,
                });
            }
        }
        self.queue.view = true;
    }

    /// Saves what may be lost once: the upgrade goes on, and the error is told.
    #[inline(never)]
    pub(super) fn save_or_note<F: Flash>(&mut self, flash: &mut F) {
        if let Err(reason) = self.save(flash) {
            self.last_error = Some(reason);
        }
    }

    /// The upgrade cannot go on: the flash fails, a time is over, the host does not want it any more.
    pub(super) fn give_up<F: Flash>(&mut self, flash: &mut F, reason: Reason) {
        match self.flow.active {
            Some(active) => self.finish(flash, active, Err(reason)),
            None => {
                for instance in 0..COMPONENTS as u8 {
                    if self.is_live(instance) {
                        self.finish(flash, instance, Err(reason));
                    }
                }
            }
        }
    }

    /// The upgrade of one component is over: 11 or 12.
    ///
    /// | of its set | after 11 | after 12 |
    /// |---|---|---|
    /// | waits for its turn | goes on in 2, its time for the download information begins | ends with it, 12 |
    /// | is under upgrade, not in 9 | goes on | ends with it, 12 |
    /// | is in 9 | goes on | goes on: what is being written cannot be stopped |
    ///
    /// The sequence of a plan is a dependency: what comes later may need what failed.
    pub(super) fn finish<F: Flash>(
        &mut self,
        flash: &mut F,
        instance: u8,
        result: Result<(), Reason>,
    ) {
        let reason = result.err();
        let mut ended = bit(instance);
        if reason.is_some() {
            self.last_error = reason;
            if !self.flow.standard {
                ended |= self.flow.live;
                if self.flow.state == State::Updating
                    && let Some(active) = self.flow.active.filter(|active| *active != instance)
                {
                    ended &= !bit(active);
                }
            }
        }
        self.flow.live &= !ended;
        if self
            .flow
            .active
            .is_none_or(|active| ended & bit(active) != 0)
        {
            self.drop_fetch();
            self.boot = false;
            self.trial = false;
            self.timers = Timers::default();
            self.flow.failures = 0;
            self.flow.grace_ms = None;
            self.settled = false;
            if self.flow.live == 0 {
                self.flow.active = Some(instance);
                self.flow.state = match reason {
                    Some(_) => State::Failure,
                    None => State::Success,
                };
                self.flow.reason = reason;
            } else {
                self.flow.active = None;
                if self.flow.state > State::Confirmed {
                    self.flow.state = State::Confirmed;
                }
                if self.flow.state == State::Confirmed {
                    self.timers.state = Timer::after(self.now, self.config.info_wait_ms);
                }
            }
        }
        self.over(instance, result);
        for other in 0..COMPONENTS as u8 {
            if other != instance && ended & bit(other) != 0 {
                self.over(other, Err(Reason::OtherComponentFailed));
            }
        }
        let saved = self
            .append(flash, Key::VERSIONS)
            .and_then(|()| self.save(flash));
        if let Err(reason) = saved {
            // The result is told all the same; after a restart the upgrade may go on once more.
            self.last_error = Some(reason);
        }
    }

    /// Notes and tells how the upgrade of a component ended.
    fn over(&mut self, instance: u8, result: Result<(), Reason>) {
        if let Some(last) = self.versions.last.get_mut(usize::from(instance)) {
            *last = Some(result);
        }
        let reason = result.err();
        self.queue.report(Report {
            instance,
            state: match reason {
                Some(_) => State::Failure,
                None => State::Success,
            },
            reason,
        });
        self.queue.event(Tag::Ended(instance, reason));
    }

    /// An error that the network cannot explain: 6, or 12 after too many in a row.
    pub(super) fn download_error<F: Flash>(&mut self, flash: &mut F, reason: Reason) {
        if self.flow.active.is_none()
            || !matches!(self.flow.state, State::DownloadStarts | State::Downloading)
        {
            return;
        }
        self.last_error = Some(reason);
        self.drop_fetch();
        // A foreign server does not send its download information again.
        if self.flow.standard {
            return self.give_up(flash, reason);
        }
        self.flow.failures = self.flow.failures.saturating_add(1);
        if self.flow.failures > self.config.failures_max {
            return self.give_up(flash, Reason::TooManyDownloadErrors);
        }
        if matches!(reason, Reason::PackageChanged | Reason::LengthMismatch) {
            self.forget_progress();
        }
        self.flow.reason = Some(reason);
        self.enter(flash, State::DownloadError);
    }

    pub(super) fn run_timers<F: Flash>(&mut self, readings: Readings, flash: &mut F) {
        if core::mem::take(&mut self.rejudge) {
            self.judge(readings);
        }
        let state = self.flow.state;
        if self.timers.state.due(self.now) {
            match state {
                State::Confirmed => self.give_up(flash, Reason::ConfirmedButNoDownload),
                State::DownloadStarts if !self.config.strict && !self.link => {
                    // Without a network nothing can start, and that is no failure.
                    self.timers.state = Timer::after(self.now, self.config.start_ms);
                }
                State::DownloadStarts => {
                    self.download_error(flash, Reason::DownloadDidNotStart);
                }
                State::Downloaded => self.give_up(flash, Reason::McuStoppedReading),
                State::Updating if self.trial => {
                    // Zero in the journal: an image that is there again after that was not reverted.
                    self.flow.remaining_ms = 0;
                    self.save_or_note(flash);
                }
                State::Updating => self.give_up(flash, Reason::McuUpdateTimeout),
                _ => {}
            }
        }
        if self.timers.grace.due(self.now) {
            self.give_up(flash, Reason::McuStillRunsSource);
        }
        if self.timers.save.due(self.now) {
            self.timers.save = Timer::after(self.now, SAVE_MS);
            self.save_or_note(flash);
        }
        if self.timers.tick.due(self.now) {
            self.timers.tick = Timer::after(self.now, self.config.tick_ms);
            match self.flow.state {
                State::PlanReceived => {
                    let _ = self.confirm(readings, flash);
                }
                State::DownloadStarts => self.judge(readings),
                State::Downloading if self.suspended.is_some() => self.judge(readings),
                State::Downloading => {
                    self.queue.view = true;
                    self.queue.event(Tag::Downloading);
                }
                _ => self.timers.tick = Timer::OFF,
            }
        }
    }

    /// Judges the strategy before a piece: fetch it, or wait until the strategy holds again.
    pub(super) fn judge(&mut self, readings: Readings) {
        let judged = match self.active_slot() {
            Some(slot) if !self.config.strict => strategy::judge(slot, &self.config, readings),
            _ => Ok(()),
        };
        let now = self.now;
        let after = |ms| Timer::after(now, ms);
        match judged {
            Ok(()) => {
                self.suspended = None;
                self.queue.fetch = Fetch::Wanted;
                if self.flow.state == State::DownloadStarts {
                    self.timers.tick = Timer::OFF;
                    self.timers.state = after(self.config.start_ms);
                }
            }
            Err(reason) => {
                if self.suspended != Some(reason) {
                    self.queue.view = true;
                }
                self.suspended = Some(reason);
                self.last_error = Some(reason);
                self.timers.state = Timer::OFF;
                self.timers.tick = after(self.config.tick_ms);
            }
        }
    }

    /// Reads what survived and goes on as the table at the top says.
    pub(super) fn restart<F: Flash>(&mut self, flash: &mut F) {
        // Two functions: what the first needs of the stack is free again when the second writes the journal.
        if let Some(etag) = self.recall(flash) {
            self.go_on(flash, etag);
        }
    }

    /// Reads what survived; `None` when there is no upgrade, else the ETag if there is download information.
    #[inline(never)]
    fn recall<F: Flash>(&mut self, flash: &mut F) -> Option<Option<Etag>> {
        let mut buffer = [0; PAYLOAD_MAX];
        if let Some(bytes) = self.load(flash, Key::VERSIONS, &mut buffer)
            && self.versions.decode(bytes).is_none()
        {
            self.versions = Versions::default();
        }
        let flow = self
            .load(flash, Key::FLOW, &mut buffer)
            .and_then(Flow::decode);
        self.flow = flow.filter(|flow| flow.state != State::None)?;
        self.last_error = self.last_error.or(self.flow.reason);
        for instance in 0..COMPONENTS as u8 {
            if !self.is_live(instance) && !self.is_active(instance) {
                continue;
            }
            let bytes = self.load(flash, Key::offer(instance), &mut buffer);
            let Some(place) = self.slots.get_mut(usize::from(instance)) else {
                continue;
            };
            let any_source =
                bytes.and_then(|bytes| record::decode_offer(bytes, place.get_or_insert_default()));
            if any_source.is_none() {
                *place = None;
                self.flow.live &= !bit(instance);
            }
            self.note_source(instance, any_source == Some(true));
        }
        if self.flow.active.is_some() && self.active_slot().is_none()
            || self.flow.active.is_none()
                && (self.flow.live == 0 || self.flow.state > State::Refused)
        {
            self.flow = Flow::default();
            return None;
        }
        let info = self.load(flash, Key::INFO, &mut buffer);
        Some(info.and_then(|bytes| record::decode_download(bytes, &mut self.info)))
    }

    /// Goes on with the upgrade that survived.
    #[inline(never)]
    fn go_on<F: Flash>(&mut self, flash: &mut F, etag: Option<Etag>) {
        // Download information of another package may have come, and power gone before it was taken.
        let etag = etag.filter(|_| record::tag(&self.info) == self.flow.info_tag);
        let known = etag.is_some();
        match etag {
            Some(etag) => self.etag = etag,
            None => self.forget_info(),
        }
        if let Some(progress) = self
            .load(flash, Key::PROGRESS, &mut [0; 4])
            .and_then(|bytes| record::Reader(bytes).u32())
            .filter(|p| (self.flow.progress..=self.piece_end()).contains(p))
        {
            self.flow.progress = progress;
        }
        let usable = staging::usable(flash.staging());
        let sane = (1..=usable).contains(&self.flow.piece_size)
            && (self.flow.piece_start..=self.piece_end()).contains(&self.flow.progress);
        if !sane && (known || self.flow.state != State::Updating) {
            // Another build with less staging, or bytes no build wrote: from 0.
            self.forget_progress();
            self.flow.piece_size = self.piece_size(flash);
            if known {
                self.flow.info_tag = record::tag(&self.info);
            }
            if known && self.flow.state == State::Downloaded {
                self.flow.state = State::Downloading;
            }
        }
        // Power went between the announced version and the end that it means.
        let mut ended = false;
        for instance in 1..COMPONENTS as u8 {
            if self.is_live(instance)
                && self.flow.state > State::PlanReceived
                && self.flow.state != State::Refused
                && self.slot(instance).is_some_and(|s| {
                    !s.target.is_empty() && s.target == *self.component(instance).1
                })
            {
                self.finish(flash, instance, Ok(()));
                ended = true;
            }
        }
        if ended && self.flow.live == 0 {
            // It is told; to enter its state once more would tell it twice, or otherwise where the flash fails.
            return;
        }
        let state = self.flow.state;
        let firmware = self
            .active_slot()
            .is_some_and(|slot| slot.kind == ComponentType::Firmware);
        match state {
            State::Updating if firmware => self.after_trial_boot(flash),
            State::Updating => {
                if self.config.strict {
                    self.flow.remaining_ms = self.config.update_ms;
                    self.flow.grace_ms = None;
                }
                self.enter(flash, State::Updating);
            }
            State::Confirmed | State::DownloadStarts | State::Downloading | State::Downloaded
                if self.config.strict =>
            {
                self.forget_progress();
                self.enter(flash, State::DownloadError);
            }
            State::DownloadStarts
            | State::Downloading
            | State::DownloadError
            | State::Downloaded
                if !known && self.flow.active.is_some() =>
            {
                // Download information of another package came and power went before it was taken.
                self.forget_progress();
                self.enter(flash, State::DownloadError);
            }
            State::DownloadStarts | State::Downloading | State::DownloadError
                if self.flow.active.is_some() && !self.config.strict =>
            {
                self.work = Work::Check;
                // There are no readings here: the first poll has them.
                self.rejudge = true;
                self.enter(flash, State::Downloading);
            }
            State::PlanReceived => {
                self.enter(flash, State::PlanReceived);
                self.plan_events();
            }
            // The end of an upgrade was reported as its own; the state stays as it is.
            other => self.enter(flash, other),
        }
    }

    /// The module runs again after it was told to boot a new image: its version decides.
    fn after_trial_boot<F: Flash>(&mut self, flash: &mut F) {
        let (Some(active), Some(slot)) = (self.flow.active, self.active_slot()) else {
            return;
        };
        let runs = &self.config.own_version;
        let good = if slot.target.is_empty() {
            *runs != slot.source
        } else {
            *runs == slot.target
        };
        if good && self.config.confirm_after_link && self.flow.remaining_ms > 0 {
            self.enter(flash, State::Updating);
            self.trial = self.flow.state == State::Updating;
            return;
        }
        let result = if good && !self.config.confirm_after_link {
            Ok(())
        } else {
            Err(Reason::ModuleUpdateFailed)
        };
        self.finish(flash, active, result);
    }
}
