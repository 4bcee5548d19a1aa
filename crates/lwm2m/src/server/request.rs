//! Requests to a client (LwM2M Core 1.1, sections 6.3 and 6.4), written into the caller's buffer.
//!
//! | operation | method | Observe | Accept | payload |
//! |---|---|---|---|---|
//! | Read (6.3.1) | GET | | wanted format, or the client chooses | |
//! | Discover (6.3.2) | GET | | 40 | |
//! | Write of one resource (6.3.3) | PUT | | | its value |
//! | Write of several resources of an instance (6.3.3, Partial Update) | POST | | | their values |
//! | Execute (6.3.5) | POST | | | |
//! | Observe (6.4.1) | GET | 0 | wanted format, or the client chooses | |
//! | Cancel Observation (6.4.3) | GET | 1 | | |

use sota_coap::{BuildError, Builder, Code, Kind, Token, option};

use crate::{ContentFormat, Path};

/// The table above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Values of a resource, an instance or an object.
    Read,
    /// What there is below a path, as links.
    Discover,
    /// The values in the payload and no others.
    Write,
    /// What the resource does.
    Execute,
    /// Read, and again at each change.
    Observe,
    /// The end of an observation; it goes out with the observation's own token.
    CancelObservation,
}

/// One request to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// What is asked.
    pub operation: Operation,
    /// Object, instance or resource.
    pub path: Path,
    /// Payload and its format.
    pub content: Option<(ContentFormat, &'a [u8])>,
    /// Wanted format of the answer; `None`: the client chooses.
    pub accept: Option<ContentFormat>,
}

impl<'a> Request<'a> {
    const fn new(operation: Operation, path: Path) -> Request<'a> {
        Request {
            operation,
            path,
            content: None,
            accept: None,
        }
    }

    /// Read, in the format the client chooses.
    pub const fn read(path: Path) -> Request<'a> {
        Request::new(Operation::Read, path)
    }

    /// Discover.
    pub const fn discover(path: Path) -> Request<'a> {
        Request {
            accept: Some(ContentFormat::Link),
            ..Request::new(Operation::Discover, path)
        }
    }

    /// Write of one resource, or of those resources of an instance that the payload names.
    pub const fn write(path: Path, format: ContentFormat, payload: &'a [u8]) -> Request<'a> {
        Request {
            content: Some((format, payload)),
            ..Request::new(Operation::Write, path)
        }
    }

    /// Execute of a resource, without arguments.
    pub const fn execute(path: Path) -> Request<'a> {
        Request::new(Operation::Execute, path)
    }

    /// Observe, in the format the client chooses.
    pub const fn observe(path: Path) -> Request<'a> {
        Request::new(Operation::Observe, path)
    }

    /// Cancel Observation.
    pub const fn cancel_observation(path: Path) -> Request<'a> {
        Request::new(Operation::CancelObservation, path)
    }

    /// The CoAP method.
    pub fn code(&self) -> Code {
        match self.operation {
            Operation::Read
            | Operation::Discover
            | Operation::Observe
            | Operation::CancelObservation => Code::GET,
            // PUT replaces: of an instance it would also delete the resources that are not named.
            Operation::Write if self.path.resource_id().is_some() => Code::PUT,
            Operation::Write | Operation::Execute => Code::POST,
        }
    }

    /// Writes the request as a CON into `out`; its length in bytes.
    ///
    /// # Errors
    /// [`BuildError::NoSpace`] when `out` is too small.
    pub fn encode(
        &self,
        message_id: u16,
        token: Token,
        out: &mut [u8],
    ) -> Result<usize, BuildError> {
        let mut builder = Builder::new(out, Kind::Con, self.code(), message_id, token);
        match self.operation {
            Operation::Observe => builder.uint_option(option::OBSERVE, 0),
            Operation::CancelObservation => builder.uint_option(option::OBSERVE, 1),
            _ => &mut builder,
        };
        for id in (0..4).map_while(|level| self.path.get(level)) {
            builder.path_number(id);
        }
        if let Some((format, _)) = self.content {
            builder.uint_option(option::CONTENT_FORMAT, u32::from(format.number()));
        }
        if let Some(format) = self.accept {
            builder.uint_option(option::ACCEPT, u32::from(format.number()));
        }
        if let Some((_, payload)) = self.content {
            builder.payload(payload);
        }
        builder.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URI: Path = Path::resource(5, 0, 1);

    fn bytes<'b>(request: &Request<'_>, out: &'b mut [u8]) -> &'b [u8] {
        let n = request.encode(0x0102, Token::EMPTY, out).unwrap();
        &out[..n]
    }

    #[test]
    fn every_operation_byte_for_byte() {
        let instance = Path::instance(42769, 1);
        let senml = ContentFormat::SenmlCbor;
        let cases: &[(Request<'_>, &[u8])] = &[
            (
                Request::read(Path::resource(3, 0, 9)),
                b"\x40\x01\x01\x02\xb13\x010\x019",
            ),
            (
                Request::discover(Path::object(9)),
                b"\x40\x01\x01\x02\xb19\x61\x28",
            ),
            (
                Request::write(URI, ContentFormat::Text, b"coap://h/p"),
                b"\x40\x03\x01\x02\xb15\x010\x011\x10\xffcoap://h/p",
            ),
            // the empty URI: no payload, so no payload marker
            (
                Request::write(URI, ContentFormat::Text, b""),
                b"\x40\x03\x01\x02\xb15\x010\x011\x10",
            ),
            (
                Request::write(instance, senml, b"\x80"),
                b"\x40\x02\x01\x02\xb542769\x011\x11\x70\xff\x80",
            ),
            (
                Request::execute(Path::resource(9, 1, 4)),
                b"\x40\x02\x01\x02\xb19\x011\x014",
            ),
            (
                Request::observe(Path::resource(5, 0, 3)),
                b"\x40\x01\x01\x02\x60\x515\x010\x013",
            ),
            (
                Request::cancel_observation(Path::resource(5, 0, 3)),
                b"\x40\x01\x01\x02\x61\x01\x515\x010\x013",
            ),
        ];
        for (request, expected) in cases {
            assert_eq!(bytes(request, &mut [0; 64]), *expected, "{request:?}");
        }
    }

    #[test]
    fn a_wanted_format_and_a_buffer_that_is_too_small() {
        let request = Request {
            accept: Some(ContentFormat::Tlv),
            ..Request::read(Path::object(3))
        };
        let mut out = [0; 16];
        assert_eq!(
            bytes(&request, &mut out),
            b"\x40\x01\x01\x02\xb13\x62\x2d\x16"
        );
        for room in 0..9 {
            let result = request.encode(1, Token::EMPTY, &mut out[..room]);
            assert_eq!(result, Err(BuildError::NoSpace), "{room}");
        }
    }
}
