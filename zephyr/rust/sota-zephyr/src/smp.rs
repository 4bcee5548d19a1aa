//! A node `sota,smp` (`CONFIG_SOTA_MCU_SMP`): the SMP server of an MCU with MCUboot at the other end of a UART.

use crate::calls;
use crate::config::put;
use crate::side_loop::Kind;
use crate::sys::{self, Trouble};
use border::Node;
use sota::bridge::smp::{Config, Line, SmpBridge};
use sota::message::{ComponentName, Version};
use sota_smp::{Fault, Times};

/// The component of the node at this place, `""` behind the last.
pub(crate) fn component(place: usize) -> &'static str {
    border::node(place as u8).map_or("", |node| border::text(node.component))
}

impl Kind for SmpBridge {
    fn start(place: usize, side: u8) -> Option<Self> {
        let node = border::node(place as u8)?;
        if !border::start(side) {
            return None;
        }
        let config = config(node);
        let known = calls::knows(&config.component);
        Some(SmpBridge::new(sys::now(), config, known))
    }

    fn act(&self, side: u8, line: Line) -> bool {
        match line {
            Line::Started => sys::side_started(side),
            Line::Trouble(why) => fault(side, false, why),
            Line::Failed(why) => fault(side, true, why),
        }
        false
    }
}

fn config(node: &Node) -> Config {
    let mut config = Config::new(ComponentName::new());
    // their lengths were compared when the image was built
    put(&mut config.component, border::text(node.component));
    let version = border::text(node.version);
    if !version.is_empty() {
        put(config.version.insert(Version::new()), version);
    }
    // in Kconfig up to a day
    config.give_up_ms = node.give_up_s.saturating_mul(1000);
    config.boot_ms = node.boot_ms;
    config.trials = node.trials;
    config.client = sota_smp::Config {
        image: node.image,
        upgrade: node.upgrade_only,
        baud: node.baud,
        window: node.window,
        tries: node.tries,
        times: Times::DEFAULT,
    };
    config
}

fn fault(side: u8, failed: bool, fault: Fault) {
    // the server's own code, behind the group whose code it is
    let refusal = fault.refusal.map_or(0, |refusal| {
        u32::from(refusal.group.unwrap_or(0)) << 16 | u32::from(refusal.rc)
    });
    sys::side_fault(
        side,
        &Trouble {
            number: fault.error.number(),
            name: fault.error.name(),
            command: u32::from(fault.group) << 8 | u32::from(fault.command),
            detail: refusal,
            failed,
        },
    );
}

#[allow(unsafe_code)] // the C border
mod border {
    use crate::sys;
    use core::ffi::c_char;

    /// `struct sota_smp` of `zephyr/shim.h`.
    #[repr(C)]
    pub(super) struct Node {
        pub(super) component: *const c_char,
        pub(super) version: *const c_char,
        pub(super) baud: u32,
        pub(super) give_up_s: u32,
        pub(super) boot_ms: u32,
        pub(super) tries: u8,
        pub(super) image: u8,
        pub(super) window: u8,
        pub(super) trials: u8,
        pub(super) upgrade_only: bool,
    }

    // SAFETY: constant, as are the strings it points to.
    unsafe impl Sync for Node {}

    unsafe extern "C" {
        // Constant, or NULL behind the last.
        safe fn sota_shim_smp(place: u8) -> Option<&'static Node>;
        fn sota_shim_smp_start(side: u8) -> bool;
    }

    pub(super) fn text(text: *const c_char) -> &'static str {
        // SAFETY: the strings of `Node` are literals of the shim.
        unsafe { sys::text(text) }
    }

    pub(super) fn node(place: u8) -> Option<&'static Node> {
        sota_shim_smp(place)
    }

    pub(super) fn start(side: u8) -> bool {
        // SAFETY: the shim has a UART at this side.
        unsafe { sota_shim_smp_start(side) }
    }
}
