//! Answers of REST as text for people.

use serde_json::Value;
use std::fmt::Write;

/// Heading and place of each column: `counters.upgraded` is a field of a field.
pub(super) type Columns = &'static [(&'static str, &'static str)];

/// What stands at a place, as text without quotes; empty when nothing does.
pub(super) fn at(value: &Value, place: &str) -> String {
    let found = place
        .split('.')
        .try_fold(value, |value, name| value.get(name));
    found.map(text).unwrap_or_default()
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        // What a device says of itself must not steer a terminal.
        Value::String(text) => text.replace(|c: char| c.is_control(), " "),
        Value::Array(all) => all.iter().map(text).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(_, value)| !value.is_null());
            let fields = fields.map(|(name, value)| format!("{name} {}", text(value)));
            format!("({})", fields.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// Lines with columns as wide as their widest entry.
pub(super) fn list(columns: Columns, all: &[Value]) -> String {
    if all.is_empty() {
        return "none\n".into();
    }
    let mut rows = vec![columns.iter().map(|(name, _)| (*name).to_owned()).collect()];
    rows.extend(all.iter().map(|value| {
        let cells = columns.iter().map(|(_, place)| at(value, place));
        cells.collect::<Vec<String>>()
    }));
    let width = |column: usize| {
        let cells = rows
            .iter()
            .map(|row: &Vec<String>| row[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let mut table = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:width$}  ");
        }
        table += line.trim_end();
        table.push('\n');
    }
    table
}

/// One object, a line a field.
pub(super) fn one(value: &Value) -> String {
    let Value::Object(fields) = value else {
        return text(value) + "\n";
    };
    let width = fields.keys().map(|name| name.chars().count()).max();
    let width = width.unwrap_or(0);
    let lines = fields.iter().filter(|(_, value)| !value.is_null());
    lines
        .map(|(name, value)| format!("{name:width$}  {}\n", text(value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_are_as_wide_as_their_widest_entry() {
        let all = [
            json!({ "id": 7, "name": "spring", "counters": { "upgraded": 3 } }),
            json!({ "id": 12, "name": "so\u{1b}[2Jbad" }),
        ];
        let columns = &[
            ("id", "id"),
            ("name", "name"),
            ("done", "counters.upgraded"),
        ];
        assert_eq!(
            list(columns, &all),
            "id  name       done\n7   spring     3\n12  so [2Jbad\n"
        );
        assert_eq!(list(columns, &[]), "none\n");
        assert_eq!(
            one(&json!({ "a": [1, 2], "longer": { "x": "y", "z": null }, "none": null })),
            "a       1, 2\nlonger  (x y)\n"
        );
    }
}
