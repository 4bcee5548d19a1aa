//! /0 Security. Never shown to a server: a client keeps it out of its registration and answers 4.01.

use super::{Kind, Operations, ResourceDef};

/// Object id.
pub const OBJECT_ID: u16 = 0;

/// Resource ids.
pub mod resource {
    /// `coap://host:port`.
    pub const SERVER_URI: u16 = 0;
    /// Is this a bootstrap server?
    pub const BOOTSTRAP: u16 = 1;
    /// Security mode: 0 PSK, 1 RPK, 2 certificate, 3 none.
    pub const MODE: u16 = 2;
    /// PSK identity, public key or certificate.
    pub const IDENTITY: u16 = 3;
    /// The server's public key.
    pub const SERVER_KEY: u16 = 4;
    /// PSK or private key.
    pub const SECRET_KEY: u16 = 5;
    /// Short server id, 1..=65534.
    pub const SHORT_SERVER_ID: u16 = 10;
    /// Client hold off time in s.
    pub const HOLD_OFF: u16 = 11;
}

/// The resources.
pub const RESOURCES: &[ResourceDef] = &[
    ResourceDef::mandatory(resource::SERVER_URI, Operations::Hidden, Kind::String),
    ResourceDef::mandatory(resource::BOOTSTRAP, Operations::Hidden, Kind::Boolean),
    ResourceDef::mandatory(resource::MODE, Operations::Hidden, Kind::Integer),
    ResourceDef::mandatory(resource::IDENTITY, Operations::Hidden, Kind::Opaque),
    ResourceDef::mandatory(resource::SERVER_KEY, Operations::Hidden, Kind::Opaque),
    ResourceDef::mandatory(resource::SECRET_KEY, Operations::Hidden, Kind::Opaque),
    ResourceDef::optional(resource::SHORT_SERVER_ID, Operations::Hidden, Kind::Integer),
    ResourceDef::optional(resource::HOLD_OFF, Operations::Hidden, Kind::Integer),
];
