//! What went wrong so far and which rule that excuses. All of it is about device 0; the others are held to every rule.
//!
//! | fault | may rightly be seen afterwards |
//! |---|---|
//! | a bit of staging flips | a piece with other bytes, a package called damaged; with the link the MCU gives it up (403) when the same staged bytes came twice |
//! | a bit of the journal flips | a record is lost: progress, states and events go back to the one before; where that is of an earlier piece, staging holds other bytes, which the digests find |
//! | a page of staging dies | the upgrade fails |
//! | a bit of the MCU's flash flips | a package called damaged, with the link at the Center too; another image than ours |
//! | a page of the MCU's flash dies | the upgrade fails, or nobody ever answers the plan; with the link also a swap that does not come to an end, as no bootloader can write a page that is dead |
//! | the UART harms bytes, with AT commands | a package called damaged by the MCU; two lines garbled alike, so that it calls itself something else and is failed; a plan refused: `=1` and `=0` differ by one bit |
//! | the UART harms bytes or is silent, with the link | bytes sent again |
//! | a person stops it | it ends as the person wanted |

use sota::message::State;

use crate::fault::{Fault, Operator, What};
use crate::setup::Setup;
use crate::uart::LineFaults;

/// See the module's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Excuses {
    staging_flipped: bool,
    journal_flipped: bool,
    staging_died: bool,
    mcu_flipped: bool,
    mcu_died: bool,
    garbled: bool,
    /// All UARTs are noisy from the beginning.
    noisy: bool,
    /// A CRC-32 guards every byte of the UART.
    link: bool,
    silenced: bool,
    stopped: bool,
}

impl Excuses {
    /// A world in which nothing went wrong yet, but for UARTs that are noisy from the beginning.
    pub(crate) fn new(setup: &Setup) -> Excuses {
        Excuses {
            garbled: setup.noise != LineFaults::NONE,
            noisy: setup.noise != LineFaults::NONE,
            link: setup.is_link(),
            ..Excuses::default()
        }
    }

    /// A fault happens.
    pub(crate) fn note(&mut self, fault: &Fault) {
        match fault.what {
            What::FlipStaging { .. } => self.staging_flipped = true,
            What::FlipJournal { .. } => self.journal_flipped = true,
            What::StagingSectorDies(_) => self.staging_died = true,
            What::FlipMcu { .. } => self.mcu_flipped = true,
            What::McuSectorDies(_) => self.mcu_died = true,
            What::Uart(..) | What::Babble(..) => self.garbled = true,
            What::Silence(..) => self.silenced = true,
            What::Operator(
                Operator::Cancel
                | Operator::Terminate
                | Operator::Suspend
                | Operator::Refuse
                | Operator::Disable
                | Operator::Announce(_),
            ) => self.stopped = true,
            _ => {}
        }
    }

    /// A module reports a state.
    pub(crate) fn heard(&mut self, index: usize, state: State) {
        // One flipped bit makes a refusal of the answer.
        self.stopped |= index == 0 && self.garbled && !self.link && state == State::Refused;
    }

    /// The module's journal may have lost its newest record.
    pub(crate) fn forgets(&self, index: usize) -> bool {
        index == 0 && self.journal_flipped
    }

    /// Staging may hold other bytes than the package.
    pub(crate) fn staging_rots(&self, index: usize) -> bool {
        index == 0 && (self.staging_flipped || self.journal_flipped)
    }

    /// The MCU may find the package damaged.
    pub(crate) fn mcu_finds_damage(&self, index: usize) -> bool {
        let garbled = !self.link && (self.noisy || index == 0 && self.garbled);
        garbled || index == 0 && (self.staging_rots(index) || self.mcu_flipped)
    }

    /// The module may report the package as damaged: by what it staged, or by the MCU's word.
    pub(crate) fn module_finds_damage(&self, index: usize) -> bool {
        self.staging_rots(index) || self.link && self.mcu_finds_damage(index)
    }

    /// The link may send bytes again for another reason than a reset.
    pub(crate) fn sends_again(&self, index: usize) -> bool {
        self.noisy
            || index == 0
                && (self.garbled
                    || self.silenced
                    || self.staging_rots(index)
                    || self.mcu_flipped
                    || self.mcu_died)
    }

    /// The MCU may have heard the same wrong name twice: one in some 300,000 drawn worlds.
    pub(crate) fn name_garbled(&self, index: usize) -> bool {
        index == 0 && self.garbled && !self.link
    }

    /// The MCU's running image may be another.
    pub(crate) fn image_rots(&self, index: usize) -> bool {
        index == 0 && self.mcu_flipped
    }

    /// A page died that the link's bootloader has to write: the swap does not come to an end.
    pub(crate) fn cannot_swap(&self, index: usize) -> bool {
        index == 0 && self.link && self.mcu_died
    }

    /// The MCU may never be able to take a plan.
    pub(crate) fn never_answers(&self) -> bool {
        self.mcu_died
    }

    /// A person stopped the plan, or the device's part in it.
    pub(crate) fn stopped(&self) -> bool {
        self.stopped
    }

    /// The upgrade may end otherwise than well.
    pub(crate) fn may_fail(&self, index: usize) -> bool {
        // A person's act is about the plan.
        self.stopped
            || index == 0
                && (self.staging_died
                    || self.mcu_died
                    || self.mcu_flipped
                    || self.link && self.staging_flipped)
    }
}
