//! The upgrade ends with the right bytes over a line that loses, doubles, flips and inserts bytes and babbles, with
//! resets of either side and power cuts inside flash operations; and what a resume costs.

mod world;

use proptest::prelude::*;
use world::line::Faults;
use world::parts::Stage;
use world::{Setup, World};

#[derive(Clone, Debug)]
enum Blow {
    Module(u64),
    Mcu(u64),
    /// Power fails at the flash operation after so many.
    Fuse(u32),
    /// The bytes on the line are lost.
    Unplugged(u64),
}

fn blow() -> impl Strategy<Value = Blow> {
    let off = prop_oneof![0u64..20_000, 0u64..8_000_000];
    prop_oneof![
        off.clone().prop_map(Blow::Module),
        off.clone().prop_map(Blow::Mcu),
        (1u32..600).prop_map(Blow::Fuse),
        (0u64..7_000_000).prop_map(Blow::Unplugged),
    ]
}

fn strike(world: &mut World, blow: &Blow) {
    match blow {
        Blow::Module(off) => world.reset_module(*off),
        Blow::Mcu(off) => world.reset_mcu(*off),
        Blow::Fuse(operations) => world.flash.fuse = Some(*operations),
        Blow::Unplugged(us) => {
            let end = world.now_us + us;
            while world.now_us < end {
                world.step();
                for port in &mut world.ports {
                    port.rx.clear();
                }
            }
        }
    }
}

fn rarely(least: u64) -> impl Strategy<Value = u64> {
    prop_oneof![2 => Just(0), 3 => least..20 * least]
}

fn faults() -> impl Strategy<Value = Faults> {
    (
        rarely(2_000),
        rarely(2_000),
        rarely(2_000),
        rarely(2_000),
        rarely(10_000),
    )
        .prop_map(|(lost, doubled, flipped, inserted, babble)| Faults {
            lost,
            doubled,
            flipped,
            inserted,
            babble,
        })
}

fn setup() -> impl Strategy<Value = Setup> {
    let block = prop_oneof![Just(64u16), Just(128), Just(256), Just(512), Just(1024)];
    let page = prop_oneof![Just(256usize), Just(1024), Just(4096), Just(16384)];
    let baud = prop_oneof![Just(115_200u32), Just(921_600), Just(460_800)];
    let rate = prop_oneof![Just(0u32), Just(921_600)];
    (
        any::<u64>(),
        1usize..20_000,
        [block.clone(), block],
        [1u8..=8, 1u8..=8],
        page,
        0u64..3_000,
        (baud, [rate.clone(), rate]),
        any::<bool>(),
        (
            prop_oneof![Just(4096u32), Just(8192), Just(65536)],
            0u64..300_000,
        ),
    )
        .prop_map(
            |(
                seed,
                length,
                block,
                window,
                page,
                page_us,
                (baud, rate),
                pulls,
                (piece, fetch_us),
            )| Setup {
                seed: seed | 1,
                length,
                piece,
                fetch_us,
                block,
                window,
                page,
                page_us,
                baud,
                rate,
                pulls,
                ..Setup::default()
            },
        )
}

/// How long an upgrade may take on virtual time: what takes longer is taken for a livelock. Far above what the worst lines need:
/// how fast it is, benches/link.sh measures.
fn bound_us(setup: &Setup, blows: usize) -> u64 {
    let line = setup.length as u64 * 10_000_000 / u64::from(setup.baud);
    300_000_000 + 300 * line + blows as u64 * 60_000_000
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn always_ends_with_the_right_bytes(
        setup in setup(),
        faults in faults(),
        blows in prop::collection::vec((0u64..2_000_000, blow()), 0..5),
        refuse in 0u32..2,
        misjudge in 0u32..2,
        redo_every in prop_oneof![3 => Just(0u32), 1 => 20u32..200],
    ) {
        let most = bound_us(&setup, blows.len() + (refuse + misjudge) as usize);
        let mut world = World::new(Setup { faults, ..setup });
        world.component.refuse = refuse;
        world.misjudge = misjudge;
        world.flash.redo_every = redo_every;
        for (after, blow) in &blows {
            world.run_until(*after, |w| w.component.stage == Stage::Updated);
            // Who has said that it runs the new image is not set back by a torn flash.
            if world.component.stage == Stage::Updated {
                break;
            }
            strike(&mut world, blow);
        }
        world.upgrade(most);
    }

    /// On a good line a resume costs at most one window, whoever was reset; where pages are small enough.
    #[test]
    fn a_resume_costs_at_most_one_window(
        setup in setup(),
        blows in prop::collection::vec((0u64..1_000_000, any::<bool>(), 0u64..30_000), 1..6),
    ) {
        let block = setup.block[0].min(setup.block[1]);
        let window = setup.window[0].min(setup.window[1]);
        let bytes = u64::from(block) * u64::from(window);
        // At most half a window, a power of two.
        let page = setup.page.min(1 << (bytes / 2).ilog2());
        let mut world = World::new(Setup { rate: [0; 2], page, ..setup });
        let mut resets = 0;
        for (after, module, off) in &blows {
            world.run_until(*after, |w| w.component.stage == Stage::Updated);
            if world.component.stage == Stage::Updated {
                break;
            }
            resets += 1;
            strike(&mut world, &if *module { Blow::Module(*off) } else { Blow::Mcu(*off) });
        }
        world.upgrade(60_000_000 + 20_000_000 * resets);
        let cost = world.component.resume_cost;
        prop_assert!(cost <= bytes, "{cost} bytes twice, the window is {bytes}");
    }
}

/// Power fails at every flash operation of an upgrade, one after the other.
#[test]
fn power_cut_at_every_flash_operation() {
    let setup = Setup {
        length: 3_000,
        piece: 4096,
        block: [256, 256],
        page: 256,
        page_us: 100,
        baud: 921_600,
        ..Setup::default()
    };
    let mut cases = 0;
    loop {
        let mut world = World::new(setup.clone());
        world.flash.fuse = Some(cases + 1);
        world.upgrade(60_000_000);
        if world.cuts == 0 {
            break; // so many operations there are not
        }
        cases += 1;
        assert!(cases < 10_000);
    }
    println!("power cuts: {cases} cases");
    assert!(cases > 3_000 / 8, "{cases}");
}
