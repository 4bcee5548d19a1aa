//! The Send operation (LwM2M 1.1 Core 6.4.7): what the device tells by itself, `POST /dp`, SenML-CBOR.
//!
//! A queue of small items, told strictly in order: the first stays until the server acknowledged it, so
//! nothing is lost by a break and nothing is told twice because of a lost acknowledgement (CoAP's
//! de-duplication covers the copies of one message, the queue everything else). The payload is written
//! from the item when it is sent; the queue keeps no bytes.
//!
//! | phase | means | leaves to |
//! |---|---|---|
//! | Ready | the first item may go | InFlight |
//! | InFlight | waits for the answer | Ready on 2.xx, Pause on a time-out or 5.xx, Refused on 4.xx |
//! | Pause | waits before it tries again | Ready in time or after an Update |
//! | Refused | the server did not take it: does it still know our address? | Ready after an Update |
//!
//! An item that is refused twice with another 4.xx than 4.04 and 4.05 is dropped: it must not hold up those behind it.
//!
//! 4.04 or 4.05 again after an Update: the server has no Send, or it does not find us, because the address translation
//! on the path gave us another address in between, which can happen many times in a row. So nothing is given up: the
//! items stay and are tried with a growing pause, up to an hour. As long as that goes on a full queue
//! loses its oldest item instead of holding up those who tell, because such a server may never take one.

use heapless::Vec;
use sota_coap::after;

use super::registration::back_off;

const RETRY_FIRST_MS: u32 = 5_000;
const RETRY_CAP_MS: u32 = 3_600_000;
const NOT_FOUND: u8 = 0x84;
const NOT_ALLOWED: u8 = 0x85;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Ready,
    InFlight,
    Pause { until: u64 },
    Refused,
}

/// At most `N` items of what is to be told.
#[derive(Clone, Debug)]
pub struct SendQueue<T, const N: usize> {
    // Moved up when the first is gone: for a few small ones that is less code than a ring.
    items: Vec<T, N>,
    phase: Phase,
    failures: u8,
    refused_once: bool,
}

/// What the answer to a Send means for the rest of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The first item is acknowledged and gone.
    Acknowledged,
    /// It stays; the time of the next try is known.
    Later,
    /// It stays; a registration Update goes first, because the server no longer knows our address.
    UpdateFirst,
    /// The server refused the first item twice, it is dropped; the next may go.
    Refused,
}

impl<T, const N: usize> Default for SendQueue<T, N> {
    fn default() -> Self {
        SendQueue {
            items: Vec::new(),
            phase: Phase::Ready,
            failures: 0,
            refused_once: false,
        }
    }
}

impl<T, const N: usize> SendQueue<T, N> {
    /// Queues an item; gives it back when the queue is full. With a server that seems to have no Send the oldest item
    /// makes room.
    pub fn push(&mut self, item: T) -> Result<(), T> {
        if self.items.is_full() && self.makes_room() {
            self.drop_first();
        }
        self.items.push(item)
    }

    #[inline(never)]
    fn drop_first(&mut self) {
        if !self.items.is_empty() {
            self.items.remove(0);
        }
    }

    /// The oldest item goes where there is no room. Never the one on the air: its answer takes it away.
    fn makes_room(&self) -> bool {
        self.refused_once && self.failures > 0 && self.phase != Phase::InFlight
    }

    /// [`push`](Self::push) would take another item.
    pub fn has_room(&self) -> bool {
        !self.items.is_full() || self.makes_room()
    }

    /// Every item is acknowledged.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The items, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.items.iter()
    }

    /// The first item, whatever the phase.
    pub fn front(&self) -> Option<&T> {
        self.items.first()
    }

    /// The item to send at `now`; call [`started`](Self::started) when it went out.
    pub fn due(&mut self, now: u64) -> Option<&T> {
        match self.phase {
            Phase::Pause { until } if now >= until => self.phase = Phase::Ready,
            _ => {}
        }
        match self.phase {
            Phase::Ready => self.items.first(),
            _ => None,
        }
    }

    /// The first item went out.
    pub fn started(&mut self) {
        self.phase = Phase::InFlight;
    }

    /// The Send in flight ended with this code (`class << 5 | detail`), or `None`: no answer or a Reset.
    pub fn ended(&mut self, now: u64, code: Option<u8>, random: u32) -> Sent {
        match code.map(|code| code >> 5) {
            Some(2) => {
                self.drop_first();
                self.phase = Phase::Ready;
                self.failures = 0;
                self.refused_once = false;
                Sent::Acknowledged
            }
            Some(4) if self.refused_once && !matches!(code, Some(NOT_FOUND | NOT_ALLOWED)) => {
                self.drop_first();
                self.phase = Phase::Ready;
                self.refused_once = false;
                Sent::Refused
            }
            Some(4) if !self.refused_once => {
                self.refused_once = true;
                self.phase = Phase::Refused;
                Sent::UpdateFirst
            }
            _ => {
                let pause = back_off(RETRY_FIRST_MS, RETRY_CAP_MS, self.failures, random);
                self.phase = Phase::Pause {
                    until: after(now, pause),
                };
                self.failures = self.failures.saturating_add(1);
                Sent::Later
            }
        }
    }

    /// The server confirmed the registration once more: what waits may go at once.
    pub fn updated(&mut self) {
        if matches!(self.phase, Phase::Pause { .. } | Phase::Refused) {
            self.phase = Phase::Ready;
        }
    }

    /// The server refuses the registration: until there is a new one a full queue loses its oldest item, because those
    /// who tell have other things to do meanwhile, such as a download that goes on.
    pub fn refused(&mut self) {
        self.refused_once = true;
        self.failures = 1;
    }

    /// A new registration: another server may stand there now.
    pub fn registered(&mut self) {
        self.phase = Phase::Ready;
        self.failures = 0;
        self.refused_once = false;
    }

    /// When time alone makes an item due.
    pub fn deadline(&self) -> Option<u64> {
        match (self.items.is_empty(), self.phase) {
            (false, Phase::Ready) => Some(0),
            (false, Phase::Pause { until }) => Some(until),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_item_stays_until_acknowledged_and_goes_in_order() {
        let mut q: SendQueue<u8, 2> = SendQueue::default();
        q.push(1).unwrap();
        q.push(2).unwrap();
        assert_eq!(q.push(3), Err(3), "full is back-pressure, not a loss");
        assert_eq!(q.due(0), Some(&1));
        q.started();
        assert_eq!(q.due(0), None, "one in flight");
        assert_eq!(q.ended(100, None, 0), Sent::Later);
        assert_eq!(q.due(5_099), None);
        assert_eq!(q.due(5_100), Some(&1));
        q.started();
        assert_eq!(q.ended(6_000, Some(0x44), 0), Sent::Acknowledged);
        assert_eq!(q.due(6_000), Some(&2));
    }

    #[test]
    fn a_refusal_asks_for_an_update_and_a_second_one_is_tried_for_ever() {
        let mut q: SendQueue<u8, 2> = SendQueue::default();
        q.push(1).unwrap();
        q.started();
        assert_eq!(q.ended(0, Some(0x84), 0), Sent::UpdateFirst);
        assert_eq!(q.due(u64::MAX), None);
        q.updated();
        assert_eq!(q.due(1), Some(&1));
        q.started();
        assert_eq!(q.ended(2, Some(0x84), 0), Sent::Later);
        assert_eq!(q.due(5_001), None);
        assert_eq!(q.due(5_002), Some(&1));
        q.started();
        assert_eq!(q.ended(6_000, Some(0x84), 0), Sent::Later);
        q.push(2).unwrap();
        q.push(3).unwrap();
        assert!(q.iter().eq([&2, &3]), "the oldest made room");
        q.registered();
        assert_eq!(q.due(6_001), Some(&2));
        q.started();
        assert_eq!(q.ended(6_002, Some(0x44), 0), Sent::Acknowledged);
        assert_eq!(q.push(4), Ok(()));
        assert_eq!(q.push(5), Err(5), "back-pressure again");
    }

    #[test]
    fn a_refused_registration_holds_nobody_up() {
        let mut q: SendQueue<u8, 2> = SendQueue::default();
        q.push(1).unwrap();
        q.push(2).unwrap();
        q.refused();
        q.push(3).unwrap();
        assert!(q.iter().eq([&2, &3]), "the oldest made room");
        q.registered();
        assert_eq!(q.push(4), Err(4), "back-pressure again");
        assert_eq!(q.due(0), Some(&2), "what was kept is told");
    }

    #[test]
    fn an_item_refused_twice_does_not_hold_up_the_next() {
        let mut q: SendQueue<u8, 2> = SendQueue::default();
        q.push(1).unwrap();
        q.push(2).unwrap();
        q.started();
        assert_eq!(q.ended(0, Some(0x80), 0), Sent::UpdateFirst);
        q.updated();
        q.started();
        assert_eq!(q.ended(0, Some(0x80), 0), Sent::Refused);
        assert_eq!(q.due(0), Some(&2));
    }

    #[test]
    fn an_update_ends_the_pause() {
        let mut q: SendQueue<u8, 2> = SendQueue::default();
        q.push(1).unwrap();
        for _ in 0..20 {
            q.started();
            q.ended(0, None, 0);
        }
        assert_eq!(q.deadline(), Some(3_600_000));
        q.updated();
        assert_eq!(q.deadline(), Some(0));
    }
}
