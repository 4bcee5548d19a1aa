//! CoRE link format (RFC 6690): the list of objects in a registration and the answer to Discover.
//!
//! A device writes one format: a [`Writer`] over the caller's buffer. What is read comes from any peer, so the
//! reader takes spaces, unquoted values, attributes without a value and links that are no LwM2M path.

use crate::path::PATH_TEXT_LEN;
use crate::{ContentFormat, Error, Path};

/// Writes links.
#[derive(Debug)]
pub struct Writer<'b> {
    out: &'b mut [u8],
    len: usize,
}

impl<'b> Writer<'b> {
    /// Begins an empty list.
    pub fn begin(out: &'b mut [u8]) -> Self {
        Writer { out, len: 0 }
    }

    /// `</>;rt="oma.lwm2m";ct=112`: the root of a registration and the best format the client speaks.
    pub fn root(&mut self, format: ContentFormat) -> Result<(), Error> {
        self.path(Path::ROOT)?;
        self.put(b";rt=\"oma.lwm2m\"")?;
        self.number(b";ct=", format.number())
    }

    /// `,</9/0>`.
    pub fn path(&mut self, path: Path) -> Result<(), Error> {
        if self.len != 0 {
            self.put(b",")?;
        }
        self.put(b"<")?;
        let mut text = [0; PATH_TEXT_LEN];
        let len = path.write(&mut text).ok_or(Error::Full)?;
        self.put(text.get(..len).unwrap_or(&[]))?;
        self.put(b">")
    }

    /// `;ver=1.1`, of the link written last (an object's link or its only instance's).
    pub fn version(&mut self, version: &str) -> Result<(), Error> {
        self.put(b";ver=")?;
        self.put(version.as_bytes())
    }

    /// `;name=7`, of the link written last; `name` has the form `;name=`.
    pub fn number(&mut self, name: &[u8], value: u16) -> Result<(), Error> {
        self.put(name)?;
        let rest = self.out.get_mut(self.len..).ok_or(Error::Full)?;
        self.len += crate::value::write_decimal(i64::from(value), rest).ok_or(Error::Full)?;
        Ok(())
    }

    /// The list's length in bytes.
    pub fn finish(self) -> usize {
        self.len
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let end = self.len + bytes.len();
        self.out
            .get_mut(self.len..end)
            .ok_or(Error::Full)?
            .copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }
}

/// One link: its target between `<` and `>` and its attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link<'a> {
    /// The target as it came.
    pub target: &'a str,
    /// `;rt="oma.lwm2m";ct=112` as it came.
    attributes: &'a str,
}

impl<'a> Link<'a> {
    /// The target as LwM2M path, below the alternate path `root` (`""` if there is none).
    pub fn path(&self, root: &str) -> Option<Path> {
        Path::parse(self.target.strip_prefix(root.trim_end_matches('/'))?)
    }

    /// The attributes: name and value, without quotes; `""` for one without a value.
    pub fn attributes(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let mut rest = self.attributes;
        core::iter::from_fn(move || {
            let attribute = cut(&mut rest, ';')?;
            let (name, value) = attribute.split_once('=').unwrap_or((attribute, ""));
            Some((name.trim(), unquoted(value.trim())))
        })
        .filter(|(name, _)| !name.is_empty())
    }

    /// The value of an attribute.
    pub fn attribute(&self, name: &str) -> Option<&'a str> {
        self.attributes()
            .find_map(|(its, value)| (its == name).then_some(value))
    }
}

/// Reads a list link by link. A link that cannot be understood is left out: an unknown vendor's object must
/// not cost the device its registration.
pub fn parse(list: &str) -> impl Iterator<Item = Link<'_>> {
    let mut rest = list;
    core::iter::from_fn(move || {
        loop {
            let link = cut(&mut rest, ',')?.trim();
            if let Some((target, attributes)) =
                link.strip_prefix('<').and_then(|l| l.split_once('>'))
            {
                return Some(Link { target, attributes });
            }
        }
    })
}

fn unquoted(value: &str) -> &str {
    value
        .strip_prefix('"')
        .and_then(|v| v.strip_suffix('"'))
        .unwrap_or(value)
}

/// Takes the text before the next `separator` that is not in quotes; `None` at the end.
fn cut<'a>(rest: &mut &'a str, separator: char) -> Option<&'a str> {
    if rest.is_empty() {
        return None;
    }
    let mut quoted = false;
    let mut escaped = false;
    let mut end = rest.len();
    for (at, c) in rest.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = quoted;
        } else if c == '"' {
            quoted = !quoted;
        } else if c == separator && !quoted {
            end = at;
            break;
        }
    }
    let (head, tail) = rest.split_at(end);
    *rest = tail.strip_prefix(separator).unwrap_or(tail);
    Some(head)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    #[test]
    fn writes_a_registration() {
        let mut out = [0; 128];
        let mut writer = Writer::begin(&mut out);
        writer.root(ContentFormat::SenmlCbor).unwrap();
        writer.path(Path::instance(1, 0)).unwrap();
        writer.path(Path::object(9)).unwrap();
        writer.version("1.0").unwrap();
        writer.path(Path::instance(9, 0)).unwrap();
        let len = writer.finish();
        assert_eq!(
            core::str::from_utf8(&out[..len]).unwrap(),
            "</>;rt=\"oma.lwm2m\";ct=112,</1/0>,</9>;ver=1.0,</9/0>"
        );
        let mut small = [0; 10];
        assert_eq!(
            Writer::begin(&mut small).root(ContentFormat::Tlv),
            Err(Error::Full)
        );
    }

    #[test]
    fn reads_what_clients_send() {
        // Leshan's, Wakaama's and Anjay's ways of writing the same.
        let list = r#"</>;rt="oma.lwm2m";ct="60 110 112 11542", </1>;ver=1.1,</1/0>,<garbage,</lwm2m/5/0>;pmin=1;lib,</a,b>;x=";,\"""#;
        let links: Vec<Link<'_>> = parse(list).collect();
        assert_eq!(links.len(), 4);
        assert_eq!(links[0].path(""), Some(Path::ROOT));
        assert_eq!(links[0].attribute("ct"), Some("60 110 112 11542"));
        assert_eq!(links[1].path(""), Some(Path::object(1)));
        assert_eq!(links[1].attribute("ver"), Some("1.1"));
        assert_eq!(links[3].path("/lwm2m"), Some(Path::instance(5, 0)));
        assert_eq!(links[3].attribute("lib"), Some(""));
        assert_eq!(links[3].path(""), None);
    }

    proptest! {
        #[test]
        fn never_panics(list in "[<>/0-9;,=\"\\\\ a]*") {
            for link in parse(&list) {
                let _ = link.path("/a");
                let _ = link.attributes().count();
            }
        }
    }
}
