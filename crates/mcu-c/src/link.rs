//! A library that speaks the link.

use crate::api::{Texts, judge, sota_mcu_config};
use crate::cell::{BLOCK, Running};
use crate::port::sota_mcu_port;
use sota_errors::McuError;
use sota_link::Line;
use sota_link::field::Hello;
use sota_link::frame::frame_len;
use sota_link::message::ModulePhase;
use sota_mcu::{Agent, Config, Layout, Output, Prepared};

pub(crate) type Core = Agent<{ frame_len(BLOCK) }>;

fn hello(config: &sota_mcu_config, texts: &Texts<'_>) -> Option<Hello> {
    let window = match config.window {
        0 => 8,
        window => window,
    };
    Some(Hello {
        block: BLOCK as u16,
        window,
        component: texts.component.try_into().ok()?,
        version: texts.version.try_into().ok()?,
        hardware: texts.hardware.try_into().ok()?,
        bootloader: texts.bootloader.try_into().ok()?,
        rate: config.greatest_baud,
        ..Hello::default()
    })
}

pub(crate) fn prepare(
    config: &sota_mcu_config,
    texts: &Texts<'_>,
    layout: Layout,
    port: &mut sota_mcu_port,
) -> Result<Prepared, McuError> {
    let config = Config {
        hello: hello(config, texts).ok_or(McuError::McuConfig)?,
        baud: config.baud,
        session: config.session,
        confirm_within_ms: config.confirm_within_ms,
        asks_first: true,
        mcuboot: config.mcuboot,
    };
    Prepared::new(config, layout, port)
}

pub(crate) fn act(running: &mut Running, output: Output) {
    let port = running.port;
    match output {
        Output::Line(Line::Baud(baud)) => running.baud = baud,
        Output::Line(Line::Fault(error)) => port.tell(error.number()),
        Output::Line(Line::PeerError(number)) => port.tell(number),
        Output::Line(Line::Up | Line::Down) => {}
        Output::Plan(plan) => judge(running, &plan.target, plan.use_space),
        Output::Verified => running.waits = true,
        Output::Reset => running.reset = true,
        Output::Ended(ModulePhase::Done, _) => port.tell(0),
        Output::Ended(ModulePhase::Failed, number) => port.tell(number),
        Output::Ended(..) => {}
    }
}

pub(crate) fn confirm(running: &mut Running) -> Result<(), McuError> {
    running.agent.confirm(running.now, &mut running.port)
}

pub(crate) fn ask_for_plan(running: &mut Running) {
    running.agent.ask_for_plan(running.now);
}
