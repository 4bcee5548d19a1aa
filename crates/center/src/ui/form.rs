//! Fields as a person typed them, and errors by their field.

use askama::Template;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use sota_errors::CenterError;

use super::PageError;
use crate::domain::Problem;

/// A form's fields in their order, as typed; a name may come several times.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields(pub(super) Vec<(String, String)>);

impl Fields {
    /// The first of this name; empty if it is not there.
    pub(super) fn get(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(n, _)| n == name);
        found.map_or("", |(_, v)| v.as_str())
    }

    /// What was typed, or `default` where the form does not have the field.
    pub(super) fn or<'a>(&'a self, name: &str, default: &'a str) -> &'a str {
        let found = self.0.iter().find(|(n, _)| n == name);
        found.map_or(default, |(_, v)| v.as_str())
    }

    /// Whether the field has this value.
    pub(super) fn is(&self, name: &str, value: &str) -> bool {
        self.get(name) == value
    }

    /// Whether one of the fields of this name has this value.
    pub(super) fn has(&self, name: &str, value: &str) -> bool {
        self.0.iter().any(|(n, v)| n == name && v == value)
    }

    /// A field for a line of text with what was typed.
    pub(super) fn text(&self, faults: &Faults, name: &str, label: &str, hint: &str) -> String {
        self.input(faults, "text", name, label, hint)
    }

    /// A field of another type of `<input>`.
    pub(super) fn input(
        &self,
        faults: &Faults,
        kind: &str,
        name: &str,
        label: &str,
        hint: &str,
    ) -> String {
        let fault = faults.at(name);
        let value = self.get(name);
        let input = Input {
            kind,
            name,
            label,
            hint,
            value,
            fault,
        };
        input.render().unwrap_or_default()
    }

    /// A number of a field.
    pub(super) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<T, Problem> {
        let typed = self.get(name).trim();
        let bad = |_| {
            let what = match typed {
                "" => String::new(),
                typed => format!("{typed:?}"),
            };
            Problem::of(CenterError::FieldUnfilled, name, what)
        };
        typed.parse().map_err(bad)
    }
}

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = PageError;

    async fn from_request(request: Request, state: &S) -> Result<Fields, PageError> {
        let form = axum::extract::Form::<Vec<(String, String)>>::from_request(request, state);
        let form = form.await.map_err(|e| match e.status() {
            StatusCode::PAYLOAD_TOO_LARGE => PageError(CenterError::RequestTooLarge.into()),
            _ => PageError(Problem::new(CenterError::MalformedRequest, e.to_string())),
        })?;
        Ok(Fields(form.0))
    }
}

/// An error as a page shows it.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) field: String,
    pub(super) number: u16,
    pub(super) message: String,
    pub(super) remedy: String,
}

impl Fault {
    pub(super) fn of(problem: &Problem) -> Fault {
        let detail = match problem.detail.as_str() {
            "" => String::new(),
            detail => format!(": {detail}"),
        };
        Fault {
            field: problem.field.clone(),
            number: problem.error.number(),
            message: sentence(&format!("{}{detail}", problem.error.meaning())),
            remedy: problem.error.remedy().to_owned(),
        }
    }
}

#[derive(Template)]
#[template(path = "part/input.html")]
struct Input<'a> {
    kind: &'a str,
    name: &'a str,
    label: &'a str,
    hint: &'a str,
    value: &'a str,
    fault: Option<&'a Fault>,
}

#[derive(Template)]
#[template(path = "part/note.html")]
struct Note<'a> {
    fault: &'a Fault,
}

#[derive(Template)]
#[template(path = "part/summary.html")]
struct Summary<'a> {
    fault: &'a Fault,
}

/// With a capital letter at its begin.
pub(super) fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string());
    first.unwrap_or_default() + letters.as_str()
}

/// The error of a form, if there is one.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults(pub(super) Option<Fault>);

impl Faults {
    pub(super) fn none() -> Faults {
        Faults(None)
    }

    pub(super) fn of(problem: &Problem) -> Faults {
        Faults(Some(Fault::of(problem)))
    }

    /// The error, if it is about this field.
    pub(super) fn at(&self, field: &str) -> Option<&Fault> {
        self.0.as_ref().filter(|f| f.field == field)
    }

    /// The error beside this field as HTML; empty if it is about another or there is none.
    pub(super) fn note(&self, field: &str) -> String {
        let note = self.at(field).map(|fault| Note { fault }.render());
        note.and_then(Result::ok).unwrap_or_default()
    }

    /// The error at the head of the form as HTML, with a way to its field.
    pub(super) fn summary(&self) -> String {
        let summary = self.0.as_ref().map(|fault| Summary { fault }.render());
        summary.and_then(Result::ok).unwrap_or_default()
    }

    /// Attributes of a field that has the error.
    pub(super) fn mark(&self, field: &str) -> String {
        match self.at(field) {
            Some(_) => format!("aria-invalid=\"true\" aria-describedby=\"note-{field}\""),
            None => String::new(),
        }
    }
}
