//! A Center, an MCU and the network around one engine, as small as they can be.

use std::{collections::BTreeMap, vec, vec::Vec};

use md5::{Digest, Md5};
use sha2::Sha256;

use super::flash::Parts;
use crate::{
    bridge::route::{Routes, Targets},
    engine::{Config, Engine, digest::crc32},
    message::*,
    platform::Readings,
};

pub(super) const BLOCK: usize = 256;

/// What the MCU does by itself.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Mcu {
    /// Everything: confirms, reads, asks for the next piece, flashes, reports the target.
    Good,
    /// Nothing: the test does it.
    Idle,
}

pub(super) struct World<const PAGE: usize = 1024, const WRITE: usize = 4> {
    pub(super) flash: Parts<PAGE, WRITE>,
    pub(super) config: Config,
    pub(super) engine: Engine<BLOCK>,
    pub(super) now: Millis,
    pub(super) readings: Readings,
    pub(super) mcu: Mcu,
    pub(super) package: Vec<u8>,
    pub(super) image: Vec<u8>,
    pub(super) offer: Offer,
    pub(super) info: DownloadInfo,
    /// Offers of one set in the plan's sequence, with their packages; empty: `offer` and `package` alone.
    pub(super) set: Vec<(Offer, Vec<u8>)>,
    /// The last state reported of each instance, as the Center knows it.
    known: BTreeMap<u8, State>,
    /// What the MCU has read of each component of the set.
    pub(super) images: BTreeMap<ComponentName, Vec<u8>>,
    /// The component that the MCU was told of last.
    turn: ComponentName,
    pub(super) door: Door,
    /// The Center answers "confirmed" and "download error" with the download information.
    pub(super) center_sends_info: bool,
    /// The server tells Size2 with the first block.
    pub(super) size2: bool,
    pub(super) etag: u8,
    pub(super) events: Vec<Event>,
    /// Who serves what, and whom each event was for.
    pub(super) routes: Routes,
    pub(super) heard: Vec<(Targets, u16)>,
    pub(super) reports: Vec<(u8, State, Option<Reason>)>,
    pub(super) verdicts: Vec<Result<(), Reason>>,
    pub(super) views: Vec<View>,
    pub(super) fetches: BTreeMap<u32, u32>,
    fetch: Option<(u32, u32, bool)>,
    pub(super) online: bool,
    /// Corrupts the block at this offset.
    pub(super) corrupt: Option<u32>,
}

pub(super) fn package(len: usize) -> Vec<u8> {
    (0..len)
        .map(|i| (i * 31 + (i >> 8) * 7 + 3) as u8)
        .collect()
}

pub(super) fn offer(source: &str, target: &str) -> Offer {
    Offer {
        plan: "plan-1".try_into().unwrap(),
        component: "STM32".try_into().unwrap(),
        kind: ComponentType::Mcu,
        source: source.try_into().unwrap(),
        target: target.try_into().unwrap(),
        ..Offer::default()
    }
}

pub(super) fn info(plan: &str, package: &[u8]) -> DownloadInfo {
    DownloadInfo {
        plan: plan.try_into().unwrap(),
        length: package.len() as u32,
        md5: Some(Md5::digest(package).into()),
        crc32: Some(crc32(0, package)),
        sha256: Some(Sha256::digest(package).into()),
        uri: "coap://127.0.0.1/p".try_into().unwrap(),
    }
}

/// The Plan instance of an offer's component; worlds with two components have ESP32 as the second one.
fn instance(offer: &Offer) -> u8 {
    match offer.component.as_str() {
        "STM32" => 1,
        "ESP32" => 2,
        _ => 0,
    }
}

impl<const PAGE: usize, const WRITE: usize> World<PAGE, WRITE> {
    /// `staging` and the piece in bytes; the MCU runs 1_0.
    pub(super) fn new(config: Config, staging: usize, length: usize) -> Self {
        let mut flash = Parts::new(staging, 2 * 4096.max(PAGE));
        let engine = Engine::start(config.clone(), 0, &mut flash);
        let package = package(length);
        let mut offer = offer("", "2_0");
        offer.use_space = length as u32;
        let mut world = World {
            flash,
            config,
            engine,
            now: 0,
            readings: Readings::default(),
            mcu: Mcu::Good,
            image: vec![0; length],
            info: info("plan-1", &package),
            package,
            turn: offer.component.clone(),
            offer,
            set: Vec::new(),
            known: BTreeMap::new(),
            images: BTreeMap::new(),
            door: Door::Plan,
            center_sends_info: true,
            size2: true,
            etag: 1,
            events: Vec::new(),
            routes: Routes::new(true),
            heard: Vec::new(),
            reports: Vec::new(),
            verdicts: Vec::new(),
            views: Vec::new(),
            fetches: BTreeMap::new(),
            fetch: None,
            online: true,
            corrupt: None,
        };
        world.tell(ToEngine::Link(true));
        world.version("STM32", "1_0");
        world
    }

    pub(super) fn tell(&mut self, mut message: ToEngine<BLOCK>) {
        let (now, readings) = (self.now, self.readings);
        self.engine
            .on_cloud(now, readings, &mut self.flash, &mut message);
    }

    pub(super) fn ask(&mut self, command: Command) -> Reply {
        let (now, readings) = (self.now, self.readings);
        self.engine
            .command(now, readings, &mut self.flash, &command, &mut [])
    }

    /// As the back end at place `from` asks.
    pub(super) fn ask_from(&mut self, from: usize, command: Command, out: &mut [u8]) -> Reply {
        let (now, readings) = (self.now, self.readings);
        let (engine, flash) = (&mut self.engine, &mut self.flash);
        self.routes
            .command(from, engine, now, readings, flash, &command, out)
    }

    pub(super) fn action(&mut self, action: u8) -> Reply {
        self.ask(Command::Action(action))
    }

    pub(super) fn version(&mut self, name: &str, version: &str) -> Reply {
        let command = Command::SetMcuVersion(name.try_into().unwrap(), version.try_into().unwrap());
        self.ask(command)
    }

    pub(super) fn read(&mut self, start: u32, out: &mut [u8]) -> Reply {
        let (now, readings) = (self.now, self.readings);
        let command = Command::Read {
            start,
            len: out.len() as u32,
        };
        self.engine
            .command(now, readings, &mut self.flash, &command, out)
    }

    pub(super) fn offer(&mut self) -> Result<(), Reason> {
        let (door, offer) = (self.door, self.offer.clone());
        self.tell(ToEngine::Offer {
            ticket: 1,
            door,
            offer,
        });
        self.run(1);
        self.verdicts.pop().unwrap()
    }

    pub(super) fn send_info(&mut self) {
        let info = self.info.clone();
        self.tell(ToEngine::DownloadInfo {
            ticket: 2,
            instance: instance(&self.offer),
            info,
        });
    }

    /// What the Center does at every contact: offers that no report acknowledged, then the download information
    /// of the first component of the sequence that does not run its target.
    pub(super) fn contact(&mut self) {
        for (offer, _) in self.set.clone() {
            if !self.known.contains_key(&instance(&offer)) && !self.dead() {
                let (ticket, door) = (1, self.door);
                self.tell(ToEngine::Offer {
                    ticket,
                    door,
                    offer,
                });
            }
        }
        let waits = |(offer, _): &&(Offer, Vec<u8>)| {
            self.engine.version(&offer.component) != Some(offer.target.as_str())
        };
        let Some((offer, package)) = self.set.iter().find(waits) else {
            return;
        };
        let instance = instance(offer);
        let known = self.known.get(&instance);
        if matches!(known, Some(State::Confirmed | State::DownloadError)) && !self.flash.dead() {
            let mut info = info(&offer.plan, package);
            info.uri.push_str(&offer.component).unwrap();
            self.tell(ToEngine::DownloadInfo {
                ticket: 2,
                instance,
                info,
            });
        }
    }

    pub(super) fn dead(&mut self) -> bool {
        self.flash.dead()
    }

    /// The power went (or is taken now) and comes back for good.
    pub(super) fn restart(&mut self) {
        self.flash.set_power(None);
        self.restart_with_power();
    }

    /// The power comes back for as long as the flash was told.
    pub(super) fn restart_with_power(&mut self) {
        self.fetch = None;
        self.engine = Engine::start(self.config.clone(), self.now, &mut self.flash);
        self.tell(ToEngine::Link(true));
    }

    /// One round of everything; gives whether something happened.
    fn round(&mut self) -> bool {
        let (now, readings) = (self.now, self.readings);
        let mut busy = self.engine.deadline().is_some_and(|at| at <= now);
        self.engine.poll(now, readings, &mut self.flash);
        if self.dead() {
            return false;
        }
        while let Some(message) = self.engine.next_to_cloud() {
            busy = true;
            self.cloud(message);
            if self.dead() {
                return false;
            }
        }
        loop {
            let targets = self.routes.targets(&mut self.engine);
            let Some(event) = self.engine.next_event() else {
                break;
            };
            busy = true;
            self.heard.push((targets, event.code()));
            self.events.push(event.clone());
            if let Event::DownloadStart(Some(package)) = &event {
                self.turn = package.component.clone();
                self.image.resize(package.length as usize, 0);
            }
            if self.mcu == Mcu::Good {
                self.mcu_hears(event);
            }
            if self.dead() {
                return false;
            }
        }
        if self.online && self.engine.can_take_block() && self.send_block() {
            busy = true;
        }
        busy
    }

    fn cloud(&mut self, message: ToCloud) {
        match message {
            ToCloud::Verdict { result, .. } => self.verdicts.push(result),
            ToCloud::View(view) => self.views.push(view),
            ToCloud::Report {
                instance,
                state,
                reason,
            } => {
                self.reports.push((instance, state, reason));
                self.known.insert(instance, state);
                if !self.set.is_empty() {
                    // The offers come once by themselves: what is missing comes after a restart.
                    let more = [State::Confirmed, State::DownloadError, State::Success];
                    if self.center_sends_info && more.contains(&state) {
                        self.contact();
                    }
                } else if self.center_sends_info
                    && self.door == Door::Plan
                    && matches!(state, State::Confirmed | State::DownloadError)
                {
                    self.send_info();
                }
            }
            ToCloud::Fetch { uri, from, to, .. } => {
                let of = |(offer, _): &&(Offer, Vec<u8>)| uri.ends_with(offer.component.as_str());
                if let Some((_, package)) = self.set.iter().find(of) {
                    self.package = package.clone();
                }
                assert_eq!(from as usize % BLOCK, 0);
                assert!(to == u32::MAX || to <= self.package.len() as u32);
                self.fetch = Some((from, to, false));
            }
            ToCloud::StopFetch => self.fetch = None,
            ToCloud::Connect(_) | ToCloud::Request { .. } => {}
        }
    }

    pub(super) fn send_block(&mut self) -> bool {
        let Some((from, to, started)) = self.fetch else {
            return false;
        };
        let len = self.package.len() as u32;
        if from >= to.min(len) {
            return false;
        }
        let end = (from + BLOCK as u32).min(len);
        let last = to == u32::MAX && end == len;
        if !started || last {
            let total = (self.size2 || last).then_some(len);
            let etag = Etag::new(&[self.etag]).unwrap();
            self.tell(ToEngine::FetchStarted { total, etag });
        }
        *self.fetches.entry(from).or_default() += 1;
        let mut bytes = self.package[from as usize..end.min(to) as usize].to_vec();
        if self.corrupt == Some(from) {
            bytes[0] ^= 1;
        }
        let data = heapless::Vec::from_slice(&bytes).unwrap();
        self.fetch = Some((end, to, true));
        if !self.dead() {
            self.tell(ToEngine::Block { offset: from, data });
        }
        true
    }

    fn mcu_hears(&mut self, event: Event) {
        match event {
            Event::Plan(_) => {
                self.action(1);
            }
            Event::Downloaded(Some(piece)) => {
                self.read_piece(&piece);
                if self.dead() {
                    return;
                }
                let image = self.image[..piece.length as usize].to_vec();
                self.images.insert(piece.component.clone(), image);
                let last = piece.start + piece.piece_length == piece.length;
                self.action(if last { 3 } else { 2 });
            }
            Event::Updating => {
                let target = self.offer.target.clone();
                let target = if target.is_empty() {
                    "new".try_into().unwrap()
                } else {
                    target
                };
                let name = self.turn.clone();
                self.ask(Command::SetMcuVersion(name, target));
            }
            _ => {}
        }
    }

    pub(super) fn read_piece(&mut self, piece: &Piece) {
        let mut at = piece.start;
        let end = piece.start + piece.piece_length;
        while at < end {
            let mut buffer = [0; 200];
            let Reply::Read(n) = self.read(at, &mut buffer) else {
                panic!("no read at {at}")
            };
            self.image[at as usize..at as usize + n].copy_from_slice(&buffer[..n]);
            at += n as u32;
        }
    }

    /// Rounds until nothing happens, at most `rounds`.
    pub(super) fn run(&mut self, rounds: usize) {
        for _ in 0..rounds {
            if !self.round() {
                return;
            }
        }
    }

    pub(super) fn settle(&mut self) {
        self.run(100_000);
    }

    /// Time goes on, timer by timer.
    pub(super) fn pass(&mut self, ms: Millis) {
        let end = self.now + ms;
        self.settle();
        while let Some(at) = self.engine.deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.settle();
        }
        self.now = end;
        self.settle();
    }

    pub(super) fn codes(&self) -> Vec<u16> {
        let mut codes: Vec<u16> = self.events.iter().map(Event::code).collect();
        codes.retain(|code| *code >= 10700);
        codes
    }

    pub(super) fn states(&self) -> Vec<u8> {
        self.reports.iter().map(|r| r.1.number()).collect()
    }

    pub(super) fn forget(&mut self) {
        self.events.clear();
        self.heard.clear();
        self.reports.clear();
    }

    pub(super) fn last_reason(&self) -> Option<Reason> {
        self.reports.last().and_then(|r| r.2)
    }
}
