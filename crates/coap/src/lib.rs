#![no_std]
#![forbid(unsafe_code)]
#![doc = include_str!("../README.md")]

pub mod assemble;
pub mod block;
mod builder;
mod code;
pub mod dedup;
pub mod download;
pub mod echo;
pub mod endpoint;
mod etag;
pub mod exchange;
pub mod message;
pub mod observe;
pub mod option;
pub mod params;
pub mod rtt;
#[cfg(feature = "server")]
pub mod serve;
pub mod text;
pub mod upload;

pub use assemble::{Assembly, Taken};
pub use block::{Block, Szx, TooManyBlocks, blocks_of};
pub use builder::{BuildError, Builder};
pub use code::Code;
pub use dedup::{Dedup, Seen};
pub use download::{Download, Step, TransferError};
pub use etag::Etag;
pub use exchange::{Exchange, Poll, Reaction};
pub use message::{Kind, Message, ParseError, Token};
pub use params::{Params, after};
pub use rtt::Rtt;
pub use upload::{Upload, UploadStep};
