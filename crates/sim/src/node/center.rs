//! The Center's processor: the device endpoint and the service over the memory store.
//!
//! Calls of the endpoint are answered in their order, each after the time a commit takes. The store and the packages
//! outlive a power cut, everything else is made anew.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::FutureExt as _;
use sota_center::commands::DeviceCommand;
use sota_center::device::answers::answer;
use sota_center::device::border::{Call, CallId, Reply};
use sota_center::device::endpoint::{self, Endpoint, Output};
use sota_center::device::packages::CHUNK;
use sota_center::device::shared::Shared;
use sota_center::device::socket::Fast;
use sota_center::service::{Service, Settings};
use sota_center::store::{Cut, MemoryStore, Scope};
use sota_errors::CenterError;

use crate::Micros;
use crate::fault::Edge;
use crate::rng::Rng;

/// The account that owns everything in a world.
pub const OWNER: Scope = Scope::OWNER;
/// Greatest datagram the Center sends, in bytes.
const DATAGRAM: usize = 2048;
/// Virtual times begin here, in ms since 1970: 2026-01-01.
pub const EPOCH_MS: u64 = 1_767_225_600_000;

/// A file that devices can fetch.
#[derive(Clone, Debug)]
pub struct File {
    /// SHA-256, its name.
    pub sha256: [u8; 32],
    /// Content.
    pub bytes: Bytes,
}

/// Polls a future of the memory store: it never waits.
pub fn done<T>(future: impl Future<Output = T>) -> T {
    future
        .now_or_never()
        .expect("a future of the memory store waited")
}

/// Where the power goes at a commit.
#[derive(Debug, Default)]
struct CommitCut {
    commits: u64,
    at: Option<(u64, Edge)>,
    happened: bool,
}

/// The Center and its power.
pub struct CenterNode {
    config: endpoint::Config,
    settings: Settings,
    store: Arc<MemoryStore>,
    cut: Arc<Mutex<CommitCut>>,
    /// The packages' files.
    pub files: Vec<File>,
    rng: Rng,
    /// Wall clock minus virtual time, in ms.
    offset_ms: u64,
    /// Least and greatest time of a commit.
    pub commit_us: (Micros, Micros),
    running: Option<Running>,
    /// Commands the service gave since the world looked.
    pub commands: Vec<DeviceCommand>,
    /// Calls that were answered since the world looked.
    pub answered: Vec<(Call, Reply)>,
}

struct Running {
    service: Arc<Service>,
    endpoint: Endpoint,
    shared: Shared,
    queue: Arc<Mutex<Vec<DeviceCommand>>>,
    calls: VecDeque<(Micros, CallId, Call)>,
    tick_at: Micros,
    out: Vec<(SocketAddr, Vec<u8>)>,
    message_id: u16,
    last_ms: u64,
    /// Something came from a device since the last tick.
    lively: bool,
}

impl CenterNode {
    /// A Center with an empty store, without power.
    pub fn new(package_base: String, rng: Rng) -> CenterNode {
        let config = endpoint::Config {
            package_base,
            ..endpoint::Config::default()
        };
        let settings = Settings {
            secret: *b"a world's secret",
            ..Settings::default()
        };
        let store = Arc::new(MemoryStore::new());
        let cut: Arc<Mutex<CommitCut>> = Arc::default();
        let hook = cut.clone();
        store.set_cut_point(Some(Box::new(move |at| {
            let mut cut = hook.lock().unwrap_or_else(|e| e.into_inner());
            if cut.happened {
                return false;
            }
            let edge = match at {
                Cut::Before => Edge::Before,
                Cut::After => Edge::After,
            };
            let goes = cut.at == Some((cut.commits, edge));
            cut.commits += u64::from(edge == Edge::After);
            cut.happened = goes;
            !goes
        })));
        CenterNode {
            config,
            settings,
            store,
            cut,
            files: Vec::new(),
            rng,
            offset_ms: EPOCH_MS,
            commit_us: (200, 20_000),
            running: None,
            commands: Vec::new(),
            answered: Vec::new(),
        }
    }

    /// The store, which outlives power.
    pub fn store(&self) -> &MemoryStore {
        &self.store
    }

    /// The service while it runs.
    pub fn service(&self) -> Option<&Service> {
        self.running.as_ref().map(|running| &*running.service)
    }

    /// Commits so far.
    pub fn commits(&self) -> u64 {
        self.cut.lock().unwrap_or_else(|e| e.into_inner()).commits
    }

    /// Power goes at this commit.
    pub fn cut_at(&self, commit: u64, edge: Edge) {
        let mut cut = self.cut.lock().unwrap_or_else(|e| e.into_inner());
        cut.at = Some((commit, edge));
    }

    /// Power comes.
    pub fn power_on(&mut self, now: Micros) {
        let mut cut = self.cut.lock().unwrap_or_else(|e| e.into_inner());
        if cut.happened {
            *cut = CommitCut {
                commits: cut.commits,
                ..CommitCut::default()
            };
        }
        drop(cut);
        let service = Arc::new(Service::new(self.store.clone(), self.settings));
        let mut seed = [0; 32];
        self.rng.fill(&mut seed);
        let shared = Shared::new(CHUNK, seed);
        self.rng.fill(&mut seed);
        let endpoint = Endpoint::new(self.config.clone(), shared.clone(), seed);
        let queue: Arc<Mutex<Vec<DeviceCommand>>> = Arc::default();
        let commands = queue.clone();
        service.set_commands(Arc::new(move |command| {
            commands
                .lock()
                .unwrap_or_else(|e| e.into_inner())
                .push(command);
        }));
        service.set_port(Arc::new(shared.clone()));
        self.running = Some(Running {
            service,
            endpoint,
            shared,
            queue,
            calls: VecDeque::new(),
            tick_at: now,
            out: Vec::new(),
            message_id: self.rng.next_u32() as u16,
            last_ms: 0,
            lively: true,
        });
    }

    /// Power goes.
    pub fn power_off(&mut self) {
        self.running = None;
    }

    /// It has power and runs.
    pub fn is_on(&self) -> bool {
        self.running.is_some()
    }

    /// The wall clock jumps by this many ms while it runs (forward) or at its next start (back).
    pub fn clock_jumps(&mut self, ms: i64) {
        self.offset_ms = self.offset_ms.saturating_add_signed(ms);
    }

    /// Its wall clock in ms since 1970; while it runs it does not go back.
    pub fn wall_ms(&self, now: Micros) -> u64 {
        let ms = self.offset_ms.saturating_add(now / 1000);
        self.running.as_ref().map_or(ms, |r| r.last_ms.max(ms))
    }

    /// The time as the service takes it.
    pub fn time(&self, now: Micros) -> i64 {
        i64::try_from(self.wall_ms(now)).unwrap_or(i64::MAX)
    }

    /// A datagram came. `true`: power went in this step.
    pub fn datagram(&mut self, now: Micros, from: SocketAddr, bytes: &[u8]) -> bool {
        let ms = self.wall_ms(now);
        if let Some(r) = &mut self.running {
            r.last_ms = ms;
            r.lively = true;
            r.message_id = r.message_id.wrapping_add(1);
            let mut out = [0; DATAGRAM];
            let fast = r
                .shared
                .lock()
                .fast(ms, r.message_id, from, bytes, &mut out);
            match fast {
                Fast::Answer(n) => {
                    let answer = out.get(..n).unwrap_or_default().to_vec();
                    r.out.push((from, answer));
                }
                Fast::HandOn => r.endpoint.datagram(ms, from, bytes),
                Fast::Drop => {}
            }
        }
        self.turn(now)
    }

    /// What is due. `true`: power went in this step.
    pub fn poll(&mut self, now: Micros) -> bool {
        let ms = self.wall_ms(now);
        let time = self.time(now);
        let Some(r) = &mut self.running else {
            return false;
        };
        r.last_ms = ms;
        if r.endpoint.next_deadline().is_some_and(|at| at <= ms) {
            r.endpoint.tick(ms);
        }
        while r.calls.front().is_some_and(|(at, ..)| *at <= now) {
            let Some((_, id, call)) = r.calls.pop_front() else {
                break;
            };
            let reply = match &call {
                Call::Load { package, chunk } => load(&self.files, package, *chunk),
                call => done(answer(&r.service, &OWNER, call.clone(), time))
                    .unwrap_or_else(|problem| Reply::Failed(problem.error)),
            };
            if self.cut.lock().unwrap_or_else(|e| e.into_inner()).happened {
                self.power_off();
                return true;
            }
            let commands = std::mem::take(&mut *r.queue.lock().unwrap_or_else(|e| e.into_inner()));
            for command in commands {
                self.commands.push(command.clone());
                r.endpoint.command(ms, command);
            }
            self.answered.push((call, reply.clone()));
            r.endpoint.reply(ms, id, reply);
        }
        if r.tick_at <= now {
            // About once a second while something happens; a quiet night need not be looked at 86,400 times.
            let pause = if std::mem::take(&mut r.lively) { 1 } else { 30 };
            r.tick_at = now + pause * 1_000_000;
            // A store that lost power fails the tick; that is seen below.
            let _ = done(r.service.tick(&OWNER, time));
        }
        self.turn(now)
    }

    /// Does something as a person or a script does it through the API. `true`: power went in this step.
    pub fn act(&mut self, now: Micros, act: impl FnOnce(&Service, i64)) -> bool {
        let time = self.time(now);
        if let Some(r) = &mut self.running {
            r.lively = true;
            act(&r.service, time);
        }
        self.turn(now)
    }

    fn turn(&mut self, now: Micros) -> bool {
        let ms = self.wall_ms(now);
        let cut = self.cut.lock().unwrap_or_else(|e| e.into_inner()).happened;
        if cut {
            self.power_off();
            return true;
        }
        let Some(r) = &mut self.running else {
            return false;
        };
        let commands = std::mem::take(&mut *r.queue.lock().unwrap_or_else(|e| e.into_inner()));
        for command in commands {
            self.commands.push(command.clone());
            r.endpoint.command(ms, command);
        }
        while let Some(output) = r.endpoint.poll() {
            match output {
                Output::Send(datagram) => r.out.push((datagram.peer, datagram.bytes)),
                Output::Call(id, call) => {
                    let (least, most) = self.commit_us;
                    let takes = least + self.rng.next_u64() % (most - least + 1);
                    // Calls keep their order, as those about one device do in the Center.
                    let free = r.calls.back().map_or(now, |(at, ..)| *at);
                    r.calls.push_back((free.max(now) + takes, id, call));
                }
            }
        }
        false
    }

    /// Datagrams to be sent.
    pub fn take_out(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        self.running
            .as_mut()
            .map(|r| std::mem::take(&mut r.out))
            .unwrap_or_default()
    }

    /// When [`CenterNode::poll`] is wanted.
    pub fn deadline(&self) -> Option<Micros> {
        let r = self.running.as_ref()?;
        let endpoint = r.endpoint.next_deadline().map(|ms| {
            let behind = ms.saturating_sub(self.offset_ms);
            behind.saturating_mul(1000)
        });
        let call = r.calls.front().map(|(at, ..)| *at);
        [endpoint, call, Some(r.tick_at)]
            .into_iter()
            .flatten()
            .min()
    }
}

fn load(files: &[File], package: &[u8; 32], chunk: u64) -> Reply {
    let Some(file) = files.iter().find(|file| file.sha256 == *package) else {
        return Reply::Failed(CenterError::NoSuchPackage);
    };
    let length = file.bytes.len() as u64;
    let from = chunk.saturating_mul(CHUNK).min(length);
    let to = from.saturating_add(CHUNK).min(length);
    Reply::Chunk {
        length,
        data: file.bytes.slice(from as usize..to as usize),
    }
}
