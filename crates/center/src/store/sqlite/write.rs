//! Changes as SQL; each runs inside the writer's transaction.

use serde::Serialize;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments, Encode, Row, Sqlite, SqliteConnection, Type};

use super::failed;
use crate::domain::{Device, DeviceState, LogLine, PlanDevice, PlanState, ProjectId, Role};
use crate::store::{Change, Scope, StoreError};

/// Parameters of a statement, in order.
#[derive(Default)]
pub(super) struct Values(SqliteArguments);

impl Values {
    pub(super) fn with<T>(mut self, value: T) -> Result<Values, StoreError>
    where
        T: for<'q> Encode<'q, Sqlite> + Type<Sqlite>,
    {
        self.0
            .add(value)
            .map_err(|e| StoreError::Failed(e.to_string()))?;
        Ok(self)
    }
}

pub(super) async fn run(
    connection: &mut SqliteConnection,
    sql: &'static str,
    values: Values,
) -> Result<u64, StoreError> {
    let done = sqlx::query_with(sql, values.0)
        .execute(connection)
        .await
        .map_err(failed)?;
    Ok(done.rows_affected())
}

pub(super) async fn exists(
    connection: &mut SqliteConnection,
    sql: &'static str,
    values: Values,
) -> Result<bool, StoreError> {
    let row = sqlx::query_with(sql, values.0)
        .fetch_optional(connection)
        .await;
    Ok(row.map_err(failed)?.is_some())
}

pub(super) fn json<T: Serialize>(entity: &T) -> Result<String, StoreError> {
    serde_json::to_string(entity).map_err(|e| StoreError::Failed(e.to_string()))
}

/// Exactly one row was changed, or someone else was quicker.
pub(super) fn one(rows: u64) -> Result<(), StoreError> {
    if rows == 1 {
        Ok(())
    } else {
        Err(StoreError::Conflict)
    }
}

/// Gives an id.
pub(super) async fn next_id(connection: &mut SqliteConnection) -> Result<i64, StoreError> {
    let sql = "UPDATE sequence SET last = last + 1 RETURNING last";
    let row = sqlx::query(sql)
        .fetch_one(connection)
        .await
        .map_err(failed)?;
    row.try_get(0).map_err(failed)
}

/// An entity with an id and a name that is unique in its place.
macro_rules! named {
    ($connection:expr, $scope:expr, $entity:expr, $table:literal, $project:expr, $place:literal = $place_value:expr
     $(, $column:literal = $value:expr)*) => {{
        let mut entity = $entity;
        $scope.need($project, Role::Operator)?;
        named!(@put $connection, entity, $table, $project, $place = $place_value $(, $column = $value)*)
    }};
    (@put $connection:expr, $entity:ident, $table:literal, $project:expr, $place:literal = $place_value:expr
     $(, $column:literal = $value:expr)*) => {{
        let taken = concat!("SELECT 1 FROM ", $table, " WHERE ", $place, " = ? AND name = ? AND id <> ?");
        let values = Values::default().with($place_value)?.with($entity.name.clone())?.with($entity.id.0)?;
        if exists($connection, taken, values).await? {
            return Err(StoreError::Taken("name"));
        }
        let revision = $entity.revision as i64;
        $entity.revision += 1;
        let body = json(&$entity)?;
        let values = Values::default()
            .with($entity.account)?.with($project.0)?.with($entity.name.clone())?.with(revision + 1)?.with(body)?
            $(.with($value(&$entity))?)*
            .with($entity.id.0)?;
        let rows = if revision == 0 {
            let sql = concat!(
                "INSERT INTO ", $table, " (account, project, name, revision, body", $(", ", $column,)* ", id)",
                " VALUES (?, ?, ?, ?, ?", $(named!(@mark $column),)* ", ?) ON CONFLICT (id) DO NOTHING"
            );
            run($connection, sql, values).await?
        } else {
            let sql = concat!(
                "UPDATE ", $table, " SET account = ?, project = ?, name = ?, revision = ?, body = ?",
                $(", ", $column, " = ?",)* " WHERE id = ? AND account = ? AND revision = ?"
            );
            run($connection, sql, values.with($entity.account)?.with(revision)?).await?
        };
        one(rows)
    }};
    (@mark $column:literal) => { ", ?" };
}

macro_rules! delete {
    ($connection:expr, $scope:expr, $table:literal, $id:expr, $revision:expr) => {
        delete!($connection, $scope, $table, $id, $revision, Role::Operator)
    };
    ($connection:expr, $scope:expr, $table:literal, $id:expr, $revision:expr, $least:expr) => {{
        let sql = concat!("SELECT project FROM ", $table, " WHERE id = ?");
        let row = sqlx::query(sql)
            .bind($id.0)
            .fetch_optional(&mut *$connection)
            .await;
        let row = row.map_err(failed)?.ok_or(StoreError::Conflict)?;
        let project = ProjectId(row.try_get(0).map_err(failed)?);
        $scope.need(project, $least)?;
        let sql = concat!("DELETE FROM ", $table, " WHERE id = ? AND revision = ?");
        let values = Values::default().with($id.0)?.with($revision as i64)?;
        one(run($connection, sql, values).await?)
    }};
}

/// Does one change or refuses it.
pub(super) async fn apply(
    connection: &mut SqliteConnection,
    scope: &Scope,
    change: Change,
) -> Result<(), StoreError> {
    match change {
        Change::Project(mut e) => {
            scope.need_project(&e)?;
            let (project, account) = (e.id, e.account);
            named!(@put connection, e, "project", project, "account" = account)
        }
        Change::Product(e) => {
            let sql = "SELECT 1 FROM product WHERE product_key = ? AND id <> ?";
            let values = Values::default()
                .with(e.product_key.clone())?
                .with(e.id.0)?;
            if exists(connection, sql, values).await? {
                return Err(StoreError::Taken("product_key"));
            }
            let project = e.project;
            named!(
                connection,
                scope,
                e,
                "product",
                project,
                "project" = project.0,
                "product_key" = |e: &crate::domain::Product| e.product_key.clone()
            )
        }
        Change::Model(e) => {
            let project = e.project;
            named!(
                connection,
                scope,
                e,
                "model",
                project,
                "project" = project.0
            )
        }
        Change::Package(e) => {
            let project = e.project;
            named!(
                connection,
                scope,
                e,
                "package",
                project,
                "project" = project.0
            )
        }
        Change::Plan(e) => {
            let project = e.project;
            named!(
                connection,
                scope,
                e,
                "plan",
                project,
                "project" = project.0,
                "product_key" = |e: &crate::domain::Plan| e.product_key.clone(),
                "running" =
                    |e: &crate::domain::Plan| e.state.active() || e.state == PlanState::Suspended
            )
        }
        Change::Device(e) => device(connection, scope, e).await,
        Change::PlanDevice(e) => plan_device(connection, scope, e).await,
        Change::Log(line) => log(connection, scope, line).await,
        Change::Sample(e, interval, start) => {
            scope.need_everything()?;
            let slots = Values::default().with(e.plan.0)?.with(start)?;
            let sql = "DELETE FROM plan_sample AS late WHERE plan = ?1 AND EXISTS (SELECT 1 FROM plan_sample AS first \
                       WHERE first.plan = ?1 AND first.at < late.at AND (first.at - ?2) / ?3 = (late.at - ?2) / ?3)";
            run(connection, sql, slots.with(interval.max(1))?).await?;
            let values = Values::default().with(e.plan.0)?.with(e.at)?;
            let sql =
                "INSERT INTO plan_sample (plan, at, body) VALUES (?, ?, ?) ON CONFLICT DO NOTHING";
            run(connection, sql, values.with(json(&e)?)?)
                .await
                .map(drop)
        }
        Change::Filter(e) => {
            let project = e.project;
            named!(
                connection,
                scope,
                e,
                "filter",
                project,
                "project" = project.0
            )
        }
        Change::DeleteFilter(id, revision) => delete!(connection, scope, "filter", id, revision),
        Change::Webhook(e) => {
            scope.need(e.project, Role::Owner)?;
            let project = e.project;
            named!(
                connection,
                scope,
                e,
                "webhook",
                project,
                "project" = project.0
            )
        }
        Change::DeleteWebhook(id, revision) => {
            delete!(connection, scope, "webhook", id, revision, Role::Owner)?;
            let sql = "DELETE FROM delivery WHERE webhook = ?";
            run(connection, sql, Values::default().with(id.0)?)
                .await
                .map(drop)
        }
        Change::Event(e) => super::webhooks::event(connection, scope, e).await,
        Change::Delivery(e) => super::webhooks::delivery(connection, scope, e).await,
        Change::TrimDeliveries(now) => super::webhooks::trim(connection, scope, now).await,
        Change::DeleteModel(id, revision) => delete!(connection, scope, "model", id, revision),
        Change::DeletePackage(id, revision) => delete!(connection, scope, "package", id, revision),
        Change::DeletePlan(id, revision) => {
            delete!(connection, scope, "plan", id, revision)?;
            for sql in [
                "DELETE FROM plan_device WHERE plan = ?",
                "DELETE FROM counter WHERE plan = ?",
                "DELETE FROM plan_sample WHERE plan = ?",
                "DELETE FROM log WHERE plan = ?",
            ] {
                run(connection, sql, Values::default().with(id.0)?).await?;
            }
            Ok(())
        }
        other => super::access::apply(connection, scope, other).await,
    }
}

async fn device(
    connection: &mut SqliteConnection,
    scope: &Scope,
    mut e: Device,
) -> Result<(), StoreError> {
    scope.need(e.project, Role::Operator)?;
    let revision = e.revision as i64;
    e.revision += 1;
    let values = Values::default()
        .with(e.account)?
        .with(e.project.0)?
        .with(e.registration.as_ref().map(|r| r.id.clone()))?
        .with(revision + 1)?
        .with(json(&e)?)?
        .with(e.endpoint.product_key)?
        .with(e.endpoint.device_key)?;
    one(if revision == 0 {
        let sql = "INSERT INTO device (account, project, registration, revision, body, product_key, device_key) \
                   VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING";
        run(connection, sql, values).await?
    } else {
        let sql = "UPDATE device SET account = ?, project = ?, registration = ?, revision = ?, body = ? \
                   WHERE product_key = ? AND device_key = ? AND account = ? AND revision = ?";
        run(connection, sql, values.with(e.account)?.with(revision)?).await?
    })
}

async fn plan_device(
    connection: &mut SqliteConnection,
    scope: &Scope,
    mut e: PlanDevice,
) -> Result<(), StoreError> {
    scope.need(e.project, Role::Operator)?;
    // one that is made now has no state before
    let from = match e.revision {
        0 => None,
        _ => state_of(connection, &e).await?,
    };
    let (number, group, to, revision) = (e.plan.0, e.group, e.state, e.revision as i64);
    e.revision += 1;
    let cell = e
        .loading_cell()
        .map(|c| i64::try_from(c).unwrap_or(i64::MAX));
    let values = Values::default()
        .with(e.account)?
        .with(e.project.0)?
        .with(to.name())?
        .with(e.deadline)?
        .with(cell)?
        .with(revision + 1)?
        .with(json(&e)?)?
        .with(number)?
        .with(e.endpoint.product_key)?
        .with(e.endpoint.device_key)?;
    one(if revision == 0 {
        let sql = "INSERT INTO plan_device \
                   (account, project, state, deadline, cell, revision, body, plan, product_key, device_key) \
                   SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10 WHERE EXISTS (SELECT 1 FROM plan WHERE id = ?8) \
                   ON CONFLICT DO NOTHING";
        run(connection, sql, values).await?
    } else {
        let sql = "UPDATE plan_device SET account = ?, project = ?, state = ?, deadline = ?, cell = ?, revision = ?, \
                   body = ? WHERE plan = ? AND product_key = ? AND device_key = ? AND account = ? \
                   AND revision = ?";
        run(connection, sql, values.with(e.account)?.with(revision)?).await?
    })?;
    // what a plan that is deleted had goes with it, so there is no other device in it to be changed
    count(
        connection,
        (number, group),
        from.as_deref().and_then(DeviceState::from_name),
        to,
    )
    .await
}

/// A device's state in a plan, as stored.
async fn state_of(
    connection: &mut SqliteConnection,
    e: &PlanDevice,
) -> Result<Option<String>, StoreError> {
    let sql = "SELECT state FROM plan_device WHERE plan = ? AND product_key = ? AND device_key = ?";
    let row = sqlx::query(sql)
        .bind(e.plan.0)
        .bind(e.endpoint.product_key.clone())
        .bind(e.endpoint.device_key.clone())
        .fetch_optional(connection)
        .await
        .map_err(failed)?;
    row.map(|row| row.try_get(0)).transpose().map_err(failed)
}

async fn count(
    connection: &mut SqliteConnection,
    (plan, group): (i64, u16),
    from: Option<DeviceState>,
    to: DeviceState,
) -> Result<(), StoreError> {
    if from == Some(to) {
        return Ok(());
    }
    if let Some(from) = from {
        let sql =
            "UPDATE counter SET devices = devices - 1 WHERE plan = ? AND grp = ? AND state = ?";
        run(
            connection,
            sql,
            Values::default()
                .with(plan)?
                .with(i64::from(group))?
                .with(from.name())?,
        )
        .await?;
    }
    let sql = "INSERT INTO counter (plan, grp, state, devices) VALUES (?, ?, ?, 1) \
               ON CONFLICT (plan, grp, state) DO UPDATE SET devices = devices + 1";
    run(
        connection,
        sql,
        Values::default()
            .with(plan)?
            .with(i64::from(group))?
            .with(to.name())?,
    )
    .await
    .map(drop)
}

async fn log(
    connection: &mut SqliteConnection,
    scope: &Scope,
    line: LogLine,
) -> Result<(), StoreError> {
    if !scope.everything() {
        let sql = "SELECT project FROM device WHERE product_key = ? AND device_key = ?";
        let row = sqlx::query(sql)
            .bind(line.endpoint.product_key.clone())
            .bind(line.endpoint.device_key.clone());
        let row = row.fetch_optional(&mut *connection).await.map_err(failed)?;
        let row = row.ok_or(StoreError::Forbidden)?;
        let project = ProjectId(row.try_get(0).map_err(failed)?);
        scope.need(project, Role::Operator)?;
    }
    let body = json(&line)?;
    let values = Values::default()
        .with(scope.account)?
        .with(line.plan.map(|p| p.0))?
        .with(line.endpoint.product_key)?
        .with(line.endpoint.device_key)?
        .with(body)?;
    let sql =
        "INSERT INTO log (account, plan, product_key, device_key, body) VALUES (?, ?, ?, ?, ?)";
    run(connection, sql, values).await.map(drop)
}
