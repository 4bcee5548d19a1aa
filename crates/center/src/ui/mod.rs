//! The pages: rendered here, live by server-sent events, no build step.
//!
//! | file | pages |
//! |---|---|
//! | `sign` | log-in, sign-up, log-out, a new password by a link |
//! | `audit` | who did what |
//! | `account` | one's own account, all accounts |
//! | `projects` | the first page, a project's overview, its members, the account's tokens |
//! | `devices` | products, devices, one device and why it gets no plan |
//! | `packages` | models, packages, upload |
//! | `plans` | list, monitor, one device of a plan |
//! | `wizard`, `rollout` | a plan in four steps; the fields of its rollout |
//! | `webhooks` | who is told what, and what became of it |
//! | `chart` | a plan over time |
//! | `visit` | who looks, what every page shows |
//! | `form` | fields as typed, errors by their field |
//! | `live` | server-sent events |
//! | `show` | times, sizes, states as words |
//!
//! Templates are in `templates/`, the one stylesheet and the one script in `assets/`. Every page works without the
//! script; with it pages are live, uploads show how far they are, and times are the reader's.

mod account;
mod audit;
mod chart;
mod devices;
mod form;
mod groups;
mod live;
mod packages;
mod plans;
mod projects;
mod rollout;
mod show;
mod sign;
mod visit;
mod webhooks;
mod wizard;

use askama::Template;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{MethodRouter, on};
use sota_errors::CenterError;

use crate::api::call::FORM_LIMIT;
use crate::api::{Api, status};
use crate::domain::Problem;

/// No script, style or frame from elsewhere, none in the page itself.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

struct Route {
    method: Method,
    path: &'static str,
    handler: MethodRouter<Api>,
}

fn get<H: Handler<T, Api>, T: 'static>(path: &'static str, handler: H) -> Route {
    Route {
        method: Method::GET,
        path,
        handler: on(axum::routing::MethodFilter::GET, handler),
    }
}

fn post<H: Handler<T, Api>, T: 'static>(path: &'static str, handler: H) -> Route {
    Route {
        method: Method::POST,
        path,
        handler: on(axum::routing::MethodFilter::POST, handler),
    }
}

fn routes() -> Vec<Route> {
    let mut all = sign::routes();
    all.extend(account::routes());
    all.extend(audit::routes());
    all.extend(webhooks::routes());
    all.extend(projects::routes());
    all.extend(devices::routes());
    all.extend(packages::routes());
    all.extend(plans::routes());
    all.extend(wizard::routes());
    all
}

/// Method and path of every page, for a test that asks each.
pub fn pages() -> Vec<(Method, &'static str)> {
    routes().into_iter().map(|r| (r.method, r.path)).collect()
}

pub(crate) fn router() -> Router<Api> {
    let mut router = Router::new();
    for route in routes() {
        router = router.route(route.path, route.handler);
    }
    router
        // also for a program's token, which shows no mark; an upload has its own limit
        .layer(DefaultBodyLimit::max(FORM_LIMIT))
        .route(
            "/assets/style.css",
            asset("text/css", include_str!("../../assets/style.css")),
        )
        .route(
            "/assets/app.js",
            asset("text/javascript", include_str!("../../assets/app.js")),
        )
        .route(
            "/assets/icon.svg",
            asset("image/svg+xml", include_str!("../../assets/icon.svg")),
        )
        .layer(middleware::map_response(guarded))
}

fn asset(kind: &'static str, text: &'static str) -> MethodRouter<Api> {
    axum::routing::get(move || async move {
        let cache = "public, max-age=300";
        (
            [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, cache)],
            text,
        )
    })
}

async fn guarded(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let set = [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
    ];
    for (name, value) in set {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // what a page shows is for who is logged in now
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

/// A refusal as a page.
pub(crate) struct PageError(pub(crate) Problem);

impl<E: Into<Problem>> From<E> for PageError {
    fn from(error: E) -> PageError {
        PageError(error.into())
    }
}

/// Result of a page's handler.
type Page = Result<Response, PageError>;

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    fault: form::Fault,
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        if self.0.error == CenterError::NotLoggedIn {
            return Redirect::to("/log-in").into_response();
        }
        let status = status(self.0.error);
        if status.is_server_error() {
            tracing::error!("{}", self.0);
        }
        let fault = form::Fault::of(&self.0);
        let page = ErrorPage { fault }.render().unwrap_or_default();
        let response = (status, Html(page)).into_response();
        let mut response = response;
        let policy = HeaderValue::from_static(CONTENT_SECURITY_POLICY);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        response
    }
}

fn show<T: Template>(template: &T) -> Page {
    show_as(StatusCode::OK, template)
}

fn show_as<T: Template>(status: StatusCode, template: &T) -> Page {
    let html = render(template)?;
    Ok((status, Html(html)).into_response())
}

fn render<T: Template>(template: &T) -> Result<String, Problem> {
    template
        .render()
        .map_err(|e| Problem::new(CenterError::Internal, format!("template: {e}")))
}

fn to(path: impl AsRef<str>) -> Page {
    Ok(Redirect::to(path.as_ref()).into_response())
}
