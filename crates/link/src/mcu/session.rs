//! The MCU's share of what is the same at both ends: hello, heartbeats, the silent peer, error frames, the baud rate.
//! The states are those of `crate::session`; the frames are read where they lie.

use super::fields::Fields;
use super::{Config, End, Frame, Since, Slot, TEXTS};
use crate::field::{Boot, kind};
use crate::frame::{Body, Tx, Writer};
use crate::message::{FROM_MCU, VERSION};
use crate::session::{Line, rounded};
use crate::timing::{ERROR, HELLO_FIRST, HELLO_MOST, Millis, Timing};
use sota_errors::LinkError;

const MALFORMED: LinkError = LinkError::LinkMalformed;

impl Config {
    /// What can be: texts that fit in their fields and in a hello.
    pub const fn is_valid(&self) -> bool {
        self.component.len() <= 32
            && self.version.len() <= 64
            && self.hardware.len() <= 32
            && self.bootloader.len() <= 32
    }
}

impl End {
    pub(super) const fn tag(&self) -> u16 {
        self.session ^ self.peer
    }

    /// Something is wrong with what came: it is told here, and to the other end if that can mend it.
    #[inline(never)]
    pub(super) fn fault(&mut self, error: LinkError) {
        let known_here_alone = matches!(error, LinkError::LinkSilent | LinkError::LinkRate);
        // More than a harmed frame that waits to be told.
        if known_here_alone || self.fault == 0 {
            self.fault = error.number();
        }
        if !known_here_alone && error != LinkError::LinkEcho && self.error == 0 {
            self.error = error.number();
        }
    }

    /// Acts on a decoded frame, if it is for this session and this end.
    #[inline(never)]
    pub(super) fn on_frame<S: Slot>(&mut self, body: &Body<'_>, slot: &mut S) {
        if let Err(error) = self.take(body, slot) {
            self.fault(error);
        }
    }

    fn take<S: Slot>(&mut self, body: &Body<'_>, slot: &mut S) -> Result<(), LinkError> {
        let payload = body.payload;
        if body.kind & FROM_MCU != 0 {
            return Err(LinkError::LinkEcho);
        }
        if let 1..=2 = body.kind {
            return self.on_hello(body.kind == 2, payload);
        }
        let before_hello = body.kind == 3 && (!self.up || body.tag == 0);
        // Sent to the end that was here before a reset: stale, and nobody's fault.
        if !before_hello && (!self.up || body.tag != self.tag()) {
            return Ok(());
        }
        match body.kind {
            3 => return self.on_error(payload),
            4 => self.on_state(payload)?,
            5 => self.on_plan(payload)?,
            6 => self.on_package(payload, slot)?,
            7 => self.on_data(payload, slot)?,
            #[cfg(feature = "rate")]
            8..=9 => self.on_rate(body.kind, payload)?,
            _ => return Err(LinkError::LinkUnknownType),
        }
        self.clock.mark(Since::Heard);
        #[cfg(feature = "rate")]
        self.rate.heard();
        Ok(())
    }

    fn on_error(&mut self, payload: &[u8]) -> Result<(), LinkError> {
        let [low, high, ..] = *payload else {
            return Err(MALFORMED);
        };
        if self.peer_error == 0 {
            self.peer_error = u16::from_le_bytes([low, high]);
        }
        Ok(())
    }

    #[cfg(feature = "rate")]
    fn on_rate(&mut self, kind: u8, payload: &[u8]) -> Result<(), LinkError> {
        let baud = u32::from_le_bytes(payload.try_into().map_err(|_| MALFORMED)?);
        // The module's are questions only.
        match kind {
            8 => self.rate.on_rate(baud, self.own_rate),
            _ => self.rate.on_probe(baud),
        }
        self.new_timing();
        Ok(())
    }

    fn on_hello(&mut self, answer: bool, payload: &[u8]) -> Result<(), LinkError> {
        let [version, session0, session1, peer0, peer1, fields @ ..] = payload else {
            return Err(MALFORMED);
        };
        let mut fields = Fields::new(fields);
        let block = fields.number(kind::BLOCK, 2, 64) as u16;
        let window = fields.number(kind::WINDOW, 1, 1) as u8;
        // The module asks for a rate that both can do; a field that is none is malformed all the same.
        fields.find(kind::RATE, 4, 4);
        if fields.is_bad() || block < 64 {
            return Err(MALFORMED);
        }
        if *version == 0 {
            return Err(LinkError::LinkVersion);
        }
        let for_this = u16::from_le_bytes([*peer0, *peer1]) == self.session;
        if answer && (self.up || !for_this) {
            return Ok(());
        }
        self.answer_due |= !answer;
        self.peer = u16::from_le_bytes([*session0, *session1]);
        self.block = self.own_block.min(rounded(block));
        self.window = self.own_window.min(window.max(1));
        #[cfg(feature = "rate")]
        self.rate.reset();
        self.new_timing();
        self.clock.mark(Since::Heard);
        self.up = true;
        self.anew = true;
        Ok(())
    }

    pub(super) fn new_timing(&mut self) {
        self.timing = Timing::new(self.block, self.baud());
    }

    #[cfg(feature = "rate")]
    fn baud(&self) -> u32 {
        self.rate.baud()
    }

    #[cfg(not(feature = "rate"))]
    fn baud(&self) -> u32 {
        self.baud
    }

    /// No frames but the rate's are sent while that changes.
    fn is_steady(&self) -> bool {
        #[cfg(feature = "rate")]
        return self.rate.is_steady();
        #[cfg(not(feature = "rate"))]
        true
    }

    fn is_fast(&self) -> bool {
        #[cfg(feature = "rate")]
        return self.rate.is_fast();
        #[cfg(not(feature = "rate"))]
        false
    }

    /// Says Hello again, because what it says has changed.
    pub(super) fn renew(&mut self) {
        self.up = false;
        self.anew = false;
        self.hello_gap = 0;
    }

    fn dead(&self) -> u32 {
        self.timing.dead(self.is_idle(), self.is_fast())
    }

    /// What time does. `sent`: nothing is on its way to the UART.
    pub(super) fn on_time(&mut self, sent: bool) {
        let _ = sent;
        #[cfg(feature = "rate")]
        {
            if self.rate.poll(self.clock.now, self.timing, sent) {
                self.fault(LinkError::LinkRate);
            }
            self.new_timing();
        }
        if self.up && self.clock.is_over(Since::Heard, self.dead()) {
            self.renew();
            self.went_down = true;
            #[cfg(feature = "rate")]
            self.rate.fall_back();
            self.new_timing();
            self.fault(LinkError::LinkSilent);
        }
    }

    /// What the caller has to know about the line.
    pub(super) fn next_line(&mut self) -> Option<Line> {
        if core::mem::take(&mut self.went_down) {
            return Some(Line::Down);
        }
        #[cfg(feature = "rate")]
        if let Some(baud) = self.rate.take_change() {
            return Some(Line::Baud(baud));
        }
        if self.peer_error > 0 {
            return Some(Line::PeerError(core::mem::take(&mut self.peer_error)));
        }
        if self.fault > 0 && self.clock.is_over(Since::Fault, ERROR) {
            self.clock.mark(Since::Fault);
            return Some(Line::Fault(core::mem::take(&mut self.fault)));
        }
        None
    }

    /// The frame that is due.
    fn next_frame(&mut self) -> Option<Frame> {
        if core::mem::take(&mut self.answer_due) {
            return Some(Frame::HelloAnswer);
        }
        if !self.up {
            if self.clock.is_over(Since::Hello, self.hello_gap) {
                self.clock.mark(Since::Hello);
                self.hello_gap = (self.hello_gap * 2).clamp(HELLO_FIRST, HELLO_MOST);
                return Some(Frame::Hello);
            }
        } else {
            #[cfg(feature = "rate")]
            if let Some((kind, baud)) = self.rate.next_frame(self.clock.now) {
                self.answer = baud;
                return Some(match kind {
                    crate::rate::RATE => Frame::RateAnswer,
                    _ => Frame::ProbeAnswer,
                });
            }
        }
        if !self.is_steady() {
            return None;
        }
        if self.error > 0 && self.clock.is_over(Since::Error, ERROR) {
            self.clock.mark(Since::Error);
            return Some(Frame::Error);
        }
        if self.up { self.next_own() } else { None }
    }

    /// Writes the frame that is due, if any is.
    #[inline(never)]
    pub(super) fn send<S: Slot, const N: usize>(&mut self, tx: &mut Tx<N>, slot: &mut S) {
        let Some(frame) = self.next_frame() else {
            return;
        };
        let mut tag = 0;
        if self.up && frame != Frame::HelloAnswer {
            tag = self.tag();
        }
        // Hello and Error say nothing of the transfer.
        if frame as u8 > Frame::Error as u8 {
            self.clock.mark(Since::Sent);
        }
        tx.frame(frame as u8 | FROM_MCU, tag, |w| match frame {
            Frame::Hello => self.write_hello(w, 0, slot),
            Frame::HelloAnswer => self.write_hello(w, self.peer, slot),
            Frame::Error => {
                let number = core::mem::take(&mut self.error);
                w.u16(number);
                #[cfg(feature = "names")]
                if let Some(error) = LinkError::from_number(number) {
                    w.bytes(error.name().as_bytes());
                }
            }
            Frame::Ack => self.write_ack(w),
            #[cfg(feature = "pull")]
            Frame::Request => {
                let (offset, length) = self.asked;
                w.u8(self.transfer).u32(offset).u32(length);
            }
            #[cfg(feature = "rate")]
            Frame::RateAnswer | Frame::ProbeAnswer => _ = w.u32(self.answer),
        });
    }

    fn write_hello<S: Slot>(&self, w: &mut Writer<'_>, peer: u16, slot: &mut S) {
        w.u8(VERSION).u16(self.session).u16(peer);
        w.number(kind::BLOCK, 2, self.own_block.into());
        w.number(kind::WINDOW, 1, self.own_window.into());
        w.number(kind::PAGE, 4, self.page);
        w.number(kind::SLOT, 4, self.slot);
        for (kind, text) in TEXTS.iter().zip(self.texts) {
            w.name(*kind, text.unwrap_or_default());
        }
        let boot = match self.boot {
            Boot::Confirmed => 0,
            Boot::Trial => 1,
            Boot::Reverted(number) => 2 | u32::from(number) << 8,
        };
        w.number(kind::BOOT, 3, boot);
        if let Some(resume) = slot.resume() {
            resume.write(w);
        }
        if cfg!(feature = "rate") {
            w.number(kind::RATE, 4, self.own_rate);
        }
        let flags = u8::from(self.is_puller()) | u8::from(self.asks) << 1;
        w.number(kind::FLAGS, 1, flags.into());
    }

    /// When [`on_time`](Self::on_time), [`next_line`](Self::next_line) or, with `sent` (nothing is on its way to the
    /// UART), [`next_frame`](Self::next_frame) have something to do.
    pub(super) fn deadline(&self, sent: bool) -> Option<Millis> {
        let clock = &self.clock;
        let may_send = sent && self.is_steady();
        let open = may_send && self.up;
        let mut at = None;
        let mut by = |counts: bool, what, ms| {
            if counts {
                let when = clock.when(what, ms);
                at = Some(at.map_or(when, |at: Millis| at.min(when)));
            }
        };
        by(sent && !self.up, Since::Hello, self.hello_gap);
        by(self.up, Since::Heard, self.dead());
        by(may_send && self.error > 0, Since::Error, ERROR);
        by(self.fault > 0, Since::Fault, ERROR);
        by(open, Since::Sent, self.timing.beat(self.is_idle()));
        by(open && self.untold, Since::Told, self.timing.repeat());
        #[cfg(feature = "rate")]
        let at = at
            .into_iter()
            .chain(self.rate.deadline(self.timing, sent))
            .min();
        #[cfg(feature = "pull")]
        let at = at
            .into_iter()
            .chain((open && self.pulls()).then(|| self.pull.deadline()))
            .min();
        at
    }
}
