//! How long ago things were, for the MCU's end: 32 bits each, that stay at their greatest instead of beginning anew.

use crate::timing::Millis;

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Since {
    /// The start.
    Start,
    /// A valid frame came.
    Heard,
    /// A frame of this session was written, and so the peer told that this end is there.
    Sent,
    /// The phase was told.
    Told,
    /// Hello was sent.
    Hello,
    /// An Error frame was sent.
    Error,
    /// A fault was told to the caller.
    Fault,
}

/// The times since then, ms.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// The caller's.
    pub(super) now: Millis,
    since: [u32; 7],
}

impl Clock {
    pub(super) const ZERO: Clock = Clock {
        now: 0,
        since: [0; 7],
    };

    /// Time goes on. What passes between two calls is less than 49 days.
    pub(super) fn advance(&mut self, now: Millis) {
        let passed = (now as u32).wrapping_sub(self.now as u32);
        self.now = now;
        for since in &mut self.since {
            *since = since.saturating_add(passed);
        }
    }

    /// This is now.
    pub(super) const fn mark(&mut self, what: Since) {
        self.since[what as usize] = 0;
    }

    /// This is as long ago as can be.
    pub(super) const fn never(&mut self, what: Since) {
        self.since[what as usize] = u32::MAX;
    }

    /// It is at least so long ago.
    pub(super) const fn is_over(&self, what: Since, ms: u32) -> bool {
        self.since[what as usize] >= ms
    }

    /// When it is so long ago.
    pub(super) fn when(&self, what: Since, ms: u32) -> Millis {
        let left = ms.saturating_sub(self.since[what as usize]);
        self.now.saturating_add(left.into())
    }
}
