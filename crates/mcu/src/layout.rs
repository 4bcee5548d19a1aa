//! Where things lie in the MCU's flash (`docs/mcu.md`, Flash).
//!
//! | area | pages | holds |
//! |---|---|---|
//! | active | n | the image that runs |
//! | other | m + 3 | the next image or the one before, m pages; one page that the swap needs; two pages of records |
//! | state | 2, of a size of their own | the boot state |

use embedded_storage::nor_flash::NorFlash;
use sota_errors::McuError;

/// Greatest word in bytes.
pub const WORD_MOST: u32 = 16;
/// Pages at the end of the other slot that no image can have.
pub const RESERVED: u32 = 3;

/// Addresses and lengths in bytes, as the port's `NorFlash` counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Begin of the active slot.
    pub active: u32,
    /// Its length, whole pages.
    pub active_len: u32,
    /// Begin of the other slot.
    pub other: u32,
    /// Its length, whole pages, at least 4.
    pub other_len: u32,
    /// Bytes erased at once in both slots: a multiple of `NorFlash::ERASE_SIZE`, and of 64.
    pub page: u32,
    /// Begin of the boot state.
    pub state: u32,
    /// Half of its length: bytes erased at once there.
    pub state_page: u32,
    /// Bytes written at once: a power of two from 1 to 16, a multiple of `NorFlash::WRITE_SIZE`. What is
    /// read is whole words, of 4 bytes at least.
    pub word: u32,
}

impl Layout {
    /// Of no flash: all of it zero.
    pub(crate) const NONE: Layout = Layout {
        active: 0,
        active_len: 0,
        other: 0,
        other_len: 0,
        page: 0,
        state: 0,
        state_page: 0,
        word: 0,
    };

    /// The greatest image in bytes.
    #[inline(never)]
    pub const fn capacity(&self) -> u32 {
        let other = self.spare() - self.other;
        if other < self.active_len {
            other
        } else {
            self.active_len
        }
    }

    /// The page that the swap needs.
    pub(crate) const fn spare(&self) -> u32 {
        (self.other + self.other_len).saturating_sub(RESERVED * self.page)
    }

    /// The two pages of the slot's records.
    pub(crate) const fn records(&self) -> u32 {
        self.spare() + self.page
    }

    /// Whether this is a layout for this flash.
    ///
    /// # Errors
    /// 408.
    pub fn check<F: NorFlash>(&self, flash: &F) -> Result<(), McuError> {
        let most = u32::try_from(flash.capacity()).unwrap_or(u32::MAX);
        let end = |start, len, page: u32| match page.is_multiple_of(F::ERASE_SIZE as u32) {
            true => end(start, len, page, most),
            false => 0,
        };
        let active = (self.active, end(self.active, self.active_len, self.page));
        let other = (self.other, end(self.other, self.other_len, self.page));
        let state_len = self.state_page.saturating_mul(2);
        let state = (self.state, end(self.state, state_len, self.state_page));
        let word = self.word.is_power_of_two()
            && self.word <= WORD_MOST
            && self.word.is_multiple_of(F::WRITE_SIZE as u32)
            && self.word.max(4).is_multiple_of(F::READ_SIZE as u32);
        let apart = |a: (u32, u32), b: (u32, u32)| a.1 <= b.0 || b.1 <= a.0;
        let good = word
            && active.1 > 0
            && other.1 > 0
            && state.1 > 0
            && apart(active, other)
            && apart(active, state)
            && apart(other, state)
            && self.other_len / self.page > RESERVED
            && self.capacity() / self.page <= u32::from(u16::MAX / 2);
        match good {
            true => Ok(()),
            false => Err(McuError::FlashLayout),
        }
    }
}

/// Where an area of whole pages ends; 0: it is none, or reaches beyond `most`.
fn end(start: u32, len: u32, page: u32, most: u32) -> u32 {
    let whole = page > 0
        && page.is_multiple_of(64)
        && start.is_multiple_of(page)
        && len.is_multiple_of(page)
        && len > 0;
    match start.checked_add(len) {
        Some(end) if whole && end <= most => end,
        _ => 0,
    }
}
