//! Power cut at every place of the small upgrade.

use sota_sim::exhaustive::{Places, Which, cases, places, run_cases};

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
    assert_eq!(places(), expected);
}

/// `.ci/run sim` runs them all, and the pairs; without optimization every fifth is enough to see a rule break soon.
#[test]
fn no_single_cut_breaks_a_rule() {
    let all = cases(Which::Singles, &places());
    let step = if cfg!(debug_assertions) { 5 } else { 1 };
    let some: Vec<_> = all.iter().step_by(step).cloned().collect();
    println!("{} of {} cases", some.len(), all.len());
    assert!(all.len() > 1_000);
    let failed = run_cases(&some, 2, &|_| ());
    assert!(failed.is_empty(), "{failed:#?}");
}
