//! How any thread asks the engine: one question at a time, answered between two of its steps.
//!
//! A question is a closure of the asker, run on the engine's thread while the asker waits: at most one page erase.
//! Never from an interrupt, and never from the engine's own thread, which would wait for itself.

use crate::engine_loop::EngineLoop;
use crate::sys::{self, Who};
use sota::message::{Command, Reason, Reply, State};

/// The upgrade at a glance: `struct sota_status` of `sota/sota.h`.
#[derive(Default)]
#[repr(C)]
pub(crate) struct Status {
    /// A [`State`].
    pub(crate) state: u8,
    pub(crate) connected: bool,
    /// Number of a [`Reason`], 0: none.
    pub(crate) last_error: u16,
    /// Bytes that are durable.
    pub(crate) progress: u32,
    /// 0: not known.
    pub(crate) length: u32,
    /// First byte of the present piece.
    pub(crate) piece_start: u32,
    /// 0: none can be read.
    pub(crate) piece_length: u32,
}

#[allow(unsafe_code)] // the border between two threads
mod border {
    use super::EngineLoop;
    use core::cell::Cell;
    use critical_section::Mutex;

    pub(super) type Question<'a> = dyn FnMut(&mut EngineLoop<'_>) + Send + 'a;

    /// A question whose asker waits.
    #[derive(Clone, Copy)]
    struct Waiting(*mut Question<'static>);
    // SAFETY: the question is `Send`, and its asker does not touch it while it waits.
    unsafe impl Send for Waiting {}

    static ASKED: Mutex<Cell<Option<Waiting>>> = Mutex::new(Cell::new(None));

    /// # Safety
    /// The caller does nothing with the question, and does not return, before [`answer`] has run it.
    pub(super) unsafe fn ask(question: &mut Question<'_>) {
        // SAFETY: only the lifetime changes, and by the caller's promise the question outlives its use.
        let question: *mut Question<'static> = unsafe { core::mem::transmute(question) };
        critical_section::with(|cs| ASKED.borrow(cs).set(Some(Waiting(question))));
    }

    /// Runs the question that waits; whether there was one.
    pub(super) fn answer(engine: &mut EngineLoop<'_>) -> bool {
        let Some(Waiting(question)) = critical_section::with(|cs| ASKED.borrow(cs).take()) else {
            return false;
        };
        // SAFETY: it was set by `ask`, whose caller waits; taken out, it runs once.
        unsafe { (*question)(engine) };
        true
    }
}

/// Asks the engine; false: the component does not run, and nothing was asked.
#[allow(unsafe_code)] // see `border`
pub(crate) fn ask(question: &mut border::Question<'_>) -> bool {
    let begun = sys::call_begin();
    if begun {
        // SAFETY: this thread waits until `answer` below has said that it is done.
        unsafe { border::ask(question) };
        sys::wake(Who::Engine);
        sys::call_wait();
        sys::call_end();
    }
    begun
}

/// What the engine's thread does between two steps.
pub(crate) fn answer(engine: &mut EngineLoop<'_>) {
    if border::answer(engine) {
        sys::call_done();
    }
}

/// A command; `out` for the bytes of a [`Command::Read`].
#[inline(never)]
pub(crate) fn command(command: &Command, out: &mut [u8]) -> Reply {
    let mut reply = Reply::Refused(Reason::AtNotAllowedNow);
    ask(&mut |engine| reply = engine.command(command, out));
    reply
}

/// The same, as the back end at place `from` asks.
#[cfg(sota_sides)]
#[inline(never)]
pub(crate) fn command_from(from: usize, command: &Command, out: &mut [u8]) -> Reply {
    let mut reply = Reply::Refused(Reason::AtNotAllowedNow);
    ask(&mut |engine| reply = engine.command_from(from, command, out));
    reply
}

/// Whether the engine has a version of this component.
#[cfg(sota_sides)]
pub(crate) fn knows(component: &str) -> bool {
    let mut known = false;
    ask(&mut |engine| known = engine.engine.version(component).is_some());
    known
}

/// As the main back end asks: where there is no other, whatever it asks is its own.
#[cfg(not(sota_sides))]
pub(crate) use command as main_command;
#[cfg(not(any(sota_mcu_link, sota_sides)))]
pub(crate) use read as main_read;

/// As the main back end asks.
#[cfg(all(sota_sides, not(sota_no_main)))]
pub(crate) fn main_command(command: &Command, out: &mut [u8]) -> Reply {
    command_from(sota::bridge::route::MAIN, command, out)
}

/// [`Command::Read`] of the main back end into `out`.
#[cfg(all(sota_sides, not(any(sota_mcu_link, sota_no_main))))]
pub(crate) fn main_read(start: u32, out: &mut [u8]) -> Reply {
    let len = out.len() as u32;
    main_command(&Command::Read { start, len }, out)
}

/// [`Command::Read`] into `out`; fewer bytes at the end of the piece.
pub(crate) fn read(start: u32, out: &mut [u8]) -> Reply {
    let len = out.len() as u32;
    command(&Command::Read { start, len }, out)
}

pub(crate) fn status() -> Option<Status> {
    let mut status = Status::default();
    ask(&mut |engine| status = engine.status()).then_some(status)
}

/// The state with this number.
pub(crate) fn state(number: u8) -> State {
    State::from_number(number).unwrap_or_default()
}
