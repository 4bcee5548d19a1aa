//! embassy-boot: swap, no confirm, revert, with power cut at every flash operation. Counts the boots after which the active
//! slot holds neither image, and the words that are written a second time or into a page whose erase was cut short.

#[allow(dead_code)]
#[path = "../../../crates/mcu/tests/world/nor.rs"]
mod nor;

use embassy_boot::{AlignedBuffer, BlockingFirmwareState, BootLoader, BootLoaderConfig};
use embassy_embedded_hal::flash::partition::BlockingPartition;
use embassy_sync::blocking_mutex::{Mutex, raw::NoopRawMutex};
use nor::{MOMENTS, Moment, Nor};
use std::cell::RefCell;

const PAGE: usize = 256;
const WORD: usize = 8;
/// Pages of a slot.
const PAGES: usize = 4;
const STATE: u32 = ((2 * PAGES + 1) * PAGE) as u32;

type Flash = Nor<PAGE, WORD>;
type Shared = Mutex<NoopRawMutex, RefCell<Flash>>;

#[derive(PartialEq, Eq)]
enum End {
    NoCut,
    Good,
    Brick,
    /// What the flash cannot do.
    Written,
}

fn image(step: u8) -> Vec<u8> {
    (0..PAGES * PAGE)
        .map(|i| (i as u8).wrapping_mul(step).wrapping_add(step))
        .collect()
}

fn state(flash: &Shared) -> BlockingPartition<'_, NoopRawMutex, Flash> {
    BlockingPartition::new(flash, STATE, PAGE as u32)
}

fn boot(flash: &Shared) -> bool {
    let size = (PAGES * PAGE) as u32;
    let mut loader = BootLoader::new(BootLoaderConfig {
        active: BlockingPartition::new(flash, 0, size),
        dfu: BlockingPartition::new(flash, size, size + PAGE as u32),
        state: state(flash),
    });
    loader.prepare_boot(AlignedBuffer([0; 64]).as_mut()).is_ok()
}

fn run(cut: (u32, Moment), seed: u64, strict: bool) -> End {
    let (old, new) = (image(3), image(5));
    let mut flash = Flash::new((2 * PAGES + 2) * PAGE, seed);
    flash.strict = strict;
    flash.program(0, &old);
    flash.program(PAGES * PAGE, &new);
    flash.power_on(Some(cut));
    let flash = Mutex::new(RefCell::new(flash));
    let (mut cuts, mut marked, mut boots) = (0, false, 0);
    while boots < 5 {
        if flash.lock(|f| f.borrow().is_off) {
            cuts += 1;
            flash.lock(|f| f.borrow_mut().power_on(None));
        }
        if !marked {
            let mut word = [0; WORD];
            marked = BlockingFirmwareState::new(state(&flash), &mut word)
                .mark_updated()
                .is_ok();
        } else if boot(&flash) {
            boots += 1;
            let active = flash.lock(|f| f.borrow().memory[..old.len()].to_vec());
            if active != old && active != new {
                return End::Brick;
            }
        }
    }
    if cuts > 0 { End::Good } else { End::NoCut }
}

fn main() {
    let seeds: u64 = std::env::args()
        .nth(1)
        .map_or(100, |n| n.parse().expect("seeds"));
    std::panic::set_hook(Box::new(|_| {}));
    for strict in [true, false] {
        let (mut cases, mut bricks, mut written) = (0, 0, 0);
        for operation in 1.. {
            let before = cases;
            for moment in MOMENTS {
                let chances = if moment == Moment::Middle { seeds } else { 1 };
                for seed in 1..=chances {
                    let seed = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
                    let end = std::panic::catch_unwind(|| run((operation, moment), seed, strict));
                    let end = end.unwrap_or(End::Written);
                    cases += u32::from(end != End::NoCut);
                    bricks += u32::from(end == End::Brick);
                    written += u32::from(end == End::Written);
                }
            }
            if cases == before {
                break;
            }
        }
        match strict {
            true => println!(
                "{cases} cuts: {written} write a word twice, or into a page not erased whole; {bricks} others brick"
            ),
            false => println!("{cases} cuts of flash that lets that pass: {bricks} brick"),
        }
    }
}
