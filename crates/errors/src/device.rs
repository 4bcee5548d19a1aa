//! Errors of the module: 1..=99 the upgrade, 100..=199 cloud, 200..=299 bridge, 300..=399 flash and port.

crate::catalogue! {
    /// Why an upgrade on the module failed, was refused or waits. `AT+SOTAERR?`, `sota_last_error()`,
    /// Plan object resource 15 and the Center's logs give this number.
    Reason {
        RefusedByHost = 1, "the host refused the plan, or gave up the upgrade that it had confirmed", "confirm with action 1 when the device may be upgraded; the Center can retry the device";
        ConfirmedButNoDownload = 2, "no download information came after the host confirmed", "check that the plan is still active and the device has network; the Center retries";
        DownloadDidNotStart = 3, "the download did not start in time", "check the network and that the package's address answers; the Center retries";
        TooManyDownloadErrors = 4, "the download failed more than 5 times in a row", "read the errors before this one in the log; retry the device when their cause is gone";
        McuStoppedReading = 5, "the MCU did not read the downloaded piece in time", "check the UART and that the MCU handles event 10703";
        McuUpdateTimeout = 6, "the MCU did not report its new version within 20 minutes", "check the MCU; it reports its version with AT+QIOTMCUVER when it runs";
        McuStillRunsSource = 7, "the MCU still runs the source version", "the MCU never started the new image, or reverted it without saying so: read its log for the reason";
        McuRunsOtherVersion = 8, "the MCU reported a version that is neither source nor target", "check that the package's target version is what the new image reports";
        DigestMismatch = 9, "the downloaded package, or what the MCU wrote of it, does not match its digests", "upload the package again; if it repeats, check the flash of the module and of the MCU";
        LengthMismatch = 10, "the package's size differs from the announced length", "upload the package again";
        PackageChanged = 11, "the package changed on the server during the download (other ETag)", "do not replace a package in use; retry the device";
        BatteryTooLow = 12, "the battery is below the plan's limit", "charge the device; the upgrade goes on by itself";
        SignalTooWeak = 13, "the signal is weaker than the plan's limit", "move the device or wait; the upgrade goes on by itself";
        NotEnoughSpace = 14, "the staging flash or the target's slot is too small for the package", "make the partition larger or the package smaller";
        Cancelled = 15, "the Center cancelled the upgrade of this device", "nothing to do on the device; the Center can offer again";
        PlanExpired = 16, "the plan ended before the upgrade began", "make a new plan or prolong its end";
        BatteryUnknown = 17, "the battery's level cannot be read but the plan has a limit", "give the component a battery reading or set the limit to 0";
        SignalUnknown = 18, "the signal strength cannot be read but the plan has a limit", "give the component an RSRP reading or remove the limit";
        UnknownComponent = 19, "the plan names a component that this device does not have", "set the MCU's name and version first, or correct the model";
        ComponentTableFull = 20, "no room for another component", "raise the number of components, or delete one by setting an empty version";
        BadOffer = 21, "the offer or download information could not be understood", "the Center and the module disagree on the Plan object: update the older of the two";
        PackageTooLarge = 22, "the package has more than 2^20 blocks of the configured size", "use a larger block size or a smaller package";
        UpgradeBusy = 23, "another upgrade is under way", "wait until it ends or cancel it";
        ModuleUpdateFailed = 24, "the module's own firmware could not be installed", "read the log of the bootloader; the old firmware goes on";
        NoDigest = 25, "neither MD5, CRC-32 nor SHA-256 came with the package", "the Center must send at least one digest";
        OtherComponentFailed = 26, "another component of the plan failed or was cancelled", "see that component's reason; the Center offers what is left together again";
        McuFlashFailed = 27, "the MCU could not erase, write or read its flash", "the MCU keeps the image that it runs; if it repeats, its flash is worn or write-protected";
        McuImageUnfit = 28, "the image is not one for this MCU: it is for other hardware, older than the MCU takes, or its bootloader does not start it", "upload the image that was built and signed for this hardware; the MCU's own number is in the module's log";
        McuLoaderFailed = 29, "the module could not drive the MCU's ROM loader or SMP server", "see the number from 630 on in the module's log; docs/errors.md has it";
        McuReverted = 30, "the MCU started the new image on trial and went back to the old one", "look into the new image: it crashed, was not confirmed in time or found itself unfit; the MCU's own number is in the module's log";
        NoServerAddress = 100, "no server is configured", "set the server with AT+QIOTCFG or in the configuration";
        RegistrationRefused = 101, "the Center refused the registration", "check product key and device key at the Center";
        RegistrationTimeout = 102, "the Center does not answer", "check the network, the server's address and port";
        UnknownProduct = 103, "the Center refuses the product key or the device (4.03)", "create the product at the Center, correct the key, or enable the device";
        BadPackageUri = 104, "the package's address cannot be used", "use coap://host[:port]/path of at most 255 bytes";
        PackageNotFound = 105, "the server has no such package", "upload the package again";
        PackageRefused = 106, "the server refused to send the package", "check the server's log";
        MalformedMessage = 107, "a message from the network could not be understood and was dropped", "if it repeats, check for a proxy or another protocol on this port";
        NetworkDown = 108, "the network is down", "the upgrade goes on by itself when it returns";
        UnsupportedProtocol = 109, "the package's address asks for a protocol this build does not have", "use an address that begins with coap://";
        AtUnknownCommand = 200, "the AT command is not known", "see docs/at.md for the commands";
        AtBadParameter = 201, "a parameter of the AT command is missing, malformed or out of range", "ask the command's form with =?";
        AtLineTooLong = 202, "the AT line is longer than the module accepts", "send shorter lines, ended with CR";
        AtNotAllowedNow = 203, "the AT command is not allowed in the present state", "ask AT+QIOTSTATE? and the upgrade's state first";
        UartLost = 204, "the UART to the MCU cannot be used any more", "check the cable and the port's name; the module tries again";
        NameTooLong = 205, "a component name or version is too long, empty or has ':' or ';'", "names up to 32 bytes, versions up to 64 bytes, without ':' and ';'";
        NoProductInfo = 206, "no product key is configured", "set it with AT+QIOTCFG=\"productinfo\",\"key\",\"secret\"";
        FlashReadFailed = 300, "reading the flash failed", "check the flash; if it repeats, the part is worn";
        FlashWriteFailed = 301, "writing the flash failed", "check the flash; if it repeats, the part is worn";
        FlashEraseFailed = 302, "erasing the flash failed", "check the flash; if it repeats, the part is worn";
        JournalTooSmall = 303, "the journal's partition is too small", "give the journal at least two pages; see docs/journal.md";
        StagingTooSmall = 304, "the staging partition is too small", "give staging at least three pages; see docs/journal.md";
        JournalVersion = 305, "the journal was written by another version of the component", "nothing to do: the upgrade begins again from 0";
    }
}
