//! What the back ends that drive an MCU keep of time.

use crate::message::{Command, Millis, Reply};

/// How often a plan that the strategy does not take yet, or anything else that the engine refused, is tried again.
pub(super) const AGAIN_MS: u64 = 5_000;
/// How often the engine hears that the MCU's side is alive.
const ALIVE_MS: u64 = 15_000;

/// When to ask the engine, and how long nothing was done.
pub(super) struct Pace {
    /// When to ask the engine again.
    pub(super) again_at: Millis,
    /// When the engine was last asked for a byte.
    alive_at: Millis,
    /// When something was last done, and what the machine counted then.
    done_at: Millis,
    steps: u32,
}

impl Pace {
    pub(super) const fn new(now: Millis) -> Self {
        Pace {
            again_at: 0,
            alive_at: now,
            done_at: now,
            steps: 0,
        }
    }

    /// Something new begins.
    pub(super) fn begin(&mut self, now: Millis) {
        (self.done_at, self.alive_at) = (now, now);
    }

    /// The machine was polled.
    pub(super) fn polled(&mut self, now: Millis, was_read: bool, steps: u32) {
        if was_read {
            self.alive_at = now;
        }
        if self.steps != steps {
            (self.steps, self.done_at) = (steps, now);
        }
    }

    /// Nothing was done for so long.
    pub(super) fn is_over(&self, now: Millis, give_up_ms: u32) -> bool {
        now >= self.done_at.saturating_add(give_up_ms.into())
    }

    /// When to work at the latest, where the machine wants to at `at`.
    pub(super) fn deadline(&self, at: Option<Millis>) -> Millis {
        let alive = self.alive_at.saturating_add(ALIVE_MS);
        at.map_or(alive, |at| at.min(alive))
    }

    /// Lets the engine know that the piece is still being worked on.
    pub(super) fn keep_alive<F>(&mut self, now: Millis, piece: Option<(u32, u32)>, engine: &mut F)
    where
        F: FnMut(Command, &mut [u8]) -> Reply,
    {
        if now < self.alive_at.saturating_add(ALIVE_MS) {
            return;
        }
        self.alive_at = now;
        if let Some((start, _)) = piece {
            engine(Command::Read { start, len: 1 }, &mut [0]);
        }
    }
}
