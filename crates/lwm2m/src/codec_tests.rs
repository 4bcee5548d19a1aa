//! What holds for every format: round trips, never a panic; and fixed bytes from elsewhere.

extern crate std;
use proptest::prelude::*;
use std::{string::String, vec, vec::Vec};

use crate::{ContentFormat, Encoder, Error, Path, RawValue, Records, Value};

#[derive(Clone, Debug)]
enum Owned {
    Integer(i64),
    Unsigned(u64),
    Bool(bool),
    String(String),
    Opaque(Vec<u8>),
    Link(u16, u16),
}

impl Owned {
    fn value(&self) -> Value<'_> {
        match self {
            Owned::Integer(v) => Value::Integer(*v),
            Owned::Unsigned(v) => Value::Unsigned(*v),
            Owned::Bool(v) => Value::Bool(*v),
            Owned::String(v) => Value::String(v),
            Owned::Opaque(v) => Value::Opaque(v),
            Owned::Link(o, i) => Value::ObjectLink(*o, *i),
        }
    }

    fn is(&self, raw: RawValue<'_>) -> bool {
        match self {
            Owned::Integer(v) => raw.as_i64() == Some(*v),
            Owned::Unsigned(v) => raw.as_u64() == Some(*v),
            Owned::Bool(v) => raw.as_bool() == Some(*v),
            Owned::String(v) => raw.as_str() == Some(v),
            Owned::Opaque(v) => raw.as_bytes() == Some(v),
            Owned::Link(o, i) => raw.as_object_link() == Some((*o, *i)),
        }
    }
}

fn owned() -> impl Strategy<Value = Owned> {
    prop_oneof![
        any::<i64>().prop_map(Owned::Integer),
        any::<u64>().prop_map(Owned::Unsigned),
        any::<bool>().prop_map(Owned::Bool),
        "\\PC{0,40}".prop_map(Owned::String),
        proptest::collection::vec(any::<u8>(), 0..300).prop_map(Owned::Opaque),
        (any::<u16>(), any::<u16>()).prop_map(|(o, i)| Owned::Link(o, i)),
    ]
}

/// Resources of one object, in the order of their paths as the writers need it.
fn resources() -> impl Strategy<Value = Vec<(Path, Owned)>> {
    proptest::collection::btree_map(
        (0u16..3, 0u16..400, proptest::option::of(0u16..300)),
        owned(),
        0..40,
    )
    .prop_map(|map| {
        let mut all: Vec<(Path, Owned)> = Vec::new();
        for ((i, r, ri), value) in map {
            let path = match ri {
                Some(ri) => Path::resource_instance(9, i, r, ri),
                None => Path::resource(9, i, r),
            };
            // A resource is single or multiple, never both.
            if !all.iter().any(|(p, _)| {
                p.instance_id() == Some(i)
                    && p.resource_id() == Some(r)
                    && p.depth() != path.depth()
            }) {
                all.push((path, value));
            }
        }
        all
    })
}

fn encode(
    format: ContentFormat,
    base: Path,
    values: &[(Path, Value<'_>)],
) -> Result<Vec<u8>, Error> {
    let mut out = vec![0; 16384];
    let mut encoder = Encoder::begin(format, base, &mut out)?;
    for (path, value) in values {
        encoder.value(*path, *value)?;
    }
    let len = encoder.finish()?;
    out.truncate(len);
    Ok(out)
}

fn decode(
    format: ContentFormat,
    base: Path,
    bytes: &[u8],
) -> Result<Vec<(Path, RawValue<'_>)>, Error> {
    Records::new(format, base, bytes)?.collect()
}

proptest! {
    #[test]
    fn round_trip(values in resources()) {
        for format in [ContentFormat::Tlv, ContentFormat::SenmlCbor] {
            let written: Vec<_> = values.iter().map(|(p, v)| (*p, v.value())).collect();
            let bytes = encode(format, Path::object(9), &written).unwrap();
            let read = decode(format, Path::object(9), &bytes).unwrap();
            prop_assert_eq!(read.len(), values.len());
            for ((path, value), (its_path, raw)) in values.iter().zip(read) {
                prop_assert_eq!(*path, its_path);
                prop_assert!(value.is(raw), "{:?} {:?}", value, raw);
            }
        }
    }

    #[test]
    fn too_small_a_buffer_is_an_error(values in resources(), size in 0usize..600) {
        for format in [ContentFormat::Tlv, ContentFormat::SenmlCbor] {
            let written: Vec<_> = values.iter().map(|(p, v)| (*p, v.value())).collect();
            let whole = encode(format, Path::object(9), &written).unwrap();
            let mut out = vec![0; size];
            let result = (|| {
                let mut encoder = Encoder::begin(format, Path::object(9), &mut out)?;
                for (path, value) in &written {
                    encoder.value(*path, *value)?;
                }
                encoder.finish()
            })();
            match result {
                Ok(len) => prop_assert_eq!(&out[..len], &whole[..]),
                Err(error) => prop_assert_eq!(error, Error::Full),
            }
        }
    }

    #[test]
    fn never_panics(bytes: Vec<u8>, depth in 0usize..5) {
        let base = (0..depth).fold(Path::ROOT, |p, id| p.child(id as u16).unwrap());
        for format in [ContentFormat::Tlv, ContentFormat::SenmlCbor, ContentFormat::Cbor] {
            if let Ok(records) = Records::new(format, base, &bytes) {
                let read: Vec<_> = records.collect();
                prop_assert!(read.len() <= bytes.len() + 1);
                for (path, _) in read.into_iter().flatten() {
                    prop_assert!(base.contains(path));
                }
            }
        }
    }

    #[test]
    fn never_panics_near_valid(values in resources(), at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
        for format in [ContentFormat::Tlv, ContentFormat::SenmlCbor] {
            let written: Vec<_> = values.iter().map(|(p, v)| (*p, v.value())).collect();
            let mut bytes = encode(format, Path::object(9), &written).unwrap();
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
                bytes.truncate(cut.index(bytes.len()) + 1);
            }
            if let Ok(records) = Records::new(format, Path::object(9), &bytes) {
                for (path, value) in records.flatten() {
                    prop_assert!(Path::object(9).contains(path));
                    let _ = (value.as_i64(), value.as_str(), value.as_bytes(), value.as_f64());
                }
            }
        }
    }
}

/// The Device object of the example in LwM2M TS 1.0, section 6.4.3.1 ("Single Object Instance Request"), cut to
/// the entries whose bytes the text gives one by one.
const DEVICE: &[u8] = &[
    0xc8, 0x00, 0x14, b'O', b'p', b'e', b'n', b' ', b'M', b'o', b'b', b'i', b'l', b'e', b' ', b'A',
    b'l', b'l', b'i', b'a', b'n', b'c', b'e', // 0 Manufacturer
    0xc8, 0x01, 0x16, b'L', b'i', b'g', b'h', b't', b'w', b'e', b'i', b'g', b'h', b't', b' ', b'M',
    b'2', b'M', b' ', b'C', b'l', b'i', b'e', b'n', b't', // 1 Model Number
    0xc8, 0x02, 0x09, b'3', b'4', b'5', b'0', b'0', b'0', b'1', b'2', b'3', // 2 Serial Number
    0xc3, 0x03, b'1', b'.', b'0', // 3 Firmware Version
    0x86, 0x06, 0x41, 0x00, 0x01, 0x41, 0x01, 0x05, // 6 Available Power Sources
    0x88, 0x07, 0x08, 0x42, 0x00, 0x0e, 0xd8, 0x42, 0x01, 0x13,
    0x88, // 7 Power Source Voltage
    0x87, 0x08, 0x41, 0x00, 0x7d, 0x42, 0x01, 0x03, 0x84, // 8 Power Source Current
    0xc1, 0x09, 0x64, // 9 Battery Level
    0xc1, 0x0a, 0x0f, // 10 Memory Free
    0x83, 0x0b, 0x41, 0x00, 0x00, // 11 Error Code
    0xc4, 0x0d, 0x51, 0x82, 0x42, 0x8f, // 13 Current Time
    0xc6, 0x0e, b'+', b'0', b'2', b':', b'0', b'0', // 14 UTC Offset
    0xc1, 0x10, b'U', // 16 Binding
];

fn device() -> Vec<(Path, Value<'static>)> {
    let r = |id| Path::resource(3, 0, id);
    let m = |id, ri| Path::resource_instance(3, 0, id, ri);
    vec![
        (r(0), Value::String("Open Mobile Alliance")),
        (r(1), Value::String("Lightweight M2M Client")),
        (r(2), Value::String("345000123")),
        (r(3), Value::String("1.0")),
        (m(6, 0), Value::Integer(1)),
        (m(6, 1), Value::Integer(5)),
        (m(7, 0), Value::Integer(3800)),
        (m(7, 1), Value::Integer(5000)),
        (m(8, 0), Value::Integer(125)),
        (m(8, 1), Value::Integer(900)),
        (r(9), Value::Integer(100)),
        (r(10), Value::Integer(15)),
        (m(11, 0), Value::Integer(0)),
        (r(13), Value::Time(1367491215)),
        (r(14), Value::String("+02:00")),
        (r(16), Value::String("U")),
    ]
}

#[test]
fn the_standards_device_in_tlv() {
    let base = Path::instance(3, 0);
    assert_eq!(encode(ContentFormat::Tlv, base, &device()).unwrap(), DEVICE);
    let read = decode(ContentFormat::Tlv, base, DEVICE).unwrap();
    assert_eq!(read.len(), 16);
    assert_eq!(read[7].0, Path::resource_instance(3, 0, 7, 1));
    assert_eq!(read[7].1.as_i64(), Some(5000));
    assert_eq!(read[13].1.as_i64(), Some(1367491215));
}

#[test]
fn the_same_in_an_object_instance() {
    let bytes = encode(ContentFormat::Tlv, Path::object(3), &device()).unwrap();
    assert_eq!(&bytes[..3], &[0x08, 0x00, DEVICE.len() as u8]);
    assert_eq!(&bytes[3..], DEVICE);
    for base in [Path::object(3), Path::instance(3, 0)] {
        assert_eq!(decode(ContentFormat::Tlv, base, &bytes).unwrap().len(), 16);
    }
    assert_eq!(
        decode(ContentFormat::Tlv, Path::instance(3, 1), &bytes),
        Err(Error::Path)
    );
}

#[test]
fn tlv_forms() {
    let one = |base, path, value| encode(ContentFormat::Tlv, base, &[(path, value)]).unwrap();
    let battery = Path::resource(3, 0, 9);
    assert_eq!(one(battery, battery, Value::Integer(71)), [0xc1, 9, 71]);
    // 200 does not fit a signed byte: peers that know no unsigned type must read 200 too.
    assert_eq!(
        one(battery, battery, Value::Unsigned(200)),
        [0xc2, 9, 0, 200]
    );
    let wide = Path::resource(3, 0, 0x1234);
    assert_eq!(one(wide, wide, Value::Bool(true)), [0xe1, 0x12, 0x34, 1]);
    let bytes = one(wide, wide, Value::Opaque(&[7; 300]));
    assert_eq!(&bytes[..5], &[0xf0, 0x12, 0x34, 0x01, 0x2c]);
    assert_eq!(
        decode(ContentFormat::Tlv, wide, &bytes).unwrap()[0]
            .1
            .as_bytes(),
        Some(&[7; 300][..])
    );
    let ri = Path::resource_instance(3, 0, 6, 1);
    assert_eq!(one(ri, ri, Value::Integer(5)), [0x41, 1, 5]);
    assert_eq!(
        one(Path::resource(3, 0, 6), ri, Value::Integer(5)),
        [0x83, 6, 0x41, 1, 5]
    );
    // A 24-bit length is read as well.
    assert_eq!(
        decode(ContentFormat::Tlv, battery, &[0xd8, 9, 0, 0, 1, 71]).unwrap()[0]
            .1
            .as_i64(),
        Some(71)
    );
}

#[test]
fn bad_tlv() {
    let base = Path::instance(3, 0);
    for (bytes, error) in [
        (&[0xc2, 9, 1][..], Error::Malformed), // longer than the payload
        (&[0xc8, 9], Error::Malformed),        // no length
        (&[0x82, 6, 0x42, 0, 1], Error::Malformed), // longer than its holder
        (&[0x83, 6, 0xc1, 0, 1], Error::Malformed), // resource in a multiple resource
        (&[0x41, 0, 1], Error::Malformed),     // resource instance without a resource
        (&[0xe1, 0xff, 0xff, 1], Error::Path), // reserved id
    ] {
        assert_eq!(
            decode(ContentFormat::Tlv, base, bytes),
            Err(error),
            "{bytes:02x?}"
        );
    }
    assert_eq!(decode(ContentFormat::Tlv, base, &[]), Ok(vec![]));
    assert_eq!(
        encode(ContentFormat::Tlv, Path::ROOT, &[]),
        Err(Error::Format)
    );
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

#[test]
fn senml_cbor_as_cbor2_writes_it() {
    // python3: cbor2.dumps([{-2:'/3/0/',0:'0',3:'Open Mobile Alliance'},{0:'9',2:100},{0:'6/0',2:1},
    //   {0:'16',4:True},{0:'22','vlo':'9:1'},{-2:'/42769/1/',0:'9',8:b'\1\2'}]).hex()
    let bytes = hex(
        "86a321652f332f302f00613003744f70656e204d6f62696c6520416c6c69616e6365a2006139021864a20063362f300201a20062313604f5a20062323263766c6f63393a31a321692f34323736392f312f00613908420102",
    );
    let values = [
        (
            Path::resource(3, 0, 0),
            Value::String("Open Mobile Alliance"),
        ),
        (Path::resource(3, 0, 9), Value::Integer(100)),
        (Path::resource_instance(3, 0, 6, 0), Value::Integer(1)),
        (Path::resource(3, 0, 16), Value::Bool(true)),
        (Path::resource(3, 0, 22), Value::ObjectLink(9, 1)),
        (Path::resource(42769, 1, 9), Value::Opaque(&[1, 2])),
    ];
    assert_eq!(
        encode(ContentFormat::SenmlCbor, Path::ROOT, &values).unwrap(),
        bytes
    );
    let read = decode(ContentFormat::SenmlCbor, Path::ROOT, &bytes).unwrap();
    assert_eq!(
        read,
        values.map(|(path, value)| (path, RawValue::Typed(value)))
    );
}

#[test]
fn senml_cbor_of_other_writers() {
    // Indefinite array and maps, times, a name without base, a record without a value, an unknown label.
    // [_ {_ -2:"/3/0/", -3:1700000000, 0:"9", 2:71, "x":1}, {0:"10", 6:-5, 2:15}, {-2:"", 0:"/5/0/3"}]
    let bytes = hex("9fbf21652f332f302f221a6553f1000061390218476178 01ffa300623130062402 0fa2216000662f352f302f33ff".replace(' ', "").as_str());
    let read = decode(ContentFormat::SenmlCbor, Path::ROOT, &bytes).unwrap();
    assert_eq!(read.len(), 3);
    assert_eq!(read[0].0, Path::resource(3, 0, 9));
    assert_eq!(read[1].1.as_i64(), Some(15));
    assert_eq!(read[2], (Path::resource(5, 0, 3), RawValue::Absent));
}

#[test]
fn bad_senml_cbor() {
    for (bytes, error) in [
        ("", Error::Malformed),
        ("a0", Error::Malformed),                  // no array
        ("81", Error::Malformed),                  // cut
        ("8000", Error::Malformed),                // something behind
        ("81a20061390247", Error::Malformed),      // value cut
        ("81a3006139240102 01", Error::Malformed), // base value
        ("81a2006139627865", Error::Malformed),    // label cut
        ("81a2006139 62785f01", Error::Malformed), // label "x_" must be understood
        ("81a2006178 0201", Error::Path),          // name "x"
    ] {
        let bytes = hex(&bytes.replace(' ', ""));
        assert_eq!(
            decode(ContentFormat::SenmlCbor, Path::ROOT, &bytes),
            Err(error),
            "{bytes:02x?}"
        );
    }
    let outside = encode(
        ContentFormat::SenmlCbor,
        Path::ROOT,
        &[(Path::resource(3, 0, 9), Value::Integer(1))],
    )
    .unwrap();
    assert_eq!(
        decode(ContentFormat::SenmlCbor, Path::instance(5, 0), &outside),
        Err(Error::Path)
    );
}

#[test]
fn more_than_23_records_lengthen_the_header() {
    for count in [23u16, 24, 255, 256] {
        let values: Vec<_> = (0..count)
            .map(|r| (Path::resource(3, 0, r), Value::Integer(0)))
            .collect();
        let bytes = encode(ContentFormat::SenmlCbor, Path::ROOT, &values).unwrap();
        let read = decode(ContentFormat::SenmlCbor, Path::ROOT, &bytes).unwrap();
        assert_eq!(read.len(), usize::from(count));
    }
}

#[test]
fn a_value_outside_the_asked_path_is_refused() {
    let ri = Path::resource_instance(3, 0, 6, 1);
    let one = |bytes| decode(ContentFormat::Tlv, ri, bytes).map(|read: Vec<_>| read.len());
    assert_eq!(one(&[0x83, 6, 0x41, 1, 5]), Ok(1)); // in its multiple resource
    assert_eq!(one(&[0x83, 6, 0x41, 0, 5]), Err(Error::Path)); // the neighbour
    assert_eq!(one(&[0xc1, 6, 5]), Err(Error::Path)); // the whole resource
}
