//! What only the whole image may define: panic handler and critical section. A product in Rust has them from
//! the crate `zephyr` and does not link this.
#![no_std]

use core::panic::PanicInfo;
extern crate sota_zephyr;

#[allow(unsafe_code)] // the C border
mod border {
    use critical_section::RawRestoreState;

    unsafe extern "C" {
        fn sota_shim_lock() -> u32;
        fn sota_shim_unlock(key: u32);
        pub(super) safe fn sota_shim_panic() -> !;
    }

    struct Section;
    critical_section::set_impl!(Section);

    // SAFETY: the shim locks interrupts (and the other processors with CONFIG_SMP) and nests: each key brings back
    // what was before.
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
}

/// Nothing in the component panics on data from outside: this is a fault of the code, and Zephyr's fatal error
/// handler decides (by default a restart or a stop).
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    border::sota_shim_panic()
}
