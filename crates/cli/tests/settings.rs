//! What AT commands set, over a real pseudo-terminal: the running module goes on with it, and the next one begins
//! with it.

#[path = "common/mod.rs"]
mod common;

use common::{Center, Program};
use serde_json::Value;
use sota_host::serial::{Serial, Source};
use std::os::fd::AsFd;
use std::path::Path;

/// The other end of the module's UART.
struct Host(Serial);

impl Host {
    fn new(line: &Value) -> Host {
        let path = line["uart"].as_str().unwrap().into();
        Host(Serial::open(Source::Path(path), 115_200).unwrap())
    }

    /// Sends a command; what comes until its `OK` or `ERROR`.
    fn send(&mut self, command: &str) -> String {
        let line = format!("{command}\r");
        assert_eq!(self.0.write(0, line.as_bytes()), Ok(line.len()));
        let mut text = String::new();
        loop {
            let mut bytes = [0; 256];
            let count = self.0.read(0, &mut bytes).unwrap();
            text += std::str::from_utf8(&bytes[..count]).unwrap();
            // Events may come before and after the answer.
            if text.contains("\r\nOK\r\n") || text.contains("\r\nERROR\r\n") {
                return text;
            }
            let fd = self.0.fd().unwrap();
            let mut fds = [nix::poll::PollFd::new(
                fd.as_fd(),
                nix::poll::PollFlags::POLLIN,
            )];
            assert_eq!(
                nix::poll::poll(&mut fds, 60_000_u16),
                Ok(1),
                "{command}: {text:?}"
            );
        }
    }

    fn ok(&mut self, command: &str) -> String {
        let answer = self.send(command);
        assert!(answer.contains("\r\nOK\r\n"), "{command}: {answer:?}");
        answer
    }

    fn refused(&mut self, command: &str, error: &str) {
        let answer = self.send(command);
        assert!(answer.contains("\r\nERROR\r\n"), "{command}: {answer:?}");
        let reason = self.ok("AT+SOTAERR?");
        assert!(reason.contains(error), "{reason:?}");
    }
}

fn module(center: &Center, state: &Path, more: &[&str]) -> (Program, Value) {
    let server = format!("coap://{}", center.coap);
    let args = [
        "module",
        "--server",
        &server,
        "--product-key",
        "p",
        "--device-key",
        "first",
        "--uart",
        "pty",
        "--state",
        state.to_str().unwrap(),
    ];
    let program = Program::start(&[&args[..], more].concat());
    let line = program.line("uart");
    (program, line)
}

fn at(center: &Center, key: &str, connected: bool) -> Value {
    let devices = center.until("/devices?product_key=p", |devices| {
        let mut all = devices.as_array().unwrap().iter();
        all.any(|d| d["device_key"] == key && d["registration"].is_object() == connected)
    });
    let mut all = devices.as_array().unwrap().iter();
    all.find(|d| d["device_key"] == key).cloned().unwrap()
}

#[test]
fn a_running_module_goes_to_another_server_and_stays_there() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("module");
    let a = Center::start(&dir.path().join("a"));
    let b = Center::start(&dir.path().join("b"));
    let (program, line) = module(&a, &state, &[]);
    assert_eq!(line["endpoint"], "p:first");
    at(&a, "first", true);

    let mut host = Host::new(&line);
    let url = format!("coap://{}", b.coap);
    host.ok(&format!("AT+QIOTCFG=\"server\",0,\"{url}\""));
    host.ok("AT+QIOTCFG=\"dk_ds\",\"second\"");
    host.ok("AT+QIOTCFG=\"lifetime\",600");
    // Nothing of it counts before the next AT+QIOTREG.
    at(&a, "first", true);
    host.ok("AT+QIOTREG=1");
    assert_eq!(at(&b, "second", true)["registration"]["lifetime_s"], 600);
    at(&a, "first", false);

    host.ok("AT+QIOTCFG=\"server\",0,\"mqtt://x\"");
    host.refused("AT+QIOTREG=1", "100,\"NoServerAddress\"");
    host.ok(&format!("AT+QIOTCFG=\"server\",0,\"{url}\""));
    // Leaves, and comes again with the command line's device key.
    host.ok("AT+QIOTREG=0");
    at(&b, "second", false);
    host.ok("AT+QIOTCFG=\"dk_ds\",\"\"");
    host.ok("AT+QIOTREG=2");
    at(&b, "first", true);
    host.ok("AT+QIOTCFG=\"dk_ds\",\"third\"");
    drop((program, host));

    // Killed: what was set counts; another default of the command line only where nothing was set.
    let (program, line) = module(&a, &state, &["--lifetime", "700"]);
    assert_eq!(line["endpoint"], "p:third");
    assert_eq!(line["server"], url.as_str());
    at(&b, "third", true);
    let answer = Host::new(&line).ok("AT+QIOTCFG=\"lifetime\"");
    assert!(answer.contains("+QIOTCFG: \"lifetime\",600"), "{answer:?}");
    drop(program);
}
