//! What follows a failed try of a device.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Time;

/// Longest wait before another try, in seconds.
const RETRY_WAIT_LIMIT_S: u32 = 86_400;

/// What follows a failed try.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RetryPolicy {
    /// Numbers of errors (`docs/errors.md`) after which there is no other try.
    pub never_after: BTreeSet<u16>,
    /// Wait before the first other try in seconds, doubled with each; 1..=86400.
    pub first_wait_s: u32,
    /// The wait grows no further, in seconds; not below `first_wait_s`.
    pub greatest_wait_s: u32,
}

impl Default for RetryPolicy {
    fn default() -> RetryPolicy {
        RetryPolicy {
            never_after: BTreeSet::new(),
            first_wait_s: 30,
            greatest_wait_s: 7_680,
        }
    }
}

impl RetryPolicy {
    /// The first value that is outside its range, and the range.
    pub(super) fn wrong(&self) -> Option<(&'static str, &'static str)> {
        if !(1..=RETRY_WAIT_LIMIT_S).contains(&self.first_wait_s) {
            return Some(("first_wait_s", "1 to 86400"));
        }
        let fits = (self.first_wait_s..=RETRY_WAIT_LIMIT_S).contains(&self.greatest_wait_s);
        (!fits).then_some(("greatest_wait_s", "first_wait_s to 86400"))
    }

    /// Seconds to wait after this many failures.
    pub fn wait_s(&self, failures: u8) -> Time {
        let doublings = u32::from(failures.saturating_sub(1)).min(20);
        let wait = Time::from(self.first_wait_s) << doublings;
        wait.min(self.greatest_wait_s.into())
    }
}

/// How often, and after what, another try follows: what a device's state machine needs of plan and strategy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retries {
    /// Tries after the first; 0 = none.
    pub times: u8,
    /// Which errors, and how long between.
    pub policy: RetryPolicy,
}

impl Retries {
    /// No other try.
    pub fn none() -> Retries {
        Retries::times(0)
    }

    /// This many, otherwise as usual.
    pub fn times(times: u8) -> Retries {
        Retries {
            times,
            policy: RetryPolicy::default(),
        }
    }
}
