//! REST as a script sees it: a real server on a free port, real requests.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;

use common::{FORM, now, read};
use serde_json::{Value, json};
use sota_center::domain::{ComponentKind, DeviceFacts, Endpoint, ReportedComponent};
use sota_center::service::Register;
use sota_center::store::Scope;
use sota_center::{Center, Config};

/// A served Center, asked as the machine's own user.
struct Server(common::Server);

impl std::ops::Deref for Server {
    type Target = common::Server;

    fn deref(&self) -> &common::Server {
        &self.0
    }
}

impl Server {
    fn start() -> Server {
        Server(common::Server::start())
    }

    fn get(&self, path: &str) -> (u16, Value) {
        self.json("GET", path, &self.token, Value::Null)
    }

    fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.json("POST", path, &self.token, body)
    }

    fn put(&self, path: &str, body: Value) -> (u16, Value) {
        self.json("PUT", path, &self.token, body)
    }

    fn delete(&self, path: &str) -> (u16, Value) {
        self.json("DELETE", path, &self.token, Value::Null)
    }

    /// Uploads a package; a field named `file` is `name.ending=content`.
    fn upload(&self, fields: &[(&str, &str)]) -> (u16, Value) {
        let body = form(fields);
        read(self.call(
            "POST",
            "/api/v1/packages",
            &self.token,
            FORM,
            body.as_bytes(),
        ))
    }

    fn made(&self, path: &str, body: Value) -> i64 {
        let (status, made) = self.post(path, body);
        assert_eq!(status, 201, "{made}");
        made["id"].as_i64().expect("id")
    }

    /// A project (1), product (2) and model (3); the id of an MCU package to 2_0_0.
    fn furnish(&self) -> i64 {
        self.made("/api/v1/projects", json!({"name": "home"}));
        let product =
            json!({"project": 1, "name": "lamp", "product_key": "pk", "product_secret": "ps"});
        self.made("/api/v1/products", product);
        self.made("/api/v1/models", model());
        let (status, package) = self.upload(&[
            ("project", "1"),
            ("name", "to 2"),
            ("component_type", "MCU"),
            ("target_version", "2_0_0"),
            ("file", "a.bin=123456789"),
        ]);
        assert_eq!(status, 201, "{package}");
        package["id"].as_i64().expect("id")
    }

    /// A device that runs version 1_0_0 of its MCU.
    fn device(&self, key: &str) {
        let endpoint = Endpoint::new("pk", key);
        let request = Register {
            endpoint: endpoint.clone(),
            lifetime_s: 600,
            ..Register::default()
        };
        let component = ReportedComponent {
            identifier: "STM32".into(),
            kind: ComponentKind::Mcu,
            version: "1_0_0".into(),
        };
        let facts = DeviceFacts {
            components: vec![component],
            ..DeviceFacts::default()
        };
        let now = now();
        self.runtime.block_on(async {
            self.service
                .register(&Scope::OWNER, &request, now)
                .await
                .expect("registered");
            self.service
                .facts(&Scope::OWNER, &endpoint, &facts, now)
                .await
                .expect("told");
        });
    }

    fn stored_files(&self) -> usize {
        fn below(path: &std::path::Path) -> usize {
            let entries = std::fs::read_dir(path)
                .expect("folder")
                .map(|e| e.expect("entry").path());
            entries
                .map(|p| if p.is_dir() { below(&p) } else { 1 })
                .sum()
        }
        below(&self.folder.path().join("packages"))
    }
}

fn form(fields: &[(&str, &str)]) -> String {
    let mut body = String::new();
    for (name, value) in fields {
        let (file, content) = match (*name, value.split_once('=')) {
            ("file", Some((file, content))) => (format!("; filename=\"{file}\""), content),
            _ => (String::new(), *value),
        };
        body += &format!(
            "--XX\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n{content}\r\n"
        );
    }
    body + "--XX--\r\n"
}

fn model() -> Value {
    json!({"project": 1, "name": "v1", "device_model": "BC660K", "components": [
        {"identifier": "module", "name": "module", "type": "Firmware"},
        {"identifier": "STM32", "name": "motor", "type": "MCU"},
    ]})
}

fn plan(package: i64) -> Value {
    json!({"project": 1, "name": "spring", "product": 2, "model": 3,
        "time_zone": "Europe/Berlin", "start": "2026-01-01T10:00:00",
        "components": [{"component": "STM32", "package": package}]})
}

/// Checks that the answer is this line of the catalogue, whole.
fn is_error(answer: (u16, Value), status: u16, name: &str) {
    let (got, body) = answer;
    assert_eq!((got, body["name"].as_str()), (status, Some(name)), "{body}");
    assert!(
        body["number"].is_u64() && body["message"].is_string(),
        "{body}"
    );
    assert!(
        body["remedy"].as_str().is_some_and(|r| !r.is_empty()),
        "{body}"
    );
}

#[test]
fn a_plan_from_upload_to_its_devices() {
    let server = Server::start();
    let package = server.furnish();
    let (_, stored) = server.get(&format!("/api/v1/packages/{package}"));
    assert_eq!(
        stored["files"][0]["md5"],
        "25f9e794323b453885f5181f1b624d0b"
    );
    assert_eq!(stored["files"][0]["crc32"], 0xcbf4_3926u32);
    assert_eq!(stored["files"][0]["length"], 9);
    server.device("d1");
    let id = server.made("/api/v1/plans", plan(package));
    let path = format!("/api/v1/plans/{id}");
    // 10:00 in Berlin in winter is 09:00 UTC
    assert_eq!(server.get(&path).1["start_at"], 1_767_258_000_000i64);
    let mut edited = plan(package);
    edited["blacklist"] = json!(["d2"]);
    assert_eq!(server.put(&path, edited.clone()).0, 200);
    let (status, active) = server.post(&format!("{path}/activate"), json!({}));
    assert_eq!((status, &active["state"]), (200, &json!("Activated")));
    assert_eq!(active["counters"]["not_upgraded"], 1);
    is_error(server.put(&path, edited), 409, "PlanNotSaved");
    is_error(server.delete(&path), 409, "PlanNotSaved");
    is_error(
        server.post(&format!("{path}/activate"), json!({})),
        409,
        "PlanTransition",
    );
    is_error(
        server.delete(&format!("/api/v1/packages/{package}")),
        409,
        "PackageInUse",
    );
    is_error(server.delete("/api/v1/models/3"), 409, "ModelInUse");
    let (_, devices) = server.get(&format!("{path}/devices"));
    assert_eq!(devices[0]["device_key"], "d1");
    assert_eq!(devices[0]["steps"][0]["state"], "PlanNotReceived");
    let (_, detail) = server.get(&format!("{path}/devices/d1"));
    assert!(
        detail["log"].as_array().is_some_and(|l| !l.is_empty()),
        "{detail}"
    );
    let why = |key: &str| server.get(&format!("/api/v1/devices/pk/{key}/why")).1[0]["rule"].clone();
    assert_eq!(why("d1"), "UpgradeRunning");
    server.device("d2");
    assert_eq!(why("d2"), "InBlacklist");
    is_error(server.get("/api/v1/devices/pk/d3/why"), 404, "NoSuchDevice");
    for action in ["suspend", "resume", "terminate"] {
        assert_eq!(
            server.post(&format!("{path}/{action}"), json!({})).0,
            200,
            "{action}"
        );
    }
    is_error(
        server.post(&format!("{path}/devices/d1/cancel"), json!({})),
        409,
        "CancelNotRunning",
    );
    is_error(
        server.post(&format!("{path}/devices/d9/cancel"), json!({})),
        404,
        "NoSuchPlanDevice",
    );
    is_error(
        server.post(&format!("{path}/devices/d1/retry"), json!({})),
        409,
        "RetryNotFailed",
    );
    let (_, served) = server.get(&format!("/api/v1/packages/{package}/served"));
    assert_eq!(served["blocks"], 0);
}

#[test]
fn metrics_are_those_of_the_store() {
    let server = Server::start();
    let package = server.furnish();
    server.device("d1");
    server.device("d2");
    let id = server.made("/api/v1/plans", plan(package));
    server.post(&format!("/api/v1/plans/{id}/activate"), json!({}));
    let mut answer = server.call("GET", "/metrics", &server.token, "", &[]);
    let kind = answer.headers()["content-type"].to_str().expect("text");
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    let text = answer.body_mut().read_to_string().expect("text");
    let name = plan(package)["name"].as_str().expect("a name").to_owned();
    for line in [
        format!("sota_plan_devices{{plan=\"{id}\",name=\"{name}\",state=\"NotUpgraded\"}} 2"),
        format!("sota_plan_suspended_by{{plan=\"{id}\",name=\"{name}\"}} 0"),
        "sota_device_port_trouble_total{kind=\"dropped\"} 0".into(),
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn groups_open_by_hand_and_a_user_confirms() {
    let server = Server::start();
    let package = server.furnish();
    server.device("d1");
    server.device("d2");
    let mut body = plan(package);
    body["rollout"] = json!({
        "mode": "Manual",
        "groups": [
            {"name": "first", "size": {"devices": 1}},
            {"name": "others", "size": "rest", "approval": true},
        ],
    });
    let id = server.made("/api/v1/plans", body.clone());
    let path = format!("/api/v1/plans/{id}");
    let (_, active) = server.post(&format!("{path}/activate"), json!({}));
    let group = |status: &Value, i: usize| status["groups"][i].clone();
    assert_eq!(group(&active, 0)["counters"]["not_upgraded"], 1);
    assert_eq!(group(&active, 1)["open"], false);
    let why = |key: &str| server.get(&format!("/api/v1/devices/pk/{key}/why")).1[0]["rule"].clone();
    assert_eq!(
        (why("d1"), why("d2")),
        ("WaitsForUser".into(), "GroupNotOpen".into())
    );
    let confirm = format!("{path}/devices/d1/confirm");
    is_error(
        server.post(&confirm, json!({"at": "soon"})),
        422,
        "TimeUnreadable",
    );
    let appointed = json!({"at": "2999-01-01T00:00:00"});
    assert_eq!(server.post(&confirm, appointed).0, 204);
    assert_eq!(why("d1"), "StartsLater");
    assert_eq!(server.post(&confirm, json!({})).0, 204);
    assert_eq!(why("d1"), "UpgradeRunning");
    let (status, opened) = server.post(&format!("{path}/next-group"), json!({}));
    assert_eq!((status, &group(&opened, 1)["open"]), (200, &json!(true)));
    is_error(
        server.post(&format!("{path}/next-group"), json!({})),
        409,
        "NoNextGroup",
    );
    body["name"] = json!("another");
    body["rollout"]["groups"][1]["size"] = json!({"percent": 50});
    is_error(server.post("/api/v1/plans", body), 422, "RolloutGroups");
}

#[test]
fn a_saved_plan_can_go_and_then_its_package() {
    let server = Server::start();
    let package = server.furnish();
    let id = server.made("/api/v1/plans", plan(package));
    assert_eq!(server.delete(&format!("/api/v1/plans/{id}")).0, 204);
    is_error(
        server.get(&format!("/api/v1/plans/{id}")),
        404,
        "NoSuchPlan",
    );
    assert_eq!(server.stored_files(), 1);
    assert_eq!(server.delete(&format!("/api/v1/packages/{package}")).0, 204);
    assert_eq!(server.stored_files(), 0);
    assert_eq!(server.delete("/api/v1/models/3").0, 204);
}

#[test]
fn each_bad_input_has_one_clear_error() {
    let server = Server::start();
    let package = server.furnish();
    let long = "x".repeat(101);
    let projects = "/api/v1/projects";
    is_error(
        server.post(projects, json!({"name": "home"})),
        409,
        "NameTaken",
    );
    is_error(
        server.post(projects, json!({"name": long})),
        422,
        "NameOverlong",
    );
    is_error(
        server.post(projects, json!({"name": "a\u{7}"})),
        422,
        "NameForbiddenCharacters",
    );
    is_error(
        server.post(projects, json!({"nom": "a"})),
        400,
        "MalformedRequest",
    );
    let product = json!({"project": 9, "name": "n", "product_key": "k", "product_secret": "s"});
    is_error(
        server.post("/api/v1/products", product),
        404,
        "NoSuchProject",
    );
    let product = json!({"project": 1, "name": "n", "product_key": "a:b", "product_secret": "s"});
    is_error(
        server.post("/api/v1/products", product),
        422,
        "KeyMalformed",
    );
    let mut bad = model();
    bad["device_model"] = json!("BC-660");
    is_error(
        server.post("/api/v1/models", bad),
        422,
        "NameForbiddenCharacters",
    );
    for (change, status, name) in [
        (json!({"product": 77}), 404, "NoSuchProduct"),
        (json!({"model": 77}), 404, "NoSuchModel"),
        (
            json!({"components": [{"component": "STM32", "package": 77}]}),
            404,
            "NoSuchPackage",
        ),
        (
            json!({"components": [{"component": "module", "package": package}]}),
            422,
            "PackageWrongKind",
        ),
        (json!({"components": []}), 422, "SequenceEmpty"),
        (json!({"time_zone": "Mars/Olympus"}), 422, "TimeUnreadable"),
        (json!({"end": "soon"}), 422, "TimeUnreadable"),
        (json!({"end": "2025-01-01T00:00:00Z"}), 422, "PlanTimes"),
        (
            json!({"strategy": {"retry_times": 6}}),
            422,
            "StrategyRetry",
        ),
    ] {
        let mut plan = plan(package);
        for (key, value) in change.as_object().expect("object") {
            plan[key] = value.clone();
        }
        is_error(server.post("/api/v1/plans", plan), status, name);
    }
    is_error(server.get("/api/v1/plans/77"), 404, "NoSuchPlan");
    is_error(server.get("/api/v1/plans/x"), 400, "MalformedRequest");
    is_error(server.get("/api/v1/nothing"), 404, "NoSuchResource");
    is_error(server.delete("/health"), 405, "MethodNotAllowed");
    is_error(
        server.get("/api/v1/devices?product=pk"),
        400,
        "MalformedRequest",
    );
}

#[test]
fn a_refused_upload_leaves_nothing() {
    let server = Server::start();
    server.furnish();
    let good: [(&str, &str); 5] = [
        ("project", "1"),
        ("name", "p"),
        ("component_type", "MCU"),
        ("target_version", "3"),
        ("file", "a.bin=abc"),
    ];
    let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let wrong = "00".repeat(32);
    let long = "n".repeat(101);
    let cases: [(&str, &str, u16, &str); 14] = [
        ("name", "", 422, "NameEmpty"),
        ("name", &long, 422, "NameOverlong"),
        ("file", "a.bin=", 422, "FileEmpty"),
        ("file", "a.exe=abc", 422, "FileFormatUnknown"),
        ("expected_sha256", &wrong, 422, "FileHashMismatch"),
        ("expected_length", "4", 422, "FileTruncated"),
        ("target_version", "3 0", 422, "VersionForbiddenCharacters"),
        ("name", "to 2", 409, "NameTaken"),
        ("package_type", "Delta", 422, "SourceVersionMissing"),
        ("source_version", "1", 422, "SourceVersionOnFull"),
        ("component_type", "Modem", 400, "MalformedRequest"),
        ("project", "99", 404, "NoSuchProject"),
        ("product", "99", 404, "NoSuchProduct"),
        ("colour", "red", 400, "MalformedRequest"),
    ];
    for (field, value, status, name) in cases {
        let mut fields: Vec<_> = good.iter().copied().filter(|(f, _)| *f != field).collect();
        fields.push((field, value));
        is_error(server.upload(&fields), status, name);
        assert_eq!(server.stored_files(), 1, "{name}");
    }
    let mut six = good.to_vec();
    six.extend([("file", "b.bin=b"); 5]);
    is_error(server.upload(&six), 422, "FileCount");
    // a connection that ends in the middle of the file
    let mut stream = TcpStream::connect(server.address).expect("connected");
    let body = form(&good);
    let head = format!(
        "POST /api/v1/packages HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\
         Content-Type: multipart/form-data; boundary=XX\r\nConnection: close\r\n\r\n",
        server.token,
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("sent");
    stream
        .write_all(&body.as_bytes()[..body.len() - 12])
        .expect("sent");
    stream
        .shutdown(std::net::Shutdown::Write)
        .expect("half closed");
    let mut answer = String::new();
    // the server may also just close: what counts is that nothing stays
    let _ = stream.read_to_string(&mut answer);
    assert!(
        answer.is_empty() || answer.contains("FileTruncated"),
        "{answer}"
    );
    let mut fine = good.to_vec();
    fine.push(("expected_sha256", sha256));
    assert_eq!(server.upload(&fine).0, 201);
    assert_eq!(server.stored_files(), 2);
}

#[test]
fn foreign_hosts_and_origins_are_refused() {
    let server = Server::start();
    let call = |header: &str, value: &str| {
        read(
            server
                .agent
                .get(format!("http://{}/health", server.address))
                .header(header, value)
                .call()
                .expect("answered"),
        )
    };
    is_error(call("host", "evil.example"), 403, "ForeignHost");
    is_error(
        call("host", "127.0.0.1.evil.example:80"),
        403,
        "ForeignHost",
    );
    is_error(call("origin", "http://evil.example"), 403, "ForeignOrigin");
    is_error(call("origin", "null"), 403, "ForeignOrigin");
    assert_eq!(call("host", "localhost:1234").0, 200);
    assert_eq!(call("host", "[::1]:80").0, 200);
    assert_eq!(call("origin", "http://127.0.0.1:99").0, 200);
    let (status, health) = server.get("/health");
    assert_eq!((status, &health["status"]), (200, &json!("ok")));
    assert_eq!(health["warnings"], json!([]));
}

#[test]
fn the_description_names_every_address() {
    let server = Server::start();
    let (status, description) = server.get("/openapi.json");
    assert_eq!(status, 200);
    let paths = description["paths"].as_object().expect("paths");
    for path in [
        "/health",
        "/api/v1/packages/{id}/served",
        "/api/v1/plans/{id}/devices/{device_key}/cancel",
    ] {
        assert!(paths.contains_key(path), "{path}");
    }
    assert!(description["components"]["schemas"]["Plan"].is_object());
}

#[test]
fn what_cannot_be_opened_says_why() {
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    let folder = tempfile::tempdir().expect("folder");
    let open = |change: fn(&mut Config)| {
        let mut config = Config::new(folder.path());
        change(&mut config);
        runtime.block_on(Center::open(config))
    };
    let refused = |change| open(change).err().expect("refused").error.name();
    assert_eq!(
        refused(|c| c.http = "0.0.0.0:0".parse().expect("address")),
        "BindNotLoopback"
    );
    assert_eq!(
        refused(|c| c.coap = "[::]:0".parse().expect("address")),
        "BindNotLoopback"
    );
    let first = open(|_| {}).expect("opened");
    let mut config = Config::new(folder.path());
    config.http = first.http_address();
    let taken = runtime.block_on(Center::open(config)).err().expect("taken");
    assert_eq!(taken.error.name(), "CenterAddressInUse");
    drop(first);
    let insecure = |c: &mut Config| {
        c.http = "0.0.0.0:0".parse().expect("address");
        c.insecure_no_encryption = true;
    };
    drop(open(insecure).expect("asked for"));
    let other = tempfile::tempdir().expect("folder");
    std::fs::write(other.path().join("center.db"), "this is not a database").expect("written");
    let broken = runtime
        .block_on(Center::open(Config::new(other.path())))
        .err()
        .expect("refused");
    assert_eq!(broken.error.name(), "StoreUnusable");
    assert!(broken.detail.contains("center.db"), "{broken}");
}

#[test]
fn a_device_is_disabled_and_enabled() {
    let server = Server::start();
    let package = server.furnish();
    server.device("d1");
    let id = server.made("/api/v1/plans", plan(package));
    let path = "/api/v1/devices/pk/d1";
    for _ in 0..2 {
        let (status, device) = server.post(&format!("{path}/disable"), json!({}));
        assert_eq!(
            (status, &device["disabled"]),
            (200, &json!(true)),
            "{device}"
        );
        assert_eq!(device["registration"], Value::Null);
    }
    assert_eq!(server.get(path).1["disabled"], true);
    assert_eq!(
        server.get("/api/v1/devices?product_key=pk").1[0]["disabled"],
        true
    );
    server.post(&format!("/api/v1/plans/{id}/activate"), json!({}));
    let why = || server.get(&format!("{path}/why")).1[0].clone();
    assert_eq!(
        (why()["rule"].clone(), why()["number"].clone()),
        (json!("DeviceDisabled"), json!(1220))
    );
    let (status, device) = server.post(&format!("{path}/enable"), json!({}));
    assert_eq!(
        (status, &device["disabled"]),
        (200, &json!(false)),
        "{device}"
    );
    assert_eq!(why()["rule"], "NotConnected");
    let log = server.get(&format!("{path}/log")).1;
    let texts: Vec<_> = log
        .as_array()
        .expect("lines")
        .iter()
        .map(|l| l["text"].clone())
        .collect();
    assert_eq!(texts, ["disabled by an operator", "enabled by an operator"]);
    for action in ["disable", "enable"] {
        let unknown = server.post(&format!("/api/v1/devices/pk/d9/{action}"), json!({}));
        is_error(unknown, 404, "NoSuchDevice");
    }
    let (_, description) = server.get("/openapi.json");
    for action in ["disable", "enable"] {
        let address = format!("/api/v1/devices/{{product_key}}/{{device_key}}/{action}");
        assert!(description["paths"][address]["post"].is_object());
    }
    let device = description["components"]["schemas"]["Device"].to_string();
    assert!(device.contains("\"disabled\":{"), "{device}");
}
