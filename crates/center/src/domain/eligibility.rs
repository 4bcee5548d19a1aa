//! Is this device offered this plan now, and if not, which rule forbids it.

use sota_errors::CenterError;

use super::{
    ComponentKind, ComponentState, Device, DeviceState, PLAN_LIST_LIMIT, PackageType, Plan,
    PlanDevice, PlanState, Problem, StepPlan, Time,
};

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
    /// Devices of this plan in upgrade at present.
    pub in_upgrade: u64,
    /// Present time.
    pub now: Time,
}

/// The index of the step to be offered, or the rule that forbids it. The rules are asked in the order in which a
/// person would: plan, times, lists, history, other plans, version, conditions, limit.
///
/// Battery, signal and space are compared only where the device told them: the device itself judges again when it
/// confirms and before each piece.
pub fn eligibility(candidate: Candidate<'_>) -> Result<usize, Problem> {
    let Candidate {
        plan,
        steps,
        device,
        entry,
        others,
        in_upgrade,
        now,
    } = candidate;
    if plan.product_key != device.endpoint.product_key || plan.account != device.account {
        return Err(CenterError::OtherProduct.into());
    }
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
    plan.includes(&device.endpoint.device_key)?;
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
        if entry.not_before > now {
            let wait_s = (entry.not_before - now) / 1000;
            return Err(Problem::new(
                CenterError::RetryLater,
                format!("in {wait_s} s"),
            ));
        }
    }
    let busy = |e: &&PlanDevice| e.open || e.state == DeviceState::InUpgrade;
    if let Some(other) = others.iter().filter(|e| e.plan != plan.id).find(busy) {
        return Err(Problem::new(
            CenterError::InOtherPlan,
            format!("plan {}", other.plan),
        ));
    }
    let index = next_step(steps, device, entry)?;
    let step = steps.get(index).ok_or(CenterError::AlreadyUpgraded)?;
    conditions(plan, step, device)?;
    let counted = entry.is_some_and(|e| e.state == DeviceState::InUpgrade);
    if !counted && in_upgrade >= PLAN_LIST_LIMIT as u64 {
        return Err(CenterError::LimitReached.into());
    }
    Ok(index)
}

/// The first step that is neither done nor needless.
fn next_step(
    steps: &[StepPlan],
    device: &Device,
    entry: Option<&PlanDevice>,
) -> Result<usize, Problem> {
    for (index, step) in steps.iter().enumerate() {
        let state = entry.and_then(|e| e.steps.get(index)).map(|s| s.state);
        if state == Some(ComponentState::UpgradeSucceeded) {
            continue;
        }
        let detail = || step.component.clone();
        let version = device
            .version(&step.component, step.kind)
            .ok_or_else(|| Problem::new(CenterError::VersionNotSet, detail()))?;
        if version == step.final_version {
            continue;
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
        return Ok(index);
    }
    Err(CenterError::AlreadyUpgraded.into())
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
