extern crate std;
use proptest::prelude::*;
use std::vec::Vec;

use super::*;
use crate::{ContentFormat, Encoder, Error, Path, Records, Value};

const AT: Path = Path::instance(DEFAULT_OBJECT_ID, 1);
const FORMATS: [ContentFormat; 2] = [ContentFormat::Tlv, ContentFormat::SenmlCbor];

fn encode(format: ContentFormat, values: &[(u16, Value<'_>)]) -> Vec<u8> {
    let mut out = [0; 1024];
    let mut encoder = Encoder::begin(format, AT, &mut out).unwrap();
    for (id, value) in values {
        encoder.value(AT.child(*id).unwrap(), *value).unwrap();
    }
    let len = encoder.finish().unwrap();
    out[..len].to_vec()
}

fn offer(format: ContentFormat, bytes: &[u8]) -> Result<Offer, Error> {
    read_offer(Records::new(format, AT, bytes)?)
}

fn download(format: ContentFormat, bytes: &[u8]) -> Result<DownloadInfo, Error> {
    read_download_info(Records::new(format, AT, bytes)?)
}

const GOOD: [(u16, Value<'static>); 9] = [
    (0, Value::String("p1")),
    (1, Value::String("STM32")),
    (2, Value::Integer(1)),
    (3, Value::String("")),
    (4, Value::String("2_0_0")),
    (5, Value::Integer(30)),
    (6, Value::Integer(-113)),
    (7, Value::Unsigned(27954)),
    (21, Value::Unsigned(2)),
];

#[test]
fn one_bad_field_spoils_an_offer() {
    let long = "x".repeat(65);
    for format in FORMATS {
        let read = offer(format, &encode(format, &GOOD)).unwrap();
        assert_eq!((read.min_signal_dbm, read.use_space), (-113, 27954));
        assert_eq!(read.components, 2);
        let alone = offer(format, &encode(format, &GOOD[..8])).unwrap();
        assert_eq!(alone.components, 1);
        for (id, value) in [
            (0, Value::String("")),
            (1, Value::String(&long[..33])),
            (2, Value::Integer(2)),
            (3, Value::String(&long)),
            (4, Value::String("")),
            (5, Value::Integer(101)),
            (5, Value::Integer(-1)),
            (6, Value::Integer(-157)),
            (6, Value::Integer(5)),
            (7, Value::Integer(1 << 32)),
            (21, Value::Unsigned(0)),
            (21, Value::Unsigned(6)),
        ] {
            let mut values = GOOD;
            let at = values.iter().position(|(other, _)| *other == id).unwrap();
            values[at] = (id, value);
            let bytes = encode(format, &values);
            assert_eq!(
                offer(format, &bytes),
                Err(Error::Malformed),
                "{id} {value:?}"
            );
        }
        assert!(offer(format, &encode(format, &GOOD[..4])).is_err());
        let mut values = GOOD;
        values[7] = (12, Value::String("coap://x"));
        assert_eq!(offer(format, &encode(format, &values)), Err(Error::Path));
        values[7] = GOOD[0];
        assert_eq!(
            offer(format, &encode(format, &values)),
            Err(Error::Malformed)
        );
    }
}

#[test]
fn download_information_needs_a_digest_of_the_right_length() {
    let good = [
        (0, Value::String("p1")),
        (8, Value::Unsigned(27954)),
        (10, Value::Unsigned(4022793929)),
        (12, Value::String("coap://127.0.0.1/p/ab")),
    ];
    for format in FORMATS {
        let info = download(format, &encode(format, &good)).unwrap();
        assert_eq!(info.crc32, Some(4022793929));
        for (at, value) in [
            (1, (8, Value::Unsigned(0))),
            (2, (9, Value::Opaque(&[0; 15]))),
            (2, (11, Value::Opaque(&[0; 33]))),
            (3, (12, Value::String(""))),
        ] {
            let mut values = good;
            values[at] = value;
            assert_eq!(
                download(format, &encode(format, &values)),
                Err(Error::Malformed)
            );
        }
        assert!(download(format, &encode(format, &[good[0], good[1], good[3]])).is_err());
    }
}

#[test]
fn a_crc_of_four_tlv_bytes_is_unsigned() {
    // A peer with an unsigned type writes 4022793929 in four bytes.
    let mut bytes = encode(
        ContentFormat::Tlv,
        &[
            (0, Value::String("p")),
            (8, Value::Integer(9)),
            (12, Value::String("u")),
        ],
    );
    bytes.extend([0xc4, 10]);
    bytes.extend(4022793929u32.to_be_bytes());
    assert_eq!(
        download(ContentFormat::Tlv, &bytes).unwrap().crc32,
        Some(4022793929)
    );
}

#[test]
fn reports_go_both_ways() {
    let sent = Report {
        plan: "p1",
        state: State::Failure,
        answer: Some(true),
        failure: 9,
        text: "the digests differ",
        progress: 27954,
    };
    let mut out = [0; 256];
    let mut encoder = Encoder::begin(ContentFormat::SenmlCbor, Path::ROOT, &mut out).unwrap();
    encoder
        .value(Path::resource(3, 0, 9), Value::Integer(71))
        .unwrap();
    sent.write(&mut encoder, DEFAULT_OBJECT_ID, 1).unwrap();
    let len = encoder.finish().unwrap();
    let records = || Records::new(ContentFormat::SenmlCbor, Path::ROOT, &out[..len]).unwrap();
    assert_eq!(reported(records(), DEFAULT_OBJECT_ID, 1), Ok(Some(sent)));
    assert_eq!(reported(records(), DEFAULT_OBJECT_ID, 0), Ok(None));
}

#[test]
fn the_xml_says_the_same() {
    let xml = include_str!("../../../../../docs/lwm2m/42769.xml");
    let field = |item: &str, name: &str| {
        let rest = item.split_once(&std::format!("<{name}>"))?.1;
        Some(std::string::String::from(
            rest.split_once(&std::format!("</{name}>"))?.0,
        ))
    };
    let head = xml.split("<Resources>").next().unwrap();
    assert_eq!(
        field(head, "ObjectID").unwrap(),
        std::format!("{DEFAULT_OBJECT_ID}")
    );
    assert_eq!(field(head, "ObjectURN").unwrap(), "urn:oma:lwm2m:x:42769");
    let items: Vec<&str> = xml.split("<Item ID=\"").skip(1).collect();
    assert_eq!(items.len(), RESOURCES.len());
    for (item, resource) in items.iter().zip(RESOURCES) {
        assert_eq!(
            item.split('"').next().unwrap(),
            std::format!("{}", resource.id)
        );
        let ops = match resource.ops {
            Operations::Hidden => "",
            Operations::Read => "R",
            Operations::Write => "W",
            Operations::ReadWrite => "RW",
            Operations::Execute => "E",
        };
        let kind = match resource.kind {
            Kind::None => "",
            Kind::Integer => "Integer",
            Kind::Unsigned => "Unsigned Integer",
            Kind::Boolean => "Boolean",
            Kind::String => "String",
            Kind::Opaque => "Opaque",
            Kind::Time => "Time",
            Kind::ObjectLink => "Objlnk",
        };
        assert_eq!(field(item, "Operations").unwrap(), ops, "{}", resource.id);
        assert_eq!(field(item, "Type").unwrap(), kind, "{}", resource.id);
        assert_eq!(field(item, "MultipleInstances").unwrap(), "Single");
        let mandatory = if resource.mandatory {
            "Mandatory"
        } else {
            "Optional"
        };
        assert_eq!(
            field(item, "Mandatory").unwrap(),
            mandatory,
            "{}",
            resource.id
        );
    }
}

/// The names of the elements that begin in `xml`, in order.
fn elements(xml: &str) -> Vec<&str> {
    xml.split('<')
        .filter(|tag| tag.starts_with(|c: char| c.is_ascii_alphabetic()))
        .filter_map(|tag| tag.split([' ', '>']).next())
        .collect()
}

/// LWM2M-v1_1.xsd is a sequence: every element must be there, in this order.
#[test]
fn the_xml_has_the_order_of_the_schema() {
    let xml = include_str!("../../../../../docs/lwm2m/42769.xml");
    let (head, items) = xml.split_once("<Resources>").unwrap();
    let (items, tail) = items.split_once("</Resources>").unwrap();
    let head_order = [
        "LWM2M",
        "Object",
        "Name",
        "Description1",
        "ObjectID",
        "ObjectURN",
        "LWM2MVersion",
        "ObjectVersion",
        "MultipleInstances",
        "Mandatory",
    ];
    assert_eq!(elements(head), head_order);
    assert_eq!(elements(tail), ["Description2"]);
    let item_order = [
        "Item",
        "Name",
        "Operations",
        "MultipleInstances",
        "Mandatory",
        "Type",
        "RangeEnumeration",
        "Units",
        "Description",
    ];
    let found = elements(items);
    assert_eq!(found.len() % item_order.len(), 0);
    assert!(
        found
            .chunks(item_order.len())
            .all(|item| item == item_order)
    );
}

proptest! {
    #[test]
    fn never_panics(bytes: Vec<u8>) {
        for format in FORMATS {
            let _ = (offer(format, &bytes), download(format, &bytes));
        }
    }

    #[cfg(feature = "server")]
    #[test]
    fn what_the_server_writes_the_client_reads(
        plan in "[a-z0-9]{1,64}", component in "\\PC{1,8}", source in "\\PC{0,16}", target in "\\PC{1,16}",
        battery in 0u8..=100, signal in -156i16..=-31, space: u32, length in 1u32.., crc: u32,
        components in 1u8..=5, md5: Option<[u8; 16]>, sha: Option<[u8; 32]>, uri in "[ -~]{1,255}",
    ) {
        let offered = Offer {
            plan: plan.as_str().try_into().unwrap(),
            component: component.as_str().try_into().unwrap(),
            kind: ComponentType::Mcu,
            source: source.as_str().try_into().unwrap(),
            target: target.as_str().try_into().unwrap(),
            battery_limit_percent: battery,
            min_signal_dbm: signal,
            use_space: space,
            components,
        };
        let info = DownloadInfo {
            plan: plan.as_str().try_into().unwrap(),
            length, md5, crc32: Some(crc), sha256: sha,
            uri: uri.as_str().try_into().unwrap(),
        };
        for format in FORMATS {
            let mut out = [0; 1024];
            let mut encoder = Encoder::begin(format, AT, &mut out).unwrap();
            write_offer(&mut encoder, DEFAULT_OBJECT_ID, 1, &offered).unwrap();
            let len = encoder.finish().unwrap();
            prop_assert_eq!(offer(format, &out[..len]), Ok(offered.clone()));
            let mut encoder = Encoder::begin(format, AT, &mut out).unwrap();
            write_download_info(&mut encoder, DEFAULT_OBJECT_ID, 1, &info).unwrap();
            let len = encoder.finish().unwrap();
            prop_assert_eq!(download(format, &out[..len]), Ok(info.clone()));
        }
    }
}
