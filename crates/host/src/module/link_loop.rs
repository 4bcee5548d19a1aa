//! The bridge's thread with the binary link in place of AT commands.

use super::{Calls, Common, Heard};
use crate::serial::Serial;
use sota::bridge::link::LinkBridge;
use sota::message::Command;
use sota::platform::Clock;
use sota_link::Line;
use sota_link::field::Hello;
use sota_link::frame::frame_len;
use std::io;

/// Greatest block of the link in bytes; it divides the page of staging.
const BLOCK: u16 = 1024;
const FRAME: usize = frame_len(BLOCK as usize);

pub(super) struct LinkLoop<const B: usize> {
    common: Common<B>,
    bridge: LinkBridge<FRAME>,
    serial: Serial,
    calls: Calls,
    /// The module registers by itself.
    connect: bool,
    /// Received, not yet taken by the machine.
    received: Vec<u8>,
    /// Taken from the machine, not yet by the UART.
    out: Vec<u8>,
    /// To change to when `out` has left.
    baud: Option<u32>,
}

impl<const B: usize> LinkLoop<B> {
    /// `greatest` is the greatest baud rate that the link may switch to; 0: none.
    ///
    /// # Errors
    /// The system has no random number for the session.
    pub(super) fn new(
        common: Common<B>,
        serial: Serial,
        calls: Calls,
        greatest: u32,
        connect: bool,
    ) -> io::Result<LinkLoop<B>> {
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
            bridge: LinkBridge::new(common.clock.now(), config),
            common,
            serial,
            calls,
            connect,
            received: Vec::new(),
            out: Vec::new(),
            baud: None,
        })
    }

    pub(super) fn run(&mut self) {
        if self.connect {
            self.calls.command(Command::Connect(true));
        }
        while !self.common.ended() {
            let now = self.common.clock.now();
            if let Some(change) = self.serial.reopen(now) {
                self.common.tell(Heard::Uart(change));
            }
            while self.step() {}
            let now = self.common.clock.now();
            let wait = |at: u64| at.saturating_sub(now);
            let deadline = self.bridge.deadline().map(wait);
            let retry = self.serial.retry_at().map(wait);
            let ms = deadline.into_iter().chain(retry).min();
            let fd = self.serial.fd();
            let write = fd.filter(|_| !self.out.is_empty());
            self.common.sleeper.sleep(fd.as_slice(), write, ms);
        }
    }

    /// One round; whether anything moved.
    fn step(&mut self) -> bool {
        let now = self.common.clock.now();
        let mut moved = self.receive(now);
        while let Some(event) = self.common.boxes.events.try_recv() {
            self.common.boxes.engine.wake();
            self.bridge.on_event(&event);
            moved = true;
        }
        let calls = &self.calls;
        let mut engine = |command: Command, out: &mut [u8]| calls.answer(command, out);
        while let Some(line) = self.bridge.poll(now, &mut engine) {
            match line {
                Line::Baud(baud) => self.baud = Some(baud),
                line => self.common.tell(Heard::Line(line)),
            }
            moved = true;
        }
        self.send(now) || moved
    }

    fn receive(&mut self, now: u64) -> bool {
        if self.received.is_empty() {
            let mut bytes = [0; 1024];
            match self.serial.read(now, &mut bytes) {
                Ok(count) => self.received.extend_from_slice(&bytes[..count]),
                Err(change) => self.common.tell(Heard::Uart(change)),
            }
        }
        let taken = self.bridge.on_bytes(&self.received);
        self.received.drain(..taken);
        taken > 0
    }

    /// Writes until the UART takes no more; whether anything went out.
    fn send(&mut self, now: u64) -> bool {
        let next = |out: &mut [u8]| self.bridge.next_bytes(out);
        let sent = self.serial.send(now, &mut self.out, next);
        if self.out.is_empty()
            && let Some(baud) = self.baud.take()
        {
            self.serial.set_baud(baud);
        }
        self.common.moved(sent)
    }
}
