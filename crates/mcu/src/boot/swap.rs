//! The swap, page by page. With 3 pages, O the old image, N the new one, - free:
//!
//! | step | active | other | spare |
//! |---|---|---|---|
//! | | O0 O1 O2 | N0 N1 N2 | - |
//! | 0: active 2 to the next place of the other | O0 O1 O2 | N0 N1 N2 | O2 |
//! | 1: other 2 to active 2 | O0 O1 N2 | N0 N1 - | O2 |
//! | 2, 3 | O0 N1 N2 | N0 - O1 | O2 |
//! | 4, 5 | N0 N1 N2 | - O0 O1 | O2 |
//!
//! The way back goes up: active i to other i, other i + 1 to active i. With fewer pages than the slot has, the place behind
//! the last one is the free one. A step's source is whole until the next step, and the record that a step is done is
//! written before that: whatever moment power fails at, the step that was begun is done again from its source.

use crate::flash::{FlashFailed, copy, erase, is_blank, scan};
use crate::layout::Layout;
use crate::records;
use embedded_storage::nor_flash::NorFlash;

/// Does one step.
pub(super) fn step<F: NorFlash>(
    flash: &mut F,
    layout: &Layout,
    forward: bool,
    pages: u16,
    step: u16,
) -> Result<(), FlashFailed> {
    let pair = step / 2;
    let page = u32::from(match forward {
        true => pages - 1 - pair,
        false => pair,
    });
    let active = layout.active + page * layout.page;
    let other = layout.other + page * layout.page;
    let behind = other + layout.page;
    let saves = step.is_multiple_of(2);
    let (from, to) = match (forward, saves) {
        (true, true) => (active, behind),
        (true, false) => (other, active),
        (false, true) => (active, other),
        (false, false) => (behind, active),
    };
    erase(flash, to, layout.page)?;
    copy(flash, from, layout.page, to, layout.word)
}

/// CRC-32 of so many bytes.
pub(super) fn crc32<F: NorFlash>(flash: &mut F, at: u32, length: u32) -> Result<u32, FlashFailed> {
    let mut crc = 0;
    scan(flash, at, at + length, |_, _, bytes| {
        crc = records::crc32(crc, bytes);
        Ok(())
    })?;
    Ok(crc)
}

/// Bytes of the active slot up to the last that is not erased, as far as an image may reach.
pub(super) fn used<F: NorFlash>(flash: &mut F, layout: &Layout) -> Result<u32, FlashFailed> {
    let mut used = 0;
    let end = layout.active + layout.capacity();
    scan(flash, layout.active, end, |_, at, bytes| {
        if !is_blank(bytes) {
            used = at - layout.active + bytes.len() as u32;
        }
        Ok(())
    })?;
    Ok(used)
}
