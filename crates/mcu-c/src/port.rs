//! What the C side gives: functions and a layout.

use core::ffi::c_void;
use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};
use sota_mcu::Layout;

/// What a port gives. Every function gets `context` as it is. None may call a function of this library.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct sota_mcu_port {
    /// Handed to each function.
    pub context: *mut c_void,
    /// Reads `length` bytes; address and length are multiples of 4 and of the layout's word. 0: done.
    pub flash_read: Option<
        unsafe extern "C" fn(
            context: *mut c_void,
            address: u32,
            bytes: *mut u8,
            length: u32,
        ) -> i32,
    >,
    /// Writes `length` bytes into erased words; address and length are multiples of the layout's word. `bytes` need not be
    /// aligned. 0: done, and it is in the flash.
    pub flash_write: Option<
        unsafe extern "C" fn(
            context: *mut c_void,
            address: u32,
            bytes: *const u8,
            length: u32,
        ) -> i32,
    >,
    /// Erases one page of the layout to 0xFF; `length` is its size. 0: done.
    pub flash_erase:
        Option<unsafe extern "C" fn(context: *mut c_void, address: u32, length: u32) -> i32>,
    /// Gives up to `length` received bytes, and how many. Does not wait.
    pub uart_read:
        Option<unsafe extern "C" fn(context: *mut c_void, bytes: *mut u8, length: u32) -> u32>,
    /// Takes up to `length` bytes to send, and says how many. Does not wait.
    pub uart_write:
        Option<unsafe extern "C" fn(context: *mut c_void, bytes: *const u8, length: u32) -> u32>,
    /// Changes the baud rate when all that was taken has left. May be null where the configuration has no greater rate.
    pub uart_baud: Option<unsafe extern "C" fn(context: *mut c_void, baud: u32)>,
    /// Milliseconds since any moment; may wrap.
    pub now_ms: Option<unsafe extern "C" fn(context: *mut c_void) -> u32>,
    /// Resets the MCU when all that was taken has left. May return where the reset comes a little later.
    pub reset: Option<unsafe extern "C" fn(context: *mut c_void)>,
    /// A plan to this version waits: 0 takes it, 622, 623 or a number of the product's own refuses it. Null: takes every one.
    /// `target` is ended by 0.
    pub plan:
        Option<unsafe extern "C" fn(context: *mut c_void, target: *const u8, space: u32) -> u16>,
    /// The image is whole and verified: 0 installs it now, else it is asked again at the next step. Null: installs at once.
    pub may_install: Option<unsafe extern "C" fn(context: *mut c_void) -> i32>,
    /// Something for the log: a number of the catalogue (docs/errors.md); 0: the upgrade ended well. May be null.
    pub event: Option<unsafe extern "C" fn(context: *mut c_void, number: u16)>,
}

/// Where things lie in the flash: docs/mcu.md. Addresses as `flash_read` takes them, lengths in bytes.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct sota_mcu_layout {
    /// Begin of the active slot.
    pub active: u32,
    /// Its length, whole pages.
    pub active_length: u32,
    /// Begin of the other slot.
    pub other: u32,
    /// Its length, whole pages, at least 4. The last 3 are not for an image.
    pub other_length: u32,
    /// Bytes erased at once in both slots: a multiple of 64.
    pub page: u32,
    /// Begin of the boot state, two pages of `state_page` bytes.
    pub state: u32,
    /// Bytes erased at once there.
    pub state_page: u32,
    /// Bytes written at once: 1, 2, 4, 8 or 16.
    pub word: u32,
}

impl sota_mcu_layout {
    pub(crate) fn layout(&self) -> Layout {
        Layout {
            active: self.active,
            active_len: self.active_length,
            other: self.other,
            other_len: self.other_length,
            page: self.page,
            state: self.state,
            state_page: self.state_page,
            word: self.word,
        }
    }
}

impl sota_mcu_port {
    /// Without any function.
    pub(crate) const NONE: sota_mcu_port = sota_mcu_port {
        context: core::ptr::null_mut(),
        flash_read: None,
        flash_write: None,
        flash_erase: None,
        uart_read: None,
        uart_write: None,
        uart_baud: None,
        now_ms: None,
        reset: None,
        plan: None,
        may_install: None,
        event: None,
    };

    /// Functions that cannot be left out are there.
    pub(crate) fn is_whole(&self, uart: bool) -> bool {
        let flash = self.flash_read.is_some() && self.flash_write.is_some();
        let line = self.uart_read.is_some() && self.uart_write.is_some() && self.now_ms.is_some();
        flash && self.flash_erase.is_some() && (!uart || (line && self.reset.is_some()))
    }

    pub(crate) fn receive(&self, out: &mut [u8]) -> usize {
        // SAFETY: the caller of sota_mcu_start gave a function that fills at most so many bytes of this buffer.
        let n = self.uart_read.map_or(0, |read| unsafe {
            read(self.context, out.as_mut_ptr(), out.len() as u32)
        });
        (n as usize).min(out.len())
    }

    pub(crate) fn send(&self, bytes: &[u8]) -> usize {
        // SAFETY: the function reads at most so many bytes of this buffer.
        let n = self.uart_write.map_or(0, |write| unsafe {
            write(self.context, bytes.as_ptr(), bytes.len() as u32)
        });
        (n as usize).min(bytes.len())
    }

    pub(crate) fn set_baud(&self, baud: u32) {
        if let Some(change) = self.uart_baud {
            // SAFETY: takes no pointer but its own.
            unsafe { change(self.context, baud) }
        }
    }

    pub(crate) fn now(&self) -> u32 {
        // SAFETY: takes no pointer but its own.
        self.now_ms.map_or(0, |now| unsafe { now(self.context) })
    }

    pub(crate) fn reset_now(&self) {
        if let Some(reset) = self.reset {
            // SAFETY: takes no pointer but its own.
            unsafe { reset(self.context) }
        }
    }

    /// `target`: ended by 0.
    pub(crate) fn judge(&self, target: &[u8], space: u32) -> u16 {
        // SAFETY: the text is ended by 0 and lives until the function returns.
        self.plan.map_or(0, |plan| unsafe {
            plan(self.context, target.as_ptr(), space)
        })
    }

    pub(crate) fn may_install(&self) -> bool {
        // SAFETY: takes no pointer but its own.
        self.may_install
            .is_none_or(|may| unsafe { may(self.context) } == 0)
    }

    pub(crate) fn tell(&self, number: u16) {
        if let Some(event) = self.event {
            // SAFETY: takes no pointer but its own.
            unsafe { event(self.context, number) }
        }
    }
}

/// The port's flash failed.
#[derive(Debug)]
pub struct Failed;

impl NorFlashError for Failed {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::Other
    }
}

impl ErrorType for sota_mcu_port {
    type Error = Failed;
}

fn outcome(result: Option<i32>) -> Result<(), Failed> {
    match result {
        Some(0) => Ok(()),
        _ => Err(Failed),
    }
}

// The sizes are the layout's, which is known at run time only: these are the least there are.
impl ReadNorFlash for sota_mcu_port {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Failed> {
        let (to, length) = (bytes.as_mut_ptr(), bytes.len() as u32);
        // SAFETY: the function fills at most so many bytes of this buffer.
        outcome(
            self.flash_read
                .map(|read| unsafe { read(self.context, offset, to, length) }),
        )
    }

    fn capacity(&self) -> usize {
        u32::MAX as usize
    }
}

impl NorFlash for sota_mcu_port {
    const WRITE_SIZE: usize = 1;
    const ERASE_SIZE: usize = 1;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Failed> {
        let length = to.saturating_sub(from);
        // SAFETY: takes no pointer but its own.
        outcome(
            self.flash_erase
                .map(|erase| unsafe { erase(self.context, from, length) }),
        )
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Failed> {
        let (from, length) = (bytes.as_ptr(), bytes.len() as u32);
        // SAFETY: the function reads at most so many bytes of this buffer.
        outcome(
            self.flash_write
                .map(|write| unsafe { write(self.context, offset, from, length) }),
        )
    }
}
