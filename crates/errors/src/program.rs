//! Errors of the program `sota`: 2000..=2999.

crate::catalogue! {
    /// Errors of the program's command line and its parts.
    ProgramError {
        PackageUnreadable = 2001, "the package's file cannot be read", "check the path given with --package and its permissions";
        PackageEmpty = 2002, "the package is empty", "give a file of at least one byte";
        PackageOversized = 2003, "the package is larger than a package may be", "give a file of at most 104857600 bytes";
        NameUnusable = 2004, "a component name or version is empty, too long or has forbidden characters", "names up to 32 bytes without ':', ';', '\"' and control characters, versions up to 64 bytes of letters, digits, '_', '.' and '-'";
        StateFolder = 2005, "the state folder cannot be made or written", "give a folder that this user may write, on a disk with room";
        FlashFile = 2006, "a flash file in the state folder cannot be used", "give the sizes it was made with, or another --state folder";
        UartNotOpened = 2007, "the UART cannot be opened", "check the path given with --uart, that it is a serial port and that this user may use it";
        UartVanished = 2008, "the UART vanished; nothing is lost, it is tried again", "check the cable and the port's name";
        ServerAddress = 2009, "the server's address cannot be used", "use coap://host[:port]";
        SocketFailed = 2010, "a socket, pseudo-terminal or thread could not be made", "close other programs or raise the limits of this user (ulimit -n)";
        KeysUnusable = 2011, "product key or device key is empty, too long or has forbidden characters", "use 1 to 64 letters, digits, '_' and '-', together at most 96 bytes with the ':' between";
        StagingUnusable = 2012, "the staging size cannot be used", "give a multiple of 4096 bytes, at least 12288";
        ChildNotStarted = 2013, "a part of the demo did not start", "read its message above; run it by hand with the same options";
        ChildEnded = 2014, "a part of the demo ended before the upgrade did", "read its message above; --keep keeps the folder with its state";
        CenterSilent = 2015, "the Center did not answer over REST", "check that it runs and that its address (--center) is right; of a demo, --keep keeps the data";
        CenterRefused = 2016, "the Center refused a request", "do what the Center's own error says";
        UpgradeFailed = 2017, "the Center says that the upgrade failed", "read the reason in its log, printed with this error";
        UpgradeTooSlow = 2018, "the upgrade did not end in time", "raise --baud, lower --loss or raise --timeout";
        FlashDiffers = 2019, "the MCU's flash does not hold the package although the Center says success", "this is a defect of this program: please report it with the options used";
        BlocksTwice = 2020, "more blocks were fetched twice than were in flight when the module was killed", "this is a defect of this program: please report it with the options used";
        Interrupted = 2021, "the demo was interrupted before its end", "nothing to do: every part of the demo was ended";
        RuleBroken = 2022, "the simulated world broke a rule", "this is a defect of this program: please report the seed or the list of faults";
        ConfigUnusable = 2023, "the configuration file cannot be used", "correct the line it names; docs/center.md has every key";
        TokenMissing = 2024, "no API token was given", "put one into a file and name it with --token-file or SOTA_TOKEN_FILE, or into SOTA_TOKEN";
        PlanFileUnusable = 2025, "the plan's file cannot be read as JSON", "give one object with the fields of POST /api/v1/plans; - reads standard input";
        DevicesFailed = 2026, "the plan is over and not every device runs its target", "sota plan devices ID --state UpgradeFailed, then sota device log";
        PlanNotOver = 2027, "the plan is not over after the time that was given", "wait again with a greater --timeout, or look at sota plan devices ID";
        QemuImages = 2028, "an image of the MCU in QEMU cannot be read", "build them with samples/mcu_qemu/build target/mcu_qemu, or name their folder with --mcu-images";
        QemuMissing = 2029, "QEMU did not start", "install qemu-system-arm (Debian, Ubuntu: apt install qemu-system-arm)";
        McuOption = 2030, "a --mcu cannot be used", "give component=…,protocol=stm32,uart=… and more keys between commas, each component once and at most four; sota module --help has them all";
    }
}
