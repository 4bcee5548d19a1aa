//! The engine on flash in memory, with what must hold after every step.
//!
//! - The states it reports follow each other as the table of [`State`] says.
//! - What it announces as the last piece of a package has, with the pieces before it, the announced digests.
//! - A read gives bytes of the present piece only, in states 8 and 9 only, and those that stand in staging.
//! - 10705 comes only when the component runs the target version.
//! - Nothing is written where nothing was erased ([`crate::flash`]), and no step goes on for ever.

use std::sync::LazyLock;

use md5::Md5;
use sha2::{Digest, Sha256};
use sota::engine::{Config, Engine};
use sota::message::{
    COMPONENTS, Command, ComponentType, DownloadInfo, Event, Millis, Offer, Package, Piece, Reason,
    Reply, State, Ticket, ToCloud, ToEngine,
};
use sota::platform::Readings;

use crate::flash::Parts;

/// Greatest block, in bytes.
pub const BLOCK: usize = 256;
/// Messages and steps at one moment: more is a loop.
const MANY: usize = 4_000;

static LONGEST: LazyLock<Vec<u8>> = LazyLock::new(|| {
    (0..8_000)
        .map(|at| (at * 31 + (at >> 8) * 7 + 3) as u8)
        .collect()
});

/// `FUZZ_STORY=1`: what comes and goes is printed, for reading a finding (docs/fuzzing.md).
static STORY: LazyLock<bool> = LazyLock::new(|| std::env::var_os("FUZZ_STORY").is_some());

/// The package of this length, at most 8000 bytes: what the honest server has.
pub fn package(length: usize) -> &'static [u8] {
    &LONGEST[..length]
}

/// CRC-32/ISO-HDLC.
pub fn crc32(bytes: &[u8]) -> u32 {
    crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(bytes)
}

/// Download information of a package with all its digests.
pub fn info(plan: &str, package: &[u8]) -> DownloadInfo {
    DownloadInfo {
        plan: plan.try_into().expect("short"),
        length: package.len() as u32,
        md5: Some(Md5::digest(package).into()),
        crc32: Some(crc32(package)),
        sha256: Some(Sha256::digest(package).into()),
        uri: "coap://center/p".try_into().expect("short"),
    }
}

/// The fetch that the engine asked for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Next byte.
    pub from: u32,
    /// One past the last.
    pub to: u32,
    /// FetchStarted was told.
    pub started: bool,
}

/// The engine and what is known of it.
pub struct Checked {
    /// The engine.
    pub engine: Engine<BLOCK>,
    /// Its flash.
    pub flash: Parts,
    /// Its configuration, for the next start.
    pub config: Config,
    /// The time.
    pub now: Millis,
    /// Battery and signal.
    pub readings: Readings,
    /// For the host, oldest first.
    pub events: Vec<Event>,
    /// For cloud, oldest first.
    pub to_cloud: Vec<ToCloud>,
    /// Answers to requests.
    pub verdicts: Vec<(Ticket, Result<(), Reason>)>,
    /// The fetch in hand.
    pub wanted: Option<Wanted>,
    /// The offer of each component that was taken last.
    pub offers: [Option<Offer>; COMPONENTS],
    /// The flash was written by this engine, so the digests of what is in it can be held against it.
    pub own_flash: bool,
    /// What an MCU would have by now.
    image: Vec<u8>,
    /// The state reported last, per component; `None`: a restart may report anything.
    reported: [Option<State>; COMPONENTS],
}

impl Checked {
    /// Starts an engine on this flash.
    pub fn start(config: Config, flash: Parts) -> Self {
        Self::start_on(config, flash, true)
    }

    /// The same; `own_flash` false: on flash that holds what no engine of ours wrote.
    pub fn start_on(config: Config, flash: Parts, own_flash: bool) -> Self {
        let mut flash = flash;
        let mut checked = Checked {
            engine: Engine::start(config.clone(), 0, &mut flash),
            flash,
            config,
            now: 0,
            readings: Readings::default(),
            events: Vec::new(),
            to_cloud: Vec::new(),
            verdicts: Vec::new(),
            wanted: None,
            offers: Default::default(),
            own_flash,
            image: Vec::new(),
            reported: [None; COMPONENTS],
        };
        checked.look();
        checked
    }

    fn story(&self, way: &str, what: &dyn std::fmt::Debug) {
        if *STORY {
            let words = format!("{what:?}");
            let words: String = words.chars().take(400).collect();
            let state = self.engine.state();
            eprintln!("{:>9} {state:?} {way} {words}", self.now);
        }
    }

    /// The power comes back.
    pub fn restart(&mut self) {
        self.story("restart", &"");
        self.flash.set_power(None);
        self.engine = Engine::start(self.config.clone(), self.now, &mut self.flash);
        self.wanted = None;
        self.reported = [None; COMPONENTS];
        self.events.clear();
        self.to_cloud.clear();
        self.verdicts.clear();
        self.look();
    }

    /// A message of cloud.
    pub fn tell(&mut self, mut message: ToEngine<BLOCK>) {
        self.story("<-", &message);
        let (now, readings) = (self.now, self.readings);
        self.engine
            .on_cloud(now, readings, &mut self.flash, &mut message);
        self.look();
    }

    /// A command of the host.
    pub fn ask(&mut self, command: Command, out: &mut [u8]) -> Reply {
        self.story("host", &command);
        let reply = self.quietly(command.clone(), out);
        if let (Command::Read { start, len }, Reply::Read(n)) = (command, reply) {
            self.check_read(start, len, &out[..n]);
        }
        self.look();
        reply
    }

    fn quietly(&mut self, command: Command, out: &mut [u8]) -> Reply {
        let (now, readings) = (self.now, self.readings);
        self.engine
            .command(now, readings, &mut self.flash, &command, out)
    }

    /// Timers and slow work, until nothing is wanted now.
    pub fn settle(&mut self) {
        for _ in 0..MANY {
            self.poll();
            if self.engine.deadline().is_none_or(|at| at > self.now) {
                return;
            }
        }
        panic!(
            "it wants to be polled for ever in {:?}",
            self.engine.state()
        );
    }

    /// One step.
    pub fn poll(&mut self) {
        let (now, readings) = (self.now, self.readings);
        self.engine.poll(now, readings, &mut self.flash);
        self.look();
    }

    /// Time goes on, timer by timer.
    pub fn pass(&mut self, ms: Millis) {
        let end = self.now.saturating_add(ms);
        self.settle();
        while let Some(at) = self.engine.deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.settle();
        }
        self.now = end;
        self.settle();
    }

    /// An honest server and a network without loss give up to `blocks` blocks of `package`.
    pub fn serve(&mut self, package: &[u8], blocks: usize) {
        for _ in 0..blocks {
            self.settle();
            let Some(wanted) = self.wanted.clone() else {
                return;
            };
            let length = package.len() as u32;
            let to = wanted.to.min(length);
            if wanted.from >= to || !self.engine.can_take_block() {
                return;
            }
            let end = to.min(wanted.from + BLOCK as u32);
            let data = &package[wanted.from as usize..end as usize];
            if let Some(wanted) = &mut self.wanted {
                (wanted.from, wanted.started) = (end, true);
            }
            // The length comes with the first block, or at last with the last.
            if !wanted.started || wanted.to == u32::MAX && end == length {
                self.tell(ToEngine::FetchStarted {
                    total: Some(length),
                    etag: sota_coap::Etag::new(b"v1").expect("short"),
                });
            }
            self.tell(ToEngine::Block {
                offset: wanted.from,
                data: heapless::Vec::from_slice(data).expect("a block"),
            });
        }
    }

    /// Takes what the engine has to say, and checks it.
    fn look(&mut self) {
        if self.flash.dead() {
            // Nobody saw what it did while the power went.
            return self.restart();
        }
        for _ in 0..MANY {
            if let Some(message) = self.engine.next_to_cloud() {
                self.hear(message);
            } else if let Some(event) = self.engine.next_event() {
                self.story("event", &event);
                self.check_event(&event);
                self.events.push(event);
            } else {
                return self.check_view();
            }
        }
        panic!("it talks for ever");
    }

    fn hear(&mut self, message: ToCloud) {
        if !matches!(message, ToCloud::View(_)) {
            self.story("->", &message);
        }
        match &message {
            ToCloud::Verdict { ticket, result } => self.verdicts.push((*ticket, *result)),
            ToCloud::Report {
                instance, state, ..
            } => self.check_report(*instance, *state),
            ToCloud::Fetch { from, to, .. } => {
                assert!(from < to || *to == 0, "{from}..{to} is nothing");
                assert_eq!(*from as usize % BLOCK, 0);
                self.wanted = Some(Wanted {
                    from: *from,
                    to: *to,
                    started: false,
                });
            }
            ToCloud::StopFetch => self.wanted = None,
            ToCloud::View(_) | ToCloud::Connect(_) | ToCloud::Request { .. } => {}
        }
        self.to_cloud.push(message);
    }

    /// Instance of the component that is shown: the one under upgrade, or the first that was offered.
    pub fn shown(&self) -> u8 {
        self.engine.view().active.unwrap_or(1)
    }

    fn check_report(&mut self, instance: u8, state: State) {
        let place = usize::from(instance);
        // An end that is told again, after a restart or because its offer came again: since then its component may have
        // changed.
        let again = self.reported[place].is_none_or(|before| before == state);
        if let Some(before) = self.reported[place] {
            // In state 6 another offer may take the place of the plan.
            let replaced =
                state == State::PlanReceived && self.reported.contains(&Some(State::DownloadError));
            let waits = before == State::Confirmed && replaced;
            assert!(waits || follows(before, state), "{before:?} -> {state:?}");
            if replaced {
                // With it goes, untold, what waits behind that component: of those a new plan may come at any time.
                let waiting = self.reported.iter_mut();
                waiting
                    .filter(|its| **its == Some(State::Confirmed))
                    .for_each(|its| *its = Some(State::Failure));
            }
        }
        self.reported[place] = Some(state);
        let Some(offer) = &self.offers[place] else {
            return;
        };
        if state == State::Success && offer.kind == ComponentType::Mcu && !again {
            let runs = self.engine.version(&offer.component).unwrap_or("");
            match offer.target.as_str() {
                "" => assert!(!runs.is_empty()),
                target => assert_eq!(runs, target, "success is the target version"),
            }
        }
    }

    fn check_event(&mut self, event: &Event) {
        let Event::Downloaded(Some(piece)) = event else {
            return;
        };
        // It may be an old one, told again or late.
        if self.engine.piece() != Some((piece.start, piece.piece_length)) {
            return;
        }
        let (start, len) = (piece.start as usize, piece.piece_length as usize);
        assert!(len > 0 && start + len <= piece.length as usize);
        self.image.resize(piece.length as usize, 0);
        self.image[start..start + len].copy_from_slice(&self.flash.staging.bytes[..len]);
        if self.own_flash && start + len == piece.length as usize {
            self.check_package(piece);
        }
    }

    /// The digests that the MCU is told are those of the bytes that it was given.
    fn check_package(&mut self, piece: &Piece) {
        let Some(package) = self.announced() else {
            panic!("a piece of a package that is not announced: {piece:?}");
        };
        assert_eq!(package.length, piece.length);
        let image = &self.image[..];
        assert!(package.crc32.is_none_or(|crc| crc == crc32(image)));
        assert!(
            package
                .md5
                .is_none_or(|md5| md5 == <[u8; 16]>::from(Md5::digest(image)))
        );
        assert!(
            package
                .sha256
                .is_none_or(|sha| sha == <[u8; 32]>::from(Sha256::digest(image)))
        );
    }

    /// What 10701 says now.
    fn announced(&mut self) -> Option<Package> {
        self.quietly(Command::Announce, &mut []);
        let mut package = None;
        while let Some(event) = self.engine.next_event() {
            match &event {
                Event::DownloadStart(Some(its)) => package = Some(its.clone()),
                Event::Downloaded(_) => {}
                _ => self.events.push(event),
            }
        }
        package
    }

    fn check_read(&self, start: u32, len: u32, data: &[u8]) {
        assert!(!data.is_empty() && data.len() <= len as usize);
        assert!(matches!(
            self.engine.state(),
            State::Downloaded | State::Updating
        ));
        let from = start
            .checked_sub(self.engine.piece_start())
            .expect("not before the piece") as usize;
        if let Some((_, piece)) = self.engine.piece() {
            assert!(from + data.len() <= piece as usize, "inside the piece");
        }
        assert_eq!(data, &self.flash.staging.bytes[from..from + data.len()]);
    }

    fn check_view(&mut self) {
        let view = self.engine.view();
        assert_eq!(view.state, self.engine.state());
        assert!(view.length == 0 || view.progress <= view.length);
        assert!(view.active.is_none_or(|at| usize::from(at) < COMPONENTS));
        assert!(
            view.state != State::Downloaded || self.engine.piece().is_some_and(|(_, len)| len > 0),
            "a piece is there"
        );
    }

    /// Whatever came before: cancelled and left alone it comes to rest, and the next upgrade is a success.
    pub fn and_then_a_good_upgrade(&mut self) {
        self.flash.set_power(None);
        (self.flash.staging.broken, self.flash.journal.broken) = (false, false);
        self.readings = Readings {
            battery_percent: Some(90),
            rsrp_dbm: Some(-80),
        };
        self.engine.set_mcu_slot(None);
        self.tell(ToEngine::Link(true));
        for instance in 0..COMPONENTS as u8 {
            self.tell(ToEngine::Cancel {
                ticket: 1,
                instance,
            });
        }
        self.pass(31 * 60_000);
        assert_eq!(self.engine.state(), State::None, "it does not come to rest");

        let name = "A";
        let version = |version: &str| {
            Command::SetMcuVersion(
                name.try_into().expect("short"),
                version.try_into().expect("short"),
            )
        };
        assert_eq!(self.ask(version("1_0"), &mut []), Reply::Ok);
        let bytes = package(5_000);
        let offer = Offer {
            plan: "good".try_into().expect("short"),
            component: name.try_into().expect("short"),
            kind: ComponentType::Mcu,
            target: "2_0".try_into().expect("short"),
            use_space: bytes.len() as u32,
            ..Offer::default()
        };
        self.offers[..].fill(None);
        self.verdicts.clear();
        self.tell(ToEngine::Offer {
            ticket: 2,
            door: sota::message::Door::Plan,
            offer,
        });
        assert_eq!(self.verdicts.pop(), Some((2, Ok(()))), "a good offer");
        assert_eq!(self.ask(Command::Action(1), &mut []), Reply::Ok);
        self.tell(ToEngine::DownloadInfo {
            ticket: 3,
            instance: self.shown(),
            info: info("good", bytes),
        });
        assert_eq!(self.verdicts.pop(), Some((3, Ok(()))), "good information");
        let mut image = Vec::new();
        while image.len() < bytes.len() {
            self.serve(bytes, 100);
            let (start, len) = self.engine.piece().expect("a piece");
            assert_eq!(start as usize, image.len());
            while image.len() < (start + len) as usize {
                let mut out = [0; 300];
                let (start, len) = (image.len() as u32, out.len() as u32);
                let Reply::Read(n) = self.ask(Command::Read { start, len }, &mut out) else {
                    panic!("no read at {start}");
                };
                image.extend_from_slice(&out[..n]);
            }
            let last = image.len() == bytes.len();
            let action = Command::Action(if last { 3 } else { 2 });
            assert_eq!(self.ask(action, &mut []), Reply::Ok);
        }
        assert_eq!(image, bytes);
        self.events.clear();
        assert_eq!(self.ask(version("2_0"), &mut []), Reply::Ok);
        assert!(self.events.contains(&Event::UpdateOk));
    }
}

/// The table of [`State`]; 0 is not reported.
fn follows(before: State, after: State) -> bool {
    use State::*;
    match before {
        None => true,
        PlanReceived => matches!(after, PlanReceived | Confirmed | Refused | Failure),
        // With several components the others wait in 2 for their turn.
        Confirmed => matches!(after, Confirmed | DownloadStarts | Success | Failure),
        // The same end again: its offer came again.
        Refused | Success | Failure => after == PlanReceived || after == before,
        // A rewind, or a lost digest state, fetches again.
        DownloadStarts => matches!(
            after,
            DownloadStarts | Downloading | DownloadError | Success | Failure
        ),
        Downloading => matches!(
            after,
            DownloadStarts | Downloading | DownloadError | Downloaded | Success | Failure
        ),
        DownloadError => matches!(
            after,
            DownloadError | DownloadStarts | PlanReceived | Success | Failure
        ),
        Downloaded => matches!(after, DownloadStarts | Updating | Success | Failure),
        Updating => matches!(after, Success | Failure),
    }
}
