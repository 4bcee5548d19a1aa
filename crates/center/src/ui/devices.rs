//! Products, devices, one device with its story and why it gets no plan.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::{Path, Query};
use axum::response::Response;
use serde::Deserialize;

use super::form::{Faults, Fields};
use super::rollout::keys;
use super::visit::{Shell, Visit};
use super::{Page, PageError, Route, get, live, post, render, show, show_as, to};
use crate::api::{Api, status};
use crate::domain::{
    Device, Endpoint, Filter, FilterId, LogLine, PlanDevice, Problem, Product, ProductId,
    ProjectId, Role, SavedFilter,
};
use crate::service::{NewFilter, NewProduct, TagsImported, Why};
use crate::store::{Page as List, Scope};
use sota_errors::CenterError;

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/projects/{project}/devices", list),
        get("/projects/{project}/products/new", new_product),
        post("/projects/{project}/products/new", create_product),
        get("/projects/{project}/devices/{product}/{device}", device),
        get(
            "/projects/{project}/devices/{product}/{device}/live",
            device_live,
        ),
        post(
            "/projects/{project}/devices/{product}/{device}/tags",
            set_tags,
        ),
        post("/projects/{project}/products/{product}/tags", import_tags),
        post("/projects/{project}/filters", save_filter),
        post("/projects/{project}/filters/{filter}/delete", delete_filter),
        post(
            "/projects/{project}/devices/{product}/{device}/{action}",
            act,
        ),
    ]
}

/// Devices on one page of a list.
const PAGE: usize = 50;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    product: Option<String>,
    after: Option<String>,
    filter: String,
}

#[derive(Template)]
#[template(path = "devices.html")]
struct Devices {
    shell: Shell,
    products: Vec<Product>,
    /// The product whose devices are shown.
    chosen: Option<Product>,
    devices: Vec<(Device, bool)>,
    filter: String,
    filters: Vec<SavedFilter>,
    faults: Faults,
    fields: Fields,
    imported: Option<TagsImported>,
    after: bool,
    next: Option<String>,
}

async fn list(visit: Visit, Path(id): Path<i64>, Query(asked): Query<Asked>) -> Page {
    list_page(&visit, id, asked, Fields::default(), None, None).await
}

/// Devices that the filter takes; one whose whole key it is is meant alone.
async fn filtered(
    visit: &Visit,
    scope: &Scope,
    product: &Product,
    asked: &Asked,
) -> Result<(Vec<Device>, Option<String>), Problem> {
    let typed = asked.filter.trim();
    let filter = Filter::parse(typed)?;
    if filter.only_text().is_some() && asked.after.is_none() {
        let endpoint = Endpoint::new(&product.product_key, typed);
        if let Some(device) = visit.service.store().device(scope, &endpoint).await? {
            return Ok((vec![device], None));
        }
    }
    let page = List {
        after: asked.after.clone(),
        limit: PAGE,
        state: None,
    };
    let key = &product.product_key;
    let found = visit
        .service
        .find_devices(scope, key, &filter, &page, visit.now());
    found.await
}

async fn list_page(
    visit: &Visit,
    id: i64,
    asked: Asked,
    fields: Fields,
    problem: Option<Problem>,
    imported: Option<TagsImported>,
) -> Page {
    let (scope, shell) = visit.within(id, "devices", "Devices").await?;
    let store = visit.service.store();
    let products = store.products(&scope).await?;
    let wanted = |p: &&Product| {
        asked
            .product
            .as_ref()
            .is_none_or(|key| *key == p.product_key)
    };
    let chosen = products.iter().find(wanted).cloned();
    let filter = asked.filter.trim().to_owned();
    let (mut devices, mut next, mut problem) = (Vec::new(), None, problem);
    if let Some(product) = &chosen {
        match filtered(visit, &scope, product, &asked).await {
            Ok(found) => (devices, next) = found,
            Err(unread) if unread.error == CenterError::FilterUnreadable => {
                problem.get_or_insert(unread);
            }
            Err(problem) => return Err(problem.into()),
        }
    }
    let now = visit.now();
    let with_online = |d: Device| {
        let online = d.online(now);
        (d, online)
    };
    let filters = store.filters(&scope).await?;
    let code = problem.as_ref().map(|p| status(p.error));
    let page = Devices {
        shell,
        products,
        chosen,
        devices: devices.into_iter().map(with_online).collect(),
        filter,
        filters,
        faults: problem.as_ref().map(Faults::of).unwrap_or_default(),
        fields,
        imported,
        after: asked.after.is_some(),
        next,
    };
    show_as(code.unwrap_or_default(), &page)
}

/// The page with a form that was sent on it.
fn asked_again(fields: &Fields) -> Asked {
    let product = Some(fields.get("product").to_owned()).filter(|p| !p.is_empty());
    Asked {
        product,
        after: None,
        filter: fields.get("filter").to_owned(),
    }
}

async fn save_filter(visit: Visit, Path(id): Path<i64>, fields: Fields) -> Page {
    let scope = visit.operating(id)?;
    let new = NewFilter {
        project: ProjectId(id),
        name: fields.get("name").trim().to_owned(),
        expression: fields.get("filter").to_owned(),
    };
    let asked = asked_again(&fields);
    let now = visit.now();
    let saved = visit.service.create_filter(&scope, new, now).await;
    let (fields, problem) = match saved {
        Ok(_) => (Fields::default(), None),
        Err(problem) => (fields, Some(problem)),
    };
    list_page(&visit, id, asked, fields, problem, None).await
}

async fn delete_filter(visit: Visit, Path((id, filter)): Path<(i64, i64)>) -> Page {
    let scope = visit.operating(id)?;
    let now = visit.now();
    let service = &visit.service;
    service.delete_filter(&scope, FilterId(filter), now).await?;
    to(format!("/projects/{id}/devices"))
}

async fn import_tags(visit: Visit, Path((id, product)): Path<(i64, i64)>, fields: Fields) -> Page {
    let scope = visit.operating(id)?;
    let asked = asked_again(&fields);
    let now = visit.now();
    let csv = fields.get("csv").as_bytes();
    let done = visit
        .service
        .import_tags(&scope, ProductId(product), csv, now);
    match done.await {
        Ok(done) => list_page(&visit, id, asked, Fields::default(), None, Some(done)).await,
        Err(problem) => list_page(&visit, id, asked, fields, Some(problem), None).await,
    }
}

#[derive(Template)]
#[template(path = "product-new.html")]
struct NewProductPage {
    shell: Shell,
    fields: Fields,
    faults: Faults,
}

async fn new_product(visit: Visit, Path(id): Path<i64>) -> Page {
    let (_, shell) = visit.within(id, "devices", "New product").await?;
    show(&NewProductPage {
        shell,
        fields: Fields::default(),
        faults: Faults::none(),
    })
}

async fn create_product(visit: Visit, Path(id): Path<i64>, fields: Fields) -> Page {
    let scope = visit.operating(id)?;
    let new = NewProduct {
        project: ProjectId(id),
        name: fields.get("name").trim().to_owned(),
        product_key: fields.get("product_key").trim().to_owned(),
        product_secret: fields.get("product_secret").trim().to_owned(),
    };
    let key = new.product_key.clone();
    match visit.service.create_product(&scope, new, visit.now()).await {
        Ok(_) => to(format!("/projects/{id}/devices?product={key}")),
        Err(problem) => {
            let (_, shell) = visit.within(id, "devices", "New product").await?;
            let page = NewProductPage {
                shell,
                fields,
                faults: Faults::of(&problem),
            };
            show_as(status(problem.error), &page)
        }
    }
}

#[derive(Template)]
#[template(path = "device.html")]
struct DevicePage {
    shell: Shell,
    device: Device,
    /// As typed.
    tags: String,
    faults: Faults,
    part: String,
}

#[derive(Template)]
#[template(path = "device-live.html")]
struct DevicePart {
    base: String,
    device: Device,
    online: bool,
    why: Vec<Why>,
    plans: Vec<PlanDevice>,
    names: BTreeMap<i64, String>,
    log: Vec<LogLine>,
}

impl DevicePart {
    /// The rule's words without its number and name, which stand behind them.
    fn words(&self, why: &Why) -> String {
        let name = why.rule.as_deref().unwrap_or_default();
        let head = why.number.map(|number| format!("{number} {name}: "));
        let words = head.and_then(|head| why.message.strip_prefix(&head));
        super::form::sentence(words.unwrap_or(&why.message))
    }

    /// A plan is offered now, or runs, or has brought the device where it shall be.
    fn offered(&self) -> bool {
        self.why.iter().any(|w| w.offered)
    }

    fn plan_name(&self, id: &i64) -> String {
        let name = self.names.get(id).cloned();
        name.unwrap_or_else(|| format!("plan {id}"))
    }
}

async fn need(api: &Api, scope: &Scope, endpoint: &Endpoint) -> Result<Device, PageError> {
    let device = api.service.store().device(scope, endpoint).await?;
    let missing = || Problem::new(CenterError::NoSuchDevice, endpoint.to_string());
    Ok(device.ok_or_else(missing)?)
}

async fn device_part(
    api: &Api,
    scope: &Scope,
    project: i64,
    endpoint: &Endpoint,
) -> Result<String, PageError> {
    let store = api.service.store();
    let now = api.now();
    let device = need(api, scope, endpoint).await?;
    let mut log = store.log(scope, endpoint, None, 200).await?;
    log.reverse();
    let names = store.plans(scope).await?;
    let part = DevicePart {
        base: format!("/projects/{project}"),
        online: device.online(now),
        why: api.service.why(scope, endpoint, None, now).await?,
        plans: store.plans_of_device(scope, endpoint).await?,
        names: names.into_iter().map(|p| (p.id.0, p.name)).collect(),
        device,
        log,
    };
    Ok(render(&part)?)
}

async fn device_page(
    visit: &Visit,
    id: i64,
    endpoint: &Endpoint,
    typed: Option<String>,
    problem: Option<Problem>,
) -> Page {
    let (scope, shell) = visit.within(id, "devices", &endpoint.device_key).await?;
    let device = need(visit, &scope, endpoint).await?;
    let stored = || {
        let tags: Vec<&str> = device.tags.iter().map(String::as_str).collect();
        tags.join(" ")
    };
    let code = problem.as_ref().map(|p| status(p.error));
    let page = DevicePage {
        part: device_part(visit, &scope, id, endpoint).await?,
        tags: typed.unwrap_or_else(stored),
        faults: problem.as_ref().map(Faults::of).unwrap_or_default(),
        shell,
        device,
    };
    show_as(code.unwrap_or_default(), &page)
}

async fn device(visit: Visit, Path((id, product, key)): Path<(i64, String, String)>) -> Page {
    device_page(&visit, id, &Endpoint::new(product, key), None, None).await
}

async fn set_tags(
    visit: Visit,
    Path((id, product, key)): Path<(i64, String, String)>,
    fields: Fields,
) -> Page {
    let scope = visit.inside(id)?;
    scope.need(ProjectId(id), Role::Operator)?;
    let endpoint = Endpoint::new(&product, &key);
    let typed = fields.get("tags");
    let tags = keys(typed);
    let now = visit.now();
    match visit.service.set_tags(&scope, &endpoint, tags, now).await {
        Ok(_) => to(format!("/projects/{id}/devices/{product}/{key}")),
        Err(problem) => {
            device_page(&visit, id, &endpoint, Some(typed.to_owned()), Some(problem)).await
        }
    }
}

async fn device_live(
    visit: Visit,
    Path((id, product, key)): Path<(i64, String, String)>,
) -> Result<Response, PageError> {
    let scope = visit.inside(id)?;
    let endpoint = Endpoint::new(product, key);
    need(&visit, &scope, &endpoint).await?;
    let api = visit.api().clone();
    Ok(live::follow(&visit, move || {
        let (api, scope, endpoint) = (api.clone(), scope.clone(), endpoint.clone());
        async move { device_part(&api, &scope, id, &endpoint).await }
    }))
}

async fn act(
    visit: Visit,
    Path((id, product, key, action)): Path<(i64, String, String, String)>,
) -> Page {
    let scope = visit.inside(id)?;
    scope.need(ProjectId(id), Role::Operator)?;
    let back = format!("/projects/{id}/devices/{product}/{key}");
    let endpoint = Endpoint::new(product, key);
    let now = visit.now();
    match action.as_str() {
        "disable" => visit.service.disable_device(&scope, &endpoint, now).await?,
        "enable" => visit.service.enable_device(&scope, &endpoint, now).await?,
        _ => return Err(CenterError::NoSuchResource.into()),
    };
    to(back)
}
