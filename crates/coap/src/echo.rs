//! Echo (RFC 9175 section 2): proof that a client receives at the address it sends from.
//!
//! Without it a stranger could send small requests with a victim's address and have the server flood the
//! victim. So to an address that is not verified the server sends at most [`AMPLIFICATION`] times the
//! request's bytes; where that does not suffice it answers 4.01 with an Echo value, and the client repeats
//! the request with it. The server keeps nothing: the value holds the time and a keyed hash.

use crate::code::Code;
use crate::message::Message;
use crate::option;

/// Greatest answer to an unverified address, as a multiple of the request (RFC 9175 section 2.4).
pub const AMPLIFICATION: usize = 3;

/// Greatest length of an Echo value.
pub const ECHO_MAX: usize = 40;

/// The client's half: the value to repeat the request with, if this response asks for it (4.01 with Echo).
pub fn challenge<'a>(response: &Message<'a>) -> Option<&'a [u8]> {
    if response.code() != Code::UNAUTHORIZED {
        return None;
    }
    response
        .option(option::ECHO)
        .filter(|value| (1..=ECHO_MAX).contains(&value.len()))
}

/// Whether an answer of this length to an unverified address needs the Echo exchange first.
pub const fn needs_echo(request_len: usize, answer_len: usize) -> bool {
    answer_len > request_len.saturating_mul(AMPLIFICATION)
}

/// The server's half.
#[cfg(feature = "server")]
pub mod server {
    /// Bytes of an Echo value of ours: time (4) and keyed hash (8).
    pub const ECHO_LEN: usize = 12;

    /// Time unit of the value: 1.024 s, so that no division is needed; it wraps after 139 years.
    const TICK_SHIFT: u32 = 10;

    /// What an Echo value in a request proves.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Verdict {
        /// Made by us for this address, recently.
        Fresh,
        /// Made by us for this address, too long ago: challenge again.
        Stale,
        /// Not made by us for this address: challenge again.
        Foreign,
    }

    /// Makes the value. `mac` is the caller's keyed hash (under a key of this server) over **the peer's
    /// address** and the bytes it is given.
    pub fn make(now_ms: u64, mac: impl FnOnce(&[u8; 4]) -> [u8; 8]) -> [u8; ECHO_LEN] {
        let time = ((now_ms >> TICK_SHIFT) as u32).to_be_bytes();
        let mut value = [0; ECHO_LEN];
        let (head, tail) = value.split_at_mut(time.len());
        head.copy_from_slice(&time);
        tail.copy_from_slice(&mac(&time));
        value
    }

    /// Checks the value a client sent back; `fresh_ms` is how old it may be.
    pub fn check(
        value: &[u8],
        now_ms: u64,
        fresh_ms: u64,
        mac: impl FnOnce(&[u8; 4]) -> [u8; 8],
    ) -> Verdict {
        let Some((time, hash)) = value.split_first_chunk::<4>() else {
            return Verdict::Foreign;
        };
        let expected = mac(time);
        // Every byte is looked at: the time taken must not tell how many were right.
        let different = expected.iter().zip(hash).fold(0, |d, (a, b)| d | (a ^ b));
        if hash.len() != expected.len() || different != 0 {
            return Verdict::Foreign;
        }
        let age = ((now_ms >> TICK_SHIFT) as u32).wrapping_sub(u32::from_be_bytes(*time));
        if u64::from(age) << TICK_SHIFT <= fresh_ms {
            Verdict::Fresh
        } else {
            Verdict::Stale
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Builder, Kind, Token};

    #[test]
    fn client_sees_the_challenge() {
        let mut buffer = [0; 64];
        for (code, value, seen) in [
            (Code::UNAUTHORIZED, Some(&b"abc"[..]), true),
            (Code::UNAUTHORIZED, None, false),
            (Code::UNAUTHORIZED, Some(&[]), false),
            (Code::CONTENT, Some(b"abc"), false),
        ] {
            let mut b = Builder::new(&mut buffer, Kind::Ack, code, 1, Token::EMPTY);
            if let Some(value) = value {
                b.option(option::ECHO, value);
            }
            let n = b.finish().unwrap();
            let m = Message::new_checked(&buffer[..n]).unwrap();
            assert_eq!(challenge(&m), value.filter(|_| seen));
        }
    }

    #[test]
    fn three_times_is_the_limit() {
        assert!(!needs_echo(20, 60));
        assert!(needs_echo(20, 61));
        assert!(!needs_echo(usize::MAX, usize::MAX));
    }

    #[cfg(feature = "server")]
    #[test]
    fn value_is_bound_to_address_and_time() {
        use server::{Verdict, check, make};
        // FNV-1a over address and time stands for the keyed hash
        fn mac(address: u8) -> impl Fn(&[u8; 4]) -> [u8; 8] {
            move |time| {
                let bytes = core::iter::once(&address).chain(time);
                bytes
                    .fold(0xcbf2_9ce4_8422_2325u64, |h, &b| {
                        (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3)
                    })
                    .to_be_bytes()
            }
        }
        let value = make(1_000_000, mac(1));
        assert_eq!(check(&value, 1_000_000, 60_000, mac(1)), Verdict::Fresh);
        assert_eq!(check(&value, 1_059_000, 60_000, mac(1)), Verdict::Fresh);
        assert_eq!(check(&value, 1_070_000, 60_000, mac(1)), Verdict::Stale);
        assert_eq!(check(&value, 900_000, 60_000, mac(1)), Verdict::Stale); // from the future
        assert_eq!(check(&value, 1_000_000, 60_000, mac(2)), Verdict::Foreign);
        for cut in 0..value.len() {
            assert_eq!(
                check(&value[..cut], 1_000_000, 60_000, mac(1)),
                Verdict::Foreign
            );
        }
        for at in 0..value.len() {
            let mut forged = value;
            forged[at] ^= 1;
            assert_eq!(check(&forged, 1_000_000, 60_000, mac(1)), Verdict::Foreign);
        }
    }
}
