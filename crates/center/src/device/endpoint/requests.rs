//! Requests of devices: registration, Send, package blocks that are not in the cache yet.

use sota_lwm2m::server::registration;

use super::*;

impl Endpoint {
    pub(super) fn request(
        &mut self,
        now: u64,
        peer: SocketAddr,
        message: &Message<'_>,
        bytes: &[u8],
    ) {
        let asker = Asker::new(peer, message, bytes.len());
        if self.is_repeated(&asker) {
            return;
        }
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
                return self.answer(now, &asker, Code::REQUEST_ENTITY_TOO_LARGE, &[]);
            }
            self.complain(now, peer, format_args!("critical option {number}"));
            return self.answer(now, &asker, Code::BAD_OPTION, &[]);
        }
        let mut path = message.path();
        let segments = (path.next(), path.next(), path.next());
        match (segments, message.code()) {
            ((Some(b"rd"), None, None), Code::POST) => self.register(now, asker, message),
            ((Some(b"rd"), Some(id), None), Code::POST | Code::PUT) => {
                self.update(now, asker, message, id);
            }
            ((Some(b"rd"), Some(id), None), Code::DELETE) => self.deregister(now, asker, id),
            ((Some(b"dp"), None, None), Code::POST) => self.send_of_device(now, asker, message),
            ((Some(b"rd"), _, None) | (Some(b"dp"), None, None), _) => {
                self.answer(now, &asker, Code::METHOD_NOT_ALLOWED, &[]);
            }
            _ => self.answer(now, &asker, Code::NOT_FOUND, &[]),
        }
    }

    /// Whether it was a request for a package.
    pub(super) fn block(
        &mut self,
        now: u64,
        peer: SocketAddr,
        bytes: &[u8],
        asker: &Asker,
    ) -> bool {
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
                    self.answer(now, asker, Code::SERVICE_UNAVAILABLE, &[]);
                    return true;
                }
                let datagram = Datagram {
                    peer,
                    bytes: bytes.to_vec(),
                };
                let list = self.loading.entry((package, chunk)).or_default();
                list.push(datagram);
                if list.len() == 1 {
                    self.load(package, chunk);
                }
                true
            }
        }
    }

    pub(super) fn load(&mut self, package: PackageId, chunk: u64) {
        let deletions = self.shared.lock().packages.deletions();
        let pending = Pending::Load(package, chunk, deletions);
        self.call(pending, Call::Load { package, chunk });
    }

    pub(super) fn loaded(&mut self, now: u64, package: PackageId, chunk: u64, reply: Reply) {
        let waiting = self.loading.remove(&(package, chunk)).unwrap_or_default();
        let found = match reply {
            Reply::Chunk { length, data } => {
                let mut state = self.shared.lock();
                state.packages.set_length(package, length);
                // Also when it is empty: else a file that shrank under us would be missed again for ever.
                state.packages.put_chunk(package, chunk, data);
                Ok(())
            }
            Reply::Failed(CenterError::NoSuchPackage | CenterError::BlobMissing) => {
                Err(Code::NOT_FOUND)
            }
            _ => Err(Code::INTERNAL_SERVER_ERROR),
        };
        for datagram in waiting {
            match found {
                Ok(()) => self.datagram(now, datagram.peer, &datagram.bytes),
                Err(code) => {
                    if let Ok(message) = Message::new_checked(&datagram.bytes) {
                        let len = datagram.bytes.len();
                        let asker = Asker::new(datagram.peer, &message, len);
                        self.answer(now, &asker, code, &[]);
                    }
                }
            }
        }
    }

    pub(super) fn register(&mut self, now: u64, asker: Asker, message: &Message<'_>) {
        let peer = asker.address;
        let bad = |this: &mut Self, what: &str| {
            this.complain(now, peer, format_args!("registration: {what}"));
            this.answer(now, &asker, Code::BAD_REQUEST, &[]);
        };
        let asked = match registration::Register::parse(message) {
            Ok(asked) => asked,
            Err(registration::Fault::Format) => {
                return self.answer(now, &asker, Code::UNSUPPORTED_CONTENT_FORMAT, &[]);
            }
            Err(fault) => return bad(self, fault.meaning()),
        };
        let endpoint = match domain::Endpoint::parse(asked.endpoint) {
            Ok(endpoint) => endpoint,
            Err(problem) => return bad(self, &problem.to_string()),
        };
        let known = self.peers.by_endpoint(&endpoint).is_some();
        if !known && self.peers.len() + self.pending.len() >= self.config.max_registrations {
            self.shared
                .lock()
                .trouble(CenterError::TooManyRegistrations, now, peer);
            return self.answer(now, &asker, Code::SERVICE_UNAVAILABLE, &[]);
        }
        let mut binding = asked.binding.to_owned();
        if asked.queue && !binding.contains('Q') {
            binding.push('Q');
        }
        let register = Register {
            endpoint,
            address: peer.to_string(),
            lifetime_s: asked.lifetime_s,
            binding,
            lwm2m: asked.lwm2m.to_owned(),
            objects: asked.objects.0.to_owned(),
        };
        self.work(
            now,
            asker,
            |asker| Pending::Register(asker, peer),
            Call::Register(register),
        );
    }

    pub(super) fn registered(
        &mut self,
        now: u64,
        asker: &Asker,
        address: SocketAddr,
        reply: Reply,
    ) {
        let (endpoint, registration) = match reply {
            Reply::Registered(endpoint, registration) => (endpoint, registration),
            // The operator's own doing is no trouble.
            Reply::Failed(error @ CenterError::DeviceDisabled) => {
                return self.refuse(now, asker, Code::FORBIDDEN, error);
            }
            Reply::Failed(error) => {
                let code = match error {
                    CenterError::UnknownProductKey => Code::FORBIDDEN,
                    CenterError::BadEndpointName => Code::BAD_REQUEST,
                    _ => Code::INTERNAL_SERVER_ERROR,
                };
                self.shared.lock().trouble(error, now, address);
                return self.refuse(now, asker, code, error);
            }
            _ => return self.answer(now, asker, Code::INTERNAL_SERVER_ERROR, &[]),
        };
        let location = registration.id.clone();
        let id = self.adopt(now, endpoint.clone(), registration, address);
        if let Some(peer) = self.peers.get_mut(id) {
            // Less the empty ACK that it may have got; the answer is charged when it goes out.
            let ack = message::ack(asker.message_id).len();
            peer.credit = (AMPLIFICATION * asker.len).saturating_sub(ack);
        }
        self.answer(now, asker, Code::CREATED, &["rd", &location]);
        self.early_commands(now, &endpoint);
        self.pump(id, now);
    }

    /// Puts a registration into the table in place of an older one of the same device. A client without Plan
    /// object is asked for its versions.
    pub(super) fn adopt(
        &mut self,
        now: u64,
        endpoint: domain::Endpoint,
        registration: Registration,
        address: SocketAddr,
    ) -> PeerId {
        let old = self.peers.by_endpoint(&endpoint).and_then(|id| {
            self.requests.stop(id);
            self.peers.remove(id)
        });
        if let Some(other) = self.peers.by_address(&address) {
            // Another device was at this address (a NAT gave it to the next): it is heard again elsewhere.
            self.forget(other);
        }
        let objects = peers::objects(&registration.objects);
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

    pub(super) fn update(&mut self, now: u64, asker: Asker, message: &Message<'_>, id: &[u8]) {
        let Ok(id) = std::str::from_utf8(id) else {
            return self.answer(now, &asker, Code::NOT_FOUND, &[]);
        };
        let asked = match registration::Update::parse(message) {
            Ok(asked) => asked,
            Err(registration::Fault::Format) => {
                return self.answer(now, &asker, Code::UNSUPPORTED_CONTENT_FORMAT, &[]);
            }
            Err(fault) => {
                let text = format_args!("update: {}", fault.meaning());
                self.complain(now, asker.address, text);
                return self.answer(now, &asker, Code::BAD_REQUEST, &[]);
            }
        };
        let disabled = self.peers.by_registration(id).filter(|id| {
            let peer = self.peers.get_mut(*id);
            peer.is_some_and(|peer| peer.disabled)
        });
        if disabled.is_some() {
            let error = CenterError::DeviceDisabled;
            return self.refuse(now, &asker, Code::FORBIDDEN, error);
        }
        let lifetime_s = asked.lifetime_s;
        let objects = asked.objects.map(|objects| objects.0.to_owned());
        let update = RegistrationUpdate {
            address: Some(asker.address.to_string()),
            lifetime_s,
            binding: asked.binding.map(str::to_owned),
            objects: objects.clone(),
        };
        let known = self.peers.by_registration(id).filter(|_| objects.is_none());
        let call = Call::Update {
            id: id.to_owned(),
            update,
            known: known.is_some(),
        };
        let Some(peer_id) = known else {
            return self.work(now, asker, Pending::Update, call);
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
        if self.pending.len() < MAX_PENDING {
            self.answer(now, &asker, Code::CHANGED, &[]);
            self.call(Pending::Known(peer_id), call);
        } else {
            // More come than can be done: the answer waits, and so does the device.
            self.work(now, asker, Pending::Update, call);
        }
        // What could not be read after the registration is read now.
        if let Some(Door::Standard(standard)) = self.peers.get_mut(peer_id).map(|p| &p.door)
            && standard.asks()
        {
            let reads = standard.read_versions();
            self.enqueue(peer_id, reads);
        }
        self.pump(peer_id, now);
    }

    pub(super) fn move_to(&mut self, id: PeerId, address: SocketAddr) {
        if let Some(other) = self.peers.by_address(&address).filter(|other| *other != id) {
            self.forget(other);
        }
        if let Some(old) = self.peers.moved(id, address).filter(|old| *old != address) {
            self.shared.lock().addresses.remove_device(&old);
        }
    }

    pub(super) fn deregister(&mut self, now: u64, asker: Asker, id: &[u8]) {
        let id = String::from_utf8_lossy(id).into_owned();
        if let Some(peer) = self.peers.by_registration(&id) {
            self.forget(peer);
        }
        self.work(now, asker, Pending::Deregister, Call::Deregister { id });
    }

    pub(super) fn send_of_device(&mut self, now: u64, asker: Asker, message: &Message<'_>) {
        let Some(id) = self.peers.by_address(&asker.address) else {
            return self.answer(now, &asker, Code::NOT_FOUND, &[]);
        };
        let format = message.uint_option(option::CONTENT_FORMAT);
        let senml = ContentFormat::SenmlCbor;
        if format != Some(u32::from(senml.number())) {
            return self.answer(now, &asker, Code::UNSUPPORTED_CONTENT_FORMAT, &[]);
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
                self.work(now, asker, Pending::Told, call);
            }
            Err(error) => {
                self.complain(now, asker.address, format_args!("Send: {error:?}"));
                self.answer(now, &asker, Code::BAD_REQUEST, &[]);
            }
        }
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
