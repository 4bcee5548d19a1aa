//! Fields of what the module sends, read where they lie: an MCU has no room to copy what it only compares.

use crate::field::kind;

/// The fields of one frame. What is wrong with them is remembered, and asked for once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fields<'a> {
    bytes: &'a [u8],
    bad: bool,
}

impl<'a> Fields<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Fields { bytes, bad: false }
    }

    /// A field was cut, or one that was asked for has a wrong length.
    pub(super) const fn is_bad(&self) -> bool {
        self.bad
    }

    /// The last field of this type; empty when there is none, and when it has not `least` to `most` bytes.
    #[inline(never)]
    pub(super) fn find(&mut self, kind: u8, least: usize, most: usize) -> &'a [u8] {
        let mut found: &[u8] = &[];
        let mut rest = self.bytes;
        let mut bad = false;
        while let [is, len, after @ ..] = rest
            && let Some((value, after)) = after.split_at_checked(usize::from(*len))
        {
            if *is == kind {
                found = value;
                if !(least..=most).contains(&value.len()) {
                    (found, bad) = (&[], true);
                }
            }
            rest = after;
        }
        self.bad |= bad | !rest.is_empty();
        found
    }

    /// A number of `len` bytes; `absent` when there is none.
    #[inline(never)]
    pub(super) fn number(&mut self, kind: u8, len: usize, absent: u32) -> u32 {
        let mut value = self.find(kind, len, len);
        if value.is_empty() {
            return absent;
        }
        let mut number = 0;
        while let [rest @ .., last] = value {
            number = number << 8 | u32::from(*last);
            value = rest;
        }
        number
    }
}

/// A plan, as it lies in the receive buffer. Texts are UTF-8, if the module keeps to `docs/link.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanFields<'a>(pub(super) Fields<'a>);

impl<'a> PlanFields<'a> {
    /// Version it is for; empty: any.
    pub fn source(mut self) -> &'a [u8] {
        self.0.find(kind::SOURCE, 0, 64)
    }

    /// Version afterwards.
    pub fn target(mut self) -> &'a [u8] {
        self.0.find(kind::TARGET, 0, 64)
    }

    /// Bytes needed in the slot.
    pub fn use_space(mut self) -> u32 {
        self.0.number(kind::SPACE, 4, 0)
    }

    /// Least battery in %; 0: not told.
    pub fn battery_limit_percent(mut self) -> u8 {
        self.0.number(kind::BATTERY, 1, 0) as u8
    }

    /// Least RSRP in dBm; 0: not told.
    pub fn min_signal_dbm(mut self) -> i16 {
        self.0.number(kind::SIGNAL, 2, 0) as u16 as i16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_a_type_counts() {
        let mut fields = Fields::new(&[1, 2, 128, 0, 99, 0, 1, 2, 0, 1]);
        assert_eq!(fields.number(1, 2, 64), 256);
        assert_eq!(fields.number(2, 1, 7), 7, "absent");
        assert_eq!(fields.find(99, 0, 64), [0; 0]);
        assert!(!fields.is_bad());
    }

    #[test]
    fn cut_or_of_a_wrong_length() {
        for bytes in [
            &[1][..],
            &[1, 2, 0],
            &[1, 1, 64],
            &[1, 3, 0, 0, 0],
            &[1, 2, 0, 1, 9],
        ] {
            let mut fields = Fields::new(bytes);
            fields.number(1, 2, 64);
            assert!(fields.is_bad(), "{bytes:?}");
        }
        let mut name = Fields::new(&[5, 0]);
        assert_eq!(name.find(5, 1, 32), [0; 0]);
        assert!(name.is_bad(), "an empty name");
        let mut other = Fields::new(&[5, 0]);
        assert_eq!((other.number(1, 2, 64), other.is_bad()), (64, false));
    }

    #[test]
    fn a_plan_as_it_lies_there() {
        let plan = PlanFields(Fields::new(&[
            0x11, 1, b'2', 0x12, 4, 0, 1, 0, 0, 0x14, 2, 0x8F, 0xFF,
        ]));
        assert_eq!((plan.source(), plan.target()), (&b""[..], &b"2"[..]));
        assert_eq!((plan.use_space(), plan.battery_limit_percent()), (256, 0));
        assert_eq!(plan.min_signal_dbm(), -113);
    }
}
