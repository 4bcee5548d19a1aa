//! What the UDP thread and the endpoint share: packages, verified addresses, counters of trouble.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sota_errors::CenterError;

use super::addresses::Addresses;
use super::blocks::{self, Served};
use super::packages::{PackageId, Packages};
use super::socket::{Fast, MAX_DATAGRAM};
use crate::service::{DevicePort, Trouble};

/// One line per kind of trouble in this time, in ms, however many datagrams cause it.
const LOG_INTERVAL_MS: u64 = 10_000;

/// See the module's words.
#[derive(Debug)]
pub struct State {
    /// Cache and counters of packages.
    pub packages: Packages,
    /// Verified addresses.
    pub addresses: Addresses,
    /// Counters.
    pub trouble: Trouble,
    logged: [Option<u64>; 5],
}

/// Shared by clones.
#[derive(Clone, Debug)]
pub struct Shared(Arc<Mutex<State>>);

impl Shared {
    /// `secret` must be unpredictable, see [`Addresses::new`].
    pub fn new(cache_bytes: u64, secret: [u8; 32]) -> Shared {
        Shared(Arc::new(Mutex::new(State {
            packages: Packages::new(cache_bytes),
            addresses: Addresses::new(secret),
            trouble: Trouble::default(),
            logged: [None; 5],
        })))
    }

    /// Short and without waiting inside. A panic elsewhere does not spoil counters and caches.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DevicePort for Shared {
    fn served(&self, package: &PackageId) -> crate::service::Served {
        let counters = self.lock().packages.counters_of(package);
        crate::service::Served {
            blocks: counters.served,
            again: counters.again,
            duplicates: counters.duplicates,
        }
    }

    fn trouble(&self) -> Trouble {
        self.lock().trouble
    }

    fn forget(&self, package: &PackageId) {
        self.lock().packages.forget(package);
    }
}

impl State {
    /// What the UDP thread does with a datagram before the endpoint sees it: a package block is answered from the cache
    /// into `out`. `now` in ms; `mid` is the message id for an answer to a non-confirmable request.
    pub fn fast(
        &mut self,
        now: u64,
        mid: u16,
        peer: SocketAddr,
        bytes: &[u8],
        out: &mut [u8],
    ) -> Fast {
        if bytes.len() > MAX_DATAGRAM {
            let text = format!("{peer}: longer than {MAX_DATAGRAM} bytes");
            self.trouble(CenterError::MalformedDatagram, now, text);
            return Fast::Drop;
        }
        let (packages, addresses) = (&mut self.packages, &mut self.addresses);
        match blocks::serve(packages, addresses, now, mid, &peer, bytes, out) {
            Served::Answer(n) => Fast::Answer(n),
            Served::Missing(..) | Served::NotMine => Fast::HandOn,
        }
    }

    /// Counts trouble and logs it, at most one line of each kind in ten seconds. `now` in ms.
    pub fn trouble(&mut self, error: CenterError, now: u64, detail: impl std::fmt::Display) {
        let (slot, count) = match error {
            CenterError::DatagramDropped => (0, &mut self.trouble.dropped),
            CenterError::TooManyRegistrations => (1, &mut self.trouble.refused_registrations),
            CenterError::MalformedDatagram => (2, &mut self.trouble.malformed_messages),
            CenterError::MalformedContent => (3, &mut self.trouble.malformed_payloads),
            _ => (4, &mut self.trouble.failed_registrations),
        };
        *count += 1;
        let quiet = self.logged[slot].is_some_and(|at| now < at.saturating_add(LOG_INTERVAL_MS));
        if !quiet {
            self.logged[slot] = Some(now);
            tracing::warn!(number = error.number(), trouble = ?self.trouble, "{error}: {detail}");
        }
    }
}
