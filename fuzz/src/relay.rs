//! One module and one Center, joined by a network in memory, over a whole upgrade; what each of them got is written
//! down as a script of its target.

use sota::cloud::Peer;
use sota::message::Event;
use sota_center::device::border::Call;
use sota_coap::Message;
use sota_lwm2m::objects::plan::State;

use crate::center::{self, World};
use crate::client::{self, CONNECT, HOST, PASS, REQUEST};
use crate::engine;
use crate::input::{Input, Script};
use crate::module::Module;

/// Turns of a whole upgrade at most.
const MANY: usize = 5_000;

/// Which way a datagram went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the Center.
    Up,
    /// To the module.
    Down,
}

/// Both ends and what was written down.
pub struct Relay {
    module: Module,
    world: World,
    /// Every datagram that arrived.
    pub wire: Vec<(Way, Vec<u8>)>,
    /// The script for `lwm2m_client`.
    pub client: Script,
    /// The script for `center_device`.
    pub center: Script,
    /// Every so-many-th datagram is lost; 0: none.
    loss: usize,
    sent: usize,
    done: bool,
}

impl Relay {
    /// A module and a Center with these configurations (byte 0 of their scripts).
    pub fn new(choice: [u8; 2], loss: usize) -> Self {
        let mut relay = Relay {
            module: client::module(choice[0]),
            world: World::new(choice[1]),
            wire: Vec::new(),
            client: Script::default(),
            center: Script::default(),
            loss,
            sent: 0,
            done: false,
        };
        relay.client.bytes(&choice[..1]);
        relay.center.bytes(&choice[1..]);
        relay
    }

    /// From the first registration to the success.
    pub fn upgrade(&mut self) {
        self.host(&[21, 2, 2]);
        self.host(&[9, 0, 1]);
        self.client.bytes(&[CONNECT, 1]);
        self.module
            .engine
            .ask(sota::message::Command::Connect(true), &mut []);
        self.module.settle();
        self.turns(20);
        self.host(&[10, 1]);
        // A client without the Plan object is offered at once.
        self.command(0);
        for _ in 0..MANY {
            self.turns(1);
            if self.done {
                break;
            }
        }
        assert!(
            self.done,
            "no success: {:?}",
            self.module.engine.engine.view()
        );
        self.turns(20);
    }

    fn turns(&mut self, turns: usize) {
        for _ in 0..turns {
            let up = std::mem::take(&mut self.module.sent);
            let down = std::mem::take(&mut self.world.sent);
            let quiet = up.is_empty() && down.is_empty() && self.world.calls.is_empty();
            up.into_iter().for_each(|(_, bytes)| self.up(&bytes));
            down.into_iter().for_each(|(_, bytes)| self.down(&bytes));
            self.calls();
            for event in std::mem::take(&mut self.module.engine.events) {
                self.event(event);
            }
            self.pass(if quiet { 1_000 } else { 20 });
        }
    }

    fn lost(&mut self) -> bool {
        self.sent += 1;
        self.loss != 0 && self.sent.is_multiple_of(self.loss)
    }

    fn up(&mut self, bytes: &[u8]) {
        if self.lost() {
            return;
        }
        self.wire.push((Way::Up, bytes.to_vec()));
        let request = Message::new_checked(bytes).is_ok_and(|its| its.code().is_request());
        let op = match request {
            true => center::DATAGRAM,
            false => center::ANSWER,
        };
        self.center.bytes(&[op, 0]).chunk(bytes);
        self.world.datagram(center::address(0), bytes);
    }

    fn down(&mut self, bytes: &[u8]) {
        if self.lost() {
            return;
        }
        self.wire.push((Way::Down, bytes.to_vec()));
        let request = Message::new_checked(bytes).is_ok_and(|its| its.code().is_request());
        match request {
            true => self.client.bytes(&[REQUEST]).chunk(bytes),
            false => self.client.bytes(&[client::ANSWER, 0]).chunk(bytes),
        };
        self.module.datagram(Peer::Server, bytes);
    }

    /// The service does what is asked and what follows from it.
    fn calls(&mut self) {
        while let Some((_, call)) = self.world.calls.front().cloned() {
            self.center.bytes(&[center::REPLY, 0]);
            self.world.reply(0);
            let Call::Told {
                reports, request, ..
            } = call
            else {
                continue;
            };
            if request.is_some() {
                self.command(0);
            }
            if reports.iter().any(|its| its.state == State::Confirmed) {
                self.command(1);
            }
        }
    }

    fn command(&mut self, what: u8) {
        self.center.bytes(&[center::COMMAND, 0, what]);
        self.world.command(0, what);
    }

    fn pass(&mut self, ms: u32) {
        self.client.bytes(&[PASS]).u32(ms);
        self.module.pass(ms.into());
        self.center.bytes(&[center::PASS]).u32(ms);
        self.world.pass(ms.into());
    }

    /// One operation of the host or the MCU.
    fn host(&mut self, operation: &[u8]) {
        self.client.bytes(&[HOST]).bytes(operation);
        engine::step(&mut self.module.engine, &mut Input(operation));
        self.module.settle();
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Plan(_) => self.host(&[11, 1]),
            Event::Downloaded(Some(piece)) => {
                let mut read = Script::default();
                read.bytes(&[12, 1]).u32(piece.start).u16(1_024).u16(1_024);
                self.host(&read.0);
                let last = piece.start + piece.piece_length == piece.length;
                self.host(&[11, if last { 3 } else { 2 }]);
            }
            Event::Updating => self.host(&[9, 0, 2]),
            Event::UpdateOk => self.done = true,
            Event::UpdateFail(reason) => panic!("the upgrade failed: {reason:?}"),
            _ => {}
        }
    }
}
