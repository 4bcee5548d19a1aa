//! The module (cloud machine and engine) under any datagrams, commands of its host, and time.
//!
//! Byte 0 is the configuration. Then operations, one byte and what [`step`] takes. What must hold: every datagram it
//! sends is CoAP, it asks for no step in vain, a request gets at most one answer and that with its token, and a block goes to the
//! engine only where it belongs ([`crate::checked`] compares the digests).

use sota::cloud::{Config, Link, Peer};
use sota::message::Command;
use sota_coap::{Kind, Message};

use crate::engine;
use crate::input::Input;
use crate::module::Module;

/// Operations per script; a whole upgrade takes about 150.
const MOST: usize = 400;

/// A datagram as it is; bit 7 of the byte after it: from the package's host.
pub const DATAGRAM: u8 = 0;
/// An answer to the module's last request: message id and token are put in.
pub const ANSWER: u8 = 1;
/// A request of the server: it gets a message id of its own.
pub const REQUEST: u8 = 2;
/// Milliseconds.
pub const PASS: u8 = 3;
/// An operation of [`engine::step`].
pub const HOST: u8 = 4;
/// Registered or not; names are found or not.
pub const CONNECT: u8 = 5;

/// What the recorded module is made with; byte 0 of a recorded script is 0.
pub fn config(choice: u8) -> Config {
    Config {
        host: "center".try_into().expect("short"),
        endpoint: "pk:dk".try_into().expect("short"),
        lifetime_s: 300,
        queue_mode: choice & 0x20 != 0,
        link: match choice & 0x40 {
            0 => Link::Rfc7252,
            _ => Link::NbIot,
        },
        advanced_firmware_update: choice & 0x80 != 0,
        ..Config::default()
    }
}

/// The module that byte 0 of a script means.
pub fn module(choice: u8) -> Module {
    Module::new(config(choice), engine::config(choice & 0x1f))
}

/// Runs one script.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let choice = input.u8();
    let mut world = World {
        module: module(choice),
        config: config(choice),
        asked: Vec::new(),
        message_id: 0x4000,
    };
    for _ in 0..MOST {
        if input.is_empty() {
            break;
        }
        step(&mut world, &mut input);
        world.take();
    }
    // Left alone for ten minutes it still asks for no step in vain.
    world.module.pass(600_000);
}

struct World {
    module: Module,
    config: Config,
    /// The module's last requests: to whom, and the bytes.
    asked: Vec<(Peer, Vec<u8>)>,
    message_id: u16,
}

impl World {
    fn take(&mut self) {
        for (peer, bytes) in self.module.sent.drain(..) {
            let message = Message::new_checked(&bytes).expect("checked before");
            if message.kind() == Kind::Con && !message.code().is_empty() {
                self.asked.push((peer, bytes));
            }
        }
        let old = self.asked.len().saturating_sub(4);
        self.asked.drain(..old);
    }
}

fn step(world: &mut World, input: &mut Input<'_>) {
    match input.u8() % 6 {
        DATAGRAM => {
            let peer = peer(input.u8());
            let bytes = input.chunk();
            world.module.datagram(peer, bytes);
        }
        ANSWER => {
            let which = input.u8();
            let mut bytes = input.chunk().to_vec();
            // A byte that counts back from the newest.
            let back = usize::from(which & 3).min(world.asked.len().saturating_sub(1));
            let Some(at) = world.asked.len().checked_sub(1 + back) else {
                return;
            };
            let (peer, request) = world.asked[at].clone();
            answer_of(&mut bytes, &request);
            world.module.datagram(peer, &bytes);
        }
        REQUEST => {
            let mut bytes = input.chunk().to_vec();
            world.message_id += 1;
            if let Some(place) = bytes.get_mut(2..4) {
                place.copy_from_slice(&world.message_id.to_be_bytes());
            }
            let request = bytes.clone();
            world.take();
            world.module.datagram(Peer::Server, &bytes);
            answered(&world.module, &request);
        }
        PASS => world.module.pass(u64::from(input.u32() % 400_000)),
        HOST => {
            engine::step(&mut world.module.engine, input);
            world.module.settle();
        }
        _ => {
            let choice = input.u8();
            world.module.names = choice & 2 == 0;
            let connect = Command::Connect(choice & 1 != 0);
            world.module.engine.ask(connect, &mut []);
            world.module.settle();
            if choice & 0xF0 == 0xF0 {
                let config = world.config.clone();
                world.module.restart(config);
            }
        }
    }
}

fn peer(byte: u8) -> Peer {
    match byte & 0x80 {
        0 => Peer::Server,
        _ => Peer::Source,
    }
}

/// Puts the message id and the token of the request into what answers it. A response in a CON or NON keeps its own
/// message id.
pub fn answer_of(bytes: &mut Vec<u8>, request: &[u8]) {
    let [first, ..] = bytes[..] else { return };
    let old = 4 + usize::from(first & 15).min(8);
    if bytes.len() < old {
        return;
    }
    let token = usize::from(request[0] & 15);
    bytes.splice(4..old, request[4..4 + token].iter().copied());
    bytes[0] = first & 0xF0 | token as u8;
    if first & 0x20 != 0 {
        bytes[2..4].copy_from_slice(&request[2..4]);
    }
    if bytes[1] == 0 {
        bytes[0] &= 0xF0;
        bytes.truncate(4);
    }
}

/// A new confirmable request is answered at once or acknowledged, once; or it waits for the engine's verdict.
fn answered(module: &Module, request: &[u8]) {
    let Ok(request) = Message::new_checked(request) else {
        return;
    };
    if request.kind() != Kind::Con || !request.code().is_request() {
        return;
    }
    let answers = module
        .sent
        .iter()
        .filter_map(|(_, bytes)| Message::new_checked(bytes).ok())
        .filter(|its| {
            matches!(its.kind(), Kind::Ack | Kind::Rst) && its.message_id() == request.message_id()
        });
    let mut count = 0;
    for answer in answers {
        count += 1;
        assert!(answer.code().is_empty() || answer.token() == request.token());
    }
    assert!(count <= 1, "one answer to one request");
}
