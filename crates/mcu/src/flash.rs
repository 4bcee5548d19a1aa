//! Reading, writing and erasing with the layout's sizes. Erased is 0xFF.

use crate::layout::WORD_MOST;
use embedded_storage::nor_flash::NorFlash;
use sota_errors::McuError;

/// Bytes moved at once.
pub(crate) const CHUNK: usize = 64;
const ERASED: u8 = 0xFF;

pub(crate) fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == ERASED)
}

/// Reads whole words at an address that is one's begin.
pub(crate) fn read<F: NorFlash>(flash: &mut F, at: u32, out: &mut [u8]) -> Result<(), McuError> {
    flash.read(at, out).map_err(|_| McuError::McuFlash)
}

pub(crate) fn erase<F: NorFlash>(flash: &mut F, at: u32, page: u32) -> Result<(), McuError> {
    (flash.erase(at, at.saturating_add(page))).map_err(|_| McuError::McuFlash)
}

/// Writes `bytes` at the begin of a word; a last word that is not whole is filled up with 0xFF.
pub(crate) fn write<F: NorFlash>(
    flash: &mut F,
    at: u32,
    bytes: &[u8],
    word: u32,
) -> Result<(), McuError> {
    let whole = bytes.len() - bytes.len() % word as usize;
    let (body, tail) = bytes.split_at_checked(whole).unwrap_or((bytes, &[]));
    let mut done = Ok(());
    if !body.is_empty() {
        done = flash.write(at, body);
    }
    if !tail.is_empty() && done.is_ok() {
        let mut last = [ERASED; WORD_MOST as usize];
        for (to, from) in last.iter_mut().zip(tail) {
            *to = *from;
        }
        let last = last.get(..word as usize).unwrap_or_default();
        done = flash.write(at + whole as u32, last);
    }
    done.map_err(|_| McuError::McuFlash)
}

/// Calls `each` with the bytes from `from` to `to` in chunks that begin at multiples of [`CHUNK`] of `from`; stops when
/// it gives `false`. What is read beyond `to` is not given.
pub(crate) fn scan<F: NorFlash>(
    flash: &mut F,
    from: u32,
    to: u32,
    mut each: impl FnMut(&mut F, u32, &[u8]) -> Result<bool, McuError>,
) -> Result<(), McuError> {
    let mut at = from;
    let mut chunk = [0; CHUNK];
    while at < to {
        let n = (to - at).min(CHUNK as u32);
        let whole = n.next_multiple_of(WORD_MOST) as usize;
        read(flash, at, chunk.get_mut(..whole).unwrap_or_default())?;
        if !each(flash, at, chunk.get(..n as usize).unwrap_or_default())? {
            break;
        }
        at += n;
    }
    Ok(())
}

/// Copies to an erased place and looks whether it came there.
pub(crate) fn copy<F: NorFlash>(
    flash: &mut F,
    from: u32,
    len: u32,
    to: u32,
    word: u32,
) -> Result<(), McuError> {
    scan(flash, from, from + len, |flash, at, bytes| {
        let place = to + (at - from);
        // Erased is what it is already; a word is written once only.
        if !is_blank(bytes) {
            write(flash, place, bytes, word)?;
        }
        let mut back = [0; CHUNK];
        let whole = bytes.len().next_multiple_of(WORD_MOST as usize);
        read(flash, place, back.get_mut(..whole).unwrap_or_default())?;
        match back.get(..bytes.len()) == Some(bytes) {
            true => Ok(true),
            false => Err(McuError::McuFlash),
        }
    })
}
