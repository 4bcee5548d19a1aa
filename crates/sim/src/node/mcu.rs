//! The MCU's processor.

use sota_host::mcu::device::{Device, flash_size};
use sota_host::mcu::{Config, Mcu, McuEvent};

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

/// An MCU and its power.
pub struct McuNode {
    config: Config,
    power: FlashPower,
    flash: McuFlash,
    mcu: Option<Mcu<McuFlash>>,
    boot_at: Micros,
    /// It could not boot before: the flash failed.
    pub boot_failed: bool,
}

impl McuNode {
    /// An MCU with a new flash, without power.
    pub fn new(config: Config, rng: Rng) -> McuNode {
        let power = FlashPower::new();
        let size = flash_size(PAGE, config.slot_size);
        let flash = SimFlash::new(&power, rng, size, FirstContent::Garbage);
        McuNode {
            config,
            power,
            flash: Handle::new(flash),
            mcu: None,
            boot_at: 0,
            boot_failed: false,
        }
    }

    /// Power comes: it boots from its flash.
    pub fn power_on(&mut self, now: Micros) {
        self.power.power_on();
        self.boot_at = now;
        self.mcu = Mcu::new(self.config.clone(), self.flash.clone()).ok();
        self.boot_failed = self.mcu.is_none() && !self.power.is_off();
    }

    /// Power goes.
    pub fn power_off(&mut self) {
        self.mcu = None;
        self.power.power_off();
    }

    /// It has power and runs.
    pub fn is_on(&self) -> bool {
        self.mcu.is_some()
    }

    /// The flash's power: operations, and what cuts it.
    pub fn power(&self) -> &FlashPower {
        &self.power
    }

    /// Its flash.
    pub fn flash(&self) -> &McuFlash {
        &self.flash
    }

    /// The machine while it runs.
    pub fn mcu(&self) -> Option<&Mcu<McuFlash>> {
        self.mcu.as_ref()
    }

    /// Bytes came from the UART. `true`: its power went in this step.
    pub fn on_bytes(&mut self, now: Micros, bytes: &[u8]) -> bool {
        let ms = self.ms(now);
        if let Some(mcu) = &mut self.mcu {
            mcu.on_bytes(ms, bytes);
        }
        self.went_off()
    }

    /// Its time-outs. `true`: its power went in this step.
    pub fn poll(&mut self, now: Micros) -> bool {
        let ms = self.ms(now);
        if let Some(mcu) = &mut self.mcu {
            mcu.poll(ms);
        }
        self.went_off()
    }

    fn went_off(&mut self) -> bool {
        let off = self.mcu.is_some() && self.power.is_off();
        if off {
            self.mcu = None;
        }
        off
    }

    /// Bytes for the UART.
    pub fn next_bytes(&mut self, out: &mut [u8]) -> usize {
        self.mcu.as_mut().map_or(0, |mcu| mcu.next_bytes(out))
    }

    /// What is worth a line.
    pub fn next_event(&mut self) -> Option<McuEvent> {
        self.mcu.as_mut()?.next_event()
    }

    /// When [`McuNode::poll`] is wanted.
    pub fn deadline(&self) -> Option<Micros> {
        let ms = self.mcu.as_ref()?.deadline();
        Some(self.boot_at.saturating_add(ms.saturating_mul(1000)))
    }

    /// What it would boot now, read from a copy of its flash: the version and the image. `None`: nothing.
    pub fn would_boot(&self) -> Option<(String, Vec<u8>)> {
        let power = FlashPower::new();
        let copy = self.flash.with(|flash| flash.copy_on(&power));
        let mut device = Device::boot(copy, self.config.slot_size, &self.config.version).ok()?;
        let version = device.running().version.clone();
        Some((version, device.running_image().ok()?))
    }

    fn ms(&self, now: Micros) -> u64 {
        now.saturating_sub(self.boot_at) / 1000
    }
}
