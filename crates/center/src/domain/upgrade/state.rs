//! States of devices and components, deadlines, and what is reported and owed.

use serde::{Deserialize, Serialize};
use sota_lwm2m::objects::plan::State;
use utoipa::ToSchema;

use crate::domain::{ComponentKind, Endpoint, PackageFile, PackageId, PackageType, PlanId, Time};

/// State of a device in a plan.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[allow(missing_docs)]
pub enum DeviceState {
    NotUpgraded,
    InUpgrade,
    Upgraded,
    UpgradeFailed,
    NoUpdateRequired,
}

impl DeviceState {
    /// Every state.
    pub const ALL: [DeviceState; 5] = [
        DeviceState::NotUpgraded,
        DeviceState::InUpgrade,
        DeviceState::Upgraded,
        DeviceState::UpgradeFailed,
        DeviceState::NoUpdateRequired,
    ];

    /// Its name in the API and the store.
    pub fn name(self) -> &'static str {
        match self {
            DeviceState::NotUpgraded => "NotUpgraded",
            DeviceState::InUpgrade => "InUpgrade",
            DeviceState::Upgraded => "Upgraded",
            DeviceState::UpgradeFailed => "UpgradeFailed",
            DeviceState::NoUpdateRequired => "NoUpdateRequired",
        }
    }

    /// The state with this name.
    pub fn from_name(name: &str) -> Option<DeviceState> {
        DeviceState::ALL.into_iter().find(|s| s.name() == name)
    }

    /// The device is done with the plan, well or badly.
    pub fn over(self) -> bool {
        !matches!(self, DeviceState::NotUpgraded | DeviceState::InUpgrade)
    }
}

/// State of one component, see the table above.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[allow(missing_docs)]
pub enum ComponentState {
    PlanNotReceived,
    PlanReceived,
    Confirmed,
    ReadyToDownload,
    Downloading,
    DownloadFailed,
    DownloadSucceeded,
    Upgrading,
    UpgradeFailed,
    UpgradeSucceeded,
    NoUpdateRequired,
}

impl ComponentState {
    /// The device's state that it stands for; `None` for a component that is not touched.
    pub fn reported(self) -> Option<State> {
        Some(match self {
            ComponentState::PlanNotReceived => State::None,
            ComponentState::PlanReceived => State::PlanReceived,
            ComponentState::Confirmed => State::Confirmed,
            ComponentState::ReadyToDownload => State::DownloadStarts,
            ComponentState::Downloading => State::Downloading,
            ComponentState::DownloadFailed => State::DownloadError,
            ComponentState::DownloadSucceeded => State::Downloaded,
            ComponentState::Upgrading => State::Updating,
            ComponentState::UpgradeFailed => State::Failure,
            ComponentState::UpgradeSucceeded => State::Success,
            ComponentState::NoUpdateRequired => return None,
        })
    }
}

/// Whether the device's own table of states (`sota_lwm2m::objects::plan::State`) leads from one to the other
/// over one or more steps, within one offer.
pub fn reachable(from: State, to: State) -> bool {
    use State as S;
    match from {
        S::None => to != S::None,
        S::PlanReceived => !matches!(to, S::None | S::PlanReceived),
        S::Confirmed => !matches!(to, S::None | S::PlanReceived | S::Confirmed | S::Refused),
        S::DownloadStarts | S::Downloading | S::DownloadError | S::Downloaded => {
            to != from && (to as u8) >= 4
        }
        S::Updating => matches!(to, S::Success | S::Failure),
        S::Refused | S::Success | S::Failure => false,
    }
}

/// How long a device may stay in a step before the Center counts it as failed, in ms. They are far above the
/// device's own limits: they are for devices that are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// Offer sent -> acknowledged by a report. When it passes the offer is withdrawn, not failed.
    pub offer: Time,
    /// Plan received -> the host's answer.
    pub confirm: Time,
    /// Confirmed or download error -> download starts.
    pub start: Time,
    /// Download starts -> a piece is there, and from piece to piece. State 5 is reported once, so this covers
    /// a whole piece on a slow network.
    pub download: Time,
    /// Updating -> version reported. The device's own limit is 20 min.
    pub update: Time,
}

impl Default for Deadlines {
    fn default() -> Deadlines {
        const MINUTE: Time = 60_000;
        const DAY: Time = 24 * 60 * MINUTE;
        Deadlines {
            offer: 60 * MINUTE,
            confirm: 7 * DAY,
            start: 60 * MINUTE,
            download: 2 * DAY,
            update: 60 * MINUTE,
        }
    }
}

impl Deadlines {
    pub(super) fn of(&self, state: ComponentState) -> Option<Time> {
        match state {
            ComponentState::PlanNotReceived => Some(self.offer),
            ComponentState::PlanReceived => Some(self.confirm),
            ComponentState::Confirmed | ComponentState::DownloadFailed => Some(self.start),
            ComponentState::ReadyToDownload
            | ComponentState::Downloading
            | ComponentState::DownloadSucceeded => Some(self.download),
            ComponentState::Upgrading => Some(self.update),
            ComponentState::UpgradeFailed
            | ComponentState::UpgradeSucceeded
            | ComponentState::NoUpdateRequired => None,
        }
    }
}

/// One step of a plan as it follows from the plan, its model and its packages: one file for one component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepPlan {
    /// Component identifier in the model.
    pub component: String,
    /// Firmware or MCU.
    pub kind: ComponentKind,
    /// Package.
    pub package: PackageId,
    /// Full or Delta.
    pub package_type: PackageType,
    /// Delta: versions it starts from.
    pub source_versions: Vec<String>,
    /// The package's target version.
    pub final_version: String,
    /// Version the component runs after this step; empty when more files of the package follow.
    pub target_version: String,
    /// The file.
    pub file: PackageFile,
    /// Index of the file in the package.
    pub file_index: u8,
}

/// A line of a device's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// The plan; none = about the device itself.
    pub plan: Option<PlanId>,
    /// The device.
    #[serde(flatten)]
    pub endpoint: Endpoint,
    /// When.
    pub at: Time,
    /// Line of the catalogue, if it is about one.
    pub number: Option<u16>,
    /// What happened.
    pub text: String,
}

/// What a device reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Number of the set it belongs to.
    pub offer: u32,
    /// State reached.
    pub state: State,
    /// Why, in states 6 and 12.
    pub reason: Option<u16>,
}

/// What the Center still owes the device; found from the state alone, so a command that was lost is sent again
/// at the device's next contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outstanding {
    /// Send the step's offer.
    Offer,
    /// Send its download information.
    Download,
    /// Execute Cancel.
    Cancel,
    /// Go on with what it has under way, if it is a client that cannot do so by itself.
    Resume,
}

/// How a person stops what runs; the points are in the table of `ends`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum CancelMode {
    /// Nothing more is offered; what runs goes on to its end.
    Soft,
    /// The device is asked to give up what runs, where that is still safe.
    Hard,
}

/// What became of a cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum CancelOutcome {
    /// The device had not begun: it will not.
    Cancelled,
    /// The device is asked; it stops unless its MCU is already flashing.
    Asked,
    /// The device ends what runs; nothing more is offered to it.
    Ending,
}
