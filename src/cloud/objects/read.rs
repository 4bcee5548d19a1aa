//! Reads: what each resource shows.

use sota_lwm2m::objects::plan::resource as plan;
use sota_lwm2m::{Encoder, Error, Path, Value};

use super::{ADVANCED_FIRMWARE, CONNECTIVITY, DEVICE, Device, FIRMWARE, SERVER, SOFTWARE};

impl Device {
    /// Writes one resource; `false`: it has no value now.
    pub(super) fn read_resource(&self, path: Path, out: &mut Encoder<'_>) -> Result<bool, Error> {
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
                Some(reason) => Value::String(reason.name()),
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
}

/// A multiple resource with one instance.
fn multiple(out: &mut Encoder<'_>, path: Path, value: i64) -> Result<bool, Error> {
    let Some(first) = path.child(0) else {
        return Ok(false);
    };
    out.value(first, Value::Integer(value)).map(|()| true)
}
