//! The border to `port.c`, the only `unsafe` here.

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};

unsafe extern "C" {
    fn port_word() -> u32;
    fn port_take(to: *mut u8, length: usize);
    fn port_give(from: *const u8, length: usize);
}

/// A word nobody can guess.
pub fn word() -> u32 {
    // SAFETY: reads one device register, takes no pointer.
    unsafe { port_word() }
}

/// Fills `to` with bytes nobody can guess.
pub fn take(to: &mut [u8]) {
    // SAFETY: writes `to.len()` bytes to a slice of that length.
    unsafe { port_take(to.as_mut_ptr(), to.len()) }
}

/// Hands `from` to the outside.
pub fn give(from: &[u8]) {
    // SAFETY: reads `from.len()` bytes of a slice of that length.
    unsafe { port_give(from.as_ptr(), from.len()) }
}

struct Section;
critical_section::set_impl!(Section);
// SAFETY: the image has one thread and no interrupt, so there is nothing to keep out.
unsafe impl critical_section::Impl for Section {
    unsafe fn acquire() {}
    unsafe fn release(_: ()) {}
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        give(&[0]);
    }
}

/// NOR flash like the nRF9160's: 4 KiB pages, 4-byte words.
pub struct Nor(pub u32);

#[derive(Debug)]
pub struct Failed;

impl NorFlashError for Failed {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::Other
    }
}

impl ErrorType for Nor {
    type Error = Failed;
}

fn outcome() -> Result<(), Failed> {
    if word() == 0 { Ok(()) } else { Err(Failed) }
}

impl ReadNorFlash for Nor {
    const READ_SIZE: usize = 1;
    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Failed> {
        give(&(offset ^ self.0).to_le_bytes());
        take(bytes);
        outcome()
    }
    fn capacity(&self) -> usize {
        word() as usize
    }
}

impl NorFlash for Nor {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = 4096;
    fn erase(&mut self, from: u32, to: u32) -> Result<(), Failed> {
        give(&(from ^ self.0).to_le_bytes());
        give(&to.to_le_bytes());
        outcome()
    }
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Failed> {
        give(&(offset ^ self.0).to_le_bytes());
        give(bytes);
        outcome()
    }
}
