//! A loader that is a script: what it must be sent, and what it answers.

use super::*;
use std::{vec, vec::Vec};

const TIMES: Times = Times::DEFAULT;

fn exchange(extended: bool) -> Exchange {
    let mut exchange = Exchange::new(115_200);
    exchange.extended = extended;
    exchange
}

fn sent(exchange: &mut Exchange) -> Vec<u8> {
    let mut out = Vec::new();
    let mut few = [0; 7]; // a UART that takes little at a time
    loop {
        let count = exchange.next_tx(&mut few);
        if count == 0 {
            return out;
        }
        out.extend_from_slice(&few[..count]);
    }
}

/// Runs a command through a script of (sent by us, answered).
fn script(
    exchange: &mut Exchange,
    command: Command,
    steps: &[(&[u8], &[u8])],
) -> Option<Result<(), Failure>> {
    exchange.start(0, &TIMES, command);
    for (expected, answer) in steps {
        assert_eq!(sent(exchange), *expected);
        exchange.on_bytes(0, &TIMES, answer);
    }
    assert_eq!(sent(exchange), []);
    exchange.poll(0)
}

#[test]
fn get_and_get_id() {
    let mut e = exchange(false);
    let answer = [ACK, 3, 0x31, 0x00, 0x02, 0x44, ACK];
    let done = script(&mut e, Command::Get, &[(&[0x00, 0xFF], &answer)]);
    assert_eq!(done, Some(Ok(())));
    assert_eq!(e.data(), [0x31, 0x00, 0x02, 0x44]);
    let answer = [ACK, 1, 0x04, 0x13, ACK];
    let done = script(&mut e, Command::GetId, &[(&[0x02, 0xFD], &answer)]);
    assert_eq!(done, Some(Ok(())));
    assert_eq!(e.data(), [0x04, 0x13]);
}

#[test]
fn read() {
    let mut e = exchange(false);
    let command = Command::Read {
        address: 0x0800_0004,
        len: 4,
    };
    let steps: [(&[u8], &[u8]); 3] = [
        (&[0x11, 0xEE], &[ACK]),
        (&[0x08, 0, 0, 4, 0x0C], &[ACK]),
        (&[3, 0xFC], &[ACK, 1, 2, 3, 4]),
    ];
    assert_eq!(script(&mut e, command, &steps), Some(Ok(())));
    assert_eq!(e.data(), [1, 2, 3, 4]);
}

#[test]
fn write() {
    let mut e = exchange(false);
    assert!(e.fill(4, |data| {
        data.copy_from_slice(&[1, 2, 4, 8]);
        true
    }));
    let command = Command::Write {
        address: 0x0800_0100,
        len: 4,
    };
    let steps: [(&[u8], &[u8]); 3] = [
        (&[0x31, 0xCE], &[ACK]),
        (&[0x08, 0, 1, 0, 0x09], &[ACK]),
        (&[3, 1, 2, 4, 8, 3 ^ 15], &[ACK]),
    ];
    assert_eq!(script(&mut e, command, &steps), Some(Ok(())));
}

#[test]
fn a_whole_block_fits() {
    let mut e = exchange(false);
    assert!(e.fill(256, |data| {
        data.fill(0xA5);
        true
    }));
    e.start(
        0,
        &TIMES,
        Command::Write {
            address: 0,
            len: 256,
        },
    );
    sent(&mut e);
    e.on_bytes(0, &TIMES, &[ACK]);
    sent(&mut e);
    e.on_bytes(0, &TIMES, &[ACK]);
    let frame = sent(&mut e);
    assert_eq!((frame.len(), frame[0], frame[257]), (258, 0xFF, 0xFF));
}

#[test]
fn both_erases() {
    let steps: [(&[u8], &[u8]); 2] = [(&[0x43, 0xBC], &[ACK]), (&[0, 9, 9], &[ACK])];
    let page = Command::Erase { page: 9 };
    assert_eq!(script(&mut exchange(false), page, &steps), Some(Ok(())));
    let steps: [(&[u8], &[u8]); 2] = [(&[0x44, 0xBB], &[ACK]), (&[0, 0, 0, 9, 9], &[ACK])];
    assert_eq!(script(&mut exchange(true), page, &steps), Some(Ok(())));
    let steps: [(&[u8], &[u8]); 2] = [(&[0x44, 0xBB], &[ACK]), (&[0xFF, 0xFF, 0], &[ACK])];
    let all = Command::EraseAll;
    assert_eq!(script(&mut exchange(true), all, &steps), Some(Ok(())));
    let steps: [(&[u8], &[u8]); 2] = [(&[0x43, 0xBC], &[ACK]), (&[0xFF, 0], &[ACK])];
    assert_eq!(script(&mut exchange(false), all, &steps), Some(Ok(())));
}

#[test]
fn go() {
    let steps: [(&[u8], &[u8]); 2] = [(&[0x21, 0xDE], &[ACK]), (&[8, 0, 0, 0, 8], &[ACK])];
    let command = Command::Go {
        address: 0x0800_0000,
    };
    assert_eq!(script(&mut exchange(false), command, &steps), Some(Ok(())));
}

#[test]
fn refusals_and_noise() {
    let mut e = exchange(false);
    let refused = script(&mut e, Command::GetId, &[(&[0x02, 0xFD], &[NACK])]);
    assert_eq!(refused, Some(Err(Failure::Refused)));
    let noise = script(&mut e, Command::GetId, &[(&[0x02, 0xFD], &[0x42])]);
    assert_eq!(noise, Some(Err(Failure::Garbled)));
    let last = [ACK, 0, 1, NACK];
    let wrong = script(&mut e, Command::Get, &[(&[0x00, 0xFF], &last)]);
    assert_eq!(wrong, Some(Err(Failure::Garbled)));
    // the application talked before the reset; the loader knows the baud rate already
    let known = script(&mut e, Command::Sync, &[(&[0x7F], b"hello\r\n\x1F")]);
    assert_eq!(known, Some(Ok(())));
    e.on_bytes(0, &TIMES, &[ACK, ACK, 7]);
    assert_eq!(e.poll(0), None, "what comes unasked is skipped");
}

#[test]
fn every_command_has_its_time() {
    let answers: [(Command, Vec<&[u8]>, u32); 6] = [
        (Command::Sync, vec![], TIMES.sync_ms),
        (Command::Get, vec![], TIMES.answer_ms),
        (Command::Get, vec![&[ACK, 2]], TIMES.answer_ms),
        (
            Command::Erase { page: 1 },
            vec![&[ACK]],
            TIMES.page_erase_ms,
        ),
        (Command::EraseAll, vec![&[ACK]], TIMES.mass_erase_ms),
        (
            Command::Write { address: 0, len: 4 },
            vec![&[ACK], &[ACK]],
            TIMES.write_ms,
        ),
    ];
    for (command, answers, ms) in answers {
        let mut e = exchange(true);
        e.fill(4, |_| true);
        e.start(0, &TIMES, command);
        for answer in &answers {
            sent(&mut e);
            e.on_bytes(0, &TIMES, answer);
        }
        assert_eq!(e.poll(u64::from(ms) - 1), None, "{command:?}");
        let failure = match command {
            Command::Sync => Failure::Silent,
            _ => Failure::Timeout,
        };
        // and the time that the bytes are on the line
        assert_eq!(e.poll(u64::from(ms) + 2), Some(Err(failure)), "{command:?}");
    }
}
