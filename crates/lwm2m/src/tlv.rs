//! OMA TLV (LwM2M Core 1.1, section 7.4.5).
//!
//! ```text
//!   type byte   7 6  kind: 00 object instance, 01 resource instance, 10 multiple resource, 11 resource
//!               5    identifier: 0 = 8 bit, 1 = 16 bit
//!               4 3  length: 00 = in bits 2..0, 01 = 8 bit, 10 = 16 bit, 11 = 24 bit
//!   identifier  1 or 2 bytes, big endian
//!   length      0..3 bytes, big endian
//!   value       an object instance holds resources, a multiple resource holds resource instances
//! ```

use crate::{Error, Path, RawValue, Record, Value};

const INSTANCE: u8 = 0b00;
const RESOURCE_INSTANCE: u8 = 0b01;
const MULTIPLE: u8 = 0b10;
const RESOURCE: u8 = 0b11;

/// Reads the values, walking into object instances and multiple resources without recursion: there are
/// exactly two levels that can hold others.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    payload: &'a [u8],
    at: usize,
    base: Path,
    /// The open object instance, and where it ends.
    instance: Option<(Path, usize)>,
    /// The open multiple resource, and where it ends.
    multiple: Option<(Path, usize)>,
}

impl<'a> Reader<'a> {
    /// Reads `payload` of a request for, or an answer from, `base`.
    pub fn new(base: Path, payload: &'a [u8]) -> Self {
        Reader {
            payload,
            at: 0,
            base,
            instance: None,
            multiple: None,
        }
    }

    /// Reads one header; the kind, the id and where the value ends.
    fn header(&mut self) -> Option<(u8, u16, usize)> {
        let first = self.number(1)?;
        let id = self.number(1 + (first >> 5 & 1))?;
        let len = match first >> 3 & 0b11 {
            0 => first & 0b111,
            bytes => self.number(bytes)?,
        };
        let end = self.at.checked_add(len as usize)?;
        Some(((first >> 6) as u8, id as u16, end))
    }

    /// A number of so many bytes, at most four.
    #[inline(never)]
    fn number(&mut self, bytes: u32) -> Option<u32> {
        let end = self.at.checked_add(bytes as usize)?;
        let bytes = self.payload.get(self.at..end)?.iter();
        self.at = end;
        Some(bytes.fold(0, |value, byte| value << 8 | u32::from(*byte)))
    }

    #[inline(never)]
    pub(crate) fn step(&mut self) -> Result<Option<Record<'a>>, Error> {
        loop {
            if self.multiple.is_some_and(|(_, end)| self.at >= end) {
                self.multiple = None;
            }
            if self.multiple.is_none() && self.instance.is_some_and(|(_, end)| self.at >= end) {
                self.instance = None;
            }
            if self.at >= self.payload.len() {
                return Ok(None);
            }
            let (kind, id, end) = self.header().ok_or(Error::Malformed)?;
            let limit = match (self.multiple, self.instance) {
                (Some((_, end)), _) | (None, Some((_, end))) => end,
                (None, None) => self.payload.len(),
            };
            if end > limit {
                return Err(Error::Malformed);
            }
            let path = self.place(kind, id)?;
            match kind {
                INSTANCE => self.instance = Some((path, end)),
                MULTIPLE => self.multiple = Some((path, end)),
                _ => {
                    let value = self.payload.get(self.at..end).ok_or(Error::Malformed)?;
                    self.at = end;
                    return Ok(Some((path, RawValue::Tlv(value))));
                }
            }
        }
    }

    /// The path of an entry of this kind at the present level.
    fn place(&self, kind: u8, id: u16) -> Result<Path, Error> {
        // At the top the parent is the base cut to the level that the kind needs: peers answer a request
        // for /3/0/9 with a resource, and one for /3/0 with an object instance or its resources.
        let depth = match kind {
            INSTANCE => 1,
            RESOURCE_INSTANCE => 3,
            _ => 2,
        };
        let parent = match (self.multiple, self.instance) {
            (Some((path, _)), _) | (None, Some((path, _))) => path,
            (None, None) => self.base.upto(depth),
        };
        if parent.depth() != depth {
            return Err(Error::Malformed);
        }
        let path = parent.child(id).ok_or(Error::Path)?;
        let holds = matches!(kind, INSTANCE | MULTIPLE) && path.contains(self.base);
        if holds || self.base.contains(path) {
            Ok(path)
        } else {
            Err(Error::Path)
        }
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Result<Record<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            self.payload = &[];
            self.at = 0;
            self.multiple = None;
            self.instance = None;
        }
        step.transpose()
    }
}

/// Room kept for the header of an entry whose length is not known yet: type, 16-bit id, 24-bit length.
const HEADER_MAX: usize = 6;

/// Writes values; holders are opened and closed as the paths demand.
#[derive(Debug)]
pub struct Writer<'b> {
    out: &'b mut [u8],
    len: usize,
    /// Something did not fit. Asked for at the end of each value only, as a question at each part takes code.
    full: bool,
    base: Path,
    /// The open object instance and where its reserved header begins.
    instance: Option<(Path, usize)>,
    /// The open multiple resource and where its reserved header begins.
    multiple: Option<(Path, usize)>,
}

impl<'b> Writer<'b> {
    /// Begins a payload for `base`; TLV cannot say object ids, so the root is [`Error::Format`].
    pub fn begin(base: Path, out: &'b mut [u8]) -> Result<Self, Error> {
        if base.depth() == 0 {
            return Err(Error::Format);
        }
        Ok(Writer {
            out,
            len: 0,
            full: false,
            base,
            instance: None,
            multiple: None,
        })
    }

    /// Writes one value; `path` must be a resource or a resource instance at or below the base.
    pub fn value(&mut self, path: Path, value: Value<'_>) -> Result<(), Error> {
        let (Some(resource), true) = (path.resource_id(), self.base.contains(path)) else {
            return Err(Error::Path);
        };
        if self.multiple.is_some_and(|(open, _)| !open.contains(path)) {
            self.close_multiple();
        }
        if self.instance.is_some_and(|(open, _)| !open.contains(path)) {
            self.close_instance();
        }
        if self.base.depth() == 1 && self.instance.is_none() {
            self.instance = Some((path.upto(2), self.reserve()));
        }
        let (mut kind, mut id) = (RESOURCE, resource);
        if let Some(ri) = path.resource_instance_id() {
            if self.base.depth() < 4 && self.multiple.is_none() {
                self.multiple = Some((path.upto(3), self.reserve()));
            }
            (kind, id) = (RESOURCE_INSTANCE, ri);
        }
        self.entry(kind, id, value);
        self.fits()
    }

    /// Ends the payload: its length in bytes.
    pub fn finish(mut self) -> Result<usize, Error> {
        self.close_instance();
        self.fits().map(|()| self.len)
    }

    fn fits(&self) -> Result<(), Error> {
        match self.full {
            true => Err(Error::Full),
            false => Ok(()),
        }
    }

    fn close_instance(&mut self) {
        self.close_multiple();
        if let Some((path, at)) = self.instance.take() {
            self.close(INSTANCE, path.instance_id().unwrap_or(0), at);
        }
    }

    fn close_multiple(&mut self) {
        if let Some((path, at)) = self.multiple.take() {
            self.close(MULTIPLE, path.resource_id().unwrap_or(0), at);
        }
    }

    fn reserve(&mut self) -> usize {
        let at = self.len;
        self.len += HEADER_MAX;
        self.full |= self.len > self.out.len();
        at
    }

    /// Writes the header at `at` now that the length is known, and moves the content up to it.
    fn close(&mut self, kind: u8, id: u16, at: usize) {
        if self.full {
            return;
        }
        let content = at + HEADER_MAX;
        let used = self.header(at, kind, id, self.len - content);
        self.out.copy_within(content..self.len, at + used);
        self.len -= HEADER_MAX - used;
    }

    fn entry(&mut self, kind: u8, id: u16, value: Value<'_>) {
        let mut buf = [0; 8];
        let content: &[u8] = match value {
            Value::Integer(v) | Value::Time(v) => {
                buf = v.to_be_bytes();
                signed(&buf, v)
            }
            Value::Unsigned(v) => {
                buf = v.to_be_bytes();
                // Wide enough to be read as signed too: peers that know no unsigned type do that.
                signed(&buf, i64::try_from(v).unwrap_or(i64::MAX))
            }
            Value::Bool(v) => {
                buf[0] = u8::from(v);
                &buf[..1]
            }
            Value::String(v) => v.as_bytes(),
            Value::Opaque(v) => v,
            Value::ObjectLink(object, instance) => {
                let ([a, b], [c, d]) = (object.to_be_bytes(), instance.to_be_bytes());
                buf = [a, b, c, d, 0, 0, 0, 0];
                &buf[..4]
            }
            Value::Float(v) => {
                buf = v.to_be_bytes();
                &buf
            }
        };
        let used = self.header(self.len, kind, id, content.len());
        self.put(self.len + used, content);
        self.len += used + content.len();
    }

    #[inline(never)]
    fn put(&mut self, at: usize, bytes: &[u8]) {
        match self.out.get_mut(at..at + bytes.len()) {
            Some(place) => place.copy_from_slice(bytes),
            None => self.full = true,
        }
    }

    /// Writes the shortest header for an entry at `at`; its bytes.
    #[inline(never)]
    fn header(&mut self, at: usize, kind: u8, id: u16, len: usize) -> usize {
        let length_bytes = match len {
            0..=7 => 0,
            8..=0xff => 1,
            0x100..=0xffff => 2,
            _ => 3,
        };
        self.full |= len > 0xff_ffff;
        let [high, low] = id.to_be_bytes();
        let wide = usize::from(high != 0);
        let [_, bytes @ ..] = (len as u32).to_be_bytes();
        let first = kind << 6
            | (wide as u8) << 5
            | length_bytes << 3
            | if length_bytes == 0 { len as u8 } else { 0 };
        let length_bytes = usize::from(length_bytes);
        let id = [high, low];
        self.put(at, &[first]);
        self.put(at + 1, id.get(1 - wide..).unwrap_or_default());
        self.put(
            at + 2 + wide,
            bytes.get(3 - length_bytes..).unwrap_or_default(),
        );
        2 + wide + length_bytes
    }
}

/// The last 1, 2, 4 or 8 bytes: as few as hold `v` with its sign.
fn signed(bytes: &[u8; 8], v: i64) -> &[u8] {
    let from = if i8::try_from(v).is_ok() {
        7
    } else if i16::try_from(v).is_ok() {
        6
    } else if i32::try_from(v).is_ok() {
        4
    } else {
        0
    };
    &bytes[from..]
}
