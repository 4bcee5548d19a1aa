//! The engine's thread.

use crate::boxes::{self, TO_APP, TO_BRIDGE, TO_CLOUD, TO_ENGINE};
use crate::calls::{self, Answer, Ask, Status};
use crate::{api, config};
use crate::flash::Partitions;
use crate::sys::{self, Who};
use crate::BLOCK;
use heapless::Vec;
use sota::bridge::ConnectMode;
use sota::engine::Engine;
use sota::message::{Command, Event, Reply, ToCloud};
use sota::platform::Readings;

pub(crate) struct EngineLoop {
    engine: Engine<BLOCK>,
    flash: Partitions,
    readings: Readings,
    /// What the full mailbox gave back.
    to_cloud: Option<ToCloud>,
    /// An event that is still wanted by the bridge, by the application.
    event: Option<(Event, bool, bool)>,
}

impl EngineLoop {
    pub(crate) fn new() -> Self {
        let mut flash = Partitions::open();
        let engine = Engine::start(config::engine(), sys::now(), &mut flash);
        EngineLoop {
            engine,
            flash,
            readings: Readings::default(),
            to_cloud: None,
            event: None,
        }
    }

    pub(crate) fn run(&mut self) -> ! {
        if let Some(reason) = self.engine.last_error() {
            log::warn!("journal: {}", reason.name());
        }
        if config::settings().connect == ConnectMode::Auto {
            match api::use_settings(true) {
                Ok(()) => drop(self.command(Command::Connect(true), &mut [])),
                Err(reason) => log::warn!("not connected: {}", reason.name()),
            }
        }
        loop {
            self.step();
        }
    }

    fn step(&mut self) {
        self.readings = sys::readings();
        self.calls();
        self.hear_cloud();
        self.engine.poll(sys::now(), self.readings, &mut self.flash);
        self.send();
        if self.engine.boot_wanted() {
            sys::boot_trial();
            self.engine.boot_failed(sys::now(), &mut self.flash);
            return;
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
            let Some(message) = TO_ENGINE.try_recv() else {
                return;
            };
            sys::wake(Who::Cloud);
            self.engine
                .on_cloud(sys::now(), self.readings, &mut self.flash, message);
            self.engine.poll(sys::now(), self.readings, &mut self.flash);
            self.send();
            self.calls();
        }
    }

    fn command(&mut self, command: Command, out: &mut [u8]) -> Reply {
        self.engine
            .command(sys::now(), self.readings, &mut self.flash, command, out)
    }

    fn calls(&mut self) {
        calls::answer(|ask| match ask {
            Ask::Command(command) => {
                let mut bytes = Vec::new();
                if let Command::Read { len, .. } = &command {
                    let len = (*len as usize).min(bytes.capacity());
                    let _ = bytes.resize(len, 0);
                }
                let reply = self.command(command, &mut bytes);
                Answer::Reply(reply, bytes)
            }
            Ask::Status => Answer::Status(self.status()),
            Ask::Component(place) => {
                let found = self.engine.versions().nth(place.into());
                Answer::Component(found.and_then(|(name, version)| {
                    Some((name.try_into().ok()?, version.try_into().ok()?))
                }))
            }
        });
    }

    fn status(&self) -> Status {
        let (progress, length) = self.engine.progress();
        let (piece_start, piece_length) =
            self.engine.piece().unwrap_or((self.engine.piece_start(), 0));
        Status {
            state: self.engine.state(),
            linked: self.engine.is_linked(),
            last_error: self.engine.last_error(),
            progress,
            length,
            piece_start,
            piece_length,
        }
    }

    fn send(&mut self) {
        while let Some(message) = self.to_cloud.take().or_else(|| self.engine.next_to_cloud()) {
            if let Err(message) = TO_CLOUD.try_send(message) {
                self.to_cloud = Some(message);
                break;
            }
        }
        loop {
            let next = self.event.take().or_else(|| {
                let event = self.engine.next_event()?;
                log::info!("event {},{}", event.group(), event.code());
                if let Event::UpdateFail(reason) = &event {
                    log::warn!("{}: {}", reason.number(), reason.name());
                }
                let bridge = cfg!(not(sota_no_at));
                Some((event, bridge, boxes::app_listens()))
            });
            let Some((event, mut bridge, mut app)) = next else {
                return;
            };
            if bridge {
                bridge = TO_BRIDGE.try_send(event.clone()).is_err();
            }
            if app {
                app = TO_APP.try_send(event.clone()).is_err();
            }
            if bridge || app {
                self.event = Some((event, bridge, app));
                return;
            }
        }
    }
}
