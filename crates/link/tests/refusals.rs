//! What ends an upgrade, or does not begin one: each has its number, and both sides come to rest.

mod world;

use sota_link::message::{McuPhase, ModulePhase};
use sota_link::module::{Input, Output};
use world::parts::Stage;
use world::{Setup, World};

fn fails(number: u16, change: impl FnOnce(&mut World)) -> World {
    let mut world = World::new(Setup::default());
    change(&mut world);
    let done = world.run_until(60_000_000, |w| w.component.stage == Stage::Failed(number));
    assert!(done, "{number}: {}", world.standing());
    assert!(
        world.run_until(5_000_000, |w| w.mcu.phase() == McuPhase::Idle),
        "{number}: {}",
        world.standing()
    );
    assert_eq!(world.ended, Some((ModulePhase::Failed, number)));
    assert_eq!(world.installs, 0);
    world
}

#[test]
fn before_a_byte_is_sent() {
    type Change = fn(&mut World);
    let refusals: [(u16, Change); 6] = [
        (402, |w| w.component.package.image.length = 0x10001),
        (620, |w| {
            w.component.package.component = "OTHER".try_into().unwrap()
        }),
        (621, |w| {
            w.component.package.hardware = "rev-x".try_into().unwrap()
        }),
        (622, |w| w.plan_refused = Some(622)),
        (623, |w| w.plan_refused = Some(623)),
        (625, |w| w.component.package.image.crc32 = None),
    ];
    for (number, change) in refusals {
        let world = fails(number, change);
        assert_eq!(world.component.read, 0, "{number}");
    }
    fails(624, |w| {
        w.component.package.target = "1_0_0".try_into().unwrap()
    });
}

#[test]
fn in_the_middle() {
    fails(404, |w| w.flash.broken = true);
    fails(403, |w| w.misjudge = 2);
    fails(610, |w| w.component.piece = 1000);
    // Once only: what is whole is not received again.
    let world = fails(622, |w| w.unfit = Some(622));
    assert_eq!(world.component.read, world.setup.length as u64);
}

#[test]
fn a_wrong_digest_once_is_received_again_from_the_first_byte() {
    let mut world = World::new(Setup::default());
    world.misjudge = 1;
    world.upgrade(60_000_000);
    assert!(world.component.log.contains(&Output::Rewind(0)));
    assert_eq!(world.component.read, 2 * world.setup.length as u64);
}

/// It fetches for half a minute, and says so late: it is asked once, and not again for what it does already.
#[test]
fn a_slow_network_is_not_asked_twice_for_the_same_rewind() {
    let mut world = World::new(Setup::default());
    world.misjudge = 1;
    world.component.quiet = true;
    world.component.fetch_us = 30_000_000;
    world.upgrade(600_000_000);
    let rewinds = (world.component.log.iter()).filter(|output| **output == Output::Rewind(0));
    assert_eq!(rewinds.count(), 1);
}

/// Actions that the component does not take at present are asked for again.
#[test]
fn a_component_that_waits_is_asked_again() {
    let mut world = World::new(Setup::default());
    world.component.refuse = 2;
    world.upgrade(60_000_000);
    let confirms = world
        .component
        .log
        .iter()
        .filter(|o| **o == Output::Confirm);
    assert_eq!(confirms.count(), 3);
}

#[test]
fn told_to_install_what_it_does_not_have() {
    let mut world = World::new(Setup::default());
    assert!(world.run_until(5_000_000, |w| w.module.durable() > 0));
    world.component.stage = Stage::Installing;
    world.module.input(Input::Installing);
    assert!(world.run_until(5_000_000, |w| w.mcu.phase() == McuPhase::Failed));
    world.step();
    assert!(world.run_until(1_000_000, |w| w.module.mcu_phase() == McuPhase::Failed));
}

/// Power goes after the component said "go" and before the MCU swapped: it still has the image.
#[test]
fn reset_between_go_and_swap() {
    let mut world = World::new(Setup::default());
    assert!(world.run_until(60_000_000, |w| w.component.stage == Stage::Installing));
    world.reset_mcu(10_000);
    world.upgrade(60_000_000);
    assert_eq!(world.component.read, world.setup.length as u64);
    assert_eq!(world.installs, 1);
}

/// A new image that does not confirm is reverted; the component hears the old version and no success.
#[test]
fn reverted() {
    let mut world = World::new(Setup::default());
    world.never_confirms = true;
    assert!(world.run_until(60_000_000, |w| w.installs == 1));
    world.run_until(3_000_000, |_| false);
    assert_eq!(
        world.component.stage,
        Stage::Installing,
        "a trial is no success"
    );
    world.running = ("1_0_0", sota_link::field::Boot::Reverted(404));
    world.reset_mcu(10_000);
    let reverted = |w: &World| w.module.peer().boot == sota_link::field::Boot::Reverted(404);
    assert!(world.run_until(5_000_000, reverted));
    assert_eq!(world.module.peer().version, "1_0_0");
    assert_ne!(world.component.stage, Stage::Updated);
}

#[test]
fn a_peer_that_goes_silent_in_the_middle() {
    for end in 0..2 {
        let mut world = World::new(Setup {
            rate: [921_600; 2],
            length: 0x10000,
            piece: 0x10000,
            slot: 0x10000,
            ..Setup::default()
        });
        assert!(world.run_until(5_000_000, |w| w.module.durable() > 0));
        assert_eq!(world.ports[0].baud, 921_600);
        world.ports[end].off_until = u64::MAX;
        let down = |w: &World| w.heard(1 - end, 601);
        assert!(world.run_until(10_000_000, down), "{}", world.standing());
        world.run_until(100_000, |_| false);
        assert_eq!(world.ports[1 - end].baud, 115_200, "the base rate");
        match end {
            0 => world.reset_module(0),
            _ => world.reset_mcu(0),
        }
        world.upgrade(60_000_000);
    }
}

/// The MCU holds the module for an erase: nothing comes, nothing is lost.
#[test]
fn hold() {
    let mut world = World::new(Setup::default());
    assert!(world.run_until(5_000_000, |w| w.module.durable() > 0));
    world.mcu.hold(true);
    world.run_until(1_000_000, |_| false);
    let read = world.component.read;
    world.run_until(3_000_000, |_| false);
    assert_eq!(world.component.read, read);
    world.mcu.hold(false);
    world.upgrade(60_000_000);
    assert_eq!(world.component.read, world.setup.length as u64);
}

/// The MCU asks for a plan; a module without one has nothing to say.
#[test]
fn idle_ends_talk_every_30_seconds() {
    let mut world = World::new(Setup::default());
    world.component.stage = Stage::Idle;
    world.run_until(1_000_000, |_| false);
    world.mcu.ask_for_plan();
    world.run_until(1_000_000, |_| false);
    assert!(world.component.log.contains(&Output::Request));
    let sent = [world.lanes[0].sent, world.lanes[1].sent];
    world.run_until(600_000_000, |_| false);
    assert!(world.module.is_up() && world.mcu.is_up());
    for (lane, before) in world.lanes.iter().zip(sent) {
        let bytes = lane.sent - before;
        assert!(
            (300..2_000).contains(&bytes),
            "{bytes} bytes in ten minutes"
        );
    }
}

/// A line that cannot do the greater rate: both come back and go on at the lower one.
#[test]
fn a_rate_that_does_not_work() {
    let mut world = World::new(Setup {
        rate: [921_600; 2],
        ..Setup::default()
    });
    world.deaf_above = Some(460_800);
    world.upgrade(60_000_000);
    assert!(world.heard(0, 609));
    assert_eq!(world.ports.each_ref().map(|port| port.baud), [115_200; 2]);
}
