//! A node `sota,stm32` (`CONFIG_SOTA_MCU_STM32`): the ROM loader of an STM32 at the other end of a UART.

use crate::config::put;
use crate::side_loop::Kind;
use crate::sys::{self, Trouble};
use crate::{calls, sides};
use border::Node;
use sota::bridge::rom::{Config, Line, RomBridge};
use sota::message::{ComponentName, Version};
use sota_stm32::chips::{self, Chip};
use sota_stm32::{Erase, Fault, RomError, Start, Times};

/// The component of the node at this place, `""` behind the last.
pub(crate) fn component(place: usize) -> &'static str {
    border::node(place as u8).map_or("", |node| border::text(node.component))
}

impl Kind for RomBridge {
    fn start(place: usize, side: u8) -> Option<Self> {
        let node = border::node(place as u8)?;
        let Some(chip) = chips::by_name(border::text(node.chip)) else {
            let none = Fault {
                error: RomError::RomConfig,
                command: 0,
                detail: 0,
            };
            fault(side, true, none);
            return None;
        };
        if !border::start(place as u8) {
            return None;
        }
        let config = config(node, chip);
        let known = calls::knows(&config.component);
        Some(RomBridge::new(sys::now(), config, known))
    }

    fn act(&self, side: u8, line: Line) -> bool {
        match line {
            Line::Lines { boot0, reset } => {
                // of this kind are the first ones
                border::lines(side, boot0, reset);
                // what was not sent before a reset is not for the loader after it
                return true;
            }
            Line::Started => sys::side_started(side),
            Line::Trouble(why) => fault(side, false, why),
            Line::Failed(why) => fault(side, true, why),
        }
        false
    }
}

const _: () = assert!(sides::FIRST_STM32 == 0);

fn config(node: &Node, chip: &Chip) -> Config {
    let mut config = Config {
        component: ComponentName::new(),
        version: Version::new(),
        pieces: node.pieces,
        // in Kconfig up to a day
        give_up_ms: node.give_up_s.saturating_mul(1000),
        loader: sota_stm32::Config {
            layout: chip.layout,
            chip: Some(chip.id),
            erase: match node.mass_erase {
                true => Erase::Mass,
                false => Erase::Pages,
            },
            start: match node.go {
                true => Start::Go,
                false => Start::Reset,
            },
            baud: node.baud,
            tries: node.tries,
            times: Times::DEFAULT,
        },
    };
    // their lengths were compared when the image was built
    put(&mut config.component, border::text(node.component));
    put(&mut config.version, border::text(node.version));
    config
}

fn fault(side: u8, failed: bool, fault: Fault) {
    sys::side_fault(
        side,
        &Trouble {
            number: fault.error.number(),
            name: fault.error.name(),
            command: fault.command.into(),
            detail: fault.detail,
            failed,
        },
    );
}

#[allow(unsafe_code)] // the C border
mod border {
    use crate::sys;
    use core::ffi::c_char;

    /// `struct sota_stm32` of `zephyr/shim.h`.
    #[repr(C)]
    pub(super) struct Node {
        pub(super) component: *const c_char,
        pub(super) version: *const c_char,
        pub(super) chip: *const c_char,
        pub(super) baud: u32,
        pub(super) give_up_s: u32,
        pub(super) tries: u8,
        pub(super) mass_erase: bool,
        pub(super) go: bool,
        pub(super) pieces: bool,
    }

    // SAFETY: constant, as are the strings it points to.
    unsafe impl Sync for Node {}

    unsafe extern "C" {
        // Constant, or NULL behind the last.
        safe fn sota_shim_stm32(place: u8) -> Option<&'static Node>;
        fn sota_shim_stm32_start(place: u8) -> bool;
        fn sota_shim_stm32_lines(place: u8, boot0: bool, reset: bool);
    }

    pub(super) fn text(text: *const c_char) -> &'static str {
        // SAFETY: the strings of `Node` are literals of the shim.
        unsafe { sys::text(text) }
    }

    pub(super) fn node(place: u8) -> Option<&'static Node> {
        sota_shim_stm32(place)
    }

    /// Every `place` from here on is one that [`node`] knows.
    pub(super) fn start(place: u8) -> bool {
        // SAFETY: the shim has a node at this place.
        unsafe { sota_shim_stm32_start(place) }
    }

    pub(super) fn lines(place: u8, boot0: bool, reset: bool) {
        // SAFETY: as above.
        unsafe { sota_shim_stm32_lines(place, boot0, reset) }
    }
}
