//! The rules of the Center: who is offered what, which state follows which.
//!
//! Pure: no async, no SQL, no clock, no random. Time comes in as [`Time`], entities come in as values, and
//! what comes out is a new value, a command for a device or a [`Problem`] with its line in the catalogue.
//!
//! | file | holds |
//! |---|---|
//! | `audit` | who did what |
//! | `access` | accounts, roles, sessions, tokens, invitations |
//! | `entity` | project, product, device, registration |
//! | `model` | model and its components |
//! | `package` | version package and its files |
//! | `filter` | filters of devices, tags |
//! | `plan` | plan, strategy, the plan's state machine |
//! | `rollout` | groups, thresholds, hours: how a plan reaches its devices |
//! | `retry` | what follows a failed try |
//! | `upgrade` | one device in one plan: its state machine |
//! | `eligibility` | is this device offered this plan, or which rule forbids it |
//! | `webhook` | what is told of a project, to whom, and how often it is tried |
//! | `sample` | the counters over time |
//! | `counters` | how many devices of a plan are in which state |

mod access;
mod audit;
#[cfg(test)]
mod cancel_tests;
mod counters;
mod eligibility;
mod entity;
mod filter;
mod model;
mod package;
mod plan;
mod retry;
mod rollout;
#[cfg(test)]
mod rollout_tests;
mod sample;
#[cfg(test)]
mod set_tests;
#[cfg(test)]
mod tests;
mod upgrade;
mod webhook;

pub use access::{
    Account, ApiToken, FIRST_ACCOUNT, INVITATION_LIFETIME, Invitation, Membership, PASSWORD_LENGTH,
    PasswordReset, RESET_LIFETIME, Role, SESSION_LIFETIME, Session, Standing, TOKEN_DAYS_LIMIT,
    account_name, check_account, check_account_name, check_members, check_password,
    check_removable,
};
pub use audit::{Action, Actor, AuditEntry, AuditFilter};
pub use counters::Counters;
pub use eligibility::{Candidate, eligibility};
pub use entity::{
    Device, DeviceFacts, Endpoint, Product, Project, Registration, ReportedComponent,
};
pub use filter::{
    Audience, FILTERS_LIMIT, Filter, SavedFilter, Surroundings, TAGS_LIMIT, check_tag, check_tags,
};
pub use model::{Component, ComponentKind, Model};
pub use package::{FILE_COUNT_LIMIT, FILE_LIMIT_BYTES, FORMATS, Package, PackageFile, PackageType};
pub use plan::{PLAN_LIST_LIMIT, Plan, PlanAction, PlanComponent, PlanState, Strategy};
pub use retry::{Retries, RetryPolicy};
pub use rollout::{Advance, Group, Mode, PerCell, Progress, PushHours, Rollout, Size};
pub use sample::{SAMPLE_INTERVAL, Sample, sample_due, sample_interval, sample_slot};
pub use upgrade::{
    CancelMode, CancelOutcome, ComponentState, Deadlines, DeviceState, LogLine, Outstanding,
    PlanDevice, Report, Step, StepPlan, reachable,
};

pub use webhook::{
    ATTEMPTS_LIMIT, Delivery, Event, EventKind, KEPT_FOR, KEPT_LIMIT, WAITING_LIMIT,
    WEBHOOKS_LIMIT, Webhook,
};

pub(crate) use upgrade::describe;

use serde::{Deserialize, Serialize};
use sota_errors::CenterError;
use utoipa::ToSchema;

/// Milliseconds since 1970-01-01T00:00:00Z.
pub type Time = i64;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}
ids! {
    /// Names a project.
    ProjectId;
    /// Names a product.
    ProductId;
    /// Names a model.
    ModelId;
    /// Names a version package.
    PackageId;
    /// Names a plan.
    PlanId;
    /// Names a saved filter.
    FilterId;
    /// Names a webhook.
    WebhookId;
}

/// A refusal: the line of the catalogue, which input was wrong, and what about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}{}{detail}", if detail.is_empty() { "" } else { ": " })]
pub struct Problem {
    /// Line of the catalogue.
    pub error: CenterError,
    /// Name of the input field, empty if it is not about one.
    pub field: String,
    /// The input or the state that led to it, in words; may be empty.
    pub detail: String,
}

impl Problem {
    /// A refusal that is not about one field.
    pub fn new(error: CenterError, detail: impl Into<String>) -> Problem {
        Problem {
            error,
            field: String::new(),
            detail: detail.into(),
        }
    }

    /// A refusal of the content of `field`.
    pub fn of(error: CenterError, field: impl Into<String>, detail: impl Into<String>) -> Problem {
        Problem {
            error,
            field: field.into(),
            detail: detail.into(),
        }
    }
}

impl From<CenterError> for Problem {
    fn from(error: CenterError) -> Problem {
        Problem::new(error, "")
    }
}

/// Greatest length of names of projects, products, models, packages and plans, in characters.
pub const NAME_LIMIT: usize = 100;
/// Greatest length of remarks, in characters.
pub const REMARK_LIMIT: usize = 200;

/// Checks a name a person gives: 1..=100 characters, none a control character, no blank at its ends.
pub fn check_name(field: &str, name: &str) -> Result<(), Problem> {
    if name.is_empty() {
        return Err(Problem::of(CenterError::NameEmpty, field, ""));
    }
    let length = name.chars().count();
    if length > NAME_LIMIT {
        return Err(Problem::of(
            CenterError::NameOverlong,
            field,
            format!("{length} characters"),
        ));
    }
    if name.chars().any(char::is_control) || name.trim() != name {
        return Err(Problem::of(
            CenterError::NameForbiddenCharacters,
            field,
            format!("{name:?}"),
        ));
    }
    Ok(())
}

/// Checks a remark: at most 200 characters.
pub fn check_remark(field: &str, remark: &str) -> Result<(), Problem> {
    let length = remark.chars().count();
    if length > REMARK_LIMIT {
        return Err(Problem::of(
            CenterError::RemarkOverlong,
            field,
            format!("{length} characters"),
        ));
    }
    Ok(())
}

/// Checks a version of a package: `[A-Za-z0-9_.-]`, 1..=64 bytes (SetMcuVersion's limit).
pub fn check_version(field: &str, version: &str) -> Result<(), Problem> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if version.is_empty() || version.len() > 64 || !version.chars().all(allowed) {
        let error = CenterError::VersionForbiddenCharacters;
        return Err(Problem::of(error, field, format!("{version:?}")));
    }
    Ok(())
}
