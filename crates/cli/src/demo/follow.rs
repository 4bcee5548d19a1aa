//! Waits for the parts, shows progress, measures the phases.

use super::Args;
use super::process::{Parts, Who};
use super::setup;
use crate::failure::Failure;
use crate::out::Out;
use crate::rest::Rest;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::Value;
use sota_errors::ProgramError;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// How often the Center is asked.
const POLL: Duration = Duration::from_millis(100);

/// The phases of an upgrade, in sequence.
pub(super) const PHASES: [&str; 4] = ["connect", "offer", "download", "install"];

/// What was seen.
pub(super) struct Follow {
    out: Out,
    component: String,
    timeout: Duration,
    began: Instant,
    bars: Option<(ProgressBar, ProgressBar)>,
    /// Index of the present phase and when it began.
    phase: (usize, Instant),
    /// Seconds of each phase that ended.
    pub(super) seconds: [f64; PHASES.len()],
    /// Pieces the MCU says it was told of.
    pieces: u64,
    /// Pieces the module told of, each once for each of its starts.
    told_pieces: u64,
    /// AT commands the MCU had to repeat.
    pub(super) at_retries: u64,
    /// Retransmissions of the module's processes that ended, and of the present one.
    retransmissions: (u64, u64),
    /// When the first piece was whole in the module, and how long from there to the verified flash of the MCU.
    staged: Option<Instant>,
    pub(super) hand_over: Option<f64>,
    /// What the MCU said it booted: version, SHA-256.
    pub(super) booted: Option<(String, String)>,
    /// The Center counts the device as upgraded.
    pub(super) center_success: bool,
    /// The version that the Center has from the device.
    pub(super) center_version: String,
    state: u64,
    /// The last event of the module.
    event: String,
    /// Events of a plan or a piece that were shown.
    shown: BTreeSet<String>,
}

impl Follow {
    pub(super) fn new(out: Out, package: usize, args: &Args) -> Follow {
        let terminal = !out.json && std::io::stdout().is_terminal();
        let now = Instant::now();
        Follow {
            out,
            component: args.component.clone(),
            timeout: Duration::from_secs(args.timeout),
            began: now,
            bars: terminal.then(|| bars(package as u64)),
            phase: (0, now),
            seconds: [0.0; PHASES.len()],
            pieces: 0,
            told_pieces: 0,
            at_retries: 0,
            retransmissions: (0, 0),
            staged: None,
            hand_over: None,
            booted: None,
            center_success: false,
            center_version: String::new(),
            state: 0,
            event: String::new(),
            shown: BTreeSet::new(),
        }
    }

    pub(super) fn retransmissions(&self) -> u64 {
        self.retransmissions.0 + self.retransmissions.1
    }

    /// Pieces the MCU was told of.
    pub(super) fn pieces(&self) -> u64 {
        self.pieces.max(self.told_pieces)
    }

    /// A line for people.
    pub(super) fn say(&self, line: impl Display) {
        if self.out.json {
            return;
        }
        let line = format!("{:6.2} s  {line}", self.began.elapsed().as_secs_f64());
        match &self.bars {
            Some((air, _)) => air.println(line),
            None => self.out.line(line, Value::Null),
        }
    }

    /// Until the Center knows the device and the version of its MCU.
    pub(super) fn until_connected(
        &mut self,
        parts: &mut Parts,
        rest: &Rest,
    ) -> Result<(), Failure> {
        loop {
            self.listen(parts)?;
            if let Some(version) = self.version(rest)? {
                self.say(format_args!(
                    "the device is at the Center; {} runs {version}",
                    self.component
                ));
                self.enter(1);
                return Ok(());
            }
        }
    }

    /// Until the plan has succeeded or failed on the device.
    pub(super) fn until_done(
        &mut self,
        parts: &mut Parts,
        rest: &Rest,
        plan: i64,
    ) -> Result<(), Failure> {
        self.say("the plan is active");
        loop {
            self.listen(parts)?;
            let status = rest.get(&format!("/plans/{plan}"))?;
            let count = |name: &str| status["counters"][name].as_u64().unwrap_or(0);
            if count("upgraded") == 1 {
                break;
            }
            if count("upgrade_failed") == 1 {
                return Err(Failure::new(ProgramError::UpgradeFailed, log(rest, plan)?));
            }
        }
        self.center_success = true;
        self.center_version = self.version(rest)?.unwrap_or_default();
        self.enter(PHASES.len());
        self.say("the Center says success");
        if let Some((air, uart)) = &self.bars {
            air.finish();
            uart.finish();
        }
        Ok(())
    }

    /// What the Center has as the MCU's version, once it has it.
    fn version(&self, rest: &Rest) -> Result<Option<String>, Failure> {
        let device = setup::device(rest)?.unwrap_or_default();
        let components = device["components"].as_array().cloned().unwrap_or_default();
        let mine = components
            .iter()
            .find(|c| c["identifier"] == self.component.as_str());
        Ok(mine.and_then(|c| c["version"].as_str()).map(str::to_owned))
    }

    /// Lines of the parts, for as long as the Center need not be asked again.
    fn listen(&mut self, parts: &mut Parts) -> Result<(), Failure> {
        let end = Instant::now() + POLL;
        if self.began.elapsed() > self.timeout {
            let detail = format!(
                "{} s, phase {}",
                self.timeout.as_secs(),
                PHASES[self.phase.0]
            );
            return Err(Failure::new(ProgramError::UpgradeTooSlow, detail));
        }
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            match parts.next(left)? {
                Some((Who::Module, line)) => self.module(&line),
                Some((Who::Mcu, line)) => self.mcu(&line),
                Some((Who::Center, _)) | None => {}
            }
            parts.cut(self.state == 9);
        }
    }

    fn module(&mut self, line: &Value) {
        let number = |name: &str| line[name].as_u64();
        if let Some(count) = number("restarted") {
            self.retransmissions = (self.retransmissions(), 0);
            self.shown.clear();
            self.say(format_args!(
                "the module was killed; started again ({count})"
            ));
        }
        if let Some(baud) = number("baud") {
            self.say(format_args!("module: {baud} baud"));
        }
        if let Some(count) = number("retransmissions") {
            self.retransmissions.1 = count;
        }
        if let (Some((air, _)), Some(progress)) = (&self.bars, number("progress")) {
            air.set_position(progress);
        }
        if let Some(state) = number("state")
            && state != self.state
        {
            self.state = state;
            match state {
                4 | 5 => self.enter(2),
                9 => {
                    self.enter(3);
                    self.hand_over = self.staged.map(|at| at.elapsed().as_secs_f64());
                }
                _ => {}
            }
        }
        if let (Some(code), Some(payload)) = (line["event"].as_str(), line["payload"].as_str()) {
            // 10702 comes again every 5 s: shown once, until the module says something else. 10700, 10701 and 10703 come
            // again when the MCU asks for them, which it does because they have no checksum.
            let repeated = match code {
                "7,10702" => self.event == code,
                "7,10700" | "7,10701" | "7,10703" => {
                    !self.shown.insert(format!("{code} {payload}"))
                }
                _ => false,
            };
            if code == "7,10703" && !repeated {
                self.told_pieces += 1;
                self.staged.get_or_insert_with(Instant::now);
            }
            if !repeated {
                self.say(format_args!("module: event {code} {payload}"));
            }
            self.event = code.to_owned();
        }
        self.warnings("module", line);
    }

    fn mcu(&mut self, line: &Value) {
        let number = |name: &str| line[name].as_u64();
        if let Some(count) = number("restarted") {
            self.say(format_args!(
                "the MCU's power was cut; started again ({count})"
            ));
        }
        if let Some(progress) = number("progress") {
            self.pieces = number("pieces").unwrap_or(self.pieces);
            self.at_retries = number("retries").unwrap_or(self.at_retries);
            if let Some((_, uart)) = &self.bars {
                uart.set_position(progress);
            }
        }
        if let (Some(version), Some(sha256)) = (line["updated"].as_str(), line["sha256"].as_str()) {
            self.booted = Some((version.to_owned(), sha256.to_owned()));
            self.say(format_args!("MCU: booted {version}"));
        }
        match line["event"].as_str() {
            Some("verified") => self.say("MCU: every digest matches what is in the flash"),
            Some("rewind") => self.say(format_args!("MCU: back to {}", line["place"])),
            _ => {}
        }
        self.warnings("MCU", line);
    }

    fn warnings(&self, who: &str, line: &Value) {
        if let Some(number) = line["warning"].as_u64() {
            let text = |key: &str| line[key].as_str().unwrap_or_default();
            let (name, message) = (text("name"), text("message"));
            let colon = if message.is_empty() { "" } else { ": " };
            self.say(format_args!(
                "{who}: warning {number} {name}{colon}{message}"
            ));
        }
    }

    /// Ends the phases before `phase`.
    fn enter(&mut self, phase: usize) {
        let (present, since) = self.phase;
        if phase > present {
            if let Some(seconds) = self.seconds.get_mut(present) {
                *seconds = since.elapsed().as_secs_f64();
            }
            self.phase = (phase, Instant::now());
        }
    }
}

/// The last lines of the device's log in the plan.
fn log(rest: &Rest, plan: i64) -> Result<String, Failure> {
    let path = format!("/plans/{plan}/devices/{}", super::setup::DEVICE_KEY);
    let device = rest.get(&path)?;
    let lines = device["log"].as_array().cloned().unwrap_or_default();
    let last = lines.iter().rev().take(3).rev();
    let texts: Vec<_> = last.filter_map(|l| l["text"].as_str()).collect();
    Ok(texts.join("; "))
}

fn bars(package: u64) -> (ProgressBar, ProgressBar) {
    let style = ProgressStyle::with_template("{prefix:20} {bar:40} {bytes:>12} of {total_bytes}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let both = MultiProgress::new();
    let bar = |name: &'static str| {
        let bar = both.add(ProgressBar::new(package));
        bar.with_style(style.clone()).with_prefix(name)
    };
    (bar("Center -> module"), bar("module -> MCU"))
}
