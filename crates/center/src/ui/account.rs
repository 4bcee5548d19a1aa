//! One's own account; the accounts of the Center.

use std::net::SocketAddr;

use askama::Template;
use axum::extract::ConnectInfo;
use axum::response::{IntoResponse, Redirect};
use axum_extra::extract::CookieJar;
use sota_errors::CenterError;

use super::form::{Faults, Fields};
use super::sign::signed_out;
use super::visit::{Shell, Visit};
use super::{Page, Route, get, post, show_as, to};
use crate::access::{AccountInfo, NewName, NewPassword, PasswordShown};
use crate::api::status;
use crate::domain::Problem;

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/account", own),
        post("/account/name", rename),
        post("/account/password", change_password),
        post("/account/remove", remove_own),
        get("/accounts", accounts),
        post("/accounts/remove", remove),
        post("/accounts/password-reset", reset_link),
    ]
}

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage {
    shell: Shell,
    account: AccountInfo,
    fields: Fields,
    faults: Faults,
    /// What was just done.
    done: &'static str,
}

async fn own_page(
    visit: &Visit,
    fields: Fields,
    problem: Option<Problem>,
    done: &'static str,
) -> Page {
    let shell = visit.shell("Account").await?;
    let code = problem.as_ref().map(|p| status(p.error));
    let page = AccountPage {
        shell,
        account: visit.access.own(&visit.caller).await?,
        fields,
        faults: problem.as_ref().map(Faults::of).unwrap_or_default(),
        done,
    };
    show_as(code.unwrap_or_default(), &page)
}

async fn own(visit: Visit) -> Page {
    own_page(&visit, Fields::default(), None, "").await
}

/// The field of the problem as the page calls it: it has several forms with a password.
fn at(mut problem: Problem, form: &str) -> Problem {
    if problem.field == "password" {
        problem.field = format!("{form}_password");
    }
    problem
}

async fn rename(
    visit: Visit,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    fields: Fields,
) -> Page {
    let new = NewName {
        name: fields.get("name").to_owned(),
        password: fields.get("name_password").to_owned(),
    };
    let now = visit.now();
    let renamed = visit.access.rename(&visit.caller, new, address.ip(), now);
    match renamed.await {
        Ok(_) => to("/account"),
        Err(problem) => own_page(&visit, fields, Some(at(problem, "name")), "").await,
    }
}

async fn change_password(
    visit: Visit,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    fields: Fields,
) -> Page {
    let new = NewPassword {
        old: fields.get("old").to_owned(),
        new: fields.get("new").to_owned(),
    };
    let now = visit.now();
    let changed = match fields.get("new") == fields.get("again") {
        true => {
            let caller = &visit.caller;
            let changed = visit.access.change_password(caller, new, address.ip(), now);
            changed.await
        }
        false => Err(Problem::of(CenterError::PasswordsDiffer, "again", "")),
    };
    match changed {
        Ok(()) => {
            let done = "Your password is changed. Your other log-ins have ended.";
            own_page(&visit, Fields::default(), None, done).await
        }
        Err(problem) => own_page(&visit, fields, Some(problem), "").await,
    }
}

async fn remove_own(
    visit: Visit,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    jar: CookieJar,
    fields: Fields,
) -> Page {
    let shown = PasswordShown {
        password: fields.get("remove_password").to_owned(),
    };
    let now = visit.now();
    let caller = &visit.caller;
    let removed = visit.access.remove_own(caller, &shown, address.ip(), now);
    match removed.await {
        Ok(()) => {
            let jar = signed_out(visit.api(), jar);
            Ok((jar, Redirect::to("/log-in")).into_response())
        }
        Err(problem) => own_page(&visit, fields, Some(at(problem, "remove")), "").await,
    }
}

#[derive(Template)]
#[template(path = "accounts.html")]
struct AccountsPage {
    shell: Shell,
    accounts: Vec<AccountInfo>,
    faults: Faults,
    /// A link that was just made, and for whom.
    link: Option<(String, String)>,
}

async fn accounts_page(
    visit: &Visit,
    problem: Option<Problem>,
    link: Option<(String, String)>,
) -> Page {
    let shell = visit.shell("Accounts").await?;
    let code = problem.as_ref().map(|p| status(p.error));
    let page = AccountsPage {
        shell,
        accounts: visit.access.accounts(&visit.caller).await?,
        faults: problem.as_ref().map(Faults::of).unwrap_or_default(),
        link,
    };
    show_as(code.unwrap_or_default(), &page)
}

async fn accounts(visit: Visit) -> Page {
    accounts_page(&visit, None, None).await
}

async fn remove(visit: Visit, fields: Fields) -> Page {
    let name = fields.get("name");
    match visit.access.remove(&visit.caller, name, visit.now()).await {
        Ok(()) => to("/accounts"),
        Err(problem) => accounts_page(&visit, Some(problem), None).await,
    }
}

async fn reset_link(visit: Visit, fields: Fields) -> Page {
    let name = fields.get("name");
    let now = visit.now();
    match visit.access.reset_link(&visit.caller, name, now).await {
        Ok(link) => {
            let link = format!("{}{}", visit.base_url, link.path);
            accounts_page(&visit, None, Some((name.to_owned(), link))).await
        }
        Err(problem) => accounts_page(&visit, Some(problem), None).await,
    }
}
