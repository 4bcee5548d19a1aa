use embedded_storage::nor_flash::{NorFlash, NorFlashErrorKind, ReadNorFlash};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::*;
use crate::rng::Rng;

const PAGE: usize = 256;
const WRITE: usize = 8;
const SIZE: u32 = 2048;
type Flash = SimFlash<PAGE, WRITE>;

fn flash(seed: u64, content: FirstContent) -> Flash {
    Flash::new(&FlashPower::new(), Rng::new(seed), SIZE, content)
}

fn erased() -> Flash {
    flash(1, FirstContent::Erased)
}

fn read<const N: usize>(flash: &mut Flash, at: u32) -> [u8; N] {
    let mut bytes = [0; N];
    flash.read(at, &mut bytes).unwrap();
    bytes
}

/// A page of zeros whose erase was cut in the middle; the power is back.
fn torn_page(seed: u64) -> Flash {
    let mut flash = flash(seed, FirstContent::Erased);
    flash.load(0, &[0; PAGE]);
    flash.power().set_cut_at(Some((0, CutMoment::Middle)));
    let cut = flash.erase(0, PAGE as u32);
    assert_eq!(cut, Err(FlashError::PowerOff));
    flash
}

fn is_send<T: Send>(_: &T) {}

#[test]
fn first_content_is_erased_or_garbage_and_goes_to_other_threads() {
    let mut flash = erased();
    is_send(&flash);
    assert!(flash.bytes().iter().all(|&byte| byte == ERASED));
    let mut garbage = super::tests::flash(1, FirstContent::Garbage);
    assert_eq!(garbage.capacity(), SIZE as usize);
    let set: u32 = garbage.bytes().iter().map(|byte| byte.count_ones()).sum();
    assert!((7_000..9_400).contains(&set), "{set} of 16384 bits");
}

#[test]
fn a_broken_rule_changes_nothing_and_the_first_one_is_remembered() {
    type Step = fn(&mut Flash) -> Result<(), FlashError>;
    let cases: [(Step, NorFlashErrorKind, &str); 7] = [
        (
            |f| f.write(4, &[0; 8]),
            NorFlashErrorKind::NotAligned,
            "write of 0x4..0xc: the flash operation is not aligned",
        ),
        (
            |f| f.write(0, &[0; 7]),
            NorFlashErrorKind::NotAligned,
            "write of 0x0..0x7: the flash operation is not aligned",
        ),
        (
            |f| f.write(SIZE - 8, &[0; 16]),
            NorFlashErrorKind::OutOfBounds,
            "write of 0x7f8..0x808: the flash operation is out of bounds",
        ),
        (
            |f| f.erase(0, 128),
            NorFlashErrorKind::NotAligned,
            "erase of 0x0..0x80: the flash operation is not aligned",
        ),
        (
            |f| f.erase(0, SIZE + 256),
            NorFlashErrorKind::OutOfBounds,
            "erase of 0x0..0x900: the flash operation is out of bounds",
        ),
        (
            |f| f.read(SIZE - 1, &mut [0; 2]),
            NorFlashErrorKind::OutOfBounds,
            "read of 0x7ff..0x801: the flash operation is out of bounds",
        ),
        (
            |f| f.write(0, &[0x11; 32]),
            NorFlashErrorKind::Other,
            "write of 0x0..0x20: the word at 0x10 was not erased before the write",
        ),
    ];
    for (step, kind, text) in cases {
        let mut flash = erased();
        flash.load(16, &[0x0F]);
        let before = flash.bytes().to_vec();
        assert_eq!(flash.violation(), None);
        assert_eq!(step(&mut flash).unwrap_err().kind(), kind, "{text}");
        assert_eq!(flash.violation(), Some(text));
        assert_eq!(flash.bytes(), before);
        assert_eq!(flash.power().operations(), 0);
        flash.erase(0, 1).unwrap_err();
        assert_eq!(flash.violation(), Some(text));
    }
}

#[test]
fn a_word_of_all_ones_may_go_anywhere() {
    let mut flash = erased();
    flash.write(8, &[0x55; 8]).unwrap();
    let mut words = [ERASED; 24];
    words[..8].fill(1);
    words[16..].fill(2);
    flash.write(0, &words).unwrap();
    words[8..16].fill(0x55);
    assert_eq!(read::<24>(&mut flash, 0), words);
    assert_eq!(flash.violation(), None);
}

#[test]
fn partitions_share_one_power_and_one_count() {
    let power = FlashPower::new();
    let make = |label| Flash::new(&power, Rng::new(1).fork(label), SIZE, FirstContent::Erased);
    let (mut staging, mut journal) = (make("staging"), make("journal"));
    staging.write(0, &[1; 16]).unwrap();
    journal.erase(0, 3 * PAGE as u32).unwrap();
    assert_eq!(power.operations(), 4);
    power.set_cut_at(Some((4, CutMoment::Before)));
    assert_eq!(journal.write(0, &[1; 8]), Err(FlashError::PowerOff));
    assert!(power.is_off());
    assert_eq!(staging.read(0, &mut [0]), Err(FlashError::PowerOff));
    assert_eq!(staging.write(16, &[1; 8]), Err(FlashError::PowerOff));
    assert_eq!(staging.erase(0, PAGE as u32), Err(FlashError::PowerOff));
    // A rule broken without power is nobody's bug: the machine is off.
    assert_eq!(staging.write(1, &[1; 8]), Err(FlashError::PowerOff));
    assert_eq!(staging.violation(), None);
    assert_eq!(power.operations(), 5);
    power.power_on();
    assert_eq!(power.cut_at(), None);
    assert_eq!(read::<16>(&mut staging, 0), [1; 16]);
    assert_eq!(read::<8>(&mut journal, 0), [ERASED; 8]);
    journal.write(0, &[1; 8]).unwrap();
}

#[test]
fn a_cut_after_is_done_and_one_in_the_past_comes_next() {
    let mut flash = erased();
    flash.write(0, &[1; 8]).unwrap();
    flash.write(8, &[1; 8]).unwrap();
    flash.power().set_cut_at(Some((0, CutMoment::After)));
    assert_eq!(flash.write(16, &[1; 8]), Err(FlashError::PowerOff));
    assert_eq!(flash.bytes()[16..24], [1; 8]);
    let power = flash.power().clone();
    power.power_on();
    power.set_cut_at(Some((4, CutMoment::After)));
    assert_eq!(flash.erase(0, 3 * PAGE as u32), Err(FlashError::PowerOff));
    assert_eq!(flash.wear()[..3], [1, 1, 0]);
}

#[test]
fn a_torn_write_ends_in_any_word_and_any_state_of_it() {
    let (mut words, mut none, mut all, mut some) = ([0; 4], 0, 0, 0);
    for seed in 0..200 {
        let mut flash = flash(seed, FirstContent::Erased);
        flash.power().set_cut_at(Some((0, CutMoment::Middle)));
        flash.write(0, &[0x0F; 32]).unwrap_err();
        // The lower half of each byte was to stay.
        assert!(flash.bytes().iter().all(|byte| byte & 0x0F == 0x0F));
        let bytes = &flash.bytes()[..32];
        let torn = bytes.chunks(WRITE).position(|word| word != [0x0F; WRITE]);
        let torn = torn.unwrap_or(3);
        words[torn] += 1;
        let word = &bytes[torn * WRITE..(torn + 1) * WRITE];
        if word == [ERASED; WRITE] {
            none += 1;
        } else if word == [0x0F; WRITE] {
            all += 1;
        } else {
            some += 1;
        }
        assert!(bytes[(torn + 1) * WRITE..].iter().all(|&b| b == ERASED));
    }
    assert!(words.iter().all(|&n| n > 20), "{words:?}");
    assert!(none > 5 && all > 0 && some > 100, "{none} {all} {some}");
}

#[test]
fn a_torn_erase_leaves_every_kind_of_row() {
    let [mut kept, mut done, mut between, mut marginal, mut unstable] = [0; 5];
    for seed in 0..100 {
        let mut flash = torn_page(seed);
        flash.power().power_on();
        if flash.marginal_pages().eq([0]) {
            marginal += 1;
            continue;
        }
        assert_eq!(flash.marginal_pages().count(), 0);
        for row in flash.bytes()[..PAGE].chunks(32) {
            match (
                row.iter().all(|&b| b == 0),
                row.iter().all(|&b| b == ERASED),
            ) {
                (true, _) => kept += 1,
                (_, true) => done += 1,
                _ => between += 1,
            }
        }
        unstable += u32::from(read::<PAGE>(&mut flash, 0) != read::<PAGE>(&mut flash, 0));
        flash.erase(0, PAGE as u32).unwrap();
        assert_eq!(read::<PAGE>(&mut flash, 0), [ERASED; PAGE]);
        flash.write(0, &[0; PAGE]).unwrap();
        assert_eq!(flash.violation(), None);
    }
    let seen = [kept, done, between, marginal, unstable];
    assert!(seen.iter().all(|&n| n > 15), "{seen:?}");
}

#[test]
fn a_torn_erase_can_leave_zeros_where_nothing_was_written() {
    let zeroed = (0..20).any(|seed| {
        let mut flash = flash(seed, FirstContent::Erased);
        flash.power().set_cut_at(Some((0, CutMoment::Middle)));
        flash.erase(0, PAGE as u32).unwrap_err();
        flash.bytes().chunks(32).any(|row| row == [0; 32])
    });
    assert!(zeroed);
}

#[test]
fn a_marginal_page_reads_blank_until_bits_of_it_go() {
    let (mut at_once, mut later) = (0, 0);
    for seed in 0..100 {
        let mut flash = torn_page(seed);
        if flash.marginal_pages().next().is_none() {
            continue;
        }
        assert!(flash.bytes().iter().all(|&byte| byte == ERASED));
        let power = flash.power().clone();
        power.power_on();
        if read::<PAGE>(&mut flash, 0) != [ERASED; PAGE] {
            at_once += 1;
            continue;
        }
        flash.write(0, &[0x3C; 8]).unwrap();
        assert_eq!(flash.stats().marginal_writes, 1);
        for _ in 0..20 {
            power.power_off();
            power.power_on();
        }
        // All bits only go to 0, and only in this page.
        let bytes = flash.bytes();
        later += u32::from(bytes[8..PAGE] != [ERASED; PAGE - 8]);
        assert!(bytes[..8].iter().all(|byte| byte & !0x3C == 0));
        assert!(bytes[PAGE..].iter().all(|&byte| byte == ERASED));
        flash.erase(0, PAGE as u32).unwrap();
        assert_eq!(flash.marginal_pages().count(), 0);
        power.power_off();
        power.power_on();
        assert_eq!(read::<PAGE>(&mut flash, 0), [ERASED; PAGE]);
    }
    assert!(at_once > 5 && later > 5, "{at_once} {later}");
}

#[test]
fn a_write_on_cells_that_read_differently_is_a_violation() {
    let found = (0..100).find_map(|seed| {
        let mut flash = torn_page(seed);
        flash.power().power_on();
        let word = (0..PAGE).find(|&at| {
            let mask = flash.unstable.get(&0);
            mask.is_some_and(|mask| mask[at] != 0)
        })?;
        // Let it have the value at which it looks blank.
        flash.cells[word - word % WRITE..][..WRITE].fill(ERASED);
        Some((flash, (word - word % WRITE) as u32))
    });
    let (mut flash, word) = found.unwrap();
    let answer = flash.write(word, &[0; WRITE]);
    assert_eq!(answer, Err(FlashError::NotErased(word)));
    flash.write(word, &[ERASED; WRITE]).unwrap();
}

#[test]
fn a_flipped_bit_stays_and_is_not_the_machines_bug() {
    let mut flash = erased();
    flash.write(0, &[0xF0; 8]).unwrap();
    flash.bit_flip(1, 0);
    flash.bit_flip(8, 7);
    assert_eq!(read::<3>(&mut flash, 0), [0xF0, 0xF1, 0xF0]);
    flash.write(8, &[0xF1; 8]).unwrap();
    assert_eq!(read::<2>(&mut flash, 8), [0x71, 0xF1]);
    assert_eq!(flash.violation(), None);
    // Written now: from here on it is like any other word.
    assert_eq!(flash.write(8, &[0; 8]), Err(FlashError::NotErased(8)));
    assert_eq!(flash.write(0, &[0; 8]), Err(FlashError::NotErased(0)));
    flash.bit_flip(16, 0);
    flash.erase(0, PAGE as u32).unwrap();
    assert_eq!(read::<32>(&mut flash, 0), [ERASED; 32]);
    flash.write(16, &[0; 8]).unwrap();
    assert_eq!(flash.write(16, &[1; 8]), Err(FlashError::NotErased(16)));
}

#[test]
fn a_failing_page_changes_in_part_and_keeps_failing() {
    let mut flash = flash(3, FirstContent::Garbage);
    flash.fail_erase(1);
    let before = flash.bytes().to_vec();
    let page = PAGE as u32;
    assert_eq!(flash.erase(0, 3 * page), Err(FlashError::Failed(page)));
    assert_eq!(flash.bytes()[..PAGE], [ERASED; PAGE]);
    assert_ne!(flash.bytes()[PAGE..2 * PAGE], before[PAGE..2 * PAGE]);
    assert_eq!(flash.bytes()[2 * PAGE..], before[2 * PAGE..]);
    assert_eq!(flash.erase(page, 2 * page), Err(FlashError::Failed(page)));
    flash.erase(3 * page, 6 * page).unwrap();
    flash.fail_write(4);
    // The write begins in a good page and reaches into the bad one.
    let (at, bytes) = (4 * page - 8, [0; 64]);
    assert_eq!(flash.write(at, &bytes), Err(FlashError::Failed(at)));
    assert_ne!(flash.bytes()[at as usize..][..64], bytes);
    flash.write(5 * page, &bytes).unwrap();
    assert_eq!(flash.violation(), None);
    assert!(!flash.power().is_off());
    assert_eq!(flash.marginal_pages().count(), 0);
}

#[test]
fn a_flaky_operation_fails_once() {
    let mut flash = erased();
    flash.power().flaky_once(1);
    flash.write(0, &[0; 8]).unwrap();
    assert_eq!(flash.write(8, &[0; 32]), Err(FlashError::Failed(8)));
    flash.erase(0, PAGE as u32).unwrap();
    flash.write(8, &[0; 32]).unwrap();
    assert_eq!(flash.violation(), None);
}

#[test]
fn wear_and_bytes_are_counted() {
    let mut flash = erased();
    flash.erase(0, 2 * PAGE as u32).unwrap();
    flash.erase(0, PAGE as u32).unwrap();
    flash.write(0, &[0; 24]).unwrap();
    flash.write(24, &[]).unwrap();
    let stats = FlashStats {
        operations: 4,
        erases: 3,
        bytes_written: 24,
        max_wear: 2,
        marginal_writes: 0,
    };
    assert_eq!(flash.stats(), stats);
    assert_eq!(flash.wear(), [2, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(flash.power().operations(), 4);
}

#[test]
fn a_copied_node_goes_its_own_way() {
    let mut flash = erased();
    flash.write(0, &[1; 8]).unwrap();
    flash.power().set_cut_at(Some((1, CutMoment::Before)));
    let power = flash.power().copy();
    let mut copy = flash.copy_on(&power);
    copy.write(8, &[1; 8]).unwrap_err();
    assert!(power.is_off() && !flash.power().is_off());
    assert_eq!(flash.power().cut_at(), Some((1, CutMoment::Before)));
    power.power_on();
    copy.write(8, &[2; 8]).unwrap();
    assert_eq!(read::<8>(&mut flash, 8), [ERASED; 8]);
}

/// Random steps on eight pages, with cuts, flips and restarts; the digest of all answers and of what was read.
fn story<const PAGE: usize, const WRITE: usize>(seed: u64) -> String {
    let rng = Rng::new(seed);
    let mut steps = rng.fork("steps");
    let power = FlashPower::new();
    let size = 8 * PAGE as u32;
    let garbage = FirstContent::Garbage;
    let mut flash = SimFlash::<PAGE, WRITE>::new(&power, rng.fork("flash"), size, garbage);
    let mut digest = Sha256::new();
    let mut all = vec![0; size as usize];
    for _ in 0..600 {
        let page = steps.below(8) as u32 * PAGE as u32;
        let answer = match steps.below(16) {
            0..6 => flash.erase(page, page + PAGE as u32),
            6..12 => {
                let mut bytes = [0; 64];
                steps.fill(&mut bytes);
                flash.write(page + 64 * steps.below(4) as u32, &bytes)
            }
            12 => {
                flash.bit_flip(steps.below(u64::from(size)) as u32, steps.below(8) as u8);
                Ok(())
            }
            _ => {
                let moment = CutMoment::ALL[steps.below(3) as usize];
                power.set_cut_at(Some((power.operations() + steps.below(9), moment)));
                Ok(())
            }
        };
        let readable = flash.read(0, &mut all);
        digest.update(format!("{answer:?} {readable:?}"));
        digest.update(&all);
        power.power_on();
    }
    hex::encode(digest.finalize())
}

#[test]
fn the_same_seed_tells_the_same_story() {
    assert_eq!(story::<256, 8>(1), story::<256, 8>(1));
    assert_ne!(story::<256, 8>(1), story::<256, 8>(2));
    // Another digest: every recorded seed tells another story now.
    let digests = [story::<256, 8>(1), story::<1024, 4>(1)];
    assert_eq!(
        digests,
        [
            "5097d4af979b6b8ecc564f53060bb974c0649419fb837b0b0178187bb567d9a7",
            "85e1b97895a30ddc99b1bdeb923487862a71592ec66916d9043217c1bd9f7de7"
        ]
    );
}

proptest! {
    /// Against a model in memory: same answers and contents; a cut operation is between old and new, nothing
    /// else changes.
    #[test]
    fn behaves_like_nor(
        seed: u64,
        garbage: bool,
        cut_at in 0u64..30,
        moment in 0usize..3,
        steps in prop::collection::vec((any::<bool>(), 0u32..70, 0usize..6, any::<u8>()), 1..40),
    ) {
        let moment = CutMoment::ALL[moment];
        let content = if garbage { FirstContent::Garbage } else { FirstContent::Erased };
        let mut flash = flash(seed, content);
        let mut model = flash.bytes().to_vec();
        let power = flash.power().clone();
        power.set_cut_at(Some((cut_at, moment)));
        let mut operations = 0;
        for (erase, at, len, byte) in steps {
            let old = model.clone();
            let (from, to, answer, may) = if erase {
                let (from, to) = (at as usize / 8 * PAGE, (at as usize / 8 + len) * PAGE);
                let may = to <= SIZE as usize;
                (from, to, flash.erase(from as u32, to as u32), may)
            } else {
                let (from, to) = (at as usize * 4, at as usize * 4 + len * WRITE);
                let bytes = vec![byte; to - from];
                let blank = |old: &[u8]| byte == ERASED || old.iter().all(|&b| b == ERASED);
                let may = from % WRITE == 0 && to <= SIZE as usize && blank(&old[from..to]);
                (from, to, flash.write(from as u32, &bytes), may)
            };
            let units = if !may { 0 } else if erase { len as u64 } else { u64::from(len > 0) };
            let cut = cut_at < operations + units;
            prop_assert_eq!(answer.is_ok(), may && !cut);
            prop_assert_eq!(answer == Err(FlashError::PowerOff), cut);
            prop_assert_eq!(power.is_off(), cut);
            // What is surely done, and what the cut was in.
            let whole = if erase { (cut_at - operations.min(cut_at)) as usize * PAGE } else { 0 };
            let (done, torn) = match (may, cut) {
                (false, _) => (from, from),
                (true, false) => (to, to),
                (true, true) => {
                    let unit = if erase { PAGE } else { to - from };
                    match moment {
                        CutMoment::Before => (from + whole, from + whole),
                        CutMoment::Middle => (from + whole, from + whole + unit),
                        CutMoment::After => (from + whole + unit, from + whole + unit),
                    }
                }
            };
            if from < done {
                let after = |cell: u8| if erase { ERASED } else { cell & byte };
                model[from..done].iter_mut().for_each(|cell| *cell = after(*cell));
            }
            let now = flash.bytes();
            if !erase {
                for at in done..torn {
                    prop_assert_eq!(now[at] & !old[at], 0, "a write sets no bit");
                    prop_assert_eq!(now[at] & old[at] & byte, old[at] & byte, "nor clears another one");
                }
            }
            model[done..torn].copy_from_slice(&now[done..torn]);
            prop_assert_eq!(now, &model[..]);
            if cut {
                break;
            }
            operations += units;
            prop_assert_eq!(power.operations(), operations);
        }
    }
}
