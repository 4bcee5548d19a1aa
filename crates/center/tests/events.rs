//! The stream of what happens in a project.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use common::Server;
use serde_json::{Value, json};
use sota_center::domain::Role;

/// Lines of the stream's answer as they come.
fn listen(server: &Server, token: &str, seconds: u32) -> impl Iterator<Item = String> {
    let mut stream = TcpStream::connect(server.address).expect("connected");
    let wait = Duration::from_secs(20);
    stream.set_read_timeout(Some(wait)).expect("a time-out");
    let request = format!(
        "GET /api/v1/projects/1/events?seconds={seconds} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n",
        server.address
    );
    stream.write_all(request.as_bytes()).expect("asked");
    BufReader::new(stream)
        .lines()
        .map(|line| line.expect("a line"))
}

#[test]
fn who_listens_hears_what_happens_in_the_project() {
    let server = Server::start();
    server.furnish();
    let viewer = server.account("viewer", Some((1, Role::Viewer)), Role::Viewer);
    let mut lines = listen(&server, &viewer, 60);
    assert_eq!(lines.next().as_deref(), Some("HTTP/1.1 200 OK"));
    let head: Vec<_> = lines.by_ref().take_while(|l| !l.is_empty()).collect();
    let kind = "content-type: text/event-stream";
    assert!(head.iter().any(|l| l == kind), "{head:?}");
    let own = &server.token;
    let done = server.json("POST", "/api/v1/plans/5/activate", own, json!({}));
    assert_eq!(done.0, 200);
    assert!(lines.any(|l| l == "event: PlanState"), "the stream ended");
    let data = lines.next().expect("data");
    let event: Value =
        serde_json::from_str(data.strip_prefix("data: ").expect("data")).expect("JSON");
    assert_eq!(
        (&event["plan"], &event["state"]),
        (&json!(5), &json!("Activated"))
    );
    assert_eq!(event["project"], 1);
}

#[test]
fn a_stranger_hears_nothing_and_a_stream_ends() {
    let server = Server::start();
    server.furnish();
    let other = server.account("other", None, Role::Owner);
    let mut refused = listen(&server, &other, 1);
    assert_eq!(refused.next().as_deref(), Some("HTTP/1.1 404 Not Found"));
    let all: Vec<_> = listen(&server, &server.token, 1).collect();
    assert_eq!(all.last().map(String::as_str), Some(""), "{all:?}");
}
