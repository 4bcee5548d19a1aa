//! Requests of the server (LwM2M 1.1 Core 6.3 and 6.4) against a device's objects.
//!
//! | method | path | is |
//! |---|---|---|
//! | GET, Accept 40 | object, instance, resource | Discover |
//! | GET | object, instance, resource | Read; with Observe also Observe and Cancel Observation |
//! | PUT | instance, resource | Write (replace) |
//! | POST | instance | Write (partial update) |
//! | POST | resource | Execute |
//! | anything else | | 4.05: instances are not made, deleted or moved by the server here |
//!
//! The payload of an answer is not kept: [`Reply`] says what it is and [`write_content`] or
//! [`write_links`] puts it straight into the datagram.

use sota_coap::Code;

use crate::{ContentFormat, Encoder, Error, Path, Records, link_format};

/// Operations of one resource.
pub type Operations = u8;
/// Read.
pub const R: Operations = 1;
/// Write.
pub const W: Operations = 2;
/// Execute.
pub const E: Operations = 4;
/// A resource of an object that a device has, and what the server may do with it. No id of these objects is above 255,
/// so that one takes two bytes of flash.
pub type Resource = (u8, Operations);

/// A Write or Execute was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Done.
    Done,
    /// Somebody else decides: the answer comes later.
    Deferred,
}

/// The objects of a device.
pub trait Objects {
    /// The `index`-th object instance in ascending order of object and instance; `None` behind the last.
    fn instance(&self, index: usize) -> Option<Path>;

    /// The resources of an object in ascending order, with their operations; empty if there is no such object.
    fn resources(&self, object: u16) -> &'static [Resource];

    /// Writes one resource's value; `Ok(false)` if this instance does not have it now.
    fn read(&self, path: Path, out: &mut Encoder<'_>) -> Result<bool, Error>;

    /// Takes a Write to an instance or one resource; every resource named is known to be writable.
    fn write(&mut self, path: Path, records: Records<'_>) -> Result<Effect, Code>;

    /// Executes a resource.
    fn execute(&mut self, path: Path, arguments: &[u8]) -> Result<Effect, Code>;
}

/// What of a request matters here.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Method.
    pub method: Code,
    /// Uri-Path.
    pub path: Path,
    /// Accept.
    pub accept: Option<u32>,
    /// Content-Format.
    pub format: Option<u32>,
    /// Payload.
    pub payload: &'a [u8],
}

/// What to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A code without payload.
    Code(Code),
    /// 2.05 with [`write_content`].
    Content {
        /// Of what.
        path: Path,
        /// In which format.
        format: ContentFormat,
    },
    /// 2.05 in link format with [`write_links`].
    Links(Path),
    /// The answer comes later.
    Deferred,
}

/// Handles one request.
pub fn dispatch(objects: &mut dyn Objects, request: &Request<'_>) -> Reply {
    handle(objects, request).unwrap_or_else(Reply::Code)
}

#[inline(never)]
fn handle(objects: &mut dyn Objects, request: &Request<'_>) -> Result<Reply, Code> {
    let path = request.path;
    let depth = path.depth();
    let operations = find(objects, path, depth)?;
    let effect = match (request.method, depth) {
        (Code::GET, 1..=3) => return read(operations, depth, request),
        (Code::PUT | Code::POST, 2) | (Code::PUT, 3) => {
            if depth == 3 && operations & W == 0 {
                return Err(Code::METHOD_NOT_ALLOWED);
            }
            objects.write(path, records(objects, request)?)
        }
        (Code::POST, 3) if operations & E != 0 => objects.execute(path, request.payload),
        _ => return Err(Code::METHOD_NOT_ALLOWED),
    };
    Ok(match effect? {
        Effect::Done => Reply::Code(Code::CHANGED),
        Effect::Deferred => Reply::Deferred,
    })
}

/// 4.04 for what does not exist; the operations of a resource.
fn find(objects: &dyn Objects, path: Path, depth: usize) -> Result<Operations, Code> {
    let object = path.object_id().ok_or(Code::METHOD_NOT_ALLOWED)?;
    if depth > 3 || instances(objects, path.upto(2)).next().is_none() {
        return Err(Code::NOT_FOUND);
    }
    match path.resource_id() {
        None => Ok(0),
        Some(id) => operations(objects, object, id).ok_or(Code::NOT_FOUND),
    }
}

fn operations(objects: &dyn Objects, object: u16, resource: u16) -> Option<Operations> {
    let list = objects.resources(object).iter();
    list.filter(|(id, _)| u16::from(*id) == resource)
        .map(|(_, ops)| *ops)
        .next()
}

fn instances(objects: &dyn Objects, below: Path) -> impl Iterator<Item = Path> + '_ {
    (0..)
        .map_while(|index| objects.instance(index))
        .filter(move |path| below.contains(*path))
}

fn read(operations: Operations, depth: usize, request: &Request<'_>) -> Result<Reply, Code> {
    let path = request.path;
    let format = match request.accept {
        // What the client likes best (Core 7.4): a person's text for one value, SenML-CBOR for many.
        None if depth == 3 => ContentFormat::Text,
        None => ContentFormat::SenmlCbor,
        Some(number) => u16::try_from(number)
            .ok()
            .and_then(ContentFormat::from_number)
            .ok_or(Code::NOT_ACCEPTABLE)?,
    };
    match format {
        ContentFormat::Link => return Ok(Reply::Links(path)),
        ContentFormat::SenmlJson => return Err(Code::NOT_ACCEPTABLE),
        one if !one.is_composite() && depth < 3 => return Err(Code::NOT_ACCEPTABLE),
        _ => {}
    }
    if depth == 3 && operations & R == 0 {
        return Err(Code::METHOD_NOT_ALLOWED);
    }
    Ok(Reply::Content { path, format })
}

/// The payload's records, each one looked at: malformed or foreign ones are 4.00, read-only ones 4.05.
fn records<'a>(objects: &dyn Objects, request: &Request<'a>) -> Result<Records<'a>, Code> {
    let path = request.path;
    let format = match request.format {
        // LwM2M 1.0 clients and servers leave text's number 0 away.
        None if path.depth() == 3 => ContentFormat::Text,
        None => return Err(Code::UNSUPPORTED_CONTENT_FORMAT),
        Some(number) => u16::try_from(number)
            .ok()
            .and_then(ContentFormat::from_number)
            .ok_or(Code::UNSUPPORTED_CONTENT_FORMAT)?,
    };
    let records = Records::new(format, path, request.payload).map_err(|error| match error {
        Error::Format => Code::UNSUPPORTED_CONTENT_FORMAT,
        _ => Code::BAD_REQUEST,
    })?;
    for record in records {
        let (at, _) = record.map_err(|error| match error {
            Error::Format => Code::UNSUPPORTED_CONTENT_FORMAT,
            _ => Code::BAD_REQUEST,
        })?;
        let known = match (at.object_id(), at.resource_id()) {
            (Some(object), Some(resource)) => operations(objects, object, resource),
            _ => None,
        };
        match known {
            _ if !path.contains(at) => return Err(Code::BAD_REQUEST),
            None => return Err(Code::NOT_FOUND),
            Some(ops) if ops & W == 0 => return Err(Code::METHOD_NOT_ALLOWED),
            Some(_) => {}
        }
    }
    Ok(records)
}

/// Writes the values at and below `path`; the bytes written, or the code to answer instead.
pub fn write_content(
    objects: &dyn Objects,
    path: Path,
    format: ContentFormat,
    out: &mut [u8],
) -> Result<usize, Code> {
    content(objects, path, format, out).map_err(|error| match error {
        Error::Format | Error::Type => Code::NOT_ACCEPTABLE,
        Error::Path => Code::NOT_FOUND,
        _ => Code::INTERNAL_SERVER_ERROR,
    })
}

fn content(
    objects: &dyn Objects,
    path: Path,
    format: ContentFormat,
    out: &mut [u8],
) -> Result<usize, Error> {
    let mut encoder = Encoder::begin(format, path, out)?;
    let mut any = false;
    for instance in instances(objects, path.upto(2)) {
        let object = instance.object_id().unwrap_or(u16::MAX);
        for (id, _) in objects
            .resources(object)
            .iter()
            .filter(|(_, ops)| ops & R != 0)
        {
            let Some(resource) = instance.child((*id).into()) else {
                continue;
            };
            if path.contains(resource) {
                any |= objects.read(resource, &mut encoder)?;
            }
        }
    }
    if !any && path.depth() == 3 {
        return Err(Error::Path);
    }
    encoder.finish()
}

/// Writes the links of a registration: the root, then every instance.
pub fn write_registration(objects: &dyn Objects, out: &mut [u8]) -> Result<usize, Error> {
    let mut links = link_format::Writer::begin(out);
    links.root(ContentFormat::SenmlCbor)?;
    for instance in instances(objects, Path::ROOT) {
        links.path(instance)?;
    }
    Ok(links.finish())
}

/// Writes the answer to Discover.
pub fn write_links(objects: &dyn Objects, path: Path, out: &mut [u8]) -> Result<usize, Error> {
    let mut links = link_format::Writer::begin(out);
    if path.depth() == 1 {
        links.path(path)?;
    }
    for instance in instances(objects, path.upto(2)) {
        if path.contains(instance) {
            links.path(instance)?;
        }
        let object = instance.object_id().unwrap_or(u16::MAX);
        for (id, _) in objects.resources(object) {
            match instance.child((*id).into()) {
                Some(resource) if path.contains(resource) => links.path(resource)?,
                _ => {}
            }
        }
    }
    Ok(links.finish())
}
