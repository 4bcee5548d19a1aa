#![no_std]
#![forbid(unsafe_code)]
//! The portable SOTA component: three sans-IO machines and the messages between them.

pub mod bridge;
pub mod cloud;
pub mod engine;
pub mod mailbox;
pub mod message;
pub mod platform;
