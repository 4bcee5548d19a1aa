//! Both ends, a line between them, flash and a component, on virtual time; everything random from one seed.
#![allow(dead_code, unreachable_pub)] // shared by the test files; each uses a part

pub mod line;
pub mod parts;

use line::{Faults, Lane};
use parts::{Component, Flash, TARGET};
use sota_link::field::{Boot, Hello, Image, Package};
use sota_link::frame::frame_len;
use sota_link::mcu::{self, Slot};
use sota_link::message::ModulePhase;
use sota_link::module;
use sota_link::{Config, Line};
use std::collections::VecDeque;

/// xorshift64*.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    pub fn once_in(&mut self, cases: u64) -> bool {
        cases > 0 && self.next().is_multiple_of(cases)
    }
}

pub const FRAME: usize = frame_len(1024);
pub const STEP_US: u64 = 100;

/// What a world is made with.
#[derive(Clone, Debug)]
pub struct Setup {
    pub seed: u64,
    pub length: usize,
    pub piece: u32,
    pub fetch_us: u64,
    pub block: [u16; 2],
    pub window: [u8; 2],
    pub page: usize,
    pub page_us: u64,
    pub slot: u32,
    pub baud: u32,
    pub rate: [u32; 2],
    pub pulls: bool,
    pub faults: Faults,
}

impl Default for Setup {
    fn default() -> Self {
        Setup {
            seed: 1,
            length: 20_000,
            piece: 8192,
            fetch_us: 20_000,
            block: [1024, 1024],
            window: [8, 8],
            page: 1024,
            page_us: 2_000,
            slot: 0x10000,
            baud: 115_200,
            rate: [0, 0],
            pulls: false,
            faults: Faults::default(),
        }
    }
}

/// One end's UART.
pub struct Port {
    pub rx: VecDeque<u8>,
    pub baud: u32,
    next_baud: Option<u32>,
    /// The processor does nothing until then, us.
    busy_until: u64,
    /// Power is off until then, us.
    pub off_until: u64,
}

impl Port {
    fn new(baud: u32) -> Port {
        Port {
            rx: VecDeque::new(),
            baud,
            next_baud: None,
            busy_until: 0,
            off_until: 0,
        }
    }
}

pub struct World {
    pub setup: Setup,
    pub now_us: u64,
    pub rng: Rng,
    pub lanes: [Lane; 2],
    pub ports: [Port; 2],
    pub module: module::Link<FRAME>,
    pub mcu: mcu::Link<FRAME>,
    pub component: Component,
    pub flash: Flash,
    /// What the MCU's bootloader would say.
    pub running: (&'static str, Boot),
    /// When it says that its image is good.
    confirm_us: Option<u64>,
    verify_us: Option<u64>,
    /// Wrong digests that it finds although the bytes are right.
    pub misjudge: u32,
    /// Why it does not install what it verified.
    pub unfit: Option<u16>,
    pub faults_heard: Vec<(usize, Line)>,
    sessions: u16,
    pub installs: u32,
    /// How its last upgrade ended, as the MCU heard it.
    pub ended: Option<(ModulePhase, u16)>,
    /// Its application refuses plans.
    pub plan_refused: Option<u16>,
    /// Its new image never confirms.
    pub never_confirms: bool,
    /// Bytes at a greater rate are harmed.
    pub deaf_above: Option<u32>,
    /// Power cuts inside a flash operation.
    pub cuts: u32,
}

pub fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut rng = Rng(seed | 1);
    // Runs of zeros and of 0xFF, as images have.
    (0..length)
        .map(|i| match i / 512 % 4 {
            0 => 0,
            1 => 0xFF,
            _ => rng.next() as u8,
        })
        .collect()
}

fn sum(bytes: &[u8]) -> u32 {
    crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(bytes)
}

impl World {
    pub fn new(setup: Setup) -> World {
        let image = bytes(setup.seed, setup.length);
        let package = Package {
            component: "STM32".try_into().unwrap(),
            target: TARGET.try_into().unwrap(),
            image: Image {
                length: setup.length as u32,
                crc32: Some(sum(&image)),
                ..Image::default()
            },
            ..Package::default()
        };
        let running = ("1_0_0", Boot::Confirmed);
        let mut world = World {
            now_us: 1_000_000,
            rng: Rng(setup.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
            lanes: [Lane::new(), Lane::new()],
            ports: [Port::new(setup.baud), Port::new(setup.baud)],
            module: module::Link::new(0, Config::default()),
            mcu: mcu::Link::new(0, mcu::Config::default()),
            component: Component::new(image, package, setup.piece, setup.fetch_us),
            flash: Flash::new(0x80000, setup.page, setup.page_us),
            running,
            confirm_us: None,
            verify_us: None,
            misjudge: 0,
            unfit: None,
            faults_heard: Vec::new(),
            sessions: 0,
            installs: 0,
            ended: None,
            plan_refused: None,
            never_confirms: false,
            deaf_above: None,
            cuts: 0,
            setup,
        };
        world.reset_module(0);
        world.reset_mcu(0);
        world
    }

    pub fn now(&self) -> u64 {
        self.now_us / 1_000
    }

    fn session(&mut self) -> u16 {
        self.sessions += 1;
        self.sessions.wrapping_mul(0x6255)
    }

    pub fn reset_module(&mut self, off_us: u64) {
        let config = Config {
            hello: Hello {
                block: self.setup.block[0],
                window: self.setup.window[0],
                rate: self.setup.rate[0],
                ..Hello::default()
            },
            baud: self.setup.baud,
            session: self.session(),
        };
        self.module = module::Link::new(self.now(), config);
        self.ports[0] = Port::new(self.setup.baud);
        self.ports[0].off_until = self.now_us + off_us;
    }

    pub fn reset_mcu(&mut self, off_us: u64) {
        self.flash.reset();
        let config = mcu::Config {
            block: self.setup.block[1],
            window: self.setup.window[1],
            rate: self.setup.rate[1],
            page: self.setup.page as u32,
            slot: self.setup.slot,
            component: "STM32",
            version: self.running.0,
            boot: self.running.1,
            hardware: "rev-b",
            pulls: self.setup.pulls,
            baud: self.setup.baud,
            session: self.session(),
            ..mcu::Config::default()
        };
        self.mcu = mcu::Link::new(self.now(), config);
        self.ports[1] = Port::new(self.setup.baud);
        self.ports[1].off_until = self.now_us + off_us;
        self.verify_us = None;
        let on_trial = self.running.1 == Boot::Trial && !self.never_confirms;
        self.confirm_us = on_trial.then_some(self.now_us + off_us + 300_000);
    }

    /// When something happens next, if the line is quiet.
    fn next_us(&self) -> u64 {
        let quiet = self.lanes.iter().all(Lane::is_empty)
            && self.ports.iter().all(|port| port.rx.is_empty())
            && self.ports.iter().all(|port| port.next_baud.is_none());
        if !quiet {
            return 0;
        }
        let fetch = match self.component.stage {
            parts::Stage::Fetching { ready_us, .. } => Some(ready_us),
            _ => None,
        };
        let ports = self
            .ports
            .iter()
            .flat_map(|port| [port.off_until, port.busy_until]);
        [
            self.module.deadline().map(|ms| ms.saturating_mul(1_000)),
            self.mcu.deadline().map(|ms| ms.saturating_mul(1_000)),
            fetch,
            self.verify_us,
            self.confirm_us,
        ]
        .into_iter()
        .flatten()
        .chain(ports.filter(|at| *at > self.now_us))
        .min()
        .unwrap_or(0)
    }

    /// One step of time, or to the next thing that happens.
    pub fn step(&mut self) {
        let next = self.next_us().saturating_sub(self.now_us) / STEP_US;
        self.now_us += STEP_US * next.clamp(1, 10_000);
        for end in 0..2 {
            let from = 1 - end;
            let port = &mut self.ports[end];
            let mut heard = VecDeque::new();
            let deaf = self.deaf_above.is_some_and(|most| port.baud > most);
            self.lanes[from].arrived(
                self.now_us * 1_000,
                if deaf { 0 } else { port.baud },
                &self.setup.faults,
                &mut self.rng,
                &mut heard,
            );
            if self.now_us >= port.off_until {
                port.rx.extend(heard);
            }
        }
        let ready = |port: &Port, now| now >= port.off_until && now >= port.busy_until;
        if ready(&self.ports[0], self.now_us) {
            self.run_module();
        }
        if ready(&self.ports[1], self.now_us) {
            self.run_mcu();
        }
        for end in 0..2 {
            self.transmit(end);
        }
    }

    fn transmit(&mut self, end: usize) {
        let (port, lane) = (&mut self.ports[end], &mut self.lanes[end]);
        if self.now_us < port.off_until {
            return;
        }
        if let Some(baud) = port.next_baud {
            if !lane.is_empty() {
                return;
            }
            port.baud = baud;
            port.next_baud = None;
        }
        // A link fills its buffer again as soon as it is empty, as a port with a DMA of two buffers lets it.
        while lane.room() > 0 {
            let mut out = [0; 64];
            let room = lane.room();
            let n = match end {
                0 => self.module.next_tx(&mut out[..room]),
                _ => self.mcu.next_tx(&mut out[..room]),
            };
            lane.push(self.now_us * 1_000, &out[..n], port.baud);
            if n == 0 {
                break;
            }
        }
    }

    fn run_module(&mut self) {
        for input in self.component.poll(self.now_us) {
            self.module.input(input);
        }
        loop {
            let rx = &mut self.ports[0].rx;
            let taken = self.module.on_bytes(rx.make_contiguous());
            rx.drain(..taken);
            while let Some(output) = self.module.poll(self.now(), &mut self.component) {
                if let module::Output::Line(line) = output {
                    self.on_line(0, line);
                }
                let peer = self.module.peer();
                let running = (peer.version.as_str(), peer.boot);
                for input in self.component.act(self.now_us, output, running) {
                    self.module.input(input);
                }
            }
            if taken == 0 {
                return;
            }
        }
    }

    fn on_line(&mut self, end: usize, line: Line) {
        match line {
            Line::Baud(baud) => {
                self.transmit_all(end);
                self.ports[end].next_baud = Some(baud);
            }
            line => self.faults_heard.push((end, line)),
        }
    }

    fn transmit_all(&mut self, end: usize) {
        let mut out = [0; 2048];
        let n = match end {
            0 => self.module.next_tx(&mut out),
            _ => self.mcu.next_tx(&mut out),
        };
        self.lanes[end].push(self.now_us * 1_000, &out[..n], self.ports[end].baud);
    }

    fn run_mcu(&mut self) {
        if let Some(at) = self.verify_us
            && self.now_us >= at
        {
            self.verify_us = None;
            let length = self.mcu.image().length as usize;
            let mut good = Some(sum(&self.flash.memory[..length])) == self.mcu.image().crc32;
            if good && self.misjudge > 0 {
                self.misjudge -= 1;
                good = false;
            }
            match self.unfit {
                Some(number) => self.mcu.unfit(number),
                None => self.mcu.verified(good, &mut self.flash),
            }
            self.mcu.install();
        }
        if let Some(at) = self.confirm_us
            && self.now_us >= at
            && self.mcu.is_up()
        {
            self.confirm_us = None;
            self.running.1 = Boot::Confirmed;
            self.mcu.set_running(self.running.0, Boot::Confirmed);
        }
        loop {
            let rx = &mut self.ports[1].rx;
            let taken = self.mcu.on_bytes(rx.make_contiguous());
            rx.drain(..taken);
            while let Some(output) = self.mcu.poll(self.now(), &mut self.flash) {
                match output {
                    mcu::Output::Line(line) => self.on_line(1, line),
                    mcu::Output::Plan => match self.plan_refused {
                        Some(number) => self.mcu.refuse(number),
                        None => self.mcu.accept(),
                    },
                    mcu::Output::Verify => self.verify_us = Some(self.now_us + 30_000),
                    mcu::Output::Install => {
                        let length = self.setup.length;
                        assert_eq!(self.flash.memory[..length], self.component.bytes);
                        self.installs += 1;
                        self.running = (TARGET, Boot::Trial);
                        return self.reset_mcu(50_000);
                    }
                    mcu::Output::Ended(phase, number) => self.ended = Some((phase, number)),
                }
            }
            if self.flash.is_dead() {
                self.cuts += 1;
                return self.reset_mcu(5_000);
            }
            let busy = std::mem::take(&mut self.flash.busy_us);
            if busy > 0 {
                self.ports[1].busy_until = self.now_us + busy;
                return;
            }
            if taken == 0 {
                return;
            }
        }
    }

    /// Runs until `done`, or so long; `false`: not done.
    pub fn run_until(&mut self, most_us: u64, mut done: impl FnMut(&World) -> bool) -> bool {
        let end = self.now_us + most_us;
        while self.now_us < end {
            if done(self) {
                return true;
            }
            self.step();
        }
        done(self)
    }

    /// The whole upgrade, or a message with what stands.
    pub fn upgrade(&mut self, most_us: u64) -> u64 {
        let began = self.now_us;
        let done = self.run_until(most_us, |w| w.component.stage == parts::Stage::Updated);
        assert!(done, "{}", self.standing());
        assert_eq!(self.flash.memory[..self.setup.length], self.component.bytes);
        self.now_us - began
    }

    pub fn standing(&self) -> String {
        format!(
            "at {} ms: {:?}, MCU {:?}, durable {}, {:?}, resume {:?}, setup {:?}, bauds {} {}",
            self.now(),
            self.component.stage,
            self.mcu.phase(),
            self.module.durable(),
            (self.module.is_up(), self.mcu.is_up()),
            self.flash.memory.len(),
            self.setup,
            self.ports[0].baud,
            self.ports[1].baud,
        )
    }

    pub fn heard(&self, end: usize, number: u16) -> bool {
        self.faults_heard.iter().any(|(at, line)| {
            *at == end
                && match line {
                    Line::Fault(is) | Line::PeerError(is) => *is == number,
                    _ => false,
                }
        })
    }

    pub fn slot(&mut self) -> &mut impl Slot {
        &mut self.flash
    }
}
