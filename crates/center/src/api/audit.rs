//! The audit log: who did what.

use axum::Json;
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::call::Call;
use super::export::{BATCH, Cell, Format, Record, export};
use super::extract::{Path, Query};
use super::{Answer, Api, ErrorBody};
use crate::domain::{Action, AuditEntry, AuditFilter, ProjectId, Role, Time};

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(of_project))
        .routes(routes!(export_of_project))
        .routes(routes!(of_account))
}

/// Which entries.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct AuditQuery {
    /// Only by the actor of this name.
    actor: Option<String>,
    /// Only this action.
    action: Option<Action>,
    /// Only to this object, as `plan/5`.
    object: Option<String>,
    /// Only from then on, in ms since 1970.
    from: Option<Time>,
    /// Only before then, in ms since 1970.
    to: Option<Time>,
    /// Only older ones than the entry with this id.
    before: Option<i64>,
    /// At most this many; default 100, greatest 1000.
    limit: Option<usize>,
}

impl AuditQuery {
    fn filter(self, project: Option<ProjectId>) -> (AuditFilter, usize) {
        let limit = self.limit.unwrap_or(100).min(1000);
        let filter = AuditFilter {
            project,
            actor: self.actor,
            action: self.action,
            object: self.object,
            from: self.from,
            to: self.to,
            before: self.before,
        };
        (filter, limit)
    }
}

/// Audit log of a project, the newest first.
#[utoipa::path(get, path = "/api/v1/projects/{id}/audit", params(("id" = i64, Path), AuditQuery),
    responses((status = 200, body = [AuditEntry]), (status = "4XX", body = ErrorBody)))]
async fn of_project(
    api: Call,
    Path(id): Path<ProjectId>,
    Query(query): Query<AuditQuery>,
) -> Answer<Json<Vec<AuditEntry>>> {
    api.service
        .need_project(api.scope(), id, Role::Viewer)
        .await?;
    let (filter, limit) = query.filter(Some(id));
    let store = api.service.store();
    Ok(Json(store.audit(api.scope(), &filter, limit).await?))
}

/// What was done to the caller's account: log-ins, passwords, tokens. For who set the Center up: to every account. The
/// newest first.
#[utoipa::path(get, path = "/api/v1/account/audit", params(AuditQuery),
    responses((status = 200, body = [AuditEntry]), (status = "4XX", body = ErrorBody)))]
async fn of_account(api: Call, Query(query): Query<AuditQuery>) -> Answer<Json<Vec<AuditEntry>>> {
    let (filter, limit) = query.filter(None);
    let entries = api.access.audit(&api.caller, &filter, limit).await?;
    Ok(Json(entries))
}

/// Which entries, and the file's format.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct AuditExportQuery {
    /// `csv` (default) or `json`.
    #[serde(default)]
    format: Format,
    /// Only by the actor of this name.
    actor: Option<String>,
    /// Only this action.
    action: Option<Action>,
    /// Only to this object, as `plan/5`.
    object: Option<String>,
    /// Only from then on, in ms since 1970.
    from: Option<Time>,
    /// Only before then, in ms since 1970.
    to: Option<Time>,
}

/// Audit log of a project as a file, the newest first.
#[utoipa::path(get, path = "/api/v1/projects/{id}/audit/export",
    params(("id" = i64, Path), AuditExportQuery),
    responses((status = 200, content_type = "text/csv", body = String), (status = "4XX", body = ErrorBody)))]
async fn export_of_project(
    api: Call,
    Path(id): Path<ProjectId>,
    Query(query): Query<AuditExportQuery>,
) -> Answer<Response> {
    api.service
        .need_project(api.scope(), id, Role::Viewer)
        .await?;
    let (service, scope) = (api.service.clone(), api.scope().clone());
    let filter = AuditFilter {
        project: Some(id),
        actor: query.actor,
        action: query.action,
        object: query.object,
        from: query.from,
        to: query.to,
        before: None,
    };
    let next = move |before: Option<i64>| {
        let (service, scope) = (service.clone(), scope.clone());
        let filter = AuditFilter {
            before,
            ..filter.clone()
        };
        async move {
            let entries = service.store().audit(&scope, &filter, BATCH).await?;
            let more = entries.len() == BATCH;
            let last = entries.last().map(|e| Some(e.id));
            Ok((entries, last.filter(|_| more)))
        }
    };
    Ok(export(query.format, &format!("audit-{id}"), None, next).await?)
}

impl Record for AuditEntry {
    const COLUMNS: &'static [&'static str] =
        &["id", "at", "actor", "token", "action", "object", "detail"];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::own(Some(self.id)),
            Cell::time(Some(self.at)),
            Cell::text(&self.actor.name),
            Cell::text(self.actor.token.as_deref().unwrap_or_default()),
            Cell::own(Some(self.action.name())),
            Cell::text(&self.object),
            Cell::text(&self.detail),
        ]
    }
}
