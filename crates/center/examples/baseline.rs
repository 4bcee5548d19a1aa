//! What pages and offers are compared with in `benches/center.sh`: an axum route that does nothing, and a bare commit
//! of one row in SQLite with the Center's pragmas.
//!
//! ```text
//! baseline route                 serves "/" on a free port, prints the port
//! baseline commit FOLDER COUNT   prints the seconds of each commit as one JSON list
//! ```

use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use axum::Router;
use axum::routing::get;
use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["route"] => {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
            println!("{}", listener.local_addr()?.port());
            let router = Router::new().route("/", get(|| async { "" }));
            axum::serve(listener, router).await?;
        }
        ["commit", folder, count] => commits(folder, count.parse()?).await?,
        _ => bail!("usage: baseline route | baseline commit FOLDER COUNT"),
    }
    Ok(())
}

async fn commits(folder: &str, count: u32) -> Result<()> {
    let options = SqliteConnectOptions::new()
        .filename(std::path::Path::new(folder).join("baseline.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .disable_statement_logging();
    let mut connection = options.connect().await.context("SQLite")?;
    sqlx::query("CREATE TABLE t (id INTEGER PRIMARY KEY, body TEXT)")
        .execute(&mut connection)
        .await?;
    let body = "x".repeat(500);
    let mut seconds = Vec::new();
    for _ in 0..count {
        let began = Instant::now();
        sqlx::query("INSERT INTO t (body) VALUES (?)")
            .bind(&body)
            .execute(&mut connection)
            .await?;
        seconds.push(began.elapsed().as_secs_f64());
    }
    println!("{}", serde_json::to_string(&seconds)?);
    Ok(())
}
