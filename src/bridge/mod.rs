//! The AT command server on the UART to the MCU (`docs/at.md`).
//!
//! Bytes, [`Event`]s and [`Reply`]s come in; bytes and [`Output`]s go out. The machine holds no UART
//! and no engine; its caller's loop is
//!
//! ```text
//! taken = bridge.on_bytes(received)       // what is not taken is offered again
//! while let Some(output) = bridge.poll()  // a command is complete: ask the engine, then
//!     bridge.reply(..)                    //   give its answer
//! while bridge.ready_for_event()          // leave the event in its mailbox otherwise
//!     bridge.on_event(..)
//! n = bridge.next_bytes(&mut out)         // as many as the UART takes
//! ```
//!
//! | state | means | leaves to |
//! |---|---|---|
//! | Collecting | bytes of a line come in | Complete at CR |
//! | Complete | the line waits until the output before it is sent | Collecting (answered here), Asked |
//! | Asked | the caller looks for the answer | Collecting at `reply` |
//!
//! In Complete and Asked no byte and no event is taken, so an answer is never cut by a URC and a UART
//! that does not take bytes stops the commands: back-pressure, and one buffer of fixed size is enough.

mod args;
mod commands;
#[cfg(feature = "link")]
pub mod link;
#[cfg(any(feature = "stm32", feature = "smp"))]
mod pace;
#[cfg(feature = "stm32")]
pub mod rom;
pub mod route;
mod settings;
#[cfg(feature = "smp")]
pub mod smp;
#[cfg(any(feature = "link", feature = "stm32", feature = "smp"))]
mod source;
mod tx;
mod urc;

pub use settings::{ConnectMode, KEY_LEN, LIFETIME_MAX, SERVER_LEN, Settings};

use crate::message::{Command, ComponentName, Event, Piece, Reason, Reply};
use heapless::Vec;
use tx::{Part, Tx};

/// Longest line in bytes, without its CR.
pub const LINE_LEN: usize = 256;
/// Most bytes one `AT+QIOTOTARD` gives.
pub const READ_MAX: usize = tx::READ_MAX;

/// What the caller has to find out; [`Bridge::reply`] answers it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // one at a time, on the caller's stack
pub enum Output {
    /// Ask the engine. The data of a [`Command::Read`] goes into [`Bridge::read_buffer`].
    Command(Command),
    /// Call [`Bridge::version`] for each MCU component, then reply [`Reply::Ok`].
    Versions,
}

/// Connection status of `AT+QIOTSTATE?` (`QIOT_STATE_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum LinkState {
    Initialized = 1,
    Authenticating = 2,
    Authenticated = 3,
    AuthenticateFailed = 4,
    Connected = 6,
    ConnectFailed = 7,
    Subscribed = 8,
    SubscribeFailed = 9,
    Disconnecting = 10,
    Disconnected = 11,
    DisconnectFailed = 12,
}

/// The upgrade of an MCU that the module drives was given up for this error; in state 9 it is the MCU that did not install.
#[cfg(any(feature = "stm32", feature = "smp"))]
fn given_up(number: u16, updating: bool) -> Command {
    let reason = Reason::of_mcu(number);
    match updating {
        true => Command::NotInstalled(reason),
        false => Command::Cancel(reason),
    }
}

/// What is done when the reply comes.
enum Pending {
    /// OK or ERROR.
    Plain,
    /// `AT+QIOTREG`.
    Connect(ConnectMode),
    /// `AT+QIOTUPDATE=2`.
    NextPiece,
    /// `AT+QIOTOTARD=?`.
    Announce,
    /// `AT+QIOTOTARD=start,len`.
    Read { start: u32, len: usize },
    /// `AT+QIOTMCUVER?` (empty name) or `="name"`.
    Versions { name: ComponentName, found: bool },
}

enum State {
    Collecting,
    Complete,
    Asked(Pending),
}

/// The AT command server; see the module's text.
// The small and often used first, for shorter code; see `Engine`.
#[repr(C)]
pub struct Bridge {
    too_long: bool,
    echo: bool,
    error_urc: bool,
    settings_changed: bool,
    link: LinkState,
    last: Option<Reason>,
    /// Start and length of the piece of the last 10703.
    piece: (u32, u32),
    state: State,
    tx: Tx,
    line: Vec<u8, LINE_LEN>,
    settings: Settings,
}

impl Bridge {
    /// A server with the settings the port kept.
    pub const fn new(settings: Settings) -> Self {
        Bridge {
            line: Vec::new(),
            too_long: false,
            echo: false,
            error_urc: false,
            state: State::Collecting,
            tx: Tx::new(),
            last: None,
            link: LinkState::Initialized,
            piece: (0, 0),
            settings,
            settings_changed: false,
        }
    }

    /// Takes received bytes and says how many; the rest is offered again after [`Bridge::poll`] and
    /// [`Bridge::next_bytes`].
    pub fn on_bytes(&mut self, bytes: &[u8]) -> usize {
        for (taken, byte) in bytes.iter().enumerate() {
            if !matches!(self.state, State::Collecting) || (self.echo && self.tx.room() == 0) {
                return taken;
            }
            match *byte {
                b'\n' => continue,
                b'\r' => {
                    if self.too_long || !self.line.is_empty() {
                        self.state = State::Complete;
                    }
                }
                byte => {
                    if self.line.push(byte).is_err() {
                        self.too_long = true;
                    }
                }
            }
            if self.echo {
                self.tx.byte(*byte);
            }
        }
        bytes.len()
    }

    /// Acts on a complete line. `Some`: the caller finds the answer and gives it to
    /// [`Bridge::reply`]. `None`: nothing to do, or the output has to be sent first.
    pub fn poll(&mut self) -> Option<Output> {
        if !matches!(self.state, State::Complete) || !self.tx.is_empty() {
            return None;
        }
        self.state = State::Collecting;
        let line = core::mem::take(&mut self.line);
        let mut output = None;
        let done = if core::mem::take(&mut self.too_long) {
            Err(Reason::AtLineTooLong)
        } else {
            self.command(&line, &mut output)
        };
        match done {
            Ok(()) if output.is_none() => self.ok(),
            Ok(()) => {}
            Err(reason) => self.error(reason),
        }
        output
    }

    /// Where the data of the [`Command::Read`] just asked goes; empty at any other time.
    pub fn read_buffer(&mut self) -> &mut [u8] {
        match self.state {
            State::Asked(Pending::Read { len, .. }) => self.tx.data(len),
            _ => &mut [],
        }
    }

    /// One line of the answer to [`Output::Versions`].
    pub fn version(&mut self, component: &str, version: &str) {
        if let State::Asked(Pending::Versions { name, found }) = &mut self.state
            && (name.is_empty() || name.as_str() == component)
        {
            *found = true;
            self.tx.line(&[
                Part::Text("+QIOTMCUVER: "),
                Part::Quoted(component),
                Part::Text(","),
                Part::Quoted(version),
            ]);
        }
    }

    /// The answer to the last [`Output`]; ignored when nothing was asked.
    pub fn reply(&mut self, reply: Reply) {
        let pending = match core::mem::replace(&mut self.state, State::Collecting) {
            State::Asked(pending) => pending,
            other => {
                self.state = other;
                return;
            }
        };
        match (pending, reply) {
            // The form is known in every state; whether there is something to announce is not.
            (Pending::Announce, _) => {
                self.tx.line(&[
                    Part::Text("+QIOTOTARD: "),
                    Part::Number(self.piece.0),
                    Part::Text(",(1-1024)"),
                ]);
                self.ok();
            }
            (_, Reply::Refused(reason)) => self.error(reason),
            (Pending::Read { start, len }, Reply::Read(n)) if (1..=len).contains(&n) => {
                self.tx.read_answer(start, n);
            }
            (Pending::Plain, Reply::Ok) => self.ok(),
            (Pending::NextPiece, Reply::Ok) => {
                self.piece.0 = self.piece.0.saturating_add(self.piece.1);
                self.piece.1 = 0;
                self.ok();
            }
            (Pending::Connect(mode), Reply::Ok) => {
                self.link = match mode {
                    ConnectMode::Idle => LinkState::Disconnecting,
                    _ if self.link == LinkState::Subscribed => LinkState::Subscribed,
                    _ => LinkState::Authenticating,
                };
                self.settings_changed |= self.settings.connect != mode;
                self.settings.connect = mode;
                self.ok();
            }
            (Pending::Versions { name, found }, Reply::Ok) => {
                if found || name.is_empty() {
                    self.ok();
                } else {
                    self.error(Reason::UnknownComponent);
                }
            }
            _ => self.error(Reason::AtNotAllowedNow),
        }
    }

    /// An event would be taken now.
    pub fn ready_for_event(&self) -> bool {
        matches!(self.state, State::Collecting) && self.tx.room() >= urc::URC_MAX
    }

    /// Sends an event; `false`: not now, keep it (see [`Bridge::ready_for_event`]).
    #[must_use = "an event that was not taken must be offered again"]
    #[inline(never)]
    pub fn on_event(&mut self, event: &Event) -> bool {
        if !self.ready_for_event() {
            return false;
        }
        let ok = |code: u16, yes, no| if code == 10200 { yes } else { no };
        match event {
            Event::Auth(code) => {
                self.link = ok(
                    *code,
                    LinkState::Authenticated,
                    LinkState::AuthenticateFailed,
                )
            }
            Event::Access(code) => {
                self.link = ok(*code, LinkState::Connected, LinkState::ConnectFailed)
            }
            Event::Subscribed(code) => {
                self.link = ok(*code, LinkState::Subscribed, LinkState::SubscribeFailed)
            }
            Event::Logout(code) => {
                self.link = ok(*code, LinkState::Disconnected, LinkState::DisconnectFailed)
            }
            Event::Plan(_) | Event::UpdateOk => self.piece = (0, 0),
            Event::Downloaded(Some(Piece {
                start,
                piece_length,
                ..
            })) => self.piece = (*start, *piece_length),
            Event::UpdateFail(reason) => {
                self.piece = (0, 0);
                self.last = Some(*reason);
            }
            _ => {}
        }
        urc::write(&mut self.tx, event);
        if self.error_urc && matches!(event, Event::UpdateFail(_)) {
            self.error_line();
        }
        true
    }

    /// What `AT+SOTAERR?` tells from now on. The caller gives the engine's last error when it changed:
    /// an upgrade that waits for battery or signal raises no event.
    pub fn note_error(&mut self, reason: Reason) {
        self.last = Some(reason);
    }

    /// Moves bytes for the UART into `out` and says how many.
    pub fn next_bytes(&mut self, out: &mut [u8]) -> usize {
        self.tx.take(out)
    }

    /// The present settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Settings that something else than an AT command changed: the port has stored them already.
    pub fn set_settings(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// As [`set_settings`](Self::set_settings), in their place.
    pub fn settings_mut(&mut self) -> &mut Settings {
        &mut self.settings
    }

    /// Whether a command changed the settings since the last call: the port then stores
    /// [`Bridge::settings`] and gives them to the cloud.
    pub fn settings_changed(&mut self) -> bool {
        core::mem::take(&mut self.settings_changed)
    }

    /// Connection status of `AT+QIOTSTATE?`.
    pub fn link_state(&self) -> LinkState {
        self.link
    }

    fn ok(&mut self) {
        self.tx.line(&[Part::Text("OK")]);
    }

    fn error(&mut self, reason: Reason) {
        self.last = Some(reason);
        self.tx.line(&[Part::Text("ERROR")]);
    }

    fn error_line(&mut self) {
        let (number, name) = match self.last {
            Some(reason) => (reason.number(), reason.name()),
            None => (0, "None"),
        };
        self.tx.line(&[
            Part::Text("+SOTAERR: "),
            Part::Number(number.into()),
            Part::Text(","),
            Part::Quoted(name),
        ]);
    }
}

#[cfg(test)]
mod tests;
