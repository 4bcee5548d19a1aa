//! Whole upgrades over the memory store, polled once each: nothing here ever waits.

use std::sync::{Arc, Mutex};

use futures::FutureExt;
use sota_errors::{CenterError, Reason};
use sota_lwm2m::objects::plan::State;

use super::*;
use crate::domain::{
    CancelMode, CancelOutcome, ComponentKind, ComponentState, Counters, DeviceFacts, DeviceState,
    PackageId, Plan, PlanAction, PlanComponent, PlanDevice, PlanState, ReportedComponent,
};
use crate::store::MemoryStore;
use crate::store::samples::{model, package, plan, product, project};

pub(super) const ME: Scope = Scope::OWNER;

pub(super) fn done<T>(future: impl Future<Output = T>) -> T {
    future
        .now_or_never()
        .expect("a future of the memory store waited")
}

pub(super) const PLAN_OBJECT: &str = "</5/0>,</9/0>,</42769/0>,</42769/1>,</42769/2>";

pub(super) struct World {
    pub(super) service: Service,
    pub(super) store: Arc<MemoryStore>,
    pub(super) sent: Arc<Mutex<Vec<DeviceCommand>>>,
}

impl World {
    /// One product, one model, packages for two MCUs; plan 5 brings them to versions 2 and B.
    pub(super) fn new() -> World {
        let store = Arc::new(MemoryStore::new());
        let mut plan = plan(5, 1, "pk", 4);
        let second = PlanComponent {
            component: "ESP".into(),
            package: PackageId(6),
        };
        plan.components.push(second);
        plan.strategy.retry_times = 1;
        let changes = vec![
            Change::Project(project(1, "one")),
            Change::Product(product(2, 1, "pk")),
            Change::Model(model(3, 1)),
            Change::Package(package(4, 1, ComponentKind::Mcu, "2")),
            Change::Package(package(6, 1, ComponentKind::Mcu, "B")),
            Change::Plan(plan),
        ];
        done(store.commit(&ME, changes)).expect("furnished");
        let service = Service::new(store.clone(), Settings::default());
        let sent: Arc<Mutex<Vec<DeviceCommand>>> = Arc::default();
        let queue = sent.clone();
        service.set_commands(Arc::new(move |c| queue.lock().expect("queue").push(c)));
        World {
            service,
            store,
            sent,
        }
    }

    fn register(&self, key: &str, now: Time) -> Registered {
        self.register_with(key, "", now)
    }

    pub(super) fn register_with(&self, key: &str, objects: &str, now: Time) -> Registered {
        let request = Register {
            objects: objects.into(),
            endpoint: Endpoint::new("pk", key),
            address: format!("127.0.0.1:{now}"),
            lifetime_s: 1000,
            ..Register::default()
        };
        done(self.service.register(&ME, &request, now)).expect("registered")
    }

    pub(super) fn tell(&self, key: &str, identifier: &str, version: &str, now: Time) {
        let component = ReportedComponent {
            identifier: identifier.into(),
            kind: ComponentKind::Mcu,
            version: version.into(),
        };
        let facts = DeviceFacts {
            components: vec![component],
            ..DeviceFacts::default()
        };
        done(
            self.service
                .facts(&ME, &Endpoint::new("pk", key), &facts, now),
        )
        .expect("told");
    }

    pub(super) fn request(&self, key: &str, now: Time) -> Result<(), Problem> {
        let facts = DeviceFacts::default();
        done(
            self.service
                .request(&ME, &Endpoint::new("pk", key), true, &facts, now),
        )
    }

    pub(super) fn report(&self, key: &str, offer: &str, state: State, now: Time) {
        self.report_of(key, offer, None, state, now);
    }

    /// Of this component; none: of the one whose turn it is.
    pub(super) fn report_of(
        &self,
        key: &str,
        offer: &str,
        of: Option<&str>,
        state: State,
        now: Time,
    ) {
        let reason = (state == State::Failure).then_some(Reason::DigestMismatch.number());
        let endpoint = Endpoint::new("pk", key);
        done(
            self.service
                .report(&ME, &endpoint, offer, of, state, reason, now),
        )
        .expect("reported");
    }

    pub(super) fn act(&self, action: PlanAction, now: Time) -> PlanStatus {
        done(self.service.plan_action(&ME, PlanId(5), action, now)).expect("done")
    }

    pub(super) fn entry(&self, key: &str) -> PlanDevice {
        let endpoint = Endpoint::new("pk", key);
        let entry = done(self.service.store().plan_device(&ME, PlanId(5), &endpoint));
        entry.expect("read").expect("in the plan")
    }

    pub(super) fn status(&self) -> PlanStatus {
        done(self.service.plan_status(&ME, PlanId(5))).expect("status")
    }

    /// The commands sent since the last call, in short.
    pub(super) fn sent(&self) -> Vec<String> {
        let sent = core::mem::take(&mut *self.sent.lock().expect("queue"));
        let short = |c: DeviceCommand| match c {
            DeviceCommand::Offer { offer, .. } => {
                let of = match offer.components {
                    1 => String::new(),
                    n => format!(" of {n}"),
                };
                format!(
                    "offer {} {} -> {}{of}",
                    offer.plan, offer.component, offer.target
                )
            }
            DeviceCommand::Download {
                info, component, ..
            } => {
                format!("download {} {component} {}", info.plan, info.length)
            }
            DeviceCommand::Cancel {
                offer, component, ..
            } => format!("cancel {offer} {component}"),
            DeviceCommand::Resume {
                offer, updating, ..
            } => format!("resume {offer} {updating}"),
            DeviceCommand::Disabled { .. } => "disabled".into(),
            DeviceCommand::Enabled { .. } => "enabled".into(),
            DeviceCommand::ReadVersions { .. } => "versions".into(),
        };
        sent.into_iter().map(short).collect()
    }

    /// As `ready`, and the device has the Plan object.
    pub(super) fn ready_for_sets(key: &str) -> World {
        let world = World::new();
        world.register_with(key, PLAN_OBJECT, 1);
        world.tell(key, "STM32", "1", 2);
        world.tell(key, "ESP", "A", 2);
        world
    }

    pub(super) fn ready(key: &str) -> World {
        let world = World::new();
        world.register(key, 1);
        world.tell(key, "STM32", "1", 2);
        world.tell(key, "ESP", "A", 2);
        world
    }
}

#[test]
fn a_plan_of_two_components_goes_through_in_sequence() {
    let world = World::ready("d");
    assert_eq!(
        world.request("d", 3).expect_err("saved").error,
        CenterError::NoActivePlan
    );
    let status = world.act(PlanAction::Activate, 4);
    assert_eq!(
        status.counters,
        Counters {
            not_upgraded: 1,
            ..Counters::default()
        }
    );
    assert_eq!(world.sent(), ["offer 5-1 STM32 -> 2"]);
    world.request("d", 5).expect("the offer again");
    assert_eq!(world.sent(), ["offer 5-1 STM32 -> 2"]);
    world.report("d", "5-1", State::PlanReceived, 6);
    assert_eq!(world.status().plan.state, PlanState::Upgrading);
    world
        .request("d", 6)
        .expect("a host that restarted hears it again");
    assert_eq!(world.sent(), ["offer 5-1 STM32 -> 2"]);
    world.report("d", "5-1", State::Confirmed, 7);
    assert_eq!(world.sent(), ["download 5-1 STM32 27954"]);
    for state in [
        State::Downloading,
        State::DownloadStarts,
        State::Downloaded,
        State::Updating,
    ] {
        world.report("d", "5-1", state, 8);
        world.report("d", "5-1", state, 8);
    }
    world.report("d", "5-1", State::Success, 9);
    assert_eq!(
        world.sent(),
        ["versions"],
        "no success before the version says so"
    );
    world.tell("d", "STM32", "2", 10);
    assert_eq!(world.sent(), ["offer 5-2 ESP -> B"]);
    assert_eq!(world.entry("d").state, DeviceState::InUpgrade);
    world.report("d", "5-1", State::Failure, 11);
    world.report("d", "5-2", State::Confirmed, 12);
    world.report("d", "5-2", State::Updating, 13);
    world.tell("d", "ESP", "B", 14);
    let status = world.status();
    assert_eq!(
        status.counters,
        Counters {
            upgraded: 1,
            ..Counters::default()
        }
    );
    assert_eq!(status.success_rate_percent, Some(100.0));
    assert_eq!(
        world.request("d", 15).expect_err("done").error,
        CenterError::AlreadyUpgraded
    );
}

#[test]
fn a_failure_is_offered_again_until_its_retries_are_used_up() {
    let world = World::ready("d");
    world.act(PlanAction::Activate, 4);
    world.report("d", "5-1", State::Confirmed, 5);
    world.report("d", "5-1", State::Failure, 6);
    assert_eq!(
        world.request("d", 7).expect_err("waits").error,
        CenterError::RetryLater
    );
    world.sent();
    done(world.service.tick(&ME, 7)).expect("tick");
    assert!(world.sent().is_empty());
    done(world.service.tick(&ME, 30_007)).expect("tick");
    assert_eq!(world.sent(), ["offer 5-2 STM32 -> 2"]);
    world.report("d", "5-2", State::Failure, 30_008);
    let status = world.status();
    assert_eq!(
        status.counters,
        Counters {
            upgrade_failed: 1,
            ..Counters::default()
        }
    );
    assert_eq!(status.success_rate_percent, Some(0.0));
    assert_eq!(
        world.request("d", 99_000).expect_err("over").error,
        CenterError::UpgradeFailedBefore
    );
    done(world.service.retry(&ME, PlanId(5), "d", 99_001)).expect("retry");
    assert_eq!(world.sent(), ["offer 5-3 STM32 -> 2"]);
}

#[test]
fn a_busy_device_is_left_alone_for_ten_minutes_and_nothing_failed() {
    let world = World::ready("d");
    world.act(PlanAction::Activate, 4);
    let endpoint = Endpoint::new("pk", "d");
    world.report("d", "5-1", State::Confirmed, 5);
    world.report("d", "5-1", State::Failure, 6);
    done(world.service.tick(&ME, 30_007)).expect("tick");
    world.sent();
    done(world.service.busy(&ME, &endpoint, "5-2", 30_008)).expect("busy");
    let entry = world.entry("d");
    assert_eq!((entry.failures, entry.open), (1, false));
    done(world.service.tick(&ME, 30_009)).expect("tick");
    assert!(world.sent().is_empty());
    done(world.service.tick(&ME, 700_000)).expect("tick");
    // its time has come, and so has the push
    let sent = world.sent();
    assert_eq!(
        sent.first().map(String::as_str),
        Some("offer 5-3 STM32 -> 2")
    );
    assert!(sent.windows(2).all(|two| two[0] == two[1]), "{sent:?}");
    // one that has the offer cannot be busy with another
    world.report("d", "5-3", State::PlanReceived, 700_001);
    done(world.service.busy(&ME, &endpoint, "5-3", 700_002)).expect("busy");
    assert!(world.entry("d").open);
}

#[test]
fn a_device_that_was_given_up_and_runs_its_version_is_upgraded_unless_a_person_stopped_it() {
    for stopped in [false, true] {
        let world = World::ready("d");
        world.act(PlanAction::Activate, 4);
        for offer in ["5-1", "5-2"] {
            done(world.service.tick(&ME, 100_000)).expect("tick");
            world.report("d", offer, State::Failure, 6);
        }
        assert_eq!(world.entry("d").state, DeviceState::UpgradeFailed);
        if stopped {
            done(world.service.retry(&ME, PlanId(5), "d", 100_001)).expect("retry");
            done(world.service.cancel(&ME, PlanId(5), "d", 100_002)).expect("cancel");
            let endpoint = Endpoint::new("pk", "d");
            done(
                world
                    .service
                    .cancel_answered(&ME, &endpoint, "5-3", true, 100_003),
            )
            .expect("answered");
        }
        world.tell("d", "STM32", "2", 200_000);
        let state = world.entry("d").state;
        assert_eq!(state, DeviceState::UpgradeFailed, "ESP is still old");
        world.tell("d", "ESP", "B", 200_001);
        let expected = match stopped {
            true => DeviceState::UpgradeFailed,
            false => DeviceState::Upgraded,
        };
        assert_eq!(world.entry("d").state, expected);
    }
}

#[test]
fn a_device_that_lost_all_it_knew_is_offered_again_when_it_asks() {
    let world = World::ready_for_sets("d");
    world.act(PlanAction::Activate, 4);
    for component in ["STM32", "ESP"] {
        world.report_of("d", "5-1", Some(component), State::PlanReceived, 5);
    }
    world.report_of("d", "5-1", Some("STM32"), State::Confirmed, 5);
    world.report_of("d", "5-1", Some("STM32"), State::Downloading, 6);
    world.sent();
    world.request("d", 7).expect("again");
    let both = ["offer 5-1 STM32 -> 2 of 2", "offer 5-1 ESP -> B of 2"];
    assert_eq!(world.sent(), both);
    // what is being written is not begun anew
    world.report_of("d", "5-1", Some("STM32"), State::Updating, 8);
    world.request("d", 9).expect("again");
    assert_eq!(world.sent(), ["offer 5-1 ESP -> B of 2"]);
}

#[test]
fn a_cancel_works_until_the_mcu_flashes() {
    let world = World::ready("d");
    world.act(PlanAction::Activate, 4);
    world.report("d", "5-1", State::Downloading, 5);
    world.sent();
    let cancel = |now| done(world.service.cancel(&ME, PlanId(5), "d", now));
    assert_eq!(cancel(6), Ok(CancelOutcome::Asked));
    assert_eq!(world.sent(), ["cancel 5-1 STM32"]);
    // it was already flashing: the device says so, and so does the Center
    world.report("d", "5-1", State::Updating, 7);
    assert_eq!(
        cancel(8).expect_err("too late").error,
        CenterError::CancelTooLate
    );
    world.tell("d", "STM32", "2", 9);
    assert_eq!(world.sent(), ["offer 5-2 ESP -> B"]);
    assert_eq!(cancel(10), Ok(CancelOutcome::Asked));
    let endpoint = Endpoint::new("pk", "d");
    done(
        world
            .service
            .cancel_answered(&ME, &endpoint, "5-2", true, 11),
    )
    .expect("answered");
    assert_eq!(world.entry("d").state, DeviceState::UpgradeFailed);
    assert_eq!(
        cancel(12).expect_err("over").error,
        CenterError::CancelNotRunning
    );
}

#[test]
fn suspend_holds_new_devices_and_terminate_ends_the_waiting() {
    let world = World::ready("d");
    world.register("e", 3);
    world.tell("e", "STM32", "1", 3);
    world.act(PlanAction::Activate, 4);
    world.report("d", "5-1", State::Downloading, 5);
    world.act(PlanAction::Suspend, 6);
    world.sent();
    world.request("e", 7).expect("the offer is still open");
    assert!(
        world.sent().is_empty(),
        "but it is not made while the plan is suspended"
    );
    world.act(PlanAction::Resume, 8);
    assert_eq!(world.status().plan.state, PlanState::Upgrading);
    world.sent();
    world.act(PlanAction::Terminate, 9);
    assert_eq!(world.entry("e").state, DeviceState::UpgradeFailed);
    assert_eq!(
        world.entry("d").state,
        DeviceState::InUpgrade,
        "the running one goes on"
    );
    world.report("d", "5-1", State::Updating, 10);
    world.tell("d", "STM32", "2", 11);
    assert_eq!(
        world.entry("d").steps[0].state,
        ComponentState::UpgradeSucceeded
    );
    assert_eq!(
        world.entry("d").state,
        DeviceState::UpgradeFailed,
        "its next component is not begun"
    );
    assert!(
        world.sent().is_empty(),
        "nothing is offered outside an active plan"
    );
    assert_eq!(
        world.request("e", 12).expect_err("over").error,
        CenterError::NoActivePlan
    );
}

#[test]
fn a_plan_ends_at_its_time_and_deadlines_count() {
    let world = World::ready("d");
    let saved = world.status().plan;
    let ends = Plan {
        end_at: Some(2 * 24 * 3_600_000 + 100),
        ..saved
    };
    done(world.service.store().commit(&ME, vec![Change::Plan(ends)])).expect("edited");
    world.act(PlanAction::Activate, 4);
    world.report("d", "5-1", State::Downloading, 5);
    done(world.service.tick(&ME, 2 * 24 * 3_600_000 + 4)).expect("tick");
    assert_eq!(world.entry("d").failures, 0);
    done(world.service.tick(&ME, 2 * 24 * 3_600_000 + 5)).expect("tick");
    assert_eq!(world.entry("d").failures, 1, "no sign of life for two days");
    done(world.service.tick(&ME, 2 * 24 * 3_600_000 + 100)).expect("tick");
    assert_eq!(world.status().plan.state, PlanState::Ended);
    assert_eq!(world.entry("d").state, DeviceState::UpgradeFailed);
}

#[test]
fn registrations_move_expire_and_are_flushed_lazily() {
    let world = World::new();
    let first = world.register("d", 1);
    assert_eq!(first.moved_from, None);
    let second = world.register("d", 2);
    assert_eq!(second.moved_from.as_deref(), Some("127.0.0.1:1"));
    let update = |id: &str, now| {
        done(
            world
                .service
                .update(&ME, id, &RegistrationUpdate::default(), now),
        )
    };
    let unknown = CenterError::UnknownRegistration;
    assert_eq!(update(&first.id, 3).expect_err("replaced").error, unknown);
    let updated = update(&second.id, 900_000).expect("known");
    assert_eq!(updated.0, Endpoint::new("pk", "d"));
    let stored = || {
        let device = done(world.service.store().device(&ME, &Endpoint::new("pk", "d")));
        let device = device.expect("read").expect("there");
        device.registration.expect("registered").expires_at
    };
    assert_eq!(stored(), 1_000_002, "the update is in memory");
    assert!(update(&second.id, 1_500_000).is_ok());
    done(world.service.flush(&ME, 900_000)).expect("flushed");
    assert_eq!(stored(), 2_500_000);
    assert_eq!(
        update(&second.id, 2_500_000).expect_err("expired").error,
        unknown
    );
    let stranger = Register {
        endpoint: Endpoint::new("no", "d"),
        lifetime_s: 9,
        ..Register::default()
    };
    let refused = done(world.service.register(&ME, &stranger, 5)).expect_err("refused");
    assert_eq!(refused.error, CenterError::UnknownProductKey);
    let log = done(
        world
            .service
            .store()
            .log(&ME, &Endpoint::new("pk", "d"), None, 9),
    );
    let moved = CenterError::EndpointMoved.number();
    assert!(log.expect("read").iter().any(|l| l.number == Some(moved)));
}

#[test]
fn what_a_device_is_owed_comes_again_at_its_next_contact() {
    let world = World::ready("d");
    world.act(PlanAction::Activate, 4);
    world.report("d", "5-1", State::Confirmed, 5);
    world.sent();
    world.register("d", 6);
    assert_eq!(world.sent(), ["download 5-1 STM32 27954"]);
    world.report("d", "5-1", State::Downloading, 7);
    world.register("d", 8);
    assert!(world.sent().is_empty());
    world.report("d", "5-1", State::DownloadError, 9);
    assert_eq!(world.sent(), ["download 5-1 STM32 27954"]);
}

#[test]
fn a_client_that_asks_in_the_middle_of_its_upgrade_goes_on() {
    let world = World::ready("d");
    world.act(PlanAction::Activate, 4);
    world.report("d", "5-1", State::Confirmed, 5);
    world.sent();
    for (at, state, updating) in [
        (6, State::DownloadStarts, false),
        (7, State::Downloading, false),
        (8, State::Downloaded, false),
        (9, State::Updating, true),
    ] {
        world.report("d", "5-1", state, at);
        world.request("d", at).expect("goes on");
        assert_eq!(world.sent(), [format!("resume 5-1 {updating}")]);
    }
}

#[test]
fn why_names_the_rule() {
    let world = World::new();
    world.register("d", 1);
    let why = |now| {
        let answers = done(world.service.why(&ME, &Endpoint::new("pk", "d"), None, now));
        answers.expect("answered").remove(0).rule
    };
    assert_eq!(why(2).as_deref(), Some("NoActivePlan"));
    world.act(PlanAction::Activate, 4);
    assert_eq!(why(5).as_deref(), Some("VersionNotSet"));
    world.tell("d", "STM32", "1", 6);
    assert_eq!(why(7), None);
    assert_eq!(why(9_999_999).as_deref(), Some("NotConnected"));
}

impl World {
    fn disable(&self, key: &str, now: Time) {
        let endpoint = Endpoint::new("pk", key);
        let device = done(self.service.disable_device(&ME, &endpoint, now)).expect("disabled");
        assert!(device.disabled && device.registration.is_none());
    }

    fn enable(&self, key: &str, now: Time) {
        let endpoint = Endpoint::new("pk", key);
        let device = done(self.service.enable_device(&ME, &endpoint, now));
        assert!(!device.expect("enabled").disabled);
    }

    fn try_register(&self, key: &str, now: Time) -> Option<CenterError> {
        let request = Register {
            endpoint: Endpoint::new("pk", key),
            lifetime_s: 1000,
            ..Register::default()
        };
        let registered = done(self.service.register(&ME, &request, now));
        registered.err().map(|problem| problem.error)
    }
}

#[test]
fn a_disabled_device_may_not_register_and_is_offered_nothing() {
    let world = World::ready("d");
    let first = world.register("d", 3).id;
    world.disable("d", 3);
    assert_eq!(world.sent(), ["disabled"]);
    world.disable("d", 4);
    assert!(world.sent().is_empty(), "it was already");
    let rule = Some(CenterError::DeviceDisabled);
    assert_eq!(world.try_register("d", 5), rule);
    let update = RegistrationUpdate::default();
    let updated = done(world.service.update(&ME, &first, &update, 5)).expect_err("gone");
    assert_eq!(updated.error, CenterError::UnknownRegistration);
    let status = world.act(PlanAction::Activate, 6);
    assert_eq!(status.counters.not_upgraded, 1, "it is in the plan");
    assert_eq!(world.request("d", 7).map_err(|p| Some(p.error)), Err(rule));
    done(world.service.tick(&ME, 1_000_000)).expect("time passes");
    assert!(world.sent().is_empty());
    let why = done(world.service.why(&ME, &Endpoint::new("pk", "d"), None, 7));
    assert_eq!(
        why.expect("answered")[0].number,
        rule.map(CenterError::number)
    );

    world.enable("d", 8);
    world.enable("d", 9);
    assert_eq!(world.sent(), ["enabled"]);
    assert_eq!(world.try_register("d", 2_000_000), None);
    done(world.service.tick(&ME, 2_000_000)).expect("the push");
    assert_eq!(world.sent(), ["offer 5-1 STM32 -> 2"]);
    let log = world.service.store();
    let log = done(log.log(&ME, &Endpoint::new("pk", "d"), None, 99)).expect("read");
    let of = |text: &str| log.iter().filter(|l| l.text.contains(text)).count();
    let counts = ["disabled by an operator", "enabled by an operator"].map(of);
    assert_eq!(counts, [1, 1], "{log:?}");
    let stranger = Endpoint::new("pk", "nobody");
    let missing = done(world.service.disable_device(&ME, &stranger, 9));
    assert_eq!(
        missing.expect_err("unknown").error,
        CenterError::NoSuchDevice
    );
}

#[test]
fn an_upgrade_in_transfer_goes_on_while_the_device_is_disabled() {
    let world = World::ready("d");
    world.act(PlanAction::Activate, 4);
    world.report("d", "5-1", State::Confirmed, 5);
    world.report("d", "5-1", State::Downloading, 6);
    world.sent();
    world.disable("d", 7);
    for state in [State::Downloaded, State::Updating, State::Success] {
        world.report("d", "5-1", state, 8);
    }
    assert_eq!(world.entry("d").steps[0].state, ComponentState::Upgrading);
    world.tell("d", "STM32", "2", 9);
    let entry = world.entry("d");
    assert_eq!(entry.steps[0].state, ComponentState::UpgradeSucceeded);
    // its versions are not read, and the next component is not offered
    assert_eq!(world.sent(), ["disabled"]);
    world.enable("d", 10);
    world.register("d", 1_000_000);
    done(world.service.tick(&ME, 1_000_000)).expect("the push");
    assert_eq!(world.sent(), ["enabled", "offer 5-2 ESP -> B"]);
}

#[test]
fn a_disabled_device_gets_no_download_information() {
    let world = World::ready("d");
    world.act(PlanAction::Activate, 4);
    world.report("d", "5-1", State::PlanReceived, 5);
    world.sent();
    world.disable("d", 6);
    world.report("d", "5-1", State::Confirmed, 7);
    assert_eq!(world.entry("d").steps[0].state, ComponentState::Confirmed);
    let asked = world.request("d", 8).expect_err("disabled");
    assert_eq!(asked.error, CenterError::DeviceDisabled);
    done(world.service.cancel(&ME, PlanId(5), "d", 8)).expect("asked");
    assert_eq!(world.sent(), ["disabled"], "not even the cancel is sent");
    world.enable("d", 9);
    world.register("d", 10);
    assert_eq!(world.sent(), ["enabled", "cancel 5-1 STM32"]);
}

#[test]
fn a_terminated_plan_asks_what_runs_to_give_up_only_when_it_is_told_to() {
    let world = World::ready("d");
    for key in ["e", "f"] {
        world.register(key, 1);
        world.tell(key, "STM32", "1", 2);
        world.tell(key, "ESP", "A", 2);
    }
    world.act(PlanAction::Activate, 4);
    for (key, states) in [
        ("d", &[State::PlanReceived, State::Confirmed][..]),
        (
            "e",
            &[State::PlanReceived, State::Confirmed, State::Updating],
        ),
    ] {
        for state in states {
            world.report(key, "5-1", *state, 5);
        }
    }
    world.sent();
    let terminate = |mode, now| {
        let done = done(world.service.terminate(&ME, PlanId(5), mode, now));
        done.map(|status| status.plan.state)
            .map_err(|problem| problem.error)
    };
    assert_eq!(terminate(CancelMode::Soft, 6), Ok(PlanState::Terminated));
    assert!(world.sent().is_empty(), "what runs goes on");
    assert_eq!(
        world.entry("f").state,
        DeviceState::UpgradeFailed,
        "it waited"
    );
    assert_eq!(
        terminate(CancelMode::Soft, 7),
        Err(CenterError::PlanTransition)
    );
    // of a plan that is over already too; one that is being written is not asked
    assert_eq!(terminate(CancelMode::Hard, 8), Ok(PlanState::Terminated));
    assert_eq!(world.sent(), ["cancel 5-1 STM32"]);
    assert!(world.entry("d").cancel_requested && !world.entry("e").cancel_requested);
    assert_eq!(terminate(CancelMode::Hard, 9), Ok(PlanState::Terminated));
    assert!(world.sent().is_empty(), "asked once");
    // softly, one device: it ends its component and gets no other
    let world = World::ready("d");
    world.act(PlanAction::Activate, 4);
    for state in [State::PlanReceived, State::Confirmed, State::Updating] {
        world.report("d", "5-1", state, 5);
    }
    world.sent();
    let plan = PlanId(5);
    let soft = world.service.cancel_as(&ME, plan, "d", CancelMode::Soft, 6);
    assert_eq!(done(soft), Ok(CancelOutcome::Ending));
    world.tell("d", "STM32", "2", 7);
    assert!(world.sent().is_empty(), "no next component");
    let entry = world.entry("d");
    assert_eq!(entry.steps[0].state, ComponentState::UpgradeSucceeded);
    assert_eq!(entry.state, DeviceState::UpgradeFailed);
}

#[test]
fn a_running_plan_is_sampled_once_a_minute_when_something_changed() {
    const MINUTE: Time = 60_000;
    let world = World::ready("d");
    world.act(PlanAction::Activate, 4);
    let plan = PlanId(5);
    let kept = || {
        let samples = done(world.service.store().samples(&ME, plan)).expect("read");
        let kept = samples.iter().map(|s| (s.at, s.counters.in_upgrade));
        kept.collect::<Vec<_>>()
    };
    assert_eq!(kept(), [(4, 0)], "as it began");
    for second in 1..120 {
        done(world.service.tick(&ME, 4 + second * 1000)).expect("ticked");
    }
    assert_eq!(kept(), [(4, 0)], "nothing changed");
    world.report("d", "5-1", State::PlanReceived, 2 * MINUTE);
    for second in 0..120 {
        let now = 4 + 2 * MINUTE + second * 1000;
        done(world.service.tick(&ME, now)).expect("ticked");
    }
    let samples = kept();
    assert_eq!(samples.len(), 2, "{samples:?}");
    assert_eq!(samples[1].1, 1);
    let shown = done(world.service.plan_progress(&ME, plan, 9 * MINUTE + 5));
    let shown = shown.expect("read");
    assert_eq!((shown.len(), shown[2].at), (3, 9 * MINUTE), "to the minute");
}
