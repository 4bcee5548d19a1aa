//! A plan's rollout as results come in: groups opened, plans paused, places that became free, the user's word.

use serde::Serialize;
use sota_errors::CenterError;
use utoipa::ToSchema;

use super::offers::Occasion;
use super::{ATTEMPTS, BATCH, CELLS_INTERVAL, Service, audit_device, audit_plan, line};
use crate::domain::describe;
use crate::domain::{
    Action, Advance, Counters, DeviceState, Endpoint, Event, Group, Mode, Plan, PlanAction, PlanId,
    Problem, Time,
};
use crate::store::{Change, Page, Scope};

/// A group of a plan's rollout and where its devices are.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct GroupStatus {
    /// Its rules.
    #[serde(flatten)]
    pub group: Group,
    /// Its devices may begin.
    pub open: bool,
    /// Its devices by state.
    pub counters: Counters,
}

impl GroupStatus {
    /// All groups of a plan.
    pub(super) fn of(plan: &Plan, counters: &[Counters]) -> Vec<GroupStatus> {
        let groups = plan.rollout.all_groups().into_iter().enumerate();
        groups
            .map(|(index, group)| GroupStatus {
                group,
                open: index <= usize::from(plan.progress.group),
                counters: counters.get(index).copied().unwrap_or_default(),
            })
            .collect()
    }
}

impl Service {
    /// Looks at the results of every active plan: opens the next group, asks for approval, or suspends the plan.
    pub(super) async fn advance_rollouts(&self, scope: &Scope, now: Time) -> Result<(), Problem> {
        for plan in self.store.running_plans(scope, None).await? {
            // one group for all has no next one and no threshold
            let simple = plan.rollout.group_count() == 1 && plan.rollout.groups.is_empty();
            if simple || !plan.state.active() || now < plan.start_at {
                continue;
            }
            let counters = self.store.group_counters(scope, plan.id).await?;
            let mut next = plan.clone();
            let opens = match plan.rollout.advance(&plan.progress, &counters) {
                Advance::Stay => continue,
                Advance::Open(group) => {
                    next.progress.open(group, now);
                    true
                }
                Advance::AskApproval(_) => {
                    next.progress.waits_for_approval = true;
                    false
                }
                Advance::Pause => {
                    next.state = plan.after(PlanAction::Suspend, true, now)?;
                    next.progress.suspended_by = Some(CenterError::FailureThreshold.number());
                    false
                }
            };
            let mut changes = vec![Change::Plan(next.clone())];
            if opens {
                changes.extend(group_opened(scope, &next, now));
            } else if next.progress.waits_for_approval {
                changes.push(Change::Event(Event::approval_waited(&next, now)));
            } else if let Some(number) = next.progress.suspended_by {
                changes.push(Change::Event(Event::plan_state(&next, now)));
                let why = format!(": {}", describe(number));
                let action = Action::PlanSuspended;
                changes.push(audit_plan(scope, &next, now, action, why));
            }
            // a conflict: the next tick looks again
            if self.try_commit(scope, changes).await? {
                tell(&next);
                if opens {
                    self.push(scope, &next.product_key, false, now).await?;
                }
            }
        }
        Ok(())
    }

    /// A person opens the next group of an active plan, whether it asks for approval or not.
    pub async fn open_next_group(
        &self,
        scope: &Scope,
        id: PlanId,
        now: Time,
    ) -> Result<(), Problem> {
        for _ in 0..ATTEMPTS {
            let mut plan = self.own_plan(scope, id).await?;
            let group = plan.progress.group.saturating_add(1);
            let last = usize::from(group) >= plan.rollout.group_count();
            if last || !plan.state.active() {
                let detail = match last {
                    true => "every group is open",
                    false => plan.state.name(),
                };
                return Err(Problem::new(CenterError::NoNextGroup, detail));
            }
            plan.progress.open(group, now);
            let mut changes = vec![Change::Plan(plan.clone())];
            changes.extend(group_opened(scope, &plan, now));
            if self.try_commit(scope, changes).await? {
                tell(&plan);
                return self.push(scope, &plan.product_key, false, now).await;
            }
        }
        Err(CenterError::Conflict.into())
    }

    /// Begins devices of plans that were full, as many as there is room for.
    pub(super) async fn fill_places(&self, scope: &Scope, now: Time) -> Result<(), Problem> {
        let full = core::mem::take(&mut self.memory().full);
        for id in full {
            let Some(plan) = self.store.plan(scope, id).await? else {
                continue;
            };
            if !plan.state.active() {
                continue;
            }
            let running = self.store.counters(scope, id).await?.in_upgrade;
            if running >= u64::from(plan.rollout.at_once) {
                self.memory().full.insert(id);
                continue;
            }
            self.begin_waiting(scope, &plan, now).await?;
        }
        Ok(())
    }

    /// Begins devices whose cell was full, in each cell until it is full again.
    pub(super) async fn fill_cells(&self, scope: &Scope, now: Time) -> Result<(), Problem> {
        let waiting = {
            let mut memory = self.memory();
            let next = memory.next_cells;
            // one that lies too far ahead was set before the clock was put back
            if next > now && next <= now.saturating_add(CELLS_INTERVAL) {
                return Ok(());
            }
            memory.next_cells = now.saturating_add(CELLS_INTERVAL);
            core::mem::take(&mut memory.cells)
        };
        for (cell, devices) in waiting {
            let mut devices = devices.into_iter();
            for endpoint in devices.by_ref() {
                let device = self.store.device(scope, &endpoint).await?;
                if !device.is_some_and(|device| self.online(&device, now)) {
                    continue;
                }
                // one for which the cell is full is put back by this, and then those behind it
                let offered = self.consider(scope, &endpoint, Occasion::Push, now).await;
                if offered.is_err_and(|rule| rule.error == CenterError::CellFull) {
                    break;
                }
            }
            let rest: Vec<Endpoint> = devices.collect();
            if !rest.is_empty() {
                let mut memory = self.memory();
                memory.cells.entry(cell).or_default().extend(rest);
            }
        }
        Ok(())
    }

    /// Offers the plan to its connected devices that have not begun, until it is full again.
    async fn begin_waiting(&self, scope: &Scope, plan: &Plan, now: Time) -> Result<(), Problem> {
        let mut page = Page {
            limit: BATCH,
            state: Some(DeviceState::NotUpgraded),
            ..Page::default()
        };
        loop {
            let waiting = self.store.plan_devices(scope, plan.id, &page).await?;
            let Some(last) = waiting.last() else {
                return Ok(());
            };
            page.after = Some(last.endpoint.device_key.clone());
            let mut devices = Vec::new();
            for entry in waiting.iter().filter(|e| !e.open) {
                let device = self.store.device(scope, &entry.endpoint).await?;
                if let Some(device) = device.filter(|device| self.online(device, now)) {
                    let entries = self.store.plans_of_device(scope, &entry.endpoint).await?;
                    devices.push((device, entries));
                }
            }
            let mut running = self.running(scope, &plan.product_key).await?;
            self.reach(scope, &mut running, &devices, false, now)
                .await?;
            if self.memory().full.contains(&plan.id) {
                return Ok(());
            }
        }
    }

    /// Manual mode: the device's user lets it begin now, or appoints a time.
    pub async fn confirm_device(
        &self,
        scope: &Scope,
        plan: PlanId,
        device_key: &str,
        at: Time,
        now: Time,
    ) -> Result<(), Problem> {
        let plan = self.own_plan(scope, plan).await?;
        let endpoint = Endpoint::new(&plan.product_key, device_key);
        for _ in 0..ATTEMPTS {
            let mut entry = self.need_device_of_plan(scope, plan.id, &endpoint).await?;
            if plan.rollout.mode != Mode::Manual || entry.state != DeviceState::NotUpgraded {
                return Err(Problem::new(CenterError::NotManual, entry.state.name()));
            }
            entry.appointed_at = Some(at);
            let text = match at > now {
                true => format!("the user appointed a start in {} s", (at - now) / 1000),
                false => "the user confirmed the upgrade".into(),
            };
            let detail = format!("plan {}: {text}", plan.name);
            let action = Action::UpgradeConfirmed;
            let done = audit_device(scope, plan.project, &endpoint, now, action, detail);
            let log = line(Some(plan.id), &endpoint, now, None, text);
            if self
                .try_commit(scope, vec![Change::PlanDevice(entry), log, done])
                .await?
            {
                let offered = self.consider(scope, &endpoint, Occasion::Push, now).await;
                offered.unwrap_or_else(|rule| tracing::info!("not offered now: {rule}"));
                return Ok(());
            }
        }
        Err(CenterError::Conflict.into())
    }
}

fn group_opened(scope: &Scope, plan: &Plan, now: Time) -> [Change; 2] {
    let group = format!(": group {}", plan.group_name(plan.progress.group));
    [
        audit_plan(scope, plan, now, Action::GroupOpened, group),
        Change::Event(Event::group_opened(plan, now)),
    ]
}

fn tell(plan: &Plan) {
    let (id, group) = (plan.id.0, plan.group_name(plan.progress.group));
    match plan.progress.suspended_by {
        Some(number) => tracing::warn!(
            plan = id,
            number,
            "suspended: too many failures in group {group}"
        ),
        None if plan.progress.waits_for_approval => {
            tracing::info!(
                plan = id,
                "group {group} is done; the next one waits for approval"
            );
        }
        None => tracing::info!(plan = id, "group {group} is open"),
    }
}
