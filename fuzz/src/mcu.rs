//! The MCU's bootloader and agent on flash that holds anything.
//!
//! | bytes | |
//! |---|---|
//! | 0 | bit 0: a boot state's record is there; bit 1: one of the other slot; bit 2: packages are MCUboot images |
//! | 8, 48 | their payloads |
//! | 1 | where the active slot's bytes are cut off |
//! | .. | active slot, other slot with its records, boot state; what is missing is erased |
//!
//! Nothing may panic or loop, what is written is erased, and nothing outside the areas is touched.

use crate::flash::{Nor, PAGE, WRITE};
use crate::input::Input;
use sota_link::field::Image;
use sota_link::frame::frame_len;
use sota_link::mcu::Slot;
use sota_mcu::boot::{Rules, run as boot};
use sota_mcu::records::Records;
use sota_mcu::slot::OtherSlot;
use sota_mcu::state::{BootState, Phase};
use sota_mcu::{Agent, Config, Layout, mcuboot};

const P: u32 = PAGE as u32;
const LAYOUT: Layout = Layout {
    active: P,
    active_len: 3 * P,
    other: 5 * P,
    other_len: 6 * P,
    page: P,
    state: 12 * P,
    state_page: P,
    word: WRITE as u32,
};
/// Pages that belong to nobody.
const BETWEEN: [usize; 4] = [0, 4, 11, 14];

/// Runs one case.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let bits = input.u8();
    let mut state = [0; 8];
    state[..].copy_from_slice(&padded(input.take(8), 8));
    let slot = padded(input.take(48), 48);
    let active = input.take(usize::from(input.clone().u8()) * 12);
    let mut bytes = vec![0xFF; 15 * PAGE];
    put(&mut bytes, LAYOUT.active, 3 * PAGE, active);
    put(&mut bytes, LAYOUT.other, 6 * PAGE, input.take(6 * PAGE));
    put(&mut bytes, LAYOUT.state, 2 * PAGE, input.take(2 * PAGE));
    for page in BETWEEN {
        bytes[page * PAGE..][..PAGE].fill(0x5A);
    }
    let mut flash = Nor::new(bytes);
    let word = LAYOUT.word;
    if bits & 2 != 0 {
        let at = LAYOUT.other + LAYOUT.other_len - 2 * P;
        let mut found = [0; 48];
        let mut records = Records::open(&mut flash, at, P, word, &mut found);
        records.put(&mut flash, &slot).expect("good flash");
    }
    if bits & 1 != 0 {
        let mut found = [0; 8];
        let mut records = Records::open(&mut flash, LAYOUT.state, P, word, &mut found);
        records.put(&mut flash, &state).expect("good flash");
    }
    let _ = mcuboot::read(&mut flash, LAYOUT.active, LAYOUT.active_len);
    let first = boot(&mut flash, &LAYOUT, &Rules::default());
    if let Ok(first) = first
        && first.phase != Phase::Trial
    {
        assert_eq!(boot(&mut flash, &LAYOUT, &Rules::default()), Ok(first));
    }
    receive(&mut flash);
    let config = Config {
        link: sota_link::mcu::Config {
            component: "m",
            baud: 115_200,
            ..Default::default()
        },
        mcuboot: bits & 4 != 0,
        ..Config::default()
    };
    let agent = Agent::<{ frame_len(256) }>::new(0, config, LAYOUT, &mut flash);
    let mut agent = agent.expect("a good layout on good flash");
    for now in [0, 1_000, 100_000] {
        while agent.poll(now, &mut flash).is_some() {}
        let _ = agent.next_tx(&mut [0; 512]);
    }
    for page in BETWEEN {
        assert!(
            flash.bytes[page * PAGE..][..PAGE]
                .iter()
                .all(|byte| *byte == 0x5A)
        );
    }
}

/// The package that the slot says it has goes on, with two blocks.
fn receive(flash: &mut Nor) {
    let state = BootState::open(flash, &LAYOUT).get();
    let mut slot = OtherSlot::open(flash, &LAYOUT, state, 8);
    let mut access = slot.access(flash, &LAYOUT);
    let Some(resume) = access.resume() else {
        return;
    };
    let mut image = Image {
        length: resume.length,
        ..Image::default()
    };
    let digest = resume.digest.as_bytes();
    match resume.digest.kind() {
        1 => image.crc32 = Some(u32::from_le_bytes(digest.try_into().expect("4 bytes"))),
        2 => image.md5 = Some(digest.try_into().expect("16 bytes")),
        _ => image.sha256 = Some(digest.try_into().expect("32 bytes")),
    }
    let Ok(offset) = access.begin(&image) else {
        return;
    };
    assert!(offset <= image.length);
    for block in 1..3 {
        let at = offset / 256 * 256 + block * 256;
        if at + 256 <= image.length && access.write(at, &[7; 256]).is_ok() {
            assert!(access.commit(at + 256) <= image.length);
        }
    }
    access.forget();
    assert_eq!(access.resume(), None);
}

fn padded(bytes: &[u8], n: usize) -> Vec<u8> {
    let mut out = bytes.to_vec();
    out.resize(n, 0);
    out
}

fn put(bytes: &mut [u8], at: u32, most: usize, from: &[u8]) {
    let n = from.len().min(most);
    bytes[at as usize..][..n].copy_from_slice(&from[..n]);
}
