//! `coap://host[:port]/path[?query]` (RFC 7252 6.4), without allocation: a view over the text.

use sota_errors::Reason;
use sota_lwm2m::value::decimal;

use crate::text::split;

/// The default port of `coap://`.
pub const COAP_PORT: u16 = 5683;

/// A URI that was checked once; the parts are slices of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uri<'a> {
    /// Name or address literal; an IPv6 literal is without its brackets.
    pub host: &'a str,
    /// UDP port.
    pub port: u16,
    /// Path without the leading `/`; percent-encoded.
    path: &'a str,
    /// Query without the `?`; percent-encoded.
    query: &'a str,
}

impl<'a> Uri<'a> {
    /// Reads the text. Another scheme is [`Reason::UnsupportedProtocol`], anything else that is wrong
    /// [`Reason::BadPackageUri`].
    pub fn parse(text: &'a str) -> Result<Self, Reason> {
        let (scheme, rest) = split(text, b":");
        let rest = rest.strip_prefix("://").ok_or(Reason::BadPackageUri)?;
        if !scheme.eq_ignore_ascii_case("coap") {
            return Err(Reason::UnsupportedProtocol);
        }
        if rest.bytes().any(|b| b <= b' ' || b == 0x7f || b == b'#') {
            return Err(Reason::BadPackageUri);
        }
        let (authority, tail) = split(rest, b"/?");
        let (path, query) = split(tail, b"?");
        let (host, port) = Self::authority(authority)?;
        let uri = Uri {
            host,
            port,
            path: path.get(1..).unwrap_or(""),
            query: query.get(1..).unwrap_or(""),
        };
        // All at once, as nothing that parts stands in an encoded byte.
        match decode(tail, &mut [0; 255]) {
            Some(_) => Ok(uri),
            None => Err(Reason::BadPackageUri),
        }
    }

    /// `host`, `host:port`, `[v6]` or `[v6]:port`.
    pub fn authority(text: &'a str) -> Result<(&'a str, u16), Reason> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, after) = split(rest, b"]");
                (host, after.strip_prefix(']').ok_or(Reason::BadPackageUri)?)
            }
            None => split(text, b":"),
        };
        let port = match port.as_bytes() {
            [] => COAP_PORT,
            [b':'] => COAP_PORT,
            [b':', digits @ ..] => decimal(digits)
                .and_then(|port| u16::try_from(port).ok())
                .ok_or(Reason::BadPackageUri)?,
            _ => return Err(Reason::BadPackageUri),
        };
        let strange = |byte| matches!(byte, b'@' | b'[' | b']' | b'%');
        if host.is_empty() || host.len() > 253 || host.bytes().any(strange) || port == 0 {
            return Err(Reason::BadPackageUri);
        }
        Ok((host, port))
    }

    /// The host is an address, not a name.
    pub fn is_literal(&self) -> bool {
        let v6 = !split(self.host, b":").1.is_empty();
        v6 || self.host.bytes().all(|b| b.is_ascii_digit() || b == b'.')
    }

    /// The path's segments, still percent-encoded. None for `/` and for no path.
    #[inline(never)]
    pub fn segments(&self) -> Parts<'a> {
        Parts::of(self.path, b"/")
    }

    /// The query's parts, still percent-encoded.
    pub fn queries(&self) -> Parts<'a> {
        Parts::of(self.query, b"&")
    }
}

/// What stands between separators.
#[derive(Clone, Debug)]
pub struct Parts<'a> {
    rest: Option<&'a str>,
    by: &'static [u8; 1],
}

impl<'a> Parts<'a> {
    fn of(text: &'a str, by: &'static [u8; 1]) -> Self {
        Parts {
            rest: Some(text).filter(|text| !text.is_empty()),
            by,
        }
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = &'a str;

    #[inline(never)]
    fn next(&mut self) -> Option<&'a str> {
        let (part, tail) = split(self.rest?, self.by);
        self.rest = tail.get(1..);
        Some(part)
    }
}

/// Decodes percent-encoding of one part into `out`; `None` if it is malformed or does not fit.
pub fn decode<'b>(part: &str, out: &'b mut [u8]) -> Option<&'b [u8]> {
    let mut bytes = part.bytes();
    let mut len = 0;
    while let Some(byte) = bytes.next() {
        let value = match byte {
            b'%' => (hex(bytes.next()?)? << 4) | hex(bytes.next()?)?,
            other => other,
        };
        *out.get_mut(len)? = value;
        len += 1;
    }
    out.get(..len)
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    #[test]
    fn parts() {
        for (text, host, port, segments, queries) in [
            ("coap://10.0.0.1/p/ab", "10.0.0.1", 5683, "p ab", ""),
            (
                "coap://dl.example:5700/x?a=1&b",
                "dl.example",
                5700,
                "x",
                "a=1 b",
            ),
            (
                "COAP://[2001:db8::1]:61616/p",
                "2001:db8::1",
                61616,
                "p",
                "",
            ),
            ("coap://[::1]", "::1", 5683, "", ""),
            ("coap://h/", "h", 5683, "", ""),
            ("coap://h/a//b", "h", 5683, "a  b", ""),
            ("coap://h?q", "h", 5683, "", "q"),
        ] {
            let uri = Uri::parse(text).unwrap();
            assert_eq!((uri.host, uri.port), (host, port), "{text}");
            let list = |parts: Vec<&str>| parts.join(" ");
            assert_eq!(list(uri.segments().collect()), segments, "{text}");
            assert_eq!(list(uri.queries().collect()), queries, "{text}");
        }
    }

    #[test]
    fn refused() {
        for (text, reason) in [
            ("http://h/p", Reason::UnsupportedProtocol),
            ("coaps://h/p", Reason::UnsupportedProtocol),
            ("", Reason::BadPackageUri),
            ("coap:/h/p", Reason::BadPackageUri),
            ("coap://", Reason::BadPackageUri),
            ("coap:///p", Reason::BadPackageUri),
            ("coap://h:99999/p", Reason::BadPackageUri),
            ("coap://h:+80/p", Reason::BadPackageUri),
            ("coap://h:0/p", Reason::BadPackageUri),
            ("coap://u@h/p", Reason::BadPackageUri),
            ("coap://[::1/p", Reason::BadPackageUri),
            ("coap://h/p#f", Reason::BadPackageUri),
            ("coap://h/a b", Reason::BadPackageUri),
            ("coap://h/%4", Reason::BadPackageUri),
            ("coap://h/%zz", Reason::BadPackageUri),
        ] {
            assert_eq!(Uri::parse(text), Err(reason), "{text}");
        }
    }

    #[test]
    fn decodes() {
        let mut buf = [0; 8];
        assert_eq!(decode("a%2Fb%20", &mut buf), Some(&b"a/b "[..]));
        assert_eq!(decode("123456789", &mut buf), None);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in ".{0,300}") {
            if let Ok(uri) = Uri::parse(&text) {
                let _ = uri.segments().chain(uri.queries()).count();
            }
        }

        #[test]
        fn never_panics_near_the_form(text in "(coap|coaps)://[\\[\\]:a0-9@%.]{0,12}[/?&%a-f0-9]{0,20}") {
            let _ = Uri::parse(&text);
        }
    }
}
