//! A library that speaks AT commands.

use crate::api::{Texts, judge, sota_mcu_config};
use crate::cell::{BLOCK, Running};
use sota_errors::McuError;
use sota_mcu::Layout;
use sota_mcu::at::{AtAgent, Config, Output};

pub(crate) type Core = AtAgent<BLOCK>;

/// Port and clock are there already.
pub(crate) fn start(
    running: &mut Running,
    config: &sota_mcu_config,
    texts: &Texts,
    layout: &Layout,
) -> Result<(), McuError> {
    let wrong = |_| McuError::McuConfig;
    let config = Config {
        component: texts.component.try_into().map_err(wrong)?,
        version: texts.version.try_into().map_err(wrong)?,
        confirm_within_ms: config.confirm_within_ms,
        request_ms: config.request_ms,
        asks_first: true,
        sota_commands: config.sota_commands,
        reads_twice: config.reads_twice,
        mcuboot: config.mcuboot,
    };
    let Running {
        agent, port, now, ..
    } = running;
    agent.start(*now, &config, layout, port)
}

pub(crate) fn act(running: &mut Running, output: Output) {
    match output {
        Output::Up => {}
        Output::Down => running.port.tell(McuError::ModuleSilent.number()),
        Output::Fault(number) | Output::Ended(number) => running.port.tell(number),
        Output::Plan => {
            let (target, space) = running.agent.plan();
            let mut text = [0; 64];
            let length = target.len().min(text.len());
            for (to, from) in text.iter_mut().zip(target.bytes()) {
                *to = from;
            }
            judge(running, text.get(..length).unwrap_or_default(), space);
        }
        Output::Verified => running.waits = true,
        Output::Reset => running.reset = true,
    }
}
