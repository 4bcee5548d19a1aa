//! AT agent: dialogue, other slot, verifying, boot state. Never run.
#![no_std]
#![no_main]

use size_mcu::{LAYOUT, Nor, give, now, take, word};
use sota_mcu::at::{AtAgent, Config, Output};
use static_cell::ConstStaticCell;

const BLOCK: usize = if cfg!(feature = "block-1024") {
    1024
} else {
    256
};

static AGENT: ConstStaticCell<AtAgent<BLOCK>> = ConstStaticCell::new(AtAgent::off());

#[unsafe(no_mangle)] // the linker script's entry
extern "C" fn reset() -> ! {
    let mut flash = Nor;
    let config = Config {
        component: "STM32".try_into().unwrap_or_default(),
        version: "1_0_0".try_into().unwrap_or_default(),
        confirm_within_ms: 60_000,
        ..Config::default()
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
                Output::Ended(number) => give(&number.to_le_bytes()),
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
