//! The way to clients that have our Plan object (`docs/lwm2m.md`): Writes made from commands, and what they Send.

use std::collections::BTreeMap;

use sota_lwm2m::objects::plan::{DownloadInfo, Offer, State, resource};
use sota_lwm2m::{ContentFormat, Encoder, Error, Path, RawValue, Records, Value};

use super::border::StateReport;
use super::peers::PlanClient;
use crate::domain::{ComponentKind, DeviceFacts, ReportedComponent};

/// Greatest payload of a Write, in bytes.
const MAX_PAYLOAD: usize = 1024;

/// What a Send or Read brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Versions, battery, signal.
    pub facts: DeviceFacts,
    /// States of offers.
    pub reports: Vec<StateReport>,
    /// The host asks for a plan.
    pub request: Option<bool>,
}

#[derive(Default)]
struct Instance {
    component: Option<String>,
    version: Option<String>,
    offer: Option<String>,
    state: Option<State>,
    failure: Option<u16>,
}

/// The Write of an offer.
pub fn offer(
    object: u16,
    instance: u16,
    format: ContentFormat,
    o: &Offer,
) -> Result<Vec<u8>, Error> {
    let values = [
        (resource::PLAN, Value::String(&o.plan)),
        (resource::COMPONENT, Value::String(&o.component)),
        (resource::COMPONENT_TYPE, Value::Integer(o.kind as i64)),
        (resource::SOURCE_VERSION, Value::String(&o.source)),
        (resource::TARGET_VERSION, Value::String(&o.target)),
        (
            resource::BATTERY_LIMIT,
            Value::Integer(o.battery_limit_percent.into()),
        ),
        (
            resource::MINIMUM_SIGNAL,
            Value::Integer(o.min_signal_dbm.into()),
        ),
        (resource::USE_SPACE, Value::Unsigned(o.use_space.into())),
    ];
    write(object, instance, format, &values)
}

/// The Write of download information.
pub fn download(
    object: u16,
    instance: u16,
    format: ContentFormat,
    info: &DownloadInfo,
) -> Result<Vec<u8>, Error> {
    let mut values = vec![
        (resource::PLAN, Value::String(&info.plan)),
        (
            resource::PACKAGE_LENGTH,
            Value::Unsigned(info.length.into()),
        ),
    ];
    if let Some(md5) = &info.md5 {
        values.push((resource::MD5, Value::Opaque(md5)));
    }
    if let Some(crc32) = info.crc32 {
        values.push((resource::CRC32, Value::Unsigned(crc32.into())));
    }
    if let Some(sha256) = &info.sha256 {
        values.push((resource::SHA256, Value::Opaque(sha256)));
    }
    values.push((resource::PACKAGE_URI, Value::String(&info.uri)));
    write(object, instance, format, &values)
}

fn write(
    object: u16,
    instance: u16,
    format: ContentFormat,
    values: &[(u16, Value<'_>)],
) -> Result<Vec<u8>, Error> {
    let mut buffer = [0; MAX_PAYLOAD];
    let mut encoder = Encoder::begin(format, Path::instance(object, instance), &mut buffer)?;
    for (id, value) in values {
        encoder.value(Path::resource(object, instance, *id), *value)?;
    }
    let len = encoder.finish()?;
    Ok(buffer[..len].to_vec())
}

/// Understands what a client with the Plan object tells, and remembers which instance is which component.
pub fn told(
    client: &mut PlanClient,
    object: u16,
    format: ContentFormat,
    base: Path,
    payload: &[u8],
) -> Result<Told, Error> {
    let mut told = Told::default();
    let mut instances: BTreeMap<u16, Instance> = BTreeMap::new();
    for record in Records::new(format, base, payload)? {
        let (path, value) = record?;
        let (Some(id), Some(at), Some(what)) =
            (path.object_id(), path.instance_id(), path.resource_id())
        else {
            continue;
        };
        if id != object {
            device_fact(&mut told.facts, path, value);
            continue;
        }
        let instance = instances.entry(at).or_default();
        let text = || value.as_str().map(str::to_owned);
        match what {
            resource::PLAN => instance.offer = text(),
            resource::COMPONENT => instance.component = text(),
            resource::CURRENT_VERSION => instance.version = text(),
            resource::STATE => {
                let number = value.as_u64().and_then(|n| u8::try_from(n).ok());
                instance.state = Some(
                    number
                        .and_then(State::from_number)
                        .ok_or(Error::Malformed)?,
                );
            }
            resource::FAILURE_NUMBER => {
                instance.failure = value.as_u64().and_then(|n| u16::try_from(n).ok());
            }
            resource::REQUEST => told.request = Some(value.as_u64() == Some(1)),
            _ => {}
        }
    }
    for (at, instance) in instances {
        if let Some(component) = instance.component.filter(|name| !name.is_empty()) {
            client.components.insert(at, component);
        }
        if !client.instances.contains(&at) {
            client.instances.push(at);
        }
        if let (Some(version), Some(identifier)) = (instance.version, client.components.get(&at)) {
            if version.is_empty() {
                told.facts.removed.push(identifier.clone());
            } else {
                let kind = if at == 0 {
                    ComponentKind::Firmware
                } else {
                    ComponentKind::Mcu
                };
                let identifier = identifier.clone();
                told.facts.components.push(ReportedComponent {
                    identifier,
                    kind,
                    version,
                });
            }
        }
        let offer = instance.offer.filter(|name| !name.is_empty());
        let offer = offer.or_else(|| client.offers.get(&at).cloned());
        if let (Some(state), Some(offer)) = (instance.state, offer)
            && state != State::None
        {
            let reason = instance.failure.filter(|number| *number != 0);
            told.reports.push(StateReport {
                offer,
                state,
                reason,
            });
        }
    }
    Ok(told)
}

/// Battery (/3/0/9) and signal (/4/0/2).
pub fn device_fact(facts: &mut DeviceFacts, path: Path, value: RawValue<'_>) {
    if path == Path::resource(3, 0, 9) {
        facts.battery_percent = value.as_u64().and_then(|n| u8::try_from(n).ok());
    } else if path == Path::resource(4, 0, 2) {
        facts.rsrp_dbm = value.as_i64().and_then(|n| i16::try_from(n).ok());
    }
}
