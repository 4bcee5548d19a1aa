//! Webhooks of a project, one webhook with its deliveries.

use askama::Template;
use axum::extract::{Path, Query};
use axum::response::Response;
use serde::Deserialize;
use sota_errors::CenterError;

use super::form::{Faults, Fields};
use super::visit::{Shell, Visit};
use super::{Page, PageError, Route, get, live, post, render, show_as, to};
use crate::api::{Api, status};
use crate::domain::{Delivery, EventKind, Problem, ProjectId, Role, WebhookId};
use crate::service::{NewWebhook, WebhookInfo};
use crate::store::Scope;

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/projects/{project}/webhooks", list),
        post("/projects/{project}/webhooks", create),
        get("/projects/{project}/webhooks/{webhook}", one),
        get("/projects/{project}/webhooks/{webhook}/live", one_live),
        post("/projects/{project}/webhooks/{webhook}", edit),
        post("/projects/{project}/webhooks/{webhook}/{action}", act),
        post(
            "/projects/{project}/webhooks/{webhook}/deliveries/{delivery}/retry",
            retry,
        ),
    ]
}

/// Deliveries on one page.
const PAGE: usize = 25;

/// The secret of a webhook that was just made.
struct Made {
    name: String,
    secret: String,
}

#[derive(Template)]
#[template(path = "webhooks.html")]
struct ListPage {
    shell: Shell,
    webhooks: Vec<WebhookInfo>,
    fields: Fields,
    faults: Faults,
    kinds: [EventKind; 5],
    made: Option<Made>,
}

/// Only an owner: an address may hold a secret of the receiver's.
fn owning(visit: &Visit, project: i64) -> Result<Scope, PageError> {
    let scope = visit.inside(project)?;
    scope.need(ProjectId(project), Role::Owner)?;
    Ok(scope)
}

async fn list_page(
    visit: &Visit,
    project: i64,
    fields: Fields,
    problem: Option<Problem>,
    made: Option<Made>,
) -> Page {
    let scope = owning(visit, project)?;
    let (_, shell) = visit.within(project, "webhooks", "Webhooks").await?;
    let webhooks = visit.service.webhooks(&scope, ProjectId(project)).await?;
    let code = problem.as_ref().map(|p| status(p.error));
    let page = ListPage {
        shell,
        webhooks,
        fields,
        faults: problem.as_ref().map(Faults::of).unwrap_or_default(),
        kinds: EventKind::ALL,
        made,
    };
    show_as(code.unwrap_or_default(), &page)
}

/// As the form of a new one begins: everything but each device.
fn defaults() -> Fields {
    let wanted = [EventKind::PlanState, EventKind::ApprovalWaited];
    let fields = wanted.map(|kind| ("events".to_owned(), kind.name().to_owned()));
    Fields(fields.into())
}

async fn list(visit: Visit, Path(project): Path<i64>) -> Page {
    list_page(&visit, project, defaults(), None, None).await
}

fn typed(fields: &Fields) -> NewWebhook {
    let chosen = |kind: &EventKind| {
        let mut all = fields.0.iter();
        all.any(|(name, value)| name == "events" && value == kind.name())
    };
    NewWebhook {
        name: fields.get("name").trim().to_owned(),
        url: fields.get("url").trim().to_owned(),
        events: EventKind::ALL.into_iter().filter(chosen).collect(),
        enabled: fields.get("disabled").is_empty(),
        new_secret: !fields.get("new_secret").is_empty(),
    }
}

async fn create(visit: Visit, Path(project): Path<i64>, fields: Fields) -> Page {
    let scope = owning(&visit, project)?;
    let (id, now) = (ProjectId(project), visit.now());
    let made = visit
        .service
        .create_webhook(&scope, id, typed(&fields), now);
    match made.await {
        Ok(made) => {
            let made = Made {
                name: made.name,
                secret: made.secret.unwrap_or_default(),
            };
            list_page(&visit, project, defaults(), None, Some(made)).await
        }
        Err(problem) => list_page(&visit, project, fields, Some(problem), None).await,
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    before: Option<i64>,
}

#[derive(Template)]
#[template(path = "webhook.html")]
struct OnePage {
    shell: Shell,
    webhook: WebhookInfo,
    fields: Fields,
    faults: Faults,
    kinds: [EventKind; 5],
    made: Option<Made>,
    part: String,
    query: String,
}

#[derive(Template)]
#[template(path = "webhook-live.html")]
struct OnePart {
    base: String,
    mark: String,
    webhook: WebhookInfo,
    deliveries: Vec<Delivery>,
    next: Option<i64>,
    first: bool,
}

async fn one_part(
    api: &Api,
    scope: &Scope,
    mark: &str,
    id: WebhookId,
    asked: &Asked,
) -> Result<String, PageError> {
    let webhook = api.service.webhook(scope, id).await?;
    let found = api.service.deliveries(scope, id, asked.before, PAGE + 1);
    let mut deliveries = found.await?;
    let more = deliveries.len() > PAGE;
    deliveries.truncate(PAGE);
    let part = OnePart {
        base: format!("/projects/{}/webhooks/{id}", webhook.project),
        mark: mark.to_owned(),
        webhook,
        next: deliveries.last().map(|d| d.id).filter(|_| more),
        deliveries,
        first: asked.before.is_none(),
    };
    Ok(render(&part)?)
}

async fn one_page(
    visit: &Visit,
    (project, id): (i64, i64),
    asked: &Asked,
    fields: Option<Fields>,
    problem: Option<Problem>,
    made: Option<Made>,
) -> Page {
    let scope = owning(visit, project)?;
    let webhook = visit.service.webhook(&scope, WebhookId(id)).await?;
    let title = webhook.name.clone();
    let (_, shell) = visit.within(project, "webhooks", &title).await?;
    let code = problem.as_ref().map(|p| status(p.error));
    let stored = || {
        let mut fields = vec![
            ("name".to_owned(), webhook.name.clone()),
            ("url".to_owned(), webhook.url.clone()),
        ];
        let events = webhook.events.iter();
        fields.extend(events.map(|kind| ("events".to_owned(), kind.name().to_owned())));
        if !webhook.enabled {
            fields.push(("disabled".to_owned(), "yes".to_owned()));
        }
        Fields(fields)
    };
    let page = OnePage {
        part: one_part(visit, &scope, &shell.mark, WebhookId(id), asked).await?,
        shell,
        fields: fields.unwrap_or_else(stored),
        faults: problem.as_ref().map(Faults::of).unwrap_or_default(),
        kinds: EventKind::ALL,
        made,
        query: asked
            .before
            .map(|b| format!("?before={b}"))
            .unwrap_or_default(),
        webhook,
    };
    show_as(code.unwrap_or_default(), &page)
}

async fn one(visit: Visit, Path(ids): Path<(i64, i64)>, Query(asked): Query<Asked>) -> Page {
    one_page(&visit, ids, &asked, None, None, None).await
}

async fn one_live(
    visit: Visit,
    Path((project, id)): Path<(i64, i64)>,
    Query(asked): Query<Asked>,
) -> Result<Response, PageError> {
    let scope = owning(&visit, project)?;
    let id = visit.service.webhook(&scope, WebhookId(id)).await?.id;
    let mark = visit.shell("").await?.mark;
    let api = visit.api().clone();
    Ok(live::follow(&visit, move || {
        let (api, scope, asked) = (api.clone(), scope.clone(), asked.clone());
        let mark = mark.clone();
        async move { one_part(&api, &scope, &mark, id, &asked).await }
    }))
}

async fn edit(visit: Visit, Path((project, id)): Path<(i64, i64)>, fields: Fields) -> Page {
    let scope = owning(&visit, project)?;
    let now = visit.now();
    let edited = visit
        .service
        .edit_webhook(&scope, WebhookId(id), typed(&fields), now);
    let (ids, asked) = ((project, id), Asked::default());
    match edited.await {
        Ok(WebhookInfo {
            name,
            secret: Some(secret),
            ..
        }) => {
            let made = Some(Made { name, secret });
            one_page(&visit, ids, &asked, None, None, made).await
        }
        Ok(_) => to(format!("/projects/{project}/webhooks/{id}")),
        Err(problem) => one_page(&visit, ids, &asked, Some(fields), Some(problem), None).await,
    }
}

async fn act(visit: Visit, Path((project, id, action)): Path<(i64, i64, String)>) -> Page {
    let scope = owning(&visit, project)?;
    let now = visit.now();
    match action.as_str() {
        "test" => {
            let service = &visit.service;
            service.test_webhook(&scope, WebhookId(id), now).await?;
            to(format!("/projects/{project}/webhooks/{id}"))
        }
        "delete" => {
            let service = &visit.service;
            service.delete_webhook(&scope, WebhookId(id), now).await?;
            to(format!("/projects/{project}/webhooks"))
        }
        _ => Err(CenterError::NoSuchResource.into()),
    }
}

async fn retry(visit: Visit, Path((project, id, delivery)): Path<(i64, i64, i64)>) -> Page {
    let scope = owning(&visit, project)?;
    let now = visit.now();
    let again = visit
        .service
        .retry_delivery(&scope, WebhookId(id), delivery, now);
    again.await?;
    to(format!("/projects/{project}/webhooks/{id}"))
}
