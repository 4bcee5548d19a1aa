//! Reads: what each resource shows.

use sota_lwm2m::objects::plan::resource as plan;
use sota_lwm2m::{Encoder, Error, Path, Value};

use super::{ADVANCED_FIRMWARE, CONNECTIVITY, DEVICE, Device, FIRMWARE, SERVER, SOFTWARE};

/// What a resource shows. Of 32 bits, and one [`Value`] is made of it: a value of 64 made for each takes code.
enum Shown<'a> {
    /// It has no value now.
    Nothing,
    Number(u32),
    /// The only instance of a multiple resource.
    Multiple(u8),
    Dbm(i16),
    Flag(bool),
    Text(&'a str),
}

impl Device {
    /// Writes one resource; `false`: it has no value now.
    pub(super) fn read_resource(&self, path: Path, out: &mut Encoder<'_>) -> Result<bool, Error> {
        let mut path = path;
        let value = match self.shown(path) {
            Shown::Nothing => return Ok(false),
            Shown::Number(number) => Value::Integer(number.into()),
            Shown::Multiple(number) => {
                let Some(first) = path.child(0) else {
                    return Ok(false);
                };
                path = first;
                Value::Integer(number.into())
            }
            Shown::Dbm(dbm) => Value::Integer(dbm.into()),
            Shown::Flag(flag) => Value::Bool(flag),
            Shown::Text(text) => Value::String(text),
        };
        out.value(path, value).map(|()| true)
    }

    #[inline(never)]
    fn shown(&self, path: Path) -> Shown<'_> {
        let object = path.object_id().unwrap_or(u16::MAX);
        let instance = Self::component_of(object, path.instance_id().unwrap_or(u16::MAX));
        let resource = path.resource_id().unwrap_or(u16::MAX);
        match (object, resource) {
            (SERVER, 0) => Shown::Number(1),
            (SERVER, 1) => Shown::Number(self.lifetime_s),
            (SERVER, 2) => Shown::Number(self.min_period_s),
            (SERVER, 3) => Shown::Number(self.max_period_s),
            (SERVER, 6) => Shown::Flag(true),
            (SERVER, 7) => Shown::Text("U"),
            (DEVICE, 3 | 19) => Shown::Text(self.version(0)),
            (DEVICE, 9) => match self.readings.battery_percent {
                Some(percent) => Shown::Number(percent.into()),
                None => Shown::Nothing,
            },
            (DEVICE, 11) => Shown::Multiple(0),
            (DEVICE, 16) => Shown::Text(match self.queue_mode {
                true => "UQ",
                false => "U",
            }),
            (CONNECTIVITY, 0) => Shown::Number(self.bearer.into()),
            (CONNECTIVITY, 1) => Shown::Multiple(self.bearer),
            (CONNECTIVITY, 2) => match self.readings.rsrp_dbm {
                Some(rsrp) => Shown::Dbm(rsrp),
                None => Shown::Nothing,
            },
            (CONNECTIVITY, 8) => match self.cell {
                0 => Shown::Nothing,
                cell => Shown::Number(cell),
            },
            (FIRMWARE | ADVANCED_FIRMWARE, _) => self.shown_of_firmware(resource, instance),
            (SOFTWARE, _) => self.shown_of_software(resource, instance),
            (id, _) if id == self.plan_object => self.shown_of_plan(resource, instance),
            _ => Shown::Nothing,
        }
    }

    fn shown_of_firmware(&self, resource: u16, instance: u8) -> Shown<'_> {
        let (state, result) = self.firmware_state(instance);
        match resource {
            // The URI lives in the engine's journal only; an observer of the object need not have it.
            1 => Shown::Text(""),
            3 => Shown::Number(state.into()),
            5 => Shown::Number(result.into()),
            7 | 15 => Shown::Text(self.version(instance)),
            8 => Shown::Multiple(0),
            9 => Shown::Number(0),
            14 => Shown::Text(self.name(instance)),
            _ => Shown::Nothing,
        }
    }

    fn shown_of_software(&self, resource: u16, instance: u8) -> Shown<'_> {
        let (state, result) = self.software_state(instance);
        match resource {
            0 => Shown::Text(self.name(instance)),
            1 => Shown::Text(self.version(instance)),
            7 => Shown::Number(state.into()),
            9 => Shown::Number(result.into()),
            // An MCU runs what it was given; it cannot be switched off from here.
            12 => Shown::Flag(true),
            _ => Shown::Nothing,
        }
    }

    fn shown_of_plan(&self, resource: u16, instance: u8) -> Shown<'_> {
        let view = &self.view;
        let active = self.is_shown(instance);
        match resource {
            plan::COMPONENT => Shown::Text(self.name(instance)),
            plan::COMPONENT_TYPE => Shown::Number(u32::from(instance != 0)),
            plan::CURRENT_VERSION => Shown::Text(self.version(instance)),
            plan::STATE => Shown::Number(match active {
                true => view.state.number().into(),
                false => 0,
            }),
            plan::FAILURE_NUMBER => Shown::Number(match self.failure(instance) {
                Some(reason) => reason.number().into(),
                None => 0,
            }),
            plan::FAILURE_TEXT => match self.failure(instance) {
                Some(reason) => Shown::Text(reason.name()),
                None => Shown::Nothing,
            },
            _ if !active => Shown::Nothing,
            plan::PLAN => Shown::Text(&view.plan),
            plan::TARGET_VERSION => Shown::Text(&view.target),
            plan::PACKAGE_LENGTH => Shown::Number(view.length),
            plan::PROGRESS => Shown::Number(view.progress),
            plan::HOST_ANSWER => match view.answer {
                Some(answer) => Shown::Number(answer.into()),
                None => Shown::Nothing,
            },
            _ => Shown::Nothing,
        }
    }
}
