//! The engine's thread.

use super::{Call, Common, Heard, ModuleFlash, Room};
use sota::bridge::route::{Routes, Targets};
use sota::engine::{Config, Engine};
use sota::message::{Command, Event, ToCloud};
use sota::platform::{Clock, Readings};
use std::sync::mpsc::Receiver;

/// Greatest read in bytes (`AT+QIOTOTARD`).
const READ: usize = 1024;

pub(super) struct EngineLoop<const B: usize> {
    common: Common<B>,
    readings: Readings,
    flash: ModuleFlash,
    engine: Engine<B>,
    callers: Receiver<Call>,
    room: Room,
    progress: (u32, u32),
    /// What the full mailbox gave back.
    to_cloud: Option<ToCloud>,
    event: Option<(Targets, Event)>,
    routes: Routes,
}

impl<const B: usize> EngineLoop<B> {
    pub(super) fn new(
        common: Common<B>,
        config: Config,
        readings: Readings,
        mut flash: ModuleFlash,
        callers: Receiver<Call>,
        room: Room,
        routes: Routes,
    ) -> EngineLoop<B> {
        let engine = Engine::start(config, common.clock.now(), &mut flash);
        EngineLoop {
            common,
            readings,
            flash,
            engine,
            callers,
            room,
            progress: (0, 0),
            to_cloud: None,
            event: None,
            routes,
        }
    }

    pub(super) fn run(&mut self) {
        while !self.common.ended() {
            self.calls();
            self.hear_cloud();
            let now = self.common.clock.now();
            self.engine.poll(now, self.readings, &mut self.flash);
            self.send();
            if self.engine.boot_wanted() {
                // A PC has no bootloader that could take the image.
                self.engine.boot_failed(now, &mut self.flash);
                continue;
            }
            if self.room.set(self.engine.can_take_block()) {
                self.common.boxes.cloud.wake();
            }
            let progress = self.engine.progress();
            if progress != self.progress {
                self.progress = progress;
                self.common.tell(Heard::Progress(progress.0, progress.1));
            }
            let now = self.common.clock.now();
            let ms = self.engine.deadline().map(|at| at.saturating_sub(now));
            self.common.sleeper.sleep(&[], None, ms);
        }
    }

    /// One block at a time, and only while the engine has room: the rest waits in the mailbox.
    fn hear_cloud(&mut self) {
        loop {
            self.room.set(false);
            let Some(mut message) = self.common.boxes.to_engine.try_recv() else {
                return;
            };
            self.common.boxes.cloud.wake();
            let now = self.common.clock.now();
            self.engine
                .on_cloud(now, self.readings, &mut self.flash, &mut message);
            self.engine.poll(now, self.readings, &mut self.flash);
            self.send();
            self.calls();
        }
    }

    fn calls(&mut self) {
        while let Ok(call) = self.callers.try_recv() {
            match call {
                Call::Command(from, command, answer) => {
                    let mut bytes = vec![0; READ];
                    let wanted = match &command {
                        Command::Read { len, .. } => READ.min(*len as usize),
                        _ => 0,
                    };
                    let now = self.common.clock.now();
                    let (engine, flash) = (&mut self.engine, &mut self.flash);
                    let (readings, out) = (self.readings, &mut bytes[..wanted]);
                    let reply = match from {
                        None => engine.command(now, readings, flash, &command, out),
                        Some(from) => self
                            .routes
                            .command(from, engine, now, readings, flash, &command, out),
                    };
                    let _ = answer.send((reply, bytes));
                }
                Call::Versions(answer) => {
                    let versions = self.engine.versions();
                    let owned = versions.map(|(name, version)| (name.into(), version.into()));
                    let _ = answer.send(owned.collect());
                }
            }
        }
    }

    fn send(&mut self) {
        loop {
            let Some(message) = self.to_cloud.take().or_else(|| self.engine.next_to_cloud()) else {
                break;
            };
            let view = match &message {
                ToCloud::View(view) => Some(view.clone()),
                _ => None,
            };
            if let Err(message) = self.common.boxes.to_cloud.try_send(message) {
                self.to_cloud = Some(message);
                break;
            }
            if let Some(view) = view {
                self.common.tell(Heard::View(Box::new(view)));
            }
        }
        loop {
            let Some((targets, event)) = self.event.take().or_else(|| self.next_event()) else {
                break;
            };
            let copy = event.clone();
            if !targets.is_empty()
                && let Err(event) = self.common.boxes.events.try_send((targets, event))
            {
                self.event = Some(event);
                break;
            }
            self.common.tell(Heard::Event(Box::new(copy)));
        }
    }

    fn next_event(&mut self) -> Option<(Targets, Event)> {
        let targets = self.routes.targets(&mut self.engine);
        self.engine.next_event().map(|event| (targets, event))
    }
}
