//! The bridge's thread: every back end of the module, one after the other.

use super::{Calls, Common};
use sota::bridge::route::MAIN;
use sota::message::{Command, Event};
use sota::platform::Clock;
use std::os::fd::BorrowedFd;

/// One back end: a UART and the machine that speaks on it.
pub(super) trait BackEnd<const B: usize>: Send {
    /// One round; whether anything moved.
    fn step(&mut self, common: &Common<B>) -> bool;
    /// An event would be taken now.
    fn ready_for_event(&self) -> bool {
        true
    }
    /// Takes an event of the engine, when it is ready for one.
    fn on_event(&mut self, common: &Common<B>, event: &Event);
    /// When to go on at the latest, in milliseconds of the clock.
    fn deadline(&self) -> Option<u64>;
    /// What to sleep on: to read, and to write.
    fn fds(&self) -> [Option<BorrowedFd<'_>>; 2];
}

/// All of them, each with its place of the routes.
pub(super) struct BackEnds<const B: usize> {
    common: Common<B>,
    calls: Calls,
    /// The module registers by itself.
    connect: bool,
    back_ends: Vec<(usize, Box<dyn BackEnd<B>>)>,
}

impl<const B: usize> BackEnds<B> {
    pub(super) fn new(common: Common<B>, calls: Calls, connect: bool) -> BackEnds<B> {
        BackEnds {
            common,
            calls,
            connect,
            back_ends: Vec::new(),
        }
    }

    /// The one on the module's own UART.
    pub(super) fn main(&mut self, back_end: impl BackEnd<B> + 'static) {
        self.add(MAIN, back_end);
    }

    pub(super) fn add(&mut self, place: usize, back_end: impl BackEnd<B> + 'static) {
        self.back_ends.push((place, Box::new(back_end)));
    }

    pub(super) fn run(&mut self) {
        if self.connect {
            self.calls.command(Command::Connect(true));
        }
        while !self.common.ended() {
            while self.step() {}
            self.sleep();
        }
    }

    fn step(&mut self) -> bool {
        let mut moved = self.events();
        for (_, back_end) in &mut self.back_ends {
            moved |= back_end.step(&self.common);
        }
        moved
    }

    /// In order: one that is not ready holds up those of the others.
    fn events(&mut self) -> bool {
        let mut moved = false;
        while self.back_ends.iter().all(|(_, one)| one.ready_for_event()) {
            let Some((targets, event)) = self.common.boxes.events.try_recv() else {
                break;
            };
            self.common.boxes.engine.wake();
            for (place, back_end) in &mut self.back_ends {
                if targets.has(*place) {
                    back_end.on_event(&self.common, &event);
                }
            }
            moved = true;
        }
        moved
    }

    fn sleep(&mut self) {
        let now = self.common.clock.now();
        let deadlines = self.back_ends.iter().filter_map(|(_, one)| one.deadline());
        let ms = deadlines.map(|at| at.saturating_sub(now)).min();
        let fds = || self.back_ends.iter().map(|(_, one)| one.fds());
        let reads: Vec<_> = fds().filter_map(|[read, _]| read).collect();
        let writes: Vec<_> = fds().filter_map(|[_, write]| write).collect();
        self.common.sleeper.sleep(&reads, writes, ms);
    }
}
