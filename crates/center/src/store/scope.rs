//! Whose data a call may see and change.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::StoreError;
use crate::domain::{Actor, FIRST_ACCOUNT, Project, ProjectId, Role};

/// Who calls and what it may do where. Every store call takes one; what is outside does not exist for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// For whom the call is made; what it makes belongs to this account.
    pub account: i64,
    /// `None` = the Center itself.
    roles: Option<Arc<BTreeMap<ProjectId, Role>>>,
    new_projects: bool,
    /// `None` = the Center by itself.
    actor: Option<Arc<Actor>>,
}

impl Scope {
    /// The Center itself: devices, time, and a program on the same machine. Everything, in the first account's name.
    pub const OWNER: Scope = Scope {
        account: FIRST_ACCOUNT,
        roles: None,
        new_projects: true,
        actor: None,
    };

    /// An account with these roles. `new_projects`: it may make projects of its own.
    pub fn member(
        account: i64,
        roles: impl IntoIterator<Item = (ProjectId, Role)>,
        new_projects: bool,
    ) -> Scope {
        Scope {
            account,
            roles: Some(Arc::new(roles.into_iter().collect())),
            new_projects,
            actor: None,
        }
    }

    /// The same, with the name under which the audit log knows the caller.
    #[must_use]
    pub fn acting_as(self, actor: Actor) -> Scope {
        Scope {
            actor: Some(Arc::new(actor)),
            ..self
        }
    }

    /// Who calls, for the audit log.
    pub fn actor(&self) -> Actor {
        self.actor
            .as_deref()
            .map_or_else(Actor::center, Actor::clone)
    }

    /// The same caller in this project only; `None` if it may not see it.
    pub fn within(&self, project: ProjectId) -> Option<Scope> {
        let role = self.role(project)?;
        Some(Scope {
            actor: self.actor.clone(),
            ..Scope::member(self.account, [(project, role)], false)
        })
    }

    /// What the caller may do in the project; `None` = it does not exist for it.
    pub fn role(&self, project: ProjectId) -> Option<Role> {
        match &self.roles {
            None => Some(Role::Owner),
            Some(roles) => roles.get(&project).copied(),
        }
    }

    /// The caller is the Center itself.
    pub fn everything(&self) -> bool {
        self.roles.is_none()
    }

    /// The caller has at least this role in some project, or could make one.
    pub fn somewhere(&self, least: Role) -> bool {
        let held = |roles: &BTreeMap<_, Role>| roles.values().any(|role| *role >= least);
        self.new_projects || self.roles.as_deref().is_none_or(held)
    }

    /// The caller may make projects of its own.
    pub fn makes_projects(&self) -> bool {
        self.new_projects
    }

    /// Refuses a caller that has not at least this role in the project.
    pub fn need(&self, project: ProjectId, least: Role) -> Result<(), StoreError> {
        match self.role(project).is_some_and(|role| role >= least) {
            true => Ok(()),
            false => Err(StoreError::Forbidden),
        }
    }

    /// Whether the caller may store this project: it owns it, or it makes it now.
    pub(super) fn need_project(&self, project: &Project) -> Result<(), StoreError> {
        let makes = project.revision == 0 && self.new_projects && project.account == self.account;
        if makes {
            return Ok(());
        }
        self.need(project.id, Role::Owner)
    }

    /// Refuses everyone but the Center itself.
    pub(super) fn need_everything(&self) -> Result<(), StoreError> {
        match self.everything() {
            true => Ok(()),
            false => Err(StoreError::Forbidden),
        }
    }

    /// Refuses everyone but the account itself and the Center.
    pub(super) fn need_own(&self, account: i64) -> Result<(), StoreError> {
        match self.everything() || account == self.account {
            true => Ok(()),
            false => Err(StoreError::Forbidden),
        }
    }

    /// The visible projects as a JSON array for SQL; `None` = all.
    pub(super) fn project_list(&self) -> Option<String> {
        self.roles.as_deref().map(|roles| {
            let ids: Vec<String> = roles.keys().map(ToString::to_string).collect();
            format!("[{}]", ids.join(","))
        })
    }
}
