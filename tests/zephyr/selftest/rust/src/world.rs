//! A Center and an MCU around one engine, as small as they can be. The flash is the board's.

use crate::border::{now, spoil};
use crate::{Outcome, package};
use heapless::Vec;
use sota_zephyr::sota::engine::{Config, Engine};
use sota_zephyr::sota::message::{
    Command, ComponentType, Door, DownloadInfo, Etag, Event, Offer, Piece, Reason, Reply, State,
    ToCloud, ToEngine,
};
use sota_zephyr::sota::platform::Readings;
use sota_zephyr::{BLOCK, flash::Partitions};

/// Greatest package of the cases in blocks.
const BLOCKS: usize = 64;
pub(crate) const SEED: u8 = 0xa5;

pub(crate) struct World {
    config: Config,
    engine: Engine<BLOCK>,
    flash: Partitions,
    offer: Offer,
    info: DownloadInfo,
    /// What the present fetch still brings, and whether its first answer is out.
    fetch: Option<(u32, u32, bool)>,
    /// How often each block was sent.
    pub(crate) sent: [u8; BLOCKS],
    pub(crate) events: Vec<u16, 64>,
    pub(crate) states: Vec<State, 64>,
    pub(crate) reason: Option<Reason>,
    /// Bytes that the MCU has read in order, each as it must be.
    pub(crate) read: u32,
    /// Staging gets a programmed word where the block with this number goes.
    pub(crate) spoil: Option<u32>,
    fault: Outcome,
}

fn readings() -> Readings {
    Readings::default()
}

impl World {
    /// The MCU runs 1_0.
    pub(crate) fn new(config: Config) -> Self {
        let mut flash = Partitions::open();
        let engine = Engine::start(config.clone(), now(), &mut flash);
        let mut world = World {
            config,
            engine,
            flash,
            offer: Offer {
                component: "STM32".try_into().unwrap_or_default(),
                kind: ComponentType::Mcu,
                target: "2_0".try_into().unwrap_or_default(),
                ..Offer::default()
            },
            info: DownloadInfo::default(),
            fetch: None,
            sent: [0; BLOCKS],
            events: Vec::new(),
            states: Vec::new(),
            reason: None,
            read: 0,
            spoil: None,
            fault: Ok(()),
        };
        world.tell(ToEngine::Link(true));
        world.announce("1_0");
        world
    }

    /// The same flash, a new engine: everything else it knew is gone.
    pub(crate) fn restart(&mut self) {
        self.fetch = None;
        self.flash = Partitions::open();
        self.engine = Engine::start(self.config.clone(), now(), &mut self.flash);
        self.tell(ToEngine::Link(true));
    }

    pub(crate) fn state(&self) -> State {
        self.engine.state()
    }

    pub(crate) fn version(&self) -> Option<&str> {
        self.engine.version("STM32")
    }

    pub(crate) fn progress(&self) -> u32 {
        self.engine.progress().0
    }

    /// A plan with this package, to 2_0.
    pub(crate) fn offer(&mut self, plan: &str, info: DownloadInfo) {
        self.offer.plan = plan.try_into().unwrap_or_default();
        self.offer.use_space = info.length;
        self.info = info;
        let offer = self.offer.clone();
        self.tell(ToEngine::Offer {
            ticket: 1,
            door: Door::Plan,
            offer,
        });
    }

    /// Rounds until nothing happens, or until `blocks` of the package were sent.
    pub(crate) fn run(&mut self, blocks: u32) -> Outcome {
        let began = now();
        let before = self.blocks();
        while self.round() {
            ensure!(now() - began < 60_000);
            if self.blocks() - before >= blocks {
                break;
            }
        }
        self.fault
    }

    fn blocks(&self) -> u32 {
        self.sent.iter().map(|times| u32::from(*times)).sum()
    }

    fn tell(&mut self, mut message: ToEngine<BLOCK>) {
        self.engine
            .on_cloud(now(), readings(), &mut self.flash, &mut message);
    }

    fn ask(&mut self, command: Command, out: &mut [u8]) -> Reply {
        self.engine
            .command(now(), readings(), &mut self.flash, &command, out)
    }

    fn action(&mut self, action: u8) {
        self.expect(Command::Action(action));
    }

    fn announce(&mut self, version: &str) {
        let name = "STM32".try_into().unwrap_or_default();
        self.expect(Command::SetMcuVersion(
            name,
            version.try_into().unwrap_or_default(),
        ));
    }

    fn expect(&mut self, command: Command) {
        if let Reply::Refused(reason) = self.ask(command, &mut []) {
            self.fault = Err(reason.name());
        }
    }

    /// Everything that can happen now; false: nothing.
    fn round(&mut self) -> bool {
        let mut busy = self.engine.deadline().is_some_and(|at| at <= now());
        self.engine.poll(now(), readings(), &mut self.flash);
        while let Some(message) = self.engine.next_to_cloud() {
            busy = true;
            self.center(message);
        }
        while let Some(event) = self.engine.next_event() {
            busy = true;
            self.mcu(event);
        }
        (self.engine.can_take_block() && self.send_block()) || busy
    }

    fn center(&mut self, message: ToCloud) {
        match message {
            ToCloud::Report { state, reason, .. } => {
                let _ = self.states.push(state);
                self.reason = reason.or(self.reason);
                if matches!(state, State::Confirmed | State::DownloadError) {
                    let info = self.info.clone();
                    self.tell(ToEngine::DownloadInfo {
                        ticket: 2,
                        instance: 1,
                        info,
                    });
                }
            }
            ToCloud::Verdict {
                result: Err(reason),
                ..
            } => self.fault = Err(reason.name()),
            ToCloud::Fetch { from, to, .. } => self.fetch = Some((from, to, false)),
            ToCloud::StopFetch => self.fetch = None,
            ToCloud::Verdict { .. }
            | ToCloud::View(_)
            | ToCloud::Connect(_)
            | ToCloud::Request { .. } => {}
        }
    }

    fn send_block(&mut self) -> bool {
        let Some((from, to, started)) = self.fetch.filter(|(from, to, _)| from < to) else {
            return false;
        };
        if !started {
            self.tell(ToEngine::FetchStarted {
                total: Some(self.info.length),
                etag: Etag::new(&[1]).unwrap_or(Etag::NONE),
            });
        }
        let end = to.min(from + BLOCK as u32);
        let mut data = Vec::<u8, BLOCK>::new();
        let _ = data.resize((end - from) as usize, 0);
        package::fill(SEED, from, &mut data);
        let number = from / BLOCK as u32;
        if self.spoil == Some(number) && !spoil(from) {
            self.fault = Err("the flash could not be spoilt");
        }
        if let Some(times) = self.sent.get_mut(number as usize) {
            *times += 1;
        }
        self.fetch = Some((end, to, true));
        self.tell(ToEngine::Block { offset: from, data });
        true
    }

    fn mcu(&mut self, event: Event) {
        if event.code() >= 10700 {
            let _ = self.events.push(event.code());
        }
        match event {
            Event::Plan(_) => self.action(1),
            Event::Downloaded(Some(piece)) => self.read_piece(&piece),
            Event::Updating => self.announce("2_0"),
            _ => {}
        }
    }

    /// Reads the piece in reads of an odd length, compares each byte, and answers.
    fn read_piece(&mut self, piece: &Piece) {
        let end = piece.start + piece.piece_length;
        self.read = piece.start;
        while self.read < end {
            let mut bytes = [0; 101];
            let command = Command::Read {
                start: self.read,
                len: bytes.len() as u32,
            };
            let Reply::Read(n @ 1..) = self.ask(command, &mut bytes) else {
                self.fault = Err("a read of the MCU was refused");
                return;
            };
            for byte in bytes.iter().take(n) {
                if *byte != package::byte(SEED, self.read) {
                    self.fault = Err("the MCU read another byte than the package has");
                    return;
                }
                self.read += 1;
            }
        }
        self.action(if end == piece.length { 3 } else { 2 });
    }
}
