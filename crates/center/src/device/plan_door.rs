//! The way to clients that have our Plan object (`docs/lwm2m.md`): Writes made from commands, and what they Send.

use std::collections::BTreeMap;

use sota_lwm2m::objects::plan::{
    DownloadInfo, Offer, State, resource, write_download_info, write_offer,
};
use sota_lwm2m::{ContentFormat, Encoder, Error, Path, RawValue, Records};

use super::border::StateReport;
use super::peers::PlanClient;
use super::standard_door::FIRMWARE;
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
    offer: &Offer,
) -> Result<Vec<u8>, Error> {
    payload(object, instance, format, |encoder| {
        write_offer(encoder, object, instance, offer)
    })
}

/// The Write of download information.
pub fn download(
    object: u16,
    instance: u16,
    format: ContentFormat,
    info: &DownloadInfo,
) -> Result<Vec<u8>, Error> {
    payload(object, instance, format, |encoder| {
        write_download_info(encoder, object, instance, info)
    })
}

fn payload(
    object: u16,
    instance: u16,
    format: ContentFormat,
    write: impl FnOnce(&mut Encoder<'_>) -> Result<(), Error>,
) -> Result<Vec<u8>, Error> {
    let mut buffer = [0; MAX_PAYLOAD];
    let mut encoder = Encoder::begin(format, Path::instance(object, instance), &mut buffer)?;
    write(&mut encoder)?;
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
        if let Some(component) = instance.component {
            // The module need not name its own firmware; an MCU without a name was deleted.
            let name = match (component.as_str(), at) {
                ("", 0) => Some(FIRMWARE.to_owned()),
                ("", _) => None,
                _ => Some(component),
            };
            let old = match name.clone() {
                Some(name) => client.components.insert(at, name),
                None => client.components.remove(&at),
            };
            told.facts
                .removed
                .extend(old.filter(|old| name.as_ref() != Some(old)));
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
                component: client.components.get(&at).cloned(),
                state,
                reason,
            });
        }
    }
    Ok(told)
}

/// Battery (/3/0/9), signal (/4/0/2) and cell (/4/0/8).
pub fn device_fact(facts: &mut DeviceFacts, path: Path, value: RawValue<'_>) {
    if path == Path::resource(3, 0, 9) {
        facts.battery_percent = value.as_u64().and_then(|n| u8::try_from(n).ok());
    } else if path == Path::resource(4, 0, 2) {
        facts.rsrp_dbm = value.as_i64().and_then(|n| i16::try_from(n).ok());
    } else if path == Path::resource(4, 0, 8) {
        // of a 36-bit NR cell identity at most
        facts.cell_id = value.as_u64().filter(|cell| *cell < 1 << 36);
    }
}

#[cfg(test)]
mod tests {
    use sota_lwm2m::Value;

    use super::*;

    fn tell(client: &mut PlanClient, values: &[(u16, u16, &str)]) -> DeviceFacts {
        let mut out = [0; 256];
        let mut encoder =
            Encoder::begin(ContentFormat::SenmlCbor, Path::ROOT, &mut out).expect("begun");
        for (instance, id, text) in values {
            let path = Path::resource(42769, *instance, *id);
            encoder.value(path, Value::String(text)).expect("written");
        }
        let n = encoder.finish().expect("finished");
        let format = ContentFormat::SenmlCbor;
        told(client, 42769, format, Path::ROOT, &out[..n])
            .expect("understood")
            .facts
    }

    #[test]
    fn components_are_named_renamed_and_deleted() {
        let mut client = PlanClient::default();
        let (name, version) = (resource::COMPONENT, resource::CURRENT_VERSION);
        let facts = tell(
            &mut client,
            &[
                (0, name, ""),
                (0, version, "1"),
                (1, name, "A"),
                (1, version, "2"),
            ],
        );
        let known: Vec<_> = facts
            .components
            .iter()
            .map(|c| (c.identifier.as_str(), c.kind))
            .collect();
        assert_eq!(
            known,
            [
                (FIRMWARE, ComponentKind::Firmware),
                ("A", ComponentKind::Mcu)
            ]
        );
        assert!(facts.removed.is_empty());
        let facts = tell(&mut client, &[(1, name, "B"), (1, version, "3")]);
        assert_eq!(
            (facts.removed, facts.components[0].identifier.as_str()),
            (vec!["A".into()], "B")
        );
        let facts = tell(&mut client, &[(1, name, ""), (1, version, "")]);
        assert_eq!(
            (facts.removed, facts.components.len()),
            (vec!["B".to_owned()], 0)
        );
    }
}
