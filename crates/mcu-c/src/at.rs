//! A library that speaks AT commands.

use crate::api::{Texts, judge, sota_mcu_config};
use crate::cell::{BLOCK, Running};
use crate::port::sota_mcu_port;
use sota_errors::McuError;
use sota_mcu::Layout;
use sota_mcu::at::{AtAgent, Config, Output, Prepared};

pub(crate) type Core = AtAgent<BLOCK>;

pub(crate) fn prepare(
    config: &sota_mcu_config,
    texts: &Texts<'_>,
    layout: Layout,
    port: &mut sota_mcu_port,
) -> Result<Prepared, McuError> {
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
    Prepared::new(config, layout, BLOCK, port)
}

pub(crate) fn act(running: &mut Running, output: Output) {
    match output {
        Output::Up => {}
        Output::Down => running.port.tell(McuError::ModuleSilent.number()),
        Output::Fault(number) | Output::Ended(number) => running.port.tell(number),
        Output::Plan(plan) => judge(running, &plan.target, plan.use_space),
        Output::Verified => running.waits = true,
        Output::Reset => running.reset = true,
    }
}

pub(crate) fn confirm(running: &mut Running) -> Result<(), McuError> {
    running.agent.confirm(&mut running.port)
}

pub(crate) fn ask_for_plan(running: &mut Running) {
    running.agent.ask_for_plan();
}
