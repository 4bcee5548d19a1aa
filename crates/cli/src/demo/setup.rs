//! What a person does at the Developer Center, over its REST API.

use super::Args;
use crate::failure::Failure;
use crate::rest::Rest;
use serde_json::{Value, json};
use sota_errors::ProgramError;
use ureq::unversioned::multipart::{Form, Part};

/// Product key of the demo's device.
pub(super) const PRODUCT_KEY: &str = "demo";
/// Device key of the demo's device.
pub(super) const DEVICE_KEY: &str = "device-1";
/// Identifier of the module's own component.
pub(super) const MODULE: &str = "MODULE";

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

/// The device as the Center knows it; `None` before its first contact.
pub(super) fn device(rest: &Rest) -> Result<Option<Value>, Failure> {
    let path = format!("/devices?product_key={PRODUCT_KEY}");
    let devices = rest.get(&path)?;
    let mine = |device: &&Value| device["device_key"] == DEVICE_KEY;
    Ok(devices
        .as_array()
        .and_then(|all| all.iter().find(mine).cloned()))
}

/// How often blocks of the package were served.
pub(super) fn served(rest: &Rest, package: i64) -> Result<Served, Failure> {
    let served = rest.get(&format!("/packages/{package}/served"))?;
    let number = |name: &str| served[name].as_u64().unwrap_or(0);
    Ok(Served {
        blocks: number("blocks"),
        duplicates: number("duplicates"),
    })
}

fn id(value: &Value) -> Result<i64, Failure> {
    value["id"]
        .as_i64()
        .ok_or_else(|| Failure::new(ProgramError::CenterSilent, format!("no id in {value}")))
}

/// Project, product, model and package.
pub(super) fn make(rest: &Rest, args: &Args, package: &[u8]) -> Result<Made, Failure> {
    let project = id(&rest.post("/projects", &json!({ "name": "Demo" }))?)?;
    let product = id(&rest.post(
        "/products",
        &json!({
            "project": project, "name": "Demo product",
            "product_key": PRODUCT_KEY, "product_secret": "demo-secret",
        }),
    )?)?;
    let model = id(&rest.post(
        "/models",
        &json!({
            "project": project, "name": "Demo model", "device_model": "DEMO",
            "components": [
                { "identifier": MODULE, "name": "Module", "type": "Firmware" },
                { "identifier": args.component, "name": "MCU", "type": "MCU" },
            ],
        }),
    )?)?;
    let (project_id, name) = (
        project.to_string(),
        format!("{} {}", args.component, args.to),
    );
    let form = Form::new()
        .text("project", &project_id)
        .text("name", &name)
        .text("component_type", "MCU")
        .text("target_version", &args.to)
        .part("file", Part::bytes(package).file_name("package.bin"));
    let package = id(&rest.upload("/packages", form)?)?;
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
        &json!({
            "project": made.project, "name": "Demo plan",
            "product": made.product, "model": made.model,
            "whitelist": [DEVICE_KEY],
            "components": [{ "component": args.component, "package": made.package }],
        }),
    )?)?;
    rest.post(&format!("/plans/{plan}/activate"), &json!({}))?;
    Ok(plan)
}
