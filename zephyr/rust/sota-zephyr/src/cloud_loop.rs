//! The cloud's thread: the UDP socket.

use crate::BLOCK;
use crate::boxes::{self, TO_CLOUD, TO_ENGINE};
use crate::sys::{self, Who};
use sota::cloud::{Cloud, Config, OVERHEAD};

pub(crate) struct CloudLoop {
    cloud: Cloud<BLOCK>,
    datagram: [u8; BLOCK + OVERHEAD],
}

impl CloudLoop {
    pub(crate) fn new() -> Self {
        CloudLoop {
            // Without a server until the first configuration comes.
            cloud: Cloud::new(Config::default(), sys::random()),
            datagram: [0; BLOCK + OVERHEAD],
        }
    }

    pub(crate) fn run(&mut self) -> ! {
        loop {
            self.step();
        }
    }

    fn step(&mut self) {
        let now = sys::now();
        if boxes::has_new_config()
            && self.cloud.may_reconfigure(now)
            && let Some(config) = boxes::take_new_config()
        {
            self.cloud.reconfigure(now, config, sys::random());
        }
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
        if self.cloud.take_dropped_report() {
            sys::warn("the server refused a report twice; it is dropped");
        }
        if self.cloud.take_reboot() {
            sys::reboot();
        }
        // What the engine's mailbox could not take wakes us when it has taken one.
        sys::sleep_net(self.cloud.deadline());
    }

    fn hear_engine(&mut self, now: u64) {
        // The machine gives back only a report that it has no room for.
        while self.cloud.has_report_room()
            && let Some(message) = TO_CLOUD.try_recv()
        {
            sys::wake(Who::Engine);
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
