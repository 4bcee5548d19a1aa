//! The MCU against the real AT server, with a scripted or the real engine behind it.

mod engine;
mod scripted;

use super::*;
use embedded_storage::nor_flash::{ErrorType, NorFlashError, NorFlashErrorKind, ReadNorFlash};
use sha2::{Digest, Sha256};
use sota::bridge::{Bridge, Output, Settings};
use sota::message::{Command, Event, Reply};
use std::cell::RefCell;
use std::rc::Rc;

const SLOT: u32 = 4096;

/// NOR flash in RAM that loses power in the middle of its `cut`th operation.
#[derive(Clone)]
struct Ram(Rc<RefCell<Cells>>);

/// The bytes, the operation that is cut, the operations done.
type Cells = (Vec<u8>, Option<usize>, usize);

#[derive(Debug)]
struct Dead;
impl NorFlashError for Dead {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::Other
    }
}
impl ErrorType for Ram {
    type Error = Dead;
}

impl Ram {
    fn new() -> Self {
        Self::sized(device::flash_size(Self::ERASE_SIZE, SLOT) as usize)
    }

    fn sized(bytes: usize) -> Self {
        Ram(Rc::new(RefCell::new((vec![0xff; bytes], None, 0))))
    }

    /// Applies `change` to the range, or to half of it when the power goes.
    fn operate(
        &self,
        range: std::ops::Range<usize>,
        change: impl Fn(usize, &mut u8),
    ) -> Result<(), Dead> {
        let mut ram = self.0.borrow_mut();
        let (bytes, cut, done) = &mut *ram;
        let dying = *cut == Some(*done);
        if cut.is_some_and(|cut| cut < *done) {
            return Err(Dead);
        }
        *done += 1;
        let n = if dying { range.len() / 2 } else { range.len() };
        for (i, byte) in bytes[range].iter_mut().take(n).enumerate() {
            change(i, byte);
        }
        if dying { Err(Dead) } else { Ok(()) }
    }

    fn dead(&self) -> bool {
        let ram = self.0.borrow();
        ram.1.is_some_and(|cut| cut < ram.2)
    }
}

impl ReadNorFlash for Ram {
    const READ_SIZE: usize = 1;
    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Dead> {
        let from = offset as usize;
        bytes.copy_from_slice(&self.0.borrow().0[from..from + bytes.len()]);
        Ok(())
    }
    fn capacity(&self) -> usize {
        self.0.borrow().0.len()
    }
}

impl NorFlash for Ram {
    const WRITE_SIZE: usize = 8;
    const ERASE_SIZE: usize = 512;
    fn erase(&mut self, from: u32, to: u32) -> Result<(), Dead> {
        assert!(from.is_multiple_of(512) && to.is_multiple_of(512));
        self.operate(from as usize..to as usize, |_, byte| *byte = 0xff)
    }
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Dead> {
        assert!(offset.is_multiple_of(8) && bytes.len().is_multiple_of(8));
        let from = offset as usize;
        self.operate(from..from + bytes.len(), |i, byte| {
            assert_eq!(*byte, 0xff, "written without an erase");
            *byte = bytes[i];
        })
    }
}

/// What is behind the AT server.
trait Behind {
    fn command(&mut self, now: u64, command: Command, buffer: &mut [u8]) -> Reply;
    /// One step of its own; when it wants the next.
    fn step(&mut self, now: u64) -> Option<u64>;
    fn event(&mut self) -> Option<Event>;
    /// `version` was reported and the upgrade is over.
    fn done(&self, version: &str) -> bool;
    fn image(&self) -> &[u8];
    fn source(&self) -> &str;
    fn target(&self) -> &str;
}

/// What the line does to one byte.
enum Fate {
    Whole,
    Lost,
    Changed,
}

struct World<B> {
    now: u64,
    bridge: Bridge,
    script: B,
    event: Option<Event>,
    ram: Ram,
    config: Config,
    mcu: Mcu<Ram>,
    boots: usize,
    events: Vec<McuEvent>,
}

impl<B: Behind> World<B> {
    fn new(script: B, config: Config, ram: Ram) -> Self {
        let mcu = Mcu::new(config.clone(), ram.clone()).unwrap();
        World {
            now: 0,
            bridge: Bridge::new(Settings::new()),
            script,
            event: None,
            ram,
            config,
            mcu,
            boots: 0,
            events: Vec::new(),
        }
    }

    /// Runs until the MCU announced `version` or `steps` are over; true if it did.
    fn run(
        &mut self,
        version: &str,
        steps: usize,
        mut to_mcu: impl FnMut() -> Fate,
        mut to_module: impl FnMut() -> Fate,
    ) -> bool {
        let mut line = Vec::new();
        for _ in 0..steps {
            let mut quiet = true;
            let mut out = [0; 97];
            self.mcu.poll(self.now);
            let n = self.mcu.next_bytes(&mut out);
            for byte in &out[..n] {
                quiet = false;
                match to_module() {
                    Fate::Whole => line.push(*byte),
                    Fate::Lost => {}
                    Fate::Changed => line.push(byte ^ 0x10),
                }
            }
            let taken = self.bridge.on_bytes(&line);
            line.drain(..taken);
            if let Some(output) = self.bridge.poll() {
                let reply = match output {
                    Output::Command(command) => {
                        let buffer = self.bridge.read_buffer();
                        self.script.command(self.now, command, buffer)
                    }
                    Output::Versions => Reply::Ok,
                };
                self.bridge.reply(reply);
            }
            let engine = self.script.step(self.now);
            self.event = self.event.take().or_else(|| self.script.event());
            if let Some(event) = &self.event
                && self.bridge.on_event(event)
            {
                self.event = None;
            }
            let n = self.bridge.next_bytes(&mut out);
            let bytes: Vec<u8> = out[..n]
                .iter()
                .filter_map(|byte| match to_mcu() {
                    Fate::Whole => Some(*byte),
                    Fate::Lost => None,
                    Fate::Changed => Some(byte ^ 0x04),
                })
                .collect();
            if n > 0 {
                quiet = false;
                self.mcu.on_bytes(self.now, &bytes);
            }
            self.events
                .extend(std::iter::from_fn(|| self.mcu.next_event()));
            if self.ram.dead() {
                self.ram.0.borrow_mut().1 = None;
                self.reset();
            }
            if self.script.done(version) {
                return true;
            }
            self.now = if quiet {
                let next = self.mcu.deadline().min(engine.unwrap_or(u64::MAX));
                next.max(self.now + 1)
            } else {
                self.now + 1
            };
        }
        false
    }

    fn reset(&mut self) {
        self.boots += 1;
        self.mcu = Mcu::new(self.config.clone(), self.ram.clone()).unwrap();
        // Old or new, never neither.
        let status = self.mcu.status();
        assert_eq!(self.mcu.running_sha256().unwrap(), status.sha256);
        if status.version == self.script.target() {
            assert_eq!(
                status.sha256,
                <[u8; 32]>::from(Sha256::digest(self.script.image()))
            );
        } else {
            assert_eq!(status.version, self.script.source());
        }
    }

    fn holds_the_image(&mut self) -> bool {
        let status = self.mcu.status();
        let sha256: [u8; 32] = Sha256::digest(self.script.image()).into();
        status.version == self.script.target()
            && status.length as usize == self.script.image().len()
            && status.sha256 == sha256
            && self.mcu.running_sha256() == Ok(sha256)
    }
}

fn whole() -> Fate {
    Fate::Whole
}

fn image(length: u32, seed: u32) -> Vec<u8> {
    (0..length)
        .map(|i| (i.wrapping_mul(seed).wrapping_add(i >> 8) >> 3) as u8)
        .collect()
}

fn config() -> Config {
    Config {
        read_size: 300,
        ..Config::new("STM32", "1_0_0", SLOT)
    }
}

/// A small generator: every run repeats.
fn dice(mut seed: u32, lost: u32, changed: u32) -> impl FnMut() -> Fate {
    move || {
        seed ^= seed << 13;
        seed ^= seed >> 17;
        seed ^= seed << 5;
        match seed % 10_000 {
            n if n < lost => Fate::Lost,
            n if n < lost + changed => Fate::Changed,
            _ => Fate::Whole,
        }
    }
}
