//! The cloud's thread: the UDP socket.

use crate::BLOCK;
use crate::boxes::{self, TO_CLOUD, TO_ENGINE};
use crate::sys::{self, Who};
use sota::cloud::{Cloud, Config, OVERHEAD};
use sota::message::{State, ToCloud};

/// A good-bye that is not answered holds the next server no longer than this, in ms.
const FAREWELL_MS: u64 = 3_000;

pub(crate) struct CloudLoop {
    cloud: Cloud<BLOCK>,
    datagram: [u8; BLOCK + OVERHEAD],
    /// The machine has a server.
    configured: bool,
    /// What the engine wants last.
    connect: bool,
    /// When the good-bye to the present server is over at the latest, once it was said.
    leaving: Option<u64>,
}

impl CloudLoop {
    pub(crate) fn new() -> Self {
        CloudLoop {
            // Without a server until the first configuration comes.
            cloud: Cloud::new(Config::default(), sys::random()),
            datagram: [0; BLOCK + OVERHEAD],
            configured: false,
            connect: false,
            leaving: None,
        }
    }

    pub(crate) fn run(&mut self) -> ! {
        loop {
            self.step();
        }
    }

    fn step(&mut self) {
        let now = sys::now();
        self.reconfigure(now);
        self.hear_engine(now);
        self.receive(now);
        if boxes::take_network_is_up() {
            self.cloud.on_network();
        }
        self.cloud.on_readings(sys::readings());
        self.cloud.poll(now, sys::random(), boxes::has_room());
        self.look_up(now);
        self.tell_engine();
        while let Some((peer, n)) = self.cloud.next_datagram(&mut self.datagram) {
            sys::net_send(peer, self.datagram.get(..n).unwrap_or_default());
        }
        if self.cloud.take_reboot() {
            sys::reboot();
        }
        let at = self.cloud.deadline().into_iter().chain(self.leaving).min();
        // What the engine's mailbox could not take wakes us when it has taken one.
        sys::sleep_net(at);
    }

    /// Goes on with other settings: good-bye to the present server, then a new machine. An upgrade under way
    /// ends first, because its plan and its package belong to the present server.
    fn reconfigure(&mut self, now: u64) {
        let upgrade = !matches!(
            self.cloud.view().state,
            State::None | State::Refused | State::Success | State::Failure
        );
        let busy = upgrade && self.configured && self.leaving.is_none();
        if !boxes::has_new_config() || busy {
            return;
        }
        let end = *self.leaving.get_or_insert_with(|| {
            // Only a report can come back.
            let _ = self.cloud.on_engine(now, ToCloud::Connect(false));
            now + FAREWELL_MS
        });
        if self.cloud.is_leaving() && now < end {
            return;
        }
        if let Some(config) = boxes::take_new_config() {
            self.leaving = None;
            self.configured = true;
            self.cloud.reconfigure(config, sys::random());
            if self.connect {
                let _ = self.cloud.on_engine(now, ToCloud::Connect(true));
            }
        }
    }

    fn hear_engine(&mut self, now: u64) {
        // The machine gives back only a report that it has no room for.
        while self.cloud.has_report_room()
            && let Some(message) = TO_CLOUD.try_recv()
        {
            sys::wake(Who::Engine);
            if let ToCloud::Connect(on) = &message {
                self.connect = *on;
                // The new machine connects, when the good-bye is over.
                if self.leaving.is_some() {
                    continue;
                }
            }
            let _ = self.cloud.on_engine(now, message);
        }
    }

    fn receive(&mut self, now: u64) {
        while let Some((peer, n)) = sys::net_recv(&mut self.datagram) {
            let datagram = self.datagram.get(..n).unwrap_or_default();
            self.cloud.on_datagram(now, peer, datagram);
            // A block is handed on before the next datagram is looked at.
            self.tell_engine();
        }
    }

    fn look_up(&mut self, now: u64) {
        while let Some(lookup) = self.cloud.next_lookup() {
            let peer = lookup.peer;
            let found = sys::net_resolve(peer, lookup.host, lookup.port);
            self.cloud.on_resolved(now, peer, found);
        }
    }

    fn tell_engine(&mut self) {
        // This thread is the mailbox's sole sender.
        while TO_ENGINE.has_room()
            && let Some(message) = self.cloud.next_to_engine()
        {
            let _ = TO_ENGINE.try_send(message);
        }
    }
}
