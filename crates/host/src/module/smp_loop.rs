//! The bridge's thread with the SMP server of an MCU at the other end of the UART.

use super::{Calls, Common, Heard};
use crate::serial::Serial;
use sota::bridge::smp::{Config, SmpBridge};
use sota::message::Command;
use sota::platform::Clock;

pub(super) struct SmpLoop<const B: usize> {
    common: Common<B>,
    config: Config,
    serial: Serial,
    calls: Calls,
    /// The module registers by itself.
    connect: bool,
    /// Taken from the machine, not yet by the UART.
    out: Vec<u8>,
}

impl<const B: usize> SmpLoop<B> {
    pub(super) fn new(
        common: Common<B>,
        serial: Serial,
        calls: Calls,
        config: Config,
        connect: bool,
    ) -> SmpLoop<B> {
        SmpLoop {
            common,
            config,
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
        let mut bridge = SmpBridge::new(now, self.config.clone(), known);
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
    fn step(&mut self, bridge: &mut SmpBridge) -> bool {
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
            self.common.tell(Heard::Smp(line));
            moved = true;
        }
        self.send(now, bridge) || moved
    }

    fn receive(&mut self, now: u64, bridge: &mut SmpBridge) -> bool {
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
    fn send(&mut self, now: u64, bridge: &mut SmpBridge) -> bool {
        let next = |out: &mut [u8]| bridge.next_bytes(out);
        let sent = self.serial.send(now, &mut self.out, next);
        self.common.moved(sent)
    }
}
