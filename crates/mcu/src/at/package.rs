//! The package: into the other slot, and whether it is what was announced.

use super::dialogue::{FAILED_MS, KEEP_MS, SAY_AGAIN_MS};
use super::{AtAgent, Phase};
use crate::digest::Digests;
use crate::flash::FlashFailed;
use crate::layout::WORD_MOST;
use embedded_storage::nor_flash::NorFlash;
use sota_errors::McuError;
use sota_link::Millis;
use sota_link::field::{Image, Resume};
use sota_link::mcu::Slot;

/// Wrong digests of one package before it is given up.
const WRONG: u8 = 2;

/// The image that the flash holds a part of, as far as it is known after a reset.
pub(super) fn image_of(resume: &Resume) -> Image {
    let mut image = Image {
        length: resume.length,
        ..Image::default()
    };
    let bytes = resume.digest.as_bytes();
    image.sha256 = bytes.try_into().ok();
    image.md5 = bytes.try_into().ok();
    image.crc32 = bytes.try_into().ok().map(u32::from_le_bytes);
    image
}

impl<const BLOCK: usize> AtAgent<BLOCK> {
    /// First byte of the package that is wanted.
    pub(super) fn place(&self) -> u32 {
        self.at + u32::from(self.rx.fill)
    }

    /// Receives this image from where the flash can go on.
    pub(super) fn take<F: NorFlash>(&mut self, now: Millis, flash: &mut F, image: Image) {
        self.image = image;
        self.begin(now, flash);
    }

    /// The same of the image that is there.
    pub(super) fn begin<F: NorFlash>(&mut self, now: Millis, flash: &mut F) {
        self.plans.clear();
        self.packages.clear();
        self.drop_transfer();
        match self.slot.access(flash, &self.layout).begin(&self.image) {
            Ok(offset) => {
                self.at = offset;
                self.talk.pending = true;
                self.talk.go(Phase::Receiving);
                // 10703 stands behind 10701.
                self.wait(now, SAY_AGAIN_MS);
            }
            Err(number) => self.fail(now, number),
        }
    }

    /// Nothing of a package is on its way any more.
    pub(super) fn drop_transfer(&mut self) {
        self.verifies = None;
        self.rx.fill = 0;
        self.talk.no_piece();
    }

    /// Everything is written.
    pub(super) fn begin_verify(&mut self, now: Millis) {
        self.talk.phase = Phase::Verifying;
        self.verifies = Some(Digests::new(self.layout.other, self.image.length));
        self.wait(now, KEEP_MS);
    }

    /// So many bytes came behind those that the block has.
    pub(super) fn on_data<F: NorFlash>(&mut self, now: Millis, flash: &mut F, got: u16) {
        if self.config.reads_twice && !self.rx.is_same() {
            self.talk.read_once(got);
            return;
        }
        self.talk.read_on();
        self.rx.fill += got;
        let end = self.place() >= self.image.length;
        if (usize::from(self.rx.fill) == BLOCK || end)
            && let Err(number) = self.flush(flash)
        {
            self.fail(now, number);
        }
    }

    /// Writes what the block has: whole words, or the package's end.
    pub(super) fn flush<F: NorFlash>(&mut self, flash: &mut F) -> Result<(), u16> {
        let fill = u32::from(self.rx.fill);
        let n = match self.place() >= self.image.length {
            true => fill,
            false => fill - fill % WORD_MOST,
        };
        if n == 0 {
            return Ok(());
        }
        let mut access = self.slot.access(flash, &self.layout);
        let bytes = self.rx.block().get(..n as usize).unwrap_or_default();
        (access.write(self.at, bytes)).map_err(|_| McuError::McuFlash.number())?;
        self.at += n;
        access.commit(self.at);
        self.rx.drop_front(n as u16);
        Ok(())
    }

    /// One step, while there is something to verify.
    #[inline(never)]
    pub(super) fn verify<F: NorFlash>(&mut self, now: Millis, flash: &mut F) {
        if self.talk.phase != Phase::Verifying {
            self.verifies = None;
        }
        let Some(digests) = &mut self.verifies else {
            return;
        };
        let good = match digests.step(flash) {
            Ok(false) => return,
            Ok(true) => self.judge(flash),
            Err(error) => Err(error.number()),
        };
        self.verifies = None;
        match good {
            Ok(true) => self.ready(),
            Ok(false) => self.receive_again(now, flash),
            Err(number) => self.fail(now, number),
        }
    }

    /// Everything is hashed: whether it is the package, or why it is not to run all the same.
    fn judge<F: NorFlash>(&mut self, flash: &mut F) -> Result<bool, u16> {
        let image = &self.image;
        let Some(digests) = self.verifies.as_ref().filter(|is| is.match_image(image)) else {
            return Ok(false);
        };
        #[cfg(feature = "mcuboot")]
        if self.config.mcuboot {
            crate::mcuboot::judge(flash, &self.layout, image.length)?;
        }
        self.slot
            .set_verified(flash, digests.crc32())
            .map_err(FlashFailed::number)?;
        Ok(true)
    }

    pub(super) fn ready(&mut self) {
        self.due.verified = self.config.asks_first;
        self.talk.go(match self.config.asks_first {
            true => Phase::Ready,
            false => Phase::Installing,
        });
    }

    /// The flash does not hold what was announced: a byte was harmed that nothing else tells. It is received once more, where
    /// the module can still give all of it.
    fn receive_again<F: NorFlash>(&mut self, now: Millis, flash: &mut F) {
        self.slot.access(flash, &self.layout).forget();
        let wrong = self.talk.count_wrong();
        let piece = self.talk.piece();
        let first = piece.is_some_and(|(start, _)| start == 0);
        if wrong >= WRONG || !(first || self.config.sota_commands) {
            return self.fail(now, McuError::ImageDigest.number());
        }
        self.begin(now, flash);
        self.talk.set_piece(piece);
    }

    /// This upgrade comes to nothing. The module has no command for that: it gives up an MCU that does not read.
    pub(super) fn fail(&mut self, now: Millis, number: u16) {
        self.due.ended = Some(number);
        self.talk.pending = false;
        self.plans.clear();
        self.packages.clear();
        self.drop_transfer();
        self.talk.go(Phase::Failed);
        self.wait(now, FAILED_MS);
    }
}
