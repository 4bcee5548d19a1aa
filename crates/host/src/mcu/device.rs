//! The flash of the simulated MCU: boot records, two slots, and what a power cut may do to them.
//!
//! | area | size | holds |
//! |---|---|---|
//! | record 0, record 1 | [`area`] each | boot record (256 bytes) and the marks of its download |
//! | slot 0, slot 1 | slot size, whole pages | the running image and the next one |
//!
//! | power goes while | the next boot finds |
//! |---|---|
//! | a record area is erased or written | the other record, one number older: the old image, the old progress |
//! | a slot page is erased or written | no mark for it: the page is erased and fetched again |
//! | a mark is written | the mark or not: at worst one page is fetched again |
//! | the swap's record is written | the old image (and the complete download) or the new image |
//!
//! A record is never changed: a new one goes into the other area, and of two valid ones the higher
//! number counts. The slot being written is never the one that runs.

use embedded_storage::nor_flash::NorFlash;
use md5::Md5;
use sha2::{Digest, Sha256};
use sota_errors::McuError;
use sota_mutants::{Mutant, active};

const RECORD: u32 = 256;
const MARK: u32 = 16;
const MAGIC: &[u8; 4] = b"SMB1";
const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);

/// An image that runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// The version the MCU announces, at most 64 bytes.
    pub version: String,
    /// Bytes; 0 for the image the MCU was made with.
    pub length: u32,
    /// SHA-256 over the image.
    pub sha256: [u8; 32],
}

/// What 10701 told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Package {
    /// Bytes.
    pub length: u32,
    /// MD5, if told.
    pub md5: Option<[u8; 16]>,
    /// CRC-32/ISO-HDLC, if told.
    pub crc32: Option<u32>,
    /// SHA-256, if told.
    pub sha256: Option<[u8; 32]>,
}

/// An upgrade that was confirmed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    /// Version after it; empty if the plan named none.
    pub target: String,
    /// `None` before 10701.
    pub package: Option<Package>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Record {
    number: u32,
    slot: u8,
    running: Image,
    pending: Option<Pending>,
    base: u32,
}

/// Bytes of one record area on a flash with pages of `erase_size`.
pub const fn area(erase_size: usize) -> u32 {
    (1024usize.div_ceil(erase_size) * erase_size) as u32
}

/// Bytes of flash a device with slots of `slot_size` bytes needs.
pub const fn flash_size(erase_size: usize, slot_size: u32) -> u32 {
    2 * area(erase_size) + 2 * slot_size.next_multiple_of(erase_size as u32)
}

/// The MCU's flash and what it holds.
pub struct Device<F> {
    flash: F,
    slot_size: u32,
    record: Record,
    area: u32,
    marks: u32,
    /// Next byte of the package that is wanted; bytes before it are in flash or in `tail`.
    place: u32,
    /// Bytes too few for one write.
    tail: Vec<u8>,
}

fn flash<T, E>(result: Result<T, E>) -> Result<T, McuError> {
    result.map_err(|_| McuError::McuFlash)
}

impl<F: NorFlash> Device<F> {
    const PAGE: u32 = F::ERASE_SIZE as u32;
    const AREA: u32 = area(F::ERASE_SIZE);

    /// Boots: the newest whole record decides. A flash without one runs the image of the factory,
    /// called `version`.
    pub fn boot(flash: F, slot_size: u32, version: &str) -> Result<Self, McuError> {
        let mut device = Device {
            flash,
            slot_size: slot_size.next_multiple_of(Self::PAGE),
            record: Record::default(),
            area: 0,
            marks: 0,
            place: 0,
            tail: Vec::new(),
        };
        if !(MARK as usize).is_multiple_of(F::WRITE_SIZE)
            || (device.flash.capacity() as u64) < u64::from(flash_size(F::ERASE_SIZE, slot_size))
        {
            return Err(McuError::SlotTooSmall);
        }
        let mut found = None;
        for area in 0..2 {
            let mut bytes = [0; RECORD as usize];
            self::flash(device.flash.read(area * Self::AREA, &mut bytes))?;
            if let Some(record) = decode(&bytes)
                && found
                    .as_ref()
                    .is_none_or(|(_, newest): &(u32, Record)| record.number > newest.number)
            {
                found = Some((area, record));
            }
        }
        match found {
            Some((area, record)) => {
                device.area = area;
                device.record = record;
                device.count_marks()?;
            }
            None => {
                device.area = 1;
                device.record.running = Image {
                    version: version.into(),
                    length: 0,
                    sha256: Sha256::digest([]).into(),
                };
                // A flash that cannot be written runs the factory's image all the same.
                let _ = device.store(device.record.clone());
            }
        }
        Ok(device)
    }

    /// The image that runs.
    pub fn running(&self) -> &Image {
        &self.record.running
    }

    /// The upgrade under way.
    pub fn pending(&self) -> Option<&Pending> {
        self.record.pending.as_ref()
    }

    /// The package under way.
    pub fn package(&self) -> Option<&Package> {
        self.record.pending.as_ref()?.package.as_ref()
    }

    /// Next byte of the package that is wanted.
    pub fn place(&self) -> u32 {
        self.place
    }

    /// Bytes of one slot.
    pub fn slot_size(&self) -> u32 {
        self.slot_size
    }

    /// The flash, for another boot.
    pub fn into_flash(self) -> F {
        self.flash
    }

    /// Remembers the plan before it is confirmed: after a reset 10700 does not come again. The same
    /// target keeps what is already downloaded.
    pub fn expect(&mut self, target: &str) -> Result<(), McuError> {
        if self
            .pending()
            .is_some_and(|pending| pending.target == target)
        {
            return Ok(());
        }
        let pending = Some(Pending {
            target: target.into(),
            package: None,
        });
        self.store(Record {
            pending,
            base: 0,
            ..self.record.clone()
        })
    }

    /// Takes 10701; the same package again goes on at its place.
    pub fn announce(&mut self, package: Package) -> Result<(), McuError> {
        let Some(pending) = self.pending().cloned() else {
            return Ok(());
        };
        if pending.package.as_ref() == Some(&package) {
            return Ok(());
        }
        if package.length > self.slot_size {
            self.forget()?;
            return Err(McuError::SlotTooSmall);
        }
        self.store(Record {
            pending: Some(Pending {
                package: Some(package),
                ..pending
            }),
            base: 0,
            ..self.record.clone()
        })
    }

    /// Drops the package but not the plan: 10701 begins anew.
    pub fn restart(&mut self) -> Result<(), McuError> {
        let pending = self.pending().cloned().map(|pending| Pending {
            package: None,
            ..pending
        });
        self.store(Record {
            pending,
            base: 0,
            ..self.record.clone()
        })
    }

    /// Drops the upgrade; the running image stays.
    pub fn forget(&mut self) -> Result<(), McuError> {
        if self.pending().is_none() {
            return Ok(());
        }
        self.store(Record {
            pending: None,
            base: 0,
            ..self.record.clone()
        })
    }

    /// Writes the bytes at [`Device::place`] into the other slot.
    pub fn append(&mut self, mut bytes: &[u8]) -> Result<(), McuError> {
        let length = self.package().map_or(0, |package| package.length);
        let wanted = (length - self.place) as usize;
        bytes = &bytes[..bytes.len().min(wanted)];
        while !bytes.is_empty() {
            let in_page = self.place % Self::PAGE;
            let n = bytes.len().min((Self::PAGE - in_page) as usize);
            let (now, later) = bytes.split_at(n);
            bytes = later;
            let slot = self.slot_start(1 - self.record.slot);
            if in_page == 0 {
                let from = slot + self.place;
                flash(self.flash.erase(from, from + Self::PAGE))?;
            }
            let at = slot + self.place - self.tail.len() as u32;
            self.tail.extend_from_slice(now);
            let end = self.place + n as u32;
            if end == length {
                let whole = self.tail.len().next_multiple_of(F::WRITE_SIZE);
                self.tail.resize(whole, 0xff);
            }
            let whole = self.tail.len() - self.tail.len() % F::WRITE_SIZE;
            let page_ends = end == length || end.is_multiple_of(Self::PAGE);
            if page_ends && active(Mutant::MarkBeforePage) {
                self.mark()?;
            }
            flash(self.flash.write(at, &self.tail[..whole]))?;
            self.tail.drain(..whole);
            self.place = end;
            if page_ends && !active(Mutant::MarkBeforePage) {
                self.mark()?;
            }
        }
        Ok(())
    }

    /// After a failed flash operation: only what the marks say counts.
    pub fn reload(&mut self) -> Result<(), McuError> {
        self.tail.clear();
        self.count_marks()
    }

    /// Whether 10701 told a digest of the package in hand.
    pub fn has_digest(&self) -> bool {
        self.package()
            .is_some_and(|p| p.md5.is_some() || p.crc32.is_some() || p.sha256.is_some())
    }

    /// Compares what is in the other slot with everything 10701 told. A server that knows no digest (a foreign
    /// one, by /9) leaves the length alone: then every byte was read twice over the UART.
    pub fn verify(&mut self) -> Result<bool, McuError> {
        let Some(package) = self.package().cloned() else {
            return Ok(false);
        };
        if self.place != package.length {
            return Ok(false);
        }
        let (md5, crc32, sha256) = self.digests(1 - self.record.slot, package.length)?;
        Ok(package.md5.is_none_or(|told| told == md5)
            && package.crc32.is_none_or(|told| told == crc32)
            && package.sha256.is_none_or(|told| told == sha256))
    }

    /// Makes the other slot the running one: one record, so it happened or it did not. A plan without
    /// a target gives a version made from the image's SHA-256.
    pub fn swap(&mut self) -> Result<(), McuError> {
        let Some(pending) = self.pending().cloned() else {
            return Ok(());
        };
        let length = pending.package.map_or(0, |package| package.length);
        let slot = 1 - self.record.slot;
        let (_, _, sha256) = self.digests(slot, length)?;
        let version = if pending.target.is_empty() {
            format!("img-{}", hex::encode(&sha256[..4]))
        } else {
            pending.target
        };
        self.store(Record {
            slot,
            running: Image {
                version,
                length,
                sha256,
            },
            pending: None,
            base: 0,
            ..self.record.clone()
        })
    }

    /// The running image as it stands in the flash now; empty for the factory's.
    pub fn running_image(&mut self) -> Result<Vec<u8>, McuError> {
        let mut image = vec![0; self.record.running.length as usize];
        let start = self.slot_start(self.record.slot);
        flash(self.flash.read(start, &mut image))?;
        Ok(image)
    }

    /// SHA-256 over the running image as it stands in the flash now.
    pub fn running_sha256(&mut self) -> Result<[u8; 32], McuError> {
        let (slot, length) = (self.record.slot, self.record.running.length);
        Ok(self.digests(slot, length)?.2)
    }

    fn slot_start(&self, slot: u8) -> u32 {
        2 * Self::AREA + u32::from(slot) * self.slot_size
    }

    fn digests(&mut self, slot: u8, length: u32) -> Result<([u8; 16], u32, [u8; 32]), McuError> {
        let (mut md5, mut sha256, mut crc32) = (Md5::new(), Sha256::new(), CRC.digest());
        let start = self.slot_start(slot);
        let mut buffer = vec![0; F::ERASE_SIZE];
        for from in (0..length).step_by(F::ERASE_SIZE) {
            flash(self.flash.read(start + from, &mut buffer))?;
            let part = &buffer[..buffer.len().min((length - from) as usize)];
            md5.update(part);
            sha256.update(part);
            crc32.update(part);
        }
        Ok((
            md5.finalize().into(),
            crc32.finalize(),
            sha256.finalize().into(),
        ))
    }

    /// Writes `record` into the older area; only then does it count here too.
    fn store(&mut self, mut record: Record) -> Result<(), McuError> {
        record.number = self.record.number + 1;
        let area = 1 - self.area;
        let from = area * Self::AREA;
        flash(self.flash.erase(from, from + Self::AREA))?;
        flash(self.flash.write(from, &encode(&record)))?;
        self.area = area;
        self.marks = 0;
        self.place = record.base;
        self.tail.clear();
        self.record = record;
        Ok(())
    }

    /// One more page of the slot is whole. Without room for a mark a new record carries the progress.
    fn mark(&mut self) -> Result<(), McuError> {
        let at = RECORD + self.marks * MARK;
        if at + MARK > Self::AREA {
            let base = self.place;
            return self.store(Record {
                base,
                ..self.record.clone()
            });
        }
        flash(
            self.flash
                .write(self.area * Self::AREA + at, &[0; MARK as usize]),
        )?;
        self.marks += 1;
        Ok(())
    }

    fn count_marks(&mut self) -> Result<(), McuError> {
        let mut marks = vec![0; (Self::AREA - RECORD) as usize];
        flash(self.flash.read(self.area * Self::AREA + RECORD, &mut marks))?;
        let erased = |mark: &[u8]| mark.iter().all(|byte| *byte == 0xff);
        self.marks = marks
            .chunks(MARK as usize)
            .take_while(|mark| !erased(mark))
            .count() as u32;
        let length = self.package().map_or(0, |package| package.length);
        self.place = length.min(self.record.base + self.marks * Self::PAGE);
        Ok(())
    }
}

fn encode(record: &Record) -> [u8; RECORD as usize] {
    let mut out = Vec::with_capacity(RECORD as usize);
    let text = |out: &mut Vec<u8>, text: &str| {
        let mut field = [0; 65];
        let n = text.len().min(64);
        field[0] = n as u8;
        field[1..=n].copy_from_slice(&text.as_bytes()[..n]);
        out.extend_from_slice(&field);
    };
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&record.number.to_le_bytes());
    out.push(record.slot);
    text(&mut out, &record.running.version);
    out.extend_from_slice(&record.running.length.to_le_bytes());
    out.extend_from_slice(&record.running.sha256);
    out.extend_from_slice(&record.base.to_le_bytes());
    let pending = record.pending.clone().unwrap_or_default();
    let package = pending.package.clone().unwrap_or_default();
    let flags = [
        record.pending.is_some(),
        pending.package.is_some(),
        package.md5.is_some(),
        package.crc32.is_some(),
        package.sha256.is_some(),
    ];
    out.push(
        flags
            .iter()
            .rev()
            .fold(0, |all, flag| all << 1 | u8::from(*flag)),
    );
    text(&mut out, &pending.target);
    out.extend_from_slice(&package.length.to_le_bytes());
    out.extend_from_slice(&package.md5.unwrap_or_default());
    out.extend_from_slice(&package.crc32.unwrap_or_default().to_le_bytes());
    out.extend_from_slice(&package.sha256.unwrap_or_default());
    out.resize(RECORD as usize - 4, 0);
    let crc = CRC.checksum(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    let mut bytes = [0; RECORD as usize];
    bytes.copy_from_slice(&out);
    bytes
}

fn decode(bytes: &[u8; RECORD as usize]) -> Option<Record> {
    fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
        let (field, later) = rest.split_first_chunk::<N>()?;
        *rest = later;
        Some(*field)
    }
    fn text(rest: &mut &[u8]) -> Option<String> {
        let field = take::<65>(rest)?;
        String::from_utf8(field.get(1..=usize::from(field[0]))?.to_vec()).ok()
    }
    fn number(rest: &mut &[u8]) -> Option<u32> {
        take(rest).map(u32::from_le_bytes)
    }
    let (body, crc) = bytes.split_last_chunk::<4>()?;
    if CRC.checksum(body) != u32::from_le_bytes(*crc) {
        return None;
    }
    let mut rest = body.strip_prefix(MAGIC)?;
    let rest = &mut rest;
    let (seq, [slot]) = (number(rest)?, take(rest)?);
    let running = Image {
        version: text(rest)?,
        length: number(rest)?,
        sha256: take(rest)?,
    };
    let (base, [flags]) = (number(rest)?, take(rest)?);
    let target = text(rest)?;
    let flag = |bit: u8| flags >> bit & 1 == 1;
    let package = Package {
        length: number(rest)?,
        md5: take(rest).filter(|_| flag(2)),
        crc32: number(rest).filter(|_| flag(3)),
        sha256: take(rest).filter(|_| flag(4)),
    };
    let pending = flag(0).then(|| Pending {
        target,
        package: flag(1).then_some(package),
    });
    Some(Record {
        number: seq,
        slot: slot & 1,
        running,
        pending,
        base,
    })
}
