//! The engine as the source of an image's bytes, for the back ends that push it.

use crate::message::{Command, Reply};

/// For as long as a poll lasts.
pub(super) struct Source<'a, F> {
    engine: &'a mut F,
    was_read: bool,
}

impl<'a, F: FnMut(Command, &mut [u8]) -> Reply> Source<'a, F> {
    pub(super) fn new(engine: &'a mut F) -> Self {
        Source {
            engine,
            was_read: false,
        }
    }

    /// Something was read through it: the engine knows that the MCU's side is alive.
    #[cfg(any(feature = "stm32", feature = "smp"))]
    pub(super) fn was_read(&self) -> bool {
        self.was_read
    }

    fn fill(&mut self, offset: u32, out: &mut [u8]) -> bool {
        let Ok(len) = u32::try_from(out.len()) else {
            return false;
        };
        self.was_read = true;
        let command = Command::Read { start: offset, len };
        (self.engine)(command, out) == Reply::Read(out.len())
    }
}

/// Each protocol's crate has the same trait, and knows of nothing but its protocol.
macro_rules! source {
    ($feature:literal, $source:path) => {
        #[cfg(feature = $feature)]
        impl<F: FnMut(Command, &mut [u8]) -> Reply> $source for Source<'_, F> {
            fn read(&mut self, offset: u32, out: &mut [u8]) -> bool {
                self.fill(offset, out)
            }
        }
    };
}

source!("link", sota_link::module::Source);
source!("stm32", sota_stm32::Source);
source!("smp", sota_smp::Source);
