//! What goes out, and when: time-outs, the choice of our next message, datagrams.

use sota_coap::{Code, Exchange, Poll, Token};
use sota_lwm2m::client::dispatch::write_content;
use sota_lwm2m::client::observe::digest;
use sota_lwm2m::client::registration::{Change, Due, Outcome};
use sota_lwm2m::client::send::Sent;

use super::config::Peer;
use super::incoming::Pending;
use super::machine::{Address, Cloud, Get};
use super::own::{Own, What, Writer, write_get};
use crate::message::{Millis, Reason};

impl<const BLOCK: usize> Cloud<BLOCK> {
    /// Lets time pass. `random` is unpredictable and new each time: tokens and jitter come from it. `room`:
    /// the engine's mailbox has room for a block; without it no block is asked for.
    pub fn poll(&mut self, now: Millis, random: u32, room: bool) {
        self.now = now;
        self.seed ^= random;
        self.room = room;
        self.expire_own();
        self.expire_get();
        self.acknowledge_pending();
        self.settings();
        if self.address == Address::Unknown
            && self.download.wants_lookup()
            && self.source() == Peer::Server
        {
            self.address = Address::Wanted;
        }
        if self.own.is_none() && !self.source_busy() {
            self.choose();
        }
        if self.get.is_none() && self.may_ask() {
            self.next_block();
        }
    }

    /// A GET to the server itself is in flight: NSTART 1.
    fn source_busy(&self) -> bool {
        matches!(&self.get, Some(get) if get.peer == Peer::Server)
    }

    fn expire_own(&mut self) {
        let Some(own) = &mut self.own else { return };
        match own.exchange.poll(self.now) {
            Poll::Idle => {}
            Poll::Resend => own.send = true,
            Poll::GiveUp => self.finish_own(None, ""),
        }
    }

    fn expire_get(&mut self) {
        let Some(get) = &mut self.get else { return };
        match get.exchange.poll(self.now) {
            Poll::Idle => {}
            Poll::Resend => get.send = true,
            Poll::GiveUp => self.lose_get(),
        }
    }

    #[inline(never)]
    pub(super) fn lose_get(&mut self) {
        if let Some(get) = &self.get {
            self.source_rtt.learn(&get.exchange);
        }
        self.get = None;
        let random = self.random();
        self.download.on_lost(self.now, random);
    }

    fn settings(&mut self) {
        let wishes = &mut self.device.wishes;
        if core::mem::take(&mut wishes.update) {
            self.registration.update_now();
        }
        if core::mem::take(&mut wishes.settings) {
            self.observations.min_period_s = self.device.min_period_s;
            self.observations.max_period_s = self.device.max_period_s;
            if self.registration.lifetime_s() != self.device.lifetime_s {
                self.registration.set_lifetime(self.device.lifetime_s);
            }
            self.observations.look();
        }
    }

    /// Chooses our next message to the server: an answer that is owed, registration, reports.
    /// Notifications are chosen where they can be written.
    #[inline(never)]
    fn choose(&mut self) {
        if let Some((token, code)) = self.separate_response() {
            self.pending = None;
            return self.start(What::Response { token, code });
        }
        let waiting = self.registration.is_registered()
            && (self.reports.due(self.now).is_some()
                || self.download.is_ready() && self.source() == Peer::Server);
        if waiting && self.path_is_old() {
            self.registration.update_now();
        }
        if let Some(due) = self.registration.due(self.now) {
            match self.address {
                Address::Known => {
                    self.registration.started(self.now, due);
                    self.start(match due {
                        Due::Register => What::Register,
                        Due::Update { links } => What::Update { links },
                        Due::Deregister => What::Deregister,
                    });
                }
                Address::Unknown => self.address = Address::Wanted,
                Address::Wanted | Address::Asked => {}
            }
            return;
        }
        if !self.registration.is_registered() {
            return;
        }
        if let Some(report) = self.reports.due(self.now).copied() {
            self.reports.started();
            self.start(What::Send(report));
        }
    }

    /// So long silent that the address translation on the path may have forgotten us.
    fn path_is_old(&self) -> bool {
        let idle = u64::from(self.config.nat_idle_ms);
        // While an Update is being retried the report itself is as good a try.
        idle != 0 && self.now.saturating_sub(self.heard) >= idle && !self.registration.is_retrying()
    }

    fn start(&mut self, what: What) {
        let confirm = matches!(what, What::Notify { .. } | What::Response { .. });
        let timeout = self.server_rtt.timeout_ms();
        let exchange = self.exchange(confirm, timeout);
        self.own = Some(Own {
            what,
            exchange,
            send: true,
        });
    }

    /// A new exchange that begins now; `confirm`: no response is wanted, only the ACK.
    #[inline(never)]
    fn exchange(&mut self, confirm: bool, timeout_ms: u32) -> Exchange {
        let (mid, token) = (self.next_message_id(), Token::from_u32(self.random()));
        let jitter = self.random() as u16;
        let begin = match confirm {
            true => Exchange::start_confirm,
            false => Exchange::start,
        };
        begin(self.now, mid, token, &self.params, timeout_ms, jitter)
    }

    /// Only what the engine has room for is asked for: that is the back-pressure. And of the server
    /// itself nothing while it owes another answer (NSTART 1).
    fn may_ask(&self) -> bool {
        self.room
            && self.block.data.is_empty()
            && !self.started
            && !(self.own.is_some() && self.source() == Peer::Server)
    }

    #[inline(never)]
    fn next_block(&mut self) {
        if !self.download.wanted(self.now) {
            return;
        }
        let timeout = self.source_rtt.timeout_ms();
        let exchange = self.exchange(false, timeout);
        self.get = Some(Get {
            peer: self.source(),
            exchange,
            send: true,
        });
        self.download.sent();
    }

    /// Our message in flight ended: with a response's code, or `None`.
    pub(super) fn finish_own(&mut self, code: Option<Code>, location: &str) {
        let Some(own) = &self.own else { return };
        self.server_rtt.learn(&own.exchange);
        let what = own.what;
        self.own = None;
        let random = self.random();
        let byte = code.map(Code::byte);
        match what {
            What::Register | What::Update { .. } | What::Deregister => {
                let outcome = match byte {
                    Some(byte) => Outcome::Answer(byte, location),
                    None => Outcome::Lost,
                };
                if byte.is_none() && what == What::Register {
                    self.address = Address::Unknown; // it may have moved
                }
                if let Some(change) = self.registration.ended(self.now, outcome, random) {
                    self.changed(change);
                }
            }
            What::Send(_) => match self.reports.ended(self.now, byte, random) {
                Sent::UpdateFirst => self.registration.update_now(),
                Sent::Refused => self.dropped_report = true,
                Sent::Acknowledged | Sent::Later => {}
            },
            What::Notify { token, .. } => {
                if code.is_none() {
                    // RFC 7641 4.5: nobody listens any more.
                    self.observations.cancel(token, None);
                }
            }
            What::Response { .. } => {}
        }
    }

    pub(super) fn changed(&mut self, change: Change) {
        match change {
            Change::Registered => {
                self.observations.clear();
                self.reports.registered();
                self.last_error = None;
                self.link = Some(true);
                self.tell_versions();
            }
            Change::Updated => self.reports.updated(),
            Change::Lost(reason) => self.lost(reason),
        }
    }

    pub(super) fn lost(&mut self, reason: Option<Reason>) {
        if reason.is_some() {
            self.last_error = reason;
        }
        self.link = Some(false);
        if reason == Some(Reason::UnknownProduct) {
            self.refused = true;
            self.reports.refused();
        }
    }

    /// Writes the next datagram into `out` (`BLOCK + OVERHEAD` bytes): to whom, and its length.
    pub fn next_datagram(&mut self, out: &mut [u8]) -> Option<(Peer, usize)> {
        let sent = self.write_next(out);
        if sent.is_some() {
            self.traffic = self.now;
        }
        sent
    }

    #[inline(never)]
    fn write_next(&mut self, out: &mut [u8]) -> Option<(Peer, usize)> {
        if let Some(short) = self.short.take() {
            out.get_mut(..4)?.copy_from_slice(&short.bytes);
            return Some((short.peer, 4));
        }
        if let Some(answer) = self.answer.take()
            && let Some(len) = self.write_answer(&answer, out)
        {
            return Some((Peer::Server, len));
        }
        if self.own.is_none() && !self.source_busy() && self.registration.is_registered() {
            self.choose_notification(out);
        }
        if self.own.as_ref().is_some_and(|own| own.send)
            && let Some(len) = self.write_own(out)
        {
            return Some((Peer::Server, len));
        }
        let get = self.get.as_mut().filter(|get| get.send)?;
        get.send = false;
        let peer = get.peer;
        match write_get(&self.download, &get.exchange, out) {
            Ok(len) => Some((peer, len)),
            Err(_) => {
                self.get = None;
                self.download.stop();
                self.failed = Some(Reason::BadPackageUri);
                None
            }
        }
    }

    #[inline(never)]
    fn write_own(&mut self, out: &mut [u8]) -> Option<usize> {
        let own = self.own.as_mut()?;
        own.send = false;
        let writer = Writer {
            config: &self.config,
            device: &self.device,
            location: self.registration.location(),
            observation: match own.what {
                What::Notify { token, .. } => self.observations.get(token),
                _ => None,
            },
        };
        match writer.write(own, out) {
            Ok(len) => Some(len),
            Err(_) => {
                self.finish_own(None, "");
                None
            }
        }
    }

    #[inline(never)]
    fn choose_notification(&mut self, out: &mut [u8]) {
        while let Some(o) = self.observations.due(self.now) {
            let token = o.token;
            match write_content(&self.device, o.path, o.format, out) {
                Ok(len) => {
                    let digest = digest(out.get(..len).unwrap_or(&[]));
                    if self.observations.differs(self.now, token, digest) && self.path_is_old() {
                        // The Update goes first; the observation stays due.
                        return self.registration.update_now();
                    }
                    if let Some(sequence) = self.observations.compare(self.now, token, digest) {
                        self.start(What::Notify { token, sequence });
                        return;
                    }
                }
                // The instance is gone, or the value has no place: the observation ends with it.
                Err(_) => self.observations.cancel(token, None),
            }
        }
    }

    /// When [`poll`](Self::poll) must be called if nothing else happens.
    pub fn deadline(&self) -> Option<Millis> {
        let at = self.next_step();
        (at != NEVER).then_some(at)
    }

    #[inline(never)]
    fn next_step(&self) -> Millis {
        let sends = self.own.as_ref().is_some_and(|own| own.send)
            || self.get.as_ref().is_some_and(|get| get.send);
        if sends || self.answer.is_some() || self.short.is_some() {
            return 0;
        }
        let own = match &self.own {
            Some(own) => or_never(own.exchange.deadline()),
            None if self.source_busy() => NEVER,
            None => self.next_choice(),
        };
        let get = match &self.get {
            Some(get) => or_never(get.exchange.deadline()),
            // What is waited for ends with another input, not with time.
            None if !self.may_ask() => NEVER,
            None if self.download.is_ready() => 0,
            // The look-up of the server's own address is under way or comes with the next step.
            None if self.address == Address::Asked && self.source() == Peer::Server => NEVER,
            None => or_never(self.download.deadline()),
        };
        let pending = or_never(self.pending.as_ref().and_then(Pending::deadline));
        own.min(get).min(pending).min(or_never(self.change.until))
    }

    fn next_choice(&self) -> Millis {
        if self.separate_response().is_some() {
            return 0;
        }
        let registration = match self.address {
            Address::Asked => NEVER,
            _ => or_never(self.registration.deadline()),
        };
        if !self.registration.is_registered() {
            return registration;
        }
        registration
            .min(or_never(self.reports.deadline()))
            .min(or_never(self.observations.deadline()))
    }
}

/// No time: among deadlines it is the last, and the code for two of them is half of that for two `Option`s.
const NEVER: Millis = Millis::MAX;

fn or_never(deadline: Option<Millis>) -> Millis {
    deadline.unwrap_or(NEVER)
}
