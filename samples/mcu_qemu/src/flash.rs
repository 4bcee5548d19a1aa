//! NOR flash in the board's PSRAM, as slow as a real one: what a kill of QEMU cuts short stays cut short.

use core::ptr::{read_volatile, write_volatile};
use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
};

/// Where the flash begins in the memory.
pub const FLASH: usize = 0x2100_0000;

/// The flash. There is one.
pub struct Nor(());

impl Nor {
    /// Bytes erased at once.
    pub const PAGE: u32 = 4096;
    const SIZE: usize = 1024 * 1024;
    /// Cycles that erasing a page and writing 8 bytes take besides the copying. QEMU runs some hundred million in a second:
    /// that makes several milliseconds a page.
    const ERASE: u32 = 2_000_000;
    const WRITE: u32 = 5_000;

    /// # Safety
    /// Once only.
    pub const unsafe fn new() -> Nor {
        Nor(())
    }

    fn put(at: u32, byte: u8) {
        // SAFETY: `check_*` keeps it inside the flash, which is plain memory that nothing else refers to.
        unsafe { write_volatile((FLASH + at as usize) as *mut u8, byte) }
    }
}

impl ErrorType for Nor {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Nor {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        check_read(self, offset, bytes.len())?;
        for (i, byte) in bytes.iter_mut().enumerate() {
            // SAFETY: as in `put`.
            *byte = unsafe { read_volatile((FLASH + offset as usize + i) as *const u8) };
        }
        Ok(())
    }

    fn capacity(&self) -> usize {
        Self::SIZE
    }
}

impl NorFlash for Nor {
    const WRITE_SIZE: usize = 8;
    const ERASE_SIZE: usize = Self::PAGE as usize;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        check_erase(self, from, to)?;
        for at in from..to {
            Self::put(at, 0xFF);
            if at % 256 == 0 {
                cortex_m::asm::delay(Self::ERASE / 16);
            }
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        check_write(self, offset, bytes.len())?;
        for (at, byte) in (offset..).zip(bytes) {
            Self::put(at, *byte);
            if at % 8 == 7 {
                cortex_m::asm::delay(Self::WRITE);
            }
        }
        Ok(())
    }
}
