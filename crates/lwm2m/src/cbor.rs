//! The part of CBOR (RFC 8949) that SenML-CBOR and single values need.
//!
//! Our own reader and writer in the place of `minicbor`'s, which stays the oracle of the tests: the few heads
//! that occur here take 4 KB less of the module's 64 KiB.

use sota_coap::text::utf8;

use crate::single::link_text;
use crate::{Error, RawValue, Value};

/// Major types, in the upper three bits of a head's first byte.
pub(crate) const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1;
const BYTES: u8 = 2;
pub(crate) const TEXT: u8 = 3;
pub(crate) const ARRAY: u8 = 4;
pub(crate) const MAP: u8 = 5;
const TAG: u8 = 6;

const INDEFINITE: u8 = 31;
const BREAK: u8 = 0xff;
/// Arrays in arrays in what is read over, so that no sender decides how deep our stack goes.
const DEPTH: u8 = 8;

/// One item's first bytes.
#[derive(Clone, Copy)]
pub(crate) struct Head {
    first: u8,
    /// Number, length, count, tag or float bits.
    argument: u64,
}

impl Head {
    pub(crate) fn major(self) -> u8 {
        self.first >> 5
    }
    fn is_indefinite(self) -> bool {
        self.first & 31 == INDEFINITE
    }
    fn count(self) -> Option<u32> {
        (!self.is_indefinite()).then_some(u32::try_from(self.argument).unwrap_or(u32::MAX))
    }
    /// A small integer; what is beyond 32 bits comes as their limit: no label is there. `None`: no integer.
    pub(crate) fn label(self) -> Option<i32> {
        let n = i32::try_from(self.argument).unwrap_or(i32::MAX);
        match self.major() {
            UNSIGNED => Some(n),
            NEGATIVE => Some(!n),
            _ => None,
        }
    }
}

/// Reads items from the front. Behind what is malformed nothing more comes, and what was read is of no use:
/// [`Reader::is_bad`] tells, as an error asked for at each item takes code.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    bad: bool,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Reader {
            rest: bytes,
            bad: false,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Something was malformed.
    pub(crate) fn is_bad(&self) -> bool {
        self.bad
    }

    /// What was read cannot be.
    pub(crate) fn fail(&mut self) {
        self.rest = &[];
        self.bad = true;
    }

    #[inline(never)]
    fn take(&mut self, n: u64) -> &'a [u8] {
        let taken = usize::try_from(n)
            .ok()
            .and_then(|n| self.rest.split_at_checked(n));
        let Some((taken, rest)) = taken else {
            self.fail();
            return &[];
        };
        self.rest = rest;
        taken
    }

    #[inline(never)]
    pub(crate) fn head(&mut self) -> Head {
        let first = self.take(1).first().copied().unwrap_or(0);
        let info = first & 31;
        let argument = match info {
            0..=23 => info.into(),
            24..=27 => self
                .take((1u32 << (info - 24)).into())
                .iter()
                .fold(0, |value, byte| value << 8 | u64::from(*byte)),
            // Only strings, arrays, maps and the break have no length.
            INDEFINITE if !matches!(first >> 5, UNSIGNED | NEGATIVE | TAG) => 0,
            _ => {
                self.fail();
                0
            }
        };
        Head { first, argument }
    }

    /// The count of an array's items or a map's pairs, `None` if it ends with a break. More than 32 bits count come as
    /// their limit: no payload holds so many.
    pub(crate) fn count(&mut self, major: u8) -> Option<u32> {
        let head = self.head();
        if head.major() != major {
            self.fail();
        }
        head.count()
    }

    /// Is there another entry in this array or map? Eats the break of one without a count.
    #[inline(never)]
    pub(crate) fn more(&mut self, left: &mut Option<u32>) -> bool {
        match left {
            _ if self.bad => false,
            Some(0) => false,
            Some(n) => {
                *n -= 1;
                true
            }
            None => {
                if self.rest.first().is_some_and(|first| *first != BREAK) {
                    return true;
                }
                *left = Some(0);
                self.take(1);
                false
            }
        }
    }

    /// The text of definite length whose head was read.
    #[inline(never)]
    pub(crate) fn text_of(&mut self, head: Head) -> &'a str {
        if head.major() != TEXT || head.is_indefinite() {
            self.fail();
        }
        let text = utf8(self.take(head.argument));
        if text.is_none() {
            self.fail();
        }
        text.unwrap_or_default()
    }

    #[inline(never)]
    pub(crate) fn text(&mut self) -> &'a str {
        let head = self.head();
        self.text_of(head)
    }

    /// One number, boolean, text or byte string of definite length.
    #[inline(never)]
    pub(crate) fn value(&mut self) -> RawValue<'a> {
        let mut head = self.head();
        if head.major() == TAG {
            // Tag 1 is LwM2M's time; other tags say nothing that changes the value.
            head = self.head();
        }
        let n = head.argument;
        RawValue::Typed(match (head.major(), i64::try_from(n)) {
            (UNSIGNED, Ok(n)) => Value::Integer(n),
            (UNSIGNED, Err(_)) => Value::Unsigned(n),
            (NEGATIVE, Ok(n)) => Value::Integer(!n),
            (TEXT, _) => Value::String(self.text_of(head)),
            (BYTES, _) if !head.is_indefinite() => Value::Opaque(self.take(n)),
            _ => match head.first {
                0xf4 => Value::Bool(false),
                0xf5 => Value::Bool(true),
                0xfa => return RawValue::Single(f32::from_bits(n as u32)),
                0xfb => Value::Float(f64::from_bits(n)),
                _ => {
                    self.fail();
                    return RawValue::Absent;
                }
            },
        })
    }

    /// Reads over one item.
    pub(crate) fn skip(&mut self) {
        self.skip_at(DEPTH);
    }

    #[inline(never)]
    fn skip_at(&mut self, depth: u8) {
        let Some(depth) = depth.checked_sub(1) else {
            return self.fail();
        };
        let head = self.head();
        let items = match head.major() {
            BYTES | TEXT if !head.is_indefinite() => {
                self.take(head.argument);
                return;
            }
            BYTES | TEXT | ARRAY => 1,
            MAP => 2,
            TAG => return self.skip_at(depth),
            _ if head.first == BREAK => return self.fail(),
            _ => return,
        };
        let mut left = head.count();
        while self.more(&mut left) {
            for _ in 0..items {
                self.skip_at(depth);
            }
        }
    }
}

/// Writes items one behind the other. What does not fit is left out and told at the end, as an error asked for at
/// each item takes code.
#[derive(Debug)]
pub(crate) struct Writer<'b> {
    out: &'b mut [u8],
    len: usize,
    full: bool,
}

impl<'b> Writer<'b> {
    pub(crate) fn new(out: &'b mut [u8]) -> Self {
        Writer {
            out,
            len: 0,
            full: false,
        }
    }

    /// The bytes written.
    pub(crate) fn finish(&self) -> Result<usize, Error> {
        match self.full {
            true => Err(Error::Full),
            false => Ok(self.len),
        }
    }

    #[inline(never)]
    fn put(&mut self, bytes: &[u8]) {
        let end = self.len.saturating_add(bytes.len());
        match self.out.get_mut(self.len..end) {
            Some(place) => {
                place.copy_from_slice(bytes);
                self.len = end;
            }
            None => self.full = true,
        }
    }

    /// A head with the shortest argument.
    #[inline(never)]
    pub(crate) fn head(&mut self, major: u8, argument: u64) {
        let bytes = argument.to_be_bytes();
        let (info, from) = match argument {
            0..=23 => (bytes[7], 8),
            24..=0xff => (24, 7),
            0x100..=0xffff => (25, 6),
            0x1_0000..=0xffff_ffff => (26, 4),
            _ => (27, 0),
        };
        self.put(&[major << 5 | info]);
        self.put(&bytes[from..]);
    }

    #[inline(never)]
    pub(crate) fn integer(&mut self, v: i64) {
        match v < 0 {
            true => self.head(NEGATIVE, !v as u64),
            false => self.head(UNSIGNED, v as u64),
        }
    }

    #[inline(never)]
    pub(crate) fn string(&mut self, major: u8, bytes: &[u8]) {
        self.head(major, bytes.len() as u64);
        self.put(bytes);
    }

    /// Writes one value; a link as text.
    #[inline(never)]
    pub(crate) fn value(&mut self, value: Value<'_>) {
        match value {
            Value::Integer(v) | Value::Time(v) => self.integer(v),
            Value::Unsigned(v) => self.head(UNSIGNED, v),
            Value::Bool(v) => self.put(&[0xf4 | u8::from(v)]),
            Value::String(v) => self.string(TEXT, v.as_bytes()),
            Value::Opaque(v) => self.string(BYTES, v),
            Value::ObjectLink(object, instance) => {
                // Eleven bytes hold any link.
                let mut text = [0; 11];
                let text = link_text(object, instance, &mut text).unwrap_or_default();
                self.string(TEXT, text);
            }
            Value::Float(v) => {
                self.put(&[0xfb]);
                self.put(&v.to_be_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use minicbor::data::Type;
    use proptest::prelude::*;

    /// The same by `minicbor`.
    fn oracle(bytes: &[u8]) -> Option<(Value<'_>, usize)> {
        let mut d = minicbor::Decoder::new(bytes);
        if d.datatype().ok()? == Type::Tag {
            d.tag().ok()?;
        }
        let value = match d.datatype().ok()? {
            Type::U8 | Type::U16 | Type::U32 | Type::U64 => {
                let v = d.u64().ok()?;
                i64::try_from(v).map_or(Value::Unsigned(v), Value::Integer)
            }
            Type::I8 | Type::I16 | Type::I32 | Type::I64 => Value::Integer(d.i64().ok()?),
            Type::Bool => Value::Bool(d.bool().ok()?),
            Type::String => Value::String(d.str().ok()?),
            Type::Bytes => Value::Opaque(d.bytes().ok()?),
            Type::F32 | Type::F64 => Value::Float(d.f64().ok()?),
            _ => return None,
        };
        Some((value, d.position()))
    }

    fn same(a: Value<'_>, b: Value<'_>) -> bool {
        match (a, b) {
            (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits() || a.is_nan(),
            (a, b) => a == b,
        }
    }

    fn agree(bytes: &[u8]) {
        let mut reader = Reader::new(bytes);
        let value = reader.value();
        let ours = (!reader.bad).then(|| match value {
            RawValue::Typed(v) => v,
            other => Value::Float(other.as_f64().unwrap()),
        });
        let ours = ours.map(|v| (v, bytes.len() - reader.rest.len()));
        match (ours, oracle(bytes)) {
            (None, None) => {}
            (Some((a, n)), Some((b, m))) if n == m && same(a, b) => {}
            (ours, theirs) => panic!("{bytes:02x?}: {ours:?} {theirs:?}"),
        }
    }

    #[test]
    fn every_head_reads_as_by_the_oracle() {
        for first in 0..=255u8 {
            for second in [0, 1, 0x17, 0x80, 0xff] {
                for len in 0..12 {
                    let mut bytes = [second; 12];
                    bytes[0] = first;
                    agree(&bytes[..len]);
                }
            }
        }
    }

    #[test]
    fn nesting_has_an_end() {
        fn skipped(bytes: &[u8]) -> Option<&[u8]> {
            let mut reader = Reader::new(bytes);
            reader.skip();
            (!reader.bad).then_some(reader.rest)
        }
        assert_eq!(skipped(&[0x81; 7]), None);
        let mut deep = [0x81; 9];
        deep[8] = 0;
        assert_eq!(skipped(&deep), None);
        assert_eq!(skipped(&deep[1..]), Some(&[][..]));
        // An array without a count, with a map without one and a text in parts.
        let bytes = [
            0x9f, 0xbf, 1, 2, 0xff, 0x7f, 0x61, 0x61, 0xff, 0xc1, 1, 0xff, 5,
        ];
        assert_eq!(skipped(&bytes), Some(&[5][..]));
        assert_eq!(skipped(&[0xff]), None);
        // More are promised than come.
        assert_eq!(
            skipped(&[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
            None
        );
    }

    proptest! {
        #[test]
        fn any_bytes_read_as_by_the_oracle(bytes: std::vec::Vec<u8>) {
            agree(&bytes);
            Reader::new(&bytes).skip();
        }

        #[test]
        fn what_is_written_is_what_the_oracle_writes(
            signed: i64, unsigned: u64, float: f64, text in ".{0,300}", flag: bool,
        ) {
            for value in [
                Value::Integer(signed), Value::Integer(signed >> 50), Value::Unsigned(unsigned),
                Value::Bool(flag), Value::Float(float), Value::String(&text), Value::Opaque(text.as_bytes()),
            ] {
                let mut out = [0; 1300];
                let mut writer = Writer::new(&mut out);
                writer.value(value);
                let len = writer.finish().unwrap();
                let mut theirs = [0; 1300];
                let mut encoder = minicbor::Encoder::new(minicbor::encode::write::Cursor::new(&mut theirs[..]));
                match value {
                    Value::Integer(v) => encoder.i64(v),
                    Value::Unsigned(v) => encoder.u64(v),
                    Value::Bool(v) => encoder.bool(v),
                    Value::String(v) => encoder.str(v),
                    Value::Opaque(v) => encoder.bytes(v),
                    Value::Float(v) => encoder.f64(v),
                    _ => unreachable!(),
                }.unwrap();
                prop_assert_eq!(encoder.writer().position(), len);
                prop_assert_eq!(&out[..len], &theirs[..len]);
                let mut short = Writer::new(&mut out[..len - 1]);
                short.value(value);
                prop_assert_eq!(short.finish(), Err(Error::Full));
            }
        }
    }
}
