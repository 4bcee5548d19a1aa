#![no_std]
#![forbid(unsafe_code)]
#![doc = include_str!("../README.md")]

pub mod field;
pub mod frame;
pub mod message;
