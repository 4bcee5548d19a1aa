//! The module's share of what is the same at both ends: hello, heartbeats, the silent peer, error frames, the baud rate.
//!
//! | state | leaves to |
//! |---|---|
//! | down: Hello after Hello | up at a Hello, or at the answer to ours |
//! | up | down after DEAD without a frame; up anew at a Hello |

use crate::field::Hello;
use crate::frame::{Body, Tx};
use crate::message::{FROM_MCU, Message, Side, VERSION};
use crate::rate::{self, Rate};
use crate::timing::{self, ERROR, HELLO_FIRST, HELLO_MOST, Millis, Timing, earliest};
use sota_errors::LinkError;

/// What an end tells its caller about the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// The other end answered; everything is offered anew.
    Up,
    /// The other end is silent.
    Down,
    /// Send what is left, wait until it has left the UART, and change to this baud rate.
    Baud(u32),
    /// Something was wrong here, a number of the catalogue; for the log. At most one a second.
    Fault(u16),
    /// The other end says that something was wrong: a number of the catalogue. Of an MCU also why it does not take an image.
    PeerError(u16),
}

/// What the module's end is made with.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Config {
    /// Its hello. The block is lowered to what its buffer can take.
    pub hello: Hello,
    /// The base baud rate.
    pub baud: u32,
    /// Session number: another than at the start before (random, or counted in flash). 0 counts as 1.
    pub session: u16,
}

/// Greatest block, bytes.
const BLOCK_MOST: u16 = 4096;
/// Greatest window, blocks.
pub(crate) const WINDOW_MOST: u8 = 8;

/// The greatest power of two that is not greater.
pub(crate) const fn rounded(block: u16) -> u16 {
    match block {
        0 => 0,
        _ => 1 << (15 - block.leading_zeros()),
    }
}

/// The greatest block that a frame of `frame` bytes on the line can hold.
pub(crate) const fn block_of(frame: usize) -> u16 {
    let mut block = BLOCK_MOST;
    while block > 64 && crate::frame::frame_len(block as usize) > frame {
        block /= 2;
    }
    block
}

/// The module's session. The MCU's is in `mcu/session.rs`, without copies of what it only compares.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) own: Hello,
    number: u16,
    peer: u16,
    up: bool,
    /// Up again: the end has to forget and to tell.
    pub(crate) anew: bool,
    answer_due: bool,
    /// Of both hellos the lesser.
    pub(crate) block: u16,
    pub(crate) window: u8,
    peer_rate: u32,
    pub(crate) rate: Rate<false>,
    pub(crate) timing: Timing,
    heard_at: Millis,
    sent_at: Millis,
    hello_at: Millis,
    hello_gap: u32,
    error: Option<LinkError>,
    error_at: Millis,
    fault: Option<LinkError>,
    fault_at: Millis,
    peer_error: Option<u16>,
    went_down: bool,
}

impl Session {
    pub(crate) fn new(now: Millis, config: Config, data_frame: usize) -> Self {
        let mut own = config.hello;
        own.block = rounded(own.block.min(block_of(data_frame)).max(64));
        own.window = own.window.clamp(1, WINDOW_MOST);
        Session {
            number: config.session.max(1),
            peer: 0,
            up: false,
            anew: false,
            answer_due: false,
            block: own.block,
            window: own.window,
            peer_rate: 0,
            rate: Rate::new(config.baud),
            timing: Timing::new(own.block, config.baud),
            heard_at: now,
            sent_at: now,
            hello_at: now,
            hello_gap: HELLO_FIRST,
            error: None,
            error_at: 0,
            fault: None,
            fault_at: 0,
            peer_error: None,
            went_down: false,
            own,
        }
    }

    pub(crate) const fn is_up(&self) -> bool {
        self.up
    }

    pub(crate) const fn tag(&self) -> u16 {
        self.number ^ self.peer
    }

    /// Something is wrong with what came: it is told here, and to the other end if that can mend it.
    #[inline(never)]
    pub(crate) fn fault(&mut self, error: LinkError) {
        match error {
            // Known here alone, and more than a harmed frame that waits to be told.
            LinkError::LinkSilent | LinkError::LinkRate => self.fault = Some(error),
            LinkError::LinkEcho => {
                self.fault.get_or_insert(error);
            }
            _ => {
                self.fault.get_or_insert(error);
                self.error.get_or_insert(error);
            }
        }
    }

    /// The message that a decoded frame holds, if it is for this session and this end.
    #[inline(never)]
    pub(crate) fn open<'a>(&mut self, body: &Body<'a>) -> Option<Message<'a>> {
        if body.kind & FROM_MCU == 0 {
            self.fault(LinkError::LinkEcho);
            return None;
        }
        let tag_counts = match body.kind & !FROM_MCU {
            1 | 2 => false,
            3 => self.up && body.tag != 0,
            _ => true,
        };
        // Sent to the end that was here before a reset: stale, and nobody's fault.
        if tag_counts && (!self.up || body.tag != self.tag()) {
            return None;
        }
        match Message::parse(body, Side::Mcu) {
            Ok(message) => Some(message),
            Err(error) => {
                self.fault(error);
                None
            }
        }
    }

    /// Takes what belongs to both ends; `true`: it is for this end to act on.
    #[inline(never)]
    pub(crate) fn on_message(&mut self, now: Millis, message: &Message) -> bool {
        let hears = !matches!(message, Message::Error { .. } | Message::Hello { .. });
        if hears {
            self.heard_at = now;
            self.rate.heard();
        }
        match message {
            Message::Hello {
                answer,
                version,
                session,
                peer,
                fields,
            } => {
                self.on_hello(now, *answer, *version, *session, *peer, fields);
                // The module keeps what the MCU's hello says.
                self.anew
            }
            Message::Error { number, .. } => {
                self.peer_error.get_or_insert(*number);
                false
            }
            Message::Rate { baud, .. } => {
                if self.rate.on_rate_answer(now, *baud) {
                    self.fault(LinkError::LinkRate);
                }
                self.new_timing();
                false
            }
            Message::Probe { baud, .. } => {
                self.rate.on_probe_answer(*baud);
                self.new_timing();
                false
            }
            _ => true,
        }
    }

    fn on_hello(
        &mut self,
        now: Millis,
        answer: bool,
        version: u8,
        session: u16,
        peer: u16,
        hello: &Hello,
    ) {
        if version == 0 {
            return self.fault(LinkError::LinkVersion);
        }
        if answer && (self.up || peer != self.number) {
            return;
        }
        self.answer_due |= !answer;
        self.peer = session;
        self.block = self.own.block.min(rounded(hello.block));
        self.window = self.own.window.min(hello.window.max(1));
        self.peer_rate = hello.rate;
        self.rate.reset();
        self.new_timing();
        self.heard_at = now;
        self.hello_gap = HELLO_FIRST;
        self.up = true;
        self.anew = true;
    }

    fn new_timing(&mut self) {
        self.timing = Timing::new(self.block, self.rate.baud());
    }

    /// Says Hello again, because what it says has changed.
    pub(crate) fn renew(&mut self, now: Millis) {
        self.up = false;
        self.anew = false;
        self.hello_at = now;
        self.hello_gap = HELLO_FIRST;
    }

    /// The greatest rate that both ends can do.
    pub(crate) fn greatest_rate(&self) -> u32 {
        self.own.rate.min(self.peer_rate)
    }

    /// What time does. `sent`: nothing is on its way to the UART.
    #[inline(never)]
    pub(crate) fn poll(&mut self, now: Millis, idle: bool, sent: bool) {
        if self.rate.poll(now, self.timing, sent) {
            self.fault(LinkError::LinkRate);
        }
        self.new_timing();
        let dead = self.timing.dead(idle, self.rate.is_fast());
        if self.up && now >= self.heard_at.saturating_add(dead.into()) {
            self.renew(now);
            self.went_down = true;
            self.rate.fall_back();
            self.new_timing();
            self.fault(LinkError::LinkSilent);
        }
    }

    /// What the caller has to know.
    pub(crate) fn next_line(&mut self, now: Millis) -> Option<Line> {
        if core::mem::take(&mut self.went_down) {
            return Some(Line::Down);
        }
        if let Some(baud) = self.rate.take_change() {
            return Some(Line::Baud(baud));
        }
        if let Some(number) = self.peer_error.take() {
            return Some(Line::PeerError(number));
        }
        if now >= self.fault_at
            && let Some(fault) = self.fault.take()
        {
            self.fault_at = now.saturating_add(ERROR.into());
            return Some(Line::Fault(fault.number()));
        }
        None
    }

    /// Writes a frame of its own if one is due. `false`: the end may write.
    pub(crate) fn next_frame<const N: usize>(&mut self, now: Millis, tx: &mut Tx<N>) -> bool {
        if core::mem::take(&mut self.answer_due) {
            self.hello(tx, true);
            return true;
        }
        if !self.up {
            if now >= self.hello_at {
                self.hello_at = now.saturating_add(self.hello_gap.into());
                self.hello_gap = self.hello_gap.saturating_mul(2).min(HELLO_MOST);
                self.hello(tx, false);
                return true;
            }
        } else if let Some((kind, baud)) = self.rate.next_frame(now) {
            let answer = false;
            let message = match kind {
                rate::RATE => Message::Rate { answer, baud },
                _ => Message::Probe { answer, baud },
            };
            self.write(now, tx, &message);
            return true;
        }
        if now >= self.error_at
            && self.rate.is_steady()
            && let Some(error) = self.error.take()
        {
            self.error_at = now.saturating_add(ERROR.into());
            let message = Message::Error {
                number: error.number(),
                name: match cfg!(feature = "names") {
                    true => error.name(),
                    false => "",
                },
            };
            let tag = if self.up { self.tag() } else { 0 };
            tx.frame(message.kind() | Side::Module.bit(), tag, |w| {
                message.write(w, Side::Module)
            });
            return true;
        }
        !self.up || !self.rate.is_steady()
    }

    fn hello<const N: usize>(&self, tx: &mut Tx<N>, answer: bool) {
        tx.frame(if answer { 2 } else { 1 } | Side::Module.bit(), 0, |w| {
            w.u8(VERSION).u16(self.number);
            w.u16(if answer { self.peer } else { 0 });
            self.own.write(w, false);
        });
    }

    /// Writes a frame of this session.
    pub(crate) fn write<const N: usize>(
        &mut self,
        now: Millis,
        tx: &mut Tx<N>,
        message: &Message,
    ) -> bool {
        self.sent_at = now;
        tx.frame(message.kind() | Side::Module.bit(), self.tag(), |w| {
            message.write(w, Side::Module)
        })
    }

    /// A frame of this session was written.
    pub(crate) fn wrote(&mut self, now: Millis) {
        self.sent_at = now;
    }

    /// When a heartbeat is due.
    pub(crate) fn beat_at(&self, idle: bool) -> Millis {
        self.sent_at.saturating_add(self.timing.beat(idle).into())
    }

    /// When [`poll`](Self::poll) or [`next_line`](Self::next_line) have something to do, and, with `sent` (nothing is on
    /// its way to the UART), [`next_frame`](Self::next_frame).
    pub(crate) fn deadline(&self, idle: bool, sent: bool) -> Option<Millis> {
        let dead = self.timing.dead(idle, self.rate.is_fast());
        let may_tell = sent && self.rate.is_steady();
        earliest(&[
            (sent && !self.up).then_some(self.hello_at),
            self.up.then(|| self.heard_at.saturating_add(dead.into())),
            self.error.filter(|_| may_tell).map(|_| self.error_at),
            self.fault.map(|_| self.fault_at),
            self.rate.deadline(self.timing, sent),
        ])
    }

    /// The end may send frames of its own.
    pub(crate) fn is_open(&self) -> bool {
        self.up && self.rate.is_steady()
    }
}

const _: () = assert!(timing::ACTION > 0 && block_of(crate::frame::frame_len(1024)) == 1024);
