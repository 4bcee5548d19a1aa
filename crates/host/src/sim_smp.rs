//! An MCU with Zephyr's MCUmgr and MCUboot and nothing of ours on it: two slots, the bootloader's rule, and an SMP server on a UART.
//!
//! Bytes in, bytes out; written from Zephyr's documentation alone, and checked with PyPI's `smpclient` (`tests/peers/smpclient.py`).
//!
//! | state | hears | goes to |
//! |---|---|---|
//! | Off | nothing | Booting with power |
//! | Booting | nothing | Running, Hung or Stuck after `boot_ms` |
//! | Running | SMP | Booting at a reset, `RESET_MS` after its answer |
//! | Hung: an image whose body begins with [`HANGS`] | nothing | Booting by the watchdog, where there is one |
//! | Stuck: no image | nothing | |
//!
//! What is on its way in the server (its place in an upload) is gone with a reset, as Zephyr's is.

mod flash;
mod frame;
mod image;
mod server;
#[cfg(test)]
mod tests;

pub use flash::Mode;
pub use frame::lines;
pub use image::{HANGS, Info, UNSIGNED, build, info};

use crate::sim_rom::Noise;
use flash::Flash;
use frame::Receiver;
use server::Server;
use std::collections::VecDeque;
use std::io;
use std::path::Path;

/// From the answer to a reset until it happens (`CONFIG_MCUMGR_GRP_OS_RESET_MS`).
const RESET_MS: u64 = 250;

/// What kind of MCU it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Bytes of a slot.
    pub slot: usize,
    /// Bytes of the server's buffers.
    pub buf_size: u32,
    /// How many it has.
    pub buf_count: u32,
    /// From a reset until the image runs, ms.
    pub boot_ms: u64,
    /// Time for a request, ms.
    pub work_ms: u64,
    /// Time for the erase of a slot, ms.
    pub erase_ms: u64,
    /// The watchdog's time, ms; 0: there is none.
    pub watchdog_ms: u64,
    /// Its log goes to the same UART.
    pub logs: bool,
    /// Its server knows SMP version 1 alone.
    pub is_old: bool,
}

impl Options {
    /// Zephyr's defaults, no log, slots of 256 KiB.
    pub const DEFAULT: Options = Options {
        slot: 256 << 10,
        buf_size: 384,
        buf_count: 4,
        boot_ms: 200,
        work_ms: 0,
        erase_ms: 0,
        watchdog_ms: 5_000,
        logs: false,
        is_old: false,
    };
}

/// What the MCU does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No power.
    Off,
    /// In the bootloader.
    Booting,
    /// The image runs.
    Running,
    /// The image does nothing.
    Hung,
    /// There is no image.
    Stuck,
}

/// The MCU.
pub struct SimSmp {
    options: Options,
    flash: Flash,
    server: Server,
    receiver: Receiver,
    queue: VecDeque<Vec<u8>>,
    state: State,
    now: u64,
    /// When the state ends, or the reset that was asked for happens.
    at: Option<u64>,
    /// Until then it works on the request, then this is its answer.
    busy_until: u64,
    answer: Option<Vec<u8>>,
    random: Noise,
    /// Sent, not yet taken.
    out: Vec<u8>,
}

impl SimSmp {
    /// An MCU with this image, which runs at once.
    pub fn new(options: Options, factory: &[u8]) -> SimSmp {
        let mut flash = Flash::new(options.slot);
        flash.load(factory);
        SimSmp::with(options, flash)
    }

    /// The same with its flash in a file; `factory` is what a new one holds.
    ///
    /// # Errors
    /// The file cannot be used, or has another size.
    pub fn open(options: Options, path: &Path, factory: &[u8]) -> io::Result<SimSmp> {
        let flash = Flash::open(options.slot, path, factory)?;
        Ok(SimSmp::with(options, flash))
    }

    fn with(options: Options, flash: Flash) -> SimSmp {
        let mut smp = SimSmp {
            server: Server::new(options.buf_size, options.buf_count, options.is_old),
            options,
            flash,
            receiver: Receiver::default(),
            queue: VecDeque::new(),
            state: State::Off,
            now: 0,
            at: None,
            busy_until: 0,
            answer: None,
            random: Noise::new(7, 0, 0),
            out: Vec::new(),
        };
        smp.boot();
        smp
    }

    /// What it does.
    pub fn state(&self) -> State {
        self.state
    }

    /// What the next boot does.
    pub fn mode(&self) -> Mode {
        self.flash.mode
    }

    /// The image in slot 0 or 1.
    pub fn image(&self, slot: usize) -> Option<&[u8]> {
        let info = self.flash.info(slot)?;
        self.flash.slot(slot).get(..info.length)
    }

    /// What its header says.
    pub fn info(&self, slot: usize) -> Option<Info> {
        self.flash.info(slot)
    }

    /// Whether the image is what its hash is of.
    pub fn is_intact(&self, slot: usize) -> bool {
        let info = self.flash.info(slot);
        info.is_some_and(|info| info.is_intact(self.flash.slot(slot)))
    }

    /// Erases and writes that were done.
    pub fn operations(&self) -> u64 {
        self.flash.operations
    }

    /// The power goes in the middle of the operation of the flash that comes after `count` others.
    pub fn cut_in(&mut self, count: u32) {
        self.flash.cut_in = Some(count);
    }

    /// The erase or write of an upload that comes after `count` others fails.
    pub fn fail_in(&mut self, count: u32) {
        self.flash.fail_in = Some(count);
    }

    /// Takes or gives power.
    pub fn power(&mut self, on: bool) {
        self.flash.cut_in = None;
        if on == (self.state != State::Off) {
            return;
        }
        self.out.clear();
        self.state = State::Off;
        self.at = None;
        if on {
            self.flash.is_cut = false;
            self.boot();
        }
    }

    /// A reset: by its pin, the watchdog, or because it was asked for.
    pub fn reset(&mut self) {
        if self.state != State::Off {
            self.boot();
        }
    }

    fn boot(&mut self) {
        self.server.forget();
        self.queue.clear();
        self.receiver = Receiver::default();
        (self.busy_until, self.answer) = (0, None);
        self.state = State::Booting;
        self.log("*** Booting MCUboot ***");
        self.at = Some(self.now + self.options.boot_ms);
    }

    fn started(&mut self) {
        let boots = self.flash.boot();
        let info = self.flash.info(0);
        let hangs = info.is_some_and(|info| info.begins(self.flash.slot(0), HANGS));
        self.at = None;
        self.state = match (boots, hangs) {
            _ if self.flash.is_cut => State::Off,
            (false, _) => State::Stuck,
            (true, false) => State::Running,
            (true, true) => {
                let watchdog = self.options.watchdog_ms;
                self.at = (watchdog > 0).then(|| self.now + watchdog);
                State::Hung
            }
        };
        self.log("*** Booting Zephyr OS ***");
    }

    /// When to poll at the latest.
    pub fn deadline(&self) -> Option<u64> {
        let works = !self.queue.is_empty() || self.answer.is_some();
        let work = works.then_some(self.busy_until);
        [self.at, work].into_iter().flatten().min()
    }

    /// Takes bytes from its UART.
    pub fn on_bytes(&mut self, now: u64, bytes: &[u8]) {
        self.poll(now);
        for byte in bytes {
            if self.state != State::Running {
                return;
            }
            let buffer = self.options.buf_size as usize;
            let Some(packet) = self.receiver.byte(*byte, buffer) else {
                continue;
            };
            // one that finds no buffer is lost
            if self.queue.len() < self.options.buf_count as usize {
                self.queue.push_back(packet);
            }
            self.poll(now);
        }
    }

    /// Bytes for the UART.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Works on what came and on what time does.
    pub fn poll(&mut self, now: u64) {
        self.now = self.now.max(now);
        loop {
            if self.at.is_some_and(|at| at <= self.now) {
                match self.state {
                    State::Booting => self.started(),
                    _ => self.reset(),
                }
                continue;
            }
            if self.state != State::Running || self.busy_until > self.now {
                return;
            }
            if let Some(answer) = self.answer.take() {
                self.send(&answer);
            }
            if std::mem::take(&mut self.server.wants_reset) {
                self.at = Some(self.now + RESET_MS);
                continue;
            }
            let Some(packet) = self.queue.pop_front() else {
                return;
            };
            self.answer = self.server.answer(&packet, &mut self.flash);
            if self.flash.is_cut {
                self.power(false);
                return;
            }
            self.busy_until = self.now + self.options.work_ms;
            if std::mem::take(&mut self.server.has_erased) {
                self.busy_until += self.options.erase_ms;
            }
        }
    }

    fn send(&mut self, answer: &[u8]) {
        self.log("<inf> app: before an answer");
        let lines = frame::lines(answer);
        for (number, line) in lines.iter().enumerate() {
            if number > 0 && self.random.below(4) == 0 {
                self.log("<wrn> app: between two lines");
            }
            // now and then in the middle of one, which harms it
            let at = match self.options.logs && self.random.below(40) == 0 {
                true => line.len() / 2,
                false => 0,
            };
            self.out.extend_from_slice(&line[..at]);
            if at > 0 {
                self.log("<err> app: in the middle of a line");
            }
            self.out.extend_from_slice(&line[at..]);
        }
    }

    fn log(&mut self, text: &str) {
        if self.options.logs {
            let line = format!("[{:010}] {text}\r\n", self.now);
            self.out.extend_from_slice(line.as_bytes());
        }
    }
}
