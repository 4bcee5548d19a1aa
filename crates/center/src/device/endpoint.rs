//! The LwM2M server as a machine: datagrams, replies, commands and the time come in, datagrams and calls come out.
//!
//! It holds no socket, no clock and no random source (the seed is given), so the simulator drives it as the Center
//! does. Time is ms since 1970 and must not go back.
//!
//! | request | answered | after |
//! |---|---|---|
//! | `POST /rd?ep=…` | 2.01 with Location-Path `rd/<id>`; 4.00 bad name, 4.03 unknown product or disabled, 5.03 too many | the registration is durable |
//! | `POST /rd/<id>` | 2.04; 4.04 unknown, 4.03 disabled | the store knows it |
//! | `DELETE /rd/<id>` | 2.02; 4.04 | it is durable |
//! | `POST /dp` | 2.04; 4.04 not registered, 4.00, 4.15 | what was told is durable |
//! | `GET /p/<SHA-256>` | see [`super::blocks`] | |
//! | anything else | 4.04, 4.05 | |
//!
//! A request that is repeated while the first is being worked on or answered gets an empty ACK at most. Afterwards it
//! is worked on again, which every handler here allows, so no answers are kept. An answer that is not there in
//! [`Config::ack_after_ms`] comes separately.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;

use sha2::{Digest as _, Sha256};
use sota_coap::echo::AMPLIFICATION;
use sota_coap::endpoint::{Due, Exchanges, Finished, Incoming, Refused};
use sota_coap::{Builder, Code, Exchange, Kind, Message, Params, Token, message, option};
use sota_errors::CenterError;
use sota_lwm2m::{ContentFormat, Path, Records};

use super::blocks::{self, Served};
use super::border::{Call, CallId, Reply};
use super::outgoing::{Outgoing, Purpose};
use super::packages::PackageId;
use super::peers::{self, Door, InFlight, Peer, PeerId, Peers, PlanClient, Timer};
use super::plan_door;
use super::shared::Shared;
use super::socket::{Datagram, MAX_DATAGRAM};
use super::standard_door::{Standard, Step};
use super::timed_map::TimedMap;
use crate::commands::DeviceCommand;
use crate::domain::{self, ComponentKind, Registration};
use crate::service::{Register, RegistrationUpdate};

mod answers;
mod commands;
mod exchanges;
mod requests;

use answers::{Asker, RequestKey, Separate, Stage};

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
    /// A CON request that is not answered in this time, in ms, gets an empty ACK, and its answer separately. To be well
    /// below the ACK_TIMEOUT of devices, which is 2 s or more.
    pub ack_after_ms: u64,
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
            ack_after_ms: 1_000,
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

/// What a call was made for.
#[derive(Debug)]
enum Pending {
    Register(Asker, SocketAddr),
    Update(Asker),
    Deregister(Asker),
    Told(Asker),
    /// Package, chunk, and [`super::packages::Packages::deletions`] at the call.
    Load(PackageId, u64, u64),
    /// The Update of this peer, which was answered from memory.
    Known(PeerId),
    /// Nobody waits.
    Quiet,
}

/// The LwM2M server.
#[derive(Debug)]
pub struct Endpoint {
    config: Config,
    shared: Shared,
    peers: Peers,
    /// Requests to devices, one at a time to each (NSTART 1).
    requests: Exchanges<TimedMap<PeerId, InFlight>>,
    pending: HashMap<CallId, Pending>,
    /// Requests being worked on or answered.
    working: BTreeMap<RequestKey, Stage>,
    /// When a request needs its empty ACK, in order; some were answered before.
    ack_due: VecDeque<(u64, RequestKey)>,
    /// Separate answers that are not acknowledged yet.
    answers: Exchanges<TimedMap<(SocketAddr, u16), Separate>>,
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
        let copies_ms = config.params.non_lifetime_ms();
        let mut endpoint = Endpoint {
            config,
            shared,
            peers: Peers::default(),
            // One for each peer at most, and those are bounded.
            requests: Exchanges::new(TimedMap::new(usize::MAX), copies_ms),
            pending: HashMap::new(),
            working: BTreeMap::new(),
            ack_due: VecDeque::new(),
            // No response to an answer is wanted, so there are no copies of one.
            answers: Exchanges::new(TimedMap::new(MAX_PENDING), 0),
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
        let deadlines = [
            self.peers.next_deadline(),
            self.requests.deadline(),
            self.answers.deadline(),
            self.ack_deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Registered devices in memory.
    pub fn registrations(&self) -> usize {
        self.peers.len()
    }

    /// Does what is due.
    pub fn tick(&mut self, now: u64) {
        self.acknowledge_due(now);
        self.answers_due(now);
        while let Some((id, timer)) = self.peers.due(now) {
            match timer {
                Timer::Expiry => self.forget(id),
                Timer::Poll => self.ask_state(id, now),
            }
        }
        while let Some(due) = self.requests.poll(now) {
            match due {
                Due::Resend(id) => self.resend(id),
                Due::GaveUp(id, ended) => self.gave_up(id, &ended),
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
            Kind::Ack | Kind::Rst if self.answer_arrived(now, peer, known, &message) => {}
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
                    self.answer(now, &asker, Code::CHANGED, &[]);
                    self.early_commands(now, &endpoint);
                    self.pump(id, now);
                }
                // Known and prolonged.
                Reply::Done => self.answer(now, &asker, Code::CHANGED, &[]),
                Reply::Failed(CenterError::UnknownRegistration) => {
                    self.answer(now, &asker, Code::NOT_FOUND, &[]);
                }
                _ => self.answer(now, &asker, Code::INTERNAL_SERVER_ERROR, &[]),
            },
            Pending::Deregister(asker) => {
                let code = match reply {
                    Reply::Done => Code::DELETED,
                    Reply::Failed(CenterError::UnknownRegistration) => Code::NOT_FOUND,
                    _ => Code::INTERNAL_SERVER_ERROR,
                };
                self.answer(now, &asker, code, &[]);
            }
            Pending::Told(asker) => {
                let code = match reply {
                    Reply::Failed(_) => Code::INTERNAL_SERVER_ERROR,
                    _ => Code::CHANGED,
                };
                self.answer(now, &asker, code, &[]);
                if let Some(id) = self.peers.by_address(&asker.address) {
                    self.pump(id, now);
                }
            }
            Pending::Load(package, chunk, deletions) => {
                if self.shared.lock().packages.deletions() == deletions {
                    self.loaded(now, package, chunk, reply);
                } else {
                    self.load(package, chunk);
                }
            }
            Pending::Known(id) => {
                // Disabled in between, or by a process whose commands do not come here: it registers again.
                if reply == Reply::Failed(CenterError::UnknownRegistration) {
                    self.forget(id);
                }
            }
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

    fn call(&mut self, pending: Pending, call: Call) -> CallId {
        self.next_call += 1;
        self.pending.insert(self.next_call, pending);
        self.out.push_back(Output::Call(self.next_call, call));
        self.next_call
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

#[cfg(test)]
mod tests;
