//! Plans of two components for a device with the Plan object, over the memory store.

use sota_errors::{CenterError, Reason};
use sota_lwm2m::objects::plan::State;

use super::tests::{ME, PLAN_OBJECT, World, done};
use crate::domain::{
    CancelOutcome, ComponentState, Counters, DeviceState, Endpoint, PlanAction, PlanId, Time,
};

const STM32: Option<&str> = Some("STM32");
const ESP: Option<&str> = Some("ESP");

/// Both are offered and confirmed, and the first has its download information.
fn confirmed() -> World {
    let world = World::ready_for_sets("d");
    world.act(PlanAction::Activate, 4);
    world.report_of("d", "5-1", STM32, State::Confirmed, 5);
    world.sent();
    world
}

fn states(world: &World) -> Vec<ComponentState> {
    world.entry("d").steps.iter().map(|s| s.state).collect()
}

#[test]
fn two_components_are_offered_together_and_go_one_after_the_other() {
    let world = World::ready_for_sets("d");
    world.act(PlanAction::Activate, 4);
    let offers = ["offer 5-1 STM32 -> 2 of 2", "offer 5-1 ESP -> B of 2"];
    assert_eq!(world.sent(), offers);
    world.report_of("d", "5-1", STM32, State::PlanReceived, 5);
    assert!(world.sent().is_empty(), "the other offer is on its way");
    world.register_with("d", PLAN_OBJECT, 6);
    assert_eq!(
        world.sent(),
        offers[1..],
        "what was lost comes again, as one of two"
    );
    world.report_of("d", "5-1", ESP, State::PlanReceived, 7);
    assert!(world.sent().is_empty());
    world
        .request("d", 8)
        .expect("a host that restarted hears both again");
    assert_eq!(world.sent(), offers);
    world.report_of("d", "5-1", ESP, State::Confirmed, 9);
    assert_eq!(states(&world), [ComponentState::Confirmed; 2]);
    assert_eq!(world.sent(), ["download 5-1 STM32 27954"]);
    world.report_of("d", "5-1", STM32, State::Confirmed, 9);
    for state in [
        State::DownloadStarts,
        State::Downloading,
        State::Downloaded,
        State::Updating,
    ] {
        world.report_of("d", "5-1", STM32, state, 10);
        world.report_of("d", "5-1", ESP, State::Confirmed, 10);
    }
    assert!(world.sent().is_empty(), "the second waits");
    world.report_of("d", "5-1", STM32, State::Success, 11);
    assert_eq!(world.sent(), ["versions"]);
    world.tell("d", "STM32", "2", 12);
    assert_eq!(
        world.sent(),
        ["download 5-1 ESP 27954"],
        "no offer, no question"
    );
    // nothing of this is lost with a restart of the Center: it is all in the store
    world.register_with("d", PLAN_OBJECT, 13);
    assert_eq!(world.sent(), ["download 5-1 ESP 27954"]);
    world.report_of("d", "5-1", ESP, State::Updating, 14);
    world.tell("d", "ESP", "B", 15);
    world.report_of("d", "5-1", ESP, State::Success, 16);
    let upgraded = Counters {
        upgraded: 1,
        ..Counters::default()
    };
    assert_eq!(world.status().counters, upgraded);
    assert!(world.sent().is_empty());
}

#[test]
fn one_that_fails_ends_the_other_and_a_new_set_has_what_is_left() {
    let world = confirmed();
    world.report_of("d", "5-1", STM32, State::Failure, 6);
    let other = Reason::OtherComponentFailed.number();
    assert_eq!(world.entry("d").steps[1].failure, Some(other));
    world.report_of("d", "5-1", ESP, State::Failure, 6);
    assert_eq!(world.entry("d").failures, 1, "once for both");
    done(world.service.tick(&ME, 7)).expect("tick");
    assert!(world.sent().is_empty());
    done(world.service.tick(&ME, 30_006)).expect("tick");
    assert_eq!(
        world.sent(),
        ["offer 5-2 STM32 -> 2 of 2", "offer 5-2 ESP -> B of 2"]
    );
    // late words of the old set
    world.report_of("d", "5-1", ESP, State::Failure, 30_007);
    world.report_of("d", "5-1", STM32, State::Updating, 30_007);
    assert_eq!(states(&world), [ComponentState::PlanNotReceived; 2]);
    world.report_of("d", "5-2", STM32, State::Updating, 30_008);
    world.tell("d", "STM32", "2", 30_009);
    world.report_of("d", "5-2", ESP, State::Failure, 30_010);
    world.sent();
    done(world.service.tick(&ME, 70_000)).expect("tick");
    assert_eq!(world.sent(), ["offer 5-3 ESP -> B"], "the first is done");
    world.report_of("d", "5-3", ESP, State::Refused, 70_001);
    let failed = Counters {
        upgrade_failed: 1,
        ..Counters::default()
    };
    assert_eq!(world.status().counters, failed);
}

#[test]
fn a_cancel_is_sent_for_each_component() {
    let endpoint = Endpoint::new("pk", "d");
    let cancel = |world: &World, now| done(world.service.cancel(&ME, PlanId(5), "d", now));
    let answered = |world: &World, taken, now: Time| {
        done(
            world
                .service
                .cancel_answered(&ME, &endpoint, "5-1", taken, now),
        )
        .expect("answered");
    };
    let world = confirmed();
    assert_eq!(cancel(&world, 6), Ok(CancelOutcome::Asked));
    assert_eq!(world.sent(), ["cancel 5-1 STM32", "cancel 5-1 ESP"]);
    answered(&world, true, 7);
    answered(&world, true, 7);
    assert_eq!(world.entry("d").state, DeviceState::UpgradeFailed);
    // the first is being written: only the other one
    let world = confirmed();
    world.report_of("d", "5-1", STM32, State::Updating, 6);
    assert_eq!(cancel(&world, 7), Ok(CancelOutcome::Asked));
    assert_eq!(world.sent(), ["cancel 5-1 ESP"]);
    answered(&world, true, 8);
    assert_eq!(world.entry("d").state, DeviceState::InUpgrade);
    let late = cancel(&world, 9).expect_err("flashing");
    assert_eq!(late.error, CenterError::CancelTooLate);
    world.tell("d", "STM32", "2", 10);
    let entry = world.entry("d");
    assert_eq!(entry.steps[0].state, ComponentState::UpgradeSucceeded);
    assert_eq!(
        entry.state,
        DeviceState::UpgradeFailed,
        "a cancel is for good"
    );
}

#[test]
fn who_reaches_its_version_before_the_answer_is_left_out() {
    let world = World::ready_for_sets("d");
    world.act(PlanAction::Activate, 4);
    world.report_of("d", "5-1", STM32, State::PlanReceived, 5);
    world.sent();
    world.tell("d", "ESP", "B", 6);
    assert_eq!(world.sent(), ["offer 5-2 STM32 -> 2"]);
    assert_eq!(
        world.entry("d").steps[1].state,
        ComponentState::NoUpdateRequired
    );
}

#[test]
fn a_plan_that_ends_lets_a_set_finish_and_offers_nothing_more() {
    let world = confirmed();
    world.act(PlanAction::Terminate, 6);
    world.report_of("d", "5-1", STM32, State::Updating, 7);
    world.tell("d", "STM32", "2", 8);
    assert_eq!(
        world.sent(),
        ["download 5-1 ESP 27954"],
        "it was confirmed as one"
    );
    world.report_of("d", "5-1", ESP, State::Failure, 9);
    assert_eq!(
        world.entry("d").state,
        DeviceState::UpgradeFailed,
        "no retry"
    );
    // a set that is half acknowledged is withdrawn, and that is its end
    let world = World::ready_for_sets("d");
    world.act(PlanAction::Activate, 4);
    world.report_of("d", "5-1", STM32, State::PlanReceived, 5);
    world.act(PlanAction::Terminate, 6);
    assert_eq!(world.entry("d").state, DeviceState::InUpgrade);
    done(world.service.tick(&ME, 24 * 3_600_000)).expect("tick");
    assert_eq!(world.entry("d").state, DeviceState::UpgradeFailed);
    world.sent();
    world.register_with("d", PLAN_OBJECT, 24 * 3_600_001);
    assert!(world.sent().is_empty());
}

#[test]
fn without_the_plan_object_it_is_one_at_a_time() {
    let world = World::ready("d");
    world.act(PlanAction::Activate, 4);
    assert_eq!(world.sent(), ["offer 5-1 STM32 -> 2"]);
    // it had the object when both were offered and comes back without it
    let world = World::ready_for_sets("d");
    world.act(PlanAction::Activate, 4);
    world.sent();
    world.register_with("d", "</9/0>,</9/1>", 5);
    assert_eq!(world.sent(), ["offer 5-1 STM32 -> 2 of 2"]);
}
