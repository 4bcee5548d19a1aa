//! The blocks that the module has on their way, and which comes next (`docs/link.md`, Data).
//!
//! | a block of the window is | leaves to |
//! |---|---|
//! | to be sent | on its way |
//! | on its way | acknowledged; to be sent when one sent later is acknowledged, or when it is the lowest and RTO passed |
//! | acknowledged | to be sent when an Ack no longer names it |

use crate::message::Ack;
use crate::session::WINDOW_MOST;
use crate::timing::{Millis, Rto, Timing};

const SLOTS: usize = WINDOW_MOST as usize;

#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    /// Place in the order of sending; 0 = not on its way.
    order: u32,
    at: Millis,
    again: bool,
}

/// Blocks of `block` bytes from `base` on.
#[derive(Debug)]
pub(crate) struct Window {
    block: u32,
    base: u32,
    bitmap: u8,
    /// By block number modulo 8.
    sent: [Sent; SLOTS],
    order: u32,
    rto: Rto,
}

impl Window {
    pub(crate) fn new(block: u16, timing: Timing) -> Window {
        Window {
            block: u32::from(block.max(1)),
            base: 0,
            bitmap: 0,
            sent: [Sent::default(); SLOTS],
            order: 0,
            rto: Rto::new(timing),
        }
    }

    /// Up to here the MCU has it durable.
    pub(crate) const fn base(&self) -> u32 {
        self.base
    }

    fn slot(&mut self, offset: u32) -> &mut Sent {
        let index = (offset / self.block) as usize % SLOTS;
        &mut self.sent[index]
    }

    /// The line became another.
    pub(crate) fn set_timing(&mut self, timing: Timing) {
        self.rto = Rto::new(timing);
        self.sent = [Sent::default(); SLOTS];
    }

    /// Offset of the window's block `i`; `None` beyond 32 bits.
    fn place(&self, i: usize) -> Option<u32> {
        self.base.checked_add(self.block.checked_mul(i as u32)?)
    }

    fn has(&self, i: usize) -> bool {
        self.bitmap >> i & 1 != 0
    }

    /// Takes what an Ack says of the package of `length` bytes. `false`: its offset cannot be.
    pub(crate) fn on_ack(&mut self, now: Millis, ack: &Ack, length: u32) -> bool {
        let whole = ack.offset == length || ack.offset.is_multiple_of(self.block);
        if ack.offset > length || !whole {
            return false;
        }
        if ack.offset < self.base {
            // The MCU lost something. What is on its way may be written or not: its next Acks say so.
            self.sent = [Sent::default(); SLOTS];
        }
        let mut latest = Sent::default();
        for i in 0..SLOTS {
            let Some(offset) = self.place(i) else { break };
            let above = offset.checked_sub(ack.offset);
            let acked = match above {
                None => true,
                Some(above) => {
                    let i = above / self.block;
                    i < u32::from(WINDOW_MOST) && ack.bitmap >> i & 1 != 0
                }
            };
            if acked {
                let sent = core::mem::take(self.slot(offset));
                if sent.order > latest.order {
                    latest = sent;
                }
            }
        }
        if latest.order > 0 && !latest.again {
            self.rto.sample(now.saturating_sub(latest.at));
        }
        self.base = ack.offset;
        self.bitmap = ack.bitmap;
        for sent in &mut self.sent {
            if sent.order < latest.order {
                sent.order = 0;
            }
        }
        true
    }

    /// The lowest block to send of those that the MCU wants (`window` blocks) and that lie in `from..to`.
    pub(crate) fn next(&mut self, window: u8, from: u32, to: u32) -> Option<u32> {
        for i in 0..usize::from(window.min(WINDOW_MOST)) {
            let offset = self.place(i)?;
            if offset >= to {
                return None;
            }
            if offset >= from && !self.has(i) && self.slot(offset).order == 0 {
                return Some(offset);
            }
        }
        None
    }

    /// The block at `offset` is written to the UART.
    pub(crate) fn on_sent(&mut self, now: Millis, offset: u32) {
        self.order = self.order.saturating_add(1);
        let order = self.order;
        let sent = self.slot(offset);
        // `at` is 0 only before the first time.
        let again = sent.at != 0;
        *sent = Sent {
            order,
            at: now.max(1),
            again,
        };
    }

    /// The last byte of the block at `offset` was given to the UART: its round trip begins now.
    pub(crate) fn on_left(&mut self, now: Millis, offset: u32) {
        let sent = self.slot(offset);
        if sent.order != 0 {
            sent.at = now.max(1);
        }
    }

    /// The lowest block on its way, and when it is taken for lost.
    fn lowest(&self) -> Option<(usize, Millis)> {
        (0..SLOTS).find_map(|i| {
            let index = (self.place(i)? / self.block) as usize % SLOTS;
            let sent = self.sent.get(index)?;
            let on_its_way = sent.order != 0 && !self.has(i);
            on_its_way.then(|| (index, sent.at.saturating_add(self.rto.timeout())))
        })
    }

    /// Takes the lowest block for lost if its time is over; the others' time begins anew.
    pub(crate) fn poll(&mut self, now: Millis) {
        if let Some((index, at)) = self.lowest()
            && now >= at
        {
            self.sent[index].order = 0;
            self.rto.expired();
            for sent in &mut self.sent {
                if sent.order != 0 {
                    (sent.at, sent.again) = (now.max(1), true);
                }
            }
        }
    }

    /// When [`poll`](Self::poll) has something to do.
    pub(crate) fn deadline(&self) -> Option<Millis> {
        self.lowest().map(|(_, at)| at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: u32 = 100_000;

    fn window() -> Window {
        Window::new(1024, Timing::new(1024, 115_200))
    }

    fn ack(offset: u32, bitmap: u8) -> Ack {
        Ack {
            offset,
            bitmap,
            window: 8,
            ..Ack::default()
        }
    }

    fn send(window: &mut Window, now: Millis) -> Vec<u32> {
        let mut out = Vec::new();
        while let Some(offset) = window.next(8, 0, LENGTH) {
            window.on_sent(now, offset);
            out.push(offset / 1024);
        }
        out
    }

    extern crate std;
    use std::vec::Vec;

    #[test]
    fn fills_and_moves() {
        let mut w = window();
        assert_eq!(send(&mut w, 1), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert!(w.on_ack(50, &ack(2048, 0), LENGTH));
        assert_eq!(send(&mut w, 50), [8, 9]);
        assert_eq!(w.next(0, 0, LENGTH), None, "wait");
    }

    #[test]
    fn a_gap_is_sent_again_once_and_only_the_gap() {
        let mut w = window();
        send(&mut w, 1);
        assert!(w.on_ack(50, &ack(1024, 0b110), LENGTH));
        assert_eq!(send(&mut w, 50), [1, 8]);
        assert!(w.on_ack(60, &ack(1024, 0b1110), LENGTH));
        assert_eq!(send(&mut w, 60), [0; 0], "on its way");
        assert!(w.on_ack(70, &ack(1024, 0b1111_1110), LENGTH));
        assert!(w.on_ack(80, &ack(9 * 1024, 0), LENGTH));
        assert_eq!(
            send(&mut w, 80).first(),
            Some(&9),
            "block 1 and all after it came"
        );
    }

    #[test]
    fn the_lowest_is_sent_again_after_its_time_then_the_rest_by_its_ack() {
        let mut w = window();
        send(&mut w, 1);
        let at = w.deadline().unwrap();
        w.poll(at - 1);
        assert_eq!(send(&mut w, at - 1), [0; 0]);
        w.poll(at);
        assert_eq!(send(&mut w, at), [0]);
        assert!(w.on_ack(at + 100, &ack(1024, 0), LENGTH));
        assert_eq!(send(&mut w, at + 100), [1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn a_lower_offset_sends_again_from_there() {
        let mut w = window();
        send(&mut w, 1);
        assert!(w.on_ack(50, &ack(4096, 0), LENGTH));
        assert!(w.on_ack(60, &ack(0, 0), LENGTH));
        assert_eq!(send(&mut w, 60), [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn only_what_lies_in_the_piece() {
        let mut w = window();
        assert_eq!(w.next(8, 2048, LENGTH), Some(2048));
        assert_eq!(w.next(8, 0, 0), None);
        assert_eq!(w.next(2, 2048, LENGTH), None);
    }

    #[test]
    fn offsets_that_cannot_be() {
        let mut w = window();
        assert!(!w.on_ack(1, &ack(LENGTH + 1, 0), LENGTH));
        assert!(!w.on_ack(1, &ack(5, 0), LENGTH));
        assert!(w.on_ack(1, &ack(LENGTH, 0xFF), LENGTH));
        assert_eq!(w.next(8, 0, LENGTH), None);
        let near_the_end = u32::MAX / 1024 * 1024;
        assert!(w.on_ack(1, &ack(near_the_end, 0xFF), u32::MAX));
        assert_eq!(w.next(8, 0, u32::MAX), None);
    }
}
