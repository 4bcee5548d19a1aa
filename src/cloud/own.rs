//! The messages of our own, written from what they are: no datagram is kept for its retransmission.

use heapless::String;
use sota_coap::{BuildError, Builder, Code, Exchange, Kind, Token, option};
use sota_lwm2m::client::dispatch::{write_content, write_registration};
use sota_lwm2m::client::observe::Observation;
use sota_lwm2m::objects::plan::resource;
use sota_lwm2m::{ContentFormat, Encoder, Error, Path, Value};

use super::config::{Config, ENDPOINT_LEN};
use super::download::Download;
use super::objects::Device;
use super::uri::decode;
use crate::message::{Reason, State};
use crate::text::decimal;

/// What is told by Send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// The versions of all components; with a request for a plan the wish for SHA-256.
    Versions { request: Option<bool> },
    /// A state of an upgrade was reached.
    State {
        instance: u8,
        state: State,
        reason: Option<Reason>,
        /// Which plan, see `Device::plan_count`.
        plan: u8,
    },
}

/// One message of ours to the server that wants an answer or an ACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Register,
    Update { links: bool },
    Deregister,
    Send(Report),
    Notify { token: Token, sequence: u32 },
    Response { token: Token, code: Code },
}

/// A message in flight: one at a time to the server (NSTART 1).
#[derive(Clone, Debug)]
pub(super) struct Own {
    pub(super) what: What,
    pub(super) exchange: Exchange,
    /// It is to be written (again).
    pub(super) send: bool,
}

/// `lt=` and the lifetime.
fn lifetime_query(builder: &mut Builder<'_>, lifetime_s: u32) {
    let mut text = String::<13>::new();
    let _ = text.push_str("lt=");
    let _ = text.push_str(decimal(lifetime_s, &mut [0; 10]));
    builder.query(&text);
}

pub(super) struct Writer<'a> {
    pub(super) config: &'a Config,
    pub(super) device: &'a Device,
    pub(super) location: &'a str,
    pub(super) observation: Option<&'a Observation>,
}

impl Writer<'_> {
    /// Writes the message; the bytes written.
    pub(super) fn write(&self, own: &Own, out: &mut [u8]) -> Result<usize, BuildError> {
        let (mid, token) = (own.exchange.message_id(), own.exchange.token());
        let request = |out, code| Builder::new(out, Kind::Con, code, mid, token);
        match own.what {
            What::Register => {
                let mut ep = String::<{ ENDPOINT_LEN + 3 }>::new();
                let _ = ep.push_str("ep=");
                let _ = ep.push_str(&self.config.endpoint);
                let mut builder = request(out, Code::POST);
                builder
                    .path("/rd")
                    .uint_option(option::CONTENT_FORMAT, ContentFormat::Link.number().into())
                    .query(&ep);
                lifetime_query(&mut builder, self.device.lifetime_s);
                builder.query("lwm2m=1.1").query("b=U");
                if self.config.queue_mode {
                    builder.query("Q");
                }
                self.links(&mut builder)
            }
            What::Update { links } => {
                let mut builder = request(out, Code::POST);
                builder.path(self.location);
                if links {
                    builder
                        .uint_option(option::CONTENT_FORMAT, ContentFormat::Link.number().into());
                }
                if self.device.lifetime_s != self.config.lifetime_s {
                    lifetime_query(&mut builder, self.device.lifetime_s);
                }
                match links {
                    true => self.links(&mut builder),
                    false => builder.finish(),
                }
            }
            What::Deregister => request(out, Code::DELETE).path(self.location).finish(),
            What::Send(report) => {
                let mut builder = request(out, Code::POST);
                builder.path("/dp").uint_option(
                    option::CONTENT_FORMAT,
                    ContentFormat::SenmlCbor.number().into(),
                );
                builder
                    .payload_with(|room| self.report(report, room))
                    .map_err(|_| BuildError::NoSpace)?
                    .finish()
            }
            What::Notify { sequence, .. } => {
                let o = self.observation.ok_or(BuildError::NoSpace)?;
                let mut builder = Builder::new(out, Kind::Con, Code::CONTENT, mid, o.token);
                builder
                    .uint_option(option::OBSERVE, sequence)
                    .uint_option(option::CONTENT_FORMAT, o.format.number().into());
                builder
                    .payload_with(|room| write_content(self.device, o.path, o.format, room))
                    .map_err(|_| BuildError::NoSpace)?
                    .finish()
            }
            What::Response { token, code } => {
                Builder::new(out, Kind::Con, code, mid, token).finish()
            }
        }
    }

    fn links(&self, builder: &mut Builder<'_>) -> Result<usize, BuildError> {
        builder
            .payload_with(|room| write_registration(self.device, room))
            .map_err(|_| BuildError::NoSpace)?
            .finish()
    }

    fn report(&self, report: Report, out: &mut [u8]) -> Result<usize, Error> {
        let object = self.device.plan_object();
        let mut told = Told {
            encoder: Encoder::begin(ContentFormat::SenmlCbor, Path::ROOT, out)?,
            instance: (object, 0),
            done: Ok(()),
        };
        match report {
            Report::Versions { request } => {
                if let Some(sha256) = request {
                    told.number(resource::REQUEST, sha256.into());
                }
                for instance in 0..self.device.components() as u8 {
                    told.instance.1 = instance.into();
                    self.component(&mut told, instance);
                }
                // What the Center needs beside the versions to see whether a plan's strategy holds.
                let readings = self.device.readings;
                if let Some(percent) = readings.battery_percent {
                    told.instance = (3, 0);
                    told.number(9, percent.into());
                }
                if let Some(rsrp) = readings.rsrp_dbm {
                    told.instance = (4, 0);
                    told.number(2, rsrp.into());
                }
                if self.device.cell != 0 {
                    told.instance = (4, 0);
                    told.number(8, self.device.cell.cast_signed());
                }
            }
            Report::State {
                instance,
                state,
                reason,
                plan,
            } => {
                told.instance.1 = instance.into();
                let name = self.device.plan_name(plan);
                if !name.is_empty() {
                    told.text(resource::PLAN, name);
                }
                told.number(resource::STATE, state.number().into());
                if matches!(state, State::Confirmed | State::Refused) {
                    told.number(resource::HOST_ANSWER, (state == State::Confirmed).into());
                }
                if let Some(reason) = reason {
                    told.number(resource::FAILURE_NUMBER, reason.number().into());
                    told.text(resource::FAILURE_TEXT, reason.name());
                }
                // The offers of a set have one name: the component tells them apart.
                self.component(&mut told, instance);
            }
        }
        told.done?;
        told.encoder.finish()
    }

    /// The identifier of a component and the version that it runs.
    #[inline(never)]
    fn component(&self, told: &mut Told<'_>, instance: u8) {
        told.text(resource::COMPONENT, self.device.name(instance));
        told.text(resource::CURRENT_VERSION, self.device.version(instance));
    }
}

/// Values of one instance after the other. An error is kept to the end, as one asked for at each value takes code.
struct Told<'a> {
    encoder: Encoder<'a>,
    /// Object and instance.
    instance: (u16, u16),
    done: Result<(), Error>,
}

impl Told<'_> {
    #[inline(never)]
    fn number(&mut self, id: u16, value: i32) {
        self.value(id, Value::Integer(value.into()));
    }

    #[inline(never)]
    fn text(&mut self, id: u16, value: &str) {
        self.value(id, Value::String(value));
    }

    #[inline(never)]
    fn value(&mut self, id: u16, value: Value<'_>) {
        let (object, instance) = self.instance;
        let path = Path::resource(object, instance, id);
        if self.done.is_ok() {
            self.done = self.encoder.value(path, value);
        }
    }
}

/// Writes the GET of the block that is in flight.
pub(super) fn write_get(
    download: &Download,
    exchange: &Exchange,
    out: &mut [u8],
) -> Result<usize, BuildError> {
    let uri = download.uri().ok_or(BuildError::NoSpace)?;
    let (mid, token) = (exchange.message_id(), exchange.token());
    let mut builder = Builder::new(out, Kind::Con, Code::GET, mid, token);
    let mut part = [0u8; 255];
    // A name is said to the server, which may stand for several; an address literal is not (RFC 7252 6.4).
    if !uri.is_literal() {
        builder.option(option::URI_HOST, uri.host.as_bytes());
    }
    for segment in uri.segments() {
        let bytes = decode(segment, &mut part).ok_or(BuildError::NoSpace)?;
        builder.option(option::URI_PATH, bytes);
    }
    for query in uri.queries() {
        let bytes = decode(query, &mut part).ok_or(BuildError::NoSpace)?;
        builder.option(option::URI_QUERY, bytes);
    }
    download.add_options(&mut builder);
    builder.finish()
}
