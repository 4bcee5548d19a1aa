//! Records against a model: what was put last is found, or, when power failed while it was put, what was put before.

mod world;

use proptest::prelude::*;
use sota_mcu::records::Records;
use world::nor::{MOMENTS, Nor};

const START: u32 = 256;

fn run<const PAGE: usize, const WORD: usize>(
    payload: usize,
    values: &[(u8, Option<(u32, usize)>)],
    seed: u64,
) -> Result<(), TestCaseError> {
    let mut flash = Nor::<PAGE, WORD>::new(START as usize * 8 + 4 * PAGE, seed);
    let start = START.next_multiple_of(PAGE as u32);
    flash.litter(start as usize, start as usize + 2 * PAGE);
    let open = |flash: &mut Nor<PAGE, WORD>| {
        let mut found = vec![0; payload];
        let records = Records::open(flash, start, PAGE as u32, WORD as u32, &mut found);
        (records, found)
    };
    let (mut records, _) = open(&mut flash);
    prop_assert_eq!(records.number(), 0, "garbage is no record");
    let mut last: Option<Vec<u8>> = None;
    for (value, cut) in values {
        let value = vec![*value; payload];
        flash.power_on(cut.map(|(operation, moment)| (operation, MOMENTS[moment])));
        let done = records.put(&mut flash, &value);
        let was_off = flash.is_off;
        prop_assert!(done.is_ok() || was_off, "only power makes it fail");
        flash.power_on(None);
        let (again, found) = open(&mut flash);
        let is_new = again.number() > 0 && found == value;
        let is_old = match &last {
            Some(last) => again.number() > 0 && found == *last,
            None => again.number() == 0,
        };
        prop_assert!(is_new || (was_off && is_old), "{found:?}");
        if !was_off {
            prop_assert_eq!(again.number(), records.number());
        }
        last = (again.number() > 0).then_some(found);
        records = again;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_last_whole_one_counts(
        values in prop::collection::vec((any::<u8>(), prop::option::weighted(0.4, (1u32..20, 0usize..4))), 1..60),
        seed in any::<u64>(),
    ) {
        run::<128, 1>(8, &values, seed)?;
        run::<256, 8>(8, &values, seed)?;
        run::<256, 16>(48, &values, seed)?;
        run::<512, 4>(48, &values, seed)?;
        run::<4096, 2>(56, &values, seed)?;
    }
}

/// A byte that was cut short reads as erased, is written, and by chance reads as erased again: the next record goes by it.
#[test]
fn a_byte_that_stays_erased_when_it_is_written() {
    let cuts = [None, Some((1, 2)), Some((2, 0)), None];
    let values: Vec<_> = cuts.iter().map(|cut| (0, *cut)).collect();
    run::<128, 1>(8, &values, 211_516_316_528_937_566).unwrap();
}

/// The flash refuses a write and takes the next one: the place between stays erased, and what stands behind it counts.
#[test]
fn a_place_that_stayed_erased_hides_no_record() {
    for hole in [1, 5, 15] {
        let mut flash = Nor::<256, 8>::new(1024, 5);
        let mut payload = [0; 8];
        let mut records = Records::open(&mut flash, 0, 256, 8, &mut payload);
        for i in 0..40_u8 {
            let place = u32::from(hole) * 16;
            flash.broken = (i == hole).then_some((place, 16));
            records.put(&mut flash, &[i; 8]).unwrap();
            let again = Records::open(&mut flash, 0, 256, 8, &mut payload);
            assert_eq!((again.number(), payload), (u32::from(i) + 1, [i; 8]));
            records = again;
        }
    }
}

/// One page is worn: what was put last is not given up for a try on the other one.
#[test]
fn a_worn_page_costs_no_record() {
    let mut flash = Nor::<256, 8>::new(1024, 5);
    let mut payload = [0; 8];
    let mut records = Records::open(&mut flash, 0, 256, 8, &mut payload);
    // Erasing works, writing does not: the second word of every place.
    flash.broken = Some((256 + 8, 248));
    let put: Vec<_> = (0..16).map(|i| records.put(&mut flash, &[i; 8])).collect();
    assert!(put.iter().all(Result::is_ok), "the first page holds 16");
    for _ in 0..50 {
        assert!(records.put(&mut flash, &[99; 8]).is_err());
    }
    for _ in 0..3 {
        let mut again = Records::open(&mut flash, 0, 256, 8, &mut payload);
        assert_eq!((again.number(), payload), (16, [15; 8]));
        assert!(again.put(&mut flash, &[99; 8]).is_err());
    }
}
