//! Errors of MCUs that are upgraded through their ROM loader: 630..=642.

crate::catalogue! {
    /// What the module can meet when it drives an STM32's ROM loader (`docs/stm32.md`).
    RomError {
        RomSilent = 630, "the MCU's ROM loader does not answer", "check power, TX and RX, the reset and boot lines, and that this UART is one that the chip's loader listens on; it is tried again";
        RomTimeout = 631, "the MCU's ROM loader began to answer a command and stopped, or took too long", "if there are many: check ground and the length of the wires, lower the baud rate; it is tried again";
        RomRefused = 632, "the MCU's ROM loader refused a command", "check that the page table fits the chip; if it refuses to read or write, the chip is read-protected";
        RomGarbled = 633, "what came from the MCU's ROM loader was no answer", "check ground, the wires and that the UART has even parity; it is tried again";
        RomWrongChip = 634, "the MCU is another chip than the one configured", "check the MCU, or correct the chip's id and its page table";
        RomDiffers = 635, "what was written to the MCU's flash reads back as something else", "the flash is worn, or the word size configured is too small for the chip";
        RomProtected = 636, "the ROM loader acknowledges, and the MCU's flash stays as it was", "remove the write protection of these pages from the option bytes";
        RomImageTooLarge = 637, "the image is larger than the pages that are configured for it", "make the image smaller or correct the page table";
        RomInPieces = 638, "the package does not fit the module's staging flash at once, and the MCU's only image would be lost if it turned out bad", "make staging larger, or allow pieces in the configuration";
        RomDigest = 639, "what was read back from the MCU's flash does not match the package's digests", "offer the upgrade again; if it repeats, the flash is worn";
        RomConfig = 640, "the page table or the word size of the MCU cannot be used", "pages are whole blocks of 256 bytes, the word is 4, 8, 16 or 32 bytes; docs/stm32.md has the rules";
        RomSource = 641, "the image could not be read from the module", "see the module's own reason; the upgrade ended or its flash fails";
        RomGaveUp = 642, "nothing could be done with the MCU for the time configured, so the upgrade was given up", "see the errors before this one";
    }
}
