//! The one agent of an MCU.

use crate::port::sota_mcu_port;
pub(crate) use crate::speaks::Core;
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use sota_link::Millis;

/// The greatest block, or read, in bytes.
pub(crate) const BLOCK: usize = if cfg!(feature = "block-1024") {
    1024
} else if cfg!(feature = "block-512") {
    512
} else if cfg!(feature = "block-128") {
    128
} else if cfg!(feature = "block-64") {
    64
} else {
    256
};

/// Agent and port.
pub(crate) struct Running {
    pub(crate) agent: Core,
    pub(crate) port: sota_mcu_port,
    /// The port's clock, without its wraps.
    pub(crate) now: Millis,
    /// The verified image waits for the port.
    pub(crate) waits: bool,
    /// Bytes that the UART did not take yet.
    pub(crate) left: [u8; 16],
    pub(crate) from: u8,
    pub(crate) to: u8,
    /// To change to when the UART has taken all there is; 0: none.
    pub(crate) baud: u32,
    /// To reset then.
    pub(crate) reset: bool,
}

/// Zero before the first start: a static with an initial value would lie in the flash too.
struct Cell {
    is_there: UnsafeCell<bool>,
    running: UnsafeCell<MaybeUninit<Running>>,
}

// SAFETY: the header says that all functions are called from one thread, and that no function of the port calls one: so
// there is one reference at a time.
unsafe impl Sync for Cell {}

static CELL: Cell = Cell {
    is_there: UnsafeCell::new(false),
    running: UnsafeCell::new(MaybeUninit::uninit()),
};

/// Puts an agent there in place of the one before, which has nothing to be dropped.
#[inline]
pub(crate) fn put(running: impl FnOnce() -> Running) {
    // SAFETY: see Cell's Sync; no reference outlives `with`.
    unsafe {
        (*CELL.running.get()).write(running());
        *CELL.is_there.get() = true;
    }
}

/// Works with the agent, if there is one.
pub(crate) fn with<R>(work: impl FnOnce(&mut Running) -> R) -> Option<R> {
    // SAFETY: see Cell's Sync.
    if !unsafe { *CELL.is_there.get() } {
        return None;
    }
    // SAFETY: the same; it was written, and the reference ends with this function.
    Some(work(unsafe { (*CELL.running.get()).assume_init_mut() }))
}

/// Of a panic, which no input can cause: the MCU starts anew.
#[cfg(all(target_os = "none", feature = "panic"))]
pub(crate) fn reset() {
    // SAFETY: whatever state the agent is in, only the port is read, which does not change after it was written.
    unsafe {
        if *CELL.is_there.get() {
            (*CELL.running.get()).assume_init_ref().port.reset_now();
        }
    }
}
