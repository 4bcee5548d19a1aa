//! Who may call: changes as SQL, each inside the writer's transaction.

use sqlx::{Row, SqliteConnection};

use super::failed;
use super::write::{Values, exists, json, one, run};
use crate::domain::{Account, ApiToken, AuditEntry, Invitation, PasswordReset, ProjectId, Role};
use crate::store::{Change, Scope, StoreError};

pub(super) async fn apply(
    connection: &mut SqliteConnection,
    scope: &Scope,
    change: Change,
) -> Result<(), StoreError> {
    match change {
        Change::Account(e) => {
            scope.need_everything()?;
            account(connection, e).await
        }
        Change::Session(e) => {
            scope.need_everything()?;
            let body = json(&e)?;
            let values = Values::default().with(e.digest)?.with(e.account)?;
            let values = values.with(e.expires_at)?.with(body)?;
            let sql = "INSERT INTO session (digest, account, expires_at, body) VALUES (?, ?, ?, ?)";
            one(run(connection, sql, values).await?)
        }
        Change::DeleteSession(digest) => {
            scope.need_everything()?;
            let sql = "DELETE FROM session WHERE digest = ?";
            run(connection, sql, Values::default().with(digest)?)
                .await
                .map(drop)
        }
        Change::DeleteSessions(account, except) => {
            scope.need_everything()?;
            let values = Values::default().with(account)?.with(except)?;
            let sql = "DELETE FROM session WHERE account = ?1 AND (?2 IS NULL OR digest <> ?2)";
            run(connection, sql, values).await.map(drop)
        }
        Change::DeleteAccount(id, revision) => {
            scope.need_everything()?;
            let values = Values::default().with(id)?.with(revision as i64)?;
            let sql = "DELETE FROM account WHERE id = ? AND revision = ?";
            one(run(connection, sql, values).await?)?;
            for sql in [
                "DELETE FROM membership WHERE account = ?",
                "DELETE FROM session WHERE account = ?",
                "DELETE FROM token WHERE account = ?",
                "DELETE FROM password_reset WHERE account = ?",
            ] {
                run(connection, sql, Values::default().with(id)?).await?;
            }
            Ok(())
        }
        Change::PasswordReset(e) => {
            scope.need_everything()?;
            password_reset(connection, e).await
        }
        Change::DeletePasswordReset(digest) => {
            scope.need_everything()?;
            let sql = "DELETE FROM password_reset WHERE digest = ?";
            one(run(connection, sql, Values::default().with(digest)?).await?)
        }
        Change::DeleteInvitation(digest) => {
            scope.need_everything()?;
            let sql = "DELETE FROM invitation WHERE digest = ?";
            one(run(connection, sql, Values::default().with(digest)?).await?)
        }
        Change::DropExpired(now) => {
            scope.need_everything()?;
            for sql in [
                "DELETE FROM session WHERE expires_at <= ?",
                "DELETE FROM token WHERE expires_at <= ?",
                "DELETE FROM invitation WHERE expires_at <= ?",
                "DELETE FROM password_reset WHERE expires_at <= ?",
            ] {
                run(connection, sql, Values::default().with(now)?).await?;
            }
            Ok(())
        }
        Change::Membership(e) => {
            owner(connection, scope, e.project).await?;
            let values = Values::default().with(e.account)?.with(e.project.0)?;
            let sql = "INSERT INTO membership (account, project, body) VALUES (?, ?, ?) \
                       ON CONFLICT (account, project) DO UPDATE SET body = excluded.body";
            one(run(connection, sql, values.with(json(&e)?)?).await?)
        }
        Change::DeleteMembership(account, project) => {
            if account != scope.account {
                owner(connection, scope, project).await?;
            }
            let values = Values::default().with(account)?.with(project.0)?;
            let sql = "DELETE FROM membership WHERE account = ? AND project = ?";
            one(run(connection, sql, values).await?)
        }
        Change::Audit(e) => audit(connection, scope, e).await,
        Change::Invitation(e) => invitation(connection, scope, e).await,
        Change::Token(e) => token(connection, scope, e).await,
        Change::DeleteToken(id) => {
            let row = sqlx::query("SELECT account FROM token WHERE id = ?").bind(id);
            let row = row.fetch_optional(&mut *connection).await.map_err(failed)?;
            let row = row.ok_or(StoreError::Conflict)?;
            scope.need_own(row.try_get(0).map_err(failed)?)?;
            let sql = "DELETE FROM token WHERE id = ?";
            one(run(connection, sql, Values::default().with(id)?).await?)
        }
        _ => Ok(()),
    }
}

async fn audit(
    connection: &mut SqliteConnection,
    scope: &Scope,
    e: AuditEntry,
) -> Result<(), StoreError> {
    match (e.project, e.account) {
        // also who made the project just now
        (Some(project), _) if scope.need(project, Role::Operator).is_err() => {
            owner(connection, scope, project).await?;
        }
        (Some(_), _) => {}
        (None, Some(account)) => scope.need_own(account)?,
        (None, None) => scope.need_everything()?,
    }
    let body = json(&e)?;
    let values = Values::default()
        .with(e.project.map(|p| p.0))?
        .with(e.account)?
        .with(e.at)?
        .with(e.actor.name)?
        .with(e.action.name())?
        .with(e.object)?
        .with(body)?;
    let sql = "INSERT INTO audit (project, account, at, actor, action, object, body) VALUES (?, ?, ?, ?, ?, ?, ?)";
    one(run(connection, sql, values).await?)
}

/// An owner of the project, or the account that just made it.
async fn owner(
    connection: &mut SqliteConnection,
    scope: &Scope,
    project: ProjectId,
) -> Result<(), StoreError> {
    let own = "SELECT 1 FROM project WHERE id = ? AND account = ?";
    let values = Values::default().with(project.0)?.with(scope.account)?;
    if scope.makes_projects() && exists(connection, own, values).await? {
        return Ok(());
    }
    scope.need(project, Role::Owner)
}

async fn account(connection: &mut SqliteConnection, mut e: Account) -> Result<(), StoreError> {
    let taken = "SELECT 1 FROM account WHERE name = ? AND id <> ?";
    let values = Values::default().with(e.name.clone())?.with(e.id)?;
    if exists(connection, taken, values).await? {
        return Err(StoreError::Taken("name"));
    }
    let revision = e.revision as i64;
    e.revision += 1;
    let body = json(&e)?;
    let values = Values::default().with(e.name)?.with(revision + 1)?;
    let values = values.with(body)?.with(e.id)?;
    one(if revision == 0 {
        let sql = "INSERT INTO account (name, revision, body, id) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING";
        run(connection, sql, values).await?
    } else {
        let sql =
            "UPDATE account SET name = ?, revision = ?, body = ? WHERE id = ? AND revision = ?";
        run(connection, sql, values.with(revision)?).await?
    })
}

async fn password_reset(
    connection: &mut SqliteConnection,
    e: PasswordReset,
) -> Result<(), StoreError> {
    let body = json(&e)?;
    let values = Values::default().with(e.account)?.with(e.digest)?;
    let values = values.with(e.expires_at)?.with(body)?;
    let sql = "INSERT INTO password_reset (account, digest, expires_at, body) VALUES (?, ?, ?, ?) \
               ON CONFLICT (account) DO UPDATE SET digest = excluded.digest, \
               expires_at = excluded.expires_at, body = excluded.body";
    one(run(connection, sql, values).await?)
}

async fn invitation(
    connection: &mut SqliteConnection,
    scope: &Scope,
    e: Invitation,
) -> Result<(), StoreError> {
    match e.project {
        Some(project) => scope.need(project, Role::Owner)?,
        None => scope.need_everything()?,
    }
    let body = json(&e)?;
    let values = Values::default()
        .with(e.digest)?
        .with(e.project.map(|p| p.0))?
        .with(e.expires_at)?
        .with(body)?;
    let sql = "INSERT INTO invitation (digest, project, expires_at, body) VALUES (?, ?, ?, ?)";
    one(run(connection, sql, values).await?)
}

async fn token(
    connection: &mut SqliteConnection,
    scope: &Scope,
    e: ApiToken,
) -> Result<(), StoreError> {
    scope.need_own(e.account)?;
    let taken = "SELECT 1 FROM token WHERE account = ? AND name = ?";
    let values = Values::default().with(e.account)?.with(e.name.clone())?;
    if exists(connection, taken, values).await? {
        return Err(StoreError::Taken("name"));
    }
    let body = json(&e)?;
    let values = Values::default()
        .with(e.id)?
        .with(e.digest)?
        .with(e.account)?
        .with(e.name)?
        .with(e.expires_at)?
        .with(body)?;
    let sql =
        "INSERT INTO token (id, digest, account, name, expires_at, body) VALUES (?, ?, ?, ?, ?, ?)";
    one(run(connection, sql, values).await?)
}
