//! Sends what waits in the outbox of the webhooks.
//!
//! Each webhook has a task of its own while something is due for it, so one that does not answer holds up nobody else;
//! the blocking HTTP client runs on tokio's threads for that, at most `AT_ONCE` requests at a time. A request carries
//!
//! | header | holds |
//! |---|---|
//! | `Sota-Event` | kind of the event |
//! | `Sota-Delivery` | number of the delivery, the same at each attempt |
//! | `Sota-Signature` | `t=<seconds since 1970>,v1=<hex of HMAC-SHA-256 over "<t>.<body>" with the secret>` |
//!
//! The answer's body is not read: who makes a webhook learns a status and nothing else of what the Center can reach.
//! Redirects are not followed.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::domain::{Delivery, Problem, Time, Webhook, WebhookId};
use crate::service::Service;

/// Requests at once.
const AT_ONCE: usize = 16;
/// How often the outbox is looked at.
const PACE: Duration = Duration::from_secs(1);
/// A receiver has this long to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Value of `Sota-Signature`.
pub fn signature(secret: &str, body: &str, now: Time) -> String {
    let seconds = now.div_euclid(1000);
    // HMAC takes a key of any length
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes());
    let digest = mac.map(|mac| {
        let mac = mac.chain_update(format!("{seconds}.{body}"));
        hex::encode(mac.finalize().into_bytes())
    });
    format!("t={seconds},v1={}", digest.unwrap_or_default())
}

#[derive(Clone)]
struct Sender {
    service: Arc<Service>,
    agent: ureq::Agent,
    places: Arc<Semaphore>,
    /// Webhooks with a task.
    busy: Arc<Mutex<BTreeSet<WebhookId>>>,
}

/// Sends until the Center stops.
pub(crate) async fn deliver(service: Arc<Service>, mut stop: watch::Receiver<bool>) {
    let tls = ureq::tls::TlsConfig::builder()
        .root_certs(ureq::tls::RootCerts::PlatformVerifier)
        .build();
    let agent = ureq::Agent::config_builder()
        .timeout_global(Some(TIMEOUT))
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .user_agent(concat!("sota-center/", env!("CARGO_PKG_VERSION")))
        .tls_config(tls)
        .build()
        .new_agent();
    let sender = Sender {
        service,
        agent,
        places: Arc::new(Semaphore::new(AT_ONCE)),
        busy: Arc::default(),
    };
    let mut tasks = JoinSet::new();
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = pace.tick() => {}
            _ = stop.wait_for(|stop| *stop) => break,
        }
        while tasks.try_join_next().is_some() {}
        let due = match sender.service.due_webhooks(crate::now()).await {
            Ok(due) => due,
            Err(problem) => {
                tracing::error!("webhooks: {problem}");
                continue;
            }
        };
        for webhook in due {
            if sender.take(webhook.id) {
                let sender = sender.clone();
                tasks.spawn(async move {
                    if let Err(problem) = sender.drain(webhook.id).await {
                        tracing::error!("webhook {}: {problem}", webhook.id);
                    }
                    sender.busy().remove(&webhook.id);
                });
            }
        }
    }
    // what is under way is sent again after the next start unless its end was stored: at least once
    tasks.shutdown().await;
}

impl Sender {
    fn busy(&self) -> std::sync::MutexGuard<'_, BTreeSet<WebhookId>> {
        self.busy.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn take(&self, id: WebhookId) -> bool {
        self.busy().insert(id)
    }

    /// Sends what is due for a webhook, one after the other, until nothing is or one fails.
    async fn drain(&self, id: WebhookId) -> Result<(), Problem> {
        loop {
            // as it is now: a person may have mended or switched it off
            let Some(webhook) = self.service.told_webhook(id).await? else {
                return Ok(());
            };
            let Some(delivery) = self.service.due_delivery(id, crate::now()).await? else {
                return Ok(());
            };
            let Ok(place) = self.places.acquire().await else {
                return Ok(());
            };
            let answer = self.send(webhook, &delivery).await;
            drop(place);
            let failed = !matches!(answer, Ok(200..=299));
            let now = crate::now();
            self.service
                .delivery_attempted(&delivery, answer, now)
                .await?;
            if failed {
                return Ok(());
            }
        }
    }

    /// One attempt: the answer's status, or why there is none.
    async fn send(&self, webhook: Webhook, delivery: &Delivery) -> Result<u16, String> {
        let body = serde_json::to_string(&delivery.event).map_err(|e| e.to_string())?;
        let signature = signature(&webhook.secret, &body, crate::now());
        let (agent, number) = (self.agent.clone(), delivery.id);
        let kind = delivery.event.event.name();
        let sent = tokio::task::spawn_blocking(move || {
            let request = agent
                .post(&webhook.url)
                .header("content-type", "application/json")
                .header("sota-event", kind)
                .header("sota-delivery", number.to_string())
                .header("sota-signature", signature);
            request.send(body).map(|answer| answer.status().as_u16())
        });
        match sent.await {
            Ok(Ok(status)) => Ok(status),
            Ok(Err(error)) => Err(error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value that `printf '1.{}' | openssl dgst -sha256 -hmac key` gives.
    #[test]
    fn a_signature_is_what_others_compute() {
        assert_eq!(
            signature("key", "{}", 1999),
            "t=1,v1=1ba6b8171186efc613e8bcc0cbdab2748f24984d7c5a84faa2637afa0e40d224"
        );
    }
}
