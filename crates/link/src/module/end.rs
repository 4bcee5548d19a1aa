//! The phases of the module's end: what it sends, what it asks of the component.

use super::{End, Input, Output, Todo};
use crate::field::{Boot, Hello};
use crate::message::{ANSWER, Ack, McuPhase, Message, ModulePhase, State};
use crate::session::{Line, Session};
use crate::timing::{ACTION, Millis};
use crate::window::Window;
use sota_errors::LinkError;

impl End {
    pub(super) fn is_idle(&self) -> bool {
        let working = matches!(self.phase, ModulePhase::Package | ModulePhase::Install);
        let busy = matches!(
            self.mcu,
            McuPhase::Receiving | McuPhase::Verifying | McuPhase::Ready | McuPhase::Installing
        );
        !working && !busy
    }

    /// The link is up anew: what was known of the MCU is forgotten.
    pub(super) fn anew(&mut self, session: &Session, peer: &Hello) {
        self.next_transfer();
        self.window = Window::new(session.block, session.timing);
        self.mcu = McuPhase::Idle;
        self.trial = peer.boot == Boot::Trial;
        self.todo = Todo {
            up: true,
            running: true,
            request: peer.asks,
            announce: true,
        };
    }

    pub(super) fn next_transfer(&mut self) {
        self.transfer = self.transfer.wrapping_add(1).max(1);
        self.ack = None;
        self.acted = None;
        self.asked = (0, 0);
        self.in_tx = None;
        self.due = true;
    }

    pub(super) fn set_phase(&mut self, phase: ModulePhase) {
        self.due |= self.phase != phase;
        self.phase = phase;
        self.acted = None;
    }

    pub(super) fn input(&mut self, input: Input, session: &Session) {
        match input {
            Input::Plan(plan) => {
                if self.phase != ModulePhase::Plan || plan != self.plan {
                    self.next_transfer();
                    self.plan = plan;
                }
                self.set_phase(ModulePhase::Plan);
            }
            Input::Package(package) => {
                let known = matches!(self.phase, ModulePhase::Package | ModulePhase::Install);
                if !known || package != self.package {
                    // A confirmed plan goes on under its number.
                    if self.phase != ModulePhase::Plan {
                        self.next_transfer();
                    }
                    self.window = Window::new(session.block, session.timing);
                    (self.start, self.end) = (0, 0);
                    self.package = package;
                }
                self.set_phase(ModulePhase::Package);
            }
            Input::Downloading => self.piece(0, 0),
            Input::Piece { start, length } => {
                let end = start.saturating_add(length).min(self.package.image.length);
                self.piece(start, end);
            }
            Input::Installing => self.set_phase(ModulePhase::Install),
            Input::Updated => self.set_phase(ModulePhase::Done),
            Input::Failed(number) => {
                self.number = number;
                self.set_phase(ModulePhase::Failed);
            }
        }
    }

    pub(super) fn piece(&mut self, start: u32, end: u32) {
        self.due |= (self.start, self.end) != (start, end);
        (self.start, self.end) = (start, end);
        self.acted = None;
    }

    pub(super) fn on_ack(&mut self, now: Millis, ack: Ack, session: &mut Session) {
        self.due |= ack.seen & ANSWER != 0;
        self.mcu = ack.phase;
        if ack.transfer != self.transfer {
            return;
        }
        let receives = matches!(ack.phase, McuPhase::Receiving)
            && matches!(self.phase, ModulePhase::Package | ModulePhase::Install);
        if receives && !self.window.on_ack(now, &ack, self.package.image.length) {
            return session.fault(LinkError::LinkBadOffset);
        }
        self.ack = Some(ack);
    }

    pub(super) fn on_request(
        &mut self,
        transfer: u8,
        offset: u32,
        length: u32,
        session: &mut Session,
    ) {
        if transfer != self.transfer || self.phase != ModulePhase::Package {
            self.due = true;
            return;
        }
        let end = offset.checked_add(length);
        let whole = offset.is_multiple_of(session.block.into());
        match end {
            Some(end) if whole && length > 0 && end <= self.package.image.length => {
                self.asked = (offset, end);
                // The MCU has to be told what there is.
                self.due |= offset < self.start || end > self.end;
            }
            _ => session.fault(LinkError::LinkBadOffset),
        }
    }

    /// The MCU knows this phase.
    pub(super) fn is_seen(&self) -> bool {
        self.ack
            .is_some_and(|ack| ack.seen & !ANSWER == self.phase as u8)
    }

    pub(super) fn status_is_due(&self, now: Millis, session: &Session) -> bool {
        self.due
            || now >= session.beat_at(self.is_idle())
            || (!self.is_seen()
                && now >= self.told_at.saturating_add(session.timing.repeat().into()))
    }

    pub(super) fn status(&self) -> Message<'static> {
        let (transfer, phase) = (self.transfer, self.phase as u8);
        match self.phase {
            ModulePhase::Plan if !self.is_seen() => Message::Plan {
                transfer,
                phase,
                plan: self.plan.clone(),
            },
            // Without a package there is only the phase to tell.
            ModulePhase::Package | ModulePhase::Install
                if !self.is_seen() && self.package.image.length > 0 =>
            {
                Message::Package {
                    transfer,
                    phase,
                    package: self.package.clone(),
                }
            }
            _ => Message::State(State {
                transfer,
                phase: self.phase,
                seen: self.mcu as u8 | if self.is_seen() { 0 } else { ANSWER },
                number: self.number,
                start: self.start,
                end: self.end,
            }),
        }
    }

    /// The MCU takes blocks without asking for each.
    pub(super) fn pushes(&self) -> bool {
        let takes = |ack: Ack| ack.phase == McuPhase::Receiving && ack.window > 0;
        self.phase == ModulePhase::Package && self.ack.is_some_and(takes)
    }

    /// The next block to send.
    pub(super) fn next_block(&mut self, session: &Session) -> Option<u32> {
        let ack = self.ack.filter(|ack| ack.phase == McuPhase::Receiving)?;
        if self.phase != ModulePhase::Package || self.bad_piece(session) {
            return None;
        }
        let window = ack.window.min(session.window);
        if let Some(offset) = self.window.next(window, self.start, self.end) {
            return Some(offset);
        }
        let (offset, to) = self.asked;
        if offset >= to || offset < self.start || offset >= self.end {
            return None;
        }
        self.asked.0 = offset.saturating_add(session.block.into());
        Some(offset)
    }

    /// A piece whose border cuts a block cannot be sent whole.
    pub(super) fn bad_piece(&self, session: &Session) -> bool {
        let cuts = |at: u32| !at.is_multiple_of(session.block.into());
        self.start < self.end
            && (cuts(self.start) || (self.end != self.package.image.length && cuts(self.end)))
    }

    /// What both phases ask of the component.
    pub(super) fn wanted(&self, session: &Session) -> Option<Output> {
        let ack = self.ack?;
        let base = self.window.base();
        match (self.phase, ack.phase) {
            (ModulePhase::Plan, McuPhase::Accepted) => Some(Output::Confirm),
            (ModulePhase::Plan, McuPhase::Refused) => Some(Output::Refuse(ack.number)),
            (ModulePhase::Package, McuPhase::Refused | McuPhase::Failed) => {
                Some(Output::Cancel(ack.number))
            }
            (ModulePhase::Install, McuPhase::Refused | McuPhase::Failed) if !self.trial => {
                Some(Output::Uninstalled(ack.number))
            }
            (ModulePhase::Package, McuPhase::Receiving) if self.start < self.end => {
                if self.bad_piece(session) {
                    Some(Output::Cancel(LinkError::LinkPieceBorder.number()))
                } else if base < self.start {
                    Some(Output::Rewind(base))
                } else if base >= self.end && self.end < self.package.image.length {
                    Some(Output::Release)
                } else {
                    None
                }
            }
            (
                ModulePhase::Package,
                McuPhase::Verifying | McuPhase::Ready | McuPhase::Installing,
            ) if self.start < self.end => {
                // It had the image before this component came to its last piece, as one has that begins anew.
                if self.end < self.package.image.length {
                    Some(Output::Release)
                } else {
                    (ack.phase == McuPhase::Installing).then_some(Output::Install)
                }
            }
            _ => None,
        }
    }

    pub(super) fn next_output(&mut self, now: Millis, session: &Session) -> Option<Output> {
        if !session.is_up() {
            return None;
        }
        let take = core::mem::take::<bool>;
        if take(&mut self.todo.up) {
            return Some(Output::Line(Line::Up));
        }
        if take(&mut self.todo.running) {
            return Some(Output::Running);
        }
        if take(&mut self.todo.request) {
            return Some(Output::Request);
        }
        if take(&mut self.todo.announce) {
            return Some(Output::Announce);
        }
        let Some(wanted) = self.wanted(session) else {
            // After a Release or a Rewind nothing can be read until the component says more; should that be lost, it is asked.
            return match self.acted {
                Some((done @ (Output::Release | Output::Rewind(_)), at)) => {
                    if now < at.saturating_add(ACTION) {
                        return None;
                    }
                    self.acted = Some((done, now));
                    Some(Output::Announce)
                }
                _ => {
                    self.acted = None;
                    None
                }
            };
        };
        if let Some((done, at)) = self.acted
            && done == wanted
            && now < at.saturating_add(ACTION)
        {
            return None;
        }
        self.acted = Some((wanted, now));
        match wanted {
            Output::Release => {
                (self.start, self.end) = (self.end, self.end);
                self.due = true;
            }
            // Asked for twice it would be answered with what is under way, and asked for again.
            Output::Rewind(_) => {
                (self.start, self.end) = (0, 0);
                self.due = true;
            }
            Output::Refuse(number) => {
                self.number = number;
                self.set_phase(ModulePhase::Failed);
            }
            _ => {}
        }
        Some(wanted)
    }

    /// The faster rate only while a package is received.
    pub(super) fn wanted_rate(&self, session: &Session) -> u32 {
        let receives = self.ack.is_some_and(|ack| ack.phase == McuPhase::Receiving);
        let (base, most) = (session.rate.base(), session.greatest_rate());
        match self.phase == ModulePhase::Package && receives && most > base {
            true => most,
            false => base,
        }
    }
}
