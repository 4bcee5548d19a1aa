//! How a step, a set and a device's part in the plan end.
//!
//! A person stops a device softly or hard. The points, by the state of its components:
//!
//! | point | component states | soft | hard |
//! |---|---|---|---|
//! | before it has the offer | PlanNotReceived | ends at once; an offer on its way is withdrawn | the same; if an offer is on its way the device is asked |
//! | before it loads | PlanReceived, Confirmed, ReadyToDownload | goes on | asked, and gives up |
//! | while it loads | Downloading, DownloadFailed, DownloadSucceeded | goes on | asked, and gives up: the old image is untouched |
//! | while it is written | Upgrading | goes on | goes on: the only way is forward (CancelTooLate when nothing else runs) |
//! | after this set | the other components, a retry | not offered any more | not offered any more |

use sota_errors::{CenterError, Reason};
use sota_mutants::{Mutant, active};

use super::{
    CancelOutcome, ComponentState, Deadlines, DeviceState, Outstanding, PlanDevice, describe,
};
use crate::domain::{Problem, Retries, Time};

/// Failures that another attempt cannot mend.
fn final_failure(number: u16) -> bool {
    [
        Reason::RefusedByHost.number(),
        Reason::NotEnoughSpace.number(),
        Reason::McuImageUnfit.number(),
        Reason::Cancelled.number(),
        Reason::PlanExpired.number(),
        Reason::UnknownComponent.number(),
        CenterError::CancelledByOperator.number(),
        CenterError::PlanTerminated.number(),
    ]
    .contains(&number)
}

/// Nothing is to be done for it any more.
fn done(state: ComponentState) -> bool {
    matches!(
        state,
        ComponentState::UpgradeSucceeded | ComponentState::NoUpdateRequired
    )
}

/// How long a device that was busy is left alone, in ms.
pub(in crate::domain) const BUSY_WAIT: Time = 10 * 60 * 1000;

impl PlanDevice {
    pub(super) fn succeed(
        &mut self,
        index: usize,
        retries: &Retries,
        deadlines: &Deadlines,
        now: Time,
    ) -> String {
        self.begin(now);
        self.confirm_all();
        self.over(index, ComponentState::UpgradeSucceeded, None);
        let mut text = String::new();
        if let Some(step) = self.steps.get_mut(index) {
            step.ended_at = Some(now);
            text = format!("{}: success, runs {}", step.component, step.target_version);
        }
        self.failures = 0;
        self.next(retries, deadlines, now);
        text
    }

    /// A step leaves the set.
    pub(super) fn over(&mut self, index: usize, state: ComponentState, failure: Option<u16>) {
        if let Some(step) = self.steps.get_mut(index) {
            step.state = state;
            step.failure = failure;
            step.offered = false;
        }
    }

    /// What is left of a set that nobody has answered is offered in another one.
    pub(super) fn withdraw(&mut self) {
        for index in self.offered().collect::<Vec<_>>() {
            let failure = self.steps.get(index).and_then(|step| step.failure);
            self.over(index, ComponentState::PlanNotReceived, failure);
        }
    }

    /// A step is over: the next one's turn comes, or the set is over.
    pub(super) fn next(&mut self, retries: &Retries, deadlines: &Deadlines, now: Time) {
        let next = self.offered().next();
        if let Some(next) = next {
            self.current = next;
            return self.watch(deadlines, now);
        }
        self.open = false;
        self.deadline = None;
        self.turn();
        let failed = |s: &&super::Step| s.state == ComponentState::UpgradeFailed;
        if self.steps.iter().any(|s| failed(&s)) {
            // it failed while this one could not be stopped any more
            self.close(retries, now);
            return;
        }
        self.cancel_requested = false;
        let last_set = core::mem::take(&mut self.last_set);
        if self.steps.iter().all(|s| done(s.state)) {
            self.finish(now);
        } else if last_set {
            self.stop(CenterError::CancelledByOperator, now);
        }
    }

    /// The present step is the first that is still to be done; the last one when nothing is.
    fn turn(&mut self) {
        let open = self.steps.iter().position(|s| !done(s.state));
        self.current = open.unwrap_or(self.steps.len().saturating_sub(1));
    }

    fn finish(&mut self, now: Time) {
        let any = self
            .steps
            .iter()
            .any(|s| s.state == ComponentState::UpgradeSucceeded);
        self.state = if any {
            DeviceState::Upgraded
        } else {
            DeviceState::NoUpdateRequired
        };
        self.ended_at = Some(now);
        self.open = false;
        self.deadline = None;
    }

    /// Every component still to be done runs its target already: nothing more to do.
    pub fn nothing_left(&mut self, now: Time) {
        for step in self.steps.iter_mut().filter(|s| !done(s.state)) {
            // A try of this plan that was given up here may have come to its end.
            step.state = match self.state == DeviceState::InUpgrade && step.started_at.is_some() {
                true => ComponentState::UpgradeSucceeded,
                false => ComponentState::NoUpdateRequired,
            };
            step.ended_at = Some(now);
        }
        self.finish(now);
    }

    /// A step failed, and with it what waits. Only one that is being written goes on: then the set stays in force.
    pub(super) fn fail(
        &mut self,
        index: usize,
        number: u16,
        retries: &Retries,
        now: Time,
    ) -> String {
        self.begin(now);
        for other in self.offered().collect::<Vec<_>>() {
            let number = match self.state_of(other) {
                _ if other == index => number,
                Some(ComponentState::Upgrading) => continue,
                _ => Reason::OtherComponentFailed.number(),
            };
            self.over(other, ComponentState::UpgradeFailed, Some(number));
        }
        let component = self.steps.get(index).map(|s| s.component.clone());
        let mut text = component.unwrap_or_default();
        text += ": failed: ";
        text += &describe(number);
        let next = self.offered().next();
        if let Some(next) = next {
            self.current = next;
            text += "; what is updating goes on";
            return text;
        }
        if let Some(wait_s) = self.close(retries, now) {
            text += &format!("; offered again in {wait_s} s or later");
        }
        text
    }

    /// A set is over in which a step failed. Counts one failure; another set follows after a back-off, in seconds,
    /// while retries are left.
    fn close(&mut self, retries: &Retries, now: Time) -> Option<Time> {
        self.open = false;
        self.deadline = None;
        self.failures = self.failures.saturating_add(1);
        let failed = |s: &&mut super::Step| s.state == ComponentState::UpgradeFailed;
        let beyond_mending = self
            .steps
            .iter()
            .filter(|s| s.state == ComponentState::UpgradeFailed)
            .filter_map(|s| s.failure)
            .any(|number| final_failure(number) || retries.policy.never_after.contains(&number));
        let spent = self.failures > retries.times && !active(Mutant::RetriesNotCounted);
        let last_set = core::mem::take(&mut self.last_set);
        let over = beyond_mending || self.cancel_requested || last_set || spent;
        self.cancel_requested = false;
        self.turn();
        if over {
            for step in self.steps.iter_mut().filter(failed) {
                step.ended_at = Some(now);
            }
            self.state = DeviceState::UpgradeFailed;
            self.ended_at = Some(now);
            return None;
        }
        let wait_s = retries.policy.wait_s(self.failures);
        self.not_before = now.saturating_add(wait_s * 1000);
        Some(wait_s)
    }

    /// The present step's deadline has passed.
    pub fn deadline_passed(&mut self, retries: &Retries, now: Time) -> Option<String> {
        if self.deadline.is_none_or(|d| d > now) {
            return None;
        }
        if self.cancel_requested {
            let number = CenterError::CancelledByOperator.number();
            return Some(self.fail_all(number, &Retries::none(), now));
        }
        if self.any_offered(&[ComponentState::PlanNotReceived]) {
            // it never answered: not begun, so not failed; offered again when it comes
            self.open = false;
            self.deadline = None;
            self.withdraw();
            return Some("the offer was not acknowledged; it is withdrawn".into());
        }
        Some(self.fail_all(CenterError::DeadlinePassed.number(), retries, now))
    }

    /// The device is gone: also what was being written is given up.
    fn fail_all(&mut self, number: u16, retries: &Retries, now: Time) -> String {
        let mut text = self.fail(self.current, number, retries, now);
        while self.open {
            text = self.fail(self.current, number, retries, now);
        }
        text
    }

    /// The device answered an offer or download information with a refusal: of the offers it is the first that no
    /// report acknowledged.
    pub fn refused(
        &mut self,
        offer: u32,
        number: u16,
        retries: &Retries,
        now: Time,
    ) -> Option<String> {
        let owed = self.outstanding();
        if offer != self.offer || owed.is_empty() {
            return None;
        }
        let offered = owed.iter().find(|(_, what)| *what == Outstanding::Offer);
        let index = offered.map_or(self.current, |(index, _)| *index);
        Some(self.fail(index, number, retries, now))
    }

    /// The device answered an offer with "busy": it has not ended another upgrade, perhaps an earlier try of this plan
    /// that was given up here. That is no failure; it is offered again after a while.
    pub fn busy(&mut self, offer: u32, now: Time) -> Option<String> {
        let taken = |i: usize| self.state_of(i) != Some(ComponentState::PlanNotReceived);
        if offer != self.offer || !self.open || self.offered().any(taken) {
            return None;
        }
        self.open = false;
        self.deadline = None;
        self.withdraw();
        self.not_before = now.saturating_add(BUSY_WAIT);
        Some("the device is busy with another upgrade; the offer is withdrawn".into())
    }

    /// A device that was given up runs the target versions after all. A person's word stands.
    pub(super) fn came_late<'a>(
        &mut self,
        version: impl Fn(usize) -> Option<&'a str>,
        now: Time,
    ) -> Option<String> {
        let by_person = [
            CenterError::CancelledByOperator.number(),
            CenterError::PlanTerminated.number(),
        ];
        let runs = |(index, step): (usize, &super::Step)| {
            done(step.state)
                || !step.target_version.is_empty()
                    && version(index) == Some(step.target_version.as_str())
                    && !step.failure.is_some_and(|f| by_person.contains(&f))
        };
        if self.state != DeviceState::UpgradeFailed || !self.steps.iter().enumerate().all(runs) {
            return None;
        }
        for step in self.steps.iter_mut().filter(|s| !done(s.state)) {
            step.state = ComponentState::UpgradeSucceeded;
            step.failure = None;
            step.ended_at = Some(now);
        }
        self.finish(now);
        Some("runs the target versions after all".into())
    }

    /// A person cancels this device. After the MCU began to flash there is no way back; what waits for its turn
    /// does not begin.
    pub fn cancel(&mut self, now: Time) -> Result<CancelOutcome, Problem> {
        if self.state.over() {
            return Err(Problem::new(
                CenterError::CancelNotRunning,
                self.state.name(),
            ));
        }
        if !self.open {
            self.stop(CenterError::CancelledByOperator, now);
            return Ok(CancelOutcome::Cancelled);
        }
        let stoppable = |i: usize| self.state_of(i) != Some(ComponentState::Upgrading);
        if !self.offered().any(stoppable) {
            return Err(CenterError::CancelTooLate.into());
        }
        self.cancel_requested = true;
        Ok(CancelOutcome::Asked)
    }

    /// A person has the device end with what runs now: nothing more is offered to it.
    pub fn cancel_softly(&mut self, now: Time) -> Result<CancelOutcome, Problem> {
        if self.state.over() {
            return Err(Problem::new(
                CenterError::CancelNotRunning,
                self.state.name(),
            ));
        }
        if self.stop(CenterError::CancelledByOperator, now) {
            return Ok(CancelOutcome::Cancelled);
        }
        self.last_set = true;
        Ok(CancelOutcome::Ending)
    }

    /// The device answered Cancel of one component; what it cancels, it cancels of the whole set.
    pub fn cancel_answered(&mut self, offer: u32, accepted: bool, now: Time) -> Option<String> {
        if offer != self.offer || !self.open || !self.cancel_requested {
            return None;
        }
        // a device that never took the offer has nothing to cancel and refuses; it is cancelled all the same
        let taken = |i: usize| self.state_of(i) != Some(ComponentState::PlanNotReceived);
        let untaken = !self.offered().any(taken);
        let stoppable = |i: &usize| self.state_of(*i) != Some(ComponentState::Upgrading);
        let index = self.offered().find(stoppable);
        if let Some(index) = index.filter(|_| accepted || untaken) {
            let number = CenterError::CancelledByOperator.number();
            let text = self.fail(index, number, &Retries::none(), now);
            self.cancel_requested = false;
            return Some(text);
        }
        self.cancel_requested = false;
        Some(CenterError::CancelTooLate.to_string())
    }

    /// Ends a device that is not running: cancelled, or the plan is over. A running one goes on.
    pub fn stop(&mut self, error: CenterError, now: Time) -> bool {
        let taken = |i: usize| self.state_of(i) != Some(ComponentState::PlanNotReceived);
        if self.state.over() || self.open && self.offered().any(taken) {
            return false;
        }
        self.open = false;
        self.deadline = None;
        self.state = DeviceState::UpgradeFailed;
        self.ended_at = Some(now);
        let mut stopped: Vec<usize> = self.offered().collect();
        stopped.push(self.current);
        for index in stopped {
            self.over(index, ComponentState::UpgradeFailed, Some(error.number()));
            if let Some(step) = self.steps.get_mut(index) {
                step.ended_at = Some(now);
            }
        }
        true
    }

    /// A person asks for one more try of a failed device, with all its retries.
    pub fn retry(&mut self) -> Result<(), Problem> {
        if self.state != DeviceState::UpgradeFailed {
            return Err(Problem::new(CenterError::RetryNotFailed, self.state.name()));
        }
        self.state = DeviceState::NotUpgraded;
        self.failures = 0;
        self.last_set = false;
        self.not_before = 0;
        self.ended_at = None;
        for step in &mut self.steps {
            if step.state == ComponentState::UpgradeFailed {
                step.state = ComponentState::PlanNotReceived;
                step.ended_at = None;
            }
        }
        Ok(())
    }
}
