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
    http: SocketAddr,
    coap: SocketAddr,
}

fn run(folder: &Folder, coap: Option<SocketAddr>) -> Running {
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    let mut config = Config::new(folder);
    config.coap = coap.unwrap_or(config.coap);
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
            .call()
            .expect("answered");
        answer.body_mut().read_json().expect("JSON")
    }

    fn post(&self, path: &str, body: Json) -> Json {
        let request = ureq::post(format!("http://{}{path}", self.http));
        request
            .send_json(&body)
            .expect("taken")
            .body_mut()
            .read_json()
            .expect("JSON")
    }

    /// A package for the STM32 to 2_0.
    fn upload(&self, project: i64, content: &[u8]) -> Json {
        let mut form = Vec::new();
        let project_text = project.to_string();
        let fields = [
            ("project", project_text.as_str()),
            ("name", "to 2"),
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
            .header("content-type", "multipart/form-data; boundary=XX");
        let mut answer = request.send(&form).expect("taken");
        answer.body_mut().read_json().expect("JSON")
    }

    /// A product `pk` and an active plan for its STM32 to 2_0; the plan's and the package's id.
    fn furnish(&self) -> (i64, i64) {
        let id = |made: Json| made["id"].as_i64().expect("id");
        let project = id(self.post("/api/v1/projects", json!({"name": "home"})));
        let product = json!({"project": project, "name": "lamp", "product_key": "pk", "product_secret": "ps"});
        let product = id(self.post("/api/v1/products", product));
        let model = json!({"project": project, "name": "v1", "device_model": "M", "components": [
            {"identifier": "module", "name": "module", "type": "Firmware"},
            {"identifier": "STM32", "name": "motor", "type": "MCU"}]});
        let model = id(self.post("/api/v1/models", model));
        let package = id(self.upload(project, CONTENT));
        let plan = json!({"project": project, "name": "spring", "product": product, "model": model,
            "components": [{"component": "STM32", "package": package}]});
        let plan = id(self.post("/api/v1/plans", plan));
        self.post(&format!("/api/v1/plans/{plan}/activate"), json!({}));
        (plan, package)
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
        let objects = format!("</>;rt=\"oma.lwm2m\";ct=112,</{PLAN}/0>,</{PLAN}/1>");
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
        let mut out = [0; 512];
        let mut encoder =
            Encoder::begin(ContentFormat::SenmlCbor, Path::ROOT, &mut out).expect("begun");
        for (id, value) in values {
            encoder
                .value(Path::resource(PLAN, 1, *id), *value)
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

    /// The Center's next Write: acknowledged, and its resources as text.
    fn written(&mut self) -> Vec<(u16, String)> {
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
        let base = Path::instance(PLAN, 1);
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
        records.map(text).collect()
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

#[test]
fn a_deleted_package_is_served_no_more() {
    let folder = tempfile::tempdir().expect("folder");
    let center = run(folder.path(), None);
    let project = center.post("/api/v1/projects", json!({"name": "home"}));
    let package = center.upload(project["id"].as_i64().expect("id"), b"short lived");
    let sha256 = package["files"][0]["sha256"].as_str().expect("a digest");
    let mut module = Module::new(center.coap);
    let path = format!("/p/{sha256}");
    assert_eq!(module.download(&path), b"short lived");
    let address = format!("http://{}/api/v1/packages/{}", center.http, package["id"]);
    ureq::delete(address).call().expect("deleted");
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
