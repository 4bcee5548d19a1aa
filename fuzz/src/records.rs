//! Payloads of Writes and Sends: records lie where they may, and what was read is written and read as the same.
//!
//! A case is one byte for the path and the payload.

use sota_lwm2m::objects::plan::{
    self, DEFAULT_OBJECT_ID, read_download_info, read_offer, write_download_info, write_offer,
};
use sota_lwm2m::{ContentFormat, Encoder, Path, RawValue, Record, Records, Value, single};

/// The paths a payload can be for; the byte that chooses is its place.
pub const BASES: &[Path] = &[
    Path::ROOT,
    Path::object(9),
    Path::instance(DEFAULT_OBJECT_ID, 1),
    Path::instance(9, 0),
    Path::instance(5, 0),
    Path::resource(5, 0, 1),
    Path::resource(3, 0, 11),
    Path::resource_instance(3, 0, 11, 0),
];

/// TLV, and the formats of one value.
pub fn run_tlv(data: &[u8]) {
    let Some((base, payload)) = cut(data) else {
        return;
    };
    run(ContentFormat::Tlv, base, payload);
    for format in [ContentFormat::Text, ContentFormat::Opaque] {
        one(format, base, payload);
    }
}

/// SenML-CBOR, and CBOR.
pub fn run_senml_cbor(data: &[u8]) {
    let Some((base, payload)) = cut(data) else {
        return;
    };
    run(ContentFormat::SenmlCbor, base, payload);
    one(ContentFormat::Cbor, base, payload);
}

fn cut(data: &[u8]) -> Option<(Path, &[u8])> {
    let (choice, payload) = data.split_first()?;
    Some((BASES[usize::from(*choice) % BASES.len()], payload))
}

fn run(format: ContentFormat, base: Path, payload: &[u8]) {
    let read: Vec<_> = match Records::new(format, base, payload) {
        Ok(records) => records.collect(),
        Err(_) => return,
    };
    let errors = read.iter().filter(|record| record.is_err()).count();
    assert!(errors <= 1 && read.len() <= payload.len() + 1);
    assert!(errors == 0 || read.last().is_some_and(Result::is_err));
    let read: Vec<Record<'_>> = read.into_iter().flatten().collect();
    for (path, value) in &read {
        assert!(base.contains(*path));
        views(value);
    }
    if errors == 0 && base.depth() > 0 && !contradicts(&read) {
        again(format, base, &read);
    }
    if base == Path::instance(DEFAULT_OBJECT_ID, 1) {
        plan_object(format, base, payload);
    }
}

/// A resource with a value and with instances, which no one can write: the reader leaves that to the objects.
fn contradicts(read: &[Record<'_>]) -> bool {
    let within = |a: &Path, b: &Path| a != b && a.depth() >= 3 && a.contains(*b);
    read.iter()
        .any(|(a, _)| read.iter().any(|(b, _)| within(a, b)))
}

/// The views of a value agree with each other.
fn views(value: &RawValue<'_>) {
    if let (Some(signed), Some(unsigned)) = (value.as_i64(), value.as_u64())
        && !matches!(value, RawValue::Tlv(_))
    {
        assert_eq!(u64::try_from(signed), Ok(unsigned));
    }
    if let (Some(text), Some(bytes)) = (value.as_str(), value.as_bytes()) {
        assert_eq!(text.as_bytes(), bytes);
    }
    let _ = (value.as_bool(), value.as_object_link(), value.as_f64());
}

fn typed<'a>(value: &RawValue<'a>) -> Option<Value<'a>> {
    match *value {
        RawValue::Tlv(bytes) => Some(Value::Opaque(bytes)),
        RawValue::Typed(value) => Some(value),
        RawValue::Single(value) => Some(Value::Float(value.into())),
        RawValue::Text(_) | RawValue::Absent => None,
    }
}

fn same(a: &RawValue<'_>, b: &RawValue<'_>) -> bool {
    match (a, b) {
        // Which NaN it is, is not kept.
        _ if a.as_f64().is_some_and(f64::is_nan) => b.as_f64().is_some_and(f64::is_nan),
        (RawValue::Typed(Value::Float(a)), RawValue::Typed(Value::Float(b))) => {
            a.to_bits() == b.to_bits()
        }
        // Single precision is written as double.
        (RawValue::Single(a), RawValue::Typed(Value::Float(b))) => {
            f64::from(*a).to_bits() == b.to_bits()
        }
        _ => a == b,
    }
}

/// What can be written is read as the same, and SenML is CBOR for a reader no one here wrote.
fn again(format: ContentFormat, base: Path, read: &[Record<'_>]) {
    let kept: Vec<Record<'_>> = read
        .iter()
        .filter(|(path, value)| path.depth() >= 3 && typed(value).is_some())
        .take(2_000)
        .copied()
        .collect();
    let room = 64
        + kept
            .iter()
            .map(|(_, value)| 64 + length(value))
            .sum::<usize>();
    let mut out = vec![0; room];
    let mut encoder = Encoder::begin(format, base, &mut out).expect("a path that has a format");
    for (path, value) in &kept {
        let value = typed(value).expect("kept");
        encoder.value(*path, value).expect("room, and a fit path");
    }
    let len = encoder.finish().expect("room");
    let out = &out[..len];
    let written: Vec<Record<'_>> = Records::new(format, base, out)
        .expect("ours")
        .map(|record| record.expect("ours"))
        .collect();
    assert_eq!(written.len(), kept.len());
    for ((path, value), (its_path, its)) in kept.iter().zip(&written) {
        assert_eq!(path, its_path);
        assert!(same(value, its), "{value:?} {its:?}");
    }
    if format == ContentFormat::SenmlCbor {
        let mut peer = minicbor::Decoder::new(out);
        peer.skip().expect("CBOR");
        assert_eq!(peer.position(), len);
    }
}

fn length(value: &RawValue<'_>) -> usize {
    match value {
        RawValue::Tlv(bytes) | RawValue::Typed(Value::Opaque(bytes)) => bytes.len(),
        RawValue::Typed(Value::String(text)) => text.len(),
        _ => 0,
    }
}

fn one(format: ContentFormat, base: Path, payload: &[u8]) {
    let Ok((path, value)) = single::decode(format, base, payload) else {
        return;
    };
    assert_eq!(path, base);
    views(&value);
}

/// An offer or download information that is taken is written by the Center and read as the same.
fn plan_object(format: ContentFormat, base: Path, payload: &[u8]) {
    fn records(format: ContentFormat, base: Path, bytes: &[u8]) -> Records<'_> {
        Records::new(format, base, bytes).expect("it was read before")
    }
    let mut out = [0; 2048];
    if let Ok(offer) = read_offer(records(format, base, payload)) {
        assert!(offer.battery_limit_percent <= 100 && !offer.target.is_empty());
        let mut encoder = Encoder::begin(format, base, &mut out).expect("an instance");
        write_offer(&mut encoder, DEFAULT_OBJECT_ID, 1, &offer).expect("room");
        let len = encoder.finish().expect("room");
        assert_eq!(read_offer(records(format, base, &out[..len])), Ok(offer));
    }
    if let Ok(info) = read_download_info(records(format, base, payload)) {
        assert!(info.length > 0 && !info.uri.is_empty());
        let mut encoder = Encoder::begin(format, base, &mut out).expect("an instance");
        write_download_info(&mut encoder, DEFAULT_OBJECT_ID, 1, &info).expect("room");
        let len = encoder.finish().expect("room");
        assert_eq!(
            read_download_info(records(format, base, &out[..len])),
            Ok(info)
        );
    }
    if let Ok(Some(report)) = plan::reported(records(format, base, payload), DEFAULT_OBJECT_ID, 1) {
        assert_eq!(
            plan::State::from_number(report.state.number()),
            Some(report.state)
        );
    }
}
