//! One AT line: its name, form and parameters.

use heapless::Vec;
use sota_lwm2m::value::decimal;

use crate::{text::split, utf8};

/// Most parameters a command takes.
pub(crate) const ARGS: usize = 4;

/// How a command is asked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Form<'a> {
    /// `AT+X`
    Execute,
    /// `AT+X=?`
    Test,
    /// `AT+X?`
    Read,
    /// `AT+X=…`
    Write(Vec<Arg<'a>, ARGS>),
}

/// One parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arg<'a> {
    text: &'a str,
    quoted: bool,
}

impl<'a> Arg<'a> {
    /// A string, with or without quotes (the documents write keys both ways).
    pub(crate) fn string(&self) -> &'a str {
        self.text
    }

    /// An unquoted decimal number.
    pub(crate) fn number(&self) -> Option<u32> {
        if self.quoted {
            return None;
        }
        u32::try_from(decimal(self.text.as_bytes())?).ok()
    }
}

/// Cuts what follows `AT` into `+NAME` and its form; `None` if it has no known shape.
pub(crate) fn parse(rest: &[u8]) -> Option<(&str, Form<'_>)> {
    let rest = utf8(rest)?;
    if rest.bytes().any(|byte| byte.is_ascii_control()) {
        return None;
    }
    let (name, tail) = split(rest, b"=?");
    let form = match tail {
        "" => Form::Execute,
        "?" => Form::Read,
        "=?" => Form::Test,
        _ => Form::Write(args(tail.strip_prefix('=')?)?),
    };
    Some((name, form))
}

/// Commas part the parameters, but not inside quotes; blanks around a parameter are dropped.
fn args(mut text: &str) -> Option<Vec<Arg<'_>, ARGS>> {
    let mut args = Vec::new();
    loop {
        text = text.trim_ascii_start();
        let (arg, tail) = if let Some(inner) = text.strip_prefix('"') {
            let (inner, tail) = split(inner, b"\"");
            let arg = Arg {
                text: inner,
                quoted: true,
            };
            (arg, tail.strip_prefix('"')?.trim_ascii_start())
        } else {
            let (plain, tail) = split(text, b",");
            if !split(plain, b"\"").1.is_empty() {
                return None;
            }
            let arg = Arg {
                text: plain.trim_ascii_end(),
                quoted: false,
            };
            (arg, tail)
        };
        args.push(arg).ok()?;
        if tail.is_empty() {
            return Some(args);
        }
        text = tail.strip_prefix(',')?;
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;

    fn written(line: &[u8]) -> Option<std::vec::Vec<(std::string::String, Option<u32>)>> {
        match parse(line)?.1 {
            Form::Write(args) => Some(
                args.iter()
                    .map(|arg| (arg.string().into(), arg.number()))
                    .collect(),
            ),
            _ => None,
        }
    }

    #[test]
    fn forms() {
        assert_eq!(parse(b"+X"), Some(("+X", Form::Execute)));
        assert_eq!(parse(b"+X?"), Some(("+X", Form::Read)));
        assert_eq!(parse(b"+X=?"), Some(("+X", Form::Test)));
        assert_eq!(parse(b"+X?1"), None);
        assert_eq!(
            written(b"+X=\"a,b\", 12 ,c").unwrap(),
            [
                ("a,b".into(), None),
                ("12".into(), Some(12)),
                ("c".into(), None)
            ]
        );
        assert_eq!(
            written(b"+X=\"12\"").unwrap(),
            [("12".into(), None)],
            "a quoted number is a string"
        );
        assert_eq!(
            written(b"+X=4294967296").unwrap()[0].1,
            None,
            "over 32 bits"
        );
    }

    #[test]
    fn broken_lines_are_refused() {
        for line in [
            &b"+X=\"a"[..],
            b"+X=\"a\"b",
            b"+X=a\"b\"",
            b"+X=1,2,3,4,5",
            b"+X=\0",
            b"+X=\xff",
        ] {
            assert_eq!(parse(line), None, "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(line in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse(&line);
        }

        #[test]
        fn quoted_strings_come_back(text in "[^\"\\x00-\\x1f\\x7f]{0,40}", number: u32) {
            let line = std::format!("+X=\"{text}\",{number}");
            prop_assert_eq!(written(line.as_bytes()).unwrap(), [(text, None), (number.to_string(), Some(number))]);
        }
    }
    use std::string::ToString;
}
