//! The AT command server and the engine behind it, with a Center that offers one package.
//!
//! The input is what the MCU sends. Bytes from 0xF0 on, which no command has, are operations ([`World::control`]).
//! What must hold: each line is answered by one OK or ERROR, no URC cuts an answer, a read's frame holds the bytes
//! that the engine gave, and lines are lines: no text of the server makes one that was not sent.

use std::collections::VecDeque;

use sota::bridge::{Bridge, KEY_LEN, LIFETIME_MAX, LINE_LEN, Output, SERVER_LEN, Settings};
use sota::message::{Command, ComponentType, Door, Offer, Reason, Reply, State, ToCloud, ToEngine};
use sota::platform::Readings;

use crate::checked::{Checked, info, package};
use crate::engine;
use crate::flash::Parts;
use crate::input::Input;

/// Length of the package.
pub const LENGTH: usize = 5_000;
/// Bytes that are fed to one run.
const MOST: usize = 4_000;

/// Bridge and engine, and what was heard from them.
pub struct World {
    bridge: Bridge,
    /// The engine.
    pub engine: Checked,
    /// Everything the UART carried to the MCU.
    pub heard: Vec<u8>,
    /// The target version that the Center offers, and the component.
    offered: (String, String),
    lines: usize,
    line: Vec<u8>,
    reads: VecDeque<(u32, Vec<u8>)>,
    echo: bool,
    /// The UART takes bytes.
    flows: bool,
}

/// Runs one session.
pub fn run(data: &[u8]) {
    let mut world = World::new();
    let mut input = Input(&data[..data.len().min(MOST)]);
    while !input.is_empty() {
        match input.u8() {
            byte @ 0..0xF0 => world.byte(byte),
            control => world.control(control, &mut input),
        }
    }
    world.flows = true;
    world.turns(30);
    world.check();
}

impl World {
    /// A module that is configured and registered.
    pub fn new() -> Self {
        let mut settings = Settings::new();
        settings.product_key = "p1".try_into().expect("short");
        settings.server = "coap://center".try_into().expect("short");
        let mut world = World {
            bridge: Bridge::new(settings),
            engine: Checked::start(engine::config(0), Parts::used()),
            heard: Vec::new(),
            offered: ("A".into(), "2_0".into()),
            lines: 0,
            line: Vec::new(),
            reads: VecDeque::new(),
            echo: false,
            flows: true,
        };
        world.engine.readings = Readings {
            battery_percent: Some(90),
            rsrp_dbm: Some(-80),
        };
        world.turns(10);
        world
    }

    /// One byte of the MCU.
    pub fn byte(&mut self, byte: u8) {
        let mut turns = 0;
        while self.bridge.on_bytes(&[byte]) == 0 {
            self.flows = true;
            self.turn();
            turns += 1;
            assert!(turns < 100, "it takes no byte any more");
        }
        match byte {
            b'\n' => {}
            b'\r' => {
                let line = std::mem::take(&mut self.line);
                self.lines += usize::from(!line.is_empty());
                self.echo |= line.trim_ascii().eq_ignore_ascii_case(b"ATE1");
                self.turns(3);
            }
            byte => {
                if self.line.len() <= LINE_LEN {
                    self.line.push(byte);
                }
            }
        }
    }

    /// What is not the MCU's doing.
    fn control(&mut self, control: u8, input: &mut Input<'_>) {
        match control & 15 {
            0 => self.turns(usize::from(input.u8())),
            1 => self.engine.pass(1 << (input.u8() % 22)),
            2 => self.flows = false,
            3 => self.flows = true,
            4 => {
                let up = input.flag();
                self.engine.tell(ToEngine::Link(up));
            }
            // A Center that sends what it likes.
            5 => {
                let text = |bytes: &[u8]| {
                    let bytes = &bytes[..bytes.len().min(32)];
                    String::from_utf8_lossy(bytes).chars().take(8).collect()
                };
                let (a, b) = (input.u8(), input.u8());
                let component: String = text(input.take(a.into()));
                self.offered = (component, text(input.take(b.into())));
                self.offer(ComponentType::Mcu);
            }
            6 => self.offer(ComponentType::Firmware),
            7 => {
                for instance in 0..2 {
                    self.engine.tell(ToEngine::Cancel {
                        ticket: 3,
                        instance,
                    });
                }
            }
            8 => self
                .engine
                .tell(ToEngine::FetchFailed(Reason::PackageChanged)),
            9 => self.bridge.note_error(Reason::BatteryTooLow),
            10 => self.engine.restart(),
            11 => self.byte(input.u8()),
            12 => self.offer(ComponentType::Mcu),
            _ => self.turn(),
        }
    }

    fn offer(&mut self, kind: ComponentType) {
        let (component, target) = &self.offered;
        let offer = Offer {
            plan: "plan".try_into().expect("short"),
            component: component.as_str().try_into().expect("short"),
            kind,
            target: target.as_str().try_into().expect("short"),
            battery_limit_percent: 30,
            min_signal_dbm: -113,
            use_space: LENGTH as u32,
            ..Offer::default()
        };
        self.engine.tell(ToEngine::Offer {
            ticket: 1,
            door: Door::Plan,
            offer,
        });
    }

    /// So many turns of the port's loop.
    pub fn turns(&mut self, turns: usize) {
        for _ in 0..turns {
            self.turn();
        }
    }

    fn turn(&mut self) {
        if let Some(output) = self.bridge.poll() {
            let reply = match output {
                Output::Command(command) => {
                    let read = match &command {
                        Command::Read { start, .. } => Some(*start),
                        _ => None,
                    };
                    let buffer = self.bridge.read_buffer();
                    let reply = self.engine.ask(command, buffer);
                    if let (Some(start), Reply::Read(n)) = (read, reply) {
                        self.reads.push_back((start, buffer[..n].to_vec()));
                    }
                    reply
                }
                Output::Versions => {
                    for (name, version) in self.engine.engine.versions() {
                        self.bridge.version(name, version);
                    }
                    Reply::Ok
                }
            };
            self.bridge.reply(reply);
        }
        self.engine.settle();
        self.center();
        self.engine.serve(package(LENGTH), 8);
        while !self.engine.events.is_empty() && self.bridge.on_event(&self.engine.events[0]) {
            self.engine.events.remove(0);
        }
        while self.flows {
            let mut out = [0; 100];
            let n = self.bridge.next_bytes(&mut out);
            if n == 0 {
                break;
            }
            self.heard.extend_from_slice(&out[..n]);
        }
        let settings = self.bridge.settings();
        assert!(settings.product_key.len() <= KEY_LEN && settings.server.len() <= SERVER_LEN);
        assert!((1..=LIFETIME_MAX).contains(&settings.lifetime_s));
    }

    fn center(&mut self) {
        for message in std::mem::take(&mut self.engine.to_cloud) {
            match message {
                ToCloud::Connect(up) => self.engine.tell(ToEngine::Link(up)),
                ToCloud::Request { .. } => self.offer(ComponentType::Mcu),
                ToCloud::Report {
                    state: State::Confirmed,
                    ..
                } => self.engine.tell(ToEngine::DownloadInfo {
                    ticket: 2,
                    instance: self.engine.shown(),
                    info: info("plan", package(LENGTH)),
                }),
                _ => {}
            }
        }
    }

    /// Takes the stream apart as an MCU would.
    fn check(&mut self) {
        if self.echo {
            return; // echoed bytes stand between the lines
        }
        let mut rest = &self.heard[..];
        let (mut finals, mut answering) = (0, false);
        while !rest.is_empty() {
            let line = rest.strip_prefix(b"\r\n").expect("a line begins with CRLF");
            let end = line
                .windows(2)
                .position(|two| two == b"\r\n")
                .expect("a line ends with CRLF");
            let text = std::str::from_utf8(&line[..end]).expect("text");
            assert!(!text.contains(['\r', '\n']), "{text:?}");
            rest = &line[end + 2..];
            if let Some(numbers) = text.strip_prefix("+QIOTOTARD: ")
                && !numbers.ends_with("(1-1024)")
                && !numbers.starts_with('(')
            {
                let (start, data) = self.reads.pop_front().expect("a read that was asked");
                assert_eq!(numbers, format!("{start},{}", data.len()));
                assert_eq!(&rest[..data.len()], data);
                rest = rest[data.len()..].strip_prefix(b"\r\n").expect("CRLF");
                answering = true;
            } else if text == "OK" || text == "ERROR" {
                finals += 1;
                answering = false;
            } else if let Some(event) = text.strip_prefix("+QIOTEVT: ") {
                assert!(!answering, "a URC in an answer");
                let quotes = event.bytes().filter(|byte| *byte == b'"').count();
                let known = [0, 2, 4, 6];
                assert!(known.contains(&quotes), "{event:?} cannot be taken apart");
            } else if !text.starts_with("+SOTAERR: ") {
                let known = ["+QIOT", "+SOTAREWIND: "];
                assert!(known.iter().any(|its| text.starts_with(its)), "{text:?}");
                answering = true;
            }
        }
        assert_eq!(finals, self.lines, "one OK or ERROR for each line");
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}
