//! Text in few bytes of code: `core`'s patterns know all of Unicode and cost 1 KB, `core::fmt` several.

use heapless::string::StringView;

use crate::utf8;

/// What stands before the first of these ASCII characters, and what begins with it; all and nothing if there
/// is none.
#[inline(never)]
pub(crate) fn split<'a>(text: &'a str, at: &[u8]) -> (&'a str, &'a str) {
    // For bytes `contains` is a search by words, some 200 bytes of code for these two or three.
    #[allow(clippy::manual_contains)]
    let end = text
        .bytes()
        .position(|byte| at.iter().any(|one| *one == byte));
    text.split_at_checked(end.unwrap_or(text.len()))
        .unwrap_or((text, ""))
}

/// Sets a text; `None` if it does not fit. One function for all lengths, and no copy on the stack.
#[inline(never)]
pub(crate) fn put(to: &mut StringView, from: &str) -> Option<()> {
    to.clear();
    to.push_str(from).ok()
}

/// A number in decimal.
#[inline(never)]
pub(crate) fn decimal(mut value: u32, out: &mut [u8; 10]) -> &str {
    let mut at = out.len();
    while let Some(digit) = at.checked_sub(1).and_then(|at| out.get_mut(at)) {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
        at -= 1;
        if value == 0 {
            break;
        }
    }
    utf8(out.get(at..).unwrap_or_default()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{decimal, split};

    #[test]
    fn decimals_at_their_ends() {
        assert_eq!(decimal(0, &mut [0; 10]), "0");
        assert_eq!(decimal(1_000_000, &mut [0; 10]), "1000000");
        assert_eq!(decimal(u32::MAX, &mut [0; 10]), "4294967295");
    }

    #[test]
    fn cuts_at_the_first() {
        assert_eq!(split("a?b=c", b"=?"), ("a", "?b=c"));
        assert_eq!(split("\u{e4}b", b"=?"), ("\u{e4}b", ""));
        assert_eq!(split("", b"="), ("", ""));
        assert_eq!(split("=", b"="), ("", "="));
    }
}
