//! The database as it is at one moment, in a file of its own, while the Center writes on.

use std::collections::BTreeSet;
use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

use super::failed;
use crate::domain::Package;
use crate::store::StoreError;

/// Writes the database `from` as it is now into the new file `to`; gives the SHA-256 of every file its packages name.
///
/// `VACUUM INTO` reads one transaction's view, so a Center that runs is not held up and nothing is half in it.
pub(crate) async fn snapshot(from: &Path, to: &Path) -> Result<BTreeSet<String>, StoreError> {
    let options = SqliteConnectOptions::new().disable_statement_logging();
    let source = options.clone().filename(from).read_only(true);
    let mut source = source.connect().await.map_err(failed)?;
    let name = to
        .to_str()
        .ok_or_else(|| StoreError::Failed(format!("{}: not UTF-8", to.display())))?;
    let copied = sqlx::query("VACUUM INTO ?").bind(name);
    copied.execute(&mut source).await.map_err(failed)?;
    source.close().await.map_err(failed)?;

    let copy = options.filename(to).read_only(true);
    let mut copy = copy.connect().await.map_err(failed)?;
    let sound: String = sqlx::query_scalar("PRAGMA integrity_check")
        .fetch_one(&mut copy)
        .await
        .map_err(failed)?;
    if sound != "ok" {
        return Err(StoreError::Failed(format!("integrity check: {sound}")));
    }
    let bodies: Vec<String> = sqlx::query_scalar("SELECT body FROM package")
        .fetch_all(&mut copy)
        .await
        .map_err(failed)?;
    copy.close().await.map_err(failed)?;
    let mut files = BTreeSet::new();
    for body in bodies {
        let package: Package =
            serde_json::from_str(&body).map_err(|e| StoreError::Failed(e.to_string()))?;
        files.extend(package.files.into_iter().map(|file| file.sha256));
    }
    Ok(files)
}
