//! Serving a representation by Block2 (RFC 7959 section 2.4): one request, one answer, no state between.
//!
//! | request | answer |
//! |---|---|
//! | GET of any block | 2.05 with ETag, Content-Format, Block2, and Size2 in block 0 or when asked for |
//! | GET of block 0 whose ETag is the present one | 2.03 with ETag |
//! | SZX above the server's largest | the same place in the largest size, NUM scaled |
//! | a block past the end, SZX 7 | 4.00 |
//! | Block2 longer than 3 bytes or twice (RFC 7252 section 5.4.5), any unknown critical option | 4.02 |
//! | another method | 4.05 |
//! | Accept of another format | 4.06 |
//! | If-Match of another ETag, If-None-Match | 4.12 |
//! | the caller's `read` fails | 5.00 |

use crate::block::{Block, BlockError, Szx};
use crate::builder::{BuildError, Builder};
use crate::code::Code;
use crate::etag::Etag;
use crate::message::{Kind, Message};
use crate::option;

/// What is served.
#[derive(Clone, Copy, Debug)]
pub struct Representation {
    /// Bytes; above 2^30 the last ones cannot be numbered.
    pub len: u32,
    /// Version; a representation in several blocks must have one.
    pub etag: Etag,
    /// Content-Format, if told.
    pub content_format: Option<u16>,
    /// Greatest block this server sends.
    pub largest: Szx,
}

/// What a GET asks, read in one pass over its options.
#[derive(Clone, Copy, Debug)]
struct Asked {
    block: Option<Block>,
    size2: bool,
    known_etag: bool,
}

impl Asked {
    /// What is asked, or the code of the refusal.
    fn read(request: &Message<'_>, rep: &Representation) -> Result<Asked, Code> {
        if request.code() != Code::GET {
            return Err(Code::METHOD_NOT_ALLOWED);
        }
        let mut asked = Asked {
            block: None,
            size2: false,
            known_etag: false,
        };
        let mut if_match = None;
        for (number, value) in request.options() {
            match number {
                option::URI_PATH | option::URI_HOST | option::URI_PORT | option::URI_QUERY => {}
                option::BLOCK2 if asked.block.is_some() => return Err(Code::BAD_OPTION),
                option::BLOCK2 => match Block::decode(value) {
                    Ok(block) => asked.block = Some(block),
                    Err(BlockError::Szx) => return Err(Code::BAD_REQUEST),
                    Err(BlockError::Length) => return Err(Code::BAD_OPTION),
                },
                option::SIZE2 => asked.size2 = true,
                option::ETAG => asked.known_etag |= value == rep.etag.as_bytes(),
                option::IF_MATCH => {
                    // An empty value asks only that there is something.
                    let matches = value.is_empty() || value == rep.etag.as_bytes();
                    if_match = Some(if_match.unwrap_or(false) || matches);
                }
                option::IF_NONE_MATCH => return Err(Code::PRECONDITION_FAILED),
                option::ACCEPT => {
                    let accept = option::decode_uint(value);
                    if rep
                        .content_format
                        .is_some_and(|f| accept != Some(u32::from(f)))
                    {
                        return Err(Code::NOT_ACCEPTABLE);
                    }
                }
                _ if option::is_critical(number) => return Err(Code::BAD_OPTION),
                _ => {}
            }
        }
        if if_match == Some(false) {
            return Err(Code::PRECONDITION_FAILED);
        }
        Ok(asked)
    }
}

/// Answers a request for a block into `out` and returns the answer's length.
///
/// `read` copies bytes of the representation from an offset into the place given, which it must fill: the
/// answer is built around it without another copy. `message_id` is used only when the request is a NON.
///
/// Which representation a path means, and whether the peer's address needs [`crate::echo`] first, the
/// caller decides before.
///
/// # Errors
/// [`BuildError::NoSpace`] when `out` does not hold the header and one block; 1152 bytes always do.
pub fn serve_block<E>(
    request: &Message<'_>,
    rep: &Representation,
    message_id: u16,
    out: &mut [u8],
    read: impl FnOnce(u32, &mut [u8]) -> Result<(), E>,
) -> Result<usize, BuildError> {
    let asked = match Asked::read(request, rep) {
        Ok(asked) => asked,
        Err(code) => return refuse(request, code, message_id, out),
    };
    if asked.known_etag && !rep.etag.is_none() && asked.block.is_none_or(|b| b.num == 0) {
        return Builder::response(out, request, Code::VALID, message_id)
            .option(option::ETAG, rep.etag.as_bytes())
            .finish();
    }
    let offset = asked.block.map_or(0, Block::offset);
    if offset >= rep.len && offset > 0 {
        return refuse(request, Code::BAD_REQUEST, message_id, out);
    }
    let szx = asked
        .block
        .map_or(rep.largest, |block| block.szx.min(rep.largest));
    let left = rep.len - offset;
    let size = left.min(szx.bytes());
    let block = Block {
        num: offset >> szx.shift(),
        more: left > size,
        szx,
    };

    let mut builder = Builder::response(&mut *out, request, Code::CONTENT, message_id);
    if !rep.etag.is_none() {
        builder.option(option::ETAG, rep.etag.as_bytes());
    }
    if let Some(format) = rep.content_format {
        builder.uint_option(option::CONTENT_FORMAT, u32::from(format));
    }
    if asked.block.is_some() || block.more {
        builder.block(option::BLOCK2, block);
        if offset == 0 || asked.size2 {
            builder.uint_option(option::SIZE2, rep.len);
        }
    }
    let written = builder.payload_with(|room| match room.get_mut(..size as usize) {
        None => Ok(usize::MAX), // too small: the builder says so
        Some(place) => read(offset, place).map(|()| place.len()),
    });
    match written.map(|builder| builder.finish()) {
        Ok(finished) => finished,
        Err(_) => refuse(request, Code::INTERNAL_SERVER_ERROR, message_id, out),
    }
}

/// An answer that is only a code: piggybacked to a CON, a NON with `message_id` to a NON.
///
/// # Errors
/// [`BuildError::NoSpace`] below 12 bytes.
pub fn refuse(
    request: &Message<'_>,
    code: Code,
    message_id: u16,
    out: &mut [u8],
) -> Result<usize, BuildError> {
    Builder::response(out, request, code, message_id).finish()
}

/// Whether a message wants an answer of a server at all: a request in a CON or NON.
pub fn is_request(message: &Message<'_>) -> bool {
    matches!(message.kind(), Kind::Con | Kind::Non) && message.code().is_request()
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::message::Token;
    use std::vec::Vec;

    const TOKEN: Token = Token::from_u32(7);

    fn rep(len: u32) -> Representation {
        Representation {
            len,
            etag: Etag::new(b"etag").unwrap(),
            content_format: Some(42),
            largest: Szx::S512,
        }
    }

    fn byte(i: u32) -> u8 {
        (i % 251) as u8
    }

    /// Serves a request made of these options; gives the answer's bytes.
    fn serve(rep: &Representation, kind: Kind, options: &[(u16, &[u8])]) -> Vec<u8> {
        let mut buffer = [0; 256];
        let mut b = Builder::new(&mut buffer, kind, Code::GET, 5, TOKEN);
        for (number, value) in options {
            b.option(*number, value);
        }
        let n = b.finish().unwrap();
        let request = Message::new_checked(&buffer[..n]).unwrap();
        let mut out = std::vec![0; 1152];
        let n = serve_block(&request, rep, 99, &mut out, |offset, place| {
            for (i, slot) in place.iter_mut().enumerate() {
                *slot = byte(offset + i as u32);
            }
            Ok::<_, ()>(())
        })
        .unwrap();
        out.truncate(n);
        out
    }

    fn code_of(options: &[(u16, &[u8])]) -> Code {
        Message::new_checked(&serve(&rep(2000), Kind::Con, options))
            .unwrap()
            .code()
    }

    #[test]
    fn random_access_with_a_scaled_number() {
        // block 1 of 1024 is byte 1024: block 2 of the server's 512
        let bytes = serve(&rep(2000), Kind::Con, &[(option::BLOCK2, &[0x16])]);
        let m = Message::new_checked(&bytes).unwrap();
        assert_eq!(
            (m.kind(), m.code(), m.message_id()),
            (Kind::Ack, Code::CONTENT, 5)
        );
        assert_eq!(m.token(), TOKEN);
        let block = m.block(option::BLOCK2).unwrap().unwrap();
        assert_eq!(
            block,
            Block {
                num: 2,
                more: true,
                szx: Szx::S512
            }
        );
        assert_eq!(m.option(option::ETAG), Some(&b"etag"[..]));
        assert_eq!(m.option(option::SIZE2), None);
        assert!(
            m.payload()
                .iter()
                .enumerate()
                .all(|(i, &b)| b == byte(1024 + i as u32))
        );
        assert_eq!(m.payload().len(), 512);
    }

    #[test]
    fn last_block_size2_and_non() {
        let options: &[(u16, &[u8])] = &[(option::BLOCK2, &[0x35]), (option::SIZE2, &[])];
        let bytes = serve(&rep(2000), Kind::Non, options);
        let m = Message::new_checked(&bytes).unwrap();
        assert_eq!((m.kind(), m.message_id()), (Kind::Non, 99));
        assert_eq!(m.uint_option(option::SIZE2), Some(2000));
        assert!(!m.block(option::BLOCK2).unwrap().unwrap().more);
        assert_eq!(m.payload().len(), 2000 - 3 * 512);
    }

    #[test]
    fn small_and_empty_need_no_block_option() {
        let bytes = serve(&rep(100), Kind::Con, &[]);
        let m = Message::new_checked(&bytes).unwrap();
        assert_eq!((m.option(option::BLOCK2), m.payload().len()), (None, 100));
        let bytes = serve(&rep(0), Kind::Con, &[(option::BLOCK2, &[0x06])]);
        let m = Message::new_checked(&bytes).unwrap();
        assert_eq!((m.code(), m.payload().len()), (Code::CONTENT, 0));
        let bytes = serve(&rep(513), Kind::Con, &[]);
        assert_eq!(
            Message::new_checked(&bytes)
                .unwrap()
                .uint_option(option::BLOCK2),
            Some(0x0d)
        );
    }

    #[test]
    fn refusals() {
        for (options, code) in [
            (&[(option::BLOCK2, &[0x45][..])][..], Code::BAD_REQUEST), // past the end
            (&[(option::BLOCK2, &[0x07])], Code::BAD_REQUEST),
            (&[(option::BLOCK2, &[0xff, 0xff, 0xf6])], Code::BAD_REQUEST),
            (&[(option::IF_MATCH, b"old")], Code::PRECONDITION_FAILED),
            (
                &[(option::IF_MATCH, b"old"), (option::IF_MATCH, b"etag")],
                Code::CONTENT,
            ),
            (&[(option::IF_MATCH, b"")], Code::CONTENT),
            (&[(option::IF_NONE_MATCH, b"")], Code::PRECONDITION_FAILED),
            (&[(option::ACCEPT, &[50])], Code::NOT_ACCEPTABLE),
            (&[(option::ACCEPT, &[42])], Code::CONTENT),
            (&[(option::ETAG, b"etag")], Code::VALID),
            (
                &[(option::ETAG, b"etag"), (option::BLOCK2, &[0x15])],
                Code::CONTENT,
            ),
            (&[(option::ETAG, b"old")], Code::CONTENT),
            (&[(9, b"")], Code::BAD_OPTION),
            // Found by fuzzing: two places were asked for, and the last was served.
            (
                &[(option::BLOCK2, &[0x15]), (option::BLOCK2, b"")],
                Code::BAD_OPTION,
            ),
            (&[(10, b"")], Code::CONTENT),
        ] {
            assert_eq!(code_of(options), code, "{options:?}");
        }
    }

    #[test]
    fn failing_read_small_buffer_other_method() {
        let mut buffer = [0; 64];
        let n = Builder::new(&mut buffer, Kind::Con, Code::GET, 5, TOKEN)
            .finish()
            .unwrap();
        let request = Message::new_checked(&buffer[..n]).unwrap();
        let mut out = [0; 600];
        let n = serve_block(&request, &rep(99), 0, &mut out, |_, _| Err(())).unwrap();
        let m = Message::new_checked(&out[..n]).unwrap();
        assert_eq!(
            (m.code(), m.payload().len()),
            (Code::INTERNAL_SERVER_ERROR, 0)
        );
        let small = serve_block(
            &request,
            &rep(99),
            0,
            &mut out[..50],
            |_, _| Ok::<_, ()>(()),
        );
        assert_eq!(small, Err(BuildError::NoSpace));
        let n = Builder::new(&mut buffer, Kind::Con, Code::PUT, 5, TOKEN)
            .finish()
            .unwrap();
        let request = Message::new_checked(&buffer[..n]).unwrap();
        assert!(is_request(&request));
        let n = serve_block(&request, &rep(99), 0, &mut out, |_, _| Ok::<_, ()>(())).unwrap();
        assert_eq!(
            Message::new_checked(&out[..n]).unwrap().code(),
            Code::METHOD_NOT_ALLOWED
        );
    }
}
