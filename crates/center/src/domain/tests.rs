//! What must hold whatever happens.

use std::collections::BTreeSet;

use proptest::prelude::*;
use sota_errors::{CenterError, Reason};
use sota_lwm2m::objects::plan::State;

use super::*;
use crate::store::samples::{device, model, package, plan};

const STATES: [State; 11] = [
    State::None,
    State::PlanReceived,
    State::Confirmed,
    State::Refused,
    State::DownloadStarts,
    State::Downloading,
    State::DownloadError,
    State::Downloaded,
    State::Updating,
    State::Success,
    State::Failure,
];
const PLAN_STATES: [PlanState; 6] = [
    PlanState::Saved,
    PlanState::Activated,
    PlanState::Upgrading,
    PlanState::Suspended,
    PlanState::Terminated,
    PlanState::Ended,
];

pub(super) fn two_steps() -> (Plan, Vec<StepPlan>) {
    let components = ["STM32", "ESP"].into_iter().zip([4, 5]);
    let components = components
        .map(|(c, p)| PlanComponent {
            component: c.into(),
            package: PackageId(p),
        })
        .collect();
    let plan = Plan {
        components,
        state: PlanState::Activated,
        ..plan(5, 1, "pk", 4)
    };
    let packages = [
        package(4, 1, ComponentKind::Mcu, "2"),
        package(5, 1, ComponentKind::Mcu, "B"),
    ];
    let steps = plan.steps(&model(3, 1), &packages);
    (plan, steps)
}

pub(super) fn running(device: &mut Device, versions: [&str; 2]) {
    for (identifier, version) in ["STM32", "ESP"].into_iter().zip(versions) {
        let component = ReportedComponent {
            identifier: identifier.into(),
            kind: ComponentKind::Mcu,
            version: version.into(),
        };
        device.learn(&DeviceFacts {
            components: vec![component],
            ..DeviceFacts::default()
        });
    }
}

fn keys() -> impl Strategy_<Value = BTreeSet<String>> {
    proptest::collection::btree_set("[abc]", 0..3)
}
use proptest::strategy::Strategy as Strategy_;

proptest! {
    #[test]
    fn nobody_outside_the_plan_is_ever_offered_anything(
        state in proptest::sample::select(PLAN_STATES.to_vec()),
        key in "[abc]", whitelist in keys(), blacklist in keys(),
        start_at in 0i64..20, end_at in proptest::option::of(0i64..20), now in 0i64..20,
        battery in proptest::option::of(0u8..=100), rsrp in proptest::option::of(-140i16..-40),
        version in "[12]", second in "[AB]", together: bool, product in proptest::sample::select(vec!["pk", "other"]),
        in_upgrade in proptest::sample::select(vec![0u64, 9_999, 10_000]), disabled: bool,
        filter in proptest::sample::select(vec!["none", "fits", "other"]),
    ) {
        let (plan, steps) = two_steps();
        let audience = (filter != "none").then(|| Audience {
            filter: FilterId(1),
            live: true,
            expression: format!("tag:{filter}"),
        });
        let plan = Plan { state, audience, whitelist, blacklist, start_at, end_at, ..plan };
        let mut device = device(product, &key);
        running(&mut device, [&version, &second]);
        device.battery_percent = battery;
        device.rsrp_dbm = rsrp;
        device.disabled = disabled;
        device.tags = ["fits".to_owned()].into();
        let candidate = Candidate {
            plan: &plan, steps: &steps, device: &device, entry: None, others: &[], together,
            counters: &[Counters { in_upgrade, ..Counters::default() }], untaken: 0, models: &[], online: true, in_cell: 0, pushed: false, hour: 0, now,
        };
        match eligibility(candidate) {
            Ok(set) => {
                prop_assert!(matches!(state, PlanState::Activated | PlanState::Upgrading));
                prop_assert!(product == "pk" && !disabled);
                prop_assert!(start_at <= now && end_at.is_none_or(|end| now < end));
                prop_assert!(!plan.blacklist.contains(&key) && filter != "other");
                prop_assert!(plan.whitelist.is_empty() || plan.whitelist.contains(&key));
                prop_assert!(battery.is_none_or(|b| b >= 30) && rsrp.is_none_or(|r| r >= -113));
                prop_assert!(in_upgrade < 10_000);
                let mut needed = Vec::new();
                needed.extend((version != "2").then_some(0));
                needed.extend((second != "B").then_some(1));
                needed.truncate(if together { 2 } else { 1 });
                prop_assert_eq!(set, needed);
            }
            Err(rule) => prop_assert!((1200..=1299).contains(&rule.error.number()), "{}", rule),
        }
    }

    #[test]
    fn states_stay_legal_and_counters_equal_a_scan(
        together: bool,
        events in proptest::collection::vec(
            (0usize..3, 0u8..9, 0usize..11, 0u32..3, 0usize..3, 0usize..2), 1..120,
        ),
    ) {
        let (plan, steps) = two_steps();
        let deadlines = Deadlines::default();
        let mut devices: Vec<Device> = ["a", "b", "c"].map(|k| device("pk", k)).into();
        devices.iter_mut().for_each(|d| running(d, ["1", "A"]));
        let mut entries: Vec<PlanDevice> =
            devices.iter().map(|d| PlanDevice::enrol(&plan, &steps, d, &[])).collect();
        let mut counters = Counters::default();
        entries.iter().for_each(|e| counters.moved(None, e.state));
        let mut now = 0;
        for (who, event, state, offer_back, version, at) in events {
            now += 1000;
            let (device, entry) = (&mut devices[who], &mut entries[who]);
            let before = entry.clone();
            let number = entry.offer.wrapping_sub(offer_back);
            let running_now = |d: &Device, i: usize| {
                let step = &steps[i];
                d.version(&step.component, step.kind).map(str::to_owned)
            };
            match event {
                0..=3 => {
                    let report = Report { offer: number, state: STATES[state], reason: Some(6) };
                    let version = running_now(device, at);
                    let version = version.as_deref();
                    match entry.report(at, &report, version, &Retries::times(2), &deadlines, now) {
                        Ok(_) => {
                            prop_assert_eq!(offer_back, 0);
                            let again = entry.clone();
                            let twice = entry.report(at, &report, version, &Retries::times(2), &deadlines, now);
                            if report.state != State::Success || !entry.steps[at].offered {
                                prop_assert!(twice.is_err(), "a duplicate was taken");
                            }
                            prop_assert_eq!(&again.steps, &entry.steps);
                        }
                        Err(_) => prop_assert_eq!(&before, &*entry, "a refused report changed something"),
                    }
                }
                4 => {
                    running(device, [["1", "2", "3"][version], ["A", "B", "C"][version]]);
                    let device = &*device;
                    let version = |i: usize| device.version(&steps[i].component, steps[i].kind);
                    entry.version_reported(version, &Retries::times(2), &deadlines, now);
                }
                5 => {
                    let candidate = Candidate {
                        plan: &plan, steps: &steps, device, entry: Some(entry), others: &[],
                        together, counters: &[counters], untaken: 0, models: &[], online: true, in_cell: 0, pushed: false, hour: 0, now,
                    };
                    if let Ok(set) = eligibility(candidate) {
                        prop_assert!(!entry.open && !entry.state.over());
                        prop_assert!(together || set.len() == 1);
                        let set: Vec<_> = set.into_iter().map(|i| (i, "1")).collect();
                        entry.open_offer(&set, &deadlines, now);
                    }
                }
                6 => {
                    let upgrading = |i: usize| entry.steps[i].state == ComponentState::Upgrading;
                    let too_late = before.open && before.offered().all(upgrading);
                    match entry.cancel(now) {
                        Ok(_) => prop_assert!(!too_late),
                        Err(_) => prop_assert_eq!(&before, &*entry),
                    }
                    entry.cancel_answered(number, state % 2 == 0, now);
                }
                7 => {
                    now += 3 * 24 * 3_600_000;
                    entry.deadline_passed(&Retries::times(2), now);
                    prop_assert!(entry.deadline.is_none_or(|d| d > now));
                }
                _ => {
                    let _ = entry.retry();
                    if state % 2 == 0 {
                        entry.busy(number, now);
                        let counts = (entry.failures, entry.state);
                        prop_assert!(counts.0 <= before.failures, "busy is no failure");
                    }
                    entry.refused(number, Reason::BadOffer.number(), &Retries::times(2), now);
                }
            }
            counters.moved(Some(before.state), entry.state);

            let mut scan = Counters::default();
            entries.iter().for_each(|e| scan.moved(None, e.state));
            prop_assert_eq!(scan, counters);
            let (device, entry) = (&devices[who], &entries[who]);
            prop_assert!(entry.current < entry.steps.len());
            prop_assert_eq!(entry.open, entry.deadline.is_some(), "an open step has a deadline");
            prop_assert_eq!(entry.open, entry.offered().next().is_some(), "a set has a step");
            prop_assert!(!entry.open || entry.offered().next() == Some(entry.current), "in sequence");
            let owed = entry.outstanding();
            let downloads = owed.iter().filter(|(_, what)| *what == Outstanding::Download);
            prop_assert!(downloads.clone().all(|(i, _)| *i == entry.current), "one after the other");
            prop_assert!(
                downloads.count() == 0 || owed.iter().all(|(_, what)| *what != Outstanding::Offer),
                "no download before the host was asked for all"
            );
            for (i, _) in &owed {
                prop_assert!(entry.steps[*i].offered, "nothing is owed outside the set");
            }
            prop_assert!(!entry.open || !entry.state.over());
            prop_assert_eq!(entry.state.over(), entry.ended_at.is_some());
            for (i, (old, new)) in before.steps.iter().zip(&entry.steps).enumerate() {
                let done = ComponentState::UpgradeSucceeded;
                if old.state != done && new.state == done {
                    let runs = device.version(&steps[i].component, steps[i].kind);
                    prop_assert_eq!(runs, Some(new.target_version.as_str()), "success without the version");
                }
                prop_assert!(old.state != done || new.state == done, "a success was taken back");
            }
            if entry.state == DeviceState::Upgraded {
                let fine = [ComponentState::UpgradeSucceeded, ComponentState::NoUpdateRequired];
                prop_assert!(entry.steps.iter().all(|s| fine.contains(&s.state)));
            }
        }
    }

    #[test]
    fn endpoint_names_come_back(product in "[A-Za-z0-9_-]{1,64}", key in "[A-Za-z0-9:._-]{1,64}") {
        let endpoint = Endpoint::new(product, key);
        prop_assert_eq!(Endpoint::parse(&endpoint.to_string()).expect("parses"), endpoint);
    }

    #[test]
    fn reading_outside_text_never_panics(text in "\\PC{0,80}") {
        let _ = Endpoint::parse(&text);
        let _ = PlanDevice::parse_offer_name(&text);
        let _ = check_version("v", &text);
        let _ = PackageFile::check_name(&text);
    }
}

#[test]
fn the_plan_follows_its_table() {
    use PlanAction as A;
    use PlanState as S;
    let actions = [
        A::Activate,
        A::Suspend,
        A::Resume,
        A::Terminate,
        A::End,
        A::DeviceBegan,
    ];
    // a row of the table in `plan.rs`; None = refused
    let table: [(S, [Option<S>; 6]); 6] = [
        (S::Saved, [Some(S::Activated), None, None, None, None, None]),
        (
            S::Activated,
            [
                None,
                Some(S::Suspended),
                None,
                Some(S::Terminated),
                Some(S::Ended),
                Some(S::Upgrading),
            ],
        ),
        (
            S::Upgrading,
            [
                None,
                Some(S::Suspended),
                None,
                Some(S::Terminated),
                Some(S::Ended),
                Some(S::Upgrading),
            ],
        ),
        (
            S::Suspended,
            [
                None,
                None,
                Some(S::Upgrading),
                Some(S::Terminated),
                Some(S::Ended),
                Some(S::Suspended),
            ],
        ),
        (
            S::Terminated,
            [None, None, None, None, None, Some(S::Terminated)],
        ),
        (S::Ended, [None, None, None, None, None, Some(S::Ended)]),
    ];
    for (state, row) in table {
        for (action, expected) in actions.into_iter().zip(row) {
            let plan = Plan {
                state,
                ..plan(5, 1, "pk", 4)
            };
            let next = plan.after(action, true, 10);
            assert_eq!(
                next.as_ref().ok(),
                expected.as_ref(),
                "{state:?} {action:?}"
            );
            if let Err(problem) = next {
                assert_eq!(problem.error, CenterError::PlanTransition);
            }
        }
    }
    let past = Plan {
        end_at: Some(10),
        ..plan(5, 1, "pk", 4)
    };
    assert_eq!(
        past.after(A::Activate, false, 10).expect_err("past").error,
        CenterError::PlanTimes
    );
}

/// What is wrong with an otherwise good plan -> its error.
#[test]
fn every_rule_of_a_plan_has_its_error() {
    type Spoil = fn(&mut Plan, &mut Vec<Package>);
    let cases: [(CenterError, Spoil); 14] = [
        (CenterError::NameEmpty, |p, _| p.name.clear()),
        (CenterError::NameOverlong, |p, _| p.name = "é".repeat(101)),
        (CenterError::NameForbiddenCharacters, |p, _| {
            p.name = "a\nb".into()
        }),
        (CenterError::SequenceEmpty, |p, _| p.components.clear()),
        (CenterError::ComponentNotInModel, |p, _| {
            p.components[0].component = "nRF".into()
        }),
        (CenterError::ComponentTwiceInPlan, |p, _| {
            p.components.push(p.components[0].clone())
        }),
        (CenterError::NoSuchPackage, |_, k| k.clear()),
        (CenterError::PackageWrongKind, |p, _| {
            p.components[0].component = "module".into()
        }),
        (CenterError::PackageOfOtherProduct, |_, k| {
            k[0].product = Some(ProductId(99))
        }),
        (CenterError::McuPackageManyFiles, |_, k| {
            let file = k[0].files[0].clone();
            k[0].files.push(file);
        }),
        (CenterError::StrategyRetry, |p, _| {
            p.strategy.retry_times = 6
        }),
        (CenterError::StrategySignal, |p, _| {
            p.strategy.min_rsrp_dbm = -114
        }),
        (CenterError::StrategyBattery, |p, _| {
            p.strategy.min_battery_percent = 101
        }),
        (CenterError::PlanTimes, |p, _| p.end_at = Some(p.start_at)),
    ];
    let product = crate::store::samples::product(2, 1, "pk");
    let good = (
        plan(5, 1, "pk", 4),
        vec![package(4, 1, ComponentKind::Mcu, "2")],
    );
    good.0
        .check(&product, &model(3, 1), &good.1)
        .expect("a good plan");
    for (error, spoil) in cases {
        let (mut plan, mut packages) = good.clone();
        spoil(&mut plan, &mut packages);
        let problem = plan
            .check(&product, &model(3, 1), &packages)
            .expect_err(error.name());
        assert_eq!(problem.error, error);
    }
    let mut many = good.0.clone();
    many.whitelist = (0..=PLAN_LIST_LIMIT).map(|i| i.to_string()).collect();
    let problem = many
        .check(&product, &model(3, 1), &good.1)
        .expect_err("too many");
    assert_eq!(problem.error, CenterError::ListTooLong);
}

#[test]
fn every_rule_of_models_and_packages_has_its_error() {
    type Spoil<T> = fn(&mut T);
    let models: [(CenterError, Spoil<Model>); 7] = [
        (CenterError::NameForbiddenCharacters, |m| {
            m.device_model = "BC-660".into()
        }),
        (CenterError::ModelWithoutFirmware, |m| {
            drop(m.components.remove(0))
        }),
        (CenterError::ComponentTwice, |m| {
            m.components[1].name = m.components[0].name.clone()
        }),
        (CenterError::NameForbiddenCharacters, |m| {
            m.components[1].identifier = "a:b".into()
        }),
        (CenterError::NameOverlong, |m| {
            m.components[1].identifier = "x".repeat(33)
        }),
        (CenterError::RemarkOverlong, |m| {
            m.components[1].remark = "x".repeat(201)
        }),
        (CenterError::TooManyComponents, |m| {
            m.components = vec![m.components[0].clone(); 33];
        }),
    ];
    model(3, 1).check().expect("a good model");
    for (error, spoil) in models {
        let mut model = model(3, 1);
        spoil(&mut model);
        assert_eq!(model.check().expect_err(error.name()).error, error);
    }
    let packages: [(CenterError, Spoil<Package>); 10] = [
        (CenterError::VersionForbiddenCharacters, |p| {
            p.target_version = "1 0".into()
        }),
        (CenterError::VersionForbiddenCharacters, |p| {
            p.target_version = "x".repeat(65)
        }),
        (CenterError::SourceVersionOnFull, |p| {
            p.source_versions.push("1".into())
        }),
        (CenterError::SourceVersionMissing, |p| {
            p.package_type = PackageType::Delta
        }),
        (CenterError::SourceIsTarget, |p| {
            p.package_type = PackageType::Delta;
            p.source_versions.push(p.target_version.clone());
        }),
        (CenterError::FileCount, |p| p.files.clear()),
        (CenterError::FileCount, |p| {
            p.files = vec![p.files[0].clone(); 6]
        }),
        (CenterError::FileEmpty, |p| p.files[0].length = 0),
        (CenterError::FileTooLarge, |p| {
            p.files[0].length = FILE_LIMIT_BYTES + 1
        }),
        (CenterError::FileFormatUnknown, |p| {
            p.files[0].file_name = "bin".into()
        }),
    ];
    package(4, 1, ComponentKind::Mcu, "2")
        .check()
        .expect("a good package");
    for (error, spoil) in packages {
        let mut package = package(4, 1, ComponentKind::Mcu, "2");
        spoil(&mut package);
        assert_eq!(package.check().expect_err(error.name()).error, error);
    }
}

/// What is different from a device that is offered the plan -> the rule that forbids it.
#[test]
fn every_rule_of_eligibility_has_its_name() {
    struct Case {
        plan: Plan,
        steps: Vec<StepPlan>,
        device: Device,
        entry: PlanDevice,
        others: Vec<PlanDevice>,
    }
    type Spoil = fn(&mut Case);
    let cases: [(CenterError, Spoil); 21] = [
        (CenterError::OtherProduct, |c| {
            c.plan.product_key = "other".into()
        }),
        (CenterError::DeviceDisabled, |c| c.device.disabled = true),
        (CenterError::DeviceDisabled, |c| {
            c.device.disabled = true;
            c.entry.open = true;
            c.plan.state = PlanState::Suspended;
        }),
        (CenterError::PlanIsSaved, |c| {
            c.plan.state = PlanState::Saved
        }),
        (CenterError::PlanSuspended, |c| {
            c.plan.state = PlanState::Suspended
        }),
        (CenterError::PlanOver, |c| {
            c.plan.state = PlanState::Terminated
        }),
        (CenterError::PlanOver, |c| c.plan.end_at = Some(100)),
        (CenterError::PlanNotStarted, |c| c.plan.start_at = 101),
        (CenterError::InBlacklist, |c| {
            c.plan.blacklist = ["d".to_owned()].into();
            c.plan.whitelist = ["d".to_owned()].into();
        }),
        (CenterError::NotInWhitelist, |c| {
            c.plan.whitelist = ["e".to_owned()].into()
        }),
        (CenterError::AlreadyUpgraded, |c| {
            running(&mut c.device, ["2", "B"])
        }),
        (CenterError::AlreadyUpgraded, |c| {
            c.entry.state = DeviceState::Upgraded
        }),
        (CenterError::UpgradeFailedBefore, |c| {
            c.entry.state = DeviceState::UpgradeFailed
        }),
        (CenterError::UpgradeRunning, |c| c.entry.open = true),
        (CenterError::RetryLater, |c| c.entry.not_before = 101),
        (CenterError::InOtherPlan, |c| {
            let other = PlanDevice {
                plan: PlanId(9),
                open: true,
                ..c.entry.clone()
            };
            c.others.push(other);
        }),
        (CenterError::VersionNotSet, |c| c.device.components.clear()),
        (CenterError::SourceMismatch, |c| {
            c.steps[0].package_type = PackageType::Delta;
            c.steps[0].source_versions = vec!["0".into(), "3".into()];
        }),
        (CenterError::SignalBelowLimit, |c| {
            c.device.rsrp_dbm = Some(-114)
        }),
        (CenterError::BatteryBelowLimit, |c| {
            c.device.battery_percent = Some(29)
        }),
        (CenterError::SpaceTooSmall, |c| {
            c.device.free_space_bytes = Some(27_953);
            c.steps[0].kind = ComponentKind::Firmware;
            c.device.components[0].kind = ComponentKind::Firmware;
        }),
    ];
    let good = || {
        let (plan, steps) = two_steps();
        let mut device = device("pk", "d");
        running(&mut device, ["1", "A"]);
        let entry = PlanDevice::enrol(&plan, &steps, &device, &[]);
        Case {
            plan,
            steps,
            device,
            entry,
            others: Vec::new(),
        }
    };
    let decide = |c: &Case, in_upgrade| {
        let Case {
            plan,
            steps,
            device,
            entry,
            others,
        } = c;
        let entry = Some(entry);
        eligibility(Candidate {
            plan,
            steps,
            device,
            entry,
            others,
            together: false,
            counters: &[Counters {
                in_upgrade,
                ..Counters::default()
            }],
            untaken: 0,
            models: &[],
            online: true,
            in_cell: 0,
            pushed: false,
            hour: 0,
            now: 100,
        })
    };
    assert_eq!(decide(&good(), 9_999), Ok(vec![0]));
    assert_eq!(
        decide(&good(), 10_000).expect_err("full").error,
        CenterError::LimitReached
    );
    for (rule, spoil) in cases {
        let mut case = good();
        spoil(&mut case);
        assert_eq!(decide(&case, 0).expect_err(rule.name()).error, rule);
    }
    let mut fitting = good();
    fitting.steps[0].package_type = PackageType::Delta;
    fitting.steps[0].source_versions = vec!["0".into(), "1".into()];
    assert_eq!(decide(&fitting, 0), Ok(vec![0]), "one of several sources");
}
