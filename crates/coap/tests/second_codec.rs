//! The codec against coap-lite, both directions, and against arbitrary bytes.

use coap_lite::{CoapOption, MessageType, Packet};
use proptest::collection::vec;
use proptest::prelude::*;
use sota_coap::{
    Assembly, Block, Builder, Code, Download, Etag, Exchange, Kind, Message, Params, ParseError,
    Szx, Token, Upload, echo, message, observe, option,
};

/// A message in neutral form.
#[derive(Clone, Debug, PartialEq)]
struct Plain {
    kind: Kind,
    code: u8,
    mid: u16,
    token: Vec<u8>,
    options: Vec<(u16, Vec<u8>)>,
    payload: Vec<u8>,
}

fn plain() -> impl Strategy<Value = Plain> {
    let kind = prop_oneof![
        Just(Kind::Con),
        Just(Kind::Non),
        Just(Kind::Ack),
        Just(Kind::Rst)
    ];
    // known numbers with their lengths, and unknown ones of any distance and length
    let known = (
        prop::sample::select(
            &[
                1u16, 3, 4, 5, 6, 7, 8, 11, 12, 14, 15, 17, 20, 23, 27, 28, 35, 39, 60, 252, 292,
            ][..],
        ),
        vec(any::<u8>(), 0..300),
    )
        .prop_map(|(number, mut value)| {
            value.truncate(option::length_range(number).1);
            (number, value)
        });
    let unknown = (293u16.., vec(any::<u8>(), 0..600));
    let code = prop::sample::select(
        &[
            0x01u8, 0x02, 0x03, 0x04, 0x05, 0x41, 0x44, 0x45, 0x5f, 0x84, 0x88, 0x8d, 0xa0,
        ][..],
    );
    (
        kind,
        code,
        any::<u16>(),
        vec(any::<u8>(), 0..=8),
        vec(prop_oneof![known, unknown], 0..8),
        vec(any::<u8>(), 0..1100),
    )
        .prop_map(|(kind, code, mid, token, mut options, payload)| {
            options.sort_by_key(|&(number, _)| number);
            Plain {
                kind,
                code,
                mid,
                token,
                options,
                payload,
            }
        })
}

fn ours(p: &Plain) -> Vec<u8> {
    let mut buffer = vec![0; 8192];
    let token = Token::new(&p.token).unwrap();
    let mut b = Builder::new(&mut buffer, p.kind, Code::from_byte(p.code), p.mid, token);
    for (number, value) in &p.options {
        b.option(*number, value);
    }
    let n = b.payload(&p.payload).finish().unwrap();
    buffer.truncate(n);
    buffer
}

fn read_ours(m: &Message<'_>) -> Plain {
    Plain {
        kind: m.kind(),
        code: m.code().byte(),
        mid: m.message_id(),
        token: m.token().as_bytes().to_vec(),
        options: m.options().map(|(n, v)| (n, v.to_vec())).collect(),
        payload: m.payload().to_vec(),
    }
}

fn theirs(p: &Plain) -> Vec<u8> {
    let mut packet = Packet::new();
    packet.header.set_type(match p.kind {
        Kind::Con => MessageType::Confirmable,
        Kind::Non => MessageType::NonConfirmable,
        Kind::Ack => MessageType::Acknowledgement,
        Kind::Rst => MessageType::Reset,
    });
    packet.header.code = p.code.into();
    packet.header.message_id = p.mid;
    packet.set_token(p.token.clone());
    for (number, value) in &p.options {
        packet.add_option(CoapOption::from(*number), value.clone());
    }
    packet.payload = p.payload.clone();
    packet.to_bytes_unlimited().unwrap()
}

fn read_theirs(packet: &Packet) -> Plain {
    Plain {
        kind: match packet.header.get_type() {
            MessageType::Confirmable => Kind::Con,
            MessageType::NonConfirmable => Kind::Non,
            MessageType::Acknowledgement => Kind::Ack,
            MessageType::Reset => Kind::Rst,
        },
        code: packet.header.code.into(),
        mid: packet.header.message_id,
        token: packet.get_token().to_vec(),
        options: packet
            .options()
            .flat_map(|(number, values)| values.iter().map(|v| (*number, v.clone())))
            .collect(),
        payload: packet.payload.clone(),
    }
}

/// Bytes that look like CoAP often enough to reach every parser: a plausible header, then anything.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..200),
        (
            0u8..=8,
            0u8..4,
            any::<u8>(),
            any::<u16>(),
            vec(any::<u8>(), 0..200)
        )
            .prop_map(|(tkl, kind, code, mid, rest)| {
                let mut bytes = vec![0x40 | kind << 4 | tkl, code];
                bytes.extend(mid.to_be_bytes());
                bytes.extend(rest);
                bytes
            }),
        (plain(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(p, at, byte)| {
            let mut bytes = ours(&p);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..Default::default() })]

    #[test]
    fn they_read_what_we_write(p in plain()) {
        let packet = Packet::from_bytes(&ours(&p)).unwrap();
        prop_assert_eq!(read_theirs(&packet), p);
    }

    #[test]
    fn we_read_what_they_write(p in plain()) {
        let bytes = theirs(&p);
        prop_assert_eq!(&bytes, &ours(&p));
        prop_assert_eq!(read_ours(&Message::new_checked(&bytes).unwrap()), p);
    }

    /// The same bytes mean the same to both; where we are stricter, RFC 7252 section 3 or 4 says so.
    #[test]
    fn arbitrary_bytes_mean_the_same(bytes in bytes()) {
        match (Message::new_checked(&bytes), Packet::from_bytes(&bytes)) {
            (Ok(m), Ok(packet)) => prop_assert_eq!(read_ours(&m), read_theirs(&packet)),
            (Err(_), Err(_)) => {}
            (Ok(m), Err(e)) => prop_assert!(false, "only we read {:?}: {}", m, e),
            (Err(e), Ok(_)) => prop_assert!(matches!(
                e,
                ParseError::Version | ParseError::EmptyPayload | ParseError::EmptyWithContent | ParseError::ReservedCode
            ), "only they read it: {}", e),
        }
    }

    /// No parser and no machine panics, whatever arrives.
    #[test]
    fn nothing_panics(bytes in bytes(), from in any::<u32>(), to in any::<Option<u32>>(), number in any::<u16>()) {
        let _ = message::reset_for(&bytes);
        let _ = Block::decode(&bytes);
        let _ = option::decode_uint(&bytes);
        let Ok(m) = Message::new_checked(&bytes) else { return Ok(()) };
        let _ = (m.option(number), m.uint_option(number), m.block(number), m.query("ep"), m.path_is("/a/b"));
        let _ = (m.first_unknown_critical(&[number]), observe::requested(&m), echo::challenge(&m));
        let _ = format!("{m:?}");
        let mut e = Exchange::start(u64::MAX - 1, m.message_id(), m.token(), &Params::NB_IOT, u32::MAX, u16::MAX);
        let _ = (e.on_message(u64::MAX, &m), e.poll(u64::MAX));
        if let Ok(mut d) = Download::new(from, to, Szx::S1024, Etag::NONE) {
            let _ = (d.on_response(&m), d.on_response(&m), d.block());
        }
        if let Ok(mut u) = Upload::new(from, Szx::S64) {
            let _ = (u.on_response(&m), u.on_response(&m), u.range());
        }
        let mut a = Assembly::new(from, Szx::S1024);
        let _ = (a.on_request(&m), a.on_request(&m));
        #[cfg(feature = "server")]
        {
            let rep = sota_coap::serve::Representation {
                len: from, etag: Etag::new(b"e").unwrap(), content_format: None, largest: Szx::S1024,
            };
            let mut out = [0; 1152];
            let n = sota_coap::serve::serve_block(&m, &rep, 1, &mut out, |_, _| Ok::<_, ()>(())).unwrap();
            prop_assert!(Message::new_checked(&out[..n]).is_ok());
            let _ = echo::server::check(&bytes, 0, u64::MAX, |_| [0; 8]);
        }
    }
}
