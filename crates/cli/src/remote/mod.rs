//! `sota package`, `sota plan`, `sota device`: what scripts do at a Center, over its REST API.
//!
//! With `--json` each prints the Center's answer as it is, a list one object a line; else a table.

pub(crate) mod device;
pub(crate) mod package;
pub(crate) mod plan;
mod table;

use crate::failure::Failure;
use crate::out::Out;
use crate::rest::Rest;
use serde_json::Value;
use sota_errors::ProgramError;
use std::path::PathBuf;

/// Devices asked for at once.
const PAGE: usize = 1000;

/// Which Center, and in whose name.
#[derive(clap::Args)]
pub(crate) struct Connection {
    /// Address of the Center.
    #[arg(
        long,
        env = "SOTA_CENTER_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:8080"
    )]
    center: String,
    /// File with an API token, or the one of `sota center --token-file`; without it the variable SOTA_TOKEN is the token.
    #[arg(long, env = "SOTA_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl Connection {
    fn open(&self) -> Result<Rest, Failure> {
        let missing = |detail: String| Failure::new(ProgramError::TokenMissing, detail);
        // No flag holds the token itself: every user of the machine can read a program's arguments.
        let token = match &self.token_file {
            Some(path) => std::fs::read_to_string(path)
                .map_err(|e| missing(format!("{}: {e}", path.display())))?,
            None => std::env::var("SOTA_TOKEN").unwrap_or_default(),
        };
        let token = token.trim();
        if token.is_empty() || token.contains(|c: char| !c.is_ascii_graphic()) {
            return Err(missing(match &self.token_file {
                Some(path) => format!("{} holds none", path.display()),
                None => String::new(),
            }));
        }
        Ok(Rest::new(&self.center, token))
    }
}

/// One object or what a list holds, for people or for programs.
fn show(out: Out, columns: table::Columns, answer: &Value) {
    match (out.json, answer) {
        (true, Value::Array(all)) => all.iter().for_each(crate::out::json),
        (true, one) => crate::out::json(one),
        (false, Value::Array(all)) => out.text(&table::list(columns, all)),
        (false, one) => out.text(&table::one(one)),
    }
}

/// Every entry of a list that comes in pages in order of the device key; each page is shown when it comes.
fn show_pages(
    rest: &Rest,
    out: Out,
    columns: table::Columns,
    path: &str,
    key: &str,
) -> Result<(), Failure> {
    let mut after = String::new();
    loop {
        let page = rest.get(&format!("{path}&limit={PAGE}{after}"))?;
        let all = page.as_array().map(Vec::as_slice).unwrap_or_default();
        if !all.is_empty() || (after.is_empty() && !out.json) {
            show(out, columns, &page);
        }
        match all.last().map(|last| table::at(last, key)) {
            Some(last) if all.len() == PAGE => after = format!("&after={last}"),
            _ => return Ok(()),
        }
    }
}

/// Of a list what belongs to a project, or all.
fn of_project(list: Value, project: Option<i64>) -> Value {
    match (list, project) {
        (Value::Array(all), Some(project)) => {
            let of_it = all.into_iter().filter(|one| one["project"] == project);
            Value::Array(of_it.collect())
        }
        (list, _) => list,
    }
}

/// An act that has no answer of its own.
fn done(out: Out, what: &str, answer: &Value) {
    match answer {
        Value::Null => out.line(what, serde_json::json!({ "result": "success" })),
        answer => show(out, &[], answer),
    }
}
