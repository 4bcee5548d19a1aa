//! Plans: list, monitor, one device of a plan.

use askama::Template;
use axum::extract::{Path, Query};
use axum::response::Response;
use serde::Deserialize;
use sota_errors::CenterError;

use super::chart::Chart;
use super::visit::{Shell, Visit};
use super::{Page, PageError, Route, get, live, post, render, show, to};
use crate::api::Api;
use crate::domain::{
    CancelMode, ComponentState, Counters, DeviceState, Endpoint, LogLine, Plan, PlanAction,
    PlanDevice, PlanId, PlanState, Problem,
};
use crate::service::{GroupStatus, PlanStatus};
use crate::store::{Page as List, Scope};

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/projects/{project}/plans", list),
        get("/projects/{project}/plans/{plan}", monitor),
        get("/projects/{project}/plans/{plan}/live", monitor_live),
        post("/projects/{project}/plans/{plan}/{action}", act),
        get("/projects/{project}/plans/{plan}/devices/{device}", device),
        get(
            "/projects/{project}/plans/{plan}/devices/{device}/live",
            device_live,
        ),
        post(
            "/projects/{project}/plans/{plan}/devices/{device}/{action}",
            act_on_device,
        ),
    ]
}

/// Devices on one page of the monitor.
const PAGE: usize = 50;

/// A part of the distribution's bar: its colour, where it begins and how wide it is, of 1000.
pub(super) struct Part {
    pub(super) tone: &'static str,
    pub(super) from: f64,
    pub(super) width: f64,
}

/// A line under the bar.
pub(super) struct Share {
    pub(super) state: DeviceState,
    pub(super) devices: u64,
}

pub(super) fn distribution(counters: &Counters) -> (Vec<Part>, Vec<Share>) {
    let mut counters = *counters;
    let total = counters.total().max(1) as f64;
    let (mut parts, mut shares, mut from) = (Vec::new(), Vec::new(), 0.0);
    for state in [
        DeviceState::Upgraded,
        DeviceState::InUpgrade,
        DeviceState::UpgradeFailed,
        DeviceState::NotUpgraded,
        DeviceState::NoUpdateRequired,
    ] {
        let devices = *counters.of(state);
        let width = devices as f64 * 1000.0 / total;
        if devices > 0 {
            let tone = super::show::device_tone(&state);
            parts.push(Part { tone, from, width });
        }
        shares.push(Share { state, devices });
        from += width;
    }
    (parts, shares)
}

struct Line {
    plan: Plan,
    total: u64,
    parts: Vec<Part>,
    rate: Option<f64>,
}

#[derive(Template)]
#[template(path = "plans.html")]
struct Plans {
    shell: Shell,
    lines: Vec<Line>,
}

async fn list(visit: Visit, Path(id): Path<i64>) -> Page {
    let (scope, shell) = visit.within(id, "plans", "Plans").await?;
    let store = visit.service.store();
    let mut lines = Vec::new();
    for plan in store.plans(&scope).await?.into_iter().rev() {
        let counters = store.counters(&scope, plan.id).await?;
        lines.push(Line {
            total: counters.total(),
            parts: distribution(&counters).0,
            rate: counters.success_rate_percent(),
            plan,
        });
    }
    show(&Plans { shell, lines })
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    state: String,
    after: Option<String>,
}

#[derive(Template)]
#[template(path = "plan.html")]
struct Monitor {
    shell: Shell,
    plan: Plan,
    product: String,
    model: String,
    components: Vec<(String, String, String)>,
    part: String,
    query: String,
}

impl Monitor {
    fn saved(&self) -> bool {
        self.plan.state == PlanState::Saved
    }

    /// A group of the rollout is not open yet.
    fn next_group(&self) -> Option<String> {
        let next = self.plan.progress.group.checked_add(1)?;
        let more = usize::from(next) < self.plan.rollout.group_count();
        (more && self.plan.state.active()).then(|| self.plan.group_name(next))
    }
}

#[derive(Template)]
#[template(path = "plan-live.html")]
struct MonitorPart {
    base: String,
    plan: Plan,
    total: u64,
    rate: Option<f64>,
    /// Of the rollout; empty when there is one group only.
    groups: Vec<GroupStatus>,
    /// Why the plan suspended itself.
    suspended: Option<String>,
    parts: Vec<Part>,
    shares: Vec<Share>,
    chart: Option<Chart>,
    state: Option<DeviceState>,
    devices: Vec<PlanDevice>,
    next: Option<String>,
    first: bool,
}

async fn monitor_part(
    api: &Api,
    scope: &Scope,
    project: i64,
    id: PlanId,
    asked: &Asked,
) -> Result<String, PageError> {
    let status: PlanStatus = api.service.plan_status(scope, id).await?;
    let state = DeviceState::from_name(&asked.state);
    let page = List {
        after: asked.after.clone(),
        limit: PAGE + 1,
        state,
    };
    let mut devices = api.service.store().plan_devices(scope, id, &page).await?;
    let more = devices.len() > PAGE;
    devices.truncate(PAGE);
    let last = devices.last().map(|d| d.endpoint.device_key.clone());
    let (parts, shares) = distribution(&status.counters);
    let part = MonitorPart {
        base: format!("/projects/{project}"),
        total: status.counters.total(),
        rate: status.success_rate_percent,
        groups: match status.groups.len() {
            0 | 1 => Vec::new(),
            _ => status.groups,
        },
        suspended: status
            .plan
            .progress
            .suspended_by
            .map(crate::domain::describe),
        plan: status.plan,
        chart: Chart::of(&api.service.plan_progress(scope, id, api.now()).await?),
        parts,
        shares,
        state,
        devices,
        next: last.filter(|_| more),
        first: asked.after.is_none(),
    };
    Ok(render(&part)?)
}

async fn monitor(
    visit: Visit,
    Path((id, plan)): Path<(i64, i64)>,
    Query(asked): Query<Asked>,
) -> Page {
    let (scope, mut shell) = visit.within(id, "plans", "Plan").await?;
    let plan = visit.service.need_plan(&scope, PlanId(plan)).await?;
    let store = visit.service.store();
    let product = store.product(&scope, plan.product).await?;
    let model = store.model(&scope, plan.model).await?;
    let mut components = Vec::new();
    for chosen in &plan.components {
        let package = store.package(&scope, chosen.package).await?;
        let (name, version) = package
            .map(|p| (p.name, p.target_version))
            .unwrap_or_default();
        components.push((chosen.component.clone(), name, version));
    }
    shell.title.clone_from(&plan.name);
    let query = match (&asked.state, &asked.after) {
        (state, None) if state.is_empty() => String::new(),
        (state, None) => format!("?state={state}"),
        (state, Some(after)) => format!("?state={state}&after={after}"),
    };
    show(&Monitor {
        part: monitor_part(&visit, &scope, id, plan.id, &asked).await?,
        shell,
        product: product.map(|p| p.name).unwrap_or_default(),
        model: model.map(|m| m.name).unwrap_or_default(),
        components,
        plan,
        query,
    })
}

async fn monitor_live(
    visit: Visit,
    Path((id, plan)): Path<(i64, i64)>,
    Query(asked): Query<Asked>,
) -> Result<Response, PageError> {
    let scope = visit.inside(id)?;
    let plan = visit.service.need_plan(&scope, PlanId(plan)).await?.id;
    let api = visit.api().clone();
    Ok(live::follow(&visit, move || {
        let (api, scope, asked) = (api.clone(), scope.clone(), asked.clone());
        async move { monitor_part(&api, &scope, id, plan, &asked).await }
    }))
}

async fn act(visit: Visit, Path((id, plan, action)): Path<(i64, i64, String)>) -> Page {
    let scope = visit.operating(id)?;
    let action = match action.as_str() {
        "activate" => PlanAction::Activate,
        "suspend" => PlanAction::Suspend,
        "resume" => PlanAction::Resume,
        "terminate" | "terminate-hard" => {
            let mode = match action.as_str() {
                "terminate" => CancelMode::Soft,
                _ => CancelMode::Hard,
            };
            let now = visit.now();
            let service = &visit.service;
            service.terminate(&scope, PlanId(plan), mode, now).await?;
            return to(format!("/projects/{id}/plans/{plan}"));
        }
        "next-group" => {
            let now = visit.now();
            let opened = visit.service.open_next_group(&scope, PlanId(plan), now);
            opened.await?;
            return to(format!("/projects/{id}/plans/{plan}"));
        }
        "delete" => {
            let now = visit.now();
            let deleted = visit.service.delete_plan(&scope, PlanId(plan), now);
            deleted.await?;
            return to(format!("/projects/{id}/plans"));
        }
        _ => return Err(CenterError::NoSuchResource.into()),
    };
    let now = visit.now();
    let done = visit.service.plan_action(&scope, PlanId(plan), action, now);
    done.await?;
    to(format!("/projects/{id}/plans/{plan}"))
}

#[derive(Template)]
#[template(path = "plan-device.html")]
struct PlanDevicePage {
    shell: Shell,
    plan: Plan,
    key: String,
    state: DeviceState,
    /// It is not over.
    running: bool,
    /// And can be asked to give up.
    cancellable: bool,
    part: String,
}

#[derive(Template)]
#[template(path = "plan-device-live.html")]
struct PlanDevicePart {
    entry: PlanDevice,
    log: Vec<LogLine>,
}

async fn entry(api: &Api, scope: &Scope, plan: &Plan, key: &str) -> Result<PlanDevice, PageError> {
    let endpoint = Endpoint::new(&plan.product_key, key);
    let entry = api
        .service
        .store()
        .plan_device(scope, plan.id, &endpoint)
        .await?;
    let missing = || Problem::new(CenterError::NoSuchPlanDevice, endpoint.to_string());
    Ok(entry.ok_or_else(missing)?)
}

async fn device_part(
    api: &Api,
    scope: &Scope,
    plan: &Plan,
    key: &str,
) -> Result<String, PageError> {
    let entry = entry(api, scope, plan, key).await?;
    let store = api.service.store();
    let mut log = store
        .log(scope, &entry.endpoint, Some(plan.id), 500)
        .await?;
    log.reverse();
    Ok(render(&PlanDevicePart { entry, log })?)
}

async fn device(visit: Visit, Path((id, plan, key)): Path<(i64, i64, String)>) -> Page {
    let (scope, shell) = visit.within(id, "plans", &key).await?;
    let plan = visit.service.need_plan(&scope, PlanId(plan)).await?;
    let found = entry(&visit, &scope, &plan, &key).await?;
    let flashing = found
        .steps
        .iter()
        .any(|s| s.state == ComponentState::Upgrading);
    show(&PlanDevicePage {
        part: device_part(&visit, &scope, &plan, &key).await?,
        state: found.state,
        running: !found.state.over(),
        cancellable: !found.state.over() && !flashing,
        shell,
        plan,
        key,
    })
}

async fn device_live(
    visit: Visit,
    Path((id, plan, key)): Path<(i64, i64, String)>,
) -> Result<Response, PageError> {
    let scope = visit.inside(id)?;
    let plan = visit.service.need_plan(&scope, PlanId(plan)).await?;
    entry(&visit, &scope, &plan, &key).await?;
    let api = visit.api().clone();
    Ok(live::follow(&visit, move || {
        let (api, scope, plan, key) = (api.clone(), scope.clone(), plan.clone(), key.clone());
        async move { device_part(&api, &scope, &plan, &key).await }
    }))
}

async fn act_on_device(
    visit: Visit,
    Path((id, plan, key, action)): Path<(i64, i64, String, String)>,
) -> Page {
    let scope = visit.operating(id)?;
    let now = visit.now();
    match action.as_str() {
        "cancel" | "cancel-softly" => {
            let mode = match action.as_str() {
                "cancel" => CancelMode::Hard,
                _ => CancelMode::Soft,
            };
            let service = &visit.service;
            let plan = PlanId(plan);
            service.cancel_as(&scope, plan, &key, mode, now).await?;
        }
        "retry" => visit.service.retry(&scope, PlanId(plan), &key, now).await?,
        _ => return Err(CenterError::NoSuchResource.into()),
    }
    to(format!("/projects/{id}/plans/{plan}/devices/{key}"))
}
