//! The simulated MCU: pulls the package by AT commands into its other slot, checks what is in its
//! flash, boots it and announces the new version.
//!
//! All that must survive a reset is in its flash ([`device`]); the rest is asked for again.
//!
//! | step | command | then |
//! |---|---|---|
//! | Hello | `AT` | Announce |
//! | Announce | `AT+QIOTMCUVER="c","v"` | Request |
//! | Request | `AT+QIOTOTAREQ=1` | Online |
//! | Online, 10700 heard once | `AT+QIOTOTARD=?` | 10700 again |
//! | Online, 10700 heard twice | plan into flash, `AT+QIOTUPDATE=1` | waits for 10701 |
//! | Online, 10700 heard once, 10701 twice | plan into flash | as confirmed by the module's application |
//! | Online, package known, no piece | `AT+QIOTOTARD=?` now and then | 10701, 10703 |
//! | place before the piece | `AT+SOTAREWIND=place` | waits for 10703 |
//! | place in the piece | `AT+QIOTOTARD=place,n` | flash, again |
//! | place behind the piece | `AT+QIOTUPDATE=2` | waits for 10703 |
//! | place at the end | digests over the flash, `AT+QIOTUPDATE=3` | swap, reset: Hello |
//!
//! An unanswered command is not simply sent again where that could do harm: after a lost answer to
//! action 2 the present piece is asked for first. 10700 and 10701 have no checksum, and what they say decides what the
//! MCU calls itself and which image it takes: two of them must say the same.

pub mod at_client;
pub mod device;
mod doubt;
#[cfg(test)]
mod tests;

use at_client::{AtClient, Heard, fields};
use device::{Device, Package};
use doubt::Doubt;
use embedded_storage::nor_flash::NorFlash;
use sota_errors::McuError;
use sota_mutants::{Mutant, active};
use std::collections::VecDeque;

/// How long a line that was asked for may take, ms: its line at 9600 baud, twice.
const SAY_AGAIN_MS: u64 = 500;

/// Questions for the present piece that no event followed before it asks for a plan again.
const UNHEARD: u32 = 6;

/// What an MCU is made with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Component identifier, at most 32 bytes.
    pub component: String,
    /// Version of the factory's image, at most 64 bytes; counts until the first upgrade.
    pub version: String,
    /// Bytes of one slot.
    pub slot_size: u32,
    /// Confirm every plan that fits; otherwise [`Mcu::confirm`] decides.
    pub auto_confirm: bool,
    /// Most bytes of one read, 1..=1024.
    pub read_size: usize,
    /// Read each range until two answers agree: for a line that corrupts bytes.
    pub double_read: bool,
    /// How long an answer may take, ms. The module answers within 300 ms; the rest is the line's time.
    pub answer_ms: u64,
    /// How often an idle MCU says its version and asks for a plan, ms.
    pub request_ms: u64,
    /// How often it asks for the present piece when it waits for one, ms.
    pub ask_ms: u64,
}

impl Config {
    /// The usual values.
    pub fn new(component: &str, version: &str, slot_size: u32) -> Self {
        Config {
            component: component.into(),
            version: version.into(),
            slot_size,
            auto_confirm: true,
            read_size: 1024,
            double_read: false,
            answer_ms: 2_000,
            request_ms: 30_000,
            ask_ms: 10_000,
        }
    }
}

/// What the program shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Version that runs.
    pub version: String,
    /// Length of the running image, 0 for the factory's.
    pub length: u32,
    /// SHA-256 of the running image.
    pub sha256: [u8; 32],
    /// Version under download.
    pub target: Option<String>,
    /// Bytes of the package it has.
    pub progress: u32,
    /// Package length, 0 while not known.
    pub package_length: u32,
    /// Images booted since this object was made.
    pub upgrades: u32,
    /// Pieces the module announced.
    pub pieces: u32,
    /// Answers that were lost or garbled.
    pub retries: u32,
    /// The last thing that went wrong since the running image was booted.
    pub error: Option<McuError>,
}

/// Something worth a line in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum McuEvent {
    /// Announced this version.
    Announced(String),
    /// A plan to this version came.
    Plan(String),
    /// The plan was confirmed (or refused).
    Answered(bool),
    /// A package of this length begins at this place.
    Download {
        /// Bytes.
        length: u32,
        /// First byte still wanted.
        from: u32,
    },
    /// A piece is there.
    Piece {
        /// First byte.
        start: u32,
        /// Bytes.
        length: u32,
    },
    /// Asked the module to go back to this place.
    Rewind(u32),
    /// The flash holds the package.
    Verified,
    /// Booted the new image of this version.
    Booted(String),
    /// The module said success.
    Success,
    /// The module said failure.
    Failure,
    /// Something went wrong.
    Error(McuError),
}

/// What the command in flight is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Hello,
    Announce,
    Request,
    Confirm(bool),
    Ask,
    Read,
    Next,
    Rewind,
    Update,
}

/// The MCU.
pub struct Mcu<F> {
    config: Config,
    device: Device<F>,
    at: AtClient,
    /// In flight, or the opening's next.
    step: Option<Step>,
    opening: Option<Step>,
    wait_until: u64,
    next_request: u64,
    /// A plan that waits for its answer.
    offer: Option<(String, Option<bool>)>,
    /// Targets and sizes of 10700s that were heard once.
    plans: Doubt<(String, u32)>,
    /// The same for 10701.
    packages: Doubt<Package>,
    piece: Option<(u32, u32)>,
    first_read: Option<Vec<u8>>,
    silent: u32,
    /// Questions for the present piece since the last event.
    /// A piece was told of before its package counted: it can be asked for at once.
    early: bool,
    unheard: u32,
    bad_images: u32,
    /// Refusals of action 3 in a row.
    refused: u32,
    /// Failures since the last image was booted.
    failures: u32,
    status: Status,
    events: VecDeque<McuEvent>,
}

impl<F: NorFlash> Mcu<F> {
    /// Boots from `flash`.
    pub fn new(config: Config, flash: F) -> Result<Self, McuError> {
        let device = Device::boot(flash, config.slot_size, &config.version)?;
        Ok(Mcu {
            config,
            device,
            at: AtClient::default(),
            step: None,
            opening: Some(Step::Hello),
            wait_until: 0,
            next_request: 0,
            offer: None,
            plans: Doubt::default(),
            packages: Doubt::default(),
            piece: None,
            first_read: None,
            silent: 0,
            early: false,
            unheard: 0,
            bad_images: 0,
            refused: 0,
            failures: 0,
            status: Status::default(),
            events: VecDeque::new(),
        })
    }

    /// Received bytes.
    pub fn on_bytes(&mut self, now: u64, bytes: &[u8]) {
        let mut all = Vec::new();
        self.at.on_bytes(now, bytes, |heard| all.push(heard));
        for heard in all {
            let result = match heard {
                Heard::Line(line) => self.on_line(now, &line),
                answer => self.on_answer(now, answer),
            };
            if let Err(error) = result {
                self.failed(now, error);
            }
        }
        self.poll(now);
    }

    /// Time-outs and the next command.
    pub fn poll(&mut self, now: u64) {
        let mut result = match self.at.poll(now) {
            Some(lost) => self.on_answer(now, lost),
            None => Ok(()),
        };
        if result.is_ok() && !self.at.busy() && !self.at.draining(now) && now >= self.wait_until {
            result = self.next_step(now);
        }
        if let Err(error) = result {
            self.failed(now, error);
        }
    }

    /// Bytes for the UART.
    pub fn next_bytes(&mut self, out: &mut [u8]) -> usize {
        self.at.next_bytes(out)
    }

    /// When to call [`Mcu::poll`] if no byte comes before.
    pub fn deadline(&self) -> u64 {
        if self.at.busy() {
            self.at.deadline()
        } else {
            self.wait_until.max(self.at.deadline())
        }
    }

    /// The host's answer to a plan when it is not confirmed by itself.
    pub fn confirm(&mut self, yes: bool) {
        if let Some((_, answer)) = &mut self.offer {
            *answer = Some(yes);
            self.wait_until = 0;
        }
    }

    /// What the program shows.
    pub fn status(&self) -> Status {
        let running = self.device.running();
        let package = self.device.package();
        Status {
            version: running.version.clone(),
            length: running.length,
            sha256: running.sha256,
            target: self.device.pending().map(|pending| pending.target.clone()),
            progress: self.device.place(),
            package_length: package.map_or(0, |package| package.length),
            ..self.status.clone()
        }
    }

    /// The oldest event not yet taken.
    pub fn next_event(&mut self) -> Option<McuEvent> {
        self.events.pop_front()
    }

    /// SHA-256 over the running image as it stands in the flash now.
    pub fn running_sha256(&mut self) -> Result<[u8; 32], McuError> {
        self.device.running_sha256()
    }

    /// The flash, for another boot.
    pub fn into_flash(self) -> F {
        self.device.into_flash()
    }

    fn error(&mut self, error: McuError) {
        self.status.error = Some(error);
        self.events.push_back(McuEvent::Error(error));
    }

    /// The flash failed, or a package cannot be taken: from the beginning after a pause that grows up to 17 minutes,
    /// because a part that is worn out never gets better and each try costs the module a message on the air.
    fn failed(&mut self, now: u64, error: McuError) {
        self.error(error);
        if error == McuError::McuFlash {
            // A flash that cannot even be read keeps the error; the next step meets it again.
            let _ = self.device.reload();
        }
        self.open(now + (1_000 << self.failures.min(10)));
        self.failures += 1;
    }

    fn open(&mut self, at: u64) {
        self.opening = Some(Step::Hello);
        self.plans.clear();
        self.packages.clear();
        self.unheard = 0;
        self.early = false;
        self.piece = None;
        self.first_read = None;
        self.wait_until = at;
    }

    fn command(&mut self, now: u64, step: Step, command: &str) {
        self.step = Some(step);
        self.at.send(now, command, self.config.answer_ms);
    }

    /// A line was heard once, and is to be asked for at once.
    fn is_in_doubt(&self) -> bool {
        self.plans.wants_asking() || self.packages.wants_asking()
    }

    fn next_step(&mut self, now: u64) -> Result<(), McuError> {
        match self.opening {
            Some(Step::Announce) => {
                let command = format!(
                    "AT+QIOTMCUVER=\"{}\",\"{}\"",
                    self.config.component,
                    self.device.running().version
                );
                self.command(now, Step::Announce, &command);
                return Ok(());
            }
            Some(Step::Request) => {
                self.command(now, Step::Request, "AT+QIOTOTAREQ=1");
                return Ok(());
            }
            Some(_) => {
                self.command(now, Step::Hello, "AT");
                return Ok(());
            }
            None => {}
        }
        if let Some((target, Some(yes))) = self.offer.clone() {
            if yes {
                self.device.expect(&target)?;
                self.command(now, Step::Confirm(true), "AT+QIOTUPDATE=1");
            } else {
                self.command(now, Step::Confirm(false), "AT+QIOTUPDATE=0");
            }
            return Ok(());
        }
        if self.is_in_doubt() {
            self.command(now, Step::Ask, "AT+QIOTOTARD=?");
            return Ok(());
        }
        // A module that does not say it again.
        if let Some((target, space)) = self.plans.newest() {
            self.plan(now, target, space);
            return self.next_step(now);
        }
        if let Some(package) = self.packages.newest() {
            self.announced(now, package)?;
            return self.next_step(now);
        }
        if now >= self.next_request && self.device.package().is_none() {
            self.open(now);
            return self.next_step(now);
        }
        if self.device.pending().is_none() {
            self.wait_until = self.next_request;
            return Ok(());
        }
        let length = self.device.package().map(|package| package.length);
        let place = self.device.place();
        match (length, self.piece) {
            // An earlier try brought all of it, and the module verifies it piece by piece before it lets it be booted.
            (Some(length), Some((start, piece))) if place == length && start + piece < length => {
                self.command(now, Step::Next, "AT+QIOTUPDATE=2");
            }
            (Some(length), _) if place == length => self.finish(now)?,
            (Some(_), Some((start, _))) if place < start => {
                self.events.push_back(McuEvent::Rewind(place));
                self.command(now, Step::Rewind, &format!("AT+SOTAREWIND={place}"));
            }
            (Some(_), Some((start, piece))) if place - start < piece => {
                let left = (start + piece - place) as usize;
                let n = self.config.read_size.clamp(1, 1024).min(left);
                self.step = Some(Step::Read);
                self.at.send_read(now, place, n, self.config.answer_ms);
            }
            (Some(_), Some(_)) => self.command(now, Step::Next, "AT+QIOTUPDATE=2"),
            _ => self.command(now, Step::Ask, "AT+QIOTOTARD=?"),
        }
        Ok(())
    }

    /// Every byte is in the flash.
    fn finish(&mut self, now: u64) -> Result<(), McuError> {
        if self.device.verify()? || active(Mutant::BootUnverified) {
            self.events.push_back(McuEvent::Verified);
            self.command(now, Step::Update, "AT+QIOTUPDATE=3");
            return Ok(());
        }
        self.error(McuError::ImageDigest);
        self.bad_images += 1;
        self.piece = None;
        if self.bad_images < 3 {
            // The line or the announcement may have been garbled: once more from 10701 on.
            self.device.restart()?;
        } else {
            self.bad_images = 0;
            self.device.forget()?;
        }
        Ok(())
    }

    fn on_answer(&mut self, now: u64, answer: Heard) -> Result<(), McuError> {
        let Some(step) = self.step.take() else {
            return Ok(());
        };
        if answer == Heard::Lost {
            self.status.retries += 1;
            self.silent += 1;
            self.first_read = None;
            if self.silent == 5 {
                self.silent = 0;
                self.error(McuError::ModuleSilent);
                self.open(now);
            } else if step == Step::Next {
                self.piece = None;
                self.wait_until = now;
            }
            return Ok(());
        }
        self.silent = 0;
        let ok = answer != Heard::Error;
        if !ok && !matches!(step, Step::Hello) {
            self.error(McuError::ModuleRefused);
        }
        match (step, answer) {
            (Step::Hello, Heard::Ok(_)) => self.opening = Some(Step::Announce),
            (Step::Hello, _) => self.wait_until = now + 100,
            (Step::Announce, _) if ok => {
                let version = self.device.running().version.clone();
                self.events.push_back(McuEvent::Announced(version));
                self.opening = Some(Step::Request);
            }
            (Step::Announce, _) => self.wait_until = now + 1_000,
            (Step::Request, _) => {
                self.opening = None;
                self.next_request = now + self.config.request_ms;
            }
            (Step::Confirm(yes), _) => {
                self.offer = None;
                if ok {
                    self.events.push_back(McuEvent::Answered(yes));
                }
                if !self.is_in_doubt() {
                    self.wait_until = now + self.config.ask_ms;
                }
            }
            (Step::Ask, _) => {
                if self.plans.asked() | self.packages.asked() {
                    self.wait_until = now + SAY_AGAIN_MS;
                } else if self.offer.is_none() && self.piece.is_none() {
                    self.wait_until = now + self.config.ask_ms;
                    self.unheard += 1;
                    if self.unheard >= UNHEARD {
                        // The module knows nothing of a package: the Center may.
                        self.open(now);
                    }
                }
            }
            (Step::Next | Step::Rewind, _) => {
                self.piece = None;
                self.wait_until = now + if ok { self.config.ask_ms } else { 1_000 };
            }
            (Step::Read, Heard::Ok(Some(data))) => {
                let twice = self.config.double_read || !self.device.has_digest();
                if twice && self.first_read.as_ref() != Some(&data) {
                    self.first_read = Some(data);
                } else {
                    self.first_read = None;
                    self.device.append(&data)?;
                }
            }
            (Step::Read, _) => {
                self.piece = None;
                self.wait_until = now + 1_000;
            }
            (Step::Update, Heard::Ok(_)) => {
                self.refused = 0;
                self.device.swap()?;
                self.failures = 0;
                self.status.upgrades += 1;
                self.status.error = None;
                self.bad_images = 0;
                let version = self.device.running().version.clone();
                self.events.push_back(McuEvent::Booted(version));
                self.open(now);
            }
            (Step::Update, _) => {
                // The module is not at the last piece any more: it was restarted, and its announcements tell, or it
                // gave up, and the line garbled that. Then nothing will ever come of this package.
                self.refused += 1;
                if self.refused >= 3 {
                    self.refused = 0;
                    self.device.forget()?;
                }
                self.open(now + 1_000);
            }
        }
        Ok(())
    }

    /// What 10700 says is to be answered.
    fn plan(&mut self, now: u64, target: String, space: u32) {
        self.plans.clear();
        let fits = space <= self.device.slot_size();
        if !fits {
            self.error(McuError::SlotTooSmall);
        }
        let answer = match (fits, self.config.auto_confirm) {
            (false, _) => Some(false),
            (true, auto) => auto.then_some(true),
        };
        self.events.push_back(McuEvent::Plan(target.clone()));
        self.offer = Some((target, answer));
        self.wait_until = now;
    }

    /// What 10701 says counts.
    fn announced(&mut self, now: u64, package: Package) -> Result<(), McuError> {
        self.packages.clear();
        let length = package.length;
        self.device.announce(package)?;
        let from = self.device.place();
        self.events.push_back(McuEvent::Download { length, from });
        let early = std::mem::take(&mut self.early);
        self.wait_until = if early { now } else { now + self.config.ask_ms };
        Ok(())
    }

    fn on_line(&mut self, now: u64, line: &str) -> Result<(), McuError> {
        if !line.starts_with("+QIOTOTARD: ") {
            self.plans.something();
            self.packages.something();
        }
        // A line that is no text is a garbled one.
        let clean = !line.contains(|c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER);
        let Some(event) = line.strip_prefix("+QIOTEVT: ").filter(|_| clean) else {
            return Ok(());
        };
        self.unheard = 0;
        let fields = fields(event);
        let mine = fields
            .get(2)
            .is_some_and(|name| *name == self.config.component);
        match (fields.as_slice(), mine) {
            (["7", "10700", _, _, target, _, _, space], true) => {
                let Ok(space) = space.parse::<u32>() else {
                    return Ok(());
                };
                if self.plans.hear(((*target).into(), space)) {
                    self.plan(now, (*target).into(), space);
                } else {
                    self.wait_until = now;
                }
            }
            (["7", "10701", _, length, digests @ ..], true) => {
                let Some(package) = package(length, digests) else {
                    return Ok(());
                };
                let known = self.device.package() == Some(&package);
                let pending = self.device.pending().is_some();
                if !pending && self.plans.newest().is_none() {
                    return Ok(());
                }
                if known || self.packages.hear(package.clone()) {
                    // Confirmed by the module's application: 10700 does not come a second time.
                    if let Some((target, space)) = self.plans.newest().filter(|_| !pending) {
                        self.plans.clear();
                        if space > self.device.slot_size() {
                            self.packages.clear();
                            self.error(McuError::SlotTooSmall);
                            return Ok(());
                        }
                        self.device.expect(&target)?;
                        self.events.push_back(McuEvent::Plan(target));
                    }
                    self.announced(now, package)?;
                } else {
                    self.wait_until = now;
                }
            }
            (["7", "10703", _, length, start, piece], true) => {
                let (Ok(length), Ok(start), Ok(piece)) = (
                    length.parse::<u32>(),
                    start.parse::<u32>(),
                    piece.parse::<u32>(),
                ) else {
                    return Ok(());
                };
                let known = self.device.package().map(|package| package.length);
                self.early |= known.is_none();
                if known.is_none_or(|known| known != length)
                    || piece == 0
                    || start.checked_add(piece).is_none_or(|end| end > length)
                {
                    return Ok(());
                }
                if self.piece != Some((start, piece)) {
                    self.status.pieces += 1;
                    let length = piece;
                    self.events.push_back(McuEvent::Piece { start, length });
                }
                self.piece = Some((start, piece));
                self.wait_until = now;
            }
            (["7", "10702"], _) if self.piece.is_none() && !self.is_in_doubt() => {
                self.wait_until = now + self.config.ask_ms;
            }
            (["7", "10705"], _) => self.events.push_back(McuEvent::Success),
            (["7", "10706"], _) => {
                self.events.push_back(McuEvent::Failure);
                self.device.forget()?;
                self.open(now + 1_000);
            }
            _ => {}
        }
        Ok(())
    }
}

/// The fields of 10701; `None` if one is garbled.
fn package(length: &str, digests: &[&str]) -> Option<Package> {
    fn bytes<const N: usize>(text: Option<&&str>) -> Option<Option<[u8; N]>> {
        match text {
            None | Some(&"") => Some(None),
            Some(text) => hex::decode(text).ok()?.try_into().ok().map(Some),
        }
    }
    Some(Package {
        length: length.parse().ok().filter(|length| *length > 0)?,
        md5: bytes(digests.first())?,
        crc32: match digests.get(1) {
            None | Some(&"") => None,
            Some(text) => Some(text.parse().ok()?),
        },
        sha256: bytes(digests.get(2))?,
    })
}
