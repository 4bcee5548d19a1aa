//! Devices, the devices of a plan and its log as files.

use axum::response::Response;
use serde::{Deserialize, Serialize};
use sota_errors::CenterError;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::call::Call;
use super::export::{BATCH, Cell, Format, Record, export};
use super::extract::{Path, Query};
use super::{Answer, Api, ErrorBody};
use crate::domain::{
    ComponentState, Device, DeviceState, LogLine, PlanDevice, PlanId, Problem, Step, StepPlan,
    Time, describe,
};
use crate::service::Why;
use crate::store::Page;

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(devices))
        .routes(routes!(plan_devices))
        .routes(routes!(plan_log))
}

/// Which devices, and the file's format.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct DevicesQuery {
    /// Product key.
    product_key: String,
    /// `csv` (default) or `json`.
    #[serde(default)]
    format: Format,
}

/// A device and whether it is connected.
#[derive(Serialize, ToSchema)]
struct DeviceRecord {
    #[serde(flatten)]
    device: Device,
    /// It is registered now.
    connected: bool,
}

impl Record for DeviceRecord {
    const COLUMNS: &'static [&'static str] = &[
        "product_key",
        "device_key",
        "state",
        "versions",
        "tags",
        "rsrp_dbm",
        "cell_id",
        "battery_percent",
        "first_seen_at",
        "last_seen_at",
    ];

    fn cells(&self) -> Vec<Cell> {
        let device = &self.device;
        let state = match (device.disabled, self.connected) {
            (true, _) => "disabled",
            (false, true) => "connected",
            (false, false) => "away",
        };
        let versions = device.components.iter();
        let versions = versions.map(|c| format!("{}={}", c.identifier, c.version));
        vec![
            Cell::text(&device.endpoint.product_key),
            Cell::text(&device.endpoint.device_key),
            Cell::own(Some(state)),
            Cell::Text(versions.collect::<Vec<_>>().join(";")),
            Cell::Text(device.tags.iter().cloned().collect::<Vec<_>>().join(";")),
            Cell::own(device.rsrp_dbm),
            Cell::own(device.cell_id),
            Cell::own(device.battery_percent),
            Cell::time(Some(device.first_seen_at)),
            Cell::time(Some(device.last_seen_at)),
        ]
    }
}

/// Devices of a product as a file, in order of their keys.
#[utoipa::path(get, path = "/api/v1/devices/export", params(DevicesQuery),
    responses((status = 200, content_type = "text/csv", body = String), (status = "4XX", body = ErrorBody)))]
async fn devices(api: Call, Query(query): Query<DevicesQuery>) -> Answer<Response> {
    let key = query.product_key;
    let product = api.service.store().product_by_key(api.scope(), &key);
    let missing = || Problem::of(CenterError::NoSuchProduct, "product_key", &key);
    let key = product.await?.ok_or_else(missing)?.product_key;
    let name = format!("devices-{key}");
    let (service, scope, now) = (api.service.clone(), api.scope().clone(), api.now());
    let next = move |after: Option<String>| {
        let (service, scope, key) = (service.clone(), scope.clone(), key.clone());
        async move {
            let page = Page {
                after,
                limit: BATCH,
                state: None,
            };
            let found = service.store().devices(&scope, &key, &page).await?;
            let more = found.len() == BATCH;
            let last = found.last().map(|d| Some(d.endpoint.device_key.clone()));
            let record = |device: Device| DeviceRecord {
                connected: service.online(&device, now),
                device,
            };
            let records = found.into_iter().map(record).collect();
            Ok((records, last.filter(|_| more)))
        }
    };
    Ok(export(query.format, &name, None, next).await?)
}

/// Which devices of a plan, and the file's format.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct PlanDevicesQuery {
    /// Only in this state.
    state: Option<DeviceState>,
    /// `csv` (default) or `json`.
    #[serde(default)]
    format: Format,
}

/// A component of a device in a plan.
#[derive(Serialize, ToSchema)]
struct PlanDeviceRecord {
    /// The device.
    device_key: String,
    /// Its state in the plan.
    state: DeviceState,
    /// Name of its group in the rollout.
    group: String,
    /// Component identifier.
    component: String,
    /// Index of the package's file.
    file_index: u8,
    /// The component's state.
    component_state: ComponentState,
    /// Version it ran when it was offered.
    source_version: String,
    /// Version it shall run.
    target_version: String,
    /// Version it runs, as last reported.
    version: String,
    /// Number of the last failure, or of the rule by which the device waits.
    reason: Option<u16>,
    /// The same in words.
    reason_text: String,
    /// Failures so far.
    failures: u8,
    /// When the component was first offered, in ms since 1970.
    started_at: Option<Time>,
    /// When it succeeded or failed for good, in ms since 1970.
    ended_at: Option<Time>,
}

impl PlanDeviceRecord {
    fn of(
        (entry, group): (&PlanDevice, &str),
        (step, plan): (&Step, &StepPlan),
        device: Option<&Device>,
        why: Option<&Why>,
    ) -> PlanDeviceRecord {
        let version = device.and_then(|d| d.version(&step.component, plan.kind));
        let (reason, reason_text) = match (step.failure, why) {
            (Some(number), _) => (Some(number), describe(number)),
            (None, Some(why)) if !why.offered => (why.number, why.message.clone()),
            _ => (None, String::new()),
        };
        PlanDeviceRecord {
            device_key: entry.endpoint.device_key.clone(),
            state: entry.state,
            group: group.to_owned(),
            component: step.component.clone(),
            file_index: step.file_index,
            component_state: step.state,
            source_version: step.source_version.clone(),
            target_version: step.target_version.clone(),
            version: version.unwrap_or_default().to_owned(),
            reason,
            reason_text,
            failures: entry.failures,
            started_at: step.started_at,
            ended_at: step.ended_at,
        }
    }
}

impl Record for PlanDeviceRecord {
    const COLUMNS: &'static [&'static str] = &[
        "device_key",
        "state",
        "group",
        "component",
        "file_index",
        "component_state",
        "source_version",
        "target_version",
        "version",
        "reason",
        "reason_text",
        "failures",
        "started_at",
        "ended_at",
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::text(&self.device_key),
            Cell::own(Some(self.state.name())),
            Cell::text(&self.group),
            Cell::text(&self.component),
            Cell::own(Some(self.file_index)),
            Cell::own(Some(format!("{:?}", self.component_state))),
            Cell::text(&self.source_version),
            Cell::text(&self.target_version),
            Cell::text(&self.version),
            Cell::own(self.reason),
            Cell::text(&self.reason_text),
            Cell::own(Some(self.failures)),
            Cell::time(self.started_at),
            Cell::time(self.ended_at),
        ]
    }
}

/// Devices of a plan as a file: a line for each component, with what it runs, its last failure or why the device waits.
#[utoipa::path(get, path = "/api/v1/plans/{id}/export/devices",
    params(("id" = i64, Path), PlanDevicesQuery),
    responses((status = 200, content_type = "text/csv", body = String), (status = "4XX", body = ErrorBody)))]
async fn plan_devices(
    api: Call,
    Path(id): Path<PlanId>,
    Query(query): Query<PlanDevicesQuery>,
) -> Answer<Response> {
    let plan = api.service.need_plan(api.scope(), id).await?;
    let (service, scope, now) = (api.service.clone(), api.scope().clone(), api.now());
    let state = query.state;
    let name = format!("plan-{id}-devices");
    let next = move |after: Option<String>| {
        let (service, scope, plan) = (service.clone(), scope.clone(), plan.clone());
        async move {
            let page = Page {
                after,
                limit: BATCH,
                state,
            };
            let store = service.store();
            let steps = service.steps(&scope, &plan).await?;
            let found = store.plan_devices(&scope, plan.id, &page).await?;
            let mut records = Vec::new();
            for entry in &found {
                let device = store.device(&scope, &entry.endpoint).await?;
                let waits = !entry.open && !entry.state.over() && device.is_some();
                let why = match waits {
                    true => {
                        service
                            .why(&scope, &entry.endpoint, Some(plan.id), now)
                            .await?
                    }
                    false => Vec::new(),
                };
                let group = plan.group_name(entry.group);
                for step in entry.steps.iter().zip(steps.iter()) {
                    let entry = (entry, group.as_str());
                    let record = PlanDeviceRecord::of(entry, step, device.as_ref(), why.first());
                    records.push(record);
                }
            }
            let last = found.last().map(|d| Some(d.endpoint.device_key.clone()));
            Ok((records, last.filter(|_| found.len() == BATCH)))
        }
    };
    Ok(export(query.format, &name, None, next).await?)
}

/// The file's format.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct FormatQuery {
    /// `csv` (default) or `json`.
    #[serde(default)]
    format: Format,
}

impl Record for LogLine {
    const COLUMNS: &'static [&'static str] = &["at", "device_key", "number", "text"];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::time(Some(self.at)),
            Cell::text(&self.endpoint.device_key),
            Cell::own(self.number),
            Cell::text(&self.text),
        ]
    }
}

/// Log of all devices of a plan as a file, oldest first.
#[utoipa::path(get, path = "/api/v1/plans/{id}/export/log", params(("id" = i64, Path), FormatQuery),
    responses((status = 200, content_type = "text/csv", body = String), (status = "4XX", body = ErrorBody)))]
async fn plan_log(
    api: Call,
    Path(id): Path<PlanId>,
    Query(query): Query<FormatQuery>,
) -> Answer<Response> {
    api.service.need_plan(api.scope(), id).await?;
    let (service, scope) = (api.service.clone(), api.scope().clone());
    let next = move |after: i64| {
        let (service, scope) = (service.clone(), scope.clone());
        async move {
            let lines = service.store().plan_log(&scope, id, after, BATCH).await?;
            let last = lines.last().map(|(number, _)| *number);
            let more = lines.len() == BATCH;
            let lines = lines.into_iter().map(|(_, line)| line).collect();
            Ok((lines, last.filter(|_| more)))
        }
    };
    let name = format!("plan-{id}-log");
    Ok(export(query.format, &name, 0, next).await?)
}
