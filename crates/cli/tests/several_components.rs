//! A plan of two components through the program itself: Center and module as processes, and a host that speaks AT
//! commands for two MCUs over the pseudo-terminal, or for one beside an STM32 with its ROM loader on a UART of its own.

mod common;

use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::path::Path;

use common::{Center, Program};
use nix::poll::{PollFd, PollFlags, poll};
use serde_json::{Value, json};
use sota_host::serial::{Serial, Source};

/// The host's end of the UART.
struct Host {
    uart: Serial,
    bytes: Vec<u8>,
    events: VecDeque<String>,
}

impl Host {
    fn new(line: &Value) -> Host {
        let path = line["uart"].as_str().unwrap().into();
        Host {
            uart: Serial::open(Source::Path(path), 115_200).unwrap(),
            bytes: Vec::new(),
            events: VecDeque::new(),
        }
    }

    /// Waits until there are more bytes.
    fn more(&mut self) {
        let fd = self.uart.fd().unwrap();
        let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
        let heard = String::from_utf8_lossy(&self.bytes).into_owned();
        assert_eq!(
            poll(&mut fds, 60_000_u16),
            Ok(1),
            "{heard:?} {:?}",
            self.events
        );
        let mut bytes = [0; 4096];
        let n = self.uart.read(0, &mut bytes).unwrap();
        self.bytes.extend_from_slice(&bytes[..n]);
    }

    /// The next line that says something.
    fn line(&mut self) -> String {
        loop {
            let end = self.bytes.windows(2).position(|two| two == b"\r\n");
            let Some(end) = end else {
                self.more();
                continue;
            };
            let line: Vec<u8> = self.bytes.drain(..end + 2).collect();
            if end > 0 {
                return String::from_utf8(line[..end].to_vec()).unwrap();
            }
        }
    }

    fn send(&mut self, command: &str) {
        let line = format!("{command}\r");
        assert_eq!(self.uart.write(0, line.as_bytes()), Ok(line.len()));
    }

    /// The next line that is no event; events are kept.
    fn answer(&mut self) -> String {
        loop {
            let line = self.line();
            match line.strip_prefix("+QIOTEVT: ") {
                Some(event) => self.events.push_back(event.to_owned()),
                None => return line,
            }
        }
    }

    fn ok(&mut self, command: &str) {
        self.send(command);
        assert_eq!(self.answer(), "OK", "{command}");
    }

    /// The next event of the upgrade but 10702; its code and data.
    fn event(&mut self) -> String {
        loop {
            while let Some(event) = self.events.pop_front() {
                match event.strip_prefix("7,") {
                    Some("10702") | None => {}
                    Some(event) => return event.to_owned(),
                }
            }
            let line = self.line();
            let event = line.strip_prefix("+QIOTEVT: ").expect("an event");
            self.events.push_back(event.to_owned());
        }
    }

    /// What comes next must be this event; the rest of its data.
    fn expect(&mut self, begins: &str) -> String {
        let event = self.event();
        let rest = event.strip_prefix(begins);
        rest.unwrap_or_else(|| panic!("{event}, not {begins}"))
            .to_owned()
    }

    /// Reads the piece at `start` to its end.
    fn read(&mut self, start: usize, length: usize) -> Vec<u8> {
        let mut piece = Vec::new();
        while piece.len() < length {
            let at = start + piece.len();
            self.send(&format!("AT+QIOTOTARD={at},1024"));
            let head = self.answer();
            let n = head.strip_prefix(&format!("+QIOTOTARD: {at},"));
            let n: usize = n.unwrap_or_else(|| panic!("{head}")).parse().unwrap();
            while self.bytes.len() < n {
                self.more();
            }
            piece.extend(self.bytes.drain(..n));
            assert_eq!(self.answer(), "OK");
        }
        piece
    }

    /// Asks for the present piece: what a module says while it starts may be gone before the line is opened.
    fn present(&mut self) {
        self.send("AT+QIOTOTARD=?");
        while self.answer() != "OK" {}
        while !self.event().starts_with("10701,") {}
        self.expect("10703,");
    }

    fn version(&mut self, component: &str, version: &str) {
        self.ok(&format!("AT+QIOTMCUVER=\"{component}\",\"{version}\""));
    }
}

fn module(center: &Center, state: &Path, more: &[&str]) -> (Program, Host) {
    let args = [
        "module",
        "--server",
        &format!("coap://{}", center.coap),
        "--product-key",
        "p",
        "--device-key",
        "d",
        "--uart",
        "pty",
        "--staging",
        "12288",
        "--state",
        state.to_str().unwrap(),
    ];
    let program = Program::start(&[&args[..], more].concat());
    let line = program.line("uart");
    let host = Host::new(&line);
    (program, host)
}

fn content(seed: usize, length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * i / 7 + seed) as u8).collect()
}

/// An active plan of both; its path.
fn plan(center: &Center, sequence: &[(&str, Vec<u8>)]) -> String {
    let components: Vec<Value> = sequence
        .iter()
        .map(|(component, content)| {
            let package = center.upload_as(component, content);
            json!({ "component": component, "package": package })
        })
        .collect();
    let plan = center.post(
        "/plans",
        json!({
            "project": 1, "name": "both", "product": center.product, "model": center.model,
            "components": components,
        }),
    );
    let plan = format!("/plans/{}", plan["id"]);
    center.post(&format!("{plan}/activate"), json!({}));
    plan
}

#[test]
fn a_plan_of_two_components_is_asked_once_and_survives_a_kill_of_the_module() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("module");
    let center = Center::start(&dir.path().join("center"));
    // The sequence is not the order in which the host names its MCUs; the first one goes in two pieces.
    let sequence = [("ESP32", content(1, 10_001)), ("STM32", content(2, 4_000))];
    let plan = plan(&center, &sequence);
    let bars = |wanted: [&str; 2]| {
        center.until(&format!("{plan}/devices"), |devices| {
            let state = |i: usize| &devices[0]["steps"][i]["state"];
            state(0) == wanted[0] && state(1) == wanted[1]
        })
    };

    let (mut program, mut host) = module(&center, &state, &[]);
    host.version("STM32", "1");
    host.version("ESP32", "1");
    host.ok("AT+QIOTOTAREQ=1");
    host.expect("10700,\"STM32\",\"\",\"2\",30,-113,4000");
    host.expect("10700,\"ESP32\",\"\",\"2\",30,-113,10001");
    bars(["PlanReceived", "PlanReceived"]);
    host.ok("AT+QIOTUPDATE=1");
    host.expect("10707");
    for (place, (component, content)) in sequence.iter().enumerate() {
        host.expect(&format!("10701,\"{component}\",{},", content.len()));
        let mut image = Vec::new();
        while image.len() < content.len() {
            let piece = host.expect(&format!("10703,\"{component}\",{},", content.len()));
            let (start, length) = piece.split_once(',').unwrap();
            let (start, length): (usize, usize) = (start.parse().unwrap(), length.parse().unwrap());
            assert_eq!(start, image.len());
            if place == 0 && start > 0 {
                bars(["DownloadSucceeded", "Confirmed"]);
                drop(program);
                (program, host) = module(&center, &state, &[]);
                host.present();
            }
            image.extend(host.read(start, length));
            if image.len() < content.len() {
                host.ok("AT+QIOTUPDATE=2");
            }
        }
        assert!(image == *content, "{component}");
        host.ok("AT+QIOTUPDATE=3");
        host.expect("10704");
        bars(
            [
                ["Upgrading", "Confirmed"],
                ["UpgradeSucceeded", "Upgrading"],
            ][place],
        );
        host.version(component, "2");
        host.expect("10705");
    }
    let devices = bars(["UpgradeSucceeded", "UpgradeSucceeded"]);
    assert_eq!(devices[0]["state"], "Upgraded");
    assert_eq!(devices[0]["offer"], 1, "one set from first to last");
    drop(program);
}

#[test]
fn an_mcu_with_at_commands_and_an_stm32_on_a_uart_of_its_own_in_one_plan() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let center = Center::start(&dir.path().join("center"));
    let sequence = [("STM32", content(2, 6_000)), ("ESP32", content(1, 10_001))];
    let plan = plan(&center, &sequence);
    let state = path("mcu");
    let lines = path("lines");
    std::fs::create_dir(&state).unwrap();
    let mcu = Program::start(&[
        "mcu",
        "--protocol",
        "stm32",
        "--uart",
        "pty",
        "--lines",
        &lines,
        "--state",
        &state,
        "--component",
        "STM32",
        "--version",
        "1",
    ]);
    let uart = mcu.line("ready")["uart"].as_str().unwrap().to_owned();
    let option = format!("component=STM32,protocol=stm32,uart={uart},lines={lines},version=1");
    let state = dir.path().join("module");
    let (module, mut host) = module(&center, &state, &["--mcu", &option]);

    // what the other back end says of its component does not count
    host.send("AT+QIOTMCUVER=\"STM32\",\"2\"");
    assert_eq!(host.answer(), "ERROR");
    host.send("AT+SOTAERR?");
    assert_eq!(host.answer(), "+SOTAERR: 19,\"UnknownComponent\"");
    assert_eq!(host.answer(), "OK");
    host.version("ESP32", "1");
    host.ok("AT+QIOTOTAREQ=1");
    host.expect("10700,\"ESP32\",\"\",\"2\",30,-113,10001");
    host.ok("AT+QIOTUPDATE=1");
    host.expect("10707");
    // nothing is heard of the STM32's part
    let image = &sequence[1].1;
    host.expect("10701,\"ESP32\",10001,");
    mcu.until(|line| line["event"] == "application" && line["operations"] != 0);
    let mut read = Vec::new();
    while read.len() < image.len() {
        let piece = host.expect("10703,\"ESP32\",10001,");
        let (start, length) = piece.split_once(',').unwrap();
        read.extend(host.read(start.parse().unwrap(), length.parse().unwrap()));
        if read.len() < image.len() {
            host.ok("AT+QIOTUPDATE=2");
        }
    }
    assert!(read == *image);
    host.ok("AT+QIOTUPDATE=3");
    host.expect("10704");
    host.version("ESP32", "2");
    host.expect("10705");
    let devices = center.until(&format!("{plan}/devices"), |devices| {
        let steps = &devices[0]["steps"];
        steps[0]["state"] == "UpgradeSucceeded" && steps[1]["state"] == "UpgradeSucceeded"
    });
    assert_eq!(devices[0]["state"], "Upgraded");
    drop((module, mcu));
    let flash = std::fs::read(path("mcu/stm32-flash.bin")).unwrap();
    assert!(flash.starts_with(&sequence[0].1));
}
