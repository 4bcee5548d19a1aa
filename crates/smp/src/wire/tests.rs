//! Lines and frames against those of PyPI's `smp`, and everything that can go wrong with one.

use super::*;
use crate::tests::{Random, text, vector};
use std::vec::Vec;

/// The lines of a packet.
fn lines(packet: &[u8]) -> Vec<u8> {
    let mut tx = Tx::new();
    tx.send(|out| {
        out[..packet.len()].copy_from_slice(packet);
        Some(packet.len())
    })
    .unwrap();
    let mut out = Vec::new();
    let mut bytes = [0; 7];
    loop {
        match tx.take(&mut bytes) {
            0 => break,
            count => out.extend_from_slice(&bytes[..count]),
        }
    }
    assert!(tx.is_empty());
    out
}

/// What is heard of these bytes: packets, and numbers of errors.
fn hear(bytes: &[u8]) -> Vec<Result<Vec<u8>, u16>> {
    let mut rx = Rx::new();
    let mut heard = Vec::new();
    for byte in bytes {
        match rx.byte(*byte) {
            None => {}
            Some(Heard::Packet) => heard.push(Ok(rx.packet().to_vec())),
            Some(Heard::Fault(error)) => heard.push(Err(error.number())),
        }
    }
    heard
}

const FRAME_ERROR: Result<Vec<u8>, u16> = Err(SmpError::SmpFrame as u16);
const TOO_LONG: Result<Vec<u8>, u16> = Err(SmpError::SmpLineTooLong as u16);

#[test]
fn the_lines_are_those_of_smp() {
    for name in ["state", "upload_next"] {
        let wanted = vector(&std::format!("line_{name}"));
        let found = lines(&vector(name));
        assert_eq!(text(&found), text(&wanted), "{name}");
        assert_eq!(hear(&wanted), [Ok(vector(name))]);
        assert!(
            found
                .split_inclusive(|b| *b == b'\n')
                .all(|line| line.len() <= LINE)
        );
    }
}

#[test]
fn packets_of_every_length_there_and_back() {
    let mut random = Random(1);
    for length in (HEADER..300).chain([PACKET - 1, PACKET]) {
        let packet = random.bytes(length);
        assert_eq!(hear(&lines(&packet)), [Ok(packet)], "{length}");
    }
}

#[test]
fn the_header() {
    let (header, body) = (Header::parse(&vector("upload_next")))
        .map(|(h, b)| (h, b.len()))
        .unwrap();
    let wanted = Header {
        op: 2,
        version: 1,
        length: 0x13B,
        group: 1,
        seq: 7,
        id: 1,
    };
    assert_eq!((header, body), (wanted, 0x13B));
    assert_eq!(header.emit(), vector("upload_next")[..HEADER]);
    let state = vector("state");
    assert!(Header::parse(&state[..state.len() - 1]).is_none());
    assert!(Header::parse(&[&state[..], &[0]].concat()).is_none());
    assert!(Header::parse(&state[..7]).is_none());
}

/// Zephyr's log shares the UART.
#[test]
fn log_between_lines_is_skipped() {
    let packet = vector("upload_next");
    let clean = lines(&packet);
    let mut mixed = b"*** Booting Zephyr OS ***\r\n\x06 \x04 \xff".to_vec();
    for line in clean.split_inclusive(|byte| *byte == b'\n') {
        // without an end before the mark, too
        mixed.extend_from_slice(b"[00:00:01.000] <inf> app: tick\r\nuart:~$ ");
        mixed.extend_from_slice(line);
    }
    assert_eq!(hear(&mixed), [Ok(packet.clone())]);
    // with the line ends of a console
    let clean = text(&clean).replace('\n', "\r\n");
    assert_eq!(hear(clean.as_bytes()), [Ok(packet)]);
}

#[test]
fn log_inside_of_a_line_harms_it() {
    let packet = vector("state");
    let mut harmed = lines(&packet);
    harmed.splice(9..9, *b"<err> app\r\n");
    harmed.extend(lines(&packet));
    assert_eq!(hear(&harmed), [FRAME_ERROR, Ok(packet)]);
}

#[test]
fn a_line_that_was_cut_off() {
    let packet = vector("upload_next");
    let whole = lines(&packet);
    for at in 2..20 {
        let bytes = [&whole[..at], &whole[..]].concat();
        assert_eq!(hear(&bytes), [FRAME_ERROR, Ok(packet.clone())], "{at}");
    }
    // its end is missing: the next line begins inside of it
    let end = whole.iter().position(|byte| *byte == b'\n').unwrap();
    let mut cut = whole.clone();
    cut.remove(end);
    let heard = hear(&[&cut[..], &whole[..]].concat());
    assert_eq!(heard.last(), Some(&Ok(packet)));
    assert!(
        heard[..heard.len() - 1]
            .iter()
            .all(|heard| *heard == FRAME_ERROR)
    );
}

#[test]
fn harmed_bytes_and_lost_ones_are_found() {
    let packet = vector("upload_next");
    let whole = lines(&packet);
    for at in 0..whole.len() {
        let mut harmed = whole.clone();
        harmed[at] ^= 3;
        let mut short = whole.clone();
        short.remove(at);
        for bytes in [harmed, short] {
            let heard = hear(&bytes);
            assert!(!heard.iter().any(Result::is_ok), "{at} {heard:?}");
            // and the next one is heard
            let heard = hear(&[&bytes[..], &whole[..]].concat());
            assert_eq!(heard.last(), Some(&Ok(packet.clone())), "{at}");
        }
    }
}

#[test]
fn too_long_lines_and_frames() {
    let whole = lines(&vector("state"));
    let line = [&[6, 9][..], &[b'A'; 200], b"\n", &whole].concat();
    assert_eq!(hear(&line), [TOO_LONG, Ok(vector("state"))]);
    // a frame that says it is longer than any: FFFF
    let frame = [b"\x06\x09//8=\n".to_vec(), whole.clone()].concat();
    assert_eq!(hear(&frame), [TOO_LONG, Ok(vector("state"))]);
    // one that has more than it says, and one that says less than a header
    for line in [
        &b"\x06\x09AAEAAAAAAAAAAAAAAAAA\n"[..],
        b"\x06\x09AAsAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n",
    ] {
        assert_eq!(hear(line), [FRAME_ERROR], "{}", text(line));
    }
}

#[test]
fn lines_without_the_first_one() {
    assert_eq!(hear(b"\x04\x14AAAA\n"), [FRAME_ERROR]);
    assert_eq!(
        hear(b"\x06\x09\n\x06\x09A\n\x06\x09====\n"),
        [FRAME_ERROR, FRAME_ERROR, FRAME_ERROR]
    );
}

#[test]
fn noise_is_counted_until_a_packet_comes() {
    let mut rx = Rx::new();
    (b"hello\n").iter().for_each(|byte| _ = rx.byte(*byte));
    assert_eq!(rx.noise(), 6);
    lines(&vector("state"))
        .iter()
        .for_each(|byte| _ = rx.byte(*byte));
    assert_eq!(rx.noise(), 0);
}

#[test]
fn any_bytes_do_not_panic() {
    let mut random = Random(5);
    for _ in 0..300 {
        let mut bytes = random.bytes(600);
        // marks and base64 often enough
        for byte in &mut bytes {
            match random.below(8) {
                0 => *byte = [6, 9, 4, 20, b'\n', b'='][random.below(6) as usize],
                1..6 => *byte = b'A' + *byte % 26,
                _ => {}
            }
        }
        hear(&bytes);
    }
}
