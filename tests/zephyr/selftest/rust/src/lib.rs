//! The engine's self test: the component's engine over the port's flash, on the processor and driver of the board.
//!
//! | file | holds |
//! |---|---|
//! | `cases` | the cases |
//! | `world` | a Center and an MCU around one engine |
//! | `package` | packages without a buffer: each byte is a function of its place |
//! | `border` | what C calls and gives |
#![no_std]

/// Ends a case with the place and the text of what does not hold.
macro_rules! ensure {
    ($condition:expr) => {
        if !$condition {
            return Err(concat!(file!(), ":", line!(), ": ", stringify!($condition)));
        }
    };
}

mod border;
mod cases;
mod package;
mod world;

/// What does not hold.
type Outcome = Result<(), &'static str>;
