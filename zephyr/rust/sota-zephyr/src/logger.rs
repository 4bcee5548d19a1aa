//! `log` without an allocator: formats into a small buffer, one call of the shim.

use crate::sys;
use core::fmt::Write;
use heapless::String;
use log::{LevelFilter, Log, Metadata, Record};

/// A longer line is cut.
const LINE: usize = 96;

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
