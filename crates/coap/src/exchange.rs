//! One exchange from the sender's side: retransmission, ACK, response, reset (RFC 7252 sections 4.2, 5.2, 5.3).
//!
//! The exchange holds no bytes: the caller keeps (or builds again) the datagram and sends it when told to.
//!
//! | state | event | goes to | [`Reaction`] |
//! |---|---|---|---|
//! | Sent (CON) | ACK with response | Done | Response |
//! | Sent | empty ACK | Acked, or Done if no response is wanted | Acked |
//! | Sent, Acked | CON or NON response with the token | Done | Response, with `ack` for a CON |
//! | Sent, Acked | RST with the message id | Done | Reset |
//! | Sent | time-out, retransmissions left | Sent, time-out doubled | (poll) Resend |
//! | Sent | time-out, none left | Done | (poll) GiveUp |
//! | Acked | no response in time | Done | (poll) GiveUp |
//! | Done | CON response with the token again | Done | Repeated: send the ACK again |
//!
//! The ACK of a separate response may be lost or come after it: the response counts, it implies the ACK.

use crate::message::{Kind, Message, Token};
use crate::params::{Params, after};

/// What [`Exchange::poll`] wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poll {
    /// Nothing before [`Exchange::deadline`].
    Idle,
    /// Send the same datagram again, message id and token unchanged.
    Resend,
    /// Over without an answer. Given once.
    GiveUp,
}

/// What a received message means to an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// Belongs to something else.
    NotMine,
    /// The peer has the request; the response comes separately. Where no response is wanted: done.
    Acked,
    /// The response; the exchange is done.
    Response {
        /// It is a CON: answer with [`crate::message::ack`] of *its* message id.
        ack: bool,
    },
    /// The response once more: do not use it again.
    Repeated {
        /// As in [`Reaction::Response`].
        ack: bool,
    },
    /// The peer does not want the message; the exchange is done.
    Reset,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Sent,
    Acked,
    Done,
}

/// One message sent, and what it waits for. Below 128 bytes, without a buffer.
#[derive(Clone, Debug)]
pub struct Exchange {
    started: u64,
    deadline: u64,
    timeout_ms: u32,
    response_wait_ms: u32,
    sample_ms: Option<u32>,
    token: Token,
    message_id: u16,
    retransmissions: u8,
    max_retransmit: u8,
    wants_response: bool,
    phase: Phase,
}

const _: () = assert!(size_of::<Exchange>() < 128);

impl Exchange {
    /// A CON request, to be sent now.
    ///
    /// `timeout_ms` is the first time-out ([`crate::Rtt::timeout_ms`], or ACK_TIMEOUT of the set),
    /// `random` spreads it by ACK_RANDOM_FACTOR. After an empty ACK the response is awaited for
    /// MAX_TRANSMIT_WAIT of the set.
    pub fn start(
        now: u64,
        message_id: u16,
        token: Token,
        params: &Params,
        timeout_ms: u32,
        random: u16,
    ) -> Exchange {
        let timeout_ms = params.jittered_ms(timeout_ms.max(1), random);
        Exchange {
            started: now,
            deadline: after(now, timeout_ms),
            timeout_ms,
            response_wait_ms: params.max_transmit_wait_ms(),
            sample_ms: None,
            token,
            message_id,
            retransmissions: 0,
            max_retransmit: params.max_retransmit,
            wants_response: true,
            phase: Phase::Sent,
        }
    }

    /// A CON that only wants its ACK: a separate response or a notification.
    pub fn start_confirm(
        now: u64,
        message_id: u16,
        token: Token,
        params: &Params,
        timeout_ms: u32,
        random: u16,
    ) -> Exchange {
        Exchange {
            wants_response: false,
            ..Exchange::start(now, message_id, token, params, timeout_ms, random)
        }
    }

    /// A NON request: never sent again, the response is awaited for `wait_ms`.
    pub fn start_non(now: u64, message_id: u16, token: Token, wait_ms: u32) -> Exchange {
        Exchange {
            started: now,
            deadline: after(now, wait_ms),
            timeout_ms: wait_ms,
            response_wait_ms: wait_ms,
            sample_ms: None,
            token,
            message_id,
            retransmissions: 0,
            max_retransmit: 0,
            wants_response: true,
            // Nothing of a NON is acknowledged; it only waits.
            phase: Phase::Acked,
        }
    }

    /// Looks at the time. Call at or after [`Exchange::deadline`]; earlier calls are harmless.
    pub fn poll(&mut self, now: u64) -> Poll {
        if self.phase == Phase::Done || now < self.deadline {
            return Poll::Idle;
        }
        if self.phase == Phase::Sent && self.retransmissions < self.max_retransmit {
            self.retransmissions += 1;
            self.timeout_ms = self.timeout_ms.saturating_mul(2);
            // From now, not from the missed deadline: a late caller must not send twice in a row.
            self.deadline = after(now, self.timeout_ms);
            return Poll::Resend;
        }
        self.phase = Phase::Done;
        Poll::GiveUp
    }

    /// The way to the peer is open again: what it has not acknowledged goes out at the next [`Exchange::poll`]. The
    /// wait after the last transmission stays as it is.
    pub fn hurry(&mut self) {
        if self.phase == Phase::Sent && self.retransmissions < self.max_retransmit {
            self.deadline = 0;
        }
    }

    /// Looks at a message from the peer this exchange was opened with. The caller compares addresses.
    pub fn on_message(&mut self, now: u64, message: &Message<'_>) -> Reaction {
        match message.kind() {
            Kind::Rst if message.message_id() == self.message_id => {
                if self.phase == Phase::Done {
                    return Reaction::NotMine;
                }
                self.done(now);
                Reaction::Reset
            }
            Kind::Ack if message.message_id() == self.message_id => self.on_ack(now, message),
            Kind::Con | Kind::Non if self.is_response(message) => {
                let ack = message.kind() == Kind::Con;
                if self.phase == Phase::Done {
                    return Reaction::Repeated { ack };
                }
                self.done(now);
                Reaction::Response { ack }
            }
            _ => Reaction::NotMine,
        }
    }

    /// When [`Exchange::poll`] must be called; `None` when done.
    pub fn deadline(&self) -> Option<u64> {
        (self.phase != Phase::Done).then_some(self.deadline)
    }

    /// Over: answered, reset or given up.
    pub fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    /// The peer has acknowledged the request and owes the response.
    pub fn is_acked(&self) -> bool {
        self.phase == Phase::Acked
    }

    /// Measured round trip in ms; none before the answer and none of a retransmitted exchange (Karn).
    pub fn sample_ms(&self) -> Option<u32> {
        self.sample_ms
    }

    /// Transmissions after the first.
    pub fn retransmissions(&self) -> u8 {
        self.retransmissions
    }

    /// The request's message id.
    pub fn message_id(&self) -> u16 {
        self.message_id
    }

    /// The request's token.
    pub fn token(&self) -> Token {
        self.token
    }

    fn on_ack(&mut self, now: u64, message: &Message<'_>) -> Reaction {
        if self.phase != Phase::Sent {
            // The network repeated an ACK; whatever is in it was used or superseded.
            return Reaction::NotMine;
        }
        if message.code().is_empty() {
            self.take_sample(now);
            if self.wants_response {
                self.phase = Phase::Acked;
                self.deadline = after(now, self.response_wait_ms);
            } else {
                self.phase = Phase::Done;
            }
            return Reaction::Acked;
        }
        if !self.is_response(message) {
            return Reaction::NotMine;
        }
        self.done(now);
        Reaction::Response { ack: false }
    }

    fn is_response(&self, message: &Message<'_>) -> bool {
        self.wants_response && message.code().is_response() && message.token() == self.token
    }

    fn done(&mut self, now: u64) {
        // After an empty ACK the sample is taken: the rest is the server's thinking, no round trip.
        if self.phase == Phase::Sent {
            self.take_sample(now);
        }
        self.phase = Phase::Done;
    }

    fn take_sample(&mut self, now: u64) {
        if self.retransmissions == 0 {
            let rtt = now.saturating_sub(self.started);
            self.sample_ms = Some(u32::try_from(rtt).unwrap_or(u32::MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{ack, reset};
    use crate::{Builder, Code};

    const TOKEN: Token = Token::from_u32(0xabcd);
    const MID: u16 = 77;

    fn start() -> Exchange {
        Exchange::start(1_000, MID, TOKEN, &Params::RFC7252, 2_000, 0)
    }

    fn deliver(exchange: &mut Exchange, now: u64, kind: Kind, mid: u16, token: Token) -> Reaction {
        let mut buffer = [0; 32];
        let n = Builder::new(&mut buffer, kind, Code::CONTENT, mid, token)
            .payload(b"x")
            .finish()
            .unwrap();
        exchange.on_message(now, &Message::new_checked(&buffer[..n]).unwrap())
    }

    fn empty(exchange: &mut Exchange, now: u64, bytes: [u8; 4]) -> Reaction {
        exchange.on_message(now, &Message::new_checked(&bytes).unwrap())
    }

    #[test]
    fn hurries_what_was_not_acknowledged() {
        let mut exchange = start();
        exchange.hurry();
        assert_eq!(exchange.poll(1_001), Poll::Resend);
        assert_eq!(exchange.poll(1_002), Poll::Idle, "once");
        assert_eq!(exchange.deadline(), Some(1_001 + 4_000));
        // Each counts as a transmission; the wait after the last one is whole.
        for _ in 0..3 {
            exchange.hurry();
            assert_eq!(exchange.poll(2_000), Poll::Resend);
        }
        exchange.hurry();
        assert_eq!(exchange.poll(2_001), Poll::Idle);
        let mut acked = start();
        empty(&mut acked, 1_100, ack(MID));
        let before = acked.deadline();
        acked.hurry();
        assert_eq!(acked.deadline(), before);
    }

    #[test]
    fn is_small() {
        assert!(size_of::<Exchange>() <= 56);
    }

    #[test]
    fn retransmits_with_doubled_timeouts_then_gives_up() {
        let mut e = start();
        let mut sent = [0; 5];
        for (i, at) in sent.iter_mut().enumerate() {
            *at = e.deadline().unwrap();
            assert_eq!(e.poll(*at - 1), Poll::Idle);
            let expected = if i < 4 { Poll::Resend } else { Poll::GiveUp };
            assert_eq!(e.poll(*at), expected);
        }
        // 2 + 4 + 8 + 16 + 32 s
        assert_eq!(sent, [3_000, 7_000, 15_000, 31_000, 63_000]);
        assert_eq!((e.poll(u64::MAX), e.deadline()), (Poll::Idle, None));
    }

    #[test]
    fn piggybacked_response_gives_a_sample() {
        let mut e = start();
        let reaction = deliver(&mut e, 1_300, Kind::Ack, MID, TOKEN);
        assert_eq!(reaction, Reaction::Response { ack: false });
        assert_eq!((e.is_done(), e.sample_ms()), (true, Some(300)));
        assert_eq!(
            deliver(&mut e, 1_301, Kind::Ack, MID, TOKEN),
            Reaction::NotMine
        );
    }

    #[test]
    fn no_sample_after_a_retransmission() {
        let mut e = start();
        assert_eq!(e.poll(3_000), Poll::Resend);
        deliver(&mut e, 3_001, Kind::Ack, MID, TOKEN);
        assert_eq!(
            (e.is_done(), e.sample_ms(), e.retransmissions()),
            (true, None, 1)
        );
    }

    #[test]
    fn separate_response_con_and_non() {
        for (kind, must_ack) in [(Kind::Con, true), (Kind::Non, false)] {
            let mut e = start();
            assert_eq!(empty(&mut e, 1_100, ack(MID)), Reaction::Acked);
            assert!(e.is_acked());
            assert_eq!(e.deadline(), Some(1_100 + 93_000));
            assert_eq!(e.poll(50_000), Poll::Idle);
            let reaction = deliver(&mut e, 50_000, kind, 9, TOKEN);
            assert_eq!(reaction, Reaction::Response { ack: must_ack });
            assert_eq!(e.sample_ms(), Some(100));
            let again = deliver(&mut e, 51_000, kind, 9, TOKEN);
            assert_eq!(again, Reaction::Repeated { ack: must_ack });
        }
    }

    #[test]
    fn response_before_or_without_the_ack() {
        let mut e = start();
        let reaction = deliver(&mut e, 1_200, Kind::Con, 9, TOKEN);
        assert_eq!(reaction, Reaction::Response { ack: true });
        assert_eq!(empty(&mut e, 1_300, ack(MID)), Reaction::NotMine);
    }

    #[test]
    fn acked_but_never_answered() {
        let mut e = start();
        empty(&mut e, 1_100, ack(MID));
        assert_eq!(e.poll(94_099), Poll::Idle);
        assert_eq!(e.poll(94_100), Poll::GiveUp);
    }

    #[test]
    fn strangers_are_not_mine() {
        let mut e = start();
        let other = Token::from_u32(1);
        assert_eq!(
            deliver(&mut e, 1_100, Kind::Ack, MID, other),
            Reaction::NotMine
        );
        assert_eq!(
            deliver(&mut e, 1_100, Kind::Ack, MID + 1, TOKEN),
            Reaction::NotMine
        );
        assert_eq!(
            deliver(&mut e, 1_100, Kind::Con, MID, other),
            Reaction::NotMine
        );
        assert_eq!(empty(&mut e, 1_100, ack(MID + 1)), Reaction::NotMine);
        assert_eq!(empty(&mut e, 1_100, reset(MID + 1)), Reaction::NotMine);
        // a request of the peer that happens to use our token, and an ACK with a request in it
        for kind in [Kind::Con, Kind::Ack] {
            let mut buffer = [0; 32];
            let n = Builder::new(&mut buffer, kind, Code::GET, MID, TOKEN)
                .finish()
                .unwrap();
            let m = Message::new_checked(&buffer[..n]).unwrap();
            assert_eq!(e.on_message(1_100, &m), Reaction::NotMine);
        }
        assert!(!e.is_done());
        assert_eq!(empty(&mut e, 1_200, reset(MID)), Reaction::Reset);
        assert!(e.is_done());
    }

    #[test]
    fn confirm_and_non() {
        let mut e = Exchange::start_confirm(0, MID, TOKEN, &Params::RFC7252, 2_000, 0);
        assert_eq!(empty(&mut e, 10, ack(MID)), Reaction::Acked);
        assert!(e.is_done());
        let mut e = Exchange::start_non(0, MID, TOKEN, 5_000);
        assert_eq!(e.poll(4_999), Poll::Idle);
        let reaction = deliver(&mut e, 4_999, Kind::Non, 3, TOKEN);
        assert_eq!(reaction, Reaction::Response { ack: false });
        let mut e = Exchange::start_non(0, MID, TOKEN, 5_000);
        assert_eq!(e.poll(5_000), Poll::GiveUp);
    }
}
