//! Whole upgrades over a good line, in every shape.

mod world;

use sota_link::message::McuPhase;
use sota_link::module::Output;
use world::parts::Stage;
use world::{Setup, World};

fn upgrade(setup: Setup) -> World {
    let mut world = World::new(setup);
    world.upgrade(60_000_000);
    assert_eq!(
        world.component.read, world.setup.length as u64,
        "no byte twice"
    );
    world
}

#[test]
fn pushed_piece_by_piece() {
    let world = upgrade(Setup::default());
    let log: Vec<_> = world.component.log.clone();
    assert_eq!(
        log,
        [
            Output::Running,
            Output::Announce,
            Output::Confirm,
            Output::Release,
            Output::Release,
            Output::Install,
            Output::Running,
            Output::Announce,
            Output::Running,
            Output::Announce,
        ]
    );
}

#[test]
fn pulled() {
    upgrade(Setup {
        pulls: true,
        ..Setup::default()
    });
}

#[test]
fn every_window_and_block() {
    for pulls in [false, true] {
        for window in 1..=8 {
            for block in [64, 128, 256, 512, 1024] {
                upgrade(Setup {
                    length: 9_000,
                    piece: 4096,
                    window: [window, 8],
                    block: [1024, block],
                    page: 256,
                    page_us: 100,
                    pulls,
                    baud: 921_600,
                    ..Setup::default()
                });
            }
        }
    }
}

/// Pages greater than half a window: the offset runs ahead of what is durable.
#[test]
fn great_pages_do_not_stop_it() {
    for (page, block, window) in [(16384, 1024, 8), (4096, 1024, 1), (8192, 256, 2)] {
        upgrade(Setup {
            page,
            block: [1024, block],
            window: [8, window],
            baud: 921_600,
            ..Setup::default()
        });
    }
}

#[test]
fn slower_network_than_uart() {
    let mut world = World::new(Setup {
        fetch_us: 8_000_000,
        ..Setup::default()
    });
    world.upgrade(60_000_000);
    assert!(
        world
            .faults_heard
            .iter()
            .all(|(_, line)| matches!(line, sota_link::Line::Up))
    );
}

#[test]
fn at_the_greatest_common_rate() {
    let mut world = World::new(Setup {
        rate: [921_600, 460_800],
        length: 0x10000,
        piece: 16384,
        ..Setup::default()
    });
    let mut fastest = 0;
    assert!(world.run_until(60_000_000, |w| {
        fastest = fastest.max(w.ports[0].baud);
        w.component.stage == Stage::Updated
    }));
    assert_eq!(fastest, 460_800);
    assert_eq!(world.ports.each_ref().map(|port| port.baud), [115_200; 2]);
}

/// The MCU was reset with the whole image in flash, and the module begins its download anew: the pieces are released, not
/// sent, and the install is asked for after the last one.
#[test]
fn an_mcu_that_has_everything_takes_no_byte_of_it() {
    for pulls in [false, true] {
        let mut world = World::new(Setup {
            pulls,
            ..Setup::default()
        });
        assert!(world.run_until(60_000_000, |w| w.mcu.phase() == McuPhase::Verifying));
        world.component.stage = Stage::Offered;
        world.component.log.clear();
        world.reset_module(0);
        world.reset_mcu(0);
        world.upgrade(60_000_000);
        assert_eq!(world.component.read, world.setup.length as u64);
        let released = world
            .component
            .log
            .iter()
            .filter(|o| **o == Output::Release);
        assert_eq!(released.count(), 2);
    }
}
