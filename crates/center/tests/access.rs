//! Who may call what: every route, asked by a stranger, by a member of another project, and by a viewer.

mod common;

use common::{FORM, Server, form, model, now, plan, product, read, webhook};
use serde_json::{Value, json};
use sota_center::domain::Role;

/// The address with the ids of what [`Server::furnish`] made.
fn address(template: &str) -> String {
    let id = match template {
        t if t.starts_with("/api/v1/projects") => "1",
        t if t.starts_with("/api/v1/products") => "2",
        t if t.starts_with("/api/v1/models") => "3",
        t if t.starts_with("/api/v1/packages") => "4",
        t if t.starts_with("/api/v1/plans") => "5",
        t if t.starts_with("/api/v1/webhooks") => "6",
        t if t.starts_with("/api/v1/filters") => "7",
        _ => "999",
    };
    let path = template
        .replace("{id}", id)
        .replace("{product_key}", "pk")
        .replace("{device_key}", "d1")
        .replace("{delivery}", "1")
        .replace("{name}", "viewer");
    match template {
        "/api/v1/devices" | "/api/v1/devices/export" => format!("{path}?product_key=pk"),
        // it would last for five minutes
        "/api/v1/projects/{id}/events" => format!("{path}?seconds=1"),
        _ => path,
    }
}

/// A body with which an operator or owner of project 1 would succeed; a route that is not here fails the walk.
fn body(method: &str, template: &str) -> (&'static str, Vec<u8>) {
    let json = |value: Value| ("application/json", value.to_string().into_bytes());
    match (method, template) {
        ("POST", "/api/v1/projects") => json(json!({"name": "another"})),
        ("POST", "/api/v1/products") => json(product(1, "another", "pk2")),
        ("POST", "/api/v1/models") => json(model("another")),
        ("POST", "/api/v1/packages") => (FORM, form("another")),
        ("POST", "/api/v1/plans") => json(plan("another")),
        ("PUT", "/api/v1/plans/{id}") => json(plan("renamed")),
        ("POST", "/api/v1/tokens") => json(json!({"name": "t", "role": "Viewer", "days": 1})),
        ("POST", "/api/v1/projects/{id}/invitations") => json(json!({"role": "Owner"})),
        ("PUT", "/api/v1/projects/{id}/members/{name}") => json(json!({"role": "Owner"})),
        ("PUT", "/api/v1/account") => json(json!({"name": "renamed", "password": "none"})),
        ("PUT", "/api/v1/account/password") => json(json!({"old": "none", "new": "correct horse"})),
        ("POST", "/api/v1/products/{id}/tags") => ("text/csv", b"d1,north".to_vec()),
        ("PUT", "/api/v1/devices/{product_key}/{device_key}/tags") => {
            json(json!({"tags": ["north"]}))
        }
        ("POST", "/api/v1/filters") => {
            json(json!({"project": 1, "name": "another", "expression": "tag:x"}))
        }
        ("POST", "/api/v1/projects/{id}/webhooks") => json(webhook("another")),
        ("PUT", "/api/v1/webhooks/{id}") => json(webhook("renamed")),
        ("POST", t) if t.starts_with("/api/v1/webhooks/{id}/") => json(json!({})),
        ("POST", "/api/v1/account/remove") => json(json!({"password": "none"})),
        ("POST", "/api/v1/accounts/{name}/password-reset") => json(json!({})),
        ("DELETE", _) => ("", Vec::new()),
        ("POST", t) if t.contains("/devices/") || t.starts_with("/api/v1/plans/{id}/") => {
            json(json!({}))
        }
        other => panic!("{other:?} is new: say here what it is asked with"),
    }
}

/// Method and address of everything in the OpenAPI description.
fn api_routes(server: &Server) -> Vec<(String, String)> {
    let (_, description) = server.json("GET", "/openapi.json", "", Value::Null);
    let mut all = Vec::new();
    for (path, methods) in description["paths"].as_object().expect("paths") {
        for method in methods.as_object().expect("methods").keys() {
            all.push((method.to_uppercase(), path.clone()));
        }
    }
    assert!(all.len() > 35, "{all:?}");
    all
}

/// Everything that can be read of project 1.
fn snapshot(server: &Server) -> String {
    let reads = api_routes(server).into_iter().filter(|(m, _)| m == "GET");
    let mut text = String::new();
    // the list of all projects has those of others too
    let elsewhere = ["/health", "/metrics", "/api/v1/projects"];
    for (_, template) in reads.filter(|(_, t)| !elsewhere.contains(&t.as_str())) {
        let answer = server.json("GET", &address(&template), &server.token, Value::Null);
        text += &format!("{template} {answer:?}\n");
    }
    text
}

/// A program's token shows no form's mark, behind which other forms are bounded.
#[test]
fn a_form_has_a_greatest_size_for_programs_too() {
    let server = Server::start();
    let long = format!("name={}", "x".repeat(5 << 20));
    let kind = "application/x-www-form-urlencoded".to_owned();
    let bearer = format!("Bearer {}", server.token);
    let headers = [("authorization", bearer), ("content-type", kind)];
    let answer = server.try_with("POST", "/projects/new", &headers, long.as_bytes());
    // The Center answers before all of it has come, and closes: who still writes then may not get to read the answer.
    if let Ok(answer) = answer {
        assert_eq!(read(answer).0, 413);
    }
    let names = server
        .json("GET", "/api/v1/projects", &server.token, Value::Null)
        .1;
    assert_eq!(names, json!([]));
}

#[test]
fn every_route_knows_who_calls() {
    let server = Server::start();
    server.furnish();
    let viewer = server.account("viewer", Some((1, Role::Viewer)), Role::Viewer);
    let other = server.account("other", None, Role::Owner);
    let own = server.made("/api/v1/projects", &other, json!({"name": "elsewhere"}));
    assert_ne!(own["id"], 1);
    let before = snapshot(&server);
    for (method, template) in api_routes(&server) {
        let path = address(&template);
        let asked = format!("{method} {template}");
        if method == "GET" {
            let get = |token: &str| server.json("GET", &path, token, Value::Null);
            let (status, answer) = get("");
            if template == "/health" {
                assert_eq!(status, 200);
                continue;
            }
            assert_eq!((status, &answer["number"]), (401, &json!(1015)), "{asked}");
            let (status, answer) = get("sota_invented");
            assert_eq!((status, &answer["number"]), (401, &json!(1015)), "{asked}");
            let (status, answer) = get(&viewer);
            // a saved plan has no devices in it yet
            let none = template.starts_with("/api/v1/plans/{id}/devices/{device_key}");
            let wanted = match template.as_str() {
                "/api/v1/accounts" | "/api/v1/projects/{id}/webhooks" => 403,
                // what only owners see does not exist for others
                t if t.starts_with("/api/v1/webhooks") => 404,
                _ if none => 404,
                _ => 200,
            };
            assert_eq!(status, wanted, "{asked}: {answer}");
            assert!(
                !answer.to_string().contains("hidden-from-viewers"),
                "{asked}"
            );
            let (status, answer) = get(&other);
            assert!(
                matches!(status, 200 | 403 | 404),
                "{asked}: {status} {answer}"
            );
            assert!(
                status != 200 || !template.contains('{'),
                "{asked}: {answer}"
            );
            assert!(!answer.to_string().contains("secret-"), "{asked}: {answer}");
            continue;
        }
        let (kind, bytes) = body(&method, &template);
        let send = |token: &str| read(server.call(&method, &path, token, kind, &bytes));
        let (status, answer) = send("");
        assert_eq!((status, &answer["number"]), (401, &json!(1015)), "{asked}");
        let (status, answer) = send(&viewer);
        let own = matches!(template.as_str(), "/api/v1/tokens/{id}")
            || template.starts_with("/api/v1/webhooks");
        let wanted = if own { 404 } else { 403 };
        assert_eq!(status, wanted, "{asked} as a viewer: {answer}");
        let (status, answer) = send(&other);
        match asked.as_str() {
            "POST /api/v1/projects" => assert_eq!(status, 201, "{asked}: {answer}"),
            _ => assert!(matches!(status, 403 | 404), "{asked}: {status} {answer}"),
        }
    }
    assert_eq!(snapshot(&server), before, "something was changed");
}

#[test]
fn an_operator_works_and_an_owner_says_who_else_may() {
    let server = Server::start();
    server.furnish();
    let operator = server.account("operator", Some((1, Role::Operator)), Role::Owner);
    server.account("new", None, Role::Owner);
    let post = |path: &str, token: &str, body| server.json("POST", path, token, body);
    assert_eq!(post("/api/v1/models", &operator, model("v2")).0, 201);
    let (status, _) = post("/api/v1/plans/5/activate", &operator, json!({}));
    assert_eq!(status, 200);
    let path = "/api/v1/projects/1/members/new";
    let role = json!({"role": "Viewer"});
    let (status, error) = server.json("PUT", path, &operator, role.clone());
    assert_eq!((status, &error["name"]), (403, &json!("Forbidden")));
    let own = &server.token;
    assert_eq!(server.json("PUT", path, own, role).0, 204);
    let members = "/api/v1/projects/1/members";
    let (_, listed) = server.json("GET", members, &operator, Value::Null);
    let names: Vec<_> = listed.as_array().expect("members").iter().collect();
    assert_eq!(names.len(), 3, "{listed}");
    assert_eq!(server.json("DELETE", path, own, Value::Null).0, 204);
    let (status, error) = server.json("DELETE", path, own, Value::Null);
    assert_eq!((status, &error["name"]), (404, &json!("NoSuchAccount")));
}

#[test]
fn a_token_is_held_to_its_role_its_project_and_its_end() {
    let server = Server::start();
    server.furnish();
    let link = server.set_up.clone().expect("a link");
    let secret = link.split_once("invitation=").expect("a secret").1;
    assert!(link.starts_with(&format!("http://{}/", server.address)));
    // the first account owns what the machine's user made
    let sign_up = server.made_account(secret, "ada", "correct horse");
    assert_eq!(sign_up, Ok(1));
    let own = &server.token;
    for (name, role, days, wanted) in [
        ("t1", "Operator", 30, 201),
        ("t1", "Operator", 30, 409),
        ("t2", "Owner", 0, 422),
        ("t2", "Owner", 366, 422),
        ("t2", "Boss", 1, 400),
    ] {
        let new = json!({"name": name, "role": role, "project": 1, "days": days});
        let (status, answer) = server.json("POST", "/api/v1/tokens", own, new);
        assert_eq!(status, wanted, "{name} {role} {days}: {answer}");
    }
    let second = server.made("/api/v1/projects", own, json!({"name": "second"}));
    let new = json!({"name": "narrow", "role": "Owner", "project": 1, "days": 1});
    let narrow = server.made("/api/v1/tokens", own, new);
    let token = narrow["token"].as_str().expect("a token");
    let listed = server.json("GET", "/api/v1/tokens", own, Value::Null).1;
    assert!(!listed.to_string().contains(token), "{listed}");
    let get = |path: &str, token: &str| server.json("GET", path, token, Value::Null);
    assert_eq!(get("/api/v1/projects/1", token).0, 200);
    assert_eq!(
        get(&format!("/api/v1/projects/{}", second["id"]), token).0,
        404
    );
    let third = json!({"name": "third"});
    assert_eq!(server.json("POST", "/api/v1/projects", token, third).0, 403);
    let more = json!({"name": "more", "role": "Viewer", "project": 1, "days": 1});
    let (status, _) = server.json("POST", "/api/v1/tokens", token, more);
    assert_eq!(status, 403, "a token made a token");
    let path = format!("/api/v1/tokens/{}", narrow["id"]);
    assert_eq!(server.json("DELETE", &path, own, Value::Null).0, 204);
    assert_eq!(get("/api/v1/projects/1", token).0, 401);
    // nothing in the data folder but the token file knows a token
    let database = std::fs::read(server.folder.path().join("center.db")).expect("database");
    let wal = std::fs::read(server.folder.path().join("center.db-wal")).unwrap_or_default();
    for secret in [token, own] {
        for bytes in [&database, &wal] {
            let found = bytes.windows(secret.len()).any(|w| w == secret.as_bytes());
            assert!(!found, "a token in the database");
        }
    }
}

#[test]
fn the_token_file_is_for_its_user_alone_and_ends_with_the_run() {
    use std::os::unix::fs::PermissionsExt;
    let server = Server::start();
    for name in ["token", "center.db", "center.db-wal"] {
        let file = server.folder.path().join(name);
        let there = std::fs::metadata(&file).expect("there");
        assert_eq!(there.permissions().mode() & 0o777, 0o600, "{name}");
    }
    let again = Server::start();
    let (status, _) = again.json("GET", "/api/v1/projects", &server.token, Value::Null);
    assert_eq!(status, 401, "a token of another run");
}

#[test]
fn a_set_up_link_works_once_and_a_log_in_is_limited() {
    let server = Server::start();
    let link = server.set_up.clone().expect("a link");
    let secret = link.split_once("invitation=").expect("a secret").1;
    for (name, password, wanted) in [
        ("ada", "short", "PasswordUnfit"),
        ("", "correct horse", "NameEmpty"),
    ] {
        let made = server.made_account(secret, name, password);
        assert_eq!(made, Err(wanted.to_owned()));
    }
    let made = server.made_account(secret, "Ada@Example.org", "correct horse");
    assert_eq!(made, Ok(1));
    let again = server.made_account(secret, "eve", "correct horse");
    assert_eq!(again, Err("InvitationSpent".to_owned()));
    let access = server.service_access();
    let address = "10.0.0.1".parse().expect("address");
    let log_in = |name: &str, password: &str| {
        let made = access.log_in(name, password, address, now());
        let made = server.runtime.block_on(made);
        made.map(|m| m.secret).map_err(|p| p.error.name())
    };
    let session = log_in("ada@example.ORG", "correct horse").expect("logged in");
    let by = |session: &str, at| {
        let found = access.by_session(session, at);
        server.runtime.block_on(found).expect("asked").is_some()
    };
    assert!(by(&session, now()));
    assert!(!by(&session, now() + 12 * 3_600_000), "it ends");
    assert!(!by("invented", now()));
    server
        .runtime
        .block_on(access.log_out(&session, now()))
        .expect("out");
    assert!(!by(&session, now()));
    for _ in 0..10 {
        assert_eq!(
            log_in("ada@example.org", "wrong horse"),
            Err("LogInRefused")
        );
    }
    let right = log_in("ada@example.org", "correct horse");
    assert_eq!(right.err(), Some("LogInTooOften"), "even when it is right");
    assert_eq!(log_in("nobody", "wrong horse"), Err("LogInRefused"));
}

/// A request as a log-in's browser sends it, with the mark of its forms.
fn by_session(
    server: &Server,
    cookie: &str,
    method: &str,
    path: &str,
    body: Value,
) -> (u16, Value) {
    let mark = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(format!(
        "form {cookie}"
    )));
    let headers = [
        ("cookie", format!("sota_session={cookie}")),
        ("x-form-mark", mark),
        ("content-type", "application/json".to_owned()),
    ];
    let bytes = match &body {
        Value::Null => Vec::new(),
        body => body.to_string().into_bytes(),
    };
    read(server.call_with(method, path, &headers, &bytes))
}

#[test]
fn accounts_are_renamed_reset_and_removed_by_those_who_may() {
    let server = Server::start();
    server.furnish();
    let access = server.service_access();
    let link = server.set_up.clone().expect("a link");
    let secret = link.split_once("invitation=").expect("a secret").1;
    server
        .made_account(secret, "ada", "correct horse")
        .expect("made");
    let invited = |project: i64| {
        let path = format!("/api/v1/projects/{project}/invitations");
        let made = server.made(&path, &server.token, json!({"role": "Operator"}));
        let path = made["path"].as_str().expect("a path").to_owned();
        path.split_once("invitation=")
            .expect("a secret")
            .1
            .to_owned()
    };
    server
        .made_account(&invited(1), "bob", "battery staple")
        .expect("made");
    let address = "10.0.0.1".parse().expect("address");
    let log_in = |name: &str, password: &str| {
        let made = server
            .runtime
            .block_on(access.log_in(name, password, address, now()));
        made.map(|m| m.secret).map_err(|p| p.error.name())
    };
    let ada = log_in("ada", "correct horse").expect("in");
    let (first, second) = (
        log_in("bob", "battery staple").expect("in"),
        log_in("bob", "battery staple").expect("in"),
    );
    let alive =
        |cookie: &str| by_session(&server, cookie, "GET", "/api/v1/account", Value::Null).0 == 200;
    // a new password: the old one is asked, other log-ins end, this one does not
    let change = |old: &str, new: &str| {
        let body = json!({"old": old, "new": new});
        by_session(&server, &first, "PUT", "/api/v1/account/password", body)
    };
    let (status, error) = change("wrong horse", "battery staple 2");
    assert_eq!((status, &error["name"]), (403, &json!("PasswordWrong")));
    assert_eq!(error["field"], "old");
    let (status, error) = change("battery staple", "short");
    assert_eq!((status, &error["field"]), (422, &json!("new")));
    assert!(alive(&second));
    assert_eq!(change("battery staple", "battery staple 2").0, 204);
    assert!(alive(&first) && !alive(&second));
    assert_eq!(log_in("bob", "battery staple").err(), Some("LogInRefused"));
    // a name
    let rename = |name: &str, password: &str| {
        let body = json!({"name": name, "password": password});
        by_session(&server, &first, "PUT", "/api/v1/account", body)
    };
    assert_eq!(rename("Ada", "battery staple 2").0, 409, "taken");
    assert_eq!(rename("a b", "battery staple 2").0, 422);
    assert_eq!(rename("robert", "wrong horse").0, 403);
    assert_eq!(rename("Robert", "battery staple 2").1["name"], "robert");
    log_in("robert", "battery staple 2").expect("by the new name");
    // a link: by the owner of all projects of the account only
    let reset = |cookie: &str, name: &str| {
        let path = format!("/api/v1/accounts/{name}/password-reset");
        by_session(&server, cookie, "POST", &path, json!({}))
    };
    let (status, error) = reset(&first, "ada");
    assert_eq!((status, &error["name"]), (403, &json!("ResetNotHeld")));
    assert_eq!(reset(&ada, "ada").0, 403, "its own is the machine's");
    let (status, made) = reset(&ada, "robert");
    assert_eq!(status, 201, "{made}");
    let of = |made: &Value| {
        let path = made["path"].as_str().expect("a path");
        path.split_once("link=").expect("a link").1.to_owned()
    };
    let old = of(&made);
    let newer = of(&reset(&ada, "robert").1);
    let take = |link: &str, password: &str| {
        let done = server.runtime.block_on(access.reset(link, password, now()));
        done.map(|m| m.secret).map_err(|p| p.error.name())
    };
    assert_eq!(take(&old, "staple battery"), Err("InvitationSpent"));
    assert_eq!(take(&newer, "robert"), Err("PasswordUnfit"));
    let third = take(&newer, "staple battery").expect("reset");
    assert!(alive(&third) && !alive(&first));
    assert_eq!(take(&newer, "staple battery"), Err("InvitationSpent"));
    let own = server.json(
        "POST",
        "/api/v1/accounts/ada/password-reset",
        &server.token,
        json!({}),
    );
    assert_eq!(own.0, 201, "the machine's user may");
    // a member's link is void once the account is in a project that is not the member's
    server
        .made_account(&invited(1), "carol", "hunter hunter")
        .expect("made");
    let owner = json!({"role": "Owner"});
    server.json(
        "PUT",
        "/api/v1/projects/1/members/carol",
        &server.token,
        owner,
    );
    let carol = log_in("carol", "hunter hunter").expect("in");
    let mine = of(&reset(&carol, "robert").1);
    let elsewhere = server.made("/api/v1/projects", &server.token, json!({"name": "else"}));
    let path = format!("/api/v1/projects/{}/members/robert", elsewhere["id"]);
    server.json("PUT", &path, &server.token, json!({"role": "Viewer"}));
    assert_eq!(take(&mine, "taken over"), Err("InvitationSpent"));
    assert_eq!(reset(&carol, "robert").0, 403);
    // removal
    let remove = |cookie: &str, password: &str| {
        let body = json!({"password": password});
        by_session(&server, cookie, "POST", "/api/v1/account/remove", body)
    };
    let made = by_session(
        &server,
        &third,
        "POST",
        "/api/v1/projects",
        json!({"name": "own"}),
    );
    assert_eq!(made.0, 201);
    assert_eq!(remove(&third, "wrong horse").0, 403);
    let (status, error) = remove(&third, "staple battery");
    assert_eq!((status, &error["name"]), (409, &json!("LastOwner")));
    assert!(error["message"].to_string().contains("own"), "{error}");
    let path = format!("/api/v1/projects/{}/members/carol", made.1["id"]);
    by_session(&server, &third, "PUT", &path, json!({"role": "Owner"}));
    let token = json!({"name": "t", "role": "Viewer", "days": 1});
    let token = by_session(&server, &third, "POST", "/api/v1/tokens", token).1;
    let token = token["token"].as_str().expect("a token");
    let (status, error) = server.json(
        "POST",
        "/api/v1/account/remove",
        token,
        json!({"password": "staple battery"}),
    );
    assert_eq!(
        (status, &error["name"]),
        (403, &json!("Forbidden")),
        "a token"
    );
    assert_eq!(remove(&third, "staple battery").0, 204);
    assert!(!alive(&third));
    assert_eq!(
        server.json("GET", "/api/v1/account", token, Value::Null).0,
        401
    );
    assert_eq!(
        log_in("robert", "staple battery").err(),
        Some("LogInRefused")
    );
    let (status, error) = by_session(
        &server,
        &ada,
        "POST",
        "/api/v1/account/remove",
        json!({"password": "correct horse"}),
    );
    assert_eq!((status, &error["name"]), (409, &json!("FirstAccountStays")));
    // by who set the Center up, and nobody else
    let list = |cookie: &str| by_session(&server, cookie, "GET", "/api/v1/accounts", Value::Null);
    assert_eq!(list(&carol).0, 403);
    assert_eq!(list(&ada).1.as_array().expect("accounts").len(), 2);
    let path = "/api/v1/accounts/carol";
    assert_eq!(
        by_session(
            &server,
            &carol,
            "DELETE",
            "/api/v1/accounts/ada",
            Value::Null
        )
        .0,
        403
    );
    let (status, error) = by_session(&server, &ada, "DELETE", path, Value::Null);
    assert_eq!(
        (status, &error["name"]),
        (409, &json!("LastOwner")),
        "of robert's project"
    );
    let sole = json!({"role": "Owner"});
    let project = format!("/api/v1/projects/{}/members/ada", made.1["id"]);
    assert_eq!(server.json("PUT", &project, &server.token, sole).0, 204);
    assert_eq!(
        by_session(&server, &ada, "DELETE", path, Value::Null).0,
        204
    );
    assert!(!alive(&carol));
    // guessing at the old password is limited like a log-in
    for _ in 0..10 {
        let body = json!({"old": "wrong horse", "new": "battery staple"});
        let guess = by_session(&server, &ada, "PUT", "/api/v1/account/password", body);
        assert_eq!(guess.0, 403);
    }
    let body = json!({"old": "correct horse", "new": "battery staple"});
    let guess = by_session(&server, &ada, "PUT", "/api/v1/account/password", body);
    assert_eq!(guess.0, 429);
}

#[test]
fn sign_up_is_closed_unless_it_was_opened() {
    let sign_up = |open: bool, first: bool| {
        let server = Server::start();
        let access = server.service_access().with_open_sign_up(open);
        if first {
            let link = server.set_up.clone().expect("a link");
            let secret = link.split_once("invitation=").expect("a secret").1;
            server
                .made_account(secret, "ada", "correct horse")
                .expect("made");
        }
        let made = access.sign_up(None, "bob", "correct horse", now());
        server
            .runtime
            .block_on(made)
            .map_err(|p| p.error.name())
            .map(|m| m.account)
    };
    assert_eq!(sign_up(false, true), Err("InvitationSpent"));
    assert_eq!(
        sign_up(true, false),
        Err("InvitationSpent"),
        "the first account is the set-up's"
    );
    assert!(sign_up(true, true).is_ok_and(|account| account != 1));
}
