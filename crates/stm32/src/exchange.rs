//! One command and its answer.
//!
//! | awaits | gets | goes to |
//! |---|---|---|
//! | Ack of part n | ACK | the next part is sent; after the last: Body of a read, Count of Get and Get ID, or done |
//! | | NACK | [`Failure::Refused`]; for the baud rate: done, it is known already |
//! | | another byte | [`Failure::Garbled`]; for the baud rate: skipped, as the application may have been talking |
//! | Count | n | Body of n + 1 bytes |
//! | Body | its last byte | done; of Get and Get ID: the last ACK |
//! | any | nothing in time | [`Failure::Silent`] for the baud rate, else [`Failure::Timeout`] |
//!
//! After a failure host and loader may disagree on where they are: the loader is reset, never talked out of it.

use crate::wire::{ACK, BLOCK, Command, NACK, Part, xor};
use crate::{Millis, Times};

/// Start, eight data, parity and stop bit, in thousandths.
const MILLI_BITS_PER_BYTE: u64 = 11_000;

/// How a command failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    Silent,
    Timeout,
    Refused,
    Garbled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Await {
    Nothing,
    Ack(u8),
    Count,
    Body,
    LastAck,
}

/// One command under way. The protocol is half-duplex, so what is sent and what is received share the block.
pub(crate) struct Exchange {
    command: Command,
    awaits: Await,
    /// The chip has Extended Erase.
    pub(crate) extended: bool,
    part: Part,
    /// Count, data and XOR of a write; what is received.
    block: [u8; BLOCK + 2],
    /// Bytes of `block`: to send, or wanted.
    len: u16,
    /// Bytes of the present part or block that were sent, or of the body that came.
    at: u16,
    /// What is sent is the block and not the part.
    sends_block: bool,
    deadline: Millis,
    baud: u32,
    result: Option<Result<(), Failure>>,
}

impl Exchange {
    pub(crate) const fn new(baud: u32) -> Exchange {
        Exchange {
            command: Command::Sync,
            awaits: Await::Nothing,
            extended: false,
            part: Part::EMPTY,
            block: [0; BLOCK + 2],
            len: 0,
            at: 0,
            sends_block: false,
            deadline: 0,
            baud,
            result: None,
        }
    }

    pub(crate) fn command(&self) -> Command {
        self.command
    }

    /// Puts what a write sends into the block; `fill` gets `len` bytes and says whether it could.
    pub(crate) fn fill(&mut self, len: u16, fill: impl FnOnce(&mut [u8]) -> bool) -> bool {
        let len = usize::from(len);
        let Some(data) = self.block.get_mut(1..1 + len) else {
            return false;
        };
        if len == 0 || !fill(data) {
            return false;
        }
        let count = (len - 1) as u8;
        let sum = count ^ xor(data);
        let [first, rest @ ..] = &mut self.block;
        *first = count;
        if let Some(last) = rest.get_mut(len) {
            *last = sum;
        }
        self.len = (len + 2) as u16;
        true
    }

    /// Begins a command. What is left of the one before is forgotten.
    pub(crate) fn start(&mut self, now: Millis, times: &Times, command: Command) {
        self.command = command;
        self.result = None;
        self.send(now, times, Part::code(command, self.extended), 0);
    }

    /// Forgets the command: nothing more is sent, what comes is skipped.
    pub(crate) fn stop(&mut self) {
        self.awaits = Await::Nothing;
        (self.at, self.sends_block, self.part) = (0, false, Part::EMPTY);
        self.result = None;
    }

    fn send(&mut self, now: Millis, times: &Times, part: Part, number: u8) {
        self.part = part;
        self.sends_block = false;
        self.at = 0;
        self.awaits = Await::Ack(number);
        self.wait(now, times, number, part.as_slice().len());
    }

    fn wait(&mut self, now: Millis, times: &Times, number: u8, bytes: usize) {
        let work = match (self.command, number) {
            (Command::Sync, _) => times.sync_ms,
            (Command::Write { .. }, 2) => times.write_ms,
            (Command::Erase { .. }, 1) => times.page_erase_ms,
            (Command::EraseAll, 1) => times.mass_erase_ms,
            _ => times.answer_ms,
        };
        let line = bytes as u64 * MILLI_BITS_PER_BYTE / u64::from(self.baud.max(1));
        self.deadline = now.saturating_add(u64::from(work) + line);
    }

    /// Bytes for the UART.
    pub(crate) fn next_tx(&mut self, out: &mut [u8]) -> usize {
        if !matches!(self.awaits, Await::Ack(_)) {
            return 0;
        }
        let all = match self.sends_block {
            true => self.block.get(..usize::from(self.len)),
            false => Some(self.part.as_slice()),
        };
        let rest = all.unwrap_or_default().get(usize::from(self.at)..);
        let mut sent = 0;
        for (to, from) in out.iter_mut().zip(rest.unwrap_or_default()) {
            *to = *from;
            sent += 1;
        }
        self.at += sent as u16;
        sent
    }

    /// Takes received bytes; what comes unasked is skipped.
    pub(crate) fn on_bytes(&mut self, now: Millis, times: &Times, bytes: &[u8]) {
        for byte in bytes {
            self.on_byte(now, times, *byte);
        }
    }

    fn on_byte(&mut self, now: Millis, times: &Times, byte: u8) {
        match self.awaits {
            Await::Nothing => {}
            Await::Ack(number) => match (byte, self.command) {
                (ACK, _) => self.acknowledged(now, times, number),
                (NACK, Command::Sync) => self.done(Ok(())),
                (_, Command::Sync) => {}
                (NACK, _) => self.done(Err(Failure::Refused)),
                _ => self.done(Err(Failure::Garbled)),
            },
            Await::Count => {
                self.receive(now, times, u16::from(byte) + 1);
            }
            Await::Body => {
                if let Some(place) = self.block.get_mut(usize::from(self.at)) {
                    *place = byte;
                }
                self.at += 1;
                if self.at >= self.len {
                    match self.command {
                        Command::Read { .. } => self.done(Ok(())),
                        _ => self.awaits = Await::LastAck,
                    }
                }
            }
            Await::LastAck => self.done(match byte {
                ACK => Ok(()),
                _ => Err(Failure::Garbled),
            }),
        }
    }

    fn receive(&mut self, now: Millis, times: &Times, len: u16) {
        (self.len, self.at, self.awaits) = (len, 0, Await::Body);
        self.wait(now, times, u8::MAX, usize::from(len) + 1);
    }

    fn acknowledged(&mut self, now: Millis, times: &Times, number: u8) {
        match (self.command, number) {
            (Command::Get | Command::GetId, 0) => self.awaits = Await::Count,
            (
                Command::Read { address, .. }
                | Command::Write { address, .. }
                | Command::Go { address },
                0,
            ) => self.send(now, times, Part::address(address), 1),
            (Command::Read { len, .. }, 1) => self.send(now, times, Part::count(len), 2),
            (Command::Read { len, .. }, 2) => self.receive(now, times, len),
            (Command::Write { .. }, 1) => {
                (self.sends_block, self.at, self.awaits) = (true, 0, Await::Ack(2));
                self.wait(now, times, 2, usize::from(self.len));
            }
            (Command::Erase { page }, 0) => {
                self.send(now, times, Part::page(page, self.extended), 1);
            }
            (Command::EraseAll, 0) => self.send(now, times, Part::all_pages(self.extended), 1),
            _ => self.done(Ok(())),
        }
    }

    fn done(&mut self, result: Result<(), Failure>) {
        self.awaits = Await::Nothing;
        self.result = Some(result);
    }

    /// The result, once.
    pub(crate) fn poll(&mut self, now: Millis) -> Option<Result<(), Failure>> {
        if self.awaits != Await::Nothing && now >= self.deadline {
            let failure = match self.command {
                Command::Sync => Failure::Silent,
                _ => Failure::Timeout,
            };
            self.done(Err(failure));
        }
        self.result.take()
    }

    pub(crate) fn deadline(&self) -> Millis {
        match self.result {
            Some(_) => 0,
            None => self.deadline,
        }
    }

    /// What a read, a Get or a Get ID received.
    pub(crate) fn data(&self) -> &[u8] {
        self.block.get(..usize::from(self.len)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
