//! Plans, and one device in them: cancel, retry, why.

use std::collections::BTreeSet;

use serde::Serialize;
use sota_errors::CenterError;
use utoipa::ToSchema;

use super::offers::Occasion;
use super::rollout::GroupStatus;
use super::{ATTEMPTS, BATCH, Service, audit_device, audit_plan, line, moved};
use crate::domain::{
    Action, Audience, CancelMode, CancelOutcome, Counters, DeviceState, Endpoint, Event, FilterId,
    ModelId, Plan, PlanAction, PlanComponent, PlanDevice, PlanId, PlanState, Problem, ProductId,
    Progress, ProjectId, Rollout, SAMPLE_INTERVAL, Sample, Strategy, Time,
};
use crate::store::{Change, Page, Role, Scope};

/// A plan to be made, or the new content of a saved one.
#[derive(Clone, Debug)]
pub struct NewPlan {
    /// Project.
    pub project: ProjectId,
    /// Name, unique in the project.
    pub name: String,
    /// Product; cannot be changed by an edit.
    pub product: ProductId,
    /// Model.
    pub model: ModelId,
    /// Device keys; empty = all.
    pub whitelist: BTreeSet<String>,
    /// Device keys; wins.
    pub blacklist: BTreeSet<String>,
    /// A saved filter instead of a whitelist, and whether devices that come to match later join.
    pub audience: Option<(FilterId, bool)>,
    /// IANA time zone.
    pub time_zone: String,
    /// Start.
    pub start_at: Time,
    /// End.
    pub end_at: Option<Time>,
    /// Conditions.
    pub strategy: Strategy,
    /// How it reaches its devices.
    pub rollout: Rollout,
    /// Components in sequence.
    pub components: Vec<PlanComponent>,
    /// Text for the user.
    pub upgrade_text: String,
}

/// A plan and where its devices are.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PlanStatus {
    /// The plan.
    #[serde(flatten)]
    pub plan: Plan,
    /// Devices by state.
    pub counters: Counters,
    /// The groups of its rollout.
    pub groups: Vec<GroupStatus>,
    /// Successes in % of those done; absent before the first result.
    pub success_rate_percent: Option<f64>,
}

/// Why a device gets a plan or not.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Why {
    /// The plan that was asked about; absent when none is active.
    pub plan: Option<PlanId>,
    /// It would be offered now.
    pub offered: bool,
    /// Number of the rule that forbids it.
    pub number: Option<u16>,
    /// Name of the rule that forbids it.
    pub rule: Option<String>,
    /// In words.
    pub message: String,
    /// What to do.
    pub remedy: Option<String>,
}

impl Why {
    fn of(plan: Option<PlanId>, verdict: Result<(), Problem>) -> Why {
        let rule = verdict.err();
        Why {
            plan,
            offered: rule.is_none(),
            number: rule.as_ref().map(|r| r.error.number()),
            rule: rule.as_ref().map(|r| r.error.name().to_owned()),
            message: rule.as_ref().map_or_else(
                || "the device is offered this plan".into(),
                Problem::to_string,
            ),
            remedy: rule.map(|r| r.error.remedy().to_owned()),
        }
    }
}

impl Service {
    async fn build(&self, scope: &Scope, new: NewPlan, base: Plan) -> Result<Plan, Problem> {
        let missing = |error, field: &str, id: i64| Problem::of(error, field, id.to_string());
        let product = self.store.product(scope, new.product).await?;
        let product =
            product.ok_or_else(|| missing(CenterError::NoSuchProduct, "product", new.product.0))?;
        let model = self.store.model(scope, new.model).await?;
        let model = model.ok_or_else(|| missing(CenterError::NoSuchModel, "model", new.model.0))?;
        let mut packages = Vec::new();
        for chosen in &new.components {
            packages.extend(self.store.package(scope, chosen.package).await?);
        }
        let audience = match new.audience {
            Some((filter, live)) => {
                let saved = self.need_filter(scope, filter).await?;
                if saved.project != new.project {
                    return Err(Problem::of(CenterError::ProjectMismatch, "audience", ""));
                }
                let expression = saved.expression;
                Some(Audience {
                    filter,
                    live,
                    expression,
                })
            }
            None => None,
        };
        let plan = Plan {
            project: new.project,
            name: new.name,
            audience,
            product: new.product,
            product_key: product.product_key.clone(),
            model: new.model,
            whitelist: new.whitelist,
            blacklist: new.blacklist,
            time_zone: new.time_zone,
            start_at: new.start_at,
            end_at: new.end_at,
            strategy: new.strategy,
            rollout: new.rollout,
            components: new.components,
            upgrade_text: new.upgrade_text,
            ..base
        };
        plan.check(&product, &model, &packages)?;
        Ok(plan)
    }

    /// Makes a plan in state Saved.
    pub async fn create_plan(
        &self,
        scope: &Scope,
        new: NewPlan,
        now: Time,
    ) -> Result<Plan, Problem> {
        let mut plan = self.draft(scope, new, now).await?;
        plan.id = PlanId(self.store.next_id(scope).await?);
        let done = audit_plan(scope, &plan, now, Action::PlanCreated, "");
        let changes = vec![Change::Plan(plan.clone()), done];
        self.store.commit(scope, changes).await?;
        Ok(Plan {
            revision: 1,
            ..plan
        })
    }

    /// The plan that would be made, checked but for its name being taken; nothing is stored.
    pub async fn draft(&self, scope: &Scope, new: NewPlan, now: Time) -> Result<Plan, Problem> {
        let project = self
            .need_project(scope, new.project, Role::Operator)
            .await?;
        let base = Plan {
            id: PlanId(0),
            account: project.account,
            project: new.project,
            name: String::new(),
            product: new.product,
            product_key: String::new(),
            model: new.model,
            whitelist: BTreeSet::new(),
            blacklist: BTreeSet::new(),
            audience: None,
            time_zone: String::new(),
            start_at: 0,
            end_at: None,
            strategy: Strategy::default(),
            rollout: Rollout::default(),
            progress: Progress::default(),
            components: Vec::new(),
            upgrade_text: String::new(),
            state: PlanState::Saved,
            created_at: now,
            activated_at: None,
            revision: 0,
        };
        self.build(scope, new, base).await
    }

    /// The plan with this id.
    pub async fn need_plan(&self, scope: &Scope, id: PlanId) -> Result<Plan, Problem> {
        let plan = self.store.plan(scope, id).await?;
        plan.ok_or_else(|| Problem::new(CenterError::NoSuchPlan, id.to_string()))
    }

    /// The same for a caller that wants to change it or something in it.
    pub(super) async fn own_plan(&self, scope: &Scope, id: PlanId) -> Result<Plan, Problem> {
        let plan = self.need_plan(scope, id).await?;
        scope.need(plan.project, Role::Operator)?;
        Ok(plan)
    }

    /// Replaces the content of a saved plan; with a revision only if the plan has not changed since that was read, so that
    /// of two people who edit it none overwrites what they have not seen.
    pub async fn edit_plan(
        &self,
        scope: &Scope,
        id: PlanId,
        new: NewPlan,
        revision: Option<u64>,
        now: Time,
    ) -> Result<Plan, Problem> {
        let old = self.own_plan(scope, id).await?;
        old.check_editable()?;
        if revision.is_some_and(|read| read != old.revision) {
            let detail = format!("revision {} now", old.revision);
            return Err(Problem::new(CenterError::Conflict, detail));
        }
        if new.product != old.product || new.project != old.project {
            return Err(Problem::of(CenterError::ProductFixed, "product", ""));
        }
        let plan = self.build(scope, new, old).await?;
        let done = audit_plan(scope, &plan, now, Action::PlanEdited, "");
        let changes = vec![Change::Plan(plan.clone()), done];
        self.store.commit(scope, changes).await?;
        Ok(Plan {
            revision: plan.revision + 1,
            ..plan
        })
    }

    /// Deletes a saved plan.
    pub async fn delete_plan(&self, scope: &Scope, id: PlanId, now: Time) -> Result<(), Problem> {
        let plan = self.own_plan(scope, id).await?;
        plan.check_editable()?;
        let done = audit_plan(scope, &plan, now, Action::PlanDeleted, "");
        let changes = vec![Change::DeletePlan(id, plan.revision), done];
        Ok(self.store.commit(scope, changes).await?)
    }

    /// The plan with its counters.
    pub async fn plan_status(&self, scope: &Scope, id: PlanId) -> Result<PlanStatus, Problem> {
        let plan = self.need_plan(scope, id).await?;
        let by_group = self.store.group_counters(scope, id).await?;
        let counters = Counters::sum(&by_group);
        let success_rate_percent = counters.success_rate_percent();
        Ok(PlanStatus {
            groups: GroupStatus::of(&plan, &by_group),
            plan,
            counters,
            success_rate_percent,
        })
    }

    /// The plan's counters over time, oldest first; the last is as they are now.
    pub async fn plan_progress(
        &self,
        scope: &Scope,
        id: PlanId,
        now: Time,
    ) -> Result<Vec<Sample>, Problem> {
        let plan = self.need_plan(scope, id).await?;
        let mut samples = self.store.samples(scope, id).await?;
        let counters = self.store.counters(scope, id).await?;
        // to the minute, so that a page that follows it changes once a minute and not each second
        let minute = now.div_euclid(SAMPLE_INTERVAL) * SAMPLE_INTERVAL;
        let last = samples.last().map_or(0, |s| s.at);
        if plan.activated_at.is_some() {
            samples.push(Sample {
                plan: id,
                at: minute.max(last),
                counters,
            });
        }
        Ok(samples)
    }

    /// Activates, suspends, resumes or terminates. After activation every known device is enrolled, after it and after
    /// resumption the connected devices that may have the plan get their offer: the first of them at once, the others
    /// by [`go_on`](Service::go_on).
    pub async fn plan_action(
        &self,
        scope: &Scope,
        id: PlanId,
        action: PlanAction,
        now: Time,
    ) -> Result<PlanStatus, Problem> {
        for _ in 0..ATTEMPTS {
            let plan = self.own_plan(scope, id).await?;
            let counters = self.store.group_counters(scope, id).await?;
            let state = plan.after(action, Counters::sum(&counters).began(), now)?;
            let mut next = Plan { state, ..plan };
            match action {
                PlanAction::Activate => {
                    self.check_again(scope, &next).await?;
                    self.fix_audience(scope, &mut next, now).await?;
                    next.activated_at = Some(now);
                    next.progress.opened_at = now;
                }
                PlanAction::Resume => next.progress.resumed(&counters),
                _ => {}
            }
            let done = match action {
                PlanAction::Activate => Action::PlanActivated,
                PlanAction::Suspend => Action::PlanSuspended,
                PlanAction::Resume => Action::PlanResumed,
                PlanAction::Terminate => Action::PlanTerminated,
                PlanAction::End | PlanAction::DeviceBegan => Action::PlanEnded,
            };
            let changes = vec![
                Change::Plan(next.clone()),
                audit_plan(scope, &next, now, done, ""),
                Change::Event(Event::plan_state(&next, now)),
            ];
            if !self.try_commit(scope, changes).await? {
                continue;
            }
            tracing::info!(plan = id.0, "{} -> {}", plan.state.name(), state.name());
            match action {
                PlanAction::Activate => {
                    self.push(scope, &next.product_key, true, now).await?;
                    self.take_sample(scope, &next, now).await?;
                }
                PlanAction::Resume => self.push(scope, &next.product_key, false, now).await?,
                PlanAction::Terminate => {
                    self.stop_waiting(scope, id, CenterError::PlanTerminated, now)
                        .await?;
                }
                PlanAction::Suspend | PlanAction::End | PlanAction::DeviceBegan => {}
            }
            return self.plan_status(scope, id).await;
        }
        Err(CenterError::Conflict.into())
    }

    /// What a saved plan refers to may have been deleted since.
    async fn check_again(&self, scope: &Scope, plan: &Plan) -> Result<(), Problem> {
        let product = self.store.product(scope, plan.product).await?;
        let model = self.store.model(scope, plan.model).await?;
        let mut packages = Vec::new();
        for chosen in &plan.components {
            packages.extend(self.store.package(scope, chosen.package).await?);
        }
        let product = product.ok_or(CenterError::NoSuchProduct)?;
        plan.check(&product, &model.ok_or(CenterError::NoSuchModel)?, &packages)
    }

    pub(super) async fn need_device_of_plan(
        &self,
        scope: &Scope,
        plan: PlanId,
        endpoint: &Endpoint,
    ) -> Result<PlanDevice, Problem> {
        let entry = self.store.plan_device(scope, plan, endpoint).await?;
        entry.ok_or_else(|| Problem::new(CenterError::NoSuchPlanDevice, endpoint.to_string()))
    }

    /// Ends a plan for good: waiting devices fail. Hard: also each device that runs is asked to give up; a plan that is
    /// over already can be asked for that again, as when the Center stopped in the middle of it.
    pub async fn terminate(
        &self,
        scope: &Scope,
        id: PlanId,
        mode: CancelMode,
        now: Time,
    ) -> Result<PlanStatus, Problem> {
        let over = self.own_plan(scope, id).await?.state.over();
        if mode == CancelMode::Soft || !over {
            let action = PlanAction::Terminate;
            self.plan_action(scope, id, action, now).await?;
        }
        if mode == CancelMode::Hard {
            self.cancel_running(scope, id, now).await?;
        }
        self.plan_status(scope, id).await
    }

    /// Asks every device of the plan that runs to give up where that is safe.
    async fn cancel_running(&self, scope: &Scope, id: PlanId, now: Time) -> Result<(), Problem> {
        let mut page = Page {
            limit: BATCH,
            state: Some(DeviceState::InUpgrade),
            ..Page::default()
        };
        loop {
            let running = self.store.plan_devices(scope, id, &page).await?;
            let Some(last) = running.last() else {
                return Ok(());
            };
            page.after = Some(last.endpoint.device_key.clone());
            for entry in running.iter().filter(|e| !e.cancel_requested) {
                let key = &entry.endpoint.device_key;
                match self.cancel(scope, id, key, now).await {
                    Ok(_) => {}
                    // it is being written, or came to its end meanwhile
                    Err(p) if p.error == CenterError::CancelTooLate => {}
                    Err(p) if p.error == CenterError::CancelNotRunning => {}
                    Err(p) => return Err(p),
                }
            }
        }
    }

    /// Cancels one device of a plan, hard. After its MCU began to flash it has no effect, and the error says so.
    pub async fn cancel(
        &self,
        scope: &Scope,
        plan: PlanId,
        device_key: &str,
        now: Time,
    ) -> Result<CancelOutcome, Problem> {
        self.cancel_as(scope, plan, device_key, CancelMode::Hard, now)
            .await
    }

    /// Cancels one device of a plan, softly or hard.
    pub async fn cancel_as(
        &self,
        scope: &Scope,
        plan: PlanId,
        device_key: &str,
        mode: CancelMode,
        now: Time,
    ) -> Result<CancelOutcome, Problem> {
        let plan = self.own_plan(scope, plan).await?;
        let endpoint = Endpoint::new(&plan.product_key, device_key);
        for _ in 0..ATTEMPTS {
            let mut entry = self.need_device_of_plan(scope, plan.id, &endpoint).await?;
            let before = entry.state;
            let outcome = match mode {
                CancelMode::Soft => entry.cancel_softly(now)?,
                CancelMode::Hard => entry.cancel(now)?,
            };
            let log = line(
                Some(plan.id),
                &endpoint,
                now,
                None,
                format!("cancel: {outcome:?}"),
            );
            let action = Action::UpgradeCancelled;
            let detail = format!("plan {}: {outcome:?}", plan.name);
            let done = audit_device(scope, plan.project, &endpoint, now, action, detail);
            let mut changes = vec![Change::PlanDevice(entry.clone()), log, done];
            changes.extend(moved(before, &entry, now));
            if self.try_commit(scope, changes).await? {
                if let Some(device) = self.store.device(scope, &endpoint).await? {
                    self.send_owed(scope, &device, &entry).await?;
                }
                return Ok(outcome);
            }
        }
        Err(CenterError::Conflict.into())
    }

    /// Gives a failed device of an active plan another try.
    pub async fn retry(
        &self,
        scope: &Scope,
        plan: PlanId,
        device_key: &str,
        now: Time,
    ) -> Result<(), Problem> {
        let plan = self.own_plan(scope, plan).await?;
        if !plan.state.active() {
            return Err(Problem::new(CenterError::RetryNotFailed, plan.state.name()));
        }
        let endpoint = Endpoint::new(&plan.product_key, device_key);
        for _ in 0..ATTEMPTS {
            let mut entry = self.need_device_of_plan(scope, plan.id, &endpoint).await?;
            let before = entry.state;
            entry.retry()?;
            let told = moved(before, &entry, now);
            let log = line(Some(plan.id), &endpoint, now, None, "retry asked for");
            let detail = format!("plan {}", plan.name);
            let action = Action::UpgradeRetried;
            let done = audit_device(scope, plan.project, &endpoint, now, action, detail);
            let mut changes = vec![Change::PlanDevice(entry), log, done];
            changes.extend(told);
            if self.try_commit(scope, changes).await? {
                let device = self.store.device(scope, &endpoint).await?;
                if device.is_some_and(|d| self.online(&d, now)) {
                    let offered = self.consider(scope, &endpoint, Occasion::Push, now).await;
                    offered.unwrap_or_else(|rule| tracing::info!("retry not offered now: {rule}"));
                }
                return Ok(());
            }
        }
        Err(CenterError::Conflict.into())
    }

    /// Why the device gets this plan or not; without a plan: each running plan of its product.
    pub async fn why(
        &self,
        scope: &Scope,
        endpoint: &Endpoint,
        plan: Option<PlanId>,
        now: Time,
    ) -> Result<Vec<Why>, Problem> {
        let device = self.store.device(scope, endpoint).await?;
        let device =
            device.ok_or_else(|| Problem::new(CenterError::NoSuchDevice, endpoint.to_string()))?;
        let entries = self.store.plans_of_device(scope, endpoint).await?;
        let plans = match plan {
            Some(id) => vec![self.need_plan(scope, id).await?],
            None => {
                self.store
                    .running_plans(scope, Some(&endpoint.product_key))
                    .await?
            }
        };
        let mut answers = Vec::new();
        for plan in plans {
            let id = plan.id;
            let mut one = [self.running_plan(scope, plan).await?];
            let cell = device.cell_id.into_iter().collect();
            self.count_cells(scope, &mut one, cell).await?;
            let [one] = one;
            let verdict = self.verdict(&one, &device, &entries, true, now);
            let connected = match self.online(&device, now) {
                true => Ok(()),
                false => Err(Problem::from(CenterError::NotConnected)),
            };
            answers.push(Why::of(Some(id), verdict.map(drop).and(connected)));
        }
        if answers.is_empty() {
            answers.push(Why::of(None, Err(CenterError::NoActivePlan.into())));
        }
        Ok(answers)
    }
}
