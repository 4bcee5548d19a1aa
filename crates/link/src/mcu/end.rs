//! The phases of the MCU's end, and what comes into flash.

use super::{End, Output, Slot, WriteError};
use crate::field::{Hello, Package, Plan};
use crate::message::{ANSWER, Ack, McuPhase, ModulePhase, State};
use crate::receive::{Blocks, Pull, Taken};
use crate::session::McuSession as Session;
use crate::timing::Millis;
use sota_errors::{LinkError, McuError};

/// Without the feature an MCU takes what is pushed.
pub(super) const PULLS: bool = cfg!(feature = "pull");

impl End {
    pub(super) fn is_idle(&self) -> bool {
        let busy = matches!(
            self.phase,
            McuPhase::Receiving | McuPhase::Verifying | McuPhase::Ready | McuPhase::Installing
        );
        !busy && !matches!(self.seen, ModulePhase::Package | ModulePhase::Install)
    }

    /// The link is up anew: the module offers again what there is.
    pub(super) fn anew(&mut self) {
        self.idle();
        self.transfer = 0;
        self.seen = ModulePhase::None;
        self.due = false;
    }

    #[inline(never)]
    pub(super) fn idle(&mut self) {
        self.set_phase(McuPhase::Idle);
        self.number = 0;
        self.has_plan = false;
        self.has_package = false;
        self.verify = false;
        self.install = false;
        self.told = true;
    }

    #[inline(never)]
    pub(super) fn set_phase(&mut self, phase: McuPhase) {
        self.phase = phase;
        self.told = false;
        self.due = true;
    }

    #[inline(never)]
    pub(super) fn refused(&mut self, number: u16) {
        self.number = number;
        self.set_phase(McuPhase::Refused);
    }

    #[inline(never)]
    pub(super) fn failed(&mut self, number: u16) {
        self.number = number;
        self.set_phase(McuPhase::Failed);
    }

    pub(super) fn pulls(&self, session: &Session) -> bool {
        PULLS && session.own.pulls && self.phase == McuPhase::Receiving && !self.hold
    }

    pub(super) fn ack(&self, session: &Session) -> Ack {
        let receives = self.phase == McuPhase::Receiving;
        let waits = self.hold || (PULLS && session.own.pulls);
        Ack {
            transfer: self.transfer,
            phase: self.phase,
            seen: self.seen as u8 | if self.told { 0 } else { ANSWER },
            number: self.number,
            window: if waits { 0 } else { session.window },
            bitmap: if receives { self.blocks.bitmap() } else { 0 },
            offset: if self.has_package {
                self.blocks.base()
            } else {
                0
            },
        }
    }

    pub(super) fn on_state(&mut self, state: State) {
        self.due |= state.seen & ANSWER != 0;
        if state.transfer == self.transfer {
            self.told = state.seen & !ANSWER == self.phase as u8;
            self.range = (state.start, state.end);
            if self.phase == McuPhase::Receiving {
                let before = self.blocks.base();
                self.blocks.commit(before, state.end);
                self.due |= self.blocks.base() != before;
            }
        }
        self.on_phase(state.transfer, state.phase, state.number);
    }

    pub(super) fn on_phase(&mut self, transfer: u8, phase: ModulePhase, number: u16) {
        if phase.is_over() {
            self.transfer = transfer;
            self.seen = phase;
            if self.phase != McuPhase::Idle {
                self.idle();
                self.ended = Some((phase, number));
            }
            return;
        }
        let has = match phase {
            ModulePhase::Plan => self.has_plan,
            _ => self.has_package,
        };
        if transfer != self.transfer || !has {
            return;
        }
        let again = self.seen == phase;
        self.seen = phase;
        if phase == ModulePhase::Install {
            match self.phase {
                McuPhase::Ready | McuPhase::Installing => self.install |= !again,
                McuPhase::Receiving => self.failed(LinkError::LinkNotReady.number()),
                // What is verified now is installed then.
                _ => {}
            }
        }
    }

    /// Whose image it is, and whether it fits.
    pub(super) fn check(component: &str, space: u32, own: &Hello) -> Result<(), u16> {
        if !component.is_empty() && component != own.component.as_str() {
            return Err(LinkError::OtherComponent.number());
        }
        match own.slot != 0 && space > own.slot {
            true => Err(McuError::SlotTooSmall.number()),
            false => Ok(()),
        }
    }

    pub(super) fn on_plan(
        &mut self,
        transfer: u8,
        phase: u8,
        plan: Plan,
        session: &Session,
    ) -> Option<Output> {
        let phase = ModulePhase::new(phase).filter(|phase| *phase == ModulePhase::Plan)?;
        self.due = true;
        if transfer == self.transfer && (self.has_plan || self.has_package) {
            return None;
        }
        self.idle();
        self.transfer = transfer;
        self.has_plan = true;
        self.seen = phase;
        match Self::check(&plan.component, plan.use_space, &session.own) {
            Ok(()) => {
                self.set_phase(McuPhase::Considering);
                Some(Output::Plan(plan))
            }
            Err(number) => {
                self.refused(number);
                None
            }
        }
    }

    #[inline(never)]
    pub(super) fn on_package<S: Slot>(
        &mut self,
        transfer: u8,
        phase: u8,
        package: &Package,
        session: &Session,
        slot: &mut S,
    ) {
        let Some(phase) = ModulePhase::new(phase)
            .filter(|phase| matches!(phase, ModulePhase::Package | ModulePhase::Install))
        else {
            return;
        };
        self.due = true;
        if transfer != self.transfer || !self.has_package {
            self.idle();
            self.transfer = transfer;
            self.has_package = true;
            self.failures = 0;
            self.seen = ModulePhase::None;
            self.range = (0, 0);
            let wanted = Self::wants(package, &session.own);
            self.image.clone_from(&package.image);
            match wanted.and_then(|()| slot.begin(&self.image)) {
                Ok(offset) => self.receive(offset, session),
                Err(number) => self.refused(number),
            }
        }
        self.on_phase(transfer, phase, 0);
    }

    /// Whether this package may be received.
    fn wants(package: &Package, own: &Hello) -> Result<(), u16> {
        let image = &package.image;
        Self::check(&package.component, image.length, own)?;
        if !package.hardware.is_empty() && package.hardware != own.hardware {
            return Err(LinkError::OtherHardware.number());
        }
        if image.digest().is_none() {
            return Err(LinkError::PackageWithoutDigest.number());
        }
        if !image.target.is_empty() && image.target == own.version {
            return Err(LinkError::SameVersion.number());
        }
        Ok(())
    }

    /// Receives from here on.
    pub(super) fn receive(&mut self, offset: u32, session: &Session) {
        self.blocks = Blocks::new(session.block, session.window, self.image.length);
        self.blocks.set_base(offset);
        if PULLS {
            self.pull = Pull::new(session.timing);
        }
        self.set_phase(McuPhase::Receiving);
        self.complete();
    }

    /// Goes on when everything is written.
    pub(super) fn complete(&mut self) {
        if self.blocks.is_complete() {
            self.set_phase(McuPhase::Verifying);
            self.verify = true;
        }
    }

    #[inline(never)]
    pub(super) fn on_data<S: Slot>(
        &mut self,
        now: Millis,
        transfer: u8,
        offset: u32,
        bytes: &[u8],
        session: &mut Session,
        slot: &mut S,
    ) {
        if transfer != self.transfer || self.phase != McuPhase::Receiving {
            self.due = true;
            return;
        }
        if PULLS && session.own.pulls {
            self.pull.on_block(now, offset, bytes.len());
        } else {
            self.due = true;
        }
        match self.blocks.take(offset, bytes.len()) {
            Err(error) => return session.fault(error),
            Ok(Taken::Known | Taken::Beyond) => return,
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
            Err(WriteError::Failed) => self.failed(McuError::McuFlash.number()),
        }
    }
}
