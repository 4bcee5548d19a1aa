//! Observe over the lossy wire: the client never goes back to an older state, and sees the last one.

mod wire;

use proptest::prelude::*;
use sota_coap::observe::{Freshness, Observation, Observe, Observers, requested};
use sota_coap::{
    Builder, Code, Exchange, Kind, Message, Params, Poll, Reaction, Token, message, option,
};
use wire::{Faults, To, Wire};

const RESOURCE: u32 = 7;
const CHANGES: u64 = 20;
/// The client registers again after this silence (its Max-Age).
const SILENCE_MS: u64 = 100_000;
const HANGS: u32 = 100_000;

/// A server of one counter; one notification in flight, so a slow observer gets the newest state only.
struct Server {
    table: [Option<Observation<u8>>; 2],
    value: u64,
    told: u64,
    number: u16,
    open: Option<(Exchange, Vec<u8>)>,
}

impl Server {
    fn on_datagram(&mut self, now: u64, wire: &mut Wire, bytes: &[u8]) {
        let m = Message::new_checked(bytes).unwrap();
        if requested(&m) == Some(Observe::Register) {
            let mut out = [0; 64];
            let mut observers = Observers(&mut self.table);
            let sequence = observers
                .register(0, m.token(), RESOURCE)
                .unwrap()
                .next_sequence();
            let n = Builder::response(&mut out, &m, Code::CONTENT, 0)
                .uint_option(option::OBSERVE, sequence)
                .payload(&self.value.to_be_bytes())
                .finish()
                .unwrap();
            return wire.send(now, To::Client, &out[..n]);
        }
        if m.kind() == Kind::Rst {
            Observers(&mut self.table).cancel_by_reset(0, m.message_id());
        }
        if let Some((exchange, _)) = &mut self.open {
            exchange.on_message(now, &m);
        }
    }

    fn poll(&mut self, now: u64, wire: &mut Wire) {
        if let Some((exchange, bytes)) = &mut self.open {
            match exchange.poll(now) {
                Poll::Resend => wire.send(now, To::Client, bytes),
                // never acknowledged: the observer is gone (RFC 7641 section 4.5)
                Poll::GiveUp => _ = Observers(&mut self.table).cancel_peer(0),
                Poll::Idle => {}
            }
            if exchange.is_done() {
                self.open = None;
            }
        }
        if self.open.is_some() || self.told == self.value {
            return;
        }
        self.told = self.value;
        if let Some(observer) = Observers(&mut self.table).of(RESOURCE).next() {
            self.number += 1;
            observer.message_id = self.number;
            let mut out = [0; 64];
            let n = Builder::new(
                &mut out,
                Kind::Con,
                Code::CONTENT,
                self.number,
                observer.token,
            )
            .uint_option(option::OBSERVE, observer.next_sequence())
            .payload(&self.value.to_be_bytes())
            .finish()
            .unwrap();
            wire.send(now, To::Client, &out[..n]);
            let (token, params) = (observer.token, &Params::RFC7252);
            let exchange = Exchange::start_confirm(now, self.number, token, params, 2_000, 0);
            self.open = Some((exchange, out[..n].to_vec()));
        }
    }
}

/// The client; its token lives as long as the observation.
struct Client {
    token: Token,
    number: u16,
    open: Option<(Exchange, Vec<u8>)>,
    freshness: Option<Freshness>,
    heard: u64,
    seen: Vec<u64>,
}

impl Client {
    fn register(&mut self, now: u64, wire: &mut Wire) {
        self.number += 1;
        let mut out = [0; 64];
        let n = Builder::new(&mut out, Kind::Con, Code::GET, self.number, self.token)
            .uint_option(option::OBSERVE, 0)
            .path("/counter")
            .finish()
            .unwrap();
        wire.send(now, To::Server, &out[..n]);
        let exchange = Exchange::start(
            now,
            self.number,
            self.token,
            &Params::RFC7252,
            2_000,
            wire.random() as u16,
        );
        self.open = Some((exchange, out[..n].to_vec()));
        self.heard = now;
    }

    fn on_datagram(&mut self, now: u64, wire: &mut Wire, bytes: &[u8]) {
        let m = Message::new_checked(bytes).unwrap();
        // A notification that overtakes the answer to the registration counts as that answer.
        let reaction = self
            .open
            .as_mut()
            .map(|(exchange, _)| exchange.on_message(now, &m));
        let mine = match reaction {
            Some(Reaction::Response { .. }) => {
                self.open = None;
                true
            }
            _ => m.kind() == Kind::Con && m.token() == self.token,
        };
        if m.kind() == Kind::Con {
            wire.send(now, To::Server, &message::ack(m.message_id()));
        }
        let Some(sequence) = m.uint_option(option::OBSERVE).filter(|_| mine) else {
            return;
        };
        self.heard = now;
        let newer = match &mut self.freshness {
            Some(freshness) => freshness.accept(now, sequence),
            none => none.insert(Freshness::new(now, sequence)) == &Freshness::new(now, sequence),
        };
        if newer {
            self.seen
                .push(u64::from_be_bytes(m.payload().try_into().unwrap()));
        }
    }
}

/// Runs until the client saw the last of `CHANGES` states; gives what it saw.
fn observe(faults: Faults) -> Vec<u64> {
    let mut wire = Wire::new(faults);
    let mut server = Server {
        table: [None; 2],
        value: 0,
        told: 0,
        number: 0,
        open: None,
    };
    let mut client = Client {
        token: Token::from_u32(5),
        number: 0x4000,
        open: None,
        freshness: None,
        heard: 0,
        seen: Vec::new(),
    };
    let mut now = 0;
    client.register(now, &mut wire);
    for _ in 0..HANGS {
        if client.seen.last() == Some(&CHANGES) {
            return client.seen;
        }
        let change = (server.value < CHANGES).then_some((server.value + 1) * 3_000);
        let silence = client.open.is_none().then_some(client.heard + SILENCE_MS);
        let deadline = |open: &Option<(Exchange, Vec<u8>)>| open.as_ref()?.0.deadline();
        let times = [
            change,
            silence,
            wire.next(),
            deadline(&client.open),
            deadline(&server.open),
        ];
        now = times.into_iter().flatten().min().unwrap().max(now);
        if change.is_some_and(|at| at <= now) {
            server.value += 1;
        }
        if silence.is_some_and(|at| at <= now) {
            client.register(now, &mut wire);
        }
        match wire.arrived(now) {
            Some((To::Server, bytes)) => server.on_datagram(now, &mut wire, &bytes),
            Some((To::Client, bytes)) => client.on_datagram(now, &mut wire, &bytes),
            None => {}
        }
        server.poll(now, &mut wire);
        if let Some((exchange, bytes)) = &mut client.open {
            match exchange.poll(now) {
                Poll::Resend => wire.send(now, To::Server, bytes),
                Poll::GiveUp => client.open = None,
                Poll::Idle => {}
            }
        }
    }
    panic!("the last state never arrived; seen {:?}", client.seen);
}

#[test]
fn a_clean_wire_shows_every_state() {
    let clean = Faults {
        seed: 3,
        loss_percent: 0,
        repeat_percent: 0,
        delay_ms: 50,
    };
    assert_eq!(observe(clean), (0..=CHANGES).collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..Default::default() })]

    #[test]
    fn never_back_and_always_the_last(
        seed in any::<u64>(), loss_percent in 0u64..50, repeat_percent in 0u64..50, delay_ms in 1u64..8_000,
    ) {
        let seen = observe(Faults { seed, loss_percent, repeat_percent, delay_ms });
        prop_assert!(seen.windows(2).all(|pair| pair[0] <= pair[1]), "went back: {seen:?}");
    }
}
