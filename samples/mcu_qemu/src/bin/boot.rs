//! The bootloader: does what the boot state asks for, and starts what is in the active slot.
#![no_std]
#![no_main]

use cortex_m_rt::entry;
use mcu_qemu::{FLASH, LAYOUT, Nor, reset};
use sota_mcu::boot::{Rules, run};

#[entry]
fn main() -> ! {
    // SAFETY: the only one.
    let mut flash = unsafe { Nor::new() };
    if run(&mut flash, &LAYOUT, &Rules::default()).is_err() {
        reset();
    }
    let image = FLASH + LAYOUT.active as usize;
    // SAFETY: nothing is in use here any more: no interrupt was enabled, and the flash is at rest.
    unsafe {
        (*cortex_m::peripheral::SCB::PTR).vtor.write(image as u32);
        cortex_m::asm::bootload(image as *const u32)
    }
}
