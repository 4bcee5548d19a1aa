//! The staging partition: one piece from address 0 on, and one scratch page at the end.
//!
//! ```text
//!  0                                  capacity - page      capacity
//!  | piece (erased lazily, page by page)   | scratch page    |
//! ```

use embedded_storage::nor_flash::{NorFlash, ReadNorFlash};

use crate::message::Reason;

/// Greatest `WRITE_SIZE` and `READ_SIZE` that is supported, in bytes.
pub(super) const ALIGN_MAX: usize = 32;
const CHUNK: usize = 128;

/// Bytes of one erase page.
pub(super) fn page<N: NorFlash>() -> u32 {
    N::ERASE_SIZE as u32
}

/// Bytes usable for a piece: all but the scratch page. 0 when the partition is too small or its
/// geometry is not supported.
#[inline(never)]
pub(super) fn usable<N: NorFlash>(flash: &N) -> u32 {
    if N::WRITE_SIZE > ALIGN_MAX || N::READ_SIZE > ALIGN_MAX || N::ERASE_SIZE % ALIGN_MAX != 0 {
        return 0;
    }
    let pages = flash.capacity() as u32 / page::<N>();
    pages.saturating_sub(1) * page::<N>()
}

/// Reads any range, also where the part reads only aligned words.
pub(super) fn read<N: ReadNorFlash>(
    flash: &mut N,
    mut at: u32,
    mut out: &mut [u8],
) -> Result<(), Reason> {
    if N::READ_SIZE <= 1 {
        return flash.read(at, out).map_err(|_| Reason::FlashReadFailed);
    }
    let unit = N::READ_SIZE as u32;
    while !out.is_empty() {
        let mut word = [0; ALIGN_MAX];
        let skip = (at % unit) as usize;
        let word = word.get_mut(..N::READ_SIZE).unwrap_or_default();
        flash
            .read(at - skip as u32, word)
            .map_err(|_| Reason::FlashReadFailed)?;
        let bytes = word.get(skip..).unwrap_or_default();
        let n = bytes.len().min(out.len());
        if n == 0 {
            return Err(Reason::FlashReadFailed);
        }
        let (now, later) = out.split_at_mut(n);
        now.copy_from_slice(&bytes[..n]);
        out = later;
        at += n as u32;
    }
    Ok(())
}

/// Whether every byte of `from..to` is erased.
pub(super) fn blank<N: ReadNorFlash>(flash: &mut N, from: u32, to: u32) -> Result<bool, Reason> {
    let mut buffer = [0; CHUNK];
    let mut at = from;
    while at < to {
        let n = (to - at).min(CHUNK as u32);
        let chunk = &mut buffer[..n as usize];
        read(flash, at, chunk)?;
        if chunk.iter().any(|byte| *byte != 0xFF) {
            return Ok(false);
        }
        at += n;
    }
    Ok(true)
}

/// Erases the page at `from`, also when it reads blank: after an erase that power cut short a page may do so and
/// lose bits later.
pub(super) fn erase<N: NorFlash>(flash: &mut N, from: u32) -> Result<(), Reason> {
    let to = from + page::<N>();
    flash
        .erase(from, to)
        .map_err(|_| Reason::FlashEraseFailed)?;
    // A worn page may say yes and stay as it is: erasing it again and again would not help.
    match blank(flash, from, to)? {
        true => Ok(()),
        false => Err(Reason::FlashEraseFailed),
    }
}

/// Writes to an erased area; `at` is aligned, the end is filled up with 0xFF to the write size.
pub(super) fn write<N: NorFlash>(flash: &mut N, at: u32, bytes: &[u8]) -> Result<(), Reason> {
    let whole = bytes.len() - bytes.len() % N::WRITE_SIZE;
    let (head, tail) = bytes.split_at(whole);
    if !head.is_empty() {
        flash
            .write(at, head)
            .map_err(|_| Reason::FlashWriteFailed)?;
    }
    if !tail.is_empty() {
        let mut word = [0xFF; ALIGN_MAX];
        word[..tail.len()].copy_from_slice(tail);
        flash
            .write(at + whole as u32, &word[..N::WRITE_SIZE])
            .map_err(|_| Reason::FlashWriteFailed)?;
    }
    Ok(())
}

/// Copies `len` bytes within the partition to an erased area.
pub(super) fn copy<N: NorFlash>(flash: &mut N, from: u32, to: u32, len: u32) -> Result<(), Reason> {
    let mut buffer = [0; CHUNK];
    let mut done = 0;
    while done < len {
        let n = (len - done).min(CHUNK as u32);
        let chunk = &mut buffer[..n as usize];
        read(flash, from + done, chunk)?;
        write(flash, to + done, chunk)?;
        done += n;
    }
    Ok(())
}
