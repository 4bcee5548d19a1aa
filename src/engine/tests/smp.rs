//! The engine behind the SMP server's bridge, at the simulated MCU that `smpclient` checks.

use std::vec::Vec;

use sota_host::sim_rom::Noise;
use sota_host::sim_smp::{HANGS, Mode, Options, SimSmp, State as Chip, UNSIGNED, build};
use sota_smp::SmpError;

use super::world::{Mcu, World, info};
use crate::bridge::smp::{Config as Smp, Line, SmpBridge};
use crate::engine::Config;
use crate::message::*;

const SLOT: Options = Options {
    slot: 16 << 10,
    ..Options::DEFAULT
};

struct Joined {
    world: World,
    bridge: SmpBridge,
    smp: SimSmp,
    config: Smp,
    old: Vec<u8>,
    lines: Vec<Line>,
    noise: Noise,
    /// Bytes to the MCU.
    sent: usize,
    /// Of its flash, when that was looked at.
    operations: u64,
}

fn body(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + (i >> 8) * 7) as u8).collect()
}

impl Joined {
    fn new(staging: usize) -> Joined {
        Joined::with(staging, SLOT, &body(10_000))
    }

    /// `staging` in bytes; the new image has this body.
    fn with(staging: usize, options: Options, new: &[u8]) -> Joined {
        let package = build([2, 0, 0, 0], new);
        let mut world = World::new(Config::default(), staging, package.len());
        world.info = info("plan-1", &package);
        world.package = package;
        world.mcu = Mcu::Idle;
        world.version("STM32", "");
        let old = build([1, 0, 0, 7], &body(9_000));
        let mut config = Smp::new("STM32".try_into().unwrap());
        config.version = Some("1_0".try_into().unwrap());
        let mut joined = Joined {
            world,
            bridge: SmpBridge::new(0, config.clone(), false),
            smp: SimSmp::new(options, &old),
            config,
            old,
            lines: Vec::new(),
            noise: Noise::new(1, 0, 0),
            sent: 0,
            operations: 0,
        };
        joined.tick();
        joined
    }

    fn restart_module(&mut self) {
        self.world.restart();
        let known = self.version().is_some();
        self.bridge = SmpBridge::new(self.world.now, self.config.clone(), known);
    }

    fn version(&self) -> Option<&str> {
        self.world.engine.version("STM32")
    }

    /// 20 ms, in which a line of 115,200 baud carries 230 bytes.
    fn tick(&mut self) {
        let world = &mut self.world;
        world.now += 20;
        world.settle();
        let now = world.now;
        for event in world.events.split_off(0) {
            self.bridge.on_event(now, &event);
        }
        let mut left = 230;
        for _ in 0..20 {
            let mut engine = |command: Command, out: &mut [u8]| match command {
                Command::Read { start, .. } => world.read(start, out),
                command => world.ask(command),
            };
            while let Some(line) = self.bridge.poll(now, &mut engine) {
                self.lines.push(line);
            }
            let mut bytes = [0; 230];
            let count = self.bridge.next_bytes(&mut bytes[..left]);
            left -= count;
            self.sent += count;
            let mut sent = bytes[..count].to_vec();
            self.noise.pass(&mut sent);
            self.smp.on_bytes(now, &sent);
            let mut answer = self.smp.take();
            self.noise.pass(&mut answer);
            self.bridge.on_bytes(now, &answer);
            if count == 0 && answer.is_empty() {
                break;
            }
        }
        if self.operations != self.smp.operations() {
            self.operations = self.smp.operations();
            let whole = self.smp.is_intact(0) || self.smp.is_intact(1);
            assert!(whole, "no image is whole");
        }
        assert_ne!(self.smp.state(), Chip::Stuck, "nothing can be started");
    }

    /// Until the upgrade is over, for an hour at the most.
    fn run(&mut self) -> Option<State> {
        let end = self.world.now + 3_600_000;
        while self.world.now < end && !self.is_over() {
            self.tick();
        }
        self.world.reports.last().map(|(_, state, _)| *state)
    }

    fn is_over(&self) -> bool {
        let last = self.world.reports.last().map(|(_, state, _)| *state);
        matches!(last, Some(State::Success | State::Failure))
    }

    fn is_upgraded(&self) -> bool {
        self.smp.image(0) == Some(&self.world.package)
            && self.smp.mode() == Mode::Confirmed
            && self.smp.state() == Chip::Running
            && self.version() == Some("2_0")
            && self.is_over()
    }

    fn runs_old(&self) -> bool {
        self.smp.image(0) == Some(&self.old) && self.version() == Some("1_0")
    }

    /// The Center offers it again, in another plan.
    fn offer_again(&mut self, plan: &str) {
        self.world.offer.plan = plan.try_into().unwrap();
        self.world.info.plan = plan.try_into().unwrap();
        self.world.reports.clear();
        self.tick();
        self.world.offer().unwrap();
    }

    fn failed_for(&self) -> Option<SmpError> {
        let error = self.lines.iter().find_map(|line| match line {
            Line::Failed(fault) => Some(fault.error),
            _ => None,
        })?;
        let told = Reason::of_mcu(error.number());
        assert_eq!(self.world.last_reason(), Some(told), "{error}");
        Some(error)
    }
}

#[test]
fn a_whole_upgrade_in_one_piece() {
    let mut j = Joined::new(16_384);
    assert_eq!(j.version(), Some("1_0"), "the configured one");
    j.world.offer().unwrap();
    assert_eq!(j.run(), Some(State::Success));
    assert!(j.is_upgraded());
    assert_eq!(j.lines, [Line::Started]);
    std::println!("{} ms, {} bytes", j.world.now, j.sent);
}

#[test]
fn in_pieces() {
    let mut j = Joined::new(4096);
    j.world.offer().unwrap();
    assert_eq!(j.run(), Some(State::Success));
    assert!(j.is_upgraded(), "{:?}", j.lines);
}

#[test]
fn the_version_is_the_servers_where_none_is_configured() {
    let mut j = Joined::new(16_384);
    j.world.version("STM32", "");
    j.config.version = None;
    j.bridge = SmpBridge::new(j.world.now, j.config.clone(), false);
    for _ in 0..200 {
        j.tick();
    }
    assert_eq!(j.version(), Some("1.0.0.7"));
}

/// Buffers of any size and number, a server of SMP version 1, its log on the same line.
#[test]
fn every_kind_of_server() {
    for (buf_size, buf_count) in [(128, 1), (256, 2), (384, 4), (1024, 8), (4096, 2)] {
        for (is_old, logs, work_ms) in [(false, false, 0), (true, true, 0), (false, true, 30)] {
            let options = Options {
                buf_size,
                buf_count,
                is_old,
                logs,
                work_ms,
                ..SLOT
            };
            let mut j = Joined::with(16_384, options, &body(10_000));
            j.world.offer().unwrap();
            assert_eq!(j.run(), Some(State::Success), "{options:?} {:?}", j.lines);
            assert!(j.is_upgraded(), "{options:?}");
        }
    }
}

#[test]
fn a_server_with_too_small_a_buffer() {
    let options = Options {
        buf_size: 100,
        ..SLOT
    };
    let mut j = Joined::with(16_384, options, &body(10_000));
    j.world.offer().unwrap();
    assert_eq!(j.run(), Some(State::Failure));
    assert_eq!(j.failed_for(), Some(SmpError::SmpBufferTooSmall));
    assert!(j.runs_old());
}

/// Packages that are no images, that do not fit, that are signed with another key, that do not come up.
#[test]
fn what_cannot_be_installed_ends_the_upgrade_with_its_reason() {
    let large = body(SLOT.slot);
    let hangs = [HANGS, &body(5_000)].concat();
    let unsigned = [UNSIGNED, &body(5_000)].concat();
    let cases: [(&[u8], SmpError); 3] = [
        (&large, SmpError::SmpImageTooLarge),
        (&hangs, SmpError::SmpReverted),
        (&unsigned, SmpError::SmpRejected),
    ];
    for (new, error) in cases {
        for staging in [4096, 32 << 10] {
            let mut j = Joined::with(staging, SLOT, new);
            j.world.offer().unwrap();
            assert_eq!(j.run(), Some(State::Failure), "{error} {:?}", j.lines);
            assert_eq!(j.failed_for(), Some(error), "{:?}", j.lines);
            for _ in 0..500 {
                j.tick();
            }
            assert!(j.runs_old(), "{error}");
            assert_eq!(j.smp.mode(), Mode::Confirmed, "{error}");
        }
    }
    let mut j = Joined::new(16_384);
    j.world.package.truncate(20);
    j.world.info = info("plan-1", &j.world.package);
    j.world.offer().unwrap();
    assert_eq!(j.run(), Some(State::Failure));
    assert_eq!(j.failed_for(), Some(SmpError::SmpNotMcuboot));
    for at in [0, 8] {
        let mut j = Joined::new(16_384);
        j.world.package[at] ^= 0xF0;
        j.world.info = info("plan-1", &j.world.package);
        j.world.offer().unwrap();
        assert_eq!(j.run(), Some(State::Failure));
        assert_eq!(j.failed_for(), Some(SmpError::SmpNotMcuboot));
        assert_eq!(j.smp.operations(), 0, "nothing was written");
        assert!(j.runs_old());
    }
}

#[test]
fn an_image_that_failed_is_followed_by_a_good_one() {
    let mut j = Joined::with(16_384, SLOT, &[HANGS, &body(5_000)].concat());
    j.world.offer().unwrap();
    assert_eq!(j.run(), Some(State::Failure));
    let package = build([2, 0, 1, 0], &body(6_000));
    j.world.info = info("plan-2", &package);
    j.world.package = package;
    j.offer_again("plan-2");
    assert_eq!(j.run(), Some(State::Success), "{:?}", j.lines);
    assert!(j.is_upgraded());
}

/// The flash of the MCU fails once: the slot is erased and the upload begins again; it fails for good at the second time.
#[test]
fn flash_that_fails() {
    for operation in [0, 1, 10] {
        let mut j = Joined::new(16_384);
        j.smp.fail_in(operation);
        j.world.offer().unwrap();
        assert_eq!(j.run(), Some(State::Success), "{operation} {:?}", j.lines);
        assert!(j.is_upgraded());
    }
    let mut j = Joined::new(16_384);
    j.world.offer().unwrap();
    while !j.is_over() {
        j.smp.fail_in(0);
        j.tick();
    }
    assert_eq!(j.failed_for(), Some(SmpError::SmpFlash));
    assert!(j.runs_old());
}

/// What the server has is not sent again: not after a reset of the module, and not when the image is in the slot already.
#[test]
fn nothing_is_sent_twice() {
    let mut whole = Joined::new(16_384);
    whole.world.offer().unwrap();
    whole.run();
    for staging in [16_384, 4096] {
        let mut j = Joined::new(staging);
        j.world.offer().unwrap();
        for _ in 0..90 {
            j.tick();
        }
        assert!(j.sent > 5_000 && !j.is_over(), "in the middle");
        j.restart_module();
        assert_eq!(j.run(), Some(State::Success));
        assert!(j.is_upgraded());
        let more = j.sent - whole.sent;
        assert!(
            more < 3_000,
            "{staging}: {more} bytes of {} twice",
            whole.sent
        );
    }
    let mut j = Joined::new(16_384);
    j.config.trials = 1;
    j.restart_module();
    j.world.offer().unwrap();
    while j.smp.mode() != Mode::Trial {
        j.tick();
    }
    // it goes back before it was confirmed, and the upgrade fails
    j.smp.reset();
    assert_eq!(j.run(), Some(State::Failure));
    assert_eq!(j.failed_for(), Some(SmpError::SmpReverted));
    let before = j.sent;
    j.offer_again("plan-2");
    assert_eq!(j.run(), Some(State::Success), "{:?}", j.lines);
    assert!(j.is_upgraded());
    assert!(j.sent - before < 2_000, "the slot had it");
}

/// Somebody else's image waits in the slot, or is on trial: a reset settles that.
#[test]
fn a_slot_that_is_in_use() {
    for waits in [true, false] {
        let mut j = Joined::with(16_384, SLOT, &body(5_000));
        j.config.trials = 1;
        j.restart_module();
        j.world.offer().unwrap();
        let wanted = if waits { Mode::Test } else { Mode::Trial };
        while j.smp.mode() != wanted {
            j.tick();
        }
        // the module forgets about it
        let now = j.world.now;
        let package = build([3, 0, 0, 0], &body(6_000));
        let mut world = World::new(Config::default(), 16_384, package.len());
        world.now = now;
        world.mcu = Mcu::Idle;
        world.info = info("plan-1", &package);
        world.package = package;
        j.world = world;
        j.restart_module();
        j.world.offer().unwrap();
        assert_eq!(j.run(), Some(State::Success), "{waits} {:?}", j.lines);
        assert!(j.is_upgraded());
    }
}

#[test]
fn an_mcu_that_stays_silent_is_given_up_and_one_that_comes_back_is_not() {
    let mut j = Joined::new(16_384);
    j.smp.power(false);
    j.world.offer().unwrap();
    assert_eq!(j.run(), Some(State::Failure));
    assert_eq!(j.failed_for(), Some(SmpError::SmpGaveUp));
    let silent = |line: &Line| matches!(line, Line::Trouble(f) if f.error == SmpError::SmpSilent);
    assert!(j.lines.iter().any(silent), "{:?}", j.lines);
    assert!(j.world.now >= 600_000);

    let mut j = Joined::new(16_384);
    j.smp.power(false);
    j.world.offer().unwrap();
    while j.world.now < 300_000 {
        j.tick();
    }
    j.smp.power(true);
    assert_eq!(j.run(), Some(State::Success));
    assert!(j.is_upgraded());
}

/// An image that hangs where there is no watchdog: the upgrade fails, and the next reset brings the old one back.
#[test]
fn an_mcu_that_hangs_for_good() {
    let options = Options {
        watchdog_ms: 0,
        ..SLOT
    };
    let mut j = Joined::with(16_384, options, &[HANGS, &body(5_000)].concat());
    j.world.offer().unwrap();
    assert_eq!(j.run(), Some(State::Failure));
    assert_eq!(j.failed_for(), Some(SmpError::SmpGaveUp));
    assert_eq!(j.smp.state(), Chip::Hung);
    j.smp.power(false);
    j.smp.power(true);
    for _ in 0..50 {
        j.tick();
    }
    assert!(j.runs_old());
}

/// The module is reset at every third moment of an upgrade, once per run.
#[test]
fn the_module_is_reset_at_every_moment() {
    for staging in [16_384, 4096] {
        let mut cases = 0;
        for moment in (0..).step_by(3) {
            let mut j = Joined::new(staging);
            j.world.offer().unwrap();
            for _ in 0..moment {
                j.tick();
            }
            if j.is_over() {
                break;
            }
            j.restart_module();
            assert_eq!(
                j.run(),
                Some(State::Success),
                "{staging} {moment} {:?}",
                j.lines
            );
            assert!(j.is_upgraded(), "{staging} {moment}");
            cases += 1;
        }
        assert!(cases > 60, "{cases}");
    }
}

/// The same for the MCU.
#[test]
fn the_mcu_is_reset_at_every_moment() {
    for staging in [16_384, 4096] {
        let mut cases = 0;
        for moment in (0..).step_by(3) {
            let mut j = Joined::new(staging);
            j.world.offer().unwrap();
            for _ in 0..moment {
                j.tick();
            }
            if j.is_over() {
                break;
            }
            j.smp.reset();
            assert_eq!(
                j.run(),
                Some(State::Success),
                "{staging} {moment} {:?}",
                j.lines
            );
            // it may have been reset with its last answer on the line
            (0..20).for_each(|_| j.tick());
            assert!(j.is_upgraded(), "{staging} {moment}");
            cases += 1;
        }
        assert!(cases > 60, "{cases}");
    }
}

/// Power cuts of the MCU in the middle of operations of its flash, resets of both sides, a log on the line and bytes that the line
/// loses and harms, at random moments. Never are both images lost, and it ends at the new version.
#[test]
fn cuts_of_both_sides_at_random_moments() {
    let (mut cuts, mut plans) = (0, 0);
    for seed in 0..60 {
        let staging = [16_384, 4096][seed as usize % 2];
        let options = Options {
            logs: seed % 3 == 0,
            is_old: seed % 5 == 0,
            ..SLOT
        };
        let mut j = Joined::with(staging, options, &body(10_000));
        let mut random = Noise::new(seed, 0, 0);
        j.noise = Noise::new(seed, 100, 30);
        j.world.offer().unwrap();
        for _ in 0..8 {
            match random.below(4) {
                0 => j.smp.cut_in(random.below(30) as u32),
                1 => {
                    j.smp.power(false);
                    j.smp.power(true);
                }
                2 => j.smp.reset(),
                _ => j.restart_module(),
            }
            cuts += 1;
            for _ in 0..random.below(120) {
                j.tick();
            }
            j.smp.power(true);
        }
        j.smp.power(false);
        j.smp.power(true);
        // cuts between the new image's starts and its confirmation look as if it did not come up: then the Center offers it again
        for plan in 0..3 {
            j.run();
            if j.is_upgraded() {
                break;
            }
            plans += 1;
            j.offer_again(["plan-2", "plan-3", "plan-4"][plan]);
        }
        let lines = &j.lines;
        assert!(
            j.is_upgraded(),
            "seed {seed}: {:?} {lines:?}",
            j.world.reports
        );
    }
    std::println!("{cuts} cuts, {plans} upgrades that were offered again");
}
