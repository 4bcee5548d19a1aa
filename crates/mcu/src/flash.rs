//! Reading, writing and erasing with the layout's sizes. Erased is 0xFF.

use crate::layout::WORD_MOST;
use embedded_storage::nor_flash::NorFlash;
use sota_errors::McuError;

/// Bytes moved at once.
pub(crate) const CHUNK: usize = 64;
const ERASED: u8 = 0xFF;

/// The flash did not read, erase or write: [`McuError::McuFlash`], where nothing else can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlashFailed;

impl FlashFailed {
    /// 404.
    pub const fn number(self) -> u16 {
        McuError::McuFlash.number()
    }
}

impl From<FlashFailed> for McuError {
    fn from(_: FlashFailed) -> McuError {
        McuError::McuFlash
    }
}

pub(crate) fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == ERASED)
}

/// Reads whole words at an address that is one's begin.
pub(crate) fn read<F: NorFlash>(flash: &mut F, at: u32, out: &mut [u8]) -> Result<(), FlashFailed> {
    flash.read(at, out).map_err(|_| FlashFailed)
}

pub(crate) fn erase<F: NorFlash>(flash: &mut F, at: u32, page: u32) -> Result<(), FlashFailed> {
    (flash.erase(at, at + page)).map_err(|_| FlashFailed)
}

/// Writes `bytes` at the begin of a word; a last word that is not whole is filled up with 0xFF.
pub(crate) fn write<F: NorFlash>(
    flash: &mut F,
    at: u32,
    bytes: &[u8],
    word: u32,
) -> Result<(), FlashFailed> {
    // A word is a power of two.
    let whole = bytes.len() & !(word as usize - 1);
    let (body, tail) = bytes.split_at_checked(whole).unwrap_or((bytes, &[]));
    if !body.is_empty() && flash.write(at, body).is_err() {
        return Err(FlashFailed);
    }
    if !tail.is_empty() {
        let mut last = [ERASED; WORD_MOST as usize];
        for (to, from) in last.iter_mut().zip(tail) {
            *to = *from;
        }
        let last = last.get(..word as usize).ok_or(FlashFailed)?;
        let done = flash.write(at + whole as u32, last);
        return done.map_err(|_| FlashFailed);
    }
    Ok(())
}

/// Calls `each` with the bytes from `from`, a multiple of [`CHUNK`], to `to` in chunks; stops when it fails. Whole chunks are
/// read, which never leave a page.
pub(crate) fn scan<F: NorFlash>(
    flash: &mut F,
    from: u32,
    to: u32,
    mut each: impl FnMut(&mut F, u32, &[u8]) -> Result<(), FlashFailed>,
) -> Result<(), FlashFailed> {
    let mut at = from;
    let mut chunk = [0; CHUNK];
    while at < to {
        read(flash, at, &mut chunk)?;
        let n = (to - at).min(CHUNK as u32);
        each(flash, at, chunk.get(..n as usize).unwrap_or_default())?;
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
) -> Result<(), FlashFailed> {
    scan(flash, from, from + len, |flash, at, bytes| {
        let place = to + (at - from);
        // Erased is what it is already; a word is written once only.
        if !is_blank(bytes) {
            write(flash, place, bytes, word)?;
        }
        let mut back = [0; CHUNK];
        read(flash, place, &mut back)?;
        match back.starts_with(bytes) {
            true => Ok(()),
            false => Err(FlashFailed),
        }
    })
}
