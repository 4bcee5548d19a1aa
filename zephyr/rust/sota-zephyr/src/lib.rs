//! The component's port to Zephyr.
//!
//! | file | holds |
//! |---|---|
//! | `cloud_loop`, `engine_loop`, `bridge_loop` or `link_loop` | the three threads: loops around the machines, no rule of the upgrade |
//! | `sides`, `side_loop`, `stm32`, `smp` | further back ends in the thread `bridge`, each with a UART of its own |
//! | `calls` | how any thread asks the engine: one question at a time, answered between two of its steps |
//! | `boxes` | the mailboxes and who is woken |
//! | `flash` | a flash partition as NOR flash of the component |
//! | `firmware` | the module's own slot, by MCUboot |
//! | `config` | what Kconfig and the settings give to the machines |
//! | `api` | what C calls: thread entries, the functions behind `sota/sota.h` |
//! | `product` | what a product in Rust calls |
//! | `sys` | what C gives (`zephyr/shim.h`): every `unsafe` towards it is there |
//! | `logger` | lines for the log |
//!
//! Without an allocator. Everything is in statics that are zero at boot.
#![no_std]

mod api;
mod boxes;
#[cfg(not(any(sota_mcu_link, sota_no_main)))]
mod bridge_loop;
mod calls;
mod cloud_loop;
mod config;
mod engine_loop;
mod firmware;
pub mod flash;
#[cfg(sota_mcu_link)]
mod link_loop;
mod logger;
pub mod product;
#[cfg(sota_sides)]
mod side_loop;
#[cfg(sota_sides)]
mod sides;
#[cfg(sota_mcu_smp)]
mod smp;
#[cfg(sota_mcu_stm32)]
mod stm32;
mod sys;

#[cfg(all(sota_mcu_link, not(feature = "link")))]
compile_error!(
    "CONFIG_SOTA_MCU_LINK: the product's Cargo.toml has to ask for the feature `link` of sota-zephyr"
);

#[cfg(all(sota_mcu_smp, not(feature = "smp")))]
compile_error!(
    "CONFIG_SOTA_MCU_SMP: the product's Cargo.toml has to ask for the feature `smp` of sota-zephyr"
);
#[cfg(all(sota_mcu_stm32, not(feature = "stm32")))]
compile_error!(
    "CONFIG_SOTA_MCU_STM32: the product's Cargo.toml has to ask for the feature `stm32` of sota-zephyr"
);

pub use sota;

/// Greatest block in bytes (`CONFIG_SOTA_BLOCK_SIZE`).
pub const BLOCK: usize = config::number(env!("SOTA_BLOCK"));
