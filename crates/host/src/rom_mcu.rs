//! The simulated STM32 on a PC: a UART, a flash file, and its reset and boot lines as a socket.
//!
//! **The lines.** Whoever holds them connects to a Unix socket and sends a byte for each change:
//!
//! | byte | line |
//! |---|---|
//! | `B`, `b` | BOOT0 high, low |
//! | `R`, `r` | NRST low (the chip is held in reset), high |
//!
//! One connection counts at a time, the newest. When it ends both lines go where their resistors pull them: BOOT0 low, NRST
//! high, as those of a module that was reset do. Without a socket BOOT0 is high for good: the chip is in its loader.

use crate::mcu_port::StartError;
use crate::serial::{Change, Serial};
use crate::sim_rom::{Noise, SimRom, State};
use crate::wake::{self, Sleeper, Wake};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// The lines' end at the chip.
struct Lines {
    listener: UnixListener,
    holder: Option<UnixStream>,
    path: PathBuf,
}

impl Drop for Lines {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The chip, its UART and its lines.
pub struct RomMcu {
    rom: SimRom,
    noise: Noise,
    serial: Serial,
    lines: Option<Lines>,
    boot0: bool,
    reset: bool,
    sleeper: Sleeper,
    /// Answered, not yet taken by the UART.
    out: Vec<u8>,
    clock: crate::clock::HostClock,
}

/// What the program hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The chip does something else than before.
    State(State),
    /// The UART was lost, or is back.
    Uart(Change),
}

impl RomMcu {
    /// `lines`: where the socket is made; an old one is replaced. The [`Wake`] ends a sleep inside [`RomMcu::step`].
    ///
    /// # Errors
    /// The socket cannot be made, or no descriptors are left.
    pub fn new(
        rom: SimRom,
        noise: Noise,
        serial: Serial,
        lines: Option<&Path>,
    ) -> Result<(RomMcu, Wake), StartError> {
        let (wake, sleeper) = wake::pair()?;
        let lines = lines.map(open).transpose()?;
        let mut mcu = RomMcu {
            rom,
            noise,
            serial,
            boot0: lines.is_none(),
            reset: false,
            lines,
            sleeper,
            out: Vec::new(),
            clock: crate::clock::HostClock::start(),
        };
        // the power comes on
        mcu.rom.lines(mcu.boot0, true);
        mcu.rom.lines(mcu.boot0, false);
        Ok((mcu, wake))
    }

    /// The chip, to look at.
    pub fn rom(&self) -> &SimRom {
        &self.rom
    }

    /// One round: what is there to receive, to do and to send; then sleeps until there is more.
    pub fn step(&mut self, heard: &mut dyn FnMut(Heard)) {
        use sota::platform::Clock;
        let now = self.clock.now();
        if let Some(change) = self.serial.reopen(now) {
            heard(Heard::Uart(change));
        }
        let before = self.rom.state();
        while self.hold() | self.receive(now, heard) | self.send(now, heard) {}
        let state = self.rom.state();
        if state != before && state != State::Held {
            heard(Heard::State(state));
            return; // told before the sleep
        }
        let serial = self.serial.fd();
        let lines = self.lines.as_ref();
        let listener = lines.map(|lines| lines.listener.as_fd());
        let holder = lines
            .and_then(|lines| lines.holder.as_ref())
            .map(AsFd::as_fd);
        let reads: Vec<_> = [serial, listener, holder].into_iter().flatten().collect();
        let write = serial.filter(|_| !self.out.is_empty());
        let retry = (self.serial.retry_at()).map(|at| at.saturating_sub(self.clock.now()));
        self.sleeper.sleep(&reads, write, retry);
    }

    /// Takes what the lines' holder says; whether there was anything.
    fn hold(&mut self) -> bool {
        let Some(lines) = &mut self.lines else {
            return false;
        };
        if let Ok((holder, _)) = lines.listener.accept() {
            let _ = holder.set_nonblocking(true);
            lines.holder = Some(holder);
        }
        let Some(holder) = &mut lines.holder else {
            return false;
        };
        let mut bytes = [0; 16];
        let (boot0, reset) = match holder.read(&mut bytes) {
            Ok(0) => {
                lines.holder = None;
                (false, false)
            }
            // each edge counts: one byte after the other
            Ok(count) => {
                for byte in &bytes[..count] {
                    match byte {
                        b'B' => self.boot0 = true,
                        b'b' => self.boot0 = false,
                        b'R' => self.reset = true,
                        b'r' => self.reset = false,
                        _ => {}
                    }
                    self.rom.lines(self.boot0, self.reset);
                }
                (self.boot0, self.reset)
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return false;
            }
            Err(_) => {
                lines.holder = None;
                (false, false)
            }
        };
        (self.boot0, self.reset) = (boot0, reset);
        self.rom.lines(boot0, reset);
        if self.rom.state() == State::Held {
            self.out.clear();
        }
        true
    }

    fn receive(&mut self, now: u64, heard: &mut dyn FnMut(Heard)) -> bool {
        let mut bytes = [0; 512];
        match self.serial.read(now, &mut bytes) {
            Ok(count) => {
                let mut received = bytes[..count].to_vec();
                self.noise.pass(&mut received);
                let mut answer = Vec::new();
                for byte in received {
                    self.rom.on_byte(byte, &mut answer);
                }
                self.noise.pass(&mut answer);
                self.out.append(&mut answer);
                count > 0
            }
            Err(change) => {
                heard(Heard::Uart(change));
                false
            }
        }
    }

    fn send(&mut self, now: u64, heard: &mut dyn FnMut(Heard)) -> bool {
        let sent = self.serial.send(now, &mut self.out, |_| 0);
        sent.unwrap_or_else(|change| {
            heard(Heard::Uart(change));
            false
        })
    }
}

fn open(path: &Path) -> io::Result<Lines> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    Ok(Lines {
        listener,
        holder: None,
        path: path.to_owned(),
    })
}

/// The lines' other end, in the module.
pub struct LinesHolder {
    path: PathBuf,
    to: Option<UnixStream>,
    levels: [u8; 2],
}

impl LinesHolder {
    /// Nothing is connected before the first change.
    pub fn new(path: &Path) -> LinesHolder {
        LinesHolder {
            path: path.to_owned(),
            to: None,
            levels: *b"br",
        }
    }

    /// Sets both lines. An end that is not there, or was started again, is connected to and hears the levels.
    ///
    /// # Errors
    /// The chip's end cannot be reached; the levels are kept and sent at the next change.
    pub fn set(&mut self, boot0: bool, reset: bool) -> io::Result<()> {
        self.levels = [
            if boot0 { b'B' } else { b'b' },
            if reset { b'R' } else { b'r' },
        ];
        if let Some(to) = &mut self.to
            && to.write_all(&self.levels).is_ok()
        {
            return Ok(());
        }
        let mut to = UnixStream::connect(&self.path)?;
        to.write_all(&self.levels)?;
        self.to = Some(to);
        Ok(())
    }
}
