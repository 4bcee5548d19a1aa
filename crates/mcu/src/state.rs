//! The boot state, as bootloader and application share it.
//!
//! | phase | means | leaves to, by |
//! |---|---|---|
//! | Confirmed (also: no record) | the active image is kept | Requested, application |
//! | Requested | the image in the other slot is verified and is to run | Swapping, or Reverted when it is not there any more (407), bootloader |
//! | Swapping | `step` copies of the swap are done | Trial, bootloader |
//! | Trial | the new image runs for the `boots`th time | Confirmed, or a reason to revert, application; Reverting, bootloader |
//! | Reverting | `step` copies of the way back are done | Reverted, bootloader |
//! | Reverted | the old image runs again, for this reason | Requested, application |
//!
//! Payload of a record (`records.rs`), 8 bytes: phase in the low and boots in the high half of the first, epoch 1, reason 2,
//! pages 2, step 2.

use crate::flash::FlashFailed;
use crate::layout::Layout;
use crate::records::Records;
use embedded_storage::nor_flash::NorFlash;
use sota_link::field::Boot;

/// What a bootloader has to do or did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u8)]
#[allow(missing_docs)] // the table above
pub enum Phase {
    #[default]
    Confirmed,
    Requested,
    Swapping,
    Trial,
    Reverting,
    Reverted,
}

impl Phase {
    /// As it stands in the flash: 1 and up.
    const fn new(number: u8) -> Option<Phase> {
        Some(match number {
            1 => Phase::Confirmed,
            2 => Phase::Requested,
            3 => Phase::Swapping,
            4 => Phase::Trial,
            5 => Phase::Reverting,
            6 => Phase::Reverted,
            _ => return None,
        })
    }
}

/// The newest record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct State {
    /// Phase.
    pub phase: Phase,
    /// Starts of the image on trial, at most 15.
    pub boots: u8,
    /// Swaps and ways back that were begun: what the other slot's record says of another epoch is void.
    pub epoch: u8,
    /// Why it was or is to be reverted: a number of the catalogue, 0: none.
    pub reason: u16,
    /// Pages that are swapped.
    pub pages: u16,
    /// Copies that are done, of `2 * pages`.
    pub step: u16,
}

const PAYLOAD: usize = 8;

impl State {
    fn parse(bytes: &[u8; PAYLOAD]) -> Option<State> {
        let [kind, epoch, r0, r1, p0, p1, s0, s1] = *bytes;
        Some(State {
            phase: Phase::new(kind & 0xF)?,
            boots: kind >> 4,
            epoch,
            reason: u16::from_le_bytes([r0, r1]),
            pages: u16::from_le_bytes([p0, p1]),
            step: u16::from_le_bytes([s0, s1]),
        })
    }

    fn bytes(&self) -> [u8; PAYLOAD] {
        let mut bytes = [0; PAYLOAD];
        if let [head, reason, pages, step] = bytes.as_chunks_mut::<2>().0 {
            let kind = (self.phase as u8 + 1) | self.boots.min(15) << 4;
            *head = [kind, self.epoch];
            *reason = self.reason.to_le_bytes();
            *pages = self.pages.to_le_bytes();
            *step = self.step.to_le_bytes();
        }
        bytes
    }
}

/// The boot state in flash.
#[derive(Clone, Copy, Debug)]
pub struct BootState {
    records: Records,
    state: State,
}

impl BootState {
    /// Of no flash: all of it zero.
    pub(crate) const NONE: BootState = BootState {
        records: Records::NONE,
        state: State {
            phase: Phase::Confirmed,
            boots: 0,
            epoch: 0,
            reason: 0,
            pages: 0,
            step: 0,
        },
    };

    /// Reads it. What was never written, or by no version of this, counts as Confirmed.
    pub fn open<F: NorFlash>(flash: &mut F, layout: &Layout) -> BootState {
        let mut boot = BootState::NONE;
        boot.load(flash, layout);
        boot
    }

    /// The same where it stands.
    pub(crate) fn load<F: NorFlash>(&mut self, flash: &mut F, layout: &Layout) {
        let mut payload = [0; PAYLOAD];
        let (at, page) = (layout.state, layout.state_page);
        self.records
            .load(flash, at, page, layout.word, &mut payload);
        self.state = State::parse(&payload).unwrap_or_default();
    }

    /// The newest record.
    pub const fn get(&self) -> State {
        self.state
    }

    /// How many records were written: another number at each start of an application that writes one.
    pub const fn number(&self) -> u32 {
        self.records.number()
    }

    /// Writes a record.
    ///
    /// # Errors
    /// 404; the state before still counts.
    pub fn put<F: NorFlash>(&mut self, flash: &mut F, state: State) -> Result<(), FlashFailed> {
        self.records.put(flash, &state.bytes())?;
        self.state = state;
        Ok(())
    }

    /// Application: the image in the other slot is to run at the next start.
    ///
    /// # Errors
    /// 404.
    pub fn request<F: NorFlash>(&mut self, flash: &mut F) -> Result<(), FlashFailed> {
        let epoch = self.state.epoch;
        self.put(
            flash,
            State {
                phase: Phase::Requested,
                epoch,
                ..State::default()
            },
        )
    }

    /// Application: the image on trial is good. Without effect in another phase.
    ///
    /// # Errors
    /// 404.
    pub fn confirm<F: NorFlash>(&mut self, flash: &mut F) -> Result<(), FlashFailed> {
        match self.state.phase {
            Phase::Trial => self.put(
                flash,
                State {
                    phase: Phase::Confirmed,
                    epoch: self.state.epoch,
                    ..State::default()
                },
            ),
            _ => Ok(()),
        }
    }

    /// Application: the image on trial is bad; the next start brings the old one back. Without effect in another phase.
    ///
    /// # Errors
    /// 404; an image that is not confirmed is reverted all the same (406).
    pub fn give_up<F: NorFlash>(&mut self, flash: &mut F, reason: u16) -> Result<(), FlashFailed> {
        match self.state.phase {
            Phase::Trial => self.put(
                flash,
                State {
                    reason: reason.max(1),
                    ..self.state
                },
            ),
            _ => Ok(()),
        }
    }

    /// As the link's hello says it.
    pub const fn boot(&self) -> Boot {
        match self.state.phase {
            Phase::Trial => Boot::Trial,
            Phase::Reverted => Boot::Reverted(self.state.reason),
            _ => Boot::Confirmed,
        }
    }
}
