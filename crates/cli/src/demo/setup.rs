//! What a person does at the Developer Center, over its REST API.

use super::Args;
use crate::failure::Failure;
use serde_json::{Value, json};
use sota_errors::ProgramError;
use std::time::Duration;

/// Product key of the demo's device.
pub(super) const PRODUCT_KEY: &str = "demo";
/// Device key of the demo's device.
pub(super) const DEVICE_KEY: &str = "device-1";
/// Identifier of the module's own component.
pub(super) const MODULE: &str = "MODULE";

const BOUNDARY: &str = "sota-demo-5f1d9a6e0c7b48d2";

/// A client of one Center.
pub(super) struct Rest {
    base: String,
    authorization: String,
    agent: ureq::Agent,
}

/// Ids of what was made.
pub(super) struct Made {
    project: i64,
    product: i64,
    model: i64,
    pub(super) package: i64,
}

/// Blocks served of the package.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Served {
    pub(super) blocks: u64,
    pub(super) duplicates: u64,
}

impl Rest {
    pub(super) fn new(address: &str, token: &str) -> Rest {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .build();
        Rest {
            base: format!("http://{address}/api/v1"),
            authorization: format!("Bearer {token}"),
            agent: config.into(),
        }
    }

    pub(super) fn get(&self, path: &str) -> Result<Value, Failure> {
        let request = self.agent.get(format!("{}{path}", self.base));
        let request = request.header("authorization", &self.authorization);
        answer(path, request.call())
    }

    fn post(&self, path: &str, body: Value) -> Result<Value, Failure> {
        let request = self.agent.post(format!("{}{path}", self.base));
        let request = request.header("authorization", &self.authorization);
        answer(path, request.send_json(body))
    }

    fn upload(&self, path: &str, body: &[u8]) -> Result<Value, Failure> {
        let request = self.agent.post(format!("{}{path}", self.base));
        let request = request.header("authorization", &self.authorization);
        let kind = format!("multipart/form-data; boundary={BOUNDARY}");
        answer(path, request.content_type(kind).send(body))
    }

    /// The device as the Center knows it; `None` before its first contact.
    pub(super) fn device(&self) -> Result<Option<Value>, Failure> {
        let path = format!("/devices?product_key={PRODUCT_KEY}");
        let devices = self.get(&path)?;
        let mine = |device: &&Value| device["device_key"] == DEVICE_KEY;
        Ok(devices
            .as_array()
            .and_then(|all| all.iter().find(mine).cloned()))
    }

    pub(super) fn served(&self, package: i64) -> Result<Served, Failure> {
        let served = self.get(&format!("/packages/{package}/served"))?;
        let number = |name: &str| served[name].as_u64().unwrap_or(0);
        Ok(Served {
            blocks: number("blocks"),
            duplicates: number("duplicates"),
        })
    }
}

fn answer(
    path: &str,
    result: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
) -> Result<Value, Failure> {
    let silent = |e: ureq::Error| Failure::new(ProgramError::CenterSilent, format!("{path}: {e}"));
    let mut response = result.map_err(silent)?;
    let status = response.status();
    let body: Value = response.body_mut().read_json().map_err(silent)?;
    if status.is_success() {
        return Ok(body);
    }
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    Err(Failure::new(
        ProgramError::CenterRefused,
        format!(
            "{path}: {} {} {}; {}",
            body["number"],
            text("name"),
            text("message"),
            text("remedy")
        ),
    ))
}

fn id(value: &Value) -> Result<i64, Failure> {
    value["id"]
        .as_i64()
        .ok_or_else(|| Failure::new(ProgramError::CenterSilent, format!("no id in {value}")))
}

/// Project, product, model and package.
pub(super) fn make(rest: &Rest, args: &Args, package: &[u8]) -> Result<Made, Failure> {
    let project = id(&rest.post("/projects", json!({ "name": "Demo" }))?)?;
    let product = id(&rest.post(
        "/products",
        json!({
            "project": project, "name": "Demo product",
            "product_key": PRODUCT_KEY, "product_secret": "demo-secret",
        }),
    )?)?;
    let model = id(&rest.post(
        "/models",
        json!({
            "project": project, "name": "Demo model", "device_model": "DEMO",
            "components": [
                { "identifier": MODULE, "name": "Module", "type": "Firmware" },
                { "identifier": args.component, "name": "MCU", "type": "MCU" },
            ],
        }),
    )?)?;
    let mut body = Vec::new();
    for (name, value) in [
        ("project", project.to_string()),
        ("name", format!("{} {}", args.component, args.to)),
        ("component_type", "MCU".into()),
        ("target_version", args.to.clone()),
    ] {
        body.extend_from_slice(
            format!(
                "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            )
            .as_bytes(),
        );
    }
    body.extend_from_slice(
        format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"package.bin\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        )
        .as_bytes(),
    );
    body.extend_from_slice(package);
    body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
    let package = id(&rest.upload("/packages", &body)?)?;
    Ok(Made {
        project,
        product,
        model,
        package,
    })
}

/// The plan, activated; returns its id.
pub(super) fn activate(rest: &Rest, args: &Args, made: &Made) -> Result<i64, Failure> {
    let plan = id(&rest.post(
        "/plans",
        json!({
            "project": made.project, "name": "Demo plan",
            "product": made.product, "model": made.model,
            "whitelist": [DEVICE_KEY],
            "components": [{ "component": args.component, "package": made.package }],
        }),
    )?)?;
    rest.post(&format!("/plans/{plan}/activate"), json!({}))?;
    Ok(plan)
}
