//! The pages: none yet; what is refused outside of REST is said in words.

use axum::Router;
use axum::response::{IntoResponse, Response};

use crate::api::{Api, status};
use crate::domain::Problem;

pub(crate) fn router() -> Router<Api> {
    Router::new()
}

/// A refusal outside of REST.
pub(crate) struct PageError(pub(crate) Problem);

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let Problem { error, .. } = &self.0;
        let text = format!("{} {}: {}\n", error.number(), self.0, error.remedy());
        (status(*error), text).into_response()
    }
}
