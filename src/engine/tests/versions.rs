//! What the MCU announces and what it means in each state.

use std::format;

use super::rules::{at, reached, world};
use crate::{engine::Config, message::*};

#[test]
fn versions_announced() {
    use Reason::*;
    let ok = Some(None);
    for (state, version, lax, strict) in [
        (0, "2_0", None, None),
        (1, "2_0", None, None),
        (2, "2_0", ok, ok),
        (4, "2_0", ok, ok),
        (5, "2_0", ok, ok),
        (8, "2_0", ok, ok),
        (9, "2_0", ok, ok),
        (2, "1_0", None, Some(Some(McuStillRunsSource))),
        (5, "1_0", None, Some(Some(McuStillRunsSource))),
        (8, "1_0", None, Some(Some(McuStillRunsSource))),
        (9, "1_0", None, Some(Some(McuStillRunsSource))),
        (1, "9", None, None),
        (
            2,
            "9",
            Some(Some(McuRunsOtherVersion)),
            Some(Some(McuRunsOtherVersion)),
        ),
        (
            5,
            "9",
            Some(Some(McuRunsOtherVersion)),
            Some(Some(McuRunsOtherVersion)),
        ),
        (
            9,
            "9",
            Some(Some(McuRunsOtherVersion)),
            Some(Some(McuRunsOtherVersion)),
        ),
    ] {
        for (config, expected) in [(Config::default(), lax), (Config::strict(), strict)] {
            let mut w = at(config, state);
            let before = w.engine.state();
            w.forget();
            assert_eq!(w.version("OTHER", version), Reply::Ok);
            w.settle();
            assert_eq!(w.engine.state(), before, "other components never matter");
            assert_eq!(w.version("STM32", version), Reply::Ok);
            w.settle();
            let case = format!("{state} {version}");
            match expected {
                None => assert_eq!(w.engine.state(), before, "{case}"),
                Some(reason) => {
                    assert_eq!(w.engine.state(), State::None, "{case}");
                    assert_eq!(w.last_reason(), reason, "{case}");
                    assert_eq!(
                        w.states().last(),
                        Some(if reason.is_some() { &12 } else { &11 })
                    );
                    assert_eq!(
                        w.codes().last(),
                        Some(if reason.is_some() { &10706 } else { &10705 })
                    );
                }
            }
            assert_eq!(w.engine.version("STM32"), Some(version));
        }
    }
}

#[test]
fn the_source_version_gets_the_announcements_again() {
    for (state, codes) in [
        (2, &[][..]),
        (4, &[10701]),
        (5, &[10701]),
        (8, &[10701, 10703]),
    ] {
        let mut w = at(Config::default(), state);
        w.settle();
        w.forget();
        w.version("STM32", "1_0");
        w.settle();
        assert_eq!(w.codes(), codes, "{state}");
        w.forget();
        assert_eq!(w.ask(Command::Announce), Reply::Ok);
        w.settle();
        assert_eq!(w.codes(), codes, "{state}");
    }
}

#[test]
fn grace_for_an_mcu_that_reverted() {
    let mut w = at(Config::default(), 9);
    w.version("STM32", "1_0");
    w.pass(100_000);
    w.version("STM32", "1_0");
    w.pass(79_000);
    reached(&w, 9);
    w.pass(1_000);
    assert_eq!(
        w.last_reason(),
        Some(Reason::McuStillRunsSource),
        "it runs once"
    );
    // What is left survives, to the minute.
    let mut w = at(Config::default(), 9);
    w.version("STM32", "1_0");
    w.pass(130_000);
    w.restart();
    w.pass(59_000);
    reached(&w, 9);
    w.pass(2_000);
    assert_eq!(w.last_reason(), Some(Reason::McuStillRunsSource));
    // It came with the target in time.
    let mut w = at(Config::default(), 9);
    w.version("STM32", "1_0");
    w.pass(100_000);
    w.version("STM32", "2_0");
    w.settle();
    assert_eq!(w.states().last(), Some(&11));
}

#[test]
fn versions_survive_and_a_second_upgrade_may_come() {
    let mut w = world(Config::default());
    w.version("ESP32", "7");
    w.restart();
    assert_eq!(w.engine.version_list(), "STM32:1_0;ESP32:7");
    assert_eq!(w.version("STM32", ""), Reply::Ok);
    w.restart();
    assert_eq!(w.engine.version_list(), "ESP32:7");
}
