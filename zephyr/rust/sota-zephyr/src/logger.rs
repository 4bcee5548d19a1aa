//! Lines for Zephyr's logging, each by one call of the shim. Without an allocator, and the component's own without
//! `core::fmt`, which alone takes more than 1 KB.

use crate::sys;
use heapless::String;
use sota::message::Reason;

/// A longer line is cut.
const LINE: usize = 96;

/// `what: NAME`, as a warning.
#[inline(never)]
pub(crate) fn warn(what: &str, reason: Reason) {
    let mut line = String::<LINE>::new();
    for part in [what, ": ", reason.name()] {
        let _ = line.push_str(part);
    }
    sys::warn(&line);
}

#[cfg(feature = "log")]
pub(crate) use product::start;

/// What a product in Rust says with the crate `log`.
#[cfg(feature = "log")]
mod product {
    use super::LINE;
    use crate::sys;
    use core::fmt::Write;
    use heapless::String;
    use log::{LevelFilter, Log, Metadata, Record};

    struct Logger;

    /// Takes as much as fits.
    struct Line(String<LINE>);

    impl Write for Line {
        fn write_str(&mut self, text: &str) -> core::fmt::Result {
            for c in text.chars() {
                self.0.push(c).map_err(|_| core::fmt::Error)?;
            }
            Ok(())
        }
    }

    impl Log for Logger {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn log(&self, record: &Record<'_>) {
            let mut line = Line(String::new());
            let _ = line.write_fmt(*record.args());
            sys::log(record.level() as u8, &line.0);
        }
        fn flush(&self) {}
    }

    /// From now on; `level` 0 off, 1 error … 4 debug (`CONFIG_SOTA_LOG_LEVEL`).
    pub(crate) fn start(level: u8) {
        static LOGGER: Logger = Logger;
        let _ = log::set_logger(&LOGGER);
        log::set_max_level(match level {
            0 => LevelFilter::Off,
            1 => LevelFilter::Error,
            2 => LevelFilter::Warn,
            3 => LevelFilter::Info,
            _ => LevelFilter::Debug,
        });
    }
}
