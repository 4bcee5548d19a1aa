//! An MCU with MCUboot and MCUmgr and nothing of ours on it, by SMP over the UART (`docs/smp.md`).
//!
//! [`SmpBridge`] stands where [`Bridge`](super::Bridge) does: [`Event`]s come in, the engine is asked, and the other end of the UART
//! is Zephyr's SMP server, which knows of images and slots and of no plan. A plan is confirmed as soon as the
//! strategy holds, and the version is the target once the slots say that the new image runs and stays.
//!
//! | phase | does | then |
//! |---|---|---|
//! | Idle | waits for an event | Confirm at 10700, Look at 10703, Settle at 10704 |
//! | Version | reads the slots: which version runs, where the module knows none | Idle |
//! | Confirm | action 1, every 5 s until it is taken | Idle |
//! | Look | reads the slots: what the server has, and whether a slot is free | Upload, Install, Rewind, Reset |
//! | Upload | what the server does not have of the piece | Release, or Verify after the last |
//! | Release | action 2 | Idle |
//! | Verify | reads the slots: one has the hash of the package's TLVs | Install; Look again when none has |
//! | Install | action 3 | Settle |
//! | Settle | reads the slots | what `slots::next` says |
//! | Test | the new image starts once, at the next reset | Reset |
//! | Reset, Boot | a reset, and a wait | Settle, or Look |
//! | Keep | the new image, which runs, stays | Settle |
//! | Report | the version | Idle |
//!
//! Nothing of an upgrade is kept here, and nothing is believed that the slots do not say: after a reset of either side the engine tells
//! its piece, the server how much it has, and the slots what runs. An image that was started and does not run is tried `trials`
//! times, because a cut of the MCU's power before it is confirmed looks the same.

mod decide;
mod slots;

use super::pace::{AGAIN_MS, Pace};
use super::route::Side;
use super::source::Source;
use crate::message::{Command, ComponentName, Event, Millis, Package, Piece, Reply, Version};
use sota_smp::image::Scan;
use sota_smp::message::Hash;
use sota_smp::{Client, Done, Fault, Job, Output, SmpError};

/// How often the image is uploaded anew or the piece goes back, and how often the MCU is reset or told something, before that is given up.
const CHECKS: u8 = 3;
const REWINDS: u8 = 50;
const MOVES: u8 = 30;

/// What a product configures.
#[derive(Clone, Debug)]
pub struct Config {
    /// The MCU's component identifier.
    pub component: ComponentName,
    /// The version it is delivered with; counts where the module knows no other. `None`: the one of the image that runs, as the
    /// server tells it (`1.2.3`, `1.2.3.4`).
    pub version: Option<Version>,
    /// After this time without anything done the upgrade is given up.
    pub give_up_ms: u32,
    /// From a reset until the MCU is asked again.
    pub boot_ms: u32,
    /// How often the new image is started before the upgrade counts as reverted.
    pub trials: u8,
    /// The client's.
    pub client: sota_smp::Config,
}

impl Config {
    /// A component with what fits most MCUs; the version is the server's.
    pub const fn new(component: ComponentName) -> Config {
        Config {
            component,
            version: None,
            give_up_ms: 600_000,
            boot_ms: 2_000,
            trials: 3,
            client: sota_smp::Config::DEFAULT,
        }
    }
}

/// What the caller logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// Several tries failed; it goes on.
    Trouble(Fault),
    /// The upgrade was given up for this.
    Failed(Fault),
    /// The new image runs and is confirmed.
    Started,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Version,
    Confirm,
    Look,
    Upload,
    Release,
    Verify,
    Install,
    Settle,
    Test,
    Reset,
    Boot(Millis),
    Keep,
    Report,
    Rewind(u32),
    Cancel(Fault),
}

/// The SMP server's side of a module, for one component.
pub struct SmpBridge {
    config: Config,
    client: Client,
    phase: Phase,
    /// Of this MCU's component.
    package: Option<Package>,
    piece: Option<(u32, u32)>,
    /// State 9: action 3 was taken, or the server's Install.
    updating: bool,
    scan: Scan,
    /// The server has no more than this; the piece may begin later.
    lost: Option<u32>,
    checks: u8,
    rewinds: u8,
    moves: u8,
    trials: u8,
    pace: Pace,
    begun: bool,
    /// The module knows a version of the component.
    known: bool,
}

impl Side for SmpBridge {
    type Line = Line;

    fn on_bytes(&mut self, now: Millis, bytes: &[u8]) {
        SmpBridge::on_bytes(self, now, bytes);
    }

    fn next_bytes(&mut self, out: &mut [u8]) -> usize {
        SmpBridge::next_bytes(self, out)
    }

    fn deadline(&self) -> Option<Millis> {
        SmpBridge::deadline(self)
    }

    fn on_event(&mut self, now: Millis, event: &Event) {
        SmpBridge::on_event(self, now, event);
    }

    fn poll<F>(&mut self, now: Millis, engine: &mut F) -> Option<Line>
    where
        F: FnMut(Command, &mut [u8]) -> Reply,
    {
        SmpBridge::poll(self, now, engine)
    }
}

impl SmpBridge {
    /// `known`: the module's engine has a version of the component already.
    pub fn new(now: Millis, config: Config, known: bool) -> Self {
        SmpBridge {
            client: Client::new(config.client),
            config,
            phase: Phase::Idle,
            package: None,
            piece: None,
            updating: false,
            scan: Scan::new(0),
            lost: None,
            checks: 0,
            rewinds: 0,
            moves: 0,
            trials: 0,
            pace: Pace::new(now),
            begun: false,
            known,
        }
    }

    /// Takes received bytes.
    pub fn on_bytes(&mut self, now: Millis, bytes: &[u8]) {
        self.client.on_bytes(now, bytes);
    }

    /// Moves bytes for the UART (8N1) into `out` and says how many.
    pub fn next_bytes(&mut self, out: &mut [u8]) -> usize {
        self.client.next_tx(out)
    }

    /// When to poll at the latest.
    pub fn deadline(&self) -> Option<Millis> {
        if !self.begun {
            return Some(0);
        }
        match self.phase {
            Phase::Idle if self.known => None,
            Phase::Version => self.client.deadline(),
            phase if phase.is_work() => Some(self.pace.deadline(self.client.deadline())),
            Phase::Boot(at) => Some(at),
            _ => Some(self.pace.again_at),
        }
    }

    /// Takes an event of the engine. Those of other components and of the network are not for the MCU.
    pub fn on_event(&mut self, now: Millis, event: &Event) {
        match event {
            Event::Plan(offer) if offer.component == self.config.component => {
                self.idle();
                self.enter(Phase::Confirm);
            }
            Event::Plan(_) => {}
            Event::DownloadStart(Some(package)) if package.component == self.config.component => {
                self.announced(now, package);
            }
            Event::Downloaded(Some(piece)) if self.package.is_some() => self.downloaded(now, piece),
            Event::Updating if self.package.is_some() => {
                self.updating = true;
                match self.phase {
                    // the module was reset: it was uploaded before it came to this
                    Phase::Idle | Phase::Version => self.settle(now),
                    Phase::Install => self.settle(now),
                    _ => {}
                }
            }
            // the plan was answered for all of its components
            Event::UpdateFlag if self.phase == Phase::Confirm => self.phase = Phase::Idle,
            // the module's own firmware, or another MCU's
            Event::DownloadStart(_) | Event::UpdateOk | Event::UpdateFail(_) => {
                self.idle();
                self.package = None;
            }
            _ => {}
        }
    }

    fn announced(&mut self, now: Millis, package: &Package) {
        if self.package.as_ref() == Some(package) {
            return;
        }
        self.idle();
        self.package = Some(package.clone());
        self.client.image(package.length, package.sha256);
        self.scan = Scan::new(package.length);
        (self.checks, self.rewinds, self.moves, self.trials) = (0, 0, 0, 0);
        self.pace.begin(now);
    }

    fn downloaded(&mut self, now: Millis, piece: &Piece) {
        let new = (piece.start, piece.piece_length);
        if piece.component != self.config.component || matches!(self.phase, Phase::Cancel(_)) {
            return;
        }
        let waits = matches!(
            self.phase,
            Phase::Idle | Phase::Version | Phase::Release | Phase::Rewind(_)
        );
        if !waits && self.piece == Some(new) {
            return; // told again
        }
        self.piece = Some(new);
        self.pace.begin(now);
        self.look();
    }

    fn length(&self) -> u32 {
        self.package.as_ref().map_or(0, |package| package.length)
    }

    fn has_last_piece(&self) -> bool {
        let end = |(start, length): (u32, u32)| start.saturating_add(length);
        self.piece.is_some_and(|piece| end(piece) >= self.length())
    }

    fn work(&mut self, phase: Phase, job: Job) {
        self.phase = phase;
        self.client.begin(job);
    }

    fn look(&mut self) {
        self.work(Phase::Look, Job::State);
    }

    fn settle(&mut self, now: Millis) {
        self.pace.begin(now);
        self.updating = true;
        self.work(Phase::Settle, Job::State);
    }

    /// A phase in which the engine is asked, at once and then again and again.
    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.pace.again_at = 0;
    }

    fn idle(&mut self) {
        self.client.abandon();
        self.enter(Phase::Idle);
        (self.piece, self.lost, self.updating) = (None, None, false);
    }

    /// The upgrade is given up; told by the next poll.
    fn give_up(&mut self, error: SmpError) {
        self.fail(Fault::new(error));
    }

    fn fail(&mut self, fault: Fault) {
        self.client.abandon();
        self.enter(Phase::Cancel(fault));
    }

    /// Works on what came and on what time does; `engine` answers at once. `Some`: something for the caller; call again.
    pub fn poll<F>(&mut self, now: Millis, engine: &mut F) -> Option<Line>
    where
        F: FnMut(Command, &mut [u8]) -> Reply,
    {
        if !self.begun {
            self.begun = true;
            if let (false, Some(version)) = (self.known, self.config.version.clone()) {
                self.known = true;
                self.tell_version(engine, version);
            }
            // what was under way before a reset is told again
            engine(Command::AnnounceAll, &mut []);
        }
        loop {
            match self.phase {
                Phase::Idle if self.known || now < self.pace.again_at => return None,
                Phase::Idle => self.work(Phase::Version, Job::State),
                Phase::Boot(at) if now < at => return None,
                Phase::Boot(_) if self.updating => self.work(Phase::Settle, Job::State),
                Phase::Boot(_) => self.look(),
                phase if phase.is_work() => {
                    self.pace.keep_alive(now, self.piece, engine);
                    let mut source = Source::new(engine);
                    let output = self.client.poll(now, &mut source);
                    self.pace
                        .polled(now, source.was_read(), self.client.steps());
                    match output {
                        None if self.is_over(now) => self.give_up(SmpError::SmpGaveUp),
                        None => return None,
                        Some(output) => {
                            if let Some(line) = self.output(now, output, engine) {
                                return Some(line);
                            }
                        }
                    }
                }
                _ => {
                    if now < self.pace.again_at {
                        return None;
                    }
                    self.pace.again_at = now + AGAIN_MS;
                    if let Some(line) = self.ask(now, engine) {
                        return Some(line);
                    }
                }
            }
        }
    }

    fn is_over(&self, now: Millis) -> bool {
        self.phase != Phase::Version && self.pace.is_over(now, self.config.give_up_ms)
    }

    /// What the client says.
    fn output<F>(&mut self, now: Millis, output: Output, engine: &mut F) -> Option<Line>
    where
        F: FnMut(Command, &mut [u8]) -> Reply,
    {
        match output {
            Output::Trouble(fault) => return Some(Line::Trouble(fault)),
            Output::Failed(fault) if self.phase == Phase::Version => {
                self.enter(Phase::Idle);
                self.pace.again_at = now + 12 * AGAIN_MS;
                return Some(Line::Trouble(fault));
            }
            Output::Failed(fault) => self.fail(fault),
            Output::Done(Done::Rewind(offset)) => {
                self.rewinds += 1;
                self.lost = Some(offset);
                match self.rewinds > REWINDS {
                    true => self.give_up(SmpError::SmpDiffers),
                    // it may have all of it: the answer to the last part was lost
                    false => self.look(),
                }
            }
            Output::Done(Done::Done) => {
                let read = matches!(
                    self.phase,
                    Phase::Version | Phase::Look | Phase::Verify | Phase::Settle
                );
                if read && !self.known {
                    self.known = self.tell_running(engine);
                }
                self.job_done(now, engine);
            }
        }
        None
    }

    fn job_done<F>(&mut self, now: Millis, engine: &mut F)
    where
        F: FnMut(Command, &mut [u8]) -> Reply,
    {
        match self.phase {
            Phase::Version => {
                self.enter(Phase::Idle);
                self.pace.again_at = now + 12 * AGAIN_MS;
            }
            Phase::Look => self.looked(now, engine),
            Phase::Upload if self.has_last_piece() => self.work(Phase::Verify, Job::State),
            Phase::Upload => self.enter(Phase::Release),
            Phase::Verify => self.verified(now),
            Phase::Settle => self.settled(now, engine),
            Phase::Test => self.work(Phase::Reset, Job::Reset),
            Phase::Reset => self.phase = Phase::Boot(now + u64::from(self.config.boot_ms)),
            Phase::Keep => self.work(Phase::Settle, Job::State),
            _ => {}
        }
    }

    /// What the engine is asked in this phase.
    fn ask<F>(&mut self, now: Millis, engine: &mut F) -> Option<Line>
    where
        F: FnMut(Command, &mut [u8]) -> Reply,
    {
        let phase = self.phase;
        let command = match phase {
            Phase::Confirm => Command::Action(1),
            Phase::Release => Command::Action(2),
            Phase::Install => Command::Action(3),
            Phase::Rewind(offset) => Command::Rewind(offset),
            Phase::Cancel(fault) => super::given_up(fault.error.number(), self.updating),
            Phase::Report => {
                let target = self.package.as_ref().map(|package| package.target.clone());
                match target.filter(|target| !target.is_empty()) {
                    Some(target) => self.tell_version(engine, target),
                    // a foreign server's plan names none: the image does
                    None => _ = self.tell_running(engine),
                }
                self.known = true;
                self.idle();
                return Some(Line::Started);
            }
            _ => return None,
        };
        let taken = engine(command, &mut []) == Reply::Ok;
        match phase {
            // it cannot be taken back any more, or it is over: its end comes as an event
            Phase::Cancel(fault) => {
                self.enter(Phase::Idle);
                return Some(Line::Failed(fault));
            }
            Phase::Install if taken => self.settle(now),
            // too late to fetch anything again
            Phase::Rewind(_) if !taken && self.updating => self.give_up(SmpError::SmpSource),
            _ if taken => self.enter(Phase::Idle),
            _ => {}
        }
        None
    }

    /// The version of the image that runs; whether there is one.
    fn tell_running<F>(&self, engine: &mut F) -> bool
    where
        F: FnMut(Command, &mut [u8]) -> Reply,
    {
        let active = self.client.slots().iter().find(|slot| slot.active);
        let version = active.and_then(|slot| Version::try_from(slot.version.as_str()).ok());
        let Some(version) = version.filter(|version| !version.is_empty()) else {
            return false;
        };
        self.tell_version(engine, version);
        true
    }

    fn tell_version<F>(&self, engine: &mut F, version: Version)
    where
        F: FnMut(Command, &mut [u8]) -> Reply,
    {
        let component = self.config.component.clone();
        engine(Command::SetMcuVersion(component, version), &mut []);
    }
}

impl Phase {
    /// The client works in it.
    fn is_work(self) -> bool {
        use Phase::{Keep, Look, Reset, Settle, Test, Upload, Verify, Version};
        matches!(
            self,
            Version | Look | Upload | Verify | Settle | Test | Reset | Keep
        )
    }
}
