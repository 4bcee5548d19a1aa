//! SenML-CBOR (RFC 8428 section 6; LwM2M Core 1.1, section 7.4.4).
//!
//! An array of maps; the labels used are bn -2, n 0, v 2, vs 3, vb 4, vd 8 and LwM2M's `"vlo"`. The base name
//! holds until another comes. Times and units (bt -3, bu -4, u 1, t 6 …) are read over; a base value, which
//! would change every number, and unknown labels ending with `_`, which must be understood, are refused.

use minicbor::data::Type;
use minicbor::encode::write::Cursor;

use crate::single::{cbor_value, link_text, put_cbor};
use crate::value::parse_object_link;
use crate::{Error, Path, RawValue, Record, Value};

const BASE_NAME: i64 = -2;
const BASE_VALUE: i64 = -5;
const NAME: i64 = 0;
const VALUE: i64 = 2;
const STRING: i64 = 3;
const BOOL: i64 = 4;
const DATA: i64 = 8;
const LINK: &str = "vlo";

/// Reads the records; arrays and maps of definite and indefinite length.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    decoder: minicbor::Decoder<'a>,
    base: Path,
    base_name: &'a str,
    /// Records still to come; `None` in an array of indefinite length.
    left: Option<u64>,
    ended: bool,
}

impl<'a> Reader<'a> {
    /// Reads `payload` of a request for, or an answer from, `base` (the root for Send).
    pub fn new(base: Path, payload: &'a [u8]) -> Result<Self, Error> {
        let mut decoder = minicbor::Decoder::new(payload);
        let left = decoder.array().map_err(|_| Error::Malformed)?;
        Ok(Reader {
            decoder,
            base,
            base_name: "",
            left,
            ended: false,
        })
    }

    fn step(&mut self) -> Result<Option<Record<'a>>, Error> {
        if !more(&mut self.decoder, &mut self.left)? {
            let whole = self.decoder.position() == self.decoder.input().len();
            return if whole {
                Ok(None)
            } else {
                Err(Error::Malformed)
            };
        }
        let decoder = &mut self.decoder;
        let mut pairs = decoder.map().map_err(|_| Error::Malformed)?;
        let mut name = "";
        let mut value = RawValue::Absent;
        while more(decoder, &mut pairs)? {
            let mut label = None;
            let mut is_link = false;
            if decoder.datatype().map_err(|_| Error::Malformed)? == Type::String {
                let text = decoder.str().map_err(|_| Error::Malformed)?;
                is_link = text == LINK;
                if text.ends_with('_') {
                    return Err(Error::Malformed);
                }
            } else {
                label = Some(decoder.i64().map_err(|_| Error::Malformed)?);
            }
            match label {
                Some(BASE_NAME) => self.base_name = decoder.str().map_err(|_| Error::Malformed)?,
                Some(NAME) => name = decoder.str().map_err(|_| Error::Malformed)?,
                Some(VALUE | STRING | BOOL | DATA) => {
                    value = RawValue::Typed(cbor_value(decoder)?);
                }
                Some(BASE_VALUE) => return Err(Error::Malformed),
                None if is_link => {
                    let text = decoder.str().map_err(|_| Error::Malformed)?;
                    let (object, instance) = parse_object_link(text).ok_or(Error::Malformed)?;
                    value = RawValue::Typed(Value::ObjectLink(object, instance));
                }
                _ => decoder.skip().map_err(|_| Error::Malformed)?,
            }
        }
        let path = Path::parse_joined(self.base_name, name).ok_or(Error::Path)?;
        if !self.base.contains(path) {
            return Err(Error::Path);
        }
        Ok(Some((path, value)))
    }
}

/// Is there another entry in this array or map? Eats the break of one of indefinite length.
fn more(decoder: &mut minicbor::Decoder<'_>, left: &mut Option<u64>) -> Result<bool, Error> {
    match left {
        Some(0) => Ok(false),
        Some(n) => {
            *n -= 1;
            Ok(true)
        }
        None => {
            if decoder.datatype().map_err(|_| Error::Malformed)? != Type::Break {
                return Ok(true);
            }
            decoder.set_position(decoder.position() + 1);
            *left = Some(0);
            Ok(false)
        }
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
        let mut encoder = minicbor::Encoder::new(Cursor::new(rest));
        encoder
            .map(if named { 2 } else { 3 })
            .map_err(|_| Error::Full)?;
        if !named {
            let len = parent.write(&mut text).ok_or(Error::Full)?;
            *text.get_mut(len).ok_or(Error::Full)? = b'/';
            put_text(&mut encoder, BASE_NAME, text.get(..=len))?;
        }
        let name = match path.resource_instance_id() {
            Some(ri) => Path::instance(resource, ri),
            None => Path::object(resource),
        };
        let len = name.write(&mut text).ok_or(Error::Full)?;
        put_text(&mut encoder, NAME, text.get(1..len))?;
        let mut link = [0; 11];
        let value = match value {
            Value::ObjectLink(object, instance) => {
                encoder.str(LINK).map_err(|_| Error::Full)?;
                Value::String(link_text(object, instance, &mut link).ok_or(Error::Full)?)
            }
            value => {
                encoder.i64(label(value)).map_err(|_| Error::Full)?;
                value
            }
        };
        put_cbor(&mut encoder, value)?;
        self.len += encoder.writer().position();
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

fn label(value: Value<'_>) -> i64 {
    match value {
        Value::String(_) => STRING,
        Value::Opaque(_) => DATA,
        Value::Bool(_) => BOOL,
        _ => VALUE,
    }
}

fn put_text(
    encoder: &mut minicbor::Encoder<Cursor<&mut [u8]>>,
    label: i64,
    text: Option<&[u8]>,
) -> Result<(), Error> {
    let text = core::str::from_utf8(text.unwrap_or(&[])).map_err(|_| Error::Path)?;
    encoder.i64(label).map_err(|_| Error::Full)?;
    encoder.str(text).map_err(|_| Error::Full)?;
    Ok(())
}
