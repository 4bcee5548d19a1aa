//! The table of a small device: as many places as it has peers, searched one after the other.

use heapless::LinearMap;

use super::{Open, Table};

impl<K: Copy + Eq, V, const N: usize> Table for LinearMap<K, Open<V>, N> {
    type Key = K;
    type Kept = V;

    fn get(&self, key: K) -> Option<&Open<V>> {
        LinearMap::get(self, &key)
    }

    fn insert(&mut self, key: K, open: Open<V>) -> Result<(), Open<V>> {
        if self.is_full() {
            let answered = self.iter().filter(|(_, other)| other.is_answered());
            let oldest = answered.min_by_key(|(_, other)| other.deadline());
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                LinearMap::remove(self, &oldest);
            }
        }
        match LinearMap::insert(self, key, open) {
            Ok(_) => Ok(()),
            Err((_, open)) => Err(open),
        }
    }

    fn update<R>(&mut self, key: K, change: impl FnOnce(&mut Open<V>) -> R) -> Option<R> {
        self.get_mut(&key).map(change)
    }

    fn remove(&mut self, key: K) -> Option<Open<V>> {
        LinearMap::remove(self, &key)
    }

    fn earliest(&self) -> Option<(u64, K)> {
        let entries = self.iter().map(|(key, open)| (open.deadline(), *key));
        entries.min_by_key(|(deadline, _)| *deadline)
    }

    fn len(&self) -> usize {
        LinearMap::len(self)
    }
}
