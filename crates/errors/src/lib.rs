#![no_std]
#![forbid(unsafe_code)]
//! The one catalogue of errors.
//!
//! Every error a person can meet has a number, a name, what it means and what to do. The numbers are
//! stable: an error that is no longer raised keeps its number. `docs/errors.md` is written from this
//! crate (`cargo test -p sota-errors` compares, `SOTA_BLESS=1` rewrites it).
//!
//! | numbers | enum | raised by |
//! |---|---|---|
//! | 1..=399 | [`Reason`] | the module: engine, cloud, bridge, flash; `+SOTAERR`, the Plan object, the Center's logs |
//! | 400..=599 | [`McuError`] | the MCU's agent |
//! | 600..=629 | [`LinkError`] | the UART between module and MCU, both ends |
//! | 630..=642 | [`RomError`] | the module, at an MCU's ROM loader |
//! | 643..=679 | [`SmpError`] | the module, at an MCU's SMP server |
//! | 680..=699 | [`SideError`] | the module, at the UART and the lines of an MCU that it drives itself |
//! | 1000..=1999 | [`CenterError`] | the Center: REST API, device endpoint, log |
//! | 2000..=2999 | [`ProgramError`] | the program `sota` |
//!
//! Texts are functions of the enum, so a firmware image that never asks for one does not link it.

mod center;
mod device;
mod link;
mod mcu;
mod of_mcu;
mod program;
mod rom;
mod side;
mod smp;

pub use center::CenterError;
pub use device::Reason;
pub use link::LinkError;
pub use mcu::McuError;
pub use program::ProgramError;
pub use rom::RomError;
pub use side::SideError;
pub use smp::SmpError;

/// One line of the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Stable number, unique over the whole catalogue.
    pub number: u16,
    /// The variant's name, unique over the whole catalogue.
    pub name: &'static str,
    /// What was wrong, in words a person understands.
    pub meaning: &'static str,
    /// What the person can do.
    pub remedy: &'static str,
}

/// Declares one enum of the catalogue; each line is `Name = number, "meaning", "remedy";`.
macro_rules! catalogue {
    ($(#[$doc:meta])* $enum:ident { $($name:ident = $number:literal, $meaning:literal, $remedy:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u16)]
        #[non_exhaustive]
        pub enum $enum { $(#[doc = $meaning] $name = $number,)* }

        impl $enum {
            /// Every error of this enum, in the order of the catalogue.
            pub const ALL: &'static [$enum] = &[$($enum::$name),*];

            /// The stable number.
            pub const fn number(self) -> u16 { self as u16 }

            /// The name, as it stands in `docs/errors.md`.
            pub const fn name(self) -> &'static str {
                $crate::line(concat!($(stringify!($name), "\n"),*), self.place())
            }

            /// What was wrong.
            pub const fn meaning(self) -> &'static str {
                $crate::line(concat!($($meaning, "\n"),*), self.place())
            }

            /// What to do.
            pub const fn remedy(self) -> &'static str {
                $crate::line(concat!($($remedy, "\n"),*), self.place())
            }

            /// The place in the catalogue.
            const fn place(self) -> usize {
                let mut place = 0;
                while place < Self::ALL.len() && Self::ALL[place] as u16 != self as u16 {
                    place += 1;
                }
                place
            }

            /// The whole line.
            pub const fn entry(self) -> $crate::Entry {
                $crate::Entry {
                    number: self.number(), name: self.name(),
                    meaning: self.meaning(), remedy: self.remedy(),
                }
            }

            /// The error with this number, if this enum has one.
            pub const fn from_number(number: u16) -> Option<$enum> {
                let mut place = 0;
                while place < Self::ALL.len() {
                    if Self::ALL[place] as u16 == number {
                        return Some(Self::ALL[place]);
                    }
                    place += 1;
                }
                None
            }
        }

        impl core::fmt::Display for $enum {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, "{} {}: {}", self.number(), self.name(), self.meaning())
            }
        }

        impl core::error::Error for $enum {}
    };
}
pub(crate) use catalogue;

/// The line with this number, counted from 0. One text for all, as a table of texts costs the module 8 bytes
/// for each.
#[inline(never)]
const fn line(text: &'static str, number: usize) -> &'static str {
    let mut rest = text;
    let mut before = number;
    let mut at = 0;
    while at < rest.len() {
        if rest.as_bytes()[at] != b'\n' {
            at += 1;
            continue;
        }
        let Some((line, tail)) = rest.split_at_checked(at) else {
            break;
        };
        if before == 0 {
            return line;
        }
        before -= 1;
        rest = match tail.split_at_checked(1) {
            Some((_, tail)) => tail,
            None => break,
        };
        at = 0;
    }
    ""
}
