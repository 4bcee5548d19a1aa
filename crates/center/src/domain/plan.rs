//! Plan: who shall run what, when and under which conditions.
//!
//! | state | activate | suspend | resume | terminate | end time | first device began |
//! |---|---|---|---|---|---|---|
//! | Saved (editable, deletable) | Activated | - | - | - | - | - |
//! | Activated | - | Suspended | - | Terminated | Ended | Upgrading |
//! | Upgrading | - | Suspended | - | Terminated | Ended | Upgrading |
//! | Suspended (no new starts) | - | - | Activated or Upgrading | Terminated | Ended | Suspended |
//! | Terminated (waiting devices fail, running ones finish what they were offered) | - | - | - | - | Terminated | Terminated |
//! | Ended (running ones finish what they were offered) | - | - | - | - | Ended | Ended |

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sota_errors::CenterError;
use utoipa::ToSchema;

use super::{
    Audience, ComponentKind, Endpoint, Filter, Mode, Model, ModelId, Package, PackageId, PlanId,
    Problem, Product, ProductId, Progress, ProjectId, Retries, Rollout, StepPlan, Time, check_name,
};

/// Greatest number of devices in a whitelist or blacklist, and in upgrade at once.
pub const PLAN_LIST_LIMIT: usize = 10_000;

/// States of a plan, see the table above.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[allow(missing_docs)]
pub enum PlanState {
    Saved,
    Activated,
    Upgrading,
    Suspended,
    Terminated,
    Ended,
}

impl PlanState {
    /// New devices may begin.
    pub fn active(self) -> bool {
        matches!(self, PlanState::Activated | PlanState::Upgrading)
    }

    /// Nothing of it begins any more, for good; what runs goes on to the end of what it was offered.
    pub fn over(self) -> bool {
        matches!(self, PlanState::Terminated | PlanState::Ended)
    }

    /// Its name in the API.
    pub fn name(self) -> &'static str {
        match self {
            PlanState::Saved => "Saved",
            PlanState::Activated => "Activated",
            PlanState::Upgrading => "Upgrading",
            PlanState::Suspended => "Suspended",
            PlanState::Terminated => "Terminated",
            PlanState::Ended => "Ended",
        }
    }
}

/// What can happen to a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum PlanAction {
    Activate,
    Suspend,
    Resume,
    Terminate,
    /// The end time came.
    End,
    /// The first device reported that it has the plan.
    DeviceBegan,
}

/// Conditions for an upgrade; disk space is the package's size and not set by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Strategy {
    /// How often a failed upgrade is offered again, 0..=5.
    pub retry_times: u8,
    /// Minimum RSRP, -113..=-31 dBm.
    pub min_rsrp_dbm: i16,
    /// Minimum battery, 0..=100 %; 0 = no limit.
    pub min_battery_percent: u8,
}

impl Default for Strategy {
    fn default() -> Strategy {
        Strategy {
            retry_times: 5,
            min_rsrp_dbm: -113,
            min_battery_percent: 30,
        }
    }
}

/// A component of the model and the package chosen for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlanComponent {
    /// Component identifier.
    pub component: String,
    /// Package chosen.
    pub package: PackageId,
}

/// A plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Plan {
    /// Its id.
    pub id: PlanId,
    /// Account it belongs to.
    pub account: i64,
    /// Project it belongs to.
    pub project: ProjectId,
    /// Name, unique in the project, at most 100 characters.
    pub name: String,
    /// Product whose devices it is for; fixed once saved.
    pub product: ProductId,
    /// That product's key.
    pub product_key: String,
    /// Model.
    pub model: ModelId,
    /// Device keys; empty = every device of the product.
    pub whitelist: BTreeSet<String>,
    /// Device keys; wins over the whitelist.
    pub blacklist: BTreeSet<String>,
    /// Devices chosen by a saved filter instead of a whitelist.
    #[serde(default)]
    pub audience: Option<Audience>,
    /// IANA time zone in which its times are shown and were given.
    pub time_zone: String,
    /// Nothing is offered before.
    pub start_at: Time,
    /// Nothing is offered from here on; none = no end.
    pub end_at: Option<Time>,
    /// Conditions.
    pub strategy: Strategy,
    /// How it reaches its devices.
    #[serde(default)]
    pub rollout: Rollout,
    /// Where its rollout stands.
    #[serde(default)]
    pub progress: Progress,
    /// Components in sequence.
    pub components: Vec<PlanComponent>,
    /// Text for the user of the device.
    pub upgrade_text: String,
    /// Its state.
    pub state: PlanState,
    /// When it was made.
    pub created_at: Time,
    /// When it was activated.
    pub activated_at: Option<Time>,
    /// Counts its changes; 0 = not stored yet.
    pub revision: u64,
}

impl Plan {
    /// Checks every rule of a plan against what it refers to.
    pub fn check(
        &self,
        product: &Product,
        model: &Model,
        packages: &[Package],
    ) -> Result<(), Problem> {
        check_name("name", &self.name)?;
        super::check_remark("upgrade_text", &self.upgrade_text)?;
        self.check_conditions()?;
        let foreign = product.project != self.project || model.project != self.project;
        if foreign || packages.iter().any(|p| p.project != self.project) {
            return Err(Problem::new(CenterError::ProjectMismatch, ""));
        }
        if self.components.is_empty() {
            return Err(Problem::of(CenterError::SequenceEmpty, "components", ""));
        }
        for (i, chosen) in self.components.iter().enumerate() {
            let field = format!("components[{i}]");
            let Some(component) = model.component(&chosen.component) else {
                let error = CenterError::ComponentNotInModel;
                return Err(Problem::of(error, field, &chosen.component));
            };
            if self
                .components
                .iter()
                .take(i)
                .any(|c| c.component == chosen.component)
            {
                let error = CenterError::ComponentTwiceInPlan;
                return Err(Problem::of(error, field, &chosen.component));
            }
            let Some(package) = packages.iter().find(|p| p.id == chosen.package) else {
                let detail = chosen.package.to_string();
                return Err(Problem::of(CenterError::NoSuchPackage, field, detail));
            };
            if package.component_type != component.kind {
                return Err(Problem::of(
                    CenterError::PackageWrongKind,
                    field,
                    &package.name,
                ));
            }
            if package.product.is_some_and(|p| p != self.product) {
                return Err(Problem::of(
                    CenterError::PackageOfOtherProduct,
                    field,
                    &package.name,
                ));
            }
            if component.kind == ComponentKind::Mcu && package.files.len() != 1 {
                return Err(Problem::of(
                    CenterError::McuPackageManyFiles,
                    field,
                    &package.name,
                ));
            }
        }
        Ok(())
    }

    fn check_conditions(&self) -> Result<(), Problem> {
        self.rollout.check()?;
        if self.whitelist.len() > PLAN_LIST_LIMIT || self.blacklist.len() > PLAN_LIST_LIMIT {
            return Err(Problem::new(CenterError::ListTooLong, ""));
        }
        if self.audience.is_some() && !self.whitelist.is_empty() {
            return Err(Problem::of(CenterError::FilterAndWhitelist, "audience", ""));
        }
        if self.end_at.is_some_and(|end| end <= self.start_at) {
            return Err(Problem::of(CenterError::PlanTimes, "end", ""));
        }
        let strategy = &self.strategy;
        if strategy.retry_times > 5 {
            return Err(Problem::of(
                CenterError::StrategyRetry,
                "strategy.retry_times",
                "",
            ));
        }
        if !(-113..=-31).contains(&strategy.min_rsrp_dbm) {
            return Err(Problem::of(
                CenterError::StrategySignal,
                "strategy.min_rsrp_dbm",
                "",
            ));
        }
        if strategy.min_battery_percent > 100 {
            let field = "strategy.min_battery_percent";
            return Err(Problem::of(CenterError::StrategyBattery, field, ""));
        }
        Ok(())
    }

    /// Whether it may be edited or deleted.
    pub fn check_editable(&self) -> Result<(), Problem> {
        match self.state {
            PlanState::Saved => Ok(()),
            state => Err(Problem::new(CenterError::PlanNotSaved, state.name())),
        }
    }

    /// The state after `action`; `began`: a device of the plan has begun at some time.
    pub fn after(&self, action: PlanAction, began: bool, now: Time) -> Result<PlanState, Problem> {
        use PlanAction as A;
        use PlanState as S;
        let next = match (self.state, action) {
            (S::Saved, A::Activate) => {
                if self.end_at.is_some_and(|end| end <= now) {
                    return Err(Problem::of(
                        CenterError::PlanTimes,
                        "end",
                        "the end is past",
                    ));
                }
                S::Activated
            }
            (S::Activated | S::Upgrading, A::Suspend) => S::Suspended,
            (S::Suspended, A::Resume) if began => S::Upgrading,
            (S::Suspended, A::Resume) => S::Activated,
            (S::Activated | S::Upgrading | S::Suspended, A::Terminate) => S::Terminated,
            (S::Activated | S::Upgrading | S::Suspended, A::End) => S::Ended,
            (S::Activated, A::DeviceBegan) => S::Upgrading,
            (state, A::DeviceBegan) if state != S::Saved => state,
            (state, action) => {
                let detail = format!("{action:?} in state {}", state.name());
                return Err(Problem::new(CenterError::PlanTransition, detail));
            }
        };
        Ok(next)
    }

    /// What follows a failure: never another offer once the plan is over.
    pub fn retries(&self) -> Retries {
        match self.state.over() {
            true => Retries::none(),
            false => Retries {
                times: self.strategy.retry_times,
                policy: self.rollout.retry.clone(),
            },
        }
    }

    /// When a device of an open group may begin: not before its start in the spread or, in manual mode, the time that
    /// its user appointed; none = the user has not said.
    pub fn begins_at(
        &self,
        group: u16,
        endpoint: &Endpoint,
        appointed_at: Option<Time>,
    ) -> Option<Time> {
        if self.rollout.mode == Mode::Manual {
            return appointed_at;
        }
        // what an earlier group's device waited for is over
        if group < self.progress.group {
            return Some(0);
        }
        let spread = Time::from(self.rollout.start_after_s(self.id, endpoint)) * 1000;
        Some(self.progress.opened_at.saturating_add(spread))
    }

    /// The name of a group.
    pub fn group_name(&self, group: u16) -> String {
        let found = self.rollout.group(group.into());
        found.map_or_else(|| group.to_string(), |group| group.name)
    }

    /// Whether the end time has come for a plan that still runs.
    pub fn due_to_end(&self, now: Time) -> bool {
        (self.state.active() || self.state == PlanState::Suspended)
            && self.end_at.is_some_and(|end| end <= now)
    }

    /// Whether the lists include this device: blacklist first, then whitelist.
    pub fn includes(&self, device_key: &str) -> Result<(), CenterError> {
        if self.blacklist.contains(device_key) {
            return Err(CenterError::InBlacklist);
        }
        if !self.whitelist.is_empty() && !self.whitelist.contains(device_key) {
            return Err(CenterError::NotInWhitelist);
        }
        Ok(())
    }

    /// The filter that decides while the plan runs: a fixed one has become the whitelist.
    pub fn live_filter(&self) -> Result<Option<Filter>, Problem> {
        let live = self.audience.as_ref().filter(|a| a.live);
        live.map(|a| Filter::parse(&a.expression)).transpose()
    }

    /// The plan's steps: components in sequence, the files of each in index order. A file that is not its
    /// package's last has no target version: only the last one brings the component to it.
    pub fn steps(&self, model: &Model, packages: &[Package]) -> Vec<StepPlan> {
        let mut steps = Vec::new();
        for chosen in &self.components {
            let package = packages.iter().find(|p| p.id == chosen.package);
            let (Some(package), Some(component)) = (package, model.component(&chosen.component))
            else {
                continue;
            };
            for (index, file) in package.files.iter().enumerate() {
                let last = index + 1 == package.files.len();
                steps.push(StepPlan {
                    component: component.identifier.clone(),
                    kind: component.kind,
                    package: package.id,
                    package_type: package.package_type,
                    source_versions: package.source_versions.clone(),
                    final_version: package.target_version.clone(),
                    target_version: if last {
                        package.target_version.clone()
                    } else {
                        String::new()
                    },
                    file: file.clone(),
                    file_index: index as u8,
                });
            }
        }
        steps
    }
}
