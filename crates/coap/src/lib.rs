#![no_std]
#![forbid(unsafe_code)]
#![doc = include_str!("../README.md")]

pub mod block;
mod builder;
mod code;
pub mod exchange;
pub mod message;
pub mod option;
pub mod params;
pub mod rtt;

pub use block::{Block, Szx, TooManyBlocks, blocks_of};
pub use builder::{BuildError, Builder};
pub use code::Code;
pub use exchange::{Exchange, Poll, Reaction};
pub use message::{Kind, Message, ParseError, Token};
pub use params::Params;
pub use rtt::Rtt;
