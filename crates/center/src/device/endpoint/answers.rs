//! Answers to devices: in the ACK when they are there in time, else separately (RFC 7252 section 5.2.2).
//!
//! | stage of a CON request | entered when | a repeat of it gets |
//! |---|---|---|
//! | Working | a call was made for it | nothing: its answer or its empty ACK is on the way |
//! | Acknowledged | [`Config::ack_after_ms`] passed: an empty ACK went out | the empty ACK again |
//! | Answering | the reply came: the answer goes as a CON of ours, again and again until its ACK | the empty ACK again |
//! | none | answered in time; or the ACK or RST of the answer came, or none in all that time | the work anew |
//!
//! A device that was not told yet that it is registered is asked nothing: requests to it wait for the ACK.

use sota_coap::endpoint::Table as _;

use super::*;

/// A request, by sender, message id and token. With the token: a device that restarts may begin with the message ids
/// of before.
pub(super) type RequestKey = (SocketAddr, u16, Token);

/// The table above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Working {
        /// When the empty ACK is due, ms; `u64::MAX` of a NON, which has none.
        ack_at: u64,
    },
    Acknowledged,
    Answering,
}

/// Where an answer goes.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    pub(super) address: SocketAddr,
    pub(super) kind: Kind,
    pub(super) message_id: u16,
    pub(super) token: Token,
    /// Bytes of its request.
    pub(super) len: usize,
}

impl Asker {
    pub(super) fn new(address: SocketAddr, message: &Message<'_>, len: usize) -> Asker {
        Asker {
            address,
            kind: message.kind(),
            message_id: message.message_id(),
            token: message.token(),
            len,
        }
    }

    pub(super) fn key(&self) -> RequestKey {
        (self.address, self.message_id, self.token)
    }
}

/// A separate answer that is not acknowledged yet; its key is the address and our message id.
#[derive(Debug)]
pub(super) struct Separate {
    /// To be sent again.
    datagram: Vec<u8>,
    request: RequestKey,
    /// Bytes that may still be sent to an address that no registered device has.
    credit: usize,
}

impl Endpoint {
    /// Calls for a request whose answer waits for the reply.
    pub(super) fn work(
        &mut self,
        now: u64,
        asker: Asker,
        pending: impl FnOnce(Asker) -> Pending,
        call: Call,
    ) {
        let unanswered = self
            .working
            .len()
            .saturating_sub(self.answers.table().len());
        if unanswered >= MAX_PENDING {
            return self.answer(now, &asker, Code::SERVICE_UNAVAILABLE, &[]);
        }
        let (key, kind) = (asker.key(), asker.kind);
        let pending = pending(asker);
        self.arriving += usize::from(matches!(
            pending,
            Pending::Register(..) | Pending::Update(_)
        ));
        self.call(pending, call);
        let mut ack_at = u64::MAX;
        if kind == Kind::Con {
            ack_at = now.saturating_add(self.config.ack_after_ms);
            // The delay is always the same, so they come due in the order of the requests.
            self.ack_due.push_back((ack_at, key));
        }
        self.working.insert(key, Stage::Working { ack_at });
    }

    /// Whether this is a request that is being worked on or answered: then nothing but its ACK is due.
    pub(super) fn is_repeated(&mut self, asker: &Asker) -> bool {
        match self.working.get(&asker.key()) {
            None => return false,
            Some(Stage::Working { .. }) => {}
            Some(Stage::Acknowledged | Stage::Answering) => {
                self.acknowledge(asker.address, asker.message_id);
            }
        }
        true
    }

    /// When the next empty ACK is due, or was before its answer came.
    pub(super) fn ack_deadline(&self) -> Option<u64> {
        self.ack_due.front().map(|(at, _)| *at)
    }

    /// Sends the empty ACKs that are due.
    pub(super) fn acknowledge_due(&mut self, now: u64) {
        while let Some((at, key)) = self.ack_due.front().copied().filter(|(at, _)| *at <= now) {
            self.ack_due.pop_front();
            let (address, message_id, _) = key;
            if let Some(stage) = self.working.get_mut(&key)
                && *stage == (Stage::Working { ack_at: at })
            {
                *stage = Stage::Acknowledged;
                self.acknowledge(address, message_id);
            }
        }
    }

    fn acknowledge(&mut self, address: SocketAddr, message_id: u16) {
        let ack = message::ack(message_id).to_vec();
        self.charge(address, ack.len());
        self.send(address, ack);
    }

    /// An answer goes to a device in any case, and what else it may be sent is less for it.
    fn charge(&mut self, address: SocketAddr, len: usize) {
        let known = self.peers.by_address(&address);
        if let Some(peer) = known.and_then(|id| self.peers.get_mut(id)) {
            peer.credit = peer.credit.saturating_sub(len);
        }
    }

    /// Answers a request.
    pub(super) fn answer(&mut self, now: u64, asker: &Asker, code: Code, location: &[&str]) {
        self.answer_with(now, asker, code, location, "");
    }

    /// Refuses a request and says why in the payload (RFC 7252 section 5.5.2), `1220 DeviceDisabled`: 4.03 has several
    /// causes.
    pub(super) fn refuse(&mut self, now: u64, asker: &Asker, code: Code, error: CenterError) {
        let why = format!("{} {}", error.number(), error.name());
        self.answer_with(now, asker, code, &[], &why);
    }

    fn answer_with(
        &mut self,
        now: u64,
        asker: &Asker,
        code: Code,
        location: &[&str],
        diagnostic: &str,
    ) {
        let stage = self.working.remove(&asker.key());
        let separate = stage == Some(Stage::Acknowledged);
        let (kind, message_id) = match asker.kind {
            Kind::Con if separate => (Kind::Con, self.next_message_id()),
            Kind::Con => (Kind::Ack, asker.message_id),
            _ => (Kind::Non, self.next_message_id()),
        };
        let mut out = [0; 128];
        let mut builder = Builder::new(&mut out, kind, code, message_id, asker.token);
        for segment in location {
            builder.option(option::LOCATION_PATH, segment.as_bytes());
        }
        if !diagnostic.is_empty() {
            builder.payload(diagnostic.as_bytes());
        }
        let Ok(len) = builder.finish() else {
            return;
        };
        let datagram = out[..len].to_vec();
        if separate {
            self.expect_ack(now, asker, message_id, datagram.clone());
        }
        self.charge(asker.address, len);
        self.send(asker.address, datagram);
    }

    /// A separate answer goes out now, and again until it is acknowledged. With too many of them under way it goes
    /// out once: the device that misses it asks again.
    fn expect_ack(&mut self, now: u64, asker: &Asker, message_id: u16, datagram: Vec<u8>) {
        let random = self.random() as u16;
        let known = self.peers.by_address(&asker.address);
        let peer = known.and_then(|id| self.peers.get_mut(id));
        let params = &self.config.params;
        let timeout = peer.map_or(params.ack_timeout_ms, |peer| peer.rtt.timeout_ms());
        let token = asker.token;
        let exchange = Exchange::start_confirm(now, message_id, token, params, timeout, random);
        let sent = message::ack(message_id).len() + datagram.len();
        let separate = Separate {
            datagram,
            request: asker.key(),
            credit: (AMPLIFICATION * asker.len).saturating_sub(sent),
        };
        let key = (asker.address, message_id);
        if self.answers.start(key, exchange, separate).is_ok() {
            self.working.insert(asker.key(), Stage::Answering);
        }
    }

    /// Whether this was the ACK or the RST of a separate answer.
    pub(super) fn answer_arrived(
        &mut self,
        now: u64,
        from: SocketAddr,
        known: Option<PeerId>,
        m: &Message<'_>,
    ) -> bool {
        let key = (from, m.message_id());
        match self.answers.on_message(now, key, m) {
            Incoming::Confirmed(ended) => {
                if let Some(peer) = known.and_then(|id| self.peers.get_mut(id)) {
                    peer.rtt.learn(&ended.exchange);
                }
                self.working.remove(&ended.kept.request);
                true
            }
            Incoming::Reset(ended) => {
                self.working.remove(&ended.kept.request);
                true
            }
            _ => false,
        }
    }

    /// Sends separate answers again.
    pub(super) fn answers_due(&mut self, now: u64) {
        while let Some(due) = self.answers.poll(now) {
            match due {
                Due::Resend(key) => self.answer_again(key),
                Due::GaveUp((address, _), ended) => {
                    let error = CenterError::DeviceSilent;
                    tracing::info!(number = error.number(), %address, "{error}");
                    self.working.remove(&ended.kept.request);
                    if let Some(id) = self.peers.by_address(&address) {
                        self.pump(id, now);
                    }
                }
            }
        }
    }

    fn answer_again(&mut self, key: (SocketAddr, u16)) {
        let known = self.peers.by_address(&key.0);
        let peer = known.and_then(|id| self.peers.get_mut(id));
        let datagram = self.answers.change(key, |separate| {
            let len = separate.datagram.len();
            let may = match peer {
                Some(peer) => peer.pay(len),
                None if separate.credit < len => false,
                None => {
                    separate.credit -= len;
                    true
                }
            };
            may.then(|| separate.datagram.clone())
        });
        if let Some(datagram) = datagram.flatten() {
            self.send(key.0, datagram);
        }
    }

    /// A separate answer to this address is not acknowledged yet.
    pub(super) fn is_answering(&self, address: SocketAddr) -> bool {
        let from = (address, 0, Token::EMPTY);
        let mut its = self.working.range(from..);
        its.by_ref()
            .take_while(|((to, _, _), _)| *to == address)
            .any(|(_, stage)| *stage == Stage::Answering)
    }
}
