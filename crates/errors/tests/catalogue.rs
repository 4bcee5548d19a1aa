//! The catalogue's own rules, and `docs/errors.md` written from it.

use sota_errors::{
    CenterError, Entry, LinkError, McuError, ProgramError, Reason, RomError, SideError, SmpError,
};
use std::collections::HashSet;
use std::fmt::Write;
use std::ops::RangeInclusive;

struct Part {
    title: &'static str,
    from: &'static str,
    numbers: RangeInclusive<u16>,
    entries: Vec<Entry>,
}

fn parts() -> Vec<Part> {
    vec![
        Part {
            title: "The module",
            from: "`AT+SOTAERR?`, `sota_last_error()`, Plan object resource 15, the Center's device log",
            numbers: 1..=399,
            entries: Reason::ALL.iter().map(|e| e.entry()).collect(),
        },
        Part {
            title: "The MCU's agent",
            from: "`sota mcu`, the agent's log",
            numbers: 400..=599,
            entries: McuError::ALL.iter().map(|e| e.entry()).collect(),
        },
        Part {
            title: "The link",
            from: "error frames and refusals between module and MCU, both sides' logs",
            numbers: 600..=629,
            entries: LinkError::ALL.iter().map(|e| e.entry()).collect(),
        },
        Part {
            title: "The MCU's ROM loader",
            from: "`sota module --protocol stm32`, the module's log",
            numbers: 630..=642,
            entries: RomError::ALL.iter().map(|e| e.entry()).collect(),
        },
        Part {
            title: "The MCU's SMP server",
            from: "`sota module --protocol smp`, the module's log",
            numbers: 643..=679,
            entries: SmpError::ALL.iter().map(|e| e.entry()).collect(),
        },
        Part {
            title: "The UART and the lines of an MCU that the module drives itself",
            from: "the log of the module on Zephyr",
            numbers: 680..=699,
            entries: SideError::ALL.iter().map(|e| e.entry()).collect(),
        },
        Part {
            title: "The Center",
            from: "REST answers, the Center's log",
            numbers: 1000..=1999,
            entries: CenterError::ALL.iter().map(|e| e.entry()).collect(),
        },
        Part {
            title: "The program",
            from: "`sota` on the command line",
            numbers: 2000..=2999,
            entries: ProgramError::ALL.iter().map(|e| e.entry()).collect(),
        },
    ]
}

fn page() -> String {
    let mut out = String::from(
        "# Errors\n\n\
         Every error a person can meet: its number, its name, what was wrong and what to do. Numbers are\n\
         stable. Written from `crates/errors`; `SOTA_BLESS=1 cargo test -p sota-errors` rewrites this page.\n",
    );
    for part in parts() {
        let (first, last) = (part.numbers.start(), part.numbers.end());
        write!(
            out,
            "\n## {} ({first}-{last})\n\nSeen in: {}.\n\n",
            part.title, part.from
        )
        .unwrap();
        out.push_str("| number | name | what was wrong | what to do |\n|---|---|---|---|\n");
        for e in part.entries {
            writeln!(
                out,
                "| {} | {} | {} | {} |",
                e.number, e.name, e.meaning, e.remedy
            )
            .unwrap();
        }
    }
    out
}

#[test]
fn numbers_and_names_are_unique_and_in_their_range() {
    let (mut numbers, mut names) = (HashSet::new(), HashSet::new());
    for part in parts() {
        let mut before = 0;
        for e in part.entries {
            assert!(
                part.numbers.contains(&e.number),
                "{} {} out of {:?}",
                e.number,
                e.name,
                part.numbers
            );
            assert!(e.number > before, "{} {} is out of order", e.number, e.name);
            before = e.number;
            assert!(numbers.insert(e.number), "{} {} twice", e.number, e.name);
            assert!(names.insert(e.name), "{} {}: name twice", e.number, e.name);
        }
    }
}

#[test]
fn every_line_says_what_was_wrong_and_what_to_do() {
    for e in parts().iter().flat_map(|p| &p.entries) {
        for text in [e.meaning, e.remedy] {
            assert!(
                text.len() >= 12,
                "{} {}: too short: {text:?}",
                e.number,
                e.name
            );
            assert!(
                !text.ends_with('.') && !text.contains('|'),
                "{} {}: {text:?}",
                e.number,
                e.name
            );
        }
        assert_ne!(e.meaning, e.remedy, "{} {}", e.number, e.name);
    }
}

#[test]
fn numbers_lead_back_to_their_errors() {
    for &e in Reason::ALL {
        assert_eq!(Reason::from_number(e.number()), Some(e));
    }
    assert_eq!(Reason::from_number(0), None);
    assert_eq!(Reason::from_number(u16::MAX), None);
}

#[test]
fn the_page_is_complete() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/errors.md");
    let wanted = page();
    if std::env::var_os("SOTA_BLESS").is_some() {
        std::fs::write(path, &wanted).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == wanted,
        "docs/errors.md is not what crates/errors says: SOTA_BLESS=1 cargo test -p sota-errors"
    );
}
