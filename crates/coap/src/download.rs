//! Block2 download from the client's side (RFC 7959 sections 2.3 to 2.5), one block in flight.
//!
//! It begins at any byte (random access: resume, one piece of a package), ends at any byte, and gives each
//! byte once and in order. It holds no block and sends nothing: an [`crate::Exchange`] carries each request.
//!
//! | answer | what happens |
//! |---|---|
//! | the block asked for | its bytes are given, the next block is wanted |
//! | the same place, smaller SZX | its bytes are given; smaller blocks are wanted from now on, NUM scaled |
//! | another place (a repeated block, a wrong NUM), a short block that is not the last, a larger SZX | nothing is given, the same block is wanted again; after [`STRIKES`] in a row: `BadBlock` |
//! | no Block2 | the payload is the whole representation; of one longer than a block, a block's bytes are given |
//! | another ETag, or none after one | `EtagChanged` |
//! | the last block before the wanted end | `EndsEarly` |
//! | an unknown critical option | `BadOption` |
//! | any code but 2.05 | `Refused` |

use core::fmt;

use crate::block::{Block, Szx, TooManyBlocks};
use crate::builder::Builder;
use crate::code::Code;
use crate::etag::Etag;
use crate::message::Message;
use crate::option;

/// Useless answers in a row before a transfer fails.
pub const STRIKES: u8 = 4;

/// To the end, wherever that is: no representation in blocks is so long.
const OPEN: u32 = u32::MAX;

/// Why a block-wise transfer ended. None of these is the network's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferError {
    /// More than 2^20 blocks of the (negotiated) size.
    TooManyBlocks,
    /// The peer answered with this code.
    Refused(Code),
    /// The response has a critical option that is not understood here, or malformed (its number).
    BadOption(u16),
    /// The representation changed in the middle.
    EtagChanged,
    /// The peer's block options are malformed or contradict the request again and again.
    BadBlock,
    /// The representation ends at this byte, before the wanted end.
    EndsEarly(u32),
    /// The peer does not do block-wise transfer where it is needed.
    NotBlockwise,
}

impl From<TooManyBlocks> for TransferError {
    fn from(_: TooManyBlocks) -> TransferError {
        TransferError::TooManyBlocks
    }
}

impl fmt::Display for TransferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TransferError::TooManyBlocks => TooManyBlocks.fmt(f),
            TransferError::Refused(code) => write!(f, "the peer answered {code}"),
            TransferError::BadOption(number) => {
                write!(f, "the response has the critical option {number}")
            }
            TransferError::EtagChanged => f.write_str("the representation changed (other ETag)"),
            TransferError::BadBlock => f.write_str("the peer's blocks contradict the request"),
            TransferError::EndsEarly(at) => write!(f, "the representation ends at byte {at}"),
            TransferError::NotBlockwise => f.write_str("the peer does no block-wise transfer"),
        }
    }
}

impl core::error::Error for TransferError {}

/// What an answer brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// The next bytes, at most as many as the block that was asked for. Empty only when the rest of the
    /// representation is empty.
    Block {
        /// First byte's place in the representation.
        offset: u32,
        /// The bytes.
        data: &'a [u8],
    },
    /// Nothing: request [`Download::block`] again.
    Again,
}

/// The download machine: 48 bytes, no buffer.
#[derive(Clone, Debug)]
pub struct Download {
    /// First byte not given yet.
    next: u32,
    /// One past the last byte wanted, or [`OPEN`].
    to: u32,
    total: Option<u32>,
    etag: Etag,
    szx: Szx,
    strikes: u8,
    started: bool,
    done: bool,
}

impl Download {
    /// A download that is done before it began.
    pub const NOTHING: Download = Download {
        next: 0,
        to: 0,
        total: None,
        etag: Etag::NONE,
        szx: Szx::S1024,
        strikes: 0,
        started: false,
        done: true,
    };

    /// Fetches `from..to` (`to` `None`: to the end) in blocks of at most `szx`. `etag` is the version it
    /// must be, [`Etag::NONE`] = any; then all blocks must have that of the first.
    ///
    /// `from` need not be a multiple of the block size; if it is not, the first block's beginning is
    /// fetched and not given.
    ///
    /// # Errors
    /// [`TooManyBlocks`] when `from..to` passes block number 2^20.
    pub fn new(
        from: u32,
        to: Option<u32>,
        szx: Szx,
        etag: Etag,
    ) -> Result<Download, TooManyBlocks> {
        let to = match to {
            // Behind every block number, and not the same as "to the end".
            Some(OPEN) => return Err(TooManyBlocks),
            to => to.unwrap_or(OPEN),
        };
        let download = Download {
            next: from,
            to,
            etag,
            szx,
            done: to <= from,
            ..Download::NOTHING
        };
        download.numbers_suffice()?;
        Ok(download)
    }

    /// The block wanted now.
    pub fn block(&self) -> Block {
        // `numbers_suffice` holds after every change, so the number is never cut.
        Block {
            num: self.next >> self.szx.shift(),
            more: false,
            szx: self.szx,
        }
    }

    /// Adds Block2, and in the first request Size2 = 0 to ask for the size, to a GET whose options up to
    /// Accept are there.
    pub fn add_options(&self, builder: &mut Builder<'_>) {
        builder.block(option::BLOCK2, self.block());
        if !self.started {
            builder.uint_option(option::SIZE2, 0);
        }
    }

    /// Takes the response to the request for [`Download::block`].
    ///
    /// # Errors
    /// The transfer is over; see [`TransferError`]. 4.01 with Echo is no end: ask
    /// [`crate::echo::challenge`] first and repeat the request with its value.
    pub fn on_response<'a>(&mut self, message: &Message<'a>) -> Result<Step<'a>, TransferError> {
        if self.done {
            return Ok(Step::Again);
        }
        if message.code() != Code::CONTENT {
            return Err(TransferError::Refused(message.code()));
        }
        if let Some(number) = message.first_unknown_critical(&[option::BLOCK2, option::BLOCK1]) {
            return Err(TransferError::BadOption(number));
        }
        let etag = Etag::new(message.option(option::ETAG).unwrap_or(&[])).unwrap_or_default();
        let may_set = self.etag.is_none() && !self.started;
        if etag != self.etag && !may_set {
            return Err(TransferError::EtagChanged);
        }

        let payload = message.payload();
        let (start, more) = match message.block(option::BLOCK2) {
            None if self.next == 0 || payload.len() > self.next as usize => (0, false),
            None => return Err(TransferError::NotBlockwise),
            Some(block) => {
                let asked = self.block();
                let Some(block) = block.ok().filter(|block| block.szx <= asked.szx) else {
                    return self.strike();
                };
                self.szx = block.szx;
                self.numbers_suffice()?;
                let size = block.szx.bytes() as usize;
                let short = block.more && payload.len() < size;
                if block.offset() != asked.offset() || short || payload.len() > size {
                    return self.strike();
                }
                (block.offset(), block.more)
            }
        };
        self.etag = etag;
        self.started = true;
        self.total = message.uint_option(option::SIZE2).or(self.total);

        let offset = self.next;
        let skip = offset.saturating_sub(start) as usize;
        let rest = payload.get(skip..).unwrap_or(&[]);
        if rest.is_empty() && more {
            // The server's smaller block ends before the first wanted byte; the next request is nearer.
            return Ok(Step::Again);
        }
        // Never more than the caller made room for, also of a whole representation.
        let room = self.to.saturating_sub(offset).min(self.szx.bytes()) as usize;
        let data = rest.get(..room).unwrap_or(rest);
        self.strikes = 0;
        self.next = offset.saturating_add(data.len() as u32);
        self.done = self.next >= self.to;
        if !more && !self.done && data.len() == rest.len() {
            let end = start.saturating_add(payload.len() as u32);
            self.total = Some(end);
            if self.to != OPEN || end < offset {
                return Err(TransferError::EndsEarly(end));
            }
            self.done = true;
        }
        self.numbers_suffice()?;
        Ok(Step::Block { offset, data })
    }

    /// Every wanted byte was given.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// First byte not given yet: where a later download resumes.
    pub fn next_offset(&self) -> u32 {
        self.next
    }

    /// Bytes of the whole representation: Size2 (the server's estimate), or exact after the last block.
    pub fn total(&self) -> Option<u32> {
        self.total
    }

    /// The representation's ETag.
    pub fn etag(&self) -> Etag {
        self.etag
    }

    /// The block size now.
    pub fn szx(&self) -> Szx {
        self.szx
    }

    /// The first answer has come.
    pub fn is_started(&self) -> bool {
        self.started
    }

    fn strike<'a>(&mut self) -> Result<Step<'a>, TransferError> {
        self.strikes += 1;
        if self.strikes >= STRIKES {
            return Err(TransferError::BadBlock);
        }
        Ok(Step::Again)
    }

    fn numbers_suffice(&self) -> Result<(), TooManyBlocks> {
        if self.done {
            return Ok(());
        }
        let last = match self.to {
            OPEN => self.next,
            to => to - 1,
        };
        Block::at(last, false, self.szx).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::message::{Kind, Token};
    use std::vec::Vec;

    /// What a server would answer: block option, ETag, payload.
    fn answer(
        download: &mut Download,
        block: Option<(u32, bool, u32)>,
        etag: &[u8],
        payload: &[u8],
    ) -> Result<(u32, Vec<u8>), Option<TransferError>> {
        let mut buffer = [0; 1200];
        let mut b = Builder::new(&mut buffer, Kind::Ack, Code::CONTENT, 1, Token::EMPTY);
        if !etag.is_empty() {
            b.option(option::ETAG, etag);
        }
        if let Some((num, more, size)) = block {
            b.block(
                option::BLOCK2,
                Block {
                    num,
                    more,
                    szx: Szx::from_bytes(size as usize).unwrap(),
                },
            );
        }
        let n = b.payload(payload).finish().unwrap();
        match download.on_response(&Message::new_checked(&buffer[..n]).unwrap()) {
            Ok(Step::Block { offset, data }) => Ok((offset, data.to_vec())),
            Ok(Step::Again) => Err(None),
            Err(e) => Err(Some(e)),
        }
    }

    fn download(from: u32, to: Option<u32>, size: usize) -> Download {
        Download::new(from, to, Szx::from_bytes(size).unwrap(), Etag::NONE).unwrap()
    }

    const A: &[u8] = b"A";

    #[test]
    fn is_small() {
        assert!(core::mem::size_of::<Download>() <= 48);
    }

    #[test]
    fn in_order_to_the_short_last_block() {
        let mut d = download(0, None, 16);
        assert_eq!(
            answer(&mut d, Some((0, true, 16)), A, &[1; 16]),
            Ok((0, [1; 16].to_vec()))
        );
        assert_eq!(d.block().num, 1);
        assert_eq!(
            answer(&mut d, Some((1, false, 16)), A, &[2; 3]),
            Ok((16, [2; 3].to_vec()))
        );
        assert!(d.is_done());
        assert_eq!((d.total(), d.next_offset()), (Some(19), 19));
    }

    #[test]
    fn repeated_blocks_are_never_given_twice() {
        let mut d = download(0, None, 16);
        answer(&mut d, Some((0, true, 16)), A, &[1; 16]).unwrap();
        assert_eq!(answer(&mut d, Some((0, true, 16)), A, &[1; 16]), Err(None));
        assert_eq!(d.block().num, 1);
        answer(&mut d, Some((1, false, 16)), A, &[2; 3]).unwrap();
        assert_eq!(answer(&mut d, Some((1, false, 16)), A, &[2; 3]), Err(None));
        assert_eq!(d.next_offset(), 19);
    }

    #[test]
    fn server_shrinks_the_first_and_a_later_block() {
        let mut d = download(0, None, 1024);
        answer(&mut d, Some((0, true, 256)), A, &[1; 256]).unwrap();
        assert_eq!((d.block().num, d.szx().bytes()), (1, 256));
        // asked for 1 of 256; the server gives 64 bytes from the same place
        answer(&mut d, Some((4, true, 64)), A, &[2; 64]).unwrap();
        assert_eq!(
            (d.block().num, d.szx().bytes(), d.next_offset()),
            (5, 64, 320)
        );
    }

    #[test]
    fn smaller_size_with_unscaled_number_is_asked_again() {
        let mut d = download(2048, None, 1024);
        assert_eq!(answer(&mut d, Some((2, true, 64)), A, &[9; 64]), Err(None));
        assert_eq!((d.block().num, d.szx().bytes()), (32, 64));
        answer(&mut d, Some((32, true, 64)), A, &[2; 64]).unwrap();
    }

    #[test]
    fn resumes_at_any_byte_and_ends_at_any_byte() {
        let mut d = download(20, Some(40), 16);
        assert_eq!(d.block().num, 1);
        let bytes: Vec<u8> = (16..32).collect();
        assert_eq!(
            answer(&mut d, Some((1, true, 16)), A, &bytes),
            Ok((20, bytes[4..].to_vec()))
        );
        let bytes: Vec<u8> = (32..48).collect();
        assert_eq!(
            answer(&mut d, Some((2, true, 16)), A, &bytes),
            Ok((32, bytes[..8].to_vec()))
        );
        assert!(d.is_done());
    }

    #[test]
    fn unaligned_start_with_a_shrinking_server() {
        let mut d = download(40, Some(64), 64);
        assert_eq!(answer(&mut d, Some((0, true, 16)), A, &[0; 16]), Err(None));
        assert_eq!(d.block().num, 2);
        assert_eq!(
            answer(&mut d, Some((2, true, 16)), A, &[2; 16]),
            Ok((40, [2; 8].to_vec()))
        );
    }

    #[test]
    fn etag_must_stay() {
        let mut d = download(0, None, 16);
        answer(&mut d, Some((0, true, 16)), A, &[1; 16]).unwrap();
        let changed = Err(Some(TransferError::EtagChanged));
        assert_eq!(
            answer(&mut d.clone(), Some((1, true, 16)), b"B", &[1; 16]),
            changed
        );
        assert_eq!(
            answer(&mut d.clone(), Some((1, true, 16)), b"", &[1; 16]),
            changed
        );
        let mut d = Download::new(16, None, Szx::S16, Etag::new(b"B").unwrap()).unwrap();
        assert_eq!(answer(&mut d, Some((1, true, 16)), A, &[1; 16]), changed);
        let mut d = download(0, None, 16);
        answer(&mut d, Some((0, true, 16)), b"", &[1; 16]).unwrap();
        assert_eq!(answer(&mut d, Some((1, true, 16)), A, &[1; 16]), changed);
    }

    #[test]
    fn a_server_that_errs_for_ever_ends_the_transfer() {
        for wrong in [
            (3, true, 16, 16),
            (0, true, 16, 7),
            (0, true, 32, 32),
            (0, false, 16, 17),
        ] {
            let mut d = download(0, None, 16);
            let (num, more, size, len) = wrong;
            for _ in 1..STRIKES {
                assert_eq!(
                    answer(&mut d, Some((num, more, size)), A, &[1; 32][..len]),
                    Err(None)
                );
            }
            let last = answer(&mut d, Some((num, more, size)), A, &[1; 32][..len]);
            assert_eq!(last, Err(Some(TransferError::BadBlock)));
        }
    }

    #[test]
    fn without_block2() {
        let mut d = download(0, None, 64);
        assert_eq!(answer(&mut d, None, A, b"all"), Ok((0, b"all".to_vec())));
        assert!(d.is_done());
        let mut d = download(2, Some(4), 64);
        assert_eq!(answer(&mut d, None, A, b"hello"), Ok((2, b"ll".to_vec())));
        let whole: Vec<u8> = (0..40).collect();
        let mut d = download(0, None, 16);
        for block in whole.chunks(16) {
            let at = d.next_offset();
            assert_eq!(answer(&mut d, None, A, &whole), Ok((at, block.to_vec())));
        }
        assert_eq!((d.is_done(), d.total()), (true, Some(40)));
        let mut d = download(64, None, 64);
        let refused = Err(Some(TransferError::NotBlockwise));
        assert_eq!(answer(&mut d, None, A, b"hello"), refused);
        let mut d = download(0, None, 64);
        assert_eq!(answer(&mut d, None, A, b""), Ok((0, Vec::new())));
        assert_eq!((d.is_done(), d.total()), (true, Some(0)));
    }

    #[test]
    fn ends_before_the_wanted_end() {
        let mut d = download(0, Some(100), 16);
        let early = Err(Some(TransferError::EndsEarly(5)));
        assert_eq!(answer(&mut d, Some((0, false, 16)), A, &[1; 5]), early);
        let mut d = download(10, None, 16);
        assert_eq!(answer(&mut d, Some((0, false, 16)), A, &[1; 5]), early);
    }

    #[test]
    fn twenty_bits_of_block_numbers() {
        let make = |to, szx| Download::new(0, Some(to), szx, Etag::NONE).err();
        assert_eq!(make(1 << 24, Szx::S16), None);
        assert_eq!(make((1 << 24) + 1, Szx::S16), Some(TooManyBlocks));
        assert_eq!(make(1 << 30, Szx::S1024), None);
        assert_eq!(make(u32::MAX, Szx::S1024), Some(TooManyBlocks));
        // fits at 1024; the server's 16 would not
        let mut d = download(0, Some(1 << 25), 1024);
        let many = Err(Some(TransferError::TooManyBlocks));
        assert_eq!(answer(&mut d, Some((0, true, 16)), A, &[1; 16]), many);
    }

    #[test]
    fn a_critical_option_must_be_understood() {
        let mut buffer = [0; 32];
        for (number, error) in [(9, Some(TransferError::BadOption(9))), (10, None)] {
            let n = Builder::new(&mut buffer, Kind::Ack, Code::CONTENT, 1, Token::EMPTY)
                .option(number, b"?")
                .payload(b"x")
                .finish()
                .unwrap();
            let m = Message::new_checked(&buffer[..n]).unwrap();
            assert_eq!(download(0, None, 16).on_response(&m).err(), error);
        }
    }

    #[test]
    fn refused_and_nothing_wanted() {
        let mut buffer = [0; 16];
        let n = Builder::new(&mut buffer, Kind::Ack, Code::NOT_FOUND, 1, Token::EMPTY)
            .finish()
            .unwrap();
        let m = Message::new_checked(&buffer[..n]).unwrap();
        let refused = Err(TransferError::Refused(Code::NOT_FOUND));
        assert_eq!(download(0, None, 16).on_response(&m), refused);
        assert!(download(7, Some(7), 16).is_done());
    }
}
