//! Block1 upload from the client's side (RFC 7959 sections 2.3, 2.5 and 2.9), one block in flight.
//!
//! The body stays with the caller: [`Upload::range`] says which bytes go into the next request.
//!
//! | answer | what happens |
//! |---|---|
//! | 2.31 for the block sent | the next one; if its SZX is smaller, in that size from there on |
//! | 2.xx to the last block | done |
//! | 2.xx for an earlier block with its Block1 | the server works block by block: the next one |
//! | 4.13 with a smaller SZX | from the beginning in that size |
//! | 4.08 | from the beginning, at most [`RESTARTS`] times |
//! | 2.xx for an earlier block without Block1 | `NotBlockwise`: the server took a part for the whole |
//! | anything else | `Refused` |

use crate::block::{Block, Szx, TooManyBlocks, blocks_of};
use crate::builder::Builder;
use crate::code::Code;
use crate::download::{STRIKES, TransferError};
use crate::message::Message;
use crate::option;

/// How often 4.08 is obeyed before the upload fails.
pub const RESTARTS: u8 = 3;

/// What an answer to an upload's block means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadStep {
    /// Send [`Upload::range`], which may be an earlier place than before.
    Next,
    /// The server has the whole body and answered with this code.
    Done(Code),
}

/// The upload machine: 16 bytes, no buffer.
#[derive(Clone, Debug)]
pub struct Upload {
    len: u32,
    /// First byte of the block in flight.
    next: u32,
    szx: Szx,
    restarts: u8,
    strikes: u8,
    done: bool,
}

impl Upload {
    /// Sends `len` bytes in blocks of `szx`; what fits into one block goes without Block1.
    ///
    /// # Errors
    /// [`TooManyBlocks`] above 2^20 blocks.
    pub fn new(len: u32, szx: Szx) -> Result<Upload, TooManyBlocks> {
        blocks_of(u64::from(len), szx)?;
        Ok(Upload {
            len,
            next: 0,
            szx,
            restarts: 0,
            strikes: 0,
            done: false,
        })
    }

    /// First byte and length of the next request's payload.
    pub fn range(&self) -> (u32, u32) {
        (
            self.next,
            self.len.saturating_sub(self.next).min(self.szx.bytes()),
        )
    }

    /// The block in flight.
    pub fn block(&self) -> Block {
        Block {
            num: self.next >> self.szx.shift(),
            more: !self.is_last(),
            szx: self.szx,
        }
    }

    /// Adds Block1, and with the first block Size1, to a request whose options below 27 are there.
    pub fn add_options(&self, builder: &mut Builder<'_>) {
        if self.len <= self.szx.bytes() {
            return;
        }
        builder.block(option::BLOCK1, self.block());
        if self.next == 0 {
            builder.uint_option(option::SIZE1, self.len);
        }
    }

    /// Takes the response to the request for [`Upload::range`].
    ///
    /// # Errors
    /// The upload is over; see [`TransferError`]. 4.01 with Echo is no end: ask
    /// [`crate::echo::challenge`] first and repeat the request with its value.
    pub fn on_response(&mut self, message: &Message<'_>) -> Result<UploadStep, TransferError> {
        let code = message.code();
        if self.done {
            return Ok(UploadStep::Done(code));
        }
        let block = match message.block(option::BLOCK1) {
            None => None,
            Some(Ok(block)) => Some(block),
            Some(Err(_)) => return self.strike(),
        };
        match code {
            Code::CONTINUE if self.is_last() => Err(TransferError::BadBlock),
            Code::REQUEST_ENTITY_TOO_LARGE => match block {
                // Only a size that is really smaller: else the same 4.13 would come for ever.
                Some(block) if block.szx < self.szx => {
                    blocks_of(u64::from(self.len), block.szx)?;
                    self.szx = block.szx;
                    self.next = 0;
                    Ok(UploadStep::Next)
                }
                _ => Err(TransferError::Refused(code)),
            },
            Code::REQUEST_ENTITY_INCOMPLETE if self.restarts < RESTARTS && self.next > 0 => {
                self.restarts += 1;
                self.next = 0;
                Ok(UploadStep::Next)
            }
            _ if !code.is_success() => Err(TransferError::Refused(code)),
            _ if self.is_last() => {
                self.done = true;
                Ok(UploadStep::Done(code))
            }
            _ => match block {
                None => Err(TransferError::NotBlockwise),
                Some(block) if block.num != self.block().num => self.strike(),
                Some(block) => {
                    let sent = self.range().1;
                    if block.szx < self.szx {
                        blocks_of(u64::from(self.len), block.szx)?;
                        self.szx = block.szx;
                    }
                    self.strikes = 0;
                    self.next += sent;
                    Ok(UploadStep::Next)
                }
            },
        }
    }

    /// The server has answered the last block.
    pub fn is_done(&self) -> bool {
        self.done
    }

    fn is_last(&self) -> bool {
        self.len.saturating_sub(self.next) <= self.szx.bytes()
    }

    fn strike(&mut self) -> Result<UploadStep, TransferError> {
        self.strikes += 1;
        if self.strikes >= STRIKES {
            return Err(TransferError::BadBlock);
        }
        Ok(UploadStep::Next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Kind, Token};

    fn answer(
        upload: &mut Upload,
        code: Code,
        block: Option<(u32, usize)>,
    ) -> Result<UploadStep, TransferError> {
        let mut buffer = [0; 32];
        let mut b = Builder::new(&mut buffer, Kind::Ack, code, 1, Token::EMPTY);
        if let Some((num, size)) = block {
            b.block(
                option::BLOCK1,
                Block {
                    num,
                    more: true,
                    szx: Szx::from_bytes(size).unwrap(),
                },
            );
        }
        let n = b.finish().unwrap();
        upload.on_response(&Message::new_checked(&buffer[..n]).unwrap())
    }

    const NEXT: Result<UploadStep, TransferError> = Ok(UploadStep::Next);

    #[test]
    fn three_blocks() {
        let mut u = Upload::new(40, Szx::S16).unwrap();
        assert_eq!((u.range(), u.block().more), ((0, 16), true));
        assert_eq!(answer(&mut u, Code::CONTINUE, Some((0, 16))), NEXT);
        assert_eq!(answer(&mut u, Code::CONTINUE, Some((1, 16))), NEXT);
        assert_eq!((u.range(), u.block().more), ((32, 8), false));
        let done = Ok(UploadStep::Done(Code::CHANGED));
        assert_eq!(answer(&mut u, Code::CHANGED, Some((2, 16))), done);
        assert!(u.is_done() && core::mem::size_of::<Upload>() <= 16);
    }

    #[test]
    fn options_only_when_needed() {
        let mut buffer = [0; 32];
        let mut b = Builder::new(&mut buffer, Kind::Con, Code::POST, 1, Token::EMPTY);
        Upload::new(16, Szx::S16).unwrap().add_options(&mut b);
        assert_eq!(b.finish(), Ok(4));
        Upload::new(17, Szx::S16).unwrap().add_options(&mut b);
        let n = b.finish().unwrap();
        let m = Message::new_checked(&buffer[..n]).unwrap();
        assert_eq!(m.uint_option(option::BLOCK1), Some(0x08));
        assert_eq!(m.uint_option(option::SIZE1), Some(17));
    }

    #[test]
    fn continue_with_a_smaller_size_scales_the_number() {
        // RFC 7959 figure 8: 1:0/1/128 acknowledged with 1:0/1/32, next is 1:4/1/32
        let mut u = Upload::new(300, Szx::S128).unwrap();
        assert_eq!(answer(&mut u, Code::CONTINUE, Some((0, 32))), NEXT);
        assert_eq!((u.range(), u.block().num), ((128, 32), 4));
    }

    #[test]
    fn too_large_is_obeyed_when_smaller() {
        let mut u = Upload::new(100, Szx::S128).unwrap();
        assert_eq!(
            answer(&mut u, Code::REQUEST_ENTITY_TOO_LARGE, Some((0, 64))),
            NEXT
        );
        assert_eq!((u.range(), u.block().more), ((0, 64), true));
        assert_eq!(answer(&mut u, Code::CONTINUE, Some((0, 64))), NEXT);
        assert_eq!(
            answer(&mut u, Code::REQUEST_ENTITY_TOO_LARGE, Some((1, 16))),
            NEXT
        );
        assert_eq!(u.range(), (0, 16));
        let refused = Err(TransferError::Refused(Code::REQUEST_ENTITY_TOO_LARGE));
        assert_eq!(
            answer(&mut u, Code::REQUEST_ENTITY_TOO_LARGE, Some((0, 16))),
            refused
        );
        assert_eq!(
            answer(&mut u, Code::REQUEST_ENTITY_TOO_LARGE, None),
            refused
        );
    }

    #[test]
    fn incomplete_begins_again_a_few_times() {
        let mut u = Upload::new(40, Szx::S16).unwrap();
        for _ in 0..RESTARTS {
            assert_eq!(answer(&mut u, Code::CONTINUE, Some((0, 16))), NEXT);
            assert_eq!(answer(&mut u, Code::REQUEST_ENTITY_INCOMPLETE, None), NEXT);
            assert_eq!(u.range(), (0, 16));
        }
        answer(&mut u, Code::CONTINUE, Some((0, 16))).unwrap();
        let refused = Err(TransferError::Refused(Code::REQUEST_ENTITY_INCOMPLETE));
        assert_eq!(
            answer(&mut u, Code::REQUEST_ENTITY_INCOMPLETE, None),
            refused
        );
    }

    #[test]
    fn servers_that_err() {
        let new = || Upload::new(40, Szx::S16).unwrap();
        assert_eq!(
            answer(&mut new(), Code::CHANGED, None),
            Err(TransferError::NotBlockwise)
        );
        assert_eq!(answer(&mut new(), Code::CHANGED, Some((0, 16))), NEXT);
        let forbidden = Err(TransferError::Refused(Code::FORBIDDEN));
        assert_eq!(answer(&mut new(), Code::FORBIDDEN, None), forbidden);
        let mut u = new();
        for _ in 1..STRIKES {
            assert_eq!(answer(&mut u, Code::CONTINUE, Some((1, 16))), NEXT);
        }
        assert_eq!(
            answer(&mut u, Code::CONTINUE, Some((1, 16))),
            Err(TransferError::BadBlock)
        );
        let mut one = Upload::new(5, Szx::S16).unwrap();
        assert_eq!(
            answer(&mut one, Code::CONTINUE, Some((0, 16))),
            Err(TransferError::BadBlock)
        );
        assert!(Upload::new(u32::MAX, Szx::S1024).is_err());
    }
}
