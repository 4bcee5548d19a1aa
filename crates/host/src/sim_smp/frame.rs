//! Lines and frames of the server's end (Zephyr's "SMP over console").

use base64ct::{Base64, Encoding};
use crc::{CRC_16_XMODEM, Crc};

const CRC: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);
/// Buffer of a line.
const LINE: usize = 128;
/// Bytes of a frame in one line.
const RAW: usize = 93;

/// What comes.
#[derive(Default)]
pub(super) struct Receiver {
    line: Vec<u8>,
    frame: Vec<u8>,
}

impl Receiver {
    /// A packet, when it is whole; frames larger than `buffer` are dropped, as are lines without a mark.
    pub(super) fn byte(&mut self, byte: u8, buffer: usize) -> Option<Vec<u8>> {
        if byte != b'\n' {
            self.line.push(byte);
            return None;
        }
        let line = std::mem::take(&mut self.line);
        if line.len() >= LINE {
            return None;
        }
        match line.get(..2)? {
            [6, 9] => self.frame.clear(),
            [4, 20] if !self.frame.is_empty() => {}
            _ => return None,
        }
        let mut raw = [0; LINE];
        let Ok(raw) = Base64::decode(&line[2..], &mut raw) else {
            self.frame.clear();
            return None;
        };
        self.frame.extend_from_slice(raw);
        let [l0, l1, rest @ ..] = &self.frame[..] else {
            return None;
        };
        let length = usize::from(u16::from_be_bytes([*l0, *l1]));
        if self.frame.len() > buffer || rest.len() > length {
            self.frame.clear();
            return None;
        }
        if rest.len() < length {
            return None;
        }
        let packet = rest.split_last_chunk::<2>().and_then(|(packet, crc)| {
            (CRC.checksum(packet) == u16::from_be_bytes(*crc)).then(|| packet.to_vec())
        });
        self.frame.clear();
        packet
    }
}

/// The lines of a packet.
pub fn lines(packet: &[u8]) -> Vec<Vec<u8>> {
    let length = packet.len() as u16 + 2;
    let mut frame = length.to_be_bytes().to_vec();
    frame.extend_from_slice(packet);
    frame.extend(CRC.checksum(packet).to_be_bytes());
    let line = |(number, raw): (usize, &[u8])| {
        let mut line = if number == 0 { vec![6, 9] } else { vec![4, 20] };
        let mut chars = [0; LINE];
        let chars = Base64::encode(raw, &mut chars).unwrap_or_default();
        line.extend_from_slice(chars.as_bytes());
        line.push(b'\n');
        line
    };
    frame.chunks(RAW).enumerate().map(line).collect()
}
