//! The registration's payload: objects, instances and the formats a client reads (RFC 6690, LwM2M Core 1.1
//! section 6.4.1).

use sota_lwm2m::{ContentFormat, Path};

/// Greatest number of objects and instances that is looked at.
const MAX_OBJECTS: usize = 128;

/// The objects and instances of `</>;ct=112,</1/0>,</5>`; what is no LwM2M path is left out. A path prefix as in
/// `</lwm2m>;rt="oma.lwm2m",</lwm2m/1/0>` is taken off.
pub fn objects(links: &str) -> Vec<Path> {
    let root = root(links);
    let targets = links.split(',').filter_map(|link| {
        let target = link.trim().strip_prefix('<')?.split('>').next()?;
        Path::parse(target.strip_prefix(root)?)
    });
    targets
        .filter(|path| *path != Path::ROOT)
        .take(MAX_OBJECTS)
        .collect()
}

/// The format for more than one resource: SenML-CBOR when a 1.1 client names it, else TLV, which every 1.0 client
/// has.
pub fn format(lwm2m: &str, links: &str) -> ContentFormat {
    let named = links
        .split([',', ';'])
        .filter_map(|part| part.trim().strip_prefix("ct="));
    let mut numbers = named.flat_map(|value| value.trim_matches('"').split(' '));
    if lwm2m != "1.0" && numbers.any(|number| number == "112") {
        ContentFormat::SenmlCbor
    } else {
        ContentFormat::Tlv
    }
}

/// The alternate path of the LwM2M root, empty if there is none.
fn root(links: &str) -> &str {
    let with_type = links
        .split(',')
        .find(|link| link.contains("rt=\"oma.lwm2m\""));
    let target = with_type.and_then(|link| link.trim().strip_prefix('<')?.split('>').next());
    target.unwrap_or("").trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_clients_send() {
        let ours = "</>;rt=\"oma.lwm2m\";ct=112,</1/0>,</3/0>,</42769/1>";
        assert_eq!(
            objects(ours),
            [
                Path::instance(1, 0),
                Path::instance(3, 0),
                Path::instance(42769, 1)
            ]
        );
        assert_eq!(format("1.1", ours), ContentFormat::SenmlCbor);
        assert_eq!(format("1.0", ours), ContentFormat::Tlv);
        let prefixed =
            "</lwm2m>;rt=\"oma.lwm2m\";ct=\"11542 112\", </lwm2m/5>,</lwm2m/5/0>;ver=1.1";
        assert_eq!(objects(prefixed), [Path::object(5), Path::instance(5, 0)]);
        assert_eq!(format("1.1", prefixed), ContentFormat::SenmlCbor);
        assert_eq!(format("1.1", "</5/0>"), ContentFormat::Tlv);
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC*") {
            let _ = (objects(&text), format(&text, &text));
        }
    }
}
