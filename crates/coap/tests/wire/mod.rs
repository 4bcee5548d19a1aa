//! A wire that loses, repeats, delays and reorders, every run the same for the same seed.
#![allow(unreachable_pub)] // a module of several test programs

use std::collections::BTreeMap;

/// A datagram's destination.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum To {
    Client,
    Server,
}

/// The fault injector.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    pub seed: u64,
    pub loss_percent: u64,
    pub repeat_percent: u64,
    pub delay_ms: u64,
}

/// What is on the way, by arrival.
pub struct Wire {
    faults: Faults,
    random: u64,
    order: u64,
    flying: BTreeMap<(u64, u64), (To, Vec<u8>)>,
}

impl Wire {
    pub fn new(faults: Faults) -> Wire {
        Wire {
            faults,
            random: faults.seed | 1,
            order: 0,
            flying: BTreeMap::new(),
        }
    }

    pub fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    pub fn send(&mut self, now: u64, to: To, bytes: &[u8]) {
        let copies = 1 + u64::from(self.random() % 100 < self.faults.repeat_percent);
        for _ in 0..copies {
            if self.random() % 100 < self.faults.loss_percent {
                continue;
            }
            let delay = 1 + self.random() % self.faults.delay_ms.max(1);
            self.order += 1;
            self.flying
                .insert((now + delay, self.order), (to, bytes.to_vec()));
        }
    }

    /// The datagram that arrives by `now`, if one does.
    pub fn arrived(&mut self, now: u64) -> Option<(To, Vec<u8>)> {
        let first = *self.flying.first_key_value()?.0;
        (first.0 <= now).then(|| self.flying.remove(&first).unwrap())
    }

    pub fn next(&self) -> Option<u64> {
        self.flying.first_key_value().map(|(key, _)| key.0)
    }
}
