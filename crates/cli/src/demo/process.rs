//! The parts of the demo as processes. Only processes started here are ever signalled.

use super::Args;
use super::network::{Network, Victim, moments};
use super::qemu::Board;
use crate::failure::Failure;
use crate::protocol::Protocol;
use crate::stop::spawn;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use sota_errors::ProgramError;
use sota_host::wire::Wire;
use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

/// Time a part has to end by itself.
const FAREWELL: Duration = Duration::from_secs(5);
/// The chip with the ROM loader: the one with the most flash.
const CHIP: &str = "f405";
/// Time a part has to begin.
const START: Duration = Duration::from_secs(30);

/// Which part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Center,
    Module,
    Mcu,
}

impl Who {
    pub(super) fn name(self) -> &'static str {
        match self {
            Who::Center => "center",
            Who::Module => "module",
            Who::Mcu => "mcu",
        }
    }
}

/// What the demo waits for.
pub(super) enum Message {
    /// A line of a part.
    Line(Who, Value),
    /// A part closed its output: it ended.
    Ended(Who),
    /// Ctrl-C.
    Stop,
}

/// One running part; ended when dropped.
struct Part {
    child: Child,
}

impl Drop for Part {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            if let Ok(pid) = i32::try_from(self.child.id()) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
            }
            let end = Instant::now() + FAREWELL;
            while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(10));
            }
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// When the MCU's power is cut.
struct Cuts {
    /// Counts of bytes to the MCU, ascending.
    moments: VecDeque<u64>,
    /// One more while it installs.
    last: bool,
    done: u32,
    restarts: u32,
}

/// All parts.
pub(super) struct Parts<'a> {
    center_args: Vec<String>,
    token_file: PathBuf,
    module_args: Vec<String>,
    mcu_args: Vec<String>,
    /// In the place of the MCU's process.
    board: Option<Board>,
    mcu_uart: String,
    wire: &'a Wire,
    cuts: Cuts,
    slot: u32,
    coap: Option<SocketAddr>,
    // Dropped in this order: the MCU, the module, the Center, which hears the module's good-bye.
    mcu: Option<Part>,
    module: Option<Part>,
    center: Option<Part>,
    victim: Victim,
    restarts: u32,
    tell: Sender<Message>,
    told: Receiver<Message>,
}

impl<'a> Parts<'a> {
    pub(super) fn new(
        args: &Args,
        folder: &Path,
        network: &Network,
        wire: &'a Wire,
        package: usize,
        tell: Sender<Message>,
        told: Receiver<Message>,
    ) -> Result<Parts<'a>, Failure> {
        let text = |path: PathBuf| path.display().to_string();
        let proxy = network.address().to_string();
        let [a, b] = wire.ends().each_ref().map(|end| text(end.clone()));
        // The MCU's slot holds the package; the Center compares nothing with it.
        let slot = u32::try_from(package)
            .ok()
            .and_then(|bytes| bytes.checked_next_multiple_of(4096))
            .ok_or_else(|| Failure::new(ProgramError::PackageOversized, package))?;
        let strings = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        let mut module_args = strings(&[
            "module",
            "--server",
            &format!("coap://{proxy}"),
            "--product-key",
            super::setup::PRODUCT_KEY,
            "--device-key",
            super::setup::DEVICE_KEY,
            "--state",
            &text(folder.join("module")),
            "--uart",
            &a,
            "--baud",
            &args.baud.to_string(),
            "--staging",
            &args.staging.to_string(),
            "--block",
            &args.block.bytes().to_string(),
            "--component",
            super::setup::MODULE,
            "--protocol",
            args.protocol.name(),
            "--link-baud",
            &args.link_baud.to_string(),
        ]);
        if let Some(piece) = args.piece {
            module_args.extend(strings(&["--piece", &piece.to_string()]));
        }
        let mut mcu_more = Vec::new();
        if args.protocol == Protocol::Stm32 {
            let lines = text(folder.join("lines"));
            module_args.extend(strings(&[
                "--mcu-component",
                &args.component,
                "--mcu-version",
                &args.from,
                "--chip",
                CHIP,
                "--lines",
                &lines,
                "--allow-pieces",
            ]));
            mcu_more = strings(&["--chip", CHIP, "--lines", &lines]);
        }
        if args.protocol == Protocol::Smp {
            module_args.extend(strings(&[
                "--mcu-component",
                &args.component,
                "--mcu-version",
                &args.from,
            ]));
        }
        let token_file = folder.join("token");
        // MCUs on the PC install too fast to be met there.
        let last = args.kill_mcu > 0 && args.mcu.is_some();
        let board = Board::new(args, folder);
        if let Some(board) = &board {
            board.deliver()?;
        }
        Ok(Parts {
            center_args: strings(&[
                "center",
                "--listen-http",
                "127.0.0.1:0",
                "--listen-coap",
                "127.0.0.1:0",
                "--coap-public",
                &proxy,
                "--data",
                &text(folder.join("center")),
                "--token-file",
                &text(token_file.clone()),
            ]),
            token_file,
            module_args,
            mcu_args: strings(&[
                "mcu",
                "--uart",
                &b,
                "--baud",
                &args.baud.to_string(),
                "--state",
                &text(folder.join("mcu")),
                "--component",
                &args.component,
                "--version",
                &args.from,
                "--slot",
                &slot.to_string(),
                "--protocol",
                args.protocol.name(),
                "--link-baud",
                &args.link_baud.to_string(),
                "--page-ms",
                &args.page_ms.to_string(),
            ])
            .into_iter()
            .chain(mcu_more)
            .collect(),
            board,
            mcu_uart: b,
            wire,
            cuts: Cuts {
                moments: moments(package as u64, args.kill_mcu - u32::from(last)),
                last,
                done: 0,
                restarts: 0,
            },
            slot,
            coap: None,
            mcu: None,
            module: None,
            center: None,
            victim: network.module(),
            restarts: 0,
            tell,
            told,
        })
    }

    /// Bytes of one slot of the MCU.
    pub(super) fn slot(&self) -> u32 {
        self.slot
    }

    /// Where the Center answers devices; known since [`Parts::start_center`].
    pub(super) fn coap_address(&self) -> SocketAddr {
        self.coap.unwrap_or_else(|| ([127, 0, 0, 1], 5683).into())
    }

    /// Starts the Center; returns where its REST listens, and the token for it.
    pub(super) fn start_center(&mut self) -> Result<(String, String), Failure> {
        self.center = Some(self.start(Who::Center, &self.center_args)?);
        let line = self.first_line(Who::Center, "http")?;
        let field = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        self.coap = field("coap").parse().ok();
        let token = std::fs::read_to_string(&self.token_file).map_err(|e| {
            let detail = format!("{}: {e}", self.token_file.display());
            Failure::new(ProgramError::ChildNotStarted, detail)
        })?;
        Ok((field("http"), token))
    }

    /// Starts the module and waits until it runs.
    pub(super) fn start_module(&mut self) -> Result<(), Failure> {
        let part = self.start(Who::Module, &self.module_args)?;
        self.victim.is(Some(part.child.id()));
        self.module = Some(part);
        self.first_line(Who::Module, "uart").map(drop)
    }

    /// Starts the MCU and waits until it runs.
    pub(super) fn start_mcu(&mut self) -> Result<(), Failure> {
        self.mcu = Some(self.power_on()?);
        match self.board {
            Some(_) => Ok(()), // it says nothing
            None => self.first_line(Who::Mcu, "ready").map(drop),
        }
    }

    fn power_on(&self) -> Result<Part, Failure> {
        match &self.board {
            Some(board) => self.watch(Who::Mcu, board.start(&self.mcu_uart)?),
            None => self.start(Who::Mcu, &self.mcu_args),
        }
    }

    /// Cuts the MCU's power where that is due. `installing`: the install was agreed.
    pub(super) fn cut(&mut self, installing: bool) {
        let sent = self.wire.carried().a_to_b;
        let moment = self.cuts.moments.front().is_some_and(|at| sent >= *at);
        if !(moment || installing && self.cuts.last) {
            return;
        }
        if let Some(mcu) = &mut self.mcu
            && mcu.child.kill().is_ok()
        {
            self.cuts.done += 1;
            if self.cuts.moments.pop_front().is_none() {
                self.cuts.last = false;
            }
        }
    }

    pub(super) fn mcu_kills(&self) -> u32 {
        self.cuts.done
    }

    /// The next line of a part within `wait`. A module that was killed is started again.
    pub(super) fn next(&mut self, wait: Duration) -> Result<Option<(Who, Value)>, Failure> {
        match self.told.recv_timeout(wait) {
            Ok(Message::Line(who, line)) => Ok(Some((who, line))),
            Ok(Message::Stop) => Err(Failure::new(ProgramError::Interrupted, "")),
            Ok(Message::Ended(Who::Module)) if self.victim.kills() > self.restarts => {
                self.restarts += 1;
                self.victim.is(None);
                self.module = None;
                let part = self.start(Who::Module, &self.module_args)?;
                self.victim.is(Some(part.child.id()));
                self.module = Some(part);
                let line = serde_json::json!({ "restarted": self.restarts });
                Ok(Some((Who::Module, line)))
            }
            Ok(Message::Ended(Who::Mcu)) if self.cuts.done > self.cuts.restarts => {
                self.cuts.restarts += 1;
                self.mcu = None;
                self.mcu = Some(self.power_on()?);
                let line = serde_json::json!({ "restarted": self.cuts.restarts });
                Ok(Some((Who::Mcu, line)))
            }
            Ok(Message::Ended(who)) => Err(Failure::new(ProgramError::ChildEnded, who.name())),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Ok(None),
        }
    }

    /// Ends all of them.
    pub(super) fn end(&mut self) {
        self.victim.is(None);
        self.mcu = None;
        self.module = None;
        self.center = None;
    }

    fn first_line(&mut self, who: Who, key: &str) -> Result<Value, Failure> {
        let end = Instant::now() + START;
        while Instant::now() < end {
            match self.told.recv_timeout(START) {
                Ok(Message::Line(from, line)) if from == who && line.get(key).is_some() => {
                    return Ok(line);
                }
                Ok(Message::Line(from, line)) if from == who && line["result"] == "failure" => {
                    let detail = format!("{}: {}", who.name(), line["message"]);
                    return Err(Failure::new(ProgramError::ChildNotStarted, detail));
                }
                Ok(Message::Ended(from)) if from == who => break,
                Ok(Message::Stop) => return Err(Failure::new(ProgramError::Interrupted, "")),
                _ => {}
            }
        }
        Err(Failure::new(ProgramError::ChildNotStarted, who.name()))
    }

    fn start(&self, who: Who, args: &[String]) -> Result<Part, Failure> {
        let failed = |e| {
            Failure::new(
                ProgramError::ChildNotStarted,
                format!("{}: {e}", who.name()),
            )
        };
        let program = std::env::current_exe().map_err(failed)?;
        let mut child = Command::new(program);
        // A Center that this machine runs may be set up by variables; the demo's is not that one.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("SOTA_CENTER_") {
                child.env_remove(name);
            }
        }
        let child = child
            .args(["--json", "--until-eof"])
            .args(args)
            // Its own group: Ctrl-C comes to this process alone, which then ends them in their order.
            .process_group(0)
            .env(
                "SOTA_LOG",
                std::env::var("SOTA_LOG").unwrap_or("error".into()),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        self.watch(who, child)
    }

    /// Passes on what it says, and its end.
    fn watch(&self, who: Who, mut child: Child) -> Result<Part, Failure> {
        let lines = child.stdout.take();
        let part = Part { child };
        let tell = self.tell.clone();
        spawn(who.name(), move || {
            for line in lines.into_iter().flat_map(|l| BufReader::new(l).lines()) {
                let Ok(line) = line else { break };
                if let Ok(value) = serde_json::from_str(&line) {
                    let _ = tell.send(Message::Line(who, value));
                }
            }
            let _ = tell.send(Message::Ended(who));
        })?;
        Ok(part)
    }
}
