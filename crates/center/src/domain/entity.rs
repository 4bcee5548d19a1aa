//! Project, product, device.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sota_errors::CenterError;
use utoipa::ToSchema;

use super::{ComponentKind, Problem, ProductId, ProjectId, Time, check_name};

/// A collection of products, models, packages and plans.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Project {
    /// Its id.
    pub id: ProjectId,
    /// Account it belongs to.
    pub account: i64,
    /// Name, unique in the account, at most 100 characters.
    pub name: String,
    /// When it was made.
    pub created_at: Time,
    /// Counts its changes; 0 = not stored yet.
    pub revision: u64,
}

impl Project {
    /// Checks every rule of a project.
    pub fn check(&self) -> Result<(), Problem> {
        check_name("name", &self.name)
    }
}

/// A category of devices that share a product key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Product {
    /// Its id.
    pub id: ProductId,
    /// Account it belongs to.
    pub account: i64,
    /// Project it belongs to.
    pub project: ProjectId,
    /// Name, unique in the project.
    pub name: String,
    /// Product key: first half of its devices' endpoint names; unique in the whole Center.
    pub product_key: String,
    /// Product secret. In this stage not asked for on the wire.
    pub product_secret: String,
    /// When it was made.
    pub created_at: Time,
    /// Counts its changes; 0 = not stored yet.
    pub revision: u64,
}

impl Product {
    /// Checks every rule of a product.
    pub fn check(&self) -> Result<(), Problem> {
        check_name("name", &self.name)?;
        check_key("product_key", &self.product_key)?;
        check_key("product_secret", &self.product_secret)
    }
}

/// Product keys, secrets: 1..=64 of `[A-Za-z0-9_-]`, so that `:` divides an endpoint name in one way only.
fn check_key(field: &str, key: &str) -> Result<(), Problem> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if key.is_empty() || key.len() > 64 || !key.chars().all(allowed) {
        return Err(Problem::of(CenterError::KeyMalformed, field, ""));
    }
    Ok(())
}

/// Names a device: the endpoint name is `<productKey>:<deviceKey>`.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema, Default,
)]
pub struct Endpoint {
    /// Product key.
    pub product_key: String,
    /// Device key (IMEI on a module), unique in the product, at most 64 bytes.
    pub device_key: String,
}

impl Endpoint {
    /// The endpoint of these two keys.
    pub fn new(product_key: impl Into<String>, device_key: impl Into<String>) -> Endpoint {
        Endpoint {
            product_key: product_key.into(),
            device_key: device_key.into(),
        }
    }

    /// Reads an endpoint name (`ep=`).
    pub fn parse(name: &str) -> Result<Endpoint, Problem> {
        let bad = || Problem::of(CenterError::BadEndpointName, "ep", format!("{name:?}"));
        let (product_key, device_key) = name.split_once(':').ok_or_else(bad)?;
        let graphic = |c: char| c.is_ascii_graphic() && !matches!(c, '/' | '"' | '\\');
        if check_key("ep", product_key).is_err()
            || device_key.is_empty()
            || device_key.len() > 64
            || !device_key.chars().all(graphic)
        {
            return Err(bad());
        }
        Ok(Endpoint::new(product_key, device_key))
    }
}

impl core::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}:{}", self.product_key, self.device_key)
    }
}

/// A component and the version the device says it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReportedComponent {
    /// Component identifier, 1..=32 bytes (SetMcuVersion's compno).
    pub identifier: String,
    /// Firmware (the module itself) or MCU.
    pub kind: ComponentKind,
    /// Version, at most 64 bytes.
    pub version: String,
}

/// What a device tells about itself; absent = not told this time, the old value stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceFacts {
    /// Components and versions; each replaces the one of the same identifier.
    pub components: Vec<ReportedComponent>,
    /// Components deleted on the device.
    pub removed: Vec<String>,
    /// Battery in %, 0..=100.
    pub battery_percent: Option<u8>,
    /// RSRP in dBm.
    pub rsrp_dbm: Option<i16>,
    /// Radio cell (/4/0/8).
    pub cell_id: Option<u64>,
    /// Free space for the module's own firmware, bytes.
    pub free_space_bytes: Option<u64>,
}

/// A registration as it survives a restart of the Center.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Registration {
    /// Second part of Location-Path `rd/<id>`.
    pub id: String,
    /// Where the device was, `ip:port`.
    pub address: String,
    /// Lifetime in seconds (`lt`).
    pub lifetime_s: u32,
    /// Binding (`b`), e.g. `U`, `UQ`.
    pub binding: String,
    /// LwM2M version (`lwm2m`).
    pub lwm2m: String,
    /// Objects and instances in link format, as registered.
    pub objects: String,
    /// When it was made.
    pub registered_at: Time,
    /// When it ends; updates move it in memory first, the store follows lazily.
    pub expires_at: Time,
}

/// A device: made by its first contact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Device {
    /// Product key and device key.
    #[serde(flatten)]
    pub endpoint: Endpoint,
    /// Account it belongs to.
    pub account: i64,
    /// Project it belongs to.
    pub project: ProjectId,
    /// Components and the versions they run, as last reported.
    pub components: Vec<ReportedComponent>,
    /// Battery in %, if ever reported.
    pub battery_percent: Option<u8>,
    /// RSRP in dBm, if ever reported.
    pub rsrp_dbm: Option<i16>,
    /// Radio cell, if ever reported.
    #[serde(default)]
    pub cell_id: Option<u64>,
    /// Free space for the module's own firmware in bytes, if ever reported.
    pub free_space_bytes: Option<u64>,
    /// First contact.
    pub first_seen_at: Time,
    /// Last durable contact.
    pub last_seen_at: Time,
    /// An operator shut it out: it is offered nothing and has no registration.
    pub disabled: bool,
    /// What people call it, to find it by.
    #[serde(default)]
    pub tags: BTreeSet<String>,
    /// Present registration.
    pub registration: Option<Registration>,
    /// Counts its changes; 0 = not stored yet.
    pub revision: u64,
}

impl Device {
    /// A device at its first contact with this product's key.
    pub fn first_contact(product: &Product, endpoint: Endpoint, now: Time) -> Device {
        Device {
            endpoint,
            account: product.account,
            project: product.project,
            components: Vec::new(),
            battery_percent: None,
            rsrp_dbm: None,
            cell_id: None,
            free_space_bytes: None,
            first_seen_at: now,
            last_seen_at: now,
            disabled: false,
            tags: BTreeSet::new(),
            registration: None,
            revision: 0,
        }
    }

    /// Takes over what the device told. Text that no component can have (SetMcuVersion's limits) is left out:
    /// it comes from outside and would not fit an offer. Says whether anything changed.
    pub fn learn(&mut self, facts: &DeviceFacts) -> bool {
        let before = self.clone();
        for component in &facts.components {
            let room = self.components.len() < 32;
            let fits = (1..=32).contains(&component.identifier.len())
                && component.version.len() <= 64
                && !component.identifier.contains([':', ';', '"'])
                && !component.identifier.chars().any(char::is_control);
            if !fits {
                continue;
            }
            match self
                .components
                .iter_mut()
                .find(|c| c.identifier == component.identifier)
            {
                Some(known) => *known = component.clone(),
                None if room => self.components.push(component.clone()),
                None => {}
            }
        }
        self.components
            .retain(|c| !c.version.is_empty() && !facts.removed.contains(&c.identifier));
        self.battery_percent = facts
            .battery_percent
            .map(|b| b.min(100))
            .or(self.battery_percent);
        self.rsrp_dbm = facts.rsrp_dbm.or(self.rsrp_dbm);
        self.cell_id = facts.cell_id.or(self.cell_id);
        self.free_space_bytes = facts.free_space_bytes.or(self.free_space_bytes);
        before != *self
    }

    /// Shuts the device out, or lets it in again; its registration goes with the first. Says whether anything changed.
    pub fn set_disabled(&mut self, disabled: bool) -> bool {
        let changes = self.disabled != disabled;
        self.disabled = disabled;
        if disabled {
            self.registration = None;
        }
        changes
    }

    /// A device that is disabled may do nothing.
    pub fn check_enabled(&self) -> Result<(), Problem> {
        match self.disabled {
            true => Err(CenterError::DeviceDisabled.into()),
            false => Ok(()),
        }
    }

    /// The version this component runs. A model's Firmware component is the module itself whatever the device
    /// calls it, as long as it reports one only.
    pub fn version(&self, identifier: &str, kind: ComponentKind) -> Option<&str> {
        self.reported(identifier, kind).map(|c| c.version.as_str())
    }

    /// The reported component that a model's component means.
    pub fn reported(&self, identifier: &str, kind: ComponentKind) -> Option<&ReportedComponent> {
        let named = self
            .components
            .iter()
            .find(|c| c.identifier == identifier && c.kind == kind);
        if named.is_some() || kind != ComponentKind::Firmware {
            return named;
        }
        let mut own = self
            .components
            .iter()
            .filter(|c| c.kind == ComponentKind::Firmware);
        match (own.next(), own.next()) {
            (Some(only), None) => Some(only),
            _ => None,
        }
    }

    /// Registered and not expired.
    pub fn online(&self, now: Time) -> bool {
        self.registration
            .as_ref()
            .is_some_and(|r| r.expires_at > now)
    }
}
