//! Errors of the MCU's agent: 400..=599.

crate::catalogue! {
    /// What the MCU's agent can report.
    McuError {
        ModuleSilent = 400, "the module does not answer on the UART", "check the wiring, the baud rate and that the module runs";
        ModuleRefused = 401, "the module answered ERROR", "ask AT+SOTAERR? for the reason";
        SlotTooSmall = 402, "the package does not fit the MCU's slot", "make the image smaller or the slot larger";
        ImageDigest = 403, "what is in the MCU's flash does not match the announced digests", "the MCU keeps the old image; the upgrade is tried again by the Center";
        McuFlash = 404, "the MCU's flash failed to erase, write or read", "check the flash; if it repeats, the part is worn";
    }
}
