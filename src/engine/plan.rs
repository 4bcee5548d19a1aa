//! Offers, the host's answer, download information, cancel, and the versions the MCU announces.

use super::{
    Engine, Fetch, digest,
    journal::Key,
    queue::{Report, Tag},
    record::{self, Flow, bit},
    staging,
    state::Timer,
    strategy,
    transfer::Work,
    versions::bad,
};
use crate::{
    message::{
        COMPONENTS, ComponentName, ComponentType, Door, DownloadInfo, Etag, Offer, Reason, State,
        Version,
    },
    platform::{Flash, Readings},
    text::put,
};

impl<const BLOCK: usize> Engine<BLOCK> {
    /// A plan for one component; taken only in states 0 and 1. Offers of one name are one set: an offer of
    /// another name takes the place of a set that the host has not answered.
    #[inline(never)]
    pub(super) fn offer<F: Flash>(
        &mut self,
        readings: Readings,
        flash: &mut F,
        door: Door,
        offer: &mut Offer,
    ) -> Result<(), Reason> {
        // How many come together is the set's, and no part of what an offer that comes again is compared with.
        let set = core::mem::take(&mut offer.components);
        let instance = match offer.kind {
            ComponentType::Mcu => self.versions.instance(&offer.component),
            ComponentType::Firmware => {
                let own = &self.config.own_component;
                (own.is_empty() || *own == offer.component).then_some(0)
            }
        }
        .ok_or(Reason::UnknownComponent)?;
        // They stand in the lines for the host: a quote or a CR would make lines that we never sent.
        if bad(&offer.component) || bad(&offer.source) || bad(&offer.target) {
            return Err(Reason::BadOffer);
        }
        let any_source = offer.source.is_empty();
        if any_source {
            // The same offer again, though its component may run another version by now.
            let again = self.any_source & bit(instance) != 0;
            let source = match self.slot(instance) {
                Some(slot) if again && slot.plan == offer.plan => &slot.source,
                _ => self.component(instance).1,
            };
            let _ = put(&mut offer.source, source);
        }
        let same = self.slot(instance) == Some(&*offer);
        if door == Door::Plan && !self.flow.standard && same {
            // The server did not hear how that ended: the next try has another name.
            if let Some(end) = self.end(instance) {
                self.queue.report(end);
                return Ok(());
            }
        }
        match self.state() {
            // The server did not hear our answer and writes again.
            state if state >= State::PlanReceived && self.is_live(instance) && same => {
                return Ok(());
            }
            State::PlanReceived if door != self.door() => return Err(Reason::UpgradeBusy),
            State::PlanReceived if self.is_of_set(offer) => {}
            State::None | State::PlanReceived => {
                if any_source {
                    let _ = put(&mut offer.source, self.component(instance).1);
                }
                self.slots.iter_mut().for_each(|slot| *slot = None);
                self.flow = Flow {
                    standard: door == Door::Standard,
                    ..Flow::default()
                };
                self.forget_info();
                self.etag = Etag::NONE;
                // What was before is over before its place is taken: a restart in between finds no mixture.
                self.save(flash)?;
            }
            _ => return Err(Reason::UpgradeBusy),
        }
        self.append_offer(flash, instance, offer, any_source)?;
        if let Some(place) = self.slots.get_mut(usize::from(instance)) {
            *place = Some(offer.clone());
        }
        self.note_source(instance, any_source);
        let before = (self.flow.live, self.flow.set, self.flow.state);
        self.flow.live |= bit(instance);
        self.flow.set = set;
        self.flow.state = State::PlanReceived;
        if let Err(reason) = self.save(flash) {
            (self.flow.live, self.flow.set, self.flow.state) = before;
            return Err(reason);
        }
        self.settled = false;
        if let Some(last) = self.versions.last.get_mut(usize::from(instance)) {
            *last = None;
        }
        self.queue.report(Report {
            instance,
            state: State::PlanReceived,
            reason: None,
        });
        if set > 1 {
            self.plan_events();
        } else {
            self.queue.event(Tag::Plan(instance));
        }
        if self.config.auto_confirm {
            self.timers.tick = Timer::after(self.now, self.config.tick_ms);
            // With the standard's door the download information comes right behind: it is awaited.
            if door == Door::Plan {
                let _ = self.confirm(readings, flash);
            }
        }
        Ok(())
    }

    /// How the upgrade of a component ended, when it was told and no other has begun.
    fn end(&self, instance: u8) -> Option<Report> {
        let last = self.versions.last.get(usize::from(instance))?;
        let (state, reason) = match (self.flow.state, last) {
            _ if !self.settled => return None,
            // The turn of another of the set: this one waits for its own, or had it.
            (State::DownloadError, None) if !self.concerns(instance) => (State::Confirmed, None),
            (state @ State::Refused, _) => (state, self.flow.reason),
            (state @ State::DownloadError, _) if self.concerns(instance) => {
                (state, self.flow.reason)
            }
            (State::DownloadError | State::Success | State::Failure, Some(result)) => {
                match result {
                    Ok(()) => (State::Success, None),
                    Err(reason) => (State::Failure, Some(*reason)),
                }
            }
            // No upgrade, or the host named its components anew.
            _ => return None,
        };
        Some(Report {
            instance,
            state,
            reason,
        })
    }

    /// Whether an offer belongs to the set that waits for the host's answer.
    fn is_of_set(&self, offer: &Offer) -> bool {
        let mut of_set = self.slots.iter().flatten();
        of_set.all(|other| other.plan == offer.plan)
    }

    /// Every offer of the set is there: the host is asked, and may answer, only then.
    #[inline(never)]
    fn is_complete(&self) -> bool {
        self.flow.live.count_ones() >= self.flow.set.into()
    }

    pub(super) fn note_source(&mut self, instance: u8, any: bool) {
        self.any_source &= !bit(instance);
        if any {
            self.any_source |= bit(instance);
        }
    }

    /// OtaAction; every condition of quecthing.md section 4.
    #[inline(never)]
    pub(super) fn action<F: Flash>(
        &mut self,
        readings: Readings,
        flash: &mut F,
        action: u8,
    ) -> Result<(), Reason> {
        let mcu = self
            .active_slot()
            .is_some_and(|slot| slot.kind == ComponentType::Mcu);
        match (action, self.state()) {
            (0, State::PlanReceived) if self.is_complete() => self.refuse(flash),
            (1, State::PlanReceived) => self.confirm(readings, flash),
            (1, State::Confirmed) => Ok(()),
            (2, State::Downloaded) if mcu && !self.is_last_piece() => {
                self.next_piece(readings, flash, self.piece_end())
            }
            (3, State::Downloaded) if mcu && self.is_last_piece() => self.begin_update(flash),
            (3, State::Updating) if mcu => Ok(()),
            (0..=3, _) => Err(match self.state() {
                State::Failure => self.flow.reason.unwrap_or(Reason::AtNotAllowedNow),
                _ => Reason::AtNotAllowedNow,
            }),
            _ => Err(Reason::AtBadParameter),
        }
        .inspect_err(|reason| self.last_error = Some(*reason))
    }

    fn refuse<F: Flash>(&mut self, flash: &mut F) -> Result<(), Reason> {
        self.flow.answer = Some(false);
        self.last_error = Some(Reason::RefusedByHost);
        for instance in 0..COMPONENTS as u8 {
            if self.is_live(instance)
                && let Some(last) = self.versions.last.get_mut(usize::from(instance))
            {
                *last = Some(Err(Reason::RefusedByHost));
            }
        }
        self.append(flash, Key::VERSIONS)?;
        self.enter(flash, State::Refused);
        self.expect(State::Refused)?;
        self.answered();
        Ok(())
    }

    /// 10707, of more than one component.
    fn answered(&mut self) {
        if self.flow.live & self.flow.live.wrapping_sub(1) != 0 {
            self.queue.event(Tag::UpdateFlag);
        }
    }

    /// One confirmation for every component that was offered.
    pub(super) fn confirm<F: Flash>(
        &mut self,
        readings: Readings,
        flash: &mut F,
    ) -> Result<(), Reason> {
        if !self.is_complete() {
            return Err(Reason::AtNotAllowedNow);
        }
        let live: u8 = self.flow.live;
        let of_plan = |instance: &u8| live & bit(*instance) != 0;
        for instance in (0..COMPONENTS as u8).filter(of_plan) {
            let Some(slot) = self.slot(instance) else {
                continue;
            };
            if !self.config.strict
                && let Err(reason) = strategy::judge(slot, &self.config, readings)
            {
                self.last_error = Some(reason);
                self.suspended = Some(reason);
                self.queue.view = true;
                return Err(reason);
            }
        }
        self.suspended = None;
        for instance in (0..COMPONENTS as u8).filter(of_plan) {
            if let Err(reason) = self.space(flash, instance) {
                self.finish(flash, instance, Err(reason));
                return Err(reason);
            }
        }
        self.flow.answer = Some(true);
        self.enter(flash, State::Confirmed);
        self.expect(State::Confirmed)?;
        self.answered();
        if self.flow.standard
            && !self.info.uri.is_empty()
            && let Some(instance) = self.slot_of_plan()
        {
            self.begin_download(readings, flash, instance, None)?;
        }
        Ok(())
    }

    /// Whether what was entered is where the engine is: not, when the flash failed.
    fn expect(&self, state: State) -> Result<(), Reason> {
        if self.flow.state == state {
            return Ok(());
        }
        Err(self.last_error.unwrap_or(Reason::FlashWriteFailed))
    }

    /// Whether the package has room where it must go.
    fn space<F: Flash>(&self, flash: &mut F, instance: u8) -> Result<(), Reason> {
        let Some(slot) = self.slot(instance) else {
            return Ok(());
        };
        let staging = staging::usable(flash.staging());
        let need = slot.use_space;
        let fits = match slot.kind {
            ComponentType::Firmware => {
                need <= staging && self.config.firmware_slot.is_some_and(|slot| need <= slot)
            }
            ComponentType::Mcu => {
                self.piece_size(flash) as usize >= BLOCK
                    && self.mcu_slot.is_none_or(|slot| need <= slot)
            }
        };
        if fits {
            Ok(())
        } else {
            Err(Reason::NotEnoughSpace)
        }
    }

    /// The live component whose offer the download information belongs to.
    fn slot_of_plan(&self) -> Option<u8> {
        (0..COMPONENTS as u8)
            .find(|i| self.is_live(*i) && self.slot(*i).is_some_and(|s| s.plan == self.info.plan))
    }

    /// Where the package is. Taken in 0 (after a download error) and 2; in 1 through the standard's door,
    /// where it waits for the host's answer.
    #[inline(never)]
    pub(super) fn download_info<F: Flash>(
        &mut self,
        readings: Readings,
        flash: &mut F,
        instance: u8,
        info: &DownloadInfo,
    ) -> Result<(), Reason> {
        if info.uri.is_empty() {
            return Err(Reason::BadPackageUri);
        }
        let digests = info.md5.is_some() || info.crc32.is_some() || info.sha256.is_some();
        if !self.flow.standard && !digests {
            return Err(Reason::NoDigest);
        }
        if !self.flow.standard && info.length == 0 {
            return Err(Reason::BadOffer);
        }
        if self.too_large(info.length) {
            return Err(Reason::PackageTooLarge);
        }
        let named = self.slot(instance).is_some_and(|s| s.plan == info.plan);
        if !named || !self.is_live(instance) {
            return Err(Reason::BadOffer);
        }
        // The version of the one before must be reported first.
        if self.flow.active.is_some_and(|active| active != instance) {
            return Err(Reason::UpgradeBusy);
        }
        match self.flow.state {
            State::PlanReceived if self.flow.standard => {
                self.flow.info_tag = record::tag(info);
                self.take_info(info);
                self.append(flash, Key::INFO)?;
                self.save(flash)?;
                if self.config.auto_confirm {
                    let _ = self.confirm(readings, flash);
                }
                Ok(())
            }
            State::Confirmed | State::DownloadError => {
                self.begin_download(readings, flash, instance, Some(info))
            }
            State::DownloadStarts | State::Downloading | State::Downloaded
                if record::tag(info) == self.flow.info_tag =>
            {
                Ok(())
            }
            _ => Err(Reason::UpgradeBusy),
        }
    }

    /// `info`: `None` for the one that waited for the host's answer.
    fn begin_download<F: Flash>(
        &mut self,
        readings: Readings,
        flash: &mut F,
        instance: u8,
        info: Option<&DownloadInfo>,
    ) -> Result<(), Reason> {
        let again = self.flow.state == State::DownloadError && self.is_active(instance);
        let tag = record::tag(info.unwrap_or(&self.info));
        self.flow.active = Some(instance);
        if !(again && tag == self.flow.info_tag && !self.config.strict) {
            self.forget_progress();
            if let Some(info) = info {
                self.take_info(info);
            }
            self.flow.info_tag = tag;
            self.flow.piece_size = self.piece_size(flash);
        }
        if !again {
            self.flow.announced = false;
            self.flow.failures = 0;
        }
        if let Err(reason) = self.fits(flash) {
            self.finish(flash, instance, Err(reason));
            return Err(reason);
        }
        self.append(flash, Key::INFO)?;
        self.delete_rescue(flash)?;
        self.start_piece(readings, flash)
    }

    /// Begins to fetch the present piece: state 4.
    pub(super) fn start_piece<F: Flash>(
        &mut self,
        readings: Readings,
        flash: &mut F,
    ) -> Result<(), Reason> {
        self.work = Work::Check;
        self.suspended = None;
        self.announce_start();
        self.enter(flash, State::DownloadStarts);
        self.expect(State::DownloadStarts)?;
        self.queue.fetch = Fetch::Idle;
        self.judge(readings);
        Ok(())
    }

    /// 10701, once per upgrade and when the length is known.
    pub(super) fn announce_start(&mut self) {
        if let Some(active) = self.flow.active
            && !self.flow.announced
            && self.info.length > 0
        {
            self.flow.announced = true;
            self.queue.event(Tag::DownloadStart(active));
        }
    }

    /// 10700 again for a host that asks while its plan waits for an answer: it was reset, or the line
    /// garbled the first one, and the Center's second offer of the same plan raises no event.
    pub(super) fn announce_plan(&mut self) {
        if !self.config.strict && self.state() == State::PlanReceived {
            self.plan_events();
        }
    }

    /// 10700 per component, once all of them are there.
    pub(super) fn plan_events(&mut self) {
        if !self.is_complete() {
            return;
        }
        for instance in 0..COMPONENTS as u8 {
            if self.is_live(instance) {
                self.queue.event(Tag::Plan(instance));
            }
        }
    }

    /// 10701 again, and in state 8 also 10703.
    pub(super) fn announce(&mut self) {
        let state = self.state();
        if let Some(active) = self.flow.active
            && self.info.length > 0
            && matches!(
                state,
                State::DownloadStarts | State::Downloading | State::Downloaded
            )
        {
            self.queue.event(Tag::DownloadStart(active));
            if state == State::Downloaded
                && let Some(tag) = self.downloaded_tag()
            {
                self.queue.event(tag);
            }
        }
    }

    /// 10701 and 10704 again while the host has to install or does.
    #[cfg(any(feature = "link", feature = "stm32", feature = "smp"))]
    pub(super) fn announce_update(&mut self) {
        if let Some(active) = self.flow.active
            && self.state() == State::Updating
        {
            self.queue.event(Tag::DownloadStart(active));
            self.queue.event(Tag::Updating);
        }
    }

    /// The host says that it will not install: what it runs, it runs on.
    #[cfg(any(feature = "link", feature = "stm32", feature = "smp"))]
    pub(super) fn not_installed<F: Flash>(
        &mut self,
        flash: &mut F,
        reason: Reason,
    ) -> Result<(), Reason> {
        if self.state() != State::Updating {
            return Err(Reason::AtNotAllowedNow);
        }
        self.give_up(flash, reason);
        Ok(())
    }

    /// Action 3 or the server's Install: 20 minutes from now.
    fn begin_update<F: Flash>(&mut self, flash: &mut F) -> Result<(), Reason> {
        let firmware = self
            .active_slot()
            .is_some_and(|slot| slot.kind == ComponentType::Firmware);
        self.flow.remaining_ms = self.config.update_ms;
        self.flow.grace_ms = None;
        self.enter(flash, State::Updating);
        self.expect(State::Updating)?;
        self.boot = firmware;
        Ok(())
    }

    /// The module's own firmware installs by itself once it is verified, unless a foreign server decides.
    pub(super) fn install_own<F: Flash>(&mut self, flash: &mut F) {
        let own = self
            .active_slot()
            .is_some_and(|slot| slot.kind == ComponentType::Firmware);
        if own && !self.flow.standard && self.flow.state == State::Downloaded {
            let _ = self.begin_update(flash);
        }
    }

    /// /9/m/4 or /5/0/2.
    pub(super) fn install<F: Flash>(&mut self, flash: &mut F, instance: u8) -> Result<(), Reason> {
        if !self.is_active(instance)
            || self.flow.state != State::Downloaded
            || !self.is_last_piece()
        {
            return Err(Reason::AtNotAllowedNow);
        }
        self.begin_update(flash)
    }

    /// The Center cancels one component: 12, unless the MCU flashes already.
    pub(super) fn cancel<F: Flash>(&mut self, flash: &mut F, instance: u8) -> Result<(), Reason> {
        if !self.is_live(instance) || self.flow.state == State::Refused {
            return Ok(());
        }
        if self.is_active(instance) && self.flow.state == State::Updating {
            return Err(Reason::UpgradeBusy);
        }
        self.finish(flash, instance, Err(Reason::Cancelled));
        Ok(())
    }

    /// The host gives up the plan with all its components: 3 by its own will before its answer, else 12.
    pub(super) fn host_cancels<F: Flash>(
        &mut self,
        flash: &mut F,
        reason: Reason,
    ) -> Result<(), Reason> {
        match self.flow.state {
            State::PlanReceived if !self.is_complete() => Err(Reason::AtNotAllowedNow),
            State::PlanReceived if reason == Reason::RefusedByHost => self.refuse(flash),
            State::PlanReceived
            | State::Confirmed
            | State::DownloadStarts
            | State::Downloading
            | State::DownloadError
            | State::Downloaded => {
                self.give_up(flash, reason);
                Ok(())
            }
            State::Updating => Err(Reason::UpgradeBusy),
            _ => Err(Reason::AtNotAllowedNow),
        }
    }

    /// SetMcuVersion: stores, then runs the version check.
    #[inline(never)]
    pub(super) fn set_version<F: Flash>(
        &mut self,
        flash: &mut F,
        name: &ComponentName,
        version: &Version,
    ) -> Result<(), Reason> {
        if *name == self.config.own_component && !name.is_empty() {
            return Err(Reason::UnknownComponent);
        }
        if self.versions.set(name, version)? {
            self.queue.view = true;
            self.append(flash, Key::VERSIONS)?;
        }
        let instance = (1..COMPONENTS as u8)
            .find(|i| self.is_live(*i) && self.slot(*i).is_some_and(|s| s.component == *name));
        if let Some(instance) = instance {
            self.check_version(flash, instance, version);
        }
        Ok(())
    }

    /// The version rule; see design section 3, and quecthing.md section 6 when strict.
    fn check_version<F: Flash>(&mut self, flash: &mut F, instance: u8, version: &Version) {
        let state = self.flow.state;
        if !matches!(
            state,
            State::Confirmed
                | State::DownloadStarts
                | State::Downloading
                | State::DownloadError
                | State::Downloaded
                | State::Updating
        ) {
            return;
        }
        let Some(slot) = self.slot(instance) else {
            return;
        };
        let (source, target) = (&slot.source, &slot.target);
        let is_source = version == source;
        let is_target = if target.is_empty() {
            !version.is_empty() && !is_source
        } else {
            version == target
        };
        let other = match is_source {
            true => Reason::McuStillRunsSource,
            false => Reason::McuRunsOtherVersion,
        };
        if is_target {
            self.finish(flash, instance, Ok(()));
        } else if self.config.strict || !is_source {
            self.finish(flash, instance, Err(other));
        } else if !self.is_active(instance) {
            // It waits for its turn and runs what it should.
        } else if state != State::Updating {
            self.announce();
        } else if self.timers.grace == Timer::OFF {
            let grace = Timer::after(self.now, self.config.revert_grace_ms);
            // Never past the 20 minutes: their end comes first then.
            if grace < self.timers.state {
                self.timers.grace = grace;
            }
            self.save_or_note(flash);
        }
    }

    /// The digests' state at a piece boundary of the present package, if it is still known.
    pub(super) fn boundary<F: Flash>(&self, flash: &mut F, at: u32) -> Option<digest::Digests> {
        if at == 0 {
            return Some(digest::Digests::default());
        }
        let mut buffer = [0; record::PIECE_LEN];
        let number = at.checked_div(self.flow.piece_size)?;
        let payload = self.load(flash, Key::piece(number), &mut buffer)?;
        let (end, tag, state) = record::decode_piece(payload)?;
        if end != at || tag != self.flow.info_tag {
            return None;
        }
        digest::Digests::load(state)
    }
}
