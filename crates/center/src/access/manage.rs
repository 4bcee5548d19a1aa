//! What members do about access: tokens of their own, members and invitations of a project.

use serde::{Deserialize, Serialize};
use sota_errors::CenterError;
use utoipa::ToSchema;

use super::{Access, Caller, about, secret};
use crate::domain::{
    Account, Action, ApiToken, INVITATION_LIFETIME, Invitation, Membership, Problem, ProjectId,
    Role, TOKEN_DAYS_LIMIT, Time, account_name, check_members, check_name,
};
use crate::service::audit;
use crate::store::{Change, Scope};

/// An API token to be made.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// What it is for, in words; unique among the account's tokens.
    pub name: String,
    /// The most it may do.
    pub role: Role,
    /// The one project it is for; without it: all of the account's.
    #[schema(value_type = Option<i64>)]
    pub project: Option<ProjectId>,
    /// It ends after so many days, 1..=365.
    pub days: u16,
}

/// An API token, without its secret.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TokenInfo {
    /// Its id.
    pub id: i64,
    /// What it is for.
    pub name: String,
    /// The most it may do.
    pub role: Role,
    /// The one project it is for; none = all of the account's.
    #[schema(value_type = Option<i64>)]
    pub project: Option<ProjectId>,
    /// When it was made, in ms since 1970.
    pub created_at: Time,
    /// It ends here, in ms since 1970.
    pub expires_at: Time,
}

/// An API token that was just made.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TokenMade {
    /// What it is.
    #[serde(flatten)]
    pub info: TokenInfo,
    /// The token itself: told once, kept nowhere in the Center.
    pub token: String,
}

/// A member of a project.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Member {
    /// Account.
    pub account: i64,
    /// Its name; empty: nobody has set the Center up yet.
    pub name: String,
    /// What it may do.
    pub role: Role,
}

/// A member's role, or an invitation's.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMember {
    /// What it may do.
    pub role: Role,
}

/// An invitation that was just made.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Invited {
    /// Path of the page where the account is made, once; told once.
    pub path: String,
    /// It ends here, in ms since 1970.
    pub expires_at: Time,
}

impl TokenInfo {
    fn of(token: ApiToken) -> TokenInfo {
        TokenInfo {
            id: token.id,
            name: token.name,
            role: token.role,
            project: token.project,
            created_at: token.created_at,
            expires_at: token.expires_at,
        }
    }
}

impl Access {
    /// API tokens of the caller's account.
    pub async fn tokens(&self, scope: &Scope) -> Result<Vec<TokenInfo>, Problem> {
        let tokens = self.store.tokens(scope, scope.account).await?;
        Ok(tokens.into_iter().map(TokenInfo::of).collect())
    }

    /// Makes an API token of the caller's account. Nobody gives it more than they have themselves, so that a token
    /// cannot make a stronger one.
    pub async fn create_token(
        &self,
        caller: &Caller,
        new: NewToken,
        now: Time,
    ) -> Result<TokenMade, Problem> {
        // a token that was stolen would outlive its end
        caller.need_person()?;
        let scope = &caller.scope;
        check_name("name", &new.name)?;
        if !(1..=TOKEN_DAYS_LIMIT).contains(&new.days) {
            return Err(Problem::of(CenterError::TokenLifetime, "days", ""));
        }
        match new.project {
            Some(project) => {
                let missing = || Problem::of(CenterError::NoSuchProject, "project", "");
                let held = scope.role(project).ok_or_else(missing)?;
                if held < new.role {
                    return Err(Problem::of(CenterError::RoleNotHeld, "role", ""));
                }
            }
            // of all projects, those of tomorrow too: only who is not held to some by a token
            None if !scope.makes_projects() => {
                return Err(Problem::of(CenterError::RoleNotHeld, "project", ""));
            }
            None => {}
        }
        let token = secret::make_token()?;
        let stored = ApiToken {
            id: self.store.next_id(&Scope::OWNER).await?,
            digest: secret::digest(&token),
            account: scope.account,
            name: new.name,
            role: new.role,
            project: new.project,
            created_at: now,
            expires_at: now + Time::from(new.days) * 86_400_000,
        };
        let detail = format!("{}, {}", stored.name, stored.role.name());
        let (account, action) = (scope.account, Action::TokenCreated);
        let changes = vec![
            Change::Token(stored.clone()),
            about(scope, account, &caller.name, now, action, &detail),
        ];
        self.store.commit(scope, changes).await?;
        let info = TokenInfo::of(stored);
        Ok(TokenMade { info, token })
    }

    /// Ends an API token of the caller's account.
    pub async fn delete_token(&self, caller: &Caller, id: i64, now: Time) -> Result<(), Problem> {
        let scope = &caller.scope;
        let tokens = self.store.tokens(scope, scope.account).await?;
        let missing = || Problem::new(CenterError::NoSuchToken, id.to_string());
        let token = tokens
            .into_iter()
            .find(|t| t.id == id)
            .ok_or_else(missing)?;
        let (account, action) = (scope.account, Action::TokenDeleted);
        let changes = vec![
            Change::DeleteToken(id),
            about(scope, account, &caller.name, now, action, &token.name),
        ];
        Ok(self.store.commit(scope, changes).await?)
    }

    /// Members of a project.
    pub async fn members(&self, scope: &Scope, project: ProjectId) -> Result<Vec<Member>, Problem> {
        let missing = || Problem::new(CenterError::NoSuchProject, project.to_string());
        scope.role(project).ok_or_else(missing)?;
        let members = self.store.members(scope, project).await?;
        let member = |(m, name): (Membership, String)| Member {
            account: m.account,
            name,
            role: m.role,
        };
        Ok(members.into_iter().map(member).collect())
    }

    /// Makes a one-time link for a new account that becomes a member.
    pub async fn invite(
        &self,
        scope: &Scope,
        project: ProjectId,
        role: Role,
        now: Time,
    ) -> Result<Invited, Problem> {
        self.need_owner(scope, project)?;
        let secret = secret::make()?;
        let expires_at = now + INVITATION_LIFETIME;
        let invitation = Invitation {
            digest: secret::digest(&secret),
            project: Some(project),
            role,
            expires_at,
        };
        let object = format!("project/{project}");
        let action = Action::InvitationCreated;
        let changes = vec![
            Change::Invitation(invitation),
            audit(scope, project, now, action, object, role.name()),
        ];
        self.store.commit(scope, changes).await?;
        Ok(Invited {
            path: format!("/sign-up?invitation={secret}"),
            expires_at,
        })
    }

    /// Gives an account that exists a role in the project, or another one.
    pub async fn set_member(
        &self,
        scope: &Scope,
        project: ProjectId,
        name: &str,
        role: Role,
        now: Time,
    ) -> Result<(), Problem> {
        self.need_owner(scope, project)?;
        let found = self.named(name).await?;
        let account = found.id;
        let object = format!("account/{}", found.name);
        let done = audit(scope, project, now, Action::MemberSet, object, role.name());
        let member = Membership {
            account,
            project,
            role,
        };
        let changes = vec![Change::Membership(member), done];
        self.change_members(scope, project, changes, |members| {
            members.retain(|m| m.account != account);
            members.push(member);
        })
        .await
    }

    /// Takes a member out of the project.
    pub async fn remove_member(
        &self,
        scope: &Scope,
        project: ProjectId,
        name: &str,
        now: Time,
    ) -> Result<(), Problem> {
        self.need_owner(scope, project)?;
        let found = self.named(name).await?;
        let account = found.id;
        let members = self.store.members(scope, project).await?;
        if !members.iter().any(|(m, _)| m.account == account) {
            return Err(Problem::of(CenterError::NoSuchAccount, "name", name));
        }
        let object = format!("account/{}", found.name);
        let changes = vec![
            Change::DeleteMembership(account, project),
            audit(scope, project, now, Action::MemberRemoved, object, ""),
        ];
        self.change_members(scope, project, changes, |members| {
            members.retain(|m| m.account != account);
        })
        .await
    }

    fn need_owner(&self, scope: &Scope, project: ProjectId) -> Result<(), Problem> {
        match scope.role(project) {
            None => Err(Problem::new(
                CenterError::NoSuchProject,
                project.to_string(),
            )),
            Some(Role::Owner) => Ok(()),
            Some(_) => Err(CenterError::Forbidden.into()),
        }
    }

    /// The account with this name, as typed.
    pub(super) async fn named(&self, name: &str) -> Result<Account, Problem> {
        let name = account_name(name);
        let account = self.store.account_by_name(&Scope::OWNER, &name).await?;
        let missing = || Problem::of(CenterError::NoSuchAccount, "name", &name);
        account.ok_or_else(missing)
    }

    /// The project is written with its members, so that of two owners who put each other out one meets a conflict.
    async fn change_members(
        &self,
        scope: &Scope,
        project: ProjectId,
        changes: Vec<Change>,
        apply: impl FnOnce(&mut Vec<Membership>),
    ) -> Result<(), Problem> {
        let stored = self.store.project(scope, project).await?;
        let stored = stored.ok_or(CenterError::NoSuchProject)?;
        let members = self.store.members(scope, project).await?;
        let mut members: Vec<Membership> = members.into_iter().map(|(m, _)| m).collect();
        apply(&mut members);
        check_members(&members)?;
        let mut all = vec![Change::Project(stored)];
        all.extend(changes);
        Ok(self.store.commit(scope, all).await?)
    }
}
