//! The power of one node: all its flash partitions share it, and it counts their operations.
//!
//! | the cut comes | the operation | later |
//! |---|---|---|
//! | [`CutMoment::Before`] | nothing of it is done | all answer [`FlashError::PowerOff`] and change nothing, |
//! | [`CutMoment::Middle`] | torn: see [`SimFlash`](super::SimFlash) | reads too, until |
//! | [`CutMoment::After`] | all of it is done | [`FlashPower::power_on`] |
//!
//! The operation with the cut answers [`FlashError::PowerOff`] at every moment: nobody is left to hear "done".
//!
//! [`FlashError::PowerOff`]: super::FlashError::PowerOff

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// When in an operation the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CutMoment {
    /// Nothing of the operation was done.
    Before,
    /// A part of it was done.
    Middle,
    /// All of it was done.
    After,
}

impl CutMoment {
    /// All moments, for a sweep.
    pub const ALL: [CutMoment; 3] = [CutMoment::Before, CutMoment::Middle, CutMoment::After];
}

/// A handle on the power of one node; a clone is a handle on the same power.
///
/// Operations are numbered from 0 in the order in which they begin: a write is one, an erase is one per page.
/// A run with `n` operations has been cut everywhere when `0..n` was cut.
#[derive(Clone, Debug, Default)]
pub struct FlashPower(Arc<Mutex<State>>);

#[derive(Clone, Debug, Default)]
struct State {
    operations: u64,
    cut_at: Option<(u64, CutMoment)>,
    flaky: BTreeSet<u64>,
    off: bool,
    power_ups: u64,
}

/// What becomes of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Whole,
    /// It fails, and the power stays.
    Flaky,
    Cut(CutMoment),
}

impl FlashPower {
    /// Power that is on and stays on.
    pub fn new() -> FlashPower {
        FlashPower::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic of the machine under test may have been caught by the world; the state is plain numbers.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Plans the cut: in the operation of this number, or in the next one if that has been; `None`: no cut.
    /// The plan is used up by the cut.
    pub fn set_cut_at(&self, cut_at: Option<(u64, CutMoment)>) {
        self.state().cut_at = cut_at;
    }

    /// The cut that is still to come.
    pub fn cut_at(&self) -> Option<(u64, CutMoment)> {
        self.state().cut_at
    }

    /// The operation of this number answers an error and is done in part; the power stays on, and the next try
    /// works. A number that has been is without effect.
    pub fn flaky_once(&self, operation: u64) {
        self.state().flaky.insert(operation);
    }

    /// Operations begun so far, which is the number of the next one.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Whether the power is off.
    pub fn is_off(&self) -> bool {
        self.state().off
    }

    /// Cuts the power between two operations.
    pub fn power_off(&self) {
        self.state().off = true;
    }

    /// Brings the power back. Without effect if it is on.
    pub fn power_on(&self) {
        let mut state = self.state();
        if state.off {
            state.off = false;
            state.power_ups += 1;
        }
    }

    /// A power of its own with the same count and plan; for a copy of a whole node together with
    /// [`SimFlash::copy_on`](super::SimFlash::copy_on).
    pub fn copy(&self) -> FlashPower {
        FlashPower(Arc::new(Mutex::new(self.state().clone())))
    }

    /// How often the power came back; `None` while it is off.
    pub(super) fn power_ups(&self) -> Option<u64> {
        let state = self.state();
        (!state.off).then_some(state.power_ups)
    }

    /// Begins an operation; `None` while the power is off.
    pub(super) fn begin(&self) -> Option<Fate> {
        let mut state = self.state();
        if state.off {
            return None;
        }
        let number = state.operations;
        state.operations += 1;
        let flaky = state.flaky.remove(&number);
        match state.cut_at {
            Some((at, moment)) if number >= at => {
                state.cut_at = None;
                state.off = true;
                Some(Fate::Cut(moment))
            }
            _ if flaky => Some(Fate::Flaky),
            _ => Some(Fate::Whole),
        }
    }
}
