//! How often a log-in may fail: per account, and per address of the caller. In memory; a restart forgets it.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::domain::Time;

/// Failures are counted this long, in ms.
const WINDOW: Time = 15 * 60_000;
/// Failures of one account within the window.
const PER_ACCOUNT: u32 = 10;
/// Failures from one address within the window: more, because many people may share one.
const PER_ADDRESS: u32 = 30;
/// Accounts and addresses remembered; beyond that the oldest windows go first.
const REMEMBERED: usize = 20_000;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Who {
    Account(String),
    Address(IpAddr),
}

/// Counts failures.
#[derive(Default)]
pub(super) struct Limit {
    failures: HashMap<Who, (Time, u32)>,
}

impl Limit {
    /// Whether another try is allowed. It counts as a failure until [`Limit::succeeded`]: tries that run beside each
    /// other must not all see the same count.
    pub(super) fn begin(&mut self, account: &str, address: IpAddr, now: Time) -> bool {
        if self.failures.len() >= REMEMBERED {
            self.forget(now);
        }
        let keys = [
            (Who::Account(account.to_owned()), PER_ACCOUNT),
            (Who::Address(address), PER_ADDRESS),
        ];
        let full = |(who, most): &(Who, u32)| {
            let entry = self.failures.get(who);
            entry.is_some_and(|(since, count)| now < since + WINDOW && count >= most)
        };
        if keys.iter().any(full) {
            return false;
        }
        for (who, _) in keys {
            let entry = self.failures.entry(who).or_insert((now, 0));
            if now >= entry.0 + WINDOW {
                *entry = (now, 0);
            }
            entry.1 += 1;
        }
        true
    }

    /// The try was right: the account starts anew, the address gets this one back.
    pub(super) fn succeeded(&mut self, account: &str, address: IpAddr) {
        self.failures.remove(&Who::Account(account.to_owned()));
        if let Some((_, count)) = self.failures.get_mut(&Who::Address(address)) {
            *count = count.saturating_sub(1);
        }
    }

    fn forget(&mut self, now: Time) {
        self.failures.retain(|_, (since, _)| now < *since + WINDOW);
        if self.failures.len() >= REMEMBERED {
            let mut times: Vec<Time> = self.failures.values().map(|(since, _)| *since).collect();
            times.sort_unstable();
            let middle = times.get(times.len() / 2).copied().unwrap_or(now);
            self.failures.retain(|_, (since, _)| *since > middle);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_and_an_address_have_their_own_limit() {
        let mut limit = Limit::default();
        let address = |n: u8| IpAddr::from([10, 0, 0, n]);
        for n in 0..10 {
            assert!(limit.begin("ada", address(n), 0), "{n}");
        }
        assert!(!limit.begin("ada", address(99), 1), "another address");
        assert!(limit.begin("bob", address(0), 1), "another account");
        assert!(limit.begin("ada", address(99), WINDOW), "later");
        for n in 0..30 {
            assert!(limit.begin(&format!("a{n}"), address(200), 0));
        }
        assert!(!limit.begin("new", address(200), 0));
    }

    #[test]
    fn a_success_clears_the_account_and_memory_is_bounded() {
        let mut limit = Limit::default();
        let address = IpAddr::from([10, 0, 0, 1]);
        for _ in 0..100 {
            assert!(limit.begin("ada", address, 0));
            limit.succeeded("ada", address);
        }
        for n in 0..3 * REMEMBERED as u32 {
            limit.begin(&format!("x{n}"), IpAddr::from(n.to_be_bytes()), n.into());
        }
        assert!(limit.failures.len() <= REMEMBERED + 2);
    }
}
