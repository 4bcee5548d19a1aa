//! Model: which components a kind of device has.

use serde::{Deserialize, Serialize};
use sota_errors::CenterError;
use utoipa::ToSchema;

use super::{ModelId, Problem, ProjectId, Time, check_name, check_remark};

/// What a component is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
pub enum ComponentKind {
    /// The module's own firmware (FOTA).
    Firmware,
    /// Software of an external MCU (SOTA).
    #[serde(rename = "MCU")]
    Mcu,
}

/// One component of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Component {
    /// Identifier: what the device calls it (SetMcuVersion's compno), 1..=32 bytes without `:` and `;`.
    pub identifier: String,
    /// Name, unique in the model, at most 100 characters.
    pub name: String,
    /// Firmware or MCU.
    #[serde(rename = "type")]
    pub kind: ComponentKind,
    /// Remark, at most 200 characters.
    #[serde(default)]
    pub remark: String,
}

/// A named set of components, used by plans.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Model {
    /// Its id.
    pub id: ModelId,
    /// Account it belongs to.
    pub account: i64,
    /// Project it belongs to.
    pub project: ProjectId,
    /// Name, unique in the project.
    pub name: String,
    /// Device model: `[A-Za-z0-9_]`, 1..=100.
    pub device_model: String,
    /// Version: a remark, at most 200 characters.
    pub version: String,
    /// Components; at least one is Firmware.
    pub components: Vec<Component>,
    /// When it was made.
    pub created_at: Time,
    /// Counts its changes; 0 = not stored yet.
    pub revision: u64,
}

impl Model {
    /// Checks every rule of a model.
    pub fn check(&self) -> Result<(), Problem> {
        check_name("name", &self.name)?;
        check_name("device_model", &self.device_model)?;
        if !self
            .device_model
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_')
        {
            let error = CenterError::NameForbiddenCharacters;
            return Err(Problem::of(
                error,
                "device_model",
                format!("{:?}", self.device_model),
            ));
        }
        check_remark("version", &self.version)?;
        if self.components.len() > 32 {
            return Err(Problem::of(
                CenterError::TooManyComponents,
                "components",
                "",
            ));
        }
        for (i, component) in self.components.iter().enumerate() {
            check_component(i, component)?;
            let twice =
                |c: &Component| c.name == component.name || c.identifier == component.identifier;
            if self.components.iter().take(i).any(twice) {
                let field = format!("components[{i}]");
                return Err(Problem::of(
                    CenterError::ComponentTwice,
                    field,
                    &component.name,
                ));
            }
        }
        if !self
            .components
            .iter()
            .any(|c| c.kind == ComponentKind::Firmware)
        {
            return Err(Problem::of(
                CenterError::ModelWithoutFirmware,
                "components",
                "",
            ));
        }
        Ok(())
    }

    /// The component with this identifier.
    pub fn component(&self, identifier: &str) -> Option<&Component> {
        self.components.iter().find(|c| c.identifier == identifier)
    }
}

fn check_component(i: usize, component: &Component) -> Result<(), Problem> {
    let identifier = &component.identifier;
    let field = format!("components[{i}].identifier");
    if identifier.is_empty() {
        return Err(Problem::of(CenterError::NameEmpty, field, ""));
    }
    if identifier.len() > 32 {
        let detail = format!("{} bytes", identifier.len());
        return Err(Problem::of(CenterError::NameOverlong, field, detail));
    }
    // ':' and ';' divide the device's list of versions, '"' ends a string in an AT answer
    if identifier.contains([':', ';', '"']) || identifier.chars().any(char::is_control) {
        let error = CenterError::NameForbiddenCharacters;
        return Err(Problem::of(error, field, format!("{identifier:?}")));
    }
    check_name(&format!("components[{i}].name"), &component.name)?;
    check_remark(&format!("components[{i}].remark"), &component.remark)
}
