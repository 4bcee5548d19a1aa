//! Requests and answers against those of PyPI's `smp`.

use super::*;
use crate::tests::{Random, vector};
use std::vec;

fn hash() -> Hash {
    Hash::new(&core::array::from_fn::<u8, 32, _>(|i| i as u8)).unwrap()
}

#[test]
fn the_requests_are_those_of_smp() {
    let hash = hash();
    let requests = [
        ("echo", 1, Request::Echo("sota")),
        ("reset", 1, Request::Reset),
        ("parameters", 1, Request::Parameters),
        ("state", 1, Request::State),
        ("state_v1", 0, Request::State),
        ("test", 1, Request::Test(&hash)),
        ("confirm", 1, Request::Confirm(&hash)),
        ("erase", 1, Request::Erase),
    ];
    for (name, version, request) in requests {
        let mut out = [0; 100];
        let count = request.emit(version, 7, &mut out).unwrap();
        assert_eq!(out[..count], vector(name), "{name}");
        for room in 0..count {
            assert_eq!(
                request.emit(version, 7, &mut out[..room]),
                None,
                "{name} {room}"
            );
        }
    }
}

#[test]
fn the_parts_are_those_of_smp() {
    let first = First {
        length: 1000,
        sha256: hash().as_slice().try_into().ok(),
        image: 0,
        upgrade: false,
    };
    for (name, first, offset, most) in [
        ("upload_first", Some(first), 0, 40),
        ("upload_next", None, 40, 300),
    ] {
        let upload = Upload {
            first,
            offset,
            most,
        };
        let mut out = [0xEE; 500];
        let (count, bytes) = upload
            .emit(1, 7, &mut out, |data| {
                data.fill(0);
                true
            })
            .unwrap();
        assert_eq!(bytes, most);
        assert_eq!(out[..count], vector(name), "{name}");
        assert_eq!(upload.emit(1, 7, &mut out, |_| false), None);
    }
}

/// However small the room is, what was made is inside of it, and whole words where there is more.
#[test]
fn parts_fit_their_room() {
    for room in 0..600 {
        let upload = Upload {
            first: None,
            offset: 70_000,
            most: 2_000,
        };
        let mut out = vec![0; room];
        let Some((count, bytes)) = upload.emit(1, 0, &mut out, |data| !data.is_empty()) else {
            assert!(room < 30, "{room}");
            continue;
        };
        assert!(count <= room && bytes > 0);
        assert!(bytes <= 64 || bytes % 16 == 0);
        assert!(room - count < 20, "{room} {count}");
        assert!(Header::parse(&out[..count]).is_some());
    }
}

fn answer(name: &str) -> Answer {
    let packet = vector(name);
    let (_, body) = Header::parse(&packet).unwrap();
    Answer::parse(body).unwrap()
}

#[test]
fn answers() {
    let none = Answer::default();
    assert_eq!(
        answer("offset"),
        Answer {
            offset: Some(340),
            ..none.clone()
        }
    );
    assert_eq!(answer("offset_v1"), answer("offset"));
    let wanted = Answer {
        offset: Some(1000),
        matches: Some(true),
        ..none.clone()
    };
    assert_eq!(answer("matches"), wanted);
    let wanted = Answer {
        buf_size: Some(384),
        buf_count: Some(4),
        ..none.clone()
    };
    assert_eq!(answer("buffers"), wanted);
    assert_eq!(
        answer("echoed"),
        Answer {
            echo: Some(4),
            ..none.clone()
        }
    );
    let refused = |group, rc| Answer {
        refusal: Some(Refusal { group, rc }),
        ..none.clone()
    };
    assert_eq!(answer("refused"), refused(Some(1), 30));
    assert_eq!(answer("refused_v1"), refused(None, 3));
    assert_eq!(Answer::parse(&[0xA0]), Ok(none.clone()));
    assert_eq!(answer("states_none").slots.unwrap().len(), 0);
}

#[test]
fn slots_of_known_and_unknown_length() {
    let slots = answer("states").slots.unwrap();
    assert_eq!(Some(&slots), answer("states_indefinite").slots.as_ref());
    let [first, second] = &slots[..] else {
        panic!("{slots:?}");
    };
    assert_eq!((first.slot, first.version.as_str()), (0, "1.0.0"));
    assert_eq!(
        (first.active, first.confirmed, first.pending),
        (true, true, false)
    );
    assert_eq!((second.slot, second.version.as_str()), (1, "2.0.0.7"));
    assert_eq!(
        (second.active, second.confirmed, second.pending),
        (false, false, true)
    );
    assert_eq!(second.hash, Hash::new(&[2; 32]));
}

#[test]
fn what_is_no_answer() {
    let bodies: [&[u8]; 8] = [
        &[],
        &[0x80],                                                       // an array
        &[0xA1],                                                       // cut off
        &[0xA1, 0x01, 0x02],                                           // a number for a key
        &[0xA1, 0x63, b'o', b'f', b'f', 0x61, b'x'],                   // a text for an offset
        &[0xA1, 0x63, b'o', b'f', b'f', 0x1B, 1, 0, 0, 0, 0, 0, 0, 0], // too large an offset
        &[0xBF, 0x62, b'r', b'c', 0x00],                               // without its end
        &[0xA1, 0x66, b'i', b'm', b'a', b'g', b'e', b's', 0x81, 0x01], // a number for a slot
    ];
    for body in bodies {
        assert_eq!(Answer::parse(body), Err(SmpError::SmpMalformed), "{body:?}");
    }
    let packet = vector("states");
    let (_, body) = Header::parse(&packet).unwrap();
    for cut in 0..body.len() {
        assert!(Answer::parse(&body[..cut]).is_err(), "{cut}");
    }
}

#[test]
fn more_than_is_known_of() {
    // {"x": [1, {"y": h'00'}], "off": 5}
    let body = [
        0xA2, 0x61, b'x', 0x82, 1, 0xA1, 0x61, b'y', 0x41, 0, 0x63, b'o', b'f', b'f', 5,
    ];
    assert_eq!(Answer::parse(&body).unwrap().offset, Some(5));
    // a hash of another length, a version that is none
    assert_eq!(Hash::new(&[0; 20]), None);
    assert_eq!(Hash::new(&[9; 64]).unwrap().as_slice(), [9; 64]);
}

#[test]
fn any_bytes_do_not_panic() {
    let packet = vector("states");
    let mut random = Random(3);
    for _ in 0..20_000 {
        let mut bytes = packet[8..].to_vec();
        for _ in 0..random.below(4) + 1 {
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] = random.below(256) as u8;
        }
        let _ = Answer::parse(&bytes);
        let _ = Answer::parse(&random.bytes(40));
    }
}
