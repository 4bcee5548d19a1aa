//! Plans and the devices in them.

use std::collections::BTreeSet;

use axum::Json;
use axum::http::StatusCode;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use sota_errors::CenterError;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::call::Call;
use super::extract::{Body, Path, Query};
use super::{Answer, Api, ErrorBody};
use crate::domain::{
    CancelMode, CancelOutcome, DeviceState, Endpoint, FilterId, LogLine, ModelId, Plan, PlanAction,
    PlanComponent, PlanDevice, PlanId, Problem, ProductId, ProjectId, Rollout, Sample, Strategy,
    Time,
};
use crate::service::{NewPlan, PlanStatus};
use crate::store::Page;

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(plans, create_plan))
        .routes(routes!(plan, edit_plan, delete_plan))
        .routes(routes!(activate))
        .routes(routes!(suspend))
        .routes(routes!(resume))
        .routes(routes!(terminate))
        .routes(routes!(next_group))
        .routes(routes!(progress))
        .routes(routes!(plan_devices))
        .routes(routes!(plan_device))
        .routes(routes!(cancel))
        .routes(routes!(retry))
        .routes(routes!(confirm))
}

/// A plan to be made, or the new content of a saved one.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PlanBody {
    /// Project.
    project: ProjectId,
    /// Name, unique in the project, at most 100 characters.
    name: String,
    /// Product; fixed once saved.
    product: ProductId,
    /// Model.
    model: ModelId,
    /// Device keys; empty = every device of the product.
    #[serde(default)]
    whitelist: BTreeSet<String>,
    /// Device keys; wins over the whitelist.
    #[serde(default)]
    blacklist: BTreeSet<String>,
    /// Devices chosen by a saved filter instead of a whitelist.
    #[serde(default)]
    audience: Option<AudienceBody>,
    /// IANA time zone; default UTC.
    time_zone: Option<String>,
    /// `2026-11-23T10:00:00` in the time zone, or with an offset; default: now.
    start: Option<String>,
    /// The same; default: no end.
    end: Option<String>,
    /// Conditions.
    #[serde(default)]
    strategy: Strategy,
    /// How it reaches its devices: groups, hours, mode, retries.
    #[serde(default)]
    rollout: Rollout,
    /// Components in sequence, with the chosen packages.
    components: Vec<PlanComponent>,
    /// Text for the user of the device.
    #[serde(default)]
    upgrade_text: String,
    /// Of an edit: the plan's revision as it was read. If the plan has changed since, nothing is done and the answer is
    /// 409; left out, the last edit counts.
    revision: Option<u64>,
}

/// A saved filter as a plan's devices.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AudienceBody {
    /// The saved filter.
    filter: FilterId,
    /// Devices that come to match later join the plan; otherwise those that match at its activation are its whitelist.
    #[serde(default)]
    live: bool,
}

impl PlanBody {
    fn read(self, now: Time) -> Result<NewPlan, Problem> {
        let time_zone = self.time_zone.unwrap_or_else(|| "UTC".into());
        let zone = TimeZone::get(&time_zone)
            .map_err(|_| Problem::of(CenterError::TimeUnreadable, "time_zone", &time_zone))?;
        let start_at = self.start.map(|s| time("start", &s, &zone)).transpose()?;
        let end_at = self.end.map(|s| time("end", &s, &zone)).transpose()?;
        Ok(NewPlan {
            project: self.project,
            name: self.name,
            product: self.product,
            model: self.model,
            whitelist: self.whitelist,
            blacklist: self.blacklist,
            audience: self.audience.map(|a| (a.filter, a.live)),
            time_zone,
            start_at: start_at.unwrap_or(now),
            end_at,
            strategy: self.strategy,
            rollout: self.rollout,
            components: self.components,
            upgrade_text: self.upgrade_text,
        })
    }
}

/// A time as a person gives it: in the zone, or with an offset.
pub(crate) fn time(field: &str, text: &str, zone: &TimeZone) -> Result<Time, Problem> {
    let bad = || Problem::of(CenterError::TimeUnreadable, field, format!("{text:?}"));
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Ok(instant.as_millisecond());
    }
    let local: DateTime = text.parse().map_err(|_| bad())?;
    let instant = zone
        .to_ambiguous_zoned_datetime(local)
        .compatible()
        .map_err(|_| bad())?;
    Ok(instant.timestamp().as_millisecond())
}

/// Plans of the account.
#[utoipa::path(get, path = "/api/v1/plans", responses((status = 200, body = [Plan])))]
async fn plans(api: Call) -> Answer<Json<Vec<Plan>>> {
    Ok(Json(api.service.store().plans(api.scope()).await?))
}

/// Makes a plan in state Saved.
#[utoipa::path(post, path = "/api/v1/plans", request_body = PlanBody,
    responses((status = 201, body = Plan), (status = "4XX", body = ErrorBody)))]
async fn create_plan(api: Call, Body(body): Body<PlanBody>) -> Answer<(StatusCode, Json<Plan>)> {
    let now = api.now();
    let plan = api
        .service
        .create_plan(api.scope(), body.read(now)?, now)
        .await?;
    Ok((StatusCode::CREATED, Json(plan)))
}

/// A plan with the distribution of its devices and its success rate.
#[utoipa::path(get, path = "/api/v1/plans/{id}", params(("id" = i64, Path)),
    responses((status = 200, body = PlanStatus), (status = "4XX", body = ErrorBody)))]
async fn plan(api: Call, Path(id): Path<PlanId>) -> Answer<Json<PlanStatus>> {
    Ok(Json(api.service.plan_status(api.scope(), id).await?))
}

/// Replaces the content of a saved plan.
#[utoipa::path(put, path = "/api/v1/plans/{id}", params(("id" = i64, Path)), request_body = PlanBody,
    responses((status = 200, body = Plan), (status = "4XX", body = ErrorBody)))]
async fn edit_plan(
    api: Call,
    Path(id): Path<PlanId>,
    Body(body): Body<PlanBody>,
) -> Answer<Json<Plan>> {
    let now = api.now();
    let revision = body.revision;
    let new = body.read(now)?;
    let edited = api.service.edit_plan(api.scope(), id, new, revision, now);
    Ok(Json(edited.await?))
}

/// Deletes a saved plan.
#[utoipa::path(delete, path = "/api/v1/plans/{id}", params(("id" = i64, Path)),
    responses((status = 204), (status = "4XX", body = ErrorBody)))]
async fn delete_plan(api: Call, Path(id): Path<PlanId>) -> Answer<StatusCode> {
    let now = api.now();
    api.service.delete_plan(api.scope(), id, now).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Saved -> Activated: connected devices that may have it get their offer.
#[utoipa::path(post, path = "/api/v1/plans/{id}/activate", params(("id" = i64, Path)),
    responses((status = 200, body = PlanStatus), (status = "4XX", body = ErrorBody)))]
async fn activate(api: Call, Path(id): Path<PlanId>) -> Answer<Json<PlanStatus>> {
    act(&api, id, PlanAction::Activate).await
}

/// No new starts until resumed.
#[utoipa::path(post, path = "/api/v1/plans/{id}/suspend", params(("id" = i64, Path)),
    responses((status = 200, body = PlanStatus), (status = "4XX", body = ErrorBody)))]
async fn suspend(api: Call, Path(id): Path<PlanId>) -> Answer<Json<PlanStatus>> {
    act(&api, id, PlanAction::Suspend).await
}

/// A suspended plan goes on.
#[utoipa::path(post, path = "/api/v1/plans/{id}/resume", params(("id" = i64, Path)),
    responses((status = 200, body = PlanStatus), (status = "4XX", body = ErrorBody)))]
async fn resume(api: Call, Path(id): Path<PlanId>) -> Answer<Json<PlanStatus>> {
    act(&api, id, PlanAction::Resume).await
}

/// How what runs is stopped.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct CancelQuery {
    /// `Soft`: what runs goes on to its end; `Hard`: devices are asked to give up where that is still safe.
    cancel: Option<CancelMode>,
}

/// Ends the plan for good: waiting devices fail. Running ones go on, or with `cancel=Hard` are asked to give up unless
/// they are being written; that can be said again of a plan that is over.
#[utoipa::path(post, path = "/api/v1/plans/{id}/terminate", params(("id" = i64, Path), CancelQuery),
    responses((status = 200, body = PlanStatus), (status = "4XX", body = ErrorBody)))]
async fn terminate(
    api: Call,
    Path(id): Path<PlanId>,
    Query(query): Query<CancelQuery>,
) -> Answer<Json<PlanStatus>> {
    let mode = query.cancel.unwrap_or(CancelMode::Soft);
    let (scope, now) = (api.scope(), api.now());
    Ok(Json(api.service.terminate(scope, id, mode, now).await?))
}

/// Opens the next group of the rollout, also one that waits for approval.
#[utoipa::path(post, path = "/api/v1/plans/{id}/next-group", params(("id" = i64, Path)),
    responses((status = 200, body = PlanStatus), (status = "4XX", body = ErrorBody)))]
async fn next_group(api: Call, Path(id): Path<PlanId>) -> Answer<Json<PlanStatus>> {
    let scope = api.scope();
    api.service.open_next_group(scope, id, api.now()).await?;
    Ok(Json(api.service.plan_status(scope, id).await?))
}

async fn act(api: &Call, id: PlanId, action: PlanAction) -> Answer<Json<PlanStatus>> {
    Ok(Json(
        api.service
            .plan_action(api.scope(), id, action, api.now())
            .await?,
    ))
}

/// Devices of a plan by state over time, oldest first; the last is as they are now. At most some 120: the longer a plan
/// runs, the longer the intervals. Between two the earlier one holds.
#[utoipa::path(get, path = "/api/v1/plans/{id}/progress", params(("id" = i64, Path)),
    responses((status = 200, body = [Sample]), (status = "4XX", body = ErrorBody)))]
async fn progress(api: Call, Path(id): Path<PlanId>) -> Answer<Json<Vec<Sample>>> {
    let (scope, now) = (api.scope(), api.now());
    Ok(Json(api.service.plan_progress(scope, id, now).await?))
}

/// Which devices.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct PlanDeviceQuery {
    /// Only in this state.
    state: Option<DeviceState>,
    /// Only after this device key.
    after: Option<String>,
    /// At most this many; default 100, greatest 1000.
    limit: Option<usize>,
}

/// Devices of a plan with their states and those of their components.
#[utoipa::path(get, path = "/api/v1/plans/{id}/devices", params(("id" = i64, Path), PlanDeviceQuery),
    responses((status = 200, body = [PlanDevice]), (status = "4XX", body = ErrorBody)))]
async fn plan_devices(
    api: Call,
    Path(id): Path<PlanId>,
    Query(query): Query<PlanDeviceQuery>,
) -> Answer<Json<Vec<PlanDevice>>> {
    api.service.need_plan(api.scope(), id).await?;
    let limit = query.limit.unwrap_or(100).min(1000);
    let page = Page {
        after: query.after,
        limit,
        state: query.state,
    };
    Ok(Json(
        api.service
            .store()
            .plan_devices(api.scope(), id, &page)
            .await?,
    ))
}

/// A device in a plan, with its log.
#[derive(Debug, Serialize, ToSchema)]
struct PlanDeviceDetails {
    /// The device in the plan.
    #[serde(flatten)]
    device: PlanDevice,
    /// Its log in this plan, oldest first, the last 1000 lines.
    log: Vec<LogLine>,
}

/// One device of a plan with its components and its log.
#[utoipa::path(get, path = "/api/v1/plans/{id}/devices/{device_key}",
    params(("id" = i64, Path), ("device_key" = String, Path)),
    responses((status = 200, body = PlanDeviceDetails), (status = "4XX", body = ErrorBody)))]
async fn plan_device(
    api: Call,
    Path((id, device_key)): Path<(PlanId, String)>,
) -> Answer<Json<PlanDeviceDetails>> {
    let scope = api.scope();
    let plan = api.service.need_plan(scope, id).await?;
    let endpoint = Endpoint::new(plan.product_key, device_key);
    let store = api.service.store();
    let device = store.plan_device(scope, id, &endpoint).await?;
    let device =
        device.ok_or_else(|| Problem::new(CenterError::NoSuchPlanDevice, endpoint.to_string()))?;
    let log = store.log(scope, &endpoint, Some(id), 1000).await?;
    Ok(Json(PlanDeviceDetails { device, log }))
}

/// What became of a cancel.
#[derive(Debug, Serialize, ToSchema)]
struct Cancelled {
    /// Cancelled; Asked: the device stops unless its MCU is already flashing; Ending: it ends what runs.
    outcome: CancelOutcome,
}

/// Cancels one device of a plan. `cancel=Hard` (default) asks it to give up; 409 CancelTooLate when its MCU is already
/// flashing. `Soft` lets it end what runs and offers it nothing more.
#[utoipa::path(post, path = "/api/v1/plans/{id}/devices/{device_key}/cancel",
    params(("id" = i64, Path), ("device_key" = String, Path), CancelQuery),
    responses((status = 200, body = Cancelled), (status = "4XX", body = ErrorBody)))]
async fn cancel(
    api: Call,
    Path((id, device_key)): Path<(PlanId, String)>,
    Query(query): Query<CancelQuery>,
) -> Answer<Json<Cancelled>> {
    let mode = query.cancel.unwrap_or(CancelMode::Hard);
    let outcome = api
        .service
        .cancel_as(api.scope(), id, &device_key, mode, api.now())
        .await?;
    Ok(Json(Cancelled { outcome }))
}

/// When a device of a manual plan may begin.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
struct ConfirmBody {
    /// `2026-11-23T10:00:00` in the plan's time zone, or with an offset; absent = now.
    at: Option<String>,
}

/// Manual mode: the device's user confirms the upgrade, now or for a time. Until the device begins it can be said again.
#[utoipa::path(post, path = "/api/v1/plans/{id}/devices/{device_key}/confirm", request_body = ConfirmBody,
    params(("id" = i64, Path), ("device_key" = String, Path)),
    responses((status = 204), (status = "4XX", body = ErrorBody)))]
async fn confirm(
    api: Call,
    Path((id, device_key)): Path<(PlanId, String)>,
    Body(body): Body<ConfirmBody>,
) -> Answer<StatusCode> {
    let (scope, now) = (api.scope(), api.now());
    let plan = api.service.need_plan(scope, id).await?;
    let zone = TimeZone::get(&plan.time_zone).unwrap_or(TimeZone::UTC);
    let at = body.at.map(|at| time("at", &at, &zone)).transpose()?;
    let at = at.unwrap_or(now);
    api.service
        .confirm_device(scope, id, &device_key, at, now)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Gives a failed device another try.
#[utoipa::path(post, path = "/api/v1/plans/{id}/devices/{device_key}/retry",
    params(("id" = i64, Path), ("device_key" = String, Path)),
    responses((status = 204), (status = "4XX", body = ErrorBody)))]
async fn retry(api: Call, Path((id, device_key)): Path<(PlanId, String)>) -> Answer<StatusCode> {
    api.service
        .retry(api.scope(), id, &device_key, api.now())
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
