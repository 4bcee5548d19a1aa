#![no_std]
#![forbid(unsafe_code)]
//! LwM2M 1.1 for tiny devices: no_std, no alloc, sans-IO.
//!
//! | module | what it is |
//! |---|---|
//! | [`path`] | `/object/instance/resource/resource instance` |
//! | [`content_format`] | the formats a payload can have |
//! | [`value`] | values written and read |
//! | `codec` | one reader and one writer over all formats, chosen at run time |
//! | [`tlv`], [`senml_cbor`], [`single`] | the formats |
//! | [`link_format`] | registration payloads and Discover |
//! | [`objects`] | ids, resources and operations of /0 /1 /3 /4 /5 /9 /33629 and of our Plan object |
//! | `client` | registration and Sends of a device (feature `client`) |
//! | `server` | registration read, requests written, the upgrade of a client without Plan object (feature `server`) |

pub mod cbor;
#[cfg(feature = "client")]
pub mod client;
mod codec;
#[cfg(test)]
mod codec_tests;
pub mod content_format;
pub mod link_format;
pub mod objects;
pub mod path;
pub mod senml_cbor;
#[cfg(feature = "server")]
pub mod server;
pub mod single;
pub mod tlv;
pub mod value;

pub use codec::{Encoder, Error, Record, Records};
pub use content_format::ContentFormat;
pub use path::Path;
pub use value::{RawValue, Value};
