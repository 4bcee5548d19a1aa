//! The agent: the link's MCU end, the other slot, verifying and the boot state in one machine.
//!
//! The caller's loop is the link's: bytes in, [`Agent::poll`] until it gives nothing, bytes out, wait until
//! [`Agent::deadline`]. The flash is synchronous and passed to each step; a step erases at most the pages that one block
//! touches, or restores one page at the begin of a transfer.

use crate::digest::Digests;
use crate::flash::FlashFailed;
use crate::layout::Layout;
use crate::slot::OtherSlot;
use crate::state::{BootState, Phase};
use embedded_storage::nor_flash::NorFlash;
use sota_errors::McuError;
use sota_link::field::{Boot, Image};
use sota_link::mcu::{self, Link, PlanFields};
use sota_link::message::{McuPhase, ModulePhase};
use sota_link::{Line, Millis};

/// What an agent is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Config {
    /// Who it is, and the line. The agent fills in page, slot and boot. Session 0: counted in flash, 16 to 20 bytes of the
    /// boot state each start.
    pub link: mcu::Config,
    /// How long an image on trial may take to confirm, ms; 0: for ever.
    pub confirm_within_ms: u32,
    /// Plans and verified images wait for [`Agent::accept`] and [`Agent::install`].
    pub asks_first: bool,
    /// Packages are MCUboot images: others are refused (410), and such as are older than the one that runs (622). Needs the
    /// feature `mcuboot`.
    pub mcuboot: bool,
}

/// What the caller has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// About the line; a change of the baud rate is the caller's.
    Line(Line),
    /// With [`Config::asks_first`]: [`Agent::accept`] or [`Agent::refuse`] what [`Agent::plan`] has until the next
    /// [`Agent::poll`].
    Plan,
    /// With [`Config::asks_first`]: the image is whole and verified, [`Agent::install`] when it suits.
    Verified,
    /// Send what is left and reset: the bootloader has something to do.
    Reset,
    /// The module has nothing more to do with this MCU: 0 none, 4 updated, 5 failed for this reason.
    Ended(ModulePhase, u16),
}

/// The agent. `FRAME` is [`frame_len`](sota_link::frame::frame_len) of its greatest block.
#[repr(C)] // the link's small fields first: they are within reach of short instructions
pub struct Agent<const FRAME: usize> {
    link: Link<FRAME>,
    layout: Layout,
    boot: BootState,
    slot: OtherSlot,
    verifies: Option<Digests>,
    /// On trial: it has to confirm so many ms after the start; 0: no limit.
    confirm_within: u32,
    asks_first: bool,
    reset: bool,
    verified: bool,
    #[cfg(feature = "mcuboot")]
    mcuboot: bool,
}

impl<const FRAME: usize> Agent<FRAME> {
    /// An agent that does nothing before its [`start`](Self::start): all of it zero, so that a static of it lies in no flash.
    pub const fn off() -> Self {
        Agent {
            link: Link::off(),
            layout: Layout::NONE,
            boot: BootState::NONE,
            slot: OtherSlot::NONE,
            verifies: None,
            confirm_within: 0,
            asks_first: false,
            reset: false,
            verified: false,
            #[cfg(feature = "mcuboot")]
            mcuboot: false,
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
    /// 408; 404 when the session cannot be counted; 411: a text is too long, or this build has no [`Config::mcuboot`].
    pub fn start<F: NorFlash>(
        &mut self,
        now: Millis,
        config: &Config,
        layout: &Layout,
        flash: &mut F,
    ) -> Result<(), McuError> {
        layout.check(flash)?;
        let mut link = config.link;
        if !link.is_valid() || (config.mcuboot && !cfg!(feature = "mcuboot")) {
            return Err(McuError::McuConfig);
        }
        self.layout = *layout;
        self.boot.load(flash, layout);
        if link.session == 0 {
            self.boot.put(flash, self.boot.get())?;
            link.session = self.boot.number() as u16;
        }
        link.page = layout.page;
        link.slot = layout.capacity();
        link.boot = self.boot.boot();
        if link.boot == Boot::Trial {
            self.confirm_within = config.confirm_within_ms;
        }
        self.asks_first = config.asks_first;
        #[cfg(feature = "mcuboot")]
        {
            self.mcuboot = config.mcuboot;
        }
        self.slot.load(flash, layout, self.boot.get(), link.window);
        self.link.start(now, &link);
        Ok(())
    }

    /// Takes received bytes and says how many; the rest is offered again after [`poll`](Self::poll).
    pub fn on_bytes(&mut self, bytes: &[u8]) -> usize {
        self.link.on_bytes(bytes)
    }

    /// Moves bytes for the UART into `out` and says how many.
    pub fn next_tx(&mut self, out: &mut [u8]) -> usize {
        self.link.next_tx(out)
    }

    /// The module answers: on trial, a good moment to [`confirm`](Self::confirm).
    pub fn is_up(&self) -> bool {
        self.link.is_up()
    }

    /// The link's phase.
    pub fn phase(&self) -> McuPhase {
        self.link.phase()
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
        self.link.image()
    }

    /// Its version.
    #[cfg(feature = "target")]
    pub fn target(&self) -> &[u8] {
        self.link.target()
    }

    /// The plan of [`Output::Plan`], until the next [`poll`](Self::poll).
    pub fn plan(&self) -> Option<PlanFields<'_>> {
        self.link.plan()
    }

    /// Takes the plan.
    pub fn accept(&mut self) {
        self.link.accept();
    }

    /// Refuses the plan: 622 old image, 623 not now, or a number of the product's own.
    pub fn refuse(&mut self, number: u16) {
        self.link.refuse(number);
    }

    /// Asks the module to install the verified image; [`Output::Reset`] follows when it agreed.
    pub fn install(&mut self) {
        self.link.install();
    }

    /// Asks for a plan.
    pub fn ask_for_plan(&mut self) {
        self.link.ask_for_plan();
    }

    /// The running image is good: it is kept, and the module told so.
    ///
    /// # Errors
    /// 404; it is on trial still.
    pub fn confirm<F: NorFlash>(&mut self, flash: &mut F) -> Result<(), McuError> {
        if self.boot.get().phase == Phase::Trial {
            self.boot.confirm(flash)?;
            self.confirm_within = 0;
            self.slot.unlock();
            self.link.set_boot(self.boot.boot());
        }
        Ok(())
    }

    /// The image on trial is bad, for this reason (409, or a number of the product's own from 500 to 599):
    /// [`Output::Reset`] follows, and the old image comes back. Without effect when it is not on trial.
    pub fn revert<F: NorFlash>(&mut self, flash: &mut F, reason: u16) {
        if self.boot.get().phase == Phase::Trial {
            // Where the reason does not come there, the bootloader has one of its own.
            let _ = self.boot.give_up(flash, reason);
            self.confirm_within = 0;
            self.reset = true;
        }
    }

    /// Works on what came and on what time does. `Some`: do it and call again; `None`: nothing more now.
    #[inline(never)]
    pub fn poll<F: NorFlash>(&mut self, now: Millis, flash: &mut F) -> Option<Output> {
        if self.confirm_within > 0 && self.link.is_older(self.confirm_within) {
            self.revert(flash, McuError::TrialNotConfirmed.number());
        }
        loop {
            let access = &mut self.slot.access(flash, &self.layout);
            match self.link.poll(now, access) {
                None => break,
                Some(mcu::Output::Line(line)) => return Some(Output::Line(line)),
                Some(mcu::Output::Ended(phase, number)) => {
                    return Some(Output::Ended(phase, number));
                }
                Some(mcu::Output::Plan) if self.asks_first => return Some(Output::Plan),
                Some(mcu::Output::Plan) => self.link.accept(),
                Some(mcu::Output::Verify) => {
                    let length = self.link.image().length;
                    self.verifies = Some(Digests::new(self.layout.other, length));
                }
                Some(mcu::Output::Install) => match self.boot.request(flash) {
                    Ok(()) => self.reset = true,
                    Err(error) => self.link.unfit(error.number()),
                },
            }
        }
        self.verify(flash);
        if core::mem::take(&mut self.verified) {
            return Some(Output::Verified);
        }
        core::mem::take(&mut self.reset).then_some(Output::Reset)
    }

    /// One step, while there is something to verify.
    #[inline(never)]
    fn verify<F: NorFlash>(&mut self, flash: &mut F) {
        if self.link.phase() != McuPhase::Verifying {
            self.verifies = None;
        }
        let Some(digests) = &mut self.verifies else {
            return;
        };
        let done = match digests.step(flash) {
            Ok(false) => return,
            Ok(true) => self.finish(flash),
            Err(error) => Err(error.number()),
        };
        self.verifies = None;
        match done {
            Err(number) => self.link.unfit(number),
            Ok(good) => {
                let access = &mut self.slot.access(flash, &self.layout);
                self.link.verified(good, access);
                match good && self.asks_first {
                    true => self.verified = true,
                    false => self.link.install(),
                }
            }
        }
    }

    /// Everything is hashed: whether it is the package, or why it is not to run all the same.
    fn finish<F: NorFlash>(&mut self, flash: &mut F) -> Result<bool, u16> {
        let image = self.link.image();
        let Some(digests) = self.verifies.as_ref().filter(|is| is.match_image(image)) else {
            return Ok(false);
        };
        #[cfg(feature = "mcuboot")]
        if self.mcuboot {
            crate::mcuboot::judge(flash, &self.layout, image.length)?;
        }
        self.slot
            .set_verified(flash, digests.crc32())
            .map_err(FlashFailed::number)?;
        Ok(true)
    }

    /// When to call [`poll`](Self::poll) at the latest, besides when bytes came or the UART took the last one; `None`: only
    /// then.
    pub fn deadline(&self) -> Option<Millis> {
        if self.verifies.is_some() {
            return Some(0);
        }
        let trial = (self.confirm_within > 0).then(|| self.link.older_at(self.confirm_within));
        self.link.deadline().into_iter().chain(trial).min()
    }
}
