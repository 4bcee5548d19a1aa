//! A served Center, and requests to it as a token's caller.
#![allow(dead_code)] // each test program uses its part of it

use std::net::SocketAddr;

use serde_json::{Value, json};
use sota_center::domain::{Endpoint, Role};
use sota_center::service::Register;
use sota_center::store::Scope;
use sota_center::{Center, Config, Stop};

/// A served Center; stopped and awaited when dropped.
pub(crate) struct Server {
    pub(crate) runtime: tokio::runtime::Runtime,
    task: Option<tokio::task::JoinHandle<()>>,
    stop: Stop,
    pub(crate) service: std::sync::Arc<sota_center::service::Service>,
    pub(crate) address: SocketAddr,
    pub(crate) set_up: Option<String>,
    pub(crate) agent: ureq::Agent,
    /// Of this run's token file.
    pub(crate) token: String,
    pub(crate) folder: tempfile::TempDir,
}

pub(crate) type Answer = ureq::http::Response<ureq::Body>;

impl Server {
    pub(crate) fn start() -> Server {
        Server::start_with(|_| {})
    }

    pub(crate) fn start_with(change: impl FnOnce(&mut Config)) -> Server {
        let runtime = tokio::runtime::Runtime::new().expect("runtime");
        let folder = tempfile::tempdir().expect("folder");
        let mut config = Config::new(folder.path());
        let file = folder.path().join("token");
        config.token_file = Some(file.clone());
        change(&mut config);
        let center = runtime.block_on(Center::open(config)).expect("opened");
        let (address, stop) = (center.http_address(), center.stop_handle());
        let (service, set_up) = (center.service().clone(), center.set_up_link());
        let set_up = set_up.map(str::to_owned);
        let task = runtime.spawn(async move { center.serve().await.expect("served") });
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            // The Center closes a connection whose body it did not read; a kept one may be met while it does.
            .max_idle_connections(0)
            .max_idle_connections_per_host(0)
            .build()
            .new_agent();
        Server {
            runtime,
            task: Some(task),
            stop,
            service,
            address,
            set_up,
            agent,
            token: std::fs::read_to_string(file).expect("token"),
            folder,
        }
    }

    /// One request; `token` empty = a stranger.
    pub(crate) fn call(
        &self,
        method: &str,
        path: &str,
        token: &str,
        kind: &str,
        body: &[u8],
    ) -> Answer {
        let mut headers = Vec::new();
        if !token.is_empty() {
            headers.push(("authorization", format!("Bearer {token}")));
        }
        if !body.is_empty() {
            headers.push(("content-type", kind.to_owned()));
        }
        self.call_with(method, path, &headers, body)
    }

    /// The same with these headers.
    pub(crate) fn call_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, String)],
        body: &[u8],
    ) -> Answer {
        self.try_with(method, path, headers, body)
            .expect("answered")
    }

    /// The same; an error when the Center closed the connection instead.
    pub(crate) fn try_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, String)],
        body: &[u8],
    ) -> Result<Answer, ureq::Error> {
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address));
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(*name, value);
        }
        let request = request.body(body.to_vec()).expect("a request");
        self.agent.run(request)
    }

    pub(crate) fn json(&self, method: &str, path: &str, token: &str, body: Value) -> (u16, Value) {
        let bytes = match &body {
            Value::Null => Vec::new(),
            body => body.to_string().into_bytes(),
        };
        read(self.call(method, path, token, "application/json", &bytes))
    }

    pub(crate) fn made(&self, path: &str, token: &str, body: Value) -> Value {
        let (status, made) = self.json("POST", path, token, body);
        assert_eq!(status, 201, "{path}: {made}");
        made
    }

    /// An account by the Center's own rules, with a role in a project if there is one; a token of it.
    pub(crate) fn account(&self, name: &str, member: Option<(i64, Role)>, most: Role) -> String {
        use sota_center::domain::{Account, ApiToken, Membership, ProjectId};
        use sota_center::store::Change;
        use std::sync::atomic::{AtomicI64, Ordering};
        static NEXT: AtomicI64 = AtomicI64::new(1000);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let token = format!("sota_{name}");
        let digest = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(token.as_bytes()));
        let mut changes = vec![
            Change::Account(Account {
                id,
                name: name.into(),
                password: "none".into(),
                created_at: 0,
                revision: 0,
            }),
            Change::Token(ApiToken {
                id,
                digest,
                account: id,
                name: "test".into(),
                role: most,
                project: None,
                created_at: 0,
                expires_at: i64::MAX,
            }),
        ];
        changes.extend(member.map(|(project, role)| {
            Change::Membership(Membership {
                account: id,
                project: ProjectId(project),
                role,
            })
        }));
        let store = self.service.store();
        let done = store.commit(&Scope::OWNER, changes);
        self.runtime.block_on(done).expect("stored");
        token
    }

    /// Project 1 with one of everything: product 2, model 3, package 4, plan 5 (saved), webhook 6 (nobody listens), filter 7,
    /// device pk:d1.
    pub(crate) fn furnish(&self) {
        let own = &self.token;
        self.made("/api/v1/projects", own, json!({"name": "secret-home"}));
        self.made("/api/v1/products", own, product(1, "secret-lamp", "pk"));
        self.made("/api/v1/models", own, model("secret-v1"));
        let (status, package) = read(self.call(
            "POST",
            "/api/v1/packages",
            own,
            FORM,
            &form("secret-package"),
        ));
        assert_eq!(status, 201, "{package}");
        self.made("/api/v1/plans", own, plan("secret-plan"));
        self.made("/api/v1/projects/1/webhooks", own, webhook("secret-hook"));
        let filter = json!({"project": 1, "name": "secret-filter", "expression": "tag:north"});
        self.made("/api/v1/filters", own, filter);
        let request = Register {
            endpoint: Endpoint::new("pk", "d1"),
            lifetime_s: 600,
            ..Register::default()
        };
        let registered = self.service.register(&Scope::OWNER, &request, now());
        self.runtime.block_on(registered).expect("registered");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(task) = self.task.take() {
            self.runtime.block_on(task).expect("stopped in order");
        }
    }
}

pub(crate) fn read(mut answer: Answer) -> (u16, Value) {
    let status = answer.status().as_u16();
    let text = answer.body_mut().read_to_string().expect("body");
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    (status, body)
}

pub(crate) const FORM: &str = "multipart/form-data; boundary=XX";

pub(crate) fn form(name: &str) -> Vec<u8> {
    let mut body = String::new();
    for (field, value) in [
        ("project", "1"),
        ("name", name),
        ("component_type", "MCU"),
        ("target_version", "2"),
        ("product", ""),
        ("source_version", ""),
        ("file\"; filename=\"a.bin", "content"),
    ] {
        body +=
            &format!("--XX\r\nContent-Disposition: form-data; name=\"{field}\"\r\n\r\n{value}\r\n");
    }
    (body + "--XX--\r\n").into_bytes()
}

pub(crate) fn product(project: i64, name: &str, key: &str) -> Value {
    json!({"project": project, "name": name, "product_key": key, "product_secret": "hidden-from-viewers"})
}

pub(crate) fn model(name: &str) -> Value {
    json!({"project": 1, "name": name, "device_model": "M", "components": [
        {"identifier": "module", "name": "module", "type": "Firmware"},
        {"identifier": "STM32", "name": "motor", "type": "MCU"}]})
}

/// Told to a port where nobody listens.
pub(crate) fn webhook(name: &str) -> Value {
    json!({"name": name, "url": "http://127.0.0.1:9/hook", "events": ["PlanState"]})
}

pub(crate) fn plan(name: &str) -> Value {
    json!({"project": 1, "name": name, "product": 2, "model": 3,
        "components": [{"component": "STM32", "package": 4}]})
}

impl Server {
    /// An account by the sign-up itself, without its page; its id.
    pub(crate) fn made_account(
        &self,
        secret: &str,
        name: &str,
        password: &str,
    ) -> Result<i64, String> {
        let access = self.service_access();
        let made = access.sign_up(Some(secret), name, password, now());
        let made = self.runtime.block_on(made);
        made.map(|m| m.account)
            .map_err(|p| p.error.name().to_owned())
    }

    pub(crate) fn service_access(&self) -> sota_center::access::Access {
        sota_center::access::Access::over(&self.service)
    }
}

pub(crate) fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.expect("after 1970").as_millis() as i64
}
