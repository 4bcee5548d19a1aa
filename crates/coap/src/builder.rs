//! Writes a message into the caller's buffer (RFC 7252 section 3).

use core::fmt;

use crate::block::Block;
use crate::code::Code;
use crate::message::{HEADER_LEN, Kind, Message, PAYLOAD_MARKER, Token, segments};
use crate::option::{self, Uint};

/// Why a message could not be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuildError {
    /// The buffer is too small.
    NoSpace,
    /// Options must be added in ascending order of their numbers, and before the payload.
    Order,
    /// An option's value is longer than the option allows.
    OptionLength,
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BuildError::NoSpace => "the buffer is too small for the message",
            BuildError::Order => "options are not in ascending order or follow the payload",
            BuildError::OptionLength => "an option's value is longer than allowed",
        })
    }
}

impl core::error::Error for BuildError {}

/// Builder over a buffer. The first error sticks: calls after it do nothing and [`Builder::finish`]
/// returns it, so only one place needs checking.
///
/// ```
/// use sota_coap::{Builder, Code, Kind, Token};
/// let mut buffer = [0; 64];
/// let n = Builder::new(&mut buffer, Kind::Con, Code::GET, 0x7d34, Token::EMPTY)
///     .path("/temperature")
///     .finish()?;
/// assert_eq!(&buffer[..n], b"\x40\x01\x7d\x34\xbbtemperature");
/// # Ok::<(), sota_coap::BuildError>(())
/// ```
#[derive(Debug)]
pub struct Builder<'a> {
    buffer: &'a mut [u8],
    used: usize,
    number: u16,
    payload: bool,
    error: Option<BuildError>,
}

impl<'a> Builder<'a> {
    /// Begins with header and token.
    pub fn new(
        buffer: &'a mut [u8],
        kind: Kind,
        code: Code,
        message_id: u16,
        token: Token,
    ) -> Builder<'a> {
        let mut builder = Builder {
            buffer,
            used: 0,
            number: 0,
            payload: false,
            error: None,
        };
        let token = token.as_bytes();
        let mid = message_id.to_be_bytes();
        let first = 0x40 | (kind as u8) << 4 | token.len() as u8;
        builder.push(&[first, code.byte(), mid[0], mid[1]]);
        builder.push(token);
        builder
    }

    /// Begins the response to `request`: piggybacked in the ACK of a CON, else a NON with `message_id`.
    pub fn response(
        buffer: &'a mut [u8],
        request: &Message<'_>,
        code: Code,
        message_id: u16,
    ) -> Builder<'a> {
        let (kind, mid) = match request.kind() {
            Kind::Con => (Kind::Ack, request.message_id()),
            _ => (Kind::Non, message_id),
        };
        Builder::new(buffer, kind, code, mid, request.token())
    }

    /// Adds an option.
    pub fn option(&mut self, number: u16, value: &[u8]) -> &mut Self {
        if self.payload || number < self.number {
            return self.fail(BuildError::Order);
        }
        if value.len() > option::length_range(number).1 {
            return self.fail(BuildError::OptionLength);
        }
        let (delta, delta_bytes, delta_len) = nibble(u32::from(number - self.number));
        let (length, length_bytes, length_len) = nibble(value.len() as u32);
        self.push(&[delta << 4 | length]);
        self.push(delta_bytes.get(2 - delta_len..).unwrap_or(&[]));
        self.push(length_bytes.get(2 - length_len..).unwrap_or(&[]));
        self.push(value);
        self.number = number;
        self
    }

    /// Adds an option of format uint in its shortest form.
    pub fn uint_option(&mut self, number: u16, value: u32) -> &mut Self {
        self.option(number, Uint::new(value).as_bytes())
    }

    /// Adds Block1 or Block2.
    pub fn block(&mut self, number: u16, block: Block) -> &mut Self {
        self.uint_option(number, block.encode())
    }

    /// Adds one Uri-Path option for each segment of a path written `/a/b`.
    pub fn path(&mut self, path: &str) -> &mut Self {
        for segment in segments(path) {
            self.option(option::URI_PATH, segment.as_bytes());
        }
        self
    }

    /// Adds one Uri-Path segment that is a decimal number: an LwM2M object, instance or resource id.
    pub fn path_number(&mut self, id: u16) -> &mut Self {
        let mut digits = [0; 5];
        let mut rest = id;
        let mut at = digits.len();
        while let Some(slot) = at.checked_sub(1).and_then(|i| digits.get_mut(i)) {
            *slot = b'0' + (rest % 10) as u8;
            rest /= 10;
            at -= 1;
            if rest == 0 {
                break;
            }
        }
        self.option(option::URI_PATH, digits.get(at..).unwrap_or(&[]))
    }

    /// Adds one Uri-Query option, `key=value`.
    pub fn query(&mut self, item: &str) -> &mut Self {
        self.option(option::URI_QUERY, item.as_bytes())
    }

    /// Adds the payload; an empty one adds nothing. Nothing may follow.
    pub fn payload(&mut self, payload: &[u8]) -> &mut Self {
        if payload.is_empty() {
            return self;
        }
        if self.payload {
            return self.fail(BuildError::Order);
        }
        self.push(&[PAYLOAD_MARKER]);
        self.push(payload);
        self.payload = true;
        self
    }

    /// Lets `write` put the payload in place and say its length; 0 adds nothing. It gets all the space
    /// left after the payload marker and is not called when the message already failed.
    ///
    /// # Errors
    /// What `write` returned; nothing was added then.
    pub fn payload_with<E>(
        &mut self,
        write: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<&mut Self, E> {
        if let Some(room) = self.room() {
            let written = write(room)?;
            self.written(written);
        }
        Ok(self)
    }

    /// Where a payload goes; `None` when the message already failed.
    fn room(&mut self) -> Option<&mut [u8]> {
        if self.payload {
            self.fail(BuildError::Order);
        }
        let room = self.buffer.get_mut(self.used + 1..).unwrap_or(&mut []);
        self.error.is_none().then_some(room)
    }

    /// So many bytes were put there.
    fn written(&mut self, len: usize) {
        if len > self.space() {
            self.fail(BuildError::NoSpace);
        } else if len > 0 {
            self.push(&[PAYLOAD_MARKER]);
            self.used += len;
            self.payload = true;
        }
    }

    /// Bytes left for a payload, its marker counted.
    pub fn space(&self) -> usize {
        self.buffer.len().saturating_sub(self.used + 1)
    }

    /// The message's length, or the first error.
    pub fn finish(&mut self) -> Result<usize, BuildError> {
        match self.error {
            None => Ok(self.used),
            Some(error) => Err(error),
        }
    }

    #[inline(never)]
    fn fail(&mut self, error: BuildError) -> &mut Self {
        self.error.get_or_insert(error);
        self
    }

    fn push(&mut self, bytes: &[u8]) {
        if self.error.is_some() {
            return;
        }
        let room = self.buffer.get_mut(self.used..).unwrap_or(&mut []);
        match room.get_mut(..bytes.len()) {
            Some(place) => {
                place.copy_from_slice(bytes);
                self.used += bytes.len();
            }
            None => self.error = Some(BuildError::NoSpace),
        }
    }
}

/// The 4 bits, and the extra bytes right-aligned with their count.
fn nibble(value: u32) -> (u8, [u8; 2], usize) {
    match value {
        0..=12 => (value as u8, [0; 2], 0),
        13..=268 => (13, [0, (value - 13) as u8], 1),
        _ => (14, ((value - 269) as u16).to_be_bytes(), 2),
    }
}

/// An empty message is 4 bytes; [`crate::message::ack`] and [`crate::message::reset`] make them.
const _: () = assert!(HEADER_LEN == 4);

#[cfg(test)]
mod tests {
    use super::*;

    fn builder(buffer: &mut [u8]) -> Builder<'_> {
        Builder::new(
            buffer,
            Kind::Con,
            Code::POST,
            1,
            Token::from_u32(0x01020304),
        )
    }

    #[test]
    fn register_byte_for_byte() {
        let mut buffer = [0; 64];
        let n = builder(&mut buffer)
            .path("/rd")
            .uint_option(option::CONTENT_FORMAT, 40)
            .query("ep=pk:d")
            .query("lt=60")
            .payload(b"</1/0>")
            .finish()
            .unwrap();
        assert_eq!(
            &buffer[..n],
            b"\x44\x02\x00\x01\x01\x02\x03\x04\xb2rd\x11\x28\x37ep=pk:d\x05lt=60\xff</1/0>"
        );
    }

    #[test]
    fn numbers_as_segments() {
        for (id, text) in [(0u16, "/0"), (9, "/9"), (10, "/10"), (42769, "/42769")] {
            let mut buffer = [0; 32];
            let n = builder(&mut buffer).path_number(id).finish().unwrap();
            assert!(Message::new_checked(&buffer[..n]).unwrap().path_is(text));
        }
    }

    #[test]
    fn errors_stick() {
        let mut buffer = [0; 64];
        let mut b = builder(&mut buffer);
        b.uint_option(option::ACCEPT, 1).path("/a").payload(b"x");
        assert_eq!(b.finish(), Err(BuildError::Order));
        let mut b = builder(&mut buffer);
        b.payload(b"x").uint_option(option::ACCEPT, 1);
        assert_eq!(b.finish(), Err(BuildError::Order));
        let mut b = builder(&mut buffer);
        b.option(option::ETAG, &[0; 9]);
        assert_eq!(b.finish(), Err(BuildError::OptionLength));
        let mut small = [0; 10];
        assert_eq!(
            builder(&mut small).payload(b"ab").finish(),
            Err(BuildError::NoSpace)
        );
        assert_eq!(builder(&mut small).payload(b"a").finish(), Ok(10));
        assert_eq!(builder(&mut small[..3]).finish(), Err(BuildError::NoSpace));
    }

    #[test]
    fn payload_in_place() {
        let mut buffer = [0; 16];
        let mut b = builder(&mut buffer);
        assert_eq!(b.space(), 7);
        b.payload_with(|room| {
            assert_eq!(room.len(), 7);
            room[..2].copy_from_slice(b"hi");
            Ok::<_, ()>(2)
        })
        .unwrap();
        let n = b.finish().unwrap();
        assert_eq!(Message::new_checked(&buffer[..n]).unwrap().payload(), b"hi");
        let mut b = builder(&mut buffer);
        b.payload_with(|_| Ok::<_, ()>(0)).unwrap();
        assert_eq!(b.finish(), Ok(8));
        assert_eq!(builder(&mut buffer).payload_with(|_| Err(5)).err(), Some(5));
        let mut b = builder(&mut buffer);
        b.payload_with(|_| Ok::<_, ()>(99)).unwrap();
        assert_eq!(b.finish(), Err(BuildError::NoSpace));
    }
}
