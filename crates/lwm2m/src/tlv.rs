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
        let first = self.byte()?;
        let mut id = u16::from(self.byte()?);
        if first & 0x20 != 0 {
            id = id << 8 | u16::from(self.byte()?);
        }
        let mut len = 0;
        match first >> 3 & 0b11 {
            0 => len = usize::from(first & 0b111),
            bytes => {
                for _ in 0..bytes {
                    len = len << 8 | usize::from(self.byte()?);
                }
            }
        }
        Some((first >> 6, id, self.at.checked_add(len)?))
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.payload.get(self.at)?;
        self.at += 1;
        Some(byte)
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
            (None, None) => {
                let mut path = Path::ROOT;
                for level in 0..depth {
                    let id = self.base.get(level).ok_or(Error::Malformed)?;
                    path = path.child(id).ok_or(Error::Path)?;
                }
                path
            }
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
            self.close_multiple()?;
        }
        if self.instance.is_some_and(|(open, _)| !open.contains(path)) {
            self.close_instance()?;
        }
        let [object, instance] = [0, 1].map(|level| path.get(level).unwrap_or(0));
        if self.base.depth() == 1 && self.instance.is_none() {
            self.instance = Some((Path::instance(object, instance), self.reserve()?));
        }
        let Some(ri) = path.resource_instance_id() else {
            return self.entry(RESOURCE, resource, value);
        };
        if self.base.depth() < 4 && self.multiple.is_none() {
            self.multiple = Some((Path::resource(object, instance, resource), self.reserve()?));
        }
        self.entry(RESOURCE_INSTANCE, ri, value)
    }

    /// Ends the payload: its length in bytes.
    pub fn finish(mut self) -> Result<usize, Error> {
        self.close_instance()?;
        Ok(self.len)
    }

    fn close_instance(&mut self) -> Result<(), Error> {
        self.close_multiple()?;
        match self.instance.take() {
            Some((path, at)) => self.close(INSTANCE, path.instance_id().unwrap_or(0), at),
            None => Ok(()),
        }
    }

    fn close_multiple(&mut self) -> Result<(), Error> {
        match self.multiple.take() {
            Some((path, at)) => self.close(MULTIPLE, path.resource_id().unwrap_or(0), at),
            None => Ok(()),
        }
    }

    fn reserve(&mut self) -> Result<usize, Error> {
        let at = self.len;
        let end = at + HEADER_MAX;
        if end > self.out.len() {
            return Err(Error::Full);
        }
        self.len = end;
        Ok(at)
    }

    /// Writes the header at `at` now that the length is known, and moves the content up to it.
    fn close(&mut self, kind: u8, id: u16, at: usize) -> Result<(), Error> {
        let content = at + HEADER_MAX;
        let (header, used) = header(kind, id, self.len - content)?;
        self.put(at, header.get(..used).unwrap_or(&[]))?;
        self.out.copy_within(content..self.len, at + used);
        self.len -= HEADER_MAX - used;
        Ok(())
    }

    fn entry(&mut self, kind: u8, id: u16, value: Value<'_>) -> Result<(), Error> {
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
        let (header, used) = header(kind, id, content.len())?;
        self.put(self.len, header.get(..used).unwrap_or(&[]))?;
        self.put(self.len + used, content)?;
        self.len += used + content.len();
        Ok(())
    }

    fn put(&mut self, at: usize, bytes: &[u8]) -> Result<(), Error> {
        self.out
            .get_mut(at..at + bytes.len())
            .ok_or(Error::Full)?
            .copy_from_slice(bytes);
        Ok(())
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

/// The shortest header for an entry, and how many bytes of it count.
fn header(kind: u8, id: u16, len: usize) -> Result<([u8; HEADER_MAX], usize), Error> {
    let len = u32::try_from(len).map_err(|_| Error::Full)?;
    let length_bytes = match len {
        0..=7 => 0,
        8..=0xff => 1,
        0x100..=0xffff => 2,
        0x1_0000..=0xff_ffff => 3,
        _ => return Err(Error::Full),
    };
    let mut header = [0; HEADER_MAX];
    let [high, low] = id.to_be_bytes();
    let mut at = if high == 0 {
        header[1] = low;
        2
    } else {
        header[1] = high;
        header[2] = low;
        3
    };
    header[0] = kind << 6
        | u8::from(high != 0) << 5
        | length_bytes << 3
        | if length_bytes == 0 { len as u8 } else { 0 };
    let bytes = len.to_be_bytes();
    for byte in bytes.iter().skip(4 - usize::from(length_bytes)) {
        header[at] = *byte;
        at += 1;
    }
    Ok((header, at))
}
