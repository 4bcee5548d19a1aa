//! Webhooks of a project and their deliveries; for its owners.

use axum::Json;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::call::Call;
use super::extract::{Body, Path, Query};
use super::{Answer, Api, ErrorBody};
use crate::domain::{Delivery, ProjectId, WebhookId};
use crate::service::{NewWebhook, WebhookInfo};

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(webhooks, create_webhook))
        .routes(routes!(webhook, edit_webhook, delete_webhook))
        .routes(routes!(test))
        .routes(routes!(deliveries))
        .routes(routes!(retry))
}

/// Webhooks of a project.
#[utoipa::path(get, path = "/api/v1/projects/{id}/webhooks", params(("id" = i64, Path)),
    responses((status = 200, body = [WebhookInfo]), (status = "4XX", body = ErrorBody)))]
async fn webhooks(api: Call, Path(id): Path<ProjectId>) -> Answer<Json<Vec<WebhookInfo>>> {
    Ok(Json(api.service.webhooks(api.scope(), id).await?))
}

/// Makes a webhook; its secret is in this answer only.
#[utoipa::path(post, path = "/api/v1/projects/{id}/webhooks", params(("id" = i64, Path)),
    request_body = NewWebhook,
    responses((status = 201, body = WebhookInfo), (status = "4XX", body = ErrorBody)))]
async fn create_webhook(
    api: Call,
    Path(id): Path<ProjectId>,
    Body(new): Body<NewWebhook>,
) -> Answer<(StatusCode, Json<WebhookInfo>)> {
    let (scope, now) = (api.scope(), api.now());
    let made = api.service.create_webhook(scope, id, new, now).await?;
    Ok((StatusCode::CREATED, Json(made)))
}

/// One webhook.
#[utoipa::path(get, path = "/api/v1/webhooks/{id}", params(("id" = i64, Path)),
    responses((status = 200, body = WebhookInfo), (status = "4XX", body = ErrorBody)))]
async fn webhook(api: Call, Path(id): Path<WebhookId>) -> Answer<Json<WebhookInfo>> {
    Ok(Json(api.service.webhook(api.scope(), id).await?))
}

/// Replaces the content of a webhook; with `new_secret` its secret too, which is in this answer only.
#[utoipa::path(put, path = "/api/v1/webhooks/{id}", params(("id" = i64, Path)),
    request_body = NewWebhook,
    responses((status = 200, body = WebhookInfo), (status = "4XX", body = ErrorBody)))]
async fn edit_webhook(
    api: Call,
    Path(id): Path<WebhookId>,
    Body(new): Body<NewWebhook>,
) -> Answer<Json<WebhookInfo>> {
    let (scope, now) = (api.scope(), api.now());
    Ok(Json(api.service.edit_webhook(scope, id, new, now).await?))
}

/// Deletes a webhook with what waits for it.
#[utoipa::path(delete, path = "/api/v1/webhooks/{id}", params(("id" = i64, Path)),
    responses((status = 204), (status = "4XX", body = ErrorBody)))]
async fn delete_webhook(api: Call, Path(id): Path<WebhookId>) -> Answer<StatusCode> {
    let now = api.now();
    api.service.delete_webhook(api.scope(), id, now).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sends an event of kind Test; what becomes of it is among the deliveries.
#[utoipa::path(post, path = "/api/v1/webhooks/{id}/test", params(("id" = i64, Path)),
    responses((status = 202), (status = "4XX", body = ErrorBody)))]
async fn test(api: Call, Path(id): Path<WebhookId>) -> Answer<StatusCode> {
    let now = api.now();
    api.service.test_webhook(api.scope(), id, now).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Which deliveries.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct DeliveryQuery {
    /// Only before the delivery with this id.
    before: Option<i64>,
    /// At most this many; default 100, greatest 1000.
    limit: Option<usize>,
}

/// Deliveries of a webhook, the newest first; those that are over are kept for 7 days, at most 1000.
#[utoipa::path(get, path = "/api/v1/webhooks/{id}/deliveries",
    params(("id" = i64, Path), DeliveryQuery),
    responses((status = 200, body = [Delivery]), (status = "4XX", body = ErrorBody)))]
async fn deliveries(
    api: Call,
    Path(id): Path<WebhookId>,
    Query(query): Query<DeliveryQuery>,
) -> Answer<Json<Vec<Delivery>>> {
    let limit = query.limit.unwrap_or(100).min(1000);
    let found = api.service.deliveries(api.scope(), id, query.before, limit);
    Ok(Json(found.await?))
}

/// Has a delivery tried again now, also one that was delivered.
#[utoipa::path(post, path = "/api/v1/webhooks/{id}/deliveries/{delivery}/retry",
    params(("id" = i64, Path), ("delivery" = i64, Path)),
    responses((status = 202), (status = "4XX", body = ErrorBody)))]
async fn retry(api: Call, Path((id, delivery)): Path<(WebhookId, i64)>) -> Answer<StatusCode> {
    let (scope, now) = (api.scope(), api.now());
    api.service.retry_delivery(scope, id, delivery, now).await?;
    Ok(StatusCode::ACCEPTED)
}
