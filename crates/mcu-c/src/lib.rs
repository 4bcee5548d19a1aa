#![cfg_attr(target_os = "none", no_std)]
#![allow(non_camel_case_types)] // the names of the C header
#![doc = include_str!("../README.md")]

mod api;
mod cell;
mod port;

pub use api::*;
pub use port::{sota_mcu_layout, sota_mcu_port};

#[cfg(all(target_os = "none", feature = "panic"))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        cell::reset();
    }
}
