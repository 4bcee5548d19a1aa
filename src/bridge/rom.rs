//! An MCU with nothing of ours on it, by the ROM loader of an STM32 (`docs/stm32.md`).
//!
//! [`RomBridge`] stands where [`Bridge`](super::Bridge) does: [`Event`]s come in, the engine is asked, and the other end of the UART
//! is a loader that knows of no upgrade. There is no application to ask: a plan is confirmed as soon as the strategy holds,
//! and the version is the target once the image was verified and started.
//!
//! | phase | does | then |
//! |---|---|---|
//! | Idle | waits for an event | Confirm at 10700, Write at 10703, Check at 10704 after a reset of the module |
//! | Confirm | action 1, every 5 s until it is taken | Idle |
//! | Write | the piece: compared, erased, written, read back | Release, or Check after the last |
//! | Release | action 2 | Idle |
//! | Check | all of the image is read back, against the strongest digest of the package | Seal; Write again when it differs |
//! | Seal | the first block, which was left out | Install |
//! | Install | action 3 | Start |
//! | Start | BOOT0 low and a reset | Report |
//! | Report | the version | Idle |
//!
//! Nothing of an upgrade is kept here: after a reset of the module the engine tells its piece again, and what is in the MCU's flash
//! already is found there. While it works a byte of the piece is read now and then, so that the engine knows that the MCU's
//! side is alive; after `give_up_ms` without anything done that ends.

mod check;

use super::pace::{AGAIN_MS, Pace};
use super::route::Side;
use super::source::Source;
use crate::message::{Command, ComponentName, Event, Millis, Package, Piece, Reply, Version};
use check::Check;
use core::fmt::Write as _;
use sota_stm32::{Done, Fault, Job, Loader, Output, RomError};

/// How often the whole image is read back, or the piece goes back, before that is given up.
const CHECKS: u8 = 5;
const REWINDS: u8 = 50;

/// What a product configures.
#[derive(Clone, Debug)]
pub struct Config {
    /// The MCU's component identifier.
    pub component: ComponentName,
    /// The version it is delivered with; counts where the module knows no other.
    pub version: Version,
    /// Take packages that do not fit the staging flash at once: the MCU's only image is then overwritten before all of the
    /// package was verified.
    pub pieces: bool,
    /// After this time without anything done the upgrade is given up.
    pub give_up_ms: u32,
    /// Chip, pages, times.
    pub loader: sota_stm32::Config,
}

/// What the caller does, or logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// Set both lines now.
    Lines {
        /// BOOT0 is high.
        boot0: bool,
        /// NRST is low.
        reset: bool,
    },
    /// Several tries failed; it goes on.
    Trouble(Fault),
    /// The upgrade was given up for this.
    Failed(Fault),
    /// The new image was verified and started.
    Started,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Confirm,
    Write,
    Release,
    Check,
    Seal,
    Install,
    Start,
    Report,
    Rewind(u32),
    Cancel,
}

/// The ROM loader's side of a module, for one component.
pub struct RomBridge {
    config: Config,
    loader: Loader,
    phase: Phase,
    /// Of this MCU's component.
    package: Option<Package>,
    piece: Option<(u32, u32)>,
    /// State 9: action 3 was taken, or the server's Install.
    updating: bool,
    check: Check,
    checks: u8,
    rewinds: u8,
    pace: Pace,
    begun: bool,
    /// The module knows a version of the component.
    known: bool,
}

impl Side for RomBridge {
    type Line = Line;

    fn on_bytes(&mut self, now: Millis, bytes: &[u8]) {
        RomBridge::on_bytes(self, now, bytes);
    }

    fn next_bytes(&mut self, out: &mut [u8]) -> usize {
        RomBridge::next_bytes(self, out)
    }

    fn deadline(&self) -> Option<Millis> {
        RomBridge::deadline(self)
    }

    fn on_event(&mut self, now: Millis, event: &Event) {
        RomBridge::on_event(self, now, event);
    }

    fn poll<F>(&mut self, now: Millis, engine: &mut F) -> Option<Line>
    where
        F: FnMut(Command, &mut [u8]) -> Reply,
    {
        RomBridge::poll(self, now, engine)
    }
}

impl RomBridge {
    /// `known`: the module's engine has a version of the component already.
    pub fn new(now: Millis, config: Config, known: bool) -> Self {
        RomBridge {
            loader: Loader::new(config.loader),
            config,
            phase: Phase::Idle,
            package: None,
            piece: None,
            updating: false,
            check: Check::None,
            checks: 0,
            rewinds: 0,
            pace: Pace::new(now),
            begun: false,
            known,
        }
    }

    /// Takes received bytes.
    pub fn on_bytes(&mut self, now: Millis, bytes: &[u8]) {
        self.loader.on_bytes(now, bytes);
    }

    /// Moves bytes for the UART (8E1) into `out` and says how many.
    pub fn next_bytes(&mut self, out: &mut [u8]) -> usize {
        self.loader.next_tx(out)
    }

    /// When to poll at the latest.
    pub fn deadline(&self) -> Option<Millis> {
        if !self.begun {
            return Some(0);
        }
        match self.phase {
            Phase::Idle => None,
            Phase::Write | Phase::Check | Phase::Seal | Phase::Start => {
                Some(self.pace.deadline(self.loader.deadline()))
            }
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
                    // the module was reset: all was written before it came to this
                    Phase::Idle => self.read_back(now),
                    Phase::Install => self.enter(Phase::Start),
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
        (self.checks, self.rewinds) = (0, 0);
        self.pace.begin(now);
        if let Err(error) = self.loader.image(package.length) {
            self.give_up(error);
        }
    }

    fn downloaded(&mut self, now: Millis, piece: &Piece) {
        let new = (piece.start, piece.piece_length);
        if piece.component != self.config.component || matches!(self.phase, Phase::Cancel) {
            return;
        }
        let working = !matches!(self.phase, Phase::Idle | Phase::Release | Phase::Rewind(_));
        if working && self.piece == Some(new) {
            return; // told again
        }
        if !self.config.pieces && piece.piece_length < piece.length {
            return self.give_up(RomError::RomInPieces);
        }
        self.piece = Some(new);
        self.pace.begin(now);
        self.write();
    }

    fn write(&mut self) {
        if let Some((start, length)) = self.piece {
            self.phase = Phase::Write;
            let end = start.saturating_add(length);
            self.loader.begin(Job::Program { start, end });
        }
    }

    fn read_back(&mut self, now: Millis) {
        self.phase = Phase::Check;
        self.pace.begin(now);
        self.check = Check::of(self.package.as_ref());
        self.loader.begin(Job::Verify);
    }

    /// A phase in which the engine is asked, at once and then again and again.
    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.pace.again_at = 0;
        if phase == Phase::Start {
            self.loader.begin(Job::Start);
        }
    }

    fn idle(&mut self) {
        self.loader.abandon();
        self.phase = Phase::Idle;
        (self.piece, self.updating) = (None, false);
    }

    /// The upgrade is given up before anything more is done with the MCU; told by the next poll.
    fn give_up(&mut self, error: RomError) {
        self.loader.abandon();
        self.check = Check::Failed(Fault {
            error,
            command: 0,
            detail: 0,
        });
        self.enter(Phase::Cancel);
    }

    /// Works on what came and on what time does; `engine` answers at once. `Some`: something for the caller; call again.
    pub fn poll<F>(&mut self, now: Millis, engine: &mut F) -> Option<Line>
    where
        F: FnMut(Command, &mut [u8]) -> Reply,
    {
        if !self.begun {
            self.begun = true;
            if !self.known {
                self.tell_version(engine, self.config.version.clone());
            }
            // what was under way before a reset is told again
            engine(Command::AnnounceAll, &mut []);
        }
        loop {
            match self.phase {
                Phase::Idle => return None,
                Phase::Write | Phase::Check | Phase::Seal | Phase::Start => {
                    self.pace.keep_alive(now, self.piece, engine);
                    let mut source = Source::new(engine);
                    let output = self.loader.poll(now, &mut source);
                    self.pace
                        .polled(now, source.was_read(), self.loader.steps());
                    match output {
                        None if self.is_over(now) => self.give_up(RomError::RomGaveUp),
                        None => return None,
                        Some(output) => {
                            if let Some(line) = self.output(now, output) {
                                return Some(line);
                            }
                        }
                    }
                }
                _ if now < self.pace.again_at => return None,
                _ => {
                    self.pace.again_at = now + AGAIN_MS;
                    if let Some(line) = self.ask(engine) {
                        return Some(line);
                    }
                }
            }
        }
    }

    fn is_over(&self, now: Millis) -> bool {
        self.pace.is_over(now, self.config.give_up_ms)
    }

    /// What the loader says.
    fn output(&mut self, now: Millis, output: Output) -> Option<Line> {
        match output {
            Output::Lines { boot0, reset } => return Some(Line::Lines { boot0, reset }),
            Output::Trouble(fault) => return Some(Line::Trouble(fault)),
            Output::Data(_) => self.check.update(self.loader.data()),
            Output::Failed(fault) => {
                self.check = Check::Failed(fault);
                self.enter(Phase::Cancel);
            }
            Output::Done(Done::Rewind(offset)) => {
                self.rewinds += 1;
                match self.rewinds > REWINDS {
                    true => self.give_up(RomError::RomDiffers),
                    false => self.enter(Phase::Rewind(offset)),
                }
            }
            Output::Done(Done::Done) => {
                self.job_done(now);
            }
        }
        None
    }

    fn job_done(&mut self, now: Millis) {
        let length = self.package.as_ref().map_or(0, |package| package.length);
        match self.phase {
            Phase::Write => match self.piece {
                Some((start, len)) if start.saturating_add(len) < length => {
                    self.enter(Phase::Release);
                }
                _ => self.read_back(now),
            },
            Phase::Check => {
                self.checks += 1;
                if self.check.matches(self.package.as_ref()) {
                    self.phase = Phase::Seal;
                    self.loader.begin(Job::Seal);
                } else if self.checks < CHECKS {
                    // a byte that the line harmed, or one of the flash: what the module holds is compared again
                    match self.updating {
                        true => self.read_back(now),
                        false => self.write(),
                    }
                } else {
                    self.give_up(RomError::RomDigest);
                }
            }
            Phase::Seal if self.updating => self.enter(Phase::Start),
            Phase::Seal => self.enter(Phase::Install),
            Phase::Start => self.enter(Phase::Report),
            _ => {}
        }
    }

    /// What the engine is asked in this phase.
    fn ask<F>(&mut self, engine: &mut F) -> Option<Line>
    where
        F: FnMut(Command, &mut [u8]) -> Reply,
    {
        let phase = self.phase;
        let command = match phase {
            Phase::Confirm => Command::Action(1),
            Phase::Release => Command::Action(2),
            Phase::Install => Command::Action(3),
            Phase::Rewind(offset) => Command::Rewind(offset),
            Phase::Cancel => super::given_up(self.check.error().number(), self.updating),
            Phase::Report => {
                let version = self.target();
                self.tell_version(engine, version);
                self.idle();
                return Some(Line::Started);
            }
            _ => return None,
        };
        let taken = engine(command, &mut []) == Reply::Ok;
        match phase {
            // it cannot be taken back any more, or it is over: its end comes as an event
            Phase::Cancel => {
                self.phase = Phase::Idle;
                return match core::mem::replace(&mut self.check, Check::None) {
                    Check::Failed(fault) => Some(Line::Failed(fault)),
                    _ => None,
                };
            }
            Phase::Install if taken => self.enter(Phase::Start),
            // too late to fetch anything again; what the module holds may be all of it
            Phase::Rewind(_) if !taken && self.updating => {
                let length = self.package.as_ref().map_or(0, |package| package.length);
                self.piece = Some((0, length));
                self.write();
            }
            _ if taken => self.phase = Phase::Idle,
            _ => {}
        }
        None
    }

    /// What the MCU runs now. A foreign server may name no target: then its image's CRC-32 does.
    fn target(&self) -> Version {
        let Some(package) = &self.package else {
            return Version::new();
        };
        let mut version = package.target.clone();
        if version.is_empty() {
            let _ = write!(version, "crc32-{:08x}", self.check.crc32());
        }
        version
    }

    fn tell_version<F>(&self, engine: &mut F, version: Version)
    where
        F: FnMut(Command, &mut [u8]) -> Reply,
    {
        let component = self.config.component.clone();
        engine(Command::SetMcuVersion(component, version), &mut []);
    }
}
