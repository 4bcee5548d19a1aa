//! Whole conversations with scripted devices: no socket, no clock, no store.

use sota_lwm2m::objects::plan::{
    ComponentType, DEFAULT_OBJECT_ID as PLAN, DownloadInfo, Offer, State, resource,
};
use sota_lwm2m::{Encoder, Value};

use super::super::border::StateReport;
use super::*;
use crate::domain::{DeviceFacts, ReportedComponent};

mod client;
mod nonsense;
mod packages;
mod plan_door;
mod reach;
mod registration;
mod restarts;
mod separate;
mod standard_door;

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
        components: 1,
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
