//! The AT command server on the module's own UART.

use super::back_ends::BackEnd;
use super::{Calls, Common, Heard, Reconfigure, settings_file};
use crate::serial::Serial;
use sota::bridge::{Bridge, Output, Settings};
use sota::message::{Command, Event, Reason, Reply};
use sota::platform::Clock;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

pub(super) struct BridgeLoop {
    bridge: Bridge,
    serial: Serial,
    calls: Calls,
    reconfigure: Reconfigure,
    state: PathBuf,
    /// Received, not yet taken by the machine.
    received: Vec<u8>,
    /// Taken from the machine, not yet by the UART.
    out: Vec<u8>,
}

impl BridgeLoop {
    pub(super) fn new(
        settings: Settings,
        reconfigure: Reconfigure,
        state: PathBuf,
        serial: Serial,
        calls: Calls,
    ) -> BridgeLoop {
        BridgeLoop {
            bridge: Bridge::new(settings),
            serial,
            calls,
            reconfigure,
            state,
            received: Vec::new(),
            out: Vec::new(),
        }
    }

    fn keep_settings<const B: usize>(&mut self, common: &Common<B>) {
        if !self.bridge.settings_changed() {
            return;
        }
        let settings = self.bridge.settings();
        let defaults = &self.reconfigure.defaults;
        if let Err(error) = settings_file::store(&self.state, settings, defaults) {
            let heard = Heard::SettingsNotStored(error.to_string());
            common.tell(heard);
        }
    }

    /// Settings that differ from those the cloud machine runs with go to its thread.
    fn use_settings<const B: usize>(&mut self, common: &Common<B>) -> Result<(), Reason> {
        if let Some(config) = self.reconfigure.on_connect(self.bridge.settings())? {
            // A poisoned lock means a thread panicked between two moves of a whole value: it is still whole.
            let slot = common.boxes.config.lock();
            *slot.unwrap_or_else(|e| e.into_inner()) = Some(config);
            common.boxes.cloud.wake();
        }
        Ok(())
    }

    fn answer<const B: usize>(&mut self, common: &Common<B>, output: Output) {
        if output == Output::Command(Command::Connect(true))
            && let Err(reason) = self.use_settings(common)
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
}

impl<const B: usize> BackEnd<B> for BridgeLoop {
    fn step(&mut self, common: &Common<B>) -> bool {
        let now = common.clock.now();
        common.reopen(now, &mut self.serial);
        if self.received.is_empty() {
            let mut bytes = [0; 1024];
            let count = common.read(now, &mut self.serial, &mut bytes);
            self.received.extend_from_slice(&bytes[..count]);
        }
        let taken = self.bridge.on_bytes(&self.received);
        self.received.drain(..taken);
        let mut moved = taken > 0;
        while let Some(output) = self.bridge.poll() {
            self.answer(common, output);
            moved = true;
        }
        // Before the OK goes out: what was acknowledged outlives a kill.
        self.keep_settings(common);
        let next = |out: &mut [u8]| self.bridge.next_bytes(out);
        common.send(now, &mut self.serial, &mut self.out, next) || moved
    }

    fn ready_for_event(&self) -> bool {
        self.bridge.ready_for_event()
    }

    fn on_event(&mut self, _: &Common<B>, event: &Event) {
        let taken = self.bridge.on_event(event);
        debug_assert!(taken, "it was ready");
    }

    fn deadline(&self) -> Option<u64> {
        self.serial.retry_at()
    }

    fn fds(&self) -> [Option<BorrowedFd<'_>>; 2] {
        let fd = self.serial.fd();
        // While the machine takes nothing, nothing is read: the line's own buffer fills.
        [
            fd.filter(|_| self.received.is_empty()),
            fd.filter(|_| !self.out.is_empty()),
        ]
    }
}
