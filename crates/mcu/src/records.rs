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

use crate::flash::{erase, is_blank, read, write};
use crc::{CRC_32_ISO_HDLC, Crc, NoTable};
use embedded_storage::nor_flash::NorFlash;
use sota_errors::McuError;

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

/// Where records lie, and where the next one goes.
#[derive(Clone, Copy, Debug)]
pub struct Records {
    start: u32,
    page: u32,
    word: u32,
    /// Bytes of a payload.
    payload: u8,
    /// Number of the newest record, 0: none.
    number: u32,
    /// Page of the newest record.
    newest: u8,
    /// Page and offset of the next place.
    at: u8,
    next: u32,
}

impl Records {
    /// Of no flash: all of it zero.
    pub(crate) const NONE: Records = Records {
        start: 0,
        page: 0,
        word: 0,
        payload: 0,
        number: 0,
        newest: 0,
        at: 0,
        next: 0,
    };

    /// Looks through two pages of `page` bytes at `start` and puts the newest record's payload into `payload`, whose
    /// length, at most 56, is that of all payloads. `number` 0: there is none.
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
        *self = Records {
            start,
            page,
            word,
            payload: payload.len().min(MOST - FRAME) as u8,
            number: 0,
            newest: 1,
            at: 1,
            next: page,
        };
        for at in 0..2 {
            let mut next = 0;
            let mut has = false;
            while next + self.len() <= page {
                let mut bytes = [0; MOST];
                match self.read(flash, at, next, &mut bytes) {
                    Place::Record(number) if number > self.number => {
                        self.number = number;
                        has = true;
                        for (to, from) in payload.iter_mut().zip(bytes.iter().skip(4)) {
                            *to = *from;
                        }
                    }
                    Place::Record(_) | Place::Torn => {}
                    // Nothing is after the first that is erased.
                    Place::Erased => break,
                }
                next += self.len();
            }
            if has {
                (self.newest, self.at, self.next) = (at, at, next);
            }
        }
    }

    /// Number of the newest record: how many were written. 0: none.
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// Bytes that a record takes.
    fn len(&self) -> u32 {
        (FRAME as u32 + u32::from(self.payload)).next_multiple_of(self.word.max(4))
    }

    fn read<F: NorFlash>(
        &self,
        flash: &mut F,
        page: u8,
        offset: u32,
        bytes: &mut [u8; MOST],
    ) -> Place {
        let at = self.start + u32::from(page) * self.page + offset;
        let record = bytes.get_mut(..self.len() as usize).unwrap_or_default();
        // A word that cannot be read is a torn one.
        if read(flash, at, record).is_err() {
            return Place::Torn;
        }
        let erased = is_blank(record);
        let end = FRAME + usize::from(self.payload);
        let head = record.get(..end).unwrap_or_default();
        match (head.split_last_chunk::<4>(), head.first_chunk::<4>()) {
            (Some((covered, crc)), Some(number))
                if crc32(SALT, covered) == u32::from_le_bytes(*crc) =>
            {
                Place::Record(u32::from_le_bytes(*number))
            }
            _ if erased => Place::Erased,
            _ => Place::Torn,
        }
    }

    /// Writes a record and looks whether it came there.
    ///
    /// # Errors
    /// 404; the record before is still the newest.
    pub fn put<F: NorFlash>(&mut self, flash: &mut F, payload: &[u8]) -> Result<(), McuError> {
        let number = self.number.checked_add(1).ok_or(McuError::McuFlash)?;
        let mut record = [0xFF; MOST];
        let end = FRAME + usize::from(self.payload);
        let head = record.get_mut(..end).unwrap_or_default();
        if let Some((covered, crc)) = head.split_last_chunk_mut::<4>()
            && let Some((place, rest)) = covered.split_first_chunk_mut::<4>()
        {
            *place = number.to_le_bytes();
            for (to, from) in rest.iter_mut().zip(payload) {
                *to = *from;
            }
            *crc = crc32(SALT, covered).to_le_bytes();
        }
        let record = record.get(..self.len() as usize).unwrap_or_default();
        // One place may be bad, or the last of its page; not more.
        for _ in 0..3 {
            if self.next + self.len() > self.page {
                let at = 1 - self.at;
                if at == self.newest && self.number > 0 {
                    return Err(McuError::McuFlash);
                }
                erase(flash, self.start + u32::from(at) * self.page, self.page)?;
                (self.at, self.next) = (at, 0);
            }
            let (at, offset) = (self.at, self.next);
            let place = self.start + u32::from(at) * self.page + offset;
            self.next += self.len();
            let written = write(flash, place, record, self.word);
            let mut bytes = [0; MOST];
            let found = self.read(flash, at, offset, &mut bytes);
            if written.is_ok() && found == Place::Record(number) {
                self.number = number;
                self.newest = at;
                return Ok(());
            }
        }
        Err(McuError::McuFlash)
    }
}

/// CRC-32 of `SOTA`: the CRC of erased bytes alone would be that of an erased record.
const SALT: u32 = {
    let crc = Crc::<u32, NoTable>::new(&CRC_32_ISO_HDLC);
    crc.checksum(b"SOTA")
};
