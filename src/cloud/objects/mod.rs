//! The device's objects as views of the engine: no state of an upgrade is kept here.
//!
//! | QuecThing state | /5/0/3, /33629/i/3 | /9/m/7 |
//! |---|---|---|
//! | 0..=3 no plan, offered, confirmed, refused | 0 Idle | 0 Initial |
//! | 4, 5, 6, 8 not verified | 1 Downloading | 1 Download started, 2 Downloaded when every byte is there |
//! | 8 verified | 2 Downloaded | 3 Delivered |
//! | 9 | 3 Updating | 3 Delivered |
//! | 11, and afterwards until the next upgrade | 0 Idle, result 1 | 4 Installed, result 2 |
//! | 12, and afterwards until the next upgrade | 0 Idle, result 2.. | 0 Initial, result 50.. |

mod read;
mod resources;
mod write;

use heapless::String;
use sota_coap::Code;
use sota_lwm2m::client::dispatch::{Effect, Objects, Resource};
use sota_lwm2m::objects::plan::PLAN_LEN;
use sota_lwm2m::{Encoder, Error, Path, Records};

use super::ask::Ask;
use super::config::Config;
use crate::message::{ComponentView, Reason, State, View};
use crate::platform::Readings;
use crate::text::put;

const SERVER: u16 = 1;
const DEVICE: u16 = 3;
const CONNECTIVITY: u16 = 4;
const FIRMWARE: u16 = 5;
const SOFTWARE: u16 = 9;
const ADVANCED_FIRMWARE: u16 = 33629;

/// What an Execute or Write asks of the port or of the client itself.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wishes {
    /// /3/0/4.
    pub(super) reboot: bool,
    /// /1/0/8.
    pub(super) update: bool,
    /// /1/0/1..=3 were written.
    pub(super) settings: bool,
}

/// The objects' data.
// The small and often used first, for shorter code; see `Cloud`.
#[derive(Clone, Debug)]
#[repr(C)]
pub(super) struct Device {
    pub(super) wishes: Wishes,
    /// The engine has not answered the request before.
    pub(super) waiting: bool,
    advanced: bool,
    bearer: u8,
    queue_mode: bool,
    /// Counts the names `view.plan` had: a report says the name that stood there when it was made.
    plan_count: u8,
    plan_object: u16,
    pub(super) lifetime_s: u32,
    pub(super) min_period_s: u32,
    pub(super) max_period_s: u32,
    pub(super) readings: Readings,
    /// Radio cell; 0: not known.
    pub(super) cell: u32,
    pub(super) view: View,
    /// The name before the present one.
    plan_before: String<PLAN_LEN>,
    /// What goes to the engine; a second request meanwhile is answered 5.03.
    pub(super) ask: Option<Ask>,
}

impl Device {
    pub(super) fn new(config: &Config) -> Self {
        Device {
            view: View::default(),
            plan_count: 0,
            plan_before: String::new(),
            readings: Readings::default(),
            cell: 0,
            lifetime_s: config.lifetime_s,
            min_period_s: 0,
            max_period_s: 0,
            wishes: Wishes::default(),
            ask: None,
            waiting: false,
            plan_object: config.plan_object,
            advanced: config.advanced_firmware_update,
            bearer: config.bearer,
            queue_mode: config.queue_mode,
        }
    }

    /// The engine's new snapshot.
    #[inline(never)]
    pub(super) fn set_view(&mut self, view: &mut View) {
        if view.plan != self.view.plan {
            self.plan_count = self.plan_count.wrapping_add(1);
            let _ = put(&mut self.plan_before, &self.view.plan);
        }
        core::mem::swap(&mut self.view, view);
    }

    /// Which plan a report made now belongs to: offers of one set have one name.
    pub(super) fn plan_count(&self) -> u8 {
        self.plan_count
    }

    /// The name of a plan told by [`plan_count`](Self::plan_count); empty if it is too long ago.
    pub(super) fn plan_name(&self, plan: u8) -> &str {
        match self.plan_count.wrapping_sub(plan) {
            0 => &self.view.plan,
            1 => &self.plan_before,
            _ => "",
        }
    }

    pub(super) fn plan_object(&self) -> u16 {
        self.plan_object
    }

    /// The module itself is always there, also before the engine has said so.
    pub(super) fn components(&self) -> usize {
        self.view.components.len().max(1)
    }

    pub(super) fn component(&self, instance: u8) -> Option<&ComponentView> {
        self.view.components.get(usize::from(instance))
    }

    /// Its identifier, empty before the engine has said it.
    #[inline(never)]
    pub(super) fn name(&self, instance: u8) -> &str {
        self.component(instance).map_or("", |c| &c.name)
    }

    /// Its version.
    #[inline(never)]
    pub(super) fn version(&self, instance: u8) -> &str {
        self.component(instance).map_or("", |c| &c.version)
    }

    #[inline(never)]
    fn is_shown(&self, instance: u8) -> bool {
        self.view.active == Some(instance)
    }

    fn is_active(&self, instance: u8) -> bool {
        self.is_shown(instance) && self.view.state != State::None
    }

    /// (state, verified, complete) of an instance's upgrade that is under way.
    fn running(&self, instance: u8) -> Option<State> {
        self.is_active(instance)
            .then_some(self.view.state)
            .filter(|state| !matches!(state, State::Success | State::Failure | State::Refused))
    }

    fn last(&self, instance: u8) -> Option<Result<(), Reason>> {
        if self.is_active(instance) {
            return match self.view.state {
                State::Success => Some(Ok(())),
                State::Failure | State::Refused => {
                    Some(Err(self.view.reason.unwrap_or(Reason::RefusedByHost)))
                }
                _ => None,
            };
        }
        self.component(instance)
            .and_then(|component| component.last)
    }

    /// /5/0/3 and /5/0/5.
    fn firmware_state(&self, instance: u8) -> (u8, u8) {
        let Some(state) = self.running(instance) else {
            return match self.last(instance) {
                None => (0, 0),
                Some(Ok(())) => (0, 1),
                Some(Err(reason)) => (0, results(reason).0),
            };
        };
        let shown = match state {
            State::Downloaded if self.view.verified => 2,
            State::DownloadStarts
            | State::Downloading
            | State::DownloadError
            | State::Downloaded => 1,
            State::Updating => 3,
            _ => 0,
        };
        (shown, 0)
    }

    /// /9/m/7 and /9/m/9.
    fn software_state(&self, instance: u8) -> (u8, u8) {
        let Some(state) = self.running(instance) else {
            return match self.last(instance) {
                None => (0, 0),
                Some(Ok(())) => (4, 2),
                Some(Err(reason)) => (0, results(reason).1),
            };
        };
        let view = &self.view;
        match state {
            State::Updating => (3, 3),
            State::Downloaded if view.verified => (3, 3),
            State::DownloadStarts
            | State::Downloading
            | State::DownloadError
            | State::Downloaded => match view.length != 0 && view.progress >= view.length {
                true => (2, 1),
                false => (1, 1),
            },
            _ => (0, 0),
        }
    }

    /// Which component an instance of /5, /9 or /33629 stands for.
    #[inline(never)]
    fn component_of(object: u16, instance: u16) -> u8 {
        let instance = u8::try_from(instance).unwrap_or(u8::MAX);
        match object {
            SOFTWARE => instance.saturating_add(1),
            _ => instance,
        }
    }

    fn failure(&self, instance: u8) -> Option<Reason> {
        match self.is_shown(instance) {
            true => self.view.reason,
            false => self.last(instance).and_then(Result::err),
        }
    }
}

/// The results of /5 and of /9 that tell a reason: the second table of docs/lwm2m.md, which a test compares.
#[inline(never)]
pub(super) fn results(reason: Reason) -> (u8, u8) {
    match reason {
        Reason::NotEnoughSpace | Reason::StagingTooSmall | Reason::PackageTooLarge => (2, 50),
        Reason::NetworkDown
        | Reason::DownloadDidNotStart
        | Reason::ConfirmedButNoDownload
        | Reason::TooManyDownloadErrors => (4, 52),
        Reason::DigestMismatch
        | Reason::LengthMismatch
        | Reason::PackageChanged
        | Reason::NoDigest => (5, 53),
        Reason::BadPackageUri | Reason::PackageNotFound | Reason::PackageRefused => (7, 56),
        Reason::UnsupportedProtocol => (9, 56),
        Reason::Cancelled | Reason::PlanExpired | Reason::RefusedByHost => (10, 57),
        Reason::McuImageUnfit => (6, 54),
        Reason::McuUpdateTimeout
        | Reason::McuStillRunsSource
        | Reason::McuRunsOtherVersion
        | Reason::McuFlashFailed
        | Reason::McuLoaderFailed
        | Reason::McuReverted
        | Reason::ModuleUpdateFailed => (8, 58),
        _ => (8, 57),
    }
}

/// The code that tells the server the engine's verdict.
pub(super) fn verdict_code(result: Result<(), Reason>) -> Code {
    match result {
        Ok(()) => Code::CHANGED,
        Err(Reason::UnknownComponent) => Code::NOT_FOUND,
        // Not now: to an offer it means busy, which the server does not count as a failure.
        Err(Reason::UpgradeBusy | Reason::AtNotAllowedNow) => Code::METHOD_NOT_ALLOWED,
        Err(_) => Code::BAD_REQUEST,
    }
}

impl Objects for Device {
    fn instance(&self, index: usize) -> Option<Path> {
        const SINGLE: [u16; 4] = [SERVER, DEVICE, CONNECTIVITY, FIRMWARE];
        if let Some(object) = SINGLE.get(index) {
            return Some(Path::instance(*object, 0));
        }
        let index = u16::try_from(index).ok()?.checked_sub(4)?;
        let components = self.components() as u16;
        let (object, count) = match self.advanced {
            true => (ADVANCED_FIRMWARE, components),
            false => (SOFTWARE, components - 1),
        };
        match index.checked_sub(count) {
            None => Some(Path::instance(object, index)),
            Some(rest) if rest < components => Some(Path::instance(self.plan_object, rest)),
            Some(_) => None,
        }
    }

    fn resources(&self, object: u16) -> &'static [Resource] {
        match object {
            SERVER => resources::SERVER,
            DEVICE => resources::DEVICE,
            CONNECTIVITY => resources::CONNECTIVITY,
            FIRMWARE => resources::FIRMWARE,
            SOFTWARE if !self.advanced => resources::SOFTWARE,
            ADVANCED_FIRMWARE if self.advanced => &resources::ADVANCED_FIRMWARE,
            id if id == self.plan_object => resources::PLAN,
            _ => &[],
        }
    }

    fn read(&self, path: Path, out: &mut Encoder<'_>) -> Result<bool, Error> {
        self.read_resource(path, out)
    }

    fn write(&mut self, path: Path, records: Records<'_>) -> Result<Effect, Code> {
        self.write_records(path, records)
    }

    fn execute(&mut self, path: Path, _arguments: &[u8]) -> Result<Effect, Code> {
        self.execute_resource(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_passes_is_4_05() {
        let code = |reason| verdict_code(Err(reason));
        for not_now in [Reason::UpgradeBusy, Reason::AtNotAllowedNow] {
            assert_eq!(code(not_now), Code::METHOD_NOT_ALLOWED, "{not_now:?}");
        }
        for refused in [
            Reason::BadOffer,
            Reason::PackageTooLarge,
            Reason::NotEnoughSpace,
            Reason::FlashWriteFailed,
        ] {
            assert_eq!(code(refused), Code::BAD_REQUEST, "{refused:?}");
        }
        assert_eq!(code(Reason::UnknownComponent), Code::NOT_FOUND);
    }
}
