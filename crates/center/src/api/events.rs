//! What happens in a project, as it happens: server-sent events.
//!
//! The same events that webhooks are told, but of the time that somebody listens, and without a second try: what must not be
//! missed is for a webhook, and the truth is what the other routes say.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream;
use serde::Deserialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::call::Call;
use super::extract::{Path, Query};
use super::{Answer, Api, ErrorBody};
use crate::domain::{Event, ProjectId, Role};

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(events))
}

/// Longest stream: who was put out of a project does not go on seeing it.
const SECONDS_LIMIT: u64 = 300;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Listening {
    /// The stream ends after so many seconds, 1 to 300; a client then asks again, as browsers do by themselves.
    #[serde(default = "longest")]
    #[param(minimum = 1, maximum = 300, default = 300)]
    seconds: u64,
}

fn longest() -> u64 {
    SECONDS_LIMIT
}

/// What happens in the project, as server-sent events: each has the kind's name and the event as JSON. `Missed` instead, with
/// a number, when so many came faster than they were read: ask the other routes then.
#[utoipa::path(get, path = "/api/v1/projects/{id}/events", params(("id" = i64, Path), Listening),
    responses((status = 200, body = Event, content_type = "text/event-stream"),
        (status = "4XX", body = ErrorBody)))]
async fn events(
    api: Call,
    Path(id): Path<ProjectId>,
    Query(listening): Query<Listening>,
) -> Answer<Response> {
    let heard = api.service.listen();
    api.service
        .need_project(api.scope(), id, Role::Viewer)
        .await?;
    let seconds = listening.seconds.clamp(1, SECONDS_LIMIT);
    let end = Instant::now() + Duration::from_secs(seconds);
    let state = (heard, api.stop.clone());
    let events = stream::unfold(state, move |(mut heard, mut stop)| async move {
        loop {
            let came = tokio::select! {
                came = heard.recv() => came,
                () = tokio::time::sleep_until(end) => return None,
                _ = stop.wait_for(|stop| *stop) => return None,
            };
            let event = match came {
                Ok(event) if event.project == id => {
                    let json = serde_json::to_string(&event).ok()?;
                    sse::Event::default().event(event.event.name()).data(json)
                }
                Ok(_) => continue,
                Err(RecvError::Lagged(count)) => sse::Event::default()
                    .event("Missed")
                    .data(count.to_string()),
                Err(RecvError::Closed) => return None,
            };
            return Some((Ok::<_, Infallible>(event), (heard, stop)));
        }
    });
    let stream = Sse::new(events).keep_alive(KeepAlive::default());
    Ok(stream.into_response())
}
