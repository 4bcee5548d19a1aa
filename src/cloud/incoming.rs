//! Datagrams that came: responses to our messages, and requests of the server.

use sota_coap::dedup::{Dedup, Seen};
use sota_coap::message::{ack, reset, reset_for};
use sota_coap::{Block, Builder, Code, Kind, Message, Reaction, Token, after, option};
use sota_lwm2m::client::dispatch::{Reply, Request, dispatch, write_content, write_links};
use sota_lwm2m::client::observe::digest;
use sota_lwm2m::client::registration::LOCATION_LEN;
use sota_lwm2m::{ContentFormat, Path};

use super::config::Peer;
use super::download::Got;
use super::machine::Cloud;
use super::objects::verdict_code;
use super::own::What;
use crate::message::{Millis, Reason};
use crate::utf8;

/// An answer waits this long for the engine's verdict before an empty ACK goes out (RFC 7252 5.2.2); well
/// below the server's ACK_TIMEOUT of 2 s, so that it does not send again.
const PIGGYBACK_MS: u32 = 800;

/// Critical options a request may have.
const KNOWN: &[u16] = &[
    option::URI_HOST,
    option::URI_PORT,
    option::URI_PATH,
    option::URI_QUERY,
    option::ACCEPT,
    option::BLOCK1,
    option::BLOCK2,
];

/// An empty message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Short {
    pub(super) peer: Peer,
    pub(super) bytes: [u8; 4],
}

/// The answer to the request that came last, written when the port asks for datagrams.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    kind: Kind,
    message_id: u16,
    token: Token,
    reply: Reply,
    /// Observe of the request.
    observe: Option<u32>,
    block2: Option<Block>,
}

/// A request whose answer waits for the engine's verdict.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    kind: Kind,
    message_id: u16,
    token: Token,
    /// When the empty ACK goes out; `None`: it went.
    acknowledge_at: Option<Millis>,
    verdict: Option<Code>,
}

impl Pending {
    pub(super) fn deadline(&self) -> Option<Millis> {
        self.acknowledge_at
    }
}

impl<const BLOCK: usize> Cloud<BLOCK> {
    /// A datagram from one of the two peers. Bytes that are no CoAP are dropped or answered with a Reset.
    #[inline(never)]
    pub fn on_datagram(&mut self, now: Millis, from: Peer, bytes: &[u8]) {
        self.now = now;
        let Ok(message) = Message::new_checked(bytes) else {
            if let Some(bytes) = reset_for(bytes) {
                self.short = Some(Short { peer: from, bytes });
            }
            return;
        };
        self.traffic = now;
        if message.code().is_request() {
            match (from, message.kind()) {
                (Peer::Server, Kind::Con | Kind::Non) => self.on_request(&message),
                _ => self.reject(from, &message),
            }
            return;
        }
        if self.on_own(from, &message) || self.on_get(from, &message) {
            return;
        }
        if message.kind() == Kind::Con {
            match self.acknowledged == Some((from, message.message_id())) {
                true => self.acknowledge(from, message.message_id()),
                // A response to a request we forgot, or a ping.
                false => self.reject(from, &message),
            }
        }
    }

    fn reject(&mut self, from: Peer, message: &Message<'_>) {
        if message.kind() == Kind::Con {
            self.short = Some(Short {
                peer: from,
                bytes: reset(message.message_id()),
            });
        }
    }

    #[inline(never)]
    fn acknowledge(&mut self, peer: Peer, message_id: u16) {
        self.acknowledged = Some((peer, message_id));
        self.short = Some(Short {
            peer,
            bytes: ack(message_id),
        });
    }

    /// Responses, ACKs and Resets of our own message; `true`: it was one.
    #[inline(never)]
    fn on_own(&mut self, from: Peer, message: &Message<'_>) -> bool {
        let Some(own) = self.own.as_mut().filter(|_| from == Peer::Server) else {
            return false;
        };
        let what = own.what;
        match own.exchange.on_message(self.now, message) {
            Reaction::NotMine => return false,
            Reaction::Acked => {
                own.send = false;
                self.heard = self.now;
                if matches!(what, What::Notify { .. } | What::Response { .. }) {
                    self.finish_own(Some(Code::EMPTY), "");
                }
            }
            Reaction::Reset => self.finish_own(None, ""),
            Reaction::Repeated { ack } => {
                if ack {
                    self.acknowledge(from, message.message_id());
                }
            }
            Reaction::Response { ack } => {
                if ack {
                    self.acknowledge(from, message.message_id());
                }
                self.heard = self.now;
                let mut path = heapless::String::new();
                location(message, &mut path);
                self.finish_own(Some(message.code()), &path);
            }
        }
        true
    }

    /// The same for the block in flight.
    fn on_get(&mut self, from: Peer, message: &Message<'_>) -> bool {
        let Some(get) = &mut self.get else {
            return false;
        };
        // An address that is both is called Server: the token tells whose it is.
        if from != get.peer && from != Peer::Server {
            return false;
        }
        match get.exchange.on_message(self.now, message) {
            Reaction::NotMine => return false,
            Reaction::Acked => get.send = false,
            Reaction::Reset => self.lose_get(),
            Reaction::Repeated { ack } => {
                if ack {
                    self.acknowledge(from, message.message_id());
                }
            }
            Reaction::Response { ack } => {
                if ack {
                    self.acknowledge(from, message.message_id());
                }
                if let Some(get) = &self.get {
                    self.source_rtt.learn(&get.exchange);
                    if get.peer == Peer::Server {
                        self.heard = self.now;
                    }
                }
                self.get = None;
                self.on_block(message);
            }
        }
        true
    }

    #[inline(never)]
    fn on_block(&mut self, message: &Message<'_>) {
        let random = self.random();
        match self.download.on_answer(self.now, message, random) {
            Got::Block {
                offset,
                data,
                started,
            } => {
                self.started |= started;
                self.block.offset = offset;
                self.block.data.clear();
                // At most as many as the block that was asked for, so they always fit.
                let _ = self.block.data.extend_from_slice(data);
            }
            Got::Again => {}
            Got::Failed(reason) => self.failed = Some(reason),
        }
    }

    #[inline(never)]
    fn on_request(&mut self, message: &Message<'_>) {
        let (kind, mid) = match message.kind() {
            Kind::Con => (Kind::Ack, message.message_id()),
            _ => (Kind::Non, self.next_message_id()),
        };
        let mut answer = Answer {
            kind,
            message_id: mid,
            token: message.token(),
            reply: Reply::Code(Code::BAD_OPTION),
            observe: message.uint_option(option::OBSERVE),
            block2: None,
        };
        let first = message.message_id();
        // A Read may be done twice; anything else only once.
        let read = message.code() == Code::GET;
        if !read {
            let lifetime = self.params.exchange_lifetime_ms();
            match Dedup(&mut self.remembered).check(self.now, Peer::Server, first, lifetime) {
                Seen::New => {}
                Seen::Answered(code) => {
                    answer.reply = Reply::Code(code);
                    self.answer = Some(answer);
                    return;
                }
                Seen::InProgress => {
                    if let Some(pending) = self.pending
                        && pending.acknowledge_at.is_none()
                        && kind == Kind::Ack
                    {
                        self.short = Some(Short {
                            peer: Peer::Server,
                            bytes: ack(first),
                        });
                    }
                    return;
                }
                Seen::Full => {
                    answer.reply = Reply::Code(Code::SERVICE_UNAVAILABLE);
                    self.answer = Some(answer);
                    return;
                }
            }
        }
        answer.reply = self.handle(message, &mut answer.block2);
        if answer.reply == Reply::Deferred {
            self.new_ticket();
            self.pending = Some(Pending {
                kind,
                // The ACK and the piggybacked answer name the request.
                message_id: first,
                token: message.token(),
                acknowledge_at: (kind == Kind::Ack).then(|| after(self.now, PIGGYBACK_MS)),
                verdict: None,
            });
            return;
        }
        if let (Reply::Code(code), false) = (answer.reply, read) {
            Dedup(&mut self.remembered).answered(Peer::Server, first, code);
        }
        if let (Reply::Content { path, .. }, Some(1)) = (answer.reply, answer.observe) {
            self.observations.cancel(message.token(), Some(path));
        }
        self.answer = Some(answer);
    }

    fn handle(&mut self, message: &Message<'_>, block2: &mut Option<Block>) -> Reply {
        if message.first_unknown_critical(KNOWN).is_some() {
            return Reply::Code(Code::BAD_OPTION);
        }
        *block2 = match message.block(option::BLOCK2) {
            Some(Err(_)) => return Reply::Code(Code::BAD_OPTION),
            Some(Ok(block)) => Some(block),
            None => None,
        };
        match message.block(option::BLOCK1) {
            None => {}
            Some(Ok(block)) if block.num == 0 && !block.more => {}
            // Every Write this device takes fits one message: there is no place to join parts.
            Some(_) => return Reply::Code(Code::REQUEST_ENTITY_TOO_LARGE),
        }
        let Some(path) = Path::from_segments(message.path()) else {
            return Reply::Code(Code::NOT_FOUND);
        };
        let request = Request {
            method: message.code(),
            path,
            accept: message.uint_option(option::ACCEPT),
            format: message.uint_option(option::CONTENT_FORMAT),
            payload: message.payload(),
        };
        dispatch(&mut self.device, &request)
    }

    /// Writes the answer; `None` if not even a code fits.
    pub(super) fn write_answer(&mut self, answer: &Answer, out: &mut [u8]) -> Option<usize> {
        let code = match answer.reply {
            Reply::Code(code) => code,
            Reply::Deferred => return None,
            Reply::Content { .. } | Reply::Links(_) => match self.write_body(answer, out) {
                Ok(len) => return Some(len),
                Err(code) => code,
            },
        };
        Builder::new(out, answer.kind, code, answer.message_id, answer.token)
            .finish()
            .ok()
    }

    /// 2.05. A payload beyond the block asked for, or beyond 1024 bytes, goes in blocks; each is cut out
    /// of the whole, written again, so nothing is kept between them.
    #[inline(never)]
    fn write_body(&mut self, answer: &Answer, out: &mut [u8]) -> Result<usize, Code> {
        let whole = self.body(answer.reply, out)?;
        let digest = digest(out.get(..whole).unwrap_or(&[]));
        let szx = answer.block2.map_or(6, |block| block.szx.exponent());
        let size = 16usize << szx;
        let num = answer.block2.map_or(0, |block| block.num);
        let start = (num as usize).saturating_mul(size);
        if start != 0 && start >= whole {
            return Err(Code::BAD_REQUEST);
        }
        let end = start.saturating_add(size).min(whole);
        let in_blocks = start != 0 || end < whole;
        let (format, path) = match answer.reply {
            Reply::Content { path, format } => (format, Some(path)),
            _ => (ContentFormat::Link, None),
        };
        let mut builder = Builder::new(
            out,
            answer.kind,
            Code::CONTENT,
            answer.message_id,
            answer.token,
        );
        if in_blocks {
            builder.option(option::ETAG, &digest.to_be_bytes());
        }
        if let (Some(0), Some(path), 0) = (answer.observe, path, start)
            && self
                .observations
                .add(self.now, answer.token, path, format, digest)
        {
            builder.uint_option(option::OBSERVE, 0);
        }
        builder.uint_option(option::CONTENT_FORMAT, format.number().into());
        if in_blocks || answer.block2.is_some() {
            let more = u32::from(end < whole) << 3;
            builder.uint_option(option::BLOCK2, (num << 4) | more | u32::from(szx));
        }
        builder
            .payload_with(|room| {
                let whole = self.body(answer.reply, room)?;
                if end > whole {
                    return Err(Code::INTERNAL_SERVER_ERROR);
                }
                room.copy_within(start..end, 0);
                Ok(end - start)
            })?
            .finish()
            .map_err(|_| Code::INTERNAL_SERVER_ERROR)
    }

    fn body(&self, reply: Reply, out: &mut [u8]) -> Result<usize, Code> {
        match reply {
            Reply::Content { path, format } => write_content(&self.device, path, format, out),
            Reply::Links(path) => {
                write_links(&self.device, path, out).map_err(|_| Code::INTERNAL_SERVER_ERROR)
            }
            _ => Err(Code::INTERNAL_SERVER_ERROR),
        }
    }

    /// The engine decided.
    pub(super) fn answer_pending(&mut self, result: Result<(), Reason>) {
        let Some(pending) = &mut self.pending else {
            return;
        };
        let code = verdict_code(result);
        Dedup(&mut self.remembered).answered(Peer::Server, pending.message_id, code);
        if pending.kind == Kind::Ack && pending.acknowledge_at.is_none() {
            pending.verdict = Some(code);
            return;
        }
        let (kind, request, token) = (pending.kind, pending.message_id, pending.token);
        self.pending = None;
        let message_id = match kind {
            Kind::Ack => request,
            _ => self.next_message_id(),
        };
        self.answer = Some(Answer {
            kind,
            message_id,
            token,
            reply: Reply::Code(code),
            observe: None,
            block2: None,
        });
    }

    pub(super) fn acknowledge_pending(&mut self) {
        if let Some(pending) = &mut self.pending
            && pending.acknowledge_at.is_some_and(|at| self.now >= at)
            && self.short.is_none()
        {
            pending.acknowledge_at = None;
            self.short = Some(Short {
                peer: Peer::Server,
                bytes: ack(pending.message_id),
            });
        }
    }

    /// The separate response that is owed.
    pub(super) fn separate_response(&self) -> Option<(Token, Code)> {
        let pending = self.pending.as_ref()?;
        pending.verdict.map(|code| (pending.token, code))
    }
}

/// The Location-Path, segments joined by `/`; nothing of one that is too long or no text.
fn location(message: &Message<'_>, text: &mut heapless::String<LOCATION_LEN>) {
    for segment in message.values(option::LOCATION_PATH) {
        let slash = if text.is_empty() { "" } else { "/" };
        let taken =
            utf8(segment).is_some_and(|s| text.push_str(slash).is_ok() && text.push_str(s).is_ok());
        if !taken {
            return text.clear();
        }
    }
}
