//! Observe (RFC 7641): the client's order of notifications and the server's list of observers.
//!
//! The token of an observation lives as long as it does. So after the response to the registration the
//! client drops the [`crate::Exchange`] and looks for its tokens among the observations first: to a kept
//! exchange every notification would be a repeated response.

use crate::message::{Message, Token};
use crate::option;

/// Sequence numbers are 24 bits.
const SEQUENCE_MASK: u32 = 0x00ff_ffff;
const HALF: u32 = 1 << 23;
/// After this time a notification is newer whatever its number (section 3.4).
const NEWER_AFTER_MS: u64 = 128_000;

/// What a GET or FETCH with the Observe option asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observe {
    /// 0: be told of changes.
    Register,
    /// 1: no longer.
    Cancel,
}

/// The Observe option of a request; other values than 0 and 1 count as absent.
pub fn requested(request: &Message<'_>) -> Option<Observe> {
    match request.uint_option(option::OBSERVE)? {
        0 => Some(Observe::Register),
        1 => Some(Observe::Cancel),
        _ => None,
    }
}

/// Client: the newest notification of one observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    sequence: u32,
    at: u64,
}

impl Freshness {
    /// After the first notification (the response to the registration).
    pub const fn new(now: u64, sequence: u32) -> Freshness {
        Freshness {
            sequence: sequence & SEQUENCE_MASK,
            at: now,
        }
    }

    /// Whether a notification is newer than all before; an older one (reordered on the way) is dropped.
    pub fn accept(&mut self, now: u64, sequence: u32) -> bool {
        let sequence = sequence & SEQUENCE_MASK;
        let (old, new) = (self.sequence, sequence);
        let newer = (old < new && new - old < HALF)
            || (old > new && old - new > HALF)
            || now > self.at.saturating_add(NEWER_AFTER_MS);
        if newer {
            *self = Freshness::new(now, sequence);
        }
        newer
    }
}

/// Server: one observer of one resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation<P> {
    /// Whom to notify.
    pub peer: P,
    /// The token of the request, repeated in each notification.
    pub token: Token,
    /// The caller's name of the resource.
    pub resource: u32,
    /// Message id of the last notification: an RST with it ends the observation.
    pub message_id: u16,
    sequence: u32,
}

impl<P> Observation<P> {
    /// The Observe value of the next notification.
    pub fn next_sequence(&mut self) -> u32 {
        self.sequence = (self.sequence + 1) & SEQUENCE_MASK;
        self.sequence
    }
}

/// No free place among the observers: answer without the Observe option, which is always allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom;

/// The view of the caller's table of observers for one call. `P` names a peer (its address).
#[derive(Debug)]
pub struct Observers<'a, P>(pub &'a mut [Option<Observation<P>>]);

impl<P: Copy + PartialEq> Observers<'_, P> {
    /// Adds an observer; the same peer and token again replaces the entry (section 4.1). The response to
    /// the registration carries [`Observation::next_sequence`] too.
    ///
    /// # Errors
    /// [`NoRoom`] in a full table.
    pub fn register(
        &mut self,
        peer: P,
        token: Token,
        resource: u32,
    ) -> Result<&mut Observation<P>, NoRoom> {
        let same = |slot: &Option<Observation<P>>| {
            slot.as_ref()
                .is_some_and(|o| o.peer == peer && o.token == token)
        };
        let at = self
            .0
            .iter()
            .position(same)
            .or_else(|| self.0.iter().position(Option::is_none));
        let slot = at.and_then(|at| self.0.get_mut(at)).ok_or(NoRoom)?;
        // A replaced entry keeps counting: the client drops what is not newer.
        let sequence = slot.as_ref().map_or(0, |o| o.sequence);
        Ok(slot.insert(Observation {
            peer,
            token,
            resource,
            message_id: 0,
            sequence,
        }))
    }

    /// Ends the observation with this token; whether there was one.
    pub fn cancel(&mut self, peer: P, token: Token) -> bool {
        self.remove(|o| o.peer == peer && o.token == token)
    }

    /// Ends the observation whose last notification was answered with this RST; whether there was one.
    pub fn cancel_by_reset(&mut self, peer: P, message_id: u16) -> bool {
        self.remove(|o| o.peer == peer && o.message_id == message_id)
    }

    /// Ends all observations of a peer (de-registration, a notification never acknowledged).
    pub fn cancel_peer(&mut self, peer: P) -> bool {
        self.remove(|o| o.peer == peer)
    }

    /// The observers of a resource.
    pub fn of(&mut self, resource: u32) -> impl Iterator<Item = &mut Observation<P>> {
        self.0
            .iter_mut()
            .flatten()
            .filter(move |o| o.resource == resource)
    }

    fn remove(&mut self, gone: impl Fn(&Observation<P>) -> bool) -> bool {
        let mut any = false;
        for slot in self.0.iter_mut() {
            if slot.as_ref().is_some_and(&gone) {
                *slot = None;
                any = true;
            }
        }
        any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freshness_of_section_3_4() {
        for (old, new, later_ms, newer) in [
            (1, 2, 0, true),
            (2, 1, 0, false),
            (2, 2, 0, false),
            (0xff_ffff, 0, 0, true),
            (0, 0xff_ffff, 0, false),
            (0, HALF - 1, 0, true),
            (0, HALF, 0, false),
            (HALF, 0, 0, false),
            (HALF + 1, 0, 0, true),
            (5, 1, 128_000, false),
            (5, 1, 128_001, true),
        ] {
            let mut f = Freshness::new(1_000, old);
            assert_eq!(
                f.accept(1_000 + later_ms, new),
                newer,
                "{old} {new} {later_ms}"
            );
            assert_eq!(
                f,
                if newer {
                    Freshness::new(1_000 + later_ms, new)
                } else {
                    Freshness::new(1_000, old)
                }
            );
        }
    }

    #[test]
    fn observers_come_and_go() {
        let mut table = [None; 2];
        let mut o = Observers(&mut table);
        let (t1, t2, t3) = (Token::from_u32(1), Token::from_u32(2), Token::from_u32(3));
        assert_eq!(o.register('a', t1, 7).unwrap().next_sequence(), 1);
        assert_eq!(o.register('a', t1, 8).unwrap().next_sequence(), 2);
        o.register('b', t2, 8).unwrap().message_id = 99;
        assert_eq!(o.register('b', t3, 8), Err(NoRoom));
        assert_eq!((o.of(7).count(), o.of(8).count()), (0, 2));
        assert!(!o.cancel_by_reset('a', 99) && o.cancel_by_reset('b', 99));
        assert!(!o.cancel('b', t1) && o.cancel('a', t1));
        o.register('a', t3, 8).unwrap();
        assert!(o.cancel_peer('a') && !o.cancel_peer('a'));
    }

    #[test]
    fn sequence_wraps_in_24_bits() {
        let mut table = [None; 1];
        let mut all = Observers(&mut table);
        let o = all.register('a', Token::EMPTY, 0).unwrap();
        o.sequence = SEQUENCE_MASK;
        assert_eq!(o.next_sequence(), 0);
    }
}
