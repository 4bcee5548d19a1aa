//! Lists of objects (RFC 6690): what is read is written again and read as the same.

use sota_lwm2m::server::registration::Objects;
use sota_lwm2m::{ContentFormat, Path, link_format};

/// Objects and instances that are written again at most.
const MANY: usize = 64;

/// Runs one list.
pub fn run(data: &[u8]) {
    let Ok(list) = std::str::from_utf8(data) else {
        return;
    };
    let mut links = 0;
    for link in link_format::parse(list) {
        links += 1;
        assert!(list.contains(link.target) && !link.target.contains('>'));
        for (name, value) in link.attributes() {
            assert!(!name.is_empty() && list.contains(value));
            assert!(link.attribute(name).is_some());
        }
        // Reading what was read changes nothing.
        let alone = format!("<{}>", link.target);
        let again = link_format::parse(&alone).next();
        if !link.target.contains([',', '"', '\\']) {
            assert_eq!(again.map(|link| link.target), Some(link.target));
        }
    }
    assert!(links <= list.len());
    let paths: Vec<Path> = Objects(list).paths().take(MANY).collect();
    let mut out = [0; 4096];
    let mut writer = link_format::Writer::begin(&mut out);
    writer.root(ContentFormat::SenmlCbor).expect("room");
    for path in &paths {
        writer.path(*path).expect("room");
        writer.version("1.1").expect("room");
    }
    let len = writer.finish();
    let text = std::str::from_utf8(&out[..len]).expect("we write ASCII");
    let mut written = link_format::parse(text);
    let root = written.next().expect("the root");
    assert_eq!(root.attribute("rt"), Some("oma.lwm2m"));
    let again: Vec<Path> = written
        .map(|link| {
            assert_eq!(link.attribute("ver"), Some("1.1"));
            link.path("").expect("we wrote it")
        })
        .collect();
    assert_eq!(again, paths);
}
