//! Everything a port must give; nothing else in the component is platform-specific.
//!
//! The machines take bytes, messages and the time as arguments and hold no clock, socket, serial port
//! or random source. These traits are what the port's three thread loops call between the steps.

use crate::message::Millis;

/// Monotonic clock.
pub trait Clock {
    /// Milliseconds since start; never goes back.
    fn now(&self) -> Millis;
}

/// Unpredictable bytes for tokens, message ids and jitter. Weak ones let a stranger on the path guess
/// a token and answer in the server's place.
pub trait Random {
    /// Fills `out`.
    fn fill(&mut self, out: &mut [u8]);
}

/// Battery and radio, `None` where the product cannot tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readings {
    /// Battery in %, 0..=100.
    pub battery_percent: Option<u8>,
    /// RSRP in dBm.
    pub rsrp_dbm: Option<i16>,
}

/// The two partitions. Staging holds one piece of a package, the journal what must survive.
pub trait Flash {
    /// Blocking NOR flash of the staging partition.
    type Staging: embedded_storage::nor_flash::NorFlash;
    /// Blocking NOR flash of the journal partition.
    type Journal: embedded_storage::nor_flash::NorFlash;
    /// The staging partition.
    fn staging(&mut self) -> &mut Self::Staging;
    /// The journal partition.
    fn journal(&mut self) -> &mut Self::Journal;
}

/// The module's own firmware slot. A port without a bootloader says `None` to `slot_size`.
pub trait FirmwareSlot {
    /// Bytes a new image may have; `None`: this port cannot replace the module's firmware.
    fn slot_size(&self) -> Option<u32>;
    /// Marks the staged image for one trial boot and restarts; returns only on failure.
    fn boot_trial(&mut self) -> Result<(), crate::message::Reason>;
    /// Keeps the image that runs on trial; until then every restart brings the old one back.
    fn confirm(&mut self) -> Result<(), crate::message::Reason>;
}
