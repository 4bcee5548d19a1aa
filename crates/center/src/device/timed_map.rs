//! The Center's table of exchanges: a map, and its deadlines in order, so that the next one is found without a scan.
//!
//! It holds what is open, not what is registered, so an ordered set does what a timer wheel would: a million devices
//! at rest are no entry. After a burst the memory goes back.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

use sota_coap::endpoint::{Open, Table};

/// Below this many places memory is not given back.
const SMALL: usize = 64;

/// See the module's words.
#[derive(Debug)]
pub struct TimedMap<K, V> {
    entries: HashMap<K, Open<V>>,
    deadlines: BTreeSet<(u64, K)>,
    limit: usize,
}

impl<K: Copy + Hash + Ord, V> TimedMap<K, V> {
    /// Empty, for at most `limit` entries.
    pub fn new(limit: usize) -> TimedMap<K, V> {
        TimedMap {
            entries: HashMap::new(),
            deadlines: BTreeSet::new(),
            limit,
        }
    }
}

impl<K: Copy + Hash + Ord, V> Table for TimedMap<K, V> {
    type Key = K;
    type Kept = V;

    fn get(&self, key: K) -> Option<&Open<V>> {
        self.entries.get(&key)
    }

    fn insert(&mut self, key: K, open: Open<V>) -> Result<(), Open<V>> {
        if self.entries.len() >= self.limit {
            return Err(open);
        }
        self.deadlines.insert((open.deadline(), key));
        self.entries.insert(key, open);
        Ok(())
    }

    fn update<R>(&mut self, key: K, change: impl FnOnce(&mut Open<V>) -> R) -> Option<R> {
        let open = self.entries.get_mut(&key)?;
        let before = open.deadline();
        let result = change(open);
        let after = open.deadline();
        if after != before {
            self.deadlines.remove(&(before, key));
            self.deadlines.insert((after, key));
        }
        Some(result)
    }

    fn remove(&mut self, key: K) -> Option<Open<V>> {
        let open = self.entries.remove(&key)?;
        self.deadlines.remove(&(open.deadline(), key));
        let places = self.entries.capacity();
        if places > SMALL && self.entries.len() < places / 8 {
            self.entries.shrink_to(places / 4);
        }
        Some(open)
    }

    fn earliest(&self) -> Option<(u64, K)> {
        self.deadlines.first().copied()
    }

    fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use sota_coap::endpoint::{Exchanges, Incoming, contract};
    use sota_coap::message::reset;
    use sota_coap::{Exchange, Message, Params, Token};

    use super::*;

    #[test]
    fn the_map_keeps_the_contract() {
        let keys: Vec<u64> = (0..17).map(|i| i * 77).collect();
        contract::table(|| TimedMap::new(2), 2, &keys);
        contract::table(|| TimedMap::new(16), 16, &keys);
    }

    #[test]
    fn devices_at_rest_cost_nothing_after_all_were_asked_at_once() {
        const DEVICES: u64 = 100_000;
        let mut exchanges = Exchanges::new(TimedMap::new(usize::MAX), 145_000);
        for id in 0..DEVICES {
            let token = Token::from_u32(id as u32);
            let exchange = Exchange::start(0, id as u16, token, &Params::RFC7252, 2_000, 0);
            exchanges.start(id, exchange, [0u8; 64]).unwrap();
        }
        let places = |exchanges: &Exchanges<TimedMap<u64, [u8; 64]>>| {
            exchanges.table().entries.capacity() * size_of::<(u64, Open<[u8; 64]>)>()
        };
        let busy = places(&exchanges);
        for id in 0..DEVICES {
            let rst = reset(id as u16);
            let message = Message::new_checked(&rst).unwrap();
            let taken = exchanges.on_message(1, id, &message);
            assert!(matches!(taken, Incoming::Reset(_)));
        }
        let bytes = places(&exchanges) as f64 / DEVICES as f64;
        println!(
            "the Center's table: {:.0} bytes per device with all asked at once, {bytes:.3} at rest",
            busy as f64 / DEVICES as f64
        );
        assert!(exchanges.deadline().is_none() && exchanges.table().deadlines.is_empty());
        assert!(bytes < 1.0);
    }
}
