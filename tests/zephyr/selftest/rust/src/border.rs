//! What C calls, what C gives, and what only the whole image may define.
#![allow(unsafe_code)] // the C border

use crate::{Outcome, cases};
use core::panic::PanicInfo;
use critical_section::RawRestoreState;

unsafe extern "C" {
    fn sota_shim_lock() -> u32;
    fn sota_shim_unlock(key: u32);
    safe fn sota_shim_panic() -> !;
    safe fn sota_shim_uptime_ms() -> i64;
    safe fn selftest_spoil(at: u32) -> bool;
    fn selftest_says(text: *const u8, length: usize);
}

/// Whether it passed; else the text is told.
fn told(outcome: Outcome) -> bool {
    if let Err(text) = outcome {
        // SAFETY: reads `length` bytes of a string of that length.
        unsafe { selftest_says(text.as_ptr(), text.len()) }
    }
    outcome.is_ok()
}

#[unsafe(no_mangle)]
extern "C" fn selftest_upgrade() -> bool {
    told(cases::upgrade())
}

#[unsafe(no_mangle)]
extern "C" fn selftest_restarts() -> bool {
    told(cases::restarts())
}

#[unsafe(no_mangle)]
extern "C" fn selftest_wrong_digest() -> bool {
    told(cases::wrong_digest())
}

#[unsafe(no_mangle)]
extern "C" fn selftest_flash_error() -> bool {
    told(cases::flash_error())
}

pub(crate) fn now() -> u64 {
    sota_shim_uptime_ms().unsigned_abs()
}

/// Programs a word of staging behind the engine's back; false: the driver did not take it.
pub(crate) fn spoil(at: u32) -> bool {
    selftest_spoil(at)
}

struct Section;
critical_section::set_impl!(Section);

// SAFETY: the shim locks interrupts and nests: each key brings back what was before.
unsafe impl critical_section::Impl for Section {
    unsafe fn acquire() -> RawRestoreState {
        // SAFETY: may be called anywhere, also nested and in an interrupt.
        unsafe { sota_shim_lock() }
    }
    unsafe fn release(key: RawRestoreState) {
        // SAFETY: the key is that of the matching `acquire`.
        unsafe { sota_shim_unlock(key) }
    }
}

/// A fault of the component's code or of a case's.
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    sota_shim_panic()
}
