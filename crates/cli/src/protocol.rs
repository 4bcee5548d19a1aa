//! What is spoken on the UART between module and MCU.

use clap::ValueEnum;

/// Both ends must speak the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    /// AT commands (`docs/at.md`): the MCU pulls.
    #[default]
    At,
    /// The binary link (`docs/link.md`): the module pushes at the line's speed.
    Link,
    /// The STM32's ROM loader (`docs/stm32.md`): the MCU has nothing of ours on it.
    Stm32,
    /// MCUmgr's SMP (`docs/smp.md`): the MCU has Zephyr and MCUboot and nothing of ours on it.
    Smp,
}

impl Protocol {
    /// As an argument.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Protocol::At => "at",
            Protocol::Link => "link",
            Protocol::Stm32 => "stm32",
            Protocol::Smp => "smp",
        }
    }
}
