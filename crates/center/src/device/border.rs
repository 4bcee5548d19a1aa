//! What the endpoint asks of the rest of the Center, and what it hears. Commands to devices come the
//! other way, as [`DeviceCommand`](crate::commands::DeviceCommand).
//!
//! Each call is answered once, by [`Endpoint::reply`](super::endpoint::Endpoint::reply). In the Center a
//! task does it with the service and the blobs; in a simulator the next line of the loop.

use bytes::Bytes;
use sota_errors::CenterError;
use sota_lwm2m::objects::plan::State;

use super::packages::PackageId;
use crate::domain::{DeviceFacts, Endpoint, Registration};
use crate::service::{Register, RegistrationUpdate};

/// Names a call until its reply.
pub type CallId = u64;

/// A state that a device reports of an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateReport {
    /// The offer's name on the wire.
    pub offer: String,
    /// Which component of it, as the device calls it; none: the one whose turn it is.
    pub component: Option<String>,
    /// State reached.
    pub state: State,
    /// Number of the reason, in states 6 and 12.
    pub reason: Option<u16>,
}

/// Something the endpoint cannot do alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// A device registers: [`Reply::Registered`] when it is durable, or the error.
    Register(Register),
    /// A device updates its registration: [`Reply::Registered`] with what is stored, or `UnknownRegistration`; of one that
    /// is known [`Reply::Done`] will do.
    Update {
        /// Registration id.
        id: String,
        /// What changed.
        update: RegistrationUpdate,
        /// The endpoint has the registration and has answered.
        known: bool,
    },
    /// A device leaves: [`Reply::Done`].
    Deregister {
        /// Registration id.
        id: String,
    },
    /// A device told something: [`Reply::Done`] when it is durable.
    Told {
        /// Which device.
        endpoint: Endpoint,
        /// Versions, battery, signal.
        facts: DeviceFacts,
        /// States of offers, in order.
        reports: Vec<StateReport>,
        /// The host asks for a plan; `true` = SHA-256 wanted.
        request: Option<bool>,
    },
    /// The device answered a cancel.
    CancelAnswered {
        /// Which device.
        endpoint: Endpoint,
        /// Name of the offer.
        offer: String,
        /// It cancelled, or it refused because its MCU is already flashing.
        taken: bool,
    },
    /// The device refused an offer or its download information.
    Refused {
        /// Which device.
        endpoint: Endpoint,
        /// Name of the offer.
        offer: String,
        /// CoAP code, `class << 5 | detail`.
        code: u8,
    },
    /// The device does not take an offer because it has another upgrade (4.05).
    Busy {
        /// Which device.
        endpoint: Endpoint,
        /// Name of the offer.
        offer: String,
    },
    /// A chunk of a package is wanted: [`Reply::Chunk`], or `NoSuchPackage`.
    Load {
        /// Which package.
        package: PackageId,
        /// Bytes from `chunk * CHUNK`.
        chunk: u64,
    },
}

/// The answer to a [`Call`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Done and durable.
    Done,
    /// The device and its stored registration.
    Registered(Endpoint, Registration),
    /// The chunk; empty past the end.
    Chunk {
        /// Length of the whole package in bytes.
        length: u64,
        /// At most `CHUNK` bytes.
        data: Bytes,
    },
    /// Not done.
    Failed(CenterError),
}
