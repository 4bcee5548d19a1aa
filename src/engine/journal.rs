//! The journal: a ring of sectors, each the latest state and what changed since.
//!
//! A sector is as many erase pages as hold [`SECTOR_MIN`] bytes. Byte layouts and the reasons are in
//! `docs/journal.md`. What happens when power goes:
//!
//! | cut in | found at start |
//! |---|---|
//! | appending a record | its CRC fails: it never was, the one before counts |
//! | erasing the next sector | the present one is whole |
//! | copying to the next sector | it has no header yet (written last): the present one counts |
//! | erasing the old sector | the new one is whole and has the higher sequence |

use embedded_storage::nor_flash::NorFlash;

use super::{digest::crc32, record::Writer, staging};
use crate::message::Reason;

/// Format of what is in flash; a journal of another format is not read.
pub(super) const FORMAT: u16 = 1;
/// Least bytes of a sector: every live record at its greatest, twice over.
const SECTOR_MIN: u32 = 4096;
/// Bytes at a sector's start before its first record.
const HEADER: u32 = 32;
const MAGIC: u32 = u32::from_le_bytes(*b"SOTJ");
const LONG: u8 = 0xA5;
const SHORT: u8 = 0x5A;
/// The next sector could not be erased ahead of time.
const UNPREPARED: u32 = u32::MAX;
/// Greatest payload of a record, in bytes.
pub(super) const PAYLOAD_MAX: usize = 640;
/// Bytes of a long record before its payload: tag, key, length and CRC.
pub(super) const HEAD: usize = 8;
/// Greatest record, filled up to the write size.
pub(super) const RECORD_MAX: usize = HEAD + PAYLOAD_MAX + staging::ALIGN_MAX;

/// What a record is about; a later record takes the place of an earlier one with the same key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Key(u8);

impl Key {
    /// Versions of the MCU components and the last results.
    pub(super) const VERSIONS: Key = Key(1);
    /// The state machine; makes an earlier PROGRESS void.
    pub(super) const FLOW: Key = Key(2);
    /// Download information and ETag.
    pub(super) const INFO: Key = Key(3);
    /// Bytes of the package that are durable; short record.
    pub(super) const PROGRESS: Key = Key(4);
    /// A staging page whose good part is in the scratch page.
    pub(super) const RESCUE: Key = Key(5);
    /// The last boundary with an even and the last with an odd number.
    pub(super) const fn piece(number: u32) -> Key {
        Key(6 + (number & 1) as u8)
    }
    /// The offer of this component.
    pub(super) const fn offer(instance: u8) -> Key {
        Key(8 + instance)
    }
    #[cfg(test)]
    pub(super) const fn for_test(key: u8) -> Key {
        Key(key)
    }
    /// The next sector is erased, whole.
    const READY: Key = Key::offer(crate::message::COMPONENTS as u8);
    const COUNT: usize = 9 + crate::message::COMPONENTS;
}

/// What was in flash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing of ours.
    Nothing,
    /// A journal of this format.
    Journal,
    /// A journal of another format: forgotten.
    OtherFormat,
}

/// Where the records are. The records themselves stay in flash.
pub(super) struct Journal {
    sector_size: u32,
    sectors: u32,
    current: u32,
    sequence: u32,
    /// Address of the next record.
    end: u32,
    /// Address of the last record per key, 0 = none (0 is always a header).
    live: [u32; Key::COUNT],
    /// Bytes of the next sector that were erased, or [`UNPREPARED`].
    prepared: u32,
}

/// Records begin at multiples of this.
fn slot<N: NorFlash>() -> u32 {
    (N::WRITE_SIZE as u32).max(8)
}

fn le32(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u32::from_le_bytes)
}

fn short_record(value: u32) -> [u8; 8] {
    // The tag is part of it: the CRC-32 of four erased bytes is 0xFFFFFFFF, and a torn slot of 5A FF FF …
    // would pass.
    let crc = crc32(crc32(0, &[SHORT]), &value.to_le_bytes()).to_le_bytes();
    let v = value.to_le_bytes();
    [SHORT, crc[0], crc[1], crc[2], v[0], v[1], v[2], v[3]]
}

impl Journal {
    /// Finds the journal, or begins a new one.
    pub(super) fn open<N: NorFlash>(flash: &mut N) -> Result<(Journal, Found), Reason> {
        let page = staging::page::<N>();
        let sector_size = SECTOR_MIN.div_ceil(page) * page;
        let sectors = flash.capacity() as u32 / sector_size;
        if sectors < 2 || N::WRITE_SIZE > staging::ALIGN_MAX || N::READ_SIZE > staging::ALIGN_MAX {
            return Err(Reason::JournalTooSmall);
        }
        let mut journal = Journal {
            sector_size,
            sectors,
            current: sectors - 1,
            sequence: 0,
            end: 0,
            live: [0; Key::COUNT],
            prepared: 0,
        };
        let mut found = Found::Nothing;
        for sector in 0..sectors {
            let mut header = [0; 16];
            staging::read(flash, sector * sector_size, &mut header)?;
            if le32(&header, 0) != MAGIC || le32(&header, 12) != crc32(0, &header[..12]) {
                continue;
            }
            let sequence = le32(&header, 8);
            if found == Found::Nothing || sequence > journal.sequence {
                journal.current = sector;
                journal.sequence = sequence;
                found = if le32(&header, 4) == u32::from(FORMAT) {
                    Found::Journal
                } else {
                    Found::OtherFormat
                };
            }
        }
        if found == Found::Journal {
            journal.scan(flash)?;
        } else {
            journal.move_on(flash)?;
        }
        Ok((journal, found))
    }

    fn base(&self) -> u32 {
        self.current * self.sector_size
    }

    /// Address of the next sector.
    fn next(&self) -> u32 {
        (self.current + 1) % self.sectors * self.sector_size
    }

    fn limit(&self) -> u32 {
        self.base() + self.sector_size
    }

    /// Finds the last record of each key. A slot that is no record is skipped: a torn write.
    fn scan<N: NorFlash>(&mut self, flash: &mut N) -> Result<(), Reason> {
        let slot = slot::<N>();
        let mut at = self.base() + HEADER;
        self.end = at;
        while at + slot <= self.limit() {
            if staging::blank(flash, at, at + slot)? {
                at += slot;
                continue;
            }
            let (key, len) = self.parse(flash, at)?.unwrap_or((0, 0));
            if let Some(live) = self.live.get_mut(usize::from(key)).filter(|_| key != 0) {
                *live = if len == 0 { 0 } else { at };
                if key == Key::FLOW.0 {
                    self.live[usize::from(Key::PROGRESS.0)] = 0;
                }
            }
            at += if key == Key::PROGRESS.0 {
                slot
            } else {
                (8 + len).next_multiple_of(slot)
            };
            self.end = at;
        }
        // That a sector reads blank does not say that its erase was finished, and the record does not say that nothing
        // was copied there since.
        let next = self.next();
        if self.has(Key::READY) && staging::blank(flash, next, next + self.sector_size)? {
            self.prepared = self.sector_size;
        }
        Ok(())
    }

    /// Key and payload length of the record at `at`, `None` if there is none.
    fn parse<N: NorFlash>(&self, flash: &mut N, at: u32) -> Result<Option<(u8, u32)>, Reason> {
        let mut head = [0; 8];
        staging::read(flash, at, &mut head)?;
        if head[0] == SHORT && head == short_record(le32(&head, 4)) {
            return Ok(Some((Key::PROGRESS.0, 4)));
        }
        let len = u32::from(u16::from_le_bytes([head[2], head[3]]));
        // PROGRESS is never a long record, 0 is no key.
        if head[0] != LONG
            || len as usize > PAYLOAD_MAX
            || at + 8 + len > self.limit()
            || head[1] == Key::PROGRESS.0
            || head[1] == 0
        {
            return Ok(None);
        }
        let mut crc = crc32(0, &head[1..4]);
        let mut buffer = [0; 64];
        let mut done = 0;
        while done < len {
            let n = (len - done).min(64);
            let chunk = &mut buffer[..n as usize];
            staging::read(flash, at + 8 + done, chunk)?;
            crc = crc32(crc, chunk);
            done += n;
        }
        Ok((crc == le32(&head, 4)).then_some((head[1], len)))
    }

    /// Whether there is a record of this key.
    pub(super) fn has(&self, key: Key) -> bool {
        self.live.get(usize::from(key.0)).is_some_and(|at| *at != 0)
    }

    /// Copies the payload of the last record of `key`; `None` when there is none or `out` is too small.
    pub(super) fn read<'a, N: NorFlash>(
        &self,
        flash: &mut N,
        key: Key,
        out: &'a mut [u8],
    ) -> Option<&'a [u8]> {
        let at = *self.live.get(usize::from(key.0)).filter(|at| **at != 0)?;
        let (_, len) = self.parse(flash, at).ok()??;
        let (from, len) = if key == Key::PROGRESS {
            (at + 4, 4)
        } else {
            (at + 8, len as usize)
        };
        let out = out.get_mut(..len)?;
        staging::read(flash, from, out).ok()?;
        Some(out)
    }

    /// Writes a record; one without a payload deletes the key.
    #[inline(never)]
    pub(super) fn append<N: NorFlash>(
        &mut self,
        flash: &mut N,
        key: Key,
        record: &mut Writer,
    ) -> Result<(), Reason> {
        let (head, payload) = record
            .0
            .split_first_chunk_mut::<HEAD>()
            .filter(|(_, payload)| payload.len() <= PAYLOAD_MAX)
            .ok_or(Reason::JournalTooSmall)?;
        let empty = payload.is_empty();
        let [low, high] = (payload.len() as u16).to_le_bytes();
        let crc = crc32(crc32(0, &[key.0, low, high]), payload).to_le_bytes();
        *head = [LONG, key.0, low, high, crc[0], crc[1], crc[2], crc[3]];
        while !(record.0.len() as u32).is_multiple_of(slot::<N>()) {
            record.u8(0xFF);
        }
        self.put(flash, key, &record.0, empty)
    }

    /// Writes a record of at most one byte.
    #[inline(never)]
    fn note<N: NorFlash>(&mut self, flash: &mut N, key: Key, payload: &[u8]) -> Result<(), Reason> {
        let mut record = Writer::default();
        record.begin();
        record.bytes(payload);
        self.append(flash, key, &mut record)
    }

    /// Writes how many bytes of the package are durable.
    pub(super) fn progress<N: NorFlash>(
        &mut self,
        flash: &mut N,
        offset: u32,
    ) -> Result<(), Reason> {
        let mut record = [0xFF; staging::ALIGN_MAX];
        record[..8].copy_from_slice(&short_record(offset));
        self.put(flash, Key::PROGRESS, &record[..slot::<N>() as usize], false)
    }

    /// Deletes `key` if it is there.
    pub(super) fn delete<N: NorFlash>(&mut self, flash: &mut N, key: Key) -> Result<(), Reason> {
        if self.has(key) {
            self.note(flash, key, &[])?;
        }
        Ok(())
    }

    fn put<N: NorFlash>(
        &mut self,
        flash: &mut N,
        key: Key,
        record: &[u8],
        delete: bool,
    ) -> Result<(), Reason> {
        let size = record.len() as u32;
        if self.end + size > self.limit() {
            self.move_on(flash)?;
            if self.end + size > self.limit() {
                return Err(Reason::JournalTooSmall);
            }
        }
        let at = self.end;
        // Also when the write fails: the area may be half written.
        self.end += size;
        flash
            .write(at, record)
            .map_err(|_| Reason::FlashWriteFailed)?;
        if let Some(live) = self.live.get_mut(usize::from(key.0)) {
            *live = if delete { 0 } else { at };
        }
        if key == Key::FLOW {
            self.live[usize::from(Key::PROGRESS.0)] = 0;
        }
        Ok(())
    }

    /// Copies the live records to the next sector and goes on there.
    fn move_on<N: NorFlash>(&mut self, flash: &mut N) -> Result<(), Reason> {
        let base = self.next();
        let mut prepared = self.prepared;
        self.prepared = 0;
        if prepared > self.sector_size {
            prepared = 0;
        }
        while prepared < self.sector_size {
            staging::erase(flash, base + prepared)?;
            prepared += staging::page::<N>();
        }
        let mut live = self.live;
        live[usize::from(Key::READY.0)] = 0;
        let mut end = base + HEADER;
        // In the order of the keys: FLOW before PROGRESS, which it would make void.
        for (key, at) in live.iter_mut().enumerate().filter(|(_, at)| **at != 0) {
            let size = if key == usize::from(Key::PROGRESS.0) {
                slot::<N>()
            } else {
                let Some((_, len)) = self.parse(flash, *at)? else {
                    *at = 0;
                    continue;
                };
                (8 + len).next_multiple_of(slot::<N>())
            };
            if end + size > base + self.sector_size {
                return Err(Reason::JournalTooSmall);
            }
            staging::copy(flash, *at, end, size)?;
            *at = end;
            end += size;
        }
        let sequence = self.sequence.wrapping_add(1);
        let mut header = [0xFF; HEADER as usize];
        header[..4].copy_from_slice(&MAGIC.to_le_bytes());
        header[4..8].copy_from_slice(&u32::from(FORMAT).to_le_bytes());
        header[8..12].copy_from_slice(&sequence.to_le_bytes());
        let crc = crc32(0, &header[..12]);
        header[12..16].copy_from_slice(&crc.to_le_bytes());
        flash
            .write(base, &header)
            .map_err(|_| Reason::FlashWriteFailed)?;
        self.current = base / self.sector_size;
        self.sequence = sequence;
        self.end = end;
        self.live = live;
        Ok(())
    }

    /// Erases one page of the next sector ahead of time, so that moving on takes no erase.
    pub(super) fn prepare<N: NorFlash>(&mut self, flash: &mut N) -> Result<(), Reason> {
        if !self.wants_prepare() {
            return Ok(());
        }
        staging::erase(flash, self.next() + self.prepared)?;
        self.prepared += staging::page::<N>();
        // Without room for the record the sector is erased once more after a restart.
        if !self.wants_prepare() && self.end + 16.max(slot::<N>()) <= self.limit() {
            self.note(flash, Key::READY, &[1])?;
        }
        Ok(())
    }

    /// Gives up preparing: moving on tries again.
    pub(super) fn leave_unprepared(&mut self) {
        self.prepared = UNPREPARED;
    }

    /// Whether [`Journal::prepare`] has work.
    pub(super) fn wants_prepare(&self) -> bool {
        self.prepared < self.sector_size
    }
}
