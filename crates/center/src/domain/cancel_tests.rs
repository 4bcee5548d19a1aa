//! Soft and hard cancel at each point.

use sota_errors::CenterError;
use sota_lwm2m::objects::plan::State;

use super::*;
use crate::store::samples::enrolled;

/// One device of a plan of two components, offered the first, in this state.
fn at(state: ComponentState) -> PlanDevice {
    let mut entry = enrolled(5, "d");
    entry.steps.push(entry.steps[0].clone());
    entry.steps[1].component = "ESP".into();
    entry.open_offer(&[(0, "1")], &Deadlines::default(), 1);
    entry.steps[0].state = state;
    if state != ComponentState::PlanNotReceived {
        entry.state = DeviceState::InUpgrade;
    }
    entry
}

fn report(entry: &mut PlanDevice, state: State, version: Option<&str>) {
    let report = Report {
        offer: entry.offer,
        state,
        reason: None,
    };
    let retries = Retries::times(5);
    let done = entry.report(0, &report, version, &retries, &Deadlines::default(), 9);
    done.expect("taken");
}

#[test]
fn each_point_has_its_answer_to_a_soft_and_to_a_hard_cancel() {
    use CancelOutcome::{Asked, Cancelled, Ending};
    use ComponentState as S;
    let late = Err(CenterError::CancelTooLate);
    for (state, soft, hard) in [
        (S::PlanNotReceived, Cancelled, Ok(Asked)),
        (S::PlanReceived, Ending, Ok(Asked)),
        (S::Confirmed, Ending, Ok(Asked)),
        (S::ReadyToDownload, Ending, Ok(Asked)),
        (S::Downloading, Ending, Ok(Asked)),
        (S::DownloadFailed, Ending, Ok(Asked)),
        (S::DownloadSucceeded, Ending, Ok(Asked)),
        (S::Upgrading, Ending, late),
    ] {
        assert_eq!(at(state).cancel_softly(2), Ok(soft), "{state:?}");
        let done = at(state).cancel(2).map_err(|p| p.error);
        assert_eq!(done, hard, "{state:?}");
    }
    let mut over = at(S::Upgrading);
    over.state = DeviceState::Upgraded;
    let done = over.cancel_softly(2).map_err(|p| p.error);
    assert_eq!(done, Err(CenterError::CancelNotRunning));
}

#[test]
fn after_a_soft_cancel_what_runs_ends_and_nothing_follows() {
    // it succeeds: the component stays upgraded, the next one is not offered
    let mut entry = at(ComponentState::Upgrading);
    entry.cancel_softly(2).expect("ending");
    assert!(entry.outstanding().is_empty(), "the device is not asked");
    report(&mut entry, State::Success, Some("2"));
    assert_eq!(entry.steps[0].state, ComponentState::UpgradeSucceeded);
    assert_eq!(entry.state, DeviceState::UpgradeFailed);
    let number = CenterError::CancelledByOperator.number();
    assert_eq!(entry.steps[1].failure, Some(number));
    // it fails: no retry, although five are left
    let mut entry = at(ComponentState::Downloading);
    entry.cancel_softly(2).expect("ending");
    report(&mut entry, State::Failure, None);
    assert_eq!(entry.state, DeviceState::UpgradeFailed);
    // the last component: it is upgraded
    let mut entry = at(ComponentState::Upgrading);
    entry.steps[1].state = ComponentState::UpgradeSucceeded;
    entry.cancel_softly(2).expect("ending");
    report(&mut entry, State::Success, Some("2"));
    assert_eq!(entry.state, DeviceState::Upgraded);
    // a person may think again
    let mut entry = at(ComponentState::Downloading);
    entry.cancel_softly(2).expect("ending");
    report(&mut entry, State::Failure, None);
    entry.retry().expect("failed");
    assert!(!entry.last_set && entry.state == DeviceState::NotUpgraded);
}
