//! Is this device offered this plan now, and if not, which rule forbids it.

use sota_errors::CenterError;
use sota_mutants::{Mutant, active};

use super::upgrade::BUSY_WAIT;
use super::{
    ComponentKind, ComponentState, Counters, Device, DeviceState, Mode, Model, PackageType, Plan,
    PlanDevice, PlanState, Problem, StepPlan, Surroundings, Time,
};

/// Most components that are offered together: what a device can have.
const SET_LIMIT: usize = sota_lwm2m::objects::plan::COMPONENTS_MAX as usize;

/// Everything the decision depends on.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// Its steps ([`Plan::steps`]).
    pub steps: &'a [StepPlan],
    /// The device.
    pub device: &'a Device,
    /// The device in this plan, if it was enrolled.
    pub entry: Option<&'a PlanDevice>,
    /// The device in other plans.
    pub others: &'a [PlanDevice],
    /// The device has the Plan object: components can be offered together.
    pub together: bool,
    /// Devices of this plan by state, by group.
    pub counters: &'a [Counters],
    /// Offers of this plan that no device has taken yet: they count for its limit too.
    pub untaken: u64,
    /// Models of the project, if the plan has a filter that asks for one.
    pub models: &'a [Model],
    /// The device is registered.
    pub online: bool,
    /// Devices of the project that load in the device's radio cell.
    pub in_cell: u64,
    /// The Center begins by itself: only in the plan's push hours.
    pub pushed: bool,
    /// Hour of the day in the plan's time zone, 0..=23.
    pub hour: u8,
    /// Present time.
    pub now: Time,
}

/// The indices of the steps to be offered, in sequence, or the rule that forbids the first. Several only together: then
/// the steps that follow the first, at most one of each component, up to one that a rule forbids.
///
/// The rules are asked in the order in which a person would: disabled, plan, times, lists, history, its turn in the
/// rollout, other plans, version, conditions, limit.
///
/// Battery, signal and space are compared only where the device told them: the device itself judges again when it
/// confirms and before each piece.
pub fn eligibility(candidate: Candidate<'_>) -> Result<Vec<usize>, Problem> {
    let Candidate {
        plan,
        steps,
        device,
        entry,
        others,
        together,
        counters,
        now,
        ..
    } = candidate;
    if plan.product_key != device.endpoint.product_key || plan.account != device.account {
        return Err(CenterError::OtherProduct.into());
    }
    device.check_enabled()?;
    match plan.state {
        PlanState::Saved => return Err(CenterError::PlanIsSaved.into()),
        PlanState::Suspended => return Err(CenterError::PlanSuspended.into()),
        PlanState::Terminated | PlanState::Ended => return Err(CenterError::PlanOver.into()),
        PlanState::Activated | PlanState::Upgrading => {}
    }
    if now < plan.start_at {
        return Err(CenterError::PlanNotStarted.into());
    }
    if plan.end_at.is_some_and(|end| end <= now) {
        return Err(CenterError::PlanOver.into());
    }
    if !active(Mutant::BlacklistAfterOffer) {
        plan.includes(&device.endpoint.device_key)?;
    }
    let around = Surroundings {
        models: candidate.models,
        online: candidate.online,
        now,
    };
    if let Some(filter) = plan.live_filter()?
        && !filter.takes(device, around)
    {
        return Err(CenterError::NotInFilter.into());
    }
    if let Some(entry) = entry {
        match entry.state {
            DeviceState::Upgraded | DeviceState::NoUpdateRequired => {
                return Err(CenterError::AlreadyUpgraded.into());
            }
            DeviceState::UpgradeFailed => return Err(CenterError::UpgradeFailedBefore.into()),
            DeviceState::NotUpgraded | DeviceState::InUpgrade => {}
        }
        if entry.open {
            return Err(CenterError::UpgradeRunning.into());
        }
        // what lies further ahead than any wait was set by a clock that was wrong and was put right
        let longest = BUSY_WAIT.max(Time::from(plan.rollout.retry.greatest_wait_s) * 1000);
        if entry.not_before > now && entry.not_before <= now.saturating_add(longest) {
            let wait_s = (entry.not_before - now) / 1000;
            return Err(Problem::new(
                CenterError::RetryLater,
                format!("in {wait_s} s"),
            ));
        }
    }
    let begun = entry.is_some_and(|e| e.state == DeviceState::InUpgrade);
    if !begun {
        turn(&candidate)?;
    }
    let busy = |e: &&PlanDevice| e.open || e.state == DeviceState::InUpgrade;
    if let Some(other) = others.iter().filter(|e| e.plan != plan.id).find(busy) {
        return Err(Problem::new(
            CenterError::InOtherPlan,
            format!("plan {}", other.plan),
        ));
    }
    let mut set: Vec<usize> = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        let mut of_set = set.iter().filter_map(|i| steps.get(*i));
        let full = match together {
            // the next file of a package has its turn when the one before it is done, and what follows after that
            true => of_set.any(|s| s.component == step.component) || set.len() == SET_LIMIT,
            false => !set.is_empty(),
        };
        if full {
            break;
        }
        let state = entry.and_then(|e| e.steps.get(index)).map(|s| s.state);
        let fits = match needed(step, state, device) {
            Ok(true) => conditions(plan, step, device).map(|()| true),
            other => other,
        };
        match fits {
            Ok(true) => set.push(index),
            Ok(false) => {}
            Err(rule) if set.is_empty() => return Err(rule),
            Err(_) => break,
        }
    }
    if set.is_empty() {
        return Err(CenterError::AlreadyUpgraded.into());
    }
    let in_upgrade = Counters::sum(counters).in_upgrade;
    let taken = in_upgrade.saturating_add(candidate.untaken);
    let limit = u64::from(plan.rollout.at_once);
    if !begun && taken >= limit {
        let detail = format!("{taken} of {limit}");
        return Err(Problem::new(CenterError::LimitReached, detail));
    }
    if let (Some(per_cell), Some(cell)) = (plan.rollout.per_cell, device.cell_id)
        && !begun
    {
        let limit = per_cell.limit(device.rsrp_dbm);
        if candidate.in_cell >= limit {
            let detail = format!("cell {cell}: {} of {limit}", candidate.in_cell);
            return Err(Problem::new(CenterError::CellFull, detail));
        }
    }
    Ok(set)
}

/// Whether it is the turn of a device that has not begun: its group, its user, its start, the hour.
fn turn(candidate: &Candidate<'_>) -> Result<(), Problem> {
    let Candidate {
        plan,
        device,
        entry,
        counters,
        pushed,
        hour,
        now,
        ..
    } = *candidate;
    let (rollout, progress) = (&plan.rollout, &plan.progress);
    let endpoint = &device.endpoint;
    let group = entry.map_or_else(
        || rollout.group_of(plan.id, endpoint, counters),
        |e| e.group,
    );
    if group > progress.group {
        return Err(Problem::new(
            CenterError::GroupNotOpen,
            plan.group_name(group),
        ));
    }
    let appointed = entry.and_then(|e| e.appointed_at);
    match plan.begins_at(group, endpoint, appointed) {
        None => return Err(CenterError::WaitsForUser.into()),
        Some(at) if at > now => {
            let detail = format!("in {} s", (at - now).div_euclid(1000) + 1);
            return Err(Problem::new(CenterError::StartsLater, detail));
        }
        Some(_) => {}
    }
    // the user's word counts at any hour
    let by_center = pushed && rollout.mode == Mode::Silent;
    if by_center && !rollout.push_hours.contains(hour) {
        let hours = rollout.push_hours;
        let detail = format!(
            "it is {hour} h, pushed from {} to {} h",
            hours.from, hours.to
        );
        return Err(Problem::new(CenterError::OutsidePushHours, detail));
    }
    Ok(())
}

/// Whether the step is neither done nor needless; an error when the component cannot start from what it runs.
fn needed(
    step: &StepPlan,
    state: Option<ComponentState>,
    device: &Device,
) -> Result<bool, Problem> {
    if state == Some(ComponentState::UpgradeSucceeded) {
        return Ok(false);
    }
    let detail = || step.component.clone();
    let version = device
        .version(&step.component, step.kind)
        .ok_or_else(|| Problem::new(CenterError::VersionNotSet, detail()))?;
    if version == step.final_version {
        return Ok(false);
    }
    // the second file of a package starts from what the first one left
    let first = step.file_index == 0 && step.package_type == PackageType::Delta;
    if first && !step.source_versions.iter().any(|s| s == version) {
        let wanted = step.source_versions.join(", ");
        let detail = format!(
            "{} runs {version}, the delta starts from {wanted}",
            detail()
        );
        return Err(Problem::new(CenterError::SourceMismatch, detail));
    }
    Ok(true)
}

fn conditions(plan: &Plan, step: &StepPlan, device: &Device) -> Result<(), Problem> {
    let strategy = &plan.strategy;
    if let Some(rsrp) = device.rsrp_dbm.filter(|r| *r < strategy.min_rsrp_dbm) {
        let detail = format!("{rsrp} dBm, limit {} dBm", strategy.min_rsrp_dbm);
        return Err(Problem::new(CenterError::SignalBelowLimit, detail));
    }
    if let Some(battery) = device
        .battery_percent
        .filter(|b| *b < strategy.min_battery_percent)
    {
        let detail = format!("{battery} %, limit {} %", strategy.min_battery_percent);
        return Err(Problem::new(CenterError::BatteryBelowLimit, detail));
    }
    // an MCU package goes piece by piece through the staging flash: its size says nothing about that
    let free = device
        .free_space_bytes
        .filter(|_| step.kind == ComponentKind::Firmware);
    if let Some(free) = free.filter(|f| *f < step.file.length) {
        let detail = format!("{free} bytes free, {} needed", step.file.length);
        return Err(Problem::new(CenterError::SpaceTooSmall, detail));
    }
    Ok(())
}
