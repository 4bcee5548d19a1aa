//! An MCU with a bootloader's rule and an agent, a module with a component, no line between them: bytes come at once.
#![allow(dead_code, unreachable_pub)] // shared by the test files; each uses a part

pub mod cuts;
pub mod nor;
#[path = "../../../link/tests/world/parts.rs"]
pub mod parts;

pub use cuts::image;
use nor::{Moment, Nor};
use parts::{Component, Stage, TARGET};
use sota_link::field::{Boot, Hello, Image, Package};
use sota_link::frame::frame_len;
use sota_link::message::ModulePhase;
use sota_link::module::{self, Input};
use sota_link::{Config, Line};
use sota_mcu::boot::{self, Rules};
use sota_mcu::state::{Phase, State};
use sota_mcu::{Agent, Layout, Output};

pub const BLOCK: usize = 256;
pub const FRAME: usize = frame_len(BLOCK);

/// What a world is made with.
#[derive(Clone, Debug)]
pub struct Setup {
    pub old: Vec<u8>,
    pub new: Vec<u8>,
    pub page: u32,
    pub word: u32,
    /// Pages of the active slot.
    pub pages: u32,
    pub window: u8,
    pub piece: u32,
    pub pulls: bool,
    pub rules: Rules,
    /// The new image confirms itself; else it is reverted at its deadline, and confirms itself when it comes again.
    pub confirms: bool,
    pub digests: [bool; 3],
    pub mcuboot: bool,
    pub asks_first: bool,
    /// What torn words and pages hold.
    pub seed: u64,
}

impl Default for Setup {
    fn default() -> Self {
        Setup {
            old: image(1, 1500),
            new: image(2, 2100),
            page: 256,
            word: 8,
            pages: 10,
            window: 4,
            piece: 1024,
            pulls: false,
            rules: Rules::default(),
            confirms: true,
            digests: [true, false, false],
            mcuboot: false,
            asks_first: false,
            seed: 7,
        }
    }
}

pub const CONFIRM_WITHIN: u32 = 5_000;

impl Setup {
    /// Everything one behind the other, the state at the end.
    pub fn layout(&self) -> Layout {
        let active_len = self.pages * self.page;
        let other_len = (self.pages + 3) * self.page;
        Layout {
            active: self.page,
            active_len,
            other: self.page + active_len,
            other_len,
            page: self.page,
            state: self.page + active_len + other_len,
            state_page: self.page,
            word: self.word,
        }
    }

    pub fn package(&self) -> Package {
        use md5::Digest as _;
        let [sha256, md5, crc32] = self.digests;
        let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
        Package {
            component: "STM32".try_into().unwrap(),
            target: TARGET.try_into().unwrap(),
            image: Image {
                length: self.new.len() as u32,
                sha256: sha256.then(|| sha2::Sha256::digest(&self.new).into()),
                md5: md5.then(|| md5::Md5::digest(&self.new).into()),
                crc32: crc32.then(|| crc.checksum(&self.new)),
            },
            ..Package::default()
        }
    }
}

pub struct World<const PAGE: usize, const WORD: usize> {
    pub setup: Setup,
    pub flash: Nor<PAGE, WORD>,
    pub now: u64,
    pub module: module::Link<FRAME>,
    pub component: Component,
    pub agent: Option<Agent<FRAME>>,
    /// How the bootloader left it.
    pub state: State,
    /// The new image runs.
    pub runs_new: bool,
    pub boots: u32,
    pub cuts: u32,
    /// The power cut after the next one, counted from where power comes again.
    pub fuse: Option<(u32, Moment)>,
    pub reverts: Vec<u16>,
    pub ended: Vec<(ModulePhase, u16)>,
    pub lines: Vec<Line>,
    /// What the module heard as running.
    pub said: Vec<(String, Boot)>,
    /// What its application was asked.
    pub asked: Vec<String>,
    sessions: u16,
    grace: Option<u64>,
}

/// Of the module, ms: long enough for an MCU that has the image to install it.
const GRACE: u64 = 180_000;

impl<const PAGE: usize, const WORD: usize> World<PAGE, WORD> {
    pub fn new(setup: Setup) -> Self {
        let layout = setup.layout();
        let mut flash = Nor::new((layout.state + 2 * layout.state_page) as usize, setup.seed);
        // The other slot and the state hold whatever was there before.
        flash.litter(
            layout.other as usize,
            (layout.state + 2 * layout.state_page) as usize,
        );
        flash.program(layout.active as usize, &setup.old);
        World {
            module: module::Link::new(0, module_config(1)),
            component: Component::new(setup.new.clone(), setup.package(), setup.piece, 20_000),
            flash,
            setup,
            now: 1_000,
            agent: None,
            state: State::default(),
            runs_new: false,
            boots: 0,
            cuts: 0,
            fuse: None,
            reverts: Vec::new(),
            ended: Vec::new(),
            lines: Vec::new(),
            said: Vec::new(),
            asked: Vec::new(),
            sessions: 1,
            grace: None,
        }
    }

    fn active(&self, bytes: &[u8]) -> bool {
        let at = self.setup.layout().active as usize;
        &self.flash.memory[at..at + bytes.len()] == bytes
    }

    /// Power comes: bootloader, then the application, if power stays so long.
    pub fn start(&mut self) {
        if self.flash.is_off {
            self.cuts += 1;
            self.flash.power_on(self.fuse.take());
        }
        self.boots += 1;
        self.agent = None;
        let layout = self.setup.layout();
        let Ok(state) = boot::run(&mut self.flash, &layout, &self.setup.rules) else {
            return;
        };
        self.state = state;
        // The one thing that must never be: neither of them.
        self.runs_new = self.active(&self.setup.new);
        assert!(
            self.runs_new != self.active(&self.setup.old),
            "a brick, at boot {} in {state:?}",
            self.boots
        );
        let wants_new = match state.phase {
            Phase::Trial => Some(true),
            Phase::Reverted => Some(false),
            _ => None,
        };
        assert!(
            wants_new.is_none_or(|new| new == self.runs_new),
            "{state:?}"
        );
        if state.phase == Phase::Reverted && self.reverts.last() != Some(&state.reason) {
            self.reverts.push(state.reason);
        }
        let version = if self.runs_new { TARGET } else { "1_0_0" };
        let config = sota_mcu::Config {
            link: sota_link::mcu::Config {
                block: BLOCK as u16,
                window: self.setup.window,
                component: "STM32",
                version,
                hardware: "rev-b",
                pulls: self.setup.pulls,
                baud: 115_200,
                ..Default::default()
            },
            confirm_within_ms: CONFIRM_WITHIN,
            asks_first: self.setup.asks_first,
            mcuboot: self.setup.mcuboot,
        };
        self.agent = Agent::new(self.now, config, layout, &mut self.flash).ok();
    }

    pub fn restart_module(&mut self) {
        self.sessions += 1;
        self.module = module::Link::new(self.now, module_config(self.sessions));
    }

    /// A millisecond, or up to the next thing that is due.
    pub fn step(&mut self) {
        if self.agent.is_none() || self.flash.is_off {
            return self.start();
        }
        let mut busy = false;
        self.run_module();
        busy |= self.carry();
        let reset = self.run_agent();
        if reset || self.flash.is_off {
            return self.start();
        }
        busy |= self.carry();
        if !busy {
            let agent = self.agent.as_ref().and_then(Agent::deadline);
            let next = [agent, self.module.deadline(), Some(self.now + 50)];
            let next = next.into_iter().flatten().min().unwrap_or(0);
            self.now = next.max(self.now + 1);
        }
    }

    /// Bytes both ways.
    fn carry(&mut self) -> bool {
        let mut bytes = [0; 64];
        let mut moved = false;
        while let Some(agent) = &mut self.agent {
            let n = self.module.next_tx(&mut bytes);
            let mut rest = &bytes[..n];
            while !rest.is_empty() {
                rest = &rest[agent.on_bytes(rest)..];
                if !rest.is_empty() {
                    while let Some(output) = agent.poll(self.now, &mut self.flash) {
                        assert!(matches!(output, Output::Line(_)), "{output:?} is lost");
                    }
                }
            }
            let m = agent.next_tx(&mut bytes);
            let mut rest = &bytes[..m];
            while !rest.is_empty() {
                rest = &rest[self.module.on_bytes(rest)..];
                if !rest.is_empty() {
                    self.run_module();
                }
            }
            if n + m == 0 {
                break;
            }
            moved = true;
        }
        moved
    }

    fn run_module(&mut self) {
        for input in self.component.poll(self.now * 1_000) {
            self.module.input(input);
        }
        while let Some(output) = self.module.poll(self.now, &mut self.component) {
            let peer = self.module.peer();
            let running = (peer.version.as_str(), peer.boot);
            if output == module::Output::Running {
                self.said.push((running.0.into(), running.1));
            }
            let mut inputs = self.component.act(self.now * 1_000, output, running);
            // As a Center does that offers again what was reverted.
            let back = matches!(running.1, Boot::Reverted(_));
            if back
                && output == module::Output::Running
                && self.component.stage == Stage::Installing
            {
                self.component.stage = Stage::Offered;
                inputs = vec![Input::Failed(7), Input::Plan(self.component.plan())];
            }
            for input in inputs {
                self.module.input(input);
            }
        }
    }

    /// `true`: it resets itself.
    fn run_agent(&mut self) -> bool {
        let Some(agent) = &mut self.agent else {
            return false;
        };
        let late = sota_mcu::McuError::TrialNotConfirmed.number();
        let confirms = self.setup.confirms || self.reverts.contains(&late);
        if confirms && agent.boot() == Boot::Trial && agent.is_up() {
            let _ = agent.confirm(&mut self.flash);
        }
        while let Some(output) = agent.poll(self.now, &mut self.flash) {
            match output {
                Output::Reset => return true,
                Output::Ended(phase, number) => self.ended.push((phase, number)),
                Output::Line(line) => self.lines.push(line),
                Output::Plan => {
                    let target = agent.plan().unwrap().target();
                    self.asked.push(str::from_utf8(target).unwrap().into());
                    agent.accept();
                }
                Output::Verified => {
                    self.asked.push("install".into());
                    agent.install();
                }
            }
        }
        false
    }

    /// Runs until `done`, or so long on the world's clock; `false`: not done.
    pub fn run_until(&mut self, most_ms: u64, mut done: impl FnMut(&Self) -> bool) -> bool {
        let end = self.now + most_ms;
        // A step without time can be a start of the MCU: more of them than that is a loop.
        for _ in 0..200_000 {
            if done(self) {
                return true;
            }
            if self.now > end {
                break;
            }
            self.step();
        }
        false
    }

    pub fn is_updated(&self) -> bool {
        self.component.stage == Stage::Updated && self.runs_new && self.agent.is_some()
    }

    pub fn standing(&self) -> String {
        format!(
            "at {}: {:?}, state {:?}, new {}, agent {:?}, reverts {:?}, boots {}, cuts {}, said {:?}",
            self.now,
            self.component.stage,
            self.state,
            self.runs_new,
            self.agent
                .as_ref()
                .map(|a| (a.phase(), a.progress(), a.is_up())),
            self.reverts,
            self.boots,
            self.cuts,
            self.said.last(),
        )
    }
}

fn module_config(session: u16) -> Config {
    Config {
        hello: Hello {
            block: BLOCK as u16,
            window: 8,
            ..Hello::default()
        },
        baud: 115_200,
        session: session.wrapping_mul(0x6255),
    }
}
