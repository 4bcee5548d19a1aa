//! Lists as files: CSV (RFC 4180) and JSON, streamed a page at a time, so that memory does not grow with the list.
//!
//! A text that a spreadsheet would run as a formula (it begins with `=`, `+`, `-`, `@`, tab or carriage return) gets an
//! apostrophe before it; numbers of the Center's own are left as they are. An export that fails half way is cut off
//! without the end of its transfer coding, so that a client sees that it is not whole.

use std::future::Future;
use std::io;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;
use serde::{Deserialize, Serialize};
use sota_errors::CenterError;
use utoipa::ToSchema;

use crate::domain::{Problem, Time};

/// Records read at a time.
pub(crate) const BATCH: usize = 500;

/// What the file is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// Comma-separated values with a line of column names.
    #[default]
    Csv,
    /// One array of objects.
    Json,
}

/// A value in a column.
pub(crate) enum Cell {
    /// Words that came from outside.
    Text(String),
    /// A number, time or name of the Center's own.
    Own(String),
}

impl Cell {
    pub(crate) fn text(words: &str) -> Cell {
        Cell::Text(words.to_owned())
    }

    /// Empty where there is none.
    pub(crate) fn own(value: Option<impl ToString>) -> Cell {
        Cell::Own(value.map(|v| v.to_string()).unwrap_or_default())
    }

    /// `2026-11-25T13:56:03.123Z`.
    pub(crate) fn time(time: Option<Time>) -> Cell {
        let time = time.and_then(|t| jiff::Timestamp::from_millisecond(t).ok());
        Cell::own(time)
    }

    fn written(self) -> String {
        match self {
            Cell::Own(value) => value,
            Cell::Text(words) if words.starts_with(['=', '+', '-', '@', '\t', '\r']) => {
                format!("'{words}")
            }
            Cell::Text(words) => words,
        }
    }
}

/// Something that is a line of a CSV file.
pub(crate) trait Record: Serialize {
    /// Names of the columns.
    const COLUMNS: &'static [&'static str];
    /// Their values.
    fn cells(&self) -> Vec<Cell>;
}

/// A page of an export: its records, and where the next one begins if there is one.
pub(crate) type Batch<R, C> = (Vec<R>, Option<C>);

/// Streams the pages that `next` gives, from `first` on. The first one is read before anything is answered, so that a
/// refusal is an answer of its own.
pub(crate) async fn export<R, C, N, F>(
    format: Format,
    name: &str,
    first: C,
    next: N,
) -> Result<Response, Problem>
where
    R: Record + Send,
    C: Send + 'static,
    N: Fn(C) -> F + Send + 'static,
    F: Future<Output = Result<Batch<R, C>, Problem>> + Send,
{
    let mut encoder = Encoder::new(format);
    let (records, then) = next(first).await?;
    let chunk = encoder.encode(&records)?;
    let state = Some((chunk, then, encoder, next));
    let chunks = stream::unfold(state, |state| async move {
        let (mut chunk, then, mut encoder, next) = state?;
        let Some(cursor) = then else {
            chunk.extend_from_slice(encoder.end());
            return Some((Ok(Bytes::from(chunk)), None));
        };
        let following = match next(cursor).await {
            Ok((records, then)) => encoder.encode(&records).map(|chunk| (chunk, then)),
            Err(problem) => Err(problem),
        };
        match following {
            Ok((after, then)) => Some((Ok(Bytes::from(chunk)), Some((after, then, encoder, next)))),
            Err(problem) => {
                tracing::error!("an export broke off: {problem}");
                Some((Err(io::Error::other(problem.to_string())), None))
            }
        }
    });
    let (kind, ending) = match format {
        Format::Csv => ("text/csv; charset=utf-8", "csv"),
        Format::Json => ("application/json", "json"),
    };
    let safe = |c: char| {
        if c.is_ascii_alphanumeric() || c == '-' {
            c
        } else {
            '_'
        }
    };
    let name: String = name.chars().map(safe).collect();
    let headers = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{name}.{ending}\""),
        ),
    ];
    Ok((headers, Body::from_stream(chunks)).into_response())
}

/// Writes records one page after another.
struct Encoder {
    format: Format,
    begun: bool,
    /// A record was written.
    any: bool,
}

impl Encoder {
    fn new(format: Format) -> Encoder {
        Encoder {
            format,
            begun: false,
            any: false,
        }
    }

    fn encode<R: Record>(&mut self, records: &[R]) -> Result<Vec<u8>, Problem> {
        let failed = |e: String| Problem::new(CenterError::Internal, e);
        let head = !core::mem::replace(&mut self.begun, true);
        match self.format {
            Format::Csv => {
                let mut csv = csv::Writer::from_writer(Vec::new());
                let mut write = |cells: Vec<String>| {
                    let written = csv.write_record(cells);
                    written.map_err(|e| failed(e.to_string()))
                };
                if head {
                    write(R::COLUMNS.iter().map(ToString::to_string).collect())?;
                }
                for record in records {
                    write(record.cells().into_iter().map(Cell::written).collect())?;
                }
                csv.into_inner().map_err(|e| failed(e.to_string()))
            }
            Format::Json => {
                let mut text = if head { b"[".to_vec() } else { Vec::new() };
                for record in records {
                    let any = core::mem::replace(&mut self.any, true);
                    text.extend_from_slice(if any { b",\n" } else { b"\n" });
                    serde_json::to_writer(&mut text, record).map_err(|e| failed(e.to_string()))?;
                }
                Ok(text)
            }
        }
    }

    fn end(&self) -> &'static [u8] {
        match self.format {
            Format::Csv => b"",
            Format::Json => b"\n]\n",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Line(&'static str, i64);

    impl Record for Line {
        const COLUMNS: &'static [&'static str] = &["words", "number"];

        fn cells(&self) -> Vec<Cell> {
            vec![Cell::text(self.0), Cell::own(Some(self.1))]
        }
    }

    fn written(format: Format, pages: &[&[Line]]) -> String {
        let mut encoder = Encoder::new(format);
        let mut text = Vec::new();
        for page in pages {
            text.extend(encoder.encode(page).expect("encoded"));
        }
        text.extend_from_slice(encoder.end());
        String::from_utf8(text).expect("UTF-8")
    }

    #[test]
    fn a_spreadsheet_runs_nothing_of_an_export() {
        let pages: &[&[Line]] = &[
            &[Line("plain", -90), Line("=1+1", 1)],
            &[],
            &[
                Line("@a, \"b\"", 2),
                Line("-x\ny", 3),
                Line("\tt", 4),
                Line("a=b", 5),
            ],
        ];
        assert_eq!(
            written(Format::Csv, pages),
            "words,number\nplain,-90\n'=1+1,1\n\"'@a, \"\"b\"\"\",2\n\"'-x\ny\",3\n'\tt,4\na=b,5\n"
        );
    }

    #[test]
    fn pages_make_one_array() {
        for pages in [&[][..], &[&[][..]], &[&[], &[]]] {
            let text = written(Format::Json, pages);
            if !pages.is_empty() {
                assert_eq!(text, "[\n]\n", "{} pages", pages.len());
            }
        }
        let pages: &[&[Line]] = &[&[], &[Line("a", 1)], &[Line("b", 2), Line("c", 3)], &[]];
        let text = written(Format::Json, pages);
        let read: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(read, serde_json::json!([["a", 1], ["b", 2], ["c", 3]]));
    }
}
