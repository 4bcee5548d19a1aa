//! The MCU's end: receives a package into flash, verifies, asks to install.
//!
//! The caller's loop is that of [`module`](crate::module), with a [`Slot`] in place of the source. All that survives a
//! reset is in the slot; the phases are the table of `docs/link.md`.
//!
//! It has to be small: frames are read where they lie, texts stay in the MCU's flash, and each frame is written by one
//! place (`End::send`).

mod clock;
mod end;
mod fields;
mod package;
mod session;

use crate::field::{Boot, Image, Resume, kind};
use crate::frame::{HELLO_LEN, Rx, Tx};
use crate::message::{McuPhase, ModulePhase};
use crate::receive::Blocks;
use crate::session::Line;
use crate::timing::{Millis, Timing};
use clock::{Clock, Since};
use fields::Fields;
pub use fields::PlanFields;
use sota_errors::McuError;

/// Where the image goes: the other slot, and what is kept about it over a reset.
pub trait Slot {
    /// What the flash holds of which package; asked before each hello.
    fn resume(&mut self) -> Option<Resume>;

    /// This image comes. Gives the bytes of it that are durable already (0: none); a resume point at which writing
    /// cannot go on is 0 too. May erase, or leave that to [`write`](Self::write).
    ///
    /// # Errors
    /// A number of the catalogue: this image is not wanted (622, 623) or the flash failed (404).
    fn begin(&mut self, image: &Image) -> Result<u32, u16>;

    /// Writes a block at its place, in any order inside the window; erases before it where needed. `data` is a whole
    /// block, at the end of the package what is left.
    ///
    /// # Errors
    /// [`WriteError`].
    fn write(&mut self, offset: u32, data: &[u8]) -> Result<(), WriteError>;

    /// Every byte below `offset` is written. Makes of it durable what suits the flash, and gives the offset at which a
    /// reset would go on. The transfer runs at line speed when that lags behind by less than half a window.
    fn commit(&mut self, offset: u32) -> u32;

    /// What was received is wrong: the next [`begin`](Self::begin) gives 0.
    fn forget(&mut self);
}

/// Why a block was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteError {
    /// The flash failed to erase or write: the upgrade fails (404).
    Failed,
    /// What is there from this offset on must be received again, for example a page that a power cut tore.
    Redo(u32),
}

/// What an MCU's end is made with: what its hello says, and the line. The texts lie in the MCU's flash, or live on elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Config {
    /// Whose images it takes, 1 to 32 bytes.
    pub component: &'static str,
    /// What it runs, at most 64 bytes.
    pub version: &'static str,
    /// Hardware identifier, at most 32 bytes; empty: not told.
    pub hardware: &'static str,
    /// Bootloader identifier, at most 32 bytes; empty: not told.
    pub bootloader: &'static str,
    /// Greatest block, bytes. Lowered to what its buffer can take.
    pub block: u16,
    /// Greatest window in blocks, 1 to 8.
    pub window: u8,
    /// Bytes its flash erases at once.
    pub page: u32,
    /// Bytes an image may have; 0: not told.
    pub slot: u32,
    /// How its image came to run.
    pub boot: Boot,
    /// The base baud rate.
    pub baud: u32,
    /// Greatest baud rate; 0: no other than the base.
    pub rate: u32,
    /// It pulls. Needs the feature `pull`.
    pub pulls: bool,
    /// Session number: another than at the start before (random, or counted in flash). 0 counts as 1.
    pub session: u16,
}

/// What the caller has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// About the line.
    Line(Line),
    /// A plan: [`Link::accept`] or [`Link::refuse`]. Slot and component are checked already; [`Link::plan`] has it until
    /// the next [`Link::poll`].
    Plan,
    /// Everything is written: compare the flash with [`Link::image`]'s digests, in steps, then [`Link::verified`].
    Verify,
    /// Mark the image for one trial boot and reset.
    Install,
    /// The module has nothing more to do with this MCU: 0 none, 4 updated, 5 failed for this reason.
    Ended(ModulePhase, u16),
}

/// The MCU's end. `FRAME` is [`frame_len`](crate::frame::frame_len) of its greatest block.
#[repr(C)] // the small first, see End
pub struct Link<const FRAME: usize> {
    end: End,
    /// The frame that was received is the plan of [`Output::Plan`].
    shows_plan: bool,
    rx: Rx<FRAME>,
    tx: Tx<HELLO_LEN>,
}

/// All but the buffers.
///
/// Bytes first, then halves, then words, what is used most in front: a Cortex-M's short instructions reach 31 bytes, 62
/// bytes in halves and 124 in words.
#[repr(C)]
struct End {
    up: bool,
    /// Up again: the end has to forget and to tell.
    anew: bool,
    went_down: bool,
    answer_due: bool,
    /// The hello asks for a plan.
    asks: bool,
    #[cfg(feature = "pull")]
    is_puller: bool,
    own_window: u8,
    /// Of both hellos the lesser.
    window: u8,
    transfer: u8,
    phase: McuPhase,
    /// The module's phase in the last frame that was acted on.
    seen: ModulePhase,
    /// The module does not know this end's phase.
    untold: bool,
    due: bool,
    hold: bool,
    /// Its digests were wrong once.
    was_wrong: bool,
    /// Phase Plan or Package: that is what it has of this transfer.
    has: ModulePhase,
    /// [`Output::Plan`], [`Output::Verify`] or [`Output::Install`] is to be given.
    plan: bool,
    verify: bool,
    install: bool,
    ended: bool,
    session: u16,
    /// Session number of the module.
    peer: u16,
    own_block: u16,
    /// Of both hellos the lesser.
    block: u16,
    /// Of phases Refused and Failed.
    number: u16,
    /// Of [`Output::Ended`].
    reason: u16,
    /// To be told to the module, to the caller, 0: nothing; what the module told.
    error: u16,
    fault: u16,
    peer_error: u16,
    blocks: Blocks,
    /// What the module can give.
    range: (u32, u32),
    timing: Timing,
    /// Between two Hellos while down, ms; 0: now.
    hello_gap: u32,
    clock: Clock,
    boot: Boot,
    page: u32,
    slot: u32,
    baud: u32,
    own_rate: u32,
    /// Component, version, hardware, bootloader, as [`TEXTS`]; `None` before the start.
    texts: [Option<&'static str>; 4],
    image: Image,
    #[cfg(feature = "target")]
    target: heapless::Vec<u8, 64, u8>,
    #[cfg(feature = "rate")]
    rate: crate::rate::Rate<true>,
    /// The rate in RateAnswer or ProbeAnswer.
    #[cfg(feature = "rate")]
    answer: u32,
    #[cfg(feature = "pull")]
    pull: crate::receive::Pull,
    /// Offset and length in Request.
    #[cfg(feature = "pull")]
    asked: (u32, u32),
}

/// The types of the texts' fields in a hello, and which of them is which.
const TEXTS: [u8; 4] = [
    kind::COMPONENT,
    kind::VERSION,
    kind::HARDWARE,
    kind::BOOTLOADER,
];
const COMPONENT: usize = 0;
const VERSION: usize = 1;
const HARDWARE: usize = 2;

/// A frame that is due, by its type.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Frame {
    Hello = 1,
    HelloAnswer = 2,
    Error = 3,
    Ack = 4,
    #[cfg(feature = "pull")]
    Request = 5,
    #[cfg(feature = "rate")]
    RateAnswer = 8,
    #[cfg(feature = "rate")]
    ProbeAnswer = 9,
}

impl<const FRAME: usize> Link<FRAME> {
    /// An end that does nothing before its [`start`](Self::start): all of it zero, so that a static of it lies in no flash.
    pub const fn off() -> Self {
        Link {
            end: End::ZERO,
            shows_plan: false,
            rx: Rx::new(),
            tx: Tx::new(),
        }
    }

    /// An end after a reset.
    pub fn new(now: Millis, config: Config) -> Self {
        let mut link = Self::off();
        link.start(now, &config);
        link
    }

    /// Starts one that is [`off`](Self::off): the same where it stands.
    pub fn start(&mut self, now: Millis, config: &Config) {
        self.end.start(now, config, FRAME);
    }

    /// The link was started at least so many ms ago.
    pub fn is_older(&self, ms: u32) -> bool {
        self.end.clock.is_over(Since::Start, ms)
    }

    /// When it will be.
    pub fn older_at(&self, ms: u32) -> Millis {
        self.end.clock.when(Since::Start, ms)
    }

    /// Takes received bytes and says how many; the rest is offered again after [`poll`](Self::poll).
    pub fn on_bytes(&mut self, bytes: &[u8]) -> usize {
        self.rx.feed(bytes)
    }

    /// Moves bytes for the UART into `out` and says how many.
    pub fn next_tx(&mut self, out: &mut [u8]) -> usize {
        self.tx.take(out)
    }

    /// The module answers.
    pub fn is_up(&self) -> bool {
        self.end.up
    }

    /// Its phase.
    pub fn phase(&self) -> McuPhase {
        self.end.phase
    }

    /// The plan of [`Output::Plan`], until the next [`poll`](Self::poll).
    pub fn plan(&self) -> Option<PlanFields<'_>> {
        let (_, fields) = self.rx.payload().split_at_checked(2)?;
        self.shows_plan.then_some(PlanFields(Fields::new(fields)))
    }

    /// The image that comes or came.
    pub fn image(&self) -> &Image {
        &self.end.image
    }

    /// Its version: UTF-8, if the module keeps to `docs/link.md`.
    #[cfg(feature = "target")]
    pub fn target(&self) -> &[u8] {
        &self.end.target
    }

    /// Takes the plan.
    pub fn accept(&mut self) {
        if self.end.phase == McuPhase::Considering {
            self.end.set_phase(McuPhase::Accepted);
        }
    }

    /// Refuses the plan, with a number of the catalogue (622 old image, 623 not now …).
    pub fn refuse(&mut self, number: u16) {
        if self.end.phase == McuPhase::Considering {
            self.end.stop(McuPhase::Refused, number);
        }
    }

    /// The module waits with data (`true`) or goes on: for an erase during which no bytes can be taken.
    pub fn hold(&mut self, hold: bool) {
        self.end.due |= self.end.hold != hold;
        self.end.hold = hold;
    }

    /// What is in flash has (`true`) or has not the package's digests. The first time a wrong image is received again.
    pub fn verified<S: Slot>(&mut self, good: bool, slot: &mut S) {
        self.end.verified(good, slot);
    }

    /// The image that was received cannot be installed, for this reason, and receiving it again would not help: the upgrade
    /// fails. Without effect before all of it is there.
    pub fn unfit(&mut self, number: u16) {
        if matches!(
            self.end.phase,
            McuPhase::Verifying | McuPhase::Ready | McuPhase::Installing
        ) {
            self.end.install = false;
            self.end.stop(McuPhase::Failed, number);
        }
    }

    /// Asks to install the verified image; [`Output::Install`] follows when the component agreed.
    pub fn install(&mut self) {
        if self.end.phase == McuPhase::Ready {
            self.end.set_phase(McuPhase::Installing);
        }
    }

    /// How its image came to run has changed: says hello again.
    pub fn set_boot(&mut self, boot: Boot) {
        self.end.boot = boot;
        self.end.renew();
    }

    /// It runs this version now, or its image is confirmed now: says hello again.
    pub fn set_running(&mut self, version: &'static str, boot: Boot) {
        self.end.texts[VERSION] = Some(version);
        self.set_boot(boot);
    }

    /// Asks for a plan: says hello again with that wish.
    pub fn ask_for_plan(&mut self) {
        self.end.asks = true;
        self.end.renew();
    }

    /// Works on what came and on what time does. `Some`: do it and call again; `None`: nothing more now.
    pub fn poll<S: Slot>(&mut self, now: Millis, slot: &mut S) -> Option<Output> {
        let Link {
            end,
            shows_plan,
            rx,
            tx,
        } = self;
        if end.own_block == 0 {
            return None; // it was not started
        }
        end.clock.advance(now);
        if rx.is_complete() {
            if !core::mem::take(shows_plan) {
                match rx.body() {
                    Ok(body) => end.on_frame(&body, slot),
                    Err(error) => end.fault(error),
                }
                if core::mem::take(&mut end.plan) {
                    *shows_plan = true;
                    return Some(Output::Plan);
                }
            }
            rx.clear();
        }
        let sent = tx.is_empty();
        end.on_time(sent);
        let output = end.next_output();
        if output.is_none() && sent {
            end.send(tx, slot);
        }
        output
    }

    /// When to call [`poll`](Self::poll) at the latest, besides when bytes came or the UART took the last one; `None`: only
    /// then.
    pub fn deadline(&self) -> Option<Millis> {
        self.end.deadline(self.tx.is_empty())
    }
}

/// The MCU's RAM is counted; a larger end has to be a decision.
#[cfg(target_pointer_width = "32")]
const _: () = assert!(core::mem::size_of::<Link<{ crate::frame::frame_len(1024) }>>() <= 1800);

/// Of the image on its way, 404.
const FLASH: u16 = McuError::McuFlash.number();
