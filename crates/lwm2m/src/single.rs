//! The formats that carry exactly one value: `text/plain`, `application/octet-stream` and
//! `application/cbor` (LwM2M Core 1.1, sections 7.4.1, 7.4.2 and 7.4.3).

use sota_coap::text::utf8;

use crate::cbor;
use crate::value::{parse_object_link, write_decimal, write_decimal_unsigned};
use crate::{ContentFormat, Error, Path, RawValue, Record, Value};

/// Reads the one value of `payload`; `base` must be a resource or a resource instance.
pub fn decode(format: ContentFormat, base: Path, payload: &[u8]) -> Result<Record<'_>, Error> {
    if base.depth() < 3 {
        return Err(Error::Format);
    }
    let value = match format {
        ContentFormat::Text => RawValue::Text(utf8(payload).ok_or(Error::Malformed)?),
        ContentFormat::Opaque => RawValue::Typed(Value::Opaque(payload)),
        ContentFormat::Cbor => {
            let mut reader = cbor::Reader::new(payload);
            let value = reader.value();
            if reader.is_bad() || !reader.is_empty() {
                return Err(Error::Malformed);
            }
            match value {
                // A link has no type of its own in CBOR: it is the text "9:1".
                RawValue::Typed(Value::String(text)) if parse_object_link(text).is_some() => {
                    RawValue::Text(text)
                }
                value => value,
            }
        }
        _ => return Err(Error::Format),
    };
    Ok((base, value))
}

/// `object:instance` as text.
pub(crate) fn link_text(object: u16, instance: u16, out: &mut [u8; 11]) -> Option<&[u8]> {
    let mut at = write_decimal_unsigned(object.into(), out)?;
    *out.get_mut(at)? = b':';
    at += 1;
    at += write_decimal_unsigned(instance.into(), out.get_mut(at..)?)?;
    out.get(..at)
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
            copy(text, out)
        }
        Value::Opaque(_) | Value::Float(_) => Err(Error::Type),
    }
}

fn cbor(value: Value<'_>, out: &mut [u8]) -> Result<usize, Error> {
    let mut writer = cbor::Writer::new(out);
    writer.value(value);
    writer.finish()
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
