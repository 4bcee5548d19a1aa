//! An STM32 with nothing of ours on it: flash, its ROM loader on a UART (AN3155), reset and boot lines, and power.
//!
//! Bytes in, bytes out; written from the application note alone, and checked with Debian's `stm32flash`
//! (`tests/peers/stm32flash.sh`).
//!
//! | on a reset | BOOT0 | the chip runs |
//! |---|---|---|
//! | | high | the loader |
//! | | low, the flash has a stack pointer and a reset vector | the application, which hears nothing |
//! | | low, the flash has none | nothing |
//!
//! Flash: pages are erased to FF; a word that is not erased stays as it is when it is written; the pages of `protected`
//! always do. The loader acknowledges all of it, as the real one does.

mod chip;
mod noise;
#[cfg(test)]
mod tests;

pub use chip::{CHIPS, Chip, FLASH};
pub use noise::Noise;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

const ACK: u8 = 0x79;
const NACK: u8 = 0x1F;
const RAM: u32 = 0x2000_0000;
const RAM_SIZE: usize = 64 << 10;

/// What the chip does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No power.
    Off,
    /// Held in reset.
    Held,
    /// The loader, before it knows the baud rate.
    Waiting,
    /// The loader.
    Loader,
    /// The application.
    Application,
    /// There is no application.
    Stuck,
}

/// What the loader waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Code,
    Address(u8),
    ReadCount(u32),
    Data(u32),
    Erase,
    ExtendedErase,
}

/// The chip.
pub struct SimRom {
    chip: Chip,
    borders: Vec<usize>,
    flash: Vec<u8>,
    /// Written through, so that a killed process is a power cut.
    file: Option<File>,
    ram: Vec<u8>,
    protected: Vec<u16>,
    state: State,
    boot0: bool,
    part: Part,
    received: Vec<u8>,
    /// The power goes in the middle of this operation of the flash, counted down.
    cut_in: Option<u32>,
    operations: u64,
    page_time: Duration,
}

impl SimRom {
    /// A chip with erased flash, running from BOOT0 low.
    pub fn new(chip: Chip) -> SimRom {
        let mut rom = SimRom {
            borders: chip.borders(),
            flash: vec![0xFF; chip.flash_size()],
            chip,
            file: None,
            ram: vec![0; RAM_SIZE],
            protected: Vec::new(),
            state: State::Held,
            boot0: false,
            part: Part::Code,
            received: Vec::new(),
            cut_in: None,
            operations: 0,
            page_time: Duration::ZERO,
        };
        rom.boot();
        rom
    }

    /// The same with its flash in a file; `factory` is what a new one holds.
    ///
    /// # Errors
    /// The file cannot be used, or has another size.
    pub fn open(chip: Chip, path: &Path, factory: &[u8]) -> io::Result<SimRom> {
        let mut rom = SimRom::new(chip);
        let new = !path.try_exists()?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(path)?;
        if new {
            rom.flash[..factory.len()].copy_from_slice(factory);
            file.write_all_at(&rom.flash, 0)?;
        } else {
            file.read_exact_at(&mut rom.flash, 0)?;
        }
        rom.file = Some(file);
        rom.boot();
        Ok(rom)
    }

    /// Pages that are write-protected, by their numbers.
    pub fn protect(&mut self, pages: &[u16]) {
        self.protected = pages.to_vec();
    }

    /// What it does.
    pub fn state(&self) -> State {
        self.state
    }

    /// What is in its flash.
    pub fn flash(&self) -> &[u8] {
        &self.flash
    }

    /// Puts an image at the flash's begin, as a programmer does.
    pub fn load(&mut self, image: &[u8]) {
        self.flash.fill(0xFF);
        self.flash[..image.len()].copy_from_slice(image);
        self.boot();
    }

    /// Erases and writes that were done.
    pub fn operations(&self) -> u64 {
        self.operations
    }

    /// The power goes in the middle of the operation of the flash that comes after `count` others.
    pub fn cut_in(&mut self, count: u32) {
        self.cut_in = Some(count);
    }

    /// Takes or gives power.
    pub fn power(&mut self, on: bool) {
        self.cut_in = None;
        if on == (self.state != State::Off) {
            return;
        }
        self.state = State::Off;
        if on {
            self.boot();
        }
    }

    /// The lines: BOOT0 high; NRST low.
    pub fn lines(&mut self, boot0: bool, reset: bool) {
        self.boot0 = boot0;
        match (self.state, reset) {
            (State::Off, _) => {}
            (_, true) => self.state = State::Held,
            (State::Held, false) => self.boot(),
            (_, false) => {}
        }
    }

    fn boot(&mut self) {
        self.part = Part::Code;
        self.received.clear();
        let vector = |at: usize| self.flash[at..at + 4] != [0xFF; 4];
        self.state = match self.boot0 {
            true => State::Waiting,
            false if vector(0) && vector(4) => State::Application,
            false => State::Stuck,
        };
    }

    /// Takes a byte from its UART; what it answers is appended to `out`.
    pub fn on_byte(&mut self, byte: u8, out: &mut Vec<u8>) {
        match self.state {
            State::Waiting if byte == 0x7F => {
                self.state = State::Loader;
                out.push(ACK);
            }
            State::Loader => {
                self.received.push(byte);
                if let Some(part) = self.part(out) {
                    self.part = part;
                    self.received.clear();
                }
            }
            _ => {}
        }
    }

    /// Looks whether the part is whole, does what it says and gives what is waited for next.
    fn part(&mut self, out: &mut Vec<u8>) -> Option<Part> {
        let got = &self.received;
        match self.part {
            Part::Code if got.len() == 2 => Some(self.command(out)),
            Part::Address(code) if got.len() == 5 => {
                let address = u32::from_be_bytes([got[0], got[1], got[2], got[3]]);
                if xor(got) != 0 || self.place(address, 1).is_none() {
                    return Some(refuse(out));
                }
                out.push(ACK);
                Some(match code {
                    0x11 => Part::ReadCount(address),
                    0x31 => Part::Data(address),
                    _ => self.go(address),
                })
            }
            Part::ReadCount(address) if got.len() == 2 => {
                let len = usize::from(got[0]) + 1;
                match self.place(address, len) {
                    Some(bytes) if got[1] == !got[0] => {
                        out.push(ACK);
                        out.extend_from_slice(bytes);
                        Some(Part::Code)
                    }
                    _ => Some(refuse(out)),
                }
            }
            Part::Data(address) if got.len() > 1 && got.len() == usize::from(got[0]) + 3 => {
                let got = std::mem::take(&mut self.received);
                let data = &got[1..got.len() - 1];
                let whole = data.len().is_multiple_of(4) && address.is_multiple_of(4);
                if xor(&got) != 0 || !whole || self.place(address, data.len()).is_none() {
                    return Some(refuse(out));
                }
                if address >= RAM {
                    let at = (address - RAM) as usize;
                    self.ram[at..at + data.len()].copy_from_slice(data);
                } else if !self.write((address - FLASH) as usize, data) {
                    return Some(Part::Code);
                }
                out.push(ACK);
                Some(Part::Code)
            }
            Part::Erase => self.erase_part(out),
            Part::ExtendedErase => self.extended_erase_part(out),
            _ => None,
        }
    }

    fn command(&mut self, out: &mut Vec<u8>) -> Part {
        let erase = if self.chip.extended { 0x44 } else { 0x43 };
        let code = self.received[0];
        if self.received[1] != !code {
            return refuse(out);
        }
        match code {
            0x00 => {
                let codes = [0x00, 0x01, 0x02, 0x11, 0x21, 0x31, erase];
                out.extend_from_slice(&[ACK, codes.len() as u8, 0x31]);
                out.extend_from_slice(&codes);
                out.push(ACK);
            }
            0x01 => out.extend_from_slice(&[ACK, 0x31, 0, 0, ACK]),
            0x02 => {
                let [high, low] = self.chip.id.to_be_bytes();
                out.extend_from_slice(&[ACK, 1, high, low, ACK]);
            }
            0x11 | 0x21 | 0x31 => {
                out.push(ACK);
                return Part::Address(code);
            }
            _ if code == erase => {
                out.push(ACK);
                return match self.chip.extended {
                    true => Part::ExtendedErase,
                    false => Part::Erase,
                };
            }
            _ => return refuse(out),
        }
        Part::Code
    }

    fn go(&mut self, address: u32) -> Part {
        // What hosts put into RAM and jump to is a reset.
        match address {
            RAM.. => self.boot(),
            _ => self.state = State::Application,
        }
        Part::Code
    }

    fn erase_part(&mut self, out: &mut Vec<u8>) -> Option<Part> {
        let got = &self.received;
        let pages: Vec<u16> = match (got[0], got.len()) {
            (0xFF, 2) if got[1] == 0 => self.all(),
            (0xFF, 1) => return None,
            (0xFF, _) => return Some(refuse(out)),
            (count, len) if len == usize::from(count) + 3 => {
                if xor(got) != 0 {
                    return Some(refuse(out));
                }
                got[1..len - 1].iter().map(|n| u16::from(*n)).collect()
            }
            _ => return None,
        };
        Some(self.erase_pages(&pages, out))
    }

    fn extended_erase_part(&mut self, out: &mut Vec<u8>) -> Option<Part> {
        let got = &self.received;
        if got.len() < 3 {
            return None;
        }
        let count = u16::from_be_bytes([got[0], got[1]]);
        let pages: Vec<u16> = match (count, got.len()) {
            (0xFFFF, 3) if xor(got) == 0 => self.all(),
            (0xFFF0.., _) => return Some(refuse(out)),
            (_, len) if len == 2 * usize::from(count) + 5 => {
                if xor(got) != 0 {
                    return Some(refuse(out));
                }
                let page = |pair: &[u8]| u16::from_be_bytes([pair[0], pair[1]]);
                got[2..len - 1].chunks(2).map(page).collect()
            }
            _ => return None,
        };
        Some(self.erase_pages(&pages, out))
    }

    /// Every page, the first one last: no order is promised.
    fn all(&self) -> Vec<u16> {
        (0..self.borders.len() as u16 - 1).rev().collect()
    }

    fn erase_pages(&mut self, pages: &[u16], out: &mut Vec<u8>) -> Part {
        if pages
            .iter()
            .any(|n| usize::from(*n) + 1 >= self.borders.len())
        {
            return refuse(out);
        }
        for page in pages {
            let (from, to) = (
                self.borders[usize::from(*page)],
                self.borders[usize::from(*page) + 1],
            );
            if self.protected.contains(page) {
                continue;
            }
            let to = match self.operation() {
                true => to,
                false => from + (to - from) / 2,
            };
            self.flash[from..to].fill(0xFF);
            self.keep(from, to);
            std::thread::sleep(self.page_time);
            if self.state == State::Off {
                return Part::Code;
            }
        }
        out.push(ACK);
        Part::Code
    }

    /// From now on the erase of a page takes so long.
    pub fn slow(&mut self, page_time: Duration) {
        self.page_time = page_time;
    }

    /// Whether the power was there to its end.
    fn write(&mut self, at: usize, data: &[u8]) -> bool {
        let whole = self.operation();
        let len = if whole { data.len() } else { data.len() / 2 };
        let word = self.chip.word as usize;
        for (number, new) in data[..len].chunks(word).enumerate() {
            let at = at + number * word;
            let page = self.borders.partition_point(|border| *border <= at) as u16 - 1;
            let end = (at + word).min(self.flash.len());
            let old = &mut self.flash[at..end];
            if !self.protected.contains(&page) && old.iter().all(|byte| *byte == 0xFF) {
                old[..new.len()].copy_from_slice(new);
            }
        }
        self.keep(at, at + data.len());
        whole
    }

    /// Counts an operation of the flash; whether the power stays.
    fn operation(&mut self) -> bool {
        self.operations += 1;
        let Some(left) = self.cut_in else {
            return true;
        };
        self.cut_in = left.checked_sub(1);
        if self.cut_in.is_none() {
            self.state = State::Off;
        }
        self.cut_in.is_some()
    }

    fn keep(&self, from: usize, to: usize) {
        if let Some(file) = &self.file
            && let Err(error) = file.write_all_at(&self.flash[from..to], from as u64)
        {
            tracing::error!("the flash's file: {error}");
        }
    }

    fn place(&self, address: u32, len: usize) -> Option<&[u8]> {
        let (memory, at) = match address {
            RAM.. => (&self.ram, address - RAM),
            FLASH.. => (&self.flash, address - FLASH),
            _ => return None,
        };
        memory.get(at as usize..at as usize + len)
    }
}

fn refuse(out: &mut Vec<u8>) -> Part {
    out.push(NACK);
    Part::Code
}

fn xor(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum ^ byte)
}
