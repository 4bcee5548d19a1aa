//! The groups of a rollout as rows of the wizard's second step.
//!
//! Fields are `group_<row>_<what>`; a row is there when its name is. The last row takes the devices that are left, so that
//! it has no size.

use sota_errors::CenterError;

use super::form::Fields;
use crate::domain::{Group, Problem, Size};

/// Head of the fields of groups.
pub(super) const GROUP: &str = "group_";
/// Most rows that a page shows; a plan with more, made by REST, keeps them.
pub(super) const ROWS_LIMIT: usize = 20;

/// A row as typed.
pub(super) struct Row {
    pub(super) index: usize,
    pub(super) name: String,
    pub(super) size: String,
    /// The size is a share of all devices, not a number of them.
    pub(super) percent: bool,
    pub(super) success: String,
    pub(super) failure: String,
    pub(super) approval: bool,
    /// It takes the devices that are left.
    pub(super) last: bool,
}

fn field(row: usize, what: &str) -> String {
    format!("{GROUP}{row}_{what}")
}

/// The fields of these groups, filled.
pub(super) fn group_fields(groups: &[Group]) -> Vec<(String, String)> {
    let mut all = Vec::new();
    if groups.len() > ROWS_LIMIT {
        return all;
    }
    for (i, group) in groups.iter().enumerate() {
        let (size, unit) = match group.size {
            Size::Percent(share) => (share.to_string(), "percent"),
            Size::Devices(count) => (count.to_string(), "devices"),
            Size::Rest => (String::new(), "percent"),
        };
        let failure = group.failure_percent.map(|f| f.to_string());
        all.extend([
            (field(i, "name"), group.name.clone()),
            (field(i, "size"), size),
            (field(i, "unit"), unit.to_owned()),
            (field(i, "success"), group.success_percent.to_string()),
            (field(i, "failure"), failure.unwrap_or_default()),
        ]);
        if group.approval {
            all.push((field(i, "approval"), "yes".to_owned()));
        }
    }
    all
}

/// The rows as typed.
pub(super) fn rows(fields: &Fields) -> Vec<Row> {
    let there = |i: &usize| {
        let name = field(*i, "name");
        fields.0.iter().any(|(n, _)| *n == name)
    };
    let count = (0..ROWS_LIMIT).take_while(there).count();
    let row = |index| {
        let get = |what| fields.get(&field(index, what)).to_owned();
        Row {
            index,
            name: get("name").trim().to_owned(),
            size: get("size"),
            percent: get("unit") != "devices",
            success: get("success"),
            failure: get("failure"),
            approval: get("approval") == "yes",
            last: index + 1 == count,
        }
    };
    (0..count).map(row).collect()
}

/// The groups as typed.
pub(super) fn groups(fields: &Fields) -> Result<Vec<Group>, Problem> {
    let group = |row: Row| {
        let at = |what| field(row.index, what);
        let size = match (row.last, row.percent) {
            (true, _) => Size::Rest,
            (false, true) => Size::Percent(fields.number(&at("size"))?),
            (false, false) => Size::Devices(fields.number(&at("size"))?),
        };
        let failure_percent = match row.failure.trim() {
            "" => None,
            _ => Some(fields.number(&at("failure"))?),
        };
        Ok(Group {
            success_percent: fields.number(&at("success"))?,
            name: row.name,
            size,
            failure_percent,
            approval: row.approval,
        })
    };
    rows(fields).into_iter().map(group).collect()
}

/// The field of the page that a field of a group is, as the rules call it: `groups[1].success_percent`.
pub(super) fn place(rule: &str) -> Option<String> {
    let rest = rule.strip_prefix("groups")?;
    let Some((row, what)) = rest.strip_prefix('[').and_then(|r| r.split_once("].")) else {
        return Some(GROUP.to_owned());
    };
    let row = row.parse().ok()?;
    Some(field(row, what.strip_suffix("_percent").unwrap_or(what)))
}

/// What the buttons of the rows do: `add-group`, `remove-group-2`; whether it was one of them.
pub(super) fn press(go: &str, fields: &mut Fields) -> Result<bool, Problem> {
    let mut rows = rows(fields);
    if go == "add-group" {
        if rows.len() >= ROWS_LIMIT {
            let detail = format!("a page shows {ROWS_LIMIT}, more by REST");
            return Err(Problem::of(CenterError::RolloutGroups, GROUP, detail));
        }
        let row = |name: String, size: &str| Row {
            index: 0,
            name,
            size: size.to_owned(),
            percent: true,
            success: "100".to_owned(),
            failure: String::new(),
            approval: false,
            last: false,
        };
        if rows.is_empty() {
            rows.push(row("all others".to_owned(), ""));
        }
        let mut names = (1..).map(|n| format!("group {n}"));
        let free = names.find(|name| !rows.iter().any(|r| r.name == *name));
        rows.insert(rows.len() - 1, row(free.unwrap_or_default(), "10"));
    } else if let Some(index) = go.strip_prefix("remove-group-") {
        rows.retain(|r| r.index.to_string() != index);
        if rows.len() == 1 {
            // all that are left are all of them
            rows.clear();
        }
    } else {
        return Ok(false);
    }
    fields.0.retain(|(name, _)| !name.starts_with(GROUP));
    for (i, row) in rows.into_iter().enumerate() {
        let unit = if row.percent { "percent" } else { "devices" };
        fields.0.extend([
            (field(i, "name"), row.name),
            (field(i, "size"), row.size),
            (field(i, "unit"), unit.to_owned()),
            (field(i, "success"), row.success),
            (field(i, "failure"), row.failure),
        ]);
        if row.approval {
            fields.0.push((field(i, "approval"), "yes".to_owned()));
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_the_same_after_a_page() {
        let typed = [
            Group {
                failure_percent: Some(3),
                approval: true,
                ..Group::plain("first", Size::Devices(20))
            },
            Group {
                success_percent: 90,
                ..Group::plain("a tenth", Size::Percent(10))
            },
            Group::plain("others", Size::Rest),
        ];
        let fields = Fields(group_fields(&typed));
        assert_eq!(groups(&fields).expect("groups"), typed);
    }

    #[test]
    fn rows_come_before_the_last_and_go_with_it() {
        let mut fields = Fields::default();
        let names = |fields: &Fields| {
            let all = rows(fields).into_iter().map(|r| r.name);
            all.collect::<Vec<_>>()
        };
        for _ in 0..2 {
            assert!(press("add-group", &mut fields).expect("room"));
        }
        assert_eq!(names(&fields), ["group 1", "group 2", "all others"]);
        assert!(press("remove-group-0", &mut fields).expect("there"));
        assert_eq!(names(&fields), ["group 2", "all others"]);
        assert!(groups(&fields).is_ok());
        assert!(press("add-group", &mut fields).expect("room"));
        assert_eq!(names(&fields), ["group 2", "group 1", "all others"]);
        assert!(press("remove-group-0", &mut fields).expect("there"));
        assert!(press("remove-group-0", &mut fields).expect("there"));
        assert!(
            names(&fields).is_empty(),
            "all that are left are all of them"
        );
        assert!(!press("next", &mut fields).expect("no button of rows"));
        for _ in 1..ROWS_LIMIT {
            assert!(press("add-group", &mut fields).expect("room"));
        }
        assert!(press("add-group", &mut fields).is_err());
    }

    #[test]
    fn a_rule_finds_its_field() {
        assert_eq!(
            place("groups[2].failure_percent").as_deref(),
            Some("group_2_failure")
        );
        assert_eq!(place("groups[0].name").as_deref(), Some("group_0_name"));
        assert_eq!(place("groups").as_deref(), Some("group_"));
        assert_eq!(place("at_once"), None);
    }
}
