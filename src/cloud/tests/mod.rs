//! Whole conversations with a scripted server.

extern crate std;

mod doors;
mod fetch;
mod link;
mod results;

use std::boxed::Box;
use std::vec::Vec;

use sota_coap::{Builder, Code, Kind, Message, Token, option};
use sota_lwm2m::objects::plan::DEFAULT_OBJECT_ID;
use sota_lwm2m::{ContentFormat, Encoder, Path, Records, Value};

use super::{Cloud, Config, OVERHEAD, Peer};
use crate::message::{ComponentView, ToCloud, ToEngine, View};

const BLOCK: usize = 64;
const PLAN: u16 = DEFAULT_OBJECT_ID;

/// The port and the network: time only goes on when a test says so.
struct World {
    cloud: Box<Cloud<BLOCK>>,
    now: u64,
    random: u32,
    /// The engine's mailbox has room.
    room: bool,
    /// What the module sent.
    sent: Vec<(Peer, Vec<u8>)>,
    /// What the engine got.
    engine: Vec<ToEngine<BLOCK>>,
    lookups: usize,
    server_mid: u16,
}

fn config() -> Config {
    Config {
        host: "center".try_into().unwrap(),
        endpoint: "pk:dk".try_into().unwrap(),
        ..Config::default()
    }
}

fn view() -> View {
    let component = |name: &str, version: &str| ComponentView {
        name: name.try_into().unwrap(),
        version: version.try_into().unwrap(),
        last: None,
    };
    View {
        components: [component("module", "M1"), component("STM32", "1_0_0")]
            .into_iter()
            .collect(),
        ..View::default()
    }
}

impl World {
    fn new(config: Config) -> Self {
        let mut world = World {
            cloud: Box::new(Cloud::new(config, 7)),
            now: 1_000,
            random: 1,
            room: true,
            sent: Vec::new(),
            engine: Vec::new(),
            lookups: 0,
            server_mid: 0x8000,
        };
        world.tell(ToCloud::View(view()));
        world.tell(ToCloud::Connect(true));
        world
    }

    /// Registered and with the first report of the versions acknowledged.
    fn registered(config: Config) -> Self {
        let mut world = World::new(config);
        let register = world.next();
        world.answer(&register, Code::CREATED, |b| {
            b.option(option::LOCATION_PATH, b"rd")
                .option(option::LOCATION_PATH, b"7");
        });
        let versions = world.next();
        assert!(message(&versions).path_is("/dp"));
        world.answer(&versions, Code::CHANGED, |_| {});
        world.engine.clear();
        world
    }

    fn tell(&mut self, mut message: ToCloud) {
        assert!(self.cloud.on_engine(self.now, &mut message));
        self.step();
    }

    fn step(&mut self) {
        self.random = self
            .random
            .wrapping_mul(1_664_525)
            .wrapping_add(1_013_904_223);
        self.cloud.poll(self.now, self.random, self.room);
        while let Some(message) = self.cloud.next_to_engine() {
            self.engine.push(message);
        }
        while let Some(lookup) = self.cloud.next_lookup() {
            let peer = lookup.peer;
            self.lookups += 1;
            self.cloud.on_resolved(self.now, peer, true);
            self.cloud.poll(self.now, self.random, self.room);
        }
        self.drain();
        self.cloud.poll(self.now, self.random, self.room);
        self.drain();
    }

    fn drain(&mut self) {
        let mut out = [0; BLOCK + OVERHEAD];
        while let Some((peer, len)) = self.cloud.next_datagram(&mut out) {
            self.sent.push((peer, out[..len].to_vec()));
        }
    }

    /// Time goes on to the machine's deadline.
    fn wait(&mut self) {
        let deadline = self.cloud.deadline().expect("something is due");
        self.now = self.now.max(deadline);
        self.step();
    }

    fn pass(&mut self, ms: u64) {
        let end = self.now + ms;
        while self.cloud.deadline().is_some_and(|at| at <= end) {
            let at = self.now.max(self.cloud.deadline().unwrap());
            self.now = at.max(self.now + 1).min(end);
            self.step();
            if self.now == end {
                break;
            }
        }
        self.now = end;
        self.step();
    }

    /// The next datagram the module sends; waits for it.
    fn next(&mut self) -> Vec<u8> {
        for _ in 0..100 {
            if !self.sent.is_empty() {
                return self.sent.remove(0).1;
            }
            self.wait();
        }
        panic!("the module says nothing");
    }

    fn give(&mut self, peer: Peer, bytes: &[u8]) {
        self.cloud.on_datagram(self.now, peer, bytes);
        self.step();
    }

    fn answer(&mut self, request: &[u8], code: Code, options: impl Fn(&mut Builder<'_>)) {
        self.answer_from(Peer::Server, request, code, options);
    }

    fn answer_from(
        &mut self,
        peer: Peer,
        request: &[u8],
        code: Code,
        options: impl Fn(&mut Builder<'_>),
    ) {
        let mut out = [0; 1500];
        let mut builder = Builder::response(&mut out, &message(request), code, 0);
        options(&mut builder);
        let len = builder.finish().unwrap();
        self.now += 50;
        self.give(peer, &out[..len]);
    }

    fn request(&mut self, code: Code, path: &str, options: impl Fn(&mut Builder<'_>)) -> Vec<u8> {
        self.server_mid += 1;
        let token = Token::from_u32(self.server_mid.into());
        let mut out = [0; 1500];
        let mut builder = Builder::new(&mut out, Kind::Con, code, self.server_mid, token);
        builder.path(path);
        options(&mut builder);
        let len = builder.finish().unwrap();
        out[..len].to_vec()
    }

    /// A request of the server and the module's answer to it.
    fn ask(&mut self, code: Code, path: &str, options: impl Fn(&mut Builder<'_>)) -> Vec<u8> {
        let request = self.request(code, path, options);
        self.give(Peer::Server, &request);
        self.sent.remove(0).1
    }

    fn read(&mut self, path: &str) -> std::string::String {
        let answer = self.ask(Code::GET, path, |_| {});
        assert_eq!(message(&answer).code(), Code::CONTENT, "{path}");
        std::string::String::from_utf8(message(&answer).payload().to_vec()).unwrap()
    }

    fn verdict(&mut self, ticket: u8, result: Result<(), crate::message::Reason>) {
        self.tell(ToCloud::Verdict { ticket, result });
    }
}

fn message(bytes: &[u8]) -> Message<'_> {
    Message::new_checked(bytes).expect("the module sends CoAP")
}

/// The resource numbers and values of a Send.
fn records(bytes: &[u8]) -> Vec<(Path, std::string::String)> {
    let payload = message(bytes).payload();
    Records::new(ContentFormat::SenmlCbor, Path::ROOT, payload)
        .unwrap()
        .map(|record| {
            let (path, value) = record.unwrap();
            let text = match (value.as_str(), value.as_i64()) {
                (Some(text), _) => text.into(),
                (_, number) => std::format!("{}", number.unwrap()),
            };
            (path, text)
        })
        .collect()
}

fn value_of(bytes: &[u8], id: u16) -> Option<std::string::String> {
    let mut list = records(bytes).into_iter();
    list.find_map(|(path, text)| (path.resource_id() == Some(id)).then_some(text))
}

/// A payload for a Write of one instance.
fn payload(path: Path, format: ContentFormat, values: &[(u16, Value<'_>)]) -> Vec<u8> {
    let mut out = [0; 1024];
    let mut encoder = Encoder::begin(format, path, &mut out).unwrap();
    for (id, value) in values {
        encoder.value(path.child(*id).unwrap(), *value).unwrap();
    }
    let len = encoder.finish().unwrap();
    out[..len].to_vec()
}

#[test]
fn fits_the_module() {
    let size = size_of::<Cloud<512>>();
    std::println!("Cloud<512> is {size} bytes");
    assert!(size <= 4096, "{size}");
}
