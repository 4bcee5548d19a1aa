//! The rollout's fields of the wizard.

use std::collections::BTreeSet;

use sota_errors::CenterError;

use super::form::Fields;
use crate::domain::{Mode, PerCell, Problem, PushHours, Rollout};

/// Hidden: the rollout as JSON, so that what this page does not show (groups, retries) outlives an edit.
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
    fields.map(|(name, value)| (name.to_owned(), value)).into()
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
        ..kept
    })
}
