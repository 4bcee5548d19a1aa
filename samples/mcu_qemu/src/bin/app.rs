//! The application: an agent and nothing else. It finds itself good as soon as the module answers.
#![no_std]
#![no_main]

use cortex_m_rt::entry;
use mcu_qemu::{LAYOUT, Nor, Uart, now, reset, start_clock};
use sota_link::Line;
use sota_link::field::Boot;
use sota_link::frame::frame_len;
use sota_link::mcu;
use sota_mcu::{Agent, Config, Output, io};
use static_cell::ConstStaticCell;

const BLOCK: usize = 256;
const BAUD: u32 = 115_200;
const VERSION: &str = if cfg!(feature = "sick") {
    "3_0_0"
} else if cfg!(feature = "v2") {
    "2_0_0"
} else {
    "1_0_0"
};

/// Bytes that make the image as large as a real one, and each version's other than the one before.
const FILLER: usize = if cfg!(feature = "v2") { 60_000 } else { 50_000 };
static BALLAST: [u8; FILLER] = {
    let mut bytes = [0; FILLER];
    let (mut at, mut x) = (0, FILLER as u32);
    while at < FILLER {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        bytes[at] = (x >> 24) as u8;
        at += 1;
    }
    bytes
};

static AGENT: ConstStaticCell<Agent<{ frame_len(BLOCK) }>> = ConstStaticCell::new(Agent::off());

/// A function of its own: what it needs of the stack is free afterwards.
#[inline(never)]
fn start(flash: &mut Nor) -> &'static mut Agent<{ frame_len(BLOCK) }> {
    let config = Config {
        link: mcu::Config {
            block: BLOCK as u16,
            window: 8,
            component: "STM32",
            version: VERSION,
            hardware: "mps2-an385",
            bootloader: "sota-1",
            baud: BAUD,
            rate: 921_600,
            ..Default::default()
        },
        confirm_within_ms: 2_000,
        ..Config::default()
    };
    let agent = AGENT.take();
    if agent.start(now(), &config, &LAYOUT, flash).is_err() {
        reset();
    }
    agent
}

#[entry]
fn main() -> ! {
    core::hint::black_box(&BALLAST);
    let Some(mut core) = cortex_m::Peripherals::take() else {
        reset()
    };
    start_clock(&mut core);
    // SAFETY: the only ones.
    let (mut flash, mut uart) = unsafe { (Nor::new(), Uart::new(BAUD)) };
    let agent = start(&mut flash);
    loop {
        let good = agent.is_up() && !cfg!(feature = "sick");
        if good && agent.boot() == Boot::Trial && agent.confirm(&mut flash).is_err() {
            reset();
        }
        let Ok(()) = io::pump(
            agent,
            &mut uart,
            &mut flash,
            now(),
            |_, uart, _, output| match output {
                Output::Reset => reset(),
                Output::Line(Line::Baud(baud)) => uart.set_baud(baud),
                _ => {}
            },
        );
    }
}
