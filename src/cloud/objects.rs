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

use heapless::String;
use sota_coap::Code;
use sota_lwm2m::client::dispatch::{E, Effect, Objects, Operations, R, W};
use sota_lwm2m::objects::plan::{PLAN_LEN, URI_LEN, resource as plan};
use sota_lwm2m::{Encoder, Error, Path, Records, Value};

use super::ask::{Ask, decode_plan};
use super::config::Config;
use super::uri::Uri;
use crate::message::{ComponentView, Reason, State, View};
use crate::platform::Readings;

const SERVER: u16 = 1;
const DEVICE: u16 = 3;
const CONNECTIVITY: u16 = 4;
const FIRMWARE: u16 = 5;
const SOFTWARE: u16 = 9;
const ADVANCED_FIRMWARE: u16 = 33629;

const SERVER_RESOURCES: &[(u16, Operations)] = &[
    (0, R),
    (1, R | W),
    (2, R | W),
    (3, R | W),
    (6, R),
    (7, R),
    (8, E),
];
const DEVICE_RESOURCES: &[(u16, Operations)] = &[(3, R), (4, E), (9, R), (11, R), (16, R), (19, R)];
const CONNECTIVITY_RESOURCES: &[(u16, Operations)] = &[(0, R), (1, R), (2, R)];
const FIRMWARE_RESOURCES: &[(u16, Operations)] = &[
    (0, W),
    (1, R | W),
    (2, E),
    (3, R),
    (5, R),
    (7, R),
    (8, R),
    (9, R),
    (10, E),
];
const SOFTWARE_RESOURCES: &[(u16, Operations)] = &[
    (0, R),
    (1, R),
    (2, W),
    (3, W),
    (4, E),
    (6, E),
    (7, R),
    (9, R),
    (10, E),
    (11, E),
    (12, R),
];
const ADVANCED_FIRMWARE_RESOURCES: &[(u16, Operations)] = &[
    (0, W),
    (1, R | W),
    (2, E),
    (3, R),
    (5, R),
    (7, R),
    (8, R),
    (9, R),
    (10, E),
    (14, R),
    (15, R),
];
const PLAN_RESOURCES: &[(u16, Operations)] = &[
    (plan::PLAN, R | W),
    (plan::COMPONENT, R | W),
    (plan::COMPONENT_TYPE, R | W),
    (plan::SOURCE_VERSION, W),
    (plan::TARGET_VERSION, R | W),
    (plan::BATTERY_LIMIT, W),
    (plan::MINIMUM_SIGNAL, W),
    (plan::USE_SPACE, W),
    (plan::PACKAGE_LENGTH, R | W),
    (plan::MD5, W),
    (plan::CRC32, W),
    (plan::SHA256, W),
    (plan::PACKAGE_URI, W),
    (plan::STATE, R),
    (plan::HOST_ANSWER, R),
    (plan::FAILURE_NUMBER, R),
    (plan::FAILURE_TEXT, R),
    (plan::CANCEL, E),
    (plan::CURRENT_VERSION, R),
    (plan::PROGRESS, R),
    (plan::COMPONENTS, W),
];

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
#[derive(Clone, Debug)]
pub(super) struct Device {
    pub(super) view: View,
    /// Counts the names `view.plan` had: a report says the name that stood there when it was made.
    plan_count: u8,
    /// The name before the present one.
    plan_before: String<PLAN_LEN>,
    pub(super) readings: Readings,
    pub(super) lifetime_s: u32,
    pub(super) min_period_s: u32,
    pub(super) max_period_s: u32,
    pub(super) wishes: Wishes,
    /// What goes to the engine; a second request meanwhile is answered 5.03.
    pub(super) ask: Option<Ask>,
    /// The engine has not answered the request before.
    pub(super) waiting: bool,
    plan_object: u16,
    advanced: bool,
    bearer: u8,
    queue_mode: bool,
}

impl Device {
    pub(super) fn new(config: &Config) -> Self {
        Device {
            view: View::default(),
            plan_count: 0,
            plan_before: String::new(),
            readings: Readings::default(),
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
    pub(super) fn set_view(&mut self, view: View) {
        let before = core::mem::replace(&mut self.view, view);
        if before.plan != self.view.plan {
            self.plan_count = self.plan_count.wrapping_add(1);
            self.plan_before = before.plan;
        }
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
    fn firmware_state(&self, instance: u8) -> (i64, i64) {
        let Some(state) = self.running(instance) else {
            return match self.last(instance) {
                None => (0, 0),
                Some(Ok(())) => (0, 1),
                Some(Err(reason)) => (0, results(reason).0.into()),
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
    fn software_state(&self, instance: u8) -> (i64, i64) {
        let Some(state) = self.running(instance) else {
            return match self.last(instance) {
                None => (0, 0),
                Some(Ok(())) => (4, 2),
                Some(Err(reason)) => (0, results(reason).1.into()),
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
    fn component_of(object: u16, instance: u16) -> u8 {
        let instance = u8::try_from(instance).unwrap_or(u8::MAX);
        match object {
            SOFTWARE => instance.saturating_add(1),
            _ => instance,
        }
    }

    #[inline(never)]
    fn ask(&mut self, ask: Ask) -> Result<Effect, Code> {
        if self.waiting || self.ask.is_some() {
            return Err(Code::SERVICE_UNAVAILABLE);
        }
        self.ask = Some(ask);
        Ok(Effect::Deferred)
    }

    fn cancel(&mut self, instance: u8) -> Result<Effect, Code> {
        match self.running(instance) {
            None => Ok(Effect::Done),
            Some(State::Updating) => Err(Code::METHOD_NOT_ALLOWED),
            Some(_) => self.ask(Ask::Cancel(instance)),
        }
    }

    /// The foreign door: a URI is an offer.
    fn write_uri(&mut self, path: Path, id: u16, records: Records<'_>) -> Result<Effect, Code> {
        let instance = Self::component_of(
            path.object_id().unwrap_or(0),
            path.instance_id().unwrap_or(0),
        );
        let mut uri = String::<URI_LEN>::new();
        let mut given = false;
        for record in records {
            let (at, value) = record.map_err(|_| Code::BAD_REQUEST)?;
            if at.resource_id() != Some(id) {
                // The package itself by push: this device only pulls (/5/0/9 says so).
                return Err(Code::METHOD_NOT_ALLOWED);
            }
            uri.clear();
            uri.push_str(value.as_str().ok_or(Code::BAD_REQUEST)?)
                .map_err(|_| Code::BAD_REQUEST)?;
            given = true;
        }
        if !given {
            return Err(Code::BAD_REQUEST);
        }
        if uri.is_empty() {
            return self.cancel(instance);
        }
        Uri::parse(&uri).map_err(|_| Code::BAD_REQUEST)?;
        let component = self
            .component(instance)
            .map(|component| component.name.clone())
            .unwrap_or_default();
        self.ask(Ask::Standard {
            instance,
            component,
            uri,
            accepted: false,
        })
    }

    fn write_server(&mut self, records: Records<'_>) -> Result<Effect, Code> {
        let mut new = (self.lifetime_s, self.min_period_s, self.max_period_s);
        for record in records {
            let (at, value) = record.map_err(|_| Code::BAD_REQUEST)?;
            let number = value
                .as_u64()
                .and_then(|number| u32::try_from(number).ok())
                .ok_or(Code::BAD_REQUEST)?;
            match at.resource_id() {
                Some(1) if (1..=864_000).contains(&number) => new.0 = number,
                Some(2) => new.1 = number,
                Some(3) => new.2 = number,
                _ => return Err(Code::BAD_REQUEST),
            }
        }
        (self.lifetime_s, self.min_period_s, self.max_period_s) = new;
        self.wishes.settings = true;
        Ok(Effect::Done)
    }

    fn read_firmware(
        &self,
        path: Path,
        instance: u8,
        out: &mut Encoder<'_>,
    ) -> Result<bool, Error> {
        let (state, result) = self.firmware_state(instance);
        let value = match path.resource_id() {
            // The URI lives in the engine's journal only; an observer of the object need not have it.
            Some(1) => Value::String(""),
            Some(3) => Value::Integer(state),
            Some(5) => Value::Integer(result),
            Some(7 | 15) => Value::String(self.version(instance)),
            Some(8) => return multiple(out, path, 0),
            Some(9) => Value::Integer(0),
            Some(14) => Value::String(self.name(instance)),
            _ => return Ok(false),
        };
        out.value(path, value).map(|()| true)
    }

    fn read_software(
        &self,
        path: Path,
        instance: u8,
        out: &mut Encoder<'_>,
    ) -> Result<bool, Error> {
        let (state, result) = self.software_state(instance);
        let value = match path.resource_id() {
            Some(0) => Value::String(self.name(instance)),
            Some(1) => Value::String(self.version(instance)),
            Some(7) => Value::Integer(state),
            Some(9) => Value::Integer(result),
            // An MCU runs what it was given; it cannot be switched off from here.
            Some(12) => Value::Bool(true),
            _ => return Ok(false),
        };
        out.value(path, value).map(|()| true)
    }

    #[inline(never)]
    fn read_plan(&self, path: Path, instance: u8, out: &mut Encoder<'_>) -> Result<bool, Error> {
        let view = &self.view;
        let active = self.is_shown(instance);
        let value = match path.resource_id() {
            Some(plan::COMPONENT) => Value::String(self.name(instance)),
            Some(plan::COMPONENT_TYPE) => Value::Integer(i64::from(instance != 0)),
            Some(plan::CURRENT_VERSION) => Value::String(self.version(instance)),
            Some(plan::STATE) => Value::Integer(match active {
                true => i64::from(view.state.number()),
                false => 0,
            }),
            Some(plan::FAILURE_NUMBER) => Value::Integer(match self.failure(instance) {
                Some(reason) => i64::from(reason.number()),
                None => 0,
            }),
            Some(plan::FAILURE_TEXT) => match self.failure(instance) {
                Some(reason) => Value::String(words(reason)),
                None => return Ok(false),
            },
            _ if !active => return Ok(false),
            Some(plan::PLAN) => Value::String(&view.plan),
            Some(plan::TARGET_VERSION) => Value::String(&view.target),
            Some(plan::PACKAGE_LENGTH) => Value::Unsigned(view.length.into()),
            Some(plan::PROGRESS) => Value::Unsigned(view.progress.into()),
            Some(plan::HOST_ANSWER) => match view.answer {
                Some(answer) => Value::Integer(answer.into()),
                None => return Ok(false),
            },
            _ => return Ok(false),
        };
        out.value(path, value).map(|()| true)
    }

    fn failure(&self, instance: u8) -> Option<Reason> {
        match self.is_shown(instance) {
            true => self.view.reason,
            false => self.last(instance).and_then(Result::err),
        }
    }
}

/// A reason in words, as long as resource 16 may be.
pub(super) fn words(reason: Reason) -> &'static str {
    let text = reason.meaning();
    text.get(..text.len().min(PLAN_LEN)).unwrap_or("")
}

/// A multiple resource with one instance.
fn multiple(out: &mut Encoder<'_>, path: Path, value: i64) -> Result<bool, Error> {
    let Some(first) = path.child(0) else {
        return Ok(false);
    };
    out.value(first, Value::Integer(value)).map(|()| true)
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
        Reason::McuUpdateTimeout
        | Reason::McuStillRunsSource
        | Reason::McuRunsOtherVersion
        | Reason::ModuleUpdateFailed => (8, 58),
        _ => (8, 57),
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

    fn resources(&self, object: u16) -> &'static [(u16, Operations)] {
        match object {
            SERVER => SERVER_RESOURCES,
            DEVICE => DEVICE_RESOURCES,
            CONNECTIVITY => CONNECTIVITY_RESOURCES,
            FIRMWARE => FIRMWARE_RESOURCES,
            SOFTWARE if !self.advanced => SOFTWARE_RESOURCES,
            ADVANCED_FIRMWARE if self.advanced => ADVANCED_FIRMWARE_RESOURCES,
            id if id == self.plan_object => PLAN_RESOURCES,
            _ => &[],
        }
    }

    fn read(&self, path: Path, out: &mut Encoder<'_>) -> Result<bool, Error> {
        let object = path.object_id().unwrap_or(u16::MAX);
        let instance = Self::component_of(object, path.instance_id().unwrap_or(u16::MAX));
        let binding = match self.queue_mode {
            true => "UQ",
            false => "U",
        };
        let value = match (object, path.resource_id().unwrap_or(u16::MAX)) {
            (SERVER, 0) => Value::Integer(1),
            (SERVER, 1) => Value::Unsigned(self.lifetime_s.into()),
            (SERVER, 2) => Value::Unsigned(self.min_period_s.into()),
            (SERVER, 3) => Value::Unsigned(self.max_period_s.into()),
            (SERVER, 6) => Value::Bool(true),
            (SERVER, 7) => Value::String("U"),
            (DEVICE, 3 | 19) => Value::String(self.version(0)),
            (DEVICE, 9) => match self.readings.battery_percent {
                Some(percent) => Value::Integer(percent.into()),
                None => return Ok(false),
            },
            (DEVICE, 11) => return multiple(out, path, 0),
            (DEVICE, 16) => Value::String(binding),
            (CONNECTIVITY, 0) => Value::Integer(self.bearer.into()),
            (CONNECTIVITY, 1) => return multiple(out, path, self.bearer.into()),
            (CONNECTIVITY, 2) => match self.readings.rsrp_dbm {
                Some(rsrp) => Value::Integer(rsrp.into()),
                None => return Ok(false),
            },
            (FIRMWARE | ADVANCED_FIRMWARE, _) => return self.read_firmware(path, instance, out),
            (SOFTWARE, _) => return self.read_software(path, instance, out),
            (id, _) if id == self.plan_object => return self.read_plan(path, instance, out),
            _ => return Ok(false),
        };
        out.value(path, value).map(|()| true)
    }

    fn write(&mut self, path: Path, records: Records<'_>) -> Result<Effect, Code> {
        match path.object_id() {
            Some(SERVER) => self.write_server(records),
            Some(FIRMWARE | ADVANCED_FIRMWARE) => self.write_uri(path, 1, records),
            Some(SOFTWARE) => self.write_uri(path, 3, records),
            Some(id) if id == self.plan_object => {
                let instance = u8::try_from(path.instance_id().unwrap_or(u16::MAX))
                    .map_err(|_| Code::NOT_FOUND)?;
                let ask = decode_plan(self.component(instance), instance, records)?;
                self.ask(ask)
            }
            _ => Err(Code::METHOD_NOT_ALLOWED),
        }
    }

    fn execute(&mut self, path: Path, _arguments: &[u8]) -> Result<Effect, Code> {
        let object = path.object_id().unwrap_or(u16::MAX);
        let instance = Self::component_of(object, path.instance_id().unwrap_or(u16::MAX));
        match (object, path.resource_id().unwrap_or(u16::MAX)) {
            (SERVER, 8) => self.wishes.update = true,
            (DEVICE, 4) => self.wishes.reboot = true,
            (FIRMWARE | ADVANCED_FIRMWARE, 2) => {
                return match self.firmware_state(instance).0 {
                    2 => self.ask(Ask::Install(instance)),
                    _ => Err(Code::METHOD_NOT_ALLOWED),
                };
            }
            (FIRMWARE | ADVANCED_FIRMWARE, 10) | (SOFTWARE, 6) => return self.cancel(instance),
            (SOFTWARE, 4) => {
                return match (self.software_state(instance).0, self.view.state) {
                    (3, State::Downloaded) => self.ask(Ask::Install(instance)),
                    _ => Err(Code::METHOD_NOT_ALLOWED),
                };
            }
            (SOFTWARE, 10) => {}
            // The view shows one component of a set; the engine knows the others.
            (id, plan::CANCEL) if id == self.plan_object => return self.ask(Ask::Cancel(instance)),
            _ => return Err(Code::METHOD_NOT_ALLOWED),
        }
        Ok(Effect::Done)
    }
}

/// The code that tells the server the engine's verdict.
pub(super) fn verdict_code(result: Result<(), Reason>) -> Code {
    match result {
        Ok(()) => Code::CHANGED,
        Err(Reason::UnknownComponent) => Code::NOT_FOUND,
        Err(
            Reason::BadOffer
            | Reason::NoDigest
            | Reason::BadPackageUri
            | Reason::UnsupportedProtocol
            | Reason::NameTooLong,
        ) => Code::BAD_REQUEST,
        Err(_) => Code::METHOD_NOT_ALLOWED,
    }
}
