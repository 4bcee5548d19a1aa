#![forbid(unsafe_code)]
//! What the fuzz targets do with their bytes. Each target in `fuzz_targets/` calls one `run` of here; the recorder
//! (`examples/record.rs`) writes whole upgrades in the same formats.
//!
//! | module | target | takes |
//! |---|---|---|
//! | [`coap`] | `coap` | one datagram |
//! | [`transfer`] | `coap_transfer` | a script of answers for the machines of block-wise transfer |
//! | [`link`] | `link` | frames, or a script for both ends of the link between module and MCU |
//! | [`links`] | `link_format` | a registration's list of objects |
//! | [`records`] | `tlv`, `senml_cbor` | a payload and the path it is for |
//! | [`client`] | `lwm2m_client` | a script for the module: datagrams, its host, time |
//! | [`at`] | `at` | what the MCU sends |
//! | [`engine`] | `engine` | a script of messages, commands, time, restarts and power cuts |
//! | [`journal`] | `journal` | the journal partition |
//! | [`mcu`] | `mcu` | an MCU's flash, for its bootloader and agent |
//! | [`smp`] | `smp` | answers, images, or a script for an MCU with MCUmgr and the module's side of it |
//! | [`rom`] | `stm32` | a script for an STM32's ROM loader and the module's side of it |
//! | [`mcu_at`] | `mcu_at` | a script for an MCU's AT agent: what the module says, time, resets, power cuts |
//! | [`center`] | `center_device` | a script for the Center's endpoint |
//!
//! [`component`] is the engine as a bridge sees it; [`checked`] holds what must be true of the engine in four of them, [`module`] joins it with the cloud machine, [`flash`]
//! is the flash under it; [`relay`] and [`runs`] are what is recorded.
//!
//! A script is decoded by hand ([`input`]), not derived: so a recorded run can be written in the same bytes.

pub mod at;
pub mod center;
pub mod checked;
pub mod client;
pub mod coap;
pub mod component;
pub mod engine;
pub mod flash;
pub mod input;
pub mod journal;
pub mod link;
pub mod links;
pub mod mcu;
pub mod mcu_at;
pub mod module;
pub mod records;
pub mod relay;
pub mod rom;
pub mod runs;
pub mod smp;
pub mod transfer;
