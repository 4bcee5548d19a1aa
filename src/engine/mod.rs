//! The upgrade engine: states 0..12, strategy, staging flash, journal, digests.
//!
//! A sans-IO machine. In come messages of cloud ([`Engine::on_cloud`]), commands of the host
//! ([`Engine::command`]) and the time ([`Engine::poll`]); out go [`Engine::next_event`] and
//! [`Engine::next_to_cloud`]. Flash is given to each step; a step erases at most one page.
//!
//! | file | holds |
//! |---|---|
//! | `mod` | the public API |
//! | `config` | what a product sets |
//! | `state` | the state machine: what each state does on entry, its timers, restarts, the ends |
//! | `plan` | offers, the host's answer, download information, versions announced |
//! | `transfer` | pieces: blocks, digests, rescue of a torn page, reads, rewind |
//! | `queue` | what waits for cloud and for the host |
//! | `whose` | whom an event or a command concerns, where there are several back ends |
//! | `versions`, `strategy`, `digest`, `staging`, `journal`, `record` | what their names say |

mod config;
mod digest;
mod journal;
mod plan;
mod queue;
mod record;
mod staging;
mod state;
mod strategy;
#[cfg(test)]
mod tests;
mod transfer;
mod versions;
mod whose;

use heapless::{String, Vec};

pub use self::config::Config;
pub use self::versions::LIST_LEN;
pub(crate) use self::whose::Whose;
use self::{
    digest::Digests,
    journal::{Found, Journal, Key},
    queue::{Fetch, Queue, Tag},
    record::{Flow, Writer, bit},
    state::Timers,
    transfer::Work,
    versions::Versions,
};
use crate::{
    message::{
        COMPONENTS, Command, ComponentName, ComponentType, ComponentView, DownloadInfo, Etag,
        Event, Millis, Offer, Package, Piece, Reason, Reply, State, ToCloud, ToEngine, Version,
        View,
    },
    platform::{Flash, Readings},
    text::put,
};

/// The engine. `BLOCK` is the greatest block in bytes, a power of two from 16 to 1024.
// The small and often used first: a small processor reaches the first 32 bytes, and words in the first 128, with
// an instruction of half the length.
#[repr(C)]
pub struct Engine<const BLOCK: usize> {
    /// The state's report was handed over: 3, 6, 11 and 12 are 0 from then on.
    settled: bool,
    link: bool,
    connect: bool,
    boot: bool,
    /// The new image of the module runs on trial.
    trial: bool,
    /// The strategy is judged at the next poll, after a restart.
    rejudge: bool,
    /// Bit n: the plan named no source version for instance n.
    any_source: u8,
    flow: Flow,
    /// The strategy does not hold at present.
    suspended: Option<Reason>,
    last_error: Option<Reason>,
    work: Work,
    /// Staging is erased up to here, counted from the piece's start.
    erased_to: u32,
    mcu_slot: Option<u32>,
    timers: Timers,
    now: Millis,
    queue: Queue,
    journal: Option<Journal>,
    etag: Etag,
    info: DownloadInfo,
    config: Config,
    digests: Digests,
    versions: Versions,
    /// Offers by instance. `source` is what the component ran when the plan came if the plan named none.
    /// All are there from [`Engine::open`] on: an array would be made on the stack and moved here.
    slots: Vec<Option<Offer>, COMPONENTS>,
}

/// The module's RAM is counted; a larger engine has to be a decision.
#[cfg(target_pointer_width = "32")]
const _: () = assert!(core::mem::size_of::<Engine<512>>() <= 3072);

impl<const BLOCK: usize> Engine<BLOCK> {
    /// [`new`](Self::new) and [`open`](Self::open) at once.
    pub fn start<F: Flash>(config: Config, now: Millis, flash: &mut F) -> Self {
        let mut engine = Self::new(config, now);
        engine.open(flash);
        engine
    }

    /// An engine that knows nothing yet: [`open`](Self::open) comes before everything else. Apart, so that a port can have
    /// the engine in its place, and not on the stack, when the journal is read.
    #[inline(never)]
    pub fn new(config: Config, now: Millis) -> Self {
        Engine {
            config,
            journal: None,
            versions: Versions::default(),
            slots: Vec::new(),
            any_source: 0,
            flow: Flow::default(),
            settled: false,
            info: DownloadInfo::default(),
            etag: Etag::NONE,
            work: Work::None,
            digests: Digests::default(),
            erased_to: 0,
            suspended: None,
            timers: Timers::default(),
            queue: Queue::default(),
            last_error: None,
            mcu_slot: None,
            link: false,
            connect: true,
            boot: false,
            trial: false,
            rejudge: false,
            now,
        }
    }

    /// Reads the journal and goes on as the table of restarts says.
    #[inline(never)]
    pub fn open<F: Flash>(&mut self, flash: &mut F) {
        self.queue.view = true;
        while self.slots.push(None).is_ok() {}
        match Journal::open(flash.journal()) {
            Ok((journal, found)) => {
                self.journal = Some(journal);
                if found == Found::OtherFormat {
                    self.last_error = Some(Reason::JournalVersion);
                }
            }
            Err(reason) => self.last_error = Some(reason),
        }
        self.restart(flash);
    }

    /// A message of cloud, whose content it may take out. Blocks only while [`can_take_block`](Self::can_take_block).
    pub fn on_cloud<F: Flash>(
        &mut self,
        now: Millis,
        readings: Readings,
        flash: &mut F,
        message: &mut ToEngine<BLOCK>,
    ) {
        self.now = now;
        match message {
            ToEngine::Link(up) => self.on_link(*up),
            ToEngine::Refused => self.queue.event(Tag::Access(10431)),
            ToEngine::Offer {
                ticket,
                door,
                offer,
            } => {
                let verdict = self.offer(readings, flash, *door, offer);
                self.queue.verdict(*ticket, verdict);
            }
            ToEngine::DownloadInfo {
                ticket,
                instance,
                info,
            } => {
                let verdict = self.download_info(readings, flash, *instance, info);
                self.queue.verdict(*ticket, verdict);
            }
            ToEngine::Cancel { ticket, instance } => {
                let verdict = self.cancel(flash, *instance);
                self.queue.verdict(*ticket, verdict);
            }
            ToEngine::Install { ticket, instance } => {
                let verdict = self.install(flash, *instance);
                self.queue.verdict(*ticket, verdict);
            }
            ToEngine::FetchStarted { total, etag } => self.fetch_started(flash, *total, *etag),
            ToEngine::Block { offset, data } => self.block(flash, *offset, data),
            ToEngine::FetchFailed(reason) => {
                if self.queue.fetch == Fetch::Asked {
                    self.queue.fetch = Fetch::Idle;
                    self.download_error(flash, *reason);
                }
            }
        }
    }

    fn on_link(&mut self, up: bool) {
        if self.link == up {
            return;
        }
        self.link = up;
        if up {
            self.queue.event(Tag::Access(10200));
            self.queue.event(Tag::Subscribed(10200));
        } else if self.connect {
            self.queue.event(Tag::Access(10474));
        } else {
            self.queue.event(Tag::Logout(10200));
        }
    }

    /// A command of the host, answered at once. `out` is filled by [`Command::Read`].
    pub fn command<F: Flash>(
        &mut self,
        now: Millis,
        readings: Readings,
        flash: &mut F,
        command: &Command,
        out: &mut [u8],
    ) -> Reply {
        self.now = now;
        let done = match command {
            Command::Connect(on) => {
                self.connect = *on;
                self.queue.connect = Some(*on);
                Ok(())
            }
            Command::SetMcuVersion(name, version) => self.set_version(flash, name, version),
            Command::Request(mode) => match mode {
                0 | 1 => {
                    self.announce_plan();
                    self.queue.request = Some(*mode == 1);
                    Ok(())
                }
                _ => Err(Reason::AtBadParameter),
            },
            Command::Action(action) => self.action(readings, flash, *action),
            Command::Read { start, len } => {
                return match self.read(flash, *start, *len, out) {
                    Ok(n) => Reply::Read(n),
                    Err(reason) => Reply::Refused(reason),
                };
            }
            Command::Rewind(offset) => self.rewind(readings, flash, *offset),
            Command::Announce => {
                self.announce_plan();
                self.announce();
                Ok(())
            }
            #[cfg(any(feature = "link", feature = "stm32", feature = "smp"))]
            Command::AnnounceAll => {
                self.announce_plan();
                self.announce();
                self.announce_update();
                Ok(())
            }
            #[cfg(any(feature = "link", feature = "stm32", feature = "smp"))]
            Command::NotInstalled(reason) => self.not_installed(flash, *reason),
            Command::Cancel(reason) => self.host_cancels(flash, *reason),
        };
        match done {
            Ok(()) => Reply::Ok,
            Err(reason) => Reply::Refused(reason),
        }
    }

    /// Timers and slow work; call it at [`deadline`](Self::deadline) and after every other call.
    pub fn poll<F: Flash>(&mut self, now: Millis, readings: Readings, flash: &mut F) {
        self.now = now;
        self.run_timers(readings, flash);
        self.run_work(flash);
    }

    /// When [`poll`](Self::poll) is wanted next; not in the future: at once.
    pub fn deadline(&self) -> Option<Millis> {
        if self.has_work() || self.rejudge {
            return Some(self.now);
        }
        self.timers.next()
    }

    /// The next event for the host.
    pub fn next_event(&mut self) -> Option<Event> {
        let event = self.first_event();
        queue::take(&mut self.queue.events, 0);
        event
    }

    /// The same, which stays: for a port that tells two. Each made anew is less code than a copy of any event.
    #[inline(never)]
    pub fn first_event(&mut self) -> Option<Event> {
        loop {
            let tag = *self.queue.events.first()?;
            let event = self.event(tag);
            if event.is_some() {
                return event;
            }
            queue::take(&mut self.queue.events, 0);
        }
    }

    /// The event of a tag; `None` when its upgrade gave way to another in the meantime.
    // Apart, and the large ones each with a return of its own: so they are made where they go, and not moved there.
    #[inline(never)]
    fn event(&self, tag: Tag) -> Option<Event> {
        let info = &self.info;
        Some(match tag {
            Tag::Access(code) => Event::Access(code),
            Tag::Subscribed(code) => Event::Subscribed(code),
            Tag::Logout(code) => Event::Logout(code),
            Tag::Plan(instance) => {
                let mut event = Some(Event::Plan(self.slot(instance)?.clone()));
                if let Some(Event::Plan(offer)) = &mut event
                    && self.any_source & bit(instance) != 0
                {
                    offer.source.clear();
                }
                return event;
            }
            Tag::DownloadStart(instance) => {
                let offer = self.slot(instance)?;
                if self.flow.active.is_some_and(|active| active != instance) {
                    return None;
                }
                if offer.kind == ComponentType::Firmware {
                    return Some(Event::DownloadStart(None));
                }
                return Some(Event::DownloadStart(Some(Package {
                    component: offer.component.clone(),
                    #[cfg(any(feature = "link", feature = "stm32", feature = "smp"))]
                    target: offer.target.clone(),
                    length: info.length,
                    md5: info.md5,
                    crc32: info.crc32,
                    sha256: info.sha256,
                })));
            }
            Tag::Downloading => Event::Downloading,
            Tag::Downloaded {
                instance,
                start,
                len,
            } => {
                let offer = self.slot(instance)?;
                if offer.kind == ComponentType::Firmware {
                    return Some(Event::Downloaded(None));
                }
                return Some(Event::Downloaded(Some(Piece {
                    component: offer.component.clone(),
                    length: info.length,
                    start,
                    piece_length: len,
                })));
            }
            Tag::Updating => Event::Updating,
            Tag::Ended(_, None) => Event::UpdateOk,
            Tag::Ended(_, Some(reason)) => Event::UpdateFail(reason),
            Tag::UpdateFlag => Event::UpdateFlag,
        })
    }

    /// Shows once more what the objects show: for a machine of cloud that is new.
    pub fn show(&mut self) {
        self.queue.view = true;
    }

    /// The next message for cloud; it must be kept until cloud's mailbox takes it.
    #[inline(never)]
    pub fn next_to_cloud(&mut self) -> Option<ToCloud> {
        if let Some(on) = self.queue.connect.take() {
            return Some(ToCloud::Connect(on));
        }
        if let Some((ticket, result)) = queue::take(&mut self.queue.verdicts, 0) {
            return Some(ToCloud::Verdict { ticket, result });
        }
        if core::mem::take(&mut self.queue.view) {
            return Some(ToCloud::View(self.view()));
        }
        if core::mem::take(&mut self.queue.stop) {
            return Some(ToCloud::StopFetch);
        }
        if let Some(report) = queue::take(&mut self.queue.reports, 0) {
            if self.queue.reports.is_empty() {
                self.settle();
            }
            return Some(ToCloud::Report {
                instance: report.instance,
                state: report.state,
                reason: report.reason,
            });
        }
        if let Some(sha256) = self.queue.request.take() {
            return Some(ToCloud::Request { sha256 });
        }
        if self.queue.fetch == Fetch::Wanted && self.ready_for_blocks() {
            self.queue.fetch = Fetch::Asked;
            return Some(self.fetch_message());
        }
        None
    }

    /// 3, 6, 11 and 12 become 0 when they are reported.
    fn settle(&mut self) {
        if matches!(
            self.flow.state,
            State::Refused | State::DownloadError | State::Success | State::Failure
        ) && !self.settled
        {
            self.settled = true;
            self.queue.view = true;
        }
    }

    /// What the server's objects show.
    #[inline(never)]
    pub fn view(&self) -> View {
        let mut view = View::default();
        for instance in 0..COMPONENTS as u8 {
            let _ = view.components.push(ComponentView::default());
            let Some(component) = view.components.last_mut() else {
                break;
            };
            let (name, version) = self.component(instance);
            let _ = put(&mut component.name, name);
            let _ = put(&mut component.version, version);
            let last = self.versions.last.get(usize::from(instance));
            component.last = last.copied().flatten();
        }
        // Places behind the last MCU are no components.
        while view.components.len() > 1 && view.components.last().is_some_and(|c| c.name.is_empty())
        {
            view.components.pop();
        }
        let first_live = || (0..COMPONENTS as u8).find(|i| self.is_live(*i));
        view.active = self.flow.active.or_else(first_live);
        if let Some(offer) = view.active.and_then(|i| self.slot(i)) {
            let _ = put(&mut view.plan, &offer.plan);
            let _ = put(&mut view.target, &offer.target);
        }
        view.door = self.door();
        view.state = self.state();
        view.answer = self.flow.answer;
        view.reason = self
            .flow
            .reason
            .or(self.suspended)
            .or((self.flow.state == State::Refused).then_some(Reason::RefusedByHost));
        view.verified = self.verified();
        view.progress = self.flow.progress;
        view.length = self.info.length;
        view
    }

    /// Whether a block would be written now. Back-pressure: while false, no request is sent.
    pub fn can_take_block(&self) -> bool {
        self.ready_for_blocks()
            && self.queue.fetch == Fetch::Asked
            && self.flow.progress < self.piece_end()
            && self.erased_to >= self.wanted_erased()
            && !self.queue.crowded()
    }

    /// The state as the Center sees it.
    pub fn state(&self) -> State {
        if self.settled {
            State::None
        } else {
            self.flow.state
        }
    }

    /// The last reason why something failed, was refused or waits (`AT+SOTAERR?`).
    pub fn last_error(&self) -> Option<Reason> {
        self.last_error
    }

    /// First byte and length of the piece that can be read now.
    pub fn piece(&self) -> Option<(u32, u32)> {
        (self.state() == State::Downloaded).then(|| {
            let start = self.flow.piece_start;
            (start, self.piece_end().saturating_sub(start))
        })
    }

    /// First byte of the present piece, 0 without an upgrade (`AT+QIOTOTARD=?`).
    pub fn piece_start(&self) -> u32 {
        self.flow.piece_start
    }

    /// Bytes of the package that are durable, and its length (0 = not known).
    pub fn progress(&self) -> (u32, u32) {
        (self.flow.progress, self.info.length)
    }

    /// MCU components and their versions (GetMcuVersion).
    pub fn versions(&self) -> impl Iterator<Item = (&str, &str)> {
        self.versions.iter()
    }

    /// Version of one MCU component (GetMcuVersion).
    pub fn version(&self, component: &str) -> Option<&str> {
        self.versions()
            .find(|(name, _)| *name == component)
            .map(|(_, version)| version)
    }

    /// The whole list, `c1:v1;c2:v2` (GetMcuVersion without a component).
    pub fn version_list(&self) -> String<LIST_LEN> {
        self.versions.list()
    }

    /// Connected with the server.
    pub fn is_linked(&self) -> bool {
        self.link
    }

    /// Bytes of the MCU's slot, where the link has told it.
    pub fn set_mcu_slot(&mut self, bytes: Option<u32>) {
        self.mcu_slot = bytes;
    }

    /// The module's own image is verified in staging and everything about it is handed over: the port
    /// calls `FirmwareSlot::boot_trial`, and [`boot_failed`](Self::boot_failed) if that returns.
    pub fn boot_wanted(&self) -> bool {
        self.boot && self.queue.events.is_empty() && self.queue.reports.is_empty()
    }

    /// The trial boot did not happen.
    pub fn boot_failed<F: Flash>(&mut self, now: Millis, flash: &mut F) {
        self.now = now;
        if core::mem::take(&mut self.boot) {
            self.give_up(flash, Reason::ModuleUpdateFailed);
        }
    }

    /// The new image of the module has registered: the port calls `FirmwareSlot::confirm`, and
    /// [`confirmed`](Self::confirmed) with its result.
    pub fn confirm_wanted(&self) -> bool {
        self.trial && self.link
    }

    /// The bootloader keeps the new image (or could not be told so).
    pub fn confirmed<F: Flash>(&mut self, now: Millis, flash: &mut F, kept: bool) {
        self.now = now;
        if core::mem::take(&mut self.trial)
            && let Some(active) = self.flow.active
        {
            let result = kept.then_some(()).ok_or(Reason::ModuleUpdateFailed);
            self.finish(flash, active, result);
        }
    }

    /// The new image of the module has not registered in time: the port restarts, the bootloader reverts, and the old
    /// image tells the failure.
    pub fn revert_wanted(&self) -> bool {
        self.trial && self.flow.remaining_ms == 0
    }

    #[inline(never)]
    fn slot(&self, instance: u8) -> Option<&Offer> {
        self.slots.get(usize::from(instance))?.as_ref()
    }

    #[inline(never)]
    fn is_active(&self, instance: u8) -> bool {
        self.flow.active == Some(instance)
    }

    fn active_slot(&self) -> Option<&Offer> {
        self.slot(self.flow.active?)
    }

    fn is_live(&self, instance: u8) -> bool {
        self.flow.live & bit(instance) != 0
    }

    /// Name and version of a component; empty when there is none.
    fn component(&self, instance: u8) -> (&ComponentName, &Version) {
        usize::from(instance)
            .checked_sub(1)
            .and_then(|place| self.versions.place(place))
            .unwrap_or((&self.config.own_component, &self.config.own_version))
    }

    /// Appends the engine's record of this key to the journal.
    // Here is the only buffer for a record of the greatest size: the stack has it once.
    #[inline(never)]
    fn append<F: Flash>(&mut self, flash: &mut F, key: Key) -> Result<(), Reason> {
        let mut w = Writer::default();
        w.begin();
        match key {
            Key::VERSIONS => self.versions.encode(&mut w),
            Key::FLOW => self.flow.encode(&mut w),
            Key::INFO => record::encode_download(&mut w, &self.info, &self.etag),
            Key::RESCUE => {
                if let Work::Restore(rescue) = &self.work {
                    rescue.encode(&mut w);
                }
            }
            _ => record::encode_piece(
                &mut w,
                self.flow.progress,
                self.flow.info_tag,
                &self.digests,
            ),
        }
        self.write(flash, key, &mut w)
    }

    /// Appends the record of an offer.
    #[inline(never)]
    fn append_offer<F: Flash>(
        &mut self,
        flash: &mut F,
        instance: u8,
        offer: &Offer,
        any_source: bool,
    ) -> Result<(), Reason> {
        let mut w = Writer::default();
        w.begin();
        record::encode_offer(&mut w, offer, any_source);
        self.write(flash, Key::offer(instance), &mut w)
    }

    fn write<F: Flash>(&mut self, flash: &mut F, key: Key, w: &mut Writer) -> Result<(), Reason> {
        match self.journal.as_mut() {
            Some(journal) => journal.append(flash.journal(), key, w),
            None => Err(self.last_error.unwrap_or(Reason::JournalTooSmall)),
        }
    }

    /// Reads a record of the journal.
    fn load<'a, F: Flash>(
        &self,
        flash: &mut F,
        key: Key,
        buffer: &'a mut [u8],
    ) -> Option<&'a [u8]> {
        self.journal.as_ref()?.read(flash.journal(), key, buffer)
    }
}
