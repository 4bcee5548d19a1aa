//! Parts of the program as processes, their lines, and the Center's REST API.
#![allow(dead_code)] // each test program uses its part of it

use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// A test that waits longer has failed.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A running `sota …`; it is ended when this is dropped.
pub(crate) struct Program {
    child: Child,
    lines: Receiver<Value>,
}

impl Program {
    /// Starts it with `--json`, its standard input held open.
    pub(crate) fn start(args: &[&str]) -> Program {
        Program::start_in(args, Path::new("/tmp"))
    }

    /// As [`Program::start`], with another folder for temporary files.
    pub(crate) fn start_in(args: &[&str], temporary: &Path) -> Program {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sota"))
            .args(["--json", "--until-eof"])
            .args(args)
            .env("TMPDIR", temporary)
            .env("SOTA_LOG", "warn")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (tell, lines) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = tell.send(serde_json::from_str(&line).unwrap());
            }
        });
        Program { child, lines }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line that `wanted` says yes to, and the lines before it.
    pub(crate) fn until(&self, wanted: impl Fn(&Value) -> bool) -> (Vec<Value>, Value) {
        let end = Instant::now() + LIMIT;
        let mut before = Vec::new();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) if wanted(&line) => return (before, line),
                Ok(line) => before.push(line),
                Err(e) => panic!("{e} after {before:?}"),
            }
        }
    }

    /// The next line with this field.
    pub(crate) fn line(&self, field: &str) -> Value {
        self.until(|line| line.get(field).is_some()).1
    }

    /// What is left of its lines, its exit status, and what it wrote to standard error.
    pub(crate) fn end(mut self) -> (Vec<Value>, Option<i32>, String) {
        drop(self.child.stdin.take());
        let mut errors = String::new();
        let mut output = self.child.stderr.take().unwrap();
        std::io::Read::read_to_string(&mut output, &mut errors).unwrap();
        let status = self.child.wait().unwrap();
        (self.lines.iter().collect(), status.code(), errors)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A Center on free ports with one product and one model.
pub(crate) struct Center {
    _program: Program,
    pub(crate) http: String,
    token: String,
    pub(crate) coap: String,
    pub(crate) product: i64,
    pub(crate) model: i64,
}

impl Center {
    pub(crate) fn start(data: &Path) -> Center {
        let token = data.with_extension("token");
        let data = data.to_str().unwrap();
        let any = "127.0.0.1:0";
        let file = token.to_str().unwrap();
        let args = ["center", "--data", data, "--token-file", file];
        let addresses = ["--listen-http", any, "--listen-coap", any];
        let program = Program::start(&[&args[..], &addresses].concat());
        let line = program.line("http");
        let mut center = Center {
            product: 0,
            model: 0,
            _program: program,
            token: format!("Bearer {}", std::fs::read_to_string(&token).unwrap()),
            http: line["http"].as_str().unwrap().to_owned(),
            coap: line["coap"].as_str().unwrap().to_owned(),
        };
        center.post("/projects", json!({ "name": "P" }));
        let product = center.post(
            "/products",
            json!({ "project": 1, "name": "P", "product_key": "p", "product_secret": "s" }),
        );
        let model = center.post(
            "/models",
            json!({
                "project": 1, "name": "M", "device_model": "M",
                "components": [
                    { "identifier": "MODULE", "name": "Module", "type": "Firmware" },
                    { "identifier": "STM32", "name": "MCU", "type": "MCU" },
                    { "identifier": "ESP32", "name": "Radio", "type": "MCU" },
                ],
            }),
        );
        center.product = product["id"].as_i64().unwrap();
        center.model = model["id"].as_i64().unwrap();
        center
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        let mut answer = ureq::get(format!("http://{}/api/v1{path}", self.http))
            .header("authorization", &self.token)
            .call()
            .unwrap();
        answer.body_mut().read_json().unwrap()
    }

    pub(crate) fn post(&self, path: &str, body: Value) -> Value {
        let mut answer = ureq::post(format!("http://{}/api/v1{path}", self.http))
            .header("authorization", &self.token)
            .send_json(body)
            .unwrap();
        answer.body_mut().read_json().unwrap()
    }

    /// An MCU package of version 2; its id.
    pub(crate) fn upload(&self, content: &[u8]) -> i64 {
        self.upload_as("to 2", content)
    }

    /// The same with a name of its own.
    pub(crate) fn upload_as(&self, name: &str, content: &[u8]) -> i64 {
        let field = |name, value| {
            format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        let mut body = [
            field("project", "1"),
            field("name", name),
            field("component_type", "MCU"),
            field("target_version", "2"),
            "--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"p.bin\"\r\n\r\n"
                .to_owned(),
        ]
        .concat()
        .into_bytes();
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n--XX--\r\n");
        let mut answer = ureq::post(format!("http://{}/api/v1/packages", self.http))
            .header("authorization", &self.token)
            .content_type("multipart/form-data; boundary=XX")
            .send(&body)
            .unwrap();
        let made: Value = answer.body_mut().read_json().unwrap();
        made["id"].as_i64().unwrap()
    }

    /// Asks until the answer is as wanted.
    pub(crate) fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + LIMIT;
        loop {
            let answer = self.get(path);
            if wanted(&answer) {
                return answer;
            }
            assert!(Instant::now() < end, "{path}: {answer}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
