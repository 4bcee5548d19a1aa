//! Power cut at every place of the small upgrade.

use sota_sim::exhaustive::{
    Places, Which, cases, link_cases, link_setup, places, run_cases, setup,
};

/// Another number is another amount of wear or of traffic: a decision, not an accident.
#[test]
fn the_small_upgrade_has_these_places() {
    let expected = Places {
        module_flash: 48,
        mcu_flash: 20,
        datagrams: 50,
        frames: 92,
        commits: 23,
    };
    assert_eq!(places(&setup()), expected);
}

/// `.ci/run sim` runs them all, and the pairs; without optimization every fifth is enough to see a rule break soon.
#[test]
fn no_single_cut_breaks_a_rule() {
    let all = cases(Which::Singles, &places(&setup()));
    let step = if cfg!(debug_assertions) { 5 } else { 1 };
    let some: Vec<_> = all.iter().step_by(step).cloned().collect();
    println!("{} of {} cases", some.len(), all.len());
    assert!(all.len() > 1_000);
    let failed = run_cases(&setup(), &some, 2, &|_| ());
    assert!(failed.is_empty(), "{failed:#?}");
}

/// `sota sim --exhaustive link` runs 32 KiB.
#[test]
fn no_single_cut_breaks_a_rule_over_the_link() {
    let setup = link_setup(3_000, true, 0);
    let confirmed = places(&setup);
    let mut all = link_cases(&confirmed, None);
    assert!(confirmed.mcu_flash > 100, "{confirmed:?}");
    let step = if cfg!(debug_assertions) { 7 } else { 1 };
    let mut count = 0;
    let mut check = |setup: &_, all: &[Vec<_>]| {
        let some: Vec<_> = all.iter().step_by(step).cloned().collect();
        count += some.len();
        let failed = run_cases(setup, &some, 2, &|_| ());
        assert!(failed.is_empty(), "{failed:#?}");
    };
    check(&setup, &all);
    let reverted = link_setup(3_000, false, 0);
    // From the last operation of the upgrade on, which is the confirmation.
    all = link_cases(&places(&reverted), Some(confirmed.mcu_flash - 1));
    check(&reverted, &all);
    println!("{count} cases");
}

/// The same while the line goes from 115,200 to 921,600 baud.
#[test]
fn no_single_cut_breaks_a_rule_while_the_baud_rate_changes() {
    let setup = link_setup(3_000, true, 921_600);
    let places = places(&setup);
    let (story, _) = sota_sim::run::story(&setup, 1, &[]);
    for end in ["module", "mcu"] {
        let said = |line: &&String| line.contains(&format!("{end:<9} 921600 baud"));
        assert_eq!(story.iter().filter(said).count(), 1, "{story:#?}");
    }
    let step = if cfg!(debug_assertions) { 7 } else { 1 };
    let all = link_cases(&places, None);
    let some: Vec<_> = all.into_iter().step_by(step).collect();
    let failed = run_cases(&setup, &some, 2, &|_| ());
    assert!(failed.is_empty(), "{failed:#?}");
}
