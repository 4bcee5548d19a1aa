//! The one agent of an MCU.

use crate::port::sota_mcu_port;
use core::cell::UnsafeCell;
use sota_link::Millis;
use sota_link::frame::frame_len;
use sota_mcu::Agent;

const BLOCK: usize = if cfg!(feature = "block-1024") {
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

pub(crate) const GREATEST_BLOCK: u16 = BLOCK as u16;
pub(crate) type Core = Agent<{ frame_len(BLOCK) }>;

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
}

struct Cell(UnsafeCell<Option<Running>>);

// SAFETY: the header says that all functions are called from one thread, and that no function of the port calls one: so
// there is one reference at a time.
unsafe impl Sync for Cell {}

static CELL: Cell = Cell(UnsafeCell::new(None));

/// Puts an agent there in place of the one before.
pub(crate) fn put(running: Running) {
    // SAFETY: see Cell's Sync; no reference outlives `with`.
    unsafe { *CELL.0.get() = Some(running) }
}

/// Works with the agent, if there is one.
pub(crate) fn with<R>(work: impl FnOnce(&mut Running) -> R) -> Option<R> {
    // SAFETY: see Cell's Sync; the reference ends with this function.
    unsafe { (*CELL.0.get()).as_mut() }.map(work)
}

/// Of a panic, which no input can cause: the MCU starts anew.
#[cfg(all(target_os = "none", feature = "panic"))]
pub(crate) fn reset() {
    // SAFETY: whatever state the agent is in, only the port's functions are read, and they are written once.
    if let Some(running) = unsafe { &*CELL.0.get() } {
        running.port.reset_now();
    }
}
