//! What the MCU's end does with a Plan, a Package and its Data: whether it wants them, and how the bytes come into flash.

use super::fields::Fields;
use super::{COMPONENT, End, FLASH, HARDWARE, Slot, VERSION, WriteError};
use crate::field::kind;
use crate::message::{McuPhase, ModulePhase};
use crate::receive::{Blocks, Taken};
use sota_errors::{LinkError, McuError};

const MALFORMED: LinkError = LinkError::LinkMalformed;

impl End {
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
