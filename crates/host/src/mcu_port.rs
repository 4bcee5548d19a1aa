//! An MCU on a PC: the loop around the simulated MCU, its UART and its flash file.

use crate::clock::HostClock;
use crate::flash::{FileFlash, OpenError};
use crate::mcu::device::{Device, flash_size};
use crate::mcu::{Config, Mcu, McuEvent, Status};
use crate::serial::{Change, Serial};
use crate::wake::{self, Sleeper, Wake};
use sota::platform::Clock;
use sota_errors::McuError;
use std::path::{Path, PathBuf};

/// Erase page of the MCU's flash in bytes.
pub const MCU_PAGE: usize = 4096;
/// Write size of the MCU's flash in bytes.
pub const MCU_WRITE: usize = 8;
/// The MCU's flash.
pub type McuFlash = FileFlash<MCU_PAGE, MCU_WRITE>;

/// The flash file inside an MCU's state folder.
pub fn flash_path(state: &Path) -> PathBuf {
    state.join("mcu-flash.bin")
}

/// Opens the flash of an MCU with two slots of `slot_size` bytes each.
///
/// # Errors
/// As for [`FileFlash::open`].
pub fn open_flash(state: &Path, slot_size: u32) -> Result<McuFlash, OpenError> {
    McuFlash::open(&flash_path(state), flash_size(MCU_PAGE, slot_size))
}

/// What an MCU would boot now, read from its flash by itself: the version and the image.
///
/// # Errors
/// The flash cannot be read.
pub fn running(flash: McuFlash, slot_size: u32) -> Result<(String, Vec<u8>), McuError> {
    let mut device = Device::boot(flash, slot_size, "")?;
    let version = device.running().version.clone();
    Ok((version, device.running_image()?))
}

/// Why an MCU did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its flash cannot be used.
    #[error("{0}")]
    Mcu(#[from] McuError),
    /// No descriptors left.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// What the program hears.
#[derive(Clone, Debug)]
pub enum Heard {
    /// Of the MCU.
    Mcu(McuEvent),
    /// Of its UART.
    Uart(Change),
}

/// An MCU, its UART and its clock.
pub struct McuPort {
    mcu: Mcu<McuFlash>,
    serial: Serial,
    clock: HostClock,
    sleeper: Sleeper,
    /// Taken from the machine, not yet by the UART.
    out: Vec<u8>,
}

impl McuPort {
    /// Boots the MCU from its flash. The [`Wake`] ends a sleep inside [`McuPort::step`].
    ///
    /// # Errors
    /// The flash cannot be used, or no descriptors are left.
    pub fn new(
        config: Config,
        flash: McuFlash,
        serial: Serial,
    ) -> Result<(McuPort, Wake), StartError> {
        let (wake, sleeper) = wake::pair()?;
        let port = McuPort {
            mcu: Mcu::new(config, flash)?,
            serial,
            clock: HostClock::start(),
            sleeper,
            out: Vec::new(),
        };
        Ok((port, wake))
    }

    /// What the MCU shows.
    pub fn status(&self) -> Status {
        self.mcu.status()
    }

    /// SHA-256 over the running image as it stands in the flash now.
    ///
    /// # Errors
    /// The flash cannot be read.
    pub fn running_sha256(&mut self) -> Result<[u8; 32], McuError> {
        self.mcu.running_sha256()
    }

    /// One round: what is there to receive, to do and to send; then sleeps until there is more.
    pub fn step(&mut self, heard: &mut dyn FnMut(Heard)) {
        let now = self.clock.now();
        if let Some(change) = self.serial.reopen(now) {
            heard(Heard::Uart(change));
        }
        let mut bytes = [0; 2048];
        match self.serial.read(now, &mut bytes) {
            Ok(0) => self.mcu.poll(now),
            Ok(count) => self.mcu.on_bytes(now, &bytes[..count]),
            Err(change) => heard(Heard::Uart(change)),
        }
        self.send(now, heard);
        let mut told = false;
        while let Some(event) = self.mcu.next_event() {
            heard(Heard::Mcu(event));
            told = true;
        }
        if told {
            return; // before the sleep
        }
        let at = self.mcu.deadline();
        let at = self.serial.retry_at().map_or(at, |retry| at.min(retry));
        let ms = at.saturating_sub(self.clock.now());
        let fd = self.serial.fd();
        let write = fd.filter(|_| !self.out.is_empty());
        self.sleeper.sleep(fd.as_slice(), write, Some(ms));
    }

    fn send(&mut self, now: u64, heard: &mut dyn FnMut(Heard)) {
        let next = |out: &mut [u8]| self.mcu.next_bytes(out);
        if let Err(change) = self.serial.send(now, &mut self.out, next) {
            heard(Heard::Uart(change));
        }
    }
}
