//! Extractors whose refusals are lines of the catalogue.

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use sota_errors::CenterError;

use super::ApiError;
use crate::domain::Problem;

fn malformed(detail: impl std::fmt::Display) -> ApiError {
    ApiError(Problem::new(
        CenterError::MalformedRequest,
        detail.to_string(),
    ))
}

/// A JSON body.
pub(super) struct Body<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Body<T>, ApiError> {
        let json = axum::Json::<T>::from_request(request, state).await;
        json.map(|json| Body(json.0)).map_err(|e| match e.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                ApiError(Problem::new(CenterError::RequestTooLarge, ""))
            }
            _ => malformed(e.body_text()),
        })
    }
}

/// Parts of the path.
pub(super) struct Path<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Path<T>, ApiError> {
        let path = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        path.map(|path| Path(path.0))
            .map_err(|e| malformed(e.body_text()))
    }
}

/// The query string.
pub(super) struct Query<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Query<T>, ApiError> {
        let query = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        query
            .map(|query| Query(query.0))
            .map_err(|e| malformed(e.body_text()))
    }
}

/// A multipart form.
pub(super) struct Form(pub(super) axum::extract::Multipart);

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Form, ApiError> {
        let form = axum::extract::Multipart::from_request(request, state).await;
        form.map(Form).map_err(|e| malformed(e.body_text()))
    }
}
