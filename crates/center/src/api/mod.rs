//! REST over the application, with the OpenAPI description generated from the handlers.
//!
//! | address | holds |
//! |---|---|
//! | `/api/v1/projects`, `/products`, `/models`, `/devices`, `/filters` | `entities` |
//! | `/api/v1/packages` | `packages` |
//! | `/api/v1/plans` | `plans` |
//! | `/api/v1/projects/{id}/webhooks`, `/api/v1/webhooks` | `webhooks` |
//! | `/api/v1/projects/{id}/events` | `events` |
//! | `/metrics` | `metrics` |
//! | `/api/v1/account`, `/accounts`, `/api/v1/tokens`, `/api/v1/projects/{id}/members`, `/invitations` | `access` |
//! | `/api/v1/projects/{id}/audit`, `/api/v1/account/audit` | `audit` |
//! | `/api/v1/devices/export`, `/api/v1/plans/{id}/export/…` | `lists`, written by `export` |
//! | `/openapi.json`, and its reader `/api-docs/` | `description` |
//! | `/health` | here |
//! | everything else | the pages, [`crate::ui`] |
//!
//! Requests whose Host or Origin header names another host are refused: a page from elsewhere must not drive a
//! Center (DNS rebinding, cross-site requests). Who calls is found by `call` for every address.

mod access;
mod audit;
pub(crate) mod call;
mod description;
mod entities;
mod error;
mod events;
mod export;
mod extract;
mod lists;
mod metrics;
pub(crate) mod packages;
pub(crate) mod plans;
mod webhooks;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde::Serialize;
use sota_errors::CenterError;
use utoipa::ToSchema;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) use error::status;
pub use error::{ApiError, ErrorBody};

use crate::access::Access;
use crate::blobs::Blobs;
use crate::domain::{Problem, Time};
use crate::service::{Service, Trouble};
use crate::store::Scope;
use crate::ui;

/// What every handler has.
#[derive(Clone)]
pub struct Api {
    /// The application.
    pub service: Arc<Service>,
    /// Who calls.
    pub access: Access,
    /// The packages' files.
    pub blobs: Blobs,
    /// Host names and addresses under which the Center may be called, without port.
    pub hosts: Arc<[String]>,
    /// People reach it by TLS only: cookies say so.
    pub secure_cookies: bool,
    /// Where people reach the Center, for links.
    pub base_url: Arc<str>,
    /// Turns true when the Center stops.
    pub stop: tokio::sync::watch::Receiver<bool>,
    /// It listens without encryption where others can reach it.
    pub insecure: bool,
}

impl Api {
    pub(crate) fn now(&self) -> Time {
        crate::now()
    }
}

/// Result of a handler.
type Answer<T> = Result<T, ApiError>;

/// The handlers of REST, and their description.
fn rest() -> (Router<Api>, OpenApi) {
    let (router, description) = OpenApiRouter::with_openapi(description::head())
        .routes(routes!(health))
        .merge(entities::router())
        .merge(packages::router())
        .merge(plans::router())
        .merge(metrics::router())
        .merge(access::router())
        .merge(audit::router())
        .merge(webhooks::router())
        .merge(events::router())
        .merge(lists::router())
        .split_for_parts();
    (router, description::grouped(description))
}

/// The whole HTTP side.
pub fn router(api: Api) -> Router {
    let (router, description) = rest();
    router
        .merge(description::router(description))
        .merge(ui::router())
        .fallback(|uri: Uri| async move {
            ApiError(Problem::new(CenterError::NoSuchResource, uri.path()))
        })
        .method_not_allowed_fallback(|method: Method| async move {
            ApiError(Problem::new(CenterError::MethodNotAllowed, method.as_str()))
        })
        .layer(middleware::from_fn_with_state(api.clone(), call::identify))
        .layer(middleware::from_fn_with_state(api.clone(), guard))
        .with_state(api)
}

/// The Center's health.
#[derive(Debug, Serialize, ToSchema)]
struct Health {
    /// `ok`.
    status: &'static str,
    /// Version of the Center.
    version: &'static str,
    /// What an operator should know.
    warnings: Vec<ErrorBody>,
    /// What the device port met since the Center's start.
    device_port: Trouble,
}

/// Whether the Center works, and what an operator should know.
#[utoipa::path(get, path = "/health", security(()), responses((status = 200, body = Health)))]
async fn health(State(api): State<Api>) -> Answer<Json<Health>> {
    api.service
        .store()
        .any_account(&Scope::OWNER)
        .await
        .map_err(Problem::from)?;
    let warning = || ErrorBody::of(&CenterError::UnencryptedWarning.into());
    Ok(Json(Health {
        status: "ok",
        version: env!("CARGO_PKG_VERSION"),
        warnings: api.insecure.then(warning).into_iter().collect(),
        device_port: api.service.trouble(),
    }))
}

async fn guard(State(api): State<Api>, request: Request, next: Next) -> Response {
    match allowed(&api, request.headers(), request.uri()) {
        Ok(()) => next.run(request).await,
        Err(problem) => ApiError(problem).into_response(),
    }
}

fn allowed(api: &Api, headers: &HeaderMap, uri: &Uri) -> Result<(), Problem> {
    let text = |name| {
        headers
            .get(name)
            .map(|v| v.to_str().unwrap_or("(unreadable)"))
    };
    let known = |authority: &str| {
        let host = without_port(authority).to_ascii_lowercase();
        api.hosts.contains(&host)
    };
    let host = text(header::HOST)
        .or(uri.authority().map(|a| a.as_str()))
        .unwrap_or("(none)");
    if !known(host) {
        return Err(Problem::new(CenterError::ForeignHost, host));
    }
    if let Some(origin) = text(header::ORIGIN) {
        let authority = origin.split_once("://").map(|(_, rest)| rest);
        if !authority.is_some_and(known) {
            return Err(Problem::new(CenterError::ForeignOrigin, origin));
        }
    }
    Ok(())
}

pub(crate) fn without_port(authority: &str) -> &str {
    match authority.rfind(':') {
        // the colons inside [::1] are not a port's
        Some(colon) if !authority[colon..].contains(']') => &authority[..colon],
        _ => authority,
    }
}
