//! The module's processor: the three machines and their mailboxes, as `crates/host`'s loops run them.
//!
//! A step runs the three threads in turns until none moves; which goes first is the world's choice, as a scheduler's
//! is. Commands of the bridge are answered by the engine between two of its steps.

use std::collections::VecDeque;
use std::net::SocketAddr;

use embedded_storage::nor_flash::ReadNorFlash;
use sota::bridge::link::LinkBridge;
use sota::bridge::{Bridge, ConnectMode, Output, Settings};
use sota::cloud::{self, Cloud, OVERHEAD, Peer};
use sota::engine::{self, Engine};
use sota::mailbox::Mailbox;
use sota::message::{Command, Event, Reason, Reply, State, ToCloud, ToEngine};
use sota::platform::{Flash, Readings};

use super::link_mcu::{self, FRAME};
use crate::Micros;
use crate::flash::{FirstContent, FlashPower, SimFlash};
use crate::rng::Rng;
use crate::uart::Line;

/// Greatest block in bytes.
pub const BLOCK: usize = 512;
/// Erase page of the module's flash in bytes.
pub const PAGE: usize = 1024;
/// Write size of the module's flash in bytes.
pub const WRITE: usize = 4;
/// A partition.
pub type Nor = SimFlash<PAGE, WRITE>;

/// Turns of one step after which the machines are said to spin. A step of a 64 KiB piece takes a few hundred.
const SPIN: u32 = 20_000;

/// Both partitions.
#[derive(Clone)]
pub struct Partitions {
    /// Holds one piece.
    pub staging: Nor,
    /// Holds what must survive.
    pub journal: Nor,
}

impl Flash for Partitions {
    type Staging = Nor;
    type Journal = Nor;

    fn staging(&mut self) -> &mut Nor {
        &mut self.staging
    }

    fn journal(&mut self) -> &mut Nor {
        &mut self.journal
    }
}

/// What a module is made with.
#[derive(Clone, Debug)]
pub struct Config {
    /// The cloud machine's.
    pub cloud: cloud::Config,
    /// The engine's.
    pub engine: engine::Config,
    /// Bytes of the staging partition.
    pub staging: u32,
    /// Bytes of the journal partition.
    pub journal: u32,
    /// The bridge speaks the binary link and not AT commands.
    pub link: Option<LinkConfig>,
}

/// The bridge's end of the binary link.
#[derive(Clone, Copy, Debug)]
pub struct LinkConfig {
    /// Baud of the UART after each start.
    pub baud: u32,
    /// Greatest baud that the link may change to; 0: none.
    pub greatest_baud: u32,
}

/// The bridge by its protocol.
#[allow(clippy::large_enum_variant)] // one a device
enum Front {
    At(Bridge),
    Link(LinkBridge<FRAME>),
}

/// Something the world looks at.
#[derive(Clone, Debug)]
pub enum Seen {
    /// A datagram goes out; with it, the bytes of the package that were durable then.
    Datagram(SocketAddr, Vec<u8>, u32),
    /// An event for the application and the MCU; with a piece that is there, what staging held for it then.
    Event(Event, Option<Vec<u8>>),
    /// A report was handed to cloud.
    Report(u8, State, Option<Reason>),
    /// A fetch was asked of cloud.
    Fetch(u32, u32),
    /// The engine is in another state.
    State(State),
    /// A command of the host and its answer.
    Command(Command, Reply),
    /// The link came up.
    Up,
}

/// A module and its power.
pub struct ModuleNode {
    config: Config,
    power: FlashPower,
    /// Both partitions.
    pub flash: Partitions,
    settings: Settings,
    /// Battery and signal.
    pub readings: Readings,
    rng: Rng,
    running: Option<Running>,
    boot_at: Micros,
    /// What happened since the world looked.
    pub seen: Vec<Seen>,
    /// Messages put into mailboxes, taken out, and lost with power.
    pub mail: Mail,
    /// The machines did not come to rest in a step.
    pub spins: bool,
    /// Bytes of each frame that the link gave since the world looked.
    pub frames: Vec<u64>,
}

/// Messages of all mailboxes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mail {
    /// Put in.
    pub sent: u64,
    /// Taken out.
    pub taken: u64,
    /// Gone with power.
    pub lost: u64,
}

struct Running {
    engine: Engine<BLOCK>,
    cloud: Cloud<BLOCK>,
    front: Front,
    to_engine: Mailbox<ToEngine<BLOCK>, 4>,
    to_cloud: Mailbox<ToCloud, 4>,
    events: Mailbox<Event, 8>,
    /// What a full mailbox or a full machine gave back.
    held_to_engine: Option<ToEngine<BLOCK>>,
    held_to_cloud: Option<ToCloud>,
    held_in_cloud: Option<ToCloud>,
    held_event: Option<Event>,
    held_in_bridge: Option<Event>,
    /// The engine takes a block: the back-pressure towards the network.
    room: bool,
    server: Option<SocketAddr>,
    source: Option<SocketAddr>,
    inbox: VecDeque<(SocketAddr, Vec<u8>)>,
    received: Vec<u8>,
    out: Vec<u8>,
    /// The UART is to have this rate, once all of `out` has left.
    baud: Option<u32>,
    state: State,
}

impl ModuleNode {
    /// A module with new flash, without power.
    pub fn new(config: Config, settings: Settings, readings: Readings, rng: Rng) -> ModuleNode {
        let power = FlashPower::new();
        let part =
            |name: &str, size| SimFlash::new(&power, rng.fork(name), size, FirstContent::Garbage);
        let flash = Partitions {
            staging: part("staging", config.staging),
            journal: part("journal", config.journal),
        };
        ModuleNode {
            config,
            power,
            flash,
            settings,
            readings,
            rng: rng.fork("machine"),
            running: None,
            boot_at: 0,
            seen: Vec::new(),
            mail: Mail::default(),
            spins: false,
            frames: Vec::new(),
        }
    }

    /// Power comes.
    pub fn power_on(&mut self, now: Micros) {
        self.power.power_on();
        self.boot_at = now;
        let mut cloud = Cloud::new(self.config.cloud.clone(), self.rng.next_u32());
        cloud.on_readings(self.readings);
        let engine = Engine::start(self.config.engine.clone(), 0, &mut self.flash);
        let state = engine.state();
        let front = match self.config.link {
            None => Front::At(Bridge::new(self.settings.clone())),
            Some(link) => Front::Link(self.link_bridge(link)),
        };
        self.running = Some(Running {
            engine,
            cloud,
            front,
            to_engine: Mailbox::new(),
            to_cloud: Mailbox::new(),
            events: Mailbox::new(),
            held_to_engine: None,
            held_to_cloud: None,
            held_in_cloud: None,
            held_event: None,
            held_in_bridge: None,
            room: false,
            server: None,
            source: None,
            inbox: VecDeque::new(),
            received: Vec::new(),
            out: Vec::new(),
            baud: None,
            state,
        });
        if self.power.is_off() {
            return self.power_off();
        }
        if self.settings.connect == ConnectMode::Auto {
            self.command(0, Command::Connect(true));
        }
    }

    fn link_bridge(&mut self, link: LinkConfig) -> LinkBridge<FRAME> {
        let hello = sota_link::field::Hello {
            block: link_mcu::BLOCK,
            window: link_mcu::WINDOW,
            rate: link.greatest_baud,
            ..Default::default()
        };
        let config = sota_link::Config {
            hello,
            baud: link.baud,
            session: self.rng.next_u32() as u16,
        };
        LinkBridge::new(0, config)
    }

    /// Power goes.
    pub fn power_off(&mut self) {
        if let Some(running) = self.running.take() {
            let inside = running.to_engine.len() + running.to_cloud.len() + running.events.len();
            self.mail.lost += inside as u64;
        }
        self.power.power_off();
    }

    /// It has power and runs.
    pub fn is_on(&self) -> bool {
        self.running.is_some()
    }

    /// The flash's power: operations, and what cuts it.
    pub fn power(&self) -> &FlashPower {
        &self.power
    }

    /// The engine while it runs.
    pub fn engine(&self) -> Option<&Engine<BLOCK>> {
        self.running.as_ref().map(|running| &running.engine)
    }

    /// Registered with the Center.
    pub fn is_registered(&self) -> bool {
        self.running
            .as_ref()
            .is_some_and(|r| r.cloud.is_registered())
    }

    /// Messages inside the mailboxes now.
    pub fn inside(&self) -> u64 {
        self.running.as_ref().map_or(0, |r| {
            (r.to_engine.len() + r.to_cloud.len() + r.events.len()) as u64
        })
    }

    /// A copy of `len` bytes of staging, if the flash can be read.
    fn staged(&mut self, len: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.flash.staging.read(0, &mut bytes).ok()?;
        Some(bytes)
    }

    /// The machine's clock jumps forward by this many ms.
    pub fn clock_jumps(&mut self, ms: u64) {
        self.boot_at = self.boot_at.saturating_sub(ms.saturating_mul(1000));
    }

    /// A datagram came.
    pub fn datagram(&mut self, from: SocketAddr, bytes: Vec<u8>) {
        if let Some(running) = &mut self.running {
            running.inbox.push_back((from, bytes));
        }
    }

    /// Bytes came from the UART.
    pub fn bytes(&mut self, bytes: &[u8]) {
        if let Some(running) = &mut self.running {
            running.received.extend_from_slice(bytes);
        }
    }

    /// When [`ModuleNode::step`] is wanted.
    pub fn deadline(&self) -> Option<Micros> {
        let running = self.running.as_ref()?;
        let engine = running.engine.deadline();
        let cloud = running.cloud.deadline();
        let link = match &running.front {
            Front::At(_) => None,
            Front::Link(bridge) => bridge.deadline(),
        };
        let first = engine.into_iter().chain(cloud).chain(link).min()?;
        Some(self.boot_at.saturating_add(first.saturating_mul(1000)))
    }

    /// The UART is to have this rate, when what waits for it has left.
    pub fn baud(&mut self) -> Option<&mut Option<u32>> {
        Some(&mut self.running.as_mut()?.baud)
    }

    /// Bytes wait for the UART.
    pub fn has_bytes(&self) -> bool {
        self.waiting() > 0
    }

    /// Bytes that wait for the UART.
    pub fn waiting(&self) -> u64 {
        self.running.as_ref().map_or(0, |r| r.out.len() as u64)
    }

    /// Runs the three threads until none moves. `true`: its power went in this step.
    pub fn step(&mut self, now: Micros, line: &mut Line) -> bool {
        let Some(mut running) = self.running.take() else {
            return false;
        };
        let ms = now.saturating_sub(self.boot_at) / 1000;
        let first = self.rng.below(3);
        let mut turns = 0;
        let mut on = true;
        loop {
            let mut moved = false;
            for thread in [first, (first + 1) % 3, (first + 2) % 3] {
                moved |= match thread {
                    0 => self.cloud_turn(ms, &mut running),
                    1 => self.engine_turn(ms, &mut running),
                    _ => self.bridge_turn(now, ms, &mut running, line),
                };
                on &= !self.power.is_off();
                if !on {
                    break;
                }
            }
            turns += 1;
            self.spins |= turns > SPIN;
            if !on || !moved || turns > SPIN {
                break;
            }
        }
        self.running = Some(running);
        if !on {
            self.power_off();
        }
        !on
    }

    fn cloud_turn(&mut self, ms: u64, r: &mut Running) -> bool {
        let mut moved = false;
        while let Some(mut message) = r.held_in_cloud.take().or_else(|| {
            let message = r.to_cloud.try_recv()?;
            self.mail.taken += 1;
            Some(message)
        }) {
            if !r.cloud.on_engine(ms, &mut message) {
                r.held_in_cloud = Some(message);
                break;
            }
            moved = true;
        }
        while let Some((from, bytes)) = r.inbox.pop_front() {
            let peer = match from {
                from if Some(from) == r.server => Peer::Server,
                from if Some(from) == r.source => Peer::Source,
                _ => continue,
            };
            r.cloud.on_datagram(ms, peer, &bytes);
            moved = true;
            self.tell_engine(r);
        }
        r.cloud.on_readings(self.readings);
        let random = self.rng.next_u32();
        let room = r.to_engine.is_empty() && r.held_to_engine.is_none() && r.room;
        r.cloud.poll(ms, random, room);
        while let Some(lookup) = r.cloud.next_lookup() {
            let found = format!("{}:{}", lookup.host, lookup.port).parse().ok();
            let peer = lookup.peer;
            match peer {
                Peer::Server => r.server = found,
                Peer::Source => r.source = found,
            }
            r.cloud.on_resolved(ms, peer, found.is_some());
            moved = true;
        }
        moved |= self.tell_engine(r);
        let mut datagram = [0; BLOCK + OVERHEAD];
        while let Some((peer, count)) = r.cloud.next_datagram(&mut datagram) {
            let to = match peer {
                Peer::Server => r.server,
                Peer::Source => r.source,
            };
            if let (Some(to), Some(bytes)) = (to, datagram.get(..count)) {
                let durable = r.engine.progress().0;
                self.seen.push(Seen::Datagram(to, bytes.to_vec(), durable));
            }
            moved = true;
        }
        moved
    }

    fn tell_engine(&mut self, r: &mut Running) -> bool {
        let mut moved = false;
        while let Some(message) = r.held_to_engine.take().or_else(|| r.cloud.next_to_engine()) {
            if let Err(message) = r.to_engine.try_send(message) {
                r.held_to_engine = Some(message);
                break;
            }
            self.mail.sent += 1;
            moved = true;
        }
        moved
    }

    fn engine_turn(&mut self, ms: u64, r: &mut Running) -> bool {
        let mut moved = false;
        while let Some(mut message) = r.to_engine.try_recv() {
            self.mail.taken += 1;
            r.room = false;
            r.engine
                .on_cloud(ms, self.readings, &mut self.flash, &mut message);
            r.engine.poll(ms, self.readings, &mut self.flash);
            self.engine_sends(r);
            moved = true;
            if self.power.is_off() {
                return true;
            }
        }
        // A step of slow work a turn: the other threads run between two of them.
        if r.engine.deadline().is_some_and(|at| at <= ms) {
            r.engine.poll(ms, self.readings, &mut self.flash);
            moved = true;
        }
        if self.power.is_off() {
            return true;
        }
        moved |= self.engine_sends(r);
        if r.engine.boot_wanted() {
            // There is no bootloader in this world.
            r.engine.boot_failed(ms, &mut self.flash);
            moved = true;
        }
        let room = r.engine.can_take_block();
        moved |= room != r.room;
        r.room = room;
        moved
    }

    fn engine_sends(&mut self, r: &mut Running) -> bool {
        if self.power.is_off() {
            // What the machine makes of a flash without power never happened.
            return true;
        }
        let mut moved = false;
        if r.engine.state() != r.state {
            r.state = r.engine.state();
            self.seen.push(Seen::State(r.state));
        }
        while let Some(message) = r.held_to_cloud.take().or_else(|| {
            let message = r.engine.next_to_cloud()?;
            match &message {
                ToCloud::Report {
                    instance,
                    state,
                    reason,
                } => self.seen.push(Seen::Report(*instance, *state, *reason)),
                ToCloud::Fetch { from, to, .. } => self.seen.push(Seen::Fetch(*from, *to)),
                _ => {}
            }
            Some(message)
        }) {
            if let Err(message) = r.to_cloud.try_send(message) {
                r.held_to_cloud = Some(message);
                break;
            }
            self.mail.sent += 1;
            moved = true;
        }
        while let Some(event) = r.held_event.take().or_else(|| {
            let event = r.engine.next_event()?;
            let staged = match &event {
                Event::Downloaded(Some(piece)) => self.staged(piece.piece_length as usize),
                _ => None,
            };
            self.seen.push(Seen::Event(event.clone(), staged));
            Some(event)
        }) {
            if let Err(event) = r.events.try_send(event) {
                r.held_event = Some(event);
                break;
            }
            self.mail.sent += 1;
            moved = true;
        }
        moved
    }

    fn bridge_turn(&mut self, now: Micros, ms: u64, r: &mut Running, line: &mut Line) -> bool {
        let moved = match r.front {
            Front::At(_) => self.at_turn(ms, r),
            Front::Link(_) => self.link_turn(ms, r),
        };
        if self.power.is_off() {
            return true;
        }
        self.send(now, r, line) || moved
    }

    fn at_turn(&mut self, ms: u64, r: &mut Running) -> bool {
        let Front::At(bridge) = &mut r.front else {
            return false;
        };
        let taken = bridge.on_bytes(&r.received);
        r.received.drain(..taken);
        let mut moved = taken > 0;
        while let Some(output) = bridge.poll() {
            moved = true;
            match output {
                Output::Command(command) => {
                    let wanted = match &command {
                        Command::Read { len, .. } => 1024.min(*len as usize),
                        _ => 0,
                    };
                    let mut bytes = [0; 1024];
                    let reply = r.engine.command(
                        ms,
                        self.readings,
                        &mut self.flash,
                        &command,
                        bytes.get_mut(..wanted).unwrap_or_default(),
                    );
                    if self.power.is_off() {
                        return true;
                    }
                    let buffer = bridge.read_buffer();
                    for (to, from) in buffer.iter_mut().zip(bytes) {
                        *to = from;
                    }
                    self.seen.push(Seen::Command(command, reply));
                    bridge.reply(reply);
                }
                Output::Versions => {
                    for (name, version) in r.engine.versions() {
                        bridge.version(name, version);
                    }
                    bridge.reply(Reply::Ok);
                }
            }
        }
        while bridge.ready_for_event() {
            let Some(event) = r.held_in_bridge.take().or_else(|| {
                let event = r.events.try_recv()?;
                self.mail.taken += 1;
                Some(event)
            }) else {
                break;
            };
            if !bridge.on_event(&event) {
                r.held_in_bridge = Some(event);
                break;
            }
            moved = true;
        }
        if bridge.settings_changed() {
            self.settings = bridge.settings().clone();
        }
        moved
    }

    fn link_turn(&mut self, ms: u64, r: &mut Running) -> bool {
        let Front::Link(bridge) = &mut r.front else {
            return false;
        };
        let taken = bridge.on_bytes(&r.received);
        r.received.drain(..taken);
        let mut moved = taken > 0;
        while let Some(event) = r.events.try_recv() {
            self.mail.taken += 1;
            bridge.on_event(&event);
            moved = true;
        }
        let (seen, flash, readings) = (&mut self.seen, &mut self.flash, self.readings);
        let engine = &mut r.engine;
        let mut ask = |command: Command, out: &mut [u8]| {
            let reply = engine.command(ms, readings, flash, &command, out);
            // Each block is several reads: they would be most of a story.
            if !matches!(command, Command::Read { .. }) {
                seen.push(Seen::Command(command, reply));
            }
            reply
        };
        let mut up = false;
        while let Some(line) = bridge.poll(ms, &mut ask) {
            up |= line == sota_link::Line::Up;
            if let sota_link::Line::Baud(baud) = line {
                r.baud = Some(baud);
            }
            moved = true;
        }
        if up {
            self.seen.push(Seen::Up);
        }
        moved
    }

    /// Gives the UART what it has room for.
    fn send(&mut self, now: Micros, r: &mut Running, line: &mut Line) -> bool {
        let mut moved = false;
        loop {
            if r.out.is_empty() {
                if r.baud.is_some() {
                    return moved;
                }
                let mut bytes = [0; 1536];
                let count = match &mut r.front {
                    Front::At(bridge) => bridge.next_bytes(&mut bytes),
                    Front::Link(bridge) => bridge.next_bytes(&mut bytes),
                };
                if count > 0 && matches!(r.front, Front::Link(_)) {
                    self.frames.push(count as u64);
                }
                r.out
                    .extend_from_slice(bytes.get(..count).unwrap_or_default());
            }
            let n = line.room(now).min(r.out.len());
            if n == 0 {
                return moved;
            }
            line.push(now, r.out.get(..n).unwrap_or_default());
            r.out.drain(..n);
            moved = true;
        }
    }

    /// A command of the program itself.
    pub fn command(&mut self, now: Micros, command: Command) -> Option<Reply> {
        let ms = now.saturating_sub(self.boot_at) / 1000;
        let running = self.running.as_mut()?;
        Some(
            running
                .engine
                .command(ms, self.readings, &mut self.flash, &command, &mut []),
        )
    }
}
