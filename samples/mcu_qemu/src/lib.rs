//! The port of an MCU on QEMU's `mps2-an385`: flash, UART, clock.
#![no_std]

mod flash;
mod uart;

pub use flash::{FLASH, Nor};
pub use uart::Uart;

use core::sync::atomic::{AtomicU32, Ordering};
use cortex_m::peripheral::SCB;
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m_rt::exception;
use sota_mcu::Layout;

/// Cycles of a millisecond: the board runs at 25 MHz.
const MILLISECOND: u32 = 25_000;

/// Slots and state, from the begin of the flash on.
pub const LAYOUT: Layout = Layout {
    active: 0,
    active_len: 32 * Nor::PAGE,
    other: 32 * Nor::PAGE,
    other_len: 35 * Nor::PAGE,
    page: Nor::PAGE,
    state: 67 * Nor::PAGE,
    state_page: Nor::PAGE,
    word: 8,
};

static CLOCK: AtomicU32 = AtomicU32::new(0);

#[exception]
fn SysTick() {
    CLOCK.store(
        CLOCK.load(Ordering::Relaxed).wrapping_add(1),
        Ordering::Relaxed,
    );
}

/// Starts the clock.
pub fn start_clock(core: &mut cortex_m::Peripherals) {
    core.SYST.set_clock_source(SystClkSource::Core);
    core.SYST.set_reload(MILLISECOND - 1);
    core.SYST.clear_current();
    core.SYST.enable_counter();
    core.SYST.enable_interrupt();
}

/// Milliseconds since the start; the demo does not run for the 49 days after which they wrap.
pub fn now() -> u64 {
    CLOCK.load(Ordering::Relaxed).into()
}

/// Starts anew, with the bootloader.
pub fn reset() -> ! {
    SCB::sys_reset()
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    reset()
}
