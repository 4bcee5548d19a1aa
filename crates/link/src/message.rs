//! The frames' payloads, one variant each (`docs/link.md`, Frame).

use crate::field::{Hello, Package, Plan};
use crate::frame::{Body, Writer, encode};
use sota_errors::LinkError;

/// The version of the protocol that this crate speaks.
pub const VERSION: u8 = 1;
/// Bit of the type of what an MCU sends.
pub const FROM_MCU: u8 = 0x40;

/// Bit of a phase's *seen*: an answer is wanted, because the sender's own phase was not seen yet.
pub const ANSWER: u8 = 0x80;

/// Which end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Sends packages.
    Module,
    /// Receives them.
    Mcu,
}

impl Side {
    /// The bit of its frames' types.
    pub const fn bit(self) -> u8 {
        match self {
            Side::Module => 0,
            Side::Mcu => FROM_MCU,
        }
    }
}

/// Where the module is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u8)]
#[allow(missing_docs)] // the table in docs/link.md
pub enum ModulePhase {
    #[default]
    None = 0,
    Plan,
    Package,
    Install,
    Done,
    Failed,
}

impl ModulePhase {
    /// The phase with this number.
    pub const fn new(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::None,
            1 => Self::Plan,
            2 => Self::Package,
            3 => Self::Install,
            4 => Self::Done,
            5 => Self::Failed,
            _ => return None,
        })
    }

    /// Nothing of an upgrade is under way.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::None | Self::Done | Self::Failed)
    }
}

/// Where the MCU is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u8)]
#[allow(missing_docs)] // the table in docs/link.md
pub enum McuPhase {
    #[default]
    Idle = 0,
    Considering,
    Accepted,
    Refused,
    Receiving,
    Verifying,
    Ready,
    Installing,
    Failed,
}

impl McuPhase {
    /// The phase with this number.
    pub const fn new(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Idle,
            1 => Self::Considering,
            2 => Self::Accepted,
            3 => Self::Refused,
            4 => Self::Receiving,
            5 => Self::Verifying,
            6 => Self::Ready,
            7 => Self::Installing,
            8 => Self::Failed,
            _ => return None,
        })
    }
}

/// State: all that the module says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[allow(missing_docs)] // the table in docs/link.md
pub struct State {
    pub transfer: u8,
    pub phase: ModulePhase,
    pub seen: u8,
    pub number: u16,
    pub start: u32,
    pub end: u32,
}

/// Ack: all that the MCU says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[allow(missing_docs)] // the table in docs/link.md
pub struct Ack {
    pub transfer: u8,
    pub phase: McuPhase,
    pub seen: u8,
    pub number: u16,
    pub window: u8,
    pub bitmap: u8,
    pub offset: u32,
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the tables in docs/link.md
#[allow(clippy::large_enum_variant)] // one at a time, on the stack
pub enum Message<'a> {
    /// Hello and HelloAnswer.
    Hello {
        answer: bool,
        version: u8,
        session: u16,
        peer: u16,
        fields: Hello,
    },
    Error {
        number: u16,
        name: &'a str,
    },
    State(State),
    Plan {
        transfer: u8,
        phase: u8,
        plan: Plan,
    },
    Package {
        transfer: u8,
        phase: u8,
        package: Package,
    },
    Data {
        transfer: u8,
        offset: u32,
        bytes: &'a [u8],
    },
    /// Rate and RateAnswer.
    Rate {
        answer: bool,
        baud: u32,
    },
    /// Probe and ProbeAnswer.
    Probe {
        answer: bool,
        baud: u32,
    },
    Ack(Ack),
    Request {
        transfer: u8,
        offset: u32,
        length: u32,
    },
}

/// Takes numbers off the front of a payload; 0 when there are none left, and that is remembered.
struct Reader<'a> {
    bytes: &'a [u8],
    short: bool,
}

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        match self.bytes.split_first_chunk::<N>() {
            Some((head, rest)) => {
                self.bytes = rest;
                *head
            }
            None => {
                (self.bytes, self.short) = (&[], true);
                [0; N]
            }
        }
    }
    fn u8(&mut self) -> u8 {
        u8::from_le_bytes(self.take())
    }
    fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.take())
    }
    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }
    fn rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.bytes)
    }
}

impl<'a> Message<'a> {
    /// Reads the payload of a frame that `from` sent.
    ///
    /// # Errors
    /// [`LinkError::LinkUnknownType`], also for a type that only the other end sends; [`LinkError::LinkMalformed`].
    #[inline]
    pub fn parse(body: &Body<'a>, from: Side) -> Result<Message<'a>, LinkError> {
        let malformed = LinkError::LinkMalformed;
        let mut r = Reader {
            bytes: body.payload,
            short: false,
        };
        let message = match (body.kind ^ from.bit(), from) {
            (kind @ 1..=2, _) => Message::Hello {
                answer: kind == 2,
                version: r.u8(),
                session: r.u16(),
                peer: r.u16(),
                fields: Hello::parse(r.rest(), from == Side::Mcu)?,
            },
            (3, _) => Message::Error {
                number: r.u16(),
                name: core::str::from_utf8(r.rest()).map_err(|_| malformed)?,
            },
            (4, Side::Module) => Message::State(State {
                transfer: r.u8(),
                phase: ModulePhase::new(r.u8()).ok_or(malformed)?,
                seen: r.u8(),
                number: r.u16(),
                start: r.u32(),
                end: r.u32(),
            }),
            (5, Side::Module) => Message::Plan {
                transfer: r.u8(),
                phase: r.u8(),
                plan: Plan::parse(r.rest())?,
            },
            (6, Side::Module) => Message::Package {
                transfer: r.u8(),
                phase: r.u8(),
                package: Package::parse(r.rest())?,
            },
            (7, Side::Module) => Message::Data {
                transfer: r.u8(),
                offset: r.u32(),
                bytes: match r.rest() {
                    [] => return Err(malformed),
                    bytes => bytes,
                },
            },
            (8, _) => Message::Rate {
                answer: from == Side::Mcu,
                baud: r.u32(),
            },
            (9, _) => Message::Probe {
                answer: from == Side::Mcu,
                baud: r.u32(),
            },
            (4, Side::Mcu) => Message::Ack(Ack {
                transfer: r.u8(),
                phase: McuPhase::new(r.u8()).ok_or(malformed)?,
                seen: r.u8(),
                number: r.u16(),
                window: r.u8(),
                bitmap: r.u8(),
                offset: r.u32(),
            }),
            (5, Side::Mcu) => Message::Request {
                transfer: r.u8(),
                offset: r.u32(),
                length: r.u32(),
            },
            _ => return Err(LinkError::LinkUnknownType),
        };
        match r.rest() {
            [] if !r.short => Ok(message),
            _ => Err(malformed),
        }
    }

    /// The frame's type and its payload.
    pub fn kind(&self) -> u8 {
        match self {
            Message::Hello { answer, .. } => 1 + u8::from(*answer),
            Message::Error { .. } => 3,
            Message::State(_) | Message::Ack(_) => 4,
            Message::Plan { .. } | Message::Request { .. } => 5,
            Message::Package { .. } => 6,
            Message::Data { .. } => 7,
            Message::Rate { .. } => 8,
            Message::Probe { .. } => 9,
        }
    }

    /// Appends the payload; nothing of a message that only the other end sends.
    #[inline]
    pub fn write(&self, w: &mut Writer, from: Side) {
        let module = from == Side::Module;
        match self {
            Message::Hello {
                version,
                session,
                peer,
                fields,
                ..
            } => {
                w.u8(*version).u16(*session).u16(*peer);
                fields.write(w, from == Side::Mcu);
            }
            Message::Error { number, name } => {
                w.u16(*number).bytes(name.as_bytes());
            }
            Message::State(state) if module => {
                w.u8(state.transfer).u8(state.phase as u8).u8(state.seen);
                w.u16(state.number).u32(state.start).u32(state.end);
            }
            Message::Plan {
                transfer,
                phase,
                plan,
            } if module => {
                w.u8(*transfer).u8(*phase);
                plan.write(w);
            }
            Message::Package {
                transfer,
                phase,
                package,
            } if module => {
                w.u8(*transfer).u8(*phase);
                package.write(w);
            }
            Message::Data {
                transfer,
                offset,
                bytes,
            } if module => {
                w.u8(*transfer).u32(*offset).bytes(bytes);
            }
            Message::Rate { baud, .. } | Message::Probe { baud, .. } => {
                w.u32(*baud);
            }
            Message::Ack(ack) if !module => {
                w.u8(ack.transfer).u8(ack.phase as u8).u8(ack.seen);
                w.u16(ack.number).u8(ack.window).u8(ack.bitmap);
                w.u32(ack.offset);
            }
            Message::Request {
                transfer,
                offset,
                length,
            } if !module => {
                w.u8(*transfer).u32(*offset).u32(*length);
            }
            // What only the other end sends.
            _ => {}
        }
    }

    /// Writes the whole frame and gives its length on the line; 0 = it does not fit.
    pub fn encode(&self, buffer: &mut [u8], from: Side, tag: u16) -> usize {
        encode(buffer, self.kind() | from.bit(), tag, |w| {
            self.write(w, from)
        })
    }
}
