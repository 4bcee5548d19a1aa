//! One error of the program: a line of the catalogue, and with which input it was met.

use serde_json::{Value, json};
use sota_center::domain::Problem;
use sota_errors::{Entry, McuError, ProgramError, Reason};
use sota_host::mcu_port::StartError;
use std::fmt::Display;
use std::process::ExitCode;

/// What the program ends with when the thing asked for is not true.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    entry: Entry,
    detail: String,
}

impl Failure {
    /// `detail`: with which input, or what the system said.
    pub(crate) fn new(error: ProgramError, detail: impl Display) -> Failure {
        Failure {
            entry: error.entry(),
            detail: detail.to_string(),
        }
    }

    /// As the only object on standard output.
    pub(crate) fn json(&self) -> Value {
        json!({
            "result": "failure",
            "number": self.entry.number,
            "name": self.entry.name,
            "message": self.message(),
            "remedy": self.entry.remedy,
        })
    }

    fn message(&self) -> String {
        match self.detail.as_str() {
            "" => self.entry.meaning.to_owned(),
            detail => format!("{}: {detail}", self.entry.meaning),
        }
    }

    /// Prints it and gives exit status 1.
    pub(crate) fn report(&self, json: bool) -> ExitCode {
        if json {
            crate::out::json(&self.json());
        }
        eprintln!(
            "error {} {}: {}\n  what to do: {}",
            self.entry.number,
            self.entry.name,
            self.message(),
            self.entry.remedy
        );
        ExitCode::FAILURE
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Failure {
        let field = match problem.field.as_str() {
            "" => String::new(),
            field => format!("{field}: "),
        };
        Failure {
            entry: problem.error.entry(),
            detail: field + &problem.detail,
        }
    }
}

impl From<Reason> for Failure {
    fn from(reason: Reason) -> Failure {
        Failure {
            entry: reason.entry(),
            detail: String::new(),
        }
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Failure {
        match error {
            StartError::Mcu(error) => error.into(),
            StartError::Io(e) => Failure::new(ProgramError::SocketFailed, e),
        }
    }
}

impl From<McuError> for Failure {
    fn from(error: McuError) -> Failure {
        Failure {
            entry: error.entry(),
            detail: String::new(),
        }
    }
}
