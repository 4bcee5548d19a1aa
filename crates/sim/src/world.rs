//! The world: virtual time, the nodes, what lies between them, and what goes wrong.
//!
//! ```text
//!             Net (delay, loss, NAT)            Line (baud, noise), each way
//!   Center <------------------------> module <------------------------------> MCU
//!   store                             staging, journal                        flash
//! ```
//!
//! One turn: take the earliest time at which anything is due, do everything that is due then, in a fixed order (faults,
//! datagrams, bytes, machines), look at the rules. Nothing depends on anything but the setup, the seed and the faults.

mod act;
mod check;
mod excuses;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use sota::message::State;
use sota_center::domain::{DeviceState, Endpoint, PlanDevice, PlanId};
use sota_center::store::Store as _;

use crate::Micros;
use crate::fault::{Edge, Fault, When, clock};
use crate::net::{Nat, Net, NetEvent};
use crate::node::Node;
use crate::node::center::{CenterNode, File, OWNER, done};
use crate::node::mcu::McuNode;
use crate::node::module::ModuleNode;
use crate::rng::Rng;
use crate::rules::{Book, Broken, Rule, Verdict, broken};
use crate::setup::{self, PRODUCT, Setup, VERSIONS};
use crate::story;
use crate::uart::Line;
use excuses::Excuses;

/// The Center's address.
pub const CENTER: &str = "10.0.0.1:5683";
/// After the last fault an upgrade has this long to end. The longest legal wait is the MCU's 20 minutes of flashing and
/// the Center's back-off between two offers; a device that was away is found by the push every 10 minutes. Two lifetimes
/// come on top: behind a NAT that forgets, a device with nothing to say is reached again when it updates its registration.
pub const BOUND: Micros = 12 * 3_600 * 1_000_000;
/// How long everything must be quiet before a world is over.
const QUIET: Micros = 30_000_000;
/// Datagrams a device causes at most in [`BOUND`]: an MCU that asks for a plan every 30 s, on a bad network.
const TALK: u64 = 20_000;
/// Turns at one virtual time after which the world is said to stand still.
const STANDSTILL: u32 = 100_000;

/// A module, its MCU and their UART.
pub(crate) struct Device {
    pub(crate) module: ModuleNode,
    pub(crate) mcu: McuNode,
    pub(crate) to_mcu: Line,
    pub(crate) to_module: Line,
    pub(crate) address: SocketAddr,
    pub(crate) book: Book,
    /// Taken from the MCU, not yet by the UART.
    out: VecDeque<u8>,
    /// The step that was due at this time is done; nothing is due again before the next millisecond.
    stepped: (Micros, Micros),
}

/// What is to happen later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Later {
    PowerOn(Node),
    NetworkBack,
    LinkBack,
    UartQuiet,
    /// What was sent at the old rate has left.
    Baud(Node),
    Activate(usize),
}

/// What became of a world.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The first broken rule.
    pub broken: Option<Broken>,
    /// State of each device in the (last) plan; `None`: it is not in it.
    pub states: Vec<Option<DeviceState>>,
    /// Version and bytes of what each MCU boots.
    pub boots: Vec<(String, usize)>,
    /// Virtual time at the end.
    pub at: Micros,
    /// Datagrams sent.
    pub datagrams: u64,
    /// Frames given to the UART of device 0.
    pub frames: u64,
    /// Commits of the Center.
    pub commits: u64,
    /// Flash operations of module and MCU of device 0.
    pub flash: (u64, u64),
    /// Requests for a block beyond the first, over all devices.
    pub again: u64,
    /// Turns.
    pub turns: u64,
}

/// See the module's words.
pub struct World {
    pub(crate) setup: Setup,
    pub(crate) now: Micros,
    pub(crate) net: Net,
    pub(crate) center: CenterNode,
    pub(crate) devices: Vec<Device>,
    pub(crate) plans: Vec<PlanId>,
    pub(crate) files: Vec<File>,
    /// Every image that there is, the factory's first.
    pub(crate) images: Vec<(&'static str, Bytes)>,
    /// Faults by time, the earliest last.
    timed: Vec<(Micros, Fault)>,
    /// Faults that wait for a datagram's arrival.
    at_arrival: Vec<(Vec<u8>, Fault)>,
    /// Faults that wait for a count.
    counted: Vec<Fault>,
    later: Vec<(Micros, u64, Later)>,
    sequence: u64,
    pub(crate) datagrams: u64,
    pub(crate) frames: u64,
    pub(crate) commits_seen: u64,
    /// Everything that goes wrong has gone wrong then.
    pub(crate) last_fault: Micros,
    /// The last time anything but time happened.
    pub(crate) lively: Micros,
    pub(crate) broken: Option<Broken>,
    pub(crate) excuses: Excuses,
    /// The latest time the Center's wall clock showed.
    pub(crate) latest: i64,
    pub(crate) acknowledged: Vec<(Endpoint, String, State)>,
    pub(crate) rng: Rng,
    /// Every flash operation is followed by a look at what the MCU would boot.
    pub(crate) look_always: bool,
    /// Flash operations of the MCU at the last look.
    pub(crate) looked: u64,
    story: Option<Vec<String>>,
    turns: u64,
    /// Faults of the list.
    pub(crate) fault_count: usize,
}

impl World {
    /// A world in which everything has power from the beginning.
    pub fn new(setup: &Setup, seed: u64, faults: &[Fault]) -> World {
        let rng = Rng::new(seed);
        let center_address: SocketAddr = CENTER.parse().expect("an address");
        let mut net = Net::new(rng.fork("net"), setup.network);
        let mut center = CenterNode::new(format!("coap://{CENTER}"), rng.fork("center"));
        let mut packages = rng.fork("packages");
        let count = if setup.second { 2 } else { 1 };
        let (files, described) = setup::packages(&mut packages, setup.package, count);
        center.files.clone_from(&files);
        let mut images = vec![(VERSIONS[0], setup.factory(rng.fork("factory")))];
        for (version, file) in VERSIONS.iter().skip(1).zip(&files) {
            images.push((version, file.bytes.clone()));
        }
        center.power_on(0);
        let ms = |at: Micros| (at / 1000) as i64;
        let end_at = setup.end_at.map(|at| center.time(0) + ms(at));
        let mut plans = Vec::new();
        center.act(0, |service, now| {
            plans = setup::furnish(service, setup, &described, now, end_at);
        });
        let mut devices = Vec::new();
        for index in 0..setup.devices {
            let stream = rng.fork(&format!("device {index}"));
            let address = SocketAddr::from(([10, 1, 0, index as u8 + 1], 40_000));
            if let Some(idle) = setup.nat_idle {
                let public = IpAddr::from([192, 0, 2, index as u8 + 1]);
                net.add_nat(
                    address,
                    public,
                    Nat {
                        idle_us: Some(idle),
                    },
                );
            }
            let host = center_address.ip().to_string();
            let (config, settings) = setup.module(index, &host, center_address.port());
            let readings = setup.first_readings();
            let line = |name: &str| Line::new(stream.fork(name), setup.baud, setup.noise);
            devices.push(Device {
                module: ModuleNode::new(config, settings, readings, stream.fork("module")),
                to_mcu: line("to mcu"),
                to_module: line("to module"),
                mcu: McuNode::new(setup.mcu(&images), stream.fork("mcu")),
                address,
                book: Book::new(setup.is_link()),
                out: VecDeque::new(),
                stepped: (Micros::MAX, Micros::MAX),
            });
        }
        let mut world = World {
            setup: setup.clone(),
            now: 0,
            net,
            center,
            devices,
            plans,
            files,
            images,
            timed: Vec::new(),
            at_arrival: Vec::new(),
            counted: Vec::new(),
            later: Vec::new(),
            sequence: 0,
            datagrams: 0,
            frames: 0,
            commits_seen: 0,
            last_fault: setup.activate_at,
            lively: 0,
            broken: None,
            excuses: Excuses::new(setup),
            latest: 0,
            acknowledged: Vec::new(),
            rng: rng.fork("world"),
            look_always: false,
            looked: 0,
            story: None,
            turns: 0,
            fault_count: faults.len(),
        };
        for fault in faults {
            match fault.when {
                When::At(at) => world.timed.push((at, *fault)),
                _ => world.counted.push(*fault),
            }
        }
        world.timed.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        world.arm();
        world.after(setup.activate_at, Later::Activate(0));
        for index in 0..world.devices.len() {
            world.power_on(Node::Mcu(index));
            world.power_on(Node::Module(index));
        }
        world
    }

    /// Tells its story from now on.
    pub fn tell_story(&mut self) {
        self.story = Some(Vec::new());
        self.net.set_tracing(true);
    }

    /// Looks at what the MCU would boot after each of its flash operations, not only when it boots.
    pub fn look_always(&mut self) {
        self.look_always = true;
    }

    /// The story so far.
    pub fn story(&self) -> &[String] {
        self.story.as_deref().unwrap_or_default()
    }

    pub(crate) fn tell(&mut self, who: &str, what: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            story.push(format!("{}  {who:<9} {}", clock(self.now), what()));
        }
    }

    fn tell_network(&mut self) {
        if self.story.is_none() {
            return;
        }
        let events: Vec<NetEvent> = self.net.drain_events().collect();
        for event in events {
            match event {
                NetEvent::Drop { id, reason, .. } => {
                    self.tell("network", || format!("loses #{id}: {reason}"));
                }
                NetEvent::Duplicate { id, .. } => self.tell("network", || format!("doubles #{id}")),
                NetEvent::Send { .. } | NetEvent::Deliver { .. } => {}
            }
        }
    }

    /// Runs to the end.
    pub fn run(&mut self) -> Outcome {
        let mut standstill = 0;
        while self.broken.is_none() {
            let Some(at) = self.next_at() else { break };
            if at > self.now {
                self.now = at;
                standstill = 0;
            }
            standstill += 1;
            self.turns += 1;
            if standstill > STANDSTILL {
                let seen = format!("time stands still at {}", clock(self.now));
                self.rule(broken(Rule::Rest, seen));
                break;
            }
            self.turn();
            self.tell_network();
            if self.is_over() {
                break;
            }
            let talk = TALK * (self.now / BOUND).max(1);
            if self.datagrams > talk * self.setup.devices as u64 {
                let seen = format!("{} datagrams by {}", self.datagrams, clock(self.now));
                self.rule(broken(Rule::Rest, seen));
            }
            let bound = BOUND + 2 * u64::from(self.setup.lifetime_s) * 1_000_000;
            if self.now > self.last_fault.saturating_add(bound) && self.excuses.never_answers() {
                // The Center ends it in seven days: nobody confirms.
                break;
            }
            if self.now > self.last_fault.saturating_add(bound) {
                let seen = self.unfinished();
                self.rule(broken(Rule::Ends, seen));
            }
        }
        self.check_end();
        self.outcome()
    }

    fn turn(&mut self) {
        self.faults_due();
        let now = self.now;
        while let Some(delivery) = self.net.pop(now) {
            self.deliver(delivery.from, delivery.to, &delivery.bytes);
            let arrived = |waiting: &mut (Vec<u8>, Fault)| waiting.0 == delivery.bytes;
            let faults: Vec<_> = self.at_arrival.extract_if(.., arrived).collect();
            for (_, fault) in faults {
                self.happen(fault);
            }
            self.net.recycle(delivery.bytes);
            if self.broken.is_some() {
                return;
            }
        }
        for index in 0..self.devices.len() {
            self.uart(index);
            if self.module_due(index) {
                self.step_module(index);
            }
            if self.mcu_due(index) {
                self.step_mcu(index, None);
            }
        }
        if self.center.deadline().is_some_and(|at| at <= now) {
            let off = self.center.poll(now);
            self.center_stepped(off);
        }
    }

    fn next_at(&self) -> Option<Micros> {
        let faults = self.timed.last().map(|(at, _)| *at);
        let later = self.later.iter().map(|(at, ..)| *at).min();
        let center = self.center.deadline().map(|at| at.max(self.now));
        let mut first = [faults, later, center, self.net.next_at()]
            .into_iter()
            .flatten()
            .min();
        for device in &self.devices {
            let due = |at: Option<Micros>, stepped: Micros| {
                at.map(|at| {
                    // Deadlines are in ms: what was done at this time is due again a millisecond later.
                    if stepped == self.now && at <= self.now {
                        self.now + 1_000
                    } else {
                        at.max(self.now)
                    }
                })
            };
            let all = [
                due(device.module.deadline(), device.stepped.0),
                due(device.mcu.deadline(), device.stepped.1),
                device.to_mcu.next_at(),
                device.to_module.next_at(),
            ];
            first = first.into_iter().chain(all.into_iter().flatten()).min();
        }
        first
    }

    fn module_due(&self, index: usize) -> bool {
        let device = &self.devices[index];
        device.stepped.0 != self.now && device.module.deadline().is_some_and(|at| at <= self.now)
    }

    fn mcu_due(&self, index: usize) -> bool {
        let device = &self.devices[index];
        device.stepped.1 != self.now && device.mcu.deadline().is_some_and(|at| at <= self.now)
    }

    fn deliver(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        if to == CENTER.parse().expect("an address") {
            let off = self.center.datagram(self.now, from, bytes);
            self.center_stepped(off);
        } else if let Some(index) = self.devices.iter().position(|d| d.address == to) {
            self.devices[index].module.datagram(from, bytes.to_vec());
            self.step_module(index);
        }
    }

    /// Bytes that have arrived.
    fn uart(&mut self, index: usize) {
        let now = self.now;
        while let Some(bytes) = self.devices[index].to_module.pop(now).map(<[u8]>::to_vec) {
            self.devices[index].module.bytes(&bytes);
            self.step_module(index);
            self.push_out(index);
        }
        while let Some(bytes) = self.devices[index].to_mcu.pop(now).map(<[u8]>::to_vec) {
            self.step_mcu(index, Some(&bytes));
            // The line has room again.
            if self.devices[index].module.has_bytes() {
                self.step_module(index);
            }
        }
    }

    pub(crate) fn step_module(&mut self, index: usize) {
        let device = &mut self.devices[index];
        device.stepped.0 = self.now;
        let before = device.to_mcu.stats().pushed;
        let waiting = device.to_mcu.time_of(device.module.waiting());
        let mut leaves = device.to_mcu.idle_at(self.now) + waiting;
        let off = device.module.step(self.now, &mut device.to_mcu);
        let bytes = device.to_mcu.stats().pushed - before;
        let frames = std::mem::take(&mut device.module.frames);
        self.look_at_module(index, off);
        let baud = self.devices[index].to_mcu.baud();
        if self.setup.is_link() {
            for bytes in frames {
                self.frame(index, leaves, bytes, baud);
                leaves += self.devices[index].to_mcu.time_of(bytes);
            }
        } else if bytes > 0 {
            self.frame(index, self.now, bytes, baud);
        }
        self.change_baud(Node::Module(index));
        if off {
            self.went_off(Node::Module(index));
        }
    }

    pub(crate) fn step_mcu(&mut self, index: usize, bytes: Option<&[u8]>) {
        let device = &mut self.devices[index];
        device.stepped.1 = self.now;
        let off = match bytes {
            Some(bytes) => device.mcu.on_bytes(self.now, bytes),
            None => device.mcu.poll(self.now),
        };
        let waiting = device.to_module.time_of(device.out.len() as u64);
        let mut leaves = device.to_module.idle_at(self.now) + waiting;
        let frames = device.mcu.take_frames();
        let mut out = [0; 512];
        loop {
            let n = device.mcu.next_bytes(&mut out);
            if n == 0 {
                break;
            }
            device.out.extend(out.iter().take(n));
        }
        self.look_at_mcu(index);
        let baud = self.devices[index].to_module.baud();
        for bytes in frames {
            self.frame(index, leaves, bytes, baud);
            leaves += self.devices[index].to_module.time_of(bytes);
        }
        self.push_out(index);
        if off {
            self.went_off(Node::Mcu(index));
        }
    }

    /// The MCU has sent what was left, and starts again.
    fn reset_mcu(&mut self, index: usize) {
        let node = Node::Mcu(index);
        self.tell(&node.to_string(), || "resets".into());
        self.lively = self.now;
        self.devices[index].mcu.reset(self.now);
        self.base_baud(node);
        self.mcu_started(index);
    }

    /// The MCU's bootloader has done what it could.
    pub(crate) fn mcu_started(&mut self, index: usize) {
        self.devices[index].book.starts();
        match self.devices[index].mcu.is_on() {
            true => {
                self.check_boot(index);
                self.step_mcu(index, None);
            }
            false if self.devices[index].mcu.power().is_off() => self.went_off(Node::Mcu(index)),
            false => self.check_boot(index),
        }
    }

    fn push_out(&mut self, index: usize) {
        let device = &mut self.devices[index];
        let n = device.to_module.room(self.now).min(device.out.len());
        if n > 0 {
            let bytes: Vec<u8> = device.out.drain(..n).collect();
            device.to_module.push(self.now, &bytes);
            if !self.setup.is_link() {
                let baud = self.devices[index].to_module.baud();
                self.frame(index, self.now, n as u64, baud);
            }
        }
        self.change_baud(Node::Mcu(index));
        let device = &self.devices[index];
        if device.out.is_empty() && device.mcu.wants_reset() {
            self.reset_mcu(index);
        }
    }

    /// An end whose rate is to change does so when all that it sent has left.
    pub(crate) fn change_baud(&mut self, node: Node) {
        let (Node::Module(index) | Node::Mcu(index)) = node else {
            return;
        };
        let now = self.now;
        let device = &mut self.devices[index];
        let (wanted, waits, to, from) = match node {
            Node::Mcu(_) => (
                device.mcu.baud(),
                !device.out.is_empty(),
                &mut device.to_module,
                &mut device.to_mcu,
            ),
            _ => {
                let waits = device.module.has_bytes();
                let wanted = device.module.baud();
                (wanted, waits, &mut device.to_mcu, &mut device.to_module)
            }
        };
        let Some(wanted) = wanted.filter(|wanted| wanted.is_some() && !waits) else {
            return;
        };
        let idle = to.idle_at(now);
        if idle > now {
            let due = |(_, _, later): &(_, _, Later)| *later == Later::Baud(node);
            if !self.later.iter().any(due) {
                self.after(idle, Later::Baud(node));
            }
            return;
        }
        if let Some(baud) = wanted.take() {
            to.send_at(now, baud);
            from.read_at(now, baud);
            self.tell(&node.to_string(), || format!("{baud} baud"));
            match node {
                Node::Module(_) => self.step_module(index),
                _ => self.step_mcu(index, None),
            }
        }
    }

    /// After its power came, or a reset.
    pub(crate) fn base_baud(&mut self, node: Node) {
        let (now, baud) = (self.now, self.setup.baud);
        match node {
            Node::Module(i) => {
                self.devices[i].to_mcu.send_at(now, baud);
                self.devices[i].to_module.read_at(now, baud);
            }
            Node::Mcu(i) => {
                self.devices[i].to_module.send_at(now, baud);
                self.devices[i].to_mcu.read_at(now, baud);
            }
            Node::Center => {}
        }
    }

    /// A frame begins at `from`: over AT commands what one side gave the UART at once, over the link one of its own.
    fn frame(&mut self, index: usize, from: Micros, bytes: u64, baud: u32) {
        if index != 0 {
            return;
        }
        let number = self.frames;
        self.frames += 1;
        // 10 bits a byte.
        let time = bytes * 10_000_000 / u64::from(baud);
        let cut = |edge: Edge| match edge {
            Edge::Before => 0,
            Edge::Middle => time / 2,
            Edge::After => time + 1,
        };
        let due = |fault: &mut Fault| matches!(fault.when, When::Frame(n, _) if n == number);
        let faults: Vec<Fault> = self.counted.extract_if(.., due).collect();
        for fault in faults {
            if let When::Frame(_, edge) = fault.when {
                let at = from + cut(edge);
                self.timed.push((at, fault));
            }
        }
        self.timed.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    }

    /// Sends a datagram, unless power goes before.
    pub(crate) fn send(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let number = self.datagrams;
        self.datagrams += 1;
        if self.story.is_some() {
            let who = self.devices.iter().position(|d| d.address == from);
            let who = who.map_or(Node::Center, Node::Module).to_string();
            let text = story::datagram(bytes);
            self.tell(&who, || format!("sends #{number} {text}"));
        }
        let due = |fault: &mut Fault| matches!(fault.when, When::Datagram(n, _) if n == number);
        let faults: Vec<Fault> = self.counted.extract_if(.., due).collect();
        let edge = faults.iter().find_map(|fault| match fault.when {
            When::Datagram(_, edge) => Some(edge),
            _ => None,
        });
        if edge != Some(Edge::Before) {
            self.net.send(self.now, from, to, bytes);
        }
        for fault in faults {
            match edge {
                // When it has arrived, if it arrives, and was worked on.
                Some(Edge::After) => self.at_arrival.push((bytes.to_vec(), fault)),
                _ => self.timed.push((self.now, fault)),
            }
        }
        self.timed.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    }

    pub(crate) fn after(&mut self, at: Micros, what: Later) {
        self.sequence += 1;
        self.later.push((at, self.sequence, what));
        self.last_fault = self.last_fault.max(at);
    }

    fn outcome(&mut self) -> Outcome {
        let plan = self.plans.last().copied();
        let keys: Vec<Endpoint> = (0..self.devices.len())
            .map(|i| Endpoint::new(PRODUCT, Setup::device_key(i)))
            .collect();
        let states = keys.iter().map(|key| {
            let entry = done(self.center.store().plan_device(&OWNER, plan?, key));
            entry.ok().flatten().map(|e: PlanDevice| e.state)
        });
        let states = states.collect();
        let first = &self.devices[0];
        let flash = (
            first.module.power().operations(),
            first.mcu.power().operations(),
        );
        let again = |d: &Device| {
            d.book
                .blocks
                .values()
                .map(|n| u64::from(n - 1))
                .sum::<u64>()
        };
        Outcome {
            broken: self.broken.clone(),
            states,
            boots: self
                .devices
                .iter()
                .map(|d| {
                    d.mcu
                        .would_boot()
                        .map_or_else(Default::default, |(v, i)| (v, i.len()))
                })
                .collect(),
            at: self.now,
            datagrams: self.datagrams,
            frames: self.frames,
            commits: self.center.commits(),
            flash,
            again: self.devices.iter().map(again).sum(),
            turns: self.turns,
        }
    }

    pub(crate) fn rule(&mut self, verdict: Verdict) {
        if let Err(broken) = verdict
            && self.broken.is_none()
        {
            self.tell("RULE", || broken.to_string());
            self.broken = Some(broken);
        }
    }
}
