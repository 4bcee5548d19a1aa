//! The first page, a project's overview, its members, and the account's tokens.

use askama::Template;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};

use super::form::{Faults, Fields};
use super::visit::{Shell, Visit};
use super::{Page, PageError, Route, get, live, post, render, show, show_as, to};
use crate::access::{Member, NewToken, TokenInfo, TokenMade};
use crate::api::{Api, status};
use crate::domain::{Counters, Plan, PlanState, Problem, ProjectId, Role};
use crate::service::NewProject;
use crate::store::{Page as List, Scope};

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/", first),
        get("/projects/new", new_page),
        post("/projects/new", create),
        get("/projects/{project}", overview),
        get("/projects/{project}/live", overview_live),
        get("/projects/{project}/members", members),
        post("/projects/{project}/members", set_member),
        post("/projects/{project}/members/remove", remove_member),
        post("/projects/{project}/members/password-reset", reset_member),
        post("/projects/{project}/invitations", invite),
        get("/account/tokens", tokens),
        post("/account/tokens", create_token),
        post("/account/tokens/delete", delete_token),
    ]
}

/// To the only or first project, or to making one.
async fn first(visit: Visit) -> Page {
    let projects = visit.service.store().projects(&visit.caller.scope).await?;
    match projects.first() {
        Some(project) => to(format!("/projects/{}", project.id)),
        None => to("/projects/new"),
    }
}

#[derive(Template)]
#[template(path = "project-new.html")]
struct NewPage {
    shell: Shell,
    fields: Fields,
    faults: Faults,
}

async fn new_page(visit: Visit) -> Page {
    let shell = visit.shell("New project").await?;
    show(&NewPage {
        shell,
        fields: Fields::default(),
        faults: Faults::none(),
    })
}

async fn create(visit: Visit, fields: Fields) -> Page {
    let name = fields.get("name").trim().to_owned();
    let made = visit
        .service
        .create_project(&visit.caller.scope, NewProject { name }, visit.now());
    match made.await {
        Ok(project) => to(format!("/projects/{}", project.id)),
        Err(problem) => {
            let shell = visit.shell("New project").await?;
            let faults = Faults::of(&problem);
            show_as(
                status(problem.error),
                &NewPage {
                    shell,
                    fields,
                    faults,
                },
            )
        }
    }
}

/// A plan on the overview.
struct PlanLine {
    plan: Plan,
    counters: Counters,
    rate: Option<f64>,
}

/// What there is, so that the page can say what to do next.
struct Stock {
    products: usize,
    devices: usize,
    /// There are more devices than were counted.
    more: bool,
    online: usize,
    models: usize,
    packages: usize,
}

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview {
    shell: Shell,
    part: String,
}

#[derive(Template)]
#[template(path = "overview-live.html")]
struct OverviewPart {
    base: String,
    operates: bool,
    stock: Stock,
    running: Vec<PlanLine>,
    saved: usize,
    over: usize,
}

/// Devices counted for the overview at most; the store keeps no count of them.
const COUNTED: usize = 1000;

async fn overview_part(api: &Api, scope: &Scope, project: i64) -> Result<String, PageError> {
    let store = api.service.store();
    let now = api.now();
    let products = store.products(scope).await?;
    let (mut devices, mut online) = (0, 0);
    for product in &products {
        let list = List {
            limit: COUNTED,
            ..List::default()
        };
        let found = store.devices(scope, &product.product_key, &list).await?;
        devices += found.len();
        online += found.iter().filter(|d| d.online(now)).count();
    }
    let (mut running, mut saved, mut over) = (Vec::new(), 0, 0);
    for plan in store.plans(scope).await?.into_iter().rev() {
        match plan.state {
            PlanState::Saved => saved += 1,
            PlanState::Terminated | PlanState::Ended => over += 1,
            PlanState::Activated | PlanState::Upgrading | PlanState::Suspended => {
                let counters = store.counters(scope, plan.id).await?;
                let rate = counters.success_rate_percent();
                running.push(PlanLine {
                    plan,
                    counters,
                    rate,
                });
            }
        }
    }
    let part = OverviewPart {
        base: format!("/projects/{project}"),
        operates: scope.role(ProjectId(project)) >= Some(Role::Operator),
        stock: Stock {
            more: devices >= COUNTED,
            products: products.len(),
            devices,
            online,
            models: store.models(scope).await?.len(),
            packages: store.packages(scope).await?.len(),
        },
        running,
        saved,
        over,
    };
    Ok(render(&part)?)
}

async fn overview(visit: Visit, Path(id): Path<i64>) -> Page {
    let (scope, shell) = visit.within(id, "overview", "Overview").await?;
    let part = overview_part(&visit, &scope, id).await?;
    show(&Overview { shell, part })
}

async fn overview_live(visit: Visit, Path(id): Path<i64>) -> Result<Response, PageError> {
    let scope = visit.inside(id)?;
    let api = visit.api().clone();
    Ok(live::follow(&visit, move || {
        let (api, scope) = (api.clone(), scope.clone());
        async move { overview_part(&api, &scope, id).await }
    }))
}

#[derive(Template)]
#[template(path = "members.html")]
struct MembersPage {
    shell: Shell,
    members: Vec<Member>,
    fields: Fields,
    faults: Faults,
    /// A link that was just made.
    link: Option<MadeLink>,
}

/// A one-time link, and what it is for.
struct MadeLink {
    link: String,
    /// The member whose password it is for; none: an invitation.
    member: Option<String>,
}

async fn members_page(
    visit: &Visit,
    id: i64,
    fields: Fields,
    problem: Option<Problem>,
    link: Option<MadeLink>,
) -> Page {
    let (scope, shell) = visit.within(id, "members", "Members").await?;
    let members = visit.access.members(&scope, ProjectId(id)).await?;
    let code = problem.as_ref().map(|p| status(p.error));
    let page = MembersPage {
        shell,
        members,
        fields,
        faults: problem.as_ref().map(Faults::of).unwrap_or_default(),
        link,
    };
    show_as(code.unwrap_or_default(), &page)
}

async fn members(visit: Visit, Path(id): Path<i64>) -> Page {
    members_page(&visit, id, Fields::default(), None, None).await
}

fn role(fields: &Fields) -> Result<Role, Problem> {
    let found = Role::ALL
        .into_iter()
        .find(|r| r.name() == fields.get("role"));
    found.ok_or_else(|| Problem::of(sota_errors::CenterError::FieldUnfilled, "role", ""))
}

async fn set_member(visit: Visit, Path(id): Path<i64>, fields: Fields) -> Page {
    let scope = visit.inside(id)?;
    let done = match role(&fields) {
        Ok(role) => {
            let name = fields.get("name");
            let (project, now) = (ProjectId(id), visit.now());
            let set = visit.access.set_member(&scope, project, name, role, now);
            set.await
        }
        Err(problem) => Err(problem),
    };
    match done {
        Ok(()) => to(format!("/projects/{id}/members")),
        Err(problem) => members_page(&visit, id, fields, Some(problem), None).await,
    }
}

async fn remove_member(visit: Visit, Path(id): Path<i64>, fields: Fields) -> Page {
    let scope = visit.inside(id)?;
    let name = fields.get("name");
    match visit
        .access
        .remove_member(&scope, ProjectId(id), name, visit.now())
        .await
    {
        Ok(()) => to(format!("/projects/{id}/members")),
        Err(problem) => members_page(&visit, id, fields, Some(problem), None).await,
    }
}

async fn reset_member(visit: Visit, Path(id): Path<i64>, fields: Fields) -> Page {
    let scope = visit.inside(id)?;
    scope.need(ProjectId(id), Role::Owner)?;
    let name = fields.get("name").to_owned();
    let now = visit.now();
    match visit.access.reset_link(&visit.caller, &name, now).await {
        Ok(made) => {
            let link = MadeLink {
                link: format!("{}{}", visit.base_url, made.path),
                member: Some(name),
            };
            members_page(&visit, id, Fields::default(), None, Some(link)).await
        }
        Err(problem) => {
            // its field is the other form's
            let problem = Problem::new(problem.error, name);
            members_page(&visit, id, Fields::default(), Some(problem), None).await
        }
    }
}

async fn invite(visit: Visit, Path(id): Path<i64>, fields: Fields) -> Page {
    let scope = visit.inside(id)?;
    let now = visit.now();
    let invited = match role(&fields) {
        Ok(role) => visit.access.invite(&scope, ProjectId(id), role, now).await,
        Err(problem) => Err(problem),
    };
    match invited {
        Ok(invited) => {
            let link = MadeLink {
                link: format!("{}{}", visit.base_url, invited.path),
                member: None,
            };
            members_page(&visit, id, Fields::default(), None, Some(link)).await
        }
        Err(problem) => members_page(&visit, id, fields, Some(problem), None).await,
    }
}

#[derive(Template)]
#[template(path = "tokens.html")]
struct TokensPage {
    shell: Shell,
    tokens: Vec<TokenInfo>,
    fields: Fields,
    faults: Faults,
    made: Option<TokenMade>,
}

impl TokensPage {
    fn project(&self, id: &ProjectId) -> String {
        let found = self.shell.projects.iter().find(|p| p.id == *id);
        found.map_or_else(|| id.to_string(), |p| p.name.clone())
    }
}

async fn tokens_page(
    visit: &Visit,
    fields: Fields,
    problem: Option<Problem>,
    made: Option<TokenMade>,
) -> Page {
    let shell = visit.shell("API tokens").await?;
    let code = problem.as_ref().map(|p| status(p.error));
    let page = TokensPage {
        shell,
        tokens: visit.access.tokens(&visit.caller.scope).await?,
        fields,
        faults: problem.as_ref().map(Faults::of).unwrap_or_default(),
        made,
    };
    show_as(code.unwrap_or_default(), &page)
}

async fn tokens(visit: Visit) -> Page {
    tokens_page(&visit, Fields::default(), None, None).await
}

async fn create_token(visit: Visit, fields: Fields) -> Page {
    let new = || -> Result<NewToken, Problem> {
        Ok(NewToken {
            name: fields.get("name").trim().to_owned(),
            role: role(&fields)?,
            project: match fields.get("project") {
                "" => None,
                _ => Some(ProjectId(fields.number("project")?)),
            },
            days: fields.number("days")?,
        })
    };
    let made = match new() {
        Ok(new) => {
            let caller = &visit.caller;
            visit.access.create_token(caller, new, visit.now()).await
        }
        Err(problem) => Err(problem),
    };
    match made {
        Ok(made) => tokens_page(&visit, Fields::default(), None, Some(made)).await,
        Err(problem) => tokens_page(&visit, fields, Some(problem), None).await,
    }
}

async fn delete_token(visit: Visit, fields: Fields) -> Page {
    let id = fields.number("id")?;
    let now = visit.now();
    visit.access.delete_token(&visit.caller, id, now).await?;
    Ok(to("/account/tokens")?.into_response())
}
