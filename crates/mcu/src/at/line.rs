//! Bytes of the UART: lines, the data behind a read's header, and the command on its way.

/// Longest line that can mean something: 10700 with every text at its longest has 208 bytes.
pub(super) const LINE: usize = 224;
/// Longest command, with its CR: the announcement of a version has 117 bytes.
const COMMAND: usize = 120;

/// What the next byte is part of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expects {
    Line,
    Data,
    /// CR and LF behind the data: where the line lost or doubled a byte of the data, they stand somewhere else.
    Cr,
    Lf,
}

/// What is done with the data of a read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Data {
    /// It goes behind what the block has.
    Store,
    /// It is compared with what stands there, and replaces it.
    Compare,
    /// It was read for the module's timer only.
    Drop,
}

/// What was received.
pub(super) struct Rx<const BLOCK: usize> {
    expects: Expects,
    data: Data,
    /// A line waits in `line`; bytes behind it are not taken.
    complete: bool,
    /// More bytes than `line` has room for.
    too_long: bool,
    /// The data's end is not where it should be.
    bad: bool,
    /// What was compared is not the same.
    differs: bool,
    /// Bytes came since [`take_heard`](Self::take_heard).
    heard: bool,
    /// Everything is dropped.
    drains: bool,
    len: u8,
    /// Bytes of the block that are the package's.
    pub(super) fill: u16,
    /// Bytes of the data that came, and that come.
    got: u16,
    left: u16,
    line: [u8; LINE],
    block: [u8; BLOCK],
}

impl<const BLOCK: usize> Rx<BLOCK> {
    pub(super) const fn new() -> Self {
        Rx {
            expects: Expects::Line,
            data: Data::Store,
            complete: false,
            too_long: false,
            bad: false,
            differs: false,
            heard: false,
            drains: false,
            len: 0,
            fill: 0,
            got: 0,
            left: 0,
            line: [0; LINE],
            block: [0; BLOCK],
        }
    }

    /// Takes bytes up to the end of a line.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> usize {
        self.heard |= !bytes.is_empty();
        if self.drains {
            return bytes.len();
        }
        for (taken, byte) in bytes.iter().enumerate() {
            if self.complete || self.bad {
                return taken;
            }
            self.byte(*byte);
        }
        bytes.len()
    }

    fn byte(&mut self, byte: u8) {
        match (self.expects, byte) {
            (Expects::Line, b'\r') => {}
            // A line that is too long means nothing, and neither does an empty one.
            (Expects::Line, b'\n') if core::mem::take(&mut self.too_long) => self.len = 0,
            (Expects::Line, b'\n') => self.complete = self.len > 0,
            (Expects::Line, byte) => match self.line.get_mut(usize::from(self.len)) {
                Some(place) => {
                    *place = byte;
                    self.len += 1;
                }
                None => self.too_long = true,
            },
            (Expects::Data, byte) => {
                if self.data != Data::Drop
                    && let Some(place) = self.block.get_mut(usize::from(self.fill + self.got))
                {
                    self.differs |= *place != byte;
                    *place = byte;
                }
                self.got += 1;
                self.left -= 1;
                if self.left == 0 {
                    self.expects = Expects::Cr;
                }
            }
            (Expects::Cr, b'\r') => self.expects = Expects::Lf,
            (Expects::Lf, b'\n') => self.expects = Expects::Line,
            _ => self.bad = true,
        }
    }

    /// The line that waits.
    pub(super) fn line(&self) -> Option<&[u8]> {
        match self.complete {
            true => self.line.get(..usize::from(self.len)),
            false => None,
        }
    }

    /// It was acted on: the next one.
    pub(super) fn next_line(&mut self) {
        (self.complete, self.len) = (false, 0);
    }

    /// Behind this line come `length` bytes, no more than there is room for.
    pub(super) fn take_data(&mut self, length: u16, data: Data) {
        let room = match data {
            Data::Drop => length,
            _ => BLOCK as u16 - self.fill,
        };
        if (1..=room).contains(&length) {
            (self.expects, self.data) = (Expects::Data, data);
            (self.got, self.left, self.differs) = (0, length, false);
        }
    }

    /// Bytes of the data that came and were kept; 0: none, or not to the end.
    pub(super) fn data(&self) -> u16 {
        match self.expects == Expects::Line {
            true => self.got,
            false => 0,
        }
    }

    /// The data is what was there before.
    pub(super) fn is_same(&self) -> bool {
        self.data == Data::Compare && !self.differs
    }

    /// No data came yet for the command that is sent next.
    pub(super) fn no_data(&mut self) {
        self.got = 0;
    }

    /// The block's bytes.
    pub(super) fn block(&self) -> &[u8] {
        self.block.get(..usize::from(self.fill)).unwrap_or_default()
    }

    /// These first bytes of the block are in the flash.
    pub(super) fn drop_front(&mut self, n: u16) {
        let n = n.min(self.fill);
        self.block
            .copy_within(usize::from(n)..usize::from(self.fill), 0);
        self.fill -= n;
    }

    /// Bytes came since the last call.
    pub(super) fn take_heard(&mut self) -> bool {
        core::mem::take(&mut self.heard)
    }

    /// The data's end was not where it should be.
    pub(super) const fn is_bad(&self) -> bool {
        self.bad
    }

    /// Forgets what is half received. `true`: and drops all that comes, `false`: listens again.
    pub(super) fn drain(&mut self, drains: bool) {
        self.next_line();
        self.drains = drains;
        self.expects = Expects::Line;
        (self.too_long, self.bad, self.got) = (false, false, 0);
    }

    pub(super) const fn drains(&self) -> bool {
        self.drains
    }
}

/// The command on its way.
pub(super) struct Tx {
    from: u8,
    to: u8,
    bytes: [u8; COMMAND],
}

impl Tx {
    pub(super) const fn new() -> Self {
        Tx {
            from: 0,
            to: 0,
            bytes: [0; COMMAND],
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.from == self.to
    }

    /// Moves bytes out.
    pub(super) fn take(&mut self, out: &mut [u8]) -> usize {
        let waiting = self.bytes.get(usize::from(self.from)..usize::from(self.to));
        let mut n = 0;
        for (to, from) in out.iter_mut().zip(waiting.unwrap_or_default()) {
            *to = *from;
            n += 1;
        }
        self.from += n as u8;
        if self.is_empty() {
            (self.from, self.to) = (0, 0);
        }
        n
    }

    /// What has no room is dropped: the longest command has it.
    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        for byte in bytes {
            if let Some(place) = self.bytes.get_mut(usize::from(self.to)) {
                *place = *byte;
                self.to += 1;
            }
        }
        self
    }

    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    pub(super) fn quoted(&mut self, text: &str) -> &mut Self {
        self.text("\"").text(text).text("\"")
    }

    pub(super) fn number(&mut self, mut number: u32) -> &mut Self {
        let mut digits = [0; 10];
        let mut from = digits.len();
        for place in digits.iter_mut().rev() {
            *place = b'0' + (number % 10) as u8;
            number /= 10;
            from -= 1;
            if number == 0 {
                break;
            }
        }
        self.bytes(digits.get(from..).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(tx: &mut Tx) -> ([u8; COMMAND], usize) {
        let mut out = [0; COMMAND];
        let n = tx.take(&mut out);
        (out, n)
    }

    #[test]
    fn numbers_at_their_ends() {
        let mut tx = Tx::new();
        tx.number(0).text(",").number(10).text(",").number(u32::MAX);
        let (out, n) = sent(&mut tx);
        assert_eq!(&out[..n], b"0,10,4294967295");
        assert!(tx.is_empty());
    }

    #[test]
    fn the_longest_command_fits() {
        let mut tx = Tx::new();
        let (name, version) = (
            core::str::from_utf8(&[b'n'; 32]),
            core::str::from_utf8(&[b'v'; 64]),
        );
        let tx = tx.text("AT+QIOTMCUVER=").quoted(name.unwrap());
        let tx = tx.text(",").quoted(version.unwrap()).text("\r");
        let (out, n) = sent(tx);
        assert!(n < COMMAND && out[..n].ends_with(b"v\"\r"));
    }

    fn lines(rx: &mut Rx<64>, mut bytes: &[u8]) -> usize {
        let mut n = 0;
        while !bytes.is_empty() {
            bytes = &bytes[rx.feed(bytes)..];
            if rx.line().is_some() {
                rx.next_line();
                n += 1;
            }
            if rx.is_bad() {
                break;
            }
        }
        n
    }

    #[test]
    fn a_line_that_is_too_long_means_nothing() {
        let mut rx = Rx::<64>::new();
        assert_eq!(lines(&mut rx, &[b'x'; LINE]), 0);
        assert_eq!(lines(&mut rx, b"\n"), 1);
        assert_eq!(lines(&mut rx, &[b'x'; LINE + 1]), 0);
        assert_eq!(lines(&mut rx, b"\r\n\r\n\r\nOK\r\n"), 1);
    }

    #[test]
    fn data_with_lines_in_it_and_its_end() {
        let mut rx = Rx::<64>::new();
        rx.take_data(4, Data::Store);
        assert_eq!(lines(&mut rx, b"\nOK\n\r\n\r\nOK\r\n"), 1);
        assert_eq!(rx.data(), 4);
        rx.fill = 4;
        assert_eq!(rx.block(), b"\nOK\n");
        // The same again, and another.
        rx.fill = 0;
        rx.take_data(4, Data::Compare);
        lines(&mut rx, b"\nOK\n\r\n");
        assert!(rx.is_same());
        rx.take_data(4, Data::Compare);
        lines(&mut rx, b"\nNO\n\r\n");
        assert!(!rx.is_same());
        // A byte was lost or doubled.
        for end in [&b"\nOK\r\n\r\n"[..], b"\nOK\n\n\r\n"] {
            rx.drain(false);
            rx.take_data(4, Data::Store);
            lines(&mut rx, end);
            assert!(rx.is_bad());
        }
        // More than there is room for.
        rx.drain(false);
        rx.fill = 60;
        rx.take_data(5, Data::Store);
        assert_eq!(lines(&mut rx, b"OK\r\n"), 1);
    }
}
