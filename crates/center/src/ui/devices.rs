//! Products, devices, one device with its story and why it gets no plan.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::{Path, Query};
use axum::response::Response;
use serde::Deserialize;

use super::form::{Faults, Fields};
use super::visit::{Shell, Visit};
use super::{Page, PageError, Route, get, live, post, render, show, show_as, to};
use crate::api::{Api, status};
use crate::domain::{Device, Endpoint, LogLine, PlanDevice, Problem, Product, ProjectId, Role};
use crate::service::{NewProduct, Why};
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
            "/projects/{project}/devices/{product}/{device}/{action}",
            act,
        ),
    ]
}

/// Devices on one page of a list.
const PAGE: usize = 50;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    product: Option<String>,
    after: Option<String>,
    find: String,
}

#[derive(Template)]
#[template(path = "devices.html")]
struct Devices {
    shell: Shell,
    products: Vec<Product>,
    /// The product whose devices are shown.
    chosen: Option<Product>,
    devices: Vec<(Device, bool)>,
    find: String,
    after: bool,
    next: Option<String>,
}

async fn list(visit: Visit, Path(id): Path<i64>, Query(asked): Query<Asked>) -> Page {
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
    let find = asked.find.trim().to_owned();
    let mut devices = Vec::new();
    if let Some(product) = &chosen {
        if find.is_empty() {
            let page = List {
                after: asked.after.clone(),
                limit: PAGE + 1,
                state: None,
            };
            devices = store.devices(&scope, &product.product_key, &page).await?;
        } else {
            let endpoint = Endpoint::new(&product.product_key, &find);
            devices.extend(store.device(&scope, &endpoint).await?);
        }
    }
    let more = devices.len() > PAGE;
    devices.truncate(PAGE);
    let last = devices.last().map(|d| d.endpoint.device_key.clone());
    let now = visit.now();
    let with_online = |d: Device| {
        let online = d.online(now);
        (d, online)
    };
    show(&Devices {
        shell,
        products,
        chosen,
        devices: devices.into_iter().map(with_online).collect(),
        find,
        after: asked.after.is_some(),
        next: last.filter(|_| more),
    })
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

async fn device(visit: Visit, Path((id, product, key)): Path<(i64, String, String)>) -> Page {
    let (scope, shell) = visit.within(id, "devices", &key).await?;
    let endpoint = Endpoint::new(product, key);
    let device = need(&visit, &scope, &endpoint).await?;
    let part = device_part(&visit, &scope, id, &endpoint).await?;
    show(&DevicePage {
        shell,
        device,
        part,
    })
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
