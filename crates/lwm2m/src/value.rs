//! Values of resources: what is written ([`Value`]) and what was read ([`RawValue`]).
//!
//! TLV and text carry no type: the reader must know what it expects. So a decoded value is asked for
//! as the type the object defines (`as_i64()`, `as_str()` …) and answers `None` when it is not one.

use sota_coap::text::utf8;

/// A value with its type (LwM2M Core 1.1, appendix C).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Signed integer.
    Integer(i64),
    /// Unsigned integer.
    Unsigned(u64),
    /// Boolean.
    Bool(bool),
    /// UTF-8 text.
    String(&'a str),
    /// Bytes.
    Opaque(&'a [u8]),
    /// Seconds since 1970-01-01 UTC.
    Time(i64),
    /// Object and instance id; 65535, 65535 is the null link.
    ObjectLink(u16, u16),
    /// Floating point: carried, never computed with.
    Float(f64),
}

/// A value as it came, borrowed from the payload.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RawValue<'a> {
    /// TLV: bytes without a type.
    Tlv(&'a [u8]),
    /// `text/plain`.
    Text(&'a str),
    /// SenML-CBOR, CBOR, opaque: the format says the type.
    Typed(Value<'a>),
    /// CBOR, four bytes of floating point; a double only when [`RawValue::as_f64`] asks, as the conversion is a
    /// library routine where the processor has no floating point.
    Single(f32),
    /// A SenML record with a name only.
    Absent,
}

impl<'a> RawValue<'a> {
    /// As signed integer or time.
    pub fn as_i64(&self) -> Option<i64> {
        match *self {
            RawValue::Tlv(bytes) => {
                let sign = if *bytes.first()? < 0x80 { 0 } else { u64::MAX };
                big_endian(bytes, sign).map(u64::cast_signed)
            }
            RawValue::Text(text) => match text.as_bytes() {
                [b'-', digits @ ..] => 0i64.checked_sub_unsigned(decimal(digits)?),
                _ => decimal_signed(text)?.try_into().ok(),
            },
            RawValue::Typed(Value::Integer(v) | Value::Time(v)) => Some(v),
            RawValue::Typed(Value::Unsigned(v)) => v.try_into().ok(),
            _ => None,
        }
    }

    /// As unsigned integer.
    pub fn as_u64(&self) -> Option<u64> {
        match *self {
            RawValue::Tlv(bytes) => big_endian(bytes, 0),
            RawValue::Text(text) => decimal_signed(text),
            RawValue::Typed(Value::Integer(v) | Value::Time(v)) => v.try_into().ok(),
            RawValue::Typed(Value::Unsigned(v)) => Some(v),
            _ => None,
        }
    }

    /// The same, when it has 32 bits.
    #[inline(never)]
    pub fn as_u32(&self) -> Option<u32> {
        self.as_u64()?.try_into().ok()
    }

    /// As boolean; an integer 0 or 1 is taken too.
    pub fn as_bool(&self) -> Option<bool> {
        match *self {
            RawValue::Typed(Value::Bool(v)) => Some(v),
            _ => match self.as_u64()? {
                0 => Some(false),
                1 => Some(true),
                _ => None,
            },
        }
    }

    /// As text.
    pub fn as_str(&self) -> Option<&'a str> {
        match *self {
            RawValue::Tlv(bytes) => utf8(bytes),
            RawValue::Text(text) | RawValue::Typed(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// As bytes. Text never gives any: LwM2M writes opaque values there as base64, which is not read here.
    pub fn as_bytes(&self) -> Option<&'a [u8]> {
        match *self {
            RawValue::Tlv(bytes) | RawValue::Typed(Value::Opaque(bytes)) => Some(bytes),
            _ => None,
        }
    }

    /// As link to an object instance.
    pub fn as_object_link(&self) -> Option<(u16, u16)> {
        match *self {
            RawValue::Tlv(&[a, b, c, d]) => {
                Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
            }
            RawValue::Text(text) => parse_object_link(text),
            RawValue::Typed(Value::ObjectLink(object, instance)) => Some((object, instance)),
            _ => None,
        }
    }

    /// As floating point.
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            RawValue::Tlv(&[a, b, c, d]) => Some(f32::from_be_bytes([a, b, c, d]).into()),
            RawValue::Tlv(bytes) => Some(f64::from_be_bytes(bytes.try_into().ok()?)),
            RawValue::Typed(Value::Float(v)) => Some(v),
            RawValue::Single(v) => Some(v.into()),
            _ => None,
        }
    }
}

/// A number of 1, 2, 4 or 8 bytes, the widths TLV allows, behind the bits of `sign`.
fn big_endian(bytes: &[u8], sign: u64) -> Option<u64> {
    matches!(bytes.len(), 1 | 2 | 4 | 8).then(|| {
        bytes
            .iter()
            .fold(sign, |value, byte| value << 8 | u64::from(*byte))
    })
}

/// Digits only, at least one. The one reader of decimals: those of `core` are made anew for each type.
#[inline(never)]
pub fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    let mut value = 0u64;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(digit.into())?;
    }
    Some(value)
}

/// The same, behind a `+` too.
fn decimal_signed(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    decimal(bytes.strip_prefix(b"+").unwrap_or(bytes))
}

/// `object:instance`; both may be 65535, the null link.
pub(crate) fn parse_object_link(text: &str) -> Option<(u16, u16)> {
    let text = text.as_bytes();
    let at = text.iter().position(|byte| *byte == b':')?;
    let id = |digits| decimal(digits).and_then(|id| u16::try_from(id).ok());
    Some((id(text.get(..at)?)?, id(text.get(at + 1..)?)?))
}

/// Writes a number in decimal; the bytes written, or `None` when `out` is too small.
pub(crate) fn write_decimal(value: i64, out: &mut [u8]) -> Option<usize> {
    let sign = usize::from(value < 0);
    if sign == 1 {
        *out.first_mut()? = b'-';
    }
    Some(sign + write_decimal_unsigned(value.unsigned_abs(), out.get_mut(sign..)?)?)
}

/// Writes a number in decimal; the bytes written, or `None` when `out` is too small. Powers of ten and
/// subtraction: a division of u64 costs a small processor a library routine.
pub fn write_decimal_unsigned(mut value: u64, out: &mut [u8]) -> Option<usize> {
    let mut at = 0;
    for exponent in (0..20).rev() {
        let power = 10u64.pow(exponent);
        let mut digit = b'0';
        while value >= power {
            value -= power;
            digit += 1;
        }
        if digit != b'0' || at != 0 || exponent == 0 {
            *out.get_mut(at)? = digit;
            at += 1;
        }
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString;

    #[test]
    fn tlv_integers_have_four_widths() {
        assert_eq!(RawValue::Tlv(&[0x9c]).as_i64(), Some(-100));
        assert_eq!(RawValue::Tlv(&[0x9c]).as_u64(), Some(156));
        assert_eq!(RawValue::Tlv(&[0xff, 0x8f]).as_i64(), Some(-113));
        assert_eq!(RawValue::Tlv(&[0, 0, 1, 0]).as_i64(), Some(256));
        assert_eq!(RawValue::Tlv(&[0xff; 8]).as_i64(), Some(-1));
        assert_eq!(RawValue::Tlv(&[]).as_i64(), None);
        assert_eq!(RawValue::Tlv(&[0; 3]).as_i64(), None);
        assert_eq!(RawValue::Tlv(&[0; 9]).as_u64(), None);
    }

    #[test]
    fn a_value_is_only_what_it_is() {
        let text = RawValue::Typed(Value::String("1"));
        assert_eq!(text.as_i64(), None);
        assert_eq!(text.as_bytes(), None);
        assert_eq!(RawValue::Typed(Value::Integer(-1)).as_u64(), None);
        assert_eq!(RawValue::Typed(Value::Unsigned(u64::MAX)).as_i64(), None);
        assert_eq!(RawValue::Typed(Value::Integer(2)).as_bool(), None);
        assert_eq!(RawValue::Text("1").as_bool(), Some(true));
        assert_eq!(RawValue::Text("9:1").as_object_link(), Some((9, 1)));
        assert_eq!(
            RawValue::Text("65535:65535").as_object_link(),
            Some((65535, 65535))
        );
        assert_eq!(RawValue::Text("9:").as_object_link(), None);
        assert_eq!(RawValue::Tlv(&[0x40, 0x20, 0, 0]).as_f64(), Some(2.5));
        assert_eq!(RawValue::Absent.as_str(), None);
    }

    proptest! {
        #[test]
        fn text_numbers_are_those_of_core(text in "[-+]{0,2}[0-9]{0,21}x?") {
            prop_assert_eq!(RawValue::Text(&text).as_i64(), text.parse().ok());
            prop_assert_eq!(RawValue::Text(&text).as_u64(), text.parse().ok());
        }

        #[test]
        fn decimals(signed: i64, unsigned: u64) {
            let mut out = [0; 20];
            let len = write_decimal(signed, &mut out).unwrap();
            prop_assert_eq!(core::str::from_utf8(&out[..len]).unwrap(), signed.to_string());
            prop_assert_eq!(write_decimal(signed, &mut out[..len - 1]), None);
            let len = write_decimal_unsigned(unsigned, &mut out).unwrap();
            prop_assert_eq!(core::str::from_utf8(&out[..len]).unwrap(), unsigned.to_string());
        }
    }
}
