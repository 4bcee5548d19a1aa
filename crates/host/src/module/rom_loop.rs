//! The bridge's thread with the ROM loader of an STM32 at the other end of the UART.

use super::{Calls, Common, Heard};
use crate::rom_mcu::LinesHolder;
use crate::serial::Serial;
use sota::bridge::rom::{Config, Line, RomBridge};
use sota::message::Command;
use sota::platform::Clock;
use std::path::PathBuf;

/// How this back end is made.
#[derive(Clone, Debug)]
pub struct Rom {
    /// The bridge's.
    pub bridge: Config,
    /// The socket of the reset and boot lines (`rom_mcu`).
    pub lines: PathBuf,
}

pub(super) struct RomLoop<const B: usize> {
    common: Common<B>,
    config: Config,
    lines: LinesHolder,
    serial: Serial,
    calls: Calls,
    /// The module registers by itself.
    connect: bool,
    /// Taken from the machine, not yet by the UART.
    out: Vec<u8>,
}

impl<const B: usize> RomLoop<B> {
    pub(super) fn new(
        common: Common<B>,
        serial: Serial,
        calls: Calls,
        rom: Rom,
        connect: bool,
    ) -> RomLoop<B> {
        RomLoop {
            common,
            config: rom.bridge,
            lines: LinesHolder::new(&rom.lines),
            serial,
            calls,
            connect,
            out: Vec::new(),
        }
    }

    pub(super) fn run(&mut self) {
        if self.connect {
            self.calls.command(Command::Connect(true));
        }
        let component = self.config.component.as_str();
        let versions = self.calls.versions();
        let known = versions.iter().any(|(name, _)| name == component);
        let now = self.common.clock.now();
        let mut bridge = RomBridge::new(now, self.config.clone(), known);
        while !self.common.ended() {
            let now = self.common.clock.now();
            if let Some(change) = self.serial.reopen(now) {
                self.common.tell(Heard::Uart(change));
            }
            while self.step(&mut bridge) {}
            let now = self.common.clock.now();
            let wait = |at: u64| at.saturating_sub(now);
            let deadline = bridge.deadline().map(wait);
            let retry = self.serial.retry_at().map(wait);
            let ms = deadline.into_iter().chain(retry).min();
            let fd = self.serial.fd();
            let write = fd.filter(|_| !self.out.is_empty());
            self.common.sleeper.sleep(fd.as_slice(), write, ms);
        }
    }

    /// One round; whether anything moved.
    fn step(&mut self, bridge: &mut RomBridge) -> bool {
        let now = self.common.clock.now();
        let mut moved = self.receive(now, bridge);
        while let Some(event) = self.common.boxes.events.try_recv() {
            self.common.boxes.engine.wake();
            bridge.on_event(now, &event);
            moved = true;
        }
        let calls = &self.calls;
        let mut engine = |command: Command, out: &mut [u8]| calls.answer(command, out);
        while let Some(line) = bridge.poll(now, &mut engine) {
            match line {
                Line::Lines { boot0, reset } => {
                    if let Err(error) = self.lines.set(boot0, reset) {
                        tracing::warn!("the reset and boot lines: {error}");
                    }
                    // what was not sent before a reset is not for the loader after it
                    self.out.clear();
                }
                line => self.common.tell(Heard::Rom(line)),
            }
            moved = true;
        }
        self.send(now, bridge) || moved
    }

    fn receive(&mut self, now: u64, bridge: &mut RomBridge) -> bool {
        let mut bytes = [0; 512];
        match self.serial.read(now, &mut bytes) {
            Ok(count) => {
                bridge.on_bytes(now, &bytes[..count]);
                count > 0
            }
            Err(change) => {
                self.common.tell(Heard::Uart(change));
                false
            }
        }
    }

    /// Writes until the UART takes no more; whether anything went out.
    fn send(&mut self, now: u64, bridge: &mut RomBridge) -> bool {
        let next = |out: &mut [u8]| bridge.next_bytes(out);
        let sent = self.serial.send(now, &mut self.out, next);
        self.common.moved(sent)
    }
}
