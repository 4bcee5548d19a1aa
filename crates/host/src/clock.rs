//! The monotonic clock and the random source of a PC.

use sota::message::Millis;
use sota::platform::{Clock, Random};
use std::time::Instant;

/// Milliseconds since it was made. Copies show the same time.
#[derive(Clone, Copy, Debug)]
pub struct HostClock(Instant);

impl HostClock {
    /// Starts at 0.
    pub fn start() -> HostClock {
        HostClock(Instant::now())
    }
}

impl Clock for HostClock {
    fn now(&self) -> Millis {
        self.0.elapsed().as_millis() as Millis
    }
}

/// The operating system's random source.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostRandom;

impl Random for HostRandom {
    /// # Panics
    /// The operating system has no random source: nothing can be done safely then.
    fn fill(&mut self, out: &mut [u8]) {
        getrandom::fill(out).expect("the operating system gives random bytes");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_does_not_go_back() {
        let clock = HostClock::start();
        let (a, b) = (clock.now(), clock.now());
        assert!(a <= b);
    }

    #[test]
    fn random_bytes_differ() {
        let (mut a, mut b) = ([0; 16], [0; 16]);
        HostRandom.fill(&mut a);
        HostRandom.fill(&mut b);
        assert_ne!(a, b);
    }
}
