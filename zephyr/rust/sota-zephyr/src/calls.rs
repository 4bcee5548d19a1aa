//! How any thread asks the engine: one question at a time, answered between two of its steps.
//!
//! The asker waits until the engine answered: the engine's longest step is one page erase. Never from an
//! interrupt, and never from the engine's own thread, which would wait for itself.

use crate::sys::{self, Who};
use core::cell::RefCell;
use critical_section::Mutex;
use heapless::Vec;
use sota::message::{Command, ComponentName, Reason, Reply, State, Version};

/// Bytes of a read that go over at once; a longer one is several questions.
const CHUNK: usize = 128;

pub(crate) enum Ask {
    Command(Command),
    Status,
    /// The MCU component in this place of the list.
    Component(u8),
}

/// The upgrade at a glance.
#[derive(Clone, Copy, Default)]
pub(crate) struct Status {
    pub(crate) state: State,
    pub(crate) linked: bool,
    pub(crate) last_error: Option<Reason>,
    /// Bytes that are durable.
    pub(crate) progress: u32,
    /// 0: not known.
    pub(crate) length: u32,
    /// First byte of the present piece.
    pub(crate) piece_start: u32,
    /// 0: none can be read.
    pub(crate) piece_length: u32,
}

#[allow(clippy::large_enum_variant)] // one slot: there is no heap to box into
pub(crate) enum Answer {
    Reply(Reply, Vec<u8, CHUNK>),
    Status(Status),
    Component(Option<(ComponentName, Version)>),
}

static ASK: Mutex<RefCell<Option<Ask>>> = Mutex::new(RefCell::new(None));
static ANSWER: Mutex<RefCell<Option<Answer>>> = Mutex::new(RefCell::new(None));

/// `None`: the component does not run.
fn ask(question: Ask) -> Option<Answer> {
    if !sys::call_begin() {
        return None;
    }
    critical_section::with(|cs| *ASK.borrow_ref_mut(cs) = Some(question));
    sys::wake(Who::Engine);
    sys::call_wait();
    let answer = critical_section::with(|cs| ANSWER.borrow_ref_mut(cs).take());
    sys::call_end();
    answer
}

/// What the engine's thread does between two steps.
pub(crate) fn answer(mut find: impl FnMut(Ask) -> Answer) {
    if let Some(question) = critical_section::with(|cs| ASK.borrow_ref_mut(cs).take()) {
        let found = find(question);
        critical_section::with(|cs| *ANSWER.borrow_ref_mut(cs) = Some(found));
        sys::call_done();
    }
}

/// A command that gives no bytes.
pub(crate) fn command(command: Command) -> Reply {
    match ask(Ask::Command(command)) {
        Some(Answer::Reply(reply, _)) => reply,
        _ => Reply::Refused(Reason::AtNotAllowedNow),
    }
}

/// [`Command::Read`] into `out`; fewer bytes at the end of the piece.
pub(crate) fn read(start: u32, out: &mut [u8]) -> Reply {
    let mut done = 0;
    for part in out.chunks_mut(CHUNK) {
        let wanted = part.len();
        let command = Command::Read {
            start: start.saturating_add(done as u32),
            len: wanted as u32,
        };
        match ask(Ask::Command(command)) {
            Some(Answer::Reply(Reply::Read(n), bytes)) if n <= wanted => {
                let got = bytes.get(..n).unwrap_or_default();
                part.iter_mut().zip(got).for_each(|(to, from)| *to = *from);
                done += n;
                if n < wanted {
                    break;
                }
            }
            // The piece ended before: what there is counts.
            _ if done > 0 => break,
            Some(Answer::Reply(refused @ Reply::Refused(_), _)) => return refused,
            _ => return Reply::Refused(Reason::AtNotAllowedNow),
        }
    }
    Reply::Read(done)
}

pub(crate) fn status() -> Option<Status> {
    match ask(Ask::Status)? {
        Answer::Status(status) => Some(status),
        _ => None,
    }
}

/// Name and version of an MCU component by its place; `None` behind the last.
pub(crate) fn component(place: u8) -> Option<(ComponentName, Version)> {
    match ask(Ask::Component(place))? {
        Answer::Component(found) => found,
        _ => None,
    }
}
