//! An MCU on a PC with the library for MCUs: `sota_mcu`'s agent and bootloader, a UART and a flash file.
//!
//! | area | size | holds |
//! |---|---|---|
//! | state | 2 pages | the boot state |
//! | active | the slot, whole pages | the image that runs |
//! | other | the same and 3 pages | the next image |
//!
//! A real image has its version in itself. Packages here are any bytes, so which version an image is stands in a file beside the
//! flash, by the image's length and SHA-256; an image that is not there is the factory's.

use crate::clock::HostClock;
use crate::flash::{FileFlash, OpenError};
use crate::mcu::{McuEvent, Status};
use crate::mcu_port::{Heard, MCU_PAGE, MCU_WRITE, McuFlash, StartError};
use crate::serial::Serial;
use crate::wake::{self, Sleeper, Wake};
use embedded_storage::nor_flash::ReadNorFlash;
use sha2::{Digest, Sha256};
use sota::platform::Clock;
use sota_errors::{LinkError, McuError};
use sota_link::field::Boot;
use sota_link::frame::frame_len;
use sota_link::message::{McuPhase, ModulePhase};
use sota_link::{Line, mcu};
use sota_mcu::layout::RESERVED;
use sota_mcu::{Agent, Config, Layout, Output, boot};
use std::io;
use std::path::{Path, PathBuf};

const BLOCK: u16 = 1024;
const FRAME: usize = frame_len(BLOCK as usize);
const PAGE: u32 = MCU_PAGE as u32;
/// How long an image on trial has to reach the module, ms.
const CONFIRM_WITHIN_MS: u32 = 60_000;

fn layout(slot_size: u32) -> Layout {
    let slot = slot_size.next_multiple_of(PAGE);
    let active = 2 * PAGE;
    Layout {
        active,
        active_len: slot,
        other: active + slot,
        other_len: slot + RESERVED * PAGE,
        page: PAGE,
        state: 0,
        state_page: PAGE,
        word: MCU_WRITE as u32,
    }
}

/// The flash file inside the state folder.
pub fn flash_path(state: &Path) -> PathBuf {
    state.join("link-mcu-flash.bin")
}

/// Opens the flash of an MCU with slots of `slot_size` bytes.
///
/// # Errors
/// As for [`FileFlash::open`].
pub fn open_flash(state: &Path, slot_size: u32) -> Result<McuFlash, OpenError> {
    let layout = layout(slot_size);
    FileFlash::open(&flash_path(state), layout.other + layout.other_len)
}

/// Which images are which versions.
struct Versions(PathBuf);

impl Versions {
    fn all(&self) -> Vec<(u32, String, String)> {
        let text = std::fs::read_to_string(&self.0).unwrap_or_default();
        let line = |line: &str| {
            let mut words = line.splitn(3, ' ');
            let length = words.next()?.parse().ok()?;
            Some((length, words.next()?.to_owned(), words.next()?.to_owned()))
        };
        text.lines().filter_map(line).collect()
    }

    fn add(&self, length: u32, sha256: &[u8; 32], version: &str) -> io::Result<()> {
        let digest = hex::encode(sha256);
        let mut all = self.all();
        all.retain(|(l, d, _)| (*l, d) != (length, &digest));
        all.push((length, digest, version.to_owned()));
        let lines = all.iter().map(|(l, d, v)| format!("{l} {d} {v}\n"));
        let new = self.0.with_extension("new");
        std::fs::write(&new, lines.collect::<String>())?;
        std::fs::rename(new, &self.0)
    }
}

/// What runs.
#[derive(Clone, PartialEq, Eq)]
struct Running {
    version: String,
    /// 0: the factory's image.
    length: u32,
    sha256: [u8; 32],
}

fn running(
    flash: &mut McuFlash,
    layout: &Layout,
    versions: &Versions,
    factory: &str,
) -> Result<Running, McuError> {
    for (length, digest, version) in versions.all() {
        if length > layout.active_len {
            continue;
        }
        let sha256 = sha256(flash, layout.active, length)?;
        if hex::encode(sha256) == digest {
            return Ok(Running {
                version,
                length,
                sha256,
            });
        }
    }
    Ok(Running {
        version: factory.to_owned(),
        length: 0,
        sha256: sha256(flash, layout.active, 0)?,
    })
}

fn sha256(flash: &mut McuFlash, at: u32, length: u32) -> Result<[u8; 32], McuError> {
    Ok(Sha256::digest(image(flash, at, length)?).into())
}

fn image(flash: &mut McuFlash, at: u32, length: u32) -> Result<Vec<u8>, McuError> {
    let mut bytes = vec![0; length as usize];
    let read = flash.read(at, &mut bytes);
    read.map(|()| bytes).map_err(|_| McuError::McuFlash)
}

/// What an MCU would boot now, read from its flash by itself: the version and the image.
///
/// # Errors
/// The flash cannot be read.
pub fn running_image(state: &Path, slot_size: u32) -> Result<(String, Vec<u8>), McuError> {
    let mut flash = open_flash(state, slot_size).map_err(|_| McuError::McuFlash)?;
    let layout = layout(slot_size);
    let versions = Versions(state.join("link-mcu-versions"));
    let runs = running(&mut flash, &layout, &versions, "")?;
    Ok((runs.version, image(&mut flash, layout.active, runs.length)?))
}

/// Who the MCU is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Component identifier, at most 32 bytes.
    pub component: String,
    /// Version of the factory's image, at most 64 bytes.
    pub version: String,
    /// Bytes of one slot.
    pub slot_size: u32,
    /// Greatest baud rate that it may be asked to change to; 0: none.
    pub greatest_baud: u32,
}

/// The MCU, its UART and its clock.
pub struct LinkMcu {
    agent: Agent<FRAME>,
    identity: Identity,
    layout: Layout,
    versions: Versions,
    flash: McuFlash,
    serial: Serial,
    clock: HostClock,
    sleeper: Sleeper,
    /// Received, not yet taken by the machine.
    received: Vec<u8>,
    /// Taken from the machine, not yet by the UART.
    out: Vec<u8>,
    baud: Option<u32>,
    reset: bool,
    running: Running,
    upgrades: u32,
    error: Option<McuError>,
    phase: McuPhase,
    succeeded: bool,
}

impl LinkMcu {
    /// Runs the bootloader and starts what it boots. The [`Wake`] ends a sleep inside [`LinkMcu::step`].
    ///
    /// # Errors
    /// The flash cannot be used, or no descriptors are left.
    pub fn new(
        identity: Identity,
        state: &Path,
        mut flash: McuFlash,
        mut serial: Serial,
    ) -> Result<(LinkMcu, Wake), StartError> {
        let (wake, sleeper) = wake::pair()?;
        let clock = HostClock::start();
        let layout = layout(identity.slot_size);
        let versions = Versions(state.join("link-mcu-versions"));
        let baud = serial.baud();
        serial.set_baud(baud);
        let (agent, running) = start(&identity, &layout, &versions, &mut flash, clock.now(), baud)?;
        let mcu = LinkMcu {
            agent,
            identity,
            layout,
            versions,
            flash,
            serial,
            clock,
            sleeper,
            received: Vec::new(),
            out: Vec::new(),
            baud: None,
            reset: false,
            running,
            upgrades: 0,
            error: None,
            phase: McuPhase::Idle,
            succeeded: false,
        };
        Ok((mcu, wake))
    }

    /// What the MCU shows.
    pub fn status(&self) -> Status {
        let (progress, length) = self.agent.progress();
        let image = self.agent.image();
        Status {
            version: self.running.version.clone(),
            length: self.running.length,
            sha256: self.running.sha256,
            target: (image.length > 0).then(|| text(self.agent.target())),
            progress,
            package_length: length,
            upgrades: self.upgrades,
            pieces: 0,
            retries: 0,
            error: self.error,
        }
    }

    /// SHA-256 over the running image as it stands in the flash now.
    ///
    /// # Errors
    /// The flash cannot be read.
    pub fn running_sha256(&mut self) -> Result<[u8; 32], McuError> {
        sha256(&mut self.flash, self.layout.active, self.running.length)
    }

    /// One round: what is there to receive, to do and to send; then sleeps until there is more.
    pub fn step(&mut self, heard: &mut dyn FnMut(Heard)) {
        let now = self.clock.now();
        if let Some(change) = self.serial.reopen(now) {
            heard(Heard::Uart(change));
        }
        let mut told = false;
        let tell = &mut |event| {
            told = true;
            heard(event);
        };
        while self.round(tell) {}
        if self.reset && self.out.is_empty() {
            self.reset = false;
            self.boot(heard);
            return;
        }
        if told {
            return; // before the sleep
        }
        let now = self.clock.now();
        let wait = |at: u64| at.saturating_sub(now);
        let deadline = self.agent.deadline().map(wait);
        let retry = self.serial.retry_at().map(wait);
        let ms = deadline.into_iter().chain(retry).min();
        let fd = self.serial.fd();
        let write = fd.filter(|_| !self.out.is_empty());
        self.sleeper.sleep(fd.as_slice(), write, ms);
    }

    /// Whether anything moved.
    fn round(&mut self, heard: &mut dyn FnMut(Heard)) -> bool {
        let now = self.clock.now();
        let mut moved = self.receive(now, heard);
        while let Some(output) = self.agent.poll(now, &mut self.flash) {
            moved = true;
            match output {
                Output::Line(Line::Baud(baud)) => self.baud = Some(baud),
                Output::Line(Line::Up) => {
                    heard(Heard::Mcu(McuEvent::Announced(
                        self.running.version.clone(),
                    )));
                    // it reaches the module: that is what its application is there for
                    if self.agent.boot() == Boot::Trial
                        && let Err(error) = self.agent.confirm(&mut self.flash)
                    {
                        self.fault(error, heard);
                    }
                }
                Output::Line(Line::Down) => tracing::warn!("the module is silent on the link"),
                Output::Line(Line::Fault(number)) => match LinkError::from_number(number) {
                    Some(error) => tracing::warn!("{error}; {}", error.remedy()),
                    None => tracing::warn!("{number}: docs/errors.md"),
                },
                Output::Line(Line::PeerError(number)) => {
                    tracing::warn!("the module says {number}: docs/errors.md");
                }
                // they are answered and installed at once
                Output::Plan => {
                    let target = self.agent.plan().map_or(&b""[..], mcu::PlanFields::target);
                    heard(Heard::Mcu(McuEvent::Plan(text(target))));
                    self.agent.accept();
                }
                Output::Verified => self.agent.install(),
                Output::Reset => {
                    self.reset = true;
                    self.remember(heard);
                }
                Output::Ended(ModulePhase::Done, _) => heard(Heard::Mcu(McuEvent::Success)),
                Output::Ended(ModulePhase::Failed, _) => heard(Heard::Mcu(McuEvent::Failure)),
                Output::Ended(..) => {}
            }
        }
        self.tell(heard);
        self.send(now, heard) || moved
    }

    /// Says what its phase has come to.
    fn tell(&mut self, heard: &mut dyn FnMut(Heard)) {
        let phase = self.agent.phase();
        if phase == self.phase {
            return;
        }
        self.phase = phase;
        match phase {
            McuPhase::Accepted => heard(Heard::Mcu(McuEvent::Answered(true))),
            McuPhase::Refused => heard(Heard::Mcu(McuEvent::Answered(false))),
            McuPhase::Receiving => {
                let (from, length) = (self.agent.progress().0, self.agent.image().length);
                heard(Heard::Mcu(McuEvent::Download { length, from }));
            }
            McuPhase::Ready | McuPhase::Installing if !self.succeeded => {
                self.succeeded = true;
                heard(Heard::Mcu(McuEvent::Verified));
            }
            _ => {}
        }
    }

    /// Writes down which version the image in the other slot is.
    fn remember(&mut self, heard: &mut dyn FnMut(Heard)) {
        let (length, target) = (self.agent.image().length, text(self.agent.target()));
        if length == 0 {
            return; // it goes back to the image before
        }
        let kept = sha256(&mut self.flash, self.layout.other, length)
            .and_then(|d| (self.versions.add(length, &d, &target)).map_err(|_| McuError::McuFlash));
        if let Err(error) = kept {
            self.fault(error, heard);
        }
    }

    /// The reset: bootloader, and what it boots.
    fn boot(&mut self, heard: &mut dyn FnMut(Heard)) {
        let baud = self.serial.baud();
        self.serial.set_baud(baud);
        (self.received, self.out, self.baud) = (Vec::new(), Vec::new(), None);
        let now = self.clock.now();
        let (identity, layout, versions) = (&self.identity, &self.layout, &self.versions);
        match start(identity, layout, versions, &mut self.flash, now, baud) {
            Ok((agent, running)) => {
                self.agent = agent;
                self.succeeded = false;
                if running != self.running {
                    self.running = running;
                    self.upgrades += u32::from(self.agent.boot() == Boot::Trial);
                    heard(Heard::Mcu(McuEvent::Booted(self.running.version.clone())));
                }
            }
            Err(error) => self.fault(error, heard),
        }
    }

    fn fault(&mut self, error: McuError, heard: &mut dyn FnMut(Heard)) {
        self.error = Some(error);
        heard(Heard::Mcu(McuEvent::Error(error)));
    }

    fn receive(&mut self, now: u64, heard: &mut dyn FnMut(Heard)) -> bool {
        if self.received.is_empty() {
            let mut bytes = [0; 2048];
            match self.serial.read(now, &mut bytes) {
                Ok(count) => self.received.extend_from_slice(&bytes[..count]),
                Err(change) => heard(Heard::Uart(change)),
            }
        }
        let taken = self.agent.on_bytes(&self.received);
        self.received.drain(..taken);
        taken > 0
    }

    fn send(&mut self, now: u64, heard: &mut dyn FnMut(Heard)) -> bool {
        let next = |out: &mut [u8]| self.agent.next_tx(out);
        let sent = self.serial.send(now, &mut self.out, next);
        if self.out.is_empty()
            && let Some(baud) = self.baud.take()
        {
            self.serial.set_baud(baud);
        }
        sent.unwrap_or_else(|change| {
            heard(Heard::Uart(change));
            false
        })
    }
}

/// What came from the module.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A text that stays, as one in an MCU's flash does; a few bytes at each start of the MCU.
fn kept(text: &str) -> &'static str {
    Box::leak(text.into())
}

fn start(
    identity: &Identity,
    layout: &Layout,
    versions: &Versions,
    flash: &mut McuFlash,
    now: u64,
    baud: u32,
) -> Result<(Agent<FRAME>, Running), McuError> {
    boot::run(flash, layout, &boot::Rules::default())?;
    let running = running(flash, layout, versions, &identity.version)?;
    let config = Config {
        link: mcu::Config {
            block: BLOCK,
            window: 8,
            component: kept(&identity.component),
            version: kept(&running.version),
            hardware: "host",
            bootloader: "sota-mcu",
            baud,
            rate: identity.greatest_baud,
            ..mcu::Config::default()
        },
        confirm_within_ms: CONFIRM_WITHIN_MS,
        asks_first: true,
        mcuboot: false,
    };
    Ok((Agent::new(now, config, *layout, flash)?, running))
}
