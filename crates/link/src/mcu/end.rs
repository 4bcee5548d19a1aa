//! The phases of the MCU's end, and what comes into flash.

use super::clock::Clock;
use super::fields::Fields;
use super::{Config, End, FAILURES, FLASH, Frame, Output, Since, Slot, WriteError, text};
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
        failures: 0,
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
        peer_error: None,
        boot: Boot::Confirmed,
        timing: Timing::ZERO,
        hello_gap: 0,
        clock: Clock::ZERO,
        range: (0, 0),
        page: 0,
        slot: 0,
        baud: 0,
        own_rate: 0,
        component: None,
        version: None,
        hardware: None,
        bootloader: None,
        image: Image::NONE,
        target: heapless::Vec::new(),
        #[cfg(feature = "rate")]
        rate: crate::rate::Rate::new(0),
        #[cfg(feature = "pull")]
        pull: crate::receive::Pull::NONE,
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
        self.component = Some(config.component);
        self.version = Some(config.version);
        self.hardware = Some(config.hardware);
        self.bootloader = Some(config.bootloader);
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
        let repeat = self.untold && self.clock.is_over(Since::Told, self.timing.repeat());
        let beat = self.timing.beat(self.is_idle());
        if self.due || repeat || self.clock.is_over(Since::Sent, beat) {
            self.due = false;
            self.clock.mark(Since::Told);
            return Some(Frame::Ack);
        }
        #[cfg(feature = "pull")]
        if self.pulls()
            && let Some((offset, length)) = self.pull.next(self.clock.now, &self.blocks, self.range)
        {
            return Some(Frame::Request(offset, length));
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
        let offset = match self.has {
            ModulePhase::Package => self.blocks.base(),
            _ => 0,
        };
        w.u8(self.transfer).u8(self.phase as u8);
        w.u8(self.seen as u8 | if self.untold { ANSWER } else { 0 });
        w.u16(self.number).u8(if waits { 0 } else { self.window });
        w.u8(bitmap).u32(offset);
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
                let before = self.blocks.base();
                self.blocks.commit(before, end);
                self.due |= self.blocks.base() != before;
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

    /// Whose image it is, and whether it fits.
    #[inline(never)]
    fn check(&self, component: &[u8], space: u32) -> Result<(), u16> {
        if !component.is_empty() && component != text(self.component).as_bytes() {
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
        let crc32 = fields.find(kind::CRC32, 4, 4);
        let image = Image {
            length: fields.number(kind::LENGTH, 4, 0),
            sha256: fields.find(kind::SHA256, 32, 32).try_into().ok(),
            md5: fields.find(kind::MD5, 16, 16).try_into().ok(),
            crc32: crc32.try_into().ok().map(u32::from_le_bytes),
        };
        if fields.is_bad() || image.length == 0 {
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
            self.failures = 0;
            self.range = (0, 0);
            self.image = image;
            self.target.clear();
            let _ = self.target.extend_from_slice(target);
            match self.wants(component, hardware) {
                Err(number) => self.stop(McuPhase::Refused, number),
                Ok(()) => self.begin(slot, McuPhase::Refused),
            }
        }
        self.on_phase(*transfer, phase, 0);
        Ok(())
    }

    /// Whether this package may be received.
    fn wants(&self, component: &[u8], hardware: &[u8]) -> Result<(), u16> {
        self.check(component, self.image.length)?;
        if !hardware.is_empty() && hardware != text(self.hardware).as_bytes() {
            return Err(LinkError::OtherHardware.number());
        }
        if self.image.digest().is_none() {
            return Err(LinkError::PackageWithoutDigest.number());
        }
        if !self.target.is_empty() && self.target == text(self.version).as_bytes() {
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

    #[inline(never)]
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
        self.failures = self.failures.saturating_add(1);
        if self.failures < FAILURES && self.seen == ModulePhase::Package {
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
        let [transfer, o0, o1, o2, o3, bytes @ ..] = payload else {
            return Err(MALFORMED);
        };
        if bytes.is_empty() {
            return Err(MALFORMED);
        }
        let offset = u32::from_le_bytes([*o0, *o1, *o2, *o3]);
        if *transfer != self.transfer || self.phase != McuPhase::Receiving {
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
                // A piece that is durable is released.
                self.due |= self.blocks.base() >= self.range.1;
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
