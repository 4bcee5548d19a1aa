//! Parts of pages that follow what happens, by server-sent events: each event is the part's HTML.

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream;

use super::PageError;
use super::visit::Visit;

/// How often the part is looked at; it is sent only when it changed.
const PACE: Duration = Duration::from_secs(1);
/// The browser asks again after so many looks: who was put out of a project does not go on seeing it.
const LOOKS: u32 = 300;

/// Sends what `render` gives, now and whenever it changes, until the Center stops.
pub(super) fn follow<F, R>(visit: &Visit, render: R) -> Response
where
    R: Fn() -> F + Send + 'static,
    F: Future<Output = Result<String, PageError>> + Send,
{
    let stop = visit.stop.clone();
    let state = (render, stop, String::new(), 0);
    let events = stream::unfold(state, |(render, mut stop, last, mut looks)| async move {
        loop {
            if looks > 0 {
                let stopped = stop.wait_for(|stop| *stop);
                if tokio::time::timeout(PACE, stopped).await.is_ok() {
                    return None;
                }
            }
            looks += 1;
            if looks > LOOKS {
                return None;
            }
            let html = render().await.ok()?;
            if html != last {
                let event = Event::default().data(&html);
                return Some((Ok::<_, Infallible>(event), (render, stop, html, looks)));
            }
        }
    });
    Sse::new(events)
        .keep_alive(KeepAlive::default())
        .into_response()
}
