//! The phases of the MCU's end, and what comes into flash.

use super::clock::Clock;
use super::fields::Fields;
use super::{
    COMPONENT, Config, End, FLASH, Frame, HARDWARE, Output, Since, Slot, VERSION, WriteError,
};
use crate::field::{Boot, Image, kind};
use crate::frame::Writer;
use crate::message::{ANSWER, McuPhase, ModulePhase};
use crate::receive::{Blocks, Taken};
use crate::session::{Line, WINDOW_MOST, block_of, rounded};
use crate::timing::{Millis, Timing};
use sota_errors::{LinkError, McuError};

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
    fn idle(&mut self, transfer: u8, seen: ModulePhase) {
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

    fn on_phase(&mut self, transfer: u8, phase: ModulePhase, number: u16) {
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

    /// That is what it says of itself.
    #[inline(never)]
    fn is(&self, which: usize, text: &[u8]) -> bool {
        self.texts[which].is_some_and(|own| own.as_bytes() == text)
    }

    /// Whose image it is, and whether it fits.
    #[inline(never)]
    fn check(&self, component: &[u8], space: u32) -> Result<(), u16> {
        if !component.is_empty() && !self.is(COMPONENT, component) {
            return Err(LinkError::OtherComponent.number());
        }
        match self.slot != 0 && space > self.slot {
            true => Err(McuError::SlotTooSmall.number()),
            false => Ok(()),
        }
    }

    pub(super) fn on_plan(&mut self, payload: &[u8]) -> Result<(), LinkError> {
        let [transfer, phase, fields @ ..] = payload else {
            return Err(MALFORMED);
        };
        let mut fields = Fields::new(fields);
        let component = fields.find(kind::COMPONENT, 1, 32);
        let space = fields.number(kind::SPACE, 4, 0);
        fields.find(kind::TARGET, 0, 64);
        if fields.is_bad() {
            return Err(MALFORMED);
        }
        if *phase != ModulePhase::Plan as u8 {
            return Ok(());
        }
        self.due = true;
        if *transfer == self.transfer && self.has != ModulePhase::None {
            return Ok(());
        }
        self.idle(*transfer, ModulePhase::Plan);
        self.has = ModulePhase::Plan;
        match self.check(component, space) {
            Ok(()) => {
                self.set_phase(McuPhase::Considering);
                self.plan = true;
            }
            Err(number) => self.stop(McuPhase::Refused, number),
        }
        Ok(())
    }

    pub(super) fn on_package<S: Slot>(
        &mut self,
        payload: &[u8],
        slot: &mut S,
    ) -> Result<(), LinkError> {
        let [transfer, phase, fields @ ..] = payload else {
            return Err(MALFORMED);
        };
        let mut fields = Fields::new(fields);
        let component = fields.find(kind::COMPONENT, 1, 32);
        let hardware = fields.find(kind::HARDWARE, 1, 32);
        let target = fields.find(kind::TARGET, 0, 64);
        let length = fields.number(kind::LENGTH, 4, 0);
        let sha256 = fields.find(kind::SHA256, 32, 32);
        #[cfg(feature = "md5")]
        let md5 = fields.find(kind::MD5, 16, 16);
        #[cfg(feature = "crc32")]
        let crc32 = fields.find(kind::CRC32, 4, 4);
        if fields.is_bad() || length == 0 {
            return Err(MALFORMED);
        }
        let phase = match *phase {
            2 => ModulePhase::Package,
            3 => ModulePhase::Install,
            _ => return Ok(()),
        };
        self.due = true;
        if *transfer != self.transfer || self.has != ModulePhase::Package {
            self.idle(*transfer, ModulePhase::None);
            self.has = ModulePhase::Package;
            self.was_wrong = false;
            self.range = (0, 0);
            self.image.length = length;
            self.image.sha256 = None;
            if let Some(sha256) = sha256.as_array() {
                self.image.sha256 = Some(*sha256);
            }
            #[cfg(feature = "md5")]
            (self.image.md5 = md5.as_array().copied());
            #[cfg(feature = "crc32")]
            (self.image.crc32 = crc32.as_array().map(|crc32| u32::from_le_bytes(*crc32)));
            #[cfg(feature = "target")]
            {
                self.target.clear();
                let _ = self.target.extend_from_slice(target);
            }
            match self.wants(component, hardware, target) {
                Err(number) => self.stop(McuPhase::Refused, number),
                Ok(()) => self.begin(slot, McuPhase::Refused),
            }
        }
        self.on_phase(*transfer, phase, 0);
        Ok(())
    }

    /// Whether this package may be received.
    fn wants(&self, component: &[u8], hardware: &[u8], target: &[u8]) -> Result<(), u16> {
        self.check(component, self.image.length)?;
        if !hardware.is_empty() && !self.is(HARDWARE, hardware) {
            return Err(LinkError::OtherHardware.number());
        }
        if !self.image.has_digest() {
            return Err(LinkError::PackageWithoutDigest.number());
        }
        if !target.is_empty() && self.is(VERSION, target) {
            return Err(LinkError::SameVersion.number());
        }
        Ok(())
    }

    /// Receives from where the slot stands; where it does not take the image this end is Refused or Failed, as `or` says.
    #[inline(never)]
    fn begin<S: Slot>(&mut self, slot: &mut S, or: McuPhase) {
        match slot.begin(&self.image) {
            Err(number) => self.stop(or, number),
            Ok(offset) => {
                self.blocks = Blocks::new(self.block, self.window, self.image.length);
                self.blocks.set_base(offset);
                #[cfg(feature = "pull")]
                {
                    self.pull = crate::receive::Pull::new(self.timing);
                }
                self.set_phase(McuPhase::Receiving);
                self.complete();
            }
        }
    }

    /// Goes on when everything is written.
    fn complete(&mut self) {
        if self.blocks.is_complete() {
            self.set_phase(McuPhase::Verifying);
            self.verify = true;
        }
    }

    pub(super) fn verified<S: Slot>(&mut self, good: bool, slot: &mut S) {
        if self.phase != McuPhase::Verifying {
            return;
        }
        if good {
            self.set_phase(McuPhase::Ready);
            self.install = self.seen == ModulePhase::Install;
            return;
        }
        slot.forget();
        let again = !core::mem::replace(&mut self.was_wrong, true);
        if again && self.seen == ModulePhase::Package {
            self.begin(slot, McuPhase::Failed);
        } else {
            self.stop(McuPhase::Failed, McuError::ImageDigest.number());
        }
    }

    pub(super) fn on_data<S: Slot>(
        &mut self,
        payload: &[u8],
        slot: &mut S,
    ) -> Result<(), LinkError> {
        let [transfer, o0, o1, o2, o3, ref bytes @ ..] = *payload else {
            return Err(MALFORMED);
        };
        if bytes.is_empty() {
            return Err(MALFORMED);
        }
        let offset = u32::from_le_bytes([o0, o1, o2, o3]);
        if transfer != self.transfer || self.phase != McuPhase::Receiving {
            self.due = true;
            return Ok(());
        }
        #[cfg(feature = "pull")]
        if self.is_puller() {
            self.pull.on_block(self.clock.now, offset, bytes.len());
        }
        self.due |= !self.is_puller();
        match self.blocks.take(offset, bytes.len()) {
            Err(error) => {
                self.fault(error);
                return Ok(());
            }
            Ok(Taken::Known | Taken::Beyond) => return Ok(()),
            Ok(Taken::New) => {}
        }
        match slot.write(offset, bytes) {
            Ok(()) => {
                self.blocks.written(offset);
                let durable = slot.commit(self.blocks.contiguous());
                self.blocks.commit(durable, self.range.1);
                // Who pulls does not tell each block, but a piece that is durable is released.
                if self.is_puller() {
                    self.due |= self.blocks.base() >= self.range.1;
                }
                self.complete();
            }
            Err(WriteError::Redo(from)) => {
                self.blocks.redo(from);
                self.due = true;
            }
            Err(WriteError::Failed) => self.stop(McuPhase::Failed, FLASH),
        }
        Ok(())
    }
}
