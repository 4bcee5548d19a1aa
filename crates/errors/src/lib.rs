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
//! | 1000..=1999 | [`CenterError`] | the Center: REST API, device endpoint, log |
//! | 2000..=2999 | [`ProgramError`] | the program `sota` |
//!
//! Texts are functions of the enum, so a firmware image that never asks for one does not link it.

mod center;
mod device;
mod mcu;
mod program;

pub use center::CenterError;
pub use device::Reason;
pub use mcu::McuError;
pub use program::ProgramError;

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
                match self { $($enum::$name => stringify!($name)),* }
            }

            /// What was wrong.
            pub const fn meaning(self) -> &'static str {
                match self { $($enum::$name => $meaning),* }
            }

            /// What to do.
            pub const fn remedy(self) -> &'static str {
                match self { $($enum::$name => $remedy),* }
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
                match number { $($number => Some($enum::$name),)* _ => None }
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
