//! One device in one plan.
//!
//! The component's state follows the states the device reports. A report may come late, twice, or after others
//! were lost: it is taken when the device's own table of states leads there from the present state, over any
//! number of steps, and is otherwise without effect.
//!
//! | reported | component state | the Center then |
//! |---|---|---|
//! | (offer not acknowledged) | PlanNotReceived | offers again at the next contact |
//! | 1 | PlanReceived | waits for the host |
//! | 2 | Confirmed | sends the download information |
//! | 3 | UpgradeFailed (refused) | does not offer again by itself |
//! | 4 | ReadyToDownload | waits |
//! | 5 | Downloading | waits |
//! | 6 | DownloadFailed | sends the download information again |
//! | 8 | DownloadSucceeded (a piece) | waits |
//! | 9 | Upgrading | a cancel has no effect any more |
//! | 11 and the version is the target | UpgradeSucceeded | next step, or the device is Upgraded |
//! | 12 | UpgradeFailed | offers again while retries are left, else the device is UpgradeFailed |

mod state;

use serde::{Deserialize, Serialize};
use sota_errors::{CenterError, Reason};
use sota_lwm2m::objects::plan::State;
use utoipa::ToSchema;

pub use state::{
    CancelOutcome, ComponentState, Deadlines, DeviceState, LogLine, Outstanding, Report, StepPlan,
    reachable,
};

use super::{Device, Endpoint, Plan, PlanId, Problem, ProjectId, Time};

/// One step as far as this device has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Step {
    /// Component identifier in the model.
    pub component: String,
    /// Index of the package's file, 0 for a package of one file.
    pub file_index: u8,
    /// Component state.
    pub state: ComponentState,
    /// Version it ran when it was offered.
    pub source_version: String,
    /// Version it shall run; empty when more files of the package follow.
    pub target_version: String,
    /// Number of the last failure, see `docs/errors.md`.
    pub failure: Option<u16>,
    /// When it was first offered.
    pub started_at: Option<Time>,
    /// When it succeeded or failed for good.
    pub ended_at: Option<Time>,
}

/// A device in a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlanDevice {
    /// The plan.
    pub plan: PlanId,
    /// The device.
    #[serde(flatten)]
    pub endpoint: Endpoint,
    /// Account it belongs to.
    pub account: i64,
    /// Project it belongs to.
    pub project: ProjectId,
    /// Device state.
    pub state: DeviceState,
    /// Steps in sequence.
    pub steps: Vec<Step>,
    /// Index of the present step.
    pub current: usize,
    /// Number of the last offer; on the wire the offer is named `<plan>-<offer>`.
    pub offer: u32,
    /// The last offer is in force.
    pub open: bool,
    /// The device wants SHA-256 beside MD5 and CRC-32.
    pub sha256_wanted: bool,
    /// Failures so far.
    pub failures: u8,
    /// Not offered again before.
    pub not_before: Time,
    /// The Center was asked to cancel and the device has not answered yet.
    pub cancel_requested: bool,
    /// When the present step counts as failed.
    pub deadline: Option<Time>,
    /// When the device began.
    pub started_at: Option<Time>,
    /// When it was done.
    pub ended_at: Option<Time>,
    /// Counts its changes; 0 = not stored yet.
    pub revision: u64,
}

/// Failures that another attempt cannot mend.
fn final_failure(number: u16) -> bool {
    [
        Reason::RefusedByHost.number(),
        Reason::NotEnoughSpace.number(),
        Reason::Cancelled.number(),
        Reason::PlanExpired.number(),
        Reason::UnknownComponent.number(),
        CenterError::CancelledByOperator.number(),
        CenterError::PlanTerminated.number(),
    ]
    .contains(&number)
}

impl PlanDevice {
    /// A device that the plan includes and that has not begun.
    pub fn enrol(plan: &Plan, steps: &[StepPlan], device: &Device) -> PlanDevice {
        let step = |s: &StepPlan| Step {
            component: s.component.clone(),
            file_index: s.file_index,
            state: ComponentState::PlanNotReceived,
            source_version: String::new(),
            target_version: s.target_version.clone(),
            failure: None,
            started_at: None,
            ended_at: None,
        };
        PlanDevice {
            plan: plan.id,
            endpoint: device.endpoint.clone(),
            account: plan.account,
            project: plan.project,
            state: DeviceState::NotUpgraded,
            steps: steps.iter().map(step).collect(),
            current: 0,
            offer: 0,
            open: false,
            sha256_wanted: true,
            failures: 0,
            not_before: 0,
            cancel_requested: false,
            deadline: None,
            started_at: None,
            ended_at: None,
            revision: 0,
        }
    }

    /// The present step.
    pub fn step(&self) -> Option<&Step> {
        self.steps.get(self.current)
    }

    /// Name of the present offer on the wire.
    pub fn offer_name(&self) -> String {
        format!("{}-{}", self.plan, self.offer)
    }

    /// Reads an offer's name.
    pub fn parse_offer_name(name: &str) -> Option<(PlanId, u32)> {
        let (plan, offer) = name.split_once('-')?;
        Some((PlanId(plan.parse().ok()?), offer.parse().ok()?))
    }

    /// What the Center owes the device now.
    pub fn outstanding(&self) -> Option<Outstanding> {
        if !self.open {
            return None;
        }
        match self.step()?.state {
            ComponentState::Upgrading => None,
            _ if self.cancel_requested => Some(Outstanding::Cancel),
            ComponentState::PlanNotReceived => Some(Outstanding::Offer),
            ComponentState::Confirmed | ComponentState::DownloadFailed => {
                Some(Outstanding::Download)
            }
            _ => None,
        }
    }

    /// What a device gets that asks for a plan: also the offer whose host has not answered yet, because a host
    /// that restarted asks in order to hear it again, and [`Outstanding::Resume`] when its upgrade is under way.
    pub fn outstanding_when_asked(&self) -> Option<Outstanding> {
        let unanswered = self.open && step_state(self) == Some(ComponentState::PlanReceived);
        let under_way = self.open
            && matches!(
                step_state(self),
                Some(
                    ComponentState::ReadyToDownload
                        | ComponentState::Downloading
                        | ComponentState::DownloadSucceeded
                        | ComponentState::Upgrading
                )
            );
        self.outstanding()
            .or(unanswered.then_some(Outstanding::Offer))
            .or(under_way.then_some(Outstanding::Resume))
    }

    /// Opens an offer of step `index`, found by [`eligibility`](super::eligibility). Steps before it that are not
    /// done need no update: the device runs their version already.
    pub fn open_offer(&mut self, index: usize, version: &str, deadlines: &Deadlines, now: Time) {
        for step in self.steps.iter_mut().take(index) {
            if step.state != ComponentState::UpgradeSucceeded {
                step.state = ComponentState::NoUpdateRequired;
            }
        }
        self.current = index;
        self.offer = self.offer.saturating_add(1);
        self.open = true;
        self.cancel_requested = false;
        if let Some(step) = self.steps.get_mut(index) {
            step.source_version = version.to_owned();
            step.started_at.get_or_insert(now);
        }
        self.enter(ComponentState::PlanNotReceived, deadlines, now);
    }

    fn enter(&mut self, state: ComponentState, deadlines: &Deadlines, now: Time) {
        if let Some(step) = self.steps.get_mut(self.current) {
            step.state = state;
        }
        self.deadline = deadlines.of(state).map(|d| now.saturating_add(d));
    }

    /// Takes a report. `version` is what the component runs as far as the Center knows; success needs it to be
    /// the target. Says what to log; a report without effect says so and changes nothing.
    pub fn report(
        &mut self,
        report: &Report,
        version: Option<&str>,
        retry_times: u8,
        deadlines: &Deadlines,
        now: Time,
    ) -> Result<String, Problem> {
        if report.offer != self.offer || self.offer == 0 {
            let detail = format!("state {} of offer {}", report.state.number(), report.offer);
            return Err(Problem::new(CenterError::StaleReport, detail));
        }
        let late = || {
            let detail = format!("state {}", report.state.number());
            Problem::new(CenterError::OutOfOrderReport, detail)
        };
        let step = self.step().ok_or_else(late)?;
        let from = step.state.reported().ok_or_else(late)?;
        if !self.open || !reachable(from, report.state) {
            return Err(late());
        }
        let target = step.target_version.clone();
        if report.state != State::Success && report.state != State::Failure {
            self.begin(now);
        }
        let text = match report.state {
            State::None => return Err(late()),
            State::PlanReceived => self.say(
                ComponentState::PlanReceived,
                "plan received",
                deadlines,
                now,
            ),
            State::Confirmed => self.say(ComponentState::Confirmed, "confirmed", deadlines, now),
            State::DownloadStarts => self.say(
                ComponentState::ReadyToDownload,
                "download starts",
                deadlines,
                now,
            ),
            State::Downloading => {
                self.say(ComponentState::Downloading, "downloading", deadlines, now)
            }
            State::DownloadError => {
                if let Some(step) = self.steps.get_mut(self.current) {
                    step.failure = report.reason;
                }
                self.say(
                    ComponentState::DownloadFailed,
                    "download failed, to be sent again",
                    deadlines,
                    now,
                )
            }
            State::Downloaded => self.say(
                ComponentState::DownloadSucceeded,
                "piece downloaded",
                deadlines,
                now,
            ),
            State::Updating => {
                let asked = core::mem::take(&mut self.cancel_requested);
                let text = if asked {
                    "updating; the cancel came too late"
                } else {
                    "updating"
                };
                self.say(ComponentState::Upgrading, text, deadlines, now)
            }
            State::Refused => self.fail(Reason::RefusedByHost.number(), retry_times, now),
            State::Failure => {
                let reason = report.reason.unwrap_or(CenterError::OfferRefused.number());
                self.fail(reason, retry_times, now)
            }
            State::Success => {
                if !target.is_empty() && version != Some(target.as_str()) {
                    // not a success until the version says so: the deadline of "updating" goes on
                    self.begin(now);
                    let runs = version.unwrap_or("unknown");
                    let detail = format!("target {target}, reported {runs}");
                    if step_state(self) != Some(ComponentState::Upgrading) {
                        self.enter(ComponentState::Upgrading, deadlines, now);
                    }
                    return Ok(Problem::new(CenterError::TargetNotReported, detail).to_string());
                }
                self.succeed(now)
            }
        };
        Ok(text)
    }

    fn say(
        &mut self,
        state: ComponentState,
        text: &str,
        deadlines: &Deadlines,
        now: Time,
    ) -> String {
        self.enter(state, deadlines, now);
        self.step()
            .map(|s| format!("{}: {text}", s.component))
            .unwrap_or_default()
    }

    /// Looks at the version a device reported: the truth, whatever states were lost.
    pub fn version_reported(&mut self, version: Option<&str>, now: Time) -> Option<String> {
        let step = self.step()?;
        let reached = self.open
            && !step.target_version.is_empty()
            && version == Some(step.target_version.as_str());
        match step.state {
            _ if !reached => None,
            ComponentState::PlanNotReceived | ComponentState::PlanReceived => {
                // it came to the version by another way
                let text = format!("{}: runs the target version already", step.component);
                self.finish_step(ComponentState::NoUpdateRequired, now);
                Some(text)
            }
            _ => {
                self.begin(now);
                Some(self.succeed(now))
            }
        }
    }

    fn begin(&mut self, now: Time) {
        self.state = DeviceState::InUpgrade;
        self.started_at.get_or_insert(now);
    }

    fn succeed(&mut self, now: Time) -> String {
        self.begin(now);
        let text = self
            .step()
            .map(|s| format!("{}: success, runs {}", s.component, s.target_version))
            .unwrap_or_default();
        self.finish_step(ComponentState::UpgradeSucceeded, now);
        text
    }

    fn finish_step(&mut self, state: ComponentState, now: Time) {
        self.open = false;
        self.deadline = None;
        self.cancel_requested = false;
        self.failures = 0;
        if let Some(step) = self.steps.get_mut(self.current) {
            step.state = state;
            step.failure = None;
            step.ended_at = Some(now);
        }
        if self.current + 1 < self.steps.len() {
            self.current += 1;
            return;
        }
        self.finish(now);
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
        for step in &mut self.steps {
            if step.state != ComponentState::UpgradeSucceeded {
                step.state = ComponentState::NoUpdateRequired;
            }
        }
        self.finish(now);
    }

    /// Counts one failure. Another offer follows after a back-off while retries are left.
    fn fail(&mut self, number: u16, retry_times: u8, now: Time) -> String {
        self.begin(now);
        self.open = false;
        self.deadline = None;
        self.failures = self.failures.saturating_add(1);
        let over = final_failure(number) || self.cancel_requested || self.failures > retry_times;
        self.cancel_requested = false;
        let mut name = String::new();
        if let Some(step) = self.steps.get_mut(self.current) {
            step.state = ComponentState::UpgradeFailed;
            step.failure = Some(number);
            step.ended_at = over.then_some(now);
            name = step.component.clone();
        }
        if over {
            self.state = DeviceState::UpgradeFailed;
            self.ended_at = Some(now);
            return format!("{name}: failed: {}", describe(number));
        }
        let wait_s = 30 << (self.failures - 1).min(8);
        self.not_before = now.saturating_add(wait_s * 1000);
        format!(
            "{name}: failed: {}; offered again in {wait_s} s or later",
            describe(number)
        )
    }

    /// The present step's deadline has passed.
    pub fn deadline_passed(&mut self, retry_times: u8, now: Time) -> Option<String> {
        if self.deadline.is_none_or(|d| d > now) {
            return None;
        }
        let step = self.step()?;
        if self.cancel_requested {
            return Some(self.fail(CenterError::CancelledByOperator.number(), 0, now));
        }
        if step.state == ComponentState::PlanNotReceived {
            // it never answered: not begun, so not failed; offered again when it comes
            self.open = false;
            self.deadline = None;
            return Some("the offer was not acknowledged; it is withdrawn".into());
        }
        Some(self.fail(CenterError::DeadlinePassed.number(), retry_times, now))
    }

    /// The device answered an offer or download information with a refusal.
    pub fn refused(
        &mut self,
        offer: u32,
        number: u16,
        retry_times: u8,
        now: Time,
    ) -> Option<String> {
        if offer != self.offer || self.outstanding().is_none() {
            return None;
        }
        Some(self.fail(number, retry_times, now))
    }

    /// A person cancels this device. After the MCU began to flash there is no way back.
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
        if step_state(self) == Some(ComponentState::Upgrading) {
            return Err(CenterError::CancelTooLate.into());
        }
        self.cancel_requested = true;
        Ok(CancelOutcome::Asked)
    }

    /// The device answered Cancel.
    pub fn cancel_answered(&mut self, offer: u32, accepted: bool, now: Time) -> Option<String> {
        if offer != self.offer || !self.open || !self.cancel_requested {
            return None;
        }
        // a device that never took the offer has nothing to cancel and refuses; it is cancelled all the same
        if accepted || step_state(self) == Some(ComponentState::PlanNotReceived) {
            return Some(self.fail(CenterError::CancelledByOperator.number(), 0, now));
        }
        self.cancel_requested = false;
        Some(CenterError::CancelTooLate.to_string())
    }

    /// Ends a device that is not running: cancelled, or the plan is over. A running one goes on.
    pub fn stop(&mut self, error: CenterError, now: Time) -> bool {
        let running = self.open && step_state(self) != Some(ComponentState::PlanNotReceived);
        if self.state.over() || running {
            return false;
        }
        self.open = false;
        self.deadline = None;
        self.state = DeviceState::UpgradeFailed;
        self.ended_at = Some(now);
        if let Some(step) = self.steps.get_mut(self.current) {
            step.state = ComponentState::UpgradeFailed;
            step.failure = Some(error.number());
            step.ended_at = Some(now);
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
        self.not_before = 0;
        self.ended_at = None;
        if let Some(step) = self.steps.get_mut(self.current) {
            step.state = ComponentState::PlanNotReceived;
            step.ended_at = None;
        }
        Ok(())
    }
}

fn step_state(device: &PlanDevice) -> Option<ComponentState> {
    device.step().map(|s| s.state)
}

/// The line of the catalogue with this number, in words.
pub(crate) fn describe(number: u16) -> String {
    let device = Reason::from_number(number).map(|r| r.to_string());
    device
        .or_else(|| CenterError::from_number(number).map(|e| e.to_string()))
        .unwrap_or_else(|| format!("{number}"))
}
