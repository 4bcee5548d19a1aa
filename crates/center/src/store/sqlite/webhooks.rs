//! Webhooks and their outbox: changes and reads as SQL.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::write::{Values, json, one, run};
use super::{SqliteStore, failed};
use crate::domain::{
    Delivery, Event, KEPT_FOR, KEPT_LIMIT, Role, Time, WAITING_LIMIT, Webhook, WebhookId,
};
use crate::store::{Scope, StoreError};

/// The webhooks of the event's project that want it get it.
pub(super) async fn event(
    connection: &mut SqliteConnection,
    scope: &Scope,
    event: Event,
) -> Result<(), StoreError> {
    scope.need(event.project, Role::Operator)?;
    let query = sqlx::query("SELECT body FROM webhook WHERE project = ? ORDER BY id");
    let rows = query.bind(event.project.0).fetch_all(&mut *connection);
    for row in rows.await.map_err(failed)? {
        let webhook: Webhook = super::read::value(&row)?;
        if webhook.wants(&event) {
            insert(connection, Delivery::new(&webhook, event.clone())).await?;
        }
    }
    Ok(())
}

/// A new delivery, or what became of one.
pub(super) async fn delivery(
    connection: &mut SqliteConnection,
    scope: &Scope,
    e: Delivery,
) -> Result<(), StoreError> {
    scope.need(e.project, Role::Owner)?;
    if e.id == 0 {
        return insert(connection, e).await;
    }
    let body = json(&e)?;
    let values = Values::default().with(e.next_at)?.with(body)?;
    let values = values.with(e.id)?.with(e.webhook.0)?;
    let sql = "UPDATE delivery SET next_at = ?, body = ? WHERE id = ? AND webhook = ?";
    one(run(connection, sql, values).await?)
}

async fn insert(connection: &mut SqliteConnection, e: Delivery) -> Result<(), StoreError> {
    let body = json(&e)?;
    let values = Values::default()
        .with(e.webhook.0)?
        .with(e.project.0)?
        .with(e.event.at)?
        .with(e.next_at)?
        .with(body)?;
    let sql = "INSERT INTO delivery (webhook, project, at, next_at, body) VALUES (?, ?, ?, ?, ?)";
    one(run(connection, sql, values).await?)
}

pub(super) async fn trim(
    connection: &mut SqliteConnection,
    scope: &Scope,
    now: Time,
) -> Result<(), StoreError> {
    scope.need_everything()?;
    let old = Values::default().with(now.saturating_sub(KEPT_FOR))?;
    let sql = "DELETE FROM delivery WHERE next_at IS NULL AND at < ?";
    run(connection, sql, old).await?;
    let rows = sqlx::query("SELECT id FROM webhook").fetch_all(&mut *connection);
    for row in rows.await.map_err(failed)? {
        let id: i64 = row.try_get(0).map_err(failed)?;
        let kept = Values::default().with(id)?.with(KEPT_LIMIT as i64)?;
        let sql = "DELETE FROM delivery WHERE webhook = ?1 AND next_at IS NULL AND id <= \
                   (SELECT id FROM delivery WHERE webhook = ?1 AND next_at IS NULL ORDER BY id DESC LIMIT 1 OFFSET ?2)";
        run(connection, sql, kept).await?;
        let sql = "SELECT body, id FROM delivery WHERE webhook = ?1 AND next_at IS NOT NULL ORDER BY id DESC \
                   LIMIT -1 OFFSET ?2";
        let many = sqlx::query(sql).bind(id).bind(WAITING_LIMIT as i64);
        for row in many.fetch_all(&mut *connection).await.map_err(failed)? {
            let mut late = numbered(&row)?;
            late.overflow();
            delivery(connection, scope, late).await?;
        }
    }
    Ok(())
}

/// A delivery and its number, which the body does not know.
fn numbered(row: &SqliteRow) -> Result<Delivery, StoreError> {
    let delivery: Delivery = super::read::value(row)?;
    let id = row.try_get(1).map_err(failed)?;
    Ok(Delivery { id, ..delivery })
}

impl SqliteStore {
    pub(super) async fn owned_webhooks(&self, scope: &Scope) -> Result<Vec<Webhook>, StoreError> {
        let query = sqlx::query("SELECT body FROM webhook ORDER BY id");
        let all: Vec<Webhook> = self.many(query).await?;
        let owned = |w: &Webhook| scope.need(w.project, Role::Owner).is_ok();
        Ok(all.into_iter().filter(owned).collect())
    }

    pub(super) async fn deliveries_of(
        &self,
        scope: &Scope,
        webhook: WebhookId,
        before: Option<i64>,
        most: i64,
    ) -> Result<Vec<Delivery>, StoreError> {
        let sql = "SELECT body, id FROM delivery WHERE webhook = ?1 AND (?2 IS NULL OR id < ?2) ORDER BY id DESC LIMIT ?3";
        let query = sqlx::query(sql).bind(webhook.0).bind(before).bind(most);
        let rows = query.fetch_all(&self.readers).await.map_err(failed)?;
        let found: Result<Vec<_>, _> = rows.iter().map(numbered).collect();
        let owned = |d: &Delivery| scope.need(d.project, Role::Owner).is_ok();
        Ok(found?.into_iter().filter(owned).collect())
    }

    pub(super) async fn one_delivery(
        &self,
        scope: &Scope,
        id: i64,
    ) -> Result<Option<Delivery>, StoreError> {
        let query = sqlx::query("SELECT body, id FROM delivery WHERE id = ?").bind(id);
        let row = query.fetch_optional(&self.readers).await.map_err(failed)?;
        let found = row.as_ref().map(numbered).transpose()?;
        Ok(found.filter(|d| scope.need(d.project, Role::Owner).is_ok()))
    }

    pub(super) async fn count_waiting(
        &self,
        scope: &Scope,
        webhook: WebhookId,
    ) -> Result<u64, StoreError> {
        let owned = self.owned_webhooks(scope).await?;
        if !owned.iter().any(|w| w.id == webhook) {
            return Ok(0);
        }
        let sql = "SELECT COUNT(*) FROM delivery WHERE webhook = ? AND next_at IS NOT NULL";
        let query = sqlx::query(sql).bind(webhook.0);
        let row = query.fetch_one(&self.readers).await.map_err(failed)?;
        let count: i64 = row.try_get(0).map_err(failed)?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    pub(super) async fn first_due(
        &self,
        scope: &Scope,
        webhook: WebhookId,
        now: Time,
    ) -> Result<Option<Delivery>, StoreError> {
        scope.need_everything()?;
        let sql = "SELECT body, id FROM delivery WHERE webhook = ? AND next_at <= ? ORDER BY next_at, id LIMIT 1";
        let query = sqlx::query(sql).bind(webhook.0).bind(now);
        let row = query.fetch_optional(&self.readers).await.map_err(failed)?;
        row.as_ref().map(numbered).transpose()
    }
}
