//! A request of the Center to a device, as it waits for its turn.

use sota_coap::{BuildError, Token};
use sota_lwm2m::server::{Operation, Request};
use sota_lwm2m::{ContentFormat, Path};

/// What a request is for; its answer is understood by this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Write of an offer.
    Offer {
        /// Name of the offer.
        offer: String,
    },
    /// Write of download information.
    Download {
        /// Name of the offer.
        offer: String,
    },
    /// Execute of Cancel.
    Cancel {
        /// Name of the offer.
        offer: String,
    },
    /// Read of a resource.
    Read,
    /// Observe of a resource.
    Observe,
    /// Execute that begins the update (/5/0/2, /9/x/4).
    Update,
}

/// One request with its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// What for.
    pub purpose: Purpose,
    /// Object, instance or resource.
    pub path: Path,
    operation: Operation,
    content: Option<(ContentFormat, Vec<u8>)>,
    accept: Option<ContentFormat>,
}

impl Outgoing {
    /// Keeps a request.
    pub fn new(purpose: Purpose, request: &Request<'_>) -> Outgoing {
        Outgoing {
            purpose,
            path: request.path,
            operation: request.operation,
            content: request
                .content
                .map(|(format, payload)| (format, payload.to_vec())),
            accept: request.accept,
        }
    }

    /// Read of a resource, in the format the client chooses.
    pub fn read(path: Path) -> Outgoing {
        Outgoing::new(Purpose::Read, &Request::read(path))
    }

    /// The datagram.
    pub fn encode(&self, message_id: u16, token: Token) -> Result<Vec<u8>, BuildError> {
        let request = Request {
            operation: self.operation,
            path: self.path,
            content: self
                .content
                .as_ref()
                .map(|(format, payload)| (*format, payload.as_slice())),
            accept: self.accept,
        };
        let mut buffer = [0; super::socket::MAX_DATAGRAM];
        let len = request.encode(message_id, token, &mut buffer)?;
        Ok(buffer[..len].to_vec())
    }
}
