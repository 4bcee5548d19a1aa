//! The cloud's thread: the UDP socket.

use crate::BLOCK;
use crate::boxes::{self, TO_CLOUD, TO_ENGINE};
use crate::sys::{self, Who};
use sota::cloud::{Cloud, Config, OVERHEAD};
use sota::message::ToCloud;

struct CloudLoop<'a> {
    cloud: &'a mut Cloud<BLOCK>,
    datagram: &'a mut [u8],
}

/// The thread. Other settings are another machine, in the place of the one before.
pub(crate) fn run(datagram: &mut [u8; BLOCK + OVERHEAD]) -> ! {
    // Without a server until the first configuration comes.
    let (mut config, mut connect) = (Config::default(), false);
    loop {
        let mut cloud = Cloud::new(config.clone(), sys::random());
        let mut running = CloudLoop {
            cloud: &mut cloud,
            datagram,
        };
        if connect {
            running.resume();
        }
        running.run(&mut config);
        connect = cloud.wants_connection();
    }
}

impl CloudLoop<'_> {
    /// A new machine connects when it knows what the engine shows.
    fn resume(&mut self) {
        boxes::want_view();
        while !self.hear_engine(sys::now()) {
            sys::sleep_net(None);
        }
        self.cloud.connect(true);
    }

    /// Until there are other settings.
    fn run(&mut self, config: &mut Config) {
        while !(boxes::has_new_config()
            && self.cloud.may_reconfigure(sys::now())
            && boxes::take_new_config(config))
        {
            self.step();
        }
    }

    fn step(&mut self) {
        let now = sys::now();
        self.hear_engine(now);
        self.receive(now);
        if boxes::take_network_is_up() {
            self.cloud.on_network();
        }
        self.cloud.on_readings(sys::readings());
        self.cloud.on_cell(sys::cell());
        self.cloud.poll(now, sys::random(), boxes::has_room());
        self.look_up(now);
        self.tell_engine();
        while let Some((peer, n)) = self.cloud.next_datagram(self.datagram) {
            sys::net_send(peer, self.datagram.get(..n).unwrap_or_default());
        }
        if self.cloud.take_dropped_report() {
            sys::warn("report dropped: refused twice");
        }
        if self.cloud.take_reboot() {
            sys::reboot();
        }
        // What the engine's mailbox could not take wakes us when it has taken one.
        sys::sleep_net(self.cloud.deadline());
    }

    /// Whether the engine showed what there is.
    fn hear_engine(&mut self, now: u64) -> bool {
        let mut shown = false;
        // The machine does not take a report that it has no room for.
        while self.cloud.has_report_room() {
            let mut message = TO_CLOUD.try_recv();
            let Some(message) = &mut message else {
                break;
            };
            sys::wake(Who::Engine);
            shown |= matches!(message, ToCloud::View(_));
            self.cloud.on_engine(now, message);
        }
        shown
    }

    fn receive(&mut self, now: u64) {
        while let Some((peer, n)) = sys::net_recv(self.datagram) {
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
        while TO_ENGINE.has_room() && TO_ENGINE.send_from(&mut self.cloud.next_to_engine()) {}
    }
}
