//! Who looks at a page, and what every page shows around its content.

use std::ops::Deref;

use axum::extract::FromRequestParts;
use axum::http::Method;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Redirect, Response};
use axum_extra::extract::CookieJar;
use sota_errors::CenterError;

use super::PageError;
use crate::access::secret;
use crate::api::Api;
use crate::api::call::{Call, SESSION};
use crate::domain::{Problem, Project, ProjectId, Role};
use crate::store::Scope;

/// A page asked for by somebody who is logged in; anybody else is led to the log-in and back.
pub(super) struct Visit {
    pub(super) call: Call,
    mark: String,
}

impl Deref for Visit {
    type Target = Call;

    fn deref(&self) -> &Call {
        &self.call
    }
}

impl FromRequestParts<Api> for Visit {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Visit, Response> {
        let Ok(call) = Call::from_request_parts(parts, api).await else {
            let path = parts.uri.path();
            let back = parts.method == Method::GET && path != "/" && !path.ends_with("/live");
            return Err(match back {
                true => Redirect::to(&format!("/log-in?next={path}")),
                false => Redirect::to("/log-in"),
            }
            .into_response());
        };
        let jar = CookieJar::from_headers(&parts.headers);
        let mark = jar.get(SESSION).map(|c| secret::form_mark(c.value()));
        let mark = mark.unwrap_or_default();
        Ok(Visit { call, mark })
    }
}

/// What every page shows.
pub(super) struct Shell {
    pub(super) title: String,
    /// To be in every form.
    pub(super) mark: String,
    /// Name of who looks.
    pub(super) account: String,
    /// The project of the page.
    pub(super) project: Option<Project>,
    /// Projects to change to.
    pub(super) projects: Vec<Project>,
    /// Part of the project that the page belongs to.
    pub(super) section: &'static str,
    pub(super) role: Option<Role>,
    pub(super) insecure: bool,
    /// Who looks may see and remove accounts.
    pub(super) administers: bool,
}

impl Shell {
    /// Whether who looks may change what the page shows.
    pub(super) fn operates(&self) -> bool {
        self.role >= Some(Role::Operator)
    }

    /// Whether who looks owns the project.
    pub(super) fn owns(&self) -> bool {
        self.role >= Some(Role::Owner)
    }

    /// Path of the project's pages.
    pub(super) fn base(&self) -> String {
        let id = self.project.as_ref().map_or(0, |p| p.id.0);
        format!("/projects/{id}")
    }
}

impl Visit {
    /// A page outside of projects.
    pub(super) async fn shell(&self, title: &str) -> Result<Shell, PageError> {
        let projects = self.service.store().projects(&self.caller.scope).await?;
        Ok(Shell {
            title: title.to_owned(),
            mark: self.mark.clone(),
            account: self.caller.name.clone(),
            project: None,
            projects,
            section: "",
            role: None,
            insecure: self.insecure,
            administers: self.caller.administers(),
        })
    }

    /// A page of a project, and the caller's scope in it.
    pub(super) async fn within(
        &self,
        id: i64,
        section: &'static str,
        title: &str,
    ) -> Result<(Scope, Shell), PageError> {
        let scope = self.inside(id)?;
        let mut shell = self.shell(title).await?;
        shell.project = shell.projects.iter().find(|p| p.id.0 == id).cloned();
        shell.section = section;
        shell.role = scope.role(ProjectId(id));
        Ok((scope, shell))
    }

    /// The caller's scope in a project.
    pub(super) fn inside(&self, id: i64) -> Result<Scope, PageError> {
        let missing = || Problem::new(CenterError::NoSuchProject, id.to_string());
        let scope = self.caller.scope.within(ProjectId(id));
        Ok(scope.ok_or_else(missing)?)
    }

    /// The same for a page on which something is changed.
    pub(super) fn operating(&self, id: i64) -> Result<Scope, PageError> {
        let scope = self.inside(id)?;
        scope.need(ProjectId(id), Role::Operator)?;
        Ok(scope)
    }
}
