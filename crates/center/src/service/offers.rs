//! Who is offered what now, and what a device is owed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use heapless::String as Text;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use sota_errors::CenterError;
use sota_lwm2m::objects::plan::{ComponentType, DownloadInfo, Offer};
use sota_lwm2m::server::registration::Objects;

use super::{ATTEMPTS, Service, line, moved};
use crate::commands::DeviceCommand;
use crate::domain::{
    Candidate, ComponentKind, ComponentState, Counters, Device, DeviceState, Endpoint, Filter,
    Model, Outstanding, Plan, PlanDevice, PlanId, Problem, ProjectId, Step, StepPlan, Surroundings,
    Time, eligibility,
};
use crate::store::{Change, Scope};

/// Why the Center looks for a plan for a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occasion {
    /// The device asked; with SHA-256 beside MD5 and CRC-32 or without.
    Asked { sha256: bool },
    /// The Center pushes, or the next component or retry is due.
    Push,
}

/// A running plan with what a decision needs of it.
pub(super) struct Running {
    pub(super) plan: Plan,
    pub(super) steps: Arc<Vec<StepPlan>>,
    pub(super) counters: Vec<Counters>,
    /// Offers that no device has taken yet: the counters do not show it in upgrade.
    pub(super) offered: u64,
    /// The filter that decides while the plan runs; takes every device if there is none.
    filter: Filter,
    /// Models of the project, if the filter asks for one.
    models: Vec<Model>,
    /// Devices that load in a radio cell, of the cells of the devices in question, if the plan limits them.
    in_cells: BTreeMap<u64, u64>,
}

impl Running {
    /// The plan's lists and filter take the device.
    pub(super) fn includes(&self, device: &Device, online: bool, now: Time) -> bool {
        let around = Surroundings {
            models: &self.models,
            online,
            now,
        };
        let listed = self.plan.includes(&device.endpoint.device_key).is_ok();
        listed && self.filter.takes(device, around)
    }

    /// The device loads from now on.
    pub(super) fn load(&mut self, device: &Device) {
        let count = device.cell_id.and_then(|cell| self.in_cells.get_mut(&cell));
        if let Some(count) = count.filter(|_| self.plan.project == device.project) {
            *count += 1;
        }
    }
}

/// What becomes of a device that has no offer in force.
pub(super) struct Judged {
    /// To be committed before anything is sent.
    pub(super) changes: Vec<Change>,
    /// Index of the plan that is offered, and the device in it.
    pub(super) offer: Option<(usize, PlanDevice)>,
    /// What is to be looked at again.
    pub(super) later: Vec<Later>,
    /// Without an offer: the last rule.
    pub(super) why: Problem,
}

/// When a device or a plan is to be looked at again.
pub(super) enum Later {
    At(Time, Endpoint),
    Room(PlanId),
    Cell(ProjectId, u64, Endpoint),
}

impl Service {
    /// The plan's steps; kept once the plan cannot be edited any more.
    pub(crate) async fn steps(
        &self,
        scope: &Scope,
        plan: &Plan,
    ) -> Result<Arc<Vec<StepPlan>>, Problem> {
        if let Some(steps) = self.memory().steps.get(&plan.id) {
            return Ok(steps.clone());
        }
        let model = self.store.model(scope, plan.model).await?;
        let model = model.ok_or(CenterError::NoSuchModel)?;
        let mut packages = Vec::new();
        for chosen in &plan.components {
            packages.extend(self.store.package(scope, chosen.package).await?);
        }
        let steps = Arc::new(plan.steps(&model, &packages));
        if plan.check_editable().is_err() {
            self.memory().steps.insert(plan.id, steps.clone());
        }
        Ok(steps)
    }

    /// Offers the device the first plan that it may have, or says which rule forbids it. A device with an offer in
    /// force gets again what it is owed.
    pub(super) async fn consider(
        &self,
        scope: &Scope,
        endpoint: &Endpoint,
        occasion: Occasion,
        now: Time,
    ) -> Result<(), Problem> {
        for _ in 0..ATTEMPTS {
            if let Some(result) = self.consider_once(scope, endpoint, occasion, now).await? {
                return result;
            }
        }
        Err(CenterError::Conflict.into())
    }

    /// `None` = met another's change.
    async fn consider_once(
        &self,
        scope: &Scope,
        endpoint: &Endpoint,
        occasion: Occasion,
        now: Time,
    ) -> Result<Option<Result<(), Problem>>, Problem> {
        let device = self.store.device(scope, endpoint).await?;
        let device = device.ok_or(CenterError::NoSuchDevice)?;
        if let Err(rule) = device.check_enabled() {
            return Ok(Some(Err(rule)));
        }
        let entries = self.store.plans_of_device(scope, endpoint).await?;
        if let Some(open) = entries.iter().find(|e| e.open) {
            let mut open = open.clone();
            if let Occasion::Asked { sha256 } = occasion
                && open.sha256_wanted != sha256
            {
                open.sha256_wanted = sha256;
                if !self
                    .try_commit(scope, vec![Change::PlanDevice(open.clone())])
                    .await?
                {
                    return Ok(None);
                }
            }
            let owed = match occasion {
                Occasion::Asked { .. } => open.outstanding_when_asked(),
                Occasion::Push => open.outstanding(),
            };
            self.send_these(scope, &device, &open, owed).await?;
            return Ok(Some(Ok(())));
        }
        let mut running = self.running(scope, &endpoint.product_key).await?;
        let cell = device.cell_id.into_iter().collect();
        self.count_cells(scope, &mut running, cell).await?;
        let judged = self.judge(&running, &device, &entries, occasion, now)?;
        if !judged.changes.is_empty() && !self.try_commit(scope, judged.changes).await? {
            return Ok(None);
        }
        self.look_again(judged.later);
        let Some((plan, entry)) = judged.offer else {
            return Ok(Some(Err(judged.why)));
        };
        if let Some(Running { plan, steps, .. }) = running.get(plan) {
            self.send_known(plan, steps, &device, &entry, entry.outstanding())?;
        }
        Ok(Some(Ok(())))
    }

    /// The running plans of a product with what a decision needs of them.
    pub(super) async fn running(
        &self,
        scope: &Scope,
        product_key: &str,
    ) -> Result<Vec<Running>, Problem> {
        let mut running = Vec::new();
        for plan in self.store.running_plans(scope, Some(product_key)).await? {
            running.push(self.running_plan(scope, plan).await?);
        }
        Ok(running)
    }

    /// A plan with what a decision needs of it.
    pub(super) async fn running_plan(&self, scope: &Scope, plan: Plan) -> Result<Running, Problem> {
        let filter = plan.live_filter()?.unwrap_or_default();
        Ok(Running {
            steps: self.steps(scope, &plan).await?,
            counters: self.store.group_counters(scope, plan.id).await?,
            offered: self.store.untaken_offers(scope, plan.id).await?,
            models: self.models_for(scope, &filter).await?,
            filter,
            in_cells: BTreeMap::new(),
            plan,
        })
    }

    /// How many devices load in these cells, for the plans that limit them.
    pub(super) async fn count_cells(
        &self,
        scope: &Scope,
        running: &mut [Running],
        cells: BTreeSet<u64>,
    ) -> Result<(), Problem> {
        for one in running.iter_mut() {
            one.in_cells.clear();
            if one.plan.rollout.per_cell.is_none() {
                continue;
            }
            for cell in &cells {
                let loading = self.store.loading_in_cell(scope, one.plan.project, *cell);
                one.in_cells.insert(*cell, loading.await?);
            }
        }
        Ok(())
    }

    /// Which of these plans the device is offered, without an offer in force, and what changes by that. Asks no store.
    pub(super) fn judge(
        &self,
        running: &[Running],
        device: &Device,
        entries: &[PlanDevice],
        occasion: Occasion,
        now: Time,
    ) -> Result<Judged, Problem> {
        let endpoint = &device.endpoint;
        let of = |plan: &Plan| entries.iter().find(|e| e.plan == plan.id);
        // a plan that the device is in goes on before another begins; else the older activation first
        let mut order: Vec<usize> = (0..running.len()).collect();
        order.sort_by_key(|i| {
            let plan = &running[*i].plan;
            let begun = of(plan).is_some_and(|e| e.state == DeviceState::InUpgrade);
            (!begun, plan.activated_at, plan.id)
        });
        let mut judged = Judged {
            changes: Vec::new(),
            offer: None,
            later: Vec::new(),
            why: CenterError::NoActivePlan.into(),
        };
        for index in order {
            let one = &running[index];
            let Running {
                plan,
                steps,
                counters,
                ..
            } = one;
            let entry = of(plan);
            let verdict = self.verdict(one, device, entries, occasion == Occasion::Push, now);
            let mut entry = entry
                .cloned()
                .unwrap_or_else(|| PlanDevice::enrol(plan, steps, device, counters));
            match verdict {
                Ok(set) => {
                    let offer = self.offer(device, &mut entry, steps, &set, occasion, now);
                    judged.changes.extend(offer);
                    judged.offer = Some((index, entry));
                    return Ok(judged);
                }
                Err(rule) if rule.error == CenterError::AlreadyUpgraded && !entry.state.over() => {
                    let before = entry.state;
                    entry.nothing_left(now);
                    let told = moved(before, &entry, now);
                    let number = Some(rule.error.number());
                    let text = "runs the target versions already";
                    let log = line(Some(plan.id), endpoint, now, number, text);
                    judged.changes.extend([Change::PlanDevice(entry), log]);
                    judged.changes.extend(told);
                    judged.why = rule;
                }
                Err(rule) => {
                    // it is one of the plan's devices, and its group is found once
                    if entry.revision == 0 && waits_its_turn(rule.error) {
                        judged.changes.push(Change::PlanDevice(entry.clone()));
                    }
                    judged.later.extend(later(plan, &entry, device, &rule));
                    judged.why = rule;
                }
            }
        }
        Ok(judged)
    }

    /// Whether the device may have this plan now; its cell was counted before.
    pub(super) fn verdict(
        &self,
        one: &Running,
        device: &Device,
        entries: &[PlanDevice],
        pushed: bool,
        now: Time,
    ) -> Result<Vec<usize>, Problem> {
        let plan = &one.plan;
        let in_cell = device.cell_id.and_then(|cell| one.in_cells.get(&cell));
        eligibility(Candidate {
            plan,
            steps: &one.steps,
            device,
            entry: entries.iter().find(|e| e.plan == plan.id),
            others: entries,
            together: self.has_plan_object(device),
            counters: &one.counters,
            untaken: one.offered,
            models: &one.models,
            online: self.online(device, now),
            in_cell: in_cell.copied().unwrap_or(0),
            pushed,
            hour: hour_of_day(plan, now),
            now,
        })
    }

    /// What time or another device's end changes is looked at again then, and not only at the next push.
    pub(super) fn look_again(&self, later: Vec<Later>) {
        let mut memory = self.memory();
        for one in later {
            match one {
                Later::At(at, endpoint) => drop(memory.wake.insert((at, endpoint))),
                Later::Room(plan) => drop(memory.full.insert(plan)),
                Later::Cell(project, cell, endpoint) => {
                    let waiting = memory.cells.entry((project, cell)).or_default();
                    waiting.insert(endpoint);
                }
            }
        }
    }

    /// The device takes the offers of several components together.
    pub(super) fn has_plan_object(&self, device: &Device) -> bool {
        let links = device.registration.as_ref().map(|r| r.objects.as_str());
        let mut paths = Objects(links.unwrap_or_default()).paths();
        paths.any(|path| path.object_id() == Some(self.settings.plan_object))
    }

    fn offer(
        &self,
        device: &Device,
        entry: &mut PlanDevice,
        steps: &[StepPlan],
        set: &[usize],
        occasion: Occasion,
        now: Time,
    ) -> Vec<Change> {
        let offered = set.iter().filter_map(|i| Some((*i, steps.get(*i)?)));
        let version = |s: &StepPlan| device.version(&s.component, s.kind).unwrap_or_default();
        let with_version: Vec<_> = offered.clone().map(|(i, s)| (i, version(s))).collect();
        entry.cell = device.cell_id;
        entry.open_offer(&with_version, &self.settings.deadlines, now);
        if let Occasion::Asked { sha256 } = occasion {
            entry.sha256_wanted = sha256;
        }
        let log = |(_, s): (usize, &StepPlan)| {
            let (from, to) = (version(s), &s.final_version);
            let text = format!("{}: offered {from} -> {to}", s.component);
            line(Some(entry.plan), &device.endpoint, now, None, text)
        };
        let mut changes: Vec<Change> = offered.map(log).collect();
        changes.push(Change::PlanDevice(entry.clone()));
        changes
    }

    /// Sends everything the device is owed by any plan; whether that is anything.
    pub(super) async fn send_all_owed(
        &self,
        scope: &Scope,
        device: &Device,
    ) -> Result<bool, Problem> {
        let mut any = false;
        for entry in self.store.plans_of_device(scope, &device.endpoint).await? {
            any |= !entry.outstanding().is_empty();
            self.send_owed(scope, device, &entry).await?;
        }
        Ok(any)
    }

    /// Sends what the device is owed by this plan, if anything.
    pub(super) async fn send_owed(
        &self,
        scope: &Scope,
        device: &Device,
        entry: &PlanDevice,
    ) -> Result<(), Problem> {
        self.send_these(scope, device, entry, entry.outstanding())
            .await
    }

    /// Sends what these steps are owed, in the plan's sequence.
    pub(super) async fn send_these(
        &self,
        scope: &Scope,
        device: &Device,
        entry: &PlanDevice,
        owed: Vec<(usize, Outstanding)>,
    ) -> Result<(), Problem> {
        if device.disabled || owed.is_empty() {
            return Ok(());
        }
        let plan = self
            .store
            .plan(scope, entry.plan)
            .await?
            .ok_or(CenterError::NoSuchPlan)?;
        let steps = self.steps(scope, &plan).await?;
        self.send_known(&plan, &steps, device, entry, owed)
    }

    /// The same with the plan at hand. A disabled device is told when it is enabled and registers.
    pub(super) fn send_known(
        &self,
        plan: &Plan,
        steps: &[StepPlan],
        device: &Device,
        entry: &PlanDevice,
        mut owed: Vec<(usize, Outstanding)>,
    ) -> Result<(), Problem> {
        if device.disabled {
            return Ok(());
        }
        // a device that came back without the Plan object takes one component at a time
        if !self.has_plan_object(device) {
            owed.retain(|(index, _)| *index == entry.current);
        } else if owed.iter().any(|(_, what)| *what == Outstanding::Resume) {
            // A device that has the offer ignores it; one that lost all it knew begins anew.
            let written = |i: &usize| entry.steps.get(*i).map(|s| s.state);
            let lost = entry
                .offered()
                .filter(|i| written(i) != Some(ComponentState::Upgrading));
            owed = lost.map(|i| (i, Outstanding::Offer)).collect();
        }
        // an offer that nobody has taken is not made in a plan that is suspended or over
        if !plan.state.active() {
            owed.retain(|(_, what)| *what != Outstanding::Offer);
        }
        for (index, owed) in owed {
            let step = steps.get(index).ok_or(CenterError::Internal)?;
            let came = entry.steps.get(index).ok_or(CenterError::Internal)?;
            self.send(command(plan, device, entry, step, came, owed)?);
        }
        Ok(())
    }
}

/// When a rule is to be asked again.
fn later(plan: &Plan, entry: &PlanDevice, device: &Device, rule: &Problem) -> Option<Later> {
    match rule.error {
        CenterError::StartsLater => {
            let at = plan.begins_at(entry.group, &entry.endpoint, entry.appointed_at);
            at.map(|at| Later::At(at, entry.endpoint.clone()))
        }
        CenterError::LimitReached => Some(Later::Room(plan.id)),
        CenterError::CellFull => {
            let endpoint = entry.endpoint.clone();
            let cell = device.cell_id;
            cell.map(|cell| Later::Cell(device.project, cell, endpoint))
        }
        _ => None,
    }
}

/// Rules that forbid an upgrade now and not for good, whatever the device does.
fn waits_its_turn(rule: CenterError) -> bool {
    matches!(
        rule,
        CenterError::GroupNotOpen
            | CenterError::StartsLater
            | CenterError::WaitsForUser
            | CenterError::OutsidePushHours
            | CenterError::LimitReached
            | CenterError::CellFull
    )
}

/// Hour of the day in the plan's time zone; in UTC when the zone is not known any more.
pub(super) fn hour_of_day(plan: &Plan, now: Time) -> u8 {
    let zone = TimeZone::get(&plan.time_zone).unwrap_or(TimeZone::UTC);
    let hour = Timestamp::from_millisecond(now).map(|at| at.to_zoned_datetime(zone).hour());
    hour.ok()
        .and_then(|hour| u8::try_from(hour).ok())
        .unwrap_or(0)
}

fn text<const N: usize>(words: &str) -> Result<Text<N>, Problem> {
    Text::try_from(words).map_err(|_| {
        Problem::new(
            CenterError::Internal,
            format!("too long for the wire: {words}"),
        )
    })
}

fn digest<const N: usize>(digits: &str) -> Result<[u8; N], Problem> {
    let mut out = [0; N];
    hex::decode_to_slice(digits, &mut out)
        .map_err(|e| Problem::new(CenterError::Internal, e.to_string()))?;
    Ok(out)
}

fn command(
    plan: &Plan,
    device: &Device,
    entry: &PlanDevice,
    step: &StepPlan,
    came: &Step,
    owed: Outstanding,
) -> Result<DeviceCommand, Problem> {
    let endpoint = device.endpoint.clone();
    let name = entry.offer_name();
    // the device's own name of its firmware, which need not be the model's
    let reported = device.reported(&step.component, step.kind);
    let component = reported.map_or(&step.component, |r| &r.identifier);
    let sha256 = digest::<32>(&step.file.sha256)?;
    let length = u32::try_from(step.file.length)
        .map_err(|_| Problem::new(CenterError::FileTooLarge, &step.file.file_name))?;
    let info = DownloadInfo {
        plan: text(&name)?,
        length,
        md5: Some(digest(&step.file.md5)?),
        crc32: Some(step.file.crc32),
        sha256: entry.sha256_wanted.then_some(sha256),
        uri: Text::new(),
    };
    Ok(match owed {
        Outstanding::Offer => DeviceCommand::Offer {
            endpoint,
            offer: Offer {
                plan: text(&name)?,
                component: text(component)?,
                kind: match step.kind {
                    ComponentKind::Firmware => ComponentType::Firmware,
                    ComponentKind::Mcu => ComponentType::Mcu,
                },
                // a full package starts from any version; the text names it for the host's 10700
                source: if step.source_versions.is_empty() || step.file_index > 0 {
                    Text::new()
                } else {
                    text(&came.source_version)?
                },
                target: text(&step.target_version)?,
                battery_limit_percent: plan.strategy.min_battery_percent,
                min_signal_dbm: plan.strategy.min_rsrp_dbm,
                use_space: length,
                // of a set none is over before all are answered: the number stays the same
                components: u8::try_from(entry.offered().count()).unwrap_or(u8::MAX),
            },
            info,
            sha256,
        },
        Outstanding::Download => DeviceCommand::Download {
            endpoint,
            component: component.clone(),
            kind: step.kind,
            info,
            sha256,
        },
        Outstanding::Cancel => DeviceCommand::Cancel {
            endpoint,
            component: component.clone(),
            kind: step.kind,
            offer: name,
        },
        Outstanding::Resume => DeviceCommand::Resume {
            endpoint,
            component: component.clone(),
            kind: step.kind,
            offer: name,
            target: step.target_version.clone(),
            updating: came.state == ComponentState::Upgrading,
        },
    })
}
