//! What waits to be fetched by cloud and by the host: bounded, and nothing lost.
//!
//! Only names wait here; contents are made when a message is taken. A name that already waits is not
//! queued twice. The engine asks for no block while a queue is nearly full, so states cannot run ahead
//! of their reports; should a queue fill up all the same (the host asks again and again with the link
//! down), an intermediate entry that a later one of the same component makes old gives way, never a
//! final one.

use heapless::Vec;

use crate::message::{Reason, State, Ticket};

/// The reason with this number, `None` for 0 and unknown numbers.
pub(super) fn reason_from(number: u16) -> Option<Reason> {
    Reason::from_number(number)
}

/// An event without its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    Access(u16),
    Subscribed(u16),
    Logout(u16),
    Plan(u8),
    DownloadStart(u8),
    Downloading,
    Downloaded {
        instance: u8,
        start: u32,
        len: u32,
    },
    Updating,
    /// The end of a component's upgrade: each is told, also when two come at once.
    Ended(u8, Option<Reason>),
    UpdateFlag,
}

/// One report to the Center.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) instance: u8,
    pub(super) state: State,
    pub(super) reason: Option<Reason>,
}

impl Report {
    fn is_final(&self) -> bool {
        matches!(self.state, State::Refused | State::Success | State::Failure)
    }
}

/// Whether cloud has to be asked for blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Fetch {
    /// No fetch.
    #[default]
    Idle,
    /// To be asked for when the engine is ready for blocks.
    Wanted,
    /// Cloud has it.
    Asked,
}

const EVENTS: usize = 16;
const REPORTS: usize = 16;
/// From here on no block is taken.
const HIGH_WATER: usize = 10;

/// Everything that waits.
#[derive(Default)]
#[repr(C)] // The small and often used first, for shorter code; see `Engine`.
pub(super) struct Queue {
    pub(super) connect: Option<bool>,
    pub(super) request: Option<bool>,
    pub(super) view: bool,
    pub(super) stop: bool,
    pub(super) fetch: Fetch,
    // Moved up when the first is taken: for these few and small that is less code than a ring.
    pub(super) events: Vec<Tag, EVENTS>,
    pub(super) reports: Vec<Report, REPORTS>,
    pub(super) verdicts: Vec<(Ticket, Result<(), Reason>), 8>,
}

impl Queue {
    pub(super) fn event(&mut self, tag: Tag) {
        if self.events.contains(&tag) {
            return;
        }
        if self.events.is_full() {
            let gone = self
                .events
                .iter()
                .position(|t| matches!(t, Tag::Downloading | Tag::Updating | Tag::Access(_)))
                .unwrap_or(0);
            take(&mut self.events, gone);
        }
        let _ = self.events.push(tag);
    }

    pub(super) fn report(&mut self, report: Report) {
        self.view = true;
        if self.reports.last() == Some(&report) {
            return;
        }
        if self.reports.is_full() {
            let gone = self.reports.iter().position(|r| !r.is_final()).unwrap_or(0);
            take(&mut self.reports, gone);
        }
        let _ = self.reports.push(report);
    }

    pub(super) fn verdict(&mut self, ticket: Ticket, result: Result<(), Reason>) {
        if self.verdicts.is_full() {
            // More requests at once than cloud keeps open: the oldest has timed out at the server.
            take(&mut self.verdicts, 0);
        }
        let _ = self.verdicts.push((ticket, result));
    }

    /// Whether the engine should not go further before something is fetched.
    pub(super) fn crowded(&self) -> bool {
        self.events.len() > HIGH_WATER || self.reports.len() > HIGH_WATER
    }
}

/// Takes one out; `None` when there are not so many.
#[inline(never)]
pub(super) fn take<T, const N: usize>(queue: &mut Vec<T, N>, at: usize) -> Option<T> {
    (at < queue.len()).then(|| queue.remove(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_keeps_what_is_final_and_its_order() {
        let mut queue = Queue::default();
        queue.report(Report {
            instance: 1,
            state: State::Failure,
            reason: None,
        });
        for n in 0..40 {
            let state = if n % 2 == 0 {
                State::Downloading
            } else {
                State::Downloaded
            };
            queue.report(Report {
                instance: 2,
                state,
                reason: None,
            });
        }
        assert_eq!(queue.reports.first().unwrap().instance, 1);
        assert_eq!(queue.reports.last().unwrap().state, State::Downloaded);
        assert_eq!(queue.reports.len(), REPORTS);
    }

    #[test]
    fn what_waits_is_not_queued_twice() {
        let mut queue = Queue::default();
        for _ in 0..100 {
            queue.event(Tag::Downloading);
            queue.event(Tag::DownloadStart(1));
        }
        assert_eq!(queue.events.len(), 2);
    }
}
