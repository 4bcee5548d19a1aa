//! Jobs, time-outs, failures and tries.
//!
//! | step | does | goes to |
//! |---|---|---|
//! | Rest | nothing: no job | the job's step at [`Client::begin`] |
//! | Parameters | asks for the server's buffers, once | Upload |
//! | Ask | one request and its answer | Rest |
//! | Upload | parts of the image (`upload`) | Rest; Erase when the server's flash failed |
//! | Erase | the slot that is not in use, once | Upload |
//! | Pause | nothing: too many failures in a row | the job's step |
//!
//! A request without an answer is asked again with another sequence number, later each time; every request but the reset may be
//! done twice. **The reset is not asked again:** the second one would bring a new image down that nobody has confirmed yet. Whoever
//! wants to know reads the slots afterwards.

use crate::config::Config;
use crate::fault::{Fault, Verdict, verdict};
use crate::message::{Answer, Hash, Parameters, Refusal, Request, Slots};
use crate::upload::Parts;
use crate::wire::{Header, Heard, OVERHEAD, PACKET, Rx, Tx};
use crate::{Millis, SmpError};
use heapless::Vec;

/// Parts on their way at the most.
pub(crate) const WINDOW: usize = 4;
/// What a server's buffer holds that does not say it.
const UNKNOWN: Parameters = Parameters {
    size: 256,
    count: 1,
};

const ECHO: &str = "sota";

/// The image, read as it is needed.
pub trait Source {
    /// Fills `out` with the image's bytes from `offset` on; whether it could.
    fn read(&mut self, offset: u32, out: &mut [u8]) -> bool;
}

/// What the client is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// Reads the slots: [`Client::slots`].
    State,
    /// Makes the server have the image's bytes up to `end`. `start` is the first byte that the source has.
    Upload {
        /// First byte.
        start: u32,
        /// One past the last byte.
        end: u32,
    },
    /// Starts this image once, at the next reset.
    Test(Hash),
    /// Keeps this image.
    Confirm(Hash),
    /// Resets the MCU. Done means that it was asked to.
    Reset,
    /// A text there and back.
    Echo,
}

/// How a job ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// As asked.
    Done,
    /// The server has the image only up to this byte: it was reset, or it has all of it and has forgotten that it came just now.
    Rewind(u32),
}

/// What the caller has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// The job is over.
    Done(Done),
    /// The job is over, and trying it again would change nothing.
    Failed(Fault),
    /// Several tries failed; it goes on after a pause.
    Trouble(Fault),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Rest,
    Parameters,
    Ask,
    Upload,
    Erase,
    Pause(Millis),
}

/// A request that waits for its answer.
pub(crate) struct Open {
    seq: u8,
    code: (u8, u16, u8),
    wait_ms: u64,
    deadline: Millis,
    /// One past its last byte, of a part.
    pub(crate) end: u32,
}

/// The client.
pub struct Client {
    pub(crate) config: Config,
    pub(crate) tx: Tx,
    rx: Rx,
    pub(crate) step: Step,
    job: Option<Job>,
    pub(crate) open: Vec<Open, WINDOW>,
    seq: u8,
    /// SMP version 2 is 1.
    pub(crate) version: u8,
    pub(crate) parameters: Option<Parameters>,
    slots: Slots,
    pub(crate) parts: Parts,
    /// The slot was erased for this image already.
    erased: bool,
    /// Failures in a row, and refusals among them.
    pub(crate) failures: u8,
    refusals: u8,
    pub(crate) steps: u32,
    /// The last thing that came and was no answer.
    heard: Option<SmpError>,
    ended: Option<Output>,
    code: (u8, u16, u8),
}

impl Client {
    /// Nothing is sent before the first job.
    pub const fn new(config: Config) -> Client {
        Client {
            config,
            tx: Tx::new(),
            rx: Rx::new(),
            step: Step::Rest,
            job: None,
            open: Vec::new(),
            seq: 0,
            version: 1,
            parameters: None,
            slots: Vec::new(),
            parts: Parts::NONE,
            erased: false,
            failures: 0,
            refusals: 0,
            steps: 0,
            heard: None,
            ended: None,
            code: (0, 0, 0),
        }
    }

    /// Another image: its length and, if it is known, its SHA-256, by which the server goes on with an upload that was interrupted.
    pub fn image(&mut self, length: u32, sha256: Option<[u8; 32]>) {
        self.abandon();
        self.parts = Parts::new(length, sha256);
        self.erased = false;
    }

    /// Begins a job; one that is under way is given up.
    pub fn begin(&mut self, job: Job) {
        self.abandon();
        self.progress();
        self.job = Some(job);
        if let Job::Upload { start, end } = job {
            self.parts.begin(start, end);
        }
        self.enter();
    }

    /// Gives the job up. What the server does about a request that was sent is not looked at.
    pub fn abandon(&mut self) {
        self.job = None;
        self.open.clear();
        self.ended = None;
        self.step = Step::Rest;
    }

    /// The slots of the configured image, as the server last told them.
    pub fn slots(&self) -> &Slots {
        &self.slots
    }

    /// Changes whenever something was done that will not have to be done again.
    pub fn steps(&self) -> u32 {
        self.steps
    }

    /// Bytes of the image that the server is known to have.
    pub fn uploaded(&self) -> u32 {
        self.parts.has
    }

    /// Bytes for the UART, 8N1.
    pub fn next_tx(&mut self, out: &mut [u8]) -> usize {
        self.tx.take(out)
    }

    /// When to poll at the latest.
    pub fn deadline(&self) -> Option<Millis> {
        if self.ended.is_some() {
            return Some(0);
        }
        match self.step {
            Step::Rest => None,
            Step::Pause(at) => Some(at),
            // it goes on when the UART has taken all
            _ if !self.tx.is_empty() => None,
            Step::Upload if self.may_send() || self.parts.is_done() => Some(0),
            _ => Some(
                self.open
                    .iter()
                    .map(|open| open.deadline)
                    .min()
                    .unwrap_or(0),
            ),
        }
    }

    /// Takes received bytes.
    pub fn on_bytes(&mut self, now: Millis, bytes: &[u8]) {
        for byte in bytes {
            match self.rx.byte(*byte) {
                None => {}
                Some(Heard::Fault(error)) => self.heard = Some(error),
                Some(Heard::Packet) => self.packet(now),
            }
        }
    }

    fn packet(&mut self, now: Millis) {
        let Some((header, body)) = Header::parse(self.rx.packet()) else {
            self.heard = Some(SmpError::SmpMalformed);
            return;
        };
        if header.op & 1 == 0 {
            self.heard = Some(SmpError::SmpEcho);
            return;
        }
        let its = (header.op - 1, header.group, header.id);
        let asked = |open: &Open| open.seq == header.seq && open.code == its;
        let Some(place) = self.open.iter().position(asked) else {
            self.heard = Some(SmpError::SmpUnexpected);
            return;
        };
        let answer = match Answer::parse(body) {
            Ok(answer) => answer,
            Err(error) => {
                self.heard = Some(error);
                return;
            }
        };
        if answer.refusal.is_none() && !self.is_whole(&answer) {
            self.heard = Some(SmpError::SmpMalformed);
            return;
        }
        // answers come in the order of the requests: those before it were lost
        let mut end = 0;
        for _ in 0..=place {
            end = self.open.first().map_or(0, |open| open.end);
            self.open.remove(0);
        }
        match answer.refusal {
            Some(refusal) => self.refused(now, refusal),
            None => self.answered(answer, end),
        }
    }

    /// It has what was asked for.
    fn is_whole(&self, answer: &Answer) -> bool {
        match (self.step, self.job) {
            (Step::Upload, _) => answer.offset.is_some(),
            (Step::Ask, Some(Job::State)) => answer.slots.is_some(),
            (Step::Ask, Some(Job::Echo)) => answer.echo == Some(ECHO.len()),
            _ => true,
        }
    }

    fn answered(&mut self, answer: Answer, end: u32) {
        if let Some(slots) = answer.slots {
            let image = u32::from(self.config.image);
            self.slots = slots.into_iter().filter(|s| s.image == image).collect();
        }
        match self.step {
            Step::Parameters => {
                self.parameters = Some(Parameters {
                    size: answer.buf_size.unwrap_or(UNKNOWN.size),
                    count: answer.buf_count.unwrap_or(UNKNOWN.count),
                });
                self.enter();
            }
            Step::Erase => {
                self.erased = true;
                self.parts.lost();
                self.step = Step::Upload;
            }
            Step::Upload => {
                let offset = answer.offset.unwrap_or(0);
                if self.parts.answered(offset, end) {
                    self.progress();
                }
                if answer.matches == Some(false) {
                    self.fatal(SmpError::SmpDiffers, None);
                }
                return;
            }
            Step::Ask => {
                if self.job == Some(Job::Reset) {
                    self.parameters = None;
                }
                self.end(Done::Done);
            }
            Step::Rest | Step::Pause(_) => {}
        }
        self.progress();
    }

    fn refused(&mut self, now: Millis, refusal: Refusal) {
        self.heard = None;
        let verdict = verdict(self.step, self.version, refusal);
        if matches!(verdict, Verdict::Version(_) | Verdict::Again) {
            self.refusals += 1;
            if self.refusals >= self.config.tries {
                let upload = self.step == Step::Upload;
                let error = match (upload, refusal.rc) {
                    (true, 2) => SmpError::SmpNoSlot,
                    _ => SmpError::SmpRefused,
                };
                return self.fatal(error, Some(refusal));
            }
        }
        match verdict {
            Verdict::Done if self.step == Step::Parameters => {
                self.parameters = Some(UNKNOWN);
                self.enter();
            }
            Verdict::Done => self.end(Done::Done),
            Verdict::Version(version) => self.version = version,
            Verdict::Smaller if self.parts.smaller() => {}
            Verdict::Smaller => self.fatal(SmpError::SmpBufferTooSmall, Some(refusal)),
            Verdict::Erase(_) if !self.erased && self.step == Step::Upload => {
                self.step = Step::Erase;
                self.open.clear();
            }
            Verdict::Erase(error) | Verdict::Fatal(error) => self.fatal(error, Some(refusal)),
            Verdict::Again => {
                self.failures = self.failures.saturating_add(1);
                self.open.clear();
                self.parts.drain();
                self.step = Step::Pause(now + self.backed_off(self.config.times.answer_ms));
            }
        }
        // what else is on its way was refused for the same
        if self.step == Step::Upload {
            self.open.clear();
            self.parts.drain();
        }
    }

    /// Works on what came and on what time does.
    pub fn poll(&mut self, now: Millis, source: &mut dyn Source) -> Option<Output> {
        loop {
            if let Some(output) = self.ended.take() {
                self.abandon();
                return Some(output);
            }
            match self.step {
                Step::Rest => return None,
                Step::Pause(at) if now < at => return None,
                Step::Pause(_) => self.enter(),
                _ if !self.tx.is_empty() => {
                    // it waits for its answer once it was sent
                    if let Some(last) = self.open.last_mut() {
                        last.deadline = now + last.wait_ms;
                    }
                    return None;
                }
                _ if self.open.iter().any(|open| open.deadline <= now) => {
                    if let Some(output) = self.timed_out(now) {
                        return Some(output);
                    }
                }
                Step::Upload => {
                    if self.upload_poll(now, source) {
                        return None;
                    }
                }
                Step::Parameters | Step::Ask | Step::Erase if self.open.is_empty() => self.ask(now),
                Step::Parameters | Step::Ask | Step::Erase => return None,
            }
        }
    }

    /// The job's first step.
    fn enter(&mut self) {
        self.step = match self.job {
            None => Step::Rest,
            Some(Job::Upload { .. }) if self.parameters.is_none() => Step::Parameters,
            Some(Job::Upload { .. }) => Step::Upload,
            Some(_) => Step::Ask,
        };
    }

    fn ask(&mut self, now: Millis) {
        let request = match (self.step, &self.job) {
            (Step::Parameters, _) => Request::Parameters,
            (Step::Erase, _) => Request::Erase,
            (_, Some(Job::Test(hash))) => Request::Test(hash),
            (_, Some(Job::Confirm(hash))) => Request::Confirm(hash),
            (_, Some(Job::Reset)) => Request::Reset,
            (_, Some(Job::Echo)) => Request::Echo(ECHO),
            _ => Request::State,
        };
        let (version, seq) = (self.version, self.seq);
        self.code = request.code();
        let wait = match self.step {
            Step::Erase => self.config.times.erase_ms,
            _ => self.config.times.answer_ms,
        };
        let sent = self.tx.send(|out| request.emit(version, seq, out));
        match sent {
            Some(bytes) => self.opened(now, bytes, wait, 0),
            None => self.fatal(SmpError::SmpBufferTooSmall, None),
        }
    }

    /// A packet of so many bytes is on its way.
    pub(crate) fn opened(&mut self, now: Millis, bytes: usize, wait: u32, end: u32) {
        // base64, marks, start and stop bits
        let bits = (bytes as u64 + 8) * 14;
        let line = bits * 1000 / u64::from(self.config.baud.max(1));
        let wait_ms = self.backed_off(wait) + line;
        let open = Open {
            seq: self.seq,
            code: self.code,
            wait_ms,
            deadline: now + wait_ms,
            end,
        };
        self.seq = self.seq.wrapping_add(1);
        let _ = self.open.push(open); // there was room
    }

    pub(crate) fn next_seq(&mut self, code: (u8, u16, u8)) -> u8 {
        self.code = code;
        self.seq
    }

    fn backed_off(&self, ms: u32) -> u64 {
        u64::from(ms) << self.failures.min(3)
    }

    /// Bytes of a packet that the server takes.
    pub(crate) fn packet_size(&self) -> usize {
        let size = self.parameters.unwrap_or(UNKNOWN).size as usize;
        size.saturating_sub(OVERHEAD).min(PACKET)
    }

    fn timed_out(&mut self, now: Millis) -> Option<Output> {
        self.open.clear();
        if self.job == Some(Job::Reset) {
            self.parameters = None;
            self.end(Done::Done);
            return None;
        }
        self.parts.timed_out(self.failures);
        self.failures = self.failures.saturating_add(1);
        if self.failures < self.config.tries {
            return None;
        }
        let noise = self.rx.noise() > 0;
        let error = match self.heard.take() {
            Some(error) => error,
            None if noise => SmpError::SmpNoise,
            None => SmpError::SmpSilent,
        };
        // what answers next may be another image
        self.parameters = None;
        self.parts.widen();
        self.failures = 0;
        self.step = Step::Pause(now + u64::from(self.config.times.pause_ms));
        Some(Output::Trouble(self.fault(error, None)))
    }

    /// Something was done that will not have to be done again.
    pub(crate) fn progress(&mut self) {
        (self.failures, self.refusals) = (0, 0);
        self.heard = None;
        self.steps = self.steps.wrapping_add(1);
    }

    pub(crate) fn end(&mut self, done: Done) {
        self.ended = Some(Output::Done(done));
    }

    pub(crate) fn fatal(&mut self, error: SmpError, refusal: Option<Refusal>) {
        self.ended = Some(Output::Failed(self.fault(error, refusal)));
    }

    fn fault(&self, error: SmpError, refusal: Option<Refusal>) -> Fault {
        let (_, group, command) = self.code;
        Fault {
            error,
            group,
            command,
            refusal,
        }
    }
}

#[cfg(test)]
mod tests;
