//! How many devices of a plan are in which state; kept with every change, never counted by a scan.

use serde::{Deserialize, Serialize};
use sota_mutants::{Mutant, active};
use utoipa::ToSchema;

use super::DeviceState;

/// Devices of one plan by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[allow(missing_docs)]
pub struct Counters {
    pub not_upgraded: u64,
    pub in_upgrade: u64,
    pub upgraded: u64,
    pub upgrade_failed: u64,
    pub no_update_required: u64,
}

impl Counters {
    /// The count of this state.
    pub fn of(&mut self, state: DeviceState) -> &mut u64 {
        match state {
            DeviceState::NotUpgraded => &mut self.not_upgraded,
            DeviceState::InUpgrade => &mut self.in_upgrade,
            DeviceState::Upgraded => &mut self.upgraded,
            DeviceState::UpgradeFailed => &mut self.upgrade_failed,
            DeviceState::NoUpdateRequired => &mut self.no_update_required,
        }
    }

    /// All groups together.
    pub fn sum(groups: &[Counters]) -> Counters {
        let mut all = Counters::default();
        for group in groups {
            all.not_upgraded += group.not_upgraded;
            all.in_upgrade += group.in_upgrade;
            all.upgraded += group.upgraded;
            all.upgrade_failed += group.upgrade_failed;
            all.no_update_required += group.no_update_required;
        }
        all
    }

    /// The counters of this group, made if there are none.
    pub fn of_group(groups: &mut Vec<Counters>, group: u16) -> &mut Counters {
        let index = usize::from(group);
        if groups.len() <= index {
            groups.resize(index + 1, Counters::default());
        }
        &mut groups[index]
    }

    /// A device came (`from` none) or changed its state.
    pub fn moved(&mut self, from: Option<DeviceState>, to: DeviceState) {
        if active(Mutant::CountersNotMoved) && to == DeviceState::UpgradeFailed {
            return;
        }
        if let Some(from) = from {
            let count = self.of(from);
            *count = count.saturating_sub(1);
        }
        *self.of(to) += 1;
    }

    /// Devices in the plan.
    pub fn total(&self) -> u64 {
        self.not_upgraded
            + self.in_upgrade
            + self.upgraded
            + self.upgrade_failed
            + self.no_update_required
    }

    /// A device of the plan has begun.
    pub fn began(&self) -> bool {
        self.in_upgrade + self.upgraded + self.upgrade_failed > 0
    }

    /// Share of successes in %, without those not started or still running; none before the first result.
    pub fn success_rate_percent(&self) -> Option<f64> {
        let done = self.upgraded + self.upgrade_failed;
        (done > 0).then(|| self.upgraded as f64 * 100.0 / done as f64)
    }
}
