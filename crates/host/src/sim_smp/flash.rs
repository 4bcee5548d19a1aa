//! Two slots, MCUboot's word about them, and power that goes in the middle of an operation.
//!
//! | in the file | bytes |
//! |---|---|
//! | two records in turn | 4096: sequence number, which half is the primary slot, what the next boot does, CRC-32 |
//! | two halves | a slot each |
//!
//! A swap is one record: MCUboot goes on with a swap that was cut off, so nobody ever sees half of one.
//!
//! | mode | next boot |
//! |---|---|
//! | Confirmed | the primary slot runs |
//! | Test, Permanent | the secondary slot is looked at: good, they are swapped, Trial or Confirmed; bad, it is erased, Confirmed |
//! | Trial | they are swapped back, Confirmed |

use super::image::{self, Info, UNSIGNED};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

const RECORDS: usize = 4096;
const RECORD: usize = 16;

/// What the next boot does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nothing.
    Confirmed,
    /// Starts the other image once.
    Test,
    /// Starts the other image for good.
    Permanent,
    /// Goes back to the other image.
    Trial,
}

const MODES: [Mode; 4] = [Mode::Confirmed, Mode::Test, Mode::Permanent, Mode::Trial];

/// The flash.
pub(super) struct Flash {
    bytes: Vec<u8>,
    slot: usize,
    sequence: u32,
    primary: usize,
    pub(super) mode: Mode,
    file: Option<File>,
    /// The power goes in the middle of this operation, counted down.
    pub(super) cut_in: Option<u32>,
    /// This operation fails, counted down.
    pub(super) fail_in: Option<u32>,
    pub(super) operations: u64,
    pub(super) is_cut: bool,
}

impl Flash {
    pub(super) fn new(slot: usize) -> Flash {
        Flash {
            bytes: vec![0xFF; RECORDS + 2 * slot],
            slot,
            sequence: 0,
            primary: 0,
            mode: Mode::Confirmed,
            file: None,
            cut_in: None,
            fail_in: None,
            operations: 0,
            is_cut: false,
        }
    }

    pub(super) fn open(slot: usize, path: &Path, factory: &[u8]) -> io::Result<Flash> {
        let mut flash = Flash::new(slot);
        let new = !path.try_exists()?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(path)?;
        if new {
            flash.load(factory);
            file.write_all_at(&flash.bytes, 0)?;
        } else {
            file.read_exact_at(&mut flash.bytes, 0)?;
            flash.read_record();
        }
        flash.file = Some(file);
        Ok(flash)
    }

    /// Puts an image into the primary slot, as a programmer does.
    pub(super) fn load(&mut self, image: &[u8]) {
        self.bytes.fill(0xFF);
        (self.primary, self.mode) = (0, Mode::Confirmed);
        self.bytes[RECORDS..RECORDS + image.len()].copy_from_slice(image);
        self.keep(0, self.bytes.len());
    }

    fn place(&self, slot: usize) -> usize {
        RECORDS + (self.primary ^ slot) * self.slot
    }

    /// The bytes of slot 0 or 1.
    pub(super) fn slot(&self, slot: usize) -> &[u8] {
        &self.bytes[self.place(slot)..][..self.slot]
    }

    pub(super) fn info(&self, slot: usize) -> Option<Info> {
        image::info(self.slot(slot))
    }

    /// Erases the secondary slot; whether it could.
    pub(super) fn erase(&mut self) -> bool {
        let at = self.place(1);
        let fails = self.fails();
        let whole = self.operation();
        let len = if whole { self.slot } else { self.slot / 2 };
        if !fails {
            self.bytes[at..at + len].fill(0xFF);
            self.keep(at, at + len);
        }
        whole && !fails
    }

    /// Writes to the secondary slot; whether it could.
    pub(super) fn write(&mut self, offset: usize, data: &[u8]) -> bool {
        let at = self.place(1) + offset;
        let fails = self.fails();
        let whole = self.operation();
        let len = if whole { data.len() } else { data.len() / 2 };
        if fails {
            return false;
        }
        for (place, new) in self.bytes[at..at + len].iter_mut().zip(data) {
            *place &= new; // what is not erased is harmed
        }
        self.keep(at, at + len);
        whole
    }

    /// Sets what the next boot does; whether it could.
    pub(super) fn set(&mut self, mode: Mode, swaps: bool) -> bool {
        if !self.operation() {
            return false;
        }
        self.sequence += 1;
        self.primary ^= usize::from(swaps);
        self.mode = mode;
        let mode = MODES.iter().position(|its| *its == mode).unwrap_or(0);
        let mut record = self.sequence.to_le_bytes().to_vec();
        record.extend([self.primary as u8, mode as u8, 0, 0, 0, 0, 0, 0]);
        let crc = crc32(&record);
        record.extend(crc.to_le_bytes());
        let at = (self.sequence as usize % 2) * RECORDS / 2;
        self.bytes[at..at + RECORD].copy_from_slice(&record);
        self.keep(at, at + RECORD);
        true
    }

    fn read_record(&mut self) {
        for at in [0, RECORDS / 2] {
            let record = &self.bytes[at..at + RECORD];
            let word = |at: usize| u32::from_le_bytes(record[at..at + 4].try_into().unwrap());
            let sequence = word(0);
            if crc32(&record[..12]) == word(12) && sequence > self.sequence {
                self.sequence = sequence;
                self.primary = usize::from(record[4] & 1);
                self.mode = MODES[usize::from(record[5] & 3)];
            }
        }
    }

    /// MCUboot. Whether there is an image to start.
    pub(super) fn boot(&mut self) -> bool {
        let good = |info: &Info, slot: &[u8]| info.is_intact(slot) && !info.begins(slot, UNSIGNED);
        let other = self.info(1);
        let is_good = other.is_some_and(|info| good(&info, self.slot(1)));
        let done = match (self.mode, is_good) {
            (Mode::Confirmed, _) => true,
            (Mode::Test, true) => self.set(Mode::Trial, true),
            (Mode::Permanent | Mode::Trial, true) => self.set(Mode::Confirmed, true),
            (Mode::Trial, false) => self.set(Mode::Confirmed, false),
            (Mode::Test | Mode::Permanent, false) => {
                self.erase() && self.set(Mode::Confirmed, false)
            }
        };
        let first = self.info(0);
        done && first.is_some_and(|info| info.is_intact(self.slot(0)))
    }

    fn fails(&mut self) -> bool {
        let Some(left) = self.fail_in else {
            return false;
        };
        self.fail_in = left.checked_sub(1);
        self.fail_in.is_none()
    }

    /// Counts an operation; whether the power stays.
    fn operation(&mut self) -> bool {
        self.operations += 1;
        if self.is_cut {
            return false;
        }
        let Some(left) = self.cut_in else {
            return true;
        };
        self.cut_in = left.checked_sub(1);
        self.is_cut = self.cut_in.is_none();
        !self.is_cut
    }

    fn keep(&self, from: usize, to: usize) {
        if let Some(file) = &self.file
            && let Err(error) = file.write_all_at(&self.bytes[from..to], from as u64)
        {
            tracing::error!("the flash's file: {error}");
        }
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(bytes)
}
