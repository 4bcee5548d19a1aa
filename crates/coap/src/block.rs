//! The value of Block1 and Block2 (RFC 7959 section 2.2): NUM 20 bits, M one bit, SZX 3 bits.

use core::fmt;

/// Block numbers are 20 bits.
pub const BLOCKS_MAX: u32 = 1 << 20;

/// Block size exponent 0..=6: 16, 32, 64, 128, 256, 512 or 1024 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Szx(u8);

impl Szx {
    /// 16 bytes.
    pub const S16: Szx = Szx(0);
    /// 32 bytes.
    pub const S32: Szx = Szx(1);
    /// 64 bytes.
    pub const S64: Szx = Szx(2);
    /// 128 bytes.
    pub const S128: Szx = Szx(3);
    /// 256 bytes.
    pub const S256: Szx = Szx(4);
    /// 512 bytes.
    pub const S512: Szx = Szx(5);
    /// 1024 bytes.
    pub const S1024: Szx = Szx(6);

    /// `None` for 7, which is reserved, and above.
    pub const fn new(exponent: u8) -> Option<Szx> {
        if exponent <= 6 {
            Some(Szx(exponent))
        } else {
            None
        }
    }

    /// The size that has exactly this many bytes.
    pub const fn from_bytes(bytes: usize) -> Option<Szx> {
        match bytes {
            16 | 32 | 64 | 128 | 256 | 512 | 1024 => Some(Szx(bytes.trailing_zeros() as u8 - 4)),
            _ => None,
        }
    }

    /// The greatest size of at most this many bytes; `None` below 16.
    pub const fn at_most(bytes: usize) -> Option<Szx> {
        if bytes < 16 {
            None
        } else if bytes >= 1024 {
            Some(Szx::S1024)
        } else {
            Some(Szx(bytes.ilog2() as u8 - 4))
        }
    }

    /// 0..=6.
    pub const fn exponent(self) -> u8 {
        self.0
    }

    /// 16..=1024.
    pub const fn bytes(self) -> u32 {
        16 << self.0
    }

    /// log2 of [`Szx::bytes`].
    pub const fn shift(self) -> u32 {
        self.0 as u32 + 4
    }
}

impl fmt::Debug for Szx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.bytes())
    }
}

/// Why a block option's value is not usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockError {
    /// Longer than 3 bytes.
    Length,
    /// SZX 7.
    Szx,
}

/// More than 2^20 blocks of this size: block-wise transfer cannot number them. Raised before the
/// first request; `PackageTooLarge` (22) in the catalogue of errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyBlocks;

impl fmt::Display for TooManyBlocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("more than 2^20 blocks of this size")
    }
}

impl core::error::Error for TooManyBlocks {}

/// One block's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Block number, below [`BLOCKS_MAX`].
    pub num: u32,
    /// More blocks follow.
    pub more: bool,
    /// Size.
    pub szx: Szx,
}

impl Block {
    /// Reads an option's value.
    pub fn decode(value: &[u8]) -> Result<Block, BlockError> {
        if value.len() > 3 {
            return Err(BlockError::Length);
        }
        let bits = crate::option::decode_uint(value).ok_or(BlockError::Length)?;
        Ok(Block {
            num: bits >> 4,
            more: bits & 8 != 0,
            szx: Szx::new((bits & 7) as u8).ok_or(BlockError::Szx)?,
        })
    }

    /// The option's uint; a number above 20 bits is cut.
    pub const fn encode(self) -> u32 {
        (self.num & (BLOCKS_MAX - 1)) << 4 | (self.more as u32) << 3 | self.szx.0 as u32
    }

    /// First byte of the block; at most 2^30 - 1024.
    pub const fn offset(self) -> u32 {
        (self.num & (BLOCKS_MAX - 1)) << self.szx.shift()
    }

    /// The block of this size that holds byte `offset`.
    ///
    /// # Errors
    /// [`TooManyBlocks`] if its number does not fit into 20 bits.
    pub const fn at(offset: u32, more: bool, szx: Szx) -> Result<Block, TooManyBlocks> {
        let num = offset >> szx.shift();
        if num >= BLOCKS_MAX {
            return Err(TooManyBlocks);
        }
        Ok(Block { num, more, szx })
    }
}

/// How many blocks `len` bytes are.
///
/// # Errors
/// [`TooManyBlocks`] above 2^20.
pub const fn blocks_of(len: u64, szx: Szx) -> Result<u32, TooManyBlocks> {
    let full = len >> szx.shift();
    let rest = (len & (szx.bytes() as u64 - 1) != 0) as u64;
    if full + rest > BLOCKS_MAX as u64 {
        return Err(TooManyBlocks);
    }
    Ok((full + rest) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_the_rfc() {
        // RFC 7959 section 3: 2:0/1/128 is 0x0b, 2:1/0/64 is 0x12
        for (bytes, num, more, size) in [
            (&[][..], 0, false, 16),
            (&[0x0b], 0, true, 128),
            (&[0x12], 1, false, 64),
            (&[0x40, 0x06], 1024, false, 1024),
            (&[0xff, 0xff, 0xfe], 0xfffff, true, 1024),
        ] {
            let block = Block::decode(bytes).unwrap();
            assert_eq!(
                (block.num, block.more, block.szx.bytes()),
                (num, more, size)
            );
            assert_eq!(crate::option::Uint::new(block.encode()).as_bytes(), bytes);
            assert_eq!(block.offset(), num * size);
        }
        assert_eq!(Block::decode(&[0x07]), Err(BlockError::Szx));
        assert_eq!(Block::decode(&[0, 0, 0, 0]), Err(BlockError::Length));
    }

    #[test]
    fn sizes() {
        for exponent in 0..7 {
            let szx = Szx::new(exponent).unwrap();
            assert_eq!(Szx::from_bytes(szx.bytes() as usize), Some(szx));
            assert_eq!(Szx::at_most(szx.bytes() as usize + 1), Some(szx));
        }
        assert_eq!(Szx::new(7), None);
        assert_eq!(Szx::from_bytes(48), None);
        assert_eq!(Szx::at_most(15), None);
        assert_eq!(Szx::at_most(1023), Some(Szx::S512));
        assert_eq!(Szx::at_most(1 << 20), Some(Szx::S1024));
    }

    #[test]
    fn the_limit_of_twenty_bits() {
        assert_eq!(blocks_of(0, Szx::S16), Ok(0));
        assert_eq!(blocks_of(27_954, Szx::S1024), Ok(28));
        assert_eq!(blocks_of(1 << 24, Szx::S16), Ok(BLOCKS_MAX));
        assert_eq!(blocks_of((1 << 24) + 1, Szx::S16), Err(TooManyBlocks));
        assert_eq!(blocks_of(u64::MAX, Szx::S1024), Err(TooManyBlocks));
        assert_eq!(Block::at(u32::MAX, false, Szx::S1024), Err(TooManyBlocks));
        assert_eq!(Block::at(1 << 24, false, Szx::S16), Err(TooManyBlocks));
        assert_eq!(Block::at(1025, false, Szx::S1024).unwrap().num, 1);
    }
}
