//! The wall clock is set to another time while the Center runs.

use sota_lwm2m::objects::plan::State;

use super::tests::{ME, World, done};
use super::*;
use crate::domain::{DeviceState, PlanAction};

const TEN_YEARS: Time = 10 * 365 * 24 * 3_600_000;

fn tick(world: &World, now: Time) {
    done(world.service.tick(&ME, now)).expect("passed");
}

/// A device whose first try has failed at this time; one more is left.
fn failed_at(now: Time) -> World {
    let world = World::new();
    world.register_with("d", "", 1);
    world.tell("d", "STM32", "1", 1);
    world.tell("d", "ESP", "B", 1);
    done(
        world
            .service
            .plan_action(&ME, PlanId(5), PlanAction::Activate, 10),
    )
    .expect("activated");
    assert_eq!(world.sent(), ["offer 5-1 STM32 -> 2"]);
    world.report("d", "5-1", State::PlanReceived, 20);
    tick(&world, now);
    world.report("d", "5-1", State::Failure, now);
    assert_eq!(world.entry("d").failures, 1);
    world
}

#[test]
fn a_clock_that_was_far_ahead_and_is_put_right_holds_nobody_up() {
    let world = failed_at(TEN_YEARS);
    tick(&world, 700_000);
    assert_eq!(world.sent(), ["offer 5-2 STM32 -> 2"]);
    assert_eq!(world.entry("d").state, DeviceState::InUpgrade);
}

#[test]
fn a_clock_that_goes_back_a_little_keeps_the_wait() {
    let world = failed_at(600_000);
    tick(&world, 590_000);
    assert_eq!(world.sent(), Vec::<String>::new());
    tick(&world, 640_000);
    assert_eq!(world.sent(), ["offer 5-2 STM32 -> 2"]);
}

#[test]
fn before_a_plans_start_nothing_is_offered_even_after_it_was_reached() {
    let world = World::new();
    world.register_with("d", "", 5_000_000);
    world.tell("d", "STM32", "1", 5_000_000);
    world.tell("d", "ESP", "B", 5_000_000);
    let store = world.service.store();
    let plan = done(store.plan(&ME, PlanId(5)))
        .expect("read")
        .expect("there");
    let plan = crate::domain::Plan {
        start_at: 5_000_000,
        ..plan
    };
    done(store.commit(&ME, vec![Change::Plan(plan)])).expect("stored");
    done(
        world
            .service
            .plan_action(&ME, PlanId(5), PlanAction::Activate, 4_000_000),
    )
    .expect("activated");
    tick(&world, 4_900_000);
    assert_eq!(world.sent(), Vec::<String>::new());
    tick(&world, 5_500_001);
    assert_eq!(world.sent(), ["offer 5-1 STM32 -> 2"]);
    // put back before the start: what is in force is said again, nothing new is
    tick(&world, 4_000_000);
    assert_eq!(world.sent(), ["offer 5-1 STM32 -> 2"]);
    assert_eq!(world.entry("d").offer, 1);
}
