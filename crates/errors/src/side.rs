//! Errors of the port of an MCU with a back end and a UART of its own: 680..=699.

crate::catalogue! {
    /// What a module can meet with the UART and the lines of an MCU that it drives itself (`docs/zephyr.md`).
    SideError {
        SideUart = 680, "the UART to the MCU is not ready, has no interrupts or cannot have the form that the MCU needs", "enable the UART's node, and take one whose driver has the interrupt-driven API and, for an STM32, 8 bits with even parity: by uart_configure, or with parity = \"even\" in its node";
        SidePins = 681, "the MCU's reset or boot line cannot be driven", "enable the GPIO controllers that reset-gpios and boot-gpios name, with drivers that can drive these pins";
    }
}
