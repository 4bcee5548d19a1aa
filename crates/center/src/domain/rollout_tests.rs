use super::tests::running;
use super::*;
use crate::store::samples::{device, plan};
use proptest::prelude::*;
use sota_errors::CenterError;

fn endpoint(key: usize) -> Endpoint {
    Endpoint::new("pk", format!("d{key}"))
}

fn counters(not_upgraded: u64, upgraded: u64, upgrade_failed: u64) -> Counters {
    Counters {
        not_upgraded,
        upgraded,
        upgrade_failed,
        ..Counters::default()
    }
}

fn phased() -> Rollout {
    Rollout {
        groups: vec![
            Group::plain("first", Size::Devices(10)),
            Group::plain("tenth", Size::Percent(10)),
            Group::plain("others", Size::Rest),
        ],
        ..Rollout::default()
    }
}

#[test]
fn what_is_wrong_is_named() {
    type Spoil = fn(&mut Rollout);
    let cases: [(&str, Spoil); 13] = [
        ("rollout.at_once", |r| r.at_once = 0),
        ("rollout.at_once", |r| r.at_once = 10_001),
        ("rollout.start_spread_s", |r| r.start_spread_s = 86_401),
        ("rollout.push_hours", |r| r.push_hours.from = 24),
        ("rollout.push_hours", |r| r.push_hours.to = 0),
        ("rollout.retry.first_wait_s", |r| r.retry.first_wait_s = 0),
        ("rollout.retry.greatest_wait_s", |r| {
            r.retry.greatest_wait_s = 29
        }),
        ("rollout.groups[0].size", |r| r.groups[0].size = Size::Rest),
        ("rollout.groups[2].size", |r| {
            r.groups[2].size = Size::Percent(50)
        }),
        ("rollout.groups[1].size", |r| {
            r.groups[1].size = Size::Percent(101)
        }),
        ("rollout.groups[1].name", |r| {
            r.groups[1].name = "first".into()
        }),
        ("rollout.groups[0].success_percent", |r| {
            r.groups[0].success_percent = 0
        }),
        ("rollout.groups[1].failure_percent", |r| {
            r.groups[1].failure_percent = Some(101)
        }),
    ];
    assert_eq!(phased().check(), Ok(()));
    for (field, spoil) in cases {
        let mut rollout = phased();
        spoil(&mut rollout);
        assert_eq!(rollout.check().expect_err(field).field, field);
    }
    let mut two = phased();
    two.groups
        .insert(0, Group::plain("most", Size::Percent(91)));
    let problem = two.check().expect_err("101 percent");
    assert_eq!(problem.error, CenterError::RolloutGroups);
}

#[test]
fn a_device_has_its_group_for_good_and_shares_are_shares() {
    let rollout = Rollout {
        groups: vec![
            Group::plain("ten", Size::Percent(10)),
            Group::plain("thirty", Size::Percent(30)),
            Group::plain("rest", Size::Rest),
        ],
        ..Rollout::default()
    };
    let mut sizes = [0; 3];
    for key in 0..10_000 {
        let of = |plan| rollout.group_of(PlanId(plan), &endpoint(key), &[]);
        assert_eq!(of(5), of(5));
        sizes[usize::from(of(5))] += 1;
    }
    for (size, share) in sizes.into_iter().zip([1_000, 3_000, 6_000]) {
        assert!((share - 200..share + 200).contains(&size), "{sizes:?}");
    }
    // another plan tries other devices first
    let moved = (0..1_000).filter(|key| {
        let of = |plan| rollout.group_of(PlanId(plan), &endpoint(*key), &[]);
        of(5) != of(6)
    });
    assert!(moved.count() > 200);
}

#[test]
fn the_first_so_many_come_first_and_test_devices_before_all() {
    let mut rollout = phased();
    rollout.test_devices = ["d7".into()].into();
    let mut groups = Vec::new();
    for key in 0..40 {
        let index = rollout.group_of(PlanId(5), &endpoint(key), &groups);
        assert_eq!(index == 0, key == 7);
        Counters::of_group(&mut groups, index).moved(None, DeviceState::NotUpgraded);
    }
    assert_eq!((groups[0].total(), groups[1].total()), (1, 10));
    assert_eq!(Counters::sum(&groups).total(), 40);
    let names: Vec<_> = rollout.all_groups().into_iter().map(|g| g.name).collect();
    assert_eq!(names, ["test devices", "first", "tenth", "others"]);
}

#[test]
fn results_open_groups_ask_and_pause() {
    let mut rollout = phased();
    rollout.groups[0].failure_percent = Some(20);
    rollout.groups[0].success_percent = 90;
    rollout.groups[1].approval = true;
    let mut progress = Progress::default();
    let with = |first, progress: &Progress| rollout.advance(progress, &[first, counters(5, 0, 0)]);
    assert_eq!(with(counters(2, 8, 0), &progress), Advance::Stay);
    assert_eq!(with(counters(1, 9, 0), &progress), Advance::AskApproval(1));
    // those of the first ten that have not come yet are waited for
    assert_eq!(with(counters(0, 5, 0), &progress), Advance::Stay);
    assert_eq!(with(counters(7, 2, 1), &progress), Advance::Stay);
    assert_eq!(with(counters(6, 2, 2), &progress), Advance::Pause);
    // resumed: these two are accepted, a third is not
    progress.resumed(&[counters(6, 2, 2)]);
    assert_eq!(with(counters(0, 8, 2), &progress), Advance::AskApproval(1));
    assert_eq!(with(counters(0, 7, 3), &progress), Advance::Pause);
    progress.waits_for_approval = true;
    assert_eq!(with(counters(0, 8, 2), &progress), Advance::Stay);
    progress.open(1, 77);
    assert_eq!(progress.accepted_failures, 0);
    // a group without devices is passed over, a plan without any waits
    let empty = [counters(0, 10, 0), counters(0, 0, 0), counters(3, 0, 0)];
    assert_eq!(rollout.advance(&progress, &empty), Advance::Open(2));
    assert_eq!(rollout.advance(&progress, &[]), Advance::Stay);
    progress.open(2, 78);
    assert_eq!(rollout.advance(&progress, &empty), Advance::Stay);
}

#[test]
fn a_test_device_that_was_never_seen_holds_the_others() {
    let rollout = Rollout {
        test_devices: ["one".into(), "two".into()].into(),
        ..Rollout::default()
    };
    let one = [counters(0, 1, 0), counters(50, 0, 0)];
    assert_eq!(rollout.advance(&Progress::default(), &one), Advance::Stay);
    let failed = [counters(0, 1, 1), counters(50, 0, 0)];
    assert_eq!(
        rollout.advance(&Progress::default(), &failed),
        Advance::Pause
    );
    let both = [counters(0, 2, 0), counters(50, 0, 0)];
    assert_eq!(
        rollout.advance(&Progress::default(), &both),
        Advance::Open(1)
    );
}

#[test]
fn hours_may_go_over_midnight() {
    let night = PushHours { from: 22, to: 5 };
    let inside = (0..24).filter(|hour| night.contains(*hour));
    assert_eq!(inside.collect::<Vec<_>>(), [0, 1, 2, 3, 4, 22, 23]);
    assert!((0..24).all(|hour| PushHours::default().contains(hour)));
}

#[test]
fn waits_double_up_to_the_greatest() {
    let policy = RetryPolicy::default();
    let waits: Vec<_> = [1, 2, 3, 9, 10, 200].map(|n| policy.wait_s(n)).into();
    assert_eq!(waits, [30, 60, 120, 7_680, 7_680, 7_680]);
}

#[test]
fn an_error_that_is_not_retried_ends_it() {
    let (plan, steps) = super::tests::two_steps();
    let mut entry = PlanDevice::enrol(&plan, &steps, &device("pk", "d"), &[]);
    entry.open_offer(&[(0, "1")], &Deadlines::default(), 0);
    let mut retries = Retries::times(5);
    retries.policy.never_after = [CenterError::OfferRefused.number()].into();
    let number = CenterError::OfferRefused.number();
    entry.refused(1, number, &retries, 2).expect("taken");
    assert_eq!(entry.state, DeviceState::UpgradeFailed);
}

proptest! {
    /// No device begins before its group, its user's word and its start; the Center pushes in its hours only.
    #[test]
    fn nobody_begins_out_of_turn(
        open in 0u16..4, group in 0u16..4, manual: bool, appointed in proptest::option::of(0i64..200_000),
        spread in 0u32..200, opened_at in 1i64..100_000, now in 0i64..200_000, pushed: bool, hour in 0u8..24,
        from in 0u8..24, to in 1u8..=24, at_once in 1u32..4, in_upgrade in 0u64..5, untaken in 0u64..3, begun: bool,
    ) {
        let (mut plan, steps) = super::tests::two_steps();
        plan.state = PlanState::Upgrading;
        plan.rollout = Rollout { start_spread_s: spread, push_hours: PushHours { from, to }, at_once, ..phased() };
        plan.rollout.mode = if manual { Mode::Manual } else { Mode::Silent };
        plan.progress.open(open, opened_at);
        let mut device = device("pk", "d");
        running(&mut device, ["1", "A"]);
        let mut entry = PlanDevice::enrol(&plan, &steps, &device, &[]);
        entry.group = group;
        entry.appointed_at = appointed;
        if begun {
            entry.state = DeviceState::InUpgrade;
        }
        let candidate = Candidate {
            plan: &plan, steps: &steps, device: &device, entry: Some(&entry), others: &[], together: true,
            counters: &[Counters { in_upgrade, ..Counters::default() }], untaken,
            models: &[], online: true, in_cell: 0, pushed, hour, now,
        };
        match eligibility(candidate) {
            Ok(_) if begun => {}
            Ok(_) => {
                prop_assert!(group <= open && in_upgrade + untaken < u64::from(at_once));
                prop_assert!(!manual || appointed.is_some_and(|at| at <= now));
                prop_assert!(manual || group < open || now >= opened_at);
                prop_assert!(manual || !pushed || plan.rollout.push_hours.contains(hour));
            }
            Err(rule) => {
                prop_assert!(!begun, "{rule}");
                prop_assert!((1200..=1299).contains(&rule.error.number()), "{rule}");
            }
        }
    }
}

#[test]
fn a_device_in_weak_coverage_finds_its_cell_full_sooner() {
    let per_cell = PerCell {
        downloads: 5,
        weak_below_dbm: -110,
        weak_downloads: 2,
    };
    for (rsrp, limit) in [(None, 5), (Some(-80), 5), (Some(-110), 5), (Some(-111), 2)] {
        assert_eq!(per_cell.limit(rsrp), limit, "{rsrp:?}");
    }
    let with = |change: fn(&mut PerCell)| {
        let mut changed = per_cell;
        change(&mut changed);
        let rollout = Rollout {
            per_cell: Some(changed),
            ..Rollout::default()
        };
        rollout.check().map_err(|p| p.field)
    };
    assert_eq!(with(|_| {}), Ok(()));
    let field = |name: &str| Err(format!("rollout.per_cell.{name}"));
    assert_eq!(with(|c| c.downloads = 0), field("downloads"));
    assert_eq!(with(|c| c.downloads = 1001), field("downloads"));
    assert_eq!(with(|c| c.weak_below_dbm = -141), field("weak_below_dbm"));
    assert_eq!(with(|c| c.weak_downloads = 6), field("weak_downloads"));
    assert_eq!(with(|c| c.weak_downloads = 0), field("weak_downloads"));
}

/// A plan of before this file was there reads as one group.
#[test]
fn an_old_plan_reads_as_one_group() {
    let plan = plan(5, 1, "pk", 4);
    let mut old = serde_json::to_value(&plan).expect("json");
    let fields = old.as_object_mut().expect("an object");
    fields.remove("rollout");
    fields.remove("progress");
    let read: Plan = serde_json::from_value(old).expect("reads");
    assert_eq!(read, plan);
    assert_eq!(read.group_name(0), "all devices");
}
