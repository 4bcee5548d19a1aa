//! Answers that a server may give, one by one.

extern crate std;
use super::*;
use sota_coap::{Block, Kind, Token};

const E: &[u8] = b"e";

/// What a server answers.
#[derive(Clone, Copy, Default)]
struct Answer<'a> {
    code: u8,
    /// Number, more, size exponent.
    block2: Option<(u32, bool, u8)>,
    size2: Option<u32>,
    etag: &'a [u8],
    echo: &'a [u8],
    payload: &'a [u8],
}

/// Gives the answer to the machine: the bytes with their offset, or why not.
fn give(d: &mut Download, answer: Answer<'_>) -> Result<(u32, std::vec::Vec<u8>), Option<Reason>> {
    told(d, answer).map(|(offset, data, _)| (offset, data))
}

fn told(
    d: &mut Download,
    answer: Answer<'_>,
) -> Result<(u32, std::vec::Vec<u8>, bool), Option<Reason>> {
    let mut out = [0; 1400];
    let code = Code::from_byte(answer.code);
    let mut b = Builder::new(&mut out, Kind::Ack, code, 1, Token::EMPTY);
    if !answer.etag.is_empty() {
        b.option(option::ETAG, answer.etag);
    }
    if let Some((num, more, szx)) = answer.block2 {
        let bits = (num & 0xf_ffff) << 4 | u32::from(more) << 3 | u32::from(szx & 7);
        b.uint_option(option::BLOCK2, bits);
    }
    if let Some(size) = answer.size2 {
        b.uint_option(option::SIZE2, size);
    }
    if !answer.echo.is_empty() {
        b.option(option::ECHO, answer.echo);
    }
    let Ok(len) = b.payload(answer.payload).finish() else {
        return Err(None);
    };
    // What is no CoAP never comes to the machine.
    let Ok(message) = Message::new_checked(&out[..len]) else {
        return Err(None);
    };
    match d.on_answer(0, &message, 0) {
        Got::Block {
            offset,
            data,
            started,
        } => Ok((offset, data.into(), started)),
        Got::Failed(reason) => Err(Some(reason)),
        Got::Again => Err(None),
    }
}

fn fetch(d: &mut Download, from: u32, to: u32, etag: &[u8], szx: Szx) -> Result<(), Reason> {
    let uri = "coap://h/p".try_into().unwrap();
    d.fetch(&uri, from, to, Etag::new(etag).unwrap(), szx)
}

fn machine(from: u32, to: u32) -> Download {
    let mut d = Download::default();
    fetch(&mut d, from, to, b"", Szx::S64).unwrap();
    assert!(d.take_lookup());
    d.on_resolved(0, true, 0);
    d
}

/// The request is on the air; the block that it asks for.
fn ask(d: &mut Download) -> Block {
    assert!(d.wanted(0), "a block is wanted");
    d.sent();
    let mut out = [0; 64];
    let mut b = Builder::new(&mut out, Kind::Con, Code::GET, 1, Token::EMPTY);
    d.add_options(&mut b);
    let len = b.finish().unwrap();
    let message = Message::new_checked(&out[..len]).unwrap();
    message.block(option::BLOCK2).unwrap().unwrap()
}

/// One exchange with a server that holds `package` and gives at most `szx`.
fn serve(
    d: &mut Download,
    package: &[u8],
    szx: u8,
    etag: &[u8],
) -> Result<(u32, usize), Option<Reason>> {
    let wanted = ask(d);
    let offset = wanted.offset() as usize;
    let szx = szx.min(wanted.szx.exponent());
    let size = 16 << szx;
    let end = (offset + size).min(package.len());
    let answer = Answer {
        code: 0x45,
        block2: Some(((offset / size) as u32, end < package.len(), szx)),
        size2: Some(package.len() as u32),
        etag,
        echo: &[],
        payload: package.get(offset..end).unwrap_or(&[]),
    };
    give(d, answer).map(|(offset, data)| {
        assert_eq!(data, package[offset as usize..][..data.len()]);
        (offset, data.len())
    })
}

#[test]
fn pieces_of_any_size_join() {
    let package: [u8; 300] = core::array::from_fn(|i| i as u8);
    for piece in [1, 16, 50, 64, 100, 299, 300] {
        let mut got = 0;
        while got < 300 {
            let to = (got + piece).min(300);
            let mut d = machine(got, to);
            while d.is_active() {
                let (offset, len) = serve(&mut d, &package, 6, E).unwrap();
                assert_eq!(offset, got);
                got += len as u32;
            }
            assert_eq!(got, to);
        }
    }
}

#[test]
fn a_smaller_block_is_obeyed_at_any_time() {
    let package = [7u8; 300];
    let mut d = machine(0, 300);
    assert_eq!(serve(&mut d, &package, 6, E), Ok((0, 64)));
    assert_eq!(serve(&mut d, &package, 0, E), Ok((64, 16)));
    assert_eq!(serve(&mut d.clone(), &package, 6, E), Ok((80, 16)));
    assert_eq!(ask(&mut d).num, 5);
    // Also by the next piece of the package.
    fetch(&mut d, 160, 300, E, Szx::S64).unwrap();
    assert_eq!(ask(&mut d).num, 10);
}

/// Of the block asked for the server gives the part before the first wanted byte.
#[test]
fn the_first_bytes_tell_the_etag_also_after_an_answer_without_any() {
    let mut d = machine(40, 64);
    for (num, given) in [(0, Err(None)), (2, Ok((40, [7; 8].into(), true)))] {
        ask(&mut d);
        let answer = Answer {
            code: 0x45,
            block2: Some((num, true, 0)),
            etag: E,
            payload: &[7; 16],
            ..Answer::default()
        };
        assert_eq!(told(&mut d, answer), given);
    }
    assert_eq!(d.etag().as_bytes(), E);
}

#[test]
fn what_the_network_cannot_explain_fails() {
    let package = [7u8; 300];
    let mut d = machine(0, 300);
    serve(&mut d, &package, 6, E).unwrap();
    assert_eq!(
        serve(&mut d, &package, 6, b"f"),
        Err(Some(Reason::PackageChanged))
    );
    assert!(!d.is_active());
    let mut d = machine(256, 400);
    assert_eq!(
        serve(&mut d, &package, 6, E),
        Err(Some(Reason::LengthMismatch))
    );
    for (code, reason) in [
        (0x84, Some(Reason::PackageNotFound)),
        (0x83, Some(Reason::PackageRefused)),
        (0xa1, Some(Reason::PackageRefused)),
        (0xa5, Some(Reason::PackageRefused)),
        (0xa3, None),
    ] {
        let mut d = machine(0, 300);
        ask(&mut d);
        let answer = Answer {
            code,
            ..Answer::default()
        };
        assert_eq!(give(&mut d, answer), Err(reason));
        assert_eq!(d.is_active(), reason.is_none());
        assert!(!d.is_ready());
    }
}

#[test]
fn a_resumed_fetch_must_find_the_same_etag() {
    let package = [7u8; 300];
    let mut d = Download::default();
    fetch(&mut d, 128, 300, b"old", Szx::S64).unwrap();
    d.take_lookup();
    d.on_resolved(0, true, 0);
    assert_eq!(
        serve(&mut d, &package, 6, b"new"),
        Err(Some(Reason::PackageChanged))
    );
}

#[test]
fn breaks_pause_longer_each_time_and_never_end_it() {
    let mut d = machine(0, 300);
    let mut now = 0;
    let mut last = 0;
    for round in 0..100 {
        while !d.wanted(now) {
            if d.take_lookup() {
                d.on_resolved(now, true, 0);
            } else {
                now = d.deadline().expect("it goes on");
            }
        }
        d.sent();
        d.on_lost(now, 0);
        let pause = d.deadline().unwrap() - now;
        assert!(pause >= last && pause <= 300_000, "round {round}");
        last = pause;
    }
    assert_eq!(last, 300_000);
}

#[test]
fn a_challenge_is_answered_but_not_for_ever() {
    let mut d = machine(0, 300);
    let answer = Answer {
        code: 0x81,
        echo: b"c",
        ..Answer::default()
    };
    for _ in 0..3 {
        ask(&mut d);
        assert_eq!(give(&mut d, answer), Err(None));
        assert_eq!(d.echo, b"c");
    }
    ask(&mut d);
    assert_eq!(give(&mut d, answer), Err(Some(Reason::PackageRefused)));
}

#[test]
fn more_than_a_million_blocks_are_refused_before_the_first() {
    let mut d = Download::default();
    assert_eq!(fetch(&mut d, 0, 16 << 20, b"", Szx::S16), Ok(()));
    assert_eq!(
        fetch(&mut d, 0, (16 << 20) + 1, b"", Szx::S16),
        Err(Reason::PackageTooLarge)
    );
}

/// A server without Size2: the last block tells the length.
#[test]
fn an_open_fetch_ends_with_the_last_block() {
    let mut d = machine(0, OPEN);
    for (num, more, len, started, total) in [
        (0, true, 64, true, None),
        (1, true, 64, false, None),
        (2, false, 10, true, Some(138)),
    ] {
        assert_eq!(ask(&mut d).num, num);
        let answer = Answer {
            code: 0x45,
            block2: Some((num, more, 2)),
            etag: &[1],
            payload: &[7; 64][..len],
            ..Answer::default()
        };
        let (offset, _, said) = told(&mut d, answer).unwrap();
        assert_eq!((offset, said, d.total()), (num * 64, started, total));
    }
    assert!(!d.is_active());
}

proptest::proptest! {
    #[test]
    fn any_answer_is_survived(
        code: u8,
        block2: Option<(u32, bool, u8)>,
        size2: Option<u32>,
        etag in proptest::collection::vec(0u8.., 0..9),
        echo in proptest::collection::vec(0u8.., 0..10),
        payload in proptest::collection::vec(0u8.., 0..1200),
        from in 0u32..5000,
        len in 1u32..5000,
    ) {
        for code in [code, 0x45] {
            let mut d = machine(from, from + len);
            ask(&mut d);
            let answer =
                Answer { code, block2, size2, etag: &etag, echo: &echo, payload: &payload };
            if let Ok((offset, data)) = give(&mut d, answer) {
                proptest::prop_assert_eq!(offset, from);
                proptest::prop_assert!(!data.is_empty() && data.len() <= 64);
            }
        }
    }
}
