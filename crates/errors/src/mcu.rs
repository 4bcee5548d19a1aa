//! Errors of the MCU's agent: 400..=599.

crate::catalogue! {
    /// What the MCU's agent can report.
    McuError {
        ModuleSilent = 400, "the module does not answer on the UART", "check the wiring, the baud rate and that the module runs";
        ModuleRefused = 401, "the module answered ERROR", "ask AT+SOTAERR? for the reason";
        SlotTooSmall = 402, "the package does not fit the MCU's slot", "make the image smaller or the slot larger";
        ImageDigest = 403, "what is in the MCU's flash does not match the announced digests", "the MCU keeps the old image; the upgrade is tried again by the Center";
        McuFlash = 404, "the MCU's flash failed to erase, write or read", "check the flash; if it repeats, the part is worn";
        TrialNotConfirmed = 405, "the new image did not confirm itself in time, so the old one came back", "look into the new image: it runs, but does not come to the point where it confirms";
        TrialReset = 406, "the new image was reset or lost power before it confirmed itself, so the old one came back", "if it repeats with good power, the new image crashes: look into it; the Center can offer again";
        ImageLost = 407, "the bootloader did not find the image in the other slot that was verified, so it started nothing new", "offer the upgrade again; if it repeats, something else writes that slot or the flash is worn";
        FlashLayout = 408, "the layout of the MCU's flash does not fit its page and word sizes, or its areas overlap", "correct the layout; docs/mcu.md has the rules";
        RevertedByApplication = 409, "the new image found itself unfit, so the old one came back", "read the MCU's own log for the reason";
        ImageHeader = 410, "the image is not one that the MCU's bootloader starts: header, TLVs or hash are wrong, or it is encrypted", "build it with imgtool for this MCU, and upload the signed file";
        McuConfig = 411, "the configuration of the MCU's library, or a function of its port, is missing or wrong", "compare both with include/sota/mcu.h";
        ModuleGaveUp = 412, "the module ended the upgrade (10706)", "the Center's log has the reason; so has AT+SOTAERR? where the module has that command";
        PieceReleased = 413, "the module has released a part of the package that the MCU does not have", "none: it fails this try and goes on in the next; with AT+SOTAREWIND (sota_commands) it need not fail";
    }
}
