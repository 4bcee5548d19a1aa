//! The formats that carry exactly one value: `text/plain`, `application/octet-stream` and
//! `application/cbor` (LwM2M Core 1.1, sections 7.4.1, 7.4.2 and 7.4.3).

use minicbor::data::Type;
use minicbor::encode::write::Cursor;

use crate::value::{parse_object_link, write_decimal, write_decimal_unsigned};
use crate::{ContentFormat, Error, Path, RawValue, Record, Value};

/// Reads the one value of `payload`; `base` must be a resource or a resource instance.
pub fn decode(format: ContentFormat, base: Path, payload: &[u8]) -> Result<Record<'_>, Error> {
    if base.depth() < 3 {
        return Err(Error::Format);
    }
    let value = match format {
        ContentFormat::Text => {
            RawValue::Text(core::str::from_utf8(payload).map_err(|_| Error::Malformed)?)
        }
        ContentFormat::Opaque => RawValue::Typed(Value::Opaque(payload)),
        ContentFormat::Cbor => {
            let mut decoder = minicbor::Decoder::new(payload);
            let value = cbor_value(&mut decoder)?;
            if decoder.position() != payload.len() {
                return Err(Error::Malformed);
            }
            RawValue::Typed(match value {
                // A link has no type of its own in CBOR: it is the text "9:1".
                Value::String(text) => match parse_object_link(text) {
                    Some(_) => return Ok((base, RawValue::Text(text))),
                    None => value,
                },
                value => value,
            })
        }
        _ => return Err(Error::Format),
    };
    Ok((base, value))
}

/// Reads one CBOR number, boolean, text or byte string of definite length.
pub(crate) fn cbor_value<'a>(decoder: &mut minicbor::Decoder<'a>) -> Result<Value<'a>, Error> {
    let mut kind = decoder.datatype().map_err(|_| Error::Malformed)?;
    if kind == Type::Tag {
        // Tag 1 is LwM2M's time; other tags say nothing that changes the value.
        decoder.tag().map_err(|_| Error::Malformed)?;
        kind = decoder.datatype().map_err(|_| Error::Malformed)?;
    }
    match kind {
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => decoder
            .u64()
            .map(|v| i64::try_from(v).map_or(Value::Unsigned(v), Value::Integer)),
        Type::I8 | Type::I16 | Type::I32 | Type::I64 => decoder.i64().map(Value::Integer),
        Type::Bool => decoder.bool().map(Value::Bool),
        Type::String => decoder.str().map(Value::String),
        Type::Bytes => decoder.bytes().map(Value::Opaque),
        Type::F32 | Type::F64 => decoder.f64().map(Value::Float),
        _ => return Err(Error::Malformed),
    }
    .map_err(|_| Error::Malformed)
}

/// `object:instance` as text.
pub(crate) fn link_text(object: u16, instance: u16, out: &mut [u8; 11]) -> Option<&str> {
    let mut at = write_decimal(i64::from(object), out)?;
    *out.get_mut(at)? = b':';
    at += 1;
    at += write_decimal(i64::from(instance), out.get_mut(at..)?)?;
    core::str::from_utf8(out.get(..at)?).ok()
}

/// Writes the one value.
#[derive(Debug)]
pub struct Writer<'b> {
    format: ContentFormat,
    base: Path,
    out: &'b mut [u8],
    len: Option<usize>,
}

impl<'b> Writer<'b> {
    /// Begins a payload; `base` must be a resource or a resource instance.
    pub fn begin(format: ContentFormat, base: Path, out: &'b mut [u8]) -> Result<Self, Error> {
        if base.depth() < 3 {
            return Err(Error::Format);
        }
        Ok(Writer {
            format,
            base,
            out,
            len: None,
        })
    }

    /// Writes the value; a second one is [`Error::Format`].
    pub fn value(&mut self, path: Path, value: Value<'_>) -> Result<(), Error> {
        if self.len.is_some() {
            return Err(Error::Format);
        }
        if path != self.base {
            return Err(Error::Path);
        }
        let written = match self.format {
            ContentFormat::Text => text(value, self.out),
            ContentFormat::Opaque => match value {
                Value::Opaque(bytes) => copy(bytes, self.out),
                _ => Err(Error::Type),
            },
            _ => cbor(value, self.out),
        };
        self.len = Some(written?);
        Ok(())
    }

    /// The payload's length in bytes; without a value [`Error::Format`].
    pub fn finish(self) -> Result<usize, Error> {
        self.len.ok_or(Error::Format)
    }
}

fn copy(bytes: &[u8], out: &mut [u8]) -> Result<usize, Error> {
    out.get_mut(..bytes.len())
        .ok_or(Error::Full)?
        .copy_from_slice(bytes);
    Ok(bytes.len())
}

fn text(value: Value<'_>, out: &mut [u8]) -> Result<usize, Error> {
    match value {
        Value::Integer(v) | Value::Time(v) => write_decimal(v, out).ok_or(Error::Full),
        Value::Unsigned(v) => write_decimal_unsigned(v, out).ok_or(Error::Full),
        Value::Bool(v) => copy(if v { b"1" } else { b"0" }, out),
        Value::String(v) => copy(v.as_bytes(), out),
        Value::ObjectLink(object, instance) => {
            let mut buf = [0; 11];
            let text = link_text(object, instance, &mut buf).ok_or(Error::Full)?;
            copy(text.as_bytes(), out)
        }
        Value::Opaque(_) | Value::Float(_) => Err(Error::Type),
    }
}

fn cbor(value: Value<'_>, out: &mut [u8]) -> Result<usize, Error> {
    let mut encoder = minicbor::Encoder::new(Cursor::new(out));
    put_cbor(&mut encoder, value)?;
    Ok(encoder.writer().position())
}

/// Writes one value; a link as text.
pub(crate) fn put_cbor(
    encoder: &mut minicbor::Encoder<Cursor<&mut [u8]>>,
    value: Value<'_>,
) -> Result<(), Error> {
    let mut buf = [0; 11];
    match value {
        Value::Integer(v) | Value::Time(v) => encoder.i64(v),
        Value::Unsigned(v) => encoder.u64(v),
        Value::Bool(v) => encoder.bool(v),
        Value::String(v) => encoder.str(v),
        Value::Opaque(v) => encoder.bytes(v),
        Value::ObjectLink(object, instance) => {
            encoder.str(link_text(object, instance, &mut buf).ok_or(Error::Full)?)
        }
        Value::Float(v) => encoder.f64(v),
    }
    .map_err(|_| Error::Full)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;

    const BATTERY: Path = Path::resource(3, 0, 9);

    fn written(format: ContentFormat, value: Value<'_>) -> Result<heapless::Vec<u8, 64>, Error> {
        let mut out = [0; 64];
        let mut writer = Writer::begin(format, BATTERY, &mut out)?;
        writer.value(BATTERY, value)?;
        let len = writer.finish()?;
        Ok(heapless::Vec::from_slice(&out[..len]).unwrap())
    }

    #[test]
    fn text_vectors() {
        for (value, bytes) in [
            (Value::Integer(-113), &b"-113"[..]),
            (Value::Unsigned(u64::MAX), b"18446744073709551615"),
            (Value::Bool(true), b"1"),
            (Value::String("2_0_0"), b"2_0_0"),
            (Value::ObjectLink(9, 65535), b"9:65535"),
        ] {
            assert_eq!(written(ContentFormat::Text, value).as_deref(), Ok(bytes));
        }
        assert_eq!(
            written(ContentFormat::Text, Value::Opaque(b"x")),
            Err(Error::Type)
        );
        assert_eq!(
            decode(ContentFormat::Text, BATTERY, b"-5")
                .unwrap()
                .1
                .as_i64(),
            Some(-5)
        );
        assert_eq!(
            decode(ContentFormat::Text, BATTERY, &[0xff]),
            Err(Error::Malformed)
        );
        assert_eq!(
            decode(ContentFormat::Text, Path::instance(3, 0), b"1"),
            Err(Error::Format)
        );
    }

    #[test]
    fn cbor_vectors() {
        // python3: cbor2.dumps(v).hex() for 71, -113, "2_0_0", b"\1\2", True
        for (value, bytes) in [
            (Value::Integer(71), &[0x18, 0x47][..]),
            (Value::Integer(-113), &[0x38, 0x70]),
            (
                Value::String("2_0_0"),
                &[0x65, 0x32, 0x5f, 0x30, 0x5f, 0x30],
            ),
            (Value::Opaque(&[1, 2]), &[0x42, 0x01, 0x02]),
            (Value::Bool(true), &[0xf5]),
        ] {
            assert_eq!(written(ContentFormat::Cbor, value).as_deref(), Ok(bytes));
            assert_eq!(
                decode(ContentFormat::Cbor, BATTERY, bytes),
                Ok((BATTERY, RawValue::Typed(value)))
            );
        }
        assert_eq!(
            decode(ContentFormat::Cbor, BATTERY, &[0x18, 0x47, 0x00]),
            Err(Error::Malformed)
        );
        let link = written(ContentFormat::Cbor, Value::ObjectLink(9, 1)).unwrap();
        let (_, value) = decode(ContentFormat::Cbor, BATTERY, &link).unwrap();
        assert_eq!(value.as_object_link(), Some((9, 1)));
        assert_eq!(value.as_str(), Some("9:1"));
    }

    #[test]
    fn one_value_no_more_no_less() {
        let mut out = [0; 8];
        let writer = Writer::begin(ContentFormat::Text, BATTERY, &mut out).unwrap();
        assert_eq!(writer.finish(), Err(Error::Format));
        let mut writer = Writer::begin(ContentFormat::Text, BATTERY, &mut out).unwrap();
        writer.value(BATTERY, Value::Integer(1)).unwrap();
        assert_eq!(writer.value(BATTERY, Value::Integer(1)), Err(Error::Format));
        let mut writer = Writer::begin(ContentFormat::Opaque, BATTERY, &mut out).unwrap();
        assert_eq!(
            writer.value(BATTERY, Value::Opaque(&[0; 9])),
            Err(Error::Full)
        );
    }

    proptest! {
        #[test]
        fn never_panics(bytes: std::vec::Vec<u8>) {
            for format in [ContentFormat::Text, ContentFormat::Opaque, ContentFormat::Cbor] {
                let _ = decode(format, BATTERY, &bytes);
            }
        }

        #[test]
        fn integers_round_trip(v: i64) {
            for format in [ContentFormat::Text, ContentFormat::Cbor] {
                let bytes = written(format, Value::Integer(v)).unwrap();
                prop_assert_eq!(decode(format, BATTERY, &bytes).unwrap().1.as_i64(), Some(v));
            }
        }
    }
}
