//! Components offered together, to a device with the Plan object: one set, one answer, one after the other.

use sota_errors::{CenterError, Reason};
use sota_lwm2m::objects::plan::State;

use super::tests::{running, two_steps};
use super::*;
use crate::store::samples::{device, model, package};

const D: Deadlines = Deadlines {
    offer: 10,
    confirm: 1_000,
    start: 100,
    download: 10_000,
    update: 500,
};

fn decide(
    steps: &[StepPlan],
    device: &Device,
    entry: Option<&PlanDevice>,
) -> Result<Vec<usize>, CenterError> {
    let (plan, _) = two_steps();
    let candidate = Candidate {
        plan: &plan,
        steps,
        device,
        entry,
        others: &[],
        together: true,
        counters: &[],
        untaken: 0,
        models: &[],
        online: true,
        in_cell: 0,
        pushed: false,
        hour: 0,
        now: 1_000_000,
    };
    eligibility(candidate).map_err(|problem| problem.error)
}

/// Both components are offered.
fn offered() -> PlanDevice {
    let (plan, steps) = two_steps();
    let mut entry = PlanDevice::enrol(&plan, &steps, &device("pk", "d"), &[]);
    entry.open_offer(&[(0, "1"), (1, "A")], &D, 0);
    entry
}

fn tell(
    entry: &mut PlanDevice,
    index: usize,
    state: State,
    now: Time,
) -> Result<String, CenterError> {
    let reason = (state == State::Failure).then_some(Reason::DigestMismatch.number());
    let report = Report {
        offer: entry.offer,
        state,
        reason,
    };
    let version = [Some("2"), Some("B")][index];
    let taken = entry.report(index, &report, version, &Retries::times(1), &D, now);
    taken.map_err(|problem| problem.error)
}

fn states(entry: &PlanDevice) -> [ComponentState; 2] {
    [entry.steps[0].state, entry.steps[1].state]
}

fn failures(entry: &PlanDevice) -> [Option<Reason>; 2] {
    [0, 1].map(|i| entry.steps[i].failure.and_then(Reason::from_number))
}

#[test]
fn a_set_ends_where_a_rule_or_a_second_file_of_a_component_says() {
    let (plan, steps) = two_steps();
    let mut d = device("pk", "d");
    running(&mut d, ["1", "A"]);
    assert_eq!(decide(&steps, &d, None), Ok(vec![0, 1]));
    running(&mut d, ["2", "A"]);
    assert_eq!(decide(&steps, &d, None), Ok(vec![1]), "no update required");
    // a delta that does not fit yet has its turn after what comes before it
    running(&mut d, ["1", "A"]);
    let mut delta = steps.clone();
    delta[1].package_type = PackageType::Delta;
    delta[1].source_versions = vec!["AA".into()];
    assert_eq!(decide(&delta, &d, None), Ok(vec![0]));
    delta.swap(0, 1);
    assert_eq!(decide(&delta, &d, None), Err(CenterError::SourceMismatch));
    // what is done is not offered again
    let mut entry = PlanDevice::enrol(&plan, &steps, &d, &[]);
    entry.steps[0].state = ComponentState::UpgradeSucceeded;
    assert_eq!(decide(&steps, &d, Some(&entry)), Ok(vec![1]));
    // the module's two files, and an MCU behind them
    let mut of_two = package(4, 1, ComponentKind::Firmware, "9");
    of_two.files.push(of_two.files[0].clone());
    let chosen = [("module", 4), ("STM32", 5)].map(|(component, package)| PlanComponent {
        component: component.into(),
        package: PackageId(package),
    });
    let plan = Plan {
        components: chosen.into(),
        ..plan
    };
    let steps = plan.steps(
        &model(3, 1),
        &[of_two, package(5, 1, ComponentKind::Mcu, "2")],
    );
    let module = ReportedComponent {
        identifier: "fw".into(),
        kind: ComponentKind::Firmware,
        version: "8".into(),
    };
    d.learn(&DeviceFacts {
        components: vec![module],
        ..DeviceFacts::default()
    });
    assert_eq!(steps.len(), 3);
    assert_eq!(decide(&steps, &d, None), Ok(vec![0]));
    let mut entry = PlanDevice::enrol(&plan, &steps, &d, &[]);
    entry.steps[0].state = ComponentState::UpgradeSucceeded;
    assert_eq!(decide(&steps, &d, Some(&entry)), Ok(vec![1, 2]));
}

#[test]
fn the_bar_of_each_component_and_what_is_owed() {
    use ComponentState as C;
    let mut e = offered();
    let (first, second) = ((0, Outstanding::Offer), (1, Outstanding::Offer));
    assert_eq!(e.outstanding(), [first, second]);
    assert_eq!(
        tell(&mut e, 1, State::PlanReceived, 1),
        Ok("ESP: plan received".into())
    );
    assert_eq!(e.outstanding(), [first]);
    assert_eq!(e.deadline, Some(11), "one offer is not acknowledged");
    tell(&mut e, 0, State::PlanReceived, 2).unwrap();
    assert_eq!((e.outstanding(), e.deadline), (vec![], Some(1_002)));
    assert_eq!(e.outstanding_when_asked(), [first, second]);
    // one answer for all, whichever report of it comes
    tell(&mut e, 1, State::Confirmed, 3).unwrap();
    assert_eq!(states(&e), [C::Confirmed; 2]);
    assert_eq!(
        tell(&mut e, 0, State::Confirmed, 3),
        Err(CenterError::OutOfOrderReport)
    );
    assert_eq!(e.outstanding(), [(0, Outstanding::Download)]);
    tell(&mut e, 0, State::Downloading, 4).unwrap();
    assert_eq!((e.outstanding(), e.deadline), (vec![], Some(10_004)));
    assert_eq!(e.outstanding_when_asked(), [(0, Outstanding::Resume)]);
    tell(&mut e, 0, State::Updating, 5).unwrap();
    tell(&mut e, 0, State::Success, 6).unwrap();
    assert_eq!(states(&e), [C::UpgradeSucceeded, C::Confirmed]);
    assert_eq!((e.current, e.offer, e.open), (1, 1, true), "no other offer");
    assert_eq!(e.outstanding(), [(1, Outstanding::Download)]);
    assert_eq!(e.deadline, Some(106), "its time begins now");
    assert_eq!(
        tell(&mut e, 0, State::Success, 7),
        Err(CenterError::OutOfOrderReport)
    );
    tell(&mut e, 1, State::Success, 8).unwrap();
    assert_eq!(
        (e.state, e.open, e.deadline),
        (DeviceState::Upgraded, false, None)
    );
    // a report of an older set
    let mut e = offered();
    e.open_offer(&[(0, "1"), (1, "A")], &D, 0);
    let old = Report {
        offer: 1,
        state: State::Failure,
        reason: None,
    };
    let stale = e
        .report(1, &old, None, &Retries::times(1), &D, 9)
        .unwrap_err();
    assert_eq!(stale.error, CenterError::StaleReport);
}

#[test]
fn one_that_fails_ends_the_set_and_what_is_left_is_offered_again() {
    use ComponentState as C;
    let other = Some(Reason::OtherComponentFailed);
    // before, at and after the answer
    for state in [State::PlanReceived, State::Confirmed, State::Downloading] {
        for failing in [0, 1] {
            let mut e = offered();
            tell(&mut e, 0, state, 1).unwrap();
            tell(&mut e, failing, State::Failure, 2).unwrap();
            assert_eq!(states(&e), [C::UpgradeFailed; 2], "{state:?} {failing}");
            let mut expected = [other; 2];
            expected[failing] = Some(Reason::DigestMismatch);
            assert_eq!(failures(&e), expected);
            assert_eq!(
                (e.open, e.state, e.failures),
                (false, DeviceState::InUpgrade, 1)
            );
            let late = tell(&mut e, 1 - failing, State::Failure, 3);
            assert_eq!(late, Err(CenterError::OutOfOrderReport));
        }
    }
    let mut e = offered();
    tell(&mut e, 0, State::Success, 1).unwrap();
    tell(&mut e, 1, State::Failure, 2).unwrap();
    assert_eq!(states(&e), [C::UpgradeSucceeded, C::UpgradeFailed]);
    assert_eq!(e.current, 1);
    let (_, steps) = two_steps();
    let mut d = device("pk", "d");
    running(&mut d, ["2", "A"]);
    assert_eq!(
        decide(&steps, &d, Some(&e)),
        Ok(vec![1]),
        "only what is not done"
    );
    e.open_offer(&[(1, "A")], &D, 40_000);
    tell(&mut e, 1, State::Failure, 40_001).unwrap();
    assert_eq!(e.state, DeviceState::UpgradeFailed, "one retry");
    e.retry().unwrap();
    assert_eq!(states(&e), [C::UpgradeSucceeded, C::PlanNotReceived]);

    let mut e = offered();
    tell(&mut e, 1, State::Refused, 1).unwrap();
    assert_eq!(states(&e), [C::UpgradeFailed; 2]);
    assert_eq!(
        e.state,
        DeviceState::UpgradeFailed,
        "the host does not want it"
    );

    let mut e = offered();
    tell(&mut e, 0, State::PlanReceived, 1).unwrap();
    e.refused(1, CenterError::OfferRefused.number(), &Retries::times(1), 2)
        .unwrap();
    assert_eq!(failures(&e), [other, None], "the second was refused");
    assert_eq!(e.steps[1].failure, Some(CenterError::OfferRefused.number()));
}

#[test]
fn one_that_is_being_written_goes_on_to_its_end() {
    use ComponentState as C;
    for good in [false, true] {
        let mut e = offered();
        tell(&mut e, 0, State::Updating, 1).unwrap();
        tell(&mut e, 1, State::Failure, 2).unwrap();
        assert_eq!(states(&e), [C::Upgrading, C::UpgradeFailed]);
        assert_eq!((e.open, e.current, e.deadline), (true, 0, Some(501)));
        assert_eq!(e.outstanding(), []);
        let (end, first) = match good {
            true => (State::Success, C::UpgradeSucceeded),
            false => (State::Failure, C::UpgradeFailed),
        };
        tell(&mut e, 0, end, 3).unwrap();
        assert_eq!(states(&e), [first, C::UpgradeFailed]);
        assert_eq!(
            (e.open, e.failures, e.state),
            (false, 1, DeviceState::InUpgrade)
        );
        assert_eq!(e.not_before, 30_003);
        // gone for good: nothing of it is left in force
        let mut e = offered();
        tell(&mut e, 0, State::Updating, 1).unwrap();
        e.deadline_passed(&Retries::times(1), 501).unwrap();
        assert_eq!((e.open, e.deadline), (false, None));
        assert_eq!(states(&e), [C::UpgradeFailed; 2]);
    }
}

#[test]
fn cancel() {
    use ComponentState as C;
    let by_operator = Some(CenterError::CancelledByOperator.number());
    // of every component, until the first answer
    let mut e = offered();
    tell(&mut e, 0, State::Downloading, 1).unwrap();
    assert_eq!(e.cancel(2), Ok(CancelOutcome::Asked));
    let (first, second) = ((0, Outstanding::Cancel), (1, Outstanding::Cancel));
    assert_eq!(e.outstanding(), [first, second]);
    e.cancel_answered(1, true, 3).unwrap();
    assert_eq!((e.state, e.open), (DeviceState::UpgradeFailed, false));
    assert_eq!(e.steps[0].failure, by_operator);
    assert_eq!(e.cancel_answered(1, true, 4), None, "the other's answer");
    // one is being written: only the one that waits is cancelled
    let mut e = offered();
    tell(&mut e, 0, State::Updating, 1).unwrap();
    assert_eq!(e.cancel(2), Ok(CancelOutcome::Asked));
    assert_eq!(e.outstanding(), [second]);
    e.cancel_answered(1, true, 3).unwrap();
    assert_eq!(states(&e), [C::Upgrading, C::UpgradeFailed]);
    assert_eq!(e.cancel(4).unwrap_err().error, CenterError::CancelTooLate);
    tell(&mut e, 0, State::Success, 5).unwrap();
    assert_eq!(states(&e), [C::UpgradeSucceeded, C::UpgradeFailed]);
    assert_eq!(e.state, DeviceState::UpgradeFailed);
    assert_eq!(e.steps[1].failure, by_operator);
    // the Center did not know yet that the first is being written: the device does
    let mut e = offered();
    tell(&mut e, 0, State::Downloaded, 1).unwrap();
    e.cancel(2).unwrap();
    e.cancel_answered(1, false, 3).unwrap();
    assert_eq!(e.cancel_answered(1, true, 3), None);
    tell(&mut e, 0, State::Updating, 4).unwrap();
    let cancelled = Report {
        offer: 1,
        state: State::Failure,
        reason: Some(Reason::Cancelled.number()),
    };
    e.report(1, &cancelled, None, &Retries::times(1), &D, 5)
        .unwrap();
    tell(&mut e, 0, State::Success, 6).unwrap();
    assert_eq!(
        e.state,
        DeviceState::UpgradeFailed,
        "a cancel is not retried"
    );
}

#[test]
fn a_set_that_nobody_answered_is_withdrawn_whole() {
    use ComponentState as C;
    let mut e = offered();
    tell(&mut e, 0, State::PlanReceived, 1).unwrap();
    assert!(e.deadline_passed(&Retries::times(1), 11).is_some());
    assert_eq!(states(&e), [C::PlanNotReceived; 2]);
    assert_eq!((e.open, e.failures, e.ended_at), (false, 0, None));
    // one runs its target before the host was asked: another set without it
    for told in [None, Some(State::PlanReceived)] {
        let mut e = offered();
        for index in [0, 1] {
            told.into_iter()
                .for_each(|state| drop(tell(&mut e, index, state, 1)));
        }
        let texts = e.version_reported(|i| [None, Some("B")][i], &Retries::times(1), &D, 2);
        assert_eq!(texts, ["ESP: runs the target version already"]);
        assert_eq!(states(&e), [C::PlanNotReceived, C::NoUpdateRequired]);
        assert_eq!((e.open, e.current), (false, 0));
        // both: nothing is left
        let mut e = offered();
        e.version_reported(|i| [Some("2"), Some("B")][i], &Retries::times(1), &D, 2);
        assert!(!e.open);
    }
    // after the answer the version is the success, also of one that waits
    let mut e = offered();
    tell(&mut e, 0, State::Downloading, 1).unwrap();
    let texts = e.version_reported(|i| [Some("1"), Some("B")][i], &Retries::times(1), &D, 2);
    assert_eq!(texts, ["ESP: success, runs B"]);
    assert_eq!(states(&e), [C::Downloading, C::UpgradeSucceeded]);
    assert_eq!(
        (e.open, e.current, e.state),
        (true, 0, DeviceState::InUpgrade)
    );
    tell(&mut e, 0, State::Success, 3).unwrap();
    assert_eq!(e.state, DeviceState::Upgraded);
}
