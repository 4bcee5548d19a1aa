//! Passes over more devices than a page has.

use std::collections::BTreeSet;

use super::sweep::PAGE;
use super::tests::{ME, PLAN_OBJECT, World, done};
use super::*;
use crate::domain::{
    ComponentKind, Device, DeviceState, Plan, PlanAction, PlanDevice, Registration,
    ReportedComponent,
};
use crate::store::Page;
use crate::store::samples::device;

const DEVICES: usize = 2 * PAGE + 20;

/// Devices at version 1, connected, and a plan for them that was just activated; `at_once` of them may be in upgrade.
fn crowd(at_once: u32) -> World {
    let world = World::new();
    let component = |(identifier, version): (&str, &str)| ReportedComponent {
        identifier: identifier.into(),
        kind: ComponentKind::Mcu,
        version: version.into(),
    };
    let device = |number: usize| {
        let registration = Registration {
            id: format!("r{number}"),
            objects: PLAN_OBJECT.into(),
            expires_at: 1_000_000,
            ..Registration::default()
        };
        Change::Device(Device {
            components: [("STM32", "1"), ("ESP", "A")].map(component).into(),
            registration: Some(registration),
            ..device("pk", &format!("d{number:04}"))
        })
    };
    let store = world.service.store();
    done(store.commit(&ME, (0..DEVICES).map(device).collect())).expect("stored");
    let plan = done(store.plan(&ME, PlanId(5))).expect("read");
    let mut plan: Plan = plan.expect("there");
    plan.rollout.at_once = at_once;
    done(store.commit(&ME, vec![Change::Plan(plan)])).expect("stored");
    let activate = PlanAction::Activate;
    done(world.service.plan_action(&ME, PlanId(5), activate, 10)).expect("activated");
    world
}

fn entries(world: &World) -> Vec<PlanDevice> {
    let page = Page {
        limit: usize::MAX,
        ..Page::default()
    };
    done(world.service.store().plan_devices(&ME, PlanId(5), &page)).expect("read")
}

fn offered(world: &World) -> BTreeSet<String> {
    let sent = core::mem::take(&mut *world.sent.lock().expect("queue"));
    let of = |c: DeviceCommand| match c {
        DeviceCommand::Offer { endpoint, .. } => Some(endpoint.device_key),
        _ => None,
    };
    sent.into_iter().filter_map(of).collect()
}

fn to_the_end(world: &World) {
    while done(world.service.go_on(&ME, 11)).expect("gone on") {}
}

#[test]
fn the_first_page_is_offered_at_once_and_the_others_follow() {
    let world = crowd(10_000);
    assert_eq!(offered(&world).len(), PAGE);
    to_the_end(&world);
    assert_eq!(offered(&world).len(), DEVICES - PAGE);
    let entries = entries(&world);
    assert_eq!(entries.len(), DEVICES);
    assert!(entries.iter().all(|e| e.open && e.offer == 1));
    let counters = done(world.service.store().counters(&ME, PlanId(5))).expect("read");
    assert_eq!(counters.total(), DEVICES as u64);
}

#[test]
fn offers_that_nobody_has_taken_yet_count_for_the_limit() {
    let world = crowd(PAGE as u32 + 7);
    to_the_end(&world);
    assert_eq!(offered(&world).len(), PAGE + 7);
    // all are in the plan, and wait
    let entries = entries(&world);
    assert_eq!(entries.len(), DEVICES);
    assert!(entries.iter().all(|e| e.state == DeviceState::NotUpgraded));
    // the ticks that follow offer no more either
    for now in 12..16 {
        done(world.service.tick(&ME, now)).expect("passed");
        to_the_end(&world);
    }
    assert_eq!(entries_open(&world), PAGE + 7);
}

fn entries_open(world: &World) -> usize {
    entries(world).iter().filter(|e| e.open).count()
}

#[test]
fn a_page_that_the_store_refused_is_done_again() {
    let world = crowd(10_000);
    world.store.set_cut_point(Some(Box::new(|_| false)));
    assert!(done(world.service.go_on(&ME, 11)).is_err());
    world.store.set_cut_point(None);
    to_the_end(&world);
    assert_eq!(entries(&world).len(), DEVICES, "nobody was left out");
    assert_eq!(entries_open(&world), DEVICES);
}

#[test]
fn a_second_pass_takes_the_place_of_one_that_is_under_way() {
    let world = crowd(10_000);
    for action in [PlanAction::Suspend, PlanAction::Resume] {
        done(world.service.plan_action(&ME, PlanId(5), action, 10)).expect("done");
    }
    to_the_end(&world);
    // the later pass enrols too, because the one that it ended had to
    assert_eq!(entries_open(&world), DEVICES);
}

#[test]
fn what_a_process_that_died_left_undone_the_next_one_does() {
    let world = crowd(10_000);
    let again = Service::new(world.service.shared_store(), Settings::default());
    done(again.tick(&ME, 12)).expect("passed");
    while done(again.go_on(&ME, 12)).expect("gone on") {}
    assert_eq!(entries_open(&world), DEVICES);
}

#[test]
fn a_page_that_meets_a_change_goes_device_by_device() {
    let world = crowd(10_000);
    // of the next page one device asks between the reading and the commit; here: it is changed behind the pass
    let key = format!("d{:04}", PAGE + 3);
    assert_eq!(world.request(&key, 10), Ok(()));
    to_the_end(&world);
    let entries = entries(&world);
    assert_eq!(entries.len(), DEVICES);
    assert!(entries.iter().all(|e| e.offer == 1));
}

#[test]
fn an_update_that_only_prolongs_needs_no_store_until_something_is_owed() {
    let world = World::new();
    let id = world.register_with("d", PLAN_OBJECT, 1).id;
    world.tell("d", "STM32", "1", 1);
    world.tell("d", "ESP", "A", 1);
    let update = RegistrationUpdate {
        address: Some("127.0.0.1:1".into()),
        ..RegistrationUpdate::default()
    };
    assert!(world.service.renew(&id, &update, 500_000), "owed nothing");
    assert!(
        world.service.renew(&id, &update, 1_400_000),
        "and prolonged"
    );
    let moved = RegistrationUpdate {
        address: Some("127.0.0.1:2".into()),
        ..RegistrationUpdate::default()
    };
    assert!(!world.service.renew(&id, &moved, 1_400_001), "it moved");
    done(
        world
            .service
            .plan_action(&ME, PlanId(5), PlanAction::Activate, 1_400_002),
    )
    .expect("activated");
    assert_eq!(offered(&world).len(), 1);
    assert!(
        !world.service.renew(&id, &update, 1_400_003),
        "owed an offer"
    );
    done(world.service.update(&ME, &id, &update, 1_400_003)).expect("updated");
    assert_eq!(offered(&world).len(), 1, "made again");
    assert!(!world.service.renew(&id, &update, 1_400_004), "still owed");
    for component in ["STM32", "ESP"] {
        let received = sota_lwm2m::objects::plan::State::PlanReceived;
        world.report_of("d", "5-1", Some(component), received, 1_400_005);
    }
    done(world.service.update(&ME, &id, &update, 1_400_006)).expect("updated");
    assert!(
        world.service.renew(&id, &update, 1_400_007),
        "nothing any more"
    );
    assert!(!world.service.renew(&id, &update, 3_400_008), "it is over");
    assert!(!world.service.renew("nobody", &update, 1));
}
