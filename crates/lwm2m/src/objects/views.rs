//! What /5, /33629 and /9 show of an upgrade: views of the engine's state, without state of their own. The tables are
//! those of `docs/lwm2m.md`, "States".

use sota_errors::Reason;

use super::{firmware_update as fw, plan, software_management as sw};

/// The upgrade of one component, as the engine tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Upgrade {
    /// State of the upgrade under way; [`plan::State::None`] when there is none of this component.
    pub state: plan::State,
    /// Every byte of the package is there.
    pub complete: bool,
    /// … and every digest matched.
    pub verified: bool,
    /// Result of the component's last upgrade.
    pub last: Option<Result<(), Reason>>,
}

/// State and Update Result of /5 and /33629.
pub fn firmware(upgrade: Upgrade) -> (fw::State, fw::UpdateResult) {
    use plan::State::*;
    let result = match (upgrade.state, upgrade.last) {
        (None, Option::None) => fw::UpdateResult::Initial,
        (None, Some(Ok(()))) | (Success, _) => fw::UpdateResult::Success,
        (None | Failure, Some(Err(reason))) => fw::UpdateResult::of(reason),
        (Failure, _) => fw::UpdateResult::UpdateFailed,
        (Refused, _) => fw::UpdateResult::Cancelled,
        _ => fw::UpdateResult::Initial,
    };
    let state = match upgrade.state {
        DownloadStarts | Downloading | DownloadError => fw::State::Downloading,
        Downloaded if upgrade.verified => fw::State::Downloaded,
        Downloaded => fw::State::Downloading,
        Updating => fw::State::Updating,
        _ => fw::State::Idle,
    };
    (state, result)
}

/// Update State and Update Result of /9.
pub fn software(upgrade: Upgrade) -> (sw::UpdateState, sw::UpdateResult) {
    use plan::State::*;
    use sw::{UpdateResult as Result9, UpdateState as State9};
    match (upgrade.state, upgrade.last) {
        (None, Some(Ok(()))) | (Success, _) => (State9::Installed, Result9::Installed),
        (None | Failure, Some(Err(reason))) => (State9::Initial, Result9::of(reason)),
        (Failure, _) => (State9::Initial, Result9::InstallFailed),
        (Refused, _) => (State9::Initial, Result9::DeviceError),
        (None | PlanReceived | Confirmed, _) => (State9::Initial, Result9::Initial),
        (DownloadStarts | Downloading | DownloadError, _) => {
            (State9::DownloadStarted, Result9::Downloading)
        }
        (Downloaded, _) if upgrade.verified => (State9::Delivered, Result9::Verified),
        (Downloaded, _) if upgrade.complete => (State9::Downloaded, Result9::Downloading),
        (Downloaded, _) => (State9::DownloadStarted, Result9::Downloading),
        (Updating, _) => (State9::Delivered, Result9::Verified),
    }
}

/// What the two objects can tell apart of the catalogue's reasons.
enum Class {
    Space,
    Connection,
    Integrity,
    Uri,
    Protocol,
    Cancelled,
    Install,
    Other,
}

fn class(reason: Reason) -> Class {
    match reason {
        Reason::NotEnoughSpace | Reason::PackageTooLarge | Reason::StagingTooSmall => Class::Space,
        Reason::NetworkDown
        | Reason::DownloadDidNotStart
        | Reason::ConfirmedButNoDownload
        | Reason::TooManyDownloadErrors => Class::Connection,
        Reason::DigestMismatch
        | Reason::LengthMismatch
        | Reason::PackageChanged
        | Reason::NoDigest => Class::Integrity,
        Reason::BadPackageUri | Reason::PackageNotFound | Reason::PackageRefused => Class::Uri,
        Reason::UnsupportedProtocol => Class::Protocol,
        Reason::Cancelled | Reason::RefusedByHost | Reason::PlanExpired => Class::Cancelled,
        Reason::McuUpdateTimeout
        | Reason::McuStillRunsSource
        | Reason::McuRunsOtherVersion
        | Reason::ModuleUpdateFailed => Class::Install,
        _ => Class::Other,
    }
}

impl fw::UpdateResult {
    /// The result that a failure shows as.
    pub fn of(reason: Reason) -> fw::UpdateResult {
        match class(reason) {
            Class::Space => fw::UpdateResult::NotEnoughFlash,
            Class::Connection => fw::UpdateResult::ConnectionLost,
            Class::Integrity => fw::UpdateResult::IntegrityFailed,
            Class::Uri => fw::UpdateResult::InvalidUri,
            Class::Protocol => fw::UpdateResult::UnsupportedProtocol,
            Class::Cancelled => fw::UpdateResult::Cancelled,
            Class::Install | Class::Other => fw::UpdateResult::UpdateFailed,
        }
    }
}

impl sw::UpdateResult {
    /// The result that a failure shows as.
    pub fn of(reason: Reason) -> sw::UpdateResult {
        match class(reason) {
            Class::Space => sw::UpdateResult::NotEnoughStorage,
            Class::Connection => sw::UpdateResult::ConnectionLost,
            Class::Integrity => sw::UpdateResult::IntegrityFailed,
            Class::Uri | Class::Protocol => sw::UpdateResult::InvalidUri,
            Class::Install => sw::UpdateResult::InstallFailed,
            Class::Cancelled | Class::Other => sw::UpdateResult::DeviceError,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of `docs/lwm2m.md`: QuecThing state, complete, verified, last -> /5 3, 5 and /9 7, 9.
    #[test]
    #[rustfmt::skip]
    fn the_table() {
        let bad = Some(Err(Reason::DigestMismatch));
        for (state, complete, verified, last, fw, sw) in [
            (0, false, false, None, (0, 0), (0, 0)),
            (0, false, false, Some(Ok(())), (0, 1), (4, 2)),
            (0, false, false, bad, (0, 5), (0, 53)),
            (1, false, false, None, (0, 0), (0, 0)),
            (1, false, false, Some(Ok(())), (0, 0), (0, 0)),
            (2, false, false, bad, (0, 0), (0, 0)),
            (3, false, false, None, (0, 10), (0, 57)),
            (4, false, false, None, (1, 0), (1, 1)),
            (5, false, false, bad, (1, 0), (1, 1)),
            (6, false, false, None, (1, 0), (1, 1)),
            (8, false, false, None, (1, 0), (1, 1)),
            (8, true, false, None, (1, 0), (2, 1)),
            (8, true, true, None, (2, 0), (3, 3)),
            (9, true, true, None, (3, 0), (3, 3)),
            (11, true, true, None, (0, 1), (4, 2)),
            (12, true, false, bad, (0, 5), (0, 53)),
            (12, true, false, None, (0, 8), (0, 58)),
        ] {
            let state = plan::State::from_number(state).unwrap();
            let upgrade = Upgrade { state, complete, verified, last };
            let (a, b) = firmware(upgrade);
            assert_eq!((a.number(), b.number()), fw, "{upgrade:?}");
            let (a, b) = software(upgrade);
            assert_eq!((a.number(), b.number()), sw, "{upgrade:?}");
        }
    }

    #[test]
    fn no_failure_shows_as_none() {
        for reason in Reason::ALL {
            assert!(fw::UpdateResult::of(*reason).number() >= 2);
            assert!(sw::UpdateResult::of(*reason).number() >= 50);
        }
    }
}
