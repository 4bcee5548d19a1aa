//! An MCU with bootloader and AT agent, a module with the real AT server and engine, and a Center that offers one package.
#![allow(dead_code, unreachable_pub)] // shared by the test files; each uses a part

#[path = "../world/cuts.rs"]
pub mod cuts;
#[path = "../world/nor.rs"]
pub mod nor;

pub use cuts::image;
use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};
use nor::{Moment, Nor};
use sota::bridge::{Bridge, Output as Asked, Settings};
use sota::engine::{Config as EngineConfig, Engine};
use sota::message::{
    Command, ComponentType, Door, DownloadInfo, Etag, Event, Offer, Reply, State as EngineState,
    ToCloud, ToEngine,
};
use sota::platform::{Flash, Readings};
use sota_link::field::Boot;
use sota_mcu::at::{AtAgent, Config, Output};
use sota_mcu::boot::{self, Rules};
use sota_mcu::state::{Phase, State};
use sota_mcu::{Layout, McuError};
use std::collections::VecDeque;

pub const BLOCK: usize = 256;
const FETCH: usize = 256;
pub const SOURCE: &str = "1_0_0";
pub const TARGET: &str = "2_0_0";
/// Bytes that the line carries in a millisecond.
const RATE: usize = 12;
pub const CONFIRM_WITHIN: u32 = 30_000;

/// Of 1000 bytes so many are harmed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Harm {
    pub lost: u64,
    pub changed: u64,
    pub doubled: u64,
    pub inserted: u64,
}

/// What a world is made with.
#[derive(Clone, Debug)]
pub struct Setup {
    pub old: Vec<u8>,
    pub new: Vec<u8>,
    pub page: u32,
    pub word: u32,
    pub pages: u32,
    pub piece: u32,
    pub strict: bool,
    /// The module confirms plans itself.
    pub auto_confirm: bool,
    /// The module says nothing again when it is asked, as one of Quectel's.
    pub mute: bool,
    /// The new image confirms itself; else it is reverted at its deadline, and confirms itself when it comes again.
    pub confirms: bool,
    /// SHA-256, MD5, CRC-32.
    pub digests: [bool; 3],
    pub config: Config,
    /// The application installs so long after the image was verified, ms.
    pub lingers: u64,
    pub to_mcu: Harm,
    pub to_module: Harm,
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
            piece: 1024,
            strict: false,
            auto_confirm: false,
            mute: false,
            confirms: true,
            digests: [true; 3],
            config: Config {
                component: "STM32".try_into().unwrap(),
                confirm_within_ms: CONFIRM_WITHIN,
                request_ms: 120_000,
                sota_commands: true,
                ..Config::default()
            },
            lingers: 0,
            to_mcu: Harm::default(),
            to_module: Harm::default(),
            seed: 7,
        }
    }
}

impl Setup {
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
}

/// The module's own flash.
pub struct Ram(Vec<u8>);

#[derive(Debug)]
pub struct Never;
impl NorFlashError for Never {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::Other
    }
}
impl ErrorType for Ram {
    type Error = Never;
}
impl ReadNorFlash for Ram {
    const READ_SIZE: usize = 1;
    fn read(&mut self, at: u32, out: &mut [u8]) -> Result<(), Never> {
        out.copy_from_slice(&self.0[at as usize..][..out.len()]);
        Ok(())
    }
    fn capacity(&self) -> usize {
        self.0.len()
    }
}
impl NorFlash for Ram {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = 512;
    fn erase(&mut self, from: u32, to: u32) -> Result<(), Never> {
        self.0[from as usize..to as usize].fill(0xFF);
        Ok(())
    }
    fn write(&mut self, at: u32, bytes: &[u8]) -> Result<(), Never> {
        self.0[at as usize..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }
}

pub struct Parts {
    staging: Ram,
    journal: Ram,
}
impl Flash for Parts {
    type Staging = Ram;
    type Journal = Ram;
    fn staging(&mut self) -> &mut Ram {
        &mut self.staging
    }
    fn journal(&mut self) -> &mut Ram {
        &mut self.journal
    }
}

/// Module and Center.
pub struct Module {
    pub bridge: Bridge,
    pub engine: Engine<FETCH>,
    pub parts: Parts,
    config: EngineConfig,
    event: Option<Event>,
    fetch: Option<(usize, usize)>,
    /// What the Center gives.
    pub image: Vec<u8>,
    /// What it says that it gives.
    pub announced: Vec<u8>,
    pub use_space: u32,
    pub component: String,
    pub digests: [bool; 3],
    pub offers: u32,
    tries: u32,
    /// States that were reported to the Center, with the reason's number.
    pub reports: Vec<(EngineState, u16)>,
    /// Bytes that were fetched from the Center.
    pub fetched: usize,
    pub no_offers: bool,
    mute: bool,
}

impl Module {
    pub fn new(setup: &Setup) -> Self {
        let mut parts = Parts {
            staging: Ram(vec![0xFF; 64 * 512]),
            journal: Ram(vec![0xFF; 16 * 512]),
        };
        let base = match setup.strict {
            true => EngineConfig::strict(),
            false => EngineConfig::default(),
        };
        let config = EngineConfig {
            piece_limit: Some(setup.piece),
            auto_confirm: setup.auto_confirm,
            ..base
        };
        let mut module = Module {
            bridge: Bridge::new(Settings::new()),
            engine: Engine::start(config.clone(), 0, &mut parts),
            parts,
            config,
            event: None,
            fetch: None,
            image: setup.new.clone(),
            announced: setup.new.clone(),
            use_space: setup.new.len() as u32,
            component: "STM32".into(),
            digests: setup.digests,
            offers: 0,
            tries: 0,
            reports: Vec::new(),
            fetched: 0,
            no_offers: false,
            mute: setup.mute,
        };
        module.cloud(0, ToEngine::Link(true));
        module
    }

    pub fn restart(&mut self, now: u64) {
        self.fetch = None;
        self.event = None;
        self.engine = Engine::start(self.config.clone(), now, &mut self.parts);
        self.bridge = Bridge::new(Settings::new());
        self.cloud(now, ToEngine::Link(true));
    }

    fn cloud(&mut self, now: u64, mut message: ToEngine<FETCH>) {
        self.engine
            .on_cloud(now, Readings::default(), &mut self.parts, &mut message);
    }

    fn plan(&self) -> String {
        format!("plan-{}", self.tries)
    }

    pub fn offer(&mut self, now: u64) {
        self.offers += 1;
        let offer = Offer {
            plan: self.plan().as_str().try_into().unwrap(),
            component: self.component.as_str().try_into().unwrap(),
            kind: ComponentType::Mcu,
            target: TARGET.try_into().unwrap(),
            use_space: self.use_space,
            ..Offer::default()
        };
        let (ticket, door) = (1, Door::Plan);
        self.cloud(
            now,
            ToEngine::Offer {
                ticket,
                door,
                offer,
            },
        );
    }

    fn center(&mut self, now: u64, message: ToCloud) {
        if let ToCloud::Report { state, reason, .. } = &message {
            self.reports
                .push((*state, reason.map_or(0, |reason| reason.number())));
        }
        match message {
            ToCloud::Request { .. }
                if self.engine.version("STM32") == Some(SOURCE) && !self.no_offers =>
            {
                self.offer(now);
            }
            ToCloud::Report {
                state: EngineState::Refused | EngineState::Failure,
                ..
            } => self.tries += 1,
            ToCloud::Report {
                instance,
                state: EngineState::Confirmed | EngineState::DownloadError,
                ..
            } => {
                use md5::Digest as _;
                let [sha256, md5, crc32] = self.digests;
                let bytes = &self.announced;
                let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
                let info = DownloadInfo {
                    plan: self.plan().as_str().try_into().unwrap(),
                    length: self.announced.len() as u32,
                    md5: md5.then(|| md5::Md5::digest(bytes).into()),
                    crc32: crc32.then(|| crc.checksum(bytes)),
                    sha256: sha256.then(|| sha2::Sha256::digest(bytes).into()),
                    uri: "coap://127.0.0.1/package".try_into().unwrap(),
                };
                let ticket = 2;
                self.cloud(
                    now,
                    ToEngine::DownloadInfo {
                        ticket,
                        instance,
                        info,
                    },
                );
            }
            ToCloud::Fetch { from, to, .. } => {
                self.fetch = Some((from as usize, to as usize));
                let total = Some(self.image.len() as u32);
                let etag = Etag::new(b"tag").unwrap();
                self.cloud(now, ToEngine::FetchStarted { total, etag });
            }
            ToCloud::StopFetch => self.fetch = None,
            _ => {}
        }
    }

    /// Does something of what it can do now; `false`: nothing.
    pub fn step(&mut self, now: u64) -> bool {
        let mut moved = false;
        if let Some(output) = self.bridge.poll() {
            moved = true;
            let reply = match output {
                Asked::Command(Command::Announce) if self.mute => Reply::Ok,
                Asked::Command(command) => {
                    let buffer = self.bridge.read_buffer();
                    let readings = Readings::default();
                    self.engine
                        .command(now, readings, &mut self.parts, &command, buffer)
                }
                Asked::Versions => {
                    for (name, version) in self.engine.versions() {
                        self.bridge.version(name, version);
                    }
                    Reply::Ok
                }
            };
            self.bridge.reply(reply);
        }
        self.engine.poll(now, Readings::default(), &mut self.parts);
        if let Some(message) = self.engine.next_to_cloud() {
            moved = true;
            self.center(now, message);
        }
        if let Some((from, to)) = self.fetch
            && self.engine.can_take_block()
        {
            moved = true;
            let end = to.min(from + FETCH).min(self.image.len());
            self.fetch = (end < to.min(self.image.len())).then_some((end, to));
            self.fetched += end - from;
            let data = self.image[from..end].iter().copied().collect();
            let offset = from as u32;
            self.cloud(now, ToEngine::Block { offset, data });
        }
        self.event = self.event.take().or_else(|| self.engine.next_event());
        if let Some(event) = &self.event
            && self.bridge.on_event(event)
        {
            moved = true;
            self.event = None;
        }
        moved
    }
}

pub struct World<const PAGE: usize, const WORD: usize> {
    pub setup: Setup,
    pub flash: Nor<PAGE, WORD>,
    pub now: u64,
    pub module: Module,
    pub agent: Option<AtAgent<BLOCK>>,
    pub state: State,
    pub runs_new: bool,
    pub boots: u32,
    pub cuts: u32,
    pub fuse: Option<(u32, Moment)>,
    pub reverts: Vec<u16>,
    pub outputs: Vec<Output>,
    /// What its application was asked.
    pub plans: Vec<(String, u32)>,
    /// All that was sent to the module, and by it.
    pub said: Vec<u8>,
    pub heard: Vec<u8>,
    install_at: Option<u64>,
    /// The module says and hears nothing.
    pub silent: bool,
    to_mcu: VecDeque<u8>,
    to_module: VecDeque<u8>,
    /// Said to the MCU between the lines.
    pub storm: Option<&'static [&'static str]>,
    storms: usize,
    dice: u64,
}

impl<const PAGE: usize, const WORD: usize> World<PAGE, WORD> {
    pub fn new(setup: Setup) -> Self {
        let layout = setup.layout();
        let size = (layout.state + 2 * layout.state_page) as usize;
        let mut flash = Nor::new(size, setup.seed);
        // The other slot and the state hold whatever was there before.
        flash.litter(layout.other as usize, size);
        flash.program(layout.active as usize, &setup.old);
        World {
            module: Module::new(&setup),
            flash,
            now: 1_000,
            agent: None,
            state: State::default(),
            runs_new: false,
            boots: 0,
            cuts: 0,
            fuse: None,
            reverts: Vec::new(),
            outputs: Vec::new(),
            plans: Vec::new(),
            said: Vec::new(),
            heard: Vec::new(),
            install_at: None,
            silent: false,
            to_mcu: VecDeque::new(),
            to_module: VecDeque::new(),
            storm: None,
            storms: 0,
            dice: setup.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            setup,
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
        self.to_mcu.clear();
        let layout = self.setup.layout();
        let Ok(state) = boot::run(&mut self.flash, &layout, &Rules::default()) else {
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
        if state.phase == Phase::Reverted && self.reverts.last() != Some(&state.reason) {
            self.reverts.push(state.reason);
        }
        let version = if self.runs_new { TARGET } else { SOURCE };
        let config = Config {
            version: version.try_into().unwrap(),
            ..self.setup.config.clone()
        };
        self.agent = AtAgent::new(self.now, config, layout, &mut self.flash).ok();
    }

    fn random(&mut self, most: u64) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        (self.dice >> 11) % most
    }

    fn harm(&mut self, byte: u8, harm: Harm, out: &mut Vec<u8>) {
        let chance = self.random(1_000);
        let Harm {
            lost,
            changed,
            doubled,
            inserted,
        } = harm;
        let other = self.random(256) as u8;
        match chance {
            n if n < lost => {}
            n if n < lost + changed => out.push(other),
            n if n < lost + changed + doubled => out.extend([byte; 2]),
            n if n < lost + changed + doubled + inserted => out.extend([other, byte]),
            _ => out.push(byte),
        }
    }

    /// A millisecond, or up to the next thing that is due.
    pub fn step(&mut self) {
        if self.agent.is_none() || self.flash.is_off {
            return self.start();
        }
        let mut busy = false;
        if !self.silent {
            while self.module.step(self.now) {
                busy = true;
            }
        }
        busy |= self.carry();
        if self.run_agent() || self.flash.is_off {
            return self.start();
        }
        busy |= self.carry();
        if busy {
            self.now += 1;
            return;
        }
        let agent = self.agent.as_ref().and_then(AtAgent::deadline);
        let module = (!self.silent).then(|| self.module.engine.deadline());
        let next = [agent, module.flatten(), Some(self.now + 5_000)];
        let next = next.into_iter().flatten().min().unwrap_or(0);
        self.now = next.max(self.now + 1);
    }

    /// What the line carries in a millisecond, both ways.
    fn carry(&mut self) -> bool {
        let mut moved = false;
        let mut bytes = [0; RATE];
        let n = self.module.bridge.next_bytes(&mut bytes);
        let mut out = Vec::new();
        for byte in &bytes[..n] {
            self.harm(*byte, self.setup.to_mcu, &mut out);
        }
        if !self.silent {
            self.heard.extend(&out);
            self.to_mcu.extend(&out);
        }
        moved |= n > 0;
        if let Some(storm) = self.storm
            && n == 0
            && self.now.is_multiple_of(3)
        {
            self.storms += 1;
            let line = storm[self.storms % storm.len()];
            self.to_mcu.extend(format!("\r\n{line}\r\n").bytes());
        }
        if let Some(agent) = &mut self.agent {
            let n = agent.next_tx(&mut bytes);
            let mut out = Vec::new();
            for byte in bytes[..n].iter().copied() {
                self.harm(byte, self.setup.to_module, &mut out);
            }
            self.said.extend(&out);
            if !self.silent {
                self.to_module.extend(out);
            }
            moved |= n > 0;
        }
        let taken = self
            .module
            .bridge
            .on_bytes(self.to_module.make_contiguous());
        self.to_module.drain(..taken);
        moved | (taken > 0)
    }

    /// `true`: it resets itself.
    fn run_agent(&mut self) -> bool {
        let late = McuError::TrialNotConfirmed.number();
        loop {
            let Some(agent) = &mut self.agent else {
                return false;
            };
            let taken = agent.on_bytes(self.to_mcu.make_contiguous());
            self.to_mcu.drain(..taken);
            while let Some(output) = agent.poll(self.now, &mut self.flash) {
                self.outputs.push(output);
                match output {
                    Output::Reset => return true,
                    Output::Plan => {
                        self.plans.push((agent.plan().0.into(), agent.plan().1));
                        agent.accept();
                    }
                    Output::Verified => self.install_at = Some(self.now + self.setup.lingers),
                    _ => {}
                }
            }
            if self.install_at.is_some_and(|at| self.now >= at) {
                self.install_at = None;
                agent.install();
            }
            let confirms = self.setup.confirms || self.reverts.contains(&late);
            if confirms && agent.boot() == Boot::Trial && agent.is_up() {
                let _ = agent.confirm(&mut self.flash);
            }
            if taken == 0 {
                return false;
            }
        }
    }

    /// Says this to the module as if the MCU had.
    pub fn say(&mut self, bytes: &[u8]) {
        self.to_module.extend(bytes);
    }

    /// Runs until `done`, or so long on the world's clock; `false`: not done.
    pub fn run_until(&mut self, most_ms: u64, mut done: impl FnMut(&Self) -> bool) -> bool {
        let end = self.now + most_ms;
        for _ in 0..20_000_000 {
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

    /// The new image runs for good, and the module and the Center know.
    pub fn is_updated(&self) -> bool {
        self.runs_new
            && self
                .agent
                .as_ref()
                .is_some_and(|a| a.boot() == Boot::Confirmed)
            && self.module.engine.version("STM32") == Some(TARGET)
    }

    pub fn ended(&self) -> Vec<u16> {
        let ends = self.outputs.iter().filter_map(|output| match output {
            Output::Ended(number) => Some(*number),
            _ => None,
        });
        ends.collect()
    }

    pub fn commands(&self) -> String {
        String::from_utf8_lossy(&self.said).replace('\r', "\n")
    }

    pub fn standing(&self) -> String {
        let tail = |bytes: &[u8]| {
            String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(400)..]).into_owned()
        };
        format!(
            "at {}: engine {:?}, state {:?}, new {}, agent {:?}, reverts {:?}, boots {}, cuts {}, ended {:?}, offers {}\nsaid {}\nheard {}",
            self.now,
            self.module.engine.state(),
            self.state,
            self.runs_new,
            self.agent
                .as_ref()
                .map(|a| (a.phase(), a.progress(), a.is_up(), a.deadline())),
            self.reverts,
            self.boots,
            self.cuts,
            self.ended(),
            self.module.offers,
            tail(&self.said).replace('\r', "\n"),
            tail(&self.heard),
        )
    }
}
