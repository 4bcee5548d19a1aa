//! Option numbers, their properties, and the uint format (RFC 7252 sections 3.2, 5.4 and 5.10).

/// If-Match (opaque, 0..=8 bytes, repeatable).
pub const IF_MATCH: u16 = 1;
/// Uri-Host (string, 1..=255).
pub const URI_HOST: u16 = 3;
/// ETag (opaque, 1..=8 bytes; repeatable in requests).
pub const ETAG: u16 = 4;
/// If-None-Match (empty).
pub const IF_NONE_MATCH: u16 = 5;
/// Observe (uint, 0..=3 bytes; RFC 7641).
pub const OBSERVE: u16 = 6;
/// Uri-Port (uint, 0..=2 bytes).
pub const URI_PORT: u16 = 7;
/// Location-Path (string, 0..=255, repeatable).
pub const LOCATION_PATH: u16 = 8;
/// Uri-Path (string, 0..=255, repeatable).
pub const URI_PATH: u16 = 11;
/// Content-Format (uint, 0..=2 bytes).
pub const CONTENT_FORMAT: u16 = 12;
/// Max-Age in seconds (uint, 0..=4 bytes).
pub const MAX_AGE: u16 = 14;
/// Uri-Query (string, 0..=255, repeatable).
pub const URI_QUERY: u16 = 15;
/// Accept (uint, 0..=2 bytes).
pub const ACCEPT: u16 = 17;
/// Location-Query (string, 0..=255, repeatable).
pub const LOCATION_QUERY: u16 = 20;
/// Block2: the response's payload in blocks (uint, 0..=3 bytes; RFC 7959).
pub const BLOCK2: u16 = 23;
/// Block1: the request's payload in blocks (uint, 0..=3 bytes; RFC 7959).
pub const BLOCK1: u16 = 27;
/// Size2: bytes of the whole response payload; 0 in a request asks for it (uint, 0..=4 bytes).
pub const SIZE2: u16 = 28;
/// Proxy-Uri (string, 1..=1034).
pub const PROXY_URI: u16 = 35;
/// Proxy-Scheme (string, 1..=255).
pub const PROXY_SCHEME: u16 = 39;
/// Size1: bytes of the whole request payload (uint, 0..=4 bytes).
pub const SIZE1: u16 = 60;
/// Echo (opaque, 1..=40 bytes; RFC 9175).
pub const ECHO: u16 = 252;
/// Request-Tag (opaque, 0..=8 bytes, repeatable; RFC 9175).
pub const REQUEST_TAG: u16 = 292;

/// A message whose critical option is not understood is rejected; an elective one is ignored.
pub const fn is_critical(number: u16) -> bool {
    number & 1 != 0
}

/// A proxy that does not understand this option must not forward the message.
pub const fn is_unsafe(number: u16) -> bool {
    number & 2 != 0
}

/// Safe to forward, but no part of the cache key (Size1, Size2).
pub const fn is_no_cache_key(number: u16) -> bool {
    number & 0x1e == 0x1c
}

/// Whether the option may occur more than once in one message.
pub const fn is_repeatable(number: u16) -> bool {
    matches!(
        number,
        IF_MATCH | ETAG | LOCATION_PATH | URI_PATH | URI_QUERY | LOCATION_QUERY | REQUEST_TAG
    )
}

/// Least and greatest length of the value; of an unknown option everything.
///
/// A value outside is treated like an unknown option (RFC 7252 section 5.4.3).
pub const fn length_range(number: u16) -> (usize, usize) {
    match number {
        IF_MATCH | REQUEST_TAG => (0, 8),
        ETAG => (1, 8),
        IF_NONE_MATCH => (0, 0),
        OBSERVE | BLOCK1 | BLOCK2 => (0, 3),
        URI_PORT | CONTENT_FORMAT | ACCEPT => (0, 2),
        MAX_AGE | SIZE1 | SIZE2 => (0, 4),
        URI_HOST | PROXY_SCHEME => (1, 255),
        LOCATION_PATH | URI_PATH | URI_QUERY | LOCATION_QUERY => (0, 255),
        PROXY_URI => (1, 1034),
        ECHO => (1, 40),
        _ => (0, u16::MAX as usize),
    }
}

/// The number of a uint value: big-endian, 0..=4 bytes, leading zeros allowed.
/// `None` for more than 4 bytes.
pub fn decode_uint(value: &[u8]) -> Option<u32> {
    if value.len() > 4 {
        return None;
    }
    Some(value.iter().fold(0, |n, &byte| n << 8 | u32::from(byte)))
}

/// The shortest form of a uint value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uint {
    bytes: [u8; 4],
    skip: u8,
}

impl Uint {
    /// Encodes `number` without leading zeros; 0 is the empty string.
    pub const fn new(number: u32) -> Uint {
        Uint {
            bytes: number.to_be_bytes(),
            skip: (number.leading_zeros() / 8) as u8,
        }
    }

    /// 0..=4 bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(usize::from(self.skip)..).unwrap_or(&[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uint_is_shortest() {
        for (number, bytes) in [
            (0, &[][..]),
            (1, &[1]),
            (255, &[255]),
            (256, &[1, 0]),
            (65_536, &[1, 0, 0]),
            (u32::MAX, &[255, 255, 255, 255]),
        ] {
            assert_eq!(Uint::new(number).as_bytes(), bytes);
            assert_eq!(decode_uint(bytes), Some(number));
        }
        assert_eq!(decode_uint(&[0, 0, 7]), Some(7));
        assert_eq!(decode_uint(&[0; 5]), None);
    }

    #[test]
    fn properties_of_the_registry() {
        // number, critical, unsafe, no-cache-key: RFC 7252 table 4, RFC 7641 2, RFC 7959 2.1, RFC 9175
        for (number, critical, not_safe, no_key) in [
            (IF_MATCH, true, false, false),
            (URI_HOST, true, true, false),
            (ETAG, false, false, false),
            (IF_NONE_MATCH, true, false, false),
            (OBSERVE, false, true, false),
            (URI_PORT, true, true, false),
            (LOCATION_PATH, false, false, false),
            (URI_PATH, true, true, false),
            (CONTENT_FORMAT, false, false, false),
            (MAX_AGE, false, true, false),
            (URI_QUERY, true, true, false),
            (ACCEPT, true, false, false),
            (LOCATION_QUERY, false, false, false),
            (BLOCK2, true, true, false),
            (BLOCK1, true, true, false),
            (SIZE2, false, false, true),
            (PROXY_URI, true, true, false),
            (PROXY_SCHEME, true, true, false),
            (SIZE1, false, false, true),
            (ECHO, false, false, true),
            (REQUEST_TAG, false, false, false),
        ] {
            assert_eq!(is_critical(number), critical, "{number}");
            assert_eq!(is_unsafe(number), not_safe, "{number}");
            assert_eq!(is_no_cache_key(number) && !not_safe, no_key, "{number}");
        }
    }
}
