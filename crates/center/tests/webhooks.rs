//! Webhooks against a receiver of our own: signatures, attempts, restarts, a receiver that is dead.

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{Server, plan};
use serde_json::{Value, json};

#[derive(Clone, Debug)]
struct Got {
    headers: BTreeMap<String, String>,
    body: String,
}

/// A web server that answers with these statuses in turn, the last one for ever, and keeps what it got.
struct Receiver {
    url: String,
    got: Arc<Mutex<Vec<Got>>>,
}

impl Receiver {
    fn start(statuses: &[u16]) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let url = format!(
            "http://{}/hook?key=1",
            listener.local_addr().expect("address")
        );
        let got: Arc<Mutex<Vec<Got>>> = Arc::default();
        let (kept, statuses) = (got.clone(), statuses.to_vec());
        // ends with the test's process
        std::thread::spawn(move || {
            for (i, stream) in listener.incoming().enumerate() {
                let stream = stream.expect("accepted");
                let mut reader = BufReader::new(stream.try_clone().expect("cloned"));
                let mut line = String::new();
                reader.read_line(&mut line).expect("a request");
                assert!(line.starts_with("POST /hook?key=1 "), "{line}");
                let mut headers = BTreeMap::new();
                loop {
                    let mut line = String::new();
                    reader.read_line(&mut line).expect("a header");
                    let Some((name, value)) = line.trim().split_once(": ") else {
                        break;
                    };
                    headers.insert(name.to_ascii_lowercase(), value.to_owned());
                }
                let length = headers["content-length"].parse().expect("a length");
                let mut body = vec![0; length];
                reader.read_exact(&mut body).expect("a body");
                let body = String::from_utf8(body).expect("UTF-8");
                kept.lock().expect("kept").push(Got { headers, body });
                let status = statuses.get(i).or(statuses.last()).expect("a status");
                let answer = format!(
                    "HTTP/1.1 {status} X\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                );
                let mut stream = stream;
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Receiver { url, got }
    }

    fn wait(&self, count: usize) -> Vec<Got> {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            let got = self.got.lock().expect("kept").clone();
            if got.len() >= count {
                return got;
            }
            assert!(Instant::now() < until, "{got:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn hook(url: &str, events: &[&str]) -> Value {
    json!({"name": format!("to {url}"), "url": url, "events": events})
}

/// Until the newest delivery is not waiting any more, or has failed `attempts` times.
fn settled(server: &Server, id: &Value, attempts: u64) -> Value {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let path = format!("/api/v1/webhooks/{id}/deliveries");
        let all = server.json("GET", &path, &server.token, Value::Null).1;
        let tried = all[0]["attempts"].as_u64().is_some_and(|a| a >= attempts);
        if tried
            && (all[0]["next_at"].is_null() || !all[0]["error"].as_str().unwrap_or("").is_empty())
        {
            return all;
        }
        assert!(Instant::now() < until, "{all}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_happens_is_told_signed_and_again_until_it_is_taken() {
    let server = Server::start_with(|config| config.settings.webhook_first_wait = 50);
    server.furnish();
    let own = &server.token;
    // neither a failure nor a redirect is taken for an answer
    let receiver = Receiver::start(&[500, 302, 204]);
    let events = ["PlanState", "DeviceState", "DeviceCreated"];
    let made = server.made(
        "/api/v1/projects/1/webhooks",
        own,
        hook(&receiver.url, &events),
    );
    let secret = made["secret"].as_str().expect("a secret");
    let id = &made["id"];
    let read = server
        .json("GET", &format!("/api/v1/webhooks/{id}"), own, Value::Null)
        .1;
    assert!(!read.to_string().contains(secret), "told once: {read}");
    // one that is dead, and one that nobody told of anything
    let dead = server.made(
        "/api/v1/projects/1/webhooks",
        own,
        hook("http://127.0.0.1:9/", &events),
    );
    let quiet = Receiver::start(&[204]);
    server.made(
        "/api/v1/projects/1/webhooks",
        own,
        hook(&quiet.url, &["ApprovalWaited"]),
    );
    assert_eq!(
        server
            .json("POST", "/api/v1/plans/5/activate", own, json!({}))
            .0,
        200
    );
    receiver.wait(3);
    let cancel = "/api/v1/plans/5/devices/d1/cancel";
    assert_eq!(server.json("POST", cancel, own, json!({})).0, 200);
    let got = receiver.wait(4);
    let bodies: Vec<Value> = got
        .iter()
        .map(|g| serde_json::from_str(&g.body).expect("JSON"))
        .collect();
    assert_eq!(bodies[0], bodies[1], "the same until it is taken");
    assert_eq!(bodies[0], bodies[2]);
    assert_eq!(
        (
            &bodies[0]["event"],
            &bodies[0]["state"],
            &bodies[0]["plan_name"]
        ),
        (
            &json!("PlanState"),
            &json!("Activated"),
            &json!("secret-plan")
        )
    );
    assert_eq!(
        (
            &bodies[3]["event"],
            &bodies[3]["state"],
            &bodies[3]["reason"]
        ),
        (&json!("DeviceState"), &json!("UpgradeFailed"), &json!(1113))
    );
    assert_eq!(bodies[3]["device"]["device_key"], "d1");
    let numbers: Vec<_> = got
        .iter()
        .map(|g| g.headers["sota-delivery"].clone())
        .collect();
    assert_eq!(numbers[0], numbers[2]);
    assert_ne!(numbers[0], numbers[3]);
    for got in &got {
        let sent = &got.headers["sota-signature"];
        let seconds = sent
            .split_once("t=")
            .and_then(|(_, s)| s.split_once(','))
            .expect("a time")
            .0;
        let at: i64 = seconds.parse().expect("seconds");
        assert!((common::now() / 1000 - at).abs() < 60, "{sent}");
        let right = sota_center::deliver::signature(secret, &got.body, at * 1000);
        assert_eq!(*sent, right);
        assert_eq!(got.headers["content-type"], "application/json");
        assert!(got.headers["user-agent"].starts_with("sota-center/"));
    }
    let all = settled(&server, id, 1);
    assert_eq!(
        (&all[0]["status"], &all[0]["error"]),
        (&json!(204), &json!(""))
    );
    assert_eq!(
        (&all[1]["attempts"], &all[1]["status"]),
        (&json!(3), &json!(204))
    );
    let dead = settled(&server, &dead["id"], 2);
    assert!(
        dead[0]["error"]
            .to_string()
            .to_lowercase()
            .contains("refused"),
        "{dead}"
    );
    assert!(dead[0]["delivered_at"].is_null());
    assert!(quiet.got.lock().expect("kept").is_empty());
    // a test, a delivery once more, one that is off
    let path = format!("/api/v1/webhooks/{id}");
    assert_eq!(
        server
            .json("POST", &format!("{path}/test"), own, json!({}))
            .0,
        202
    );
    let got = receiver.wait(5);
    assert_eq!(got[4].headers["sota-event"], "Test");
    let again = format!("{path}/deliveries/{}/retry", numbers[0]);
    settled(&server, id, 1);
    assert_eq!(server.json("POST", &again, own, json!({})).0, 202);
    let got = receiver.wait(6);
    assert_eq!(got[5].body, got[0].body);
    let mut off = hook(&receiver.url, &events);
    off["enabled"] = json!(false);
    off["new_secret"] = json!(true);
    let (status, changed) = server.json("PUT", &path, own, off);
    assert_eq!(status, 200, "{changed}");
    assert_ne!(changed["secret"].as_str().expect("a new one"), secret);
    assert_eq!(
        server
            .json("POST", "/api/v1/plans/5/suspend", own, json!({}))
            .0,
        200
    );
    let all = server
        .json("GET", &format!("{path}/deliveries"), own, Value::Null)
        .1;
    assert_eq!(all.as_array().map(Vec::len), Some(3), "{all}");
}

#[test]
fn what_was_not_told_before_the_center_stopped_is_told_after_it() {
    let data = tempfile::tempdir().expect("folder");
    let start = || {
        Server::start_with(|config| {
            config.data = data.path().to_owned();
            config.settings.webhook_first_wait = 50;
        })
    };
    // a port where nobody listens yet
    let port = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = port.local_addr().expect("address");
    drop(port);
    let server = start();
    server.furnish();
    let url = format!("http://{address}/hook");
    let made = server.made(
        "/api/v1/projects/1/webhooks",
        &server.token,
        hook(&url, &["PlanState"]),
    );
    let token = server.token.clone();
    assert_eq!(
        server
            .json("POST", "/api/v1/plans/5/activate", &token, json!({}))
            .0,
        200
    );
    settled(&server, &made["id"], 1);
    drop(server);
    let listener = TcpListener::bind(address).expect("bound");
    let server = start();
    listener.set_nonblocking(true).expect("set");
    let until = Instant::now() + Duration::from_secs(30);
    let stream = loop {
        match listener.accept() {
            Ok((stream, _)) => break stream,
            Err(_) => assert!(Instant::now() < until, "nothing came"),
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    stream.set_nonblocking(false).expect("set");
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("set");
    let mut text = String::new();
    let mut reader = BufReader::new(stream);
    while !text.contains("\"event\":\"PlanState\"") {
        let mut chunk = [0; 1024];
        let n = reader.read(&mut chunk).expect("bytes");
        assert!(n > 0, "{text}");
        text += &String::from_utf8_lossy(&chunk[..n]);
    }
    drop(server);
}

#[test]
fn a_receiver_that_never_answers_holds_up_nobody() {
    let server = Server::start_with(|config| config.settings.webhook_first_wait = 50);
    server.furnish();
    let own = &server.token;
    // takes connections and is silent
    let silent = TcpListener::bind("127.0.0.1:0").expect("bound");
    let url = format!("http://{}/", silent.local_addr().expect("address"));
    for n in 0..3 {
        let mut hook = hook(&url, &["PlanState"]);
        hook["name"] = json!(format!("silent {n}"));
        server.made("/api/v1/projects/1/webhooks", own, hook);
    }
    let receiver = Receiver::start(&[204]);
    server.made(
        "/api/v1/projects/1/webhooks",
        own,
        hook(&receiver.url, &["PlanState"]),
    );
    let began = Instant::now();
    for action in ["activate", "suspend", "resume", "terminate"] {
        let path = format!("/api/v1/plans/5/{action}");
        assert_eq!(
            server.json("POST", &path, own, json!({})).0,
            200,
            "{action}"
        );
    }
    receiver.wait(4);
    assert!(
        began.elapsed() < Duration::from_secs(9),
        "it waited for the silent ones"
    );
}

#[test]
fn only_owners_and_only_web_addresses() {
    let server = Server::start();
    server.furnish();
    let own = &server.token;
    let post = |body| server.json("POST", "/api/v1/projects/1/webhooks", own, body);
    for url in [
        "file:///etc/passwd",
        "ftp://example.org",
        "http://a:b@example.org",
    ] {
        let (status, error) = post(hook(url, &["PlanState"]));
        assert_eq!(
            (status, &error["name"]),
            (422, &json!("WebhookUrl")),
            "{url}"
        );
        assert_eq!(error["field"], "url");
    }
    let (status, error) = post(hook("http://example.org", &[]));
    assert_eq!((status, &error["field"]), (422, &json!("events")));
    assert_eq!(post(hook("http://example.org", &["Test"])).0, 422);
    assert_eq!(post(hook("http://example.org", &["Nothing"])).0, 400);
    for n in 0..19 {
        let mut hook = hook("http://127.0.0.1:9", &["PlanState"]);
        hook["name"] = json!(format!("hook {n}"));
        assert_eq!(post(hook).0, 201, "{n}");
    }
    let (status, error) = post(hook("http://127.0.0.1:9", &["PlanState"]));
    assert_eq!((status, &error["name"]), (409, &json!("TooManyWebhooks")));
    // a plan of another project is not told here
    let other = server.made("/api/v1/projects", own, json!({"name": "other"}));
    let (status, found) = server.json(
        "GET",
        &format!("/api/v1/projects/{}/webhooks", other["id"]),
        own,
        Value::Null,
    );
    assert_eq!((status, found), (200, json!([])));
    let (status, error) = server.json(
        "POST",
        "/api/v1/webhooks/6/deliveries/999/retry",
        own,
        json!({}),
    );
    assert_eq!((status, &error["name"]), (404, &json!("NoSuchDelivery")));
    assert_eq!(
        server
            .json("PUT", "/api/v1/plans/5", own, plan("renamed"))
            .0,
        200
    );
}
