//! The real engine: bridge, engine and MCU in one process, and a Center that offers the package
//! whenever the MCU asks for a plan and runs the source version.

use super::*;
use sota::engine::{Config as EngineConfig, Engine};
use sota::message::{ComponentType, Door, DownloadInfo, Etag, Offer, State, ToCloud, ToEngine};
use sota::platform::{Flash, Readings};

const BLOCK: usize = 256;

struct Partitions {
    staging: Ram,
    journal: Ram,
}
impl Flash for Partitions {
    type Staging = Ram;
    type Journal = Ram;
    fn staging(&mut self) -> &mut Ram {
        &mut self.staging
    }
    fn journal(&mut self) -> &mut Ram {
        &mut self.journal
    }
}

struct Module {
    engine: Engine<BLOCK>,
    flash: Partitions,
    fetch: Option<(usize, usize)>,
    image: Vec<u8>,
    target: &'static str,
    source: &'static str,
    offers: u32,
    /// Tries that ended badly: the next has another name.
    tries: u32,
}

fn engine_config() -> EngineConfig {
    EngineConfig {
        piece_limit: Some(1024),
        ..EngineConfig::default()
    }
}

impl Module {
    fn new(image: Vec<u8>, source: &'static str, target: &'static str) -> Self {
        let mut flash = Partitions {
            staging: Ram::sized(16 * 512),
            journal: Ram::sized(16 * 512),
        };
        let mut engine = Engine::start(engine_config(), 0, &mut flash);
        engine.on_cloud(
            0,
            Readings::default(),
            &mut flash,
            &mut ToEngine::Link(true),
        );
        Module {
            engine,
            flash,
            fetch: None,
            image,
            target,
            source,
            offers: 0,
            tries: 0,
        }
    }

    fn restart(&mut self, now: u64) {
        self.fetch = None;
        self.engine = Engine::start(engine_config(), now, &mut self.flash);
        self.cloud(now, ToEngine::Link(true));
    }

    fn cloud(&mut self, now: u64, mut message: ToEngine<BLOCK>) {
        self.engine
            .on_cloud(now, Readings::default(), &mut self.flash, &mut message);
    }

    fn plan(&self) -> String {
        format!("plan-{}", self.tries)
    }

    fn center(&mut self, now: u64, message: ToCloud) {
        match message {
            ToCloud::Request { .. } if self.engine.version("STM32") == Some(self.source) => {
                self.offers += 1;
                let offer = Offer {
                    plan: self.plan().as_str().try_into().unwrap(),
                    component: "STM32".try_into().unwrap(),
                    kind: ComponentType::Mcu,
                    target: self.target.try_into().unwrap(),
                    use_space: self.image.len() as u32,
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
            ToCloud::Report {
                state: State::Refused | State::Failure,
                ..
            } => self.tries += 1,
            ToCloud::Report {
                state: State::Confirmed | State::DownloadError,
                ..
            } => {
                let info = DownloadInfo {
                    plan: self.plan().as_str().try_into().unwrap(),
                    length: self.image.len() as u32,
                    md5: Some(md5::Md5::digest(&self.image).into()),
                    crc32: Some(crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(&self.image)),
                    sha256: Some(Sha256::digest(&self.image).into()),
                    uri: "coap://127.0.0.1/package".try_into().unwrap(),
                };
                let (ticket, instance) = (2, 1);
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
}

impl Behind for Module {
    fn command(&mut self, now: u64, command: Command, buffer: &mut [u8]) -> Reply {
        self.engine
            .command(now, Readings::default(), &mut self.flash, &command, buffer)
    }
    fn step(&mut self, now: u64) -> Option<u64> {
        self.engine.poll(now, Readings::default(), &mut self.flash);
        if let Some(message) = self.engine.next_to_cloud() {
            self.center(now, message);
        }
        if let Some((from, to)) = self.fetch
            && self.engine.can_take_block()
        {
            let end = to.min(from + BLOCK);
            self.fetch = (end < to).then_some((end, to));
            let data = self.image[from..end].iter().copied().collect();
            let offset = from as u32;
            self.cloud(now, ToEngine::Block { offset, data });
            return Some(now);
        }
        self.engine.deadline()
    }
    fn event(&mut self) -> Option<Event> {
        self.engine.next_event()
    }
    fn done(&self, version: &str) -> bool {
        self.engine.version("STM32") == Some(version) && self.engine.state() == State::None
    }
    fn image(&self) -> &[u8] {
        &self.image
    }
    fn source(&self) -> &str {
        self.source
    }
    fn target(&self) -> &str {
        self.target
    }
}

fn world(ram: Ram, config: Config) -> World<Module> {
    World::new(Module::new(image(3_501, 71), "1_0_0", "2_0_0"), config, ram)
}

#[test]
fn a_whole_upgrade() {
    let mut world = world(Ram::new(), config());
    assert!(
        world.run("2_0_0", 20_000, whole, whole),
        "{:?}",
        world.events
    );
    assert!(world.holds_the_image());
    assert_eq!(world.mcu.status().pieces, 4);
    assert_eq!(world.script.offers, 1);
}

#[test]
fn the_mcu_reset_at_every_flash_operation() {
    for cut in 0.. {
        // The first boot writes the factory's record: power is cut after it.
        let ram = Ram::new();
        drop(Mcu::new(config(), ram.clone()).unwrap());
        let done = ram.0.borrow().2;
        ram.0.borrow_mut().1 = Some(done + cut);
        let mut world = world(ram, config());
        assert!(
            world.run("2_0_0", 50_000, whole, whole),
            "cut {cut}: {:?}",
            world.events
        );
        assert!(world.holds_the_image(), "cut {cut}");
        assert!(
            !world.events.contains(&McuEvent::Failure),
            "cut {cut}: no reset of the MCU fails the plan"
        );
        if world.boots == 0 {
            assert!(cut > 20);
            break;
        }
    }
}

#[test]
fn the_module_restarted_anywhere() {
    for after in (5..400).step_by(7) {
        let mut world = world(Ram::new(), config());
        if !world.run("2_0_0", after, whole, whole) {
            let now = world.now;
            world.script.restart(now);
            world.bridge = Bridge::new(Settings::new());
            world.event = None;
        }
        assert!(
            world.run("2_0_0", 50_000, whole, whole),
            "after {after}: {:?} {:?}",
            world.script.engine.state(),
            world.events
        );
        assert!(world.holds_the_image(), "after {after}");
    }
}

#[test]
fn lost_and_changed_bytes() {
    for seed in 1..=8 {
        let config = Config {
            double_read: true,
            read_size: 128,
            ..config()
        };
        let mut world = world(Ram::new(), config);
        // What the MCU says is only lost, not changed: a changed version number is another version.
        let done = world.run("2_0_0", 400_000, dice(seed, 10, 10), dice(seed + 99, 5, 0));
        assert!(
            done || world.mcu.status().version == "2_0_0",
            "seed {seed}: {:?} {:?}",
            world.script.engine.state(),
            world.mcu.status()
        );
        assert!(world.holds_the_image(), "seed {seed}");
    }
}
