//! The running endpoint: the UDP thread, the machine, and workers that ask the service.
//!
//! ```text
//!  UDP thread --datagrams--> machine's task --calls--> workers --> Service, package files
//!      |                        ^   |  ^                  |
//!      | blocks                 |   |  +---- replies -----+
//!      v                        |   v answers             | commands, before the reply that they belong to
//!   devices <-------------------+---+---------------------+
//! ```
//!
//! Calls about one device go to one worker, so they keep their order.

use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher, Hash};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use sota_errors::CenterError;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::answers;
use super::border::{Call, CallId, Reply};
use super::endpoint::{self, Endpoint, Output};
use super::packages::{CHUNK, PackageId};
use super::shared::Shared;
use super::socket::{Datagram, Port};
use crate::blobs::PackageSource;
use crate::commands::DeviceCommand;
use crate::domain::{Problem, Time};
use crate::service::Service;
use crate::store::Scope;

/// Datagrams that wait for the machine at most.
const QUEUE: usize = 1024;
/// Workers that ask the service; each has one call at a time. What they commit at once shares a sync to the disk.
const WORKERS: usize = 64;

/// What can be chosen about the running endpoint.
#[derive(Clone, Debug)]
pub struct Config {
    /// `host:port` under which devices reach this port, when it is not the bound address.
    pub public_address: Option<String>,
    /// Memory for chunks of packages, in bytes.
    pub cache_bytes: u64,
    /// The machine; its `package_base` is set from the address.
    pub endpoint: endpoint::Config,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            public_address: None,
            cache_bytes: 64 * 1024 * 1024,
            endpoint: endpoint::Config::default(),
        }
    }
}

/// The running endpoint; stops when dropped.
#[derive(Debug)]
pub struct DeviceServer {
    port: Option<Port>,
    local: SocketAddr,
    machine: JoinHandle<()>,
    workers: Vec<JoinHandle<()>>,
}

enum Event {
    Reply(CallId, Reply),
    Command(Box<DeviceCommand>),
}

/// Wall-clock time that never goes back while the process runs.
#[derive(Clone, Copy, Debug)]
struct Clock {
    since: Instant,
    unix_ms: u64,
}

impl Clock {
    fn start() -> Clock {
        let unix = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Clock {
            since: Instant::now(),
            unix_ms: u64::try_from(unix.as_millis()).unwrap_or(0),
        }
    }

    fn now(&self) -> u64 {
        let passed = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.unix_ms.saturating_add(passed)
    }

    fn time(&self) -> Time {
        Time::try_from(self.now()).unwrap_or(Time::MAX)
    }
}

impl DeviceServer {
    /// Starts on a bound socket. Must be called inside a Tokio runtime.
    ///
    /// # Errors
    /// [`CenterError::Internal`] when the system gives no random bytes or thread.
    pub fn start(
        socket: UdpSocket,
        config: Config,
        service: Arc<Service>,
        packages: PackageSource,
    ) -> Result<DeviceServer, Problem> {
        let internal =
            |error: std::io::Error| Problem::new(CenterError::Internal, error.to_string());
        let local = socket.local_addr().map_err(internal)?;
        let clock = Clock::start();
        let shared = Shared::new(config.cache_bytes, random().map_err(internal)?);
        let mut settings = config.endpoint;
        let address = config
            .public_address
            .unwrap_or_else(|| reachable(local).to_string());
        settings.package_base = format!("coap://{address}");
        let machine = Endpoint::new(settings, shared.clone(), random().map_err(internal)?);

        let (to_machine, datagrams) = mpsc::channel(QUEUE);
        let (to_events, events) = mpsc::unbounded_channel();
        let port = start_port(socket, to_machine, &shared, clock).map_err(internal)?;

        let commands = to_events.clone();
        service.set_commands(Arc::new(move |command| {
            // A closed channel means that the endpoint stops: the device is told at its next contact.
            let _ = commands.send(Event::Command(Box::new(command)));
        }));
        service.set_port(Arc::new(shared));

        let mut queues = Vec::new();
        let mut workers = Vec::new();
        for _ in 0..WORKERS {
            let (queue, calls) = mpsc::unbounded_channel();
            let worker = Worker {
                service: service.clone(),
                packages: packages.clone(),
                events: to_events.clone(),
                clock,
            };
            queues.push(queue);
            workers.push(tokio::spawn(worker.run(calls)));
        }
        let sender = port.sender();
        let machine = tokio::spawn(run(machine, datagrams, events, queues, sender, clock));
        tracing::info!(%local, "the device port listens");
        Ok(DeviceServer {
            port: Some(port),
            local,
            machine,
            workers,
        })
    }

    /// The bound address.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }
}

impl Drop for DeviceServer {
    fn drop(&mut self) {
        self.machine.abort();
        self.workers.iter().for_each(JoinHandle::abort);
        drop(self.port.take());
    }
}

fn start_port(
    socket: UdpSocket,
    hand_on: mpsc::Sender<Datagram>,
    shared: &Shared,
    clock: Clock,
) -> std::io::Result<Port> {
    let (fast, drops) = (shared.clone(), shared.clone());
    let mut message_id = clock.now() as u16;
    let fast = move |peer: SocketAddr, bytes: &[u8], out: &mut [u8]| {
        message_id = message_id.wrapping_add(1);
        fast.lock().fast(clock.now(), message_id, peer, bytes, out)
    };
    let dropped = move || {
        drops
            .lock()
            .trouble(CenterError::DatagramDropped, clock.now(), "queue is full")
    };
    Port::start(socket, hand_on, fast, dropped)
}

/// The machine's loop.
async fn run(
    mut machine: Endpoint,
    mut datagrams: mpsc::Receiver<Datagram>,
    mut events: mpsc::UnboundedReceiver<Event>,
    queues: Vec<mpsc::UnboundedSender<(CallId, Call)>>,
    socket: Arc<UdpSocket>,
    clock: Clock,
) {
    loop {
        while let Some(output) = machine.poll() {
            match output {
                Output::Send(datagram) => {
                    // A failed send is a lost datagram.
                    let _ = socket.send_to(&datagram.bytes, datagram.peer);
                }
                Output::Call(id, call) => {
                    if let Some(queue) = queues.get(worker_of(&call)) {
                        let _ = queue.send((id, call));
                    }
                }
            }
        }
        let wait = machine
            .next_deadline()
            .map(|at| at.saturating_sub(clock.now()));
        let sleep = tokio::time::sleep(Duration::from_millis(wait.unwrap_or(3_600_000)));
        tokio::select! {
            datagram = datagrams.recv() => match datagram {
                Some(datagram) => machine.datagram(clock.now(), datagram.peer, &datagram.bytes),
                None => return,
            },
            event = events.recv() => match event {
                Some(Event::Reply(id, reply)) => machine.reply(clock.now(), id, reply),
                Some(Event::Command(command)) => machine.command(clock.now(), *command),
                None => return,
            },
            () = sleep => machine.tick(clock.now()),
        }
    }
}

/// Calls about one device, or one package, always go to the same worker.
fn worker_of(call: &Call) -> usize {
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    let hash = |key: &dyn Fn(&mut DefaultHasher)| {
        let mut state = hasher.build_hasher();
        key(&mut state);
        std::hash::Hasher::finish(&state)
    };
    let hash = match call {
        Call::Register(register) => hash(&|h| register.endpoint.hash(h)),
        Call::Update { id, .. } | Call::Deregister { id } => hash(&|h| id.hash(h)),
        Call::Told { endpoint, .. }
        | Call::CancelAnswered { endpoint, .. }
        | Call::Refused { endpoint, .. }
        | Call::Busy { endpoint, .. } => hash(&|h| endpoint.hash(h)),
        Call::Load { package, chunk } => hash(&|h| (package, chunk).hash(h)),
    };
    (hash % WORKERS as u64) as usize
}

struct Worker {
    service: Arc<Service>,
    packages: PackageSource,
    events: mpsc::UnboundedSender<Event>,
    clock: Clock,
}

impl Worker {
    async fn run(self, mut calls: mpsc::UnboundedReceiver<(CallId, Call)>) {
        while let Some((id, call)) = calls.recv().await {
            let reply = self.answer(call).await.unwrap_or_else(|problem| {
                if problem.error == CenterError::Internal {
                    tracing::error!(number = problem.error.number(), "{problem}");
                }
                Reply::Failed(problem.error)
            });
            let _ = self.events.send(Event::Reply(id, reply));
        }
    }

    async fn answer(&self, call: Call) -> Result<Reply, Problem> {
        match call {
            Call::Load { package, chunk } => self.load(package, chunk).await,
            call => answers::answer(&self.service, &Scope::OWNER, call, self.clock.time()).await,
        }
    }

    async fn load(&self, package: PackageId, chunk: u64) -> Result<Reply, Problem> {
        let source = self.packages.clone();
        let read = tokio::task::spawn_blocking(move || {
            let Some(reader) = source.open(&package)? else {
                return Ok(None);
            };
            let mut data = vec![0; CHUNK as usize];
            let n = reader.read_at(chunk.saturating_mul(CHUNK), &mut data)?;
            data.truncate(n);
            Ok(Some((reader.length(), Bytes::from(data))))
        });
        let internal = |text: String| Problem::new(CenterError::Internal, text);
        let read: std::io::Result<_> = read.await.map_err(|error| internal(error.to_string()))?;
        let found = read.map_err(|error| internal(error.to_string()))?;
        let (length, data) = found.ok_or(CenterError::NoSuchPackage)?;
        Ok(Reply::Chunk { length, data })
    }
}

/// 32 bytes that nobody can predict.
fn random() -> std::io::Result<[u8; 32]> {
    use std::io::Read as _;
    let mut bytes = [0; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// The address to tell devices: of a socket bound to all addresses, the one of the default route.
fn reachable(local: SocketAddr) -> SocketAddr {
    if !local.ip().is_unspecified() {
        return local;
    }
    // Connecting a UDP socket sends nothing; the address is one reserved for documentation.
    let (any, far): (IpAddr, IpAddr) = match local.ip() {
        IpAddr::V4(_) => (
            Ipv4Addr::UNSPECIFIED.into(),
            Ipv4Addr::new(192, 0, 2, 1).into(),
        ),
        IpAddr::V6(_) => (
            Ipv6Addr::UNSPECIFIED.into(),
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
        ),
    };
    let probe = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((far, 9))?;
        socket.local_addr()
    });
    SocketAddr::new(
        probe.map_or(local.ip(), |address| address.ip()),
        local.port(),
    )
}
