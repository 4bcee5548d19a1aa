//! What went wrong, and what the server's refusals mean.

use crate::SmpError;
use crate::client::Step;
use crate::message::{Refusal, group};

/// What went wrong, at which request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What.
    pub error: SmpError,
    /// The request's group.
    pub group: u16,
    /// The request's command.
    pub command: u8,
    /// What the server said.
    pub refusal: Option<Refusal>,
}

impl Fault {
    /// One that has nothing to do with a request.
    pub const fn new(error: SmpError) -> Fault {
        Fault {
            error,
            group: 0,
            command: 0,
            refusal: None,
        }
    }
}

impl core::fmt::Display for Fault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Fault { group, command, .. } = self;
        write!(f, "{} (group {group}, command {command}", self.error)?;
        match self.refusal {
            None => {}
            Some(Refusal { group: None, rc }) => write!(f, ", SMP's code {rc}")?,
            Some(Refusal {
                group: Some(group),
                rc,
            }) => write!(f, ", code {rc} of group {group}")?,
        }
        f.write_str(")")
    }
}

/// What to do about a refusal.
pub(crate) enum Verdict {
    Again,
    Done,
    Version(u8),
    Smaller,
    Erase(SmpError),
    Fatal(SmpError),
}

/// Codes of Zephyr's `mgmt.h` and `img_mgmt.h`.
pub(crate) fn verdict(step: Step, version: u8, refusal: Refusal) -> Verdict {
    use SmpError::{SmpFlash, SmpImageTooLarge, SmpNotMcuboot, SmpNotSupported, SmpOlder};
    let image = refusal.group == Some(group::IMAGE);
    match (image, refusal.rc) {
        // no memory, time-out, corrupt, busy
        (false, 2 | 4 | 9 | 10) if refusal.group.is_none() => Verdict::Again,
        (false, 7) if step == Step::Upload => Verdict::Smaller,
        (false, 8) if step == Step::Parameters => Verdict::Done,
        (false, 8) => Verdict::Fatal(SmpNotSupported),
        (false, 12) if version == 0 => Verdict::Version(1),
        (false, 13) if version == 1 => Verdict::Version(0),
        // SMP version 1 has one code for all that is wrong with flash
        (false, 1) if step == Step::Upload => Verdict::Erase(SmpError::SmpRefused),
        (true, 2 | 10..=13 | 16..=18) => Verdict::Erase(SmpFlash),
        (true, 3..=8 | 22 | 23 | 29) if step == Step::Upload => Verdict::Fatal(SmpNotMcuboot),
        (true, 9) => Verdict::Fatal(SmpError::SmpNoSlot),
        (true, 27) => Verdict::Fatal(SmpOlder),
        (true, 30) => Verdict::Fatal(SmpImageTooLarge),
        // it waits for the reset already, or it runs: the slots tell
        (true, 28 | 33) if step == Step::Ask => Verdict::Done,
        _ => Verdict::Fatal(SmpError::SmpRefused),
    }
}
