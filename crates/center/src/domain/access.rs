//! Who may do what: accounts, their roles in projects, and the proofs by which a request speaks for an account.
//!
//! Of every secret (session, API token, invitation) only the SHA-256 is kept: who reads the store cannot log in with
//! what is there. Secrets are 256 random bits, so a plain digest is enough; passwords are not, so they are argon2.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sota_errors::CenterError;
use utoipa::ToSchema;

use super::{Problem, ProjectId, Time, check_name};

/// The first account: projects that were made before there were accounts are its.
pub const FIRST_ACCOUNT: i64 = 1;
/// Least and greatest length of a password, in characters.
pub const PASSWORD_LENGTH: std::ops::RangeInclusive<usize> = 10..=128;
/// A session ends this long after its log-in, in ms.
pub const SESSION_LIFETIME: Time = 12 * 3_600_000;
/// An invitation can be used this long, in ms.
pub const INVITATION_LIFETIME: Time = 7 * 86_400_000;
/// A link for a new password can be used this long, in ms.
pub const RESET_LIFETIME: Time = 86_400_000;
/// Greatest lifetime of an API token, in days.
pub const TOKEN_DAYS_LIMIT: u16 = 365;

/// What an account may do in a project; each may do what the one before may.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
pub enum Role {
    /// Read everything but the product's secret.
    Viewer,
    /// Products, models, packages, plans, devices.
    Operator,
    /// The same, and who else is a member.
    Owner,
}

impl Role {
    /// Every role, the least first.
    pub const ALL: [Role; 3] = [Role::Viewer, Role::Operator, Role::Owner];

    /// Its name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Role::Viewer => "Viewer",
            Role::Operator => "Operator",
            Role::Owner => "Owner",
        }
    }
}

/// A person (or a team) that logs in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its id.
    pub id: i64,
    /// Name to log in with, in lower case, unique in the Center: often an email address.
    pub name: String,
    /// Password as argon2's own string (PHC).
    pub password: String,
    /// When it was made.
    pub created_at: Time,
    /// Counts its changes; 0 = not stored yet.
    pub revision: u64,
}

/// The form in which a name of an account is kept and compared.
pub fn account_name(typed: &str) -> String {
    typed.trim().to_lowercase()
}

/// Checks a new account's name (in its kept form) and password.
pub fn check_account(name: &str, password: &str) -> Result<(), Problem> {
    check_account_name(name)?;
    check_password("password", name, password)
}

/// Checks an account's name in its kept form.
pub fn check_account_name(name: &str) -> Result<(), Problem> {
    check_name("name", name)?;
    // with a bracket begin the names that the audit log gives to who is no account
    if name.chars().any(char::is_whitespace) || name.starts_with('(') {
        return Err(Problem::of(
            CenterError::NameForbiddenCharacters,
            "name",
            "a blank, or a bracket at its begin",
        ));
    }
    Ok(())
}

/// Checks a password for the account of this name (in its kept form).
pub fn check_password(field: &str, name: &str, password: &str) -> Result<(), Problem> {
    let length = password.chars().count();
    if !PASSWORD_LENGTH.contains(&length) || account_name(password) == name {
        return Err(Problem::of(CenterError::PasswordUnfit, field, ""));
    }
    Ok(())
}

/// A link by which an account gets a new password, once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordReset {
    /// SHA-256 of the link's secret, in hex.
    pub digest: String,
    /// Whose password.
    pub account: i64,
    /// Made by a member: the account's projects then, all of them the member's. None = by who may reset any.
    pub projects: Option<BTreeSet<ProjectId>>,
    /// It ends here.
    pub expires_at: Time,
}

impl PasswordReset {
    /// Whether it can be used now. An account that has come into another project since is worth more than its maker
    /// could give.
    pub fn usable(&self, memberships: &[Membership], now: Time) -> bool {
        let same = |projects: &BTreeSet<ProjectId>| {
            memberships.iter().all(|m| projects.contains(&m.project))
        };
        self.expires_at > now && self.projects.as_ref().is_none_or(same)
    }
}

/// What a caller is to the accounts of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The user of the Center's machine (`--token-file`).
    Machine,
    /// Who set the Center up, logged in.
    Administrator,
    /// Any other account.
    Member,
}

impl Standing {
    /// Whether it may see and remove accounts.
    pub fn check_administers(self) -> Result<(), Problem> {
        match self {
            Standing::Machine | Standing::Administrator => Ok(()),
            Standing::Member => Err(CenterError::Forbidden.into()),
        }
    }

    /// Whether it may make a link by which this account gets a new password. Who has the link has all that the account
    /// has: so a member must own every project of the account, and nobody but the machine's user resets the
    /// administrator.
    pub fn check_reset(
        self,
        account: i64,
        memberships: &[Membership],
        owns: impl Fn(ProjectId) -> bool,
    ) -> Result<(), Problem> {
        let owned = || !memberships.is_empty() && memberships.iter().all(|m| owns(m.project));
        let may = match self {
            Standing::Machine => true,
            Standing::Administrator => account != FIRST_ACCOUNT,
            Standing::Member => account != FIRST_ACCOUNT && owned(),
        };
        match may {
            true => Ok(()),
            false => Err(CenterError::ResetNotHeld.into()),
        }
    }
}

/// Whether the account may be removed: the Center keeps the one that set it up.
pub fn check_removable(account: i64) -> Result<(), Problem> {
    match account {
        FIRST_ACCOUNT => Err(CenterError::FirstAccountStays.into()),
        _ => Ok(()),
    }
}

/// An account's role in a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// The account.
    pub account: i64,
    /// The project.
    pub project: ProjectId,
    /// What it may do there.
    pub role: Role,
}

/// A log-in by a person at a browser.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// SHA-256 of the cookie's value, in hex.
    pub digest: String,
    /// Who logged in.
    pub account: i64,
    /// When.
    pub created_at: Time,
    /// It ends here.
    pub expires_at: Time,
}

/// An API token: what a script shows instead of a log-in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiToken {
    /// Its id.
    pub id: i64,
    /// SHA-256 of the token, in hex.
    pub digest: String,
    /// For whom it speaks.
    pub account: i64,
    /// What it is for, in words; unique among the account's tokens.
    pub name: String,
    /// The most it may do, whatever the account may.
    pub role: Role,
    /// The one project it is for; none = all of the account's, and making new ones if the role is Owner.
    pub project: Option<ProjectId>,
    /// When it was made.
    pub created_at: Time,
    /// It ends here.
    pub expires_at: Time,
}

/// A link by which somebody makes an account, once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// SHA-256 of the link's secret, in hex.
    pub digest: String,
    /// The new account is a member of this project; none = the Center's set-up.
    pub project: Option<ProjectId>,
    /// With this role.
    pub role: Role,
    /// It ends here.
    pub expires_at: Time,
}

/// Whether these members may be the project's: somebody must be its owner.
pub fn check_members(members: &[Membership]) -> Result<(), Problem> {
    match members.iter().any(|m| m.role == Role::Owner) {
        true => Ok(()),
        false => Err(CenterError::LastOwner.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_accounts_name_and_password_are_checked() {
        let name = account_name(" Ada@Example.ORG ");
        assert_eq!(name, "ada@example.org");
        check_account(&name, "correct horse").expect("good");
        let error = |name: &str, password: &str| check_account(name, password).map_err(|p| p.error);
        assert_eq!(error("", "correct horse"), Err(CenterError::NameEmpty));
        assert_eq!(
            error("a b", "correct horse"),
            Err(CenterError::NameForbiddenCharacters)
        );
        assert!(error("(Center)", "correct horse").is_err());
        for bad in ["123456789", &"x".repeat(129), "ADA@example.org"] {
            assert_eq!(error(&name, bad), Err(CenterError::PasswordUnfit), "{bad}");
        }
    }

    #[test]
    fn a_link_gives_nobody_more_than_they_have() {
        let member = |project| Membership {
            account: 2,
            project: ProjectId(project),
            role: Role::Viewer,
        };
        let owns = |project: ProjectId| project.0 == 1;
        for (standing, account, projects, may) in [
            (Standing::Machine, FIRST_ACCOUNT, &[][..], true),
            (Standing::Administrator, FIRST_ACCOUNT, &[1], false),
            (Standing::Administrator, 2, &[7], true),
            (Standing::Member, 2, &[1], true),
            (Standing::Member, 2, &[1, 7], false),
            (Standing::Member, 2, &[], false),
            (Standing::Member, FIRST_ACCOUNT, &[1], false),
        ] {
            let all: Vec<_> = projects.iter().map(|p| member(*p)).collect();
            let done = standing.check_reset(account, &all, owns);
            assert_eq!(done.is_ok(), may, "{standing:?} {account} {projects:?}");
        }
        let mut link = PasswordReset {
            digest: String::new(),
            account: 2,
            projects: Some([ProjectId(1)].into()),
            expires_at: 50,
        };
        assert!(link.usable(&[member(1)], 49) && !link.usable(&[member(1)], 50));
        assert!(link.usable(&[], 49), "it left a project");
        assert!(
            !link.usable(&[member(1), member(7)], 49),
            "it came into one"
        );
        link.projects = None;
        assert!(link.usable(&[member(1), member(7)], 49));
    }

    #[test]
    fn a_project_keeps_an_owner() {
        let member = |account, role| Membership {
            account,
            project: ProjectId(1),
            role,
        };
        check_members(&[member(1, Role::Viewer), member(2, Role::Owner)]).expect("one owner");
        let none = check_members(&[member(1, Role::Operator)]);
        assert_eq!(none.map_err(|p| p.error), Err(CenterError::LastOwner));
    }
}
