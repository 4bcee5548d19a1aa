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
//! | (4.05 to an offer) | PlanNotReceived | the device has another upgrade: offers again after 10 minutes, no failure |
//! | (target versions, after UpgradeFailed) | UpgradeSucceeded | the device is Upgraded, unless a person stopped it |
//!
//! To a device with the Plan object, components are offered together, as a **set** of one name: its host is asked
//! once. Each step has its own state; the Center's part of it goes by the set, as on the device:
//!
//! | of one step of a set | the others |
//! |---|---|
//! | 2 or later | Confirmed: the host answered for all |
//! | 3 | UpgradeFailed (refused) |
//! | 4, 5, 6, 8, 9 | wait in Confirmed; the next gets its download information, and no other offer, after 11 |
//! | 12, its deadline, a cancel | UpgradeFailed (26, another component failed); one in Upgrading goes on to its end first |
//! | runs its target before the answer | offered again without it |

mod ends;
mod state;

use serde::{Deserialize, Serialize};
use sota_errors::{CenterError, Reason};
use sota_lwm2m::objects::plan::State;
use sota_mutants::{Mutant, active};
use utoipa::ToSchema;

pub(in crate::domain) use ends::BUSY_WAIT;
pub use state::{
    CancelMode, CancelOutcome, ComponentState, Deadlines, DeviceState, LogLine, Outstanding,
    Report, StepPlan, reachable,
};

use super::{Counters, Device, Endpoint, Plan, PlanId, Problem, ProjectId, Retries, Time};

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
    /// It is part of the set that is in force, and not over.
    pub offered: bool,
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
    /// Index of its group in the plan's rollout.
    #[serde(default)]
    pub group: u16,
    /// The radio cell in which it was when it was offered the last set, if it had told it.
    #[serde(default)]
    pub cell: Option<u64>,
    /// Manual mode: it may begin from then on; absent = its user has not said so.
    #[serde(default)]
    pub appointed_at: Option<Time>,
    /// Steps in sequence.
    pub steps: Vec<Step>,
    /// Index of the present step: of the set in force the first that is not over, else the first to be done.
    pub current: usize,
    /// Number of the last set; on the wire each of its offers is named `<plan>-<offer>`.
    pub offer: u32,
    /// The last set is in force.
    pub open: bool,
    /// The device wants SHA-256 beside MD5 and CRC-32.
    pub sha256_wanted: bool,
    /// Failures so far.
    pub failures: u8,
    /// Not offered again before.
    pub not_before: Time,
    /// The Center was asked to cancel and the device has not answered yet.
    pub cancel_requested: bool,
    /// A person cancelled it softly: the set in force is its last.
    #[serde(default)]
    pub last_set: bool,
    /// When the present step counts as failed.
    pub deadline: Option<Time>,
    /// When the device began.
    pub started_at: Option<Time>,
    /// When it was done.
    pub ended_at: Option<Time>,
    /// Counts its changes; 0 = not stored yet.
    pub revision: u64,
}

impl PlanDevice {
    /// A device that the plan includes and that has not begun; its group is found from the `counters` of the groups.
    pub fn enrol(
        plan: &Plan,
        steps: &[StepPlan],
        device: &Device,
        counters: &[Counters],
    ) -> PlanDevice {
        let step = |s: &StepPlan| Step {
            component: s.component.clone(),
            file_index: s.file_index,
            state: ComponentState::PlanNotReceived,
            source_version: String::new(),
            target_version: s.target_version.clone(),
            failure: None,
            started_at: None,
            ended_at: None,
            offered: false,
        };
        PlanDevice {
            plan: plan.id,
            endpoint: device.endpoint.clone(),
            account: plan.account,
            project: plan.project,
            state: DeviceState::NotUpgraded,
            group: plan.rollout.group_of(plan.id, &device.endpoint, counters),
            cell: None,
            appointed_at: None,
            steps: steps.iter().map(step).collect(),
            current: 0,
            offer: 0,
            open: false,
            sha256_wanted: true,
            failures: 0,
            not_before: 0,
            cancel_requested: false,
            last_set: false,
            deadline: None,
            started_at: None,
            ended_at: None,
            revision: 0,
        }
    }

    /// The cell whose air it takes, or will take as soon as its host has confirmed: until what it was offered is being
    /// written.
    pub fn loading_cell(&self) -> Option<u64> {
        let loads = |i: usize| self.state_of(i) != Some(ComponentState::Upgrading);
        self.cell.filter(|_| self.open && self.offered().any(loads))
    }

    /// The present step.
    pub fn step(&self) -> Option<&Step> {
        self.steps.get(self.current)
    }

    /// Steps of the set in force that are not over, in sequence.
    pub fn offered(&self) -> impl Iterator<Item = usize> + '_ {
        let steps = self.steps.iter().enumerate();
        steps.filter(|(_, step)| step.offered).map(|(i, _)| i)
    }

    /// Name of the present set's offers on the wire.
    pub fn offer_name(&self) -> String {
        format!("{}-{}", self.plan, self.offer)
    }

    /// Reads an offer's name.
    pub fn parse_offer_name(name: &str) -> Option<(PlanId, u32)> {
        let (plan, offer) = name.split_once('-')?;
        Some((PlanId(plan.parse().ok()?), offer.parse().ok()?))
    }

    /// What the Center owes the device now, by step in sequence.
    pub fn outstanding(&self) -> Vec<(usize, Outstanding)> {
        let owed = |index: usize| {
            let owed = match self.state_of(index)? {
                ComponentState::Upgrading => return None,
                _ if self.cancel_requested => Outstanding::Cancel,
                ComponentState::PlanNotReceived => Outstanding::Offer,
                ComponentState::Confirmed | ComponentState::DownloadFailed
                    if index == self.current =>
                {
                    Outstanding::Download
                }
                _ => return None,
            };
            Some((index, owed))
        };
        self.offered().filter_map(owed).collect()
    }

    /// What a device gets that asks for a plan: also the offers whose host has not answered yet, because a host
    /// that restarted asks in order to hear them again, and [`Outstanding::Resume`] when its upgrade is under way.
    pub fn outstanding_when_asked(&self) -> Vec<(usize, Outstanding)> {
        let owed = self.outstanding();
        if !owed.is_empty() || !self.open {
            return owed;
        }
        match self.state_of(self.current) {
            Some(ComponentState::PlanReceived) => {
                self.offered().map(|i| (i, Outstanding::Offer)).collect()
            }
            Some(
                ComponentState::ReadyToDownload
                | ComponentState::Downloading
                | ComponentState::DownloadSucceeded
                | ComponentState::Upgrading,
            ) => vec![(self.current, Outstanding::Resume)],
            _ => owed,
        }
    }

    /// Offers these steps together, found by [`eligibility`](super::eligibility), each with the version that its
    /// component runs. Steps before the last of them that are not done need no update: the device runs their
    /// version already.
    pub fn open_offer(&mut self, set: &[(usize, &str)], deadlines: &Deadlines, now: Time) {
        let (Some((first, _)), Some((last, _))) = (set.first(), set.last()) else {
            return;
        };
        for (index, step) in self.steps.iter_mut().enumerate() {
            let version = set.iter().find(|(i, _)| *i == index).map(|(_, v)| *v);
            step.offered = version.is_some();
            match (version, step.state) {
                (_, ComponentState::UpgradeSucceeded) => {}
                (Some(version), _) => {
                    step.state = ComponentState::PlanNotReceived;
                    step.source_version = version.to_owned();
                    step.started_at.get_or_insert(now);
                }
                (None, _) if index < *last => step.state = ComponentState::NoUpdateRequired,
                // what failed in an older set has its turn after this one
                (None, ComponentState::UpgradeFailed) => {
                    step.state = ComponentState::PlanNotReceived;
                }
                (None, _) => {}
            }
        }
        self.current = *first;
        self.offer = self.offer.saturating_add(1);
        self.open = true;
        self.cancel_requested = false;
        self.watch(deadlines, now);
    }

    fn state_of(&self, index: usize) -> Option<ComponentState> {
        self.steps.get(index).map(|step| step.state)
    }

    /// Of the set, steps whose state is one of these.
    fn any_offered(&self, states: &[ComponentState]) -> bool {
        let mut offered = self.offered().filter_map(|i| self.state_of(i));
        offered.any(|state| states.contains(&state))
    }

    /// The deadline follows the present step, or the offers as long as one is not acknowledged.
    fn watch(&mut self, deadlines: &Deadlines, now: Time) {
        let waits = ComponentState::PlanNotReceived;
        let state = match self.any_offered(&[waits]) {
            true => Some(waits),
            false => self.state_of(self.current),
        };
        let limit = state.and_then(|state| deadlines.of(state));
        self.deadline = limit.map(|d| now.saturating_add(d));
    }

    /// Takes a report of step `index`. `version` is what its component runs as far as the Center knows; success
    /// needs it to be the target. Says what to log; a report without effect says so and changes nothing.
    pub fn report(
        &mut self,
        index: usize,
        report: &Report,
        version: Option<&str>,
        retries: &Retries,
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
        let step = self.steps.get(index).ok_or_else(late)?;
        let from = step.state.reported().ok_or_else(late)?;
        if !self.open || !step.offered || !reachable(from, report.state) {
            return Err(late());
        }
        let (component, target) = (step.component.clone(), step.target_version.clone());
        let (state, text) = match report.state {
            State::None => return Err(late()),
            State::PlanReceived => (ComponentState::PlanReceived, "plan received"),
            State::Confirmed => (ComponentState::Confirmed, "confirmed"),
            State::DownloadStarts => (ComponentState::ReadyToDownload, "download starts"),
            State::Downloading => (ComponentState::Downloading, "downloading"),
            State::DownloadError => (
                ComponentState::DownloadFailed,
                "download failed, to be sent again",
            ),
            State::Downloaded => (ComponentState::DownloadSucceeded, "piece downloaded"),
            State::Updating => (ComponentState::Upgrading, "updating"),
            State::Refused => {
                let number = Reason::RefusedByHost.number();
                return Ok(self.fail(index, number, retries, now));
            }
            State::Failure => {
                let number = report.reason.unwrap_or(CenterError::OfferRefused.number());
                return Ok(self.fail(index, number, retries, now));
            }
            State::Success => {
                self.confirm_all();
                if target.is_empty() || version == Some(target.as_str()) {
                    return Ok(self.succeed(index, retries, deadlines, now));
                }
                // not a success until the version says so: the deadline of "updating" goes on
                self.begin(now);
                let runs = version.unwrap_or("unknown");
                let detail = format!("target {target}, reported {runs}");
                if self.state_of(index) != Some(ComponentState::Upgrading) {
                    self.enter(index, ComponentState::Upgrading, deadlines, now);
                }
                return Ok(Problem::new(CenterError::TargetNotReported, detail).to_string());
            }
        };
        self.begin(now);
        if state != ComponentState::PlanReceived {
            self.confirm_all();
        }
        if state == ComponentState::DownloadFailed
            && let Some(step) = self.steps.get_mut(index)
        {
            step.failure = report.reason;
        }
        self.enter(index, state, deadlines, now);
        let stoppable = |i: usize| self.state_of(i) != Some(ComponentState::Upgrading);
        if self.cancel_requested && !self.offered().any(stoppable) {
            self.cancel_requested = false;
            return Ok(format!("{component}: {text}; the cancel came too late"));
        }
        Ok(format!("{component}: {text}"))
    }

    fn enter(&mut self, index: usize, state: ComponentState, deadlines: &Deadlines, now: Time) {
        if let Some(step) = self.steps.get_mut(index) {
            step.state = state;
        }
        self.watch(deadlines, now);
    }

    /// The host answered for the whole set: a report of it may have been lost.
    fn confirm_all(&mut self) {
        let before = [
            ComponentState::PlanNotReceived,
            ComponentState::PlanReceived,
        ];
        for step in self.steps.iter_mut().filter(|step| step.offered) {
            if before.contains(&step.state) {
                step.state = ComponentState::Confirmed;
            }
        }
    }

    /// Looks at the versions a device reported: the truth, whatever states were lost. `version` gives what the
    /// component of a step runs.
    pub fn version_reported<'a>(
        &mut self,
        version: impl Fn(usize) -> Option<&'a str>,
        retries: &Retries,
        deadlines: &Deadlines,
        now: Time,
    ) -> Vec<String> {
        let mut texts = Vec::new();
        for index in self.offered().collect::<Vec<_>>() {
            let Some(step) = self.steps.get(index).filter(|step| step.offered) else {
                continue;
            };
            let target = step.target_version.as_str();
            let runs_target = version(index) == Some(target) || active(Mutant::AnyVersionIsSuccess);
            if target.is_empty() || !runs_target {
                continue;
            }
            texts.push(match step.state {
                ComponentState::PlanNotReceived | ComponentState::PlanReceived => {
                    // it came to the version by another way; the set is one less and made anew
                    let text = format!("{}: runs the target version already", step.component);
                    let state = ComponentState::NoUpdateRequired;
                    self.over(index, state, None);
                    if let Some(step) = self.steps.get_mut(index) {
                        step.ended_at = Some(now);
                    }
                    self.withdraw();
                    self.next(retries, deadlines, now);
                    text
                }
                _ => self.succeed(index, retries, deadlines, now),
            });
        }
        texts.extend(self.came_late(version, now));
        texts
    }

    fn begin(&mut self, now: Time) {
        self.state = DeviceState::InUpgrade;
        self.started_at.get_or_insert(now);
    }
}

/// The line of the catalogue with this number, in words.
pub(crate) fn describe(number: u16) -> String {
    let device = Reason::from_number(number).map(|r| r.to_string());
    device
        .or_else(|| CenterError::from_number(number).map(|e| e.to_string()))
        .unwrap_or_else(|| format!("{number}"))
}
