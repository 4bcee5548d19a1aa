//! What a resume costs, in every shape of pages, words, windows and pieces; digests; pulling.

mod world;

use proptest::prelude::*;
use world::nor::Nor;
use world::{BLOCK, Setup, World, image};

/// Resets of the MCU at these moments, each in the middle of receiving; gives the bytes that came twice for one of them.
fn cost<const PAGE: usize, const WORD: usize>(setup: Setup, cuts: &[u32]) -> u64 {
    let length = setup.new.len();
    let window = u64::from(setup.window);
    let mut world = World::<PAGE, WORD>::new(setup);
    let mut read = 0;
    for after in cuts {
        // The cut, counted from what was read, so that it comes while it receives.
        let at = read + u64::from(*after) % (length as u64);
        let receives = |w: &World<PAGE, WORD>| w.component.read >= at || w.is_updated();
        assert!(world.run_until(600_000, receives), "{}", world.standing());
        let durable = world.agent.as_ref().map_or(0, |a| a.progress().0);
        if world.is_updated() || durable as usize >= length {
            break;
        }
        world.flash.is_off = true;
        read = world.component.read;
    }
    let done = world.run_until(600_000, World::is_updated);
    assert!(done, "{}", world.standing());
    let (most, window) = (world.component.resume_cost, window * BLOCK as u64);
    assert!(
        most <= window,
        "{most} bytes twice, the window is {window}: {}",
        world.standing()
    );
    most
}

fn setup() -> impl Strategy<Value = Setup> {
    (
        1u8..=8,
        1usize..6_000,
        1usize..6_000,
        any::<bool>(),
        1u32..8,
        any::<[bool; 3]>(),
        any::<u64>(),
    )
        .prop_map(|(window, old, new, pulls, piece, digests, seed)| Setup {
            old: image(seed, old),
            new: image(!seed, new),
            window,
            pulls,
            piece: piece * 1024,
            digests: if digests == [false; 3] {
                [true; 3]
            } else {
                digests
            },
            ..Setup::default()
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn at_most_one_window(setup in setup(), cuts in prop::collection::vec(0u32..4_000, 0..5)) {
        let shape = |page: u32, word| Setup { page, word, pages: 6144u32.div_ceil(page), ..setup.clone() };
        cost::<128, 1>(shape(128, 1), &cuts);
        cost::<256, 2>(shape(256, 2), &cuts);
        cost::<512, 8>(shape(512, 8), &cuts);
        cost::<1024, 16>(shape(1024, 16), &cuts);
        cost::<4096, 4>(shape(4096, 4), &cuts);
    }

    /// Against the crates' own digests, for every length modulo a block.
    #[test]
    fn digests(bytes in prop::collection::vec(any::<u8>(), 1..700)) {
        use md5::Digest as _;
        let mut flash = Nor::<256, 4>::new(1024, 1);
        flash.program(256, &bytes);
        let mut digests = sota_mcu::digest::Digests::new(256, bytes.len() as u32);
        let mut steps = 1;
        while !digests.step(&mut flash).unwrap() {
            steps += 1;
        }
        // With the padding, which has 9 bytes at least.
        prop_assert_eq!(steps, (bytes.len() + 9).div_ceil(512));
        prop_assert_eq!(digests.sha256(), <[u8; 32]>::from(sha2::Sha256::digest(&bytes)));
        prop_assert_eq!(digests.md5(), <[u8; 16]>::from(md5::Md5::digest(&bytes)));
        prop_assert_eq!(digests.crc32(), crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(&bytes));
    }
}

#[test]
fn a_resume_at_every_length_of_a_great_page() {
    let setup = Setup {
        old: image(3, 2500),
        new: image(4, 8000),
        page: 4096,
        pages: 2,
        window: 4,
        word: 4,
        ..Setup::default()
    };
    let costs: Vec<_> = (0..32)
        .map(|i| cost::<4096, 4>(setup.clone(), &[i * 250]))
        .collect();
    assert!(
        costs.iter().any(|cost| *cost > 0),
        "no reset cost anything: {costs:?}"
    );
}
