//! The bootloader's rule: what runs, and the swap that brings it there, whatever moment power fails at.
//!
//! A bootloader is [`run`] and a jump:
//!
//! ```text
//! match boot::run(&mut flash, &layout, &Rules::default())
//!     Ok(_)  => jump to the image in the active slot     // MCUboot's: mcuboot::read(..).header bytes behind its begin
//!     Err(_) => reset                                    // the flash failed: it goes on where it stands
//! ```

mod swap;

use crate::layout::Layout;
use crate::slot::Record;
use crate::state::{BootState, Phase, State};
use embedded_storage::nor_flash::NorFlash;
use sota_errors::McuError;

/// What may be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Starts that an image on trial has before it is reverted, 1 to 15.
    pub trial_boots: u8,
}

impl Default for Rules {
    fn default() -> Self {
        Rules { trial_boots: 1 }
    }
}

/// Does what the boot state asks for, and gives the state in which the image in the active slot is to be started:
/// Confirmed, Trial or Reverted. Takes as long as two copies and erases of each used page of a slot, when it swaps.
///
/// # Errors
/// 408: nothing was done. 404: the flash failed; called again it goes on where it stood.
pub fn run<F: NorFlash>(flash: &mut F, layout: &Layout, rules: &Rules) -> Result<State, McuError> {
    layout.check(flash)?;
    let mut boot = BootState::open(flash, layout);
    loop {
        let state = boot.get();
        // Of another layout than this one: nothing that could be done is right.
        if u32::from(state.pages) > layout.capacity() / layout.page {
            return Err(McuError::FlashLayout);
        }
        // Only another layout has more pages: a swap that it began cannot be ended by this one.
        if steps(state) > 2 * layout.capacity().div_ceil(layout.page) {
            return Err(McuError::FlashLayout);
        }
        let next = match state.phase {
            Phase::Confirmed | Phase::Reverted => return Ok(state),
            Phase::Requested => requested(flash, layout, state)?,
            Phase::Swapping | Phase::Reverting if u32::from(state.step) < steps(state) => {
                let forward = state.phase == Phase::Swapping;
                swap::step(flash, layout, forward, state.pages, state.step)?;
                State {
                    step: state.step + 1,
                    ..state
                }
            }
            Phase::Swapping => State {
                phase: Phase::Trial,
                ..state
            },
            Phase::Reverting => State {
                phase: Phase::Reverted,
                ..state
            },
            Phase::Trial if state.reason != 0 || state.boots >= rules.trial_boots => State {
                phase: Phase::Reverting,
                epoch: state.epoch.wrapping_add(1),
                step: 0,
                reason: match state.reason {
                    0 => McuError::TrialReset.number(),
                    reason => reason,
                },
                ..state
            },
            Phase::Trial => {
                let started = State {
                    boots: state.boots + 1,
                    ..state
                };
                boot.put(flash, started)?;
                return Ok(started);
            }
        };
        boot.put(flash, next)?;
    }
}

fn steps(state: State) -> u32 {
    2 * u32::from(state.pages)
}

/// The image that was verified is looked at once more: what was harmed since then is not started.
fn requested<F: NorFlash>(flash: &mut F, layout: &Layout, state: State) -> Result<State, McuError> {
    let record = Record::open(flash, layout).1;
    let verified = record.epoch() == state.epoch && record.is_verified();
    let good = verified
        && record.length() <= layout.capacity()
        && record.crc32() == swap::crc32(flash, layout.other, record.length())?;
    if !good {
        return Ok(State {
            phase: Phase::Reverted,
            reason: McuError::ImageLost.number(),
            ..state
        });
    }
    let used = swap::used(flash, layout)?.max(record.length());
    Ok(State {
        phase: Phase::Swapping,
        epoch: state.epoch.wrapping_add(1),
        pages: u16::try_from(used.div_ceil(layout.page)).map_err(|_| McuError::FlashLayout)?,
        ..State::default()
    })
}
