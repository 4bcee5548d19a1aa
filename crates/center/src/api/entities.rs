//! Projects, products, models, devices.

use std::collections::BTreeSet;

use axum::Json;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use serde::Deserialize;
use sota_errors::CenterError;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::call::Call;
use super::extract::{Body, Path, Query};
use super::{Answer, Api, ErrorBody};
use crate::domain::{
    Device, Endpoint, Filter, FilterId, LogLine, Model, ModelId, PlanId, Problem, Product,
    ProductId, Project, ProjectId, Role, SavedFilter,
};
use crate::service::{NewFilter, NewModel, NewProduct, NewProject, TagsImported, Why};
use crate::store::Page;

/// Greatest page of a list.
const PAGE_LIMIT: usize = 1000;

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(projects, create_project))
        .routes(routes!(project))
        .routes(routes!(products, create_product))
        .routes(routes!(product))
        .routes(routes!(models, create_model))
        .routes(routes!(model, delete_model))
        .routes(routes!(devices))
        .routes(routes!(device))
        .routes(routes!(set_tags))
        .routes(routes!(import_tags))
        .routes(routes!(filters, create_filter))
        .routes(routes!(delete_filter))
        .routes(routes!(disable))
        .routes(routes!(enable))
        .routes(routes!(device_log))
        .routes(routes!(why))
}

/// Projects of the account.
#[utoipa::path(get, path = "/api/v1/projects", responses((status = 200, body = [Project])))]
async fn projects(api: Call) -> Answer<Json<Vec<Project>>> {
    Ok(Json(api.service.store().projects(api.scope()).await?))
}

/// Makes a project.
#[utoipa::path(post, path = "/api/v1/projects", request_body = NewProject,
    responses((status = 201, body = Project), (status = "4XX", body = ErrorBody)))]
async fn create_project(
    api: Call,
    Body(new): Body<NewProject>,
) -> Answer<(StatusCode, Json<Project>)> {
    let project = api
        .service
        .create_project(api.scope(), new, api.now())
        .await?;
    Ok((StatusCode::CREATED, Json(project)))
}

/// One project.
#[utoipa::path(get, path = "/api/v1/projects/{id}", params(("id" = i64, Path)),
    responses((status = 200, body = Project), (status = "4XX", body = ErrorBody)))]
async fn project(api: Call, Path(id): Path<ProjectId>) -> Answer<Json<Project>> {
    let project = api.service.store().project(api.scope(), id).await?;
    Ok(Json(project.ok_or(CenterError::NoSuchProject)?))
}

/// A viewer does not see the secret: it is empty.
fn shown(api: &Call, product: Product) -> Product {
    match api.scope().role(product.project) >= Some(Role::Operator) {
        true => product,
        false => Product {
            product_secret: String::new(),
            ..product
        },
    }
}

/// Products of the account; to a viewer with empty secrets.
#[utoipa::path(get, path = "/api/v1/products", responses((status = 200, body = [Product])))]
async fn products(api: Call) -> Answer<Json<Vec<Product>>> {
    let products = api.service.store().products(api.scope()).await?;
    Ok(Json(products.into_iter().map(|p| shown(&api, p)).collect()))
}

/// Makes a product.
#[utoipa::path(post, path = "/api/v1/products", request_body = NewProduct,
    responses((status = 201, body = Product), (status = "4XX", body = ErrorBody)))]
async fn create_product(
    api: Call,
    Body(new): Body<NewProduct>,
) -> Answer<(StatusCode, Json<Product>)> {
    let product = api
        .service
        .create_product(api.scope(), new, api.now())
        .await?;
    Ok((StatusCode::CREATED, Json(product)))
}

/// One product.
#[utoipa::path(get, path = "/api/v1/products/{id}", params(("id" = i64, Path)),
    responses((status = 200, body = Product), (status = "4XX", body = ErrorBody)))]
async fn product(api: Call, Path(id): Path<ProductId>) -> Answer<Json<Product>> {
    let product = api.service.store().product(api.scope(), id).await?;
    let product = product.ok_or(CenterError::NoSuchProduct)?;
    Ok(Json(shown(&api, product)))
}

/// Models of the account.
#[utoipa::path(get, path = "/api/v1/models", responses((status = 200, body = [Model])))]
async fn models(api: Call) -> Answer<Json<Vec<Model>>> {
    Ok(Json(api.service.store().models(api.scope()).await?))
}

/// Makes a model.
#[utoipa::path(post, path = "/api/v1/models", request_body = NewModel,
    responses((status = 201, body = Model), (status = "4XX", body = ErrorBody)))]
async fn create_model(api: Call, Body(new): Body<NewModel>) -> Answer<(StatusCode, Json<Model>)> {
    let model = api
        .service
        .create_model(api.scope(), new, api.now())
        .await?;
    Ok((StatusCode::CREATED, Json(model)))
}

/// One model.
#[utoipa::path(get, path = "/api/v1/models/{id}", params(("id" = i64, Path)),
    responses((status = 200, body = Model), (status = "4XX", body = ErrorBody)))]
async fn model(api: Call, Path(id): Path<ModelId>) -> Answer<Json<Model>> {
    let model = api.service.store().model(api.scope(), id).await?;
    Ok(Json(model.ok_or(CenterError::NoSuchModel)?))
}

/// Deletes a model that no plan uses.
#[utoipa::path(delete, path = "/api/v1/models/{id}", params(("id" = i64, Path)),
    responses((status = 204), (status = "4XX", body = ErrorBody)))]
async fn delete_model(api: Call, Path(id): Path<ModelId>) -> Answer<StatusCode> {
    let now = api.now();
    api.service.delete_model(api.scope(), id, now).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Which devices.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct DeviceQuery {
    /// Product key.
    product_key: String,
    /// Only after this device key.
    after: Option<String>,
    /// Only what this filter takes: `tag:berlin -version:2_0_0 seen<7d`, see docs/center.md. A page may then hold fewer
    /// than `limit` although more follow: the header `sota-next` says after which key.
    filter: Option<String>,
    /// At most this many; default 100, greatest 1000.
    limit: Option<usize>,
}

/// Devices of a product in order of their keys.
#[utoipa::path(get, path = "/api/v1/devices", params(DeviceQuery),
    responses((status = 200, body = [Device]), (status = "4XX", body = ErrorBody)))]
async fn devices(
    api: Call,
    Query(query): Query<DeviceQuery>,
) -> Answer<(HeaderMap, Json<Vec<Device>>)> {
    let limit = query.limit.unwrap_or(100).min(PAGE_LIMIT);
    let page = Page {
        after: query.after,
        limit,
        state: None,
    };
    let filter = Filter::parse(query.filter.as_deref().unwrap_or_default())?;
    let (scope, key, now) = (api.scope(), &query.product_key, api.now());
    let found = api.service.find_devices(scope, key, &filter, &page, now);
    let (devices, next) = found.await?;
    let mut headers = HeaderMap::new();
    // device keys are visible ASCII
    if let Some(Ok(next)) = next.map(|n| HeaderValue::from_str(&n)) {
        headers.insert("sota-next", next);
    }
    Ok((headers, Json(devices)))
}

/// Tags of a device.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TagsBody {
    /// All of them; at most 32 of 1 to 32 letters, digits, `_`, `.`, `-`.
    tags: BTreeSet<String>,
}

/// Gives a device these tags and no others.
#[utoipa::path(put, path = "/api/v1/devices/{product_key}/{device_key}/tags",
    params(("product_key" = String, Path), ("device_key" = String, Path)), request_body = TagsBody,
    responses((status = 200, body = Device), (status = "4XX", body = ErrorBody)))]
async fn set_tags(
    api: Call,
    Path((product_key, device_key)): Path<(String, String)>,
    Body(body): Body<TagsBody>,
) -> Answer<Json<Device>> {
    let endpoint = Endpoint::new(product_key, device_key);
    let (scope, now) = (api.scope(), api.now());
    let tagged = api
        .service
        .set_tags(scope, &endpoint, body.tags, now)
        .await?;
    Ok(Json(tagged))
}

/// Gives many devices of a product their tags, from CSV: in each line a device key and then its tags; at most 10000
/// lines.
#[utoipa::path(post, path = "/api/v1/products/{id}/tags", params(("id" = i64, Path)),
    request_body(content = String, content_type = "text/csv"),
    responses((status = 200, body = TagsImported), (status = "4XX", body = ErrorBody)))]
async fn import_tags(
    api: Call,
    Path(id): Path<ProductId>,
    csv: axum::body::Bytes,
) -> Answer<Json<TagsImported>> {
    let (scope, now) = (api.scope(), api.now());
    Ok(Json(api.service.import_tags(scope, id, &csv, now).await?))
}

/// Saved filters.
#[utoipa::path(get, path = "/api/v1/filters", responses((status = 200, body = [SavedFilter])))]
async fn filters(api: Call) -> Answer<Json<Vec<SavedFilter>>> {
    Ok(Json(api.service.store().filters(api.scope()).await?))
}

/// Saves a filter.
#[utoipa::path(post, path = "/api/v1/filters", request_body = NewFilter,
    responses((status = 201, body = SavedFilter), (status = "4XX", body = ErrorBody)))]
async fn create_filter(
    api: Call,
    Body(new): Body<NewFilter>,
) -> Answer<(StatusCode, Json<SavedFilter>)> {
    let (scope, now) = (api.scope(), api.now());
    let saved = api.service.create_filter(scope, new, now).await?;
    Ok((StatusCode::CREATED, Json(saved)))
}

/// Deletes a saved filter; plans that were activated with it go on with what it said.
#[utoipa::path(delete, path = "/api/v1/filters/{id}", params(("id" = i64, Path)),
    responses((status = 204), (status = "4XX", body = ErrorBody)))]
async fn delete_filter(api: Call, Path(id): Path<FilterId>) -> Answer<StatusCode> {
    let now = api.now();
    api.service.delete_filter(api.scope(), id, now).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn need_device(api: &Call, endpoint: &Endpoint) -> Answer<Device> {
    let device = api.service.store().device(api.scope(), endpoint).await?;
    let missing = || Problem::new(CenterError::NoSuchDevice, endpoint.to_string());
    Ok(device.ok_or_else(missing)?)
}

/// One device.
#[utoipa::path(get, path = "/api/v1/devices/{product_key}/{device_key}",
    params(("product_key" = String, Path), ("device_key" = String, Path)),
    responses((status = 200, body = Device), (status = "4XX", body = ErrorBody)))]
async fn device(
    api: Call,
    Path((product_key, device_key)): Path<(String, String)>,
) -> Answer<Json<Device>> {
    Ok(Json(
        need_device(&api, &Endpoint::new(product_key, device_key)).await?,
    ))
}

/// Disables a device: it may not register and is offered nothing. Done already: nothing changes.
#[utoipa::path(post, path = "/api/v1/devices/{product_key}/{device_key}/disable",
    params(("product_key" = String, Path), ("device_key" = String, Path)),
    responses((status = 200, body = Device), (status = "4XX", body = ErrorBody)))]
async fn disable(
    api: Call,
    Path((product_key, device_key)): Path<(String, String)>,
) -> Answer<Json<Device>> {
    let endpoint = Endpoint::new(product_key, device_key);
    let (scope, now) = (api.scope(), api.now());
    let disabled = api.service.disable_device(scope, &endpoint, now).await?;
    Ok(Json(disabled))
}

/// Enables a device: it registers at its own next try. Done already: nothing changes.
#[utoipa::path(post, path = "/api/v1/devices/{product_key}/{device_key}/enable",
    params(("product_key" = String, Path), ("device_key" = String, Path)),
    responses((status = 200, body = Device), (status = "4XX", body = ErrorBody)))]
async fn enable(
    api: Call,
    Path((product_key, device_key)): Path<(String, String)>,
) -> Answer<Json<Device>> {
    let endpoint = Endpoint::new(product_key, device_key);
    let (scope, now) = (api.scope(), api.now());
    let enabled = api.service.enable_device(scope, &endpoint, now).await?;
    Ok(Json(enabled))
}

/// The last 1000 lines of a device's log, oldest first.
#[utoipa::path(get, path = "/api/v1/devices/{product_key}/{device_key}/log",
    params(("product_key" = String, Path), ("device_key" = String, Path)),
    responses((status = 200, body = [LogLine]), (status = "4XX", body = ErrorBody)))]
async fn device_log(
    api: Call,
    Path((product_key, device_key)): Path<(String, String)>,
) -> Answer<Json<Vec<LogLine>>> {
    let device = need_device(&api, &Endpoint::new(product_key, device_key)).await?;
    let store = api.service.store();
    Ok(Json(
        store
            .log(api.scope(), &device.endpoint, None, PAGE_LIMIT)
            .await?,
    ))
}

/// Which plan.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct WhyQuery {
    /// Only this plan; otherwise every plan of the device's product that runs.
    #[param(value_type = Option<i64>)]
    plan: Option<PlanId>,
}

/// Why the device gets a plan or not: names the rule.
#[utoipa::path(get, path = "/api/v1/devices/{product_key}/{device_key}/why",
    params(("product_key" = String, Path), ("device_key" = String, Path), WhyQuery),
    responses((status = 200, body = [Why]), (status = "4XX", body = ErrorBody)))]
async fn why(
    api: Call,
    Path((product_key, device_key)): Path<(String, String)>,
    Query(query): Query<WhyQuery>,
) -> Answer<Json<Vec<Why>>> {
    let endpoint = Endpoint::new(product_key, device_key);
    Ok(Json(
        api.service
            .why(api.scope(), &endpoint, query.plan, api.now())
            .await?,
    ))
}
