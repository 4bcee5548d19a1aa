//! How far a sender is ahead of its line.
//!
//! The system takes kilobytes for a port, on Linux 4 KiB or more: the whole window of the link. What is lost is then sent again
//! behind all of them, and when that is lost too nothing is left to send that would tell. A UART of a device has some bytes.
//! So no more is written than the line carries in [`AHEAD`].

const NANOS: u64 = 1_000_000_000;
/// Nanoseconds. More than this machine's scheduler makes a thread wait, or the line would fall idle.
const AHEAD: u64 = 20_000_000;

/// What was written and, by the line's speed, has not left yet. Times are milliseconds of the caller's clock.
#[derive(Debug)]
pub(crate) struct Ahead {
    nanos_per_byte: u64,
    /// When the last byte will have left, ns.
    left_at: u64,
    again_at: Option<u64>,
}

impl Ahead {
    /// Of 8N1.
    pub(crate) fn new(baud: u32) -> Ahead {
        let mut ahead = Ahead {
            nanos_per_byte: 0,
            left_at: 0,
            again_at: None,
        };
        ahead.set_baud(baud);
        ahead
    }

    pub(crate) fn set_baud(&mut self, baud: u32) {
        self.nanos_per_byte = 10 * NANOS / u64::from(baud.max(1)) + 1;
    }

    /// How many of so many bytes may be written now.
    pub(crate) fn room(&mut self, now: u64, wanted: usize) -> usize {
        let waiting = self.left_at.saturating_sub(now * 1_000_000);
        // However slow the line is, an idle one takes a byte.
        let least = usize::from(waiting == 0);
        let bytes = AHEAD.saturating_sub(waiting) / self.nanos_per_byte;
        let room = wanted.min((bytes as usize).max(least));
        let half_left = self.left_at.saturating_sub(AHEAD / 2).div_ceil(1_000_000);
        self.again_at = (room == 0).then_some(half_left.max(now + 1));
        room
    }

    pub(crate) fn wrote(&mut self, now: u64, bytes: usize) {
        self.left_at = self.left_at.max(now * 1_000_000) + bytes as u64 * self.nanos_per_byte;
    }

    /// When there is room again; `None`: there is.
    pub(crate) fn again_at(&self) -> Option<u64> {
        self.again_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_line_carries() {
        let mut ahead = Ahead::new(100_000);
        assert_eq!(ahead.room(5, 1_000), 199, "10 bytes each millisecond");
        ahead.wrote(5, 199);
        assert_eq!(ahead.room(5, 1_000), 0);
        assert_eq!(ahead.again_at(), Some(15), "half of it has left");
        assert_eq!((ahead.room(15, 1_000), ahead.again_at()), (100, None));
        ahead.wrote(15, 60);
        assert_eq!((ahead.room(15, 30), ahead.again_at()), (30, None));
        assert_eq!(ahead.room(500, 1_000), 199, "idle time is not saved up");
        ahead.set_baud(1_000_000);
        assert_eq!(ahead.room(500, 10_000), 1_999);
    }

    #[test]
    fn a_slow_line_takes_a_byte_when_one_has_left() {
        let mut ahead = Ahead::new(300);
        assert_eq!(ahead.room(0, 5), 1);
        ahead.wrote(0, 1);
        assert_eq!((ahead.room(33, 5), ahead.again_at()), (0, Some(34)));
        assert_eq!(ahead.room(34, 5), 1);
    }
}
