//! The LwM2M server as a machine: datagrams, replies, commands and the time come in, datagrams and calls come out.
//!
//! It holds no socket, no clock and no random source (the seed is given), so the simulator drives it as the Center
//! does. Time is ms since 1970 and must not go back.
//!
//! | request | answered | after |
//! |---|---|---|
//! | `POST /rd?ep=…` | 2.01 with Location-Path `rd/<id>`; 4.00 bad name, 4.03 unknown product, 5.03 too many | the registration is durable |
//! | `POST /rd/<id>` | 2.04; 4.04 unknown | the store knows it |
//! | `DELETE /rd/<id>` | 2.02; 4.04 | it is durable |
//! | `POST /dp` | 2.04; 4.04 not registered, 4.00, 4.15 | what was told is durable |
//! | `GET /p/<SHA-256>` | see [`super::blocks`] | |
//! | anything else | 4.04, 4.05 | |
//!
//! A request that is repeated while the first is being worked on is dropped: its answer is on the way. Afterwards it is
//! worked on again, which every handler here allows, so no answers are kept.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

use sha2::{Digest as _, Sha256};
use sota_coap::{
    Builder, Code, Exchange, Kind, Message, Params, Poll, Reaction, Token, message, option,
};
use sota_errors::CenterError;
use sota_lwm2m::{ContentFormat, Path, Records};

use super::addresses::AMPLIFICATION;
use super::blocks::{self, Served};
use super::border::{Call, CallId, Reply};
use super::outgoing::{Outgoing, Purpose};
use super::packages::PackageId;
use super::peers::{Door, InFlight, Peer, PeerId, Peers, PlanClient, Timer};
use super::plan_door;
use super::shared::Shared;
use super::socket::{Datagram, MAX_DATAGRAM};
use super::standard_door::{Standard, Step};
use crate::commands::DeviceCommand;
use crate::domain::{self, ComponentKind, Registration};
use crate::service::{Register, RegistrationUpdate};

/// What can be chosen about the endpoint.
#[derive(Clone, Debug)]
pub struct Config {
    /// Object id of the Plan object.
    pub plan_object: u16,
    /// `coap://host:port` under which devices reach the packages.
    pub package_base: String,
    /// Registrations kept at most.
    pub max_registrations: usize,
    /// After its last message a device in queue mode is reachable for this long, in ms.
    pub queue_window_ms: u64,
    /// A client without Plan object is asked for its state this often while it upgrades, in ms.
    pub poll_ms: u64,
    /// Retransmission.
    pub params: Params,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            plan_object: sota_lwm2m::objects::plan::DEFAULT_OBJECT_ID,
            package_base: "coap://127.0.0.1:5683".into(),
            max_registrations: 1_000_000,
            queue_window_ms: 93_000,
            poll_ms: 5_000,
            params: Params::RFC7252,
        }
    }
}

/// Requests and chunks being worked on at most; more are answered 5.03 or dropped.
const MAX_PENDING: usize = 4096;
/// Requests that wait for one peer at most.
const MAX_TODO: usize = 64;
/// Commands kept for devices whose registration is being stored.
const MAX_EARLY: usize = 1024;

/// What the endpoint wants done.
#[derive(Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)]
pub enum Output {
    /// Send it.
    Send(Datagram),
    /// Do it and [`Endpoint::reply`].
    Call(CallId, Call),
}

/// Where an answer goes.
#[derive(Clone, Debug)]
struct Asker {
    address: SocketAddr,
    kind: Kind,
    message_id: u16,
    token: Token,
    len: usize,
}

/// What a call was made for.
#[derive(Debug)]
enum Pending {
    Register(Asker, SocketAddr),
    Update(Asker),
    Deregister(Asker),
    Told(Asker),
    Load(PackageId, u64),
    /// Nobody waits.
    Quiet,
}

/// The LwM2M server.
#[derive(Debug)]
pub struct Endpoint {
    config: Config,
    shared: Shared,
    peers: Peers,
    pending: HashMap<CallId, Pending>,
    /// Requests being worked on, by sender and message id.
    working: HashMap<(SocketAddr, u16), CallId>,
    /// Requests that wait for a chunk.
    loading: HashMap<(PackageId, u64), Vec<Datagram>>,
    /// Commands for devices that are not in the table yet.
    early: Vec<DeviceCommand>,
    /// Registrations and updates being stored.
    arriving: usize,
    out: VecDeque<Output>,
    next_call: CallId,
    message_id: u16,
    seed: [u8; 32],
    drawn: u64,
}

impl Endpoint {
    /// `seed` must be unpredictable: tokens come from it.
    pub fn new(config: Config, shared: Shared, seed: [u8; 32]) -> Endpoint {
        let mut endpoint = Endpoint {
            config,
            shared,
            peers: Peers::default(),
            pending: HashMap::new(),
            working: HashMap::new(),
            loading: HashMap::new(),
            early: Vec::new(),
            arriving: 0,
            out: VecDeque::new(),
            next_call: 0,
            message_id: 0,
            seed,
            drawn: 0,
        };
        endpoint.message_id = endpoint.random() as u16;
        endpoint
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When [`Endpoint::tick`] must be called.
    pub fn next_deadline(&self) -> Option<u64> {
        self.peers.next_deadline()
    }

    /// Registered devices in memory.
    pub fn registrations(&self) -> usize {
        self.peers.len()
    }

    /// Does what is due.
    pub fn tick(&mut self, now: u64) {
        while let Some((id, timer)) = self.peers.due(now) {
            match timer {
                Timer::Expiry => self.forget(id),
                Timer::Exchange => self.exchange_due(id, now),
                Timer::Poll => self.ask_state(id, now),
            }
        }
    }

    /// A datagram came.
    pub fn datagram(&mut self, now: u64, peer: SocketAddr, bytes: &[u8]) {
        let message = match Message::new_checked(bytes) {
            Ok(message) => message,
            Err(error) => {
                let text = format!("{peer}: {error}");
                self.shared
                    .lock()
                    .trouble(CenterError::MalformedDatagram, now, text);
                if let Some(reset) = message::reset_for(bytes) {
                    self.send(peer, reset.to_vec());
                }
                return;
            }
        };
        let known = self.peers.by_address(&peer);
        if let Some(at) = known.and_then(|id| self.peers.get_mut(id)) {
            at.heard = now;
            at.silent = false;
            at.credit = at.credit.saturating_add(AMPLIFICATION * bytes.len());
        }
        match message.kind() {
            Kind::Con | Kind::Non if message.code().is_request() => {
                self.request(now, peer, &message, bytes);
            }
            Kind::Con if message.code().is_empty() => {
                self.send(peer, message::reset(message.message_id()).to_vec());
            }
            _ => self.response(now, peer, known, &message),
        }
        if let Some(id) = known {
            self.pump(id, now);
        }
    }

    /// The answer to a call.
    pub fn reply(&mut self, now: u64, call: CallId, reply: Reply) {
        let Some(pending) = self.pending.remove(&call) else {
            return;
        };
        let arrival = matches!(pending, Pending::Register(..) | Pending::Update(_));
        match pending {
            Pending::Register(asker, address) => self.registered(now, &asker, address, reply),
            Pending::Update(asker) => match reply {
                Reply::Registered(endpoint, registration) => {
                    let address = asker.address;
                    let id = self.adopt(now, endpoint.clone(), registration, address);
                    // The id in the request was ours and nobody can guess it.
                    self.verified(id);
                    self.answer(&asker, Code::CHANGED, &[]);
                    self.early_commands(now, &endpoint);
                    self.pump(id, now);
                }
                Reply::Failed(CenterError::UnknownRegistration) => {
                    self.answer(&asker, Code::NOT_FOUND, &[]);
                }
                _ => self.answer(&asker, Code::INTERNAL_SERVER_ERROR, &[]),
            },
            Pending::Deregister(asker) => {
                let code = match reply {
                    Reply::Done => Code::DELETED,
                    Reply::Failed(CenterError::UnknownRegistration) => Code::NOT_FOUND,
                    _ => Code::INTERNAL_SERVER_ERROR,
                };
                self.answer(&asker, code, &[]);
            }
            Pending::Told(asker) => {
                let code = match reply {
                    Reply::Failed(_) => Code::INTERNAL_SERVER_ERROR,
                    _ => Code::CHANGED,
                };
                self.answer(&asker, code, &[]);
                if let Some(id) = self.peers.by_address(&asker.address) {
                    self.pump(id, now);
                }
            }
            Pending::Load(package, chunk) => self.loaded(now, package, chunk, reply),
            Pending::Quiet => {}
        }
        self.arriving -= usize::from(arrival);
        if self.arriving == 0 {
            self.early.clear();
        }
    }

    fn early_commands(&mut self, now: u64, endpoint: &domain::Endpoint) {
        let is_its = |command: &mut DeviceCommand| command.endpoint() == endpoint;
        let ready: Vec<DeviceCommand> = self.early.extract_if(.., is_its).collect();
        for command in ready {
            self.command(now, command);
        }
    }

    /// The rules want a device to be told something. A device that is not here is told at its next contact.
    pub fn command(&mut self, now: u64, command: DeviceCommand) {
        let Some(id) = self.peers.by_endpoint(command.endpoint()) else {
            // It may be about a registration whose reply comes next; else the device is away.
            if self.arriving > 0 && self.early.len() < MAX_EARLY {
                self.early.push(command);
            }
            return;
        };
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        match &mut peer.door {
            Door::Plan(client) => {
                let todo = plan_requests(&self.config, client, peer.format, command);
                self.enqueue(id, todo);
            }
            Door::Standard(standard) => {
                let endpoint = peer.endpoint.clone();
                let step = match command {
                    DeviceCommand::Offer { offer, .. } => standard.offer(&offer),
                    DeviceCommand::Download {
                        component,
                        kind,
                        mut info,
                        sha256,
                        ..
                    } => {
                        set_uri(&self.config, &mut info, &sha256);
                        standard.download(&component, kind, &info)
                    }
                    DeviceCommand::Cancel { offer, .. } => {
                        let result = standard.cancel(&offer);
                        let taken = result.is_some();
                        self.call(
                            Pending::Quiet,
                            Call::CancelAnswered {
                                endpoint,
                                offer,
                                taken,
                            },
                        );
                        result.unwrap_or_default()
                    }
                    DeviceCommand::ReadVersions { .. } => Step {
                        send: standard.read_versions(),
                        ..Step::default()
                    },
                };
                self.step(id, now, step);
            }
        }
        self.pump(id, now);
    }

    fn request(&mut self, now: u64, peer: SocketAddr, message: &Message<'_>, bytes: &[u8]) {
        if self.working.contains_key(&(peer, message.message_id())) {
            return;
        }
        let asker = Asker {
            address: peer,
            kind: message.kind(),
            message_id: message.message_id(),
            token: message.token(),
            len: bytes.len(),
        };
        if self.block(now, peer, bytes, &asker) {
            return;
        }
        const KNOWN: &[u16] = &[
            option::URI_HOST,
            option::URI_PORT,
            option::URI_PATH,
            option::URI_QUERY,
            option::ACCEPT,
        ];
        if let Some(number) = message.first_unknown_critical(KNOWN) {
            if number == option::BLOCK1 {
                // What a device tells fits one datagram; a smaller block would not help it.
                return self.answer(&asker, Code::REQUEST_ENTITY_TOO_LARGE, &[]);
            }
            self.complain(now, peer, format_args!("critical option {number}"));
            return self.answer(&asker, Code::BAD_OPTION, &[]);
        }
        let mut path = message.path();
        let segments = (path.next(), path.next(), path.next());
        match (segments, message.code()) {
            ((Some(b"rd"), None, None), Code::POST) => self.register(now, asker, message),
            ((Some(b"rd"), Some(id), None), Code::POST | Code::PUT) => {
                self.update(now, asker, message, id);
            }
            ((Some(b"rd"), Some(id), None), Code::DELETE) => self.deregister(asker, id),
            ((Some(b"dp"), None, None), Code::POST) => self.send_of_device(now, asker, message),
            ((Some(b"rd"), _, None) | (Some(b"dp"), None, None), _) => {
                self.answer(&asker, Code::METHOD_NOT_ALLOWED, &[]);
            }
            _ => self.answer(&asker, Code::NOT_FOUND, &[]),
        }
    }

    /// Whether it was a request for a package.
    fn block(&mut self, now: u64, peer: SocketAddr, bytes: &[u8], asker: &Asker) -> bool {
        let mid = self.next_message_id();
        let mut out = [0; MAX_DATAGRAM];
        let served = {
            let mut state = self.shared.lock();
            let state = &mut *state;
            let (packages, addresses) = (&mut state.packages, &mut state.addresses);
            blocks::serve(packages, addresses, now, mid, &peer, bytes, &mut out)
        };
        match served {
            Served::NotMine => false,
            Served::Answer(n) => {
                self.send(peer, out[..n].to_vec());
                true
            }
            Served::Missing(package, chunk) => {
                let waiting: usize = self.loading.values().map(Vec::len).sum();
                if waiting >= MAX_PENDING {
                    self.answer(asker, Code::SERVICE_UNAVAILABLE, &[]);
                    return true;
                }
                let datagram = Datagram {
                    peer,
                    bytes: bytes.to_vec(),
                };
                let list = self.loading.entry((package, chunk)).or_default();
                list.push(datagram);
                if list.len() == 1 {
                    self.call(Pending::Load(package, chunk), Call::Load { package, chunk });
                }
                true
            }
        }
    }

    fn loaded(&mut self, now: u64, package: PackageId, chunk: u64, reply: Reply) {
        let waiting = self.loading.remove(&(package, chunk)).unwrap_or_default();
        let found = match reply {
            Reply::Chunk { length, data } => {
                let mut state = self.shared.lock();
                state.packages.set_length(package, length);
                if !data.is_empty() {
                    state.packages.put_chunk(package, chunk, data);
                }
                Ok(())
            }
            Reply::Failed(CenterError::NoSuchPackage | CenterError::BlobMissing) => {
                Err(Code::NOT_FOUND)
            }
            _ => Err(Code::INTERNAL_SERVER_ERROR),
        };
        for datagram in waiting {
            match found {
                // A file that shrank under us would miss again for ever: `serve` refuses past its length.
                Ok(()) => self.datagram(now, datagram.peer, &datagram.bytes),
                Err(code) => {
                    if let Ok(message) = Message::new_checked(&datagram.bytes) {
                        let asker = Asker {
                            address: datagram.peer,
                            kind: message.kind(),
                            message_id: message.message_id(),
                            token: message.token(),
                            len: datagram.bytes.len(),
                        };
                        self.answer(&asker, code, &[]);
                    }
                }
            }
        }
    }

    fn register(&mut self, now: u64, asker: Asker, message: &Message<'_>) {
        let peer = asker.address;
        let bad = |this: &mut Self, what: &str| {
            this.complain(now, peer, format_args!("registration: {what}"));
            this.answer(&asker, Code::BAD_REQUEST, &[]);
        };
        let Some(name) = message.query("ep") else {
            return bad(self, "no ep");
        };
        let endpoint = match domain::Endpoint::parse(name) {
            Ok(endpoint) => endpoint,
            Err(problem) => return bad(self, &problem.to_string()),
        };
        let Ok(lifetime_s) = message.query("lt").unwrap_or("86400").parse() else {
            return bad(self, "lt is no number");
        };
        let Ok(objects) = std::str::from_utf8(message.payload()) else {
            return bad(self, "payload is not UTF-8");
        };
        let link = u32::from(ContentFormat::Link.number());
        if message
            .uint_option(option::CONTENT_FORMAT)
            .is_some_and(|format| format != link)
        {
            return self.answer(&asker, Code::UNSUPPORTED_CONTENT_FORMAT, &[]);
        }
        let known = self.peers.by_endpoint(&endpoint).is_some();
        if !known && self.peers.len() + self.pending.len() >= self.config.max_registrations {
            self.shared
                .lock()
                .trouble(CenterError::TooManyRegistrations, now, peer);
            return self.answer(&asker, Code::SERVICE_UNAVAILABLE, &[]);
        }
        let mut binding = message.query("b").unwrap_or("U").to_owned();
        if message.query("Q").is_some() && !binding.contains('Q') {
            binding.push('Q');
        }
        let register = Register {
            endpoint,
            address: peer.to_string(),
            lifetime_s,
            binding,
            lwm2m: message.query("lwm2m").unwrap_or("1.0").to_owned(),
            objects: objects.to_owned(),
        };
        self.work(
            asker,
            |asker| Pending::Register(asker, peer),
            Call::Register(register),
        );
    }

    fn registered(&mut self, now: u64, asker: &Asker, address: SocketAddr, reply: Reply) {
        let (endpoint, registration) = match reply {
            Reply::Registered(endpoint, registration) => (endpoint, registration),
            Reply::Failed(error) => {
                let code = match error {
                    CenterError::UnknownProductKey => Code::FORBIDDEN,
                    CenterError::BadEndpointName => Code::BAD_REQUEST,
                    _ => Code::INTERNAL_SERVER_ERROR,
                };
                self.shared.lock().trouble(error, now, address);
                return self.answer(asker, code, &[]);
            }
            _ => return self.answer(asker, Code::INTERNAL_SERVER_ERROR, &[]),
        };
        let location = registration.id.clone();
        let id = self.adopt(now, endpoint.clone(), registration, address);
        if let Some(peer) = self.peers.get_mut(id) {
            peer.credit = (AMPLIFICATION * asker.len).saturating_sub(32);
        }
        self.answer(asker, Code::CREATED, &["rd", &location]);
        self.early_commands(now, &endpoint);
        self.pump(id, now);
    }

    /// Puts a registration into the table in place of an older one of the same device. A client without Plan
    /// object is asked for its versions.
    fn adopt(
        &mut self,
        now: u64,
        endpoint: domain::Endpoint,
        registration: Registration,
        address: SocketAddr,
    ) -> PeerId {
        let old = self.peers.by_endpoint(&endpoint).and_then(|id| {
            self.peers.arm(id, Timer::Poll, None);
            self.peers.remove(id)
        });
        if let Some(other) = self.peers.by_address(&address) {
            // Another device was at this address (a NAT gave it to the next): it is heard again elsewhere.
            self.forget(other);
        }
        let objects = super::links::objects(&registration.objects);
        let plan = objects
            .iter()
            .filter(|p| p.object_id() == Some(self.config.plan_object));
        let mut instances: Vec<u16> = plan.clone().filter_map(|p| p.instance_id()).collect();
        instances.sort_unstable();
        let mut greetings = Vec::new();
        let door = if plan.count() > 0 {
            let mut client = PlanClient {
                instances,
                ..PlanClient::default()
            };
            if let Some(Door::Plan(before)) = old.as_ref().map(|peer| &peer.door) {
                client.components.clone_from(&before.components);
                client.offers.clone_from(&before.offers);
            }
            Door::Plan(client)
        } else {
            let mut standard = Standard::new(&objects);
            greetings = standard.read_versions();
            if let Some(Peer {
                door: Door::Standard(before),
                ..
            }) = old.as_ref()
            {
                standard.resume((**before).clone());
                greetings = standard.read_versions();
            }
            Door::Standard(Box::new(standard))
        };
        if let Some(old) = &old {
            self.shared.lock().addresses.remove_device(&old.address);
            if old.address != address {
                let error = CenterError::EndpointMoved;
                tracing::warn!(number = error.number(), device = %endpoint, from = %old.address, to = %address, "{error}");
            }
        }
        let mut peer = Peer::new(endpoint, registration, address, door, now);
        if let Some(old) = old {
            peer.rtt = old.rtt;
        }
        let id = self.peers.insert(peer);
        self.enqueue(id, greetings);
        id
    }

    fn update(&mut self, now: u64, asker: Asker, message: &Message<'_>, id: &[u8]) {
        let Ok(id) = std::str::from_utf8(id) else {
            return self.answer(&asker, Code::NOT_FOUND, &[]);
        };
        let lifetime_s = match message.query("lt").map(str::parse) {
            None => None,
            Some(Ok(seconds)) => Some(seconds),
            Some(Err(_)) => {
                self.complain(now, asker.address, format_args!("update: lt is no number"));
                return self.answer(&asker, Code::BAD_REQUEST, &[]);
            }
        };
        let objects = match std::str::from_utf8(message.payload()) {
            Ok("") => None,
            Ok(text) => Some(text.to_owned()),
            Err(_) => {
                self.complain(
                    now,
                    asker.address,
                    format_args!("update: payload is not UTF-8"),
                );
                return self.answer(&asker, Code::BAD_REQUEST, &[]);
            }
        };
        let update = RegistrationUpdate {
            address: Some(asker.address.to_string()),
            lifetime_s,
            binding: message.query("b").map(str::to_owned),
            objects: objects.clone(),
        };
        let call = Call::Update {
            id: id.to_owned(),
            update,
        };
        let known = self.peers.by_registration(id).filter(|_| objects.is_none());
        let Some(peer_id) = known else {
            return self.work(asker, Pending::Update, call);
        };
        // Known: the answer needs no store, the new expiry is in memory first.
        if let Some(peer) = self.peers.get_mut(peer_id) {
            if let Some(seconds) = lifetime_s {
                peer.registration.lifetime_s = seconds;
            }
            peer.heard = now;
            peer.silent = false;
            peer.expires = now.saturating_add(u64::from(peer.registration.lifetime_s) * 1000);
            let expires = peer.expires;
            self.peers.arm(peer_id, Timer::Expiry, Some(expires));
        }
        self.move_to(peer_id, asker.address);
        self.verified(peer_id);
        self.answer(&asker, Code::CHANGED, &[]);
        self.call(Pending::Quiet, call);
        self.pump(peer_id, now);
    }

    fn move_to(&mut self, id: PeerId, address: SocketAddr) {
        if let Some(other) = self.peers.by_address(&address).filter(|other| *other != id) {
            self.forget(other);
        }
        if let Some(old) = self.peers.moved(id, address).filter(|old| *old != address) {
            self.shared.lock().addresses.remove_device(&old);
        }
    }

    fn deregister(&mut self, asker: Asker, id: &[u8]) {
        let id = String::from_utf8_lossy(id).into_owned();
        if let Some(peer) = self.peers.by_registration(&id) {
            self.forget(peer);
        }
        self.work(asker, Pending::Deregister, Call::Deregister { id });
    }

    fn send_of_device(&mut self, now: u64, asker: Asker, message: &Message<'_>) {
        let Some(id) = self.peers.by_address(&asker.address) else {
            return self.answer(&asker, Code::NOT_FOUND, &[]);
        };
        let format = message.uint_option(option::CONTENT_FORMAT);
        let senml = ContentFormat::SenmlCbor;
        if format != Some(u32::from(senml.number())) {
            return self.answer(&asker, Code::UNSUPPORTED_CONTENT_FORMAT, &[]);
        }
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        let endpoint = peer.endpoint.clone();
        let told = match &mut peer.door {
            Door::Plan(client) => {
                let object = self.config.plan_object;
                plan_door::told(client, object, senml, Path::ROOT, message.payload())
            }
            Door::Standard(standard) => standard_told(standard, message.payload()),
        };
        match told {
            Ok(told) => {
                let plan_door::Told {
                    facts,
                    reports,
                    request,
                } = told;
                let call = Call::Told {
                    endpoint,
                    facts,
                    reports,
                    request,
                };
                self.work(asker, Pending::Told, call);
            }
            Err(error) => {
                self.complain(now, asker.address, format_args!("Send: {error:?}"));
                self.answer(&asker, Code::BAD_REQUEST, &[]);
            }
        }
    }

    fn response(&mut self, now: u64, from: SocketAddr, known: Option<PeerId>, m: &Message<'_>) {
        let Some(id) = known else {
            if m.kind() == Kind::Con {
                self.send(from, message::reset(m.message_id()).to_vec());
            }
            return;
        };
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        let reaction = peer
            .in_flight
            .as_mut()
            .map(|f| f.exchange.on_message(now, m));
        match reaction {
            Some(Reaction::Response { ack }) => {
                if ack {
                    self.send(from, message::ack(m.message_id()).to_vec());
                }
                self.verified(id);
                self.finish(id, now, Some(m));
            }
            Some(Reaction::Repeated { ack: true }) => {
                self.send(from, message::ack(m.message_id()).to_vec());
            }
            Some(Reaction::Reset) => self.finish(id, now, None),
            Some(Reaction::Acked) => {
                let deadline = peer.in_flight.as_ref().and_then(|f| f.exchange.deadline());
                self.peers.arm(id, Timer::Exchange, deadline);
            }
            _ => self.notification(id, now, from, m),
        }
    }

    fn notification(&mut self, id: PeerId, now: u64, from: SocketAddr, m: &Message<'_>) {
        let wanted = m.code().is_response() && matches!(m.kind(), Kind::Con | Kind::Non);
        let path = self
            .peers
            .get_mut(id)
            .and_then(|peer| peer.observations.get(&m.token()))
            .copied();
        match path.filter(|_| wanted) {
            Some(path) => {
                if m.kind() == Kind::Con {
                    self.send(from, message::ack(m.message_id()).to_vec());
                }
                self.verified(id);
                self.values(id, now, path, m);
            }
            None if m.kind() == Kind::Con => {
                self.send(from, message::reset(m.message_id()).to_vec());
            }
            None => {}
        }
    }

    /// The exchange in flight is over; `None` = reset by the client.
    fn finish(&mut self, id: PeerId, now: u64, answer: Option<&Message<'_>>) {
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        let Some(flight) = peer.in_flight.take() else {
            return;
        };
        peer.rtt.learn(&flight.exchange);
        let endpoint = peer.endpoint.clone();
        self.peers.arm(id, Timer::Exchange, None);
        let code = answer.map_or(Code::BAD_REQUEST, |m| m.code());
        let what = flight.what;
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        if let Door::Standard(standard) = &mut peer.door {
            if what.purpose == Purpose::Observe && code.is_success() {
                peer.observations.insert(flight.exchange.token(), what.path);
            }
            if matches!(what.purpose, Purpose::Read | Purpose::Observe) {
                if let Some(m) = answer.filter(|_| code.is_success()) {
                    self.values(id, now, what.path, m);
                }
                return;
            }
            let step = standard.answered(&what.purpose, code);
            return self.step(id, now, step);
        }
        match what.purpose {
            Purpose::Offer { offer } | Purpose::Download { offer } => {
                // 5.xx is the device's own trouble and passes: the rules send it again.
                if code.class() == 4 {
                    let code = code.byte();
                    self.call(
                        Pending::Quiet,
                        Call::Refused {
                            endpoint,
                            offer,
                            code,
                        },
                    );
                }
            }
            Purpose::Cancel { offer } => {
                let taken = code.is_success();
                self.call(
                    Pending::Quiet,
                    Call::CancelAnswered {
                        endpoint,
                        offer,
                        taken,
                    },
                );
            }
            Purpose::Read => {
                if let Some(m) = answer.filter(|_| code.is_success()) {
                    self.values(id, now, what.path, m);
                }
            }
            Purpose::Observe | Purpose::Update => {}
        }
    }

    /// Resources were read or notified.
    fn values(&mut self, id: PeerId, now: u64, path: Path, m: &Message<'_>) {
        let number = m.uint_option(option::CONTENT_FORMAT).unwrap_or(0);
        let format = u16::try_from(number)
            .ok()
            .and_then(ContentFormat::from_number);
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        let address = peer.address;
        let Some(format) = format else {
            return self.complain(now, address, format_args!("content format {number}"));
        };
        match &mut peer.door {
            Door::Plan(client) => {
                let object = self.config.plan_object;
                match plan_door::told(client, object, format, path, m.payload()) {
                    Ok(told) => {
                        let plan_door::Told {
                            facts,
                            reports,
                            request,
                        } = told;
                        let endpoint = peer.endpoint.clone();
                        let call = Call::Told {
                            endpoint,
                            facts,
                            reports,
                            request,
                        };
                        self.call(Pending::Quiet, call);
                    }
                    Err(error) => self.complain(now, address, format_args!("{path}: {error:?}")),
                }
            }
            Door::Standard(standard) => {
                let mut steps = Vec::new();
                let records = Records::new(format, path, m.payload());
                let read = records.and_then(|records| {
                    for record in records {
                        let (path, value) = record?;
                        steps.push(standard.value(path, value));
                    }
                    Ok(())
                });
                for step in steps {
                    self.step(id, now, step);
                }
                if let Err(error) = read {
                    self.complain(now, address, format_args!("{path}: {error:?}"));
                }
            }
        }
    }

    /// Does what the standard's sequence wants.
    fn step(&mut self, id: PeerId, now: u64, step: Step) {
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        let endpoint = peer.endpoint.clone();
        let active = matches!(&peer.door, Door::Standard(standard) if standard.active());
        let poll = active.then(|| now.saturating_add(self.config.poll_ms));
        self.peers.arm(id, Timer::Poll, poll);
        let Step {
            send,
            reports,
            facts,
        } = step;
        if !reports.is_empty() || facts != domain::DeviceFacts::default() {
            self.call(
                Pending::Quiet,
                Call::Told {
                    endpoint,
                    facts,
                    reports,
                    request: None,
                },
            );
        }
        self.enqueue(id, send);
        self.pump(id, now);
    }

    fn ask_state(&mut self, id: PeerId, now: u64) {
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        let Door::Standard(standard) = &peer.door else {
            return;
        };
        let send = if peer.todo.is_empty() {
            standard.poll()
        } else {
            Vec::new()
        };
        // One more failure to answer must not stop the asking: a restarting client is silent for a while.
        peer.silent = false;
        self.step(
            id,
            now,
            Step {
                send,
                ..Step::default()
            },
        );
    }

    fn exchange_due(&mut self, id: PeerId, now: u64) {
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        let Some(flight) = &mut peer.in_flight else {
            return;
        };
        match flight.exchange.poll(now) {
            Poll::Idle => {}
            Poll::Resend => {
                let (address, bytes) = (peer.address, flight.datagram.clone());
                if peer.verified || peer.credit >= bytes.len() {
                    peer.credit = peer.credit.saturating_sub(bytes.len());
                    self.send(address, bytes);
                }
            }
            Poll::GiveUp => {
                let error = CenterError::DeviceSilent;
                tracing::info!(number = error.number(), device = %peer.endpoint, "{error}");
                peer.rtt.learn(&flight.exchange);
                peer.in_flight = None;
                peer.silent = true;
                // The rules know what it is owed and say it again at its next contact.
                peer.todo.clear();
            }
        }
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        let deadline = peer
            .in_flight
            .as_ref()
            .and_then(|flight| flight.exchange.deadline());
        self.peers.arm(id, Timer::Exchange, deadline);
    }

    fn enqueue(&mut self, id: PeerId, requests: Vec<Outgoing>) {
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        for request in requests {
            let same = peer
                .in_flight
                .as_ref()
                .is_some_and(|flight| flight.what == request);
            if !same && !peer.todo.contains(&request) && peer.todo.len() < MAX_TODO {
                peer.todo.push_back(request);
            }
        }
    }

    /// Sends the next request to a peer if nothing is in flight (NSTART 1) and it can be reached.
    fn pump(&mut self, id: PeerId, now: u64) {
        let (random, token) = (self.random() as u16, self.token());
        let message_id = self.next_message_id();
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        if peer.in_flight.is_some() || !peer.reachable(now, self.config.queue_window_ms) {
            return;
        }
        let Some(what) = peer.todo.pop_front() else {
            return;
        };
        let Ok(datagram) = what.encode(message_id, token) else {
            tracing::error!(device = %peer.endpoint, "a request to the device does not fit a datagram");
            return;
        };
        if !peer.verified && peer.credit < datagram.len() {
            // Its next message brings credit; until then nobody can be flooded through us.
            peer.todo.push_front(what);
            return;
        }
        peer.credit = peer.credit.saturating_sub(datagram.len());
        let params = &self.config.params;
        let timeout = peer.rtt.timeout_ms();
        let exchange = Exchange::start(now, message_id, token, params, timeout, random);
        let (address, deadline) = (peer.address, exchange.deadline());
        peer.in_flight = Some(InFlight {
            exchange,
            datagram: datagram.clone(),
            what,
        });
        self.peers.arm(id, Timer::Exchange, deadline);
        self.send(address, datagram);
    }

    /// The peer showed that it receives what we send.
    fn verified(&mut self, id: PeerId) {
        if let Some(peer) = self.peers.get_mut(id) {
            peer.verified = true;
            self.shared
                .lock()
                .addresses
                .set_device(peer.address, peer.number);
        }
    }

    fn forget(&mut self, id: PeerId) {
        if let Some(peer) = self.peers.remove(id) {
            self.shared.lock().addresses.remove_device(&peer.address);
        }
    }

    /// Calls for a request whose answer waits for the reply.
    fn work(&mut self, asker: Asker, pending: impl FnOnce(Asker) -> Pending, call: Call) {
        if self.working.len() >= MAX_PENDING {
            return self.answer(&asker, Code::SERVICE_UNAVAILABLE, &[]);
        }
        let key = (asker.address, asker.message_id);
        let pending = pending(asker);
        self.arriving += usize::from(matches!(
            pending,
            Pending::Register(..) | Pending::Update(_)
        ));
        let id = self.call(pending, call);
        self.working.insert(key, id);
    }

    fn call(&mut self, pending: Pending, call: Call) -> CallId {
        self.next_call += 1;
        self.pending.insert(self.next_call, pending);
        self.out.push_back(Output::Call(self.next_call, call));
        self.next_call
    }

    fn answer(&mut self, asker: &Asker, code: Code, location: &[&str]) {
        self.working.remove(&(asker.address, asker.message_id));
        let (kind, message_id) = match asker.kind {
            Kind::Con => (Kind::Ack, asker.message_id),
            _ => (Kind::Non, self.next_message_id()),
        };
        let mut out = [0; 128];
        let mut builder = Builder::new(&mut out, kind, code, message_id, asker.token);
        for segment in location {
            builder.option(option::LOCATION_PATH, segment.as_bytes());
        }
        if let Ok(n) = builder.finish() {
            self.send(asker.address, out[..n].to_vec());
        }
    }

    fn send(&mut self, peer: SocketAddr, bytes: Vec<u8>) {
        self.out.push_back(Output::Send(Datagram { peer, bytes }));
    }

    fn complain(&mut self, now: u64, peer: SocketAddr, what: std::fmt::Arguments<'_>) {
        let text = format!("{peer}: {what}");
        self.shared
            .lock()
            .trouble(CenterError::MalformedContent, now, text);
    }

    fn next_message_id(&mut self) -> u16 {
        self.message_id = self.message_id.wrapping_add(1);
        self.message_id
    }

    fn random(&mut self) -> u64 {
        self.drawn += 1;
        let mut hash = Sha256::new();
        hash.update(self.seed);
        hash.update(self.drawn.to_be_bytes());
        hash.finalize()
            .iter()
            .take(8)
            .fold(0, |n, byte| n << 8 | u64::from(*byte))
    }

    fn token(&mut self) -> Token {
        Token::new(&self.random().to_be_bytes()).unwrap_or_default()
    }
}

/// The requests to a client with Plan object that a command means.
fn plan_requests(
    config: &Config,
    client: &mut PlanClient,
    format: ContentFormat,
    command: DeviceCommand,
) -> Vec<Outgoing> {
    let object = config.plan_object;
    let built = match command {
        DeviceCommand::Offer { offer, .. } => {
            let kind = match offer.kind {
                sota_lwm2m::objects::plan::ComponentType::Firmware => ComponentKind::Firmware,
                sota_lwm2m::objects::plan::ComponentType::Mcu => ComponentKind::Mcu,
            };
            let name = offer.plan.as_str().to_owned();
            client.instance(&offer.component, kind).map(|instance| {
                client.offers.insert(instance, name.clone());
                let purpose = Purpose::Offer { offer: name };
                let path = Path::instance(object, instance);
                plan_door::offer(object, instance, format, &offer)
                    .map(|payload| Outgoing::write(purpose, path, format, payload))
            })
        }
        DeviceCommand::Download {
            component,
            kind,
            mut info,
            sha256,
            ..
        } => {
            set_uri(config, &mut info, &sha256);
            let name = info.plan.as_str().to_owned();
            client.instance(&component, kind).map(|instance| {
                client.offers.insert(instance, name.clone());
                let purpose = Purpose::Download { offer: name };
                let path = Path::instance(object, instance);
                plan_door::download(object, instance, format, &info)
                    .map(|payload| Outgoing::write(purpose, path, format, payload))
            })
        }
        DeviceCommand::Cancel {
            component,
            kind,
            offer,
            ..
        } => client.instance(&component, kind).map(|instance| {
            let resource = sota_lwm2m::objects::plan::resource::CANCEL;
            let path = Path::resource(object, instance, resource);
            Ok(Outgoing::execute(Purpose::Cancel { offer }, path))
        }),
        DeviceCommand::ReadVersions { .. } => return client.read_versions(object),
    };
    match built {
        Some(Ok(request)) => vec![request],
        Some(Err(error)) => {
            tracing::error!(?error, "a command cannot be written");
            Vec::new()
        }
        // Which instance it is is not known here (the Center restarted): ask, the rules say it again.
        None => client.read_versions(object),
    }
}

fn set_uri(
    config: &Config,
    info: &mut sota_lwm2m::objects::plan::DownloadInfo,
    sha256: &PackageId,
) {
    info.uri.clear();
    let uri = format!("{}/{}", config.package_base, blocks::path_of(sha256));
    if info.uri.push_str(&uri).is_err() {
        tracing::error!(uri, "the package's address is too long for the wire");
    }
}

/// A Send of a client without Plan object: its versions and readings.
fn standard_told(
    standard: &mut Standard,
    payload: &[u8],
) -> Result<plan_door::Told, sota_lwm2m::Error> {
    let mut told = plan_door::Told::default();
    for record in Records::new(ContentFormat::SenmlCbor, Path::ROOT, payload)? {
        let (path, value) = record?;
        plan_door::device_fact(&mut told.facts, path, value);
        let step = standard.value(path, value);
        told.facts.components.extend(step.facts.components);
        told.reports.extend(step.reports);
    }
    Ok(told)
}
