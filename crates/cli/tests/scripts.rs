//! What a script does at a Center: settings from a file, packages, plans and devices by `sota …`, a backup while it runs.

#[path = "common/mod.rs"]
mod common;

use common::{Center, Program};
use serde_json::{Value, json};
use sota_host::wire::Wire;
use std::path::Path;
use std::process::{Command, Output};

/// `sota …` to its end, without anything that this machine's variables say.
fn sota(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sota"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SOTA_")) {
        command.env_remove(name);
    }
    command.args(arguments).output().unwrap()
}

/// Its lines of JSON; it must have succeeded.
fn lines(arguments: &[&str]) -> Vec<Value> {
    let output = sota(&[&["--json"], arguments].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The error it must end with.
fn refused(arguments: &[&str]) -> (u64, String) {
    let output = sota(&[&["--json"], arguments].concat());
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    // What it told before stands above.
    let error: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let message = error["message"].as_str().unwrap().to_owned();
    (error["number"].as_u64().unwrap(), message)
}

struct Script {
    url: String,
    token: String,
}

impl Script {
    fn of(center: &Center, token: &Path) -> Script {
        Script {
            url: format!("http://{}", center.http),
            token: token.to_str().unwrap().to_owned(),
        }
    }

    fn args<'a>(&'a self, command: &'a str, rest: &[&'a str]) -> Vec<&'a str> {
        let head = [command, "--center", &self.url, "--token-file", &self.token];
        [&head, rest].concat()
    }

    fn one(&self, command: &str, rest: &[&str]) -> Value {
        let mut lines = lines(&self.args(command, rest));
        assert_eq!(lines.len(), 1, "{command} {rest:?}: {lines:?}");
        lines.remove(0)
    }
}

#[test]
fn a_script_brings_a_package_to_a_device_and_waits() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let center = Center::start(&dir.path().join("center"));
    let script = Script::of(&center, &dir.path().join("center.token"));
    let content: Vec<u8> = (0..9_000_u32).map(|i| (i * i / 7) as u8).collect();
    std::fs::write(path("motor \"2\".bin"), &content).unwrap();

    let upload = [
        "upload",
        "--project",
        "1",
        "--name",
        "motor 2",
        "--type",
        "MCU",
        "--target",
        "2",
    ];
    let (number, message) = refused(
        &script.args(
            "package",
            &[
                &upload[..],
                &["--sha256", &"0".repeat(64), &path("motor \"2\".bin")],
            ]
            .concat(),
        ),
    );
    assert_eq!(number, 2016);
    assert!(message.contains("FileHashMismatch"), "{message}");
    let made = script.one(
        "package",
        &[&upload[..], &[&path("motor \"2\".bin")]].concat(),
    );
    let package = made["id"].to_string();
    assert_eq!(made["files"][0]["length"], 9_000);
    assert_eq!(
        lines(&script.args("package", &["list", "--project", "1"])).len(),
        1
    );
    assert!(lines(&script.args("package", &["list", "--project", "77"])).is_empty());

    std::fs::write(path("plan.json"), "{ not JSON").unwrap();
    assert_eq!(
        refused(&script.args("plan", &["create", &path("plan.json")])).0,
        2025
    );
    let plan = json!({
        "project": 1, "name": "Plan", "whitelist": ["d"],
        "product": center.product, "model": center.model,
        "components": [{ "component": "STM32", "package": made["id"] }],
    });
    std::fs::write(path("plan.json"), plan.to_string()).unwrap();
    let plan = script.one("plan", &["create", &path("plan.json")])["id"].to_string();
    script.one("plan", &["activate", &plan]);
    let (number, _) = refused(&script.args("package", &["delete", &package]));
    assert_eq!(number, 2016, "a plan uses it");
    let (number, message) = refused(&script.args("plan", &["wait", &plan, "--timeout", "1"]));
    assert_eq!(number, 2027, "{message}");

    let wire = Wire::new(400_000).unwrap();
    let ends = wire.ends().clone();
    let [module_end, mcu_end] = ends.each_ref().map(|end| end.to_str().unwrap());
    let server = format!("coap://{}", center.coap);
    let (module, mcu) = (path("module"), path("mcu"));
    let keys = ["--product-key", "p", "--device-key", "d"];
    let of_module = [
        "module", "--server", &server, "--state", &module, "--uart", module_end,
    ];
    let _module = Program::start(&[&of_module[..], &keys].concat());
    let of_mcu = ["mcu", "--uart", mcu_end, "--state", &mcu];
    let _mcu = Program::start(&[&of_mcu[..], &["--component", "STM32", "--version", "1"]].concat());

    let told = lines(&script.args("plan", &["wait", &plan, "--timeout", "60"]));
    assert_eq!(told.last().unwrap()["counters"]["upgraded"], 1, "{told:?}");
    let devices = lines(&script.args("plan", &["devices", &plan, "--state", "Upgraded"]));
    assert_eq!((devices.len(), &devices[0]["device_key"]), (1, &json!("d")));
    assert_eq!(lines(&script.args("device", &["list", "p"])).len(), 1);
    let why = script.one("device", &["why", "p", "d", "--plan", &plan]);
    assert_eq!(why["rule"], "AlreadyUpgraded");
    assert!(!lines(&script.args("device", &["log", "p", "d"])).is_empty());
    script.one("device", &["disable", "p", "d"]);
    assert_eq!(script.one("device", &["show", "p", "d"])["disabled"], true);
    let table = sota(&script.args("plan", &["list"]));
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.starts_with("id  project  name  state"), "{table}");

    // A copy of all that, made while it runs, is a Center of its own.
    let copy = path("copy");
    let data = path("center");
    let copied = &lines(&["center", "backup", &copy, "--data", &data])[0];
    assert_eq!(
        (&copied["files"], &copied["file_bytes"]),
        (&json!(1), &json!(9_000))
    );
    assert_eq!(
        refused(&["center", "backup", &copy, "--data", &data]).0,
        1085
    );
    std::fs::write(
        path("center.toml"),
        format!(
            "data = {copy:?}\nlisten-http = \"127.0.0.1:0\"\nlisten-coap = \"127.0.0.1:0\"\ntoken-file = {:?}\n",
            path("token")
        ),
    )
    .unwrap();
    let second = Program::start(&["center", "--config", &path("center.toml")]);
    let line = second.line("http");
    let of_copy = Script {
        url: format!("http://{}", line["http"].as_str().unwrap()),
        token: path("token"),
    };
    let status = of_copy.one("plan", &["show", &plan]);
    assert_eq!(status["counters"]["upgraded"], 1);
    let file = of_copy.one("package", &["show", &package])["files"][0].clone();
    assert_eq!(file, made["files"][0]);
}

#[test]
fn what_is_missing_or_damaged_is_said_with_its_number() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    assert_eq!(refused(&["plan", "list"]).0, 2024);
    std::fs::write(path("token"), "sota_x\n").unwrap();
    // Nothing listens at port 1.
    let nobody = ["plan", "--center", "http://127.0.0.1:1", "--token-file"];
    assert_eq!(
        refused(&[&nobody[..], &[&path("token"), "list"]].concat()).0,
        2015
    );
    std::fs::write(path("bad.toml"), "listen-htp = \"127.0.0.1:0\"\n").unwrap();
    let (number, message) = refused(&["center", "--config", &path("bad.toml")]);
    assert_eq!(number, 2023);
    assert!(message.contains("listen-htp"), "{message}");
    assert_eq!(
        refused(&["center", "backup", &path("to"), "--data", &path("none")]).0,
        1083
    );

    let center = Center::start(&dir.path().join("center"));
    let package = center.upload(b"a package");
    let script = Script::of(&center, &dir.path().join("center.token"));
    let shown = script.one("package", &["show", &package.to_string()]);
    let sha256 = shown["files"][0]["sha256"].as_str().unwrap();
    let file = format!("center/packages/sha256/{}/{sha256}", &sha256[..2]);
    std::fs::write(path(&file), b"A package").unwrap();
    let backup = ["center", "backup", &path("to"), "--data", &path("center")];
    let (number, message) = refused(&backup);
    assert_eq!(number, 1086);
    assert!(message.contains(sha256), "{message}");
    std::fs::remove_file(path(&file)).unwrap();
    assert_eq!(refused(&backup).0, 1086);
    // What was begun is gone: no folder that could be taken for a backup.
    assert!(!Path::new(&path("to")).exists() && !Path::new(&path("to.part")).exists());
}
