//! The switch to another baud rate and back (`docs/link.md`, Baud rate).
//!
//! | state | end | leaves to |
//! |---|---|---|
//! | Steady | both | Asked (module wants another rate), Answer (MCU got Rate) |
//! | Asked | module | Probing at RateAnswer, Steady after 2 FALLBACK |
//! | Probing | module | Steady at ProbeAnswer; after FALLBACK at the old rate |
//! | Answer | MCU | Leaving when RateAnswer is written |
//! | Leaving | MCU | Trial when it has left |
//! | Trial | MCU | Steady at a valid frame; after FALLBACK at the old rate |
//!
//! Both ends come to the base rate when the link goes down, so no loss of a frame can leave them apart for longer than
//! DEAD.

use crate::timing::{Millis, PROBE_EVERY, Timing};

/// Frame types.
pub(crate) const RATE: u8 = 8;
pub(crate) const PROBE: u8 = 9;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Steady,
    Asked {
        baud: u32,
        sent: bool,
        since: Millis,
    },
    Probing {
        old: u32,
        next: Millis,
        since: Millis,
    },
    #[cfg_attr(not(feature = "rate"), expect(dead_code))]
    Answer {
        baud: u32,
    },
    Leaving {
        baud: u32,
    },
    Trial {
        old: u32,
        since: Millis,
    },
}

/// One end's rate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate<const MCU: bool> {
    base: u32,
    baud: u32,
    state: State,
    /// ProbeAnswer is to be sent.
    answer_probe: bool,
    failures: u8,
    /// The port has to change to `baud`.
    changed: bool,
}

/// Failures after which it stays as it is until the next hello.
const FAILURES: u8 = 2;

/// Without the feature an end stays at the base rate.
const ON: bool = cfg!(feature = "rate");

impl<const MCU: bool> Rate<MCU> {
    pub(crate) const fn new(base: u32) -> Self {
        Rate {
            base,
            baud: base,
            state: State::Steady,
            answer_probe: false,
            failures: 0,
            changed: false,
        }
    }

    pub(crate) const fn baud(&self) -> u32 {
        self.baud
    }

    pub(crate) const fn base(&self) -> u32 {
        self.base
    }

    pub(crate) const fn is_fast(&self) -> bool {
        ON && self.baud != self.base
    }

    /// No other frames are sent while the rate changes.
    pub(crate) fn is_steady(&self) -> bool {
        !ON || (self.state == State::Steady && !self.answer_probe)
    }

    /// The link is made anew.
    pub(crate) fn reset(&mut self) {
        self.state = State::Steady;
        self.answer_probe = false;
        self.failures = 0;
    }

    /// The link went down.
    pub(crate) fn fall_back(&mut self) {
        self.reset();
        self.set(self.base);
    }

    fn set(&mut self, baud: u32) {
        self.changed |= self.baud != baud;
        self.baud = baud;
    }

    /// The rate that the port has to change to, once.
    pub(crate) fn take_change(&mut self) -> Option<u32> {
        if !ON {
            return None;
        }
        core::mem::take(&mut self.changed).then_some(self.baud)
    }

    /// Module: `wanted` is the rate it would like now.
    pub(crate) fn want(&mut self, now: Millis, wanted: u32) {
        if ON && self.state == State::Steady && wanted != self.baud && self.failures < FAILURES {
            self.state = State::Asked {
                baud: wanted,
                sent: false,
                since: now,
            };
        }
    }

    /// What time does. `true`: a switch failed for good.
    pub(crate) fn poll(&mut self, now: Millis, timing: Timing, sent: bool) -> bool {
        if !ON {
            return false;
        }
        let over = |since: Millis, ms: u32| now >= since.saturating_add(ms.into());
        match self.state {
            State::Asked {
                sent: true, since, ..
            } if !MCU && over(since, 2 * timing.fallback()) => return self.failed(),
            State::Probing { old, since, .. } if !MCU && over(since, timing.fallback()) => {
                self.set(old);
                return self.failed();
            }
            State::Leaving { baud } if sent => {
                self.state = State::Trial {
                    old: self.baud,
                    since: now,
                };
                self.set(baud);
            }
            State::Trial { old, since } if over(since, timing.fallback()) => {
                self.set(old);
                self.state = State::Steady;
            }
            _ => {}
        }
        false
    }

    fn failed(&mut self) -> bool {
        self.state = State::Steady;
        self.failures = self.failures.saturating_add(1);
        self.failures == FAILURES
    }

    /// A valid frame came.
    pub(crate) fn heard(&mut self) {
        if ON && matches!(self.state, State::Trial { .. }) {
            self.state = State::Steady;
        }
    }

    /// MCU: Rate came; `most` is what it can do.
    #[cfg(feature = "rate")]
    pub(crate) fn on_rate(&mut self, baud: u32, most: u32) {
        let can = ON && baud != 0 && (baud <= most || baud == self.base);
        self.state = State::Answer {
            baud: if can { baud } else { 0 },
        };
    }

    /// MCU: Probe came.
    #[cfg(feature = "rate")]
    pub(crate) fn on_probe(&mut self, baud: u32) {
        self.answer_probe = baud == self.baud;
    }

    /// Module: RateAnswer came. `true`: a switch failed for good.
    pub(crate) fn on_rate_answer(&mut self, now: Millis, baud: u32) -> bool {
        let State::Asked { baud: asked, .. } = self.state else {
            return false;
        };
        if baud != asked {
            self.failures = FAILURES - 1;
            return self.failed();
        }
        self.state = State::Probing {
            old: self.baud,
            next: now,
            since: now,
        };
        self.set(baud);
        false
    }

    /// Module: ProbeAnswer came.
    pub(crate) fn on_probe_answer(&mut self, baud: u32) {
        if matches!(self.state, State::Probing { .. }) && baud == self.baud {
            self.state = State::Steady;
            self.failures = 0;
        }
    }

    /// The frame to send now: its type ([`RATE`] or [`PROBE`], of an MCU the answer to it) and the baud rate in it.
    pub(crate) fn next_frame(&mut self, now: Millis) -> Option<(u8, u32)> {
        match &mut self.state {
            State::Asked { baud, sent, since } if !MCU && !*sent => {
                (*sent, *since) = (true, now);
                Some((RATE, *baud))
            }
            State::Probing { next, .. } if !MCU && now >= *next => {
                *next = now.saturating_add(PROBE_EVERY);
                Some((PROBE, self.baud))
            }
            State::Answer { baud } => {
                let baud = *baud;
                self.state = match baud {
                    0 => State::Steady,
                    _ => State::Leaving { baud },
                };
                Some((RATE, baud))
            }
            _ if self.answer_probe => {
                self.answer_probe = false;
                Some((PROBE, self.baud))
            }
            _ => None,
        }
    }

    /// When [`poll`](Self::poll) or, with `sent`, [`next_frame`](Self::next_frame) have something to do.
    pub(crate) fn deadline(&self, timing: Timing, sent: bool) -> Option<Millis> {
        match self.state {
            _ if !ON => None,
            State::Asked { since, .. } if !MCU => {
                Some(since.saturating_add((2 * timing.fallback()).into()))
            }
            State::Probing { next, since, .. } if !MCU => {
                let over = since.saturating_add(timing.fallback().into());
                Some(if sent { next.min(over) } else { over })
            }
            State::Trial { since, .. } => Some(since.saturating_add(timing.fallback().into())),
            _ => None,
        }
    }
}
