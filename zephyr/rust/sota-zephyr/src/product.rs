//! What a product in Rust calls. The same rules as in `sota/sota.h`: any thread and the handler, no interrupt; each
//! call is synchronous and answers within 300 ms.

use crate::{api, boxes, calls};
use core::cell::Cell;
use critical_section::Mutex;
pub use sota::message::{Command, Event, Reason, Reply, State};

/// Runs on the component's dispatcher, one event at a time.
pub type Handler = fn(&Event);

static HANDLER: Mutex<Cell<Option<Handler>>> = Mutex::new(Cell::new(None));

/// From now on events are for this handler; those before it are not kept. A callback of `sota/sota.h` gets none then.
pub fn set_handler(handler: Handler) {
    critical_section::with(|cs| HANDLER.borrow(cs).set(Some(handler)));
    boxes::set_app(true);
}

pub(crate) fn handler() -> Option<Handler> {
    critical_section::with(|cs| HANDLER.borrow(cs).get())
}

/// Asks the engine; for bytes of a piece see [`read`].
pub fn command(command: Command) -> Reply {
    match command {
        Command::Connect(on) => api::connect(on),
        other => calls::command(&other, &mut []),
    }
}

/// Reads of the present piece; `start` is absolute in the package. Fewer bytes at the end of the piece.
///
/// # Errors
/// [`Reason::AtNotAllowedNow`] outside the present piece, or what the flash says.
pub fn read(start: u32, out: &mut [u8]) -> Result<usize, Reason> {
    match calls::read(start, out) {
        Reply::Read(n) => Ok(n),
        Reply::Refused(reason) => Err(reason),
        Reply::Ok => Ok(0),
    }
}

/// State, and bytes of the package that are durable and its length (0: not known). `None`: the component does not run.
pub fn progress() -> Option<(State, u32, u32)> {
    calls::status().map(|status| (calls::state(status.state), status.progress, status.length))
}
