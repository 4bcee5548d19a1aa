//! A device as the network sees it: a real Center on free ports, a UDP socket that speaks for a module.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path as Folder;
use std::time::Duration;

use serde_json::{Value as Json, json};
use sota_center::{Center, Config, Stop};
use sota_coap::{Block, Builder, Code, Kind, Message, Szx, Token, option};
use sota_lwm2m::objects::plan::{DEFAULT_OBJECT_ID as PLAN, resource};
use sota_lwm2m::{ContentFormat, Encoder, Path, Records, Value};

const CONTENT: &[u8] = &[0x5a; 3_000];

struct Running {
    runtime: tokio::runtime::Runtime,
    task: tokio::task::JoinHandle<()>,
    stop: Stop,
    token: String,
    http: SocketAddr,
    coap: SocketAddr,
}

fn run(folder: &Folder, coap: Option<SocketAddr>) -> Running {
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    let mut config = Config::new(folder);
    config.coap = coap.unwrap_or(config.coap);
    let token = folder.join("token");
    config.token_file = Some(token.clone());
    let center = runtime.block_on(Center::open(config)).expect("opened");
    let (http, coap, stop) = (
        center.http_address(),
        center.coap_address(),
        center.stop_handle(),
    );
    let task = runtime.spawn(async move { center.serve().await.expect("served") });
    Running {
        runtime,
        task,
        stop,
        token: format!("Bearer {}", std::fs::read_to_string(token).expect("token")),
        http,
        coap,
    }
}

impl Running {
    fn stop(self) {
        self.stop.stop();
        self.runtime.block_on(self.task).expect("ended");
    }

    fn get(&self, path: &str) -> Json {
        let mut answer = ureq::get(format!("http://{}{path}", self.http))
            .header("authorization", &self.token)
            .call()
            .expect("answered");
        answer.body_mut().read_json().expect("JSON")
    }

    fn post(&self, path: &str, body: Json) -> Json {
        let request = ureq::post(format!("http://{}{path}", self.http));
        request
            .header("authorization", &self.token)
            .send_json(&body)
            .expect("taken")
            .body_mut()
            .read_json()
            .expect("JSON")
    }

    /// A package for an MCU to 2_0.
    fn upload(&self, project: i64, name: &str, content: &[u8]) -> Json {
        let mut form = Vec::new();
        let project_text = project.to_string();
        let fields = [
            ("project", project_text.as_str()),
            ("name", name),
            ("component_type", "MCU"),
            ("target_version", "2_0"),
        ];
        for (name, value) in fields {
            let head = format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
            form.extend([head.as_bytes(), value.as_bytes(), b"\r\n"].concat());
        }
        form.extend(
            b"--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.bin\"\r\n\r\n",
        );
        form.extend([content, b"\r\n--XX--\r\n"].concat());
        let request = ureq::post(format!("http://{}/api/v1/packages", self.http))
            .header("authorization", &self.token)
            .header("content-type", "multipart/form-data; boundary=XX");
        let mut answer = request.send(&form).expect("taken");
        answer.body_mut().read_json().expect("JSON")
    }

    /// A product `pk` and an active plan for its STM32 to 2_0; the plan's and the package's id.
    fn furnish(&self) -> (i64, i64) {
        let (plan, packages) = self.furnish_for(&["STM32"]);
        (plan, packages[0])
    }

    /// The same for these MCUs in this sequence, each with a package of its own: the content and its place in it.
    fn furnish_for(&self, sequence: &[&str]) -> (i64, Vec<i64>) {
        let id = |made: Json| made["id"].as_i64().expect("id");
        let project = id(self.post("/api/v1/projects", json!({"name": "home"})));
        let product = json!({"project": project, "name": "lamp", "product_key": "pk", "product_secret": "ps"});
        let product = id(self.post("/api/v1/products", product));
        let model = json!({"project": project, "name": "v1", "device_model": "M", "components": [
            {"identifier": "module", "name": "module", "type": "Firmware"},
            {"identifier": "STM32", "name": "motor", "type": "MCU"},
            {"identifier": "ESP32", "name": "radio", "type": "MCU"}]});
        let model = id(self.post("/api/v1/models", model));
        let mut packages = Vec::new();
        let mut components = Vec::new();
        for (place, component) in (0u8..).zip(sequence) {
            let content = [CONTENT, &vec![place; place.into()]].concat();
            let package = id(self.upload(project, &format!("{component} to 2"), &content));
            packages.push(package);
            components.push(json!({"component": component, "package": package}));
        }
        let plan = json!({"project": project, "name": "spring", "product": product, "model": model,
            "components": components});
        let plan = id(self.post("/api/v1/plans", plan));
        self.post(&format!("/api/v1/plans/{plan}/activate"), json!({}));
        (plan, packages)
    }

    /// States of the components of the plan's only device.
    fn bars(&self, plan: i64) -> Vec<Json> {
        let devices = self.get(&format!("/api/v1/plans/{plan}/devices"));
        let steps = devices[0]["steps"].as_array().expect("steps");
        steps.iter().map(|step| step["state"].clone()).collect()
    }
}

/// The module's end: every request waits for its answer; requests of the Center are kept for later.
struct Module {
    socket: UdpSocket,
    message_id: u16,
    kept: Vec<Vec<u8>>,
}

impl Module {
    fn new(center: SocketAddr) -> Module {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("bound");
        socket.connect(center).expect("connected");
        // Only a Center that never answers makes this pass.
        socket
            .set_read_timeout(Some(Duration::from_secs(30)))
            .expect("set");
        Module {
            socket,
            message_id: 100,
            kept: Vec::new(),
        }
    }

    fn receive(&self) -> Vec<u8> {
        let mut buffer = [0; 2048];
        let n = self.socket.recv(&mut buffer).expect("a datagram");
        buffer[..n].to_vec()
    }

    fn ask(&mut self, code: Code, path: &str, build: impl FnOnce(&mut Builder<'_>)) -> Vec<u8> {
        self.message_id += 1;
        let mut out = [0; 1500];
        let token = Token::from_u32(self.message_id.into());
        let mut builder = Builder::new(&mut out, Kind::Con, code, self.message_id, token);
        builder.path(path);
        build(&mut builder);
        let n = builder.finish().expect("built");
        self.socket.send(&out[..n]).expect("sent");
        loop {
            let bytes = self.receive();
            let message = Message::new_checked(&bytes).expect("CoAP");
            match message.kind() {
                Kind::Ack if message.message_id() == self.message_id => return bytes,
                Kind::Con => self.kept.push(bytes),
                _ => {}
            }
        }
    }

    fn register(&mut self, name: &str) -> (Code, String) {
        let objects = format!("</>;rt=\"oma.lwm2m\";ct=112,</{PLAN}/0>,</{PLAN}/1>,</{PLAN}/2>");
        let answer = self.ask(Code::POST, "/rd", |b| {
            b.uint_option(option::CONTENT_FORMAT, 40)
                .query(&format!("ep={name}"));
            b.query("lt=600")
                .query("lwm2m=1.1")
                .payload(objects.as_bytes());
        });
        let message = Message::new_checked(&answer).expect("CoAP");
        let location = message.values(option::LOCATION_PATH);
        let location = location
            .map(|s| format!("/{}", String::from_utf8_lossy(s)))
            .collect();
        (message.code(), location)
    }

    fn send(&mut self, values: &[(u16, Value<'_>)]) {
        self.send_of(1, values);
    }

    fn send_of(&mut self, instance: u16, values: &[(u16, Value<'_>)]) {
        let mut out = [0; 512];
        let mut encoder =
            Encoder::begin(ContentFormat::SenmlCbor, Path::ROOT, &mut out).expect("begun");
        for (id, value) in values {
            encoder
                .value(Path::resource(PLAN, instance, *id), *value)
                .expect("written");
        }
        let n = encoder.finish().expect("finished");
        let answer = self.ask(Code::POST, "/dp", |b| {
            b.uint_option(option::CONTENT_FORMAT, 112)
                .payload(&out[..n]);
        });
        assert_eq!(
            Message::new_checked(&answer).expect("CoAP").code(),
            Code::CHANGED
        );
    }

    fn report(&mut self, offer: &str, state: i64) {
        let values = [
            (resource::PLAN, Value::String(offer)),
            (resource::STATE, Value::Integer(state)),
        ];
        self.send(&values);
    }

    /// As the module does: with the component.
    fn report_of(&mut self, instance: u16, component: &str, offer: &str, state: i64) {
        let values = [
            (resource::PLAN, Value::String(offer)),
            (resource::STATE, Value::Integer(state)),
            (resource::COMPONENT, Value::String(component)),
        ];
        self.send_of(instance, &values);
    }

    /// The Center's next Write: acknowledged, and its resources as text.
    fn written(&mut self) -> Vec<(u16, String)> {
        self.asked().1
    }

    /// The Center's next request: acknowledged, its path, and the resources of a Write as text.
    fn asked(&mut self) -> (String, Vec<(u16, String)>) {
        let bytes = if self.kept.is_empty() {
            self.receive()
        } else {
            self.kept.remove(0)
        };
        let message = Message::new_checked(&bytes).expect("CoAP");
        assert_eq!((message.kind(), message.code()), (Kind::Con, Code::POST));
        let mut out = [0; 32];
        let (id, token) = (message.message_id(), message.token());
        let n = Builder::new(&mut out, Kind::Ack, Code::CHANGED, id, token)
            .finish()
            .expect("built");
        self.socket.send(&out[..n]).expect("sent");
        let path = message.values(option::URI_PATH);
        let path: String = path
            .map(|s| format!("/{}", String::from_utf8_lossy(s)))
            .collect();
        if message.payload().is_empty() {
            return (path, Vec::new());
        }
        let base = path.rsplit('/').next().and_then(|i| i.parse().ok());
        let base = Path::instance(PLAN, base.expect("an instance"));
        let records =
            Records::new(ContentFormat::SenmlCbor, base, message.payload()).expect("SenML");
        let text = |record: Result<(Path, sota_lwm2m::RawValue<'_>), _>| {
            let (path, value) = record.expect("a record");
            let text = value.as_str().map(str::to_owned);
            (
                path.resource_id().expect("resource"),
                text.unwrap_or_else(|| format!("{:?}", value.as_i64())),
            )
        };
        (path, records.map(text).collect())
    }

    fn download(&mut self, path: &str) -> Vec<u8> {
        let mut content = Vec::new();
        for num in 0.. {
            let answer = self.ask(Code::GET, path, |b| {
                b.block(
                    option::BLOCK2,
                    Block {
                        num,
                        more: false,
                        szx: Szx::S512,
                    },
                );
            });
            let message = Message::new_checked(&answer).expect("CoAP");
            assert_eq!(message.code(), Code::CONTENT);
            content.extend(message.payload());
            if !message
                .block(option::BLOCK2)
                .expect("Block2")
                .expect("well formed")
                .more
            {
                break;
            }
        }
        content
    }
}

fn of(values: &[(u16, String)], id: u16) -> &str {
    let found = values.iter().find(|(other, _)| *other == id);
    &found
        .unwrap_or_else(|| panic!("no resource {id} in {values:?}"))
        .1
}

#[test]
fn a_module_is_upgraded_and_its_registration_survives_a_restart_of_the_center() {
    let folder = tempfile::tempdir().expect("folder");
    let center = run(folder.path(), None);
    let (plan, package) = center.furnish();
    let mut module = Module::new(center.coap);

    assert_eq!(module.register("nobody:d1").0, Code::FORBIDDEN);
    assert_eq!(module.register("nocolon").0, Code::BAD_REQUEST);
    assert_eq!(module.register("pk:d1").0, Code::CREATED);

    module.send(&[
        (resource::COMPONENT, Value::String("STM32")),
        (resource::CURRENT_VERSION, Value::String("1_0")),
        (resource::REQUEST, Value::Integer(1)),
    ]);
    let offer = module.written();
    let name = of(&offer, resource::PLAN).to_owned();
    assert_eq!(of(&offer, resource::TARGET_VERSION), "2_0");
    module.report(&name, 1);
    module.report(&name, 2);
    let info = module.written();
    let uri = of(&info, resource::PACKAGE_URI);
    let path = uri
        .strip_prefix(&format!("coap://{}", center.coap))
        .expect("the Center's own address");
    module.report(&name, 4);
    assert_eq!(module.download(path), CONTENT);
    for state in [5, 8, 9] {
        module.report(&name, state);
    }
    module.send(&[
        (resource::COMPONENT, Value::String("STM32")),
        (resource::CURRENT_VERSION, Value::String("2_0")),
    ]);
    let devices = center.get(&format!("/api/v1/plans/{plan}/devices"));
    assert_eq!(devices[0]["state"], "Upgraded", "{devices}");
    let served = center.get(&format!("/api/v1/packages/{package}/served"));
    assert_eq!(
        (&served["blocks"], &served["again"]),
        (&json!(6), &json!(0))
    );

    // it restarts with another address
    let mut module = Module::new(center.coap);
    let (code, location) = module.register("pk:d1");
    assert_eq!(code, Code::CREATED);
    let log = center.get("/api/v1/devices/pk/d1/log").to_string();
    assert!(log.contains("endpoint moved"), "{log}");

    let address = center.coap;
    center.stop();
    let center = run(folder.path(), Some(address));
    let answer = module.ask(Code::POST, &location, |_| ());
    assert_eq!(
        Message::new_checked(&answer).expect("CoAP").code(),
        Code::CHANGED
    );
    let answer = module.ask(Code::DELETE, &location, |_| ());
    assert_eq!(
        Message::new_checked(&answer).expect("CoAP").code(),
        Code::DELETED
    );
    let answer = module.ask(Code::POST, &location, |_| ());
    assert_eq!(
        Message::new_checked(&answer).expect("CoAP").code(),
        Code::NOT_FOUND
    );
    center.stop();
}

/// A module with two MCUs at 1_0 that asks for the plan; where it is registered, and the name of the set that it was
/// offered.
fn offered(center: &Running) -> (Module, String, String) {
    let mut module = Module::new(center.coap);
    let (code, location) = module.register("pk:d1");
    assert_eq!(code, Code::CREATED);
    for (instance, component) in [(1, "STM32"), (2, "ESP32")] {
        let version = [
            (resource::COMPONENT, Value::String(component)),
            (resource::CURRENT_VERSION, Value::String("1_0")),
        ];
        module.send_of(instance, &version);
    }
    module.send_of(0, &[(resource::REQUEST, Value::Integer(1))]);
    let mut name = String::new();
    // the plan's sequence, not the instances' order
    for (path, component) in [("/42769/2", "ESP32"), ("/42769/1", "STM32")] {
        let (at, offer) = module.asked();
        assert_eq!(at, path);
        assert_eq!(of(&offer, resource::COMPONENT), component);
        assert_eq!(of(&offer, resource::COMPONENTS), "Some(2)");
        if !name.is_empty() {
            assert_eq!(of(&offer, resource::PLAN), name, "one set, one name");
        }
        name = of(&offer, resource::PLAN).to_owned();
    }
    (module, location, name)
}

#[test]
fn two_components_are_asked_for_once_and_upgraded_one_after_the_other() {
    let folder = tempfile::tempdir().expect("folder");
    let center = run(folder.path(), None);
    let (plan, packages) = center.furnish_for(&["ESP32", "STM32"]);
    let (mut module, _, name) = offered(&center);
    let parts = [(2, "ESP32", 3_000), (1, "STM32", 3_001)];
    for (instance, component, _) in parts {
        module.report_of(instance, component, &name, 1);
    }
    assert_eq!(center.bars(plan), ["PlanReceived", "PlanReceived"]);
    for (instance, component, _) in [parts[1], parts[0]] {
        module.report_of(instance, component, &name, 2);
    }
    for (place, (instance, component, length)) in parts.into_iter().enumerate() {
        let (path, info) = module.asked();
        assert_eq!(path, format!("/42769/{instance}"));
        assert_eq!(of(&info, resource::PLAN), name);
        assert_eq!(
            of(&info, resource::PACKAGE_LENGTH),
            format!("Some({length})")
        );
        let uri = of(&info, resource::PACKAGE_URI).to_owned();
        module.report_of(instance, component, &name, 4);
        let other = ["Confirmed", "UpgradeSucceeded"][place];
        let mut bars = vec![other, other];
        bars[place] = "ReadyToDownload";
        assert_eq!(center.bars(plan), bars);
        let path = uri.split_once("/p/").expect("a package").1;
        assert_eq!(module.download(&format!("/p/{path}")).len(), length);
        for state in [5, 8, 9] {
            module.report_of(instance, component, &name, state);
        }
        assert!(module.kept.is_empty(), "the next waits for this version");
        let version = [
            (resource::PLAN, Value::String(&name)),
            (resource::STATE, Value::Integer(11)),
            (resource::COMPONENT, Value::String(component)),
            (resource::CURRENT_VERSION, Value::String("2_0")),
        ];
        module.send_of(instance, &version);
    }
    let devices = center.get(&format!("/api/v1/plans/{plan}/devices"));
    assert_eq!(devices[0]["state"], "Upgraded", "{devices}");
    assert_eq!(devices[0]["offer"], 1, "{devices}");
    let status = center.get(&format!("/api/v1/plans/{plan}"));
    assert_eq!(status["counters"]["upgraded"], 1, "{status}");
    for package in packages {
        let served = center.get(&format!("/api/v1/packages/{package}/served"));
        assert_eq!(served["again"], 0, "{served}");
    }
    center.stop();
}

/// The Center restarts while the second one waits: what it owes is in its store, and a report says its component.
#[test]
fn a_set_survives_a_restart_of_the_center_and_is_cancelled_whole() {
    let folder = tempfile::tempdir().expect("folder");
    let center = run(folder.path(), None);
    let (plan, _) = center.furnish_for(&["ESP32", "STM32"]);
    let (mut module, location, name) = offered(&center);
    for (instance, component) in [(2, "ESP32"), (1, "STM32")] {
        module.report_of(instance, component, &name, 1);
    }
    module.report_of(2, "ESP32", &name, 2);
    assert_eq!(module.asked().0, "/42769/2");
    module.report_of(2, "ESP32", &name, 5);
    let address = center.coap;
    center.stop();
    let center = run(folder.path(), Some(address));
    module.ask(Code::POST, &location, |_| ());
    module.report_of(1, "STM32", &name, 2);
    module.report_of(2, "ESP32", &name, 8);
    assert_eq!(center.bars(plan), ["DownloadSucceeded", "Confirmed"]);
    center.post(
        &format!("/api/v1/plans/{plan}/devices/d1/cancel"),
        json!({}),
    );
    for path in ["/42769/2/17", "/42769/1/17"] {
        assert_eq!(module.asked().0, path);
    }
    module.report_of(2, "ESP32", &name, 12);
    module.report_of(1, "STM32", &name, 12);
    assert_eq!(center.bars(plan), ["UpgradeFailed", "UpgradeFailed"]);
    let status = center.get(&format!("/api/v1/plans/{plan}"));
    assert_eq!(status["counters"]["upgrade_failed"], 1, "{status}");
    center.stop();
}

#[test]
fn a_deleted_package_is_served_no_more() {
    let folder = tempfile::tempdir().expect("folder");
    let center = run(folder.path(), None);
    let project = center.post("/api/v1/projects", json!({"name": "home"}));
    let package = center.upload(project["id"].as_i64().expect("id"), "to 2", b"short lived");
    let sha256 = package["files"][0]["sha256"].as_str().expect("a digest");
    let mut module = Module::new(center.coap);
    let path = format!("/p/{sha256}");
    assert_eq!(module.download(&path), b"short lived");
    let address = format!("http://{}/api/v1/packages/{}", center.http, package["id"]);
    let delete = ureq::delete(address).header("authorization", &center.token);
    delete.call().expect("deleted");
    let answer = module.ask(Code::GET, &path, |_| ());
    let code = Message::new_checked(&answer).expect("CoAP").code();
    assert_eq!(code, Code::NOT_FOUND);
}

#[test]
fn nonsense_of_any_length_is_counted_where_the_operator_sees_it() {
    let folder = tempfile::tempdir().expect("folder");
    let center = run(folder.path(), None);
    center.furnish();
    let mut module = Module::new(center.coap);
    assert_eq!(module.register("pk:d1").0, Code::CREATED);

    module.socket.send(&[]).expect("sent");
    // a well-formed request but for its length: cut by the kernel it would be understood as another one
    let mut long = vec![b'x'; 65_507];
    let n = Builder::new(&mut long, Kind::Con, Code::POST, 7, Token::EMPTY)
        .path("/rd")
        .query("ep=pk:d2")
        .finish()
        .expect("built");
    long[n] = 0xff;
    module.socket.send(&long).expect("sent");
    for nonsense in [&b"\xff\xff"[..], b"", b"\x81\xa1\x00", &[0x9f; 1_000]] {
        let answer = module.ask(Code::POST, "/dp", |b| {
            b.uint_option(option::CONTENT_FORMAT, 112).payload(nonsense);
        });
        let code = Message::new_checked(&answer).expect("CoAP").code();
        assert_eq!(code, Code::BAD_REQUEST, "{nonsense:?}");
    }
    let trouble = &center.get("/health")["device_port"];
    assert_eq!(trouble["malformed_messages"], 2, "{trouble}");
    assert_eq!(trouble["malformed_payloads"], 4, "{trouble}");
    assert_eq!(trouble["dropped"], 0, "{trouble}");
    // and it goes on
    module.send(&[(resource::REQUEST, Value::Integer(1))]);
    assert_eq!(module.register("pk:d2").0, Code::CREATED);
}

#[test]
fn a_disabled_device_is_refused_and_comes_back_when_it_is_enabled() {
    let folder = tempfile::tempdir().expect("folder");
    let center = run(folder.path(), None);
    center.furnish();
    let mut module = Module::new(center.coap);
    let (code, location) = module.register("pk:d1");
    assert_eq!(code, Code::CREATED);
    let path = "/api/v1/devices/pk/d1";
    assert_eq!(center.get(path)["disabled"], false);
    let disabled = center.post(&format!("{path}/disable"), json!({}));
    assert_eq!(
        (&disabled["disabled"], &disabled["registration"]),
        (&json!(true), &Json::Null)
    );
    // REST answers when it is stored; the device port hears of it a moment later, and may take an Update before
    let mut taken = false;
    let refused = (0..500).find_map(|_| {
        let update = module.ask(Code::POST, &location, |_| {});
        let update = Message::new_checked(&update).expect("CoAP");
        taken |= update.code() == Code::CHANGED;
        std::thread::sleep(std::time::Duration::from_millis(10));
        (update.code() != Code::CHANGED).then(|| (update.code(), update.payload().to_vec()))
    });
    let refused = refused.expect("it is refused");
    // after one that was taken its registration is one that nobody knows
    assert!(
        refused == (Code::FORBIDDEN, b"1220 DeviceDisabled".to_vec())
            || taken && refused.0 == Code::NOT_FOUND,
        "{refused:?}"
    );
    assert_eq!(module.register("pk:d1").0, Code::FORBIDDEN);
    // what it tells counts as long as its registration would have, if it was still known
    let version = [
        (resource::COMPONENT, Value::String("STM32")),
        (resource::CURRENT_VERSION, Value::String("1_0")),
    ];
    if refused.0 == Code::FORBIDDEN {
        module.send(&version);
        assert_eq!(center.get(path)["components"][0]["version"], "1_0");
    }
    let enabled = center.post(&format!("{path}/enable"), json!({}));
    assert_eq!(enabled["disabled"], false);
    let update = module.ask(Code::POST, &location, |_| {});
    assert_eq!(
        Message::new_checked(&update).expect("CoAP").code(),
        Code::NOT_FOUND
    );
    assert_eq!(module.register("pk:d1").0, Code::CREATED);
    module.send(&version);
}
