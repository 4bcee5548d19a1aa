//! A request of the Center to a device, and its place on the wire.

use sota_coap::{BuildError, Builder, Code, Kind, Token, option};
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

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// What for.
    pub purpose: Purpose,
    /// Method.
    pub code: Code,
    /// Object, instance or resource.
    pub path: Path,
    /// Payload and its format.
    pub content: Option<(ContentFormat, Vec<u8>)>,
    /// Wanted format of the answer.
    pub accept: Option<ContentFormat>,
}

impl Outgoing {
    /// Write of several resources of an instance (POST: only these), or of one resource (PUT).
    pub fn write(
        purpose: Purpose,
        path: Path,
        format: ContentFormat,
        payload: Vec<u8>,
    ) -> Outgoing {
        let code = if path.resource_id().is_some() {
            Code::PUT
        } else {
            Code::POST
        };
        Outgoing {
            purpose,
            code,
            path,
            content: Some((format, payload)),
            accept: None,
        }
    }

    /// Execute of a resource.
    pub fn execute(purpose: Purpose, path: Path) -> Outgoing {
        Outgoing {
            purpose,
            code: Code::POST,
            path,
            content: None,
            accept: None,
        }
    }

    /// Read of a resource, in the format the client chooses.
    pub fn read(path: Path) -> Outgoing {
        Outgoing {
            purpose: Purpose::Read,
            code: Code::GET,
            path,
            content: None,
            accept: None,
        }
    }

    /// Observe of a resource.
    pub fn observe(path: Path) -> Outgoing {
        Outgoing {
            purpose: Purpose::Observe,
            ..Outgoing::read(path)
        }
    }

    /// The datagram.
    pub fn encode(&self, message_id: u16, token: Token) -> Result<Vec<u8>, BuildError> {
        let mut buffer = [0; super::socket::MAX_DATAGRAM];
        let mut builder = Builder::new(&mut buffer, Kind::Con, self.code, message_id, token);
        if self.purpose == Purpose::Observe {
            builder.uint_option(option::OBSERVE, 0);
        }
        for id in (0..4).map_while(|level| self.path.get(level)) {
            builder.path_number(id);
        }
        if let Some((format, _)) = &self.content {
            builder.uint_option(option::CONTENT_FORMAT, u32::from(format.number()));
        }
        if let Some(format) = self.accept {
            builder.uint_option(option::ACCEPT, u32::from(format.number()));
        }
        if let Some((_, payload)) = &self.content {
            builder.payload(payload);
        }
        let len = builder.finish()?;
        Ok(buffer[..len].to_vec())
    }
}
