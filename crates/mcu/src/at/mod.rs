//! The agent for a module that speaks AT commands (`docs/at.md`): the dialogue, the other slot, verifying and the boot state in
//! one machine. In place of the link's agent, with the same loop: bytes in, [`AtAgent::poll`] until it gives nothing,
//! bytes out, wait until [`AtAgent::deadline`].
//!
//! | phase | command | leaves to |
//! |---|---|---|
//! | Hello | `ATE0` | Errors, when the module answers; on trial when the image is confirmed |
//! | Errors | `AT+SOTAERR=1`, where [`Config::sota_commands`] | Recall, Announce |
//! | Recall: the flash holds a part of a package | `AT+QIOTOTARD=?`, then a read at its end | Receiving, Announce |
//! | Announce, Check | `AT+QIOTMCUVER="c","v"`, `AT+QIOTMCUVER="c"` | Request |
//! | Request | `AT+QIOTOTAREQ=1` | Idle |
//! | Idle | | Considering, Answering by 10700; Receiving by 10701 |
//! | Considering | | Answering, by the application |
//! | Answering | `AT+QIOTUPDATE=1` or `0`; after an ERROR `AT+QIOTOTARD=?` | Accepted, also by 10701; Idle |
//! | Accepted | `AT+QIOTOTARD=?` now and then | Receiving by 10701 |
//! | Receiving | `AT+QIOTOTARD=start,n`, `AT+QIOTUPDATE=2` | Verifying |
//! | Verifying | a read now and then, for the module's timer | Ready, Installing; Receiving once more; Failed |
//! | Ready | the same | Installing, by the application |
//! | Installing | `AT+QIOTUPDATE=2` to the last piece, `AT+QIOTUPDATE=3` | Installed |
//! | Failed | | Announce by 10706 or time, Answering by 10700 |
//!
//! 10700, 10701 and 10703 have no checksum. Each is asked for again until it was heard twice, a 10701 unless it is the package
//! that the flash knows; a module that does not say it again is believed after four questions. Everything but
//! `AT+SOTA…` is a command that a module of Quectel's has.

mod answer;
mod dialogue;
mod event;
mod heard;
mod line;
mod package;

use crate::digest::Digests;
use crate::layout::Layout;
use crate::slot::OtherSlot;
use crate::state::{BootState, Phase as BootPhase};
use embedded_storage::nor_flash::NorFlash;
use event::Doubt;
use line::{Rx, Tx};
use sota_errors::McuError;
use sota_link::Millis;
use sota_link::field::{Boot, Image, Name, Version};

/// What an agent is made with.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Config {
    /// Component identifier.
    pub component: Name,
    /// Version that runs.
    pub version: Version,
    /// How long an image on trial may take to confirm, ms; 0: for ever.
    pub confirm_within_ms: u32,
    /// How often an idle MCU announces its version and asks for a plan, ms; 0: at a start only, and when the module connects.
    pub request_ms: u32,
    /// Plans and verified images wait for [`AtAgent::accept`] and [`AtAgent::install`].
    pub asks_first: bool,
    /// The module has `AT+SOTAREWIND` and `AT+SOTAERR`: a piece that was released too early is fetched again, and the log has
    /// the module's reasons.
    pub sota_commands: bool,
    /// Each range is read until two answers agree: for a line that harms bytes, at half the speed.
    pub reads_twice: bool,
    /// Packages are MCUboot images: others are refused (410), and such as are older than the one that runs (622). Needs the feature
    /// `mcuboot`.
    pub mcuboot: bool,
}

/// What the caller has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// The module answers.
    Up,
    /// It does not any more (400).
    Down,
    /// For the log: a number of the catalogue, the MCU's or, with [`Config::sota_commands`], the module's.
    Fault(u16),
    /// With [`Config::asks_first`]: [`AtAgent::accept`] or [`AtAgent::refuse`] of [`AtAgent::plan`].
    Plan,
    /// With [`Config::asks_first`]: the image is whole and verified, [`AtAgent::install`] when it suits.
    Verified,
    /// Send what is left and reset: the bootloader has something to do.
    Reset,
    /// The upgrade is over: 0 well, else why not; 412 where the module did not say why.
    Ended(u16),
}

/// Where the dialogue is: the table of the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Phase {
    Hello,
    Errors,
    Recall,
    Announce,
    Check,
    Request,
    Idle,
    Considering,
    Answering,
    Accepted,
    Receiving,
    Verifying,
    Ready,
    Installing,
    Installed,
    Failed,
}

/// What the next [`Output`]s are.
struct Due {
    up: bool,
    down: bool,
    /// 0: none.
    fault: u16,
    plan: bool,
    verified: bool,
    ended: Option<u16>,
    reset: bool,
}

impl Due {
    const NONE: Due = Due {
        up: false,
        down: false,
        fault: 0,
        plan: false,
        verified: false,
        ended: None,
        reset: false,
    };
}

/// The agent. `BLOCK`: most bytes of one read, 64, 128, 256, 512 or 1024.
pub struct AtAgent<const BLOCK: usize> {
    rx: Rx<BLOCK>,
    tx: Tx,
    talk: dialogue::Talk,
    config: Config,
    layout: Layout,
    boot: BootState,
    slot: OtherSlot,
    verifies: Option<Digests>,
    confirm_by: Option<Millis>,
    due: Due,
    plans: Doubt,
    packages: Doubt,
    /// The package that comes, or while there is none the newest 10701.
    image: Image,
    /// The newest 10700's.
    target: Version,
    /// Bytes that the newest 10700 asks for.
    space: u32,
    /// Where the block's first byte stands in the package: all below is written.
    at: u32,
}

impl<const BLOCK: usize> AtAgent<BLOCK> {
    /// An agent that does nothing before its [`start`](Self::start): all of it zero, so that a static of it lies in no flash.
    pub const fn off() -> Self {
        const { assert!(BLOCK.is_power_of_two() && BLOCK >= 64 && BLOCK <= 1024) };
        AtAgent {
            rx: Rx::new(),
            tx: Tx::new(),
            talk: dialogue::Talk::NONE,
            config: Config {
                component: Name::new(),
                version: Version::new(),
                confirm_within_ms: 0,
                request_ms: 0,
                asks_first: false,
                sota_commands: false,
                reads_twice: false,
                mcuboot: false,
            },
            layout: Layout::NONE,
            boot: BootState::NONE,
            slot: OtherSlot::NONE,
            verifies: None,
            confirm_by: None,
            due: Due::NONE,
            plans: Doubt::NONE,
            packages: Doubt::NONE,
            image: Image::NONE,
            target: Version::new(),
            space: 0,
            at: 0,
        }
    }

    /// An agent after a reset, where RAM is not short: else [`off`](Self::off) and [`start`](Self::start), which take no
    /// second place on the stack.
    ///
    /// # Errors
    /// As of [`start`](Self::start).
    pub fn new<F: NorFlash>(
        now: Millis,
        config: Config,
        layout: Layout,
        flash: &mut F,
    ) -> Result<Self, McuError> {
        let mut agent = Self::off();
        agent.start(now, &config, &layout, flash)?;
        Ok(agent)
    }

    /// Starts an agent that is [`off`](Self::off), after a reset: reads what is in the flash. Nothing else may write the
    /// layout's other slot and boot state.
    ///
    /// # Errors
    /// 408; 411: no component, or this build has no [`Config::mcuboot`].
    pub fn start<F: NorFlash>(
        &mut self,
        now: Millis,
        config: &Config,
        layout: &Layout,
        flash: &mut F,
    ) -> Result<(), McuError> {
        layout.check(flash)?;
        if config.component.is_empty() || (config.mcuboot && !cfg!(feature = "mcuboot")) {
            return Err(McuError::McuConfig);
        }
        self.config.clone_from(config);
        self.layout = *layout;
        self.boot.load(flash, layout);
        // A record for each 1024 bytes: where pieces are multiples of it, a piece is durable when it is released.
        let window = (2048 / BLOCK) as u8;
        self.slot.load(flash, layout, self.boot.get(), window);
        self.talk.wait_until = now;
        if self.on_trial() && config.confirm_within_ms > 0 {
            self.confirm_by = Some(now.saturating_add(config.confirm_within_ms.into()));
        }
        Ok(())
    }

    /// Takes received bytes and says how many; the rest is offered again after [`poll`](Self::poll).
    pub fn on_bytes(&mut self, bytes: &[u8]) -> usize {
        self.rx.feed(bytes)
    }

    /// Moves bytes for the UART into `out` and says how many.
    pub fn next_tx(&mut self, out: &mut [u8]) -> usize {
        self.tx.take(out)
    }

    /// The module answers: on trial, a good moment to [`confirm`](Self::confirm).
    pub fn is_up(&self) -> bool {
        self.talk.up
    }

    /// Where the dialogue is.
    pub fn phase(&self) -> Phase {
        self.talk.phase
    }

    /// How the running image came to run.
    pub fn boot(&self) -> Boot {
        self.boot.boot()
    }

    /// Bytes of the image that are durable, and its length; (0, 0): none.
    pub fn progress(&self) -> (u32, u32) {
        let record = self.slot.record();
        (record.offset(), record.length())
    }

    /// The image that comes or came.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// The newest plan: version afterwards, and bytes needed in the slot.
    pub fn plan(&self) -> (&str, u32) {
        (&self.target, self.space)
    }

    /// Takes the plan.
    pub fn accept(&mut self) {
        self.answer_plan(0);
    }

    /// Refuses the plan: 622 old image, 623 not now, or a number of the product's own. The module is not told which.
    pub fn refuse(&mut self, number: u16) {
        self.answer_plan(number.max(1));
    }

    fn answer_plan(&mut self, refused: u16) {
        if self.talk.phase == Phase::Considering {
            self.talk.refused = refused;
            self.talk.go(Phase::Answering);
        }
    }

    /// Asks the module to install the verified image; [`Output::Reset`] follows when it agreed.
    pub fn install(&mut self) {
        if self.talk.phase == Phase::Ready {
            self.talk.go(Phase::Installing);
        }
    }

    /// Announces the version and asks for a plan; without effect while an upgrade is under way.
    pub fn ask_for_plan(&mut self) {
        if self.talk.phase == Phase::Idle {
            self.talk.go(Phase::Announce);
        }
    }

    /// The running image is good: it is kept, and its version announced.
    ///
    /// # Errors
    /// 404; it is on trial still.
    pub fn confirm<F: NorFlash>(&mut self, flash: &mut F) -> Result<(), McuError> {
        if self.on_trial() {
            self.boot.confirm(flash)?;
            self.confirm_by = None;
            self.slot.unlock();
            self.talk.go(Phase::Hello);
        }
        Ok(())
    }

    /// The image on trial is bad, for this reason (409, or a number of the product's own from 500 to 599): [`Output::Reset`]
    /// follows, and the old image comes back. Without effect when it is not on trial.
    pub fn revert<F: NorFlash>(&mut self, flash: &mut F, reason: u16) {
        if self.on_trial() {
            // Where the reason does not come there, the bootloader has one of its own.
            let _ = self.boot.give_up(flash, reason);
            self.confirm_by = None;
            self.due.reset = true;
            self.talk.go(Phase::Installed);
        }
    }

    fn on_trial(&self) -> bool {
        self.boot.get().phase == BootPhase::Trial
    }

    /// Works on what came and on what time does. `Some`: do it and call again; `None`: nothing more now.
    #[inline(never)]
    pub fn poll<F: NorFlash>(&mut self, now: Millis, flash: &mut F) -> Option<Output> {
        if self.confirm_by.is_some_and(|by| now >= by) {
            self.revert(flash, McuError::TrialNotConfirmed.number());
        }
        self.talk(now, flash);
        self.verify(now, flash);
        self.next_output()
    }

    fn next_output(&mut self) -> Option<Output> {
        let due = &mut self.due;
        if core::mem::take(&mut due.up) {
            return Some(Output::Up);
        }
        if core::mem::take(&mut due.down) {
            return Some(Output::Down);
        }
        match core::mem::take(&mut due.fault) {
            0 => {}
            number => return Some(Output::Fault(number)),
        }
        if let Some(number) = due.ended.take() {
            return Some(Output::Ended(number));
        }
        if core::mem::take(&mut due.plan) {
            return Some(Output::Plan);
        }
        if core::mem::take(&mut due.verified) {
            return Some(Output::Verified);
        }
        core::mem::take(&mut due.reset).then_some(Output::Reset)
    }

    /// When to call [`poll`](Self::poll) at the latest, besides when bytes came or the UART took the last one; `None`: only
    /// then.
    pub fn deadline(&self) -> Option<Millis> {
        if self.verifies.is_some() {
            return Some(0);
        }
        let talk = self.talk.deadline(self.rx.drains());
        let talk = Some(talk).filter(|at| *at != Millis::MAX);
        [talk, self.confirm_by].into_iter().flatten().min()
    }
}

/// The MCU's RAM is counted; a larger agent has to be a decision.
#[cfg(target_pointer_width = "32")]
const _: () = assert!(core::mem::size_of::<AtAgent<256>>() <= 1280);
