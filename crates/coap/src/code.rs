//! The code byte: class (3 bits) and detail (5 bits), RFC 7252 section 12.1 and its successors.

use core::fmt;

/// Method, response code or [`Code::EMPTY`]; written `c.dd`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code(u8);

/// Declares the registry's entries with their names.
macro_rules! codes {
    ($($name:ident = $class:literal . $detail:literal, $doc:literal;)*) => {
        impl Code { $(#[doc = $doc] pub const $name: Code = Code($class << 5 | $detail);)* }
    };
}

codes! {
    EMPTY = 0 . 0, "0.00: no request and no response (empty ACK, RST, ping).";
    GET = 0 . 1, "0.01 GET.";
    POST = 0 . 2, "0.02 POST.";
    PUT = 0 . 3, "0.03 PUT.";
    DELETE = 0 . 4, "0.04 DELETE.";
    FETCH = 0 . 5, "0.05 FETCH (RFC 8132).";
    PATCH = 0 . 6, "0.06 PATCH (RFC 8132).";
    IPATCH = 0 . 7, "0.07 iPATCH (RFC 8132).";
    CREATED = 2 . 1, "2.01 Created.";
    DELETED = 2 . 2, "2.02 Deleted.";
    VALID = 2 . 3, "2.03 Valid: the client's copy with this ETag is still good.";
    CHANGED = 2 . 4, "2.04 Changed.";
    CONTENT = 2 . 5, "2.05 Content.";
    CONTINUE = 2 . 31, "2.31 Continue: this Block1 was taken, send the next (RFC 7959).";
    BAD_REQUEST = 4 . 0, "4.00 Bad Request.";
    UNAUTHORIZED = 4 . 1, "4.01 Unauthorized; with Echo: prove your address (RFC 9175).";
    BAD_OPTION = 4 . 2, "4.02 Bad Option: a critical option was not understood.";
    FORBIDDEN = 4 . 3, "4.03 Forbidden.";
    NOT_FOUND = 4 . 4, "4.04 Not Found.";
    METHOD_NOT_ALLOWED = 4 . 5, "4.05 Method Not Allowed.";
    NOT_ACCEPTABLE = 4 . 6, "4.06 Not Acceptable.";
    REQUEST_ENTITY_INCOMPLETE = 4 . 8, "4.08 Request Entity Incomplete: Block1 out of order (RFC 7959).";
    CONFLICT = 4 . 9, "4.09 Conflict (RFC 8132).";
    PRECONDITION_FAILED = 4 . 12, "4.12 Precondition Failed (If-Match, If-None-Match).";
    REQUEST_ENTITY_TOO_LARGE = 4 . 13, "4.13 Request Entity Too Large; with Block1: use this smaller size.";
    UNSUPPORTED_CONTENT_FORMAT = 4 . 15, "4.15 Unsupported Content-Format.";
    UNPROCESSABLE_ENTITY = 4 . 22, "4.22 Unprocessable Entity (RFC 8132).";
    TOO_MANY_REQUESTS = 4 . 29, "4.29 Too Many Requests; wait Max-Age seconds (RFC 8516).";
    INTERNAL_SERVER_ERROR = 5 . 0, "5.00 Internal Server Error.";
    NOT_IMPLEMENTED = 5 . 1, "5.01 Not Implemented.";
    BAD_GATEWAY = 5 . 2, "5.02 Bad Gateway.";
    SERVICE_UNAVAILABLE = 5 . 3, "5.03 Service Unavailable; wait Max-Age seconds.";
    GATEWAY_TIMEOUT = 5 . 4, "5.04 Gateway Timeout.";
    PROXYING_NOT_SUPPORTED = 5 . 5, "5.05 Proxying Not Supported.";
}

impl Code {
    /// The code with this byte; every byte is one, known or not.
    pub const fn from_byte(byte: u8) -> Code {
        Code(byte)
    }

    /// The byte on the wire.
    pub const fn byte(self) -> u8 {
        self.0
    }

    /// 0..=7: 0 request, 2 success, 4 client error, 5 server error; 1, 6 and 7 are reserved.
    pub const fn class(self) -> u8 {
        self.0 >> 5
    }

    /// 0..=31.
    pub const fn detail(self) -> u8 {
        self.0 & 0x1f
    }

    /// 0.00.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// A method: 0.01..=0.31.
    pub const fn is_request(self) -> bool {
        self.class() == 0 && self.0 != 0
    }

    /// 2.xx to 5.xx (3.xx is not assigned; its meaning is unknown, not its being a response).
    pub const fn is_response(self) -> bool {
        matches!(self.class(), 2..=5)
    }

    /// 2.xx.
    pub const fn is_success(self) -> bool {
        self.class() == 2
    }

    /// A reserved class (1, 6, 7): such a message is rejected (RFC 7252 section 4.2).
    pub const fn is_reserved(self) -> bool {
        matches!(self.class(), 1 | 6 | 7)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.class(), self.detail())
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    #[test]
    fn bytes_classes_and_text() {
        for (code, byte, text) in [
            (Code::EMPTY, 0x00, "0.00"),
            (Code::GET, 0x01, "0.01"),
            (Code::IPATCH, 0x07, "0.07"),
            (Code::CONTENT, 0x45, "2.05"),
            (Code::CONTINUE, 0x5f, "2.31"),
            (Code::REQUEST_ENTITY_INCOMPLETE, 0x88, "4.08"),
            (Code::REQUEST_ENTITY_TOO_LARGE, 0x8d, "4.13"),
            (Code::PROXYING_NOT_SUPPORTED, 0xa5, "5.05"),
        ] {
            assert_eq!(code.byte(), byte);
            assert_eq!(Code::from_byte(byte), code);
            assert_eq!(code.to_string(), text);
        }
    }

    #[test]
    fn every_byte_is_exactly_one_kind() {
        for byte in 0..=255 {
            let code = Code::from_byte(byte);
            let kinds = [
                code.is_empty(),
                code.is_request(),
                code.is_response(),
                code.is_reserved(),
            ];
            assert_eq!(kinds.iter().filter(|&&k| k).count(), 1, "{code}");
        }
    }
}
