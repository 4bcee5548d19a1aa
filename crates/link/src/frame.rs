//! Frames: `00`, COBS of the body, `00`; the body is type, tag, payload, CRC-32 (`docs/link.md`, Frame).
//!
//! Both directions work in one buffer of the end: received bytes are decoded where they lie, and a payload is
//! encoded while it is given, so that a block of data is copied once.

use cobs::CobsEncoder;
use crc::{CRC_32_ISO_HDLC, Crc, NoTable};
use sota_errors::LinkError;

/// Without a table: 1 KiB of the MCU's flash is worth more than the time.
const CRC32: Crc<u32, NoTable> = Crc::<u32, NoTable>::new(&CRC_32_ISO_HDLC);

/// The CRC-32/ISO-HDLC of `bytes` after what has `before` (0: nothing).
#[inline(never)]
pub fn crc32(before: u32, bytes: &[u8]) -> u32 {
    // The crate takes the unreflected register as initial value.
    let mut digest = CRC32.digest_with_initial((!before).reverse_bits());
    digest.update(bytes);
    digest.finalize()
}

/// Bytes of type and tag.
const HEAD: usize = 3;
const CRC_LEN: usize = 4;
/// Bytes of transfer number and offset.
const DATA_HEAD: usize = 5;
/// Longest body of a frame that is not Data.
const CONTROL_BODY: usize = 300;

/// Bytes of the greatest frame on the line, with both `00`, of an end that takes blocks of `block` bytes.
pub const fn frame_len(block: usize) -> usize {
    let data = HEAD + DATA_HEAD + block + CRC_LEN;
    let body = if data > CONTROL_BODY {
        data
    } else {
        CONTROL_BODY
    };
    body + body / 254 + 1 + 2
}

/// Bytes of the greatest frame on the line that is not Data.
pub const CONTROL_LEN: usize = frame_len(0);

/// Bytes on the line of the longest frame that an MCU of this version sends: its hello.
pub const HELLO_LEN: usize = 256 + 2 + 2;

/// Writes the payload of one frame into a buffer; what does not fit makes [`encode`] give 0.
pub struct Writer<'a> {
    cobs: CobsEncoder<'a>,
    crc: u32,
    fits: bool,
}

/// A buffer of so many bytes is needed at least: both `00`, and COBS' first byte.
const LEAST: usize = 3;

impl Writer<'_> {
    /// Appends bytes of the payload.
    #[inline(never)]
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.crc = crc32(self.crc, bytes);
        self.fits = self.fits && self.cobs.push(bytes).is_ok();
        self
    }

    /// Appends a byte.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.bytes(&[value])
    }

    /// Appends two bytes, little-endian.
    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// Appends four bytes, little-endian.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// Appends a field: type, length, value of at most 255 bytes.
    pub fn field(&mut self, kind: u8, value: &[u8]) -> &mut Self {
        match u8::try_from(value.len()) {
            Ok(len) => self.u8(kind).u8(len).bytes(value),
            Err(_) => {
                self.fits = false;
                self
            }
        }
    }

    /// Appends a field with the low `len` bytes of a number.
    pub fn number(&mut self, kind: u8, len: u8, value: u32) -> &mut Self {
        let bytes = value.to_le_bytes();
        self.field(kind, bytes.get(..len.into()).unwrap_or_default())
    }

    /// Appends a field with a text, if it has any.
    pub fn name(&mut self, kind: u8, text: &str) -> &mut Self {
        if !text.is_empty() {
            self.field(kind, text.as_bytes());
        }
        self
    }
}

/// The bytes on their way to the UART: one frame.
pub struct Tx<const N: usize> {
    buffer: [u8; N],
    start: usize,
    end: usize,
}

impl<const N: usize> Tx<N> {
    /// An empty buffer. `N` is [`frame_len`] of the greatest block.
    pub const fn new() -> Self {
        Tx {
            buffer: [0; N],
            start: 0,
            end: 0,
        }
    }

    /// Everything was taken.
    pub const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Puts a frame there in place of what is left of the one before. `false`: it does not fit, nothing is sent.
    pub fn frame(&mut self, kind: u8, tag: u16, write: impl FnOnce(&mut Writer)) -> bool {
        self.start = 0;
        self.end = encode(&mut self.buffer, kind, tag, write);
        self.end > 0
    }

    /// Moves up to `out.len()` bytes out.
    pub fn take(&mut self, out: &mut [u8]) -> usize {
        let waiting = self.buffer.get(self.start..self.end).unwrap_or_default();
        let n = waiting.len().min(out.len());
        for (to, from) in out.iter_mut().zip(waiting) {
            *to = *from;
        }
        self.start += n;
        n
    }

    /// Forgets what was not sent.
    pub fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }
}

impl<const N: usize> Default for Tx<N> {
    fn default() -> Self {
        Self::new()
    }
}

/// Writes a frame to `buffer` and gives its length; 0 = it does not fit.
pub fn encode(buffer: &mut [u8], kind: u8, tag: u16, write: impl FnOnce(&mut Writer)) -> usize {
    if buffer.len() < LEAST {
        return 0;
    }
    // The last byte is kept for the closing 00, which the encoder cannot reach.
    let [first, rest @ .., last] = buffer else {
        return 0;
    };
    (*first, *last) = (0, 0);
    let mut writer = Writer {
        cobs: CobsEncoder::new(rest),
        crc: 0,
        fits: true,
    };
    writer.u8(kind).u16(tag);
    write(&mut writer);
    let crc = writer.crc;
    if !writer.u32(crc).fits {
        return 0;
    }
    let end = 1 + writer.cobs.finalize();
    match buffer.get_mut(end) {
        Some(last) => {
            *last = 0;
            end + 1
        }
        None => 0,
    }
}

/// Collects the bytes of one frame.
pub struct Rx<const N: usize> {
    buffer: [u8; N],
    len: usize,
    too_long: bool,
    complete: bool,
}

impl<const N: usize> Rx<N> {
    /// An empty collector. `N` is [`frame_len`] of the greatest block.
    pub const fn new() -> Self {
        Rx {
            buffer: [0; N],
            len: 0,
            too_long: false,
            complete: false,
        }
    }

    /// Takes bytes up to the end of a frame and says how many; none while a frame is complete.
    pub fn feed(&mut self, bytes: &[u8]) -> usize {
        for (taken, byte) in bytes.iter().enumerate() {
            if self.complete {
                return taken;
            }
            match *byte {
                0 => self.complete = self.len > 0,
                // The two 00 of the greatest frame are not kept.
                byte => match self.buffer[..N - 2].get_mut(self.len) {
                    Some(place) => {
                        *place = byte;
                        self.len += 1;
                    }
                    None => self.too_long = true,
                },
            }
        }
        bytes.len()
    }

    /// A whole frame, good or bad, waits.
    pub const fn is_complete(&self) -> bool {
        self.complete
    }

    /// Makes room for the next frame.
    pub fn clear(&mut self) {
        self.len = 0;
        self.too_long = false;
        self.complete = false;
    }

    /// The payload of the frame that [`body`](Self::body) decoded, until [`clear`](Self::clear).
    pub fn payload(&self) -> &[u8] {
        self.buffer.get(HEAD..self.len).unwrap_or_default()
    }

    /// Decodes the waiting frame where it lies: type, tag and payload. Once only: [`clear`](Self::clear) follows.
    #[inline(never)]
    pub fn body(&mut self) -> Result<Body<'_>, LinkError> {
        if self.too_long {
            return Err(LinkError::LinkFrameTooLong);
        }
        let harmed = LinkError::LinkFrameCrc;
        let encoded = self.buffer.get_mut(..self.len).ok_or(harmed)?;
        let n = cobs::decode_in_place(encoded).map_err(|_| harmed)?;
        let body = Body::new_checked(self.buffer.get(..n).ok_or(harmed)?)?;
        self.len = HEAD + body.payload.len();
        Ok(body)
    }
}

impl<const N: usize> Default for Rx<N> {
    fn default() -> Self {
        Self::new()
    }
}

/// A body whose CRC is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Body<'a> {
    /// Type of the frame, with the bit of its direction.
    pub kind: u8,
    /// Session of the module XOR session of the MCU.
    pub tag: u16,
    /// What is between tag and CRC.
    pub payload: &'a [u8],
}

impl<'a> Body<'a> {
    /// Checks length and CRC of a decoded body.
    ///
    /// # Errors
    /// [`LinkError::LinkFrameCrc`]: it is shorter than a frame can be, or harmed.
    pub fn new_checked(body: &'a [u8]) -> Result<Body<'a>, LinkError> {
        let harmed = LinkError::LinkFrameCrc;
        let (covered, crc) = body.split_last_chunk::<CRC_LEN>().ok_or(harmed)?;
        if crc32(0, covered) != u32::from_le_bytes(*crc) {
            return Err(harmed);
        }
        match covered {
            [kind, low, high, payload @ ..] => Ok(Body {
                kind: *kind,
                tag: u16::from_le_bytes([*low, *high]),
                payload,
            }),
            _ => Err(harmed),
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    const BLOCK: usize = 512;
    const FRAME: usize = frame_len(BLOCK);

    fn frame(kind: u8, tag: u16, payload: &[u8]) -> Vec<u8> {
        let mut out = [0xAA; 2 * FRAME];
        let n = encode(&mut out, kind, tag, |w| {
            w.bytes(payload);
        });
        out[..n].to_vec()
    }

    type Read = Result<(u8, u16, Vec<u8>), LinkError>;

    /// Every frame that the stream holds.
    fn read(stream: &[u8]) -> Vec<Read> {
        let (mut rx, mut out, mut at) = (Rx::<FRAME>::new(), Vec::new(), 0);
        while at < stream.len() {
            at += rx.feed(&stream[at..]);
            if rx.is_complete() {
                out.push(rx.body().map(|b| (b.kind, b.tag, b.payload.to_vec())));
                rx.clear();
            }
        }
        out
    }

    #[test]
    fn the_greatest_frame_fits_and_no_more() {
        for fill in [0, 1, 0xFF] {
            let payload = [fill; BLOCK + DATA_HEAD + 1];
            let mut out = [0; FRAME];
            let mut write = |n: usize| {
                encode(&mut out, 7, 1, |w| {
                    w.bytes(&payload[..n]);
                })
            };
            assert!(write(BLOCK + DATA_HEAD) > 0);
            if fill != 0 {
                assert_eq!(write(BLOCK + DATA_HEAD), FRAME);
                assert_eq!(write(BLOCK + DATA_HEAD + 1), 0);
            }
        }
        for len in 0..8 {
            assert_eq!(encode(&mut [0; 8][..len], 7, 0x0101, |_| ()), 0);
        }
    }

    /// Lengths from 0 to twice the limit: a frame, or skipped, and the next one is read.
    #[test]
    fn every_length_to_twice_the_limit() {
        let after = frame(4, 9, b"after");
        for len in 0..=2 * FRAME {
            let mut stream = std::vec![1; len];
            stream.push(0);
            stream.extend(&after);
            let got = read(&stream);
            assert_eq!(got.last(), Some(&Ok((4, 9, b"after".to_vec()))), "{len}");
            match got.len() {
                1 => assert_eq!(len, 0),
                2 if len <= FRAME - 2 => assert_eq!(got[0], Err(LinkError::LinkFrameCrc)),
                2 => assert_eq!(got[0], Err(LinkError::LinkFrameTooLong)),
                _ => panic!("{len}: {got:?}"),
            }
        }
        for len in 0..BLOCK + DATA_HEAD {
            let payload: Vec<u8> = (0..len).map(|i| (i % 255) as u8).collect();
            assert_eq!(read(&frame(7, 1, &payload)), [Ok((7, 1, payload))], "{len}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(kind: u8, tag: u16, payload in prop::collection::vec(prop_oneof![Just(0), any::<u8>()], 0..BLOCK)) {
            let bytes = frame(kind, tag, &payload);
            prop_assert_eq!(bytes.iter().filter(|b| **b == 0).count(), 2);
            prop_assert_eq!(read(&bytes), [Ok((kind, tag, payload))]);
        }

        /// One harmed byte never gives another frame, and costs no more than one frame: that is what both `00` are for.
        #[test]
        fn a_harmed_byte_harms_its_own_frame(at: prop::sample::Index, flip in 1u8..) {
            let frames = [frame(1, 1, b"one\0"), frame(2, 2, &[7; 300]), frame(3, 3, b"three")];
            let good: Vec<_> = frames.iter().flat_map(|f| read(f)).collect();
            let mut stream = frames.concat();
            let at = at.index(stream.len());
            stream[at] ^= flip;
            let got: Vec<_> = read(&stream).into_iter().filter(Result::is_ok).collect();
            prop_assert!(got.iter().all(|frame| good.contains(frame)));
            prop_assert!(got.len() >= 2);
        }

        #[test]
        fn garbage_is_skipped(garbage in prop::collection::vec(any::<u8>(), 0..2 * FRAME)) {
            let mut stream = garbage;
            stream.push(0);
            stream.extend(frame(4, 9, b"after"));
            let got = read(&stream);
            prop_assert_eq!(got.last(), Some(&Ok((4, 9, b"after".to_vec()))));
        }
    }
}
