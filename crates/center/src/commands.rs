//! The border between the rules and the device endpoint: what the Center wants a device to be told.
//!
//! The endpoint calls [`Service`](crate::service::Service) for everything that comes from a device (registration,
//! request, report, answers); the service decides, commits, and **after the commit** hands what has to be sent to
//! the [`DeviceCommands`] of the endpoint. Commands made by the REST API or by time come the same way.
//!
//! | from the device | call | what follows |
//! |---|---|---|
//! | `POST /rd` | `register` | the Location id; [`DeviceCommand`]s still owed; 4.03 for [`UnknownProductKey`](sota_errors::CenterError::UnknownProductKey) and [`DeviceDisabled`](sota_errors::CenterError::DeviceDisabled), 4.00 for a bad name |
//! | `POST /rd/<id>` | `update` | commands still owed; 4.04 for `UnknownRegistration` |
//! | `DELETE /rd/<id>` | `deregister` | |
//! | `POST /dp` with a request | `request` | an offer, or the rule that forbids it in the log |
//! | `POST /dp` with a state | `report` | download information, the next offer |
//! | versions, battery, signal read or sent | `facts` | success, the next offer |
//! | 2.04 of Cancel, or its refusal | `cancel_answered` | |
//! | 4.xx to an offer or download information | `refused` | |
//!
//! A command may be lost (a device asleep, a restart): the service finds from the stored state what a device is
//! owed and sends it again at the device's next contact. So the endpoint keeps nothing for devices that are away.

use sota_lwm2m::objects::plan::{DownloadInfo, Offer};

use crate::domain::{ComponentKind, Endpoint};

/// Something a device has to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // short-lived, a few at a time
pub enum DeviceCommand {
    /// Write an offer (Plan object, or the standard's sequence for a client that has none).
    Offer {
        /// Which device.
        endpoint: Endpoint,
        /// The offer; `plan` is its name on the wire, to be given back with each report.
        offer: Offer,
        /// The package, for clients without a Plan object, whose URI is their offer. The `uri` is empty: the endpoint
        /// fills in `coap://<its address>/<path of the SHA-256>`.
        info: DownloadInfo,
        /// SHA-256 of the package's file, the name of its resource.
        sha256: [u8; 32],
    },
    /// Write the download information; `info.uri` is empty as above.
    Download {
        /// Which device.
        endpoint: Endpoint,
        /// The component, as the device calls it.
        component: String,
        /// Its type.
        kind: ComponentKind,
        /// Digests and length; `sha256` only if the device asked for it or did not ask at all.
        info: DownloadInfo,
        /// SHA-256 of the package's file, the name of its resource.
        sha256: [u8; 32],
    },
    /// Execute Cancel of the component's upgrade; answer with `cancel_answered`.
    Cancel {
        /// Which device.
        endpoint: Endpoint,
        /// The component, as the device calls it.
        component: String,
        /// Its type.
        kind: ComponentKind,
        /// Name of the offer.
        offer: String,
    },
    /// The upgrade is under way as far as the rules know. A client without a Plan object is asked how far it is, if
    /// the endpoint does not know (the Center restarted), and the sequence goes on from there; one with a Plan object
    /// goes on by itself.
    Resume {
        /// Which device.
        endpoint: Endpoint,
        /// The component, as the device calls it.
        component: String,
        /// Its type.
        kind: ComponentKind,
        /// Name of the offer.
        offer: String,
        /// Version that the component is to run; empty = any new one.
        target: String,
        /// It had begun to update.
        updating: bool,
    },
    /// An operator disabled the device: it is sent nothing more and its Updates are refused (4.03). What it tells until
    /// its registration ends is taken.
    Disabled {
        /// Which device.
        endpoint: Endpoint,
    },
    /// An operator enabled the device: it is to register again.
    Enabled {
        /// Which device.
        endpoint: Endpoint,
    },
    /// Read the components' versions and give them to `facts`: the device says success but the target was not reported.
    ReadVersions {
        /// Which device.
        endpoint: Endpoint,
    },
}

impl DeviceCommand {
    /// The device to be told.
    pub fn endpoint(&self) -> &Endpoint {
        match self {
            DeviceCommand::Offer { endpoint, .. }
            | DeviceCommand::Download { endpoint, .. }
            | DeviceCommand::Cancel { endpoint, .. }
            | DeviceCommand::Resume { endpoint, .. }
            | DeviceCommand::Disabled { endpoint }
            | DeviceCommand::Enabled { endpoint }
            | DeviceCommand::ReadVersions { endpoint } => endpoint,
        }
    }
}

/// Takes commands; implemented by the device endpoint. Must not block: a queue and a wake-up.
pub trait DeviceCommands: Send + Sync {
    /// Takes one command.
    fn send(&self, command: DeviceCommand);
}

impl<F: Fn(DeviceCommand) + Send + Sync> DeviceCommands for F {
    fn send(&self, command: DeviceCommand) {
        self(command);
    }
}
