//! The other slot: an image on its way, and what is known of it over a reset.
//!
//! Payload of a record (`records.rs`), 48 bytes:
//!
//! | at | bytes | |
//! |---|---|---|
//! | 0 | 4 | offset: bytes from the first on that are durable |
//! | 4 | 4 | length of the package; 0: none |
//! | 8 | 1 | epoch of the boot state: another one makes the record void |
//! | 9 | 1 | kind of the digest: 1 CRC-32, 2 MD5, 3 SHA-256 |
//! | 10 | 1 | bit 0: verified; bit 1: the page of the offset is to be restored from the spare page |
//! | 11 | 1 | 0 |
//! | 12 | 32 | the package's strongest digest |
//! | 44 | 4 | CRC-32 of the image in flash, once verified |
//!
//! | power goes while | the next start finds |
//! |---|---|
//! | a page is erased | the record of an offset at or below its begin: it is erased again |
//! | a block is written | the bytes below the offset; inside a page, what is below it is brought to the spare page, and back after an erase |
//! | that is done | the record before, or bit 1: the spare page has what is below the offset |

use crate::digest;
use crate::flash::{FlashFailed, copy, erase, write};
use crate::layout::{Layout, WORD_MOST};
use crate::records::Records;
use crate::state::{Phase, State};
use embedded_storage::nor_flash::NorFlash;
use sota_errors::{LinkError, McuError};
use sota_link::field::{Digest, Image, Resume};
use sota_link::mcu::{Slot, WriteError};

const PAYLOAD: usize = 48;
const VERIFIED: u8 = 1;
const SPARE: u8 = 2;

/// What is known of the image: the payload as it stands in the flash, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record([[u8; 4]; PAYLOAD / 4]);

impl Record {
    /// Of nothing.
    const NONE: Record = Record([[0; 4]; PAYLOAD / 4]);

    /// Of this package, nothing of which is there yet.
    fn new(length: u32, digest: &Digest, epoch: u8) -> Record {
        let mut record = Record::NONE;
        record.0[1] = length.to_le_bytes();
        record.0[2] = [epoch, digest.kind(), 0, 0];
        for (to, from) in record.0[3..11]
            .as_flattened_mut()
            .iter_mut()
            .zip(digest.padded())
        {
            *to = *from;
        }
        record
    }

    /// Reads the newest.
    pub(crate) fn open<F: NorFlash>(flash: &mut F, layout: &Layout) -> (Records, Record) {
        let (mut records, mut record) = (Records::NONE, Record::NONE);
        record.load(&mut records, flash, layout);
        (records, record)
    }

    fn load<F: NorFlash>(&mut self, records: &mut Records, flash: &mut F, layout: &Layout) {
        let at = layout.records();
        let payload = self.0.as_flattened_mut();
        records.load(flash, at, layout.page, layout.word, payload);
    }

    /// Bytes of the package, from the first on, that are durable.
    pub const fn offset(&self) -> u32 {
        u32::from_le_bytes(self.0[0])
    }

    /// The package's length in bytes; 0: there is none.
    pub const fn length(&self) -> u32 {
        u32::from_le_bytes(self.0[1])
    }

    /// Epoch of the boot state.
    pub const fn epoch(&self) -> u8 {
        self.0[2][0]
    }

    /// It has the package's digests.
    pub const fn is_verified(&self) -> bool {
        self.0[2][2] & VERIFIED != 0
    }

    /// The page of the offset is to be restored from the spare page.
    const fn is_spare(&self) -> bool {
        self.0[2][2] & SPARE != 0
    }

    /// CRC-32 of it in flash, once verified.
    pub const fn crc32(&self) -> u32 {
        u32::from_le_bytes(self.0[11])
    }

    /// It is of the same package.
    fn is_of_same(&self, other: &Record) -> bool {
        let (kind, other_kind) = (self.0[2][1], other.0[2][1]);
        self.0[1] == other.0[1] && kind == other_kind && self.0[3..11] == other.0[3..11]
    }

    /// The package's strongest digest.
    fn digest(&self) -> Option<Digest> {
        Digest::from_padded(self.0[2][1], self.0[3..11].as_flattened())
    }

    /// What of which package; `None`: nothing.
    pub fn resume(&self) -> Option<Resume> {
        let digest = self.digest().filter(|_| self.length() > 0)?;
        Some(Resume {
            offset: self.offset(),
            length: self.length(),
            digest,
        })
    }
}

/// The other slot. Its [`Slot`] is [`OtherSlot::access`].
#[derive(Clone, Copy, Debug)]
pub struct OtherSlot {
    records: Records,
    record: Record,
    epoch: u8,
    /// Every page up to here is erased or written.
    erased_to: u32,
    /// Half a window in blocks.
    half: u8,
    /// Bytes between two records.
    step: u32,
    /// It has the image that a revert would bring back.
    locked: bool,
}

impl OtherSlot {
    /// Of no flash: all of it zero.
    pub(crate) const NONE: OtherSlot = OtherSlot {
        records: Records::NONE,
        record: Record::NONE,
        epoch: 0,
        erased_to: 0,
        half: 0,
        step: 0,
        locked: false,
    };

    /// Reads what is known. `window`: the link's, in blocks.
    pub fn open<F: NorFlash>(
        flash: &mut F,
        layout: &Layout,
        state: State,
        window: u8,
    ) -> OtherSlot {
        let mut slot = OtherSlot::NONE;
        slot.load(flash, layout, state, window);
        slot
    }

    /// The same where it stands.
    pub(crate) fn load<F: NorFlash>(
        &mut self,
        flash: &mut F,
        layout: &Layout,
        state: State,
        window: u8,
    ) {
        let record = &mut self.record;
        record.load(&mut self.records, flash, layout);
        // Another layout may have had another slot.
        let fits = record.offset() <= record.length() && record.length() <= layout.capacity();
        if !fits || record.epoch() != state.epoch {
            *record = Record::NONE;
        }
        self.epoch = state.epoch;
        self.half = (window / 2).max(1);
        self.locked = state.phase == Phase::Trial;
    }

    /// The image on trial is confirmed: nothing brings the old one back any more.
    pub fn unlock(&mut self) {
        self.locked = false;
    }

    /// With the flash: the link's [`Slot`].
    pub fn access<'a, F: NorFlash>(
        &'a mut self,
        flash: &'a mut F,
        layout: &'a Layout,
    ) -> Access<'a, F> {
        Access {
            slot: self,
            flash,
            layout,
        }
    }

    /// What is known.
    pub const fn record(&self) -> &Record {
        &self.record
    }

    fn put<F: NorFlash>(&mut self, flash: &mut F, record: &Record) -> Result<(), FlashFailed> {
        self.records.put(flash, record.0.as_flattened())?;
        self.record = *record;
        Ok(())
    }

    /// The image has the package's digests, and this CRC-32.
    ///
    /// # Errors
    /// 404.
    pub(crate) fn set_verified<F: NorFlash>(
        &mut self,
        flash: &mut F,
        crc32: u32,
    ) -> Result<(), FlashFailed> {
        let mut record = self.record;
        record.0[2][2] = VERIFIED;
        record.0[11] = crc32.to_le_bytes();
        self.put(flash, &record)
    }

    /// Copies what is below the offset to another page, and says where it is.
    #[inline(never)]
    fn bring<F: NorFlash>(
        &mut self,
        flash: &mut F,
        layout: &Layout,
        (from, to): (u32, u32),
        inside: u32,
        flags: u8,
    ) -> Result<(), FlashFailed> {
        erase(flash, to, layout.page)?;
        copy(flash, from, inside, to, layout.word)?;
        let mut record = self.record;
        record.0[2][2] = flags;
        self.put(flash, &record)
    }

    /// Makes the page of the offset fit to go on inside it.
    fn restore<F: NorFlash>(
        &mut self,
        flash: &mut F,
        layout: &Layout,
        offset: u32,
    ) -> Result<(), FlashFailed> {
        let inside = offset.checked_rem(layout.page).unwrap_or(0);
        let begin = offset - inside;
        self.erased_to = begin;
        if inside == 0 {
            return Ok(());
        }
        let (page, spare) = (layout.other + begin, layout.spare());
        if !self.record.is_spare() {
            // What is above the offset was perhaps begun, also where it reads erased: a word is written once only.
            self.bring(flash, layout, (page, spare), inside, SPARE)?;
        }
        self.bring(flash, layout, (spare, page), inside, 0)?;
        self.erased_to = begin + layout.page;
        Ok(())
    }
}

/// The slot together with its flash.
pub struct Access<'a, F> {
    slot: &'a mut OtherSlot,
    flash: &'a mut F,
    layout: &'a Layout,
}

impl<F: NorFlash> Slot for Access<'_, F> {
    fn resume(&mut self) -> Option<Resume> {
        self.slot.record.resume()
    }

    fn begin(&mut self, image: &Image) -> Result<u32, u16> {
        let Access {
            slot,
            flash,
            layout,
        } = self;
        if slot.locked {
            return Err(LinkError::NotNow.number());
        }
        if image.length > layout.capacity() {
            return Err(McuError::SlotTooSmall.number());
        }
        if !digest::can_verify(image) {
            return Err(LinkError::PackageWithoutDigest.number());
        }
        let package = Record::new(image.length, &image.strongest(), slot.epoch);
        (slot.erased_to, slot.step) = (0, 0);
        if slot.record.is_of_same(&package) {
            let offset = slot.record.offset();
            if offset < image.length {
                slot.restore(*flash, layout, offset)
                    .map_err(FlashFailed::number)?;
            }
            return Ok(offset);
        }
        slot.put(*flash, &package).map_err(FlashFailed::number)?;
        Ok(0)
    }

    fn write(&mut self, offset: u32, data: &[u8]) -> Result<(), WriteError> {
        let Access {
            slot,
            flash,
            layout,
        } = self;
        let end = offset.saturating_add(data.len() as u32);
        // Which is no more than the slot has.
        if end > slot.record.length() || !offset.is_multiple_of(WORD_MOST) {
            return Err(WriteError::Failed);
        }
        slot.step = slot.step.max(u32::from(slot.half) * data.len() as u32);
        while slot.erased_to < end {
            let page = layout.other + slot.erased_to;
            erase(*flash, page, layout.page).map_err(|_| WriteError::Failed)?;
            slot.erased_to += layout.page;
        }
        write(*flash, layout.other + offset, data, layout.word).map_err(|_| WriteError::Failed)
    }

    fn commit(&mut self, to: u32) -> u32 {
        let Access { slot, flash, .. } = self;
        let (offset, length) = (slot.record.offset(), slot.record.length());
        let to = to.min(length);
        let far = to.saturating_sub(offset) >= slot.step.max(1);
        if far || (to == length && to > offset) {
            let mut record = slot.record;
            record.0[0] = to.to_le_bytes();
            // If it does not come there, the one before says where a reset goes on.
            let _ = slot.put(*flash, &record);
        }
        slot.record.offset()
    }

    fn forget(&mut self) {
        let Access { slot, flash, .. } = self;
        let mut record = Record::NONE;
        record.0[2][0] = slot.epoch;
        let _ = slot.put(*flash, &record);
        // If it does not come there, the same package begins from 0 in this session, at least.
        slot.record = record;
    }
}
