//! Requests and answers: CBOR maps (Zephyr's "SMP protocol", groups 0 and 1).

use crate::SmpError;
use crate::wire::{HEADER, Header, op};
use heapless::{String, Vec};
use minicbor::decode::{Decoder, Error};
use minicbor::encode::{Encoder, write::Cursor};

/// Groups and their commands.
pub mod group {
    /// Operating system: echo 0, reset 5, MCUmgr parameters 6.
    pub const OS: u16 = 0;
    /// Images: state 0, upload 1, erase 5.
    pub const IMAGE: u16 = 1;
}

/// An image's hash, as MCUboot has it in the TLVs: SHA-256, 384 or 512.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hash {
    bytes: [u8; 64],
    len: u8,
}

impl Hash {
    /// Of 32, 48 or 64 bytes.
    pub fn new(bytes: &[u8]) -> Option<Hash> {
        let mut hash = Hash {
            bytes: [0; 64],
            len: bytes.len() as u8,
        };
        if !matches!(bytes.len(), 32 | 48 | 64) {
            return None;
        }
        for (to, from) in hash.bytes.iter_mut().zip(bytes) {
            *to = *from;
        }
        Some(hash)
    }

    /// Its bytes.
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

/// The first packet of an upload has more than the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct First {
    /// Bytes of the image.
    pub length: u32,
    /// SHA-256 of all of them, by which a server knows an upload that was interrupted.
    pub sha256: Option<[u8; 32]>,
    /// The image's number; 0: the only one.
    pub image: u8,
    /// Refuse an image that is not newer.
    pub upgrade: bool,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// The text comes back.
    Echo(&'a str),
    /// A reset, after the answer.
    Reset,
    /// Size and number of the server's buffers.
    Parameters,
    /// The slots.
    State,
    /// Start this image once, at the next reset.
    Test(&'a Hash),
    /// Keep this image.
    Confirm(&'a Hash),
    /// Erase the slot that is not in use.
    Erase,
}

impl Request<'_> {
    /// Operation, group and command.
    pub fn code(&self) -> (u8, u16, u8) {
        match self {
            Request::Echo(_) => (op::WRITE, group::OS, 0),
            Request::Reset => (op::WRITE, group::OS, 5),
            Request::Parameters => (op::READ, group::OS, 6),
            Request::State => (op::READ, group::IMAGE, 0),
            Request::Test(_) | Request::Confirm(_) => (op::WRITE, group::IMAGE, 0),
            Request::Erase => (op::WRITE, group::IMAGE, 5),
        }
    }

    /// The packet; `None`: it does not fit.
    pub fn emit(&self, version: u8, seq: u8, out: &mut [u8]) -> Option<usize> {
        let (op, group, id) = self.code();
        let (header, body) = out.split_first_chunk_mut::<HEADER>()?;
        let mut to = Encoder::new(Cursor::new(&mut body[..]));
        match self {
            Request::Echo(text) => to.map(1).ok()?.str("d").ok()?.str(text).ok()?,
            Request::Test(hash) | Request::Confirm(hash) => {
                let confirm = matches!(self, Request::Confirm(_));
                let hash = hash.as_slice();
                to.map(2).ok()?.str("hash").ok()?.bytes(hash).ok()?;
                to.str("confirm").ok()?.bool(confirm).ok()?
            }
            _ => to.map(0).ok()?,
        };
        let length = to.writer().position();
        *header = Header {
            op,
            version,
            length: u16::try_from(length).ok()?,
            group,
            seq,
            id,
        }
        .emit();
        Some(HEADER + length)
    }
}

/// The command of an upload.
pub const UPLOAD: (u8, u16, u8) = (op::WRITE, group::IMAGE, 1);

/// A part of an image.
#[derive(Clone, Copy, Debug)]
pub struct Upload {
    /// Of the packet that has the image's begin.
    pub first: Option<First>,
    /// Where the part begins.
    pub offset: u32,
    /// Greatest length of the part.
    pub most: u32,
}

impl Upload {
    /// The packet, not longer than `out`, and how many bytes of the image it has; `fill` gives them. `None`: it does not fit, or
    /// there are none.
    pub fn emit(
        &self,
        version: u8,
        seq: u8,
        out: &mut [u8],
        fill: impl FnOnce(&mut [u8]) -> bool,
    ) -> Option<(usize, u32)> {
        let (op, group, id) = UPLOAD;
        let (header, body) = out.split_first_chunk_mut::<HEADER>()?;
        let room = body.len();
        let mut to = Encoder::new(Cursor::new(&mut body[..]));
        let first = self.first;
        let more = first.map_or(0, |first| {
            1 + u64::from(first.sha256.is_some())
                + u64::from(first.image > 0)
                + u64::from(first.upgrade)
        });
        to.map(2 + more).ok()?;
        if let Some(first) = first {
            if first.image > 0 {
                to.str("image").ok()?.u32(first.image.into()).ok()?;
            }
            to.str("len").ok()?.u32(first.length).ok()?;
        }
        to.str("off").ok()?.u32(self.offset).ok()?;
        if let Some(sha256) = first.and_then(|first| first.sha256) {
            to.str("sha").ok()?.bytes(&sha256).ok()?;
        }
        if first.is_some_and(|first| first.upgrade) {
            to.str("upgrade").ok()?.bool(true).ok()?;
        }
        to.str("data").ok()?;
        // the head of the data: up to three bytes
        let left = room.checked_sub(to.writer().position() + 3)?;
        let left = u32::try_from(left).ok()?;
        let count = match self.most > left {
            // whole flash words, while there is more
            true if left > 64 => left - left % 16,
            true => left,
            false => self.most,
        };
        if count == 0 {
            return None;
        }
        to.bytes_len(count.into()).ok()?;
        let at = to.writer().position();
        let end = at.checked_add(count as usize)?;
        let place = body.get_mut(at..end)?;
        if !fill(place) {
            return None;
        }
        *header = Header {
            op,
            version,
            length: u16::try_from(end).ok()?,
            group,
            seq,
            id,
        }
        .emit();
        Some((HEADER + end, count))
    }
}

/// Why the server did not do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The group whose code it is; `None`: SMP's own code.
    pub group: Option<u16>,
    /// The code.
    pub rc: u16,
}

/// Buffers of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// Bytes of one, for a packet and [`OVERHEAD`](crate::wire::OVERHEAD).
    pub size: u32,
    /// How many.
    pub count: u32,
}

/// A slot with an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Which image it is a slot of.
    pub image: u32,
    /// Which slot of it.
    pub slot: u32,
    /// "major.minor.revision.build".
    pub version: String<32>,
    /// MCUboot's hash.
    pub hash: Option<Hash>,
    /// It runs.
    pub active: bool,
    /// It stays, or comes back.
    pub confirmed: bool,
    /// It is started at the next reset.
    pub pending: bool,
}

/// Both slots, of two images at the most.
pub type Slots = Vec<Slot, 4>;

/// What an answer says, of all that any answer may have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// It was not done.
    pub refusal: Option<Refusal>,
    /// Upload: where the server is.
    pub offset: Option<u32>,
    /// Upload, with the last part: whether all of it has the SHA-256 that was told.
    pub matches: Option<bool>,
    /// Parameters.
    pub buf_size: Option<u32>,
    /// Parameters.
    pub buf_count: Option<u32>,
    /// State.
    pub slots: Option<Slots>,
    /// Echo: bytes of the text.
    pub echo: Option<usize>,
}

impl Answer {
    /// Reads a body.
    ///
    /// # Errors
    /// [`SmpError::SmpMalformed`].
    pub fn parse(body: &[u8]) -> Result<Answer, SmpError> {
        let mut answer = Answer::default();
        let mut from = Decoder::new(body);
        let read = fields(&mut from, |key, from| {
            match key {
                "rc" => match from.u32()? {
                    0 => {}
                    rc => answer.refusal = refusal(None, rc),
                },
                "err" => {
                    let (mut group, mut rc) = (0, 0);
                    fields(from, |key, from| {
                        match key {
                            "group" => group = from.u16()?,
                            "rc" => rc = from.u32()?,
                            _ => return Ok(false),
                        }
                        Ok(true)
                    })?;
                    if rc != 0 {
                        answer.refusal = refusal(Some(group), rc);
                    }
                }
                "off" => answer.offset = Some(from.u32()?),
                "match" => answer.matches = Some(from.bool()?),
                "buf_size" => answer.buf_size = Some(from.u32()?),
                "buf_count" => answer.buf_count = Some(from.u32()?),
                "r" => answer.echo = Some(from.str()?.len()),
                "images" => answer.slots = Some(slots(from)?),
                _ => return Ok(false),
            }
            Ok(true)
        });
        read.map_err(|_| SmpError::SmpMalformed)?;
        Ok(answer)
    }
}

fn refusal(group: Option<u16>, rc: u32) -> Option<Refusal> {
    let rc = u16::try_from(rc).unwrap_or(u16::MAX);
    Some(Refusal { group, rc })
}

/// Every entry of a map; what `each` does not take is skipped.
fn fields<'b>(
    from: &mut Decoder<'b>,
    mut each: impl FnMut(&str, &mut Decoder<'b>) -> Result<bool, Error>,
) -> Result<(), Error> {
    let count = from.map()?;
    let mut number = 0;
    while !ends(from, count, number)? {
        let key = from.str()?;
        if !each(key, from)? {
            from.skip()?;
        }
        number += 1;
    }
    Ok(())
}

/// Whether a map or an array ends here: of a known length, or with a break.
fn ends(from: &mut Decoder<'_>, count: Option<u64>, number: u64) -> Result<bool, Error> {
    if let Some(count) = count {
        return Ok(number >= count);
    }
    let is_break = from.datatype()? == minicbor::data::Type::Break;
    if is_break {
        from.set_position(from.position() + 1);
    }
    Ok(is_break)
}

fn slots(from: &mut Decoder<'_>) -> Result<Slots, Error> {
    let mut slots = Slots::new();
    let count = from.array()?;
    let mut number = 0;
    while !ends(from, count, number)? {
        let mut slot = Slot {
            image: 0,
            slot: 0,
            version: String::new(),
            hash: None,
            active: false,
            confirmed: false,
            pending: false,
        };
        fields(from, |key, from| {
            match key {
                "image" => slot.image = from.u32()?,
                "slot" => slot.slot = from.u32()?,
                "version" => {
                    // a longer one is none that MCUboot has
                    let _ = slot.version.push_str(from.str()?);
                }
                "hash" => slot.hash = Hash::new(from.bytes()?),
                "active" => slot.active = from.bool()?,
                "confirmed" => slot.confirmed = from.bool()?,
                "pending" => slot.pending = from.bool()?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        let _ = slots.push(slot);
        number += 1;
    }
    Ok(slots)
}

#[cfg(test)]
mod tests;
