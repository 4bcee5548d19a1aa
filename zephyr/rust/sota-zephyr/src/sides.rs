//! The bridge's thread with back ends at the sides, each with a component and a UART of its own, beside the main one
//! (`CONFIG_SOTA_AT`, `CONFIG_SOTA_MCU_LINK`) or alone. All of them are stepped here, one after the other.

use crate::boxes::TO_BRIDGE;
#[cfg(not(any(sota_mcu_link, sota_no_main)))]
use crate::bridge_loop::BridgeLoop as Main;
use crate::config::{self, number};
#[cfg(sota_mcu_link)]
use crate::link_loop::LinkLoop as Main;
#[cfg(any(sota_mcu_stm32, sota_mcu_smp))]
use crate::side_loop::SideLoop;
#[cfg(sota_mcu_smp)]
use crate::smp;
#[cfg(sota_mcu_stm32)]
use crate::stm32;
use crate::sys::{self, Who};
#[cfg(sota_no_main)]
use nobody::Main;
#[cfg(sota_mcu_stm32)]
use sota::bridge::rom::RomBridge;
use sota::bridge::route::{MAIN, Routes, SIDES, Targets};
#[cfg(sota_mcu_smp)]
use sota::bridge::smp::SmpBridge;
#[cfg(not(any(sota_mcu_link, sota_no_main)))]
use sota::bridge::{Bridge, Settings};
use sota::message::{ComponentName, Event, Millis};

/// Nodes `sota,stm32`, then those `sota,smp`: the places of the UARTs in `zephyr/uart.h`.
const STM32S: usize = number(env!("SOTA_STM32S"));
const SMPS: usize = number(env!("SOTA_SMPS"));
#[cfg(sota_mcu_stm32)]
pub(crate) const FIRST_STM32: usize = 0;
#[cfg(sota_mcu_smp)]
const FIRST_SMP: usize = STM32S;
const _: () = assert!(
    STM32S + SMPS <= SIDES,
    "too many nodes sota,stm32 and sota,smp"
);

/// Bytes taken from a UART's buffer at once, and given to it.
pub(crate) const CHUNK: usize = 64;

/// Who serves what; for the engine's thread.
pub(crate) fn routes() -> Routes {
    let mut routes = Routes::new(cfg!(not(sota_no_main)));
    for side in 0..STM32S + SMPS {
        let mut component = ComponentName::new();
        let fits = config::put(&mut component, name(side));
        // The second of two nodes with one component would have another's place.
        if !fits || routes.add(component) != Ok(side + 1) {
            sys::warn("sota,stm32, sota,smp: a component twice; those from it on are not served");
            break;
        }
    }
    routes
}

/// The component of this side.
fn name(side: usize) -> &'static str {
    #[cfg(sota_mcu_stm32)]
    if side < STM32S {
        return stm32::component(side);
    }
    #[cfg(sota_mcu_smp)]
    if let Some(place) = side.checked_sub(FIRST_SMP) {
        return smp::component(place);
    }
    let _ = side;
    ""
}

/// Those that are served.
struct Sides {
    #[cfg(sota_mcu_stm32)]
    stm32s: [Option<SideLoop<RomBridge>>; STM32S],
    #[cfg(sota_mcu_smp)]
    smps: [Option<SideLoop<SmpBridge>>; SMPS],
}

impl Sides {
    const NONE: Self = Sides {
        #[cfg(sota_mcu_stm32)]
        stm32s: [const { None }; STM32S],
        #[cfg(sota_mcu_smp)]
        smps: [const { None }; SMPS],
    };

    fn start(&mut self) {
        #[cfg(sota_mcu_stm32)]
        for (place, to) in self.stm32s.iter_mut().enumerate() {
            SideLoop::start(to, place, FIRST_STM32 + place);
        }
        #[cfg(sota_mcu_smp)]
        for (place, to) in self.smps.iter_mut().enumerate() {
            SideLoop::start(to, place, FIRST_SMP + place);
        }
    }

    fn step(&mut self) -> bool {
        let mut moved = false;
        #[cfg(sota_mcu_stm32)]
        for side in self.stm32s.iter_mut().flatten() {
            moved |= side.step();
        }
        #[cfg(sota_mcu_smp)]
        for side in self.smps.iter_mut().flatten() {
            moved |= side.step();
        }
        moved
    }

    fn on_event(&mut self, targets: Targets, event: &Event) {
        #[cfg(sota_mcu_stm32)]
        for side in self.stm32s.iter_mut().flatten() {
            if targets.has(side.place()) {
                side.on_event(event);
            }
        }
        #[cfg(sota_mcu_smp)]
        for side in self.smps.iter_mut().flatten() {
            if targets.has(side.place()) {
                side.on_event(event);
            }
        }
    }

    fn deadline(&self) -> Option<Millis> {
        let mut first: Option<Millis> = None;
        let mut earlier = |at: Option<Millis>| first = first.into_iter().chain(at).min();
        #[cfg(sota_mcu_stm32)]
        for side in self.stm32s.iter().flatten() {
            earlier(side.deadline());
        }
        #[cfg(sota_mcu_smp)]
        for side in self.smps.iter().flatten() {
            earlier(side.deadline());
        }
        first
    }
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
    let mut sides = Sides::NONE;
    sides.start();
    loop {
        while events(&mut main, &mut sides) | main.step() | sides.step() {}
        let until = main.deadline().into_iter().chain(sides.deadline()).min();
        sys::sleep(Who::Bridge, until);
    }
}

/// In order: while the main one is not ready, those of the others wait too.
fn events(main: &mut Main, sides: &mut Sides) -> bool {
    let mut moved = false;
    while main.ready_for_event()
        && let Some((targets, event)) = TO_BRIDGE.try_recv()
    {
        sys::wake(Who::Engine);
        if targets.has(MAIN) {
            main.on_event(&event);
        }
        sides.on_event(targets, &event);
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
