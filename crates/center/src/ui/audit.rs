//! The audit log: of a project, and of accounts.

use askama::Template;
use axum::extract::{Path, Query};
use serde::Deserialize;

use super::visit::{Shell, Visit};
use super::{Page, Route, get, show};
use crate::domain::{Action, AuditEntry, AuditFilter, ProjectId, Time};

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/projects/{project}/audit", of_project),
        get("/account/audit", of_account),
    ]
}

/// Entries on one page.
const PAGE: usize = 50;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    actor: String,
    action: String,
    object: String,
    /// Days, `2026-11-25`, in UTC; both included.
    from: String,
    to: String,
    before: Option<i64>,
}

/// When the day begins, in UTC.
fn day(text: &str, add: i64) -> Option<Time> {
    let date: jiff::civil::Date = text.parse().ok()?;
    let date = date.checked_add(jiff::Span::new().days(add)).ok()?;
    let zone = jiff::tz::TimeZone::UTC;
    let midnight =
        zone.to_ambiguous_zoned_datetime(date.to_datetime(jiff::civil::Time::midnight()));
    Some(midnight.compatible().ok()?.timestamp().as_millisecond())
}

impl Asked {
    fn filter(&self, project: Option<i64>) -> AuditFilter {
        let typed = |text: &str| Some(text.trim().to_owned()).filter(|t| !t.is_empty());
        let mut actions = Action::ALL.iter().copied();
        AuditFilter {
            project: project.map(ProjectId),
            actor: typed(&self.actor),
            action: actions.find(|a| a.name() == self.action),
            object: typed(&self.object),
            from: day(&self.from, 0),
            to: day(&self.to, 1),
            before: self.before,
        }
    }

    /// The same choice as a query, without the page.
    fn query(&self) -> String {
        let fields = [
            ("actor", &self.actor),
            ("action", &self.action),
            ("object", &self.object),
            ("from", &self.from),
            ("to", &self.to),
        ];
        let fields = fields.iter().filter(|(_, value)| !value.is_empty());
        let encoded = |value: &str| {
            let bytes = value.bytes().map(|b| match b {
                b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'_' | b'.' => {
                    char::from(b).to_string()
                }
                b => format!("%{b:02X}"),
            });
            bytes.collect::<String>()
        };
        let pairs: Vec<_> = fields
            .map(|(name, value)| format!("{name}={}", encoded(value)))
            .collect();
        pairs.join("&")
    }
}

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPage {
    shell: Shell,
    /// Path of the page.
    path: String,
    /// Path of the export, if there is one.
    export: Option<String>,
    asked: Asked,
    query: String,
    entries: Vec<AuditEntry>,
    actions: &'static [Action],
    next: Option<i64>,
    filtered: bool,
}

impl AuditPage {
    fn new(shell: Shell, path: String, asked: Asked, mut entries: Vec<AuditEntry>) -> AuditPage {
        let more = entries.len() > PAGE;
        entries.truncate(PAGE);
        let query = asked.query();
        AuditPage {
            shell,
            path,
            export: None,
            filtered: !query.is_empty() || asked.before.is_some(),
            query,
            asked,
            next: entries.last().map(|e| e.id).filter(|_| more),
            entries,
            actions: Action::ALL,
        }
    }
}

async fn of_project(visit: Visit, Path(id): Path<i64>, Query(asked): Query<Asked>) -> Page {
    let (scope, shell) = visit.within(id, "audit", "Audit log").await?;
    let filter = asked.filter(Some(id));
    let entries = visit.service.store().audit(&scope, &filter, PAGE + 1);
    let entries = entries.await?;
    let path = format!("/projects/{id}/audit");
    let mut page = AuditPage::new(shell, path, asked, entries);
    let mut choice = String::new();
    for (name, value) in [
        ("action", filter.action.map(|a| a.name().to_owned())),
        ("from", filter.from.map(|t| t.to_string())),
        ("to", filter.to.map(|t| t.to_string())),
    ] {
        if let Some(value) = value {
            choice += &format!("&{name}={value}");
        }
    }
    for part in page.query.split('&') {
        if part.starts_with("actor=") || part.starts_with("object=") {
            choice += &format!("&{part}");
        }
    }
    page.export = Some(format!("/api/v1/projects/{id}/audit/export?{}", {
        choice.trim_start_matches('&')
    }));
    show(&page)
}

async fn of_account(visit: Visit, Query(asked): Query<Asked>) -> Page {
    let shell = visit.shell("Account log").await?;
    let filter = asked.filter(None);
    let entries = visit.access.audit(&visit.caller, &filter, PAGE + 1).await?;
    let path = "/account/audit".to_owned();
    show(&AuditPage::new(shell, path, asked, entries))
}
