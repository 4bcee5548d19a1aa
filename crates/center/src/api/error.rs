//! Errors as JSON.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sota_errors::CenterError;
use utoipa::ToSchema;

use crate::domain::Problem;
use crate::store::StoreError;

/// A refusal on its way out.
#[derive(Debug)]
pub struct ApiError(pub Problem);

impl<E: Into<Problem>> From<E> for ApiError {
    fn from(error: E) -> ApiError {
        ApiError(error.into())
    }
}

/// An error: a line of docs/errors.md and what led to it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ErrorBody {
    /// Number of the line.
    pub number: u16,
    /// Name of the line.
    pub name: String,
    /// What was wrong, with which input.
    pub message: String,
    /// Input field, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What to do.
    pub remedy: String,
}

impl ErrorBody {
    /// The body for this refusal.
    pub fn of(problem: &Problem) -> ErrorBody {
        let detail = match problem.detail.as_str() {
            "" => String::new(),
            detail => format!(": {detail}"),
        };
        ErrorBody {
            number: problem.error.number(),
            name: problem.error.name().to_owned(),
            message: format!("{}{detail}", problem.error.meaning()),
            field: (!problem.field.is_empty()).then(|| problem.field.clone()),
            remedy: problem.error.remedy().to_owned(),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = status(self.0.error);
        if status.is_server_error() {
            tracing::error!("{}", self.0);
        }
        let mut response = (status, Json(ErrorBody::of(&self.0))).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

pub(crate) fn status(error: CenterError) -> StatusCode {
    use CenterError as E;
    match error {
        E::Internal | E::BlobMissing | E::StoreUnusable => StatusCode::INTERNAL_SERVER_ERROR,
        E::NoSuchProject
        | E::NoSuchProduct
        | E::NoSuchDevice
        | E::NoSuchModel
        | E::NoSuchPackage
        | E::NoSuchPlan
        | E::NoSuchPlanDevice
        | E::NoSuchAccount
        | E::NoSuchToken
        | E::NoSuchWebhook
        | E::NoSuchFilter
        | E::NoSuchDelivery
        | E::NoSuchResource => StatusCode::NOT_FOUND,
        E::MalformedRequest => StatusCode::BAD_REQUEST,
        E::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        E::InvitationSpent => StatusCode::GONE,
        E::NotLoggedIn | E::LogInRefused => StatusCode::UNAUTHORIZED,
        E::LogInTooOften => StatusCode::TOO_MANY_REQUESTS,
        E::ForeignHost
        | E::ForeignOrigin
        | E::Forbidden
        | E::FormForged
        | E::RoleNotHeld
        | E::PasswordWrong
        | E::ResetNotHeld => StatusCode::FORBIDDEN,
        E::Conflict
        | E::NameTaken
        | E::PackageInUse
        | E::ModelInUse
        | E::PlanNotSaved
        | E::PlanTransition
        | E::ProductFixed
        | E::LastOwner
        | E::FirstAccountStays
        | E::TooManyWebhooks
        | E::TooManyFilters
        | E::FilterMatchesNothing
        | E::CancelTooLate
        | E::CancelNotRunning
        | E::RetryNotFailed
        | E::NoNextGroup
        | E::NotManual => StatusCode::CONFLICT,
        E::FileTooLarge | E::RequestTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        E::StorageFull => StatusCode::INSUFFICIENT_STORAGE,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

impl From<StoreError> for ErrorBody {
    fn from(error: StoreError) -> ErrorBody {
        ErrorBody::of(&error.into())
    }
}
