//! The MCU's end: receives a package into flash, verifies, asks to install.
//!
//! The caller's loop is that of [`module`](crate::module), with a [`Slot`] in place of the source. All that survives a
//! reset is in the slot; the phases are the table of `docs/link.md`.

mod end;

use crate::field::{Boot, Image, Plan, Resume};
use crate::frame::{HELLO_LEN, Rx, Tx};
use crate::message::{McuPhase, Message, ModulePhase};
use crate::receive::{Blocks, Pull};
use crate::session::{Config, Line, McuSession as Session};
use crate::timing::{Millis, earliest};
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

/// What the caller has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // one at a time, on the caller's stack
pub enum Output {
    /// About the line.
    Line(Line),
    /// A plan: [`Link::accept`] or [`Link::refuse`]. Slot and component are checked already.
    Plan(Plan),
    /// Everything is written: compare the flash with [`Link::image`]'s digests, in steps, then [`Link::verified`].
    Verify,
    /// Mark the image for one trial boot and reset.
    Install,
    /// The module has nothing more to do with this MCU: 0 none, 4 updated, 5 failed for this reason.
    Ended(ModulePhase, u16),
}

/// The MCU's end. `FRAME` is [`frame_len`](crate::frame::frame_len) of its greatest block.
pub struct Link<const FRAME: usize> {
    rx: Rx<FRAME>,
    tx: Tx<HELLO_LEN>,
    session: Session,
    end: End,
}

struct End {
    transfer: u8,
    phase: McuPhase,
    /// Of phases Refused and Failed.
    number: u16,
    /// The module's phase in the last frame that was acted on.
    seen: ModulePhase,
    /// The module knows this end's phase.
    told: bool,
    due: bool,
    told_at: Millis,
    hold: bool,
    /// Wrong digests so far.
    failures: u8,
    has_plan: bool,
    has_package: bool,
    /// [`Output::Verify`] or [`Output::Install`] is to be given.
    verify: bool,
    install: bool,
    ended: Option<(ModulePhase, u16)>,
    /// What the module can give.
    range: (u32, u32),
    blocks: Blocks,
    pull: Pull,
    image: Image,
}

/// Wrong digests before it gives up.
const FAILURES: u8 = 2;

impl<const FRAME: usize> Link<FRAME> {
    /// An end after a reset. `config.hello` says who it is and how its image came to run.
    pub fn new(now: Millis, config: Config) -> Self {
        let session = Session::new(now, config, FRAME);
        Link {
            rx: Rx::new(),
            tx: Tx::new(),
            end: End {
                transfer: 0,
                phase: McuPhase::Idle,
                number: 0,
                seen: ModulePhase::None,
                told: true,
                due: false,
                told_at: now,
                hold: false,
                failures: 0,
                has_plan: false,
                has_package: false,
                verify: false,
                install: false,
                ended: None,
                range: (0, 0),
                blocks: Blocks::new(session.block, session.window, 0),
                pull: Pull::new(session.timing),
                image: Image::default(),
            },
            session,
        }
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
        self.session.is_up()
    }

    /// Its phase.
    pub fn phase(&self) -> McuPhase {
        self.end.phase
    }

    /// The image that comes or came.
    pub fn image(&self) -> &Image {
        &self.end.image
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
            self.end.refused(number);
        }
    }

    /// The module waits with data (`true`) or goes on: for an erase during which no bytes can be taken.
    pub fn hold(&mut self, hold: bool) {
        self.end.due |= self.end.hold != hold;
        self.end.hold = hold;
    }

    /// What is in flash has (`true`) or has not the package's digests. The first time a wrong image is received again.
    pub fn verified<S: Slot>(&mut self, good: bool, slot: &mut S) {
        if self.end.phase != McuPhase::Verifying {
            return;
        }
        if good {
            self.end.set_phase(McuPhase::Ready);
            self.end.install = self.end.seen == ModulePhase::Install;
            return;
        }
        slot.forget();
        self.end.failures = self.end.failures.saturating_add(1);
        if self.end.failures < FAILURES && self.end.seen == ModulePhase::Package {
            match slot.begin(&self.end.image) {
                Ok(offset) => self.end.receive(offset, &self.session),
                Err(number) => self.end.failed(number),
            }
        } else {
            self.end.failed(McuError::ImageDigest.number());
        }
    }

    /// The image that was received cannot be installed, for this reason, and receiving it again would not help: the upgrade
    /// fails. Without effect before all of it is there.
    pub fn unfit(&mut self, number: u16) {
        if matches!(
            self.end.phase,
            McuPhase::Verifying | McuPhase::Ready | McuPhase::Installing
        ) {
            self.end.install = false;
            self.end.failed(number);
        }
    }

    /// Asks to install the verified image; [`Output::Install`] follows when the component agreed.
    pub fn install(&mut self) {
        if self.end.phase == McuPhase::Ready {
            self.end.set_phase(McuPhase::Installing);
        }
    }

    /// How its image came to run has changed: says hello again.
    pub fn set_boot(&mut self, now: Millis, boot: Boot) {
        self.session.own.boot = boot;
        self.session.renew(now);
    }

    /// It runs this version now, or its image is confirmed now: says hello again.
    pub fn set_running(&mut self, now: Millis, version: &str, boot: Boot) {
        let own = &mut self.session.own.version;
        own.clear();
        // What is too long stays empty, which is no version.
        let _ = own.push_str(version);
        self.set_boot(now, boot);
    }

    /// Asks for a plan: says hello again with that wish.
    pub fn ask_for_plan(&mut self, now: Millis) {
        self.session.own.asks = true;
        self.session.renew(now);
    }

    /// Works on what came and on what time does. `Some`: do it and call again; `None`: nothing more now.
    pub fn poll<S: Slot>(&mut self, now: Millis, slot: &mut S) -> Option<Output> {
        if self.rx.is_complete() {
            let output = self.receive(now, slot);
            self.rx.clear();
            if output.is_some() {
                return output;
            }
        }
        let idle = self.end.is_idle();
        self.session.poll(now, idle, self.tx.is_empty());
        if core::mem::take(&mut self.session.anew) {
            self.session.own.asks = false;
            self.end.anew();
            return Some(Output::Line(Line::Up));
        }
        if let Some(line) = self.session.next_line(now) {
            if end::PULLS && matches!(line, Line::Baud(_)) {
                self.end.pull = Pull::new(self.session.timing);
            }
            return Some(Output::Line(line));
        }
        if core::mem::take(&mut self.end.verify) {
            return Some(Output::Verify);
        }
        if core::mem::take(&mut self.end.install) {
            return Some(Output::Install);
        }
        if let Some((phase, number)) = self.end.ended.take() {
            return Some(Output::Ended(phase, number));
        }
        if self.tx.is_empty() {
            self.send(now, slot);
        }
        None
    }

    /// When to call [`poll`](Self::poll) at the latest, besides when bytes came or the UART took the last one; `None`: only
    /// then.
    pub fn deadline(&self) -> Option<Millis> {
        let (session, end) = (&self.session, &self.end);
        let idle = end.is_idle();
        let sent = self.tx.is_empty();
        let open = session.is_open() && sent;
        earliest(&[
            session.deadline(idle, sent),
            open.then(|| session.beat_at(idle)),
            (open && !end.told).then(|| end.told_at.saturating_add(session.timing.repeat())),
            (open && end.pulls(session)).then(|| end.pull.deadline()),
        ])
    }

    #[inline(never)]
    fn receive<S: Slot>(&mut self, now: Millis, slot: &mut S) -> Option<Output> {
        let body = match self.rx.body() {
            Ok(body) => body,
            Err(error) => {
                self.session.fault(error);
                return None;
            }
        };
        let message = self.session.open(&body)?;
        let (end, session) = (&mut self.end, &mut self.session);
        if !session.on_message(now, &message) {
            return None;
        }
        match message {
            Message::State(state) => {
                end.on_state(state);
                None
            }
            Message::Plan {
                transfer,
                phase,
                plan,
            } => end.on_plan(transfer, phase, plan, session),
            Message::Package {
                transfer,
                phase,
                package,
            } => {
                end.on_package(transfer, phase, &package, session, slot);
                None
            }
            Message::Data {
                transfer,
                offset,
                bytes,
            } => {
                end.on_data(now, transfer, offset, bytes, session, slot);
                None
            }
            _ => None,
        }
    }

    #[inline(never)]
    fn send<S: Slot>(&mut self, now: Millis, slot: &mut S) {
        let (end, session) = (&mut self.end, &mut self.session);
        if !session.is_up() {
            session.own.resume = slot.resume();
        }
        if session.next_frame(now, &mut self.tx) {
            return;
        }
        let repeat = !end.told && now >= end.told_at.saturating_add(session.timing.repeat());
        if end.due || repeat || now >= session.beat_at(end.is_idle()) {
            end.due = false;
            end.told_at = now;
            let message = Message::Ack(end.ack(session));
            session.write(now, &mut self.tx, &message);
        } else if end.pulls(session)
            && let Some((offset, length)) = end.pull.next(now, &end.blocks, end.range)
        {
            let message = Message::Request {
                transfer: end.transfer,
                offset,
                length,
            };
            session.write(now, &mut self.tx, &message);
        }
    }
}

/// The MCU's RAM is counted; a larger end has to be a decision.
#[cfg(target_pointer_width = "32")]
const _: () = assert!(core::mem::size_of::<Link<{ crate::frame::frame_len(1024) }>>() <= 1900);
