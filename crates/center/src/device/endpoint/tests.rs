//! Whole conversations with scripted devices: no socket, no clock, no store.

use bytes::Bytes;
use proptest::prelude::*;
use sota_coap::Block;
use sota_lwm2m::objects::plan::{
    ComponentType, DEFAULT_OBJECT_ID as PLAN, DownloadInfo, Offer, State, resource,
};
use sota_lwm2m::{Encoder, Value};

use super::super::border::StateReport;
use super::*;
use crate::domain::{DeviceFacts, ReportedComponent};

const PACKAGE: PackageId = [0x5a; 32];

struct World {
    endpoint: Endpoint,
    now: u64,
    calls: VecDeque<(CallId, Call)>,
    sent: VecDeque<(SocketAddr, Vec<u8>)>,
    next_id: u32,
}

/// A datagram the endpoint sent, taken apart.
#[derive(Debug)]
struct Got {
    kind: Kind,
    code: Code,
    mid: u16,
    token: Token,
    path: String,
    location: Vec<String>,
    format: Option<u32>,
    observe: Option<u32>,
    payload: Vec<u8>,
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 7], port))
}

fn device() -> domain::Endpoint {
    domain::Endpoint::new("pk", "d1")
}

impl World {
    fn new(config: Config) -> World {
        let shared = Shared::new(1 << 20, [9; 32]);
        let endpoint = Endpoint::new(config, shared, [4; 32]);
        let (calls, sent) = (VecDeque::new(), VecDeque::new());
        World {
            endpoint,
            now: 1_000_000,
            calls,
            sent,
            next_id: 0,
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.endpoint.poll() {
            match output {
                Output::Send(datagram) => self.sent.push_back((datagram.peer, datagram.bytes)),
                Output::Call(id, call) => self.calls.push_back((id, call)),
            }
        }
    }

    fn receive(&mut self, from: u16, bytes: &[u8]) {
        self.endpoint.datagram(self.now, address(from), bytes);
        self.drain();
    }

    fn advance(&mut self, ms: u64) {
        self.now += ms;
        self.endpoint.tick(self.now);
        self.drain();
    }

    fn call(&mut self) -> (CallId, Call) {
        self.calls.pop_front().expect("a call")
    }

    fn reply(&mut self, id: CallId, reply: Reply) {
        self.endpoint.reply(self.now, id, reply);
        self.drain();
    }

    fn command(&mut self, command: DeviceCommand) {
        self.endpoint.command(self.now, command);
        self.drain();
    }

    fn got(&mut self) -> Got {
        let (_, bytes) = self.sent.pop_front().expect("a datagram");
        let m = Message::new_checked(&bytes).expect("CoAP");
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        Got {
            kind: m.kind(),
            code: m.code(),
            mid: m.message_id(),
            token: m.token(),
            path: m.path().map(|s| format!("/{}", text(s))).collect(),
            location: m.values(option::LOCATION_PATH).map(text).collect(),
            format: m.uint_option(option::CONTENT_FORMAT),
            observe: m.uint_option(option::OBSERVE),
            payload: m.payload().to_vec(),
        }
    }

    fn quiet(&self) {
        assert_eq!(
            (self.sent.len(), self.calls.len()),
            (0, 0),
            "{:?} {:?}",
            self.sent,
            self.calls
        );
    }

    /// Registers and is answered 2.01.
    fn register(&mut self, port: u16, lwm2m: &str, query: &str, objects: &str) -> String {
        let queries = ["ep=pk:d1", "lt=300", lwm2m, query];
        let bytes = request(Code::POST, "/rd", 1, &queries, Some(40), objects.as_bytes());
        self.receive(port, &bytes);
        let (id, call) = self.call();
        let Call::Register(register) = call else {
            panic!("{call:?}")
        };
        assert_eq!(register.endpoint, device());
        self.next_id += 1;
        let registration = Registration {
            id: format!("id{}", self.next_id),
            address: register.address,
            lifetime_s: register.lifetime_s,
            binding: register.binding,
            lwm2m: register.lwm2m,
            objects: register.objects,
            registered_at: self.now as i64,
            expires_at: (self.now + 1000 * u64::from(register.lifetime_s)) as i64,
        };
        let location = registration.id.clone();
        self.reply(id, Reply::Registered(device(), registration));
        let answer = self.got();
        assert_eq!((answer.code, answer.kind), (Code::CREATED, Kind::Ack));
        assert_eq!(answer.location, ["rd", &location]);
        location
    }

    /// The client acknowledges a request with this code and text.
    fn ack(&mut self, port: u16, request: &Got, code: Code, text: &str) {
        let mut out = [0; 256];
        let mut builder = Builder::new(&mut out, Kind::Ack, code, request.mid, request.token);
        if !text.is_empty() {
            builder
                .uint_option(option::CONTENT_FORMAT, 0)
                .payload(text.as_bytes());
        }
        let n = builder.finish().unwrap();
        self.receive(port, &out[..n]);
    }

    fn told(&mut self) -> (DeviceFacts, Vec<StateReport>, Option<bool>) {
        let (id, call) = self.call();
        let Call::Told {
            endpoint,
            facts,
            reports,
            request,
        } = call
        else {
            panic!("{call:?}")
        };
        assert_eq!(endpoint, device());
        self.reply(id, Reply::Done);
        (facts, reports, request)
    }
}

fn request(
    code: Code,
    path: &str,
    mid: u16,
    queries: &[&str],
    format: Option<u32>,
    payload: &[u8],
) -> Vec<u8> {
    let mut out = [0; 1400];
    let mut builder = Builder::new(&mut out, Kind::Con, code, mid, Token::from_u32(mid.into()));
    builder.path(path);
    if let Some(format) = format {
        builder.uint_option(option::CONTENT_FORMAT, format);
    }
    for query in queries.iter().filter(|query| !query.is_empty()) {
        builder.query(query);
    }
    let n = builder.payload(payload).finish().unwrap();
    out[..n].to_vec()
}

fn send(mid: u16, values: &[(Path, Value<'_>)]) -> Vec<u8> {
    let mut out = [0; 512];
    let mut encoder = Encoder::begin(ContentFormat::SenmlCbor, Path::ROOT, &mut out).unwrap();
    for (path, value) in values {
        encoder.value(*path, *value).unwrap();
    }
    let n = encoder.finish().unwrap();
    request(Code::POST, "/dp", mid, &[], Some(112), &out[..n])
}

fn mcu(resource: u16) -> Path {
    Path::resource(PLAN, 1, resource)
}

fn offer(kind: ComponentType, component: &str) -> DeviceCommand {
    let offer = Offer {
        plan: "7-1".try_into().unwrap(),
        component: component.try_into().unwrap(),
        kind,
        source: "1_0".try_into().unwrap(),
        target: "2_0".try_into().unwrap(),
        battery_limit_percent: 30,
        min_signal_dbm: -113,
        use_space: 27_954,
    };
    DeviceCommand::Offer {
        endpoint: device(),
        offer,
        info: info(),
        sha256: PACKAGE,
    }
}

fn info() -> DownloadInfo {
    DownloadInfo {
        plan: "7-1".try_into().unwrap(),
        length: 27_954,
        md5: Some([1; 16]),
        crc32: Some(4_022_793_929),
        sha256: None,
        uri: Default::default(),
    }
}

fn download(kind: ComponentKind, component: &str) -> DeviceCommand {
    let component = component.to_owned();
    DeviceCommand::Download {
        endpoint: device(),
        component,
        kind,
        info: info(),
        sha256: PACKAGE,
    }
}

fn read(got: &Got) -> Vec<(Path, String)> {
    let base = Path::parse(&got.path).unwrap();
    let records = Records::new(ContentFormat::SenmlCbor, base, &got.payload).unwrap();
    let text = |v: sota_lwm2m::RawValue<'_>| {
        v.as_str()
            .map_or_else(|| format!("{:?}", v.as_i64()), str::to_owned)
    };
    records
        .map(|record| record.unwrap())
        .map(|(path, value)| (path, text(value)))
        .collect()
}

const OURS: &str = "</>;rt=\"oma.lwm2m\";ct=112,</1/0>,</42769/0>,</42769/1>";

#[test]
fn the_whole_conversation_of_the_plan_door() {
    let mut world = World::new(Config::default());
    world.register(1, "lwm2m=1.1", "", OURS);
    world.quiet();

    // 1: the host asks; nothing is acknowledged before it is durable
    let asks = [
        (mcu(resource::COMPONENT), Value::String("STM32")),
        (mcu(resource::CURRENT_VERSION), Value::String("1_0")),
        (mcu(resource::REQUEST), Value::Integer(1)),
        (Path::resource(3, 0, 9), Value::Integer(77)),
        (Path::resource(4, 0, 2), Value::Integer(-90)),
    ];
    world.receive(1, &send(2, &asks));
    assert!(world.sent.is_empty());
    let (facts, reports, asked) = world.told();
    assert_eq!(
        (facts.battery_percent, facts.rsrp_dbm),
        (Some(77), Some(-90))
    );
    let (identifier, version) = ("STM32".to_owned(), "1_0".to_owned());
    let component = ReportedComponent {
        identifier,
        kind: ComponentKind::Mcu,
        version,
    };
    assert_eq!(facts.components, [component]);
    assert_eq!((reports.len(), asked), (0, Some(true)));
    assert_eq!(world.got().code, Code::CHANGED);

    // 2: the offer is one Write of one instance
    world.command(offer(ComponentType::Mcu, "STM32"));
    let write = world.got();
    assert_eq!(
        (write.kind, write.code, write.path.as_str()),
        (Kind::Con, Code::POST, "/42769/1")
    );
    assert_eq!(write.format, Some(112));
    let values = read(&write);
    assert_eq!(values.len(), 8);
    assert!(values.contains(&(mcu(resource::TARGET_VERSION), "2_0".into())));
    // the same command again, while it is in flight, is not sent twice
    world.command(offer(ComponentType::Mcu, "STM32"));
    world.quiet();
    world.ack(1, &write, Code::CHANGED, "");
    world.quiet();

    // 3: the host confirmed
    let confirmed = [
        (mcu(resource::PLAN), Value::String("7-1")),
        (mcu(resource::STATE), Value::Integer(2)),
        (mcu(resource::HOST_ANSWER), Value::Integer(1)),
    ];
    world.receive(1, &send(3, &confirmed));
    let (_, reports, _) = world.told();
    let report = StateReport {
        offer: "7-1".into(),
        state: State::Confirmed,
        reason: None,
    };
    assert_eq!(reports, [report]);
    assert_eq!(world.got().code, Code::CHANGED);

    // 4: download information, with the package's address
    world.command(download(ComponentKind::Mcu, "STM32"));
    let write = world.got();
    let uri = format!("coap://127.0.0.1:5683/p/{}", hex::encode(PACKAGE));
    assert!(read(&write).contains(&(mcu(resource::PACKAGE_URI), uri)));
    world.ack(1, &write, Code::CHANGED, "");

    // 5: failure with its number; the offer's name is known without being sent
    let failed = [
        (mcu(resource::STATE), Value::Integer(12)),
        (mcu(resource::FAILURE_NUMBER), Value::Integer(9)),
    ];
    world.receive(1, &send(4, &failed));
    let (_, reports, _) = world.told();
    let report = StateReport {
        offer: "7-1".into(),
        state: State::Failure,
        reason: Some(9),
    };
    assert_eq!(reports, [report]);
}

#[test]
fn cancel_is_executed_and_its_answer_told() {
    for (code, expected) in [(Code::CHANGED, true), (Code::METHOD_NOT_ALLOWED, false)] {
        let mut world = World::new(Config::default());
        world.register(1, "lwm2m=1.1", "", OURS);
        world.command(DeviceCommand::Cancel {
            endpoint: device(),
            component: "fw".into(),
            kind: ComponentKind::Firmware,
            offer: "7-1".into(),
        });
        let execute = world.got();
        assert_eq!(execute.path, "/42769/0/17");
        world.ack(1, &execute, code, "");
        let (_, call) = world.call();
        let offer = "7-1".into();
        assert_eq!(
            call,
            Call::CancelAnswered {
                endpoint: device(),
                offer,
                taken: expected
            }
        );
    }
}

#[test]
fn an_unknown_component_is_asked_for_and_a_refusal_told() {
    let mut world = World::new(Config::default());
    world.register(1, "lwm2m=1.1", "", OURS);
    world.command(offer(ComponentType::Mcu, "STM32"));
    let mut paths = Vec::new();
    for text in ["module", "9", "STM32", "1_0"] {
        let get = world.got();
        paths.push(get.path.clone());
        world.ack(1, &get, Code::CONTENT, text);
    }
    assert_eq!(
        paths,
        ["/42769/0/1", "/42769/0/19", "/42769/1/1", "/42769/1/19"]
    );
    let told: Vec<_> = (0..4).map(|_| world.told().0.components).collect();
    assert_eq!(told[3][0].identifier, "STM32");
    world.command(offer(ComponentType::Mcu, "STM32"));
    let write = world.got();
    world.ack(1, &write, Code::METHOD_NOT_ALLOWED, "");
    let (_, call) = world.call();
    let code = Code::METHOD_NOT_ALLOWED.byte();
    assert_eq!(
        call,
        Call::Refused {
            endpoint: device(),
            offer: "7-1".into(),
            code
        }
    );
}

#[test]
fn a_client_with_only_firmware_update_is_upgraded_over_its_restart() {
    let mut world = World::new(Config::default());
    world.register(1, "lwm2m=1.0", "", "</3/0>,</5/0>");
    let get = world.got();
    assert_eq!(get.path, "/3/0/3");
    world.ack(1, &get, Code::CONTENT, "1_0");
    assert_eq!(world.told().0.components[0].version, "1_0");
    let get = world.got();
    assert_eq!(get.path, "/3/0/9");
    world.ack(1, &get, Code::NOT_FOUND, "");
    // all is read: it asks for a plan
    assert_eq!(world.told().2, Some(true));

    world.command(offer(ComponentType::Firmware, "firmware"));
    let states: Vec<State> = world.told().1.iter().map(|r| r.state).collect();
    assert_eq!(states, [State::PlanReceived, State::Confirmed]);
    world.command(download(ComponentKind::Firmware, "firmware"));
    let write = world.got();
    assert_eq!((write.code, write.path.as_str()), (Code::PUT, "/5/0/1"));
    assert!(write.payload.starts_with(b"coap://127.0.0.1:5683/p/5a5a"));
    world.ack(1, &write, Code::CHANGED, "");
    assert_eq!(world.told().1[0].state, State::DownloadStarts);

    let observe = world.got();
    assert_eq!(
        (observe.path.as_str(), observe.observe),
        ("/5/0/3", Some(0))
    );
    world.ack(1, &observe, Code::CONTENT, "1");
    assert_eq!(world.told().1[0].state, State::Downloading);
    let get = world.got();
    assert_eq!(get.path, "/5/0/5");
    world.ack(1, &get, Code::CONTENT, "0");
    world.quiet();

    // a notification: downloaded
    let mut out = [0; 64];
    let mut builder = Builder::new(&mut out, Kind::Con, Code::CONTENT, 500, observe.token);
    builder.uint_option(option::OBSERVE, 9).payload(b"2");
    let n = builder.finish().unwrap();
    world.receive(1, &out[..n]);
    assert_eq!(world.got().kind, Kind::Ack);
    assert_eq!(world.told().1[0].state, State::Downloaded);
    let execute = world.got();
    assert_eq!(
        (execute.code, execute.path.as_str()),
        (Code::POST, "/5/0/2")
    );
    world.ack(1, &execute, Code::CHANGED, "");
    assert_eq!(world.told().1[0].state, State::Updating);

    // it restarts at another port and runs the new version
    world.register(2, "lwm2m=1.0", "", "</3/0>,</5/0>");
    let get = world.got();
    assert_eq!(get.path, "/3/0/3");
    world.ack(2, &get, Code::CONTENT, "2_0");
    let (facts, reports, _) = world.told();
    assert_eq!(facts.components[0].version, "2_0");
    assert_eq!(reports[0].state, State::Success);
}

#[test]
fn a_client_with_only_software_management_is_polled_and_installs() {
    let mut world = World::new(Config::default());
    world.register(1, "lwm2m=1.1", "", "</3/0>,</9/0>,</9/1>");
    for (path, text) in [
        ("/9/0/0", "BLE"),
        ("/9/0/1", "5"),
        ("/9/1/0", "STM32"),
        ("/9/1/1", "1_0"),
        ("/3/0/9", "50"),
    ] {
        let get = world.got();
        assert_eq!(get.path, path);
        world.ack(1, &get, Code::CONTENT, text);
    }
    let mut known = Vec::new();
    let mut battery = None;
    while !world.calls.is_empty() {
        let facts = world.told().0;
        known.extend(facts.components);
        battery = battery.or(facts.battery_percent);
    }
    assert_eq!(battery, Some(50));
    assert_eq!(
        known.last().map(|c| (c.identifier.as_str(), c.kind)),
        Some(("STM32", ComponentKind::Mcu))
    );
    world.command(offer(ComponentType::Mcu, "STM32"));
    world.told();
    world.command(download(ComponentKind::Mcu, "STM32"));
    let write = world.got();
    assert_eq!(write.path, "/9/1/3");
    world.ack(1, &write, Code::CHANGED, "");
    world.told();
    for (path, text) in [("/9/1/7", "1"), ("/9/1/9", "1")] {
        let get = world.got();
        assert_eq!(get.path, path);
        world.ack(1, &get, Code::CONTENT, text);
    }
    assert_eq!(world.told().1[0].state, State::Downloading);
    world.quiet();
    // no notification comes: the poll finds it
    world.advance(5_000);
    for (path, text) in [("/9/1/9", "3"), ("/9/1/7", "3")] {
        let get = world.got();
        assert_eq!(get.path, path);
        world.ack(1, &get, Code::CONTENT, text);
    }
    assert_eq!(world.told().1[0].state, State::Downloaded);
    let install = world.got();
    assert_eq!(
        (install.code, install.path.as_str()),
        (Code::POST, "/9/1/4")
    );
    world.ack(1, &install, Code::CHANGED, "");
    assert_eq!(world.told().1[0].state, State::Updating);
    world.advance(5_000);
    for (path, text) in [("/9/1/1", "1_0"), ("/9/1/7", "3"), ("/9/1/9", "58")] {
        let get = world.got();
        assert_eq!(get.path, path);
        world.ack(1, &get, Code::CONTENT, text);
    }
    world.told();
    let (_, reports, _) = world.told();
    assert_eq!(
        (reports[0].state, reports[0].reason),
        (State::Failure, Some(24))
    );
}

#[test]
fn registrations_are_checked_and_updates_of_unknown_ones_refused() {
    let mut world = World::new(Config::default());
    for (mid, query, expected) in [
        (10, "lt=5", Code::BAD_REQUEST),
        (11, "ep=nocolon", Code::BAD_REQUEST),
        (12, "ep=a:", Code::BAD_REQUEST),
    ] {
        world.receive(
            1,
            &request(Code::POST, "/rd", mid, &[query], Some(40), b"</3/0>"),
        );
        assert_eq!(world.got().code, expected);
    }
    world.receive(
        1,
        &request(Code::POST, "/rd", 13, &["ep=no:d1"], Some(40), b"</3/0>"),
    );
    let (id, _) = world.call();
    world.reply(id, Reply::Failed(CenterError::UnknownProductKey));
    assert_eq!(world.got().code, Code::FORBIDDEN);

    world.receive(1, &request(Code::POST, "/rd/gone", 14, &[], None, b""));
    let (id, call) = world.call();
    assert!(matches!(call, Call::Update { id, .. } if id == "gone"));
    world.reply(id, Reply::Failed(CenterError::UnknownRegistration));
    assert_eq!(world.got().code, Code::NOT_FOUND);
    // a Send of a stranger
    world.receive(1, &send(15, &[(mcu(resource::REQUEST), Value::Integer(0))]));
    assert_eq!(world.got().code, Code::NOT_FOUND);
    world.receive(1, &request(Code::GET, "/rd", 16, &[], None, b""));
    assert_eq!(world.got().code, Code::METHOD_NOT_ALLOWED);
    world.quiet();
}

#[test]
fn updates_move_the_device_and_keep_it_and_the_lifetime_ends_it() {
    let mut world = World::new(Config::default());
    let id = world.register(1, "lwm2m=1.1", "", OURS);
    world.advance(200_000);
    world.receive(
        2,
        &request(Code::POST, &format!("/rd/{id}"), 20, &[], None, b""),
    );
    assert_eq!(world.got().code, Code::CHANGED);
    assert!(matches!(world.call().1, Call::Update { .. }));
    world.advance(299_999);
    assert_eq!(world.endpoint.registrations(), 1);
    world.command(offer(ComponentType::Firmware, "fw"));
    assert_eq!(world.sent.pop_front().map(|(to, _)| to), Some(address(2)));
    world.advance(1);
    assert_eq!(world.endpoint.registrations(), 0);
    world.command(offer(ComponentType::Firmware, "fw"));
    world.quiet();
}

#[test]
fn a_registration_of_before_the_restart_is_found_in_the_store_with_what_it_is_owed() {
    let mut world = World::new(Config::default());
    world.receive(1, &request(Code::POST, "/rd/old", 20, &[], None, b""));
    let (id, _) = world.call();
    // the service sends what is owed before its reply comes
    world.command(offer(ComponentType::Firmware, "fw"));
    world.quiet();
    let registration = Registration {
        id: "old".into(),
        lifetime_s: 60,
        lwm2m: "1.1".into(),
        objects: OURS.into(),
        expires_at: world.now as i64 + 60_000,
        ..Registration::default()
    };
    world.reply(id, Reply::Registered(device(), registration));
    assert_eq!(world.got().code, Code::CHANGED);
    assert_eq!(world.got().path, "/42769/0");
}

#[test]
fn retransmits_gives_up_and_says_it_again_at_the_next_contact() {
    let mut world = World::new(Config::default());
    let id = world.register(1, "lwm2m=1.1", "", OURS);
    world.receive(
        1,
        &request(Code::POST, &format!("/rd/{id}"), 20, &[], None, b""),
    );
    world.got();
    world.command(offer(ComponentType::Firmware, "fw"));
    let first = world.sent.pop_front();
    let mut again = 0;
    while let Some(deadline) = world.endpoint.next_deadline().filter(|at| *at < 1_290_000) {
        world.advance(deadline - world.now);
        again += world
            .sent
            .iter()
            .filter(|sent| Some(*sent) == first.as_ref())
            .count();
        world.sent.clear();
    }
    assert_eq!(again, 4);
    world.calls.clear();
    // silent: nothing goes out, until it is heard
    world.command(offer(ComponentType::Firmware, "fw"));
    world.quiet();
    world.receive(
        1,
        &request(Code::POST, &format!("/rd/{id}"), 21, &[], None, b""),
    );
    assert_eq!(world.got().code, Code::CHANGED);
    assert_eq!(world.got().path, "/42769/0");
}

#[test]
fn queue_mode_waits_for_the_next_uplink() {
    let mut world = World::new(Config::default());
    let id = world.register(1, "lwm2m=1.1", "Q", OURS);
    world.advance(93_000);
    world.command(offer(ComponentType::Firmware, "fw"));
    world.quiet();
    world.receive(
        1,
        &request(Code::POST, &format!("/rd/{id}"), 20, &[], None, b""),
    );
    assert_eq!(world.got().code, Code::CHANGED);
    assert_eq!(world.got().path, "/42769/0");
}

#[test]
fn a_made_up_address_gets_at_most_three_times_what_it_sent() {
    let mut world = World::new(Config::default());
    let register = request(
        Code::POST,
        "/rd",
        1,
        &["ep=pk:d1", "lwm2m=1.1"],
        Some(40),
        OURS.as_bytes(),
    );
    world.register(1, "lwm2m=1.1", "", OURS);
    world.command(offer(ComponentType::Firmware, "fw"));
    // the answer to the registration, at most
    let mut bytes = 32;
    for _ in 0..200 {
        world.advance(1_000);
        bytes += world
            .sent
            .drain(..)
            .map(|(_, bytes)| bytes.len())
            .sum::<usize>();
    }
    assert!(bytes <= 3 * register.len(), "{bytes} of {}", register.len());
}

#[test]
fn registrations_are_bounded() {
    let mut world = World::new(Config {
        max_registrations: 1,
        ..Config::default()
    });
    world.register(1, "lwm2m=1.1", "", OURS);
    world.receive(
        2,
        &request(Code::POST, "/rd", 9, &["ep=pk:d2"], Some(40), b"</3/0>"),
    );
    assert_eq!(world.got().code, Code::SERVICE_UNAVAILABLE);
    world.quiet();
    // the known device may always register again
    world.register(3, "lwm2m=1.1", "", OURS);
}

#[test]
fn a_package_is_loaded_once_for_all_who_wait_and_repeats_are_counted() {
    let mut world = World::new(Config::default());
    let id = world.register(1, "lwm2m=1.1", "", OURS);
    world.receive(
        1,
        &request(Code::POST, &format!("/rd/{id}"), 20, &[], None, b""),
    );
    world.got();
    world.call();
    let get = |mid: u16, number: u32| {
        let mut out = [0; 128];
        let mut builder = Builder::new(&mut out, Kind::Con, Code::GET, mid, Token::EMPTY);
        let szx = sota_coap::Szx::S512;
        let block = Block {
            num: number,
            more: false,
            szx,
        };
        builder
            .path(&blocks::path_of(&PACKAGE))
            .block(option::BLOCK2, block);
        let n = builder.finish().unwrap();
        out[..n].to_vec()
    };
    world.receive(1, &get(30, 0));
    world.receive(1, &get(31, 1));
    let (load, call) = world.call();
    assert_eq!(
        call,
        Call::Load {
            package: PACKAGE,
            chunk: 0
        }
    );
    world.quiet();
    let data = Bytes::from(vec![3; 1000]);
    world.reply(load, Reply::Chunk { length: 1000, data });
    assert_eq!(world.got().payload, [3; 512]);
    assert_eq!(world.got().payload, [3; 488]);
    world.receive(1, &get(31, 1)); // the answer was lost
    world.receive(1, &get(32, 1)); // it restarted
    let counters = world.endpoint.shared.lock().packages.counters_of(&PACKAGE);
    assert_eq!(
        (counters.served, counters.again, counters.duplicates),
        (4, 1, 1)
    );

    world.sent.clear();
    let mut missing = get(33, 0);
    missing[10] = b'0';
    world.receive(1, &missing);
    let (load, _) = world.call();
    world.reply(load, Reply::Failed(CenterError::NoSuchPackage));
    assert_eq!(world.got().code, Code::NOT_FOUND);
}

#[test]
fn a_chunk_that_was_read_while_its_package_was_deleted_is_read_again() {
    let mut world = World::new(Config::default());
    let mut out = [0; 128];
    let mut builder = Builder::new(&mut out, Kind::Con, Code::GET, 30, Token::EMPTY);
    let n = builder.path(&blocks::path_of(&PACKAGE)).finish().unwrap();
    world.receive(1, &out[..n]);
    let (load, _) = world.call();
    world.endpoint.shared.lock().packages.forget(&PACKAGE);
    let data = Bytes::from_static(b"gone");
    world.reply(load, Reply::Chunk { length: 4, data });
    assert!(world.sent.is_empty());
    let (load, call) = world.call();
    assert!(matches!(call, Call::Load { chunk: 0, .. }));
    world.reply(load, Reply::Failed(CenterError::NoSuchPackage));
    assert_eq!(world.got().code, Code::NOT_FOUND);
    world.quiet();
}

#[test]
fn malformed_bytes_are_reset_or_ignored_and_counted() {
    let mut world = World::new(Config::default());
    world.register(1, "lwm2m=1.1", "", OURS);
    world.receive(1, &[0x40, 1, 0, 9, 0xff]);
    assert_eq!(world.got().kind, Kind::Rst);
    world.receive(1, &[0x50, 1, 0, 9, 0xff]);
    world.receive(1, b"\x16\xfe\xfd hello");
    world.receive(
        1,
        &request(Code::POST, "/dp", 40, &[], Some(112), b"\xff\xff"),
    );
    assert_eq!(world.got().code, Code::BAD_REQUEST);
    world.receive(1, &request(Code::POST, "/dp", 41, &[], Some(110), b"[]"));
    assert_eq!(world.got().code, Code::UNSUPPORTED_CONTENT_FORMAT);
    world.receive(1, &[0x40, 0, 0, 9]); // ping
    assert_eq!(world.got().kind, Kind::Rst);
    world.quiet();
    let trouble = world.endpoint.shared.lock().trouble;
    assert_eq!(
        (trouble.malformed_messages, trouble.malformed_payloads),
        (3, 1)
    );
}

#[test]
fn a_repeated_request_is_worked_on_once_while_its_answer_is_on_the_way() {
    let mut world = World::new(Config::default());
    world.register(1, "lwm2m=1.1", "", OURS);
    let bytes = send(50, &[(mcu(resource::REQUEST), Value::Integer(0))]);
    world.receive(1, &bytes);
    world.receive(1, &bytes);
    assert_eq!(world.calls.len(), 1);
    world.told();
    assert_eq!(world.got().code, Code::CHANGED);
    world.quiet();
}

proptest! {
    #[test]
    fn never_panics(datagrams in proptest::collection::vec(
        (1u16..3, proptest::collection::vec(any::<u8>(), 0..60)), 1..20)
    ) {
        let mut world = World::new(Config::default());
        world.register(1, "lwm2m=1.1", "", "</3/0>,</5/0>");
        for (port, mut bytes) in datagrams {
            if let Some(first) = bytes.first_mut() {
                *first = *first & 0x3f | 0x40; // else nearly all die at the version
            }
            world.receive(port, &bytes);
            world.advance(700);
        }
    }
}
