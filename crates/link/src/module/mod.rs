//! The module's end: offers, sends, and says what its component has to do.
//!
//! The caller's loop, as of every machine of this repository:
//!
//! ```text
//! taken = link.on_bytes(received)                     // what is not taken is offered again
//! while let Some(output) = link.poll(now, &mut source)
//!     do it; what comes of it is an Input             // link.input(..)
//! n = link.next_tx(&mut out)                          // as many as the UART takes; poll when all have left
//! wait for bytes, for room, or until link.deadline()
//! ```
//!
//! The phases are the table of `docs/link.md`. Nothing of an upgrade is decided here: the phase is what the component
//! said last, and what is asked of it follows from both phases alone (`End::wanted`). So an answer that was lost, on
//! either side, costs a repetition and nothing else.

mod end;

use crate::field::{Hello, Package, Plan};
use crate::frame::{CONTROL_LEN, Rx, Tx};
use crate::message::{Ack, McuPhase, Message, ModulePhase};
use crate::session::{Config, Line, Session};
use crate::timing::{ACTION, Millis, earliest};
use crate::window::Window;

/// Where the package's bytes come from: the present piece.
pub trait Source {
    /// Fills `out` from the package's offset. `false`: not now; the link asks for the piece again.
    fn read(&mut self, offset: u32, out: &mut [u8]) -> bool;
}

/// What the component says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // one at a time, on the caller's stack
pub enum Input {
    /// 10700.
    Plan(Plan),
    /// 10701.
    Package(Package),
    /// 10702: nothing can be read at present.
    Downloading,
    /// 10703: these bytes can be read, as often as wanted, until [`Output::Release`].
    Piece {
        /// First byte.
        start: u32,
        /// Bytes.
        length: u32,
    },
    /// 10704.
    Installing,
    /// 10705.
    Updated,
    /// 10706, with the reason's number.
    Failed(u16),
}

/// What the component has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// About the line.
    Line(Line),
    /// [`Link::peer`] says what the MCU runs. On trial it is not to be told to the component yet.
    Running,
    /// The MCU asks for a plan: OtaRequest(1).
    Request,
    /// Say again what is under way: 10700, or 10701 and 10703.
    Announce,
    /// Action 1.
    Confirm,
    /// Action 0, for this reason.
    Refuse(u16),
    /// The MCU gives the upgrade up, for this reason.
    Cancel(u16),
    /// The MCU was told to install and will not, for this reason: it has no such image any more (611), which is how one that
    /// reverted answers, or could not begin (403, 404).
    Uninstalled(u16),
    /// Action 2: the piece is durable in the MCU's flash.
    Release,
    /// Fetch again from the piece boundary at or below.
    Rewind(u32),
    /// Action 3.
    Install,
}

/// How much is read from the source at once.
const CHUNK: usize = 128;

/// The module's end. `FRAME` is [`frame_len`](crate::frame::frame_len) of its greatest block.
pub struct Link<const FRAME: usize> {
    rx: Rx<CONTROL_LEN>,
    tx: Tx<FRAME>,
    session: Session,
    peer: Hello,
    end: End,
}

struct End {
    transfer: u8,
    phase: ModulePhase,
    /// Of phase Failed.
    number: u16,
    /// The present piece, empty when nothing can be read.
    start: u32,
    end: u32,
    /// The last Ack of this transfer.
    ack: Option<Ack>,
    /// The MCU's phase, of whatever transfer.
    mcu: McuPhase,
    /// Its image is on trial: it refuses every package.
    trial: bool,
    /// Its range is what a Request asked for and was not sent yet.
    asked: (u32, u32),
    /// The phase has to be told now.
    due: bool,
    told_at: Millis,
    /// The last thing asked of the component, and when.
    acted: Option<(Output, Millis)>,
    todo: Todo,
    /// The block that is in the transmit buffer.
    in_tx: Option<u32>,
    window: Window,
    plan: Plan,
    package: Package,
}

/// What is to be said once.
#[derive(Default)]
struct Todo {
    up: bool,
    running: bool,
    request: bool,
    announce: bool,
}

impl<const FRAME: usize> Link<FRAME> {
    /// An end that knows nothing; the component's events fill it.
    pub fn new(now: Millis, config: Config) -> Self {
        let session = Session::new(now, config, FRAME);
        Link {
            rx: Rx::new(),
            tx: Tx::new(),
            end: End {
                transfer: 0,
                phase: ModulePhase::None,
                number: 0,
                start: 0,
                end: 0,
                ack: None,
                mcu: McuPhase::Idle,
                trial: false,
                asked: (0, 0),
                due: false,
                told_at: now,
                acted: None,
                todo: Todo::default(),
                in_tx: None,
                window: Window::new(session.block, session.timing),
                plan: Plan::default(),
                package: Package::default(),
            },
            session,
            peer: Hello::default(),
        }
    }

    /// Takes received bytes and says how many; the rest is offered again after [`poll`](Self::poll).
    pub fn on_bytes(&mut self, bytes: &[u8]) -> usize {
        self.rx.feed(bytes)
    }

    /// Moves bytes for the UART into `out` and says how many.
    pub fn next_tx(&mut self, out: &mut [u8]) -> usize {
        self.tx.take(out)
    }

    /// The MCU answers.
    pub fn is_up(&self) -> bool {
        self.session.is_up()
    }

    /// The MCU's last hello.
    pub fn peer(&self) -> &Hello {
        &self.peer
    }

    /// The MCU's phase as it said last.
    pub fn mcu_phase(&self) -> McuPhase {
        self.end.mcu
    }

    /// Up to here the MCU has the package durable.
    pub fn durable(&self) -> u32 {
        self.end.window.base()
    }

    /// Greatest block and window that both ends can do.
    pub fn block_and_window(&self) -> (u16, u8) {
        (self.session.block, self.session.window)
    }

    /// Takes what the component says.
    pub fn input(&mut self, input: Input) {
        self.end.input(input, &self.session);
    }

    /// Works on what came and on what time does. `Some`: do it and call again; `None`: nothing more now.
    pub fn poll<S: Source>(&mut self, now: Millis, source: &mut S) -> Option<Output> {
        if self.rx.is_complete() {
            self.receive(now);
            self.rx.clear();
        }
        let idle = self.end.is_idle();
        self.session.poll(now, idle, self.tx.is_empty());
        if core::mem::take(&mut self.session.anew) {
            self.end.anew(&self.session, &self.peer);
        }
        if let Some(line) = self.session.next_line(now) {
            if let Line::Baud(_) = line {
                self.end.window.set_timing(self.session.timing);
            }
            return Some(Output::Line(line));
        }
        if let Some(output) = self.end.next_output(now, &self.session) {
            return Some(output);
        }
        if self.tx.is_empty() {
            self.send(now, source);
        }
        None
    }

    /// When to call [`poll`](Self::poll) at the latest, besides when bytes came or the UART took the last one; `None`: only
    /// then.
    pub fn deadline(&self) -> Option<Millis> {
        let (session, end) = (&self.session, &self.end);
        let idle = end.is_idle();
        let sent = self.tx.is_empty();
        let open = session.is_open() && sent;
        earliest(&[
            session.deadline(idle, sent),
            open.then(|| session.beat_at(idle)),
            (open && !end.is_seen())
                .then(|| end.told_at.saturating_add(session.timing.repeat().into())),
            (open && end.pushes())
                .then(|| end.window.deadline())
                .flatten(),
            (end.acted.filter(|_| session.is_up())).map(|(_, at)| at.saturating_add(ACTION)),
        ])
    }

    fn receive(&mut self, now: Millis) {
        let body = match self.rx.body() {
            Ok(body) => body,
            Err(error) => return self.session.fault(error),
        };
        let Some(message) = self.session.open(&body) else {
            return;
        };
        if !self.session.on_message(now, &message) {
            return;
        }
        match message {
            Message::Hello { fields, .. } => self.peer = fields,
            Message::Ack(ack) => self.end.on_ack(now, ack, &mut self.session),
            Message::Request {
                transfer,
                offset,
                length,
            } => self
                .end
                .on_request(transfer, offset, length, &mut self.session),
            _ => {}
        }
    }

    fn send<S: Source>(&mut self, now: Millis, source: &mut S) {
        let (end, session) = (&mut self.end, &mut self.session);
        if let Some(offset) = end.in_tx.take() {
            end.window.on_left(now, offset);
        }
        if session.is_up() {
            if end.pushes() {
                end.window.poll(now);
            }
            session.rate.want(now, end.wanted_rate(session));
        }
        if session.next_frame(now, &mut self.tx) {
            return;
        }
        if end.status_is_due(now, session) {
            end.told_at = now;
            end.due = false;
            let message = end.status();
            session.write(now, &mut self.tx, &message);
        } else if let Some(offset) = end.next_block(session) {
            let len = u32::from(session.block).min(end.package.image.length - offset);
            let mut read = true;
            let tag = session.tag();
            let fits = self.tx.frame(7, tag, |w| {
                w.u8(end.transfer).u32(offset);
                let mut chunk = [0; CHUNK];
                let mut at = 0;
                while at < len && read {
                    let n = (len - at).min(CHUNK as u32);
                    let chunk = chunk.get_mut(..n as usize).unwrap_or_default();
                    read = source.read(offset + at, chunk);
                    w.bytes(chunk);
                    at += n;
                }
            });
            if read && fits {
                session.wrote(now);
                end.window.on_sent(now, offset);
                end.in_tx = Some(offset);
            } else {
                // The component no longer has the piece; it says what it has.
                self.tx.clear();
                (end.start, end.end) = (0, 0);
                end.todo.announce = true;
                end.due = true;
            }
        }
    }
}
