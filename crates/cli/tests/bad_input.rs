//! What goes wrong around the program: a UART that vanishes, an interrupt, a kill, an open address.

#[path = "common/mod.rs"]
mod common;

use common::{Center, LIMIT, Program};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sota_host::wire::Wire;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

/// Bits per second of the line; the programs' --baud means nothing to a pseudo-terminal.
const BAUD: u32 = 400_000;

/// The line's ends get names that stay the same, as /dev/serial/by-id does.
fn plug(wire: &Wire, names: &[&Path; 2]) {
    for (end, name) in wire.ends().iter().zip(names) {
        let _ = std::fs::remove_file(name);
        symlink(end, name).unwrap();
    }
}

#[test]
fn a_uart_that_vanishes_in_mid_download_is_told_and_the_upgrade_ends() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let text = |name: &str| path(name).to_str().unwrap().to_owned();
    let (module_end, mcu_end) = (path("tty-module"), path("tty-mcu"));
    let names = [&*module_end, &*mcu_end];
    let wire = Wire::new(BAUD).unwrap();
    plug(&wire, &names);

    let center = Center::start(&path("center"));
    let content: Vec<u8> = (0..100_000_u64).map(|i| (i * i / 7) as u8).collect();
    let package = center.upload(&content);
    let server = format!("coap://{}", center.coap);
    let module = Program::start(&[
        "module",
        "--server",
        &server,
        "--product-key",
        "p",
        "--device-key",
        "d",
        "--state",
        &text("module"),
        "--uart",
        &text("tty-module"),
    ]);
    let mcu = Program::start(&[
        "mcu",
        "--uart",
        &text("tty-mcu"),
        "--state",
        &text("mcu"),
        "--component",
        "STM32",
        "--version",
        "1",
    ]);
    center.until("/devices?product_key=p", |devices| {
        devices[0]["components"]
            .as_array()
            .is_some_and(|all| all.iter().any(|c| c["identifier"] == "STM32"))
    });
    let plan = center.post(
        "/plans",
        json!({
            "project": 1, "name": "Plan", "whitelist": ["d"],
            "product": center.product, "model": center.model,
            "components": [{ "component": "STM32", "package": package }],
        }),
    );
    let plan = format!("/plans/{}", plan["id"]);
    center.post(&format!("{plan}/activate"), json!({}));

    let some = |line: &Value| line["progress"].as_u64().is_some_and(|p| p > 10_000);
    let reached = mcu.until(some).1["progress"].as_u64().unwrap();
    assert!(reached < 90_000, "the line was too fast for this test");
    drop(wire);
    for (program, number, name) in [(&module, 204, "UartLost"), (&mcu, 2008, "UartVanished")] {
        let warning = program.line("warning");
        assert_eq!(warning["warning"], number, "{warning}");
        assert_eq!(warning["name"], name);
        assert!(warning["remedy"].as_str().is_some_and(|r| !r.is_empty()));
        assert!(warning["uart"].as_str().unwrap().contains("tty-m"));
    }
    let wire = Wire::new(BAUD).unwrap();
    plug(&wire, &names);
    for program in [&module, &mcu] {
        let (before, _) = program.until(|line| line["event"] == "uart back");
        let told = before
            .iter()
            .filter(|line| line["warning"] == 204 || line["warning"] == 2008);
        assert_eq!(told.count(), 0, "each loss is told once");
    }
    let updated = mcu.line("updated");
    assert_eq!(updated["updated"], "2");
    assert_eq!(updated["sha256"], hex::encode(Sha256::digest(&content)));
    center.until(&plan, |plan| plan["counters"]["upgraded"] == 1);
}

/// Processes that `parent` started, as the system has them.
fn children(parent: u32) -> Vec<u32> {
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|&pid| stat(pid).is_some_and(|(_, ppid)| ppid == parent))
        .collect()
}

/// State and parent of a process; `None` when there is none of this number.
fn stat(pid: u32) -> Option<(char, u32)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may have spaces.
    let mut rest = text.rsplit_once(") ")?.1.split(' ');
    Some((rest.next()?.chars().next()?, rest.next()?.parse().ok()?))
}

/// A process that only waits to be collected by init has ended.
fn runs(pid: &u32) -> bool {
    stat(*pid).is_some_and(|(state, _)| state != 'Z')
}

fn until(what: &str, true_now: impl Fn() -> bool) {
    let end = Instant::now() + LIMIT;
    while !true_now() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A demo that would take minutes, with its three parts.
fn slow_demo(temporary: &Path) -> (Program, Vec<u32>) {
    let demo = Program::start_in(&["demo", "--baud", "1200", "--size", "100000"], temporary);
    until("three parts", || children(demo.pid()).len() == 3);
    let parts = children(demo.pid());
    (demo, parts)
}

fn signal(program: &Program, signal: Signal) {
    kill(Pid::from_raw(program.pid() as i32), signal).unwrap();
}

#[test]
fn an_interrupted_demo_ends_its_parts_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (demo, parts) = slow_demo(dir.path());
    signal(&demo, Signal::SIGINT);
    let (lines, status, _) = demo.end();
    assert_eq!(status, Some(1));
    assert_eq!(lines.last().unwrap()["name"], "Interrupted");
    assert!(!parts.iter().any(runs), "a part outlived the demo");
    assert_eq!(dir.path().read_dir().unwrap().count(), 0);
}

#[test]
fn the_parts_of_a_killed_demo_end_by_themselves() {
    let dir = tempfile::tempdir().unwrap();
    let (demo, parts) = slow_demo(dir.path());
    signal(&demo, Signal::SIGKILL);
    until("a part outlived the demo", || !parts.iter().any(runs));
}

#[test]
fn a_center_that_others_can_reach_says_that_nothing_is_encrypted() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap();
    let center = Program::start(&[
        "center",
        "--data",
        data,
        "--listen-http",
        "0.0.0.0:0",
        "--listen-coap",
        "0.0.0.0:0",
        "--insecure-no-encryption",
    ]);
    let http = center.line("http")["http"].as_str().unwrap().to_owned();
    let port = http.rsplit_once(':').unwrap().1;
    let mut answer = ureq::get(format!("http://127.0.0.1:{port}/health"))
        .call()
        .unwrap();
    let health: Value = answer.body_mut().read_json().unwrap();
    assert_eq!(health["status"], "ok");
    assert_eq!(health["warnings"][0]["number"], 1084, "{health}");
    assert_eq!(health["warnings"][0]["name"], "UnencryptedWarning");
    let (_, status, errors) = center.end();
    assert_eq!(status, Some(0));
    assert!(
        errors.starts_with("warning 1084 UnencryptedWarning: "),
        "{errors}"
    );
    let log = errors.lines().filter(|line| line.contains(" WARN "));
    assert!(
        log.filter(|line| line.contains("1084")).count() == 1,
        "{errors}"
    );
}
