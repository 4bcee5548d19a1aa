//! The port of the size images: every byte in and out is a volatile register (`../size/port.c`), so that no path that some
//! byte reaches is dropped.
#![no_std]

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};
use sota_mcu::Layout;

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

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        give(&[0]);
    }
}

/// NOR flash as an STM32F1's: pages of 1 KiB, words of 4 bytes.
pub struct Nor;

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
        give(&offset.to_le_bytes());
        take(bytes);
        outcome()
    }
    fn capacity(&self) -> usize {
        128 * 1024
    }
}

impl NorFlash for Nor {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = 1024;
    fn erase(&mut self, from: u32, to: u32) -> Result<(), Failed> {
        give(&from.to_le_bytes());
        give(&to.to_le_bytes());
        outcome()
    }
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Failed> {
        give(&offset.to_le_bytes());
        give(bytes);
        outcome()
    }
}

/// A layout as a product has it: known when it is built.
pub const LAYOUT: Layout = Layout {
    active: 8 * 1024,
    active_len: 58 * 1024,
    other: 66 * 1024,
    other_len: 60 * 1024,
    page: 1024,
    state: 126 * 1024,
    state_page: 1024,
    word: 4,
};

/// Milliseconds.
pub fn now() -> u64 {
    u64::from(word()) << 8 | u64::from(word())
}
