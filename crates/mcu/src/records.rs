//! Records over two pages: the newest whole one counts.
//!
//! | record | bytes | |
//! |---|---|---|
//! | number | 4 | 1 and up; the greatest counts |
//! | payload | n | |
//! | CRC-32 | 4 | CRC-32/ISO-HDLC of `SOTA`, number and payload |
//! | | | 0xFF up to a whole word, at least 4 bytes |
//!
//! | power goes while | the next start finds |
//! |---|---|
//! | a record is written | the one before; the torn place is skipped |
//! | the page for the next record is erased | the one before, on the other page; that page is full, so this one is erased again |
//!
//! A page is erased only when the newest record is on the other one, and written only after an erase that ended.

use crate::flash::{FlashFailed, erase, is_blank, read, write};
use crc::{CRC_32_ISO_HDLC, Crc, NoTable};
use embedded_storage::nor_flash::NorFlash;

pub use sota_link::frame::crc32;

/// Bytes of the greatest record.
const MOST: usize = 64;
/// Number and CRC.
const FRAME: usize = 8;

/// What is at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// A whole record of this number.
    Record(u32),
    Erased,
    Torn,
}

/// Where records lie, and where the next one goes. Pages and places are counted from `start` on.
#[derive(Clone, Copy, Debug)]
pub struct Records {
    start: u32,
    page: u32,
    word: u32,
    /// Number of the newest record, 0: none.
    number: u32,
    /// Page of the newest record.
    newest: u32,
    /// Page of the next place, and where in it.
    at: u32,
    next: u32,
    /// Bytes of a payload, and of a record.
    payload: u8,
    len: u8,
}

impl Records {
    /// Of no flash: all of it zero.
    pub(crate) const NONE: Records = Records {
        start: 0,
        page: 0,
        word: 0,
        number: 0,
        newest: 0,
        at: 0,
        next: 0,
        payload: 0,
        len: 0,
    };

    /// Looks through two pages of `page` bytes at `start` and puts the newest record's payload into `payload`, whose
    /// length, at most 48, is that of all payloads. `word`: a power of two. `number` 0: there is none.
    pub fn open<F: NorFlash>(
        flash: &mut F,
        start: u32,
        page: u32,
        word: u32,
        payload: &mut [u8],
    ) -> Records {
        let mut records = Records::NONE;
        records.load(flash, start, page, word, payload);
        records
    }

    /// The same where it stands.
    #[inline(never)]
    pub(crate) fn load<F: NorFlash>(
        &mut self,
        flash: &mut F,
        start: u32,
        page: u32,
        word: u32,
        payload: &mut [u8],
    ) {
        let whole = word.max(4) as usize - 1;
        *self = Records {
            start,
            page,
            word,
            number: 0,
            newest: page,
            at: page,
            next: page,
            payload: payload.len() as u8,
            len: ((FRAME + payload.len() + whole) & !whole) as u8,
        };
        for at in 0..2 {
            let at = at * page;
            let mut next = 0;
            let mut free = 0;
            let mut has = false;
            while next + u32::from(self.len) <= page {
                let mut bytes = [0; MOST];
                let place = self.read(flash, at + next, &mut bytes);
                next += u32::from(self.len);
                // What failed to be written may read as erased, with records behind it.
                if place != Place::Erased {
                    free = next;
                }
                if let Place::Record(number) = place
                    && number > self.number
                {
                    self.number = number;
                    has = true;
                    for (to, from) in payload.iter_mut().zip(bytes.iter().skip(4)) {
                        *to = *from;
                    }
                }
            }
            if has {
                (self.newest, self.at, self.next) = (at, at, free);
            }
        }
    }

    /// Number of the newest record: how many were written. 0: none.
    pub const fn number(&self) -> u32 {
        self.number
    }

    #[inline(never)]
    fn read<F: NorFlash>(&self, flash: &mut F, place: u32, bytes: &mut [u8; MOST]) -> Place {
        let Some(record) = bytes.get_mut(..self.len.into()) else {
            return Place::Torn;
        };
        // A word that cannot be read is a torn one.
        if read(flash, self.start + place, record).is_err() {
            return Place::Torn;
        }
        // Most places are: of these no CRC is made.
        if is_blank(record) {
            return Place::Erased;
        }
        if let Some((covered, rest)) = record.split_at_checked(4 + usize::from(self.payload))
            && let (Some(number), Some(crc)) = (covered.first_chunk(), rest.first_chunk())
            && crc32(SALT, covered) == u32::from_le_bytes(*crc)
        {
            return Place::Record(u32::from_le_bytes(*number));
        }
        Place::Torn
    }

    /// Writes a record and looks whether it came there.
    ///
    /// # Errors
    /// 404; the record before is still the newest.
    #[inline(never)]
    pub fn put<F: NorFlash>(&mut self, flash: &mut F, payload: &[u8]) -> Result<(), FlashFailed> {
        // No flash lives so long that this begins anew.
        let number = self.number.saturating_add(1);
        let mut record = [0xFF; MOST];
        fill(&mut record, 0, &number.to_le_bytes());
        fill(&mut record, 4, payload);
        let end = 4 + usize::from(self.payload);
        let crc = crc32(SALT, record.get(..end).ok_or(FlashFailed)?);
        fill(&mut record, end, &crc.to_le_bytes());
        let record = record.get(..self.len.into()).ok_or(FlashFailed)?;
        // One place may be bad, or the last of its page; not more.
        for _ in 0..3 {
            if self.next + u32::from(self.len) > self.page {
                let at = self.page - self.at;
                if at == self.newest && self.number > 0 {
                    break;
                }
                erase(flash, self.start + at, self.page)?;
                (self.at, self.next) = (at, 0);
            }
            let place = self.at + self.next;
            self.next += u32::from(self.len);
            let written = write(flash, self.start + place, record, self.word);
            let mut bytes = [0; MOST];
            let found = self.read(flash, place, &mut bytes);
            if written.is_ok() && found == Place::Record(number) {
                self.number = number;
                self.newest = self.at;
                return Ok(());
            }
        }
        Err(FlashFailed)
    }
}

/// Puts `bytes` at a place of a record.
#[inline(never)]
fn fill(record: &mut [u8; MOST], at: usize, bytes: &[u8]) {
    if let Some(places) = record.get_mut(at..) {
        for (to, from) in places.iter_mut().zip(bytes) {
            *to = *from;
        }
    }
}

/// CRC-32 of `SOTA`: the CRC of erased bytes alone would be that of an erased record.
const SALT: u32 = {
    let crc = Crc::<u32, NoTable>::new(&CRC_32_ISO_HDLC);
    crc.checksum(b"SOTA")
};
