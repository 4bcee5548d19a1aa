//! The store in one SQLite file: WAL, synchronous FULL, migrations that only go forward.
//!
//! One task writes, so writers never wait for each other's locks: it takes what came together into one
//! transaction with one sync to the disk (group commit), each commit under a savepoint of its own, so that one that
//! is refused takes no other with it. Reads go beside it over a few connections.

mod access;
mod read;
mod snapshot;
mod webhooks;
mod write;

pub(crate) use snapshot::snapshot;

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, SqliteConnection};
use tokio::sync::{mpsc, oneshot};

use super::{Change, Role, Scope, StoreError};

/// Commits waiting for the writer; more wait at the door.
const QUEUE: usize = 1024;
/// Commits in one transaction at most: keeps it short.
const GROUP: usize = 256;

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// Entities in one SQLite file.
pub struct SqliteStore {
    readers: SqlitePool,
    writer: mpsc::Sender<Job>,
}

enum Job {
    Commit(Scope, Vec<Change>, oneshot::Sender<Result<(), StoreError>>),
    NextId(oneshot::Sender<Result<i64, StoreError>>),
}

impl SqliteStore {
    /// Opens the file, makes it if it is not there, and brings it to this version's form.
    pub async fn open(path: &Path) -> Result<SqliteStore, StoreError> {
        SqliteStore::open_with(path, None).await
    }

    /// With at most this many pages of 4096 bytes, as a disk that is full would give.
    async fn open_with(path: &Path, max_pages: Option<u32>) -> Result<SqliteStore, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(10))
            .disable_statement_logging();
        let mut connection = options.connect().await.map_err(failed)?;
        let migrated = MIGRATIONS.run(&mut connection).await;
        migrated.map_err(|e| StoreError::Failed(e.to_string()))?;
        if let Some(pages) = max_pages {
            let pragma = sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"));
            sqlx::query(pragma)
                .execute(&mut connection)
                .await
                .map_err(failed)?;
        }
        let readers = SqlitePoolOptions::new().max_connections(4);
        let readers = readers
            .connect_with(options.read_only(true))
            .await
            .map_err(failed)?;
        let (writer, jobs) = mpsc::channel(QUEUE);
        tokio::spawn(write_all(connection, jobs));
        Ok(SqliteStore { readers, writer })
    }

    async fn ask<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Job,
    ) -> Result<T, StoreError> {
        let gone = || StoreError::Failed("the writer has stopped".into());
        let (answer, answered) = oneshot::channel();
        self.writer.send(job(answer)).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }

    async fn write(&self, scope: &Scope, changes: Vec<Change>) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        let scope = scope.clone();
        self.ask(|answer| Job::Commit(scope, changes, answer)).await
    }

    async fn take_id(&self, scope: &Scope) -> Result<i64, StoreError> {
        if !scope.somewhere(Role::Operator) {
            return Err(StoreError::Forbidden);
        }
        self.ask(Job::NextId).await
    }
}

fn failed(error: sqlx::Error) -> StoreError {
    let database = error.as_database_error();
    let code = database
        .and_then(|e| e.code())
        .and_then(|c| c.parse::<u32>().ok());
    match code.map(|c| c & 0xff) {
        Some(13) => StoreError::Full, // SQLITE_FULL
        _ => StoreError::Failed(error.to_string()),
    }
}

/// The writer's task: ends when the store is dropped.
async fn write_all(mut connection: SqliteConnection, mut jobs: mpsc::Receiver<Job>) {
    while let Some(first) = jobs.recv().await {
        let mut group = vec![first];
        while group.len() < GROUP {
            match jobs.try_recv() {
                Ok(job) => group.push(job),
                Err(_) => break,
            }
        }
        write_group(&mut connection, group).await;
    }
}

/// A job's answer, held back until the transaction is on the disk.
enum Held {
    Commit(
        oneshot::Sender<Result<(), StoreError>>,
        Result<(), StoreError>,
    ),
    NextId(oneshot::Sender<Result<i64, StoreError>>, i64),
}

async fn write_group(connection: &mut SqliteConnection, group: Vec<Job>) {
    let mut held = Vec::new();
    let mut waiting = group.into_iter();
    let mut result = execute(connection, "BEGIN IMMEDIATE").await;
    while result.is_ok() {
        let Some(job) = waiting.next() else { break };
        match job {
            Job::Commit(scope, changes, answer) => {
                let own = under_savepoint(connection, &scope, changes).await;
                match own {
                    Err(e @ (StoreError::Full | StoreError::Failed(_))) => {
                        result = Err(e);
                        held.push(Held::Commit(answer, Ok(())));
                    }
                    own => held.push(Held::Commit(answer, own)),
                }
            }
            Job::NextId(answer) => match write::next_id(connection).await {
                Ok(id) => held.push(Held::NextId(answer, id)),
                Err(e) => {
                    result = Err(e);
                    held.push(Held::NextId(answer, 0));
                }
            },
        }
    }
    if result.is_ok() {
        result = execute(connection, "COMMIT").await;
    }
    if result.is_err() {
        // SQLite may have rolled back by itself; then this fails and that is well
        let _ = execute(connection, "ROLLBACK").await;
    }
    for held in held {
        // who does not wait any more does not want the answer
        match held {
            Held::Commit(answer, Err(own)) => drop(answer.send(Err(own))),
            Held::Commit(answer, Ok(())) => drop(answer.send(copy(&result))),
            Held::NextId(answer, id) => drop(answer.send(copy(&result).map(|()| id))),
        }
    }
    for job in waiting {
        match job {
            Job::Commit(_, _, answer) => drop(answer.send(copy(&result))),
            Job::NextId(answer) => drop(answer.send(copy(&result).map(|()| 0))),
        }
    }
}

fn copy(result: &Result<(), StoreError>) -> Result<(), StoreError> {
    match result {
        Ok(()) => Ok(()),
        Err(StoreError::Full) => Err(StoreError::Full),
        Err(e) => Err(StoreError::Failed(e.to_string())),
    }
}

async fn execute(connection: &mut SqliteConnection, sql: &'static str) -> Result<(), StoreError> {
    sqlx::query(sql)
        .execute(connection)
        .await
        .map(drop)
        .map_err(failed)
}

async fn under_savepoint(
    connection: &mut SqliteConnection,
    scope: &Scope,
    changes: Vec<Change>,
) -> Result<(), StoreError> {
    execute(connection, "SAVEPOINT one").await?;
    for change in changes {
        if let Err(refused) = write::apply(connection, scope, change).await {
            if !matches!(refused, StoreError::Full | StoreError::Failed(_)) {
                execute(connection, "ROLLBACK TO one").await?;
                execute(connection, "RELEASE one").await?;
            }
            return Err(refused);
        }
    }
    execute(connection, "RELEASE one").await
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::Connection;

    use crate::domain::{
        Action, ComponentState, Counters, Endpoint, FIRST_ACCOUNT, PlanId, Project, ProjectId,
        Registration,
    };
    use crate::store::Store;
    use crate::store::samples::{audit, device, enrolled, plan};

    fn project(id: i64, name: String) -> Change {
        let (id, account) = (ProjectId(id), Scope::OWNER.account);
        Change::Project(Project {
            id,
            account,
            name,
            created_at: 0,
            revision: 0,
        })
    }

    #[tokio::test]
    async fn what_was_committed_is_there_after_opening_again() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("center.db");
        let store = SqliteStore::open(&path).await.expect("opened");
        let id = store.next_id(&Scope::OWNER).await.expect("id");
        store
            .commit(&Scope::OWNER, vec![project(id, "a".into())])
            .await
            .expect("done");
        drop(store);
        let store = SqliteStore::open(&path).await.expect("opened again");
        assert_eq!(store.projects(&Scope::OWNER).await.expect("read").len(), 1);
        assert!(store.next_id(&Scope::OWNER).await.expect("id") > id);
    }

    const FILE: &str = "center.db";

    /// A file as the first so many migrations leave it, open.
    async fn file_of_version(version: usize) -> (tempfile::TempDir, SqliteConnection) {
        let folder = tempfile::tempdir().expect("folder");
        let options = SqliteConnectOptions::new()
            .filename(folder.path().join(FILE))
            .create_if_missing(true);
        let mut old = options.connect().await.expect("made");
        let migrations: Vec<_> = MIGRATIONS.iter().take(version).cloned().collect();
        let migrator = sqlx::migrate::Migrator {
            migrations: migrations.into(),
            ..sqlx::migrate::Migrator::DEFAULT
        };
        migrator.run(&mut old).await.expect("an earlier version");
        (folder, old)
    }

    /// A file of the first version, with a device in the middle of its second component.
    #[tokio::test]
    async fn an_offer_in_force_stays_in_force_in_the_new_form() {
        let (folder, mut old) = file_of_version(1).await;
        let path = folder.path().join(FILE);
        let rows = [("d", true, 1), ("e", false, 0)];
        for (key, open, current) in rows {
            let mut entry = enrolled(5, key);
            entry.steps.push(entry.steps[0].clone());
            (entry.open, entry.current, entry.offer) = (open, current, 2);
            entry.steps[1].state = ComponentState::Downloading;
            let mut body = serde_json::to_value(&entry).expect("JSON");
            for step in body["steps"].as_array_mut().expect("steps") {
                step.as_object_mut().expect("a step").remove("offered");
            }
            let insert = "INSERT INTO plan_device (plan, product_key, device_key, account, project, state, revision, \
                          body) VALUES (5, 'pk', ?, 1, 1, 'InUpgrade', 1, ?)";
            let insert = sqlx::query(insert).bind(key).bind(body.to_string());
            insert.execute(&mut old).await.expect("inserted");
        }
        old.close().await.expect("closed");
        let store = SqliteStore::open(&path).await.expect("the present version");
        for (key, open, current) in rows {
            let endpoint = Endpoint::new("pk", key);
            let entry = store.plan_device(&Scope::OWNER, PlanId(5), &endpoint).await;
            let entry = entry.expect("read").expect("there");
            assert_eq!(
                (entry.open, entry.current, entry.steps.len()),
                (open, current, 2)
            );
            assert_eq!(entry.steps[1].state, ComponentState::Downloading);
            let offered: Vec<usize> = entry.offered().collect();
            assert_eq!(offered, if open { vec![1] } else { vec![] }, "{key}");
        }
    }

    /// A file of the second version: every device is enabled, and keeps its registration.
    #[tokio::test]
    async fn a_device_of_before_is_enabled_in_the_new_form() {
        let (folder, mut old) = file_of_version(2).await;
        let path = folder.path().join(FILE);
        for key in ["d", "e"] {
            let mut device = device("pk", key);
            device.registration = (key == "d").then(|| Registration {
                id: "reg-d".into(),
                ..Registration::default()
            });
            device.revision = 3;
            let mut body = serde_json::to_value(&device).expect("JSON");
            let fields = body.as_object_mut().expect("a device");
            fields.remove("disabled").expect("a field of the new form");
            let insert = "INSERT INTO device (product_key, device_key, account, project, registration, revision, body) \
                          VALUES ('pk', ?, 1, 1, ?, 3, ?)";
            let insert = sqlx::query(insert)
                .bind(key)
                .bind(device.registration.map(|r| r.id))
                .bind(body.to_string());
            insert.execute(&mut old).await.expect("inserted");
        }
        old.close().await.expect("closed");
        let store = SqliteStore::open(&path).await.expect("the present version");
        for key in ["d", "e"] {
            let endpoint = Endpoint::new("pk", key);
            let read = store.device(&Scope::OWNER, &endpoint).await;
            let mut device = read.expect("read").expect("there");
            assert_eq!((device.disabled, device.revision), (false, 3), "{key}");
            assert_eq!(device.registration.is_some(), key == "d");
            assert!(device.set_disabled(true));
            let commit = store.commit(&Scope::OWNER, vec![Change::Device(device)]);
            commit.await.expect("it can be changed");
        }
    }

    /// A file of the third version: what was counted stays counted, as one group.
    #[tokio::test]
    async fn counters_of_before_are_those_of_the_first_group() {
        let (folder, mut old) = file_of_version(3).await;
        let path = folder.path().join(FILE);
        let plan = serde_json::to_string(&plan(5, 1, "pk", 4)).expect("JSON");
        let insert = "INSERT INTO plan (id, account, project, name, product_key, running, revision, body) \
                      VALUES (5, 1, 1, 'five', 'pk', 1, 1, ?)";
        let inserted = sqlx::query(insert).bind(plan).execute(&mut old).await;
        inserted.expect("inserted");
        let counted = "INSERT INTO counter VALUES (5, 'NotUpgraded', 3), (5, 'Upgraded', 2)";
        let counted = sqlx::query(counted).execute(&mut old).await;
        counted.expect("inserted");
        old.close().await.expect("closed");
        let store = SqliteStore::open(&path).await.expect("the present version");
        let groups = store.group_counters(&Scope::OWNER, PlanId(5)).await;
        let expected = Counters {
            not_upgraded: 3,
            upgraded: 2,
            ..Counters::default()
        };
        assert_eq!(groups.expect("read"), [expected]);
    }

    /// A file of the third version: its projects belong to the account that sets the Center up.
    #[tokio::test]
    async fn the_first_account_owns_what_was_there_before_accounts() {
        let (folder, mut old) = file_of_version(3).await;
        let path = folder.path().join(FILE);
        let project = r#"{"id":4,"account":1,"name":"home","created_at":5,"revision":1}"#;
        let insert = "INSERT INTO project (id, account, project, name, revision, body) \
                      VALUES (4, 1, 4, 'home', 1, ?)";
        let insert = sqlx::query(insert).bind(project);
        insert.execute(&mut old).await.expect("inserted");
        old.close().await.expect("closed");
        let store = SqliteStore::open(&path).await.expect("the present version");
        assert!(!store.any_account(&Scope::OWNER).await.expect("read"));
        let roles = store.memberships(&Scope::OWNER, FIRST_ACCOUNT).await;
        let roles: Vec<_> = roles
            .expect("read")
            .iter()
            .map(|m| (m.project, m.role))
            .collect();
        assert_eq!(roles, [(ProjectId(4), Role::Owner)]);
        let first = Scope::member(FIRST_ACCOUNT, roles, true);
        assert_eq!(store.projects(&first).await.expect("read").len(), 1);
    }

    /// A file of the fifth version: who was logged in stays so, and can get a new password.
    #[tokio::test]
    async fn a_log_in_of_before_goes_on_and_can_be_ended() {
        let (folder, mut old) = file_of_version(5).await;
        let path = folder.path().join(FILE);
        for sql in [
            r#"INSERT INTO account VALUES (1, 'ada', 1,
                '{"id":1,"name":"ada","password":"p","created_at":5,"revision":1}')"#,
            r#"INSERT INTO session VALUES ('s', 1, 50,
                '{"digest":"s","account":1,"created_at":5,"expires_at":50}')"#,
        ] {
            execute(&mut old, sql).await.expect("inserted");
        }
        old.close().await.expect("closed");
        let store = SqliteStore::open(&path).await.expect("the present version");
        let there = async || store.session(&Scope::OWNER, "s").await.expect("read");
        assert!(there().await.is_some());
        let ends = vec![Change::DeleteSessions(1, None)];
        store.commit(&Scope::OWNER, ends).await.expect("ended");
        assert!(there().await.is_none());
    }

    /// From each earlier version: what it kept is read, and can be changed, in the present form.
    #[tokio::test]
    async fn every_earlier_version_comes_to_the_present_form() {
        // What each version added to a body, and so an earlier one has not.
        let added: &[(usize, &str, &[&str])] = &[
            (3, "device", &["disabled"]),
            (5, "plan", &["rollout", "progress"]),
            (5, "plan_device", &["group", "appointed_at"]),
            (10, "device", &["tags"]),
            (10, "plan", &["audience"]),
            (11, "device", &["cell_id"]),
            (12, "plan_device", &["last_set"]),
        ];
        let body = |version: usize, kind: &str, mut body: serde_json::Value| {
            body["revision"] = 1.into();
            let fields = body.as_object_mut().expect("an object");
            let later = added
                .iter()
                .filter(|(at, of, _)| *of == kind && *at > version);
            for name in later.flat_map(|(_, _, names)| *names) {
                fields.remove(*name).expect("a field of the present form");
            }
            body.to_string()
        };
        let versions = MIGRATIONS.iter().count();
        assert!(added.iter().all(|(at, ..)| *at <= versions));
        for version in 1..versions {
            let (folder, mut old) = file_of_version(version).await;
            let path = folder.path().join(FILE);
            let value = serde_json::to_value(device("pk", "d")).expect("JSON");
            let sql = "INSERT INTO device (product_key, device_key, account, project, revision, body) \
                       VALUES ('pk', 'd', 1, 1, 1, ?)";
            let insert = sqlx::query(sql).bind(body(version, "device", value));
            insert.execute(&mut old).await.expect("a device");
            let value = serde_json::to_value(plan(5, 1, "pk", 4)).expect("JSON");
            let sql = "INSERT INTO plan (id, account, project, name, product_key, running, revision, body) \
                       VALUES (5, 1, 1, 'five', 'pk', 1, 1, ?)";
            let insert = sqlx::query(sql).bind(body(version, "plan", value));
            insert.execute(&mut old).await.expect("a plan");
            let mut value = serde_json::to_value(enrolled(5, "d")).expect("JSON");
            if version < 2 {
                let step = value["steps"][0].as_object_mut().expect("a step");
                step.remove("offered")
                    .expect("a field of the second version");
            }
            let sql = "INSERT INTO plan_device (plan, product_key, device_key, account, project, state, revision, body) \
                       VALUES (5, 'pk', 'd', 1, 1, 'NotUpgraded', 1, ?)";
            let insert = sqlx::query(sql).bind(body(version, "plan_device", value));
            insert.execute(&mut old).await.expect("a device of a plan");
            old.close().await.expect("closed");

            let store = SqliteStore::open(&path).await.expect("the present version");
            let endpoint = Endpoint::new("pk", "d");
            let found = store.device(&Scope::OWNER, &endpoint).await;
            let found_device = found.expect("read").expect("there");
            assert!(!found_device.disabled && found_device.tags.is_empty());
            let found = store.plan(&Scope::OWNER, PlanId(5)).await;
            let found_plan = found.expect("read").expect("there");
            assert!(found_plan.audience.is_none(), "version {version}");
            let found = store.plan_device(&Scope::OWNER, PlanId(5), &endpoint).await;
            let entry = found.expect("read").expect("there");
            assert_eq!((entry.group, entry.last_set), (0, false), "{version}");
            let changes = vec![
                Change::Device(found_device),
                Change::Plan(found_plan),
                Change::PlanDevice(entry),
            ];
            let commit = store.commit(&Scope::OWNER, changes).await;
            commit.unwrap_or_else(|e| panic!("version {version}: {e:?}"));
        }
    }

    #[tokio::test]
    async fn the_file_itself_refuses_to_change_or_delete_a_line_of_the_audit_log() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join(FILE);
        let store = SqliteStore::open(&path).await.expect("opened");
        let line = Change::Audit(audit(Some(1), Action::PlanCreated, 10));
        let done = store.commit(&Scope::OWNER, vec![line]).await;
        done.expect("done");
        let options = SqliteConnectOptions::new().filename(&path);
        let mut other = options.connect().await.expect("opened beside it");
        for sql in ["UPDATE audit SET actor = 'eve'", "DELETE FROM audit"] {
            let done = execute(&mut other, sql).await;
            let refused = done.expect_err("refused").to_string();
            assert!(refused.contains("append-only"), "{refused}");
        }
    }

    #[tokio::test]
    async fn a_full_disk_is_said_and_nothing_is_half_done() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("center.db");
        let store = SqliteStore::open_with(&path, Some(60))
            .await
            .expect("opened");
        let mut stored = 0;
        let full = loop {
            let (a, b) = (stored * 2 + 1, stored * 2 + 2);
            let long = |n: i64| format!("{n}{}", "x".repeat(3000));
            let pair = vec![project(a, long(a)), project(b, long(b))];
            match store.commit(&Scope::OWNER, pair).await {
                Ok(()) => stored += 1,
                Err(e) => break e,
            }
        };
        assert!(matches!(full, StoreError::Full), "{full}");
        let there = store.projects(&Scope::OWNER).await.expect("read").len();
        assert_eq!(there as i64, stored * 2);
    }

    #[tokio::test]
    async fn commits_that_came_together_share_a_transaction_but_not_a_refusal() {
        let folder = tempfile::tempdir().expect("folder");
        let store = SqliteStore::open(&folder.path().join("center.db"))
            .await
            .expect("opened");
        let scope = Scope::OWNER;
        let all = (1..=50i64).map(|i| {
            // every fifth takes the name of the first: refused
            let name = if i > 1 && i % 5 == 0 {
                "1".to_owned()
            } else {
                i.to_string()
            };
            store.commit(&scope, vec![project(i, name)])
        });
        let results = futures::future::join_all(all).await;
        let refused = results
            .iter()
            .filter(|r| matches!(r, Err(StoreError::Taken("name"))));
        assert_eq!(refused.count(), 10);
        assert_eq!(store.projects(&Scope::OWNER).await.expect("read").len(), 40);
    }
}
