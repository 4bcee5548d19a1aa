//! Requests to devices: one at a time to each (NSTART 1), sent again, answered, and what follows.

use super::*;

impl Endpoint {
    pub(super) fn response(
        &mut self,
        now: u64,
        from: SocketAddr,
        known: Option<PeerId>,
        m: &Message<'_>,
    ) {
        let Some(id) = known else {
            if m.kind() == Kind::Con {
                self.send(from, message::reset(m.message_id()).to_vec());
            }
            return;
        };
        // An observation's token outlives its exchange, which must not take the notifications for copies.
        let observed = self
            .peers
            .get_mut(id)
            .is_some_and(|peer| peer.observations.contains_key(&m.token()));
        if observed {
            return self.notification(id, now, from, m);
        }
        match self.requests.on_message(now, id, m) {
            Incoming::Response(ended, ack) => {
                if let Some(ack) = ack {
                    self.send(from, ack.to_vec());
                }
                self.verified(id);
                self.finish(id, now, ended, Some(m));
            }
            Incoming::Repeated(Some(ack)) => self.send(from, ack.to_vec()),
            Incoming::Reset(ended) => self.finish(id, now, ended, None),
            Incoming::Acked | Incoming::Confirmed(_) | Incoming::Repeated(None) => {}
            Incoming::NotMine => self.notification(id, now, from, m),
        }
    }

    pub(super) fn notification(&mut self, id: PeerId, now: u64, from: SocketAddr, m: &Message<'_>) {
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
    fn finish(
        &mut self,
        id: PeerId,
        now: u64,
        ended: Finished<InFlight>,
        answer: Option<&Message<'_>>,
    ) {
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        peer.rtt.learn(&ended.exchange);
        let endpoint = peer.endpoint.clone();
        let code = answer.map_or(Code::BAD_REQUEST, |m| m.code());
        let what = ended.kept.what;
        if let Door::Standard(standard) = &mut peer.door {
            if what.purpose == Purpose::Observe && code.is_success() {
                peer.observations.insert(ended.exchange.token(), what.path);
            }
            if matches!(what.purpose, Purpose::Read | Purpose::Observe) {
                if let Some(m) = answer.filter(|_| code.is_success()) {
                    self.values(id, now, what.path, m);
                }
                return self.ask_for_client(id);
            }
            let step = standard.answered(&what.purpose, code);
            return self.step(id, now, step);
        }
        match what.purpose {
            Purpose::Offer { offer } if code == Code::METHOD_NOT_ALLOWED => {
                self.call(Pending::Quiet, Call::Busy { endpoint, offer });
            }
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

    /// A client without Plan object asks for a plan by registering: once all it runs is read.
    fn ask_for_client(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        let Door::Standard(standard) = &mut peer.door else {
            return;
        };
        if peer.todo.is_empty() && self.requests.kept(id).is_none() && standard.take_ask() {
            let endpoint = peer.endpoint.clone();
            let call = Call::Told {
                endpoint,
                facts: domain::DeviceFacts::default(),
                reports: Vec::new(),
                request: Some(true),
            };
            self.call(Pending::Quiet, call);
        }
    }

    /// Resources were read or notified.
    pub(super) fn values(&mut self, id: PeerId, now: u64, path: Path, m: &Message<'_>) {
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
    pub(super) fn step(&mut self, id: PeerId, now: u64, step: Step) {
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        let endpoint = peer.endpoint.clone();
        let active = matches!(&peer.door, Door::Standard(standard) if standard.active());
        let poll = (active && !peer.disabled).then(|| now.saturating_add(self.config.poll_ms));
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

    pub(super) fn ask_state(&mut self, id: PeerId, now: u64) {
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

    pub(super) fn resend(&mut self, id: PeerId) {
        let kept = self.requests.kept(id);
        let (Some(peer), Some(flight)) = (self.peers.get_mut(id), kept) else {
            return;
        };
        let (address, bytes) = (peer.address, flight.datagram.clone());
        if peer.pay(bytes.len()) {
            self.send(address, bytes);
        }
    }

    pub(super) fn gave_up(&mut self, id: PeerId, ended: &Finished<InFlight>) {
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        let error = CenterError::DeviceSilent;
        tracing::info!(number = error.number(), device = %peer.endpoint, "{error}");
        peer.rtt.learn(&ended.exchange);
        peer.silent = true;
        // The rules know what it is owed and say it again at its next contact.
        peer.todo.clear();
    }

    pub(super) fn enqueue(&mut self, id: PeerId, requests: Vec<Outgoing>) {
        let Some(peer) = self.peers.get_mut(id).filter(|peer| !peer.disabled) else {
            return;
        };
        let in_flight = self.requests.kept(id).map(|flight| &flight.what);
        for request in requests {
            let same = in_flight == Some(&request);
            if !same && !peer.todo.contains(&request) && peer.todo.len() < MAX_TODO {
                peer.todo.push_back(request);
            }
        }
    }

    /// Sends the next request to a peer if nothing is in flight (NSTART 1) and it can be reached.
    pub(super) fn pump(&mut self, id: PeerId, now: u64) {
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        let ready = !peer.todo.is_empty() && peer.reachable(now, self.config.queue_window_ms);
        let address = peer.address;
        if !ready || self.requests.kept(id).is_some() || self.is_answering(address) {
            return;
        }
        let (random, token) = (self.random() as u16, self.token());
        let message_id = self.next_message_id();
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        let Some(what) = peer.todo.pop_front() else {
            return;
        };
        let Ok(datagram) = what.encode(message_id, token) else {
            tracing::error!(device = %peer.endpoint, "a request to the device does not fit a datagram");
            return;
        };
        if !peer.pay(datagram.len()) {
            // Its next message brings credit; until then nobody can be flooded through us.
            peer.todo.push_front(what);
            return;
        }
        let params = &self.config.params;
        let timeout = peer.rtt.timeout_ms();
        let exchange = Exchange::start(now, message_id, token, params, timeout, random);
        let (address, bytes) = (peer.address, datagram.clone());
        match self
            .requests
            .start(id, exchange, InFlight { datagram, what })
        {
            Ok(()) => self.send(address, bytes),
            Err(Refused::Busy(flight) | Refused::Full(flight)) => {
                peer.todo.push_front(flight.what);
            }
        }
    }

    /// The peer showed that it receives what we send.
    pub(super) fn verified(&mut self, id: PeerId) {
        if let Some(peer) = self.peers.get_mut(id) {
            peer.verified = true;
            self.shared
                .lock()
                .addresses
                .set_device(peer.address, peer.number);
        }
    }

    /// No request is sent to the peer from now on.
    pub(super) fn disable(&mut self, id: PeerId) {
        self.requests.stop(id);
        if let Some(peer) = self.peers.get_mut(id) {
            peer.disabled = true;
            peer.todo.clear();
        }
        self.peers.arm(id, Timer::Poll, None);
    }

    pub(super) fn forget(&mut self, id: PeerId) {
        self.requests.stop(id);
        if let Some(peer) = self.peers.remove(id) {
            self.shared.lock().addresses.remove_device(&peer.address);
        }
    }
}
