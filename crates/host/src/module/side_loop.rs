//! A back end with a component and a UART of its own, for MCUs that speak no protocol of ours.

use super::back_ends::BackEnd;
use super::{Calls, Common, Heard};
use crate::rom_mcu::LinesHolder;
use crate::serial::Serial;
use sota::bridge::rom::{Config, Line, RomBridge};
use sota::bridge::route::Side;
use sota::bridge::smp::{self, SmpBridge};
use sota::message::{Command, ComponentName, Event};
use sota::platform::Clock;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

/// One such back end.
#[derive(Debug)]
pub struct SideConfig {
    /// Where the MCU is.
    pub serial: Serial,
    /// What is spoken with it.
    pub protocol: SideProtocol,
}

/// What is spoken, and with whom.
#[derive(Clone, Debug)]
pub enum SideProtocol {
    /// The ROM loader of an STM32.
    Rom(Box<Rom>),
    /// The SMP server of an MCU with MCUboot.
    Smp(Box<smp::Config>),
}

impl SideProtocol {
    /// Whom it serves.
    pub fn component(&self) -> &ComponentName {
        match self {
            SideProtocol::Rom(rom) => &rom.bridge.component,
            SideProtocol::Smp(smp) => &smp.component,
        }
    }
}

/// How the back end of an STM32's ROM loader is made.
#[derive(Clone, Debug)]
pub struct Rom {
    /// The bridge's.
    pub bridge: Config,
    /// The socket of the reset and boot lines (`rom_mcu`).
    pub lines: PathBuf,
}

/// What a line of a machine means for its loop.
pub(super) enum Done {
    Told(Heard),
    /// What was not sent yet is not for the MCU any more.
    Dropped,
}

/// The loop around a machine `M`; `act` does what its lines say.
pub(super) struct SideLoop<M, A> {
    bridge: M,
    act: A,
    serial: Serial,
    calls: Calls,
    /// Taken from the machine, not yet by the UART.
    out: Vec<u8>,
}

/// On the bridge's thread: the engine is asked what it knows of the component.
pub(super) fn rom_loop(
    now: u64,
    rom: Rom,
    serial: Serial,
    calls: Calls,
) -> SideLoop<RomBridge, impl FnMut(&Path, Line) -> Done> {
    let component = rom.bridge.component.as_str();
    let known = calls.versions().iter().any(|(name, _)| name == component);
    let mut lines = LinesHolder::new(&rom.lines);
    SideLoop {
        bridge: RomBridge::new(now, rom.bridge, known),
        act: move |uart: &Path, line| match line {
            Line::Lines { boot0, reset } => {
                if let Err(error) = lines.set(boot0, reset) {
                    tracing::warn!("the reset and boot lines: {error}");
                }
                Done::Dropped
            }
            line => Done::Told(Heard::Rom(uart.to_owned(), line)),
        },
        serial,
        calls,
        out: Vec::new(),
    }
}

/// The same for an SMP server.
pub(super) fn smp_loop(
    now: u64,
    config: smp::Config,
    serial: Serial,
    calls: Calls,
) -> SideLoop<SmpBridge, impl FnMut(&Path, smp::Line) -> Done> {
    let component = config.component.as_str();
    let known = calls.versions().iter().any(|(name, _)| name == component);
    SideLoop {
        bridge: SmpBridge::new(now, config, known),
        act: |uart: &Path, line| Done::Told(Heard::Smp(uart.to_owned(), line)),
        serial,
        calls,
        out: Vec::new(),
    }
}

impl<const B: usize, M, A> BackEnd<B> for SideLoop<M, A>
where
    M: Side + Send,
    A: FnMut(&Path, M::Line) -> Done + Send,
{
    fn step(&mut self, common: &Common<B>) -> bool {
        let now = common.clock.now();
        common.reopen(now, &mut self.serial);
        let mut bytes = [0; 512];
        let count = common.read(now, &mut self.serial, &mut bytes);
        self.bridge.on_bytes(now, &bytes[..count]);
        let mut moved = count > 0;
        let calls = &self.calls;
        let mut engine = |command: Command, out: &mut [u8]| calls.answer(command, out);
        while let Some(line) = self.bridge.poll(now, &mut engine) {
            match (self.act)(self.serial.path(), line) {
                Done::Told(heard) => common.tell(heard),
                Done::Dropped => self.out.clear(),
            }
            moved = true;
        }
        let next = |out: &mut [u8]| self.bridge.next_bytes(out);
        common.send(now, &mut self.serial, &mut self.out, next) || moved
    }

    fn on_event(&mut self, common: &Common<B>, event: &Event) {
        self.bridge.on_event(common.clock.now(), event);
    }

    fn deadline(&self) -> Option<u64> {
        let own = self.bridge.deadline().into_iter();
        own.chain(self.serial.retry_at()).min()
    }

    fn fds(&self) -> [Option<BorrowedFd<'_>>; 2] {
        let fd = self.serial.fd();
        [fd, fd.filter(|_| !self.out.is_empty())]
    }
}
