//! Projects, products, models, devices.

use axum::Json;
use axum::http::StatusCode;
use serde::Deserialize;
use sota_errors::CenterError;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::call::Call;
use super::extract::{Body, Path, Query};
use super::{Answer, Api, ErrorBody};
use crate::domain::{
    Device, Endpoint, LogLine, Model, ModelId, PlanId, Problem, Product, ProductId, Project,
    ProjectId, Role,
};
use crate::service::{NewModel, NewProduct, NewProject, Why};
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
    /// At most this many; default 100, greatest 1000.
    limit: Option<usize>,
}

/// Devices of a product in order of their keys.
#[utoipa::path(get, path = "/api/v1/devices", params(DeviceQuery),
    responses((status = 200, body = [Device]), (status = "4XX", body = ErrorBody)))]
async fn devices(api: Call, Query(query): Query<DeviceQuery>) -> Answer<Json<Vec<Device>>> {
    let limit = query.limit.unwrap_or(100).min(PAGE_LIMIT);
    let page = Page {
        after: query.after,
        limit,
        state: None,
    };
    Ok(Json(
        api.service
            .store()
            .devices(api.scope(), &query.product_key, &page)
            .await?,
    ))
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
