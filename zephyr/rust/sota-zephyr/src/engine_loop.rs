//! The engine's thread.

use crate::BLOCK;
use crate::boxes::{self, TO_APP, TO_BRIDGE, TO_CLOUD, TO_ENGINE};
use crate::calls::{self, Status};
use crate::firmware::Bootloader;
use crate::flash::Partitions;
use crate::sys::{self, Who};
use crate::{api, config, logger};
use sota::bridge::ConnectMode;
use sota::engine::Engine;
use sota::message::{Command, Event, Reason, Reply};
use sota::platform::{FirmwareSlot, Readings};

pub(crate) struct EngineLoop<'a> {
    pub(crate) engine: &'a mut Engine<BLOCK>,
    pub(crate) flash: Partitions,
    pub(crate) readings: Readings,
    /// Which back end serves which component.
    #[cfg(sota_sides)]
    pub(crate) routes: sota::bridge::route::Routes,
}

impl EngineLoop<'_> {
    pub(crate) fn run(&mut self) -> ! {
        self.engine.open(&mut self.flash);
        if let Some(reason) = self.engine.last_error() {
            logger::warn("journal", reason);
        }
        if config::with_settings(|settings| settings.connect) == ConnectMode::Auto {
            // A variable: a constant of this type would lie in flash with all its 108 bytes.
            let connect = Command::Connect(true);
            match api::use_settings(true) {
                Ok(()) => drop(self.command(&connect, &mut [])),
                Err(reason) => logger::warn("not connected", reason),
            }
        }
        loop {
            self.step();
        }
    }

    fn step(&mut self) {
        self.readings = sys::readings();
        if boxes::take_view_wanted() {
            self.engine.show();
        }
        calls::answer(self);
        self.hear_cloud();
        self.poll();
        if self.engine.boot_wanted() {
            let length = self.engine.progress().1;
            if let Err(reason) = (Bootloader { length }).boot_trial() {
                logger::warn("no trial boot", reason);
            }
            self.engine.boot_failed(sys::now(), &mut self.flash);
            return;
        }
        if self.engine.confirm_wanted() {
            let kept = Bootloader { length: 0 }.confirm().is_ok();
            self.engine.confirmed(sys::now(), &mut self.flash, kept);
            return;
        }
        if self.engine.revert_wanted() {
            sys::warn("the new image has not registered: back to the old one");
            sys::reboot();
        }
        if boxes::set_room(self.engine.can_take_block()) {
            sys::wake(Who::Cloud);
        }
        boxes::set_last_error(self.engine.last_error());
        sys::sleep(Who::Engine, self.engine.deadline());
    }

    /// One block at a time, and only while the engine has room: the rest waits in the mailbox.
    fn hear_cloud(&mut self) {
        loop {
            boxes::set_room(false);
            let mut message = TO_ENGINE.try_recv();
            let Some(message) = &mut message else {
                return;
            };
            sys::wake(Who::Cloud);
            self.engine
                .on_cloud(sys::now(), self.readings, &mut self.flash, message);
            self.poll();
            calls::answer(self);
        }
    }

    pub(crate) fn command(&mut self, command: &Command, out: &mut [u8]) -> Reply {
        self.engine
            .command(sys::now(), self.readings, &mut self.flash, command, out)
    }

    /// The same, as the back end at place `from` asks.
    #[cfg(sota_sides)]
    pub(crate) fn command_from(&mut self, from: usize, command: &Command, out: &mut [u8]) -> Reply {
        let (now, readings) = (sys::now(), self.readings);
        let (engine, flash) = (&mut *self.engine, &mut self.flash);
        self.routes
            .command(from, engine, now, readings, flash, command, out)
    }

    pub(crate) fn status(&self) -> Status {
        let (progress, length) = self.engine.progress();
        let (piece_start, piece_length) = self
            .engine
            .piece()
            .unwrap_or((self.engine.piece_start(), 0));
        Status {
            state: self.engine.state().number(),
            connected: self.engine.is_linked(),
            last_error: self.engine.last_error().map_or(0, Reason::number),
            progress,
            length,
            piece_start,
            piece_length,
        }
    }

    #[inline(never)]
    fn poll(&mut self) {
        self.engine.poll(sys::now(), self.readings, &mut self.flash);
        // Only what there is room for is made: each mailbox has this thread as its sole sender.
        self.send_to_cloud();
        self.send_events();
    }

    // Two functions: the stack has the messages of one of them at a time.
    #[inline(never)]
    fn send_to_cloud(&mut self) {
        while TO_CLOUD.has_room() && TO_CLOUD.send_from(&mut self.engine.next_to_cloud()) {}
    }

    #[cfg(sota_sides)]
    #[inline(never)]
    fn send_events(&mut self) {
        loop {
            let app = boxes::app_listens();
            if !TO_BRIDGE.has_room() || (app && !TO_APP.has_room()) {
                return;
            }
            if app {
                TO_APP.send_from(&mut self.engine.first_event());
            }
            let targets = self.routes.targets(self.engine);
            let Some(event) = self.engine.next_event() else {
                return;
            };
            self.tell(&event);
            if !targets.is_empty() {
                TO_BRIDGE.send_from(&mut Some((targets, event)));
            }
        }
    }

    #[cfg(not(sota_sides))]
    #[inline(never)]
    fn send_events(&mut self) {
        loop {
            let (bridge, app) = (cfg!(not(sota_no_bridge)), boxes::app_listens());
            if (bridge && !TO_BRIDGE.has_room()) || (app && !TO_APP.has_room()) {
                return;
            }
            if app {
                TO_APP.send_from(&mut self.engine.first_event());
            }
            let mut event = self.engine.next_event();
            let Some(next) = &event else {
                return;
            };
            self.tell(next);
            if bridge {
                TO_BRIDGE.send_from(&mut event);
            }
        }
    }

    /// For the log, and for the person at the shell.
    fn tell(&self, event: &Event) {
        let (progress, length) = self.engine.progress();
        let (reason, bytes) = match event {
            Event::UpdateFail(reason) => (reason.number(), progress),
            Event::DownloadStart(_) => (0, length),
            _ => (0, progress),
        };
        sys::event(event.group(), event.code(), reason, bytes);
    }
}
