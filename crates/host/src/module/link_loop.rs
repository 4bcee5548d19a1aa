//! The binary link on the module's own UART, in place of AT commands.

use super::back_ends::BackEnd;
use super::{Calls, Common, Heard};
use crate::serial::Serial;
use sota::bridge::link::LinkBridge;
use sota::message::{Command, Event};
use sota::platform::Clock;
use sota_link::Line;
use sota_link::field::Hello;
use sota_link::frame::frame_len;
use std::io;
use std::os::fd::BorrowedFd;

/// Greatest block of the link in bytes; it divides the page of staging.
const BLOCK: u16 = 1024;
const FRAME: usize = frame_len(BLOCK as usize);

pub(super) struct LinkLoop {
    bridge: LinkBridge<FRAME>,
    serial: Serial,
    calls: Calls,
    /// Received, not yet taken by the machine.
    received: Vec<u8>,
    /// Taken from the machine, not yet by the UART.
    out: Vec<u8>,
    /// To change to when `out` has left.
    baud: Option<u32>,
}

impl LinkLoop {
    /// `greatest` is the greatest baud rate that the link may switch to; 0: none.
    ///
    /// # Errors
    /// The system has no random number for the session.
    pub(super) fn new(now: u64, serial: Serial, calls: Calls, greatest: u32) -> io::Result<Self> {
        let mut session = [0; 2];
        getrandom::fill(&mut session).map_err(io::Error::other)?;
        let config = sota_link::Config {
            hello: Hello {
                block: BLOCK,
                window: 8,
                rate: greatest,
                ..Hello::default()
            },
            baud: serial.baud(),
            session: u16::from_le_bytes(session),
        };
        Ok(LinkLoop {
            bridge: LinkBridge::new(now, config),
            serial: serial.paced(),
            calls,
            received: Vec::new(),
            out: Vec::new(),
            baud: None,
        })
    }
}

impl<const B: usize> BackEnd<B> for LinkLoop {
    fn step(&mut self, common: &Common<B>) -> bool {
        let now = common.clock.now();
        common.reopen(now, &mut self.serial);
        if self.received.is_empty() {
            let mut bytes = [0; 1024];
            let count = common.read(now, &mut self.serial, &mut bytes);
            self.received.extend_from_slice(&bytes[..count]);
        }
        let taken = self.bridge.on_bytes(&self.received);
        self.received.drain(..taken);
        let mut moved = taken > 0;
        let calls = &self.calls;
        let mut engine = |command: Command, out: &mut [u8]| calls.answer(command, out);
        while let Some(line) = self.bridge.poll(now, &mut engine) {
            match line {
                Line::Baud(baud) => self.baud = Some(baud),
                line => common.tell(Heard::Line(line)),
            }
            moved = true;
        }
        // What follows a change of the speed is sent with the new one.
        let next = |out: &mut [u8]| match self.baud {
            Some(_) => 0,
            None => self.bridge.next_bytes(out),
        };
        let sent = common.send(now, &mut self.serial, &mut self.out, next);
        if self.out.is_empty()
            && let Some(baud) = self.baud.take()
        {
            self.serial.set_baud(baud);
            common.tell(Heard::Line(Line::Baud(baud)));
            return true;
        }
        sent || moved
    }

    fn on_event(&mut self, _: &Common<B>, event: &Event) {
        self.bridge.on_event(event);
    }

    fn deadline(&self) -> Option<u64> {
        let own = self.bridge.deadline().into_iter();
        let port = self.serial.retry_at().into_iter();
        own.chain(port).chain(self.serial.again_at()).min()
    }

    fn fds(&self) -> [Option<BorrowedFd<'_>>; 2] {
        let write = self.serial.fd_to_write();
        [self.serial.fd(), write.filter(|_| !self.out.is_empty())]
    }
}
