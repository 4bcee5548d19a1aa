//! The limit of downloads per radio cell.

mod common;

use std::time::{Duration, Instant};

use common::{Server, now, plan};
use serde_json::{Value, json};
use sota_center::domain::{ComponentKind, DeviceFacts, Endpoint, ReportedComponent};
use sota_center::service::Register;
use sota_center::store::Scope;
use sota_lwm2m::objects::plan::State;

fn connect(server: &Server, key: &str, cell_id: Option<u64>, rsrp_dbm: i16) {
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
        rsrp_dbm: Some(rsrp_dbm),
        cell_id,
        ..DeviceFacts::default()
    };
    let done = async {
        let service = &server.service;
        service.register(&Scope::OWNER, &request, now()).await?;
        service.facts(&Scope::OWNER, &endpoint, &facts, now()).await
    };
    server.runtime.block_on(done).expect("connected");
}

fn rule(server: &Server, key: &str) -> Value {
    let path = format!("/api/v1/devices/pk/{key}/why?plan=5");
    server.json("GET", &path, &server.token, Value::Null).1[0].clone()
}

fn report(server: &Server, key: &str, state: State) {
    let endpoint = Endpoint::new("pk", key);
    let service = &server.service;
    let told = service.report(&Scope::OWNER, &endpoint, "5-1", None, state, None, now());
    server.runtime.block_on(told).expect("reported");
}

#[test]
fn devices_of_one_cell_wait_for_each_other_and_those_in_weak_coverage_longer() {
    let server = Server::start();
    server.furnish();
    let own = &server.token;
    for (key, cell, rsrp) in [
        ("a1", Some(7), -90),
        ("a2", Some(7), -90),
        ("a3", Some(7), -90),
        ("a4-weak", Some(7), -112),
        ("b1", Some(8), -90),
        ("c1", None, -90),
        ("c2", None, -90),
        ("c3", None, -90),
    ] {
        connect(&server, key, cell, rsrp);
    }
    let mut limited = plan("secret-plan");
    limited["rollout"] = json!({"per_cell": {"downloads": 0}});
    let (status, error) = server.json("PUT", "/api/v1/plans/5", own, limited.clone());
    assert_eq!(
        (status, &error["field"]),
        (422, &json!("rollout.per_cell.downloads"))
    );
    limited["rollout"] =
        json!({"per_cell": {"downloads": 2, "weak_below_dbm": -110, "weak_downloads": 1}});
    assert_eq!(server.json("PUT", "/api/v1/plans/5", own, limited).0, 200);
    assert_eq!(
        server
            .json("POST", "/api/v1/plans/5/activate", own, json!({}))
            .0,
        200
    );
    for key in ["a1", "a2", "b1", "c1", "c2", "c3"] {
        assert_eq!(rule(&server, key)["rule"], "UpgradeRunning", "{key}");
    }
    for key in ["a3", "a4-weak"] {
        let why = rule(&server, key);
        assert_eq!(
            (&why["rule"], &why["number"]),
            (&json!("CellFull"), &json!(1226)),
            "{key}"
        );
        assert!(why["message"].to_string().contains("cell 7: 2 of"), "{why}");
    }
    let until = |key: &str, wanted: &str| {
        let limit = Instant::now() + Duration::from_secs(30);
        while rule(&server, key)["rule"] != wanted {
            assert!(Instant::now() < limit, "{key}: {}", rule(&server, key));
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    // what is written loads no more: one place, which is not for the one in weak coverage
    for state in [State::PlanReceived, State::Confirmed, State::Updating] {
        report(&server, "a1", state);
    }
    until("a3", "UpgradeRunning");
    assert_eq!(rule(&server, "a4-weak")["rule"], "CellFull");
    for key in ["a2", "a3"] {
        for state in [State::PlanReceived, State::Confirmed, State::Updating] {
            report(&server, key, state);
        }
    }
    until("a4-weak", "UpgradeRunning");
    let file = server.call("GET", "/api/v1/devices/export?product_key=pk", own, "", b"");
    let text = common::read(file).1.to_string();
    assert!(text.contains("rsrp_dbm,cell_id,battery_percent") && text.contains(",-90,7,"));
}
