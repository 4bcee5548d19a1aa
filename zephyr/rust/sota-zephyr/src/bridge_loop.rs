//! The bridge's thread: the UART to the MCU.

use crate::boxes;
#[cfg(not(sota_sides))]
use crate::boxes::TO_BRIDGE;
use crate::sys;
#[cfg(not(sota_sides))]
use crate::sys::Who;
use crate::{api, calls, config};
use sota::bridge::{Bridge, Output};
use sota::message::{Command, Reason, Reply};

/// Bytes taken from the UART's buffer at once, and given to it.
const CHUNK: usize = 64;

pub(crate) struct BridgeLoop<'a> {
    bridge: &'a mut Bridge,
    /// Received, not yet taken by the machine.
    received: ([u8; CHUNK], usize, usize),
    /// Taken from the machine, not yet by the UART.
    out: ([u8; CHUNK], usize, usize),
    told: Option<Reason>,
}

/// What of a chunk is left.
fn rest(chunk: &([u8; CHUNK], usize, usize)) -> &[u8] {
    chunk.0.get(chunk.1..chunk.2).unwrap_or_default()
}

impl<'a> BridgeLoop<'a> {
    pub(crate) fn new(bridge: &'a mut Bridge) -> Self {
        BridgeLoop {
            bridge,
            received: ([0; CHUNK], 0, 0),
            out: ([0; CHUNK], 0, 0),
            told: None,
        }
    }

    #[cfg(not(sota_sides))]
    pub(crate) fn run(&mut self) -> ! {
        loop {
            while self.step() {}
            sys::sleep(Who::Bridge, None);
        }
    }

    /// One round of the machine; whether anything moved. Where there are other back ends, events come by `on_event`.
    pub(crate) fn step(&mut self) -> bool {
        let error = boxes::last_error();
        if let Some(reason) = error.filter(|_| error != self.told) {
            self.bridge.note_error(reason);
        }
        self.told = error;
        if boxes::take_settings_changed() {
            config::settings(self.bridge.settings_mut());
        }
        if rest(&self.received).is_empty() {
            self.received.1 = 0;
            self.received.2 = sys::uart_read(&mut self.received.0);
        }
        let taken = self.bridge.on_bytes(rest(&self.received));
        self.received.1 += taken;
        let mut moved = taken > 0;
        while let Some(output) = self.bridge.poll() {
            self.answer(output);
            moved = true;
        }
        #[cfg(not(sota_sides))]
        {
            moved |= self.events();
        }
        // Before the OK goes out: what was acknowledged outlives a power cut.
        if self.bridge.settings_changed() && !config::keep(self.bridge.settings()) {
            sys::warn("settings not kept");
        }
        self.send() || moved
    }

    #[cfg(sota_sides)]
    pub(crate) fn ready_for_event(&self) -> bool {
        self.bridge.ready_for_event()
    }

    #[cfg(sota_sides)]
    pub(crate) fn on_event(&mut self, event: &sota::message::Event) {
        // it was ready
        let _ = self.bridge.on_event(event);
    }

    #[cfg(sota_sides)]
    pub(crate) fn deadline(&self) -> Option<sota::message::Millis> {
        None
    }

    #[cfg(not(sota_sides))]
    fn events(&mut self) -> bool {
        let mut moved = false;
        while self.bridge.ready_for_event()
            && let Some(event) = TO_BRIDGE.try_recv()
        {
            sys::wake(Who::Engine);
            moved |= self.bridge.on_event(&event);
        }
        moved
    }

    fn answer(&mut self, output: Output) {
        let reply = match output {
            Output::Command(Command::Read { start, .. }) => {
                calls::main_read(start, self.bridge.read_buffer())
            }
            Output::Command(Command::Connect(on)) => api::connect(on),
            Output::Command(command) => calls::main_command(&command, &mut []),
            Output::Versions => {
                calls::ask(&mut |engine| {
                    for (name, version) in engine.engine.versions() {
                        self.bridge.version(name, version);
                    }
                });
                Reply::Ok
            }
        };
        self.bridge.reply(reply);
    }

    /// Writes until the UART takes no more; whether anything went out.
    fn send(&mut self) -> bool {
        let mut moved = false;
        loop {
            if rest(&self.out).is_empty() {
                self.out.1 = 0;
                self.out.2 = self.bridge.next_bytes(&mut self.out.0);
            }
            match sys::uart_write(rest(&self.out)) {
                0 => return moved,
                n => self.out.1 += n,
            }
            moved = true;
        }
    }
}
