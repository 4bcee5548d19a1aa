//! What the UDP thread and the endpoint share: packages, verified addresses, counters of trouble.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sota_errors::CenterError;

use super::addresses::Addresses;
use super::packages::Packages;

/// One line per kind of trouble in this time, in ms, however many datagrams cause it.
const LOG_INTERVAL_MS: u64 = 10_000;

/// Datagrams that were not what they should be, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trouble {
    /// Bytes that are no CoAP message.
    pub malformed_messages: u64,
    /// Messages whose payload or options could not be understood (4.00, 4.02, 4.15).
    pub malformed_payloads: u64,
    /// Datagrams dropped because the endpoint was busy.
    pub dropped: u64,
    /// Registrations refused because the table is full.
    pub refused_registrations: u64,
}

/// See the module's words.
#[derive(Debug)]
pub struct State {
    /// Cache and counters of packages.
    pub packages: Packages,
    /// Verified addresses.
    pub addresses: Addresses,
    /// Counters.
    pub trouble: Trouble,
    logged: [Option<u64>; 3],
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
            logged: [None; 3],
        })))
    }

    /// Short and without waiting inside. A panic elsewhere does not spoil counters and caches.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Counts trouble and logs it, at most one line of each kind in ten seconds. `now` in ms.
    pub fn trouble(&mut self, error: CenterError, now: u64, detail: impl std::fmt::Display) {
        let (slot, count) = match error {
            CenterError::DatagramDropped => (0, &mut self.trouble.dropped),
            CenterError::TooManyRegistrations => (1, &mut self.trouble.refused_registrations),
            _ => (2, &mut self.trouble.malformed_payloads),
        };
        *count += 1;
        if error == CenterError::MalformedDatagram {
            self.trouble.malformed_payloads -= 1;
            self.trouble.malformed_messages += 1;
        }
        let quiet = self.logged[slot].is_some_and(|at| now < at.saturating_add(LOG_INTERVAL_MS));
        if !quiet {
            self.logged[slot] = Some(now);
            tracing::warn!(number = error.number(), trouble = ?self.trouble, "{error}: {detail}");
        }
    }
}
