//! Every route that changes something leaves an entry in the audit log, in the transaction of its change.

mod common;

use std::collections::BTreeSet;

use common::{FORM, Server, form, model, now, plan, product, read, webhook};
use serde_json::{Value, json};
use sota_center::domain::{AuditFilter, Endpoint, ProjectId};
use sota_center::store::{Change, Scope};

/// One request and the action that its entry must name.
struct Deed {
    /// `METHOD template`, as in the description.
    route: &'static str,
    path: &'static str,
    body: Value,
    action: &'static str,
}

fn deed(route: &'static str, path: &'static str, action: &'static str, body: Value) -> Deed {
    Deed {
        route,
        path,
        body,
        action,
    }
}

/// An operator's whole life, in an order in which each succeeds. Ids: project 1, product 2, model 3, package 4, plans 5
/// and 6 are there already.
fn deeds() -> Vec<Deed> {
    let no = || json!({});
    vec![
        deed(
            "POST /api/v1/projects",
            "/api/v1/projects",
            "ProjectCreated",
            json!({"name": "two"}),
        ),
        deed(
            "POST /api/v1/products",
            "/api/v1/products",
            "ProductCreated",
            product(1, "p2", "pk2"),
        ),
        deed(
            "POST /api/v1/models",
            "/api/v1/models",
            "ModelCreated",
            model("v2"),
        ),
        deed(
            "DELETE /api/v1/models/{id}",
            "/api/v1/models/LAST",
            "ModelDeleted",
            Value::Null,
        ),
        deed(
            "POST /api/v1/packages",
            "/api/v1/packages",
            "PackageCreated",
            Value::Null,
        ),
        deed(
            "DELETE /api/v1/packages/{id}",
            "/api/v1/packages/LAST",
            "PackageDeleted",
            Value::Null,
        ),
        deed(
            "POST /api/v1/plans",
            "/api/v1/plans",
            "PlanCreated",
            plan("autumn"),
        ),
        deed(
            "PUT /api/v1/plans/{id}",
            "/api/v1/plans/LAST",
            "PlanEdited",
            plan("winter"),
        ),
        deed(
            "DELETE /api/v1/plans/{id}",
            "/api/v1/plans/LAST",
            "PlanDeleted",
            Value::Null,
        ),
        deed(
            "POST /api/v1/plans/{id}/activate",
            "/api/v1/plans/5/activate",
            "PlanActivated",
            no(),
        ),
        deed(
            "POST /api/v1/plans/{id}/next-group",
            "/api/v1/plans/5/next-group",
            "GroupOpened",
            no(),
        ),
        deed(
            "POST /api/v1/plans/{id}/devices/{device_key}/confirm",
            "/api/v1/plans/6/devices/d2/confirm",
            "UpgradeConfirmed",
            no(),
        ),
        deed(
            "POST /api/v1/plans/{id}/devices/{device_key}/cancel",
            "/api/v1/plans/5/devices/d1/cancel",
            "UpgradeCancelled",
            no(),
        ),
        deed(
            "POST /api/v1/plans/{id}/devices/{device_key}/retry",
            "/api/v1/plans/5/devices/d1/retry",
            "UpgradeRetried",
            no(),
        ),
        deed(
            "POST /api/v1/plans/{id}/suspend",
            "/api/v1/plans/5/suspend",
            "PlanSuspended",
            no(),
        ),
        deed(
            "POST /api/v1/plans/{id}/resume",
            "/api/v1/plans/5/resume",
            "PlanResumed",
            no(),
        ),
        deed(
            "POST /api/v1/plans/{id}/terminate",
            "/api/v1/plans/5/terminate",
            "PlanTerminated",
            no(),
        ),
        deed(
            "POST /api/v1/devices/{product_key}/{device_key}/disable",
            "/api/v1/devices/pk/d1/disable",
            "DeviceDisabled",
            no(),
        ),
        deed(
            "POST /api/v1/devices/{product_key}/{device_key}/enable",
            "/api/v1/devices/pk/d1/enable",
            "DeviceEnabled",
            no(),
        ),
        deed(
            "POST /api/v1/projects/{id}/invitations",
            "/api/v1/projects/1/invitations",
            "InvitationCreated",
            json!({"role": "Viewer"}),
        ),
        deed(
            "PUT /api/v1/projects/{id}/members/{name}",
            "/api/v1/projects/1/members/bob",
            "MemberSet",
            json!({"role": "Viewer"}),
        ),
        deed(
            "DELETE /api/v1/projects/{id}/members/{name}",
            "/api/v1/projects/1/members/bob",
            "MemberRemoved",
            Value::Null,
        ),
        deed(
            "POST /api/v1/tokens",
            "/api/v1/tokens",
            "TokenCreated",
            json!({"name": "t", "role": "Viewer", "days": 1}),
        ),
        deed(
            "DELETE /api/v1/tokens/{id}",
            "/api/v1/tokens/LAST",
            "TokenDeleted",
            Value::Null,
        ),
        deed(
            "POST /api/v1/accounts/{name}/password-reset",
            "/api/v1/accounts/bob/password-reset",
            "PasswordResetCreated",
            no(),
        ),
        deed(
            "PUT /api/v1/account",
            "/api/v1/account",
            "AccountRenamed",
            json!({"name": "countess", "password": "correct horse"}),
        ),
        deed(
            "PUT /api/v1/account/password",
            "/api/v1/account/password",
            "PasswordChanged",
            json!({"old": "correct horse", "new": "battery staple"}),
        ),
        deed(
            "PUT /api/v1/devices/{product_key}/{device_key}/tags",
            "/api/v1/devices/pk/d1/tags",
            "TagsSet",
            json!({"tags": ["north"]}),
        ),
        deed(
            "POST /api/v1/products/{id}/tags",
            "/api/v1/products/2/tags",
            "TagsImported",
            Value::Null,
        ),
        deed(
            "POST /api/v1/filters",
            "/api/v1/filters",
            "FilterCreated",
            json!({"project": 1, "name": "n", "expression": "tag:north"}),
        ),
        deed(
            "DELETE /api/v1/filters/{id}",
            "/api/v1/filters/LAST",
            "FilterDeleted",
            Value::Null,
        ),
        deed(
            "POST /api/v1/projects/{id}/webhooks",
            "/api/v1/projects/1/webhooks",
            "WebhookCreated",
            webhook("chat"),
        ),
        deed(
            "PUT /api/v1/webhooks/{id}",
            "/api/v1/webhooks/LAST",
            "WebhookChanged",
            webhook("talk"),
        ),
        deed(
            "POST /api/v1/webhooks/{id}/test",
            "/api/v1/webhooks/LAST/test",
            "WebhookTested",
            no(),
        ),
        deed(
            "POST /api/v1/webhooks/{id}/deliveries/{delivery}/retry",
            "/api/v1/webhooks/LAST/deliveries/TEST/retry",
            "DeliveryRetried",
            no(),
        ),
        deed(
            "DELETE /api/v1/webhooks/{id}",
            "/api/v1/webhooks/LAST",
            "WebhookDeleted",
            Value::Null,
        ),
        deed(
            "DELETE /api/v1/accounts/{name}",
            "/api/v1/accounts/bob",
            "AccountRemoved",
            Value::Null,
        ),
        deed(
            "POST /api/v1/account/remove",
            "BY CAROL",
            "AccountRemoved",
            json!({"password": "hunter hunter"}),
        ),
    ]
}

fn entries(server: &Server) -> Vec<(i64, String, String)> {
    let mut all = Vec::new();
    let projects = std::iter::once(None).chain((1..40).map(Some));
    for project in projects {
        let filter = AuditFilter {
            project: project.map(ProjectId),
            ..AuditFilter::default()
        };
        let store = server.service.store();
        let read = server
            .runtime
            .block_on(store.audit(&Scope::OWNER, &filter, 1000));
        for e in read.expect("read") {
            all.push((e.id, e.action.name().to_owned(), e.actor.to_string()));
        }
    }
    all.sort();
    all
}

#[test]
fn every_route_that_changes_something_leaves_an_entry() {
    let server = Server::start();
    server.furnish();
    let link = server.set_up.clone().expect("a link");
    let secret = link.split_once("invitation=").expect("a secret").1;
    server
        .made_account(secret, "ada", "correct horse")
        .expect("made");
    for (name, password) in [("bob", "battery horse"), ("carol", "hunter hunter")] {
        let role = json!({"role": "Viewer"});
        let made = server.made("/api/v1/projects/1/invitations", &server.token, role);
        let path = made["path"].as_str().expect("a path");
        let secret = path.split_once("invitation=").expect("a secret").1;
        server.made_account(secret, name, password).expect("made");
    }
    // groups to be opened, and a plan whose user decides
    let mut groups = plan("secret-plan");
    groups["rollout"] =
        json!({"groups": [{"name": "a", "size": {"devices": 1}}, {"name": "b", "size": "rest"}]});
    assert_eq!(
        server
            .json("PUT", "/api/v1/plans/5", &server.token, groups)
            .0,
        200
    );
    let mut manual = plan("manual");
    manual["rollout"] = json!({"mode": "Manual"});
    manual["whitelist"] = json!(["d2"]);
    let manual = server.made("/api/v1/plans", &server.token, manual);
    let request = sota_center::service::Register {
        endpoint: Endpoint::new("pk", "d2"),
        lifetime_s: 600,
        ..Default::default()
    };
    let registered = server.service.register(&Scope::OWNER, &request, now());
    server.runtime.block_on(registered).expect("registered");
    let manual = format!("/api/v1/plans/{}", manual["id"]);
    let (status, _) = server.json(
        "POST",
        &format!("{manual}/activate"),
        &server.token,
        json!({}),
    );
    assert_eq!(status, 200);
    let access = server.service_access();
    let log_in = |name: &str, password: &str| {
        let address = "10.0.0.1".parse().expect("address");
        let made = access.log_in(name, password, address, now());
        server.runtime.block_on(made).expect("in").secret
    };
    let (ada, carol) = (
        log_in("ada", "correct horse"),
        log_in("carol", "hunter hunter"),
    );
    let send = |cookie: &str, method: &str, path: &str, kind: &str, body: &[u8]| {
        let mark = format!("form {cookie}");
        let mark = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(mark));
        let headers = [
            ("cookie", format!("sota_session={cookie}")),
            ("x-form-mark", mark),
            ("content-type", kind.to_owned()),
        ];
        read(server.call_with(method, path, &headers, body))
    };
    let (_, description) = server.json("GET", "/openapi.json", "", Value::Null);
    let mut routes = BTreeSet::new();
    for (path, methods) in description["paths"].as_object().expect("paths") {
        for method in methods.as_object().expect("methods").keys() {
            if method != "get" {
                routes.insert(format!("{} {path}", method.to_uppercase()));
            }
        }
    }
    let mut last = Value::Null;
    for deed in deeds() {
        assert!(routes.remove(deed.route), "{} is no route", deed.route);
        let before = entries(&server);
        let path = deed.path.replace("LAST", &last["id"].to_string());
        let path = path.replace("/api/v1/plans/6", &manual);
        let path = match path.split_once("/TEST/") {
            Some((deliveries, rest)) => {
                let (_, all) = server.json("GET", deliveries, &server.token, Value::Null);
                format!("{deliveries}/{}/{rest}", all[0]["id"])
            }
            None => path,
        };
        let (cookie, path) = match path.as_str() {
            "BY CAROL" => (&carol, "/api/v1/account/remove"),
            path => (&ada, path),
        };
        let method = deed.route.split(' ').next().expect("a method");
        let (kind, body) = match deed.route {
            "POST /api/v1/packages" => (FORM, form("another")),
            "POST /api/v1/products/{id}/tags" => ("text/csv", b"d1,north,south".to_vec()),
            _ if deed.body == Value::Null => ("", Vec::new()),
            _ => ("application/json", deed.body.to_string().into_bytes()),
        };
        let (status, answer) = send(cookie, method, path, kind, &body);
        assert!(
            (200..300).contains(&status),
            "{} {path}: {status} {answer}",
            deed.route
        );
        if status == 201 {
            last = answer;
        }
        let after = entries(&server);
        let new: Vec<_> = after.iter().filter(|e| !before.contains(e)).collect();
        let named = new.iter().any(|(_, action, _)| action == deed.action);
        assert!(named, "{}: {new:?}", deed.route);
        let by = |(_, _, actor): &&&(i64, String, String)| actor.starts_with('(');
        assert_eq!(new.iter().find(by), None, "{}: nobody's name", deed.route);
    }
    assert_eq!(
        routes,
        BTreeSet::new(),
        "say here how they are called and what they leave"
    );
}

/// What pages do beside REST.
#[test]
fn logging_in_and_out_is_in_the_account_log_and_a_refused_change_leaves_nothing() {
    let server = Server::start();
    server.furnish();
    let link = server.set_up.clone().expect("a link");
    let secret = link.split_once("invitation=").expect("a secret").1;
    server
        .made_account(secret, "ada", "correct horse")
        .expect("made");
    let access = server.service_access();
    let address = "10.0.0.1".parse().expect("address");
    let run = server.runtime.handle().clone();
    let made = run.block_on(access.log_in("ada", "correct horse", address, now()));
    let made = made.expect("in");
    run.block_on(access.log_out(&made.secret, now()))
        .expect("out");
    let reset = "/api/v1/accounts/ada/password-reset";
    let reset = server.made(reset, &server.token, json!({}));
    let path = reset["path"].as_str().expect("a path");
    let link = path.split_once("link=").expect("a link").1;
    run.block_on(access.reset(link, "battery staple", now()))
        .expect("reset");
    let (_, log) = server.json("GET", "/api/v1/account/audit", &server.token, Value::Null);
    let actions: Vec<_> = log
        .as_array()
        .expect("entries")
        .iter()
        .map(|e| e["action"].as_str().expect("a name"))
        .collect();
    assert_eq!(
        actions,
        [
            "PasswordReset",
            "PasswordResetCreated",
            "LoggedOut",
            "LoggedIn",
            "AccountCreated"
        ]
    );
    assert_eq!(log[1]["actor"]["name"], "(machine)");
    assert!(log[3]["detail"].to_string().contains("10.0.0.1"), "{log}");
    let before = entries(&server);
    let own = &server.token;
    for (method, path, body) in [
        ("POST", "/api/v1/projects", json!({"name": "secret-home"})),
        ("POST", "/api/v1/plans", plan("secret-plan")),
        ("POST", "/api/v1/plans/5/resume", json!({})),
        ("DELETE", "/api/v1/models/3", Value::Null),
        ("DELETE", "/api/v1/projects/1/members/ada", Value::Null),
    ] {
        let (status, answer) = server.json(method, path, own, body);
        assert!(status >= 400, "{path}: {answer}");
    }
    let again = "/api/v1/devices/pk/d1/enable";
    assert_eq!(
        server.json("POST", again, own, json!({})).0,
        200,
        "done already"
    );
    assert_eq!(entries(&server), before);
}

#[test]
fn the_log_is_read_by_page_and_as_a_file() {
    let server = Server::start();
    server.furnish();
    let viewer = server.account(
        "viewer",
        Some((1, sota_center::domain::Role::Viewer)),
        sota_center::domain::Role::Viewer,
    );
    let get = |path: &str| server.json("GET", path, &viewer, Value::Null).1;
    let all = get("/api/v1/projects/1/audit");
    let actions: Vec<_> = all
        .as_array()
        .expect("entries")
        .iter()
        .map(|e| e["action"].as_str().expect("a name"))
        .collect();
    assert_eq!(
        actions,
        [
            "FilterCreated",
            "WebhookCreated",
            "PlanCreated",
            "PackageCreated",
            "ModelCreated",
            "ProductCreated",
            "ProjectCreated"
        ]
    );
    assert_eq!(all[2]["object"], "plan/5");
    let two = get("/api/v1/projects/1/audit?limit=2");
    assert_eq!(two.as_array().map(Vec::len), Some(2));
    let older = get(&format!("/api/v1/projects/1/audit?before={}", two[1]["id"]));
    assert_eq!(older.as_array().map(Vec::len), Some(5));
    let one = get("/api/v1/projects/1/audit?action=ModelCreated&object=model/3&actor=(machine)");
    assert_eq!(one.as_array().map(Vec::len), Some(1));
    let (status, error) = server.json(
        "GET",
        "/api/v1/projects/1/audit?action=Nonsense",
        &viewer,
        Value::Null,
    );
    assert_eq!((status, &error["number"]), (400, &json!(1010)));
    assert_eq!(get("/api/v1/projects/1/audit/export?format=json"), all);
    let mut answer = server.call("GET", "/api/v1/projects/1/audit/export", &viewer, "", b"");
    assert_eq!(answer.headers()["content-type"], "text/csv; charset=utf-8");
    let csv = answer.body_mut().read_to_string().expect("text");
    let lines: Vec<_> = csv.lines().collect();
    assert_eq!(lines[0], "id,at,actor,token,action,object,detail");
    assert_eq!(lines.len(), 8, "{csv}");
    let (_, page) = read(server.call(
        "GET",
        "/projects/1/audit?action=PlanCreated",
        &viewer,
        "",
        b"",
    ));
    let page = page.as_str().expect("HTML");
    assert!(
        page.contains("plan/5") && !page.contains("model/3<"),
        "{page}"
    );
    // many entries: the export goes over its pages
    let many = (0..1203).map(|n| {
        Change::Audit(sota_center::domain::AuditEntry {
            id: 0,
            project: Some(ProjectId(1)),
            account: None,
            at: n,
            actor: sota_center::domain::Actor::center(),
            action: sota_center::domain::Action::PlanEnded,
            object: format!("plan/{n}"),
            detail: "=HYPERLINK(\"http://evil\")".into(),
        })
    });
    let done = server.service.store().commit(&Scope::OWNER, many.collect());
    server.runtime.block_on(done).expect("stored");
    let all = get("/api/v1/projects/1/audit/export?format=json");
    assert_eq!(all.as_array().map(Vec::len), Some(1210));
    let path = "/api/v1/projects/1/audit/export?action=PlanEnded";
    let csv = read(server.call("GET", path, &viewer, "", b"")).1;
    let csv = csv.as_str().expect("text");
    assert_eq!(csv.lines().count(), 1204);
    assert!(csv.contains("\"'=HYPERLINK(\"\"http"), "{}", &csv[..300]);
}
