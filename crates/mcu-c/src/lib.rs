#![cfg_attr(target_os = "none", no_std)]
#![allow(non_camel_case_types)] // the names of the C header
#![doc = include_str!("../README.md")]

mod api;
mod cell;
mod port;
#[cfg_attr(feature = "at", path = "at.rs")]
#[cfg_attr(not(feature = "at"), path = "link.rs")]
mod speaks;

#[cfg(not(any(feature = "link", feature = "at")))]
compile_error!("one of the features link and at");

pub use api::*;
pub use port::{sota_mcu_layout, sota_mcu_port};

#[cfg(all(target_os = "none", feature = "panic"))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        cell::reset();
    }
}
