//! The phases of the MCU's end.

use super::clock::Clock;
use super::{Config, End, Frame, Output, Since};
use crate::field::{Boot, Image};
use crate::frame::Writer;
use crate::message::{ANSWER, McuPhase, ModulePhase};
use crate::receive::Blocks;
use crate::session::{Line, WINDOW_MOST, block_of, rounded};
use crate::timing::{Millis, Timing};
use sota_errors::LinkError;

const MALFORMED: LinkError = LinkError::LinkMalformed;

impl End {
    /// Before the start: all of it zero, so that a static of it lies in no flash.
    pub(super) const ZERO: End = End {
        up: false,
        anew: false,
        went_down: false,
        answer_due: false,
        asks: false,
        #[cfg(feature = "pull")]
        is_puller: false,
        own_window: 0,
        window: 0,
        transfer: 0,
        phase: McuPhase::Idle,
        seen: ModulePhase::None,
        untold: false,
        due: false,
        hold: false,
        was_wrong: false,
        has: ModulePhase::None,
        plan: false,
        verify: false,
        install: false,
        ended: false,
        blocks: Blocks::NONE,
        session: 0,
        peer: 0,
        own_block: 0,
        block: 0,
        number: 0,
        reason: 0,
        error: 0,
        fault: 0,
        peer_error: 0,
        boot: Boot::Confirmed,
        timing: Timing::ZERO,
        hello_gap: 0,
        clock: Clock::ZERO,
        range: (0, 0),
        page: 0,
        slot: 0,
        baud: 0,
        own_rate: 0,
        texts: [None; 4],
        image: Image::NONE,
        #[cfg(feature = "target")]
        target: heapless::Vec::new(),
        #[cfg(feature = "rate")]
        rate: crate::rate::Rate::new(0),
        #[cfg(feature = "rate")]
        answer: 0,
        #[cfg(feature = "pull")]
        pull: crate::receive::Pull::NONE,
        #[cfg(feature = "pull")]
        asked: (0, 0),
    };

    /// Starts what is [`ZERO`](Self::ZERO).
    pub(super) fn start(&mut self, now: Millis, config: &Config, frame: usize) {
        self.own_block = rounded(config.block.min(block_of(frame)).max(64));
        self.own_window = config.window.clamp(1, WINDOW_MOST);
        self.session = config.session.max(1);
        self.boot = config.boot;
        self.page = config.page;
        self.slot = config.slot;
        self.baud = config.baud;
        self.own_rate = config.rate;
        self.texts = [
            Some(config.component),
            Some(config.version),
            Some(config.hardware),
            Some(config.bootloader),
        ];
        #[cfg(feature = "pull")]
        {
            self.is_puller = config.pulls;
        }
        #[cfg(feature = "rate")]
        {
            self.rate = crate::rate::Rate::new(config.baud);
        }
        (self.block, self.window) = (self.own_block, self.own_window);
        self.new_timing();
        self.clock.now = now;
        self.clock.never(Since::Error);
        self.clock.never(Since::Fault);
    }

    #[inline(never)]
    pub(super) fn is_idle(&self) -> bool {
        let busy = matches!(
            self.phase,
            McuPhase::Receiving | McuPhase::Verifying | McuPhase::Ready | McuPhase::Installing
        );
        !busy && !matches!(self.seen, ModulePhase::Package | ModulePhase::Install)
    }

    /// What the caller has to do.
    pub(super) fn next_output(&mut self) -> Option<Output> {
        let take = core::mem::take::<bool>;
        if take(&mut self.anew) {
            // The module offers again what there is.
            self.asks = false;
            self.idle(0, ModulePhase::None);
            self.due = false;
            return Some(Output::Line(Line::Up));
        }
        if let Some(line) = self.next_line() {
            #[cfg(feature = "pull")]
            if let Line::Baud(_) = line {
                self.pull = crate::receive::Pull::new(self.timing);
            }
            return Some(Output::Line(line));
        }
        if take(&mut self.verify) {
            return Some(Output::Verify);
        }
        if take(&mut self.install) {
            return Some(Output::Install);
        }
        if take(&mut self.ended) {
            return Some(Output::Ended(self.seen, self.reason));
        }
        None
    }

    /// Nothing is known of any transfer but its number and the module's phase.
    #[inline(never)]
    pub(super) fn idle(&mut self, transfer: u8, seen: ModulePhase) {
        self.set_phase(McuPhase::Idle);
        self.transfer = transfer;
        self.seen = seen;
        self.number = 0;
        self.has = ModulePhase::None;
        self.blocks = Blocks::NONE;
        self.verify = false;
        self.install = false;
        self.untold = false;
    }

    #[inline(never)]
    pub(super) fn set_phase(&mut self, phase: McuPhase) {
        self.phase = phase;
        self.untold = true;
        self.due = true;
    }

    /// Refused or Failed.
    #[inline(never)]
    pub(super) fn stop(&mut self, phase: McuPhase, number: u16) {
        self.number = number;
        self.set_phase(phase);
    }

    /// The frame of the transfer that is due.
    pub(super) fn next_own(&mut self) -> Option<Frame> {
        let beat = self.timing.beat(self.is_idle());
        let beats = self.clock.is_over(Since::Sent, beat);
        let repeats = self.untold & self.clock.is_over(Since::Told, self.timing.repeat());
        if self.due | repeats | beats {
            self.due = false;
            self.clock.mark(Since::Told);
            return Some(Frame::Ack);
        }
        #[cfg(feature = "pull")]
        if self.pulls()
            && let Some(asked) = self.pull.next(self.clock.now, &self.blocks, self.range)
        {
            self.asked = asked;
            return Some(Frame::Request);
        }
        None
    }

    /// Without the feature an MCU takes what is pushed.
    pub(super) fn is_puller(&self) -> bool {
        #[cfg(feature = "pull")]
        return self.is_puller;
        #[cfg(not(feature = "pull"))]
        false
    }

    #[cfg(feature = "pull")]
    pub(super) fn pulls(&self) -> bool {
        self.is_puller && self.phase == McuPhase::Receiving && !self.hold
    }

    pub(super) fn write_ack(&self, w: &mut Writer<'_>) {
        let waits = self.hold || self.is_puller();
        let bitmap = match self.phase {
            McuPhase::Receiving => self.blocks.bitmap(),
            _ => 0,
        };
        w.u8(self.transfer).u8(self.phase as u8);
        w.u8(self.seen as u8 | if self.untold { ANSWER } else { 0 });
        w.u16(self.number).u8(if waits { 0 } else { self.window });
        w.u8(bitmap).u32(self.blocks.base());
    }

    pub(super) fn on_state(&mut self, payload: &[u8]) -> Result<(), LinkError> {
        let [
            transfer,
            phase,
            seen,
            n0,
            n1,
            s0,
            s1,
            s2,
            s3,
            e0,
            e1,
            e2,
            e3,
        ] = *payload
        else {
            return Err(MALFORMED);
        };
        let phase = ModulePhase::new(phase).ok_or(MALFORMED)?;
        let end = u32::from_le_bytes([e0, e1, e2, e3]);
        self.due |= seen & ANSWER != 0;
        if transfer == self.transfer {
            self.untold = seen & !ANSWER != self.phase as u8;
            self.range = (u32::from_le_bytes([s0, s1, s2, s3]), end);
            if self.phase == McuPhase::Receiving {
                self.due |= self.blocks.commit(0, end);
            }
        }
        self.on_phase(transfer, phase, u16::from_le_bytes([n0, n1]));
        Ok(())
    }

    pub(super) fn on_phase(&mut self, transfer: u8, phase: ModulePhase, number: u16) {
        if phase.is_over() {
            if self.phase != McuPhase::Idle {
                self.idle(transfer, phase);
                (self.ended, self.reason) = (true, number);
            }
            self.transfer = transfer;
            self.seen = phase;
            return;
        }
        let needs = match phase {
            ModulePhase::Plan => ModulePhase::Plan,
            _ => ModulePhase::Package,
        };
        if transfer != self.transfer || self.has != needs {
            return;
        }
        let again = self.seen == phase;
        self.seen = phase;
        if phase == ModulePhase::Install {
            match self.phase {
                McuPhase::Ready | McuPhase::Installing => self.install |= !again,
                McuPhase::Receiving => {
                    self.stop(McuPhase::Failed, LinkError::LinkNotReady.number());
                }
                // What is verified now is installed then.
                _ => {}
            }
        }
    }
}
