//! A node `sota,stm32` (`CONFIG_SOTA_MCU_STM32`): the ROM loader of an STM32 at the other end of a UART.

use crate::config::put;
use crate::sides::CHUNK;
use crate::{calls, sys};
use border::Node;
use sota::bridge::rom::{Config, Line, RomBridge};
use sota::message::{Command, ComponentName, Event, Millis, Version};
use sota_stm32::chips::{self, Chip};
use sota_stm32::{Erase, Fault, RomError, Start, Times};

/// Its machine, and what is between that and the UART.
pub(crate) struct Stm32 {
    bridge: RomBridge,
    place: u8,
    /// Taken from the machine, not yet by the UART.
    out: ([u8; CHUNK], usize, usize),
}

/// The component of the node at this place, `""` behind the last.
pub(crate) fn component(place: usize) -> &'static str {
    border::node(place as u8).map_or("", |node| border::text(node.component))
}

impl Stm32 {
    /// `None`: it cannot be served, and the log says why.
    // Apart: what is made on the way does not stay on the stack.
    #[inline(never)]
    pub(crate) fn start(place: usize) -> Option<Self> {
        let place = place as u8;
        let node = border::node(place)?;
        let Some(chip) = chips::by_name(border::text(node.chip)) else {
            fault(
                place,
                true,
                Fault {
                    error: RomError::RomConfig,
                    command: 0,
                    detail: 0,
                },
            );
            return None;
        };
        if !border::start(place) {
            return None;
        }
        let config = config(node, chip);
        let mut known = false;
        calls::ask(&mut |engine| known = engine.engine.version(&config.component).is_some());
        Some(Stm32 {
            bridge: RomBridge::new(sys::now(), config, known),
            place,
            out: ([0; CHUNK], 0, 0),
        })
    }

    pub(crate) fn on_event(&mut self, event: &Event) {
        self.bridge.on_event(sys::now(), event);
    }

    pub(crate) fn deadline(&self) -> Option<Millis> {
        self.bridge.deadline()
    }

    /// One round; whether anything moved.
    pub(crate) fn step(&mut self) -> bool {
        let now = sys::now();
        let mut bytes = [0; CHUNK];
        let count = border::read(self.place, &mut bytes);
        self.bridge
            .on_bytes(now, bytes.get(..count).unwrap_or_default());
        let mut moved = count > 0;
        let from = usize::from(self.place) + 1;
        let mut engine =
            |command: Command, out: &mut [u8]| calls::command_from(from, &command, out);
        while let Some(line) = self.bridge.poll(now, &mut engine) {
            match line {
                Line::Lines { boot0, reset } => {
                    // what was not sent before a reset is not for the loader after it
                    self.out.1 = self.out.2;
                    border::lines(self.place, boot0, reset);
                }
                Line::Started => border::started(self.place),
                Line::Trouble(why) => fault(self.place, false, why),
                Line::Failed(why) => fault(self.place, true, why),
            }
            moved = true;
        }
        self.send() || moved
    }

    /// Writes until the UART takes no more; whether anything went out.
    fn send(&mut self) -> bool {
        let mut moved = false;
        loop {
            if self.out.1 == self.out.2 {
                self.out.1 = 0;
                self.out.2 = self.bridge.next_bytes(&mut self.out.0);
            }
            let rest = self.out.0.get(self.out.1..self.out.2).unwrap_or_default();
            match border::write(self.place, rest) {
                0 => return moved,
                n => self.out.1 += n,
            }
            moved = true;
        }
    }
}

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

fn fault(place: u8, failed: bool, fault: Fault) {
    border::fault(place, failed, fault);
}

#[allow(unsafe_code)] // the C border
mod border {
    use crate::sys;
    use core::ffi::c_char;
    use sota_stm32::Fault;

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

    /// `struct sota_stm32_fault` of `zephyr/shim.h`.
    #[repr(C)]
    struct CFault {
        name: *const u8,
        length: u32,
        detail: u32,
        number: u16,
        command: u8,
        failed: bool,
    }

    unsafe extern "C" {
        // Constant, or NULL behind the last.
        safe fn sota_shim_stm32(place: u8) -> Option<&'static Node>;
        fn sota_shim_stm32_start(place: u8) -> bool;
        fn sota_shim_stm32_lines(place: u8, boot0: bool, reset: bool);
        fn sota_shim_stm32_fault(place: u8, fault: *const CFault);
        fn sota_shim_stm32_started(place: u8);
        fn sota_shim_side_read(place: u8, to: *mut u8, len: u32) -> u32;
        fn sota_shim_side_write(place: u8, from: *const u8, len: u32) -> u32;
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

    pub(super) fn fault(place: u8, failed: bool, fault: Fault) {
        let name = fault.error.name();
        let fault = CFault {
            name: name.as_ptr(),
            length: name.len() as u32,
            detail: fault.detail,
            number: fault.error.number(),
            command: fault.command,
            failed,
        };
        // SAFETY: as above; the fault and its name outlive the call, which keeps no pointer.
        unsafe { sota_shim_stm32_fault(place, &fault) }
    }

    pub(super) fn started(place: u8) {
        // SAFETY: as above.
        unsafe { sota_shim_stm32_started(place) }
    }

    pub(super) fn read(place: u8, to: &mut [u8]) -> usize {
        // SAFETY: as above; writes at most `len` bytes to a slice of that length.
        let n = unsafe { sota_shim_side_read(place, to.as_mut_ptr(), to.len() as u32) } as usize;
        n.min(to.len())
    }

    pub(super) fn write(place: u8, from: &[u8]) -> usize {
        // SAFETY: as above; reads at most `len` bytes of a slice of that length.
        let n = unsafe { sota_shim_side_write(place, from.as_ptr(), from.len() as u32) } as usize;
        n.min(from.len())
    }
}
