//! The Center's LwM2M endpoint under any datagrams, answers of the service, commands and time.
//!
//! Byte 0 is odd for a Center that does not know the module's Plan object and goes through the standard's door. Then
//! operations, one byte and what [`World::step`] takes. What must hold: what it sends is CoAP, an address
//! that is not known to be real gets at most three times what it sent (RFC 7252 section 11.3), it asks for no step in
//! vain, and registrations have an end.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use sota_center::commands::DeviceCommand;
use sota_center::device::border::{Call, CallId, Reply};
use sota_center::device::endpoint::{Config, Endpoint, Output};
use sota_center::device::shared::Shared;
use sota_center::domain::{self, ComponentKind, Registration};
use sota_coap::{Code, Kind, Message, option};
use sota_errors::CenterError;
use sota_lwm2m::objects::plan::{ComponentType, DownloadInfo, Offer};

use crate::checked::{info, package};
use crate::input::Input;

/// Length of the one package.
pub const LENGTH: usize = 5_000;
/// Operations per script.
const MOST: usize = 400;
/// Outputs at one moment: more is a loop.
const MANY: usize = 5_000;
/// Registrations at most.
const REGISTRATIONS: usize = 6;
/// How much more than it sent an address may get.
const AMPLIFICATION: usize = 3;

/// A datagram from the address that the next byte names.
pub const DATAGRAM: u8 = 0;
/// The same, with message id and token of the request that the address got last.
pub const ANSWER: u8 = 1;
/// Milliseconds.
pub const PASS: u8 = 2;
/// The oldest call is answered.
pub const REPLY: u8 = 3;
/// A command for the device that the next byte names.
pub const COMMAND: u8 = 4;

/// The endpoint and the parts of the Center around it.
pub struct World {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// Unix time in ms.
    pub now: u64,
    /// Calls that wait for their answer.
    pub calls: VecDeque<(CallId, Call)>,
    /// What it sent; taken by the caller.
    pub sent: Vec<(SocketAddr, Vec<u8>)>,
    registered: u32,
    last_request: BTreeMap<SocketAddr, Vec<u8>>,
    /// Bytes from and to addresses that have not shown to be real.
    traffic: BTreeMap<SocketAddr, (usize, usize)>,
    real: Vec<SocketAddr>,
}

/// The address that a byte names.
pub fn address(byte: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 7], 1000 + u16::from(byte & 3)))
}

/// The endpoint that a byte names.
pub fn device(byte: u8) -> domain::Endpoint {
    match byte & 1 {
        0 => domain::Endpoint::new("pk", "dk"),
        _ => domain::Endpoint::new("pk", "d2"),
    }
}

/// Runs one script.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let mut world = World::new(input.u8());
    for _ in 0..MOST {
        if input.is_empty() {
            break;
        }
        world.step(&mut input);
    }
    while !world.calls.is_empty() {
        world.reply(0);
    }
    // Ten days of silence: every lifetime is over.
    world.pass(11 * 86_400_000);
    assert_eq!(world.endpoint.registrations(), 0);
}

impl World {
    /// An endpoint without devices, as byte 0 of a script means.
    pub fn new(choice: u8) -> Self {
        let known = Config::default().plan_object;
        let config = Config {
            plan_object: known + u16::from(choice & 1),
            package_base: "coap://center:5683".into(),
            max_registrations: REGISTRATIONS,
            ..Config::default()
        };
        let shared = Shared::new(1 << 20, [9; 32]);
        World {
            endpoint: Endpoint::new(config, shared, [4; 32]),
            now: 1_000_000,
            calls: VecDeque::new(),
            sent: Vec::new(),
            registered: 0,
            last_request: BTreeMap::new(),
            traffic: BTreeMap::new(),
            real: Vec::new(),
        }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.u8() % 5 {
            DATAGRAM => {
                let from = address(input.u8());
                let bytes = input.chunk();
                self.datagram(from, bytes);
            }
            ANSWER => {
                let from = address(input.u8());
                let mut bytes = input.chunk().to_vec();
                if let Some(request) = self.last_request.get(&from) {
                    crate::client::answer_of(&mut bytes, request);
                }
                self.datagram(from, &bytes);
            }
            PASS => self.pass(u64::from(input.u32() % 4_000_000)),
            REPLY => self.reply(input.u8()),
            _ => {
                let (whom, what) = (input.u8(), input.u8());
                self.command(whom, what);
            }
        }
        self.sent.clear();
        assert!(self.endpoint.registrations() <= REGISTRATIONS);
    }

    /// A datagram came.
    pub fn datagram(&mut self, from: SocketAddr, bytes: &[u8]) {
        self.traffic.entry(from).or_default().0 += bytes.len();
        let echo = |message: Message<'_>| message.option(option::ECHO).is_some();
        // An address that repeats a challenge, or uses the id it was given, is real.
        if Message::new_checked(bytes).is_ok_and(echo) {
            self.real.push(from);
        }
        self.endpoint.datagram(self.now, from, bytes);
        self.drain();
    }

    /// Time goes on, timer by timer.
    pub fn pass(&mut self, ms: u64) {
        let end = self.now + ms;
        let mut turns = 0;
        while let Some(at) = self.endpoint.next_deadline().filter(|at| *at <= end) {
            turns = if at > self.now { 0 } else { turns + 1 };
            assert!(turns < MANY, "steps are wanted for ever");
            self.now = self.now.max(at);
            self.endpoint.tick(self.now);
            self.drain();
        }
        self.now = end;
        self.endpoint.tick(self.now);
        self.drain();
    }

    /// Answers the oldest call: 0 well, else with a fault.
    pub fn reply(&mut self, choice: u8) {
        let Some((id, call)) = self.calls.pop_front() else {
            return;
        };
        let reply = match choice & 7 {
            0 => self.good(call),
            1 => Reply::Failed(CenterError::UnknownRegistration),
            2 => Reply::Failed(CenterError::UnknownProductKey),
            3 => Reply::Done,
            4 => Reply::Chunk {
                length: u64::from(choice) * 100,
                data: vec![choice; usize::from(choice)].into(),
            },
            _ => {
                let registration = self.registration("192.0.2.9:9".into(), "</9/0>".into());
                Reply::Registered(device(choice >> 4), registration)
            }
        };
        self.endpoint.reply(self.now, id, reply);
        self.drain();
    }

    fn good(&mut self, call: Call) -> Reply {
        match call {
            Call::Register(register) => {
                let registration = self.registration(register.address, register.objects);
                Reply::Registered(register.endpoint, registration)
            }
            Call::Update { update, known, .. }
                if known && update.objects.is_none() && update.address.is_none() =>
            {
                Reply::Done
            }
            Call::Update { id, update, .. } => {
                let objects = update.objects.unwrap_or_default();
                let address = update.address.unwrap_or_default();
                let mut registration = self.registration(address, objects);
                registration.id = id;
                Reply::Registered(device(0), registration)
            }
            Call::Load { chunk, .. } => {
                let bytes = package(LENGTH);
                let from = (chunk as usize).saturating_mul(64 * 1024).min(bytes.len());
                Reply::Chunk {
                    length: bytes.len() as u64,
                    data: bytes[from..].to_vec().into(),
                }
            }
            Call::Deregister { .. }
            | Call::Told { .. }
            | Call::CancelAnswered { .. }
            | Call::Refused { .. }
            | Call::Busy { .. } => Reply::Done,
        }
    }

    fn registration(&mut self, address: String, objects: String) -> Registration {
        if let Ok(address) = address.parse() {
            self.real.push(address);
        }
        self.registered += 1;
        Registration {
            id: format!("id{}", self.registered),
            address,
            lifetime_s: 300,
            binding: "U".into(),
            lwm2m: "1.1".into(),
            objects,
            registered_at: self.now as i64,
            expires_at: (self.now + 300_000) as i64,
        }
    }

    /// A command for a device.
    pub fn command(&mut self, whom: u8, what: u8) {
        let endpoint = device(whom);
        let bytes = package(LENGTH);
        let mut info: DownloadInfo = info("plan", bytes);
        info.uri.clear();
        let sha256 = info.sha256.expect("all digests");
        let kind = match what & 8 {
            0 => ComponentKind::Mcu,
            _ => ComponentKind::Firmware,
        };
        let (component, offer) = ("A".to_owned(), "plan".to_owned());
        let command = match what % 7 {
            0 => DeviceCommand::Offer {
                endpoint,
                offer: Offer {
                    plan: "plan".try_into().expect("short"),
                    component: "A".try_into().expect("short"),
                    kind: match kind {
                        ComponentKind::Mcu => ComponentType::Mcu,
                        ComponentKind::Firmware => ComponentType::Firmware,
                    },
                    source: "1_0".try_into().expect("short"),
                    target: "2_0".try_into().expect("short"),
                    battery_limit_percent: 30,
                    min_signal_dbm: -113,
                    use_space: LENGTH as u32,
                    components: what >> 4 & 3,
                },
                info,
                sha256,
            },
            1 => DeviceCommand::Download {
                endpoint,
                component,
                kind,
                info,
                sha256,
            },
            2 => DeviceCommand::Cancel {
                endpoint,
                component,
                kind,
                offer,
            },
            3 => DeviceCommand::Resume {
                endpoint,
                component,
                kind,
                offer,
                target: "2_0".into(),
                updating: what & 16 != 0,
            },
            4 => DeviceCommand::Disabled { endpoint },
            5 => DeviceCommand::Enabled { endpoint },
            _ => DeviceCommand::ReadVersions { endpoint },
        };
        self.endpoint.command(self.now, command);
        self.drain();
    }

    fn drain(&mut self) {
        for _ in 0..MANY {
            match self.endpoint.poll() {
                None => return,
                Some(Output::Call(id, call)) => self.calls.push_back((id, call)),
                Some(Output::Send(datagram)) => self.check(datagram.peer, datagram.bytes),
            }
        }
        panic!("it sends for ever");
    }

    fn check(&mut self, peer: SocketAddr, bytes: Vec<u8>) {
        let message = Message::new_checked(&bytes).expect("the Center sends CoAP");
        let (received, sent) = self.traffic.entry(peer).or_default();
        *sent += bytes.len();
        if !self.real.contains(&peer) {
            assert!(
                *sent <= AMPLIFICATION * *received,
                "{sent} bytes to an address that sent {received}"
            );
        }
        if message.kind() == Kind::Con && message.code() != Code::EMPTY {
            self.last_request.insert(peer, bytes.clone());
        }
        self.sent.push((peer, bytes));
    }
}
