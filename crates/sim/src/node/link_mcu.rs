//! An MCU with the library for MCUs: the bootloader's rule at every start, then the agent over the binary link.
//!
//! | area | pages | holds |
//! |---|---|---|
//! | state | 2 | the boot state |
//! | active | n | the image that runs; at first the factory's |
//! | other | n + 3 | the next image or the one before |
//!
//! A real image has its version inside itself. Images here are random bytes, so which version one is, is the world's
//! knowledge of what it made: the content decides, never the memory of a machine that loses power.

use bytes::Bytes;
use embedded_storage::nor_flash::ReadNorFlash;
use sota_errors::McuError;
use sota_host::mcu::McuEvent;
use sota_link::field::Boot;
use sota_link::frame::{Rx, frame_len};
use sota_link::mcu::PlanFields;
use sota_link::message::{McuPhase, ModulePhase};
use sota_mcu::layout::RESERVED;
use sota_mcu::{Agent, Layout, Output, boot};

use super::mcu::{McuFlash, PAGE, WRITE};
use crate::flash::{ERASED, FirstContent, FlashPower, SimFlash};
use crate::handle::Handle;
use crate::rng::Rng;
use crate::setup::COMPONENT;

/// Greatest block of the link in bytes.
pub const BLOCK: u16 = 1024;
/// Greatest window in blocks.
pub const WINDOW: u8 = 8;
/// A data frame on the line, at most.
pub const FRAME: usize = frame_len(BLOCK as usize);
/// Type of a Data frame, and bytes of its payload before those of the package (`docs/link.md`).
const DATA: u8 = 7;
const DATA_HEAD: usize = 5;
/// How long an image on trial has to reach the module, ms.
const CONFIRM_WITHIN_MS: u32 = 60_000;
/// How often an MCU with nothing to do asks for a plan, ms: what is behind a NAT or in queue mode hears of it then.
const REQUEST_MS: u64 = 30_000;
/// Steps of verifying in one go: more than the greatest image of a world needs.
const VERIFY: u32 = 100_000;

/// What such an MCU is made with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Every image that there is in this world, the factory's first: version and bytes.
    pub images: Vec<(&'static str, Bytes)>,
    /// Baud of the UART after each start.
    pub baud: u32,
    /// Greatest baud that the link may change to; 0: none.
    pub greatest_baud: u32,
    /// The images after the factory's confirm themselves when they reach the module.
    pub confirms: bool,
}

impl Config {
    fn layout(&self) -> Layout {
        let page = PAGE as u32;
        let greatest = self.images.iter().map(|(_, image)| image.len());
        let slot = (greatest.max().unwrap_or(0) as u32).next_multiple_of(page);
        let active = 2 * page;
        Layout {
            active,
            active_len: slot,
            other: active + slot,
            other_len: slot + RESERVED * page,
            page,
            state: 0,
            state_page: page,
            word: WRITE as u32,
        }
    }

    /// The image that the active slot has, or most of: its version, and the bytes that stand there. Two versions of the
    /// same first bytes are told apart by the longer one.
    fn active<F: ReadNorFlash>(&self, flash: &mut F) -> Option<(&'static str, Vec<u8>)> {
        let layout = self.layout();
        let mut slot = vec![0; layout.active_len as usize];
        flash.read(layout.active, &mut slot).ok()?;
        let differs = |image: &Bytes| slot.iter().zip(image).filter(|(a, b)| a != b).count();
        let rank = |(_, image): &&(_, Bytes)| (differs(image), usize::MAX - image.len());
        let (version, image) = self.images.iter().min_by_key(rank)?;
        slot.truncate(image.len());
        Some((version, slot))
    }
}

/// A flash with the factory's image, and whatever else the part held.
pub fn flash(config: &Config, power: &FlashPower, rng: Rng) -> McuFlash {
    let layout = config.layout();
    let size = layout.other + layout.other_len;
    let mut flash = SimFlash::new(power, rng, size, FirstContent::Garbage);
    // A programmer erases the whole slot.
    let mut slot = vec![ERASED; layout.active_len as usize];
    if let Some((_, image)) = config.images.first() {
        slot[..image.len()].copy_from_slice(image);
    }
    flash.load(layout.active, &slot);
    Handle::new(flash)
}

/// What it would boot from this flash: the version and the image. `None`: its bootloader does not come to an end.
pub fn would_boot(config: &Config, flash: &McuFlash) -> Option<(String, Vec<u8>)> {
    let power = FlashPower::new();
    let mut copy = flash.with(|flash| flash.copy_on(&power));
    boot::run(&mut copy, &config.layout(), &boot::Rules::default()).ok()?;
    let (version, image) = config.active(&mut copy)?;
    Some((version.to_owned(), image))
}

/// The machine between two resets.
pub struct LinkMcu {
    agent: Agent<FRAME>,
    version: &'static str,
    /// It goes back to the image before when its deadline has come.
    confirms: bool,
    phase: McuPhase,
    verified: bool,
    /// Taken from the agent, not yet by the UART.
    out: Vec<u8>,
    /// Bytes of each frame that was added to `out` since the world looked.
    pub frames: Vec<u64>,
    /// What is left to send goes first.
    pub resets: bool,
    /// The UART is to have this rate, once all of `out` has left.
    pub baud: Option<u32>,
    /// What is worth a line.
    pub events: Vec<McuEvent>,
    /// What comes, as the world reads it.
    wire: Rx<FRAME>,
    /// When it asks for a plan.
    request_at: u64,
    /// Bytes of the package that came in whole frames since the world looked.
    pub data: u32,
}

impl LinkMcu {
    /// The bootloader, and what it boots. `None`: the flash failed, or its power went.
    pub fn boot(config: &Config, flash: &mut McuFlash) -> Option<LinkMcu> {
        let layout = config.layout();
        boot::run(flash, &layout, &boot::Rules::default()).ok()?;
        let (version, _) = config.active(flash)?;
        let made = sota_mcu::Config {
            link: sota_link::mcu::Config {
                block: BLOCK,
                window: WINDOW,
                component: COMPONENT,
                version,
                hardware: "sim",
                bootloader: "sota-mcu",
                baud: config.baud,
                rate: config.greatest_baud,
                ..Default::default()
            },
            confirm_within_ms: CONFIRM_WITHIN_MS,
            asks_first: true,
            mcuboot: false,
        };
        let agent = Agent::new(0, made, layout, flash).ok()?;
        let factory = config.images.first().map(|(version, _)| *version);
        Some(LinkMcu {
            events: vec![McuEvent::Booted(version.into())],
            agent,
            version,
            confirms: config.confirms || factory == Some(version),
            phase: McuPhase::Idle,
            verified: false,
            out: Vec::new(),
            frames: Vec::new(),
            resets: false,
            baud: None,
            request_at: REQUEST_MS,
            wire: Rx::new(),
            data: 0,
        })
    }

    /// Bytes came from the UART.
    pub fn on_bytes(&mut self, ms: u64, mut bytes: &[u8], flash: &mut McuFlash) {
        self.count(bytes);
        while !bytes.is_empty() {
            let taken = self.agent.on_bytes(bytes);
            bytes = bytes.get(taken..).unwrap_or_default();
            self.poll(ms, flash);
        }
    }

    /// Counts the bytes of the package.
    fn count(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = self.wire.feed(bytes);
            bytes = bytes.get(taken..).unwrap_or_default();
            if !self.wire.is_complete() {
                continue;
            }
            if let Ok(body) = self.wire.body()
                && body.kind == DATA
            {
                self.data += body.payload.len().saturating_sub(DATA_HEAD) as u32;
            }
            self.wire.clear();
        }
    }

    /// Works until there is nothing more to do or to send.
    pub fn poll(&mut self, ms: u64, flash: &mut McuFlash) {
        if self.may_ask() && ms >= self.request_at {
            self.request_at = ms + REQUEST_MS;
            self.agent.ask_for_plan();
        }
        loop {
            self.outputs(ms, flash);
            for _ in 0..VERIFY {
                if self.agent.phase() != McuPhase::Verifying || self.agent.deadline() != Some(0) {
                    break;
                }
                self.outputs(ms, flash);
            }
            if self.baud.is_some() {
                return;
            }
            let mut bytes = [0; 512];
            let count = self.agent.next_tx(&mut bytes);
            if count == 0 {
                return;
            }
            self.out
                .extend_from_slice(bytes.get(..count).unwrap_or_default());
            self.frames.push(count as u64);
        }
    }

    fn outputs(&mut self, ms: u64, flash: &mut McuFlash) {
        while let Some(output) = self.agent.poll(ms, flash) {
            match output {
                Output::Line(sota_link::Line::Up) => {
                    self.events.push(McuEvent::Announced(self.version.into()));
                    // It reaches the module: that is what its application is there for.
                    if self.confirms
                        && self.agent.boot() == Boot::Trial
                        && let Err(error) = self.agent.confirm(flash)
                    {
                        self.events.push(McuEvent::Error(error));
                    }
                }
                Output::Line(sota_link::Line::Baud(baud)) => self.baud = Some(baud),
                Output::Line(_) => {}
                Output::Plan => {
                    let target = self.agent.plan().map_or(&b""[..], PlanFields::target);
                    let target = String::from_utf8_lossy(target).into_owned();
                    self.events.push(McuEvent::Plan(target));
                    self.agent.accept();
                }
                Output::Verified => self.agent.install(),
                Output::Reset => self.resets = true,
                Output::Ended(ModulePhase::Done, _) => self.events.push(McuEvent::Success),
                Output::Ended(ModulePhase::Failed, _) => self.events.push(McuEvent::Failure),
                Output::Ended(..) => {}
            }
            self.look();
        }
        self.look();
    }

    /// Says what its phase has come to.
    fn look(&mut self) {
        let before = std::mem::replace(&mut self.phase, self.agent.phase());
        let event = match (before, self.phase) {
            (before, phase) if before == phase => return,
            (_, McuPhase::Accepted) => McuEvent::Answered(true),
            (_, McuPhase::Refused) => McuEvent::Answered(false),
            // It hashed what is there, and it was not the package.
            (McuPhase::Verifying, McuPhase::Receiving | McuPhase::Failed) => {
                McuEvent::Error(McuError::ImageDigest)
            }
            (_, McuPhase::Receiving) => McuEvent::Download {
                length: self.agent.image().length,
                from: self.agent.progress().0,
            },
            (_, McuPhase::Ready | McuPhase::Installing) if !self.verified => {
                self.verified = true;
                McuEvent::Verified
            }
            _ => return,
        };
        self.events.push(event);
    }

    /// Bytes for the UART.
    pub fn next_bytes(&mut self, out: &mut [u8]) -> usize {
        let count = out.len().min(self.out.len());
        for (to, from) in out.iter_mut().zip(self.out.drain(..count)) {
            *to = from;
        }
        count
    }

    /// When to poll at the latest, ms.
    pub fn deadline(&self) -> Option<u64> {
        let request = self.may_ask().then_some(self.request_at);
        self.agent.deadline().into_iter().chain(request).min()
    }

    fn may_ask(&self) -> bool {
        let idle = self.agent.phase() == McuPhase::Idle && self.agent.boot() != Boot::Trial;
        idle && self.agent.is_up()
    }
}
