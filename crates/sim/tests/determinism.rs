//! The same seed tells the same story, byte for byte.

use sota_sim::draw::world_of;
use sota_sim::run::story;

#[test]
fn the_same_seed_tells_the_same_story() {
    let mut with_faults = 0;
    for seed in 0..20 {
        let (setup, faults) = world_of(seed);
        with_faults += u32::from(!faults.is_empty());
        let (first, _) = story(&setup, seed, &faults);
        let (second, _) = story(&setup, seed, &faults);
        assert!(first.len() > 20, "seed {seed} tells nothing");
        assert_eq!(first, second, "seed {seed}");
    }
    assert!(with_faults > 10, "{with_faults} of 20 seeds have faults");
}

#[test]
fn another_seed_tells_another_story() {
    let (setup, faults) = world_of(4);
    let (first, _) = story(&setup, 4, &faults);
    let (second, _) = story(&setup, 5, &faults);
    assert_ne!(first, second);
}
