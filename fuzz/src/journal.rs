//! The engine started on flash that holds anything; see [`crate::checked`].
//!
//! | bytes | |
//! |---|---|
//! | 0 | the configuration, as in [`crate::engine`] |
//! | 1 | bit 0: the CRCs are made right, so that what the records hold is read; bits 1, 2: what stands in staging; bit 3: a good upgrade at the end |
//! | 2.. | the journal partition; what is missing is erased |
//!
//! With wrong CRCs, which is what a torn or worn flash has, a good upgrade must succeed afterwards. With right ones
//! the records hold what no engine wrote (a table full of components, a deadline in 49 days): it must not panic, loop
//! for ever or read outside the flash.

use sota::message::{Command, ToEngine};

use crate::checked::{Checked, crc32, package};
use crate::engine::config;
use crate::flash::{Nor, PAGE, Parts, WRITE};
use crate::input::Input;

const SECTOR: usize = 4 * PAGE;
/// The sector's header, `docs/journal.md`.
const HEADER: usize = 32;
const LONG: u8 = 0xA5;
const SHORT: u8 = 0x5A;

/// Runs one case.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let (choice, bits) = (input.u8(), input.u8());
    let mut journal = input.take(Parts::JOURNAL).to_vec();
    journal.resize(Parts::JOURNAL, 0xFF);
    if bits & 1 != 0 {
        for sector in journal.as_chunks_mut::<SECTOR>().0 {
            make_right(sector);
        }
    }
    let mut staging = match bits >> 1 & 3 {
        0 => vec![0xFF; Parts::STAGING],
        1 => package(Parts::STAGING).to_vec(),
        2 => (0..Parts::STAGING).map(|at| (at * 7) as u8).collect(),
        // Power went in the middle of the first page.
        _ => [package(600), &[0xFF; Parts::STAGING - 600]].concat(),
    };
    staging.truncate(Parts::STAGING);
    let flash = Parts {
        staging: Nor::new(staging),
        journal: Nor::new(journal),
    };
    let mut engine = Checked::start_on(config(choice), flash, false);
    live(&mut engine);
    engine.restart();
    live(&mut engine);
    if bits & 9 == 8 {
        engine.and_then_a_good_upgrade();
    }
}

/// An honest server, a host that asks, ten minutes.
fn live(engine: &mut Checked) {
    engine.settle();
    engine.tell(ToEngine::Link(true));
    engine.serve(package(5_000), 4);
    for command in [Command::Announce, Command::Request(1), Command::Rewind(0)] {
        engine.ask(command, &mut []);
    }
    let start = engine.engine.piece_start();
    engine.ask(Command::Read { start, len: 100 }, &mut [0; 100]);
    engine.serve(package(5_000), 30);
    for action in 0..4 {
        engine.ask(Command::Action(action), &mut []);
        engine.serve(package(5_000), 4);
    }
    engine.pass(600_000);
}

/// Gives a sector the header of a journal and every record in it its CRC.
fn make_right(sector: &mut [u8; SECTOR]) {
    if sector.iter().all(|byte| *byte == 0xFF) {
        return;
    }
    sector[..4].copy_from_slice(b"SOTJ");
    // Format and sequence stay as they came, but for what is nearly right.
    if sector[4] < 4 {
        sector[4..8].copy_from_slice(&1u32.to_le_bytes());
    }
    let crc = crc32(&sector[..12]);
    sector[12..16].copy_from_slice(&crc.to_le_bytes());
    let slot = WRITE.max(8);
    let mut at = HEADER;
    while at + slot <= SECTOR {
        let step = match sector[at] {
            SHORT => {
                let sum = crc32(&[&[SHORT][..], &sector[at + 4..at + 8]].concat());
                sector[at + 1..at + 4].copy_from_slice(&sum.to_le_bytes()[..3]);
                slot
            }
            LONG => {
                let len = usize::from(u16::from_le_bytes([sector[at + 2], sector[at + 3]]));
                let end = at + 8 + len;
                if end > SECTOR {
                    slot
                } else {
                    let sum = crc32(&[&sector[at + 1..at + 4], &sector[at + 8..end]].concat());
                    sector[at + 4..at + 8].copy_from_slice(&sum.to_le_bytes());
                    (8 + len).next_multiple_of(slot)
                }
            }
            _ => slot,
        };
        at += step;
    }
}
