//! Lists as files: devices, the devices of a plan, its log.

mod common;

use std::time::{Duration, Instant};

use common::{Server, now, plan, product, read};
use serde_json::{Value, json};
use sota_center::domain::{
    ComponentKind, DeviceFacts, Endpoint, LogLine, PlanId, ReportedComponent, Role,
};
use sota_center::service::Register;
use sota_center::store::{Change, Scope};

fn csv(server: &Server, path: &str, token: &str) -> Vec<String> {
    let answer = server.call("GET", path, token, "", b"");
    assert_eq!(answer.headers()["content-type"], "text/csv; charset=utf-8");
    assert_eq!(answer.headers()["transfer-encoding"], "chunked", "streamed");
    let name = answer.headers()["content-disposition"]
        .to_str()
        .expect("text");
    assert!(name.ends_with(".csv\""), "{name}");
    let (status, text) = read(answer);
    assert_eq!(status, 200, "{text}");
    let text = text.as_str().expect("CSV").to_owned();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn devices_of_a_product_and_of_a_plan_are_whole_as_files() {
    let server = Server::start();
    server.furnish();
    let viewer = server.account("viewer", Some((1, Role::Viewer)), Role::Viewer);
    // a product of its own, over the pages of the export
    let own = &server.token;
    let made = server.made("/api/v1/products", own, product(1, "many", "many"));
    let mut keys: Vec<String> = (0..1100).map(|n| format!("k{n:05}")).collect();
    keys.extend(["=1+1", "@sum", "-2", "+3"].map(str::to_owned));
    for key in &keys {
        let request = Register {
            endpoint: Endpoint::new("many", key),
            lifetime_s: 600,
            ..Register::default()
        };
        let registered = server.service.register(&Scope::OWNER, &request, now());
        server.runtime.block_on(registered).expect("registered");
    }
    let told = |key: &str, version: &str| {
        let facts = DeviceFacts {
            components: vec![ReportedComponent {
                identifier: "STM32".into(),
                kind: ComponentKind::Mcu,
                version: version.into(),
            }],
            rsrp_dbm: Some(-95),
            ..DeviceFacts::default()
        };
        let endpoint = Endpoint::new("many", key);
        let told = server
            .service
            .facts(&Scope::OWNER, &endpoint, &facts, now());
        server.runtime.block_on(told).expect("told");
    };
    told("=1+1", "1");
    let lines = csv(&server, "/api/v1/devices/export?product_key=many", &viewer);
    assert_eq!(lines.len(), keys.len() + 1);
    assert!(lines[0].starts_with("product_key,device_key,state,versions,tags,rsrp_dbm"));
    let formulas = lines.iter().filter(|l| l.starts_with("many,'"));
    assert_eq!(formulas.count(), 4);
    let told = lines.iter().find(|l| l.contains("'=1+1")).expect("there");
    assert!(
        told.starts_with("many,'=1+1,connected,STM32=1,,-95,,,"),
        "{told}"
    );
    let path = "/api/v1/devices/export?product_key=many&format=json";
    let all = server.json("GET", path, &viewer, Value::Null).1;
    let all = all.as_array().expect("devices");
    assert_eq!(all.len(), keys.len());
    assert_eq!(all[0]["connected"], true);
    let unknown = "/api/v1/devices/export?product_key=nothing";
    let (status, error) = server.json("GET", unknown, &viewer, Value::Null);
    assert_eq!((status, &error["name"]), (404, &json!("NoSuchProduct")));
    // a plan: who waits says why, who failed says of what
    let mut big = plan("big");
    big["product"] = made["id"].clone();
    let big = server.made("/api/v1/plans", own, big)["id"].clone();
    let path = format!("/api/v1/plans/{big}");
    assert_eq!(
        server
            .json("POST", &format!("{path}/activate"), own, json!({}))
            .0,
        200
    );
    // the first page of them is enrolled now, the others follow
    let enrolled = || {
        let plan = server.json("GET", &path, &viewer, Value::Null).1;
        let states = plan["counters"].as_object().expect("counters");
        states.values().filter_map(Value::as_u64).sum::<u64>()
    };
    let begun = Instant::now();
    while enrolled() < keys.len() as u64 {
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", enrolled());
        std::thread::sleep(Duration::from_millis(20));
    }
    let cancel = format!("{path}/devices/k00001/cancel");
    assert_eq!(server.json("POST", &cancel, own, json!({})).0, 200);
    let lines = csv(&server, &format!("{path}/export/devices"), &viewer);
    assert_eq!(lines.len(), keys.len() + 1);
    let of = |key: &str| lines.iter().find(|l| l.starts_with(key)).expect("there");
    assert!(
        of("k00000").contains(",1209,1209 VersionNotSet"),
        "{}",
        of("k00000")
    );
    assert!(of("k00001").contains("UpgradeFailed"), "{}", of("k00001"));
    assert!(of("k00001").contains(",1113,"), "{}", of("k00001"));
    assert!(
        of("'=1+1").contains(",1,2,1,,,"),
        "offered: {}",
        of("'=1+1")
    );
    let failed = csv(
        &server,
        &format!("{path}/export/devices?state=UpgradeFailed"),
        &viewer,
    );
    assert_eq!(failed.len(), 2);
    let json = format!("{path}/export/devices?format=json&state=UpgradeFailed");
    let failed = server.json("GET", &json, &viewer, Value::Null).1;
    assert_eq!(failed[0]["reason"], 1113);
    // its log, over pages too
    let plan = PlanId(big.as_i64().expect("an id"));
    let line = |n| {
        Change::Log(LogLine {
            plan: Some(plan),
            endpoint: Endpoint::new("many", "k00002"),
            at: n,
            number: None,
            text: "+CMD|' /C calc'!A0".into(),
        })
    };
    let done = server
        .service
        .store()
        .commit(&Scope::OWNER, (0..1500).map(line).collect());
    server.runtime.block_on(done).expect("stored");
    let lines = csv(&server, &format!("{path}/export/log"), &viewer);
    assert!(lines.len() >= 1502, "{}", lines.len());
    assert!(
        lines
            .iter()
            .any(|l| l.contains(",'=1+1,") && l.contains("offered"))
    );
    let last = lines.last().expect("a line");
    assert!(last.ends_with(",k00002,,'+CMD|' /C calc'!A0"), "{last}");
    let json = format!("{path}/export/log?format=json");
    let log = server.json("GET", &json, &viewer, Value::Null).1;
    assert_eq!(log.as_array().map(Vec::len), Some(lines.len() - 1));
}
