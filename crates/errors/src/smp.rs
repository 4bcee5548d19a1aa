//! Errors of MCUs that are upgraded through MCUmgr's SMP server: 643..=679.

crate::catalogue! {
    /// What the module can meet when it drives the SMP server of an MCU with MCUboot (`docs/smp.md`).
    SmpError {
        SmpSilent = 643, "the MCU's SMP server does not answer", "check power, TX and RX, the baud rate and that the MCU's application has CONFIG_MCUMGR_TRANSPORT_UART on this UART; it is tried again";
        SmpNoise = 644, "bytes come from the MCU, none of them in an SMP frame", "check the baud rate, and that this UART is the one of the SMP server; it is tried again";
        SmpFrame = 645, "a frame from the MCU was harmed on the line; it was skipped", "if there are many: check ground and the length of the wires, lower the baud rate, keep the log off this UART; it is asked again";
        SmpLineTooLong = 646, "a line or a frame from the MCU was longer than SMP's greatest one; it was skipped", "check the baud rate; an answer may have at most 1,024 bytes; it is asked again";
        SmpEcho = 647, "the UART gives back what was sent", "switch the echo off, check for a short circuit between TX and RX";
        SmpUnexpected = 648, "an answer came that belongs to no request which waits for one; it was skipped", "nothing to do if it is rare: it came late; else something else talks to the same SMP server";
        SmpMalformed = 649, "an answer of the MCU's SMP server does not have SMP's form", "check the MCU's MCUmgr; it is asked again";
        SmpRefused = 650, "the MCU's SMP server refused a request", "look the group's code up in Zephyr's MCUmgr documentation; it is shown with the request";
        SmpNotSupported = 651, "the MCU's SMP server does not know the request", "build the MCU's application with CONFIG_MCUMGR_GRP_IMG and CONFIG_MCUMGR_GRP_OS";
        SmpNoSlot = 652, "the MCU has no free slot for the image", "its other slot is in use: reset the MCU, or confirm or undo what it has on trial, and offer the upgrade again";
        SmpImageTooLarge = 653, "the image is larger than the MCU's slot", "make the image smaller";
        SmpFlash = 654, "the MCU could not erase, write or read its flash", "offer the upgrade again; if it repeats, the flash is worn or the slot is not set up";
        SmpNotMcuboot = 655, "the package is no MCUboot image: its header, its magic or the hash in its TLVs is not there", "upload what imgtool sign wrote (zephyr.signed.bin)";
        SmpDiffers = 656, "what the MCU has in its slot after the upload is not the package's image", "offer the upgrade again; if it repeats, the flash is worn";
        SmpReverted = 657, "the MCU runs its old image again: the new one did not come up, or was reset before it was confirmed", "check the new image: it must start the SMP server on this UART; see the MCU's log";
        SmpRejected = 658, "the new image is gone from the MCU's slots after the reset: MCUboot did not take it", "sign the image with the key that the MCU's MCUboot has, for this board and slot";
        SmpOlder = 659, "the MCU runs a newer version than the package's and takes no older one", "upload an image of a greater version";
        SmpNotReset = 660, "the MCU was told to reset, and the image that waits was not started", "build the MCU's application with CONFIG_MCUMGR_GRP_OS_RESET, check that MCUboot is its bootloader";
        SmpBufferTooSmall = 661, "the MCU's SMP server takes only packets that are too small for an image", "make CONFIG_MCUMGR_TRANSPORT_NETBUF_SIZE 256 or more";
        SmpSource = 662, "the image could not be read from the module", "see the module's own reason; the upgrade ended or its flash fails";
        SmpGaveUp = 663, "nothing could be done with the MCU for the time configured, so the upgrade was given up", "see the errors before this one; an MCU that hangs in a new image needs a reset, which brings the old one back";
    }
}
