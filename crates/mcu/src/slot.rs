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
use crate::flash::{copy, erase, write};
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

/// What is known of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Record {
    /// What of which package; `None`: nothing.
    pub resume: Option<Resume>,
    /// Epoch of the boot state.
    pub epoch: u8,
    /// It has the package's digests.
    pub verified: bool,
    /// The page of the offset is to be restored from the spare page.
    spare: bool,
    /// CRC-32 of it in flash, once verified.
    pub crc32: u32,
}

impl Record {
    /// Reads the newest.
    pub(crate) fn open<F: NorFlash>(flash: &mut F, layout: &Layout) -> (Records, Record) {
        let mut payload = [0; PAYLOAD];
        let records = Records::open(
            flash,
            layout.records(),
            layout.page,
            layout.word,
            &mut payload,
        );
        (records, Record::parse(&payload).unwrap_or_default())
    }

    fn parse(bytes: &[u8; PAYLOAD]) -> Option<Record> {
        let [offset, length, head, digest @ .., crc32] = bytes.as_chunks::<4>().0 else {
            return None;
        };
        let [epoch, kind, flags, _] = *head;
        let length = u32::from_le_bytes(*length);
        let resume = Resume {
            offset: u32::from_le_bytes(*offset),
            length,
            digest: Digest::from_padded(kind, digest.as_flattened().try_into().ok()?)?,
        };
        Some(Record {
            resume: (length > 0).then_some(resume),
            epoch,
            verified: flags & VERIFIED != 0,
            spare: flags & SPARE != 0,
            crc32: u32::from_le_bytes(*crc32),
        })
    }

    fn bytes(&self) -> [u8; PAYLOAD] {
        let mut bytes = [0; PAYLOAD];
        let Some(resume) = &self.resume else {
            return bytes;
        };
        if let [offset, length, head, digest @ .., crc32] = bytes.as_chunks_mut::<4>().0 {
            let flags = (u8::from(self.verified) * VERIFIED) | (u8::from(self.spare) * SPARE);
            *offset = resume.offset.to_le_bytes();
            *length = resume.length.to_le_bytes();
            *head = [self.epoch, resume.digest.kind(), flags, 0];
            for (to, from) in digest
                .as_flattened_mut()
                .iter_mut()
                .zip(resume.digest.padded())
            {
                *to = *from;
            }
            *crc32 = self.crc32.to_le_bytes();
        }
        bytes
    }

    /// The package's length in bytes; 0: there is none.
    pub(crate) fn length(&self) -> u32 {
        self.resume.map_or(0, |resume| resume.length)
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
    /// Reads what is known. `window`: the link's, in blocks.
    pub fn open<F: NorFlash>(
        flash: &mut F,
        layout: &Layout,
        state: State,
        window: u8,
    ) -> OtherSlot {
        let epoch = state.epoch;
        let (records, record) = Record::open(flash, layout);
        // Another layout may have had another slot.
        let fits =
            |resume: &Resume| resume.offset <= resume.length && resume.length <= layout.capacity();
        let counts = record.epoch == epoch && record.resume.as_ref().is_none_or(fits);
        OtherSlot {
            records,
            record: match counts {
                true => record,
                false => Record::default(),
            },
            epoch,
            erased_to: 0,
            half: (window / 2).max(1),
            step: 0,
            locked: state.phase == Phase::Trial,
        }
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

    fn put<F: NorFlash>(&mut self, flash: &mut F, record: Record) -> Result<(), McuError> {
        self.records.put(flash, &record.bytes())?;
        self.record = record;
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
    ) -> Result<(), McuError> {
        let record = Record {
            verified: true,
            crc32,
            ..self.record
        };
        self.put(flash, record)
    }

    /// Makes the page of the offset fit to go on inside it.
    fn restore<F: NorFlash>(
        &mut self,
        flash: &mut F,
        layout: &Layout,
        offset: u32,
    ) -> Result<(), McuError> {
        let inside = offset % layout.page;
        let begin = offset - inside;
        self.erased_to = begin;
        if inside == 0 {
            return Ok(());
        }
        let page = layout.other + begin;
        if !self.record.spare {
            // What is above the offset was perhaps begun, also where it reads erased: a word is written once only.
            erase(flash, layout.spare(), layout.page)?;
            copy(flash, page, inside, layout.spare(), layout.word)?;
            let record = Record {
                spare: true,
                ..self.record
            };
            self.put(flash, record)?;
        }
        erase(flash, page, layout.page)?;
        copy(flash, layout.spare(), inside, page, layout.word)?;
        let record = Record {
            spare: false,
            ..self.record
        };
        self.put(flash, record)?;
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
        self.slot.record.resume
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
        let (Some(digest), true) = (image.digest(), digest::can_verify(image)) else {
            return Err(LinkError::PackageWithoutDigest.number());
        };
        (slot.erased_to, slot.step) = (0, 0);
        let here = slot.record.resume;
        if let Some(known) = here.filter(|is| (is.length, is.digest) == (image.length, digest)) {
            if known.offset < known.length {
                slot.restore(*flash, layout, known.offset)
                    .map_err(McuError::number)?;
            }
            return Ok(known.offset);
        }
        let record = Record {
            resume: Some(Resume {
                offset: 0,
                length: image.length,
                digest,
            }),
            epoch: slot.epoch,
            ..Record::default()
        };
        slot.put(*flash, record).map_err(McuError::number)?;
        Ok(0)
    }

    fn write(&mut self, offset: u32, data: &[u8]) -> Result<(), WriteError> {
        let Access {
            slot,
            flash,
            layout,
        } = self;
        let end = offset.saturating_add(data.len() as u32);
        if end > layout.capacity() || !offset.is_multiple_of(WORD_MOST) {
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

    fn commit(&mut self, offset: u32) -> u32 {
        let Access { slot, flash, .. } = self;
        let Some(resume) = slot.record.resume else {
            return 0;
        };
        let offset = offset.min(resume.length);
        let far = offset.saturating_sub(resume.offset) >= slot.step.max(1);
        if far || (offset == resume.length && offset > resume.offset) {
            let record = Record {
                resume: Some(Resume { offset, ..resume }),
                ..slot.record
            };
            // If it does not come there, the one before says where a reset goes on.
            let _ = slot.put(*flash, record);
        }
        slot.record.resume.map_or(0, |resume| resume.offset)
    }

    fn forget(&mut self) {
        let Access { slot, flash, .. } = self;
        let record = Record {
            epoch: slot.epoch,
            ..Record::default()
        };
        if slot.put(*flash, record).is_err() {
            // The same package begins from 0 in this session, at least.
            slot.record = record;
        }
    }
}
