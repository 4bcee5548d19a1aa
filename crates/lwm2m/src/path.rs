//! Paths to objects, instances, resources and resource instances (LwM2M Core 1.1, section 7.3).

use sota_coap::text::utf8;

/// `/`, `/object`, `/object/instance`, `/object/instance/resource` or
/// `/object/instance/resource/resource instance`. Every id is in 0..=65534: 65535 is reserved by the standard
/// and marks an absent level here.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path([u16; 4]);

const ABSENT: u16 = u16::MAX;

/// Bytes that the longest path needs as text: four times `/` and five digits.
pub const PATH_TEXT_LEN: usize = 24;

impl Path {
    /// `/`
    pub const ROOT: Path = Path([ABSENT; 4]);

    /// `/object`
    pub const fn object(object: u16) -> Path {
        Path([object, ABSENT, ABSENT, ABSENT])
    }

    /// `/object/instance`
    pub const fn instance(object: u16, instance: u16) -> Path {
        Path([object, instance, ABSENT, ABSENT])
    }

    /// `/object/instance/resource`
    pub const fn resource(object: u16, instance: u16, resource: u16) -> Path {
        Path([object, instance, resource, ABSENT])
    }

    /// `/object/instance/resource/resource instance`
    pub const fn resource_instance(object: u16, instance: u16, resource: u16, ri: u16) -> Path {
        Path([object, instance, resource, ri])
    }

    /// Number of levels: 0 for `/`, 4 for a resource instance.
    pub fn depth(self) -> usize {
        self.0.iter().take_while(|id| **id != ABSENT).count()
    }

    /// The id at this level (0 object, 1 instance, 2 resource, 3 resource instance).
    pub fn get(self, level: usize) -> Option<u16> {
        self.0.get(level).copied().filter(|id| *id != ABSENT)
    }

    /// Object id.
    pub fn object_id(self) -> Option<u16> {
        self.get(0)
    }

    /// Object instance id.
    pub fn instance_id(self) -> Option<u16> {
        self.get(1)
    }

    /// Resource id.
    pub fn resource_id(self) -> Option<u16> {
        self.get(2)
    }

    /// Resource instance id.
    pub fn resource_instance_id(self) -> Option<u16> {
        self.get(3)
    }

    /// The path one level below; `None` below a resource instance or with the reserved id 65535.
    pub fn child(self, id: u16) -> Option<Path> {
        let mut path = self;
        *path.0.get_mut(self.depth())? = id;
        (id != ABSENT).then_some(path)
    }

    /// The path without what is deeper than `depth` levels.
    #[inline(never)]
    pub fn upto(self, depth: usize) -> Path {
        let mut path = self;
        if let Some(deeper) = path.0.get_mut(depth..) {
            deeper.fill(ABSENT);
        }
        path
    }

    /// Is `other` this path or below it?
    pub fn contains(self, other: Path) -> bool {
        self.0
            .iter()
            .zip(other.0.iter())
            .all(|(mine, its)| *mine == ABSENT || mine == its)
    }

    /// Parses `/3/0/9`; `3/0/9` and one `/` at the end are taken too, `""` and `/` are the root.
    /// `None`: not a path.
    pub fn parse(text: &str) -> Option<Path> {
        Path::parse_joined(text, "")
    }

    /// Parses the two texts as if they stood behind each other: SenML's base name and name.
    pub fn parse_joined(base: &str, name: &str) -> Option<Path> {
        let mut path = Path::ROOT;
        // The id read so far, if a digit was there.
        let (mut id, mut some) = (0, false);
        let mut start = true;
        for text in [base, name] {
            for byte in text.bytes() {
                if byte != b'/' {
                    let digit = byte.wrapping_sub(b'0');
                    id = id * 10 + u32::from(digit);
                    some = true;
                    if digit > 9 || id >= ABSENT.into() {
                        return None;
                    }
                } else if some {
                    path = path.child(id as u16)?;
                    (id, some) = (0, false);
                } else if !start {
                    return None;
                }
                start = false;
            }
        }
        match some {
            true => path.child(id as u16),
            false => Some(path),
        }
    }

    /// Builds a path from Uri-Path options; an empty segment is allowed only at the end.
    pub fn from_segments(segments: impl Iterator<Item: AsRef<[u8]>>) -> Option<Path> {
        let mut path = Path::ROOT;
        let mut ended = false;
        for segment in segments {
            let segment = segment.as_ref();
            if ended {
                return None;
            }
            if segment.is_empty() {
                ended = true;
            } else {
                path = path.child(number(segment)?)?;
            }
        }
        Some(path)
    }

    /// Writes the path as text; the bytes written, or `None` when `out` is too small.
    /// [`PATH_TEXT_LEN`] bytes are always enough.
    pub fn write(self, out: &mut [u8]) -> Option<usize> {
        let mut at = 0;
        if self == Path::ROOT {
            *out.get_mut(at)? = b'/';
            return Some(1);
        }
        for id in self.0.into_iter().take_while(|id| *id != ABSENT) {
            *out.get_mut(at)? = b'/';
            at += 1;
            at += crate::value::write_decimal_unsigned(id.into(), out.get_mut(at..)?)?;
        }
        Some(at)
    }
}

/// The id in a path segment: digits only, 0..=65534.
pub(crate) fn number(segment: &[u8]) -> Option<u16> {
    let id = crate::value::decimal(segment)?;
    u16::try_from(id).ok().filter(|id| *id != ABSENT)
}

impl Default for Path {
    fn default() -> Path {
        Path::ROOT
    }
}

impl core::fmt::Display for Path {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut text = [0; PATH_TEXT_LEN];
        let len = self.write(&mut text).unwrap_or(0);
        f.write_str(text.get(..len).and_then(utf8).unwrap_or(""))
    }
}

impl core::fmt::Debug for Path {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::string::{String, ToString};

    #[test]
    fn parses_what_the_standard_writes() {
        assert_eq!(Path::parse("/3/0/9"), Some(Path::resource(3, 0, 9)));
        assert_eq!(Path::parse("3/0/9"), Some(Path::resource(3, 0, 9)));
        assert_eq!(Path::parse("/42769/1/"), Some(Path::instance(42769, 1)));
        assert_eq!(Path::parse("/"), Some(Path::ROOT));
        assert_eq!(Path::parse(""), Some(Path::ROOT));
        assert_eq!(
            Path::parse_joined("/3/0/", "7/1"),
            Some(Path::resource_instance(3, 0, 7, 1))
        );
        assert_eq!(Path::parse_joined("/3/0/1", "7"), Path::parse("/3/0/17"));
    }

    #[test]
    fn refuses_what_is_no_path() {
        for bad in [
            "//3",
            "/3//0",
            "/65535",
            "/65536",
            "/3/0/9/1/2",
            "/a",
            "/-1",
            "/3 ",
            "/+3",
        ] {
            assert_eq!(Path::parse(bad), None, "{bad}");
        }
        assert_eq!(Path::from_segments(["3", "", "0"].into_iter()), None);
        assert_eq!(Path::from_segments(["+3"].into_iter()), None);
        assert_eq!(
            Path::from_segments(["3", "0", ""].into_iter()),
            Some(Path::instance(3, 0))
        );
    }

    #[test]
    fn contains_itself_and_what_is_below() {
        let instance = Path::instance(5, 0);
        assert!(instance.contains(Path::resource(5, 0, 3)));
        assert!(instance.contains(instance));
        assert!(Path::ROOT.contains(instance));
        assert!(!instance.contains(Path::object(5)));
        assert!(!instance.contains(Path::instance(5, 1)));
    }

    proptest! {
        #[test]
        fn text_round_trip(ids in proptest::collection::vec(0u16..65535, 0..=4)) {
            let path = ids.iter().fold(Path::ROOT, |p, id| p.child(*id).unwrap());
            prop_assert_eq!(path.depth(), ids.len());
            prop_assert_eq!(Path::parse(&path.to_string()), Some(path));
            prop_assert_eq!(Path::from_segments(ids.iter().map(|i| i.to_string()).collect::<std::vec::Vec<String>>().iter().map(|s| s.as_str())), Some(path));
        }

        #[test]
        fn never_panics(text in "\\PC*") {
            let _ = Path::parse(&text);
        }
    }
}
