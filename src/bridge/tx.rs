//! Bytes on their way to the UART, and the text of answers without `core::fmt`.

use crate::text::decimal;

/// Most data bytes one `AT+QIOTOTARD` gives.
pub(crate) const READ_MAX: usize = 1024;
/// Room before the data for `CRLF +QIOTOTARD: <start>,<n> CRLF` (31 bytes at most).
const HEAD: usize = 32;
/// Room after the data for `CRLF CRLF OK CRLF`, and a margin for an echo.
const TAIL: usize = 32;
const SIZE: usize = HEAD + READ_MAX + TAIL;

/// One part of a line.
pub(crate) enum Part<'a> {
    /// As it is.
    Text(&'a str),
    /// In double quotes.
    Quoted(&'a str),
    /// Decimal.
    Number(u32),
}

/// A linear buffer: it is filled behind `end`, emptied from `start`, and starts anew when empty.
pub(crate) struct Tx {
    buffer: [u8; SIZE],
    start: usize,
    end: usize,
}

impl Tx {
    pub(crate) const fn new() -> Self {
        Tx {
            buffer: [0; SIZE],
            start: 0,
            end: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Bytes that can be pushed before something is taken.
    pub(crate) fn room(&self) -> usize {
        SIZE - self.end
    }

    /// Moves up to `out.len()` bytes out.
    pub(crate) fn take(&mut self, out: &mut [u8]) -> usize {
        let Some(waiting) = self.buffer.get(self.start..self.end) else {
            return 0;
        };
        let n = waiting.len().min(out.len());
        if let (Some(out), Some(from)) = (out.get_mut(..n), waiting.get(..n)) {
            out.copy_from_slice(from);
        }
        self.start += n;
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
        n
    }

    /// A byte without room is dropped: callers ask [`Tx::room`] first, this is the last barrier.
    pub(crate) fn byte(&mut self, byte: u8) {
        if let Some(slot) = self.buffer.get_mut(self.end) {
            *slot = byte;
            self.end += 1;
        }
    }

    fn text(&mut self, text: &str) {
        for byte in text.bytes() {
            self.byte(byte);
        }
    }

    fn number(&mut self, number: u32) {
        self.text(decimal(number, &mut [0; 10]));
    }

    fn part(&mut self, part: &Part) {
        match part {
            Part::Text(text) => self.text(text),
            Part::Quoted(text) => {
                self.byte(b'"');
                self.text(text);
                self.byte(b'"');
            }
            Part::Number(number) => self.number(*number),
        }
    }

    /// `CRLF line CRLF`.
    pub(crate) fn line(&mut self, parts: &[Part]) {
        self.text("\r\n");
        for part in parts {
            self.part(part);
        }
        self.text("\r\n");
    }

    /// Where the data of a read goes; only meaningful while the buffer is empty.
    pub(crate) fn data(&mut self, len: usize) -> &mut [u8] {
        let len = len.min(READ_MAX);
        self.buffer.get_mut(HEAD..HEAD + len).unwrap_or_default()
    }

    /// Puts the frame of a read around the `n` bytes that stand in [`Tx::data`]: the data is not
    /// copied, its header is written right before it.
    pub(crate) fn read_answer(&mut self, start: u32, n: usize) {
        let n = n.min(READ_MAX);
        self.start = 0;
        self.end = 0;
        self.line(&[
            Part::Text("+QIOTOTARD: "),
            Part::Number(start),
            Part::Text(","),
            Part::Number(n as u32),
        ]);
        let head = self.end.min(HEAD);
        self.buffer.copy_within(0..head, HEAD - head);
        self.start = HEAD - head;
        self.end = HEAD + n;
        self.text("\r\n\r\nOK\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_at_their_ends() {
        let mut tx = Tx::new();
        tx.line(&[Part::Number(0), Part::Text(","), Part::Number(u32::MAX)]);
        let mut out = [0; 64];
        let n = tx.take(&mut out);
        assert_eq!(&out[..n], b"\r\n0,4294967295\r\n" as &[u8]);
        assert!(tx.is_empty());
        assert_eq!(tx.room(), SIZE);
    }

    #[test]
    fn the_longest_read_fits() {
        let mut tx = Tx::new();
        tx.data(READ_MAX).fill(7);
        tx.read_answer(u32::MAX, READ_MAX);
        let mut out = [0; SIZE];
        let n = tx.take(&mut out);
        assert!(out[..n].starts_with(b"\r\n+QIOTOTARD: 4294967295,1024\r\n\x07"));
        assert!(out[..n].ends_with(b"\x07\r\n\r\nOK\r\n"));
        assert_eq!(out[..n].iter().filter(|byte| **byte == 7).count(), READ_MAX);
    }
}
