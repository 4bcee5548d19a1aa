//! Runs whole upgrades and writes what passed as the corpora of the targets: `record DIRECTORY`.
//!
//! Everything is deterministic, so the files are the same each time; a run that is no success is an error here.

use std::path::PathBuf;
use std::{env, fs};

use sota_coap::{Message, option};
use sota_fuzz::records::BASES;
use sota_fuzz::relay::{Relay, Way};
use sota_fuzz::runs;
use sota_lwm2m::{ContentFormat, Encoder, Path, RawValue, Records};

struct Corpora(PathBuf);

impl Corpora {
    /// One file; the same name is the same file.
    fn put(&self, target: &str, name: &str, bytes: &[u8]) {
        let folder = self.0.join(target);
        fs::create_dir_all(&folder).expect("a folder for the corpus");
        fs::write(folder.join(name), bytes).expect("a file of the corpus");
    }

    fn datagram(&self, name: &str, bytes: &[u8]) {
        self.put("coap", name, bytes);
        let message = Message::new_checked(bytes).expect("it was on the wire");
        let payload = message.payload();
        let number = message.uint_option(option::CONTENT_FORMAT);
        match number.and_then(|number| ContentFormat::from_number(number as u16)) {
            Some(ContentFormat::Link) => self.put("link_format", name, payload),
            Some(ContentFormat::SenmlCbor) => self.senml(name, &message),
            Some(ContentFormat::Tlv) => self.put("tlv", name, &[&[3], payload].concat()),
            Some(ContentFormat::Text) => self.put("tlv", name, &[&[5], payload].concat()),
            _ => {}
        }
    }

    /// A Send is for the root, a Write for the instance in its path. The same values as TLV, for a peer of 1.0.
    fn senml(&self, name: &str, message: &Message<'_>) {
        let segments = message
            .path()
            .map(|its| std::str::from_utf8(its).unwrap_or("?"));
        let base = Path::from_segments(segments).unwrap_or(Path::ROOT);
        let place = BASES.iter().position(|its| *its == base).unwrap_or(0);
        let payload = message.payload();
        self.put("senml_cbor", name, &[&[place as u8], payload].concat());
        let records: Vec<_> = Records::new(ContentFormat::SenmlCbor, Path::ROOT, payload)
            .expect("it was on the wire")
            .flatten()
            .collect();
        for (place, base) in BASES.iter().enumerate().skip(1) {
            let mut out = [0; 2048];
            let mut encoder = Encoder::begin(ContentFormat::Tlv, *base, &mut out).expect("room");
            for (path, value) in &records {
                if let RawValue::Typed(value) = value
                    && base.contains(*path)
                {
                    encoder.value(*path, *value).expect("room");
                }
            }
            let len = encoder.finish().expect("room");
            if len > 0 {
                let bytes = [&[place as u8], &out[..len]].concat();
                self.put("tlv", &format!("{name}-{place}"), &bytes);
            }
        }
    }
}

fn main() {
    let folder = env::args().nth(1).expect("usage: record DIRECTORY");
    let corpora = Corpora(folder.into());
    for (name, pulls) in [("pushed", false), ("pulled", true)] {
        let (script, line) = sota_fuzz::link::record(pulls);
        corpora.put("link", name, &script);
        corpora.put("link", &format!("{name}-line"), &line);
    }
    for (name, script) in sota_fuzz::mcu_at::record() {
        corpora.put("mcu_at", &name, &script);
    }
    for (name, choice, loss) in [
        ("plan", [0, 0], 0),
        ("lossy", [0, 0], 5),
        ("standard", [0, 1], 0),
        ("advanced", [0x80, 1], 0),
    ] {
        let mut relay = Relay::new(choice, loss);
        relay.upgrade();
        for (at, (_, bytes)) in relay.wire.iter().enumerate() {
            corpora.datagram(&format!("{name}-{at:03}"), bytes);
        }
        corpora.put("lwm2m_client", name, &relay.client.0);
        corpora.put("center_device", name, &relay.center.0);
        let blocks = relay.wire.iter().filter(|(way, bytes)| {
            *way == Way::Down
                && Message::new_checked(bytes).is_ok_and(|its| its.block(option::BLOCK2).is_some())
        });
        let blocks: Vec<&[u8]> = blocks.map(|(_, bytes)| &bytes[..]).collect();
        corpora.put("coap_transfer", name, &runs::download(&blocks));
    }
    for (name, script) in runs::transfers() {
        corpora.put("coap_transfer", &name, &script);
    }
    for (name, script) in runs::engine() {
        let fails = ["refused", "cancelled", "corrupt"].contains(&name.as_str());
        assert_eq!(runs::succeeds(&script), !fails, "the run {name}");
        corpora.put("engine", &name, &script);
        for (at, image) in runs::journals(&script).iter().enumerate() {
            corpora.put("journal", &format!("{name}-{at:03}"), image);
        }
    }
    for bits in [0, 0x13, 0x04] {
        let name = format!("upgrade-{bits:02x}");
        corpora.put("smp", &name, &sota_fuzz::smp::record(bits));
        corpora.put("stm32", &name, &sota_fuzz::rom::record(bits));
    }
    for (name, session) in runs::at_sessions() {
        corpora.put("at", name, &session);
    }
}
