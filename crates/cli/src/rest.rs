//! A client of the Center's REST API.

use crate::failure::Failure;
use serde_json::Value;
use sota_errors::ProgramError;
use std::time::Duration;
use ureq::unversioned::multipart::Form;

/// Which Center, and in whose name.
pub(crate) struct Rest {
    base: String,
    authorization: String,
    agent: ureq::Agent,
}

impl Rest {
    /// `origin`: `http://host:port`.
    pub(crate) fn new(origin: &str, token: &str) -> Rest {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(30)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            .build();
        Rest {
            base: format!("{}/api/v1", origin.trim_end_matches('/')),
            authorization: format!("Bearer {token}"),
            agent: config.into(),
        }
    }

    pub(crate) fn get(&self, path: &str) -> Result<Value, Failure> {
        let request = self.agent.get(format!("{}{path}", self.base));
        let request = request.header("authorization", &self.authorization);
        answer(path, request.call())
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let request = self.agent.post(format!("{}{path}", self.base));
        let request = request.header("authorization", &self.authorization);
        answer(path, request.send_json(body))
    }

    pub(crate) fn delete(&self, path: &str) -> Result<Value, Failure> {
        let request = self.agent.delete(format!("{}{path}", self.base));
        let request = request.header("authorization", &self.authorization);
        answer(path, request.call())
    }

    /// A form with fields and files; files are sent as they are read.
    pub(crate) fn upload(&self, path: &str, form: Form<'_>) -> Result<Value, Failure> {
        let request = self.agent.post(format!("{}{path}", self.base));
        let request = request.header("authorization", &self.authorization);
        answer(path, request.send(form))
    }
}

/// A file's name as it may stand in a form (WHATWG HTML, multipart/form-data).
pub(crate) fn form_name(name: &str) -> String {
    let name = name.replace('"', "%22");
    name.replace('\r', "%0D").replace('\n', "%0A")
}

fn answer(
    path: &str,
    result: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
) -> Result<Value, Failure> {
    let silent = |e: ureq::Error| Failure::new(ProgramError::CenterSilent, format!("{path}: {e}"));
    let mut response = result.map_err(silent)?;
    let status = response.status();
    // Lists come in pages of at most 1000 entries.
    let limit = 64 << 20;
    let body = response.body_mut().with_config().limit(limit);
    let text = body.read_to_string().map_err(silent)?;
    let body: Option<Value> = match text.is_empty() {
        true => Some(Value::Null),
        false => serde_json::from_str(&text).ok(),
    };
    match body {
        Some(body) if status.is_success() => Ok(body),
        Some(body) if body["number"].is_u64() => {
            let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
            let field = match text("field") {
                field if field.is_empty() => field,
                field => format!("{field}: "),
            };
            Err(Failure::new(
                ProgramError::CenterRefused,
                format!(
                    "{path}: {} {} {field}{}; {}",
                    body["number"],
                    text("name"),
                    text("message"),
                    text("remedy")
                ),
            ))
        }
        _ => Err(Failure::new(
            ProgramError::CenterSilent,
            format!("{path}: {status}, and no answer of a Center"),
        )),
    }
}
