//! The machines of block-wise transfer and of one exchange, against a peer that answers as the script says.
//!
//! | byte 0 | the rest |
//! |---|---|
//! | 0 download | from, to, size; then answers: made from block, length and code, or a datagram as it is |
//! | 1 honest download | a server of ours and a network that repeats, loses and cuts the size down |
//! | 2 upload | length, size; then answers |
//! | 3 upload to our assembly | which datagrams are lost or repeated |
//! | 4 exchange | times and datagrams |

use sota_coap::serve::{Representation, serve_block};
use sota_coap::{
    Assembly, Builder, Code, Download, Etag, Exchange, Kind, Message, Params, Poll, Reaction, Step,
    Szx, Taken, Token, TransferError, Upload, UploadStep, option,
};

use crate::input::Input;

/// Answers without a byte in a row: four strikes, and one for each size that the server may go down.
const USELESS: usize = 12;

/// Runs one script.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    match input.u8() % 5 {
        0 => download(&mut input),
        1 => honest_download(&mut input),
        2 => upload(&mut input),
        3 => assembled_upload(&mut input),
        _ => exchange(&mut input),
    }
}

fn szx(input: &mut Input<'_>) -> Szx {
    Szx::new(input.u8() % 7).expect("below 7")
}

/// An answer: a datagram as it is, or one made from numbers. `near` is the block number that would be right.
fn answer(input: &mut Input<'_>, number: u16, near: u32, filler: &[u8]) -> Vec<u8> {
    let kind = input.u8();
    if kind & 1 != 0 {
        return input.chunk().to_vec();
    }
    let code = match kind >> 4 {
        0 => Code::from_byte(input.u8()),
        1 => Code::CONTINUE,
        2 => Code::CHANGED,
        3 => Code::REQUEST_ENTITY_INCOMPLETE,
        4 => Code::REQUEST_ENTITY_TOO_LARGE,
        _ => Code::CONTENT,
    };
    let etag: &[u8] = if kind & 2 != 0 { b"other" } else { b"v1" };
    let num = match kind & 4 {
        0 => near,
        _ => input.u32(),
    };
    let bits = num << 4 | u32::from(input.u8() & 15);
    let size = input.u8();
    let length = usize::from(input.u16()).min(filler.len());
    let mut out = [0; 1400];
    let mut builder = Builder::new(&mut out, Kind::Ack, code, 1, Token::EMPTY);
    builder.option(option::ETAG, etag);
    if size & 1 != 0 {
        builder.uint_option(number, bits & 0xff_ffff);
    }
    if size & 2 != 0 {
        builder.uint_option(option::SIZE2.max(number), input.u32());
    }
    let len = builder.payload(&filler[..length]).finish();
    out[..len.unwrap_or(0)].to_vec()
}

fn download(input: &mut Input<'_>) {
    let filler: Vec<u8> = (0..1024u32).map(|at| (at * 7) as u8).collect();
    let from = input.u32();
    let to = input.flag().then(|| input.u32());
    let largest = szx(input);
    let Ok(mut download) = Download::new(from, to, largest, Etag::NONE) else {
        return;
    };
    let mut next = from;
    let mut useless = 0;
    while !input.is_empty() && !download.is_done() {
        let wanted = download.block();
        assert!(wanted.num < 1 << 20 && wanted.szx <= largest);
        let offset = wanted.offset();
        assert!(offset <= next && next - offset < wanted.szx.bytes());
        let bytes = answer(input, option::BLOCK2, wanted.num, &filler);
        let Ok(message) = Message::new_checked(&bytes) else {
            continue;
        };
        match download.on_response(&message) {
            Ok(Step::Block { offset, data }) => {
                assert_eq!(offset, next, "each byte once and in order");
                next += data.len() as u32;
                assert!(to.is_none_or(|to| next <= to));
                assert!(!data.is_empty() || download.is_done());
                useless = 0;
            }
            Ok(Step::Again) => useless += 1,
            Err(_) => return,
        }
        assert!(useless <= USELESS, "it asks the same for ever");
        assert_eq!(download.next_offset(), next);
    }
    if let (true, Some(to)) = (download.is_done(), to) {
        assert_eq!(next, to.max(from), "done is every byte");
    }
}

fn honest_download(input: &mut Input<'_>) {
    let length = u32::from(input.u16()) % 2048;
    let content: Vec<u8> = (0..length).map(|at| (at * 31 + (at >> 8)) as u8).collect();
    let from = u32::from(input.u16()).min(length);
    let to = input
        .flag()
        .then(|| u32::from(input.u16()).clamp(from, length));
    let Ok(mut download) = Download::new(from, to, szx(input), Etag::NONE) else {
        return;
    };
    let mut rep = Representation {
        len: length,
        etag: Etag::new(b"v1").expect("short"),
        content_format: None,
        largest: Szx::S1024,
    };
    let mut got = Vec::new();
    let mut last: Vec<u8> = Vec::new();
    for turn in 0u16.. {
        if download.is_done() {
            break;
        }
        let what = input.u8();
        if what & 1 != 0 {
            // Only ever down: a real server may not go up again within a transfer.
            rep.largest = rep.largest.min(szx(input));
        }
        let mut request = [0; 64];
        let mut builder = Builder::new(&mut request, Kind::Con, Code::GET, turn, Token::EMPTY);
        download.add_options(&mut builder);
        let len = builder.finish().expect("room");
        let request = Message::new_checked(&request[..len]).expect("ours");
        let mut out = [0; 1152];
        let len = serve_block(&request, &rep, 0, &mut out, |from, place: &mut [u8]| {
            place.copy_from_slice(&content[from as usize..][..place.len()]);
            Ok::<(), ()>(())
        })
        .expect("room");
        let old = std::mem::replace(&mut last, out[..len].to_vec());
        // An old answer once more, which the exchange would have kept away.
        let repeated = what & 2 != 0 && !old.is_empty();
        let bytes = if repeated { old } else { last.clone() };
        let message = Message::new_checked(&bytes).expect("ours");
        match download.on_response(&message) {
            Ok(Step::Block { offset, data }) => {
                assert_eq!(offset as usize, from as usize + got.len());
                got.extend_from_slice(data);
            }
            Ok(Step::Again) => {}
            Err(TransferError::BadBlock) if repeated => return,
            Err(error) => {
                let empty_end = to.is_none() && from == length;
                assert!(empty_end, "an honest server: {error:?}");
                return;
            }
        }
    }
    let to = to.unwrap_or(length) as usize;
    assert_eq!(got, content[from as usize..to]);
}

fn upload(input: &mut Input<'_>) {
    let length = input.u32();
    let Ok(mut upload) = Upload::new(length, szx(input)) else {
        return;
    };
    let mut answers = 0u32;
    while !input.is_empty() {
        let (from, len) = upload.range();
        let block = upload.block();
        assert_eq!(block.offset(), from);
        assert!(from + len <= length && len <= block.szx.bytes());
        assert_eq!(block.more, from + len < length);
        let bytes = answer(input, option::BLOCK1, block.num, &[]);
        let Ok(message) = Message::new_checked(&bytes) else {
            continue;
        };
        match upload.on_response(&message) {
            Ok(UploadStep::Next) => answers += 1,
            Ok(UploadStep::Done(code)) => {
                assert!(!block.more && code.is_success(), "the last block was sent");
                assert!(upload.is_done());
                return;
            }
            Err(_) => return,
        }
        assert!(answers < 1 << 24);
    }
}

fn assembled_upload(input: &mut Input<'_>) {
    let length = usize::from(input.u16()) % 3000;
    let body: Vec<u8> = (0..length).map(|at| (at * 13 + (at >> 7)) as u8).collect();
    let Ok(mut upload) = Upload::new(length as u32, szx(input)) else {
        return;
    };
    let mut assembly = Assembly::new(3000, szx(input));
    let mut got = vec![0; 3000];
    let mut late: Vec<u8> = Vec::new();
    for turn in 1u16..2000 {
        let what = input.u8();
        let (from, len) = upload.range();
        let mut out = [0; 1400];
        let mut builder = Builder::new(&mut out, Kind::Con, Code::POST, turn, Token::EMPTY);
        upload.add_options(&mut builder);
        builder.payload(&body[from as usize..(from + len) as usize]);
        let size = builder.finish().expect("room");
        let mut whole = None;
        let mut response = Vec::new();
        // A late copy of an earlier request comes first and its answer goes nowhere.
        let copies: [&[u8]; 2] = [if what & 1 != 0 { &late } else { &[] }, &out[..size]];
        for bytes in copies {
            let Ok(message) = Message::new_checked(bytes) else {
                continue;
            };
            let taken = assembly.on_request(&message);
            if let Taken::Continue { offset, data, .. } | Taken::Complete { offset, data, .. } =
                taken
            {
                got[offset as usize..][..data.len()].copy_from_slice(data);
                if taken.code().is_none() {
                    whole = Some(offset as usize + data.len());
                }
            }
            let mut out = [0; 64];
            let code = taken.code().unwrap_or(Code::CHANGED);
            let mut builder = Builder::response(&mut out, &message, code, 0);
            taken.add_options(&mut builder);
            let len = builder.finish().expect("room");
            response = out[..len].to_vec();
        }
        late = out[..size].to_vec();
        match upload.on_response(&Message::new_checked(&response).expect("ours")) {
            Ok(UploadStep::Next) => {}
            Ok(UploadStep::Done(code)) => {
                assert_eq!(code, Code::CHANGED);
                assert_eq!(whole, Some(length), "the server has the whole body");
                assert_eq!(got[..length], body[..]);
                return;
            }
            Err(error) => {
                assert!(what & 1 != 0 || turn > 1, "refused at once: {error:?}");
                return;
            }
        }
    }
    panic!("it goes on for ever");
}

fn exchange(input: &mut Input<'_>) {
    let mut now = u64::from(input.u32());
    let (mid, token) = (7, Token::from_u32(9));
    let params = input.of(&[Params::RFC7252, Params::NB_IOT]);
    let (timeout, random) = (input.u32(), input.u16());
    let mut exchange = match input.u8() % 3 {
        0 => Exchange::start(now, mid, token, &params, timeout, random),
        1 => Exchange::start_confirm(now, mid, token, &params, timeout, random),
        _ => Exchange::start_non(now, mid, token, timeout),
    };
    let mut ends = 0;
    while !input.is_empty() {
        let was_done = exchange.is_done();
        let ended = match input.u8() % 4 {
            0 => {
                now = now.saturating_add(input.u32().into());
                exchange.poll(now) == Poll::GiveUp
            }
            1 => {
                now = exchange.deadline().unwrap_or(now).max(now);
                exchange.poll(now) == Poll::GiveUp
            }
            2 => {
                let bytes = input.chunk();
                let Ok(message) = Message::new_checked(bytes) else {
                    continue;
                };
                matches!(
                    exchange.on_message(now, &message),
                    Reaction::Response { .. } | Reaction::Reset
                )
            }
            _ => {
                let kind = input.of(&[Kind::Con, Kind::Non, Kind::Ack, Kind::Rst]);
                let code = match (kind, input.flag()) {
                    (Kind::Rst, _) | (_, false) => Code::EMPTY,
                    _ => Code::CONTENT,
                };
                let token = match code {
                    Code::EMPTY => Token::EMPTY,
                    _ => token,
                };
                let mut out = [0; 32];
                let len = Builder::new(&mut out, kind, code, mid, token).finish();
                let len = len.expect("room");
                let Ok(message) = Message::new_checked(&out[..len]) else {
                    continue;
                };
                match exchange.on_message(now, &message) {
                    Reaction::Response { .. } | Reaction::Reset => true,
                    Reaction::Acked => exchange.is_done(),
                    Reaction::NotMine | Reaction::Repeated { .. } => false,
                }
            }
        };
        ends += u32::from(ended);
        assert!(ends <= 1, "it ends once");
        assert!(!was_done || exchange.is_done(), "done stays done");
        assert_eq!(exchange.is_done(), ends == 1);
        assert_eq!(exchange.deadline().is_none(), exchange.is_done());
        assert!(exchange.retransmissions() <= params.max_retransmit);
    }
    // Without a word from the peer it is over after a known number of calls.
    for _ in 0..=u32::from(params.max_retransmit) + 1 {
        let Some(deadline) = exchange.deadline() else {
            return;
        };
        now = now.max(deadline);
        exchange.poll(now);
    }
    assert!(exchange.is_done());
}
