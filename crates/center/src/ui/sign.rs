//! Log-in, sign-up, log-out, a new password by a link.

use std::net::SocketAddr;

use askama::Template;
use axum::extract::{ConnectInfo, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum_extra::extract::cookie::{Cookie, CookieJar, SameSite};
use serde::Deserialize;
use sota_errors::CenterError;

use super::form::{Faults, Fields};
use super::{Page, Route, get, post, show_as};
use crate::access::{LoggedIn, secret};
use crate::api::call::{Found, SESSION, VISITOR};
use crate::api::{Api, status};
use crate::domain::Problem;

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/log-in", log_in_page),
        post("/log-in", log_in),
        get("/sign-up", sign_up_page),
        post("/sign-up", sign_up),
        get("/reset", reset_page),
        post("/reset", reset),
        post("/log-out", log_out),
    ]
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    next: String,
    invitation: String,
    link: String,
}

#[derive(Template)]
#[template(path = "log-in.html")]
struct LogInPage {
    mark: String,
    next: String,
    name: String,
    faults: Faults,
    open_sign_up: bool,
    nobody: bool,
    insecure: bool,
}

#[derive(Template)]
#[template(path = "sign-up.html")]
struct SignUpPage {
    mark: String,
    invitation: String,
    name: String,
    faults: Faults,
    /// Whose link it is: the Center's set-up, an invitation, or none at all.
    set_up: bool,
    usable: bool,
    insecure: bool,
}

/// Only a path of this Center: a link must not lead elsewhere after the log-in.
fn own_path(next: &str) -> &str {
    let own =
        next.starts_with('/') && !next.starts_with("//") && !next.contains(['\\', '\n', '\r']);
    if own { next } else { "/" }
}

fn cookie(api: &Api, name: &'static str, value: String) -> Cookie<'static> {
    Cookie::build((name, value))
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(api.secure_cookies)
        .build()
}

/// The mark of a form: that of the session, as a link may be opened by who is logged in already, else the visitor's with
/// its cookie.
fn marked(api: &Api, found: &Found, jar: CookieJar) -> Result<(CookieJar, String), Problem> {
    if let Some(session) = jar.get(SESSION).filter(|_| found.0.is_some()) {
        let mark = secret::form_mark(session.value());
        return Ok((jar, mark));
    }
    if let Some(known) = jar.get(VISITOR) {
        let mark = secret::form_mark(known.value());
        return Ok((jar, mark));
    }
    let made = secret::make()?;
    let mark = secret::form_mark(&made);
    Ok((jar.add(cookie(api, VISITOR, made)), mark))
}

fn logged_in(api: &Api, jar: CookieJar, made: LoggedIn, next: &str) -> Response {
    // goes with the browser; the session itself ends in the store
    let jar = jar.add(cookie(api, SESSION, made.secret));
    (jar, Redirect::to(own_path(next))).into_response()
}

async fn log_in_page(
    State(api): State<Api>,
    found: axum::Extension<Found>,
    Query(asked): Query<Asked>,
    jar: CookieJar,
) -> Page {
    if found.0.0.is_some() {
        return super::to(own_path(&asked.next));
    }
    let (jar, mark) = marked(&api, &found.0, jar)?;
    let page = LogInPage {
        mark,
        next: own_path(&asked.next).to_owned(),
        name: String::new(),
        faults: Faults::none(),
        open_sign_up: api.access.open_sign_up(),
        nobody: api.access.nobody().await?,
        insecure: api.insecure,
    };
    Ok((jar, super::show(&page)?).into_response())
}

async fn log_in(
    State(api): State<Api>,
    found: axum::Extension<Found>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    jar: CookieJar,
    fields: Fields,
) -> Page {
    let (name, password) = (fields.get("name"), fields.get("password"));
    let next = fields.get("next");
    let result = api.access.log_in(name, password, address.ip(), api.now());
    match result.await {
        Ok(made) => Ok(logged_in(&api, jar, made, next)),
        Err(problem) => {
            let (jar, mark) = marked(&api, &found.0, jar)?;
            let page = LogInPage {
                mark,
                next: own_path(next).to_owned(),
                name: name.to_owned(),
                faults: Faults::of(&problem),
                open_sign_up: api.access.open_sign_up(),
                nobody: api.access.nobody().await?,
                insecure: api.insecure,
            };
            let page = show_as(status(problem.error), &page)?;
            Ok((jar, page).into_response())
        }
    }
}

async fn sign_up_page(
    State(api): State<Api>,
    found: axum::Extension<Found>,
    Query(asked): Query<Asked>,
    jar: CookieJar,
) -> Page {
    let (jar, mark) = marked(&api, &found.0, jar)?;
    let page = sign_up_form(&api, mark, &asked.invitation, "", None).await?;
    let status = match page.usable {
        true => axum::http::StatusCode::OK,
        false => axum::http::StatusCode::GONE,
    };
    Ok((jar, show_as(status, &page)?).into_response())
}

async fn sign_up_form(
    api: &Api,
    mark: String,
    invitation: &str,
    name: &str,
    problem: Option<&Problem>,
) -> Result<SignUpPage, Problem> {
    let found = match invitation {
        "" => None,
        secret => match api.access.invitation(secret, api.now()).await {
            Ok(found) => Some(found),
            Err(p) if p.error == CenterError::InvitationSpent => None,
            Err(p) => return Err(p),
        },
    };
    let open = api.access.open_sign_up() && !api.access.nobody().await?;
    Ok(SignUpPage {
        mark,
        invitation: invitation.to_owned(),
        name: name.to_owned(),
        faults: problem.map(Faults::of).unwrap_or_default(),
        set_up: found.as_ref().is_some_and(|i| i.project.is_none()),
        usable: found.is_some() || open,
        insecure: api.insecure,
    })
}

async fn sign_up(
    State(api): State<Api>,
    found: axum::Extension<Found>,
    jar: CookieJar,
    fields: Fields,
) -> Page {
    let (name, password) = (fields.get("name"), fields.get("password"));
    let invitation = fields.get("invitation");
    let by = Some(invitation).filter(|i| !i.is_empty());
    let result = match password == fields.get("again") {
        true => api.access.sign_up(by, name, password, api.now()).await,
        false => Err(Problem::of(CenterError::PasswordsDiffer, "again", "")),
    };
    match result {
        Ok(made) => Ok(logged_in(&api, jar, made, "/")),
        Err(problem) => {
            let (jar, mark) = marked(&api, &found.0, jar)?;
            let page = sign_up_form(&api, mark, invitation, name, Some(&problem)).await?;
            let page = show_as(status(problem.error), &page)?;
            Ok((jar, page).into_response())
        }
    }
}

async fn log_out(State(api): State<Api>, jar: CookieJar) -> Page {
    if let Some(session) = jar.get(SESSION) {
        api.access.log_out(session.value(), api.now()).await?;
    }
    Ok((signed_out(&api, jar), Redirect::to("/log-in")).into_response())
}

/// The browser forgets its session.
pub(super) fn signed_out(api: &Api, jar: CookieJar) -> CookieJar {
    let mut gone = cookie(api, SESSION, String::new());
    gone.make_removal();
    jar.add(gone)
}

#[derive(Template)]
#[template(path = "reset.html")]
struct ResetPage {
    mark: String,
    link: String,
    /// Whose password; none: the link cannot be used.
    name: Option<String>,
    faults: Faults,
    insecure: bool,
}

async fn reset_page(
    State(api): State<Api>,
    found: axum::Extension<Found>,
    Query(asked): Query<Asked>,
    jar: CookieJar,
) -> Page {
    reset_form(&api, &found.0, jar, &asked.link, None).await
}

async fn reset_form(
    api: &Api,
    found: &Found,
    jar: CookieJar,
    link: &str,
    problem: Option<&Problem>,
) -> Page {
    let name = match api.access.reset_of(link, api.now()).await {
        Ok(account) => Some(account.name),
        Err(p) if p.error == CenterError::InvitationSpent => None,
        Err(p) => return Err(p.into()),
    };
    let code = match (&name, problem) {
        (None, _) => axum::http::StatusCode::GONE,
        (_, Some(problem)) => status(problem.error),
        (_, None) => axum::http::StatusCode::OK,
    };
    let (jar, mark) = marked(api, found, jar)?;
    let page = ResetPage {
        mark,
        link: link.to_owned(),
        name,
        faults: problem.map(Faults::of).unwrap_or_default(),
        insecure: api.insecure,
    };
    Ok((jar, show_as(code, &page)?).into_response())
}

async fn reset(
    State(api): State<Api>,
    found: axum::Extension<Found>,
    jar: CookieJar,
    fields: Fields,
) -> Page {
    let (link, password) = (fields.get("link"), fields.get("password"));
    let done = match password == fields.get("again") {
        true => api.access.reset(link, password, api.now()).await,
        false => Err(Problem::of(CenterError::PasswordsDiffer, "again", "")),
    };
    match done {
        Ok(made) => Ok(logged_in(&api, jar, made, "/")),
        Err(problem) => reset_form(&api, &found.0, jar, link, Some(&problem)).await,
    }
}
