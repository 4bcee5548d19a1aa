//! The bridge's thread with back ends at the sides, each with a component and a UART of its own, beside the main one
//! (`CONFIG_SOTA_AT`, `CONFIG_SOTA_MCU_LINK`) or alone. All of them are stepped here, one after the other.

use crate::boxes::TO_BRIDGE;
#[cfg(not(any(sota_mcu_link, sota_no_main)))]
use crate::bridge_loop::BridgeLoop as Main;
use crate::config::{self, number};
#[cfg(sota_mcu_link)]
use crate::link_loop::LinkLoop as Main;
use crate::stm32::{self, Stm32};
use crate::sys::{self, Who};
#[cfg(sota_no_main)]
use nobody::Main;
use sota::bridge::route::{MAIN, Routes, SIDES};
#[cfg(not(any(sota_mcu_link, sota_no_main)))]
use sota::bridge::{Bridge, Settings};
use sota::message::ComponentName;

/// Nodes `sota,stm32`.
const STM32S: usize = number(env!("SOTA_STM32S"));
const _: () = assert!(STM32S <= SIDES, "too many nodes sota,stm32");

/// Bytes taken from a UART's buffer at once, and given to it.
pub(crate) const CHUNK: usize = 64;

/// Who serves what; for the engine's thread.
pub(crate) fn routes() -> Routes {
    let mut routes = Routes::new(cfg!(not(sota_no_main)));
    for place in 0..STM32S {
        let mut component = ComponentName::new();
        let fits = config::put(&mut component, stm32::component(place));
        // The second of two nodes with one component would have another's place.
        if !fits || routes.add(component) != Ok(place + 1) {
            sys::warn("sota,stm32: a component twice; those from it on are not served");
            break;
        }
    }
    routes
}

/// Runs for ever.
pub(crate) fn run() -> ! {
    // In its place on this thread's stack.
    #[cfg(not(any(sota_mcu_link, sota_no_main)))]
    let mut bridge = Bridge::new(Settings::new());
    #[cfg(not(any(sota_mcu_link, sota_no_main)))]
    let mut main = {
        config::settings(bridge.settings_mut());
        Main::new(&mut bridge)
    };
    #[cfg(any(sota_mcu_link, sota_no_main))]
    let mut main = Main::new();
    let mut stm32s: [Option<Stm32>; STM32S] = core::array::from_fn(Stm32::start);
    loop {
        while events(&mut main, &mut stm32s) | step(&mut main, &mut stm32s) {}
        let sides = stm32s.iter().flatten().map(Stm32::deadline);
        let until = sides.chain([main.deadline()]).flatten().min();
        sys::sleep(Who::Bridge, until);
    }
}

fn step(main: &mut Main, stm32s: &mut [Option<Stm32>]) -> bool {
    let mut moved = main.step();
    for stm32 in stm32s.iter_mut().flatten() {
        moved |= stm32.step();
    }
    moved
}

/// In order: while the main one is not ready, those of the others wait too.
fn events(main: &mut Main, stm32s: &mut [Option<Stm32>]) -> bool {
    let mut moved = false;
    while main.ready_for_event()
        && let Some((targets, event)) = TO_BRIDGE.try_recv()
    {
        sys::wake(Who::Engine);
        if targets.has(MAIN) {
            main.on_event(&event);
        }
        for (place, stm32) in stm32s.iter_mut().enumerate() {
            if let Some(stm32) = stm32
                && targets.has(place + 1)
            {
                stm32.on_event(&event);
            }
        }
        moved = true;
    }
    moved
}

/// No back end on `sota,mcu-uart`.
#[cfg(sota_no_main)]
mod nobody {
    use sota::message::{Event, Millis};

    pub(super) struct Main;

    impl Main {
        pub(super) fn new() -> Self {
            Main
        }

        pub(super) fn step(&mut self) -> bool {
            false
        }

        pub(super) fn ready_for_event(&self) -> bool {
            true
        }

        pub(super) fn on_event(&mut self, _: &Event) {}

        pub(super) fn deadline(&self) -> Option<Millis> {
            None
        }
    }
}
