//! A received message (RFC 7252 section 3): checked once, then read without failure.
//!
//! ```text
//!  0                   1                   2                   3
//! |Ver| T |  TKL  |      Code     |          Message ID           |
//! |   Token (0..=8 bytes) ...
//! |   Options (delta and length, each 4 bits + 0..=2 bytes) ...
//! |1 1 1 1 1 1 1 1|    Payload (at least one byte) ...
//! ```

use core::fmt;

use crate::block::Block;
use crate::code::Code;
use crate::option;
use crate::text::utf8;

/// Message type, bits 4..=5 of the first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Confirmable: wants an ACK, is retransmitted.
    Con = 0,
    /// Non-confirmable.
    Non = 1,
    /// Acknowledgement, empty or with the response in it.
    Ack = 2,
    /// Reset: the message with this id was not understood or not wanted.
    Rst = 3,
}

/// What pairs a response with its request; 0..=8 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Token {
    // Bytes past `len` are zero, so that the derived comparison is right.
    bytes: [u8; 8],
    len: u8,
}

impl Token {
    /// No token.
    pub const EMPTY: Token = Token {
        bytes: [0; 8],
        len: 0,
    };

    /// `None` for more than 8 bytes.
    pub fn new(token: &[u8]) -> Option<Token> {
        let mut bytes = [0; 8];
        bytes.get_mut(..token.len())?.copy_from_slice(token);
        Some(Token {
            bytes,
            len: token.len() as u8,
        })
    }

    /// A token of 4 bytes. RFC 7252 section 5.3.1 asks for 32 random bits without DTLS.
    pub const fn from_u32(random: u32) -> Token {
        let b = random.to_be_bytes();
        Token {
            bytes: [b[0], b[1], b[2], b[3], 0, 0, 0, 0],
            len: 4,
        }
    }

    /// The bytes on the wire.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&[])
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes()
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Why bytes are no CoAP message. [`reset_for`] says what to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// Shorter than its header, token or an option says.
    Truncated,
    /// The version is not 1: dropped without an answer (RFC 7252 section 3).
    Version,
    /// Token length 9..=15.
    TokenLength,
    /// An option's delta or length nibble is 15, or the number passes 65535.
    Option,
    /// A payload marker with no payload after it.
    EmptyPayload,
    /// Code 0.00 with a token, options or payload.
    EmptyWithContent,
    /// A reserved code class (1, 6, 7).
    ReservedCode,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ParseError::Truncated => "message is cut short",
            ParseError::Version => "version is not 1",
            ParseError::TokenLength => "token is longer than 8 bytes",
            ParseError::Option => "an option's delta or length is not allowed",
            ParseError::EmptyPayload => "payload marker without payload",
            ParseError::EmptyWithContent => "empty message with content",
            ParseError::ReservedCode => "code of a reserved class",
        })
    }
}

impl core::error::Error for ParseError {}

/// Bytes of the fixed header.
pub const HEADER_LEN: usize = 4;
/// Separates options from payload.
pub const PAYLOAD_MARKER: u8 = 0xff;

/// A checked message over the datagram's bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    kind: Kind,
    code: Code,
    message_id: u16,
    token: Token,
    options: &'a [u8],
    payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// Checks everything once; afterwards no getter fails.
    pub fn new_checked(bytes: &'a [u8]) -> Result<Message<'a>, ParseError> {
        let (&[first, code, mid_high, mid_low], rest) = bytes
            .split_first_chunk::<HEADER_LEN>()
            .ok_or(ParseError::Truncated)?;
        if first >> 6 != 1 {
            return Err(ParseError::Version);
        }
        let kind = kind_of(first);
        let code = Code::from_byte(code);
        let message_id = u16::from_be_bytes([mid_high, mid_low]);
        if code.is_reserved() {
            return Err(ParseError::ReservedCode);
        }
        if code.is_empty() && (first & 0x0f != 0 || !rest.is_empty()) {
            return Err(ParseError::EmptyWithContent);
        }
        let token_len = usize::from(first & 0x0f);
        if token_len > 8 {
            return Err(ParseError::TokenLength);
        }
        let (token, body) = rest
            .split_at_checked(token_len)
            .ok_or(ParseError::Truncated)?;
        let token = Token::new(token).ok_or(ParseError::TokenLength)?;

        let mut walk = body;
        let mut number = 0;
        while let Some((next, _, rest)) = take_option(walk, number)? {
            number = next;
            walk = rest;
        }
        let options = body
            .get(..body.len().saturating_sub(walk.len()))
            .unwrap_or(&[]);
        let payload = match walk.split_first() {
            None => &[][..],
            Some((_, [])) => return Err(ParseError::EmptyPayload),
            Some((_, payload)) => payload,
        };
        Ok(Message {
            kind,
            code,
            message_id,
            token,
            options,
            payload,
        })
    }

    /// Confirmable, non-confirmable, acknowledgement or reset.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Method or response code.
    pub const fn code(&self) -> Code {
        self.code
    }

    /// Pairs CON with ACK and RST, and finds duplicates.
    pub const fn message_id(&self) -> u16 {
        self.message_id
    }

    /// Pairs request and response.
    pub const fn token(&self) -> Token {
        self.token
    }

    /// Payload, empty if there is none.
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// All options in ascending order of their numbers.
    pub const fn options(&self) -> Options<'a> {
        Options {
            rest: self.options,
            number: 0,
        }
    }

    /// The first option with this number.
    pub fn option(&self, number: u16) -> Option<&'a [u8]> {
        // The numbers ascend, so the search can stop early.
        self.options()
            .take_while(|&(n, _)| n <= number)
            .find(|&(n, _)| n == number)
            .map(|(_, value)| value)
    }

    /// The first option with this number as a uint; `None` if absent or longer than the option allows.
    pub fn uint_option(&self, number: u16) -> Option<u32> {
        let value = self.option(number)?;
        if value.len() > option::length_range(number).1 {
            return None;
        }
        option::decode_uint(value)
    }

    /// Every value of one repeatable option.
    pub fn values(&self, number: u16) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.options()
            .filter(move |&(n, _)| n == number)
            .map(|(_, value)| value)
    }

    /// Block1 or Block2. `Some(Err)` when it is there but malformed (4.02 for a server).
    pub fn block(&self, number: u16) -> Option<Result<Block, crate::block::BlockError>> {
        self.option(number).map(Block::decode)
    }

    /// The segments of Uri-Path.
    pub fn path(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.values(option::URI_PATH)
    }

    /// Whether Uri-Path is this one, written `/a/b` (`/` or an empty text is the root).
    pub fn path_is(&self, path: &str) -> bool {
        let mut want = segments(path);
        let mut have = self.path();
        loop {
            match (want.next(), have.next()) {
                (None, None) => return true,
                (Some(a), Some(b)) if a.as_bytes() == b => {}
                _ => return false,
            }
        }
    }

    /// The value of the Uri-Query `key=value`; of a bare `key` the empty text. Not UTF-8 counts as absent.
    pub fn query(&self, key: &str) -> Option<&'a str> {
        self.values(option::URI_QUERY).find_map(|item| {
            let rest = utf8(item)?.strip_prefix(key)?;
            if rest.is_empty() {
                return Some(rest);
            }
            rest.strip_prefix('=')
        })
    }

    /// The first critical option that the receiver must reject (4.02; a response is then dropped):
    /// its number is not in `known`, its length is not allowed, or it is there twice and may not be.
    pub fn first_unknown_critical(&self, known: &[u16]) -> Option<u16> {
        let mut previous = None;
        for (number, value) in self.options() {
            let twice = previous == Some(number) && !option::is_repeatable(number);
            previous = Some(number);
            let (least, greatest) = option::length_range(number);
            let bad =
                twice || value.len() < least || value.len() > greatest || !known.contains(&number);
            if option::is_critical(number) && bad {
                return Some(number);
            }
        }
        None
    }
}

impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} {} mid {} token {:?}",
            self.kind, self.code, self.message_id, self.token
        )?;
        for (number, value) in self.options() {
            write!(f, " {number}={value:02x?}")?;
        }
        write!(f, " payload {}", self.payload.len())
    }
}

/// Iterator over the options of a checked message: (number, value).
#[derive(Clone, Debug)]
pub struct Options<'a> {
    rest: &'a [u8],
    number: u16,
}

impl<'a> Iterator for Options<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        let (number, value, rest) = take_option(self.rest, self.number).ok()??;
        self.rest = rest;
        self.number = number;
        Some((number, value))
    }
}

/// The RST that rejects malformed bytes: only when the header can be read and says CON. Everything else
/// malformed is dropped in silence (RFC 7252 section 4.2), so that two confused peers cannot ping-pong.
pub fn reset_for(bytes: &[u8]) -> Option<[u8; HEADER_LEN]> {
    let &[first, _, mid_high, mid_low] = bytes.first_chunk::<HEADER_LEN>()?;
    if first >> 6 != 1 || kind_of(first) != Kind::Con {
        return None;
    }
    Some(reset(u16::from_be_bytes([mid_high, mid_low])))
}

/// An empty ACK.
pub const fn ack(message_id: u16) -> [u8; HEADER_LEN] {
    let mid = message_id.to_be_bytes();
    [0x60, 0, mid[0], mid[1]]
}

/// A reset; also the answer to a CoAP ping (an empty CON).
pub const fn reset(message_id: u16) -> [u8; HEADER_LEN] {
    let mid = message_id.to_be_bytes();
    [0x70, 0, mid[0], mid[1]]
}

/// The segments of a path written `/a/b`; one slash at the beginning is no segment.
pub(crate) fn segments(path: &str) -> impl Iterator<Item = &str> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let mut rest = Some(path).filter(|path| !path.is_empty());
    // `str::split` looks for any character, with a search of its own that takes some 300 bytes of code.
    core::iter::from_fn(move || {
        let text = rest?;
        let slash = text.bytes().position(|byte| byte == b'/');
        let (segment, tail) = text.split_at_checked(slash.unwrap_or(text.len()))?;
        rest = tail.get(1..);
        Some(segment)
    })
}

const fn kind_of(first: u8) -> Kind {
    match first >> 4 & 3 {
        0 => Kind::Con,
        1 => Kind::Non,
        2 => Kind::Ack,
        _ => Kind::Rst,
    }
}

/// Takes one option off: its number, value and what follows; `None` at the end or the payload marker.
#[allow(clippy::type_complexity)]
fn take_option(bytes: &[u8], number: u16) -> Result<Option<(u16, &[u8], &[u8])>, ParseError> {
    let Some((&first, rest)) = bytes.split_first() else {
        return Ok(None);
    };
    if first == PAYLOAD_MARKER {
        return Ok(None);
    }
    let (delta, rest) = take_nibble(first >> 4, rest)?;
    let (length, rest) = take_nibble(first & 0x0f, rest)?;
    let number = u16::try_from(u32::from(number) + delta).map_err(|_| ParseError::Option)?;
    let (value, rest) = rest
        .split_at_checked(length as usize)
        .ok_or(ParseError::Truncated)?;
    Ok(Some((number, value, rest)))
}

/// 0..=12 as it is, 13: one more byte + 13, 14: two more bytes + 269, 15 is reserved.
fn take_nibble(nibble: u8, rest: &[u8]) -> Result<(u32, &[u8]), ParseError> {
    match nibble {
        13 => {
            let (&byte, rest) = rest.split_first().ok_or(ParseError::Truncated)?;
            Ok((u32::from(byte) + 13, rest))
        }
        14 => {
            let (&bytes, rest) = rest.split_first_chunk::<2>().ok_or(ParseError::Truncated)?;
            Ok((u32::from(u16::from_be_bytes(bytes)) + 269, rest))
        }
        15 => Err(ParseError::Option),
        small => Ok((u32::from(small), rest)),
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    /// RFC 7252 appendix A, figure 16: GET /temperature and its piggybacked answer.
    const GET: &[u8] = b"\x40\x01\x7d\x34\xbbtemperature";
    const ANSWER: &[u8] = b"\x60\x45\x7d\x34\xff22.3 C";

    #[test]
    fn request_of_the_rfc() {
        let m = Message::new_checked(GET).unwrap();
        assert_eq!((m.kind(), m.code()), (Kind::Con, Code::GET));
        assert_eq!(m.message_id(), 0x7d34);
        assert_eq!(m.token(), Token::EMPTY);
        assert!(m.path_is("/temperature"));
        assert!(!m.path_is("/temperature/x") && !m.path_is("/"));
        assert_eq!(m.payload(), b"");
    }

    #[test]
    fn answer_of_the_rfc() {
        let m = Message::new_checked(ANSWER).unwrap();
        assert_eq!((m.kind(), m.code()), (Kind::Ack, Code::CONTENT));
        assert_eq!(m.payload(), b"22.3 C");
        assert_eq!(m.options().count(), 0);
    }

    #[test]
    fn register_with_token_and_queries() {
        let bytes = b"\x44\x02\x00\x01\x01\x02\x03\x04\xb2rd\x11\x28\x37ep=pk:d\x05lt=60\x01Q";
        let m = Message::new_checked(bytes).unwrap();
        assert_eq!(m.token(), Token::from_u32(0x0102_0304));
        assert_eq!(m.uint_option(option::CONTENT_FORMAT), Some(40));
        assert_eq!(m.query("ep"), Some("pk:d"));
        assert_eq!(m.query("lt"), Some("60"));
        assert_eq!(m.query("Q"), Some(""));
        assert_eq!(m.query("e"), None);
        assert_eq!(m.path().collect::<Vec<_>>(), [b"rd"]);
    }

    #[test]
    fn extended_delta_and_length() {
        // Size1 (60) = 13 + 47, then 292 by two bytes: 232 = 13 + 219; length 13 by one byte
        let mut bytes = std::vec![0x40, 0x01, 0, 1, 0xd1, 47, 9, 0xdd, 219, 0];
        bytes.extend([7; 13]);
        let m = Message::new_checked(&bytes).unwrap();
        assert_eq!(m.option(60), Some(&[9][..]));
        assert_eq!(m.option(292), Some(&[7; 13][..]));
        let bytes = [0x40, 0x01, 0, 1, 0xe0, 0xfe, 0xf2];
        let m = Message::new_checked(&bytes).unwrap();
        assert_eq!(m.options().next(), Some((65535, &[][..])));
    }

    #[test]
    fn malformed_bytes() {
        use ParseError::*;
        for (bytes, error) in [
            (&b""[..], Truncated),
            (b"\x40\x01\x00", Truncated),
            (b"\x80\x01\x00\x00", Version),
            (b"\x49\x01\x00\x00123456789", TokenLength),
            (b"\x42\x01\x00\x00a", Truncated),
            (b"\x40\x01\x00\x00\xff", EmptyPayload),
            (b"\x40\x01\x00\x00\xb4abc", Truncated),
            (b"\x40\x01\x00\x00\xf1a", Option),
            (b"\x40\x01\x00\x00\x1fa", Option),
            (b"\x40\x01\x00\x00\xe0\xff\xff", Option),
            (b"\x40\x01\x00\x00\xd0", Truncated),
            (b"\x40\x01\x00\x00\xe0\x00", Truncated),
            (b"\x41\x00\x00\x00a", EmptyWithContent),
            (b"\x40\x00\x00\x00\xffa", EmptyWithContent),
            (b"\x40\xe1\x00\x00", ReservedCode),
        ] {
            assert_eq!(Message::new_checked(bytes), Err(error), "{bytes:?}");
        }
    }

    #[test]
    fn only_a_malformed_con_is_reset() {
        assert_eq!(
            reset_for(b"\x40\x01\xab\xcd\xff"),
            Some([0x70, 0, 0xab, 0xcd])
        );
        assert_eq!(reset_for(b"\x50\x01\xab\xcd\xff"), None);
        assert_eq!(reset_for(b"\x80\x01\xab\xcd\xff"), None);
        assert_eq!(reset_for(b"\x40\x01"), None);
        let bytes = ack(0x1234);
        let m = Message::new_checked(&bytes).unwrap();
        assert_eq!(
            (m.kind(), m.code(), m.message_id()),
            (Kind::Ack, Code::EMPTY, 0x1234)
        );
        assert_eq!(Message::new_checked(&reset(7)).unwrap().kind(), Kind::Rst);
    }

    #[test]
    fn critical_options() {
        // Accept (17) twice, If-None-Match with a value, an unknown 9
        let known = [option::ACCEPT, option::IF_NONE_MATCH, option::URI_PATH];
        let check = |bytes: &[u8]| {
            Message::new_checked(bytes)
                .unwrap()
                .first_unknown_critical(&known)
        };
        assert_eq!(check(b"\x40\x01\x00\x00\xd1\x04\x2a"), None);
        assert_eq!(check(b"\x40\x01\x00\x00\xd1\x04\x2a\x01\x2a"), Some(17));
        assert_eq!(check(b"\x40\x01\x00\x00\x51\x2a"), Some(5));
        assert_eq!(check(b"\x40\x01\x00\x00\x90"), Some(9));
        assert_eq!(check(b"\x40\x01\x00\x00\xa0"), None);
        assert_eq!(check(b"\x40\x01\x00\x00\xb1a\x01b"), None);
    }
}
