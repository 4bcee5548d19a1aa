//! What the slots say about an upgrade.

use super::Hash;
use sota_smp::message::{Slot, Slots};

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing: the image runs and stays.
    Runs,
    /// It runs; it has to be confirmed.
    Keep(Hash),
    /// It waits for a reset.
    Reset,
    /// It is there.
    Test(Hash),
    /// No slot has it.
    Missing,
}

/// | the image with the hash | and | next |
/// |---|---|---|
/// | runs | is confirmed | Runs |
/// | runs | is not | Keep |
/// | is in the other slot | waits for the reset, or what runs is on trial | Reset |
/// | is in the other slot | | Test |
/// | is in none | | Missing |
pub(super) fn next(slots: &Slots, hash: &Hash) -> Next {
    let has = |slot: &&Slot| slot.hash.as_ref() == Some(hash);
    let mut its = slots.iter().filter(has);
    let active = its.clone().find(|slot| slot.active);
    match (active, its.next()) {
        (Some(slot), _) if slot.confirmed => Next::Runs,
        (Some(_), _) => Next::Keep(*hash),
        (None, Some(slot)) if slot.pending || is_busy(slots) => Next::Reset,
        (None, Some(_)) => Next::Test(*hash),
        (None, None) => Next::Missing,
    }
}

/// The same where the hash is not known: what waits for the reset, or is on trial, is what was last told to.
pub(super) fn next_without_hash(slots: &Slots) -> Next {
    let active = slots.iter().find(|slot| slot.active);
    if slots.iter().any(|slot| slot.pending && !slot.active) {
        return Next::Reset;
    }
    match active {
        Some(slot) if !slot.confirmed => slot.hash.map_or(Next::Missing, Next::Keep),
        _ => Next::Missing,
    }
}

/// The server takes no image: one waits for the reset, or one is on trial and the other slot has what comes back.
pub(super) fn is_busy(slots: &Slots) -> bool {
    let on_trial = |slot: &Slot| slot.active && !slot.confirmed;
    let waits = |slot: &Slot| slot.pending && !slot.active;
    slots.iter().any(|slot| on_trial(slot) || waits(slot))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: [u8; 32] = [7; 32];
    /// Hash, and a (active), c (confirmed), p (pending).
    type Told = ([u8; 32], &'static str);

    fn slot(hash: [u8; 32], flags: &str) -> Slot {
        Slot {
            image: 0,
            slot: 0,
            version: heapless::String::new(),
            hash: Hash::new(&hash),
            active: flags.contains('a'),
            confirmed: flags.contains('c'),
            pending: flags.contains('p'),
        }
    }

    #[test]
    fn what_is_next() {
        let new = Hash::new(&NEW).unwrap();
        let cases: [(&[Told], Next); 9] = [
            (&[], Next::Missing),
            (&[([1; 32], "ac")], Next::Missing),
            (&[([1; 32], "ac"), ([2; 32], "")], Next::Missing),
            (&[([1; 32], "ac"), (NEW, "")], Next::Test(new)),
            (&[([1; 32], "ac"), (NEW, "p")], Next::Reset),
            (&[([1; 32], "a"), (NEW, "c")], Next::Reset),
            (&[(NEW, "a"), ([1; 32], "c")], Next::Keep(new)),
            (&[(NEW, "ac"), ([1; 32], "")], Next::Runs),
            // the same image in both slots
            (&[(NEW, ""), (NEW, "ac")], Next::Runs),
        ];
        for (slots, wanted) in cases {
            let slots = slots.iter().map(|(hash, flags)| slot(*hash, flags));
            let slots: Slots = slots.collect();
            assert_eq!(next(&slots, &new), wanted, "{slots:?}");
        }
    }
}
