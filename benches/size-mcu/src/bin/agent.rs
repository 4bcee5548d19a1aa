//! Agent: link, other slot, verifying, boot state. Never run.
#![no_std]
#![no_main]

use size_mcu::{LAYOUT, Nor, give, now, take, word};
use sota_link::frame::frame_len;
use sota_link::mcu;
use sota_mcu::{Agent, Config, Output};
use static_cell::ConstStaticCell;

const BLOCK: usize = if cfg!(feature = "block-1024") {
    1024
} else if cfg!(feature = "block-512") {
    512
} else if cfg!(feature = "block-128") {
    128
} else if cfg!(feature = "block-64") {
    64
} else {
    256
};

static AGENT: ConstStaticCell<Agent<{ frame_len(BLOCK) }>> = ConstStaticCell::new(Agent::off());

#[unsafe(no_mangle)] // the linker script's entry
extern "C" fn reset() -> ! {
    let mut flash = Nor;
    let config = Config {
        link: mcu::Config {
            component: "STM32",
            version: "1_0_0",
            hardware: "rev-b",
            block: BLOCK as u16,
            window: 8,
            baud: 115_200,
            ..Default::default()
        },
        confirm_within_ms: 60_000,
        asks_first: false,
        mcuboot: cfg!(feature = "mcuboot"),
    };
    let agent = AGENT.take();
    while agent.start(now(), &config, &LAYOUT, &mut flash).is_err() {
        give(&[1]);
    }
    loop {
        let mut bytes = [0; 16];
        take(&mut bytes);
        let taken = agent.on_bytes(&bytes);
        give(&[taken as u8]);
        while let Some(output) = agent.poll(now(), &mut flash) {
            match output {
                Output::Reset => give(&[2]),
                Output::Ended(_, number) => give(&number.to_le_bytes()),
                _ => {}
            }
        }
        if word() == 0 {
            let _ = agent.confirm(&mut flash);
        }
        if word() == 0 {
            agent.revert(&mut flash, 409);
        }
        let n = agent.next_tx(&mut bytes);
        give(bytes.get(..n).unwrap_or_default());
        if cfg!(feature = "deadline")
            && let Some(at) = agent.deadline()
        {
            give(&at.to_le_bytes());
        }
    }
}
