//! SenML-CBOR (RFC 8428 section 6; LwM2M Core 1.1, section 7.4.4).
//!
//! An array of maps; the labels used are bn -2, n 0, v 2, vs 3, vb 4, vd 8 and LwM2M's `"vlo"`. The base name
//! holds until another comes. Times and units (bt -3, bu -4, u 1, t 6 …) are read over; a base value, which
//! would change every number, and unknown labels ending with `_`, which must be understood, are refused.

use crate::cbor::{self, ARRAY, MAP, TEXT};
use crate::value::parse_object_link;
use crate::{Error, Path, RawValue, Record, Value};

const BASE_NAME: i32 = -2;
const BASE_VALUE: i32 = -5;
const NAME: i32 = 0;
const VALUE: i32 = 2;
const STRING: i32 = 3;
const BOOL: i32 = 4;
const DATA: i32 = 8;
const LINK: &str = "vlo";

/// Reads the records; arrays and maps of definite and indefinite length.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    cbor: cbor::Reader<'a>,
    base: Path,
    base_name: &'a str,
    /// Records still to come; `None` in an array of indefinite length.
    left: Option<u32>,
    ended: bool,
}

impl<'a> Reader<'a> {
    /// Reads `payload` of a request for, or an answer from, `base` (the root for Send).
    pub fn new(base: Path, payload: &'a [u8]) -> Result<Self, Error> {
        let mut cbor = cbor::Reader::new(payload);
        let left = cbor.count(ARRAY);
        if cbor.is_bad() {
            return Err(Error::Malformed);
        }
        Ok(Reader {
            cbor,
            base,
            base_name: "",
            left,
            ended: false,
        })
    }

    #[inline(never)]
    pub(crate) fn step(&mut self) -> Result<Option<Record<'a>>, Error> {
        let cbor = &mut self.cbor;
        if !cbor.more(&mut self.left) {
            return match cbor.is_empty() && !cbor.is_bad() {
                true => Ok(None),
                false => Err(Error::Malformed),
            };
        }
        let mut pairs = cbor.count(MAP);
        let mut name = "";
        let mut value = RawValue::Absent;
        while cbor.more(&mut pairs) {
            let head = cbor.head();
            if head.major() == TEXT {
                let label = cbor.text_of(head);
                if label.ends_with('_') {
                    cbor.fail();
                } else if label == LINK {
                    match parse_object_link(cbor.text()) {
                        Some((object, instance)) => {
                            value = RawValue::Typed(Value::ObjectLink(object, instance));
                        }
                        None => cbor.fail(),
                    }
                } else {
                    cbor.skip();
                }
                continue;
            }
            match head.label() {
                Some(BASE_NAME) => self.base_name = cbor.text(),
                Some(NAME) => name = cbor.text(),
                Some(VALUE | STRING | BOOL | DATA) => value = cbor.value(),
                Some(BASE_VALUE) | None => cbor.fail(),
                Some(_) => cbor.skip(),
            }
        }
        if cbor.is_bad() {
            return Err(Error::Malformed);
        }
        let path = Path::parse_joined(self.base_name, name).ok_or(Error::Path)?;
        if !self.base.contains(path) {
            return Err(Error::Path);
        }
        Ok(Some((path, value)))
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Result<Record<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let step = self.step();
        self.ended = !matches!(step, Ok(Some(_)));
        step.transpose()
    }
}

/// Writes records. The array is of definite length: its header is one byte until more than 23 records make
/// it longer at the end.
#[derive(Debug)]
pub struct Writer<'b> {
    out: &'b mut [u8],
    len: usize,
    base: Path,
    /// The instance whose path is the present base name.
    named: Option<Path>,
    records: u16,
}

impl<'b> Writer<'b> {
    /// Begins a payload for `base` (the root for Send).
    pub fn begin(base: Path, out: &'b mut [u8]) -> Result<Self, Error> {
        if out.is_empty() {
            return Err(Error::Full);
        }
        Ok(Writer {
            out,
            len: 1,
            base,
            named: None,
            records: 0,
        })
    }

    /// Writes one record; `path` must be a resource or a resource instance at or below the base.
    #[inline(never)]
    pub fn value(&mut self, path: Path, value: Value<'_>) -> Result<(), Error> {
        let (Some(object), Some(instance), Some(resource), true) = (
            path.object_id(),
            path.instance_id(),
            path.resource_id(),
            self.base.contains(path),
        ) else {
            return Err(Error::Path);
        };
        // Base name "/3/0/", name "9": what comes from the text of "/3/0" and of "/9", each cut to fit.
        let mut text = [0; crate::path::PATH_TEXT_LEN + 1];
        let parent = Path::instance(object, instance);
        let named = self.named == Some(parent);
        self.named = Some(parent);
        let rest = self.out.get_mut(self.len..).ok_or(Error::Full)?;
        let mut cbor = cbor::Writer::new(rest);
        cbor.head(MAP, if named { 2 } else { 3 });
        if !named {
            let len = parent.write(&mut text).ok_or(Error::Full)?;
            *text.get_mut(len).ok_or(Error::Full)? = b'/';
            cbor.integer(BASE_NAME.into());
            cbor.string(TEXT, text.get(..=len).unwrap_or(&[]));
        }
        let name = match path.resource_instance_id() {
            Some(ri) => Path::instance(resource, ri),
            None => Path::object(resource),
        };
        let len = name.write(&mut text).ok_or(Error::Full)?;
        cbor.integer(NAME.into());
        cbor.string(TEXT, text.get(1..len).unwrap_or(&[]));
        match value {
            Value::ObjectLink(..) => cbor.string(TEXT, LINK.as_bytes()),
            _ => cbor.integer(label(value).into()),
        }
        cbor.value(value);
        self.len += cbor.finish()?;
        self.records = self.records.checked_add(1).ok_or(Error::Full)?;
        Ok(())
    }

    /// Ends the payload: its length in bytes.
    pub fn finish(self) -> Result<usize, Error> {
        let [high, low] = self.records.to_be_bytes();
        let header: &[u8] = match self.records {
            0..=23 => &[0x80 | low],
            24..=255 => &[0x98, low],
            _ => &[0x99, high, low],
        };
        let len = self.len + header.len() - 1;
        if len > self.out.len() {
            return Err(Error::Full);
        }
        self.out.copy_within(1..self.len, header.len());
        self.out
            .get_mut(..header.len())
            .ok_or(Error::Full)?
            .copy_from_slice(header);
        Ok(len)
    }
}

fn label(value: Value<'_>) -> i32 {
    match value {
        Value::String(_) => STRING,
        Value::Opaque(_) => DATA,
        Value::Bool(_) => BOOL,
        _ => VALUE,
    }
}
