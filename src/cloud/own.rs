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
        let mut encoder = Encoder::begin(ContentFormat::SenmlCbor, Path::ROOT, out)?;
        match report {
            Report::Versions { request } => {
                if let Some(sha256) = request {
                    let path = Path::resource(object, 0, resource::REQUEST);
                    encoder.value(path, Value::Integer(sha256.into()))?;
                }
                for instance in 0..self.device.components() as u8 {
                    self.component(&mut encoder, instance)?;
                }
                // What the Center needs beside the versions to see whether a plan's strategy holds.
                let readings = self.device.readings;
                if let Some(percent) = readings.battery_percent {
                    encoder.value(Path::resource(3, 0, 9), Value::Integer(percent.into()))?;
                }
                if let Some(rsrp) = readings.rsrp_dbm {
                    encoder.value(Path::resource(4, 0, 2), Value::Integer(rsrp.into()))?;
                }
            }
            Report::State {
                instance,
                state,
                reason,
                plan,
            } => {
                let name = self.device.plan_name(plan);
                let mut put = |id: u16, value: Value<'_>| {
                    encoder.value(Path::resource(object, instance.into(), id), value)
                };
                if !name.is_empty() {
                    put(resource::PLAN, Value::String(name))?;
                }
                put(resource::STATE, Value::Integer(state.number().into()))?;
                match state {
                    State::Confirmed => put(resource::HOST_ANSWER, Value::Integer(1))?,
                    State::Refused => put(resource::HOST_ANSWER, Value::Integer(0))?,
                    _ => {}
                }
                if let Some(reason) = reason {
                    put(
                        resource::FAILURE_NUMBER,
                        Value::Integer(reason.number().into()),
                    )?;
                    put(resource::FAILURE_TEXT, Value::String(reason.name()))?;
                }
                // The offers of a set have one name: the component tells them apart.
                self.component(&mut encoder, instance)?;
            }
        }
        encoder.finish()
    }

    /// The identifier of a component and the version that it runs.
    #[inline(never)]
    fn component(&self, encoder: &mut Encoder<'_>, instance: u8) -> Result<(), Error> {
        for (id, text) in [
            (resource::COMPONENT, self.device.name(instance)),
            (resource::CURRENT_VERSION, self.device.version(instance)),
        ] {
            let path = Path::resource(self.device.plan_object(), instance.into(), id);
            encoder.value(path, Value::String(text))?;
        }
        Ok(())
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
