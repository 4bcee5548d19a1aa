//! [`Cloud`]: its parts, and what passes between it, the engine and the port.

use heapless::Vec;
use sota_coap::dedup::Entry;
use sota_coap::{Exchange, Params, Rtt, Szx, after};
use sota_lwm2m::client::observe::Observations;
use sota_lwm2m::client::registration::{Outcome, Registration, Timing};
use sota_lwm2m::client::send::SendQueue;

use super::ask::Ask;
use super::change::Change;
use super::config::{Config, Link, Lookup, Peer};
use super::download::Download;
use super::incoming::{Answer, Pending, Short};
use super::objects::Device;
use super::own::{Own, Report, What};
use crate::message::{Millis, Reason, ToCloud, ToEngine};
use crate::platform::Readings;

/// What a datagram may have beside a block: `next_datagram` wants a buffer of `BLOCK + OVERHEAD` bytes.
pub const OVERHEAD: usize = 768;

/// Observations kept.
const OBSERVATIONS: usize = 6;
/// Reports kept until the server acknowledged them.
const REPORTS: usize = 16;
/// Requests of the server remembered against their copies.
const REMEMBERED: usize = 8;

/// Whether the port knows the server's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Address {
    Unknown,
    Wanted,
    Asked,
    Known,
}

/// The GET in flight.
#[derive(Clone, Debug)]
pub(super) struct Get {
    pub(super) peer: Peer,
    pub(super) exchange: Exchange,
    pub(super) send: bool,
}

/// A block on its way to the engine; empty: none.
#[derive(Clone, Debug, Default)]
pub(super) struct BlockSlot<const BLOCK: usize> {
    pub(super) offset: u32,
    pub(super) data: Vec<u8, BLOCK>,
}

/// The cloud machine. `BLOCK` is the greatest block in bytes: 16, 32 … 1024.
// The small and often used first: a small processor reaches the first 32 bytes, and words in the first 128, with
// an instruction of half the length.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Cloud<const BLOCK: usize> {
    pub(super) address: Address,
    /// The engine is to hear of the first answer, or of the length that the last block showed.
    pub(super) started: bool,
    pub(super) room: bool,
    /// The port is to hear that a report was given up.
    pub(super) dropped_report: bool,
    asked: bool,
    ticket: u8,
    pub(super) link: Option<bool>,
    /// The engine is to hear that the server refuses this device.
    pub(super) refused: bool,
    pub(super) failed: Option<Reason>,
    pub(super) last_error: Option<Reason>,
    message_id: u16,
    pub(super) seed: u32,
    /// The separate response acknowledged last, against its copies.
    pub(super) acknowledged: Option<(Peer, u16)>,
    pub(super) now: Millis,
    /// Last sign that the path to the server works in both directions.
    pub(super) heard: Millis,
    /// Last message either way: queue mode's window.
    pub(super) traffic: Millis,
    pub(super) short: Option<Short>,
    pub(super) get: Option<Get>,
    pub(super) own: Option<Own>,
    pub(super) answer: Option<Answer>,
    pub(super) pending: Option<Pending>,
    pub(super) server_rtt: Rtt,
    pub(super) source_rtt: Rtt,
    pub(super) params: Params,
    pub(super) registration: Registration,
    pub(super) download: Download,
    pub(super) reports: SendQueue<Report, REPORTS>,
    pub(super) observations: Observations<OBSERVATIONS>,
    pub(super) remembered: [Option<Entry<Peer>>; REMEMBERED],
    pub(super) block: BlockSlot<BLOCK>,
    pub(super) device: Device,
    pub(super) config: Config,
    pub(super) change: Change,
}

impl<const BLOCK: usize> Cloud<BLOCK> {
    const SZX: Szx = Szx::from_bytes(BLOCK).expect("a block has 16, 32 .. 1024 bytes");

    /// A machine that is not connected. `random` is unpredictable: the first message id comes from it.
    // Apart, so that it is made in the place where it goes.
    #[inline(never)]
    pub fn new(config: Config, random: u32) -> Self {
        let params = match config.link {
            Link::Rfc7252 => Params::RFC7252,
            Link::NbIot => Params::NB_IOT,
        };
        Cloud {
            device: Device::new(&config),
            registration: Registration::new(
                config.lifetime_s,
                Timing::new(params.max_transmit_wait_ms()),
            ),
            reports: SendQueue::default(),
            observations: Observations::default(),
            download: Download::default(),
            server_rtt: Rtt::new(&params),
            source_rtt: Rtt::new(&params),
            own: None,
            get: None,
            answer: None,
            short: None,
            pending: None,
            remembered: [None; REMEMBERED],
            acknowledged: None,
            ticket: 0,
            asked: false,
            link: None,
            refused: false,
            started: false,
            dropped_report: false,
            block: BlockSlot::default(),
            failed: None,
            last_error: None,
            address: Address::Unknown,
            heard: 0,
            traffic: 0,
            now: 0,
            message_id: random as u16,
            seed: random | 1,
            room: true,
            params,
            config,
            change: Change::default(),
        }
    }

    /// What the engine shows.
    pub fn view(&self) -> &crate::message::View {
        &self.device.view
    }

    /// Registered with the server.
    pub fn is_registered(&self) -> bool {
        self.registration.is_registered()
    }

    /// Leaves the server: the good-bye waits or is not answered yet.
    pub fn is_leaving(&self) -> bool {
        self.registration.is_leaving()
    }

    /// Why the module is not registered, or the last thing the network could not explain.
    pub fn last_error(&self) -> Option<Reason> {
        self.last_error
    }

    /// The server asked for a restart of the module (/3/0/4); told once, after the answer went out.
    pub fn take_reboot(&mut self) -> bool {
        let now = self.device.wishes.reboot && self.answer.is_none();
        self.device.wishes.reboot &= !now;
        now
    }

    /// The server refused a report twice, so it was given up: for the port's log; told once.
    pub fn take_dropped_report(&mut self) -> bool {
        core::mem::take(&mut self.dropped_report)
    }

    /// In queue mode the radio must listen until then; `None`: always (no queue mode, something is in
    /// flight, or a download goes on).
    pub fn awake_until(&self) -> Option<Millis> {
        let busy = self.own.is_some()
            || self.get.is_some()
            || self.pending.is_some()
            || self.download.is_ready();
        (self.config.queue_mode && !busy).then(|| after(self.traffic, self.config.awake_ms))
    }

    /// The network was away and is back, perhaps with another address: what waits for the end of a pause or of a
    /// time-out goes on at once, and the server hears of the address.
    pub fn on_network(&mut self) {
        if let Some(own) = &mut self.own {
            own.exchange.hurry();
        }
        if let Some(get) = &mut self.get {
            get.exchange.hurry();
        }
        if !self.registration.is_off() && !self.registration.is_leaving() {
            self.registration.connect();
            self.registration.update_now();
        }
        self.download.hurry();
    }

    /// Battery and signal, as often as the port likes; observers hear of changes.
    pub fn on_readings(&mut self, readings: Readings) {
        if self.device.readings != readings {
            self.device.readings = readings;
            self.observations.look();
        }
    }

    /// Radio cell (/4/0/8), 28 bits in LTE; 0: not known. The Center can limit how many devices of one cell load at once.
    pub fn on_cell(&mut self, cell: u32) {
        if self.device.cell != cell {
            self.device.cell = cell;
            self.observations.look();
        }
    }

    /// Registers, or leaves: as [`ToCloud::Connect`].
    #[inline(never)]
    pub fn connect(&mut self, on: bool) {
        self.change.connect = on;
        // In a good-bye the machine that takes the other settings connects.
        match on {
            _ if self.change.until.is_some() => {}
            true if self.config.host.is_empty() => self.lost(Some(Reason::NoServerAddress)),
            true => self.registration.connect(),
            false => self.disconnect(),
        }
    }

    pub(super) fn disconnect(&mut self) {
        if let Some(change) = self.registration.disconnect() {
            self.changed(change);
        }
    }

    /// [`on_engine`](Self::on_engine) takes any message now.
    pub fn has_report_room(&self) -> bool {
        self.reports.has_room()
    }

    /// A message of the engine, whose content it may take out. False when it cannot be taken now (a report while too
    /// many wait for their acknowledgement): keep it and try again after the next step.
    #[inline(never)]
    pub fn on_engine(&mut self, now: Millis, message: &mut ToCloud) -> bool {
        self.now = now;
        match message {
            ToCloud::Connect(on) => self.connect(*on),
            ToCloud::View(view) => self.on_view(view),
            ToCloud::Request { sha256 } => {
                let report = Report::Versions {
                    request: Some(*sha256),
                };
                // Asked again before the first was acknowledged: one is enough.
                return self.reports.iter().any(|waiting| *waiting == report)
                    || self.reports.push(report).is_ok();
            }
            ToCloud::Report {
                instance,
                state,
                reason,
            } => {
                let report = Report::State {
                    instance: *instance,
                    state: *state,
                    reason: *reason,
                    plan: self.device.plan_count(),
                };
                return self.reports.push(report).is_ok();
            }
            ToCloud::Verdict { ticket, result } => self.on_verdict(*ticket, *result),
            ToCloud::Fetch {
                uri,
                from,
                to,
                etag,
            } => {
                self.stop_fetch();
                if let Err(reason) = self.download.fetch(uri, *from, *to, *etag, Self::SZX) {
                    self.failed = Some(reason);
                    self.last_error = Some(reason);
                }
            }
            ToCloud::StopFetch => {
                self.download.stop();
                self.stop_fetch();
            }
        }
        true
    }

    #[inline(never)]
    pub(super) fn on_view(&mut self, view: &mut crate::message::View) {
        let links = view.components.len().max(1) != self.device.components();
        let versions = view
            .components
            .iter()
            .map(|c| (&c.name, &c.version))
            .ne(self
                .device
                .view
                .components
                .iter()
                .map(|c| (&c.name, &c.version)));
        self.device.set_view(view);
        // Also when nothing changed: the digests tell, for less than a comparison of all fields takes.
        self.observations.look();
        if links {
            self.registration.links_changed();
        }
        if versions && self.registration.is_registered() {
            self.tell_versions();
        }
    }

    /// A full queue means that reports with the versions in them are on their way anyway.
    pub(super) fn tell_versions(&mut self) {
        let told = |report: &Report| matches!(report, Report::Versions { .. });
        // The first may be on the air with the versions of before.
        let first =
            usize::from(matches!(&self.own, Some(own) if matches!(own.what, What::Send(_))));
        if !self.reports.iter().skip(first).any(told) {
            let _ = self.reports.push(Report::Versions { request: None });
        }
    }

    fn stop_fetch(&mut self) {
        self.get = None;
        self.block.data.clear();
        self.started = false;
        self.failed = None;
    }

    /// The answer to [`next_lookup`](Self::next_lookup).
    #[inline(never)]
    pub fn on_resolved(&mut self, now: Millis, peer: Peer, found: bool) {
        self.now = now;
        let random = self.random();
        match peer {
            Peer::Source => self.download.on_resolved(now, found, random),
            Peer::Server if found => self.address = Address::Known,
            Peer::Server => {
                self.address = Address::Unknown;
                if self.source() == Peer::Server && self.download.take_lookup() {
                    self.download.on_resolved(now, false, random);
                }
                if let Some(due) = self.registration.due(now) {
                    self.registration.started(now, due);
                    if let Some(change) = self.registration.ended(now, Outcome::Lost, random) {
                        self.changed(change);
                    }
                }
            }
        }
    }

    /// The next address that is wanted; answer with [`on_resolved`](Self::on_resolved), now or later.
    #[inline(never)]
    pub fn next_lookup(&mut self) -> Option<Lookup<'_>> {
        if self.address == Address::Wanted {
            self.address = Address::Asked;
            return Some(Lookup {
                peer: Peer::Server,
                host: &self.config.host,
                port: self.config.port,
            });
        }
        if self.source() == Peer::Server {
            if self.address == Address::Known && self.download.take_lookup() {
                let random = self.random();
                self.download.on_resolved(self.now, true, random);
            }
            return None;
        }
        if !self.download.take_lookup() {
            return None;
        }
        self.download.uri().map(|uri| Lookup {
            peer: Peer::Source,
            host: uri.host,
            port: uri.port,
        })
    }

    /// The package's host may be the server itself: then they share the address and its one exchange.
    pub(super) fn source(&self) -> Peer {
        match self.download.uri() {
            Some(uri) if uri.host == self.config.host.as_str() && uri.port == self.config.port => {
                Peer::Server
            }
            _ => Peer::Source,
        }
    }

    /// The next message for the engine; ask only while its mailbox has room.
    #[inline(never)]
    pub fn next_to_engine(&mut self) -> Option<ToEngine<BLOCK>> {
        if let Some(link) = self.link.take() {
            return Some(ToEngine::Link(link));
        }
        if core::mem::take(&mut self.refused) {
            return Some(ToEngine::Refused);
        }
        if let (Some(ask), false) = (&mut self.device.ask, self.asked) {
            self.asked = true;
            return Some(ask.message(self.ticket));
        }
        if core::mem::take(&mut self.started) {
            return Some(ToEngine::FetchStarted {
                total: self.download.total(),
                etag: self.download.etag(),
            });
        }
        if !self.block.data.is_empty() {
            return Some(ToEngine::Block {
                offset: self.block.offset,
                data: core::mem::take(&mut self.block.data),
            });
        }
        self.failed.take().map(ToEngine::FetchFailed)
    }

    /// Whether [`next_to_engine`](Self::next_to_engine) has something.
    pub fn has_to_engine(&self) -> bool {
        self.link.is_some()
            || self.refused
            || (self.device.ask.is_some() && !self.asked)
            || self.started
            || !self.block.data.is_empty()
            || self.failed.is_some()
    }

    /// A request of the server goes to the engine; its answer waits under the ticket returned.
    pub(super) fn new_ticket(&mut self) -> u8 {
        self.ticket = self.ticket.wrapping_add(1);
        self.asked = false;
        self.device.waiting = true;
        self.ticket
    }

    fn on_verdict(&mut self, ticket: u8, result: Result<(), Reason>) {
        if !self.asked || ticket != self.ticket {
            return;
        }
        if let Some(Ask::Standard { accepted, .. }) = &mut self.device.ask
            && result.is_ok()
            && !*accepted
        {
            *accepted = true;
            self.asked = false;
            return;
        }
        self.device.ask = None;
        self.device.waiting = false;
        self.asked = false;
        self.answer_pending(result);
    }

    pub(super) fn next_message_id(&mut self) -> u16 {
        self.message_id = self.message_id.wrapping_add(1);
        self.message_id
    }

    /// xorshift32 over what [`poll`](Self::poll) was given: spreads one unpredictable number over the
    /// few that one step needs.
    pub(super) fn random(&mut self) -> u32 {
        let mut x = self.seed | 1;
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        self.seed = x;
        x
    }
}
