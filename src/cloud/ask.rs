//! What the server asked and the engine decides.

use heapless::{String, string::StringView};
use sota_coap::Code;
use sota_lwm2m::objects::plan::{COMPONENTS_MAX, URI_LEN, resource};
use sota_lwm2m::{RawValue, Records};

use crate::message::{
    ComponentName, ComponentType, ComponentView, Door, DownloadInfo, Offer, Ticket, ToEngine,
};
use crate::text::put;

/// One request that waits for the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // one slot of the machine: there is no heap to box into
pub(super) enum Ask {
    /// Plan object, resources 0..=7 and 21.
    Offer(Offer),
    /// Plan object, resources 0 and 8..=12 of an instance.
    Info(u8, DownloadInfo),
    /// A URI through the standard's door: first the offer, and when that was taken the URI.
    Standard {
        instance: u8,
        component: ComponentName,
        uri: String<URI_LEN>,
        /// The engine took the offer.
        accepted: bool,
    },
    /// Cancel of a plan instance.
    Cancel(u8),
    /// Install of a plan instance.
    Install(u8),
}

impl Ask {
    /// The message to the engine; asked for once, or with a URI once for each of its two.
    #[inline(never)]
    pub(super) fn message<const BLOCK: usize>(&mut self, ticket: Ticket) -> ToEngine<BLOCK> {
        match self {
            Ask::Offer(offer) => ToEngine::Offer {
                ticket,
                door: Door::Plan,
                offer: offer.clone(),
            },
            Ask::Info(instance, info) => ToEngine::DownloadInfo {
                ticket,
                instance: *instance,
                info: core::mem::take(info),
            },
            Ask::Standard {
                instance,
                component,
                accepted: false,
                ..
            } => ToEngine::Offer {
                ticket,
                door: Door::Standard,
                offer: Offer {
                    component: component.clone(),
                    kind: kind(*instance),
                    ..Offer::default()
                },
            },
            Ask::Standard { instance, uri, .. } => ToEngine::DownloadInfo {
                ticket,
                instance: *instance,
                info: DownloadInfo {
                    uri: uri.clone(),
                    ..DownloadInfo::default()
                },
            },
            Ask::Cancel(instance) => ToEngine::Cancel {
                ticket,
                instance: *instance,
            },
            Ask::Install(instance) => ToEngine::Install {
                ticket,
                instance: *instance,
            },
        }
    }
}

/// What the component of a plan instance is.
fn kind(instance: u8) -> ComponentType {
    match instance {
        0 => ComponentType::Firmware,
        _ => ComponentType::Mcu,
    }
}

/// Reads a Write to an instance of the Plan object. An offer and download information in one Write, or
/// a value of the wrong type or length, is 4.00. Whether it is an offer; else it is download information.
#[inline(never)]
pub(super) fn decode_plan(
    component: Option<&ComponentView>,
    instance: u8,
    records: Records<'_>,
    offer: &mut Offer,
    info: &mut DownloadInfo,
) -> Result<bool, Code> {
    if let Some(component) = component {
        let _ = put(&mut offer.component, &component.name);
    }
    offer.kind = kind(instance);
    offer.components = 1;
    let (mut is_offer, mut is_info) = (false, false);
    for record in records {
        let (path, value) = record.map_err(|_| Code::BAD_REQUEST)?;
        let id = path.resource_id().ok_or(Code::BAD_REQUEST)?;
        match id {
            resource::PLAN => {}
            resource::PACKAGE_LENGTH..=resource::PACKAGE_URI => is_info = true,
            _ => is_offer = true,
        }
        set(offer, info, id, &value).ok_or(Code::BAD_REQUEST)?;
    }
    match is_offer == is_info {
        true => Err(Code::BAD_REQUEST),
        false => Ok(is_offer),
    }
}

fn set(offer: &mut Offer, info: &mut DownloadInfo, id: u16, value: &RawValue<'_>) -> Option<()> {
    let to: &mut StringView = match id {
        resource::PLAN => {
            text(value, &mut offer.plan)?;
            &mut info.plan
        }
        resource::COMPONENT => &mut offer.component,
        resource::SOURCE_VERSION => &mut offer.source,
        resource::TARGET_VERSION => &mut offer.target,
        resource::PACKAGE_URI => &mut info.uri,
        resource::MD5 => {
            info.md5 = Some(value.as_bytes()?.try_into().ok()?);
            return Some(());
        }
        resource::SHA256 => {
            info.sha256 = Some(value.as_bytes()?.try_into().ok()?);
            return Some(());
        }
        _ => return set_number(offer, info, id, value),
    };
    text(value, to)
}

/// The resources that are numbers: read and compared with their limits in one place, as a reading for each takes code.
fn set_number(
    offer: &mut Offer,
    info: &mut DownloadInfo,
    id: u16,
    value: &RawValue<'_>,
) -> Option<()> {
    let number: u32 = match id {
        // dBm are never above 0.
        resource::MINIMUM_SIGNAL => value.as_i64()?.checked_neg()?.try_into().ok()?,
        _ => value.as_u32()?,
    };
    let limits = match id {
        resource::COMPONENT_TYPE => 0..=1,
        resource::BATTERY_LIMIT => 0..=100,
        resource::MINIMUM_SIGNAL => 0..=156,
        resource::COMPONENTS => 1..=COMPONENTS_MAX.into(),
        _ => 0..=u32::MAX,
    };
    if !limits.contains(&number) {
        return None;
    }
    match id {
        resource::COMPONENT_TYPE => offer.kind = kind(number as u8),
        resource::BATTERY_LIMIT => offer.battery_limit_percent = number as u8,
        resource::MINIMUM_SIGNAL => offer.min_signal_dbm = -(number as i16),
        resource::USE_SPACE => offer.use_space = number,
        resource::COMPONENTS => offer.components = number as u8,
        resource::PACKAGE_LENGTH => info.length = number,
        resource::CRC32 => info.crc32 = Some(number),
        _ => return None,
    }
    Some(())
}

fn text(value: &RawValue<'_>, to: &mut StringView) -> Option<()> {
    put(to, value.as_str()?)
}
