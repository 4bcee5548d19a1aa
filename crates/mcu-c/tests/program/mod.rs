//! The C example, compiled with `cc` against the header and the static library.
#![allow(unreachable_pub)] // shared by the test files

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

pub const PAGE: usize = 1024;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn run(command: &mut Command) {
    let done = command.status().unwrap();
    assert!(done.success(), "{command:?}: {done}");
}

/// The example's program, with a library that was built with these flags.
pub fn built(folder: &Path, flags: &[&str]) -> PathBuf {
    let target = folder.join("target");
    run(Command::new(env!("CARGO"))
        .args(["build", "-q", "-p", "sota-mcu-c"])
        .args(flags)
        .arg("--target-dir")
        .arg(&target)
        .current_dir(root()));
    let program = folder.join("mcu");
    run(Command::new("cc")
        .args([
            "-std=c11",
            "-D_GNU_SOURCE",
            "-Wall",
            "-Wextra",
            "-Wno-unused-parameter",
            "-Werror",
            "-I",
        ])
        .arg(root().join("include"))
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/upgrade.c"))
        .arg(target.join("debug/libsota_mcu_c.a"))
        .args(["-lpthread", "-ldl", "-lm", "-o"])
        .arg(&program));
    program
}

/// An image that says its version at its begin.
pub fn image(version: &str, length: usize) -> Vec<u8> {
    let mut out = format!("{version}\0").into_bytes();
    let mut x = length as u32;
    out.resize_with(length, || {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (x >> 24) as u8
    });
    out
}

/// The program, as a process.
pub struct Mcu {
    child: Child,
    tx: ChildStdin,
    rx: Receiver<Vec<u8>>,
}

impl Mcu {
    pub fn start(program: &Path, flash: &Path) -> Mcu {
        let mut child = Command::new(program)
            .arg(flash)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let tx = child.stdin.take().unwrap();
        let mut out = child.stdout.take().unwrap();
        let (sender, rx) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 256];
            while let Ok(n) = out.read(&mut bytes) {
                if n == 0 || sender.send(bytes[..n].to_vec()).is_err() {
                    break;
                }
            }
        });
        Mcu { child, tx, rx }
    }

    /// What it said, after a millisecond at most.
    pub fn hear(&self) -> Vec<u8> {
        let said = self.rx.recv_timeout(Duration::from_millis(1));
        said.unwrap_or_default()
    }

    pub fn say(&mut self, bytes: &[u8]) {
        self.tx.write_all(bytes).unwrap();
    }
}

impl Drop for Mcu {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
