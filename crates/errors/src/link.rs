//! Errors of the link between module and MCU: 600..=629.

crate::catalogue! {
    /// What an end of the link can meet, and why an MCU refuses an image (`docs/link.md`).
    LinkError {
        LinkVersion = 600, "the other end speaks no version of the link that this one knows", "update the older of the two; docs/link.md has the versions";
        LinkSilent = 601, "the other end of the UART is silent", "check the wiring, the baud rate and that the other side runs; the link comes back by itself";
        LinkFrameTooLong = 602, "a frame was longer than the greatest one; it was skipped", "check the baud rate, and that nothing else talks on this UART";
        LinkFrameCrc = 603, "a frame was harmed on the line; it was skipped and is sent again", "if there are many: lower the baud rate, check ground and the length of the wires";
        LinkUnknownType = 604, "a frame of an unknown type was skipped", "update the older of the two sides if something does not work";
        LinkMalformed = 605, "a frame does not have the form of its type; it was skipped", "check the other side's code against docs/link.md";
        LinkEcho = 606, "the UART gives back what was sent", "switch echo off, check for a short circuit between TX and RX";
        LinkBadOffset = 607, "an offset or a length lies outside the package or is not that of a block", "check the other side's code against docs/link.md";
        LinkRate = 609, "the faster baud rate did not work; the link stays at the slower one", "nothing to do; set a lower greatest rate to save the try";
        LinkPieceBorder = 610, "a piece does not begin or end at a block's border", "give the module's link a block that divides the staging flash's page";
        LinkNotReady = 611, "the MCU was told to install an image that it does not have whole", "give the install command when the package was delivered";
        OtherComponent = 620, "the package is for another component", "correct the component's name in the MCU or in the model";
        OtherHardware = 621, "the package is for other hardware", "upload the package that was built for this hardware";
        OldImage = 622, "the package's image is older than the MCU takes", "upload an image of a greater version";
        NotNow = 623, "the MCU cannot be upgraded at present", "the Center offers it again; see the MCU's own reason";
        SameVersion = 624, "the MCU runs the package's version already", "nothing to do";
        PackageWithoutDigest = 625, "the package came without a digest, so the MCU cannot verify it", "the Center must send at least one digest";
    }
}
