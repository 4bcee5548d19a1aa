//! Writes and Executes: most are requests to the engine.

use heapless::String;
use sota_coap::Code;
use sota_lwm2m::client::dispatch::Effect;
use sota_lwm2m::objects::plan::{URI_LEN, resource as plan};
use sota_lwm2m::{Path, Records};

use super::{ADVANCED_FIRMWARE, DEVICE, Device, FIRMWARE, SERVER, SOFTWARE};
use crate::cloud::ask::{Ask, decode_plan};
use crate::cloud::uri::Uri;
use crate::message::{DownloadInfo, Offer, State};

impl Device {
    /// A Write, whose records were looked at.
    pub(super) fn write_records(
        &mut self,
        path: Path,
        records: Records<'_>,
    ) -> Result<Effect, Code> {
        match path.object_id() {
            Some(SERVER) => self.write_server(records),
            Some(FIRMWARE | ADVANCED_FIRMWARE) => self.write_uri(path, 1, records),
            Some(SOFTWARE) => self.write_uri(path, 3, records),
            Some(id) if id == self.plan_object => {
                let instance = u8::try_from(path.instance_id().unwrap_or(u16::MAX))
                    .map_err(|_| Code::NOT_FOUND)?;
                self.write_plan(instance, records)
            }
            _ => Err(Code::METHOD_NOT_ALLOWED),
        }
    }

    /// An offer or download information.
    #[inline(never)] // what is read stands on the stack once, and goes straight to its place
    fn write_plan(&mut self, instance: u8, records: Records<'_>) -> Result<Effect, Code> {
        let (mut offer, mut info) = (Offer::default(), DownloadInfo::default());
        let component = self.component(instance);
        let is_offer = decode_plan(component, instance, records, &mut offer, &mut info)?;
        self.may_ask()?;
        self.ask = Some(match is_offer {
            true => Ask::Offer(offer),
            false => Ask::Info(instance, info),
        });
        Ok(Effect::Deferred)
    }

    /// An Execute; no resource here takes arguments.
    pub(super) fn execute_resource(&mut self, path: Path) -> Result<Effect, Code> {
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

    /// One request at a time waits for the engine.
    fn may_ask(&self) -> Result<(), Code> {
        match self.waiting || self.ask.is_some() {
            true => Err(Code::SERVICE_UNAVAILABLE),
            false => Ok(()),
        }
    }

    #[inline(never)]
    fn ask(&mut self, ask: Ask) -> Result<Effect, Code> {
        self.may_ask()?;
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
            let number = value.as_u32().ok_or(Code::BAD_REQUEST)?;
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
}
