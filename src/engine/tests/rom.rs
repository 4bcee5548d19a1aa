//! The engine behind the ROM loader's bridge, at the simulated chip that `stm32flash` checks.

use std::vec::Vec;

use sota_host::sim_rom::{CHIPS, Noise, SimRom, State as Chip};
use sota_stm32::{Config as Loader, Erase, RomError, Start, Times, chips::by_name};

use super::world::{Mcu, World};
use crate::bridge::rom::{Config as Rom, Line, RomBridge};
use crate::engine::Config;
use crate::message::*;

const LENGTH: usize = 10_000;

struct Joined {
    world: World,
    bridge: RomBridge,
    rom: SimRom,
    config: Rom,
    old: Vec<u8>,
    lines: Vec<Line>,
    noise: Noise,
    /// The greatest step of the clock, ms.
    step: u64,
}

impl Joined {
    fn new(staging: usize, pieces: bool) -> Joined {
        Joined::with(staging, pieces, false)
    }

    /// `staging` in bytes; `alike`: the old image begins as the new one does.
    fn with(staging: usize, pieces: bool, alike: bool) -> Joined {
        let mut world = World::new(Config::default(), staging, LENGTH);
        world.mcu = Mcu::Idle;
        world.version("STM32", "");
        let mut rom = SimRom::new(CHIPS[0]);
        let mut old: Vec<u8> = world.package.iter().map(|byte| !byte).collect();
        if alike {
            old[..4_500].copy_from_slice(&world.package[..4_500]);
        }
        rom.load(&old);
        let chip = by_name(CHIPS[0].name).unwrap();
        let config = Rom {
            component: "STM32".try_into().unwrap(),
            version: "1_0".try_into().unwrap(),
            pieces,
            give_up_ms: 600_000,
            loader: Loader {
                layout: chip.layout,
                chip: Some(chip.id),
                erase: Erase::Pages,
                start: Start::Reset,
                baud: 115_200,
                tries: 5,
                times: Times::DEFAULT,
            },
        };
        let mut joined = Joined {
            world,
            bridge: RomBridge::new(0, config.clone(), false),
            rom,
            config,
            old,
            lines: Vec::new(),
            noise: Noise::new(1, 0, 0),
            step: 20,
        };
        joined.tick();
        joined
    }

    /// Its lines go with it: BOOT0 is low and NRST high.
    fn restart_module(&mut self) {
        self.world.restart();
        self.rom.lines(false, false);
        let known = self.version().is_some();
        self.bridge = RomBridge::new(self.world.now, self.config.clone(), known);
    }

    fn version(&self) -> Option<&str> {
        self.world.engine.version("STM32")
    }

    /// Some milliseconds; the line takes no time.
    fn tick(&mut self) {
        let world = &mut self.world;
        world.now += self.step;
        world.settle();
        let now = world.now;
        for event in world.events.split_off(0) {
            self.bridge.on_event(now, &event);
        }
        for _ in 0..20 {
            let mut engine = |command: Command, out: &mut [u8]| match command {
                Command::Read { start, .. } => world.read(start, out),
                command => world.ask(command),
            };
            while let Some(line) = self.bridge.poll(now, &mut engine) {
                if let Line::Lines { boot0, reset } = line {
                    self.rom.lines(boot0, reset);
                } else {
                    self.lines.push(line);
                }
            }
            let mut bytes = [0; 300];
            let count = self.bridge.next_bytes(&mut bytes);
            let mut sent = bytes[..count].to_vec();
            self.noise.pass(&mut sent);
            let mut answer = Vec::new();
            for byte in sent {
                self.rom.on_byte(byte, &mut answer);
            }
            self.noise.pass(&mut answer);
            self.bridge.on_bytes(now, &answer);
            if count == 0 && answer.is_empty() {
                break;
            }
        }
        let flash = self.rom.flash();
        let whole = flash.starts_with(&self.old) || flash.starts_with(&self.world.package);
        let runs = self.rom.state() == Chip::Application;
        assert!(!runs || whole, "half an image was started");
    }

    /// Until the upgrade is over, for an hour at the most.
    fn run(&mut self) -> Vec<State> {
        let end = self.world.now + 3_600_000;
        while self.world.now < end && !self.is_over() {
            self.tick();
        }
        let reports = self.world.reports.iter();
        reports.map(|(_, state, _)| *state).collect()
    }

    fn is_over(&self) -> bool {
        let last = self.world.reports.last().map(|(_, state, _)| *state);
        matches!(last, Some(State::Success | State::Failure))
    }

    fn is_upgraded(&self) -> bool {
        self.rom.flash().starts_with(&self.world.package)
            && self.rom.state() == Chip::Application
            && self.version() == Some("2_0")
            && self.is_over()
    }
}

#[test]
fn a_whole_upgrade_in_one_piece() {
    let mut j = Joined::new(16_384, false);
    assert_eq!(j.version(), Some("1_0"), "the configured one");
    j.world.offer().unwrap();
    let states = j.run();
    assert_eq!(states.last(), Some(&State::Success), "{states:?}");
    assert!(j.is_upgraded());
    assert_eq!(j.lines, [Line::Started]);
}

#[test]
fn in_pieces_where_the_product_allows_it() {
    let mut j = Joined::new(4096, true);
    j.world.offer().unwrap();
    j.run();
    assert!(j.is_upgraded());

    let mut j = Joined::new(4096, false);
    j.world.offer().unwrap();
    let states = j.run();
    assert_eq!(states.last(), Some(&State::Failure));
    let [Line::Failed(fault)] = j.lines[..] else {
        panic!("{:?}", j.lines);
    };
    assert_eq!(fault.error, RomError::RomInPieces);
    assert_eq!(j.rom.operations(), 0);
    assert_eq!(j.rom.state(), Chip::Application, "it runs on");
}

#[test]
fn what_cannot_be_written_ends_the_upgrade_with_its_reason() {
    let mut j = Joined::new(16_384, false);
    j.rom.protect(&[3]);
    j.world.offer().unwrap();
    let states = j.run();
    assert_eq!(states.last(), Some(&State::Failure));
    let [Line::Failed(fault)] = j.lines[..] else {
        panic!("{:?}", j.lines);
    };
    assert_eq!(
        (fault.error, fault.detail),
        (RomError::RomProtected, 0x0800_0C00)
    );
    assert_eq!(j.world.last_reason(), Some(Reason::McuFlashFailed));
    assert_eq!(j.version(), Some("1_0"));
    // the Center offers it again when the protection is gone
    j.rom.protect(&[]);
    j.world.offer.plan = "plan-2".try_into().unwrap();
    j.world.info.plan = "plan-2".try_into().unwrap();
    j.world.reports.clear();
    j.tick();
    j.world.offer().unwrap();
    j.run();
    assert!(j.is_upgraded());
}

#[test]
fn an_mcu_that_stays_silent_is_given_up_and_one_that_comes_back_is_not() {
    let mut j = Joined::new(16_384, false);
    j.rom.power(false);
    j.world.offer().unwrap();
    let states = j.run();
    assert_eq!(states.last(), Some(&State::Failure));
    let Some(Line::Failed(fault)) = j.lines.last() else {
        panic!("{:?}", j.lines);
    };
    assert_eq!(fault.error, RomError::RomGaveUp);
    assert_eq!(j.world.last_reason(), Some(Reason::McuLoaderFailed));
    assert!(j.world.now >= 600_000);

    // in state 9 too, before the component's own 20 minutes
    let mut j = Joined::new(16_384, false);
    j.world.offer().unwrap();
    while j.world.engine.state() != State::Updating {
        j.tick();
    }
    let began = j.world.now;
    j.restart_module(); // it looks at the MCU's flash again
    j.rom.power(false);
    assert_eq!(j.run().last(), Some(&State::Failure));
    assert_eq!(j.world.last_reason(), Some(Reason::McuLoaderFailed));
    let took = j.world.now - began;
    assert!((600_000..700_000).contains(&took), "{took} ms");

    let mut j = Joined::new(16_384, false);
    j.rom.power(false);
    j.world.offer().unwrap();
    while j.world.now < 300_000 {
        j.tick();
    }
    j.rom.power(true);
    j.run();
    assert!(j.is_upgraded());
}

/// The module is reset at every moment of an upgrade, once per run.
#[test]
fn the_module_is_reset_at_every_moment() {
    for (staging, pieces) in [(16_384, false), (4096, true)] {
        let mut cases = 0;
        for moment in 0.. {
            let mut j = Joined::new(staging, pieces);
            j.world.offer().unwrap();
            for _ in 0..moment {
                j.tick();
            }
            if j.is_over() {
                break;
            }
            j.restart_module();
            j.tick();
            j.run();
            assert!(j.is_upgraded(), "{staging} {moment} {:?}", j.lines);
            cases += 1;
        }
        assert!(cases > 10, "{cases}");
    }
}

/// Power cuts of the MCU in the middle of operations of its flash, resets of the module, and a bad line, at random moments.
#[test]
fn cuts_of_both_sides_at_random_moments() {
    let mut cuts = 0;
    for seed in 0..60 {
        let (staging, pieces) = [(16_384, false), (4096, true)][seed as usize % 2];
        let mut j = Joined::with(staging, pieces, seed % 3 == 0);
        let mut random = Noise::new(seed, 0, 0);
        j.noise = Noise::new(seed, 100, 3);
        j.world.offer().unwrap();
        for _ in 0..8 {
            match random.below(3) {
                0 => j.rom.cut_in(random.below(30) as u32),
                1 => {
                    j.rom.power(false);
                    j.rom.power(true);
                }
                _ => j.restart_module(),
            }
            cuts += 1;
            for _ in 0..random.below(60) {
                j.tick();
            }
            j.rom.power(true);
        }
        j.rom.power(false);
        j.rom.power(true);
        j.run();
        let lines = &j.lines;
        assert!(
            j.is_upgraded(),
            "seed {seed}: {:?} {lines:?}",
            j.world.reports
        );
    }
    std::println!("{cuts} cuts");
}
