//! Registrations that are only prolonged, the most of what devices say: answered from memory.
//!
//! An update needs the store when it brings something new, or when the device may be owed something. Whether it may is
//! found by reading once and remembered with a mark, which every change of the device in a plan moves. So a device
//! at rest costs no read. Marks are shared by devices of the same hash: a foreign change costs one read too many.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::{RegistrationUpdate, Service};
use crate::domain::{Endpoint, Registration, Time};

/// Marks kept; a power of two.
const MARKS: usize = 1 << 16;

/// A registration's end, and what an update that only prolongs it is compared with.
pub(super) struct Expiry {
    pub(super) endpoint: Endpoint,
    pub(super) expires_at: Time,
    /// As the store has it.
    pub(super) stored: Time,
    address: Box<str>,
    lifetime_s: u32,
    /// The mark at which the device was owed nothing.
    quiet_at: Option<u32>,
}

/// See the module's words.
#[derive(Default)]
pub(super) struct Marks(Vec<u32>);

impl Marks {
    fn place(endpoint: &Endpoint) -> usize {
        let mut hasher = DefaultHasher::new();
        endpoint.hash(&mut hasher);
        hasher.finish() as usize % MARKS
    }

    /// The present mark of a device.
    pub(super) fn of(&self, endpoint: &Endpoint) -> u32 {
        self.0.get(Marks::place(endpoint)).copied().unwrap_or(0)
    }

    /// The device was changed in one of its plans.
    pub(super) fn moved(&mut self, endpoint: &Endpoint) {
        self.0.resize(MARKS, 0);
        if let Some(mark) = self.0.get_mut(Marks::place(endpoint)) {
            *mark = mark.wrapping_add(1);
        }
    }
}

impl Expiry {
    /// The store has an expiry of which less than half a lifetime is left: after a restart the device would be taken for
    /// gone too early.
    pub(super) fn is_stale(&self, now: Time) -> bool {
        let half = i64::from(self.lifetime_s) * 500;
        self.stored < self.expires_at && self.stored < now.saturating_add(half)
    }
}

impl Service {
    /// Prolongs the registration if the update does nothing else and the device is owed nothing. `false`: that is not
    /// known without the store, [`update`](Service::update) finds it out.
    pub fn renew(&self, id: &str, update: &RegistrationUpdate, now: Time) -> bool {
        let mut memory = self.memory();
        let memory = &mut *memory;
        let Some(expiry) = memory.expiry.get_mut(id) else {
            return false;
        };
        let same_address = update
            .address
            .as_deref()
            .is_none_or(|a| *a == *expiry.address);
        let same_lifetime = update.lifetime_s.is_none_or(|l| l == expiry.lifetime_s);
        let nothing_new = same_address
            && same_lifetime
            && update.binding.is_none()
            && update.objects.is_none()
            && expiry.expires_at > now;
        if !nothing_new || expiry.quiet_at != Some(memory.marks.of(&expiry.endpoint)) {
            return false;
        }
        expiry.expires_at = now.saturating_add(i64::from(expiry.lifetime_s) * 1000);
        true
    }

    /// Remembers when a registration ends; the device's mark, to be read before it is looked up what the device is owed.
    pub(super) fn remember(
        &self,
        registration: &Registration,
        endpoint: &Endpoint,
        stored: Time,
    ) -> u32 {
        let expiry = Expiry {
            endpoint: endpoint.clone(),
            expires_at: registration.expires_at,
            stored,
            address: registration.address.as_str().into(),
            lifetime_s: registration.lifetime_s,
            quiet_at: None,
        };
        let mut memory = self.memory();
        memory.expiry.insert(registration.id.clone(), expiry);
        memory.marks.of(endpoint)
    }

    /// At this mark the device was owed nothing.
    pub(super) fn quiet(&self, id: &str, mark: u32) {
        if let Some(expiry) = self.memory().expiry.get_mut(id) {
            expiry.quiet_at = Some(mark);
        }
    }
}
