//! Accounts: one's own name and password, removal, links for a new password.
//!
//! | what | who | what ends |
//! |---|---|---|
//! | new name | the account itself, with its password | nothing |
//! | new password | the account itself, with its old one | its other sessions |
//! | link for a new password | an owner of every project of the account; who set the Center up; the machine's user | the account's older link |
//! | new password by the link | who has the link | every session |
//! | removal | the account itself, with its password; who set the Center up; the machine's user | everything of it; not the last owner of a project |
//!
//! API tokens outlive a new password: each has its own end. None of this can be done by an API token.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use sota_errors::CenterError;
use utoipa::ToSchema;

use super::{ATTEMPTS, Access, Caller, LoggedIn, Proof, about, secret, session};
use crate::domain::{
    Account, Action, Actor, FIRST_ACCOUNT, PasswordReset, Problem, RESET_LIFETIME, Role, Standing,
    Time, account_name, check_account_name, check_members, check_password, check_removable,
};
use crate::service::audit;
use crate::store::{Change, Scope, StoreError};

/// An account as others see it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AccountInfo {
    /// Its id.
    pub id: i64,
    /// Name to log in with.
    pub name: String,
    /// When it was made, in ms since 1970.
    pub created_at: Time,
    /// It set the Center up.
    pub administrator: bool,
}

/// A new name for one's own account.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewName {
    /// The new name.
    pub name: String,
    /// The present password.
    pub password: String,
}

/// A new password for one's own account.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPassword {
    /// The present password.
    pub old: String,
    /// The new one, 10 to 128 characters.
    pub new: String,
}

/// The present password, for what cannot be taken back.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordShown {
    /// The present password.
    pub password: String,
}

/// A link for a new password that was just made.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ResetLink {
    /// Path of the page where the password is typed, once; told once.
    pub path: String,
    /// It ends here, in ms since 1970.
    pub expires_at: Time,
}

impl AccountInfo {
    fn of(account: Account) -> AccountInfo {
        AccountInfo {
            administrator: account.id == FIRST_ACCOUNT,
            id: account.id,
            name: account.name,
            created_at: account.created_at,
        }
    }
}

impl Caller {
    /// What the caller is to the accounts of others.
    fn standing(&self) -> Standing {
        match self.proof {
            Proof::Machine => Standing::Machine,
            Proof::Session(_) if self.scope.account == FIRST_ACCOUNT => Standing::Administrator,
            Proof::Session(_) | Proof::Token(_) => Standing::Member,
        }
    }

    /// It may see and remove accounts.
    pub fn administers(&self) -> bool {
        self.standing().check_administers().is_ok()
    }
}

impl Access {
    /// The caller's own account.
    pub async fn own(&self, caller: &Caller) -> Result<AccountInfo, Problem> {
        Ok(AccountInfo::of(self.own_account(caller).await?))
    }

    async fn own_account(&self, caller: &Caller) -> Result<Account, Problem> {
        let found = self.store.account(&Scope::OWNER, caller.scope.account);
        Ok(found.await?.ok_or(CenterError::NoSuchAccount)?)
    }

    /// Every account of the Center, by id.
    pub async fn accounts(&self, caller: &Caller) -> Result<Vec<AccountInfo>, Problem> {
        caller.standing().check_administers()?;
        let accounts = self.store.accounts(&Scope::OWNER).await?;
        Ok(accounts.into_iter().map(AccountInfo::of).collect())
    }

    /// The caller's account, if this is its password. Counted like a log-in: who found an open browser must not
    /// guess for ever.
    async fn prove(
        &self,
        caller: &Caller,
        field: &str,
        password: &str,
        address: IpAddr,
        now: Time,
    ) -> Result<Account, Problem> {
        caller.need_person()?;
        let account = self.own_account(caller).await?;
        let wrong = || Problem::of(CenterError::PasswordWrong, field, "");
        if password.len() > 512 {
            return Err(wrong());
        }
        if !self.limit().begin(&account.name, address, now) {
            return Err(CenterError::LogInTooOften.into());
        }
        let hash = Some(account.password.clone());
        if !self.passwords.check(password.to_owned(), hash).await? {
            return Err(wrong());
        }
        self.limit().succeeded(&account.name, address);
        Ok(account)
    }

    /// Renames the caller's account.
    pub async fn rename(
        &self,
        caller: &Caller,
        new: NewName,
        address: IpAddr,
        now: Time,
    ) -> Result<AccountInfo, Problem> {
        let proved = self.prove(caller, "password", &new.password, address, now);
        let mut account = proved.await?;
        let name = account_name(&new.name);
        check_account_name(&name)?;
        check_password("name", &name, &new.password)?;
        let before = core::mem::replace(&mut account.name, name);
        let (id, from) = (account.id, format!("was {before}"));
        let action = Action::AccountRenamed;
        let changes = vec![
            Change::Account(account.clone()),
            about(&caller.scope, id, &account.name, now, action, &from),
        ];
        self.store.commit(&Scope::OWNER, changes).await?;
        Ok(AccountInfo::of(account))
    }

    /// Gives the caller's account a new password; its other sessions end.
    pub async fn change_password(
        &self,
        caller: &Caller,
        new: NewPassword,
        address: IpAddr,
        now: Time,
    ) -> Result<(), Problem> {
        let mut account = self.prove(caller, "old", &new.old, address, now).await?;
        check_password("new", &account.name, &new.new)?;
        account.password = self.passwords.hash(new.new).await?;
        let kept = match &caller.proof {
            Proof::Session(digest) => Some(digest.clone()),
            Proof::Machine | Proof::Token(_) => None,
        };
        let sessions = Change::DeleteSessions(account.id, kept);
        let (scope, id, name) = (&caller.scope, account.id, account.name.clone());
        let changes = vec![
            Change::Account(account),
            sessions,
            about(scope, id, &name, now, Action::PasswordChanged, ""),
        ];
        Ok(self.store.commit(&Scope::OWNER, changes).await?)
    }

    /// Removes the caller's account.
    pub async fn remove_own(
        &self,
        caller: &Caller,
        shown: &PasswordShown,
        address: IpAddr,
        now: Time,
    ) -> Result<(), Problem> {
        let proved = self.prove(caller, "password", &shown.password, address, now);
        let account = proved.await?;
        self.remove_account(&caller.scope, &account, now).await
    }

    /// Removes another account.
    pub async fn remove(&self, caller: &Caller, name: &str, now: Time) -> Result<(), Problem> {
        caller.standing().check_administers()?;
        let account = self.named(name).await?;
        self.remove_account(&caller.scope, &account, now).await
    }

    /// Its projects are written with it, so that of two owners who are removed at once one meets a conflict.
    async fn remove_account(
        &self,
        by: &Scope,
        account: &Account,
        now: Time,
    ) -> Result<(), Problem> {
        check_removable(account.id)?;
        let owner = Scope::OWNER;
        for _ in 0..ATTEMPTS {
            let Some(account) = self.store.account(&owner, account.id).await? else {
                return Ok(());
            };
            let (id, name) = (account.id, &account.name);
            let mut changes = vec![about(by, id, name, now, Action::AccountRemoved, "")];
            for held in self.store.memberships(&owner, account.id).await? {
                let (object, detail) = (format!("account/{name}"), "the account was removed");
                let (project, action) = (held.project, Action::MemberRemoved);
                changes.push(audit(by, project, now, action, object, detail));
                let project = self.store.project(&owner, held.project).await?;
                let Some(project) = project.filter(|_| held.role == Role::Owner) else {
                    continue;
                };
                let members = self.store.members(&owner, project.id).await?;
                let others = members.into_iter().map(|(m, _)| m);
                let others: Vec<_> = others.filter(|m| m.account != account.id).collect();
                check_members(&others)
                    .map_err(|_| Problem::new(CenterError::LastOwner, &project.name))?;
                changes.push(Change::Project(project));
            }
            changes.push(Change::DeleteAccount(account.id, account.revision));
            match self.store.commit(&owner, changes).await {
                Err(StoreError::Conflict) => {}
                done => return Ok(done?),
            }
        }
        Err(CenterError::Conflict.into())
    }

    /// Makes a one-time link by which an account gets a new password.
    pub async fn reset_link(
        &self,
        caller: &Caller,
        name: &str,
        now: Time,
    ) -> Result<ResetLink, Problem> {
        caller.need_person()?;
        let account = self.named(name).await?;
        let memberships = self.store.memberships(&Scope::OWNER, account.id).await?;
        let owns = |project| caller.scope.role(project) == Some(Role::Owner);
        caller
            .standing()
            .check_reset(account.id, &memberships, owns)?;
        let made = secret::make()?;
        let expires_at = now + RESET_LIFETIME;
        let projects = memberships.iter().map(|m| m.project);
        let reset = PasswordReset {
            digest: secret::digest(&made),
            account: account.id,
            projects: (caller.standing() == Standing::Member).then(|| projects.collect()),
            expires_at,
        };
        let (scope, id, name) = (&caller.scope, account.id, &account.name);
        let changes = vec![
            Change::PasswordReset(reset),
            about(scope, id, name, now, Action::PasswordResetCreated, ""),
        ];
        self.store.commit(&Scope::OWNER, changes).await?;
        Ok(ResetLink {
            path: format!("/reset?link={made}"),
            expires_at,
        })
    }

    /// Whose password a link is for.
    pub async fn reset_of(&self, link: &str, now: Time) -> Result<Account, Problem> {
        let owner = Scope::OWNER;
        let digest = secret::digest(link);
        let found = self.store.password_reset(&owner, &digest);
        let reset = found.await?.ok_or(CenterError::InvitationSpent)?;
        let memberships = self.store.memberships(&owner, reset.account).await?;
        if !reset.usable(&memberships, now) {
            return Err(CenterError::InvitationSpent.into());
        }
        let account = self.store.account(&owner, reset.account).await?;
        Ok(account.ok_or(CenterError::InvitationSpent)?)
    }

    /// Gives the link's account a new password and logs it in; its sessions end.
    pub async fn reset(&self, link: &str, new: &str, now: Time) -> Result<LoggedIn, Problem> {
        let mut account = self.reset_of(link, now).await?;
        check_password("password", &account.name, new)?;
        account.password = self.passwords.hash(new.to_owned()).await?;
        let (session, logged_in) = session(account.id, now)?;
        let actor = Scope::OWNER.acting_as(Actor::of(&account.name, None));
        let (id, name) = (account.id, &account.name);
        let changes = vec![
            about(&actor, id, name, now, Action::PasswordReset, "by a link"),
            Change::DeleteSessions(account.id, None),
            Change::Account(account),
            Change::Session(session),
            // last, as with invitations
            Change::DeletePasswordReset(secret::digest(link)),
        ];
        match self.store.commit(&Scope::OWNER, changes).await {
            Err(StoreError::Conflict) => Err(CenterError::InvitationSpent.into()),
            other => Ok(other.map(|()| logged_in)?),
        }
    }
}
