//! Register, update and de-register as a server reads them (LwM2M Core 1.1, sections 6.2.1 to 6.2.3).
//!
//! | request | read by |
//! |---|---|
//! | `POST /rd?ep=&lt=&lwm2m=&b=&Q` | [`Register::parse`] |
//! | `POST /rd/<id>?lt=&b=` | [`Update::parse`] |
//! | `DELETE /rd/<id>` | [`location`] |

use core::ops::RangeInclusive;

use sota_coap::{Message, option};

use crate::{ContentFormat, Path, link_format};

/// Lifetimes a server takes, in s: those of `Ql_iotConfigSetLifetime`.
pub const LIFETIME_S: RangeInclusive<u32> = 1..=864_000;
/// Lifetime of a client that names none, in s (LwM2M Core 1.1, section 6.2.1.1).
pub const DEFAULT_LIFETIME_S: u32 = 86_400;
/// Greatest length of an endpoint name, in bytes: a Uri-Query option holds 255, three are `ep=`.
pub const ENDPOINT_LEN: usize = 252;

/// Why a request of a client is refused: all of them 4.00 but [`Fault::Format`], which is 4.15.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No endpoint name, an empty one or one that is too long.
    Endpoint,
    /// The lifetime is no number or outside [`LIFETIME_S`].
    Lifetime,
    /// The list of objects is not UTF-8.
    Objects,
    /// The list of objects comes in another format than link format.
    Format,
}

impl Fault {
    /// What was wrong, for a log.
    pub const fn meaning(self) -> &'static str {
        match self {
            Fault::Endpoint => "ep is missing, empty or too long",
            Fault::Lifetime => "lt is no number of 1..=864000 s",
            Fault::Objects => "the list of objects is not UTF-8",
            Fault::Format => "the list of objects is not in link format",
        }
    }
}

/// A registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register<'a> {
    /// Endpoint name, 1..=[`ENDPOINT_LEN`] bytes.
    pub endpoint: &'a str,
    /// Lifetime in s, within [`LIFETIME_S`].
    pub lifetime_s: u32,
    /// LwM2M version as it came; `1.0` if it did not.
    pub lwm2m: &'a str,
    /// Binding as it came; `U` if it did not.
    pub binding: &'a str,
    /// Queue mode: `Q`, or a binding of 1.0 with `Q` in it.
    pub queue: bool,
    /// Objects and instances.
    pub objects: Objects<'a>,
}

/// An update: what is `None` stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Update<'a> {
    /// New lifetime in s.
    pub lifetime_s: Option<u32>,
    /// New binding.
    pub binding: Option<&'a str>,
    /// New objects and instances.
    pub objects: Option<Objects<'a>>,
}

impl<'a> Register<'a> {
    /// Reads a registration; the path was looked at before.
    pub fn parse(message: &Message<'a>) -> Result<Register<'a>, Fault> {
        let endpoint = message.query("ep").unwrap_or("");
        if endpoint.is_empty() || endpoint.len() > ENDPOINT_LEN {
            return Err(Fault::Endpoint);
        }
        let binding = message.query("b").unwrap_or("U");
        Ok(Register {
            endpoint,
            lifetime_s: lifetime(message)?.unwrap_or(DEFAULT_LIFETIME_S),
            lwm2m: message.query("lwm2m").unwrap_or("1.0"),
            binding,
            queue: message.query("Q").is_some() || binding.contains('Q'),
            objects: objects(message)?,
        })
    }
}

impl<'a> Update<'a> {
    /// Reads an update.
    pub fn parse(message: &Message<'a>) -> Result<Update<'a>, Fault> {
        Ok(Update {
            lifetime_s: lifetime(message)?,
            binding: message.query("b"),
            objects: match message.payload() {
                [] => None,
                _ => Some(objects(message)?),
            },
        })
    }
}

/// The `<id>` of `/rd/<id>`, the Location-Path that the server gave; `None`: another path.
pub fn location<'a>(message: &Message<'a>) -> Option<&'a str> {
    let mut path = message.path();
    match (path.next(), path.next(), path.next()) {
        (Some(b"rd"), Some(id), None) if !id.is_empty() => core::str::from_utf8(id).ok(),
        _ => None,
    }
}

fn lifetime(message: &Message<'_>) -> Result<Option<u32>, Fault> {
    match message.query("lt") {
        None => Ok(None),
        Some(text) => match text.parse() {
            Ok(seconds) if LIFETIME_S.contains(&seconds) => Ok(Some(seconds)),
            _ => Err(Fault::Lifetime),
        },
    }
}

fn objects<'a>(message: &Message<'a>) -> Result<Objects<'a>, Fault> {
    let link = u32::from(ContentFormat::Link.number());
    match message.uint_option(option::CONTENT_FORMAT) {
        Some(format) if format != link => Err(Fault::Format),
        _ => core::str::from_utf8(message.payload())
            .map(Objects)
            .map_err(|_| Fault::Objects),
    }
}

/// The objects and instances of a client, as its list came. It is kept as text: a server needs it seldom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Objects<'a>(pub &'a str);

impl<'a> Objects<'a> {
    /// The objects and instances; what is no LwM2M path is left out.
    pub fn paths(self) -> impl Iterator<Item = Path> + use<'a> {
        let root = self.root();
        link_format::parse(self.0)
            .filter_map(move |link| link.path(root))
            .filter(|path| *path != Path::ROOT)
    }

    /// Is there this object, or an instance of it?
    pub fn has(self, object: u16) -> bool {
        self.paths().any(|path| path.object_id() == Some(object))
    }

    /// The format for more than one resource: SenML-CBOR for a client after 1.0 that names it, else TLV, which every
    /// client has.
    pub fn format(self, lwm2m: &str) -> ContentFormat {
        let senml = lwm2m != "1.0"
            && link_format::parse(self.0)
                .filter_map(|link| link.attribute("ct"))
                .any(|numbers| numbers.split(' ').any(|number| number == "112"));
        if senml {
            ContentFormat::SenmlCbor
        } else {
            ContentFormat::Tlv
        }
    }

    /// The alternate path under which the objects lie; empty if there is none.
    fn root(self) -> &'a str {
        link_format::parse(self.0)
            .find(|link| {
                link.attribute("rt")
                    .is_some_and(|types| types.split(' ').any(|its| its == "oma.lwm2m"))
            })
            .map_or("", |link| link.target)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use sota_coap::{Builder, Code, Kind, Token};
    use std::vec::Vec;

    fn request(path: &str, queries: &[&str], format: Option<u32>, payload: &[u8]) -> Vec<u8> {
        let mut out = [0; 1024];
        let mut builder = Builder::new(&mut out, Kind::Con, Code::POST, 1, Token::from_u32(7));
        builder.path(path);
        if let Some(format) = format {
            builder.uint_option(option::CONTENT_FORMAT, format);
        }
        for query in queries {
            builder.query(query);
        }
        builder.payload(payload);
        let len = builder.finish().unwrap();
        out[..len].to_vec()
    }

    const OBJECTS: &[u8] = b"</>;rt=\"oma.lwm2m\";ct=112,</1/0>,</3/0>,</9>,</42769/1>";

    #[test]
    fn a_registration_of_ours() {
        let queries = ["ep=pk:dk", "lt=300", "lwm2m=1.1", "b=U", "Q"];
        let bytes = request("/rd", &queries, Some(40), OBJECTS);
        let read = Register::parse(&Message::new_checked(&bytes).unwrap()).unwrap();
        assert_eq!(
            (read.endpoint, read.lifetime_s, read.queue),
            ("pk:dk", 300, true)
        );
        assert!(read.objects.has(42769) && read.objects.has(9) && !read.objects.has(5));
        assert_eq!(read.objects.paths().count(), 4);
        assert_eq!(read.objects.format(read.lwm2m), ContentFormat::SenmlCbor);
        assert_eq!(read.objects.format("1.0"), ContentFormat::Tlv);
    }

    #[test]
    fn a_registration_of_an_old_client() {
        let objects = b"</lw m2m>;rt=\"oma.lwm2m\",</lw m2m/5/0>";
        let bytes = request("/rd", &["ep=a", "b=UQ"], None, objects);
        let read = Register::parse(&Message::new_checked(&bytes).unwrap()).unwrap();
        assert_eq!(
            (read.lwm2m, read.lifetime_s, read.queue),
            ("1.0", 86400, true)
        );
        assert!(read.objects.paths().eq([Path::instance(5, 0)]));
    }

    #[test]
    fn faults() {
        for (queries, format, payload, fault) in [
            (&["lt=60"][..], None, OBJECTS, Fault::Endpoint),
            (&["ep="], None, OBJECTS, Fault::Endpoint),
            (&["ep=a", "lt=0"], None, OBJECTS, Fault::Lifetime),
            (&["ep=a", "lt=864001"], None, OBJECTS, Fault::Lifetime),
            (&["ep=a", "lt=-1"], None, OBJECTS, Fault::Lifetime),
            (&["ep=a", "lt="], None, OBJECTS, Fault::Lifetime),
            (&["ep=a"], Some(112), OBJECTS, Fault::Format),
            (&["ep=a"], Some(40), b"\xff", Fault::Objects),
        ] {
            let bytes = request("/rd", queries, format, payload);
            let message = Message::new_checked(&bytes).unwrap();
            assert_eq!(Register::parse(&message), Err(fault), "{queries:?}");
        }
    }

    #[test]
    fn updates_and_locations() {
        let bytes = request("/rd/7f", &["lt=60"], None, b"");
        let message = Message::new_checked(&bytes).unwrap();
        assert_eq!(location(&message), Some("7f"));
        let update = Update::parse(&message).unwrap();
        assert_eq!(
            (update.lifetime_s, update.binding, update.objects),
            (Some(60), None, None)
        );
        for path in ["/rd", "/dp/7f", "/rd/7f/8"] {
            let bytes = request(path, &[], None, b"");
            assert_eq!(
                location(&Message::new_checked(&bytes).unwrap()),
                None,
                "{path}"
            );
        }
        let bytes = request("/rd/7f", &["lt=x"], None, b"");
        assert_eq!(
            Update::parse(&Message::new_checked(&bytes).unwrap()),
            Err(Fault::Lifetime)
        );
    }

    proptest! {
        #[test]
        fn never_panics(queries in proptest::collection::vec("\\PC{0,20}", 0..5), payload: Vec<u8>) {
            let queries: Vec<&str> = queries.iter().map(|q| q.as_str()).collect();
            let payload = &payload[..payload.len().min(500)];
            let bytes = request("/rd", &queries, None, payload);
            if let Ok(message) = Message::new_checked(&bytes) {
                if let Ok(read) = Register::parse(&message) {
                    let _ = (read.objects.paths().count(), read.objects.format("1.1"));
                }
                let _ = Update::parse(&message);
            }
        }
    }
}
