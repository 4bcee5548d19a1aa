#![no_std]
#![forbid(unsafe_code)]
//! The portable SOTA component: three sans-IO machines and the messages between them.

#[cfg(test)]
extern crate std;

pub mod bridge;
pub mod cloud;
pub mod engine;
pub mod event;
pub mod mailbox;
pub mod message;
pub mod platform;
mod text;

pub use sota_coap::text::utf8;
