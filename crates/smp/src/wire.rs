//! What is on the line: lines, frames and the header (Zephyr's "SMP over console", `smp_transport`).
//!
//! | part | bytes |
//! |---|---|
//! | line | mark 2 (`06 09` the first of a frame, `04 14` the others), base64, `\n`; at most 127 in all |
//! | frame | length 2 of packet and CRC, packet, CRC-16/XMODEM over the packet 2; all big-endian; split over lines |
//! | packet | header 8, body in CBOR |
//! | header | version 2 and operation 3 in the low bits, flags 1, length of the body 2, group 2, sequence 1, command 1 |
//!
//! Log output shares the UART. The bytes of a mark are neither text nor base64, so a mark begins a line wherever it stands and
//! whatever stands outside of lines is skipped.

use crate::SmpError;
use base64ct::{Base64, Encoding};
use crc::{CRC_16_XMODEM, Crc, NoTable};

/// Greatest packet, header and body, in bytes.
pub const PACKET: usize = 1024;
/// Bytes of a header.
pub const HEADER: usize = 8;
/// Greatest line with mark and end.
pub const LINE: usize = 127;
/// Bytes of a frame that are no packet: length and CRC. They count in the server's buffer.
pub const OVERHEAD: usize = 4;
/// Bytes of a frame in one line that is sent. 120 characters and not 124: servers keep lines in buffers of 128 with more than the line.
const RAW: usize = 90;
/// Greatest base64 of a line that is taken.
const CHARS: usize = LINE - 3;
const FRAME: usize = PACKET + OVERHEAD;
const START: [u8; 2] = [0x06, 0x09];
const MORE: [u8; 2] = [0x04, 0x14];

static CRC: Crc<u16, NoTable> = Crc::<u16, NoTable>::new(&CRC_16_XMODEM);

/// Operations. An answer's is its request's and one.
pub mod op {
    /// Read request.
    pub const READ: u8 = 0;
    /// Write request.
    pub const WRITE: u8 = 2;
}

/// A packet's first 8 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Operation: 0, 2 requests; 1, 3 their answers.
    pub op: u8,
    /// 0: SMP version 1 (errors as `rc`), 1: version 2 (errors as `err`).
    pub version: u8,
    /// Bytes of the body.
    pub length: u16,
    /// Group.
    pub group: u16,
    /// Sequence number; the answer has its request's.
    pub seq: u8,
    /// Command in the group.
    pub id: u8,
}

impl Header {
    /// The header and the body of a packet; `None`: it is shorter than it says, or longer.
    pub fn parse(packet: &[u8]) -> Option<(Header, &[u8])> {
        let ([first, _flags, l0, l1, g0, g1, seq, id], body) = packet.split_first_chunk()?;
        let header = Header {
            op: first & 7,
            version: first >> 3 & 3,
            length: u16::from_be_bytes([*l0, *l1]),
            group: u16::from_be_bytes([*g0, *g1]),
            seq: *seq,
            id: *id,
        };
        (body.len() == usize::from(header.length)).then_some((header, body))
    }

    /// Its bytes.
    pub fn emit(&self) -> [u8; HEADER] {
        let [l0, l1] = self.length.to_be_bytes();
        let [g0, g1] = self.group.to_be_bytes();
        let first = self.op & 7 | (self.version & 3) << 3;
        [first, 0, l0, l1, g0, g1, self.seq, self.id]
    }
}

/// A packet on its way out.
pub(crate) struct Tx {
    frame: [u8; FRAME],
    len: u16,
    /// Bytes of the frame that were made into lines.
    at: u16,
    line: [u8; LINE],
    line_len: u8,
    line_at: u8,
}

impl Tx {
    pub(crate) const fn new() -> Tx {
        Tx {
            frame: [0; FRAME],
            len: 0,
            at: 0,
            line: [0; LINE],
            line_len: 0,
            line_at: 0,
        }
    }

    /// Nothing is left to send.
    pub(crate) fn is_empty(&self) -> bool {
        self.at >= self.len && self.line_at >= self.line_len
    }

    /// Sends a packet, which `write` puts into a buffer of [`PACKET`] bytes; it gives the packet's length, or `None`.
    pub(crate) fn send(&mut self, write: impl FnOnce(&mut [u8]) -> Option<usize>) -> Option<usize> {
        let [l0, l1, rest @ ..] = &mut self.frame;
        let len = write(rest.get_mut(..PACKET)?)?;
        let crc = CRC.checksum(rest.get(..len)?);
        let [c0, c1] = crc.to_be_bytes();
        for (to, from) in rest.get_mut(len..)?.iter_mut().zip([c0, c1]) {
            *to = from;
        }
        [*l0, *l1] = ((len + 2) as u16).to_be_bytes();
        self.len = (len + OVERHEAD) as u16;
        self.at = 0;
        (self.line_len, self.line_at) = (0, 0);
        Some(len)
    }

    /// Forgets what is left.
    pub(crate) fn clear(&mut self) {
        (self.len, self.at) = (0, 0);
        (self.line_len, self.line_at) = (0, 0);
    }

    /// Moves bytes for the UART into `out` and says how many.
    pub(crate) fn take(&mut self, out: &mut [u8]) -> usize {
        let mut taken = 0;
        for place in out {
            if self.line_at >= self.line_len && !self.next_line() {
                break;
            }
            *place = self
                .line
                .get(usize::from(self.line_at))
                .copied()
                .unwrap_or(b'\n');
            self.line_at += 1;
            taken += 1;
        }
        taken
    }

    fn next_line(&mut self) -> bool {
        let at = usize::from(self.at);
        let end = usize::from(self.len).min(at + RAW);
        let raw = self.frame.get(at..end).unwrap_or_default();
        if raw.is_empty() {
            return false;
        }
        let [m0, m1, chars @ ..] = &mut self.line;
        [*m0, *m1] = if at == 0 { START } else { MORE };
        let count = Base64::encode(raw, chars).map_or(0, str::len);
        if let Some(place) = chars.get_mut(count) {
            *place = b'\n';
        }
        self.at = end as u16;
        (self.line_len, self.line_at) = (count as u8 + 3, 0);
        true
    }
}

/// What came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// [`Rx::packet`] is whole.
    Packet,
    /// Something was skipped.
    Fault(SmpError),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Outside of lines.
    None,
    /// In the first line of a frame.
    First,
    /// In another one.
    More,
}

/// Packets on their way in.
pub(crate) struct Rx {
    part: Part,
    last: u8,
    line: [u8; CHARS],
    line_len: u8,
    frame: [u8; FRAME],
    have: u16,
    /// Bytes outside of lines since the last packet.
    noise: u32,
}

impl Rx {
    pub(crate) const fn new() -> Rx {
        Rx {
            part: Part::None,
            last: 0,
            line: [0; CHARS],
            line_len: 0,
            frame: [0; FRAME],
            have: 0,
            noise: 0,
        }
    }

    /// The packet that is whole.
    pub(crate) fn packet(&self) -> &[u8] {
        let end = usize::from(self.have).saturating_sub(2);
        self.frame.get(2..end).unwrap_or_default()
    }

    /// Bytes outside of lines since the last whole packet.
    pub(crate) fn noise(&self) -> u32 {
        self.noise
    }

    /// Takes one byte.
    pub(crate) fn byte(&mut self, byte: u8) -> Option<Heard> {
        let last = core::mem::replace(&mut self.last, byte);
        let mark = match [last, byte] {
            START => Part::First,
            MORE => Part::More,
            _ => Part::None,
        };
        if mark != Part::None {
            // the line before it was cut off
            let cut = self.part != Part::None;
            self.part = mark;
            self.line_len = 0;
            return cut.then_some(Heard::Fault(SmpError::SmpFrame));
        }
        match (self.part, byte) {
            (Part::None, _) => {
                self.noise = self.noise.saturating_add(1);
                None
            }
            (_, b'\n') => self.line_end(),
            // a console's line end, and the first half of a mark
            (_, b'\r' | 0x06 | 0x04) => None,
            _ => {
                let Some(place) = self.line.get_mut(usize::from(self.line_len)) else {
                    self.part = Part::None;
                    self.have = 0;
                    return Some(Heard::Fault(SmpError::SmpLineTooLong));
                };
                *place = byte;
                self.line_len += 1;
                None
            }
        }
    }

    fn line_end(&mut self) -> Option<Heard> {
        let part = core::mem::replace(&mut self.part, Part::None);
        if part == Part::First {
            self.have = 0;
        } else if self.have == 0 {
            return Some(Heard::Fault(SmpError::SmpFrame));
        }
        let fault = match self.append() {
            Ok(true) => {
                self.noise = 0;
                return Some(Heard::Packet);
            }
            Ok(false) => return None,
            Err(fault) => fault,
        };
        self.have = 0;
        Some(Heard::Fault(fault))
    }

    /// The line's bytes to the frame's; whether it is whole.
    fn append(&mut self) -> Result<bool, SmpError> {
        let bad = SmpError::SmpFrame;
        let chars = self.line.get(..usize::from(self.line_len)).ok_or(bad)?;
        let mut raw = [0; CHARS / 4 * 3];
        let raw = Base64::decode(chars, &mut raw).map_err(|_| bad)?;
        let have = usize::from(self.have);
        let place = self.frame.get_mut(have..have + raw.len());
        let place = place.ok_or(SmpError::SmpLineTooLong)?;
        place.copy_from_slice(raw);
        let have = have + raw.len();
        let Some(([l0, l1], rest)) = self.frame.get(..have).and_then(<[u8]>::split_first_chunk)
        else {
            return Err(bad); // not even its length
        };
        let length = usize::from(u16::from_be_bytes([*l0, *l1]));
        if length > FRAME - 2 {
            return Err(SmpError::SmpLineTooLong);
        }
        if length < HEADER + 2 || rest.len() > length {
            return Err(bad);
        }
        if rest.len() < length {
            self.have = have as u16;
            return Ok(false);
        }
        let Some((packet, crc)) = rest.split_last_chunk() else {
            return Err(bad);
        };
        if CRC.checksum(packet) != u16::from_be_bytes(*crc) {
            return Err(bad);
        }
        self.have = have as u16;
        Ok(true)
    }
}

#[cfg(test)]
mod tests;
