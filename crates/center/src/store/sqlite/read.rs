//! Reads as SQL: each gives the entities' JSON back as values.

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Row, Sqlite};

use super::{SqliteStore, failed};
use crate::domain::{
    Account, Action, ApiToken, AuditEntry, AuditFilter, Counters, Delivery, Device, DeviceState,
    Endpoint, Invitation, LogLine, Membership, Model, ModelId, Package, PackageId, PasswordReset,
    Plan, PlanDevice, PlanId, Product, ProductId, Project, ProjectId, Sample, SavedFilter, Session,
    Time, Webhook, WebhookId,
};
use crate::store::{Change, Page, Scope, Store, StoreError};

type Query<'q> = sqlx::query::Query<'q, Sqlite, SqliteArguments>;

/// A query whose `?1` is the list of visible projects, NULL for all.
fn scoped(scope: &Scope, sql: &'static str) -> Query<'static> {
    sqlx::query(sql).bind(scope.project_list())
}

pub(super) fn value<T: DeserializeOwned>(row: &SqliteRow) -> Result<T, StoreError> {
    let body: &str = row.try_get(0).map_err(failed)?;
    serde_json::from_str(body).map_err(|e| StoreError::Failed(e.to_string()))
}

fn limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

impl SqliteStore {
    pub(super) async fn many<T: DeserializeOwned>(
        &self,
        query: Query<'_>,
    ) -> Result<Vec<T>, StoreError> {
        let rows = query.fetch_all(&self.readers).await.map_err(failed)?;
        rows.iter().map(value).collect()
    }

    async fn one<T: DeserializeOwned>(&self, query: Query<'_>) -> Result<Option<T>, StoreError> {
        let row = query.fetch_optional(&self.readers).await.map_err(failed)?;
        row.as_ref().map(value).transpose()
    }
}

macro_rules! select {
    ($table:literal) => {
        select!($table, "TRUE ORDER BY id")
    };
    ($table:literal, $condition:literal) => {
        concat!(
            "SELECT body FROM ",
            $table,
            " WHERE (?1 IS NULL OR project IN (SELECT value FROM json_each(?1))) AND ",
            $condition
        )
    };
}

macro_rules! audited {
    ($where:literal) => {
        concat!(
            "SELECT body, id FROM audit WHERE ",
            $where,
            " AND (?3 IS NULL OR id < ?3) AND (?4 IS NULL OR actor = ?4) AND (?5 IS NULL OR action = ?5) \
              AND (?6 IS NULL OR object = ?6) AND (?7 IS NULL OR at >= ?7) AND (?8 IS NULL OR at < ?8) \
              ORDER BY id DESC LIMIT ?9"
        )
    };
}

#[async_trait]
impl Store for SqliteStore {
    async fn next_id(&self, scope: &Scope) -> Result<i64, StoreError> {
        self.take_id(scope).await
    }

    async fn commit(&self, scope: &Scope, changes: Vec<Change>) -> Result<(), StoreError> {
        self.write(scope, changes).await
    }

    async fn projects(&self, scope: &Scope) -> Result<Vec<Project>, StoreError> {
        self.many(scoped(scope, select!("project"))).await
    }

    async fn project(&self, scope: &Scope, id: ProjectId) -> Result<Option<Project>, StoreError> {
        self.one(scoped(scope, select!("project", "id = ?2")).bind(id.0))
            .await
    }

    async fn products(&self, scope: &Scope) -> Result<Vec<Product>, StoreError> {
        self.many(scoped(scope, select!("product"))).await
    }

    async fn product(&self, scope: &Scope, id: ProductId) -> Result<Option<Product>, StoreError> {
        self.one(scoped(scope, select!("product", "id = ?2")).bind(id.0))
            .await
    }

    async fn product_by_key(
        &self,
        scope: &Scope,
        key: &str,
    ) -> Result<Option<Product>, StoreError> {
        self.one(scoped(scope, select!("product", "product_key = ?2")).bind(key.to_owned()))
            .await
    }

    async fn models(&self, scope: &Scope) -> Result<Vec<Model>, StoreError> {
        self.many(scoped(scope, select!("model"))).await
    }

    async fn model(&self, scope: &Scope, id: ModelId) -> Result<Option<Model>, StoreError> {
        self.one(scoped(scope, select!("model", "id = ?2")).bind(id.0))
            .await
    }

    async fn packages(&self, scope: &Scope) -> Result<Vec<Package>, StoreError> {
        self.many(scoped(scope, select!("package"))).await
    }

    async fn package(&self, scope: &Scope, id: PackageId) -> Result<Option<Package>, StoreError> {
        self.one(scoped(scope, select!("package", "id = ?2")).bind(id.0))
            .await
    }

    async fn plans(&self, scope: &Scope) -> Result<Vec<Plan>, StoreError> {
        self.many(scoped(scope, select!("plan"))).await
    }

    async fn plan(&self, scope: &Scope, id: PlanId) -> Result<Option<Plan>, StoreError> {
        self.one(scoped(scope, select!("plan", "id = ?2")).bind(id.0))
            .await
    }

    async fn running_plans(
        &self,
        scope: &Scope,
        product_key: Option<&str>,
    ) -> Result<Vec<Plan>, StoreError> {
        let sql = select!(
            "plan",
            "running = 1 AND (?2 IS NULL OR product_key = ?2) ORDER BY id"
        );
        self.many(scoped(scope, sql).bind(product_key.map(str::to_owned)))
            .await
    }

    async fn devices(
        &self,
        scope: &Scope,
        product_key: &str,
        page: &Page,
    ) -> Result<Vec<Device>, StoreError> {
        let sql = select!(
            "device",
            "product_key = ?2 AND device_key > ?3 ORDER BY device_key LIMIT ?4"
        );
        let query = scoped(scope, sql).bind(product_key.to_owned());
        let after = page.after.clone().unwrap_or_default();
        self.many(query.bind(after).bind(limit(page.limit))).await
    }

    async fn device(
        &self,
        scope: &Scope,
        endpoint: &Endpoint,
    ) -> Result<Option<Device>, StoreError> {
        let sql = select!("device", "product_key = ?2 AND device_key = ?3");
        let query = scoped(scope, sql).bind(endpoint.product_key.clone());
        self.one(query.bind(endpoint.device_key.clone())).await
    }

    async fn device_by_registration(
        &self,
        scope: &Scope,
        registration: &str,
    ) -> Result<Option<Device>, StoreError> {
        let sql = select!("device", "registration = ?2");
        self.one(scoped(scope, sql).bind(registration.to_owned()))
            .await
    }

    async fn plan_devices(
        &self,
        scope: &Scope,
        plan: PlanId,
        page: &Page,
    ) -> Result<Vec<PlanDevice>, StoreError> {
        // each with the index that has its order; no key is empty
        let sql = match page.state {
            None => select!(
                "plan_device",
                "plan = ?2 AND device_key > ?3 ORDER BY device_key LIMIT ?4"
            ),
            Some(_) => select!(
                "plan_device",
                "plan = ?2 AND device_key > ?3 AND state = ?5 ORDER BY device_key LIMIT ?4"
            ),
        };
        let after = page.after.clone().unwrap_or_default();
        let mut query = scoped(scope, sql).bind(plan.0).bind(after);
        query = query.bind(limit(page.limit));
        if let Some(state) = page.state {
            query = query.bind(state.name());
        }
        self.many(query).await
    }

    async fn plan_device(
        &self,
        scope: &Scope,
        plan: PlanId,
        endpoint: &Endpoint,
    ) -> Result<Option<PlanDevice>, StoreError> {
        let sql = select!(
            "plan_device",
            "plan = ?2 AND product_key = ?3 AND device_key = ?4"
        );
        let query = scoped(scope, sql)
            .bind(plan.0)
            .bind(endpoint.product_key.clone());
        self.one(query.bind(endpoint.device_key.clone())).await
    }

    async fn plans_of_device(
        &self,
        scope: &Scope,
        endpoint: &Endpoint,
    ) -> Result<Vec<PlanDevice>, StoreError> {
        let sql = select!(
            "plan_device",
            "product_key = ?2 AND device_key = ?3 ORDER BY plan"
        );
        let query = scoped(scope, sql).bind(endpoint.product_key.clone());
        self.many(query.bind(endpoint.device_key.clone())).await
    }

    async fn plans_of_devices(
        &self,
        scope: &Scope,
        product_key: &str,
        after: Option<&str>,
        through: &str,
    ) -> Result<Vec<PlanDevice>, StoreError> {
        // no key is empty
        let sql = select!(
            "plan_device",
            "product_key = ?2 AND device_key > ?3 AND device_key <= ?4 ORDER BY device_key, plan"
        );
        let query = scoped(scope, sql).bind(product_key.to_owned());
        let query = query.bind(after.unwrap_or_default().to_owned());
        self.many(query.bind(through.to_owned())).await
    }

    async fn past_deadline(
        &self,
        scope: &Scope,
        now: Time,
        most: usize,
    ) -> Result<Vec<PlanDevice>, StoreError> {
        let sql = select!(
            "plan_device",
            "deadline <= ?2 ORDER BY deadline, plan, product_key, device_key LIMIT ?3"
        );
        self.many(scoped(scope, sql).bind(now).bind(limit(most)))
            .await
    }

    async fn samples(&self, scope: &Scope, plan: PlanId) -> Result<Vec<Sample>, StoreError> {
        let sql = "SELECT body FROM plan_sample WHERE plan = ?2 AND EXISTS \
                   (SELECT 1 FROM plan WHERE id = ?2 AND (?1 IS NULL OR project IN (SELECT value FROM json_each(?1)))) \
                   ORDER BY at";
        self.many(scoped(scope, sql).bind(plan.0)).await
    }

    async fn loading_in_cell(
        &self,
        scope: &Scope,
        project: ProjectId,
        cell: u64,
    ) -> Result<u64, StoreError> {
        if scope.role(project).is_none() {
            return Ok(0);
        }
        let sql = "SELECT COUNT(*) FROM plan_device WHERE project = ? AND cell = ?";
        let cell = i64::try_from(cell).unwrap_or(i64::MAX);
        let query = sqlx::query(sql).bind(project.0).bind(cell);
        let row = query.fetch_one(&self.readers).await.map_err(failed)?;
        let count: i64 = row.try_get(0).map_err(failed)?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    async fn untaken_offers(&self, scope: &Scope, plan: PlanId) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) FROM plan_device WHERE plan = ?2 AND state = ?3 AND deadline IS NOT NULL \
                   AND (?1 IS NULL OR project IN (SELECT value FROM json_each(?1)))";
        let query = scoped(scope, sql)
            .bind(plan.0)
            .bind(DeviceState::NotUpgraded.name());
        let row = query.fetch_one(&self.readers).await.map_err(failed)?;
        let count: i64 = row.try_get(0).map_err(failed)?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    async fn group_counters(
        &self,
        scope: &Scope,
        plan: PlanId,
    ) -> Result<Vec<Counters>, StoreError> {
        let sql = "SELECT grp, state, devices FROM counter WHERE plan = ?2 AND EXISTS \
                   (SELECT 1 FROM plan WHERE id = ?2 AND (?1 IS NULL OR project IN (SELECT value FROM json_each(?1))))";
        let rows = scoped(scope, sql)
            .bind(plan.0)
            .fetch_all(&self.readers)
            .await
            .map_err(failed)?;
        let mut groups = Vec::new();
        for row in rows {
            let group: i64 = row.try_get(0).map_err(failed)?;
            let state: &str = row.try_get(1).map_err(failed)?;
            let devices: i64 = row.try_get(2).map_err(failed)?;
            if let (Ok(group), Some(state)) = (u16::try_from(group), DeviceState::from_name(state))
            {
                let counters = Counters::of_group(&mut groups, group);
                *counters.of(state) = u64::try_from(devices).unwrap_or(0);
            }
        }
        Ok(groups)
    }

    async fn log(
        &self,
        scope: &Scope,
        endpoint: &Endpoint,
        plan: Option<PlanId>,
        most: usize,
    ) -> Result<Vec<LogLine>, StoreError> {
        let sql = "SELECT body FROM log WHERE product_key = ?2 AND device_key = ?3 AND (?4 IS NULL OR plan = ?4) \
                   AND (?1 IS NULL OR EXISTS (SELECT 1 FROM device WHERE product_key = ?2 AND device_key = ?3 \
                   AND project IN (SELECT value FROM json_each(?1)))) ORDER BY id DESC LIMIT ?5";
        let query = sqlx::query(sql)
            .bind(scope.project_list())
            .bind(endpoint.product_key.clone());
        let query = query
            .bind(endpoint.device_key.clone())
            .bind(plan.map(|p| p.0));
        let mut lines: Vec<LogLine> = self.many(query.bind(limit(most))).await?;
        lines.reverse();
        Ok(lines)
    }

    async fn plan_log(
        &self,
        scope: &Scope,
        plan: PlanId,
        after: i64,
        most: usize,
    ) -> Result<Vec<(i64, LogLine)>, StoreError> {
        let sql = "SELECT body, id FROM log WHERE plan = ?2 AND id > ?3 AND EXISTS \
                   (SELECT 1 FROM plan WHERE id = ?2 AND (?1 IS NULL OR project IN (SELECT value FROM json_each(?1)))) \
                   ORDER BY id LIMIT ?4";
        let query = scoped(scope, sql).bind(plan.0).bind(after);
        let rows = query.bind(limit(most)).fetch_all(&self.readers).await;
        let line = |row: &SqliteRow| Ok((row.try_get(1).map_err(failed)?, value(row)?));
        rows.map_err(failed)?.iter().map(line).collect()
    }

    async fn filters(&self, scope: &Scope) -> Result<Vec<SavedFilter>, StoreError> {
        self.many(scoped(scope, select!("filter"))).await
    }

    async fn webhooks(&self, scope: &Scope) -> Result<Vec<Webhook>, StoreError> {
        self.owned_webhooks(scope).await
    }

    async fn deliveries(
        &self,
        scope: &Scope,
        webhook: WebhookId,
        before: Option<i64>,
        most: usize,
    ) -> Result<Vec<Delivery>, StoreError> {
        self.deliveries_of(scope, webhook, before, limit(most))
            .await
    }

    async fn delivery(&self, scope: &Scope, id: i64) -> Result<Option<Delivery>, StoreError> {
        self.one_delivery(scope, id).await
    }

    async fn waiting_deliveries(
        &self,
        scope: &Scope,
        webhook: WebhookId,
    ) -> Result<u64, StoreError> {
        self.count_waiting(scope, webhook).await
    }

    async fn due_delivery(
        &self,
        scope: &Scope,
        webhook: WebhookId,
        now: Time,
    ) -> Result<Option<Delivery>, StoreError> {
        self.first_due(scope, webhook, now).await
    }

    async fn audit(
        &self,
        scope: &Scope,
        filter: &AuditFilter,
        most: usize,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        // ?1 the project or NULL, ?2 whose account's, NULL for all
        let sql = match filter.project {
            Some(project) if scope.role(project).is_none() => return Ok(Vec::new()),
            Some(_) => audited!("project = ?1 AND ?2 IS NULL"),
            None => audited!("project IS ?1 AND (?2 IS NULL OR account = ?2)"),
        };
        let own = (filter.project.is_none() && !scope.everything()).then_some(scope.account);
        let query = sqlx::query(sql)
            .bind(filter.project.map(|p| p.0))
            .bind(own)
            .bind(filter.before)
            .bind(filter.actor.clone())
            .bind(filter.action.map(Action::name))
            .bind(filter.object.clone())
            .bind(filter.from)
            .bind(filter.to)
            .bind(limit(most));
        let rows = query.fetch_all(&self.readers).await.map_err(failed)?;
        let entry = |row: &SqliteRow| {
            let entry: AuditEntry = value(row)?;
            let id = row.try_get(1).map_err(failed)?;
            Ok(AuditEntry { id, ..entry })
        };
        rows.iter().map(entry).collect()
    }

    async fn any_account(&self, scope: &Scope) -> Result<bool, StoreError> {
        scope.need_everything()?;
        let row = sqlx::query("SELECT 1 FROM account LIMIT 1").fetch_optional(&self.readers);
        Ok(row.await.map_err(failed)?.is_some())
    }

    async fn account_by_name(
        &self,
        scope: &Scope,
        name: &str,
    ) -> Result<Option<Account>, StoreError> {
        scope.need_everything()?;
        let query = sqlx::query("SELECT body FROM account WHERE name = ?");
        self.one(query.bind(name.to_owned())).await
    }

    async fn accounts(&self, scope: &Scope) -> Result<Vec<Account>, StoreError> {
        scope.need_everything()?;
        let query = sqlx::query("SELECT body FROM account ORDER BY id");
        self.many(query).await
    }

    async fn password_reset(
        &self,
        scope: &Scope,
        digest: &str,
    ) -> Result<Option<PasswordReset>, StoreError> {
        scope.need_everything()?;
        let query = sqlx::query("SELECT body FROM password_reset WHERE digest = ?");
        self.one(query.bind(digest.to_owned())).await
    }

    async fn session(&self, scope: &Scope, digest: &str) -> Result<Option<Session>, StoreError> {
        scope.need_everything()?;
        let query = sqlx::query("SELECT body FROM session WHERE digest = ?");
        self.one(query.bind(digest.to_owned())).await
    }

    async fn token(&self, scope: &Scope, digest: &str) -> Result<Option<ApiToken>, StoreError> {
        scope.need_everything()?;
        let query = sqlx::query("SELECT body FROM token WHERE digest = ?");
        self.one(query.bind(digest.to_owned())).await
    }

    async fn invitation(
        &self,
        scope: &Scope,
        digest: &str,
    ) -> Result<Option<Invitation>, StoreError> {
        scope.need_everything()?;
        let query = sqlx::query("SELECT body FROM invitation WHERE digest = ?");
        self.one(query.bind(digest.to_owned())).await
    }

    async fn account(&self, scope: &Scope, id: i64) -> Result<Option<Account>, StoreError> {
        scope.need_own(id)?;
        let query = sqlx::query("SELECT body FROM account WHERE id = ?");
        self.one(query.bind(id)).await
    }

    async fn memberships(
        &self,
        scope: &Scope,
        account: i64,
    ) -> Result<Vec<Membership>, StoreError> {
        scope.need_own(account)?;
        let sql = "SELECT body FROM membership WHERE account = ? ORDER BY project";
        self.many(sqlx::query(sql).bind(account)).await
    }

    async fn tokens(&self, scope: &Scope, account: i64) -> Result<Vec<ApiToken>, StoreError> {
        scope.need_own(account)?;
        let sql = "SELECT body FROM token WHERE account = ? ORDER BY id";
        self.many(sqlx::query(sql).bind(account)).await
    }

    async fn members(
        &self,
        scope: &Scope,
        project: ProjectId,
    ) -> Result<Vec<(Membership, String)>, StoreError> {
        if scope.role(project).is_none() {
            return Ok(Vec::new());
        }
        let sql = "SELECT membership.body, account.name FROM membership \
                   LEFT JOIN account ON account.id = membership.account \
                   WHERE membership.project = ? ORDER BY membership.account";
        let query = sqlx::query(sql).bind(project.0);
        let rows = query.fetch_all(&self.readers).await.map_err(failed)?;
        let member = |row: &SqliteRow| {
            let name: Option<String> = row.try_get(1).map_err(failed)?;
            Ok((value(row)?, name.unwrap_or_default()))
        };
        rows.iter().map(member).collect()
    }
}
