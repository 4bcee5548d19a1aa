//! Audit log: who did what, when, to which object.
//!
//! An entry is committed with the change it tells of, so there is none without the other. What the Center does to a
//! plan by itself (its end, a failure threshold, the next group) is in it too, in the Center's name; what devices do is
//! in their own logs.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ProjectId, Time};

/// Who does something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Actor {
    /// Name of the account at that time; `(Center)` = the Center by itself, `(machine)` = a program with the token of
    /// `--token-file`. No account can have these names: they begin with a bracket.
    pub name: String,
    /// The API token's name, if it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

impl Actor {
    /// The Center by itself.
    pub fn center() -> Actor {
        Actor::of("(Center)", None)
    }

    /// A program of the machine's user.
    pub fn machine() -> Actor {
        Actor::of("(machine)", None)
    }

    /// An account, by this API token or by itself.
    pub fn of(name: &str, token: Option<String>) -> Actor {
        Actor {
            name: name.to_owned(),
            token,
        }
    }
}

impl core::fmt::Display for Actor {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match &self.token {
            Some(token) => write!(f, "{} by token {token}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What was done.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
        pub enum Action { $($(#[$doc])* $name,)* }

        impl Action {
            /// Every action.
            pub const ALL: &'static [Action] = &[$(Action::$name),*];

            /// Its name in the API and the store.
            pub fn name(self) -> &'static str {
                match self { $(Action::$name => stringify!($name),)* }
            }
        }
    };
}
actions! {
    /// A project was made.
    ProjectCreated,
    /// A product was made.
    ProductCreated,
    /// A model was made.
    ModelCreated,
    /// A model was deleted.
    ModelDeleted,
    /// A package was uploaded.
    PackageCreated,
    /// A package was deleted.
    PackageDeleted,
    /// A plan was saved.
    PlanCreated,
    /// A saved plan got another content.
    PlanEdited,
    /// A saved plan was deleted.
    PlanDeleted,
    /// A plan was activated.
    PlanActivated,
    /// A plan was suspended, by a person or by a failure threshold.
    PlanSuspended,
    /// A suspended plan went on.
    PlanResumed,
    /// A plan was terminated.
    PlanTerminated,
    /// A plan's end time came.
    PlanEnded,
    /// The next group of a plan was opened, by a person or by results.
    GroupOpened,
    /// A device was disabled.
    DeviceDisabled,
    /// A device was enabled.
    DeviceEnabled,
    /// The upgrade of one device was cancelled.
    UpgradeCancelled,
    /// A failed device got another try.
    UpgradeRetried,
    /// The user of a device of a manual plan confirmed or appointed the upgrade.
    UpgradeConfirmed,
    /// Somebody became a member of a project or got another role.
    MemberSet,
    /// Somebody was taken out of a project.
    MemberRemoved,
    /// A one-time link for a new member was made.
    InvitationCreated,
    /// An account was made.
    AccountCreated,
    /// An account got another name.
    AccountRenamed,
    /// An account was removed.
    AccountRemoved,
    /// An account gave itself a new password.
    PasswordChanged,
    /// A one-time link for a new password was made.
    PasswordResetCreated,
    /// A new password was given by a link.
    PasswordReset,
    /// A device got other tags.
    TagsSet,
    /// Devices of a product got other tags from a list.
    TagsImported,
    /// A filter was saved.
    FilterCreated,
    /// A saved filter was deleted.
    FilterDeleted,
    /// A webhook was made.
    WebhookCreated,
    /// A webhook got another content or secret.
    WebhookChanged,
    /// A webhook was deleted.
    WebhookDeleted,
    /// A test was sent to a webhook.
    WebhookTested,
    /// A delivery of a webhook is tried again.
    DeliveryRetried,
    /// A person logged in.
    LoggedIn,
    /// A person logged out.
    LoggedOut,
    /// An API token was made.
    TokenCreated,
    /// An API token was ended.
    TokenDeleted,
}

/// One line of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// Its number, given by the store; 0 = not stored yet. A later entry has a greater one.
    pub id: i64,
    /// The project it belongs to; none = it is about an account.
    pub project: Option<ProjectId>,
    /// Without a project: the account it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<i64>,
    /// When, in ms since 1970.
    pub at: Time,
    /// Who.
    pub actor: Actor,
    /// What.
    pub action: Action,
    /// To what: `plan/5`, `device/<product key>/<device key>`, `account/<name>`.
    pub object: String,
    /// What people call the object, and what else belongs to it: new state, role, reason.
    pub detail: String,
}

/// Which entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Only of this project; none = those without one.
    pub project: Option<ProjectId>,
    /// Only by the actor of this name.
    pub actor: Option<String>,
    /// Only this action.
    pub action: Option<Action>,
    /// Only to this object.
    pub object: Option<String>,
    /// Only from then on.
    pub from: Option<Time>,
    /// Only before then.
    pub to: Option<Time>,
    /// Only older ones than the entry of this number.
    pub before: Option<i64>,
}

impl AuditFilter {
    /// Whether it takes this entry.
    pub fn takes(&self, entry: &AuditEntry) -> bool {
        self.project == entry.project
            && self.actor.as_ref().is_none_or(|a| *a == entry.actor.name)
            && self.action.is_none_or(|a| a == entry.action)
            && self.object.as_ref().is_none_or(|o| *o == entry.object)
            && self.from.is_none_or(|from| entry.at >= from)
            && self.to.is_none_or(|to| entry.at < to)
            && self.before.is_none_or(|before| entry.id < before)
    }
}
