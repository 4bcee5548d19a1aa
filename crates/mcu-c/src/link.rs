//! A library that speaks the link.

use crate::api::{Texts, judge, sota_mcu_config};
use crate::cell::{BLOCK, Running};
use sota_errors::McuError;
use sota_link::Line;
use sota_link::frame::frame_len;
use sota_link::mcu;
use sota_link::message::ModulePhase;
use sota_mcu::{Agent, Config, Layout, Output};

pub(crate) type Core = Agent<{ frame_len(BLOCK) }>;

/// Port and clock are there already.
pub(crate) fn start(
    running: &mut Running,
    config: &sota_mcu_config,
    texts: &Texts,
    layout: &Layout,
) -> Result<(), McuError> {
    let window = match config.window {
        0 => 8,
        window => window,
    };
    let config = Config {
        link: mcu::Config {
            block: BLOCK as u16,
            window,
            component: texts.component,
            version: texts.version,
            hardware: texts.hardware,
            bootloader: texts.bootloader,
            baud: config.baud,
            rate: config.greatest_baud,
            session: config.session,
            ..mcu::Config::default()
        },
        confirm_within_ms: config.confirm_within_ms,
        asks_first: true,
        mcuboot: config.mcuboot,
    };
    let Running {
        agent, port, now, ..
    } = running;
    agent.start(*now, &config, layout, port)
}

pub(crate) fn act(running: &mut Running, output: Output) {
    let port = running.port;
    match output {
        Output::Line(Line::Baud(baud)) => running.baud = baud,
        Output::Line(Line::Fault(number) | Line::PeerError(number)) => port.tell(number),
        Output::Line(Line::Up | Line::Down) => {}
        Output::Plan => {
            let Some(plan) = running.agent.plan() else {
                return;
            };
            let mut target = [0; 64];
            let bytes = plan.target();
            let length = bytes.len().min(target.len());
            for (to, from) in target.iter_mut().zip(bytes) {
                *to = *from;
            }
            let space = plan.use_space();
            judge(running, target.get(..length).unwrap_or_default(), space);
        }
        Output::Verified => running.waits = true,
        Output::Reset => running.reset = true,
        Output::Ended(ModulePhase::Done, _) => port.tell(0),
        Output::Ended(ModulePhase::Failed, number) => port.tell(number),
        Output::Ended(..) => {}
    }
}
