//! Who calls: found once for each request, before any handler. A handler that touches data takes a [`Call`], and
//! without a caller there is none: a route that forgets to ask cannot reach the store.

use std::ops::Deref;

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum_extra::extract::CookieJar;
use sota_errors::CenterError;

use super::{Api, ApiError};
use crate::access::{Caller, secret};
use crate::domain::Problem;
use crate::store::Scope;
use crate::ui::PageError;

/// Name of the session's cookie.
pub(crate) const SESSION: &str = "sota_session";
/// Name of the cookie of who is not logged in: it binds the log-in form to the browser.
pub(crate) const VISITOR: &str = "sota_visitor";
/// Header in which a page's script gives the mark of its forms.
const MARK_HEADER: &str = "x-form-mark";
/// Field of the same name in forms, and parameter of the address for forms with files.
const MARK_FIELD: &str = "mark";
/// Greatest form that is not an upload: two lists of 10,000 device keys.
pub(crate) const FORM_LIMIT: usize = 4 * 1024 * 1024;

/// A request of a caller that was found.
pub(crate) struct Call {
    api: Api,
    /// Who calls.
    pub(crate) caller: Caller,
}

impl Call {
    /// What the caller may do.
    pub(super) fn scope(&self) -> &Scope {
        &self.caller.scope
    }
}

impl Call {
    /// What every handler has.
    pub(crate) fn api(&self) -> &Api {
        &self.api
    }
}

impl Deref for Call {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.api
    }
}

/// What [`identify`] found.
#[derive(Clone)]
pub(crate) struct Found(pub(crate) Option<Caller>);

impl FromRequestParts<Api> for Call {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Call, ApiError> {
        let found = parts.extensions.get::<Found>().cloned();
        let caller = found.and_then(|f| f.0).ok_or(CenterError::NotLoggedIn)?;
        Ok(Call {
            api: api.clone(),
            caller,
        })
    }
}

/// Finds the caller. A token that is not valid is refused on every route, rather than taken for a stranger.
pub(super) async fn identify(State(api): State<Api>, request: Request, next: Next) -> Response {
    // who shows a token is a program, whatever the address
    let program = request.headers().contains_key(header::AUTHORIZATION);
    let page = !program && !request.uri().path().starts_with("/api/");
    match found(&api, request).await {
        Ok(request) => next.run(request).await,
        Err(problem) if page => PageError(problem).into_response(),
        Err(problem) => ApiError(problem).into_response(),
    }
}

async fn found(api: &Api, mut request: Request) -> Result<Request, Problem> {
    let now = api.now();
    let caller = if let Some(token) = bearer(request.headers())? {
        let caller = api.access.by_token(&token, now).await?;
        Some(caller.ok_or(CenterError::NotLoggedIn)?)
    } else {
        let jar = CookieJar::from_headers(request.headers());
        let cookie = |name| jar.get(name).map(|c| c.value().to_owned());
        let session = cookie(SESSION);
        let caller = match &session {
            Some(session) => api.access.by_session(session, now).await?,
            None => None,
        };
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        // a page's form of who is not logged in is log-in and sign-up; REST needs a caller anyway
        let form = !request.uri().path().starts_with("/api/");
        if !reads && (caller.is_some() || form) {
            let bound = match caller.is_some() {
                true => session,
                false => cookie(VISITOR),
            };
            request = marked(request, bound.as_deref()).await?;
        }
        caller
    };
    request.extensions_mut().insert(Found(caller));
    Ok(request)
}

fn bearer(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return Ok(None);
    };
    let token = value.to_str().ok().and_then(|v| v.split_once(' '));
    let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let (_, token) = token.ok_or(CenterError::NotLoggedIn)?;
    Ok(Some(token.trim().to_owned()))
}

/// Lets through what carries the mark that belongs to this cookie: in a header, in the form, or, for a form with
/// files, in the address.
async fn marked(request: Request, cookie: Option<&str>) -> Result<Request, Problem> {
    let forged = || Problem::from(CenterError::FormForged);
    let wanted = secret::form_mark(cookie.ok_or_else(forged)?);
    let right = |given: &str| secret::same(given, &wanted);
    let header = request.headers().get(MARK_HEADER);
    if let Some(given) = header {
        return match given.to_str().is_ok_and(right) {
            true => Ok(request),
            false => Err(forged()),
        };
    }
    let kind = request.headers().get(header::CONTENT_TYPE);
    let kind = kind.and_then(|k| k.to_str().ok()).unwrap_or_default();
    if kind.starts_with("multipart/form-data") {
        let query = request.uri().query().unwrap_or_default();
        let given = field(query.as_bytes());
        return match given.as_deref().is_some_and(right) {
            true => Ok(request),
            false => Err(forged()),
        };
    }
    if !kind.starts_with("application/x-www-form-urlencoded") {
        return Err(forged());
    }
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|l| l.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > FORM_LIMIT) {
        return Err(CenterError::RequestTooLarge.into());
    }
    let (parts, body) = request.into_parts();
    let bytes = to_bytes(body, FORM_LIMIT)
        .await
        .map_err(|e| Problem::new(CenterError::MalformedRequest, e.to_string()))?;
    match field(&bytes).as_deref().is_some_and(right) {
        true => Ok(Request::from_parts(parts, Body::from(bytes))),
        false => Err(forged()),
    }
}

/// The mark among urlencoded fields; its value is hex digits, which are never escaped.
fn field(form: &[u8]) -> Option<String> {
    let mut fields = form.split(|b| *b == b'&');
    let value = fields.find_map(|f| f.strip_prefix(MARK_FIELD.as_bytes())?.strip_prefix(b"="))?;
    String::from_utf8(value.to_vec()).ok()
}
