//! The lines, entering the loader, failures and tries.
//!
//! | step | does | goes to |
//! |---|---|---|
//! | Rest | nothing: no job | Reset at [`Loader::begin`], or straight to the job where the loader is entered already |
//! | Reset | BOOT0 high, NRST low | Boot |
//! | Boot | NRST high, the loader starts | Sync |
//! | Sync, Get, GetId | baud rate, which erase command it has, which chip it is | Look |
//! | Look | reads the first block | the job |
//! | Work | the job's commands (`program`) | Rest |
//! | Pause | nothing: too many failures in a row | Reset |
//! | Leave | BOOT0 low, NRST low | Rest, with NRST high |
//!
//! Any failure goes to Reset: after a lost byte the loader may wait for the rest of a part for ever, and whatever were sent
//! to find out could be taken for data. BOOT0 stays high from the first reset until a job [`Job::Start`] is done, so an MCU
//! that loses power on its way comes back in the loader.

use crate::exchange::{Exchange, Failure};
use crate::layout::{Config, Erase, Start};
use crate::program::Work;
use crate::wire::{BLOCK, Command, code};
use crate::{Millis, RomError};

/// The image, read as it is needed.
pub trait Source {
    /// Fills `out` with the image's bytes from `offset` on; whether it could.
    fn read(&mut self, offset: u32, out: &mut [u8]) -> bool;
}

/// What the loader is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// Makes the flash hold these bytes of the image, without its first block. `start` is a multiple of 256, `end` too
    /// where it is not the image's end.
    Program {
        /// First byte.
        start: u32,
        /// One past the last byte.
        end: u32,
    },
    /// Reads all of the image back, as [`Output::Data`].
    Verify,
    /// Writes the first block. From then on the image can be started.
    Seal,
    /// Starts the image.
    Start,
}

/// How a job ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// As asked.
    Done,
    /// What lies from this byte of the image on was erased and must come again, before anything else.
    Rewind(u32),
}

/// What went wrong, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What.
    pub error: RomError,
    /// The command's code; 7F: the baud rate.
    pub command: u8,
    /// The address in the MCU's memory, or the chip's id with [`RomError::RomWrongChip`]; 0: none.
    pub detail: u32,
}

impl core::fmt::Display for Fault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} (command {:02X}", self.error, self.command)?;
        match (self.error, self.detail) {
            (_, 0) => {}
            (RomError::RomWrongChip, id) => write!(f, ", chip id {id:#05X}")?,
            (_, address) => write!(f, ", address {address:#010X}")?,
        }
        f.write_str(")")
    }
}

/// What the caller has to do or to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Set both lines now.
    Lines {
        /// BOOT0 is high.
        boot0: bool,
        /// NRST is low.
        reset: bool,
    },
    /// [`Loader::data`] was read back from this byte of the image on.
    Data(u32),
    /// The job is over.
    Done(Done),
    /// The job is over, and trying it again would change nothing.
    Failed(Fault),
    /// Several tries failed; it goes on after a pause.
    Trouble(Fault),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Rest,
    Reset,
    Boot(Millis),
    Release(Millis),
    Sync,
    Get,
    GetId,
    Look,
    Work,
    Pause(Millis),
    Leave,
    Leaving(Millis),
    Left,
}

/// The host's side of the ROM loader.
pub struct Loader {
    pub(crate) config: Config,
    pub(crate) exchange: Exchange,
    step: Step,
    /// In the loader since the last reset.
    entered: bool,
    /// Failures in a row, and refusals of a command among them.
    failures: u8,
    refusals: u8,
    steps: u32,
    /// Bytes of the image; 0: none.
    pub(crate) length: u32,
    pub(crate) job: Option<Job>,
    pub(crate) work: Work,
}

impl Loader {
    /// Nothing is sent and no line is set before the first job.
    pub const fn new(config: Config) -> Loader {
        Loader {
            exchange: Exchange::new(config.baud),
            config,
            step: Step::Rest,
            entered: false,
            failures: 0,
            refusals: 0,
            steps: 0,
            length: 0,
            job: None,
            work: Work::new(),
        }
    }

    /// Another image, of `length` bytes: what is known of the one before is forgotten.
    ///
    /// # Errors
    /// [`RomError::RomConfig`], [`RomError::RomImageTooLarge`].
    pub fn image(&mut self, length: u32) -> Result<(), RomError> {
        self.abandon();
        self.work = Work::new();
        self.length = 0;
        if !self.config.layout.is_usable() {
            return Err(RomError::RomConfig);
        }
        if length > self.config.layout.size() {
            return Err(RomError::RomImageTooLarge);
        }
        self.length = length;
        Ok(())
    }

    /// Begins a job; one that is under way is given up.
    pub fn begin(&mut self, job: Job) {
        self.exchange.stop();
        self.progress();
        self.job = Some(job);
        self.work.begin(job);
        self.step = match (self.entered, job) {
            (true, _) => Step::Work,
            (false, Job::Start) if self.config.start == Start::Reset => Step::Leave,
            (false, _) => Step::Reset,
        };
    }

    /// Gives the job up. The MCU stays as it is: in the loader, once it was entered.
    pub fn abandon(&mut self) {
        if self.job.take().is_some() {
            self.exchange.stop();
            self.entered = false;
            self.step = Step::Rest;
        }
    }

    /// Whether the flash was changed since [`Loader::image`], so that what was there before cannot be started.
    pub fn has_changed(&self) -> bool {
        self.work.has_changed
    }

    /// Changes whenever something was done that will not have to be done again.
    pub fn steps(&self) -> u32 {
        self.steps
    }

    /// What was last read back.
    pub fn data(&self) -> &[u8] {
        self.work_data()
    }

    /// Takes received bytes.
    pub fn on_bytes(&mut self, now: Millis, bytes: &[u8]) {
        let times = self.config.times;
        self.exchange.on_bytes(now, &times, bytes);
    }

    /// Bytes for the UART, 8E1.
    pub fn next_tx(&mut self, out: &mut [u8]) -> usize {
        self.exchange.next_tx(out)
    }

    /// When to poll at the latest.
    pub fn deadline(&self) -> Option<Millis> {
        match self.step {
            Step::Rest => None,
            Step::Reset | Step::Leave | Step::Left => Some(0),
            Step::Boot(at) | Step::Release(at) | Step::Pause(at) | Step::Leaving(at) => Some(at),
            Step::Work if self.work.is_idle() => Some(0),
            Step::Sync | Step::Get | Step::GetId | Step::Look | Step::Work => {
                Some(self.exchange.deadline())
            }
        }
    }

    /// Works on what came and on what time does.
    pub fn poll(&mut self, now: Millis, source: &mut dyn Source) -> Option<Output> {
        loop {
            match self.step {
                Step::Rest => return None,
                Step::Reset => {
                    self.entered = false;
                    self.step = Step::Boot(now + u64::from(self.config.times.reset_ms));
                    return Some(lines(true, true));
                }
                Step::Boot(at) if now >= at => {
                    self.step = Step::Release(now + u64::from(self.config.times.boot_ms));
                    return Some(lines(true, false));
                }
                Step::Release(at) if now >= at => self.command(now, Step::Sync, Command::Sync),
                Step::Pause(at) if now >= at => self.step = Step::Reset,
                Step::Leave => {
                    self.entered = false;
                    self.step = Step::Leaving(now + u64::from(self.config.times.reset_ms));
                    return Some(lines(false, true));
                }
                Step::Leaving(at) if now >= at => {
                    self.step = Step::Left;
                    return Some(lines(false, false));
                }
                Step::Left => return Some(self.ended(Output::Done(Done::Done))),
                Step::Boot(_) | Step::Release(_) | Step::Pause(_) | Step::Leaving(_) => {
                    return None;
                }
                Step::Work if self.work.is_idle() => {
                    if let Some(output) = self.next_work(now, source) {
                        return Some(self.ended(output));
                    }
                }
                Step::Sync | Step::Get | Step::GetId | Step::Look | Step::Work => {
                    let output = match self.exchange.poll(now)? {
                        Ok(()) => self.answered(now, source),
                        Err(failure) => self.failed(now, failure),
                    };
                    if let Some(output) = output {
                        return Some(self.ended(output));
                    }
                }
            }
        }
    }

    fn command(&mut self, now: Millis, step: Step, command: Command) {
        self.step = step;
        let times = self.config.times;
        self.exchange.start(now, &times, command);
    }

    /// Sends a command of the job.
    pub(crate) fn send(&mut self, now: Millis, command: Command) {
        self.command(now, Step::Work, command);
    }

    /// BOOT0 low and a reset.
    pub(crate) fn leave(&mut self) {
        self.step = Step::Leave;
    }

    /// The image runs: BOOT0 low for the next reset.
    pub(crate) fn jumped(&mut self) -> Output {
        self.entered = false;
        self.step = Step::Left;
        lines(false, false)
    }

    /// Something was done that will not have to be done again.
    pub(crate) fn progress(&mut self) {
        (self.failures, self.refusals) = (0, 0);
        self.steps = self.steps.wrapping_add(1);
    }

    fn answered(&mut self, now: Millis, source: &mut dyn Source) -> Option<Output> {
        match self.step {
            Step::Sync => self.command(now, Step::Get, Command::Get),
            Step::Get => {
                // the first byte is the version
                let codes = self.exchange.data().get(1..).unwrap_or_default();
                let extended = codes.contains(&code::EXTENDED_ERASE);
                if !extended && !codes.contains(&code::ERASE) {
                    return Some(self.fatal(RomError::RomConfig, 0));
                }
                self.exchange.extended = extended;
                self.command(now, Step::GetId, Command::GetId);
            }
            Step::GetId => {
                let id = (self.exchange.data().iter())
                    .fold(0, |id: u32, byte| id << 8 | u32::from(*byte));
                if self.config.chip.is_some_and(|chip| u32::from(chip) != id) {
                    return Some(self.fatal(RomError::RomWrongChip, id));
                }
                match self.job {
                    Some(Job::Start) => self.enter(),
                    _ => {
                        let command = Command::Read {
                            address: self.config.layout.base,
                            len: self.block_len(0),
                        };
                        self.command(now, Step::Look, command);
                    }
                }
            }
            Step::Look => {
                self.looked();
                self.enter();
            }
            Step::Work => return self.work_answered(now, source),
            _ => {}
        }
        None
    }

    fn enter(&mut self) {
        self.entered = true;
        self.step = Step::Work;
        self.work.reentered();
    }

    fn failed(&mut self, now: Millis, failure: Failure) -> Option<Output> {
        let error = match failure {
            Failure::Silent => RomError::RomSilent,
            Failure::Timeout => RomError::RomTimeout,
            Failure::Refused => RomError::RomRefused,
            Failure::Garbled => RomError::RomGarbled,
        };
        self.step = Step::Reset;
        self.entered = false;
        self.failures = self.failures.saturating_add(1);
        if failure == Failure::Refused {
            self.refusals = self.refusals.saturating_add(1);
        }
        let fault = self.fault(error, self.place());
        // it answers, and says no each time
        if self.refusals >= self.config.tries {
            return Some(Output::Failed(fault));
        }
        if self.failures < self.config.tries {
            return None;
        }
        self.failures = 0;
        self.step = Step::Pause(now + u64::from(self.config.times.pause_ms));
        Some(Output::Trouble(fault))
    }

    /// A failure that another try does not help against.
    pub(crate) fn fatal(&self, error: RomError, detail: u32) -> Output {
        Output::Failed(self.fault(error, detail))
    }

    fn fault(&self, error: RomError, detail: u32) -> Fault {
        Fault {
            error,
            command: self.exchange.command().code(self.exchange.extended),
            detail,
        }
    }

    /// The address of the command under way.
    fn place(&self) -> u32 {
        match self.exchange.command() {
            Command::Read { address, .. }
            | Command::Write { address, .. }
            | Command::Go { address } => address,
            _ => 0,
        }
    }

    /// Takes the job away when the output is its end.
    fn ended(&mut self, output: Output) -> Output {
        if matches!(output, Output::Done(_) | Output::Failed(_)) {
            self.job = None;
            self.exchange.stop();
            self.step = Step::Rest;
            // after a failure nobody knows where the loader stands
            self.entered &= matches!(output, Output::Done(_));
        }
        output
    }

    /// Bytes of the block at `offset`, with what fills its last word.
    pub(crate) fn block_len(&self, offset: u32) -> u16 {
        let word = u32::from(self.config.layout.word);
        let left = self.length.saturating_sub(offset).max(1);
        let left = left.checked_next_multiple_of(word).unwrap_or(left);
        left.min(BLOCK as u32) as u16
    }

    pub(crate) fn erases_all(&self) -> bool {
        self.config.erase == Erase::Mass
    }
}

fn lines(boot0: bool, reset: bool) -> Output {
    Output::Lines { boot0, reset }
}
