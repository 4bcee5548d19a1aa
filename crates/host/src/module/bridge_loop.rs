//! The bridge's thread: the UART.

use super::{Calls, Common, Heard, Reconfigure, settings_file};
use crate::serial::Serial;
use sota::bridge::{Bridge, ConnectMode, Output, Settings};
use sota::message::{Command, Event, Reason, Reply};
use sota::platform::Clock;
use std::path::PathBuf;

pub(super) struct BridgeLoop<const B: usize> {
    common: Common<B>,
    bridge: Bridge,
    serial: Serial,
    calls: Calls,
    reconfigure: Reconfigure,
    state: PathBuf,
    /// Received, not yet taken by the machine.
    received: Vec<u8>,
    /// Taken from the machine, not yet by the UART.
    out: Vec<u8>,
    /// An event the machine had no room for.
    event: Option<Event>,
}

impl<const B: usize> BridgeLoop<B> {
    pub(super) fn new(
        common: Common<B>,
        settings: Settings,
        reconfigure: Reconfigure,
        state: PathBuf,
        serial: Serial,
        calls: Calls,
    ) -> BridgeLoop<B> {
        BridgeLoop {
            common,
            bridge: Bridge::new(settings),
            serial,
            calls,
            reconfigure,
            state,
            received: Vec::new(),
            out: Vec::new(),
            event: None,
        }
    }

    pub(super) fn run(&mut self) {
        if self.bridge.settings().connect == ConnectMode::Auto {
            self.calls.command(Command::Connect(true));
        }
        while !self.common.ended() {
            let now = self.common.clock.now();
            if let Some(change) = self.serial.reopen(now) {
                self.common.tell(Heard::Uart(change));
            }
            self.receive(now);
            while self.step(now) {}
            let now = self.common.clock.now();
            let ms = self.serial.retry_at().map(|at| at.saturating_sub(now));
            let fd = self.serial.fd();
            // While the machine takes nothing, nothing is read: the line's own buffer fills.
            let read = fd.filter(|_| self.received.is_empty());
            let write = fd.filter(|_| !self.out.is_empty());
            self.common.sleeper.sleep(read.as_slice(), write, ms);
        }
    }

    fn receive(&mut self, now: u64) {
        if !self.received.is_empty() {
            return;
        }
        let mut bytes = [0; 1024];
        match self.serial.read(now, &mut bytes) {
            Ok(count) => self.received.extend_from_slice(&bytes[..count]),
            Err(change) => self.common.tell(Heard::Uart(change)),
        }
    }

    /// One round of the machine; whether anything moved.
    fn step(&mut self, now: u64) -> bool {
        let taken = self.bridge.on_bytes(&self.received);
        self.received.drain(..taken);
        let mut moved = taken > 0;
        while let Some(output) = self.bridge.poll() {
            self.answer(output);
            moved = true;
        }
        while self.bridge.ready_for_event() {
            let Some(event) = self.event.take().or_else(|| {
                let event = self.common.boxes.events.try_recv()?;
                self.common.boxes.engine.wake();
                Some(event)
            }) else {
                break;
            };
            if !self.bridge.on_event(&event) {
                self.event = Some(event);
                break;
            }
            moved = true;
        }
        // Before the OK goes out: what was acknowledged outlives a kill.
        self.keep_settings();
        self.send(now) || moved
    }

    fn keep_settings(&mut self) {
        if !self.bridge.settings_changed() {
            return;
        }
        let settings = self.bridge.settings();
        let defaults = &self.reconfigure.defaults;
        if let Err(error) = settings_file::store(&self.state, settings, defaults) {
            let heard = Heard::SettingsNotStored(error.to_string());
            self.common.tell(heard);
        }
    }

    /// Settings that differ from those the cloud machine runs with go to its thread.
    fn use_settings(&mut self) -> Result<(), Reason> {
        if let Some(config) = self.reconfigure.on_connect(self.bridge.settings())? {
            // A poisoned lock means a thread panicked between two moves of a whole value: it is still whole.
            let mut slot = self
                .common
                .boxes
                .config
                .lock()
                .unwrap_or_else(|e| e.into_inner());
            *slot = Some(config);
            drop(slot);
            self.common.boxes.cloud.wake();
        }
        Ok(())
    }

    fn answer(&mut self, output: Output) {
        if output == Output::Command(Command::Connect(true))
            && let Err(reason) = self.use_settings()
        {
            return self.bridge.reply(Reply::Refused(reason));
        }
        let reply = match output {
            Output::Command(command) => self.calls.answer(command, self.bridge.read_buffer()),
            Output::Versions => {
                for (name, version) in self.calls.versions() {
                    self.bridge.version(&name, &version);
                }
                Reply::Ok
            }
        };
        self.bridge.reply(reply);
    }

    /// Writes until the UART takes no more; whether anything went out.
    fn send(&mut self, now: u64) -> bool {
        let next = |out: &mut [u8]| self.bridge.next_bytes(out);
        let sent = self.serial.send(now, &mut self.out, next);
        self.common.moved(sent)
    }
}
