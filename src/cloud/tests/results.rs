//! docs/lwm2m.md says which result of /5 and /9 tells which failure; the module must say the same.

use super::super::objects::results;
use crate::message::Reason;
use std::vec::Vec;

const PAGE: &str = include_str!("../../../docs/lwm2m.md");

#[test]
fn every_failure_shows_as_the_page_says() {
    let rows: Vec<[&str; 3]> = PAGE
        .lines()
        .skip_while(|line| !line.starts_with("| failure ("))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            cells.try_into().unwrap()
        })
        .collect();
    let numbers = |row: &[&str; 3]| (row[1].parse().unwrap(), row[2].parse().unwrap());
    let other = rows.iter().find(|row| row[0] == "any other").unwrap();
    let mut named = 0;
    for reason in Reason::ALL {
        let row = rows
            .iter()
            .find(|row| row[0].split(", ").any(|name| name == reason.name()));
        named += usize::from(row.is_some());
        assert_eq!(
            results(*reason),
            numbers(row.unwrap_or(other)),
            "{}",
            reason.name()
        );
    }
    let written: usize = rows.iter().map(|row| row[0].split(", ").count()).sum();
    assert_eq!(named + 1, written, "a name in the page that is no error");
}
