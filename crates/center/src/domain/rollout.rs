//! Rollout: how a plan reaches its devices.
//!
//! The devices of a plan are divided into **groups**, which are opened one after another; a device of a group that is not
//! open yet is offered nothing. A device stays in its group for good: it is found from the plan's id and the device's
//! key, or by the order in which devices come, never by chance.
//!
//! | the open group's results | what follows |
//! |---|---|
//! | failures reach its failure threshold | the plan is suspended, with number 1115 |
//! | successes reach its success threshold | the next group opens, or waits for approval when it asks for it |
//! | it has no devices, but other groups have | the next one opens |
//!
//! Only confirmed results count: a success is a device that reported its target versions.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sota_errors::CenterError;
use utoipa::ToSchema;

use super::{Counters, Endpoint, PLAN_LIST_LIMIT, PlanId, Problem, RetryPolicy, Time, check_name};

/// Most groups of a plan.
const GROUPS_LIMIT: usize = 500;
/// Longest spread of starts, in seconds.
const SPREAD_LIMIT_S: u32 = 86_400;

/// Which part of the devices a group takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Size {
    /// This share of all devices, 1..=100.
    Percent(u8),
    /// The first that come, this many.
    Devices(u32),
    /// All that are left; only the last group, and always the last.
    Rest,
}

/// Devices that are upgraded together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Name, unique in the plan.
    pub name: String,
    /// Its devices.
    pub size: Size,
    /// The next group opens when this share of the group's devices is upgraded or needs no update, 1..=100.
    #[serde(default = "whole")]
    pub success_percent: u8,
    /// The plan is suspended when this share of the group's devices has failed, 1..=100; absent = never.
    #[serde(default)]
    pub failure_percent: Option<u8>,
    /// A person opens this group, once the group before it is done.
    #[serde(default)]
    pub approval: bool,
}

fn whole() -> u8 {
    100
}

impl Group {
    /// A group whose devices must all succeed and which no failure and nobody holds up.
    pub(crate) fn plain(name: &str, size: Size) -> Group {
        Group {
            name: name.into(),
            size,
            success_percent: whole(),
            failure_percent: None,
            approval: false,
        }
    }
}

/// Who decides when a device begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Mode {
    /// The Center.
    #[default]
    Silent,
    /// The device's user, by the manual-mode calls.
    Manual,
}

/// Whole hours of the day in the plan's time zone, `from` included, `to` not; over midnight when `from` is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PushHours {
    /// 0..=23.
    pub from: u8,
    /// 1..=24.
    pub to: u8,
}

impl Default for PushHours {
    fn default() -> PushHours {
        PushHours { from: 0, to: 24 }
    }
}

impl PushHours {
    /// Whether this hour of the day, 0..=23, is inside.
    pub fn contains(self, hour: u8) -> bool {
        match self.from < self.to {
            true => (self.from..self.to).contains(&hour),
            false => hour >= self.from || hour < self.to,
        }
    }
}

/// How many devices of one radio cell load at once. A device in weak coverage takes the cell's air many times as long
/// for the same bytes, so it begins only where few others load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PerCell {
    /// Most that load at once when another one begins, 1..=1000.
    pub downloads: u16,
    /// Coverage is weak below this RSRP, -140..=-31 dBm.
    #[serde(default = "weak")]
    pub weak_below_dbm: i16,
    /// The same limit for a device in weak coverage, 1..=`downloads`.
    #[serde(default = "one")]
    pub weak_downloads: u16,
}

fn weak() -> i16 {
    -110
}

fn one() -> u16 {
    1
}

impl PerCell {
    /// The name and the range of a value that is wrong.
    fn wrong(&self) -> Option<(&'static str, &'static str)> {
        if !(1..=1000).contains(&self.downloads) {
            return Some(("downloads", "1 to 1000"));
        }
        if !(-140..=-31).contains(&self.weak_below_dbm) {
            return Some(("weak_below_dbm", "-140 to -31"));
        }
        let weak = 1..=self.downloads;
        (!weak.contains(&self.weak_downloads)).then_some(("weak_downloads", "1 to downloads"))
    }

    /// How many may load in the cell of a device with this signal when it begins; one that has not told it is taken for
    /// well covered, because it judges itself again.
    pub fn limit(&self, rsrp_dbm: Option<i16>) -> u64 {
        match rsrp_dbm {
            Some(rsrp) if rsrp < self.weak_below_dbm => self.weak_downloads.into(),
            _ => self.downloads.into(),
        }
    }
}

/// How a plan reaches its devices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rollout {
    /// Device keys that are upgraded before all others; all of them must succeed.
    pub test_devices: BTreeSet<String>,
    /// Groups one after another; empty = everyone at once.
    pub groups: Vec<Group>,
    /// Most devices in upgrade at once, 1..=10000.
    pub at_once: u32,
    /// The starts of a group's devices are spread over this many seconds, 0..=86400.
    pub start_spread_s: u32,
    /// The Center begins upgrades by itself only in these hours; a device that asks is answered at any time.
    pub push_hours: PushHours,
    /// Most devices of one radio cell that load at once.
    pub per_cell: Option<PerCell>,
    /// Who decides when a device begins.
    pub mode: Mode,
    /// What follows a failed try.
    pub retry: RetryPolicy,
}

impl Default for Rollout {
    fn default() -> Rollout {
        Rollout {
            test_devices: BTreeSet::new(),
            groups: Vec::new(),
            at_once: PLAN_LIST_LIMIT as u32,
            start_spread_s: 0,
            push_hours: PushHours::default(),
            per_cell: None,
            mode: Mode::default(),
            retry: RetryPolicy::default(),
        }
    }
}

/// What the results of the open group lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advance {
    /// Nothing yet.
    Stay,
    /// This group opens.
    Open(u16),
    /// This group waits for approval.
    AskApproval(u16),
    /// Too many failures: the plan is suspended.
    Pause,
}

/// Where the rollout of a plan stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Progress {
    /// The last group that is open, as an index into [`Rollout::all_groups`].
    pub group: u16,
    /// When it was opened.
    pub opened_at: Time,
    /// The next group waits for a person.
    pub waits_for_approval: bool,
    /// Number of the rule that suspended the plan; absent when a person did.
    pub suspended_by: Option<u16>,
    /// Failures of the open group that a person accepted by resuming the plan.
    pub accepted_failures: u64,
}

impl Progress {
    /// Another group opens.
    pub fn open(&mut self, group: u16, now: Time) {
        *self = Progress {
            group,
            opened_at: now,
            ..Progress::default()
        };
    }

    /// A person resumes the plan and so accepts the failures of the open group.
    pub fn resumed(&mut self, counters: &[Counters]) {
        let open = counters.get(usize::from(self.group));
        self.accepted_failures = open.map_or(0, |group| group.upgrade_failed);
        self.suspended_by = None;
    }
}

impl Rollout {
    /// Checks every value.
    pub fn check(&self) -> Result<(), Problem> {
        let wrong = |field: &str, detail: &str| {
            Err(Problem::of(
                CenterError::RolloutValue,
                format!("rollout.{field}"),
                detail,
            ))
        };
        let limit = PLAN_LIST_LIMIT as u32;
        if !(1..=limit).contains(&self.at_once) {
            return wrong("at_once", "1 to 10000");
        }
        if self.start_spread_s > SPREAD_LIMIT_S {
            return wrong("start_spread_s", "0 to 86400");
        }
        if self.push_hours.from > 23 || !(1..=24).contains(&self.push_hours.to) {
            return wrong("push_hours", "from 0 to 23, to 1 to 24");
        }
        if let Some((name, range)) = self.per_cell.and_then(|cell| cell.wrong()) {
            return wrong(&format!("per_cell.{name}"), range);
        }
        if let Some((name, range)) = self.retry.wrong() {
            return wrong(&format!("retry.{name}"), range);
        }
        if self.test_devices.len() > PLAN_LIST_LIMIT {
            return Err(Problem::of(
                CenterError::ListTooLong,
                "rollout.test_devices",
                "",
            ));
        }
        self.check_groups()
    }

    fn check_groups(&self) -> Result<(), Problem> {
        let wrong = |field: String, detail: &str| {
            let field = format!("rollout.groups{field}");
            Err(Problem::of(CenterError::RolloutGroups, field, detail))
        };
        if self.groups.len() > GROUPS_LIMIT {
            return wrong(String::new(), "at most 500");
        }
        let mut percent = 0_u32;
        for (i, group) in self.groups.iter().enumerate() {
            let field = |name: &str| format!("[{i}].{name}");
            check_name(&format!("rollout.groups{}", field("name")), &group.name)?;
            if self.groups.iter().take(i).any(|g| g.name == group.name) {
                return wrong(field("name"), "twice");
            }
            let last = i + 1 == self.groups.len();
            match group.size {
                Size::Rest if !last => return wrong(field("size"), "rest is the last group"),
                Size::Percent(_) | Size::Devices(_) if last => {
                    return wrong(field("size"), "the last group takes the rest");
                }
                Size::Percent(share) if !(1..=100).contains(&share) => {
                    return wrong(field("size"), "1 to 100 percent");
                }
                Size::Devices(0) => return wrong(field("size"), "at least 1 device"),
                Size::Percent(share) => percent += u32::from(share),
                Size::Devices(_) | Size::Rest => {}
            }
            if !(1..=100).contains(&group.success_percent) {
                return wrong(field("success_percent"), "1 to 100");
            }
            if group
                .failure_percent
                .is_some_and(|f| !(1..=100).contains(&f))
            {
                return wrong(field("failure_percent"), "1 to 100");
            }
        }
        if percent > 100 {
            return wrong(String::new(), "together more than 100 percent");
        }
        Ok(())
    }

    /// The groups in order: the test devices first when there are any, and everyone when there are no groups.
    pub fn all_groups(&self) -> Vec<Group> {
        (0..self.group_count())
            .filter_map(|i| self.group(i))
            .collect()
    }

    /// How many groups there are, see [`all_groups`](Self::all_groups).
    pub fn group_count(&self) -> usize {
        self.tests() + self.groups.len().max(1)
    }

    /// One of [`all_groups`](Self::all_groups).
    pub fn group(&self, index: usize) -> Option<Group> {
        if index < self.tests() {
            let size = u32::try_from(self.test_devices.len()).unwrap_or(u32::MAX);
            return Some(Group {
                // one failure is one too many
                failure_percent: Some(1),
                ..Group::plain("test devices", Size::Devices(size))
            });
        }
        let index = index - self.tests();
        match self.groups.is_empty() {
            true => (index == 0).then(|| Group::plain("all devices", Size::Rest)),
            false => self.groups.get(index).cloned(),
        }
    }

    /// Groups of test devices: one or none.
    fn tests(&self) -> usize {
        usize::from(!self.test_devices.is_empty())
    }

    /// The group of a device that comes now; `counters` of the groups as they are.
    pub fn group_of(&self, plan: PlanId, endpoint: &Endpoint, counters: &[Counters]) -> u16 {
        let tests = self.tests();
        if self.test_devices.contains(&endpoint.device_key) {
            return 0;
        }
        let share = spread(plan, endpoint).0 % 100;
        let mut before = 0;
        for (i, group) in self.groups.iter().enumerate() {
            let index = tests + i;
            let takes = match group.size {
                Size::Rest => true,
                Size::Percent(percent) => {
                    let from = before;
                    before += u32::from(percent);
                    (from..before).contains(&share)
                }
                Size::Devices(count) => {
                    counters.get(index).map_or(0, Counters::total) < u64::from(count)
                }
            };
            if takes {
                return u16::try_from(index).unwrap_or(u16::MAX);
            }
        }
        u16::try_from(tests).unwrap_or(0)
    }

    /// What the open group's results lead to; `counters` by group.
    pub fn advance(&self, progress: &Progress, counters: &[Counters]) -> Advance {
        let open = usize::from(progress.group);
        let Some(group) = self.group(open) else {
            return Advance::Stay;
        };
        let results = counters.get(open).copied().unwrap_or_default();
        let failed = results.upgrade_failed;
        // those of a counted group that have not come yet are waited for
        let total = match group.size {
            Size::Devices(count) => results.total().max(count.into()),
            Size::Percent(_) | Size::Rest => results.total(),
        };
        let reaches = |count: u64, percent: u8| count * 100 >= total * u64::from(percent);
        if let Some(percent) = group.failure_percent
            && failed > progress.accepted_failures
            && reaches(failed, percent)
        {
            return Advance::Pause;
        }
        let Some(next) = self.group(open + 1) else {
            return Advance::Stay;
        };
        let done =
            results.upgraded + results.no_update_required + progress.accepted_failures.min(failed);
        let nobody = counters.iter().all(|group| group.total() == 0);
        if nobody || !reaches(done, group.success_percent) {
            return Advance::Stay;
        }
        let index = progress.group.saturating_add(1);
        match next.approval {
            true if progress.waits_for_approval => Advance::Stay,
            true => Advance::AskApproval(index),
            false => Advance::Open(index),
        }
    }

    /// Seconds after the opening of its group at which this device may begin.
    pub fn start_after_s(&self, plan: PlanId, endpoint: &Endpoint) -> u32 {
        match self.start_spread_s {
            0 => 0,
            seconds => spread(plan, endpoint).1 % seconds,
        }
    }
}

/// Two numbers that belong to this device in this plan, evenly spread: for its group and for its start.
fn spread(plan: PlanId, endpoint: &Endpoint) -> (u32, u32) {
    let mut hash = Sha256::new();
    hash.update(plan.0.to_be_bytes());
    hash.update(endpoint.to_string());
    let digest = hash.finalize();
    let number = |at: usize| {
        let bytes = digest.iter().skip(at).take(4);
        bytes.fold(0, |number: u32, byte| number << 8 | u32::from(*byte))
    };
    (number(0), number(4))
}
