//! Receiving a request's body in blocks (Block1, RFC 7959 sections 2.3, 2.5, 2.9), in order.
//!
//! The bytes go to the caller, block by block; this machine holds only where the next one belongs. One
//! machine serves one (peer, resource). The last block is not remembered: a handler that is not idempotent
//! asks [`crate::Dedup`] first, as for any request. A refusal forgets nothing: it may be for a late copy of
//! an old block, and a client that obeys 4.08 or 4.13 begins again with block 0 anyway.
//!
//! | request | [`Taken`] |
//! |---|---|
//! | no Block1, body within the limits | Complete |
//! | block 0 | begins anew: Continue |
//! | the next block | Continue, or Complete with the last |
//! | block 0 once more (same message id), a block that is here already | Repeated: 2.31 again |
//! | a gap, another Request-Tag, a short block that is not the last | Refused 4.08 |
//! | payload above the block size taken here | Refused 4.13 with Block1 of that size |
//! | body (or its Size1) above the limit | Refused 4.13 with Size1 = the limit |
//! | malformed Block1 | Refused 4.00 |

use crate::block::{Block, Szx};
use crate::builder::Builder;
use crate::code::Code;
use crate::etag::Etag;
use crate::message::Message;
use crate::option;

/// What to do with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken<'a> {
    /// Keep `data` at `offset` and answer 2.31 with this Block1.
    Continue {
        /// Place in the body.
        offset: u32,
        /// The bytes.
        data: &'a [u8],
        /// For the answer.
        block: Block,
    },
    /// Keep `data` at `offset`; the body is whole: act, and answer with this Block1 if there is one.
    Complete {
        /// Place in the body.
        offset: u32,
        /// The bytes; the body's length is `offset` + theirs.
        data: &'a [u8],
        /// For the answer.
        block: Option<Block>,
    },
    /// Keep nothing, answer 2.31 with this Block1 again.
    Repeated {
        /// For the answer.
        block: Block,
    },
    /// Keep nothing; answer with this code.
    Refused {
        /// 4.00, 4.08 or 4.13.
        code: Code,
        /// For the answer: the size taken here, when that is what was wrong.
        block: Option<Block>,
        /// For the answer: the greatest body taken here, when that is what was wrong.
        size1: Option<u32>,
    },
}

impl Taken<'_> {
    /// The code to answer with; `None` when the body is whole and the caller's handler decides.
    pub fn code(&self) -> Option<Code> {
        match self {
            Taken::Continue { .. } | Taken::Repeated { .. } => Some(Code::CONTINUE),
            Taken::Complete { .. } => None,
            Taken::Refused { code, .. } => Some(*code),
        }
    }

    /// Adds Block1 and Size1 to the answer (after any option below 27).
    pub fn add_options(&self, builder: &mut Builder<'_>) {
        let (block, size1) = match *self {
            Taken::Continue { block, .. } | Taken::Repeated { block } => (Some(block), None),
            Taken::Complete { block, .. } => (block, None),
            Taken::Refused { block, size1, .. } => (block, size1),
        };
        if let Some(block) = block {
            builder.block(option::BLOCK1, block);
        }
        if let Some(size1) = size1 {
            builder.uint_option(option::SIZE1, size1);
        }
    }
}

/// The assembly machine: 32 bytes, no buffer.
#[derive(Clone, Debug)]
pub struct Assembly {
    /// First byte not here yet; 0 = nothing begun.
    next: u32,
    limit: u32,
    tag: Option<Etag>,
    /// Of the last block 0: the network may repeat it late, which must not begin anew.
    first_id: Option<u16>,
    szx: Szx,
}

impl Assembly {
    /// Takes bodies of at most `limit` bytes in blocks of at most `szx`.
    pub const fn new(limit: u32, szx: Szx) -> Assembly {
        Assembly {
            next: 0,
            limit,
            tag: None,
            first_id: None,
            szx,
        }
    }

    /// Takes the next request.
    pub fn on_request<'a>(&mut self, request: &Message<'a>) -> Taken<'a> {
        let data = request.payload();
        let block = match request.block(option::BLOCK1) {
            None => Block {
                num: 0,
                more: false,
                szx: self.szx,
            },
            Some(Ok(block)) => block,
            Some(Err(_)) => return refuse(Code::BAD_REQUEST),
        };
        let plain = request.option(option::BLOCK1).is_none();
        let size1 = request.uint_option(option::SIZE1).unwrap_or(0);
        let offset = block.offset();
        let end = offset.saturating_add(data.len() as u32);
        if end > self.limit || size1 > self.limit {
            return Taken::Refused {
                code: Code::REQUEST_ENTITY_TOO_LARGE,
                block: None,
                size1: Some(self.limit),
            };
        }
        if data.len() > self.szx.bytes() as usize {
            return Taken::Refused {
                code: Code::REQUEST_ENTITY_TOO_LARGE,
                block: Some(Block {
                    num: block.num,
                    more: block.more,
                    szx: self.szx,
                }),
                size1: None,
            };
        }
        // Late negotiation: the answer names a size that is taken here.
        let answer = Block {
            szx: block.szx.min(self.szx),
            ..block
        };
        let tag = request.option(option::REQUEST_TAG).and_then(Etag::new);
        let size = block.szx.bytes() as usize;
        let fits = if block.more {
            data.len() == size
        } else {
            plain || data.len() <= size
        };
        let again = match offset {
            0 => self.first_id == Some(request.message_id()),
            _ => offset < self.next && tag == self.tag,
        };
        if block.more && fits && again {
            return Taken::Repeated { block: answer };
        }
        let follows = offset == 0 || (offset == self.next && tag == self.tag);
        if !fits || !follows {
            return refuse(Code::REQUEST_ENTITY_INCOMPLETE);
        }
        if !block.more {
            self.next = 0;
            return Taken::Complete {
                offset,
                data,
                block: (!plain).then_some(answer),
            };
        }
        self.next = end;
        self.tag = tag;
        if offset == 0 {
            self.first_id = Some(request.message_id());
        }
        Taken::Continue {
            offset,
            data,
            block: answer,
        }
    }

    /// Bytes of the body so far; 0 when none is under way.
    pub fn received(&self) -> u32 {
        self.next
    }
}

fn refuse<'a>(code: Code) -> Taken<'a> {
    Taken::Refused {
        code,
        block: None,
        size1: None,
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::message::{Kind, Token};

    /// Feeds one block; gives (code or none when whole, offset if kept).
    fn feed(
        assembly: &mut Assembly,
        mid: u16,
        block: Option<(u32, bool, usize)>,
        tag: Option<&[u8]>,
        len: usize,
    ) -> (Option<Code>, Option<u32>) {
        let mut buffer = [0; 1200];
        let mut b = Builder::new(&mut buffer, Kind::Con, Code::PUT, mid, Token::EMPTY);
        if let Some((num, more, size)) = block {
            b.block(
                option::BLOCK1,
                Block {
                    num,
                    more,
                    szx: Szx::from_bytes(size).unwrap(),
                },
            );
        }
        if let Some(tag) = tag {
            b.option(option::REQUEST_TAG, tag);
        }
        let n = b.payload(&std::vec![1; len]).finish().unwrap();
        let taken = assembly.on_request(&Message::new_checked(&buffer[..n]).unwrap());
        let kept = match taken {
            Taken::Continue { offset, .. } | Taken::Complete { offset, .. } => Some(offset),
            _ => None,
        };
        (taken.code(), kept)
    }

    const CONTINUE: Option<Code> = Some(Code::CONTINUE);
    const INCOMPLETE: Option<Code> = Some(Code::REQUEST_ENTITY_INCOMPLETE);
    const TOO_LARGE: Option<Code> = Some(Code::REQUEST_ENTITY_TOO_LARGE);

    #[test]
    fn in_order() {
        let mut a = Assembly::new(100, Szx::S16);
        assert!(core::mem::size_of::<Assembly>() <= 32);
        assert_eq!(
            feed(&mut a, 1, Some((0, true, 16)), None, 16),
            (CONTINUE, Some(0))
        );
        assert_eq!(
            feed(&mut a, 2, Some((1, true, 16)), None, 16),
            (CONTINUE, Some(16))
        );
        assert_eq!(
            feed(&mut a, 2, Some((1, true, 16)), None, 16),
            (CONTINUE, None)
        );
        assert_eq!(
            feed(&mut a, 3, Some((2, false, 16)), None, 5),
            (None, Some(32))
        );
        assert_eq!(a.received(), 0);
        assert_eq!(feed(&mut a, 4, None, None, 16), (None, Some(0)));
    }

    #[test]
    fn out_of_order_is_incomplete() {
        let mut a = Assembly::new(100, Szx::S16);
        assert_eq!(
            feed(&mut a, 1, Some((1, true, 16)), None, 16),
            (INCOMPLETE, None)
        );
        feed(&mut a, 2, Some((0, true, 16)), None, 16);
        assert_eq!(
            feed(&mut a, 3, Some((2, false, 16)), None, 16),
            (INCOMPLETE, None)
        );
        assert_eq!(
            feed(&mut a, 4, Some((1, false, 16)), None, 16),
            (None, Some(16))
        );
        assert_eq!(
            feed(&mut a, 5, Some((0, true, 16)), None, 7),
            (INCOMPLETE, None)
        );
        feed(&mut a, 6, Some((0, true, 16)), Some(b"x"), 16);
        assert_eq!(
            feed(&mut a, 7, Some((1, false, 16)), Some(b"y"), 16),
            (INCOMPLETE, None)
        );
    }

    #[test]
    fn block_zero_begins_anew() {
        let mut a = Assembly::new(100, Szx::S16);
        feed(&mut a, 1, Some((0, true, 16)), None, 16);
        feed(&mut a, 2, Some((1, true, 16)), None, 16);
        assert_eq!(
            feed(&mut a, 3, Some((0, true, 16)), None, 16),
            (CONTINUE, Some(0))
        );
        assert_eq!(a.received(), 16);
    }

    #[test]
    fn late_copies_change_nothing() {
        let mut a = Assembly::new(100, Szx::S16);
        for _ in 0..2 {
            for num in 0..3 {
                feed(&mut a, num as u16, Some((num, true, 16)), None, 16);
            }
            assert_eq!(a.received(), 48);
        }
        let late = feed(&mut a, 1, Some((1, true, 16)), None, 16);
        assert_eq!(late, (CONTINUE, None));
        assert_eq!(
            feed(&mut a, 3, Some((3, false, 16)), None, 1),
            (None, Some(48))
        );
        assert_eq!(
            feed(&mut a, 0, Some((0, true, 16)), None, 16),
            (CONTINUE, None)
        );
        assert_eq!(a.received(), 0);
    }

    #[test]
    fn limits() {
        let mut a = Assembly::new(40, Szx::S16);
        assert_eq!(feed(&mut a, 1, None, None, 17), (TOO_LARGE, None));
        assert_eq!(
            feed(&mut a, 1, Some((0, true, 32)), None, 32),
            (TOO_LARGE, None)
        );
        feed(&mut a, 1, Some((0, true, 16)), None, 16);
        feed(&mut a, 2, Some((1, true, 16)), None, 16);
        assert_eq!(
            feed(&mut a, 3, Some((2, true, 16)), None, 16),
            (TOO_LARGE, None)
        );
        assert_eq!(
            feed(&mut a, 4, Some((0xf_ffff, true, 1024)), None, 16),
            (TOO_LARGE, None)
        );
    }

    #[test]
    fn the_answer_names_the_size_or_the_limit() {
        let mut buffer = [0; 1200];
        for (len, block1, size1) in [(64, Some(0x08), None), (200, None, Some(100))] {
            let n = Builder::new(&mut buffer, Kind::Con, Code::PUT, 1, Token::EMPTY)
                .uint_option(option::BLOCK1, 0x0e)
                .payload(&std::vec![1; len])
                .finish()
                .unwrap();
            let request = Message::new_checked(&buffer[..n]).unwrap();
            let taken = Assembly::new(100, Szx::S16).on_request(&request);
            let mut out = [0; 32];
            let mut b = Builder::response(&mut out, &request, taken.code().unwrap(), 0);
            taken.add_options(&mut b);
            let n = b.finish().unwrap();
            let answer = Message::new_checked(&out[..n]).unwrap();
            assert_eq!(answer.code(), Code::REQUEST_ENTITY_TOO_LARGE);
            assert_eq!(answer.uint_option(option::BLOCK1), block1);
            assert_eq!(answer.uint_option(option::SIZE1), size1);
        }
    }
}
