//! The bootloader. Never run.
#![no_std]
#![no_main]

use size_mcu::{LAYOUT, Nor, give};
use sota_mcu::boot::{Rules, run};

#[unsafe(no_mangle)] // the linker script's entry
extern "C" fn reset() -> ! {
    let good = run(&mut Nor, &LAYOUT, &Rules::default()).is_ok();
    loop {
        give(&[u8::from(good)]);
    }
}
