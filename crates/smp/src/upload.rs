//! Which part of the image goes next.
//!
//! Each answer tells how much the server has: a part that is not the next one is dropped by it. So whatever was lost,
//! the upload goes on where the server stands, and nothing is sent that it has.
//!
//! | answer | then |
//! |---|---|
//! | the end of the part | the next part |
//! | more | it had it before: on from there |
//! | less than the part's begin | a part before was lost: on from there, once nothing else is on its way |
//! | less than it had told | it was reset: [`Done::Rewind`] |

use crate::client::{Client, Done, Source, Step, WINDOW};
use crate::message::{First, UPLOAD, Upload};
use crate::wire::PACKET;
use crate::{Millis, SmpError};

/// Least packet that parts are made smaller to.
const SMALLEST: usize = 128;
/// Parts that go one at a time after a time-out.
const SLOW: u8 = 32;
/// Bytes of an image that its first part must have: MCUboot's header.
const HEAD: u32 = 32;

/// How far the upload is.
pub(crate) struct Parts {
    length: u32,
    sha256: Option<[u8; 32]>,
    start: u32,
    end: u32,
    /// Where the next part begins.
    next: u32,
    /// What the server told last.
    pub(crate) has: u32,
    /// The server told in this job.
    told: bool,
    /// It has less than it told.
    gone: bool,
    /// Nothing is sent until nothing is on its way.
    drains: bool,
    /// One part at a time for so many more: more at once were too many.
    slow: u8,
    /// Greatest packet.
    limit: usize,
}

impl Parts {
    pub(crate) const NONE: Parts = Parts::new(0, None);

    pub(crate) const fn new(length: u32, sha256: Option<[u8; 32]>) -> Parts {
        Parts {
            length,
            sha256,
            start: 0,
            end: 0,
            next: 0,
            has: 0,
            told: false,
            gone: false,
            drains: false,
            slow: 0,
            limit: PACKET,
        }
    }

    pub(crate) fn begin(&mut self, start: u32, end: u32) {
        (self.start, self.end) = (start, end.min(self.length));
        (self.told, self.gone, self.drains) = (false, false, false);
        (self.slow, self.limit) = (0, PACKET);
        self.next = self.first();
    }

    /// Where to begin: what the server has is not sent again.
    fn first(&self) -> u32 {
        match self.has > self.start && self.has < self.end {
            true => self.has,
            false => self.start,
        }
    }

    /// The server has all, or less than it had.
    pub(crate) fn is_done(&self) -> bool {
        self.gone || (self.told && self.has >= self.end)
    }

    /// An answer to the part that ends at `end`; whether the server has more than before.
    pub(crate) fn answered(&mut self, offset: u32, end: u32) -> bool {
        let before = self.has;
        self.gone = offset < self.start || (offset < before && offset < end);
        self.drains |= offset != end;
        (self.has, self.told) = (offset.min(self.length), true);
        self.slow = self.slow.saturating_sub(1);
        self.has > before
    }

    /// The slot was erased: all is gone.
    pub(crate) fn lost(&mut self) {
        self.gone = self.start > 0;
        (self.has, self.next, self.told) = (0, self.start, false);
    }

    /// On from where the server stands, once nothing is on its way.
    pub(crate) fn drain(&mut self) {
        self.drains = true;
    }

    /// Smaller packets; whether that can be.
    pub(crate) fn smaller(&mut self) -> bool {
        let limit = self.limit / 2;
        if limit < SMALLEST {
            return false;
        }
        self.limit = limit;
        true
    }

    /// The greatest packets again.
    pub(crate) fn widen(&mut self) {
        self.limit = PACKET;
    }

    /// Nothing is on its way any more.
    pub(crate) fn timed_out(&mut self, failures: u8) {
        (self.drains, self.slow) = (true, SLOW);
        if failures > 0 {
            self.smaller();
        }
    }
}

impl Client {
    /// Whether a part may go now.
    pub(crate) fn may_send(&self) -> bool {
        let parts = &self.parts;
        if parts.drains || parts.is_done() {
            return self.open.is_empty();
        }
        let buffers = self.parameters.map_or(1, |its| its.count as usize);
        let window = match parts.told && parts.slow == 0 {
            true => usize::from(self.config.window).min(buffers.saturating_sub(1)),
            false => 1,
        };
        self.open.len() < window.clamp(1, WINDOW) && (parts.next < parts.end || !parts.told)
    }

    /// Sends parts; `true`: there is nothing more to do now.
    pub(crate) fn upload_poll(&mut self, now: Millis, source: &mut dyn Source) -> bool {
        if self.parts.is_done() {
            self.open.clear();
            let done = match self.parts.gone {
                true => Done::Rewind(self.parts.has),
                false => Done::Done,
            };
            self.end(done);
            return false;
        }
        if !self.may_send() {
            return true;
        }
        if core::mem::take(&mut self.parts.drains) {
            self.parts.next = match self.parts.told {
                true => self.parts.has,
                false => self.parts.first(),
            };
        }
        let Parts {
            length, next, end, ..
        } = self.parts;
        let first = (next == 0).then_some(First {
            length,
            sha256: self.parts.sha256,
            image: self.config.image,
            upgrade: self.config.upgrade,
        });
        let part = Upload {
            first,
            offset: next,
            most: end.saturating_sub(next),
        };
        let (version, seq) = (self.version, self.next_seq(UPLOAD));
        let size = self.packet_size().min(self.parts.limit);
        let (mut read, mut count) = (true, 0);
        let sent = self.tx.send(|out| {
            let out = out.get_mut(..size)?;
            let fill = |place: &mut [u8]| {
                read = source.read(next, place);
                read
            };
            let (packet, bytes) = part.emit(version, seq, out, fill)?;
            count = bytes;
            Some(packet)
        });
        let too_small = first.is_some() && count < HEAD.min(end);
        match sent {
            _ if !read => self.fatal(SmpError::SmpSource, None),
            Some(bytes) if !too_small => {
                let wait = match first {
                    Some(_) => self.config.times.erase_ms,
                    None => self.config.times.answer_ms,
                };
                self.parts.next = next.saturating_add(count);
                self.opened(now, bytes, wait, self.parts.next);
                // the next one when the UART has taken this one
                return true;
            }
            _ => {
                self.tx.clear();
                self.fatal(SmpError::SmpBufferTooSmall, None);
            }
        }
        debug_assert!(self.step == Step::Upload);
        false
    }
}
