//! De-duplication of requests (RFC 7252 section 4.5), for handlers that are **not** idempotent.
//!
//! A request whose handler is idempotent (GET, register, update, Send) needs no entry here: answering it
//! again is right and costs no memory. For the others (Execute, Write) the table remembers peer, message id
//! and the answer's code for EXCHANGE_LIFETIME (NON_LIFETIME of a NON). Their answers have neither options nor
//! payload, so code and the repeated request's own token make the same answer again.
//!
//! The table is a slice of the caller's; this module keeps nothing. It is searched in sets of [`WAYS`]
//! entries chosen by the message id, so a large table costs no more time than a small one.

use crate::code::Code;
use crate::params::after;

/// Entries looked at for one request.
pub const WAYS: usize = 8;

/// One remembered request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<P> {
    peer: P,
    until: u64,
    message_id: u16,
    /// [`Code::EMPTY`] while the handler works.
    answer: Code,
}

/// What the table knows about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Never seen: handle it, then call [`Dedup::answered`].
    New,
    /// The handler still works on it: send nothing (or an empty ACK again).
    InProgress,
    /// Done before: send this code again, do nothing.
    Answered(Code),
    /// The handler works on so many requests that none can be forgotten: answer 5.03.
    Full,
}

/// The view of the caller's table for one call. `P` names a peer (its address).
#[derive(Debug)]
pub struct Dedup<'a, P>(pub &'a mut [Option<Entry<P>>]);

impl<P: Copy + PartialEq> Dedup<'_, P> {
    /// Looks a request up and remembers it for `lifetime_ms` if it is new. In a full set an expired entry
    /// gives way, else the oldest answered one.
    pub fn check(&mut self, now: u64, peer: P, message_id: u16, lifetime_ms: u32) -> Seen {
        let set = self.set(message_id);
        let mut place: Option<(u64, &mut Option<Entry<P>>)> = None;
        for slot in set {
            // How good a place this is: free or expired 0, answered its end, in progress none.
            let rank = match slot {
                None => 0,
                Some(e) if e.until <= now => 0,
                Some(e) if e.peer == peer && e.message_id == message_id => {
                    return match e.answer {
                        Code::EMPTY => Seen::InProgress,
                        code => Seen::Answered(code),
                    };
                }
                Some(e) if e.answer == Code::EMPTY => continue,
                Some(e) => e.until,
            };
            if place.as_ref().is_none_or(|(best, _)| rank < *best) {
                place = Some((rank, slot));
            }
        }
        let Some((_, slot)) = place else {
            return Seen::Full;
        };
        let until = after(now, lifetime_ms);
        *slot = Some(Entry {
            peer,
            until,
            message_id,
            answer: Code::EMPTY,
        });
        Seen::New
    }

    /// Remembers the answer of a request that was [`Seen::New`].
    pub fn answered(&mut self, peer: P, message_id: u16, code: Code) {
        let set = self.set(message_id);
        let entry = set.iter_mut().flatten();
        for entry in entry.filter(|e| e.peer == peer && e.message_id == message_id) {
            entry.answer = code;
        }
    }

    /// Forgets everything of a peer.
    pub fn forget(&mut self, peer: P) {
        for slot in self.0.iter_mut() {
            if slot.as_ref().is_some_and(|e| e.peer == peer) {
                *slot = None;
            }
        }
    }

    #[inline(never)]
    fn set(&mut self, message_id: u16) -> &mut [Option<Entry<P>>] {
        let sets = (self.0.len() / WAYS).max(1);
        if sets == 1 {
            return self.0;
        }
        let first = usize::from(message_id) % sets * WAYS;
        self.0.get_mut(first..first + WAYS).unwrap_or(&mut [])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_in_progress_answered_expired() {
        let mut table = [None; 4];
        let mut d = Dedup(&mut table);
        assert_eq!(d.check(0, 'a', 1, 100), Seen::New);
        assert_eq!(d.check(1, 'a', 1, 100), Seen::InProgress);
        d.answered('a', 1, Code::CHANGED);
        assert_eq!(d.check(99, 'a', 1, 100), Seen::Answered(Code::CHANGED));
        assert_eq!(d.check(99, 'b', 1, 100), Seen::New);
        assert_eq!(d.check(99, 'a', 2, 100), Seen::New);
        assert_eq!(d.check(100, 'a', 1, 100), Seen::New);
    }

    #[test]
    fn the_oldest_answered_gives_way_and_work_in_progress_never() {
        let mut table = [None; 2];
        let mut d = Dedup(&mut table);
        assert_eq!(d.check(0, 'a', 1, 100), Seen::New);
        assert_eq!(d.check(1, 'a', 2, 100), Seen::New);
        assert_eq!(d.check(2, 'a', 3, 100), Seen::Full);
        d.answered('a', 1, Code::CHANGED);
        d.answered('a', 2, Code::CHANGED);
        assert_eq!(d.check(3, 'a', 3, 100), Seen::New);
        assert_eq!(d.check(4, 'a', 2, 100), Seen::Answered(Code::CHANGED));
        assert_eq!(d.check(4, 'a', 3, 100), Seen::InProgress);
        d.forget('a');
        assert_eq!(d.check(5, 'a', 2, 100), Seen::New);
        assert_eq!(Dedup::<char>(&mut []).check(0, 'a', 1, 1), Seen::Full);
    }

    #[test]
    fn a_large_table_is_searched_by_sets() {
        let mut table = [None; 64];
        let mut d = Dedup(&mut table);
        for mid in 0..64 {
            assert_eq!(d.check(0, 1u8, mid, 100), Seen::New);
        }
        for mid in 0..64 {
            assert_eq!(d.check(1, 1u8, mid, 100), Seen::InProgress);
        }
        assert_eq!(d.check(1, 1u8, 64, 100), Seen::Full);
    }
}
