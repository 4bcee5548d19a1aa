//! The module's own firmware slot.

use crate::sys;
use sota::message::Reason;
use sota::platform::FirmwareSlot;

/// MCUboot behind the shim; without `CONFIG_SOTA_BOOTLOADER` there is no slot.
pub(crate) struct Bootloader {
    /// Bytes of the verified image.
    pub(crate) length: u32,
}

impl FirmwareSlot for Bootloader {
    fn slot_size(&self) -> Option<u32> {
        Some(sys::firmware_slot()).filter(|bytes| *bytes > 0)
    }

    fn boot_trial(&mut self) -> Result<(), Reason> {
        sys::boot_trial(self.length);
        Err(Reason::ModuleUpdateFailed)
    }

    fn confirm(&mut self) -> Result<(), Reason> {
        match sys::firmware_confirm() {
            true => Ok(()),
            false => Err(Reason::ModuleUpdateFailed),
        }
    }
}
