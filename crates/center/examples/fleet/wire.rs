//! Messages of a device with the Plan object.

use anyhow::{Context as _, Result};
use sota_coap::{Block, BuildError, Builder, Code, Kind, Message, Szx, Token, option};
use sota_lwm2m::objects::plan::{DEFAULT_OBJECT_ID as PLAN, resource};
use sota_lwm2m::{ContentFormat, Encoder, Path, Records, Value};

/// Greatest datagram, in bytes.
pub(crate) const DATAGRAM: usize = 1500;
/// The MCU's instance of the Plan object; 0 is the module's own firmware.
pub(crate) const MCU: u16 = 1;
/// The MCU's name in the model.
pub(crate) const COMPONENT: &str = "STM32";
/// Product key of every device.
pub(crate) const PRODUCT: &str = "fleet";

/// The states of an upgrade that goes well, in order.
pub(crate) const STATES: [u8; 7] = [1, 2, 4, 5, 8, 9, 11];

/// One thing that a device asks of the Center.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    Register,
    Update,
    Tell(Told),
    Block(u32),
}

/// What a Send tells of the MCU.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    pub(crate) version: Option<&'static str>,
    pub(crate) target: Option<String>,
    pub(crate) battery: Option<u8>,
    pub(crate) request: bool,
    /// Name of the offer, and state.
    pub(crate) state: Option<(String, u8)>,
}

/// Where a device is and what it was given, for its requests.
pub(crate) struct Place<'a> {
    pub(crate) key: &'a str,
    pub(crate) location: &'a str,
    pub(crate) package: &'a str,
    pub(crate) echo: &'a [u8],
}

/// The datagram of a request; its token is made from the message id.
pub(crate) fn request(ask: &Ask, message_id: u16, place: &Place<'_>) -> Result<Vec<u8>> {
    let mut out = [0; DATAGRAM];
    let token = Token::from_u32(message_id.into());
    let code = match ask {
        Ask::Block(_) => Code::GET,
        _ => Code::POST,
    };
    let mut builder = Builder::new(&mut out, Kind::Con, code, message_id, token);
    let built = match ask {
        Ask::Register => {
            let objects = format!(
                "</>;rt=\"oma.lwm2m\";ct=112,</1/0>,</3/0>,</4/0>,</5/0>,</9/0>,</{PLAN}/0>,</{PLAN}/1>"
            );
            builder
                .path("/rd")
                .uint_option(option::CONTENT_FORMAT, 40)
                .query("b=U")
                .query(&format!("ep={PRODUCT}:{}", place.key))
                .query("lt=86400")
                .query("lwm2m=1.1")
                .payload(objects.as_bytes())
                .finish()
        }
        Ask::Update => builder.path(place.location).finish(),
        Ask::Tell(told) => {
            let payload = told.payload()?;
            builder
                .path("/dp")
                .uint_option(option::CONTENT_FORMAT, 112)
                .payload(&payload)
                .finish()
        }
        Ask::Block(num) => {
            builder.path(place.package);
            let block = Block {
                num: *num,
                more: false,
                szx: Szx::S1024,
            };
            builder.block(option::BLOCK2, block);
            if !place.echo.is_empty() {
                builder.option(option::ECHO, place.echo);
            }
            builder.finish()
        }
    };
    sized(&out, built)
}

fn sized(out: &[u8], built: Result<usize, BuildError>) -> Result<Vec<u8>> {
    let length = built.map_err(|e| anyhow::anyhow!("{e:?}"))?;
    Ok(out[..length].to_vec())
}

impl Told {
    fn payload(&self) -> Result<Vec<u8>> {
        let mut out = [0; 512];
        let wrong = |e| anyhow::anyhow!("{e:?}");
        let mut encoder =
            Encoder::begin(ContentFormat::SenmlCbor, Path::ROOT, &mut out).map_err(wrong)?;
        let mut put = |path, value: Value<'_>| encoder.value(path, value).map_err(wrong);
        let of = |id| Path::resource(PLAN, MCU, id);
        if let Some((offer, state)) = &self.state {
            put(of(resource::PLAN), Value::String(offer))?;
            put(of(resource::STATE), Value::Integer((*state).into()))?;
        }
        put(of(resource::COMPONENT), Value::String(COMPONENT))?;
        let version = self.target.as_deref().or(self.version);
        if let Some(version) = version {
            put(of(resource::CURRENT_VERSION), Value::String(version))?;
        }
        if self.request {
            put(of(resource::REQUEST), Value::Integer(1))?;
        }
        if let Some(battery) = self.battery {
            put(Path::resource(3, 0, 9), Value::Integer(battery.into()))?;
        }
        let length = encoder.finish().map_err(wrong)?;
        Ok(out[..length].to_vec())
    }
}

/// The answer to a request of the Center's, in the ACK.
pub(crate) fn answer(to: &Message<'_>, code: Code, text: &str) -> Result<Vec<u8>> {
    let mut out = [0; 256];
    let mut builder = Builder::new(&mut out, Kind::Ack, code, to.message_id(), to.token());
    if !text.is_empty() {
        builder
            .uint_option(option::CONTENT_FORMAT, 0)
            .payload(text.as_bytes());
    }
    let built = builder.finish();
    sized(&out, built)
}

/// A Write of the Center's: an offer, or with an address the download information.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) offer: String,
    pub(crate) target: String,
    pub(crate) uri: String,
    pub(crate) sha256: Vec<u8>,
}

/// Reads a Write of the MCU's instance.
pub(crate) fn written(message: &Message<'_>) -> Result<Written> {
    let base = Path::instance(PLAN, MCU);
    let wrong = |e| anyhow::anyhow!("{e:?}");
    let records = Records::new(ContentFormat::SenmlCbor, base, message.payload()).map_err(wrong)?;
    let mut found = Written::default();
    for record in records {
        let (path, value) = record.map_err(wrong)?;
        let text = || value.as_str().unwrap_or_default().to_owned();
        match path.resource_id().context("a resource")? {
            resource::PLAN => found.offer = text(),
            resource::TARGET_VERSION => found.target = text(),
            resource::PACKAGE_URI => found.uri = text(),
            resource::SHA256 => found.sha256 = value.as_bytes().unwrap_or_default().to_vec(),
            _ => {}
        }
    }
    Ok(found)
}

/// Uri-Path or Location-Path as one text with leading slashes.
pub(crate) fn path(message: &Message<'_>, number: u16) -> String {
    let segments = message.values(number);
    segments
        .map(|s| format!("/{}", String::from_utf8_lossy(s)))
        .collect()
}
