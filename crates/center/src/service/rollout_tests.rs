//! Groups, thresholds, hours, places and the user's word, over the memory store.

use sota_errors::CenterError;
use sota_lwm2m::objects::plan::State;

use super::tests::{ME, World, done};
use crate::domain::{
    Endpoint, Group, Mode, PlanAction, PlanId, PlanState, Problem, PushHours, Rollout, Size, Time,
};
use crate::store::Change;

const PLAN: PlanId = PlanId(5);
const HOUR: Time = 3_600_000;

/// Connected devices with old versions, and plan 5 with this rollout, activated at 10.
fn rolling(keys: &[&str], change: impl FnOnce(&mut Rollout)) -> World {
    let world = World::new();
    for key in keys {
        world.register_with(key, "", 1);
        world.tell(key, "STM32", "1", 2);
        world.tell(key, "ESP", "A", 2);
    }
    let mut plan = done(world.service.need_plan(&ME, PLAN)).expect("there");
    // one component, so that one success is the end
    plan.components.truncate(1);
    plan.strategy.retry_times = 0;
    change(&mut plan.rollout);
    assert_eq!(plan.rollout.check(), Ok(()));
    done(world.service.store().commit(&ME, vec![Change::Plan(plan)])).expect("changed");
    // the push that comes every ten minutes is over
    tick(&world, 9);
    world.act(PlanAction::Activate, 10);
    world
}

fn first_then_rest(rollout: &mut Rollout) {
    rollout.groups = vec![
        Group::plain("first", Size::Devices(1)),
        Group::plain("rest", Size::Rest),
    ];
}

fn upgrade(world: &World, key: &str, now: Time) {
    world.report(key, "5-1", State::Updating, now);
    world.tell(key, "STM32", "2", now);
}

fn fail(world: &World, key: &str, now: Time) {
    world.report(key, "5-1", State::Failure, now);
}

fn tick(world: &World, now: Time) {
    done(world.service.tick(&ME, now)).expect("ticked");
}

fn rule(result: Result<(), Problem>) -> CenterError {
    result.expect_err("a rule forbids it").error
}

fn why(world: &World, key: &str, now: Time) -> Option<String> {
    let endpoint = Endpoint::new("pk", key);
    let why = done(world.service.why(&ME, &endpoint, Some(PLAN), now)).expect("answered");
    why.into_iter().next().and_then(|why| why.rule)
}

#[test]
fn the_next_group_begins_when_the_first_has_succeeded() {
    let world = rolling(&["a", "b", "c"], first_then_rest);
    assert_eq!(world.sent(), ["offer 5-1 STM32 -> 2"]);
    assert_eq!(rule(world.request("b", 11)), CenterError::GroupNotOpen);
    assert_eq!(why(&world, "b", 11).as_deref(), Some("GroupNotOpen"));
    tick(&world, 12);
    assert!(world.sent().is_empty());
    upgrade(&world, "a", 13);
    world.sent();
    tick(&world, 14);
    assert_eq!(world.sent().len(), 2, "b and c");
    let status = world.status();
    let open: Vec<_> = status
        .groups
        .iter()
        .map(|g| (g.open, g.counters.total()))
        .collect();
    assert_eq!(open, [(true, 1), (true, 2)]);
}

#[test]
fn too_many_failures_suspend_the_plan_until_a_person_accepts_them() {
    let world = rolling(&["a", "b"], |rollout| {
        first_then_rest(rollout);
        rollout.groups[0].failure_percent = Some(50);
    });
    fail(&world, "a", 11);
    tick(&world, 12);
    let plan = world.status().plan;
    assert_eq!(plan.state, PlanState::Suspended);
    let number = CenterError::FailureThreshold.number();
    assert_eq!(plan.progress.suspended_by, Some(number));
    assert_eq!(rule(world.request("b", 13)), CenterError::PlanSuspended);
    world.sent();
    world.act(PlanAction::Resume, 14);
    tick(&world, 15);
    assert_eq!(world.sent(), ["offer 5-1 STM32 -> 2"], "the next group");
    assert_eq!(world.status().plan.progress.suspended_by, None);
}

#[test]
fn a_group_that_asks_for_approval_waits_for_it() {
    let world = rolling(&["a", "b"], |rollout| {
        first_then_rest(rollout);
        rollout.groups[1].approval = true;
    });
    upgrade(&world, "a", 11);
    world.sent();
    tick(&world, 12);
    tick(&world, 13);
    assert!(world.status().plan.progress.waits_for_approval && world.sent().is_empty());
    done(world.service.open_next_group(&ME, PLAN, 14)).expect("opened");
    assert_eq!(world.sent(), ["offer 5-1 STM32 -> 2"]);
    let last = done(world.service.open_next_group(&ME, PLAN, 15));
    assert_eq!(rule(last), CenterError::NoNextGroup);
}

#[test]
fn test_devices_come_before_all_others() {
    let world = rolling(&["a", "b"], |rollout| {
        rollout.test_devices = ["b".into()].into();
    });
    assert_eq!((world.entry("a").group, world.entry("b").group), (1, 0));
    assert_eq!(rule(world.request("a", 11)), CenterError::GroupNotOpen);
    upgrade(&world, "b", 12);
    world.sent();
    tick(&world, 13);
    assert_eq!(world.sent(), ["offer 5-1 STM32 -> 2"]);
}

#[test]
fn a_place_that_becomes_free_is_taken_at_once() {
    let world = rolling(&["a"], |rollout| rollout.at_once = 1);
    world.report("a", "5-1", State::PlanReceived, 11);
    for key in ["b", "c"] {
        world.register_with(key, "", 12);
        world.tell(key, "STM32", "1", 12);
        world.tell(key, "ESP", "A", 12);
    }
    world.sent();
    assert_eq!(rule(world.request("b", 13)), CenterError::LimitReached);
    assert_eq!(rule(world.request("c", 13)), CenterError::LimitReached);
    tick(&world, 14);
    assert!(world.sent().is_empty());
    upgrade(&world, "a", 15);
    world.sent();
    tick(&world, 16);
    assert!(!world.sent().is_empty(), "not after ten minutes only");
}

#[test]
fn the_center_pushes_in_its_hours_and_answers_at_any() {
    // 1970-01-01 00:00 UTC
    let world = rolling(&["a", "b"], |rollout| {
        rollout.push_hours = PushHours { from: 2, to: 4 };
    });
    assert!(world.sent().is_empty(), "it is midnight");
    assert_eq!(why(&world, "a", 11).as_deref(), Some("OutsidePushHours"));
    world.request("a", 11).expect("it asked");
    assert_eq!(world.sent(), ["offer 5-1 STM32 -> 2"]);
    // a registration lasts 1,000 s
    world.register_with("b", "", 2 * HOUR - 1000);
    world.sent();
    tick(&world, 2 * HOUR - 500);
    assert!(world.sent().is_empty(), "half a second too early");
    tick(&world, 2 * HOUR + 600_000);
    assert_eq!(world.sent(), ["offer 5-1 STM32 -> 2"]);
}

#[test]
fn starts_are_spread_and_none_is_forgotten() {
    let keys: Vec<String> = (0..20).map(|i| format!("d{i}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let world = rolling(&keys, |rollout| rollout.start_spread_s = 100);
    let mut begun = world.sent().len();
    assert!(begun < 5, "{begun} at once");
    let mut seconds = 0;
    for second in 0..=100 {
        tick(&world, 10 + second * 1000);
        let now = world.sent().len();
        begun += now;
        seconds += usize::from(now > 0);
    }
    assert_eq!(begun, 20);
    assert!(seconds > 10, "in {seconds} different seconds");
}

#[test]
fn in_manual_mode_the_user_says_when() {
    let world = rolling(&["a", "b"], |rollout| rollout.mode = Mode::Manual);
    assert!(world.sent().is_empty());
    assert_eq!(rule(world.request("a", 11)), CenterError::WaitsForUser);
    done(world.service.confirm_device(&ME, PLAN, "a", 12, 12)).expect("confirmed");
    assert_eq!(world.sent(), ["offer 5-1 STM32 -> 2"]);
    done(world.service.confirm_device(&ME, PLAN, "b", 5_000, 12)).expect("appointed");
    assert_eq!(rule(world.request("b", 13)), CenterError::StartsLater);
    tick(&world, 4_999);
    assert!(world.sent().is_empty());
    tick(&world, 5_000);
    assert_eq!(world.sent(), ["offer 5-1 STM32 -> 2"]);
    world.report("b", "5-1", State::PlanReceived, 5_001);
    let late = done(world.service.confirm_device(&ME, PLAN, "b", 6_000, 5_002));
    assert_eq!(rule(late), CenterError::NotManual);
}
