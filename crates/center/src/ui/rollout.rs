//! The rollout's fields of the wizard.

use std::collections::BTreeSet;

use sota_errors::CenterError;

use super::form::Fields;
use super::groups::{ROWS_LIMIT, group_fields, groups};
use crate::domain::{Mode, PerCell, Problem, PushHours, RetryPolicy, Rollout};

/// Hidden: the rollout as JSON, so that more groups than a page shows outlive an edit.
const ROLLOUT: &str = "rollout";

/// Device keys as they are pasted: one a line, or between commas, semicolons, blanks.
pub(super) fn keys(text: &str) -> BTreeSet<String> {
    let divides = |c: char| c.is_whitespace() || c == ',' || c == ';';
    let keys = text.split(divides).map(|k| k.trim_matches('"'));
    keys.filter(|k| !k.is_empty()).map(str::to_owned).collect()
}

/// The fields of a rollout, filled.
pub(super) fn rollout_fields(rollout: &Rollout) -> Vec<(String, String)> {
    let (hours, cell) = (rollout.push_hours, rollout.per_cell);
    let mode = match rollout.mode {
        Mode::Silent => "Silent",
        Mode::Manual => "Manual",
    };
    let json = serde_json::to_string(rollout).unwrap_or_default();
    let tests: Vec<_> = rollout.test_devices.iter().cloned().collect();
    let fields = [
        (ROLLOUT, json),
        ("test_devices", tests.join("\n")),
        ("at_once", rollout.at_once.to_string()),
        ("start_spread_s", rollout.start_spread_s.to_string()),
        ("push_from", hours.from.to_string()),
        ("push_to", hours.to.to_string()),
        (
            "cell_downloads",
            cell.map(|c| c.downloads.to_string()).unwrap_or_default(),
        ),
        (
            "cell_weak_below_dbm",
            cell.map_or(-110, |c| c.weak_below_dbm).to_string(),
        ),
        (
            "cell_weak_downloads",
            cell.map_or(1, |c| c.weak_downloads).to_string(),
        ),
        ("mode", mode.to_owned()),
    ];
    let mut all: Vec<_> = fields.map(|(name, value)| (name.to_owned(), value)).into();
    let retry = &rollout.retry;
    let never: Vec<_> = retry.never_after.iter().map(u16::to_string).collect();
    all.extend([
        (
            "retry_first_wait_s".to_owned(),
            retry.first_wait_s.to_string(),
        ),
        (
            "retry_greatest_wait_s".to_owned(),
            retry.greatest_wait_s.to_string(),
        ),
        ("retry_never_after".to_owned(), never.join(" ")),
    ]);
    all.extend(group_fields(&rollout.groups));
    all
}

/// The field of the page that a field of the rollout is, as the rules call it.
pub(super) fn place(rule: &str) -> String {
    let own = match rule {
        "push_hours" => "push_from",
        "per_cell.downloads" => "cell_downloads",
        "per_cell.weak_below_dbm" => "cell_weak_below_dbm",
        "per_cell.weak_downloads" => "cell_weak_downloads",
        "retry.first_wait_s" => "retry_first_wait_s",
        "retry.greatest_wait_s" => "retry_greatest_wait_s",
        rule => return super::groups::place(rule).unwrap_or_else(|| rule.to_owned()),
    };
    own.to_owned()
}

fn numbers(fields: &Fields, name: &str) -> Result<BTreeSet<u16>, Problem> {
    let number = |text: String| {
        let bad = |_| Problem::of(CenterError::FieldUnfilled, name, format!("{text:?}"));
        text.parse().map_err(bad)
    };
    keys(fields.get(name)).into_iter().map(number).collect()
}

/// How many groups there are that the page does not show.
pub(super) fn unshown(fields: &Fields) -> Option<usize> {
    let kept: Rollout = serde_json::from_str(fields.get(ROLLOUT)).ok()?;
    Some(kept.groups.len()).filter(|groups| *groups > ROWS_LIMIT)
}

/// The rollout as typed, over the one that goes along.
pub(super) fn rollout(fields: &Fields) -> Result<Rollout, Problem> {
    let kept = fields.get(ROLLOUT);
    let kept = match kept {
        "" => Rollout::default(),
        json => serde_json::from_str(json)
            .map_err(|e| Problem::of(CenterError::RolloutValue, ROLLOUT, e.to_string()))?,
    };
    let shown = |name: &str| fields.0.iter().any(|(n, _)| n == name);
    if !shown("at_once") {
        // a form that does not ask for it
        return Ok(kept);
    }
    Ok(Rollout {
        test_devices: keys(fields.get("test_devices")),
        at_once: fields.number("at_once")?,
        start_spread_s: fields.number("start_spread_s")?,
        push_hours: PushHours {
            from: fields.number("push_from")?,
            to: fields.number("push_to")?,
        },
        per_cell: match fields.get("cell_downloads").trim() {
            "" => None,
            _ => Some(PerCell {
                downloads: fields.number("cell_downloads")?,
                weak_below_dbm: fields.number("cell_weak_below_dbm")?,
                weak_downloads: fields.number("cell_weak_downloads")?,
            }),
        },
        mode: match fields.get("mode") {
            "Manual" => Mode::Manual,
            _ => Mode::Silent,
        },
        retry: RetryPolicy {
            never_after: numbers(fields, "retry_never_after")?,
            first_wait_s: fields.number("retry_first_wait_s")?,
            greatest_wait_s: fields.number("retry_greatest_wait_s")?,
        },
        groups: match kept.groups.len() > ROWS_LIMIT {
            true => kept.groups,
            false => groups(fields)?,
        },
    })
}
