//! Webhooks: made, changed, tested; what waits for them.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sota_errors::CenterError;
use utoipa::ToSchema;

use super::{Service, audit};
use crate::access::secret;
use crate::domain::{
    Action, Delivery, Event, EventKind, Problem, ProjectId, Role, Time, WEBHOOKS_LIMIT, Webhook,
    WebhookId,
};
use crate::store::{Change, Scope, StoreError};

/// A webhook to be made, or its new content.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWebhook {
    /// Name, unique in the project.
    pub name: String,
    /// `http` or `https`.
    pub url: String,
    /// What is told.
    pub events: BTreeSet<EventKind>,
    /// Told nothing while it is false.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// A change only: makes a new secret, which is in the answer.
    #[serde(default)]
    pub new_secret: bool,
}

fn yes() -> bool {
    true
}

/// A webhook, without its secret.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct WebhookInfo {
    /// Its id.
    pub id: WebhookId,
    /// Project.
    pub project: ProjectId,
    /// Name.
    pub name: String,
    /// Where it is told.
    pub url: String,
    /// What is told.
    pub events: BTreeSet<EventKind>,
    /// It is told.
    pub enabled: bool,
    /// When it was made, in ms since 1970.
    pub created_at: Time,
    /// Deliveries that wait for it.
    pub waiting: u64,
    /// The last delivery, tried or not.
    pub last: Option<Delivery>,
    /// The secret: in the answer that made it only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

impl Service {
    /// Webhooks of a project, by id; for its owners.
    pub async fn webhooks(
        &self,
        scope: &Scope,
        project: ProjectId,
    ) -> Result<Vec<WebhookInfo>, Problem> {
        self.need_project(scope, project, Role::Owner).await?;
        let all = self.store.webhooks(scope).await?;
        let mut infos = Vec::new();
        for webhook in all.into_iter().filter(|w| w.project == project) {
            infos.push(self.webhook_info(scope, webhook, None).await?);
        }
        Ok(infos)
    }

    /// One webhook.
    pub async fn webhook(&self, scope: &Scope, id: WebhookId) -> Result<WebhookInfo, Problem> {
        let webhook = self.own_webhook(scope, id).await?;
        self.webhook_info(scope, webhook, None).await
    }

    async fn webhook_info(
        &self,
        scope: &Scope,
        webhook: Webhook,
        secret: Option<String>,
    ) -> Result<WebhookInfo, Problem> {
        let deliveries = self.store.deliveries(scope, webhook.id, None, 1).await?;
        Ok(WebhookInfo {
            waiting: self.store.waiting_deliveries(scope, webhook.id).await?,
            last: deliveries.into_iter().next(),
            id: webhook.id,
            project: webhook.project,
            name: webhook.name,
            url: webhook.url,
            events: webhook.events,
            enabled: webhook.enabled,
            created_at: webhook.created_at,
            secret,
        })
    }

    async fn own_webhook(&self, scope: &Scope, id: WebhookId) -> Result<Webhook, Problem> {
        let all = self.store.webhooks(scope).await?;
        let missing = || Problem::new(CenterError::NoSuchWebhook, id.to_string());
        all.into_iter().find(|w| w.id == id).ok_or_else(missing)
    }

    /// Makes a webhook.
    pub async fn create_webhook(
        &self,
        scope: &Scope,
        project: ProjectId,
        new: NewWebhook,
        now: Time,
    ) -> Result<WebhookInfo, Problem> {
        self.need_project(scope, project, Role::Owner).await?;
        let all = self.store.webhooks(scope).await?;
        if all.iter().filter(|w| w.project == project).count() >= WEBHOOKS_LIMIT {
            return Err(CenterError::TooManyWebhooks.into());
        }
        let mut webhook = Webhook {
            id: WebhookId(0),
            account: scope.account,
            project,
            name: new.name,
            url: new.url,
            secret: secret::make()?,
            events: new.events,
            enabled: new.enabled,
            created_at: now,
            revision: 0,
        };
        webhook.check()?;
        webhook.id = WebhookId(self.store.next_id(scope).await?);
        let changes = vec![
            Change::Webhook(webhook.clone()),
            audited(scope, &webhook, now, Action::WebhookCreated),
        ];
        self.store.commit(scope, changes).await?;
        let made = Some(webhook.secret.clone());
        self.webhook_info(scope, webhook, made).await
    }

    /// Gives a webhook another content.
    pub async fn edit_webhook(
        &self,
        scope: &Scope,
        id: WebhookId,
        new: NewWebhook,
        now: Time,
    ) -> Result<WebhookInfo, Problem> {
        let mut webhook = self.own_webhook(scope, id).await?;
        webhook.name = new.name;
        webhook.url = new.url;
        webhook.events = new.events;
        webhook.enabled = new.enabled;
        if new.new_secret {
            webhook.secret = secret::make()?;
        }
        webhook.check()?;
        let changes = vec![
            Change::Webhook(webhook.clone()),
            audited(scope, &webhook, now, Action::WebhookChanged),
        ];
        self.store.commit(scope, changes).await?;
        let made = new.new_secret.then(|| webhook.secret.clone());
        self.webhook_info(scope, webhook, made).await
    }

    /// Deletes a webhook with what waits for it.
    pub async fn delete_webhook(
        &self,
        scope: &Scope,
        id: WebhookId,
        now: Time,
    ) -> Result<(), Problem> {
        let webhook = self.own_webhook(scope, id).await?;
        let changes = vec![
            Change::DeleteWebhook(id, webhook.revision),
            audited(scope, &webhook, now, Action::WebhookDeleted),
        ];
        Ok(self.store.commit(scope, changes).await?)
    }

    /// Sends a test to a webhook, whatever it wants.
    pub async fn test_webhook(
        &self,
        scope: &Scope,
        id: WebhookId,
        now: Time,
    ) -> Result<(), Problem> {
        let webhook = self.own_webhook(scope, id).await?;
        let test = Delivery::new(&webhook, Event::test(webhook.project, now));
        let changes = vec![
            Change::Delivery(test),
            audited(scope, &webhook, now, Action::WebhookTested),
        ];
        Ok(self.store.commit(scope, changes).await?)
    }

    /// Deliveries of a webhook, the newest first.
    pub async fn deliveries(
        &self,
        scope: &Scope,
        id: WebhookId,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Delivery>, Problem> {
        self.own_webhook(scope, id).await?;
        Ok(self.store.deliveries(scope, id, before, limit).await?)
    }

    /// Has a delivery tried again, from the first attempt on.
    pub async fn retry_delivery(
        &self,
        scope: &Scope,
        id: WebhookId,
        delivery: i64,
        now: Time,
    ) -> Result<(), Problem> {
        let webhook = self.own_webhook(scope, id).await?;
        let found = self.store.delivery(scope, delivery).await?;
        let missing = || Problem::new(CenterError::NoSuchDelivery, delivery.to_string());
        let found = found.filter(|d| d.webhook == id);
        let mut delivery = found.ok_or_else(missing)?;
        delivery.again(now);
        let changes = vec![
            Change::Delivery(delivery),
            audited(scope, &webhook, now, Action::DeliveryRetried),
        ];
        Ok(self.store.commit(scope, changes).await?)
    }

    /// What is to be sent now: for each webhook that is told, the delivery that has waited longest.
    pub(crate) async fn due_webhooks(&self, now: Time) -> Result<Vec<Webhook>, Problem> {
        let mut due = Vec::new();
        for webhook in self.store.webhooks(&Scope::OWNER).await? {
            if webhook.enabled && self.due_delivery(webhook.id, now).await?.is_some() {
                due.push(webhook);
            }
        }
        Ok(due)
    }

    /// The delivery of this webhook that has waited longest, if it is due.
    pub(crate) async fn due_delivery(
        &self,
        webhook: WebhookId,
        now: Time,
    ) -> Result<Option<Delivery>, Problem> {
        let store = &self.store;
        Ok(store.due_delivery(&Scope::OWNER, webhook, now).await?)
    }

    /// The webhook as it is now, if it is told.
    pub(crate) async fn told_webhook(&self, id: WebhookId) -> Result<Option<Webhook>, Problem> {
        let all = self.store.webhooks(&Scope::OWNER).await?;
        Ok(all.into_iter().find(|w| w.id == id && w.enabled))
    }

    /// An attempt is over.
    pub(crate) async fn delivery_attempted(
        &self,
        delivery: &Delivery,
        answer: Result<u16, String>,
        now: Time,
    ) -> Result<(), Problem> {
        let mut delivery = delivery.clone();
        delivery.attempted(answer, self.settings.webhook_first_wait, now);
        let (id, attempts, error) = (delivery.id, delivery.attempts, delivery.error.clone());
        if !error.is_empty() {
            tracing::info!(delivery = id, attempts, "webhook: {error}");
        }
        let changes = vec![Change::Delivery(delivery)];
        match self.store.commit(&Scope::OWNER, changes).await {
            // deleted with its webhook meanwhile
            Err(StoreError::Conflict) => Ok(()),
            done => Ok(done?),
        }
    }

    /// Drops deliveries that are long over, and gives up the oldest where too many wait.
    pub(crate) async fn trim_deliveries(&self, now: Time) -> Result<(), Problem> {
        let changes = vec![Change::TrimDeliveries(now)];
        Ok(self.store.commit(&Scope::OWNER, changes).await?)
    }
}

fn audited(scope: &Scope, webhook: &Webhook, now: Time, action: Action) -> Change {
    let object = format!("webhook/{}", webhook.id);
    // not its URL, which may hold a secret
    audit(scope, webhook.project, now, action, object, &webhook.name)
}
