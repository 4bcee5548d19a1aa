//! The Plan object on the wire. A field that is missing, of another type or out of range is an error: a
//! truncated version or URI would upgrade the wrong thing.

use heapless::String;

use super::{COMPONENTS_MAX, ComponentType, DownloadInfo, Offer, State, resource};
use crate::{Encoder, Error, Path, RawValue, Record, Value};

/// Weakest and strongest RSRP that a limit can name, in dBm (3GPP TS 36.133, NB-IoT); 0 = no limit.
const RSRP_DBM: core::ops::RangeInclusive<i16> = -156..=-31;

/// Reads an offer: resources 0..=7 and 21 of one instance. Battery, signal and space limits may be missing (0), and
/// the number of components (1).
pub fn read_offer<'a>(
    records: impl Iterator<Item = Result<Record<'a>, Error>>,
) -> Result<Offer, Error> {
    let mut offer = Offer {
        components: 1,
        ..Offer::default()
    };
    let mut seen = 0u32;
    for record in records {
        let (id, value) = field(record?, &mut seen)?;
        match id {
            resource::PLAN => offer.plan = text(value)?,
            resource::COMPONENT => offer.component = text(value)?,
            resource::COMPONENT_TYPE => {
                offer.kind = match value.as_u64().ok_or(Error::Type)? {
                    0 => ComponentType::Firmware,
                    1 => ComponentType::Mcu,
                    _ => return Err(Error::Malformed),
                }
            }
            resource::SOURCE_VERSION => offer.source = text(value)?,
            resource::TARGET_VERSION => offer.target = text(value)?,
            resource::BATTERY_LIMIT => {
                offer.battery_limit_percent = unsigned(value)?;
                if offer.battery_limit_percent > 100 {
                    return Err(Error::Malformed);
                }
            }
            resource::MINIMUM_SIGNAL => {
                offer.min_signal_dbm = signed(value)?;
                if offer.min_signal_dbm != 0 && !RSRP_DBM.contains(&offer.min_signal_dbm) {
                    return Err(Error::Malformed);
                }
            }
            resource::USE_SPACE => offer.use_space = unsigned(value)?,
            resource::COMPONENTS => {
                offer.components = unsigned(value)?;
                if !(1..=COMPONENTS_MAX).contains(&offer.components) {
                    return Err(Error::Malformed);
                }
            }
            _ => return Err(Error::Path),
        }
    }
    let needed = [
        resource::PLAN,
        resource::COMPONENT,
        resource::COMPONENT_TYPE,
        resource::TARGET_VERSION,
    ];
    let empty = offer.plan.is_empty() || offer.component.is_empty() || offer.target.is_empty();
    if empty || needed.iter().any(|id| seen & 1 << id == 0) {
        return Err(Error::Malformed);
    }
    Ok(offer)
}

/// Reads download information: resources 0 and 8..=12 of one instance. At least one digest must be there.
pub fn read_download_info<'a>(
    records: impl Iterator<Item = Result<Record<'a>, Error>>,
) -> Result<DownloadInfo, Error> {
    let mut info = DownloadInfo::default();
    let mut seen = 0u32;
    for record in records {
        let (id, value) = field(record?, &mut seen)?;
        match id {
            resource::PLAN => info.plan = text(value)?,
            resource::PACKAGE_LENGTH => info.length = unsigned(value)?,
            resource::MD5 => info.md5 = Some(bytes(value)?),
            resource::CRC32 => info.crc32 = Some(unsigned(value)?),
            resource::SHA256 => info.sha256 = Some(bytes(value)?),
            resource::PACKAGE_URI => info.uri = text(value)?,
            _ => return Err(Error::Path),
        }
    }
    let digest = info.md5.is_some() || info.crc32.is_some() || info.sha256.is_some();
    if !digest || info.plan.is_empty() || info.length == 0 || info.uri.is_empty() {
        return Err(Error::Malformed);
    }
    Ok(info)
}

/// A change of state as the device Sends it: resources 0, 13..=16 and 20 of one instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report<'a> {
    /// The offer's name; empty from a client that has none.
    pub plan: &'a str,
    /// The state reached.
    pub state: State,
    /// The host's answer.
    pub answer: Option<bool>,
    /// Number in the catalogue of errors, 0 = none.
    pub failure: u16,
    /// The reason in words, may be empty.
    pub text: &'a str,
    /// Bytes of the package that are durable.
    pub progress: u32,
}

impl<'a> Report<'a> {
    /// Writes the report of Plan object `object`, instance `instance`.
    pub fn write(
        &self,
        encoder: &mut Encoder<'_>,
        object: u16,
        instance: u16,
    ) -> Result<(), Error> {
        let at = |id| Path::resource(object, instance, id);
        encoder.value(at(resource::PLAN), Value::String(self.plan))?;
        encoder.value(
            at(resource::STATE),
            Value::Integer(self.state.number().into()),
        )?;
        if let Some(answer) = self.answer {
            encoder.value(at(resource::HOST_ANSWER), Value::Integer(answer.into()))?;
        }
        encoder.value(
            at(resource::FAILURE_NUMBER),
            Value::Integer(self.failure.into()),
        )?;
        if !self.text.is_empty() {
            encoder.value(at(resource::FAILURE_TEXT), Value::String(self.text))?;
        }
        encoder.value(
            at(resource::PROGRESS),
            Value::Unsigned(self.progress.into()),
        )
    }
}

/// Reads the report of Plan object `object`, instance `instance` out of a Send; `None`: it has no state of this
/// instance. Other paths are read over, and so are resources that a newer device may add.
pub fn reported<'a>(
    records: impl Iterator<Item = Result<Record<'a>, Error>>,
    object: u16,
    instance: u16,
) -> Result<Option<Report<'a>>, Error> {
    let mut report = Report::default();
    let mut found = false;
    for record in records {
        let (path, value) = record?;
        if !Path::instance(object, instance).contains(path) {
            continue;
        }
        match path.resource_id() {
            Some(resource::PLAN) => report.plan = value.as_str().ok_or(Error::Type)?,
            Some(resource::STATE) => {
                report.state = State::from_number(unsigned(value)?).ok_or(Error::Malformed)?;
                found = true;
            }
            Some(resource::HOST_ANSWER) => {
                report.answer = Some(value.as_bool().ok_or(Error::Malformed)?);
            }
            Some(resource::FAILURE_NUMBER) => report.failure = unsigned(value)?,
            Some(resource::FAILURE_TEXT) => report.text = value.as_str().ok_or(Error::Type)?,
            Some(resource::PROGRESS) => report.progress = unsigned(value)?,
            _ => {}
        }
    }
    Ok(found.then_some(report))
}

/// Writes an offer as the content of one Write. Of one component alone it is what a device without resource 21 knows.
#[cfg(feature = "server")]
pub fn write_offer(
    encoder: &mut Encoder<'_>,
    object: u16,
    instance: u16,
    offer: &Offer,
) -> Result<(), Error> {
    let mut put = |id, value| encoder.value(Path::resource(object, instance, id), value);
    put(resource::PLAN, Value::String(&offer.plan))?;
    put(resource::COMPONENT, Value::String(&offer.component))?;
    put(resource::COMPONENT_TYPE, Value::Integer(offer.kind as i64))?;
    put(resource::SOURCE_VERSION, Value::String(&offer.source))?;
    put(resource::TARGET_VERSION, Value::String(&offer.target))?;
    put(
        resource::BATTERY_LIMIT,
        Value::Integer(offer.battery_limit_percent.into()),
    )?;
    put(
        resource::MINIMUM_SIGNAL,
        Value::Integer(offer.min_signal_dbm.into()),
    )?;
    put(resource::USE_SPACE, Value::Unsigned(offer.use_space.into()))?;
    if offer.components > 1 {
        put(
            resource::COMPONENTS,
            Value::Unsigned(offer.components.into()),
        )?;
    }
    Ok(())
}

/// Writes download information as the content of one Write.
#[cfg(feature = "server")]
pub fn write_download_info(
    encoder: &mut Encoder<'_>,
    object: u16,
    instance: u16,
    info: &DownloadInfo,
) -> Result<(), Error> {
    let mut put = |id, value| encoder.value(Path::resource(object, instance, id), value);
    put(resource::PLAN, Value::String(&info.plan))?;
    put(
        resource::PACKAGE_LENGTH,
        Value::Unsigned(info.length.into()),
    )?;
    if let Some(md5) = &info.md5 {
        put(resource::MD5, Value::Opaque(md5))?;
    }
    if let Some(crc32) = info.crc32 {
        put(resource::CRC32, Value::Unsigned(crc32.into()))?;
    }
    if let Some(sha256) = &info.sha256 {
        put(resource::SHA256, Value::Opaque(sha256))?;
    }
    put(resource::PACKAGE_URI, Value::String(&info.uri))
}

/// The resource id of a record that may come once.
fn field<'a>((path, value): Record<'a>, seen: &mut u32) -> Result<(u16, RawValue<'a>), Error> {
    let (Some(id @ 0..=31), 3) = (path.resource_id(), path.depth()) else {
        return Err(Error::Path);
    };
    if *seen & 1 << id != 0 {
        return Err(Error::Malformed);
    }
    *seen |= 1 << id;
    Ok((id, value))
}

fn text<const N: usize>(value: RawValue<'_>) -> Result<String<N>, Error> {
    let text = value.as_str().ok_or(Error::Type)?;
    String::try_from(text).map_err(|_| Error::Malformed)
}

fn bytes<const N: usize>(value: RawValue<'_>) -> Result<[u8; N], Error> {
    let bytes = value.as_bytes().ok_or(Error::Type)?;
    bytes.try_into().map_err(|_| Error::Malformed)
}

/// An unsigned number in the range of its field. TLV carries no sign: a CRC-32 of four bytes above 2^31 is one
/// of a writer that knows unsigned values, and must not be taken for a negative number.
fn unsigned<T: TryFrom<u64>>(value: RawValue<'_>) -> Result<T, Error> {
    let number = value.as_u64().ok_or(Error::Malformed)?;
    T::try_from(number).map_err(|_| Error::Malformed)
}

fn signed(value: RawValue<'_>) -> Result<i16, Error> {
    let number = value.as_i64().ok_or(Error::Malformed)?;
    i16::try_from(number).map_err(|_| Error::Malformed)
}
