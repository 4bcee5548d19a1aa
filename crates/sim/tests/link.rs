//! Upgrades over the binary link: bootloader and agent of `sota-mcu`, the module's bridge over the link.

use sota_center::domain::DeviceState;
use sota_sim::run::story;
use sota_sim::setup::{Protocol, Setup, VERSIONS};
use sota_sim::world::Outcome;

const REVERTS: Protocol = Protocol::Link {
    greatest_baud: 0,
    confirms: false,
};

fn run(setup: &Setup) -> (Vec<String>, Outcome) {
    let (story, outcome) = story(setup, 1, &[]);
    assert_eq!(outcome.broken, None, "{story:#?}");
    (story, outcome)
}

/// When the first line that has this is told, in ms of virtual time.
fn told(story: &[String], what: &str) -> u64 {
    let line = story.iter().find(|line| line.contains(what));
    let time = line.and_then(|line| line.split_once(' ')).map(|(t, _)| t);
    let Some((h, m, s)) = time.and_then(|t| {
        let mut parts = t.splitn(3, ':');
        Some((parts.next()?, parts.next()?, parts.next()?))
    }) else {
        panic!("{what} is not told: {story:#?}");
    };
    let whole = |text: &str| text.parse::<u64>().unwrap();
    let seconds: f64 = s.parse().unwrap();
    (whole(h) * 3_600 + whole(m) * 60) * 1_000 + (seconds * 1_000.0) as u64
}

#[test]
fn a_whole_upgrade() {
    let setup = Setup {
        protocol: Protocol::LINK,
        ..Setup::default()
    };
    let (story, outcome) = run(&setup);
    assert_eq!(outcome.states, [Some(DeviceState::Upgraded)]);
    let new = (VERSIONS[1].to_owned(), setup.package as usize);
    assert_eq!(outcome.boots, [new]);
    assert_eq!(outcome.again, 0, "no block is fetched twice");
    assert_eq!(story.iter().filter(|l| l.contains("resets")).count(), 1);
}

/// The Center hears of it within seconds of the revert, tries again as often as the plan says, and not once more.
#[test]
fn an_image_that_never_confirms_fails_soon_and_is_tried_again_as_the_plan_says() {
    for retries in [0, 2] {
        let setup = Setup {
            protocol: REVERTS,
            package: 16 * 1024,
            retries,
            ..Setup::default()
        };
        let (story, outcome) = run(&setup);
        assert_eq!(outcome.states, [Some(DeviceState::UpgradeFailed)]);
        assert_eq!(outcome.boots[0].0, VERSIONS[0]);
        let trials = story.iter().filter(|l| l.contains("Booted(\"V2_0\")"));
        assert_eq!(trials.count(), 1 + usize::from(retries));
        let reverted = story.iter().rposition(|l| l.contains("Booted(\"V1_0\")"));
        let after = &story[reverted.unwrap()..];
        let took = told(after, "says Failure") - told(after, "Booted");
        assert!(took < 5_000, "{took} ms: {after:#?}");
    }
}
