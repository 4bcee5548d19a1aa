//! The pages: each asked by a stranger, by a member of another project and by a viewer; forms and their mark; the
//! wizard; live parts.

mod common;

use std::io::Read;

use common::{Answer, Server, form};
use sota_center::domain::Role;

/// A page's address with the ids of what [`Server::furnish`] made.
fn address(template: &str) -> String {
    template
        .replace("{project}", "1")
        .replace("devices/{product}/{device}", "devices/pk/d1")
        .replace("{device}", "d1")
        .replace("{model}", "3")
        .replace("{package}", "4")
        .replace("{plan}", "5")
        .replace("products/{product}", "products/2")
        .replace("{webhook}", "6")
        .replace("{filter}", "7")
        .replace("{delivery}", "1")
        .replace("{action}", "suspend")
}

const URLENCODED: &str = "application/x-www-form-urlencoded";

/// With which an operator or owner of project 1 would change something.
fn body(template: &str) -> (&'static str, Vec<u8>) {
    let fields = match template {
        t if t.ends_with("/packages/new") => {
            return ("multipart/form-data; boundary=XX", form("another"));
        }
        t if t.ends_with("/products/new") => "name=another&product_key=pk2&product_secret=s",
        t if t.ends_with("/models/new") => {
            "name=another&device_model=M&identifier_0=module&component_0=module&kind_0=Firmware"
        }
        t if t.contains("/plans/new") || t.ends_with("/edit") => {
            "step=4&go=save&name=another&product=2&model=3&time_zone=UTC&start=&end=&retry_times=5\
             &min_rsrp_dbm=-113&min_battery_percent=30&package_STM32=4"
        }
        t if t.ends_with("/members") => "name=other&role=Owner",
        t if t.ends_with("/webhooks") || t.ends_with("/{webhook}") => {
            "name=another&url=http%3A%2F%2F127.0.0.1%3A9&events=PlanState"
        }
        t if t.contains("/products/{product}/tags") => "csv=d1%2Cnorth",
        t if t.ends_with("/{device}/tags") => "tags=north",
        t if t.ends_with("/filters") => "name=another&filter=tag%3Ax",
        t if t.ends_with("/members/remove") => "name=viewer",
        t if t.ends_with("/password-reset") => "name=other",
        "/accounts/remove" => "name=other",
        "/account/name" => "name=another&name_password=none",
        "/account/password" => "old=none&new=correct+horse&again=correct+horse",
        "/account/remove" => "remove_password=none",
        t if t.ends_with("/invitations") => "role=Owner",
        "/projects/new" => "name=another",
        "/account/tokens" => "name=t&role=Owner&project=&days=1",
        "/account/tokens/delete" => "id=999",
        _ => "x=y",
    };
    (URLENCODED, fields.as_bytes().to_vec())
}

fn text(mut answer: Answer) -> (u16, String) {
    let status = answer.status().as_u16();
    let text = answer.body_mut().read_to_string().expect("body");
    (status, text)
}

/// The first event of a live part: the connection stays open, so no more than that is read.
fn first_event(answer: Answer) -> (u16, String) {
    let status = answer.status().as_u16();
    let mut reader = answer.into_body().into_reader();
    let mut text = Vec::new();
    let mut chunk = [0; 4096];
    while !text.windows(2).any(|w| w == b"\n\n") {
        match reader.read(&mut chunk).expect("an event") {
            0 => break,
            n => text.extend_from_slice(&chunk[..n]),
        }
    }
    (status, String::from_utf8(text).expect("UTF-8"))
}

#[test]
fn every_page_knows_who_looks() {
    let server = Server::start();
    server.furnish();
    let viewer = server.account("viewer", Some((1, Role::Viewer)), Role::Viewer);
    let other = server.account("other", None, Role::Owner);
    let pages = sota_center::ui::pages();
    assert!(pages.len() > 40, "{}", pages.len());
    let mut seen = 0;
    for (method, template) in pages {
        let path = address(template);
        let asked = format!("{method} {template}");
        let public = matches!(template, "/log-in" | "/sign-up" | "/reset" | "/log-out");
        // the device has not joined the saved plan
        let absent = template.contains("/plans/{plan}/devices/");
        if method == "GET" {
            let get = |token: &str| server.call("GET", &path, token, "", b"");
            if public {
                let (status, _) = text(get(""));
                assert!(matches!(status, 200 | 410), "{asked}: {status}");
                continue;
            }
            let answer = get("");
            assert_eq!(answer.status().as_u16(), 303, "{asked}");
            let to = answer.headers()["location"].to_str().expect("text");
            assert!(to.starts_with("/log-in"), "{asked}: {to}");
            let live = template.ends_with("/live");
            let read = if live { first_event } else { text };
            let (status, page) = read(get(&viewer));
            let wanted = match template {
                "/" => 303,
                "/accounts" => 403,
                t if t.contains("/webhooks") => 403,
                _ if absent => 404,
                _ => 200,
            };
            assert_eq!(status, wanted, "{asked}: {page}");
            assert!(!page.contains("hidden-from-viewers"), "{asked}");
            seen += usize::from(page.contains("secret-"));
            let (status, page) = text(get(&other));
            let inside = template.contains("{project}");
            let wanted = match template {
                "/" => 303,
                "/accounts" => 403,
                _ if inside => 404,
                _ => 200,
            };
            assert_eq!(status, wanted, "{asked}: {page}");
            assert!(!page.contains("secret-"), "{asked}: {page}");
            continue;
        }
        let (kind, bytes) = body(template);
        let send = |token: &str| text(server.call("POST", &path, token, kind, &bytes));
        let (status, page) = send("");
        assert_eq!(status, 403, "{asked}: {page}");
        assert!(page.contains("1018"), "{asked}: no mark: {page}");
        if public {
            continue;
        }
        let (status, page) = send(&viewer);
        match template {
            // of the viewer's own account
            "/account/tokens/delete" => assert_eq!(status, 404, "{asked}: {page}"),
            _ => assert_eq!(status, 403, "{asked}: {page}"),
        }
        if template.contains("{project}") {
            let (status, page) = send(&other);
            assert_eq!(status, 404, "{asked}: {page}");
        }
    }
    assert!(
        seen >= 8,
        "the viewer saw what there is on {seen} pages only"
    );
}

/// A browser: its cookies, and the mark of the last page.
struct Browser<'a> {
    server: &'a Server,
    cookies: std::collections::BTreeMap<String, String>,
    mark: String,
}

impl<'a> Browser<'a> {
    fn new(server: &'a Server) -> Browser<'a> {
        Browser {
            server,
            cookies: Default::default(),
            mark: String::new(),
        }
    }

    fn send(&mut self, method: &str, path: &str, body: &str) -> (u16, String, String) {
        let cookies: Vec<_> = self
            .cookies
            .iter()
            .map(|(n, v)| format!("{n}={v}"))
            .collect();
        let headers = [
            ("cookie", cookies.join("; ")),
            ("content-type", URLENCODED.to_owned()),
        ];
        let answer = self
            .server
            .call_with(method, path, &headers, body.as_bytes());
        for cookie in answer.headers().get_all("set-cookie") {
            let cookie = cookie.to_str().expect("text");
            assert!(
                cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"),
                "{cookie}"
            );
            let (name, rest) = cookie.split_once('=').expect("a cookie");
            let value = rest.split(';').next().unwrap_or_default();
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        let policy = answer.headers().get("content-security-policy");
        assert!(policy.is_some_and(|p| !p.to_str().expect("text").contains("unsafe")));
        let to = answer.headers().get("location");
        let to = to.map(|l| l.to_str().expect("text").to_owned());
        let (status, page) = text(answer);
        if let Some((_, rest)) = page.split_once("name=\"mark\" value=\"") {
            self.mark = rest.split('"').next().unwrap_or_default().to_owned();
        }
        assert!(
            !page.contains("style=\"") && !page.contains("onclick"),
            "inline"
        );
        (status, page, to.unwrap_or_default())
    }

    fn get(&mut self, path: &str) -> (u16, String) {
        let (status, page, _) = self.send("GET", path, "");
        (status, page)
    }

    fn post(&mut self, path: &str, fields: &str) -> (u16, String, String) {
        let body = format!("mark={}&{fields}", self.mark);
        self.send("POST", path, &body)
    }
}

#[test]
fn a_person_sets_up_makes_a_plan_and_activates_it() {
    let server = Server::start();
    let link = server.set_up.clone().expect("a link");
    let path = link
        .split_once(&server.address.to_string())
        .expect("here")
        .1;
    let mut browser = Browser::new(&server);
    let (status, page) = browser.get("/log-in");
    assert_eq!(status, 200);
    assert!(page.contains("Nobody has set up this Center yet"), "{page}");
    let (status, page) = browser.get(path);
    assert_eq!(status, 200);
    assert!(page.contains("Set up this Center"), "{page}");
    let secret = path.split_once('=').expect("a secret").1;
    let fields = |name: &str, password: &str, again: &str| {
        format!("invitation={secret}&name={name}&password={password}&again={again}")
    };
    let (status, page, _) = browser.post("/sign-up", &fields("ada", "correct+horse", "other"));
    assert_eq!(status, 422);
    assert!(
        page.contains("note-again"),
        "the error is by its field: {page}"
    );
    let (status, _, to) =
        browser.post("/sign-up", &fields("ada", "correct+horse", "correct+horse"));
    assert_eq!((status, to.as_str()), (303, "/"));
    let (_, _, to) = browser.send("GET", "/", "");
    assert_eq!(to, "/projects/new");
    let (_, page) = browser.get("/projects/new");
    assert!(page.contains("Make your first project"), "{page}");
    let (status, page, _) = browser.post("/projects/new", "name=");
    assert_eq!(status, 422);
    assert!(
        page.contains("id=\"note-name\"") && page.contains("1020"),
        "{page}"
    );
    let (_, _, to) = browser.post("/projects/new", "name=%3Cb%3Ehome");
    assert_eq!(to, "/projects/1");
    let (_, page) = browser.get("/projects/1");
    assert!(
        page.contains("&#60;b&#62;home") && !page.contains("<b>home"),
        "escaped"
    );
    browser.post(
        "/projects/1/products/new",
        "name=lamp&product_key=pk&product_secret=ps",
    );
    browser.post(
        "/projects/1/models/new",
        "name=v1&device_model=M&identifier_0=module&kind_0=Firmware&identifier_2=STM32&kind_2=MCU",
    );
    let (_, page) = browser.get("/projects/1/models");
    assert!(page.contains("STM32"), "{page}");
    let (status, page, _) = browser.post(
        "/projects/1/models/new",
        "name=v2&device_model=M&identifier_0=module&kind_0=Firmware&identifier_3=a%3Ab&kind_3=MCU",
    );
    assert_eq!(status, 422);
    assert!(page.contains("id=\"note-identifier_3\""), "{page}");
    let upload = format!("/projects/1/packages/new?mark={}", browser.mark);
    let cookie = format!("sota_session={}", browser.cookies["sota_session"]);
    let headers = [
        ("cookie", cookie),
        (
            "content-type",
            "multipart/form-data; boundary=XX".to_owned(),
        ),
    ];
    let uploaded = server.call_with("POST", &upload, &headers, &form("to 2"));
    assert_eq!(uploaded.status().as_u16(), 303);
    let forged = server.call_with("POST", "/projects/1/packages/new", &headers, &form("to 3"));
    assert_eq!(forged.status().as_u16(), 403, "no mark");
    // REST by cookie needs the mark as well, a header there
    let mut rest = vec![
        ("cookie", headers[0].1.clone()),
        ("content-type", "application/json".to_owned()),
    ];
    let body = br#"{"name":"by cookie"}"#;
    let (status, text_of) = text(server.call_with("POST", "/api/v1/projects", &rest, body));
    assert_eq!(status, 403);
    assert!(text_of.contains("FormForged"), "{text_of}");
    rest.push(("x-form-mark", browser.mark.clone()));
    let made = server.call_with("POST", "/api/v1/projects", &rest, body);
    assert_eq!(made.status().as_u16(), 201);
    // the wizard: an error of a step stops there, one of a later step does not
    let wizard = "/projects/1/plans/new";
    let first = "name=spring&product=2&model=3&whitelist=d1%0Ad2%2Cd3&blacklist=d3";
    let rest = "time_zone=UTC&retry_times=5&min_rsrp_dbm=-113&min_battery_percent=30";
    let nameless = format!("step=1&go=next&name=&product=2&model=3&{rest}");
    let (_, page, _) = browser.post(wizard, &nameless);
    assert!(page.contains("id=\"note-name\""), "{page}");
    let (status, page, _) = browser.post(
        wizard,
        &format!("step=1&go=next&{first}&time_zone=UTC&retry_times=5&min_rsrp_dbm=-113&min_battery_percent=30"),
    );
    assert_eq!(status, 200);
    assert!(
        page.contains("Least RSRP") && page.contains("value=\"spring\""),
        "{page}"
    );
    let second = |rsrp: &str| {
        format!(
            "{first}&time_zone=Europe%2FBerlin&start=2026-01-01T10%3A00&end=&retry_times=2\
             &min_rsrp_dbm={rsrp}&min_battery_percent=30"
        )
    };
    let (status, page, _) = browser.post(wizard, &format!("step=2&go=next&{}", second("-20")));
    assert_eq!(status, 422);
    assert!(page.contains("id=\"note-min_rsrp_dbm\""), "{page}");
    let (_, page, _) = browser.post(wizard, &format!("step=2&go=next&{}", second("-100")));
    assert!(page.contains("name=\"package_STM32\""), "{page}");
    let (status, page, _) = browser.post(wizard, &format!("step=3&go=next&{}", second("-100")));
    assert_eq!(status, 422);
    assert!(page.contains("1067"), "nothing chosen: {page}");
    // a filter instead of a whitelist: not both
    let both = format!("step=1&go=next&{first}&audience=99&{rest}");
    let (status, page, _) = browser.post(wizard, &both);
    assert_eq!(status, 404);
    assert!(page.contains("id=\"note-audience\""), "{page}");
    let third = format!("{}&package_STM32=4&upgrade_text=", second("-100"));
    let (_, page, _) = browser.post(wizard, &format!("step=3&go=next&{third}"));
    assert!(
        page.contains("Activate the plan") && page.contains("3 in the whitelist"),
        "{page}"
    );
    let (status, page, _) = browser.post(wizard, &format!("step=4&go=back&{third}"));
    assert!(
        status == 200 && page.contains("name=\"package_STM32\""),
        "{page}"
    );
    let (status, page, to) = browser.post(wizard, &format!("step=4&go=activate&{third}"));
    assert_eq!(
        (status, to.as_str()),
        (303, "/projects/1/plans/6"),
        "{page}"
    );
    let (_, page) = browser.get("/projects/1/plans/6");
    assert!(
        page.contains("Activated") && page.contains("2026-01-01 10:00"),
        "{page}"
    );
    let (_, _, to) = browser.post("/projects/1/plans/6/suspend", "");
    assert_eq!(to, "/projects/1/plans/6");
    let (_, page) = browser.get("/projects/1/plans/6");
    assert!(
        page.contains("Suspended") && page.contains("Resume"),
        "{page}"
    );
    let (status, page, _) = browser.post("/projects/1/plans/6/activate", "");
    assert_eq!(status, 409);
    assert!(page.contains("1061"), "{page}");
    // a mark of another browser is none
    let own = std::mem::replace(&mut browser.mark, "00".repeat(32));
    let (status, page, _) = browser.post("/projects/1/plans/6/resume", "");
    assert_eq!(status, 403);
    assert!(page.contains("1018"), "{page}");
    browser.mark = own;
    let session = browser.cookies["sota_session"].clone();
    let (_, _, to) = browser.post("/log-out", "");
    assert_eq!(to, "/log-in");
    browser.cookies.insert("sota_session".into(), session);
    let (_, _, to) = browser.send("GET", "/projects/1", "");
    assert_eq!(to, "/log-in?next=/projects/1", "the session is over");
    browser.get("/log-in?next=//evil.example");
    let (status, page, _) = browser.post("/log-in", "name=ada&password=wrong+horse&next=%2F");
    assert_eq!(status, 401);
    assert!(page.contains("1016"), "{page}");
    let log_in = "name=ADA&password=correct+horse&next=%2F%2Fevil.example";
    let (status, _, to) = browser.post("/log-in", log_in);
    assert_eq!((status, to.as_str()), (303, "/"), "not elsewhere");
}

#[test]
fn an_account_is_kept_by_its_pages() {
    let server = Server::start();
    let link = server.set_up.clone().expect("a link");
    let secret = link.split_once("invitation=").expect("a secret").1;
    server
        .made_account(secret, "ada", "correct horse")
        .expect("made");
    let mut browser = Browser::new(&server);
    browser.get("/log-in");
    browser.post("/log-in", "name=ada&password=correct+horse&next=%2F");
    browser.get("/projects/new");
    browser.post("/projects/new", "name=home");
    browser.get("/account");
    let (status, page, _) = browser.post("/account/password", "old=wrong+horse&new=x&again=x");
    assert_eq!(status, 403);
    assert!(page.contains("id=\"note-old\""), "{page}");
    let (_, page, _) = browser.post("/account/password", "old=x&new=x&again=y");
    assert!(page.contains("id=\"note-again\""), "{page}");
    let new = "old=correct+horse&new=battery+staple&again=battery+staple";
    let (status, page, _) = browser.post("/account/password", new);
    assert!(status == 200 && page.contains("other log-ins have ended"));
    let rename = |password: &str| format!("name=Countess&name_password={password}");
    let (_, page, _) = browser.post("/account/name", &rename("wrong"));
    assert!(page.contains("id=\"note-name_password\""), "{page}");
    let (_, _, to) = browser.post("/account/name", &rename("battery+staple"));
    assert_eq!(to, "/account");
    assert!(browser.get("/account").1.contains("countess"));
    // who is logged in opens a link that is for another account
    let mut second = Browser::new(&server);
    second.get("/log-in");
    let (status, ..) = second.post("/log-in", "name=countess&password=battery+staple");
    assert_eq!(status, 303);
    let (_, page, _) = browser.post("/projects/1/invitations", "role=Viewer");
    let invited = page.split_once("/sign-up?invitation=").expect("a link").1;
    let invited = invited.split('<').next().expect("an end");
    second.get(&format!("/sign-up?invitation={invited}"));
    let carl =
        format!("invitation={invited}&name=carl&password=battery+staple&again=battery+staple");
    let (status, page, _) = second.post("/sign-up", &carl);
    assert_eq!(status, 303, "{page}");
    assert!(second.get("/account").1.contains("carl"));
    // a member who forgot the password
    let (_, page, _) = browser.post("/projects/1/invitations", "role=Viewer");
    let invited = page.split_once("/sign-up?invitation=").expect("a link").1;
    let invited = invited.split('<').next().expect("an end");
    server
        .made_account(invited, "bob", "battery staple")
        .expect("made");
    browser.get("/projects/1/members");
    let (status, page, _) = browser.post("/projects/1/members/password-reset", "name=nobody");
    assert!(status == 404 && page.contains("1090"), "{page}");
    let (_, page, _) = browser.post("/projects/1/members/password-reset", "name=bob");
    assert!(page.contains("Send this link to bob"), "{page}");
    let link = page.split_once("/reset?link=").expect("a link").1;
    let link = link.split('<').next().expect("an end").to_owned();
    let mut bob = Browser::new(&server);
    let (status, page) = bob.get("/reset?link=invented");
    assert!(status == 410 && page.contains("cannot be used"), "{page}");
    let (_, page) = bob.get(&format!("/reset?link={link}"));
    assert!(page.contains("New password for bob"), "{page}");
    let form =
        |password: &str, again: &str| format!("link={link}&password={password}&again={again}");
    let (_, page, _) = bob.post("/reset", &form("staple+battery", "other"));
    assert!(page.contains("id=\"note-again\""), "{page}");
    let (status, _, to) = bob.post("/reset", &form("staple+battery", "staple+battery"));
    assert_eq!((status, to.as_str()), (303, "/"));
    let (_, page) = bob.get("/account");
    assert!(page.contains("Remove my account"), "{page}");
    assert_eq!(bob.get("/accounts").0, 403);
    assert!(browser.get("/accounts").1.contains("bob"));
    let (_, page, _) = bob.post("/account/remove", "remove_password=wrong");
    assert!(page.contains("id=\"note-remove_password\""), "{page}");
    let (_, _, to) = bob.post("/account/remove", "remove_password=staple+battery");
    assert_eq!(to, "/log-in");
    let (status, _) = bob.get("/log-in");
    assert_eq!(status, 200, "logged out");
    assert!(!browser.get("/accounts").1.contains("bob"));
}
