//! One reader and one writer over all content formats, chosen at run time: objects are written once.
//!
//! ```
//! use sota_lwm2m::{ContentFormat, Encoder, Path, Records, Value};
//! let mut buf = [0; 64];
//! let mut encoder = Encoder::begin(ContentFormat::SenmlCbor, Path::instance(3, 0), &mut buf)?;
//! encoder.value(Path::resource(3, 0, 9), Value::Integer(71))?;
//! let len = encoder.finish()?;
//!
//! let mut records = Records::new(ContentFormat::SenmlCbor, Path::instance(3, 0), &buf[..len])?;
//! let (path, value) = records.next().unwrap()?;
//! assert_eq!((path, value.as_i64()), (Path::resource(3, 0, 9), Some(71)));
//! # Ok::<(), sota_lwm2m::Error>(())
//! ```

use crate::{ContentFormat, Path, RawValue, Value, senml_cbor, single, tlv};

/// Why a payload could not be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The bytes are not what the format says: 4.00.
    Malformed,
    /// A path that is none, lies outside the request's path, or that the format cannot carry: 4.00.
    Path,
    /// The format is not read or written here, or not for this path: 4.15 or 4.06.
    Format,
    /// The format cannot carry a value of this type.
    Type,
    /// The buffer is too small.
    Full,
}

/// One decoded value and where it belongs.
pub type Record<'a> = (Path, RawValue<'a>);

/// The values of a payload, one by one. After an error there is nothing more.
#[derive(Clone, Copy, Debug)]
pub struct Records<'a>(Kind<'a>);

// `Copy`, as a clone part by part takes a small processor 150 bytes of code.
#[derive(Clone, Copy, Debug)]
enum Kind<'a> {
    Tlv(tlv::Reader<'a>),
    Senml(senml_cbor::Reader<'a>),
    Single(Option<Result<Record<'a>, Error>>),
}

impl<'a> Records<'a> {
    /// Reads `payload` of a request for, or an answer from, `base` (the root for Send).
    /// [`Error::Format`]: this format is not read here.
    // Apart: where it is inlined, the reader is moved word by word.
    #[inline(never)]
    pub fn new(format: ContentFormat, base: Path, payload: &'a [u8]) -> Result<Self, Error> {
        Ok(Records(match format {
            ContentFormat::Tlv => Kind::Tlv(tlv::Reader::new(base, payload)),
            ContentFormat::SenmlCbor => Kind::Senml(senml_cbor::Reader::new(base, payload)?),
            ContentFormat::Text | ContentFormat::Opaque | ContentFormat::Cbor => {
                Kind::Single(Some(single::decode(format, base, payload)))
            }
            ContentFormat::Link | ContentFormat::SenmlJson => return Err(Error::Format),
        }))
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = match &mut self.0 {
            Kind::Tlv(reader) => reader.step(),
            Kind::Senml(reader) => reader.step(),
            Kind::Single(record) => return record.take(),
        };
        // Once for both formats: an iterator each would turn its step round and end by itself.
        if !matches!(step, Ok(Some(_))) {
            self.0 = Kind::Single(None);
        }
        step.transpose()
    }
}

/// Writes values in the format chosen at run time. After an error what was written so far is of no use.
#[derive(Debug)]
pub enum Encoder<'b> {
    /// OMA TLV.
    Tlv(tlv::Writer<'b>),
    /// SenML-CBOR.
    Senml(senml_cbor::Writer<'b>),
    /// Text, opaque or CBOR: exactly one value.
    Single(single::Writer<'b>),
}

impl<'b> Encoder<'b> {
    /// Begins a payload for `base`: every value's path must be `base` or below it. TLV needs at least an
    /// object id there. [`Error::Format`]: the format is not written here, or not for this path.
    pub fn begin(format: ContentFormat, base: Path, out: &'b mut [u8]) -> Result<Self, Error> {
        Ok(match format {
            ContentFormat::Tlv => Encoder::Tlv(tlv::Writer::begin(base, out)?),
            ContentFormat::SenmlCbor => Encoder::Senml(senml_cbor::Writer::begin(base, out)?),
            ContentFormat::Text | ContentFormat::Opaque | ContentFormat::Cbor => {
                Encoder::Single(single::Writer::begin(format, base, out)?)
            }
            ContentFormat::Link | ContentFormat::SenmlJson => return Err(Error::Format),
        })
    }

    /// Writes one value. Values of one instance, and of one resource, must follow each other.
    pub fn value(&mut self, path: Path, value: Value<'_>) -> Result<(), Error> {
        match self {
            Encoder::Tlv(writer) => writer.value(path, value),
            Encoder::Senml(writer) => writer.value(path, value),
            Encoder::Single(writer) => writer.value(path, value),
        }
    }

    /// Ends the payload: its length in bytes.
    pub fn finish(self) -> Result<usize, Error> {
        match self {
            Encoder::Tlv(writer) => writer.finish(),
            Encoder::Senml(writer) => writer.finish(),
            Encoder::Single(writer) => writer.finish(),
        }
    }
}
