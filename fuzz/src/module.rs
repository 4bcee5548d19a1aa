//! The module without its UART: the cloud machine and the engine, joined as the port joins them.

use sota::cloud::{Cloud, Config, OVERHEAD, Peer};
use sota::message::{Millis, ToCloud};
use sota_coap::{Kind, Message};

use crate::checked::{BLOCK, Checked};
use crate::flash::Parts;

/// Steps at one moment: more is a loop.
const MANY: usize = 2_000;

/// Cloud and engine.
pub struct Module {
    /// The cloud machine.
    pub cloud: Box<Cloud<BLOCK>>,
    /// The engine.
    pub engine: Checked,
    /// What it sent, oldest first; taken by the caller.
    pub sent: Vec<(Peer, Vec<u8>)>,
    /// Names are found.
    pub names: bool,
    /// What cloud gave back.
    held: Option<ToCloud>,
    random: u32,
}

impl Module {
    /// A module that is switched on.
    pub fn new(cloud: Config, engine: sota::engine::Config) -> Self {
        let mut module = Module {
            cloud: Box::new(Cloud::new(cloud, 7)),
            engine: Checked::start(engine, Parts::used()),
            sent: Vec::new(),
            names: true,
            held: None,
            random: 1,
        };
        module.settle();
        module
    }

    /// A datagram came.
    pub fn datagram(&mut self, peer: Peer, bytes: &[u8]) {
        self.cloud.on_datagram(self.engine.now, peer, bytes);
        self.settle();
    }

    /// Everything that is to be done now.
    pub fn settle(&mut self) {
        for _ in 0..MANY {
            self.step();
            let now = self.engine.now;
            let due = |at: Option<Millis>| at.is_some_and(|at| at <= now);
            if !due(self.engine.engine.deadline())
                && !due(self.cloud.deadline())
                && !self.cloud.has_to_engine()
                && self.engine.to_cloud.is_empty()
            {
                return;
            }
        }
        panic!(
            "steps are wanted for ever: cloud {:?}, engine {:?}",
            self.cloud.deadline(),
            self.engine.engine.deadline()
        );
    }

    fn step(&mut self) {
        let now = self.engine.now;
        self.engine.poll();
        for mut message in self
            .held
            .take()
            .into_iter()
            .chain(std::mem::take(&mut self.engine.to_cloud))
        {
            if !self.cloud.on_engine(now, &mut message) {
                // Reports that wait while the server is away; a port would leave them in the mailbox.
                self.held = Some(message);
            }
        }
        self.random = self
            .random
            .wrapping_mul(1_664_525)
            .wrapping_add(1_013_904_223);
        let room = self.engine.engine.can_take_block();
        self.cloud.poll(now, self.random, room);
        while let Some(message) = self.cloud.next_to_engine() {
            self.engine.tell(message);
        }
        while let Some(lookup) = self.cloud.next_lookup() {
            let peer = lookup.peer;
            self.cloud.on_resolved(now, peer, self.names);
        }
        let mut out = [0; BLOCK + OVERHEAD];
        let mut datagrams = 0;
        while let Some((peer, len)) = self.cloud.next_datagram(&mut out) {
            let message = Message::new_checked(&out[..len]).expect("the module sends CoAP");
            assert!(message.kind() != Kind::Rst || message.code().is_empty());
            self.sent.push((peer, out[..len].to_vec()));
            datagrams += 1;
            assert!(datagrams < MANY, "it sends for ever");
        }
    }

    /// Time goes on, timer by timer.
    pub fn pass(&mut self, ms: Millis) {
        let end = self.engine.now + ms;
        self.settle();
        loop {
            let next = [self.engine.engine.deadline(), self.cloud.deadline()]
                .into_iter()
                .flatten()
                .min();
            let Some(at) = next.filter(|at| *at <= end) else {
                break;
            };
            self.engine.now = self.engine.now.max(at);
            self.settle();
        }
        self.engine.now = end;
        self.settle();
    }

    /// Power goes and comes back; cloud starts anew.
    pub fn restart(&mut self, cloud: Config) {
        self.engine.restart();
        *self.cloud = Cloud::new(cloud, self.random);
        self.held = None;
        self.settle();
    }
}
