//! Packages as the UDP thread sees them: a bounded cache of chunks, and the counters of blocks.
//!
//! Serving a block needs no state between requests, so any number of peers can download. What is kept
//! is bounded and only for speed and statistics:
//!
//! | kept | bound | when it is full |
//! |---|---|---|
//! | chunks of [`CHUNK`] bytes | [`Packages::new`]'s `cache_bytes` | the chunk unused longest goes |
//! | lengths of packages | [`KNOWN_PACKAGES`] | all are forgotten and asked for again |
//! | what a device fetched | [`TRACKED_DOWNLOADS`] | the download idle longest is forgotten, so a block it fetches again counts as a first one |

use std::collections::HashMap;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::domain::Endpoint;

/// SHA-256 of a package, its name on the wire.
pub type PackageId = [u8; 32];

/// Names a registered device in the statistics; unique within the Center.
pub type DeviceNumber = i64;

/// The number of a device: the beginning of its name's SHA-256, so that no table of numbers is kept.
pub fn device_number(endpoint: &Endpoint) -> DeviceNumber {
    let hash = Sha256::digest(endpoint.to_string());
    hash.iter()
        .take(8)
        .fold(0, |n, byte| n << 8 | i64::from(*byte))
}

/// Bytes of one chunk in the cache; the last one of a package is shorter.
pub const CHUNK: u64 = 64 * 1024;
/// Packages whose length is kept.
pub const KNOWN_PACKAGES: usize = 4096;
/// Downloads (device and package) whose fetched ranges are kept.
pub const TRACKED_DOWNLOADS: usize = 4096;
/// Ranges kept of one download; a client that jumps more often is counted from its newest ranges.
const RANGES: usize = 16;

/// Blocks of one package that were served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockCounters {
    /// Answers with a block, all together.
    pub served: u64,
    /// Of these: the same registered device had fetched the block before, by another request.
    pub again: u64,
    /// Of these: the same request came again (same message id), because a datagram was lost.
    pub duplicates: u64,
}

/// Cache, lengths and counters. One owner locks it; every call is short.
#[derive(Debug)]
pub struct Packages {
    cache_chunks: usize,
    clock: u64,
    deletions: u64,
    lengths: HashMap<PackageId, u64>,
    chunks: HashMap<(PackageId, u64), Chunk>,
    counters: HashMap<PackageId, BlockCounters>,
    downloads: HashMap<(DeviceNumber, PackageId), Download>,
}

#[derive(Debug)]
struct Chunk {
    data: Bytes,
    used: u64,
}

#[derive(Debug, Default)]
struct Download {
    /// Fetched `from..to`, the newest last; neighbours are joined, so a download in order is one range.
    ranges: Vec<(u64, u64)>,
    last_message_id: Option<u16>,
    used: u64,
}

impl Packages {
    /// A cache of at most `cache_bytes` (at least one chunk).
    pub fn new(cache_bytes: u64) -> Packages {
        Packages {
            cache_chunks: usize::try_from(cache_bytes / CHUNK)
                .unwrap_or(usize::MAX)
                .max(1),
            clock: 0,
            deletions: 0,
            lengths: HashMap::new(),
            chunks: HashMap::new(),
            counters: HashMap::new(),
            downloads: HashMap::new(),
        }
    }

    /// Length of the package in bytes, if it was put in.
    pub fn length(&self, package: &PackageId) -> Option<u64> {
        self.lengths.get(package).copied()
    }

    /// Makes a package known.
    pub fn set_length(&mut self, package: PackageId, length: u64) {
        if self.lengths.len() >= KNOWN_PACKAGES {
            self.lengths.clear();
        }
        self.lengths.insert(package, length);
    }

    /// Puts chunk `number` (bytes from `number * CHUNK`) into the cache.
    pub fn put_chunk(&mut self, package: PackageId, number: u64, data: Bytes) {
        while self.chunks.len() >= self.cache_chunks {
            let Some(oldest) = self
                .chunks
                .iter()
                .min_by_key(|(_, c)| c.used)
                .map(|(key, _)| *key)
            else {
                break;
            };
            self.chunks.remove(&oldest);
        }
        self.clock += 1;
        self.chunks.insert(
            (package, number),
            Chunk {
                data,
                used: self.clock,
            },
        );
    }

    /// At most `len` bytes from `offset`, of one chunk; none past its end; `None` when that chunk is not in the cache.
    /// `CHUNK` is a multiple of every block size, so a block never crosses a chunk's end.
    pub fn block(&mut self, package: &PackageId, offset: u64, len: usize) -> Option<&[u8]> {
        self.clock += 1;
        let chunk = self.chunks.get_mut(&(*package, offset / CHUNK))?;
        chunk.used = self.clock;
        let from = usize::try_from(offset % CHUNK).ok()?;
        let to = chunk.data.len().min(from.saturating_add(len));
        Some(chunk.data.get(from..to).unwrap_or_default())
    }

    /// The package was deleted: serves no more of it. Its counters stay.
    pub fn forget(&mut self, package: &PackageId) {
        self.deletions += 1;
        self.lengths.remove(package);
        self.chunks.retain(|(id, _), _| id != package);
    }

    /// How often [`Self::forget`] was called. A chunk whose reading began before the present number may be of a
    /// package that is gone now: it must be read again, not put in.
    pub fn deletions(&self) -> u64 {
        self.deletions
    }

    /// Counts one served block.
    pub fn count(
        &mut self,
        package: &PackageId,
        device: Option<DeviceNumber>,
        message_id: u16,
        from: u64,
        len: u64,
    ) {
        let counters = self.counters.entry(*package).or_default();
        counters.served += 1;
        let Some(device) = device else { return };
        self.clock += 1;
        let key = (device, *package);
        if self.downloads.len() >= TRACKED_DOWNLOADS && !self.downloads.contains_key(&key) {
            let idle = self
                .downloads
                .iter()
                .min_by_key(|(_, d)| d.used)
                .map(|(key, _)| *key);
            if let Some(idle) = idle {
                self.downloads.remove(&idle);
            }
        }
        let download = self.downloads.entry(key).or_default();
        download.used = self.clock;
        let duplicate = download.last_message_id == Some(message_id) && download.has(from, len);
        download.last_message_id = Some(message_id);
        if duplicate {
            counters.duplicates += 1;
        } else if download.has(from, len) {
            counters.again += 1;
        } else {
            download.add(from, len);
        }
    }

    /// The counters of every package served since the start.
    pub fn counters(&self) -> Vec<(PackageId, BlockCounters)> {
        self.counters
            .iter()
            .map(|(id, counters)| (*id, *counters))
            .collect()
    }

    /// The counters of one package.
    pub fn counters_of(&self, package: &PackageId) -> BlockCounters {
        self.counters.get(package).copied().unwrap_or_default()
    }
}

impl Download {
    fn has(&self, from: u64, len: u64) -> bool {
        self.ranges
            .iter()
            .any(|(a, b)| *a <= from && from + len <= *b)
    }

    fn add(&mut self, mut from: u64, len: u64) {
        let mut to = from + len;
        self.ranges.retain(|(a, b)| {
            let touches = *a <= to && from <= *b;
            if touches {
                from = from.min(*a);
                to = to.max(*b);
            }
            !touches
        });
        if self.ranges.len() >= RANGES {
            self.ranges.remove(0);
        }
        self.ranges.push((from, to));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: PackageId = [7; 32];

    #[test]
    fn a_block_comes_from_the_cache_and_never_past_the_end() {
        let mut packages = Packages::new(2 * CHUNK);
        packages.set_length(P, CHUNK + 10);
        packages.put_chunk(P, 0, Bytes::from(vec![1; CHUNK as usize]));
        packages.put_chunk(P, 1, Bytes::from(vec![2; 10]));
        assert_eq!(packages.block(&P, CHUNK - 1024, 1024), Some(&[1; 1024][..]));
        assert_eq!(packages.block(&P, CHUNK, 1024), Some(&[2; 10][..]));
        assert_eq!(packages.block(&P, CHUNK + 1024, 1024), Some(&[][..]));
        assert_eq!(packages.block(&P, 2 * CHUNK, 1024), None);
    }

    #[test]
    fn the_cache_is_bounded_and_keeps_what_is_used() {
        let mut packages = Packages::new(2 * CHUNK);
        packages.put_chunk(P, 0, Bytes::from_static(b"a"));
        packages.put_chunk(P, 1, Bytes::from_static(b"b"));
        assert!(packages.block(&P, 0, 1).is_some());
        packages.put_chunk(P, 2, Bytes::from_static(b"c"));
        assert!(packages.block(&P, 0, 1).is_some());
        assert!(packages.block(&P, CHUNK, 1).is_none());
        assert_eq!(packages.chunks.len(), 2);
    }

    #[test]
    fn a_deleted_package_is_served_no_more() {
        let mut packages = Packages::new(CHUNK);
        packages.set_length(P, 1);
        packages.put_chunk(P, 0, Bytes::from_static(b"a"));
        packages.forget(&P);
        assert_eq!(packages.length(&P), None);
        assert_eq!(packages.block(&P, 0, 1), None);
    }

    #[test]
    fn a_lost_answer_is_a_duplicate_and_a_second_fetch_is_not() {
        let mut packages = Packages::new(CHUNK);
        packages.count(&P, Some(1), 10, 0, 512);
        packages.count(&P, Some(1), 11, 512, 512);
        packages.count(&P, Some(1), 11, 512, 512); // the answer was lost
        packages.count(&P, Some(1), 90, 512, 512); // the module restarted
        packages.count(&P, Some(1), 91, 1024, 512);
        packages.count(&P, Some(2), 91, 0, 512); // another device
        packages.count(&P, None, 1, 0, 512); // not registered: only counted
        let expected = BlockCounters {
            served: 7,
            again: 1,
            duplicates: 1,
        };
        assert_eq!(packages.counters_of(&P), expected);
        assert_eq!(packages.downloads[&(1, P)].ranges, [(0, 1536)]);
    }

    #[test]
    fn a_jumping_client_costs_a_bounded_memory() {
        let mut packages = Packages::new(CHUNK);
        for i in 0..10_000u64 {
            packages.count(&P, Some((i % 5000) as i64), i as u16, i * 2048, 512);
            packages.count(&P, Some(-1), i as u16, i * 2048, 512);
        }
        assert!(packages.downloads.len() <= TRACKED_DOWNLOADS);
        assert!(packages.downloads[&(-1, P)].ranges.len() <= RANGES);
    }
}
