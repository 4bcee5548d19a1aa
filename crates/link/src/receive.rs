//! Which blocks the MCU has written, and, where it pulls, which it asks for (`docs/link.md`, Data).

#[cfg(feature = "pull")]
use crate::timing::{Millis, Rto, Timing};
use sota_errors::LinkError;

/// What a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// To be written.
    New,
    /// Written already.
    Known,
    /// Beyond the window.
    Beyond,
}

/// The window's blocks.
#[derive(Clone, Copy, Debug)]
#[repr(C)] // bytes first: they are within reach of short instructions (mcu/mod.rs)
pub(crate) struct Blocks {
    window: u8,
    /// Bit i: block i from `base` on is written.
    have: u8,
    /// Bytes, a power of two.
    block: u32,
    /// Ack's offset: a multiple of the block, or the length.
    base: u32,
    length: u32,
}

impl Blocks {
    /// Of no package.
    pub(crate) const NONE: Blocks = Blocks {
        window: 0,
        have: 0,
        block: 0,
        base: 0,
        length: 0,
    };

    pub(crate) fn new(block: u16, window: u8, length: u32) -> Blocks {
        Blocks {
            block: block.into(),
            window,
            length,
            ..Blocks::NONE
        }
    }

    pub(crate) const fn base(&self) -> u32 {
        self.base
    }

    pub(crate) const fn bitmap(&self) -> u8 {
        self.have
    }

    /// Everything is written and durable.
    pub(crate) const fn is_complete(&self) -> bool {
        self.base >= self.length
    }

    /// In blocks, rounded down.
    fn blocks(&self, bytes: u32) -> u32 {
        bytes.checked_div(self.block).unwrap_or(0)
    }

    /// In bytes.
    const fn bytes(&self, blocks: u32) -> u32 {
        blocks.wrapping_mul(self.block)
    }

    /// What of it is above where a block begins.
    const fn inside(&self, offset: u32) -> u32 {
        offset & self.block.wrapping_sub(1)
    }

    /// Rounds down to where a block begins; the length is kept.
    fn border(&self, offset: u32) -> u32 {
        match offset >= self.length {
            true => self.length,
            false => offset - self.inside(offset),
        }
    }

    /// Goes on from here; what was written above is forgotten.
    pub(crate) fn set_base(&mut self, offset: u32) {
        self.base = self.border(offset);
        self.have = 0;
    }

    /// What is written from here on, rounded down to a block's begin, is to be received again.
    pub(crate) fn redo(&mut self, offset: u32) {
        match self.blocks(offset.saturating_sub(self.base)) {
            0 => self.set_base(offset.min(self.base)),
            keep => self.have &= low_bits(keep),
        }
    }

    /// Judges a block that came.
    ///
    /// # Errors
    /// [`LinkError::LinkBadOffset`]: it is no whole block of this package.
    pub(crate) fn take(&self, offset: u32, len: usize) -> Result<Taken, LinkError> {
        let left = self.length.saturating_sub(offset);
        if left == 0 || self.inside(offset) > 0 || len as u32 != left.min(self.block) {
            return Err(LinkError::LinkBadOffset);
        }
        let Some(above) = offset.checked_sub(self.base) else {
            return Ok(Taken::Known);
        };
        let i = self.blocks(above);
        if i >= u32::from(self.window) {
            return Ok(Taken::Beyond);
        }
        match u32::from(self.have) >> (i & 7) & 1 {
            0 => Ok(Taken::New),
            _ => Ok(Taken::Known),
        }
    }

    /// The block that was [`Taken::New`] is written.
    pub(crate) fn written(&mut self, offset: u32) {
        let i = self.blocks(offset.saturating_sub(self.base));
        self.have |= 1 << (i & 7);
    }

    /// Every byte below is written.
    pub(crate) fn contiguous(&self) -> u32 {
        let blocks = self.have.trailing_ones();
        self.base
            .saturating_add(self.bytes(blocks))
            .min(self.length)
    }

    /// The slot says that a reset would go on from `durable`. Where that lags by more than half a window, or behind the
    /// piece's `end`, the offset runs ahead of it: else nothing more would be sent. `true`: the offset has moved.
    #[inline(never)]
    pub(crate) fn commit(&mut self, durable: u32, end: u32) -> bool {
        let contiguous = self.contiguous();
        let lag = self.bytes(u32::from(self.window / 2));
        let least = match contiguous == self.length || (end > self.base && contiguous >= end) {
            true => contiguous,
            false => contiguous.saturating_sub(lag),
        };
        let base = self
            .border(durable.min(contiguous).max(least))
            .max(self.base);
        // The last block may be shorter than a block.
        let blocks = self.blocks((base - self.base).wrapping_add(self.block.wrapping_sub(1)));
        self.have = u32::from(self.have).checked_shr(blocks).unwrap_or(0) as u8;
        core::mem::replace(&mut self.base, base) != base
    }

    /// The first gap, at most to the window's end and to `end`.
    #[cfg(feature = "pull")]
    fn gap(&self, end: u32) -> Option<(u32, u32)> {
        let first = self.have.trailing_ones();
        let many = (self.have.checked_shr(first).unwrap_or(0))
            .trailing_zeros()
            .min(u32::from(self.window).saturating_sub(first));
        let from = self.base.checked_add(self.bytes(first))?;
        let to = from
            .saturating_add(self.bytes(many))
            .min(self.length)
            .min(end);
        (from < to).then_some((from, to))
    }
}

/// So many bits.
fn low_bits(many: u32) -> u8 {
    (1_u32.checked_shl(many).unwrap_or(0)).wrapping_sub(1) as u8
}

/// A request under way.
#[cfg(feature = "pull")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pull {
    /// What was asked for and did not come yet: `from..to`.
    from: u32,
    to: u32,
    at: Millis,
    /// The range was asked for again: its answer is no sample.
    again: bool,
    fresh: bool,
    rto: Rto,
}

#[cfg(feature = "pull")]
impl Pull {
    pub(crate) const NONE: Pull = Pull {
        from: 0,
        to: 0,
        at: 0,
        again: false,
        fresh: false,
        rto: Rto::ZERO,
    };

    pub(crate) fn new(timing: Timing) -> Pull {
        Pull {
            rto: Rto::new(timing),
            ..Pull::NONE
        }
    }

    /// A block came.
    pub(crate) fn on_block(&mut self, now: Millis, offset: u32, len: usize) {
        if offset >= self.from && offset < self.to {
            if self.fresh && !self.again {
                self.rto.sample(now.saturating_sub(self.at));
            }
            self.fresh = false;
            self.at = now;
            self.from = offset.saturating_add(len as u32);
        }
    }

    /// What to ask for now: offset and length.
    pub(crate) fn next(
        &mut self,
        now: Millis,
        blocks: &Blocks,
        range: (u32, u32),
    ) -> Option<(u32, u32)> {
        let late = self.from < self.to && now >= self.deadline();
        if self.from < self.to && !late {
            return None;
        }
        if late {
            self.rto.expired();
            // If nothing can be asked for now, nothing is under way either.
            self.to = self.from;
        }
        let (from, to) = blocks.gap(range.1).filter(|(from, _)| *from >= range.0)?;
        *self = Pull {
            from,
            to,
            at: now,
            again: late,
            fresh: true,
            rto: self.rto,
        };
        Some((from, to - from))
    }

    pub(crate) fn deadline(&self) -> Millis {
        match self.from < self.to {
            true => self.at.saturating_add(self.rto.timeout()),
            false => Millis::MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: u32 = 1024;

    fn blocks(length: u32) -> Blocks {
        Blocks::new(BLOCK as u16, 8, length)
    }

    #[test]
    fn any_order_inside_the_window() {
        let mut b = blocks(20 * BLOCK + 5);
        for i in [2, 0, 7] {
            assert_eq!(b.take(i * BLOCK, 1024), Ok(Taken::New));
            b.written(i * BLOCK);
            assert_eq!(b.take(i * BLOCK, 1024), Ok(Taken::Known));
        }
        assert_eq!(b.take(8 * BLOCK, 1024), Ok(Taken::Beyond));
        assert_eq!((b.bitmap(), b.contiguous()), (0b1000_0101, BLOCK));
        b.commit(BLOCK, 0);
        assert_eq!((b.base(), b.bitmap()), (BLOCK, 0b0100_0010));
        assert_eq!(b.take(0, 1024), Ok(Taken::Known));
        assert_eq!(b.take(8 * BLOCK, 1024), Ok(Taken::New));
    }

    #[test]
    fn an_offset_or_length_that_cannot_be() {
        let b = blocks(20 * BLOCK + 5);
        let bad = Err(LinkError::LinkBadOffset);
        for (offset, len) in [
            (1, 1024),
            (0, 1023),
            (0, 1025),
            (20 * BLOCK, 1024),
            (20 * BLOCK, 4),
            (20 * BLOCK + 5, 1),
            (21 * BLOCK, 1024),
            (u32::MAX, 1),
            (u32::MAX - 1023, 1024),
        ] {
            assert_eq!(b.take(offset, len), bad, "{offset} {len}");
        }
    }

    #[test]
    fn the_offset_is_durable_while_the_slot_keeps_up() {
        let mut b = blocks(100 * BLOCK);
        for i in 0..4 {
            b.written(i * BLOCK);
            b.commit(0, 0);
        }
        assert_eq!((b.base(), b.bitmap()), (0, 0b1111));
        b.written(4 * BLOCK);
        b.commit(0, 0);
        assert_eq!(
            (b.base(), b.bitmap()),
            (BLOCK, 0b1111),
            "half a window ahead at most"
        );
        b.commit(5 * BLOCK, 0);
        assert_eq!((b.base(), b.bitmap()), (5 * BLOCK, 0));
        b.commit(u32::MAX, 0);
        assert_eq!(b.base(), 5 * BLOCK, "never more than is written");
    }

    #[test]
    fn the_offset_comes_to_the_end_of_a_piece() {
        let mut b = blocks(100 * BLOCK);
        for i in 0..2 {
            b.written(i * BLOCK);
            b.commit(0, 2 * BLOCK);
        }
        assert_eq!((b.base(), b.bitmap()), (2 * BLOCK, 0));
        b.written(2 * BLOCK);
        b.commit(0, 2 * BLOCK);
        assert_eq!((b.base(), b.bitmap()), (2 * BLOCK, 1), "an old piece");
    }

    #[test]
    fn what_is_torn_is_received_again_and_no_more() {
        let mut b = blocks(100 * BLOCK);
        b.set_base(10 * BLOCK);
        for i in [11, 12, 14] {
            b.written(i * BLOCK);
        }
        b.redo(30 * BLOCK);
        assert_eq!((b.base(), b.bitmap()), (10 * BLOCK, 0b10110));
        b.redo(12 * BLOCK);
        assert_eq!((b.base(), b.bitmap()), (10 * BLOCK, 0b10));
        b.redo(10 * BLOCK);
        assert_eq!((b.base(), b.bitmap()), (10 * BLOCK, 0));
        b.redo(7 * BLOCK + 3);
        assert_eq!((b.base(), b.bitmap()), (7 * BLOCK, 0));
    }

    #[test]
    fn the_short_last_block_completes() {
        let mut b = blocks(BLOCK + 5);
        b.written(0);
        b.commit(BLOCK, 0);
        assert_eq!(b.take(BLOCK, 5), Ok(Taken::New));
        b.written(BLOCK);
        b.commit(BLOCK, 0);
        assert!(b.is_complete());
        assert_eq!(b.base(), BLOCK + 5);
    }

    #[test]
    fn offsets_up_to_32_bits() {
        let mut b = blocks(u32::MAX);
        b.set_base(u32::MAX - 1);
        let last = u32::MAX / BLOCK * BLOCK;
        assert_eq!(b.base(), last);
        assert_eq!(b.gap(u32::MAX), Some((last, u32::MAX)));
        assert_eq!(b.take(last, 1023), Ok(Taken::New));
        b.written(last);
        assert_eq!(b.contiguous(), u32::MAX);
        b.commit(u32::MAX, 0);
        assert!(b.is_complete());
        assert_eq!(b.gap(u32::MAX), None);
    }

    #[test]
    fn asks_for_gaps() {
        let mut b = blocks(20 * BLOCK);
        let mut pull = Pull::new(Timing::new(1024, 115_200));
        let all = (0, 20 * BLOCK);
        assert_eq!(pull.next(1, &b, all), Some((0, 8 * BLOCK)));
        assert_eq!(pull.next(2, &b, all), None);
        for i in [0, 1, 3, 4, 5, 6, 7] {
            pull.on_block(100, i * BLOCK, 1024);
            b.written(i * BLOCK);
        }
        b.commit(2 * BLOCK, 0);
        assert_eq!(pull.next(100, &b, all), Some((2 * BLOCK, BLOCK)), "the gap");
        let at = pull.deadline();
        assert_eq!(pull.next(at - 1, &b, all), None);
        assert_eq!(pull.next(at, &b, all), Some((2 * BLOCK, BLOCK)), "again");
        assert!(pull.deadline() > 2 * at - 100, "doubled");
        pull.on_block(at, 2 * BLOCK, 1024);
        assert_eq!(pull.next(at, &b, (0, 2 * BLOCK)), None, "not here yet");
    }
}
