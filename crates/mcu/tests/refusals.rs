//! What must not be installed, and flash that fails: the number, and the old image runs on.

mod world;

use sota_errors::{LinkError, McuError};
use sota_link::field::{Digest, Image};
use sota_link::mcu::{Slot, WriteError};
use sota_link::message::McuPhase;
use sota_mcu::Layout;
use sota_mcu::boot::{self, Rules};
use sota_mcu::slot::OtherSlot;
use sota_mcu::state::{BootState, Phase, State};
use world::nor::Nor;
use world::parts::Stage;
use world::{Setup, World, image};

type Flash = Nor<256, 8>;

fn setup() -> (Flash, Layout) {
    let layout = Setup::default().layout();
    let flash = Nor::new((layout.state + 2 * layout.state_page) as usize, 3);
    (flash, layout)
}

fn open(flash: &mut Flash, layout: &Layout) -> OtherSlot {
    OtherSlot::open(flash, layout, State::default(), 4)
}

fn wanted(length: u32) -> Image {
    Image {
        length,
        sha256: Some([7; 32]),
        ..Image::default()
    }
}

#[test]
fn too_large_without_digest_or_on_trial() {
    let (mut flash, layout) = setup();
    let mut slot = open(&mut flash, &layout);
    let capacity = layout.capacity();
    let mut access = slot.access(&mut flash, &layout);
    let too_small = Err(McuError::SlotTooSmall.number());
    assert_eq!(access.begin(&wanted(capacity + 1)), too_small);
    assert_eq!(access.begin(&wanted(u32::MAX)), too_small);
    let none = Image {
        length: 10,
        ..Image::default()
    };
    let without = Err(LinkError::PackageWithoutDigest.number());
    assert_eq!(access.begin(&none), without);
    assert_eq!(access.begin(&wanted(capacity)), Ok(0));
    let trial = State {
        phase: Phase::Trial,
        ..State::default()
    };
    let mut slot = OtherSlot::open(&mut flash, &layout, trial, 4);
    let mut access = slot.access(&mut flash, &layout);
    assert_eq!(access.begin(&wanted(10)), Err(LinkError::NotNow.number()));
}

#[test]
fn offsets_beyond_the_slot() {
    let (mut flash, layout) = setup();
    let mut slot = open(&mut flash, &layout);
    let mut access = slot.access(&mut flash, &layout);
    access.begin(&wanted(layout.capacity())).unwrap();
    for at in [
        layout.capacity(),
        layout.capacity() - 128,
        u32::MAX - 255,
        8,
    ] {
        assert_eq!(access.write(at, &[0; 256]), Err(WriteError::Failed), "{at}");
    }
    assert_eq!(access.commit(u32::MAX), layout.capacity(), "never beyond");
}

/// The record of another package, or of a slot that a swap has used since, counts for nothing.
#[test]
fn another_package_or_epoch_begins_from_0() {
    let (mut flash, layout) = setup();
    let mut slot = open(&mut flash, &layout);
    let mut access = slot.access(&mut flash, &layout);
    access.begin(&wanted(1024)).unwrap();
    access.write(0, &[1; 256]).unwrap();
    access.write(256, &[2; 256]).unwrap();
    assert_eq!(access.commit(512), 512);
    let mut again = open(&mut flash, &layout);
    let mut access = again.access(&mut flash, &layout);
    let resume = access.resume().unwrap();
    assert_eq!((resume.offset, resume.length), (512, 1024));
    assert_eq!(resume.digest, Digest::sha256([7; 32]));
    let later = State {
        epoch: 1,
        ..State::default()
    };
    let mut void = OtherSlot::open(&mut flash, &layout, later, 4);
    assert_eq!(void.access(&mut flash, &layout).resume(), None);
    let mut other = open(&mut flash, &layout);
    let mut access = other.access(&mut flash, &layout);
    assert_eq!(access.begin(&wanted(1024)), Ok(512));
    assert_eq!(access.begin(&wanted(1025)), Ok(0));
}

/// Over the whole system, with the flash failing in one place of the other slot, its records, or the boot state.
#[test]
fn flash_that_fails() {
    let layout = Setup::default().layout();
    let places = [
        ("first page", layout.other, 404),
        ("last page", layout.other + 8 * 256, 404),
        ("both pages of records", layout.other + 11 * 256, 404),
    ];
    for (what, at, number) in places {
        let mut world = World::<256, 8>::new(Setup::default());
        world.flash.broken = Some((at, 512));
        let failed = world.run_until(600_000, |w| matches!(w.component.stage, Stage::Failed(_)));
        assert!(failed, "{what}: {}", world.standing());
        assert_eq!(world.component.stage, Stage::Failed(number), "{what}");
        assert!(!world.runs_new);
    }
    // One bad place of the records is gone round.
    let mut world = World::<256, 8>::new(Setup::default());
    world.flash.broken = Some((layout.other + 11 * 256 + 64, 8));
    assert!(
        world.run_until(600_000, World::is_updated),
        "{}",
        world.standing()
    );
}

#[test]
fn a_harmed_image_is_received_again_once() {
    let mut world = World::<256, 8>::new(Setup::default());
    // Not what the package's digest says.
    world.component.bytes[700] ^= 1;
    let failed = world.run_until(600_000, |w| matches!(w.component.stage, Stage::Failed(_)));
    assert!(failed, "{}", world.standing());
    assert_eq!(
        world.component.stage,
        Stage::Failed(McuError::ImageDigest.number())
    );
    assert_eq!(world.component.read, 2 * 2100);
    assert!(!world.runs_new);
}

/// What changes in the slot between verifying and the swap is not started.
#[test]
fn what_is_harmed_after_it_was_verified() {
    let mut world = World::<256, 8>::new(Setup::default());
    let layout = world.setup.layout();
    let asks = |w: &World<256, 8>| {
        w.agent
            .as_ref()
            .is_some_and(|a| a.phase() == McuPhase::Installing)
    };
    assert!(world.run_until(600_000, asks));
    let new = layout.other as usize + 1000;
    world.flash.memory[new] ^= 0x10;
    let back = world.run_until(600_000, |w| !w.reverts.is_empty());
    assert!(back, "{}", world.standing());
    assert_eq!(world.reverts, [McuError::ImageLost.number()]);
    assert!(!world.runs_new && world.state.phase == Phase::Reverted);
}

#[test]
fn a_request_without_an_image() {
    let (mut flash, layout) = setup();
    flash.program(layout.active as usize, &image(1, 500));
    let mut boot = BootState::open(&mut flash, &layout);
    boot.request(&mut flash).unwrap();
    let state = boot::run(&mut flash, &layout, &Rules::default()).unwrap();
    assert_eq!((state.phase, state.reason), (Phase::Reverted, 407));
}

#[test]
fn trial_boots_are_counted() {
    let (mut flash, layout) = setup();
    flash.program(layout.active as usize, &image(1, 500));
    let mut boot = BootState::open(&mut flash, &layout);
    let trial = State {
        phase: Phase::Trial,
        pages: 2,
        ..State::default()
    };
    boot.put(&mut flash, trial).unwrap();
    let rules = Rules { trial_boots: 3 };
    for boots in 1..=3 {
        let state = boot::run(&mut flash, &layout, &rules).unwrap();
        assert_eq!((state.phase, state.boots), (Phase::Trial, boots));
    }
    let state = boot::run(&mut flash, &layout, &rules).unwrap();
    assert_eq!((state.phase, state.reason), (Phase::Reverted, 406));
    // And that is what it stays.
    assert_eq!(boot::run(&mut flash, &layout, &rules), Ok(state));
}

#[test]
fn layouts_that_cannot_be() {
    let (flash, good) = setup();
    assert_eq!(good.check(&flash), Ok(()));
    let bad = Err(McuError::FlashLayout);
    let change = |f: &dyn Fn(&mut Layout)| {
        let mut layout = good;
        f(&mut layout);
        layout.check(&flash)
    };
    assert_eq!(change(&|l| l.page = 128), bad, "less than the flash erases");
    assert_eq!(change(&|l| l.page = 0), bad);
    assert_eq!(change(&|l| l.word = 4), bad, "less than the flash writes");
    assert_eq!(change(&|l| l.word = 32), bad);
    assert_eq!(change(&|l| l.word = 12), bad);
    assert_eq!(change(&|l| l.active += 8), bad);
    assert_eq!(change(&|l| l.other = l.active), bad);
    assert_eq!(
        change(&|l| l.other_len = 3 * 256),
        bad,
        "no page for an image"
    );
    assert_eq!(change(&|l| l.state = l.other), bad);
    assert_eq!(change(&|l| l.state_page = 1 << 31), bad);
    assert_eq!(change(&|l| l.state = u32::MAX - 255), bad);
    assert_eq!(change(&|l| l.state += 256), bad, "beyond the flash");
    assert_eq!(change(&|l| l.word = 16), Ok(()), "more than it writes");
}

/// Records of a layout with greater slots are not taken for this one's.
#[test]
fn records_of_another_layout() {
    let (mut flash, layout) = setup();
    flash.program(layout.active as usize, &image(1, 500));
    let before = flash.memory.clone();
    let mut boot = BootState::open(&mut flash, &layout);
    for (phase, pages) in [(Phase::Swapping, 11), (Phase::Reverting, u16::MAX)] {
        let state = State {
            phase,
            pages,
            ..State::default()
        };
        boot.put(&mut flash, state).unwrap();
        let rules = Rules::default();
        assert_eq!(
            boot::run(&mut flash, &layout, &rules),
            Err(McuError::FlashLayout)
        );
    }
    let slots = ..layout.state as usize;
    assert_eq!(flash.memory[slots], before[slots]);
    // The other slot: the last page of the greater one is this one's spare page.
    let greater = Layout {
        active_len: layout.active_len,
        other: layout.other - 256,
        other_len: layout.other_len + 256,
        active: 0,
        ..layout
    };
    let mut slot = OtherSlot::open(&mut flash, &greater, State::default(), 4);
    let length = greater.capacity();
    slot.access(&mut flash, &greater)
        .begin(&wanted(length))
        .unwrap();
    let smaller = Layout {
        active_len: layout.active_len - 256,
        ..greater
    };
    let mut slot = OtherSlot::open(&mut flash, &smaller, State::default(), 4);
    assert_eq!(slot.access(&mut flash, &smaller).resume(), None);
}
