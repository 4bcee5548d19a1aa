//! Who calls: accounts, log-in, sessions, API tokens, invitations.
//!
//! | a request shows | it speaks for |
//! |---|---|
//! | nothing | a stranger: `/health`, `/openapi.json`, the log-in and sign-up pages |
//! | the session's cookie | an account, with its roles |
//! | `Authorization: Bearer <API token>` | the token's account, with at most the token's role, in its project or all |
//! | the same with the token of `--token-file` | the Center itself, as the first account |
//!
//! The store knows secrets by their SHA-256 only.

mod accounts;
mod limit;
mod manage;
mod password;
pub(crate) mod secret;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use sota_errors::CenterError;

pub use accounts::{AccountInfo, NewName, NewPassword, PasswordShown, ResetLink};
pub use manage::{Invited, Member, NewMember, NewToken, TokenInfo, TokenMade};

use crate::domain::{
    Account, Action, Actor, AuditEntry, AuditFilter, FIRST_ACCOUNT, INVITATION_LIFETIME,
    Invitation, Membership, Problem, Role, SESSION_LIFETIME, Session, Time, account_name,
    check_account,
};
use crate::service::audit;
use crate::store::{Change, Scope, Store, StoreError};
use limit::Limit;
use password::Passwords;

/// How often a commit that met another's change is tried again.
const ATTEMPTS: usize = 16;

/// Who calls, see the module's words.
#[derive(Clone)]
pub struct Access {
    store: Arc<dyn Store>,
    passwords: Passwords,
    limit: Arc<Mutex<Limit>>,
    /// Digest of the token of this run's `--token-file`.
    local: Option<Arc<str>>,
    open_sign_up: bool,
}

/// A log-in that was made.
pub struct LoggedIn {
    /// Value for the cookie.
    pub secret: String,
    /// Who.
    pub account: i64,
}

/// A caller that has been found.
#[derive(Clone, Debug)]
pub struct Caller {
    /// What it may do.
    pub scope: Scope,
    /// Its account's name; empty for the token of `--token-file`.
    pub name: String,
    /// By what it proved who it is.
    pub proof: Proof,
}

/// By what a caller proved who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The token of `--token-file`.
    Machine,
    /// A log-in; the digest of its session.
    Session(String),
    /// An API token; its name.
    Token(String),
}

impl Caller {
    /// Refuses an API token: what it makes or changes would outlive it, or put its owner out.
    pub fn need_person(&self) -> Result<(), Problem> {
        match self.proof {
            Proof::Token(_) => Err(CenterError::Forbidden.into()),
            Proof::Machine | Proof::Session(_) => Ok(()),
        }
    }
}

impl Access {
    /// Over this store. `local`: the token of this run's `--token-file`.
    pub(crate) fn new(store: Arc<dyn Store>, local: Option<&str>, open_sign_up: bool) -> Access {
        Access {
            store,
            passwords: Passwords::new(),
            limit: Arc::default(),
            local: local.map(|token| secret::digest(token).into()),
            open_sign_up,
        }
    }

    /// Over the store of this application, for a program that embeds the Center.
    pub fn over(service: &crate::service::Service) -> Access {
        Access::new(service.shared_store(), None, false)
    }

    /// The same, with sign-up open to anyone or closed.
    #[must_use]
    pub fn with_open_sign_up(self, open_sign_up: bool) -> Access {
        Access {
            open_sign_up,
            ..self
        }
    }

    /// Anyone may make an account, without an invitation.
    pub fn open_sign_up(&self) -> bool {
        self.open_sign_up
    }

    /// Nobody has an account yet.
    pub async fn nobody(&self) -> Result<bool, Problem> {
        Ok(!self.store.any_account(&Scope::OWNER).await?)
    }

    fn limit(&self) -> MutexGuard<'_, Limit> {
        self.limit.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The secret of a new set-up link if nobody has set the Center up yet. Links made before are void.
    pub(crate) async fn set_up(&self, now: Time) -> Result<Option<String>, Problem> {
        if self.store.any_account(&Scope::OWNER).await? {
            return Ok(None);
        }
        let secret = secret::make()?;
        let invitation = Invitation {
            digest: secret::digest(&secret),
            project: None,
            role: Role::Owner,
            expires_at: now + INVITATION_LIFETIME,
        };
        // with no account there is nobody who could have invited: all that is there are older set-up links
        let changes = vec![
            Change::DropExpired(Time::MAX),
            Change::Invitation(invitation),
        ];
        self.store.commit(&Scope::OWNER, changes).await?;
        Ok(Some(secret))
    }

    /// The invitation behind a link, if it can be used.
    pub async fn invitation(&self, secret: &str, now: Time) -> Result<Invitation, Problem> {
        let digest = secret::digest(secret);
        let found = self.store.invitation(&Scope::OWNER, &digest).await?;
        let usable = found.filter(|i| i.expires_at > now);
        usable.ok_or_else(|| CenterError::InvitationSpent.into())
    }

    /// Makes an account by an invitation, or without one where sign-up is open, and logs it in. The set-up link makes
    /// the first account.
    pub async fn sign_up(
        &self,
        invited_by: Option<&str>,
        name: &str,
        password: &str,
        now: Time,
    ) -> Result<LoggedIn, Problem> {
        let invitation = match invited_by {
            Some(secret) => Some(self.invitation(secret, now).await?),
            None if self.open_sign_up => None,
            None => return Err(CenterError::InvitationSpent.into()),
        };
        let name = account_name(name);
        check_account(&name, password)?;
        let owner = Scope::OWNER;
        let set_up = invitation.as_ref().is_some_and(|i| i.project.is_none());
        if !set_up && !self.store.any_account(&owner).await? {
            // else a stranger would become the first account
            return Err(CenterError::InvitationSpent.into());
        }
        let id = match set_up {
            true => FIRST_ACCOUNT,
            // ids begin with 1, which is the first account's
            false => self.store.next_id(&owner).await? + FIRST_ACCOUNT,
        };
        let account = Account {
            id,
            name,
            password: self.passwords.hash(password.to_owned()).await?,
            created_at: now,
            revision: 0,
        };
        let (session, logged_in) = session(id, now)?;
        let own = Scope::OWNER.acting_as(Actor::of(&account.name, None));
        let mut changes = vec![
            about(&own, id, &account.name, now, Action::AccountCreated, ""),
            Change::Account(account.clone()),
            Change::Session(session),
        ];
        if let Some(invitation) = invitation {
            let Invitation { project, role, .. } = invitation;
            let member = project.map(|project| Membership {
                account: id,
                project,
                role,
            });
            if let Some(member) = member {
                let object = format!("account/{}", account.name);
                let detail = format!("{} by an invitation", role.name());
                let (project, action) = (member.project, Action::MemberSet);
                changes.push(audit(&own, project, now, action, object, detail));
                changes.push(Change::Membership(member));
            }
            // last: of two that use one link at once the second finds it gone and nothing of its is done
            changes.push(Change::DeleteInvitation(invitation.digest));
        }
        match self.store.commit(&owner, changes).await {
            Err(StoreError::Conflict) => Err(CenterError::InvitationSpent.into()),
            other => Ok(other.map(|()| logged_in)?),
        }
    }

    /// Checks name and password and makes a session.
    pub async fn log_in(
        &self,
        name: &str,
        password: &str,
        address: IpAddr,
        now: Time,
    ) -> Result<LoggedIn, Problem> {
        let name = account_name(name);
        let fits = name.len() <= 400 && password.len() <= 512;
        if !fits {
            return Err(CenterError::LogInRefused.into());
        }
        if !self.limit().begin(&name, address, now) {
            tracing::warn!(account = name, %address, "{}", CenterError::LogInTooOften);
            return Err(CenterError::LogInTooOften.into());
        }
        let owner = Scope::OWNER;
        let account = self.store.account_by_name(&owner, &name).await?;
        let hash = account.as_ref().map(|a| a.password.clone());
        let right = self.passwords.check(password.to_owned(), hash).await?;
        let Some(mut account) = account.filter(|_| right) else {
            tracing::warn!(account = name, %address, "{}", CenterError::LogInRefused);
            return Err(CenterError::LogInRefused.into());
        };
        self.limit().succeeded(&name, address);
        let (session, logged_in) = session(account.id, now)?;
        let checked = account.password.clone();
        for _ in 0..ATTEMPTS {
            // with the account as it was checked: a new password that comes meanwhile ends this log-in too
            let actor = Scope::OWNER.acting_as(Actor::of(&account.name, None));
            let from = format!("from {address}");
            let changes = vec![
                about(
                    &actor,
                    account.id,
                    &account.name,
                    now,
                    Action::LoggedIn,
                    &from,
                ),
                Change::Account(account.clone()),
                Change::Session(session.clone()),
            ];
            match self.store.commit(&owner, changes).await {
                Err(StoreError::Conflict) => {}
                done => return Ok(done.map(|()| logged_in)?),
            }
            let again = self.store.account(&owner, account.id).await?;
            let again = again.filter(|a| a.password == checked);
            account = again.ok_or(CenterError::LogInRefused)?;
        }
        Err(CenterError::Conflict.into())
    }

    /// Ends the session of this cookie.
    pub async fn log_out(&self, cookie: &str, now: Time) -> Result<(), Problem> {
        let owner = Scope::OWNER;
        let digest = secret::digest(cookie);
        let Some(session) = self.store.session(&owner, &digest).await? else {
            return Ok(());
        };
        let mut changes = vec![Change::DeleteSession(digest)];
        if let Some(account) = self.store.account(&owner, session.account).await? {
            let actor = owner.clone().acting_as(Actor::of(&account.name, None));
            let (id, name) = (account.id, account.name);
            changes.push(about(&actor, id, &name, now, Action::LoggedOut, ""));
        }
        Ok(self.store.commit(&owner, changes).await?)
    }

    /// What was done to the caller's account; for who administers accounts: to all of them.
    pub async fn audit(
        &self,
        caller: &Caller,
        filter: &AuditFilter,
        limit: usize,
    ) -> Result<Vec<AuditEntry>, Problem> {
        let scope = match caller.administers() {
            true => &Scope::OWNER,
            false => &caller.scope,
        };
        let filter = AuditFilter {
            project: None,
            ..filter.clone()
        };
        Ok(self.store.audit(scope, &filter, limit).await?)
    }

    /// Who shows this cookie; `None` = nobody who is logged in.
    pub async fn by_session(&self, cookie: &str, now: Time) -> Result<Option<Caller>, Problem> {
        let owner = Scope::OWNER;
        let digest = secret::digest(cookie);
        let session = self.store.session(&owner, &digest).await?;
        let Some(session) = session.filter(|s| s.expires_at > now) else {
            return Ok(None);
        };
        let Some(account) = self.store.account(&owner, session.account).await? else {
            return Ok(None);
        };
        let roles = self.store.memberships(&owner, account.id).await?;
        let roles = roles.into_iter().map(|m| (m.project, m.role));
        Ok(Some(Caller {
            scope: Scope::member(account.id, roles, true).acting_as(Actor::of(&account.name, None)),
            name: account.name,
            proof: Proof::Session(digest),
        }))
    }

    /// For whom this API token speaks; `None` = it is not valid.
    pub async fn by_token(&self, token: &str, now: Time) -> Result<Option<Caller>, Problem> {
        let owner = Scope::OWNER;
        let digest = secret::digest(token);
        if self
            .local
            .as_deref()
            .is_some_and(|l| secret::same(l, &digest))
        {
            return Ok(Some(Caller {
                scope: owner.acting_as(Actor::machine()),
                name: String::new(),
                proof: Proof::Machine,
            }));
        }
        let found = self.store.token(&owner, &digest).await?;
        let Some(token) = found.filter(|t| t.expires_at > now) else {
            return Ok(None);
        };
        let Some(account) = self.store.account(&owner, token.account).await? else {
            return Ok(None);
        };
        let roles = self.store.memberships(&owner, account.id).await?;
        let roles = roles
            .into_iter()
            .filter(|m| token.project.is_none_or(|only| only == m.project))
            .map(|m| (m.project, m.role.min(token.role)));
        let new_projects = token.role == Role::Owner && token.project.is_none();
        Ok(Some(Caller {
            scope: Scope::member(account.id, roles, new_projects)
                .acting_as(Actor::of(&account.name, Some(token.name.clone()))),
            name: account.name,
            proof: Proof::Token(token.name),
        }))
    }

    /// Removes what has ended.
    pub(crate) async fn drop_expired(&self, now: Time) -> Result<(), Problem> {
        let change = Change::DropExpired(now);
        Ok(self.store.commit(&Scope::OWNER, vec![change]).await?)
    }
}

/// A line of the audit log about an account, in the name of the scope's caller.
fn about(
    scope: &Scope,
    account: i64,
    name: &str,
    at: Time,
    action: Action,
    detail: &str,
) -> Change {
    Change::Audit(AuditEntry {
        id: 0,
        project: None,
        account: Some(account),
        at,
        actor: scope.actor(),
        action,
        object: format!("account/{name}"),
        detail: detail.to_owned(),
    })
}

fn session(account: i64, now: Time) -> Result<(Session, LoggedIn), Problem> {
    let secret = secret::make()?;
    let session = Session {
        digest: secret::digest(&secret),
        account,
        created_at: now,
        expires_at: now + SESSION_LIFETIME,
    };
    Ok((session, LoggedIn { secret, account }))
}
