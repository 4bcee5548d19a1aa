//! Standard output: lines for people, or one JSON object a line for programs.

use serde_json::Value;
use std::fmt::Display;
use std::io::Write;

/// How to print.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Out {
    /// One JSON object a line.
    pub(crate) json: bool,
}

impl Out {
    /// The line for people or the object for programs.
    pub(crate) fn line(self, human: impl Display, object: Value) {
        match self.json {
            true => json(&object),
            false => print(&human.to_string()),
        }
    }

    /// Text for people that has its own ends of lines.
    pub(crate) fn text(self, text: &str) {
        print(text.trim_end_matches('\n'));
    }

    /// An object that has no line for people.
    pub(crate) fn object(self, object: Value) {
        if self.json {
            json(&object);
        }
    }
}

/// One object, flushed: the reader is a program that waits for it.
pub(crate) fn json(object: &Value) {
    print(&object.to_string());
}

/// A reader that has gone is no reason to stop an upgrade.
fn print(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
