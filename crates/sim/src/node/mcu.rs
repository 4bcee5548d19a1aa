//! The MCU's processor: `sota-host`'s simulated MCU over AT commands, or the library for MCUs over the binary link.

use sota_host::mcu::device::{Device, flash_size};
use sota_host::mcu::{self, Mcu, McuEvent};

use super::link_mcu::{self, LinkMcu};
use crate::Micros;
use crate::flash::{FirstContent, FlashPower, SimFlash};
use crate::handle::Handle;
use crate::rng::Rng;

/// Erase page of the MCU's flash in bytes.
pub const PAGE: usize = 1024;
/// Write size of the MCU's flash in bytes.
pub const WRITE: usize = 8;
/// The MCU's flash.
pub type McuFlash = Handle<SimFlash<PAGE, WRITE>>;

/// What an MCU is made with, by its protocol.
#[derive(Clone, Debug)]
pub enum Config {
    /// AT commands.
    At(mcu::Config),
    /// The binary link.
    Link(link_mcu::Config),
}

/// What runs while there is power.
#[allow(clippy::large_enum_variant)] // one a device
enum Machine {
    At(Mcu<McuFlash>),
    Link(LinkMcu),
}

/// An MCU and its power.
pub struct McuNode {
    config: Config,
    power: FlashPower,
    flash: McuFlash,
    machine: Option<Machine>,
    boot_at: Micros,
}

impl McuNode {
    /// An MCU with a new flash, without power.
    pub fn new(config: Config, rng: Rng) -> McuNode {
        let power = FlashPower::new();
        let flash = match &config {
            Config::At(config) => {
                let size = flash_size(PAGE, config.slot_size);
                Handle::new(SimFlash::new(&power, rng, size, FirstContent::Garbage))
            }
            Config::Link(config) => link_mcu::flash(config, &power, rng),
        };
        McuNode {
            config,
            power,
            flash,
            machine: None,
            boot_at: 0,
        }
    }

    /// Power comes: it boots from its flash.
    pub fn power_on(&mut self, now: Micros) {
        self.power.power_on();
        self.reset(now);
    }

    /// It boots from its flash.
    pub fn reset(&mut self, now: Micros) {
        self.boot_at = now;
        self.machine = match &self.config {
            Config::At(config) => Mcu::new(config.clone(), self.flash.clone())
                .ok()
                .map(Machine::At),
            Config::Link(config) => LinkMcu::boot(config, &mut self.flash).map(Machine::Link),
        };
    }

    /// Power goes.
    pub fn power_off(&mut self) {
        self.machine = None;
        self.power.power_off();
    }

    /// It has power and runs.
    pub fn is_on(&self) -> bool {
        self.machine.is_some()
    }

    /// The flash's power: operations, and what cuts it.
    pub fn power(&self) -> &FlashPower {
        &self.power
    }

    /// Its flash.
    pub fn flash(&self) -> &McuFlash {
        &self.flash
    }

    /// Bytes came from the UART. `true`: its power went in this step.
    pub fn on_bytes(&mut self, now: Micros, bytes: &[u8]) -> bool {
        let ms = self.ms(now);
        match &mut self.machine {
            Some(Machine::At(mcu)) => mcu.on_bytes(ms, bytes),
            Some(Machine::Link(mcu)) => mcu.on_bytes(ms, bytes, &mut self.flash),
            None => {}
        }
        self.went_off()
    }

    /// Its time-outs. `true`: its power went in this step.
    pub fn poll(&mut self, now: Micros) -> bool {
        let ms = self.ms(now);
        match &mut self.machine {
            Some(Machine::At(mcu)) => mcu.poll(ms),
            Some(Machine::Link(mcu)) => mcu.poll(ms, &mut self.flash),
            None => {}
        }
        self.went_off()
    }

    fn went_off(&mut self) -> bool {
        let off = self.is_on() && self.power.is_off();
        if off {
            self.machine = None;
        }
        off
    }

    /// Bytes for the UART.
    pub fn next_bytes(&mut self, out: &mut [u8]) -> usize {
        match &mut self.machine {
            Some(Machine::At(mcu)) => mcu.next_bytes(out),
            Some(Machine::Link(mcu)) => mcu.next_bytes(out),
            None => 0,
        }
    }

    /// Bytes of each frame of the link that [`McuNode::next_bytes`] gives since this was asked last.
    pub fn take_frames(&mut self) -> Vec<u64> {
        match &mut self.machine {
            Some(Machine::Link(mcu)) => std::mem::take(&mut mcu.frames),
            _ => Vec::new(),
        }
    }

    /// Bytes of the package that came over the link since this was asked last.
    pub fn take_data(&mut self) -> u32 {
        match &mut self.machine {
            Some(Machine::Link(mcu)) => std::mem::take(&mut mcu.data),
            _ => 0,
        }
    }

    /// The UART is to have this rate, when what it has to send has left.
    pub fn baud(&mut self) -> Option<&mut Option<u32>> {
        match &mut self.machine {
            Some(Machine::Link(mcu)) => Some(&mut mcu.baud),
            _ => None,
        }
    }

    /// It resets when what it has to send has left.
    pub fn wants_reset(&self) -> bool {
        matches!(&self.machine, Some(Machine::Link(mcu)) if mcu.resets)
    }

    /// What is worth a line.
    pub fn next_event(&mut self) -> Option<McuEvent> {
        match self.machine.as_mut()? {
            Machine::At(mcu) => mcu.next_event(),
            Machine::Link(mcu) => (!mcu.events.is_empty()).then(|| mcu.events.remove(0)),
        }
    }

    /// When [`McuNode::poll`] is wanted.
    pub fn deadline(&self) -> Option<Micros> {
        let ms = match self.machine.as_ref()? {
            Machine::At(mcu) => mcu.deadline(),
            Machine::Link(mcu) => mcu.deadline()?,
        };
        Some(self.boot_at.saturating_add(ms.saturating_mul(1000)))
    }

    /// What it would boot now, read from a copy of its flash: the version and the image. `None`: nothing.
    pub fn would_boot(&self) -> Option<(String, Vec<u8>)> {
        let config = match &self.config {
            Config::At(config) => config,
            Config::Link(config) => return link_mcu::would_boot(config, &self.flash),
        };
        let power = FlashPower::new();
        let copy = self.flash.with(|flash| flash.copy_on(&power));
        let mut device = Device::boot(copy, config.slot_size, &config.version).ok()?;
        let version = device.running().version.clone();
        Some((version, device.running_image().ok()?))
    }

    fn ms(&self, now: Micros) -> u64 {
        now.saturating_sub(self.boot_at) / 1000
    }
}
