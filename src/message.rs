//! What the three machines say to each other and to the host.
//!
//! One mailbox each way between cloud and engine; the bridge and the C API call the engine by
//! [`Command`] and hear [`Event`]s. A full mailbox is back-pressure, never a loss: the sender keeps
//! what it could not hand over and tries again at its next step.
//!
//! ```text
//!           ToEngine                     Event, Reply
//!  cloud ------------> engine ------------------------------> bridge / application
//!        <------------        <------------------------------
//!           ToCloud                      Command
//! ```

use heapless::String;
pub use sota_coap::Etag;
pub use sota_errors::Reason;
pub use sota_lwm2m::objects::plan::{
    ComponentName, ComponentType, DownloadInfo, Offer, State, Version,
};

/// Milliseconds since the port's start; never goes back.
pub type Millis = u64;

/// Components a device can have: the module itself and its MCUs. 512 bytes of `name:version` bound
/// the text; this bounds the table.
pub const COMPONENTS: usize = sota_lwm2m::objects::plan::COMPONENTS_MAX as usize;

/// Names one request of the server whose answer waits for the engine's verdict.
pub type Ticket = u8;

/// From cloud to engine. `BLOCK` is the greatest block in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // it lives in a static mailbox: there is no heap to box into
pub enum ToEngine<const BLOCK: usize> {
    /// Registered with the server, or no longer.
    Link(bool),
    /// The server refused the registration (4.03): it does not want this device. Tried again after a pause that grows.
    Refused,
    /// A plan; answered by [`ToCloud::Verdict`].
    Offer {
        /// Whose answer waits.
        ticket: Ticket,
        /// Which door it came through.
        door: Door,
        /// The plan.
        offer: Offer,
    },
    /// Where the package is; answered by [`ToCloud::Verdict`].
    DownloadInfo {
        /// Whose answer waits.
        ticket: Ticket,
        /// Plan instance.
        instance: u8,
        /// Where and what.
        info: DownloadInfo,
    },
    /// The server cancels; answered by [`ToCloud::Verdict`].
    Cancel {
        /// Whose answer waits.
        ticket: Ticket,
        /// Plan instance (0 module, m + 1 MCU m).
        instance: u8,
    },
    /// The server asks to install (/9/m/4, /5/0/2); answered by [`ToCloud::Verdict`].
    Install {
        /// Whose answer waits.
        ticket: Ticket,
        /// Plan instance.
        instance: u8,
    },
    /// The first answer of a fetch came. Comes once more, just before the last block, when the length
    /// was not known (the server told no Size2) and the last block (More = 0) now tells it.
    FetchStarted {
        /// Size2, if the server told.
        total: Option<u32>,
        /// ETag of the representation, empty if none.
        etag: Etag,
    },
    /// One block, in order.
    Block {
        /// Absolute offset in the package.
        offset: u32,
        /// The bytes.
        data: heapless::Vec<u8, BLOCK>,
    },
    /// An error that the network cannot explain: 4.xx, changed ETag, wrong size, unusable URI.
    /// Time-outs and resets are not reported: cloud retries them with capped back-off.
    FetchFailed(Reason),
}

/// Which door a plan came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Door {
    /// The Plan object: download information follows after the host's answer.
    #[default]
    Plan,
    /// /9 or /5 of a foreign server: the URI came with the offer, limits are zero, target is empty.
    Standard,
}

/// From engine to cloud.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)]
pub enum ToCloud {
    /// Register, or leave (`AT+QIOTREG`, connection mode).
    Connect(bool),
    /// What /5, /9 and Plan show from now on; replaces the one before.
    View(View),
    /// The host asks for a plan: Send {request, versions}.
    Request {
        /// SHA-256 wanted beside MD5 and CRC-32.
        sha256: bool,
    },
    /// Send this state of the plan to the Center, once, in order. Cloud answers nothing: it keeps
    /// the report until the Center acknowledged it.
    Report {
        /// Plan instance.
        instance: u8,
        /// The state reached.
        state: State,
        /// Why, in states 6 and 12.
        reason: Option<Reason>,
    },
    /// The engine's answer to the request with this ticket.
    Verdict {
        /// Which request.
        ticket: Ticket,
        /// Taken, or why not.
        result: Result<(), Reason>,
    },
    /// Fetch `from..to` of the package (`from` is a multiple of the block size).
    Fetch {
        /// Where.
        uri: String<{ sota_lwm2m::objects::plan::URI_LEN }>,
        /// First byte wanted.
        from: u32,
        /// One past the last byte wanted; `u32::MAX`: to the end, the length is not known yet. The
        /// engine sends [`ToCloud::StopFetch`] when its piece is full.
        to: u32,
        /// The ETag the representation must have; empty = any (first fetch of a package).
        etag: Etag,
    },
    /// Forget the fetch.
    StopFetch,
}

/// What the objects show: a snapshot of the engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[repr(C)] // The small and often used first, for shorter code.
pub struct View {
    /// Index of the component under upgrade.
    pub active: Option<u8>,
    /// Which door its plan came through.
    pub door: Door,
    /// Its state.
    pub state: State,
    /// The host's answer.
    pub answer: Option<bool>,
    /// Every byte of the package is staged or handed over and every digest matched.
    pub verified: bool,
    /// The last reason.
    pub reason: Option<Reason>,
    /// Bytes of the package that are durable.
    pub progress: u32,
    /// Package length, 0 before download information.
    pub length: u32,
    /// The components: 0 is the module itself, m + 1 is MCU m.
    pub components: heapless::Vec<ComponentView, COMPONENTS>,
    /// The offer's name.
    pub plan: String<{ sota_lwm2m::objects::plan::PLAN_LEN }>,
    /// Its target version.
    pub target: Version,
}

/// One component as the server sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ComponentView {
    /// Component identifier.
    pub name: ComponentName,
    /// Version it runs.
    pub version: Version,
    /// Result of its last upgrade, for the Update Result of /5 and /9 until the next one begins.
    pub last: Option<Result<(), Reason>>,
}

/// What the host (AT commands, C API) asks of the engine. Every command is answered at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `AT+QIOTREG`, connection mode.
    Connect(bool),
    /// SetMcuVersion; an empty version deletes.
    SetMcuVersion(ComponentName, Version),
    /// OtaRequest: 0 without, 1 with SHA-256.
    Request(u32),
    /// OtaAction 0..=3.
    Action(u8),
    /// DataRead of the present piece, absolute offset; fills the caller's buffer.
    Read {
        /// Absolute offset in the package.
        start: u32,
        /// Bytes wanted.
        len: u32,
    },
    /// Fetch again from the piece boundary at or below this offset.
    Rewind(u32),
    /// 10701 (and in state 8 also 10703) again: `AT+QIOTOTARD=?`.
    Announce,
    /// The same for a bridge that was reset with the module, of the binary link, of a ROM loader or of an SMP server: in state 9 too, 10701 and 10704. An MCU with AT
    /// commands would begin anew.
    #[cfg(any(feature = "link", feature = "stm32", feature = "smp"))]
    AnnounceAll,
    /// The MCU will not install what it was told to: it has no such image any more, or could not begin. State 9 ends in 12.
    #[cfg(any(feature = "link", feature = "stm32", feature = "smp"))]
    NotInstalled(Reason),
    /// The host gives the upgrade up. By its own will (1): before its answer as action 0, after it the upgrade has failed. For
    /// another reason it has failed in any case. Too late once the image is being written.
    Cancel(Reason),
}

/// The engine's answer to a [`Command`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Done (TRUE).
    Ok,
    /// This many bytes were read into the caller's buffer.
    Read(usize),
    /// Not done (FALSE), with the reason for `+SOTAERR`.
    Refused(Reason),
}

/// What the application and the MCU hear. [`Event::write_payload`] gives the text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)]
pub enum Event {
    /// 1,10200 and its failures.
    Auth(u16),
    /// 2,10200: connected, 2,10474 …
    Access(u16),
    /// 3,10200.
    Subscribed(u16),
    /// 6,10200.
    Logout(u16),
    /// 7,10700.
    Plan(Offer),
    /// 7,10701: without content for the module's own firmware.
    DownloadStart(Option<Package>),
    /// 7,10702.
    Downloading,
    /// 7,10703: without content for the module's own firmware.
    Downloaded(Option<Piece>),
    /// 7,10704.
    Updating,
    /// 7,10705.
    UpdateOk,
    /// 7,10706; the reason is not on the QuecThing wire.
    UpdateFail(Reason),
    /// 7,10707.
    UpdateFlag,
}

/// Content of 10701.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Component identifier.
    pub component: ComponentName,
    /// Version afterwards; not on the QuecThing wire.
    #[cfg(any(feature = "link", feature = "stm32", feature = "smp"))]
    pub target: Version,
    /// Bytes.
    pub length: u32,
    /// MD5, when the server sent it.
    pub md5: Option<[u8; 16]>,
    /// CRC-32, when the server sent it.
    pub crc32: Option<u32>,
    /// SHA-256, when it was asked for and sent.
    pub sha256: Option<[u8; 32]>,
}

/// Content of 10703.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Component identifier.
    pub component: ComponentName,
    /// Package length in bytes.
    pub length: u32,
    /// First byte of the piece.
    pub start: u32,
    /// Bytes of the piece.
    pub piece_length: u32,
}
