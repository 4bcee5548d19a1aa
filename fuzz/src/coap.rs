//! One datagram: what is parsed is written again byte for byte, and what reads it agrees with itself.

use sota_coap::serve::{Representation, serve_block};
use sota_coap::{
    Assembly, Block, Builder, Code, Etag, Kind, Message, Szx, Taken, echo, message, observe, option,
};

/// Length of the representation that is served.
const LEN: u32 = 5_000;
const UNKNOWN: &[u16] = &[];

/// What stands at this place of the representation.
fn byte(at: u32) -> u8 {
    (at % 251) as u8
}

/// Runs one datagram.
pub fn run(data: &[u8]) {
    let message = match Message::new_checked(data) {
        Ok(message) => message,
        Err(_) => {
            if let Some(reset) = message::reset_for(data) {
                let reset = Message::new_checked(&reset).expect("our Reset is CoAP");
                assert_eq!(reset.kind(), Kind::Rst);
                assert_eq!(reset.message_id().to_be_bytes(), data[2..4]);
            }
            return;
        }
    };
    written_again(&message, data);
    blocks(&message);
    paths(&message);
    served(&message);
    assembled(&message);
}

/// Options have one encoding each, so writing what was read gives the same bytes.
fn written_again(message: &Message<'_>, data: &[u8]) {
    let mut out = vec![0; data.len()];
    let mut builder = Builder::new(
        &mut out,
        message.kind(),
        message.code(),
        message.message_id(),
        message.token(),
    );
    for (number, value) in message.options() {
        if value.len() > option::length_range(number).1 {
            return; // longer than the option may be: read, and never written
        }
        builder.option(number, value);
    }
    let written = builder.payload(message.payload()).finish();
    assert_eq!(written, Ok(data.len()), "{message:?}");
    assert_eq!(out, data);
}

fn blocks(message: &Message<'_>) {
    for number in [option::BLOCK1, option::BLOCK2] {
        let Some(Ok(block)) = message.block(number) else {
            continue;
        };
        let bits = option::Uint::new(block.encode());
        assert_eq!(Block::decode(bits.as_bytes()), Ok(block));
        assert_eq!(
            Block::at(block.offset(), block.more, block.szx),
            Ok(block),
            "the offset names the block"
        );
    }
}

fn paths(message: &Message<'_>) {
    let all: Vec<u16> = message.options().map(|(number, _)| number).collect();
    assert!(all.is_sorted());
    if let Some(number) = message.first_unknown_critical(UNKNOWN) {
        assert!(option::is_critical(number) && all.contains(&number));
    }
    if let Some(text) = message
        .path()
        .map(|segment| std::str::from_utf8(segment).ok())
        .collect::<Option<Vec<_>>>()
        && text.iter().all(|segment| !segment.contains('/'))
        && text.first().is_none_or(|first| !first.is_empty())
    {
        assert!(message.path_is(&format!("/{}", text.join("/"))), "{text:?}");
    }
    for key in ["ep", "lt", "b", ""] {
        let _ = message.query(key);
    }
    for (number, value) in message.options() {
        assert!(message.values(number).any(|its| its == value));
    }
    let _ = echo::challenge(message);
    let _ = observe::requested(message);
}

/// A server's answer to it is CoAP, answers this message, and holds the bytes that were asked for.
fn served(message: &Message<'_>) {
    if !sota_coap::serve::is_request(message) {
        return;
    }
    let rep = Representation {
        len: LEN,
        etag: Etag::new(b"v1").expect("two bytes"),
        content_format: Some(42),
        largest: Szx::S512,
    };
    let mut out = [0; 1152];
    let len = serve_block(message, &rep, 7, &mut out, |from, place: &mut [u8]| {
        for (at, place) in (from..).zip(place) {
            *place = byte(at);
        }
        Ok::<(), ()>(())
    })
    .expect("1152 bytes suffice");
    let answer = Message::new_checked(&out[..len]).expect("our answer is CoAP");
    assert_eq!(answer.token(), message.token());
    match message.kind() {
        Kind::Con => assert_eq!(
            (answer.kind(), answer.message_id()),
            (Kind::Ack, message.message_id())
        ),
        _ => assert_eq!((answer.kind(), answer.message_id()), (Kind::Non, 7)),
    }
    if answer.code() != Code::CONTENT {
        assert!(answer.payload().is_empty());
        return;
    }
    let asked = message.block(option::BLOCK2).and_then(Result::ok);
    let block = answer
        .block(option::BLOCK2)
        .map(|block| block.expect("our own block"));
    let (offset, more) = block.map_or((0, false), |block| (block.offset(), block.more));
    assert_eq!(
        offset,
        asked.map_or(0, Block::offset),
        "the place asked for"
    );
    let end = offset + answer.payload().len() as u32;
    assert_eq!(more, end < LEN);
    assert!(block.is_some() || end == LEN);
    for (at, its) in (offset..).zip(answer.payload()) {
        assert_eq!(*its, byte(at));
    }
}

/// A body begun by this request stays within its limit.
fn assembled(message: &Message<'_>) {
    let mut assembly = Assembly::new(300, Szx::S128);
    for _ in 0..2 {
        match assembly.on_request(message) {
            Taken::Continue { offset, data, .. } => {
                assert_eq!(offset as usize + data.len(), assembly.received() as usize);
            }
            Taken::Complete { offset, data, .. } => assert!(offset as usize + data.len() <= 300),
            Taken::Repeated { .. } => {}
            Taken::Refused { code, .. } => assert!(code.class() == 4),
        }
        assert!(assembly.received() <= 300);
    }
}
