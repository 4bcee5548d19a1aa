#![forbid(unsafe_code)]
//! The component's port to a PC, and the simulated MCU.
//!
//! | module | gives |
//! |---|---|
//! | [`flash`] | NOR flash in a file, with the real part's rules |
//! | [`serial`], [`pty`] | the UART: a terminal device or a pseudo-terminal |
//! | [`wire`] | two pseudo-terminals joined at a baud rate |
//! | [`lossy`] | a UDP proxy that loses datagrams |
//! | [`clock`] | time and random bytes |
//! | [`wake`] | one wake-up per thread |
//! | [`module`] | the module: three threads around the component's machines |
//! | [`mcu`], [`mcu_port`] | the MCU: two slots, pulls by AT; the loop around it |
//! | [`link_mcu`] | the MCU with the library for MCUs, over the binary link |
//! | [`sim_smp`], [`smp_mcu`] | an MCU with MCUmgr and MCUboot and nothing of ours on it; the loop around it |
//! | [`sim_rom`], [`rom_mcu`] | an STM32 with its ROM loader and nothing of ours on it; the loop around it |

mod ahead;
pub mod clock;
pub mod flash;
pub mod link_mcu;
pub mod lossy;
pub mod mcu;
pub mod mcu_port;
pub mod module;
pub mod pty;
pub mod rom_mcu;
pub mod serial;
pub mod sim_rom;
pub mod sim_smp;
pub mod smp_mcu;
pub mod wake;
pub mod wire;
