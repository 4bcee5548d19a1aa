//! Tags, saved filters, and plans whose devices a filter chooses: fixed at activation, or live.

mod common;

use common::{Server, now, plan, read};
use serde_json::{Value, json};
use sota_center::domain::{ComponentKind, DeviceFacts, Endpoint, ReportedComponent};
use sota_center::service::Register;
use sota_center::store::Scope;

/// A connected device of product pk whose motor runs version 1.
fn connect(server: &Server, key: &str) {
    let endpoint = Endpoint::new("pk", key);
    let request = Register {
        endpoint: endpoint.clone(),
        lifetime_s: 600,
        ..Register::default()
    };
    let facts = DeviceFacts {
        components: vec![ReportedComponent {
            identifier: "STM32".into(),
            kind: ComponentKind::Mcu,
            version: "1".into(),
        }],
        ..DeviceFacts::default()
    };
    let done = async {
        let service = &server.service;
        service.register(&Scope::OWNER, &request, now()).await?;
        service.facts(&Scope::OWNER, &endpoint, &facts, now()).await
    };
    server.runtime.block_on(done).expect("connected");
}

fn keys(devices: &Value) -> Vec<&str> {
    let devices = devices.as_array().expect("devices").iter();
    devices
        .map(|d| d["device_key"].as_str().expect("a key"))
        .collect()
}

fn tag(server: &Server, key: &str, tags: &[&str]) -> (u16, Value) {
    let path = format!("/api/v1/devices/pk/{key}/tags");
    server.json("PUT", &path, &server.token, json!({"tags": tags}))
}

#[test]
fn tags_are_set_by_device_and_by_list_and_found() {
    let server = Server::start();
    server.furnish();
    let own = &server.token;
    for key in ["d2", "d3", "e1"] {
        connect(&server, key);
    }
    assert_eq!(tag(&server, "d2", &["north", "v2"]).0, 200);
    let (status, error) = tag(&server, "d2", &["a b"]);
    assert_eq!((status, &error["name"]), (422, &json!("TagUnfit")));
    assert_eq!(tag(&server, "none", &["x"]).0, 404);
    let import = |csv: &str| {
        let path = "/api/v1/products/2/tags";
        read(server.call("POST", path, own, "text/csv", csv.as_bytes()))
    };
    let (status, done) =
        import("device_key,tags\nd2,north v2\nd3,north;lab\n\ne1,south,lab\nunknown,x\n");
    assert_eq!(status, 200, "{done}");
    assert_eq!(
        done,
        json!({"changed": 2, "unchanged": 1, "unknown": 1, "unknown_devices": ["unknown"]})
    );
    let (status, error) = import("d2,other\nd3,\"b@d\"\n");
    assert_eq!((status, &error["name"]), (422, &json!("TagUnfit")));
    assert!(error["message"].to_string().contains("line 2"), "{error}");
    let (status, error) = import("device_key,tags\n\n");
    assert_eq!((status, &error["name"]), (422, &json!("TagsMissing")));
    let found = |filter: &str| {
        let path = format!("/api/v1/devices?product_key=pk&filter={filter}");
        server.json("GET", &path, own, Value::Null).1
    };
    assert_eq!(
        keys(&found("tag:north")),
        ["d2", "d3"],
        "the refused list changed nothing"
    );
    assert_eq!(keys(&found("tag:north%20-tag:lab")), ["d2"]);
    assert_eq!(keys(&found("version:STM32=1%20D")), ["d2", "d3"]);
    assert_eq!(keys(&found("state:connected%20tag:lab")), ["d3", "e1"]);
    assert_eq!(found("tag:")["number"], 1141);
    let page = "/api/v1/devices?product_key=pk&filter=tag:lab&limit=1";
    let answer = server.call("GET", page, own, "", b"");
    assert_eq!(answer.headers()["sota-next"], "d3");
    // a page: the filter, what it finds, and the error beside the field
    let get = |path: &str| read(server.call("GET", path, own, "", b""));
    let (_, page) = get("/projects/1/devices?product=pk&filter=tag%3Alab");
    let page = page.as_str().expect("HTML");
    assert!(
        page.contains("e1</code>") && !page.contains("d2</code>"),
        "{page}"
    );
    assert!(page.contains("Save this filter"), "{page}");
    let (status, page) = get("/projects/1/devices?product=pk&filter=state%3Ax");
    assert_eq!(status, 422);
    assert!(page.as_str().expect("HTML").contains("id=\"note-filter\""));
}

#[test]
fn a_filter_is_a_plans_whitelist_fixed_at_activation_or_live() {
    let server = Server::start();
    server.furnish();
    let own = &server.token;
    for key in ["d2", "d3", "d4"] {
        connect(&server, key);
    }
    tag(&server, "d2", &["north"]);
    let with = |name: &str, audience: Value| {
        let mut plan = plan(name);
        plan["audience"] = audience;
        plan
    };
    let post = |body: Value| server.json("POST", "/api/v1/plans", own, body);
    let (status, error) = post(with("none", json!({"filter": 99})));
    assert_eq!((status, &error["name"]), (404, &json!("NoSuchFilter")));
    assert_eq!(error["field"], "audience");
    let mut both = with("both", json!({"filter": 7}));
    both["whitelist"] = json!(["d2"]);
    let (status, error) = post(both);
    assert_eq!(
        (status, &error["name"]),
        (422, &json!("FilterAndWhitelist"))
    );
    let nothing = json!({"project": 1, "name": "nothing", "expression": "tag:nowhere"});
    let nothing = server.made("/api/v1/filters", own, nothing);
    let empty = post(with("empty", json!({"filter": nothing["id"]}))).1;
    let act = |plan: &Value, action: &str| {
        let path = format!("/api/v1/plans/{}/{action}", plan["id"]);
        server.json("POST", &path, own, json!({}))
    };
    // an empty whitelist would be everyone
    let (status, error) = act(&empty, "activate");
    assert_eq!(
        (status, &error["name"]),
        (409, &json!("FilterMatchesNothing"))
    );
    let fixed = post(with("fixed", json!({"filter": 7}))).1;
    let (status, active) = act(&fixed, "activate");
    assert_eq!((status, &active["whitelist"]), (200, &json!(["d2"])));
    tag(&server, "d3", &["north"]);
    let devices = |plan: &Value| {
        let path = format!("/api/v1/plans/{}/devices", plan["id"]);
        server.json("GET", &path, own, Value::Null).1
    };
    assert_eq!(keys(&devices(&fixed)), ["d2"], "fixed");
    assert_eq!(act(&fixed, "terminate").0, 200);
    let live = post(with("live", json!({"filter": 7, "live": true}))).1;
    assert_eq!(act(&live, "activate").1["whitelist"], json!([]));
    assert_eq!(keys(&devices(&live)), ["d2", "d3"]);
    let why = |key: &str| {
        let path = format!("/api/v1/devices/pk/{key}/why?plan={}", live["id"]);
        server.json("GET", &path, own, Value::Null).1[0]["rule"].clone()
    };
    assert_eq!(why("d4"), "NotInFilter");
    // the tag is its ticket: it is offered the plan at once
    tag(&server, "d4", &["north"]);
    assert_eq!(keys(&devices(&live)), ["d2", "d3", "d4"]);
    assert_eq!(why("d4"), "UpgradeRunning");
    // the plan holds to what the filter said
    assert_eq!(
        server
            .json("DELETE", "/api/v1/filters/7", own, Value::Null)
            .0,
        204
    );
    connect(&server, "d5");
    assert_eq!(why("d5"), "NotInFilter");
    tag(&server, "d5", &["north"]);
    assert_eq!(why("d5"), "UpgradeRunning");
    let (_, page) = read(server.call(
        "GET",
        &format!("/projects/1/plans/{}", live["id"]),
        own,
        "",
        b"",
    ));
    assert!(
        page.as_str()
            .expect("HTML")
            .contains("live: devices that come to match join")
    );
}
