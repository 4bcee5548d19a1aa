//! An MCU's AT agent: what the module says, time, its application's answers, resets, power cuts and broken flash.
//!
//! | byte | then | |
//! |---|---|---|
//! | first | | bits of the configuration |
//! | 00..7F | | an honest module is there for so many exchanges |
//! | 80 | length 2, bytes | a module says this |
//! | 81 | ms 2 | time |
//! | 82 | | reset |
//! | 83..88 | | the application: confirm, revert, install, accept, refuse, ask for a plan |
//! | 89 | which 1 | an event |
//! | 8A | at 1, mask 1 | a byte of what the honest module says next is changed, with mask 0 lost |
//! | 8B | | the honest module forgets all it knew |
//! | 8C | 0, 1 | the flash is whole, broken |
//! | 8D | operations 1 | power goes after so many |
//!
//! Nothing may panic or spin, what is sent are commands, flash is written only where it is erased and nothing outside the
//! areas is touched; an image is installed only if it has the digests that were announced. **And afterwards, with the line and
//! the flash good, an upgrade succeeds.**

use crate::flash::{Nor, PAGE, WRITE};
use crate::input::Input;
use md5::Digest as _;
use sota_link::field::{Boot, Image};
use sota_mcu::Layout;
use sota_mcu::at::{AtAgent, Config, Output};
use sota_mcu::boot::{Rules, run as boot};
use sota_mcu::state::{BootState, Phase};
use std::sync::OnceLock;

const P: u32 = PAGE as u32;
const LAYOUT: Layout = Layout {
    active: P,
    active_len: 3 * P,
    other: 5 * P,
    other_len: 6 * P,
    page: P,
    state: 12 * P,
    state_page: P,
    word: WRITE as u32,
};
const BETWEEN: [usize; 4] = [0, 4, 11, 14];
const LENGTH: usize = 2_500;
const PIECE: usize = 1_024;
/// Operations of one run, and exchanges in them.
const MOST: usize = 300;
const EXCHANGES: u32 = 1_500;
const EVENTS: [&str; 12] = [
    "+QIOTEVT: 7,10700,\"m\",\"\",\"2\",0,0,2500",
    "+QIOTEVT: 7,10700,\"m\",\"\",\"3\",0,0,99999",
    "+QIOTEVT: 7,10701,\"m\",3000,\"\",1",
    "+QIOTEVT: 7,10702",
    "+QIOTEVT: 7,10703,\"m\",2500,1024,1024",
    "+QIOTEVT: 7,10704",
    "+QIOTEVT: 7,10705",
    "+QIOTEVT: 7,10706",
    "+QIOTEVT: 2,10200",
    "OK",
    "ERROR",
    "+SOTAERR: 9,\"DigestMismatch\"",
];

fn package() -> &'static [u8] {
    static PACKAGE: OnceLock<Vec<u8>> = OnceLock::new();
    PACKAGE.get_or_init(|| (0..LENGTH).map(|i| ((i / 7 * 31) ^ i) as u8).collect())
}

/// What 10701 says.
fn announcement() -> &'static str {
    static LINE: OnceLock<String> = OnceLock::new();
    LINE.get_or_init(|| {
        let sha256 = sha2::Sha256::digest(package());
        let hex: String = sha256.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("+QIOTEVT: 7,10701,\"m\",{LENGTH},\"\",,\"{hex}\"")
    })
}

/// A module that does what it should.
#[derive(Default)]
struct Module {
    line: Vec<u8>,
    out: Vec<u8>,
    version: String,
    offered: bool,
    /// First byte of the piece.
    piece: Option<usize>,
    updating: bool,
    succeeded: bool,
    /// It is heard of the MCU within a minute, or has given it up.
    until: u64,
    now: u64,
}

impl Module {
    fn say(&mut self, line: &str) {
        self.out.extend(format!("\r\n{line}\r\n").bytes());
    }

    fn time(&mut self, now: u64) {
        self.now = now;
        if self.piece.is_some() && now > self.until {
            self.piece = None;
            self.say(EVENTS[7]);
        }
    }

    fn announce(&mut self) {
        let Some(start) = self.piece else {
            return;
        };
        self.say(announcement());
        let piece = PIECE.min(LENGTH - start);
        self.say(&format!("+QIOTEVT: 7,10703,\"m\",{LENGTH},{start},{piece}"));
    }

    fn offer(&mut self) {
        if self.offered {
            self.say(EVENTS[0]);
        }
    }

    fn hear(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                b'\r' => {
                    let line = core::mem::take(&mut self.line);
                    let line = String::from_utf8(line).expect("commands are text");
                    self.command(&line);
                }
                byte => self.line.push(*byte),
            }
        }
        assert!(self.line.len() < 120, "no longer command is there");
    }

    fn command(&mut self, line: &str) {
        if std::env::var_os("FUZZ_STORY").is_some() {
            println!(
                "{line}, {} {:?} {}",
                self.offered, self.piece, self.updating
            );
        }
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        let mut good = true;
        let mut after: fn(&mut Module) = |_| {};
        match (name, value) {
            ("ATE0", "") | ("AT+SOTAERR", "1") => {}
            ("AT+QIOTMCUVER", "\"m\"") => {
                let known = format!("+QIOTMCUVER: \"m\",\"{}\"", self.version);
                self.say(&known);
            }
            ("AT+QIOTMCUVER", value) => {
                self.version = value
                    .strip_prefix("\"m\",\"")
                    .and_then(|value| value.strip_suffix('"'))
                    .expect("component and version")
                    .to_owned();
                if self.version == "2" {
                    (self.offered, self.piece, self.updating) = (false, None, false);
                    self.succeeded = true;
                    after = |m| m.say("+QIOTEVT: 7,10705");
                } else if core::mem::take(&mut self.updating) {
                    after = |m| m.say("+QIOTEVT: 7,10706");
                }
            }
            ("AT+QIOTOTAREQ", "1") => {
                self.offered |= self.version == "1" && self.piece.is_none() && !self.updating;
                after = Module::offer;
            }
            ("AT+QIOTOTARD", "?") => {
                let start = self.piece.unwrap_or(0);
                self.say(&format!("+QIOTOTARD: {start},(1-1024)"));
                after = match self.piece {
                    Some(_) => Module::announce,
                    None => Module::offer,
                };
            }
            ("AT+QIOTOTARD", value) => {
                let (start, length) = value.split_once(',').expect("start and length");
                let from: usize = start.parse().expect("a number");
                let length: usize = length.parse().expect("a number");
                assert!((1..=1024).contains(&length));
                let piece = self.piece.map(|at| at..LENGTH.min(at + PIECE));
                match piece.filter(|piece| piece.contains(&from)) {
                    Some(piece) => {
                        let to = piece.end.min(from + length);
                        self.until = self.now + 60_000;
                        self.say(&format!("+QIOTOTARD: {from},{}", to - from));
                        self.out.extend(&package()[from..to]);
                        self.out.extend(b"\r\n");
                    }
                    None => good = false,
                }
            }
            ("AT+QIOTUPDATE", "0") => {
                good = core::mem::take(&mut self.offered);
            }
            ("AT+QIOTUPDATE", "1") => {
                good = core::mem::take(&mut self.offered);
                if good {
                    self.piece = Some(0);
                    self.until = self.now + 60_000;
                    after = Module::announce;
                }
            }
            ("AT+QIOTUPDATE", "2") => match self.piece {
                Some(start) if start + PIECE < LENGTH => {
                    self.piece = Some(start + PIECE);
                    self.until = self.now + 60_000;
                    after = Module::announce;
                }
                _ => good = false,
            },
            ("AT+QIOTUPDATE", "3") => match self.piece.take() {
                Some(start) if start + PIECE < LENGTH => {
                    (self.piece, good) = (Some(start), false);
                }
                Some(_) => {
                    self.updating = true;
                    after = |m| m.say("+QIOTEVT: 7,10704");
                }
                None => good = self.updating,
            },
            ("AT+SOTAREWIND", offset) => {
                let offset: usize = offset.parse().expect("a number");
                good = self.piece.is_some_and(|start| offset <= start + PIECE);
                if good {
                    self.piece = self.piece.map(|start| start.min(offset / PIECE * PIECE));
                    after = Module::announce;
                }
            }
            _ => panic!("no command: {line}"),
        }
        self.say(if good { "OK" } else { "ERROR" });
        after(self);
    }
}

struct Mcu {
    flash: Nor,
    agent: Option<AtAgent<64>>,
    config: Config,
    now: u64,
    module: Module,
    harm: Option<(usize, u8)>,
    exchanges: u32,
}

impl Mcu {
    fn new(bits: u8) -> Self {
        let mut bytes = vec![0xFF; 15 * PAGE];
        for page in BETWEEN {
            bytes[page * PAGE..][..PAGE].fill(0x5A);
        }
        bytes[LAYOUT.active as usize..][..1_000].fill(1);
        Mcu {
            flash: Nor::new(bytes),
            agent: None,
            config: Config {
                component: "m".try_into().expect("short"),
                confirm_within_ms: if bits & 1 != 0 { 10_000 } else { 0 },
                request_ms: if bits & 2 != 0 { 60_000 } else { 0 },
                asks_first: bits & 4 != 0,
                sota_commands: bits & 8 != 0,
                reads_twice: bits & 16 != 0,
                ..Config::default()
            },
            now: 0,
            module: Module::default(),
            harm: None,
            exchanges: 0,
        }
    }

    fn runs_new(&self) -> bool {
        self.flash.bytes[LAYOUT.active as usize..].starts_with(package())
    }

    fn start(&mut self) {
        self.agent = None;
        if boot(&mut self.flash, &LAYOUT, &Rules::default()).is_ok() {
            let version = if self.runs_new() { "2" } else { "1" };
            let config = Config {
                version: version.try_into().expect("short"),
                ..self.config.clone()
            };
            self.agent = AtAgent::new(self.now, config, LAYOUT, &mut self.flash).ok();
        }
    }

    /// What was announced is what is there.
    fn check_install(&mut self, image: &Image) {
        if BootState::open(&mut self.flash, &LAYOUT).get().phase != Phase::Requested {
            return;
        }
        let bytes = &self.flash.bytes[LAYOUT.other as usize..][..image.length as usize];
        let sha256 = (image.sha256).map(|is| is == <[u8; 32]>::from(sha2::Sha256::digest(bytes)));
        let md5 = (image.md5).map(|is| is == <[u8; 16]>::from(md5::Md5::digest(bytes)));
        let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(bytes);
        let crc32 = image.crc32.map(|is| is == crc);
        let all: Vec<bool> = [sha256, md5, crc32].into_iter().flatten().collect();
        assert!(!all.is_empty() && all.iter().all(|same| *same));
    }

    /// `true`: it was reset.
    fn poll(&mut self) -> bool {
        for _ in 0..1_000 {
            let Some(agent) = &mut self.agent else {
                return false;
            };
            match agent.poll(self.now, &mut self.flash) {
                Some(Output::Reset) => {
                    let image = *agent.image();
                    self.check_install(&image);
                    self.start();
                    return true;
                }
                Some(_) => {}
                None => return false,
            }
        }
        panic!("it never has enough");
    }

    fn hear(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(agent) = &mut self.agent {
            rest = &rest[agent.on_bytes(rest)..];
            if self.poll() || rest.is_empty() {
                break;
            }
        }
    }

    /// What it sends, to the module where `heard`.
    fn send(&mut self, heard: bool) -> bool {
        let mut bytes = [0; 200];
        let n = (self.agent.as_mut()).map_or(0, |agent| agent.next_tx(&mut bytes));
        if heard {
            self.module.hear(&bytes[..n]);
        }
        n > 0
    }

    /// One exchange with an honest module, or what time does.
    fn exchange(&mut self) {
        self.now += 10;
        self.module.time(self.now);
        self.poll();
        let sent = self.send(true);
        let mut said = core::mem::take(&mut self.module.out);
        if let Some((at, mask)) = self.harm.filter(|(at, _)| *at < said.len()) {
            self.harm = None;
            match mask {
                0 => drop(said.remove(at)),
                mask => said[at] ^= mask,
            }
        }
        self.hear(&said);
        if !sent && said.is_empty() {
            let at = self.agent.as_ref().and_then(AtAgent::deadline);
            self.now = at.unwrap_or(self.now + 1_000).max(self.now + 1);
        }
    }

    fn operation(&mut self, code: u8, input: &mut Input) {
        if self.agent.is_none() {
            return self.start();
        }
        let Mcu { agent, flash, .. } = self;
        let agent = agent.as_mut().expect("looked at above");
        match code {
            0..=0x7F => {
                for _ in (0..=code).take((EXCHANGES - self.exchanges) as usize) {
                    self.exchanges += 1;
                    self.exchange();
                }
            }
            0x80 => {
                let bytes = input.chunk();
                self.hear(bytes);
            }
            0x81 => self.now += u64::from(input.u16()),
            0x82 => {
                flash.set_power(None);
                self.start();
            }
            0x83 => {
                let _ = agent.confirm(flash);
            }
            0x84 => agent.revert(flash, 409),
            0x85 => agent.install(),
            0x86 => agent.accept(),
            0x87 => agent.refuse(623),
            0x88 => agent.ask_for_plan(),
            0x89 => {
                let line = format!("\r\n{}\r\n", input.of(&EVENTS));
                self.hear(line.as_bytes());
            }
            0x8A => self.harm = Some((input.u8().into(), input.u8())),
            0x8B => self.module = Module::default(),
            0x8C => flash.broken = input.flag(),
            0x8D => flash.set_power(Some(input.u8().into())),
            _ => {}
        }
        self.poll();
        self.send(false);
        if self.flash.dead() {
            self.flash.set_power(None);
            self.start();
        }
    }

    /// All is good again, and the application agrees to everything.
    fn end(&mut self) {
        self.flash.set_power(None);
        self.flash.broken = false;
        self.harm = None;
        self.module = Module::default();
        self.start();
        for exchange in 0..20_000 {
            let Some(agent) = &mut self.agent else {
                panic!("it does not start");
            };
            if agent.boot() == Boot::Trial && agent.is_up() {
                agent.confirm(&mut self.flash).expect("good flash");
            }
            agent.accept();
            agent.install();
            if exchange % 100 == 0 {
                agent.ask_for_plan();
            }
            self.exchange();
            if self.module.succeeded {
                return assert!(self.runs_new());
            }
        }
        panic!(
            "no upgrade afterwards: {:?}",
            self.agent.as_ref().map(AtAgent::phase)
        );
    }
}

/// Runs one case.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let mut mcu = Mcu::new(input.u8());
    mcu.start();
    for _ in 0..MOST {
        if input.is_empty() {
            break;
        }
        let code = input.u8();
        mcu.operation(code, &mut input);
    }
    mcu.end();
    for page in BETWEEN {
        let bytes = &mcu.flash.bytes[page * PAGE..][..PAGE];
        assert!(bytes.iter().all(|byte| *byte == 0x5A));
    }
}

/// Whole upgrades: with each configuration, with a reset in the middle, with harm.
pub fn record() -> Vec<(String, Vec<u8>)> {
    let mut scripts = Vec::new();
    for bits in [0x02, 0x0A, 0x1A] {
        let whole: Vec<u8> = [bits].into_iter().chain([1; 60]).collect();
        let reset: Vec<u8> = [vec![bits], vec![1; 20], vec![0x82], vec![1; 50]].concat();
        let harmed: Vec<u8> = (0..60).flat_map(|i| [0x8A, i * 3, i & 1, 1]).collect();
        scripts.push((format!("whole-{bits:02x}"), whole));
        scripts.push((format!("reset-{bits:02x}"), reset));
        scripts.push((format!("harmed-{bits:02x}"), [vec![bits], harmed].concat()));
    }
    scripts
}
