//! The bytes of AN3155: codes, checksums and the frames of each command.
//!
//! | command | host sends, each part after an ACK | then comes |
//! |---|---|---|
//! | (baud rate) | `7F` | ACK |
//! | Get | `00 FF` | ACK, n, n + 1 bytes: version and command codes, ACK |
//! | Get ID | `02 FD` | ACK, n, n + 1 bytes: product id, ACK |
//! | Read | `11 EE` · address, XOR · n - 1, its complement | ACK, n bytes |
//! | Write | `31 CE` · address, XOR · n - 1, n bytes, XOR of both | ACK when it is in flash |
//! | Erase | `43 BC` · `00`, page, XOR; all: `FF 00` | ACK when it is done |
//! | Extended Erase | `44 BB` · `00 00`, page (2), XOR; all: `FF FF 00` | ACK when it is done |
//! | Go | `21 DE` · address, XOR | ACK, then the image at the address runs |
//!
//! Numbers are big-endian. A part whose checksum is wrong is answered with NACK, and nothing is done.

/// The answer to a part that was understood.
pub const ACK: u8 = 0x79;
/// The answer to one that was not, or that is not allowed.
pub const NACK: u8 = 0x1F;
/// What the loader finds the baud rate with, once after its reset.
pub const SYNC: u8 = 0x7F;
/// Most bytes of one read or write.
pub const BLOCK: usize = 256;

/// Codes of the commands.
pub mod code {
    /// Version and commands.
    pub const GET: u8 = 0x00;
    /// Product id.
    pub const GET_ID: u8 = 0x02;
    /// Read memory.
    pub const READ: u8 = 0x11;
    /// Jump to an address.
    pub const GO: u8 = 0x21;
    /// Write memory.
    pub const WRITE: u8 = 0x31;
    /// Erase, pages numbered by one byte.
    pub const ERASE: u8 = 0x43;
    /// Erase, pages numbered by two bytes; a chip has one or the other.
    pub const EXTENDED_ERASE: u8 = 0x44;
}

/// XOR of the bytes.
pub fn xor(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum ^ byte)
}

/// What the host wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Find the baud rate.
    Sync,
    /// Version and commands.
    Get,
    /// Product id.
    GetId,
    /// Read `len` bytes, 1 to [`BLOCK`].
    Read {
        /// Where in the MCU's memory.
        address: u32,
        /// How many.
        len: u16,
    },
    /// Write `len` bytes, 4 to [`BLOCK`], a multiple of 4.
    Write {
        /// Where in the MCU's memory.
        address: u32,
        /// How many.
        len: u16,
    },
    /// Erase one page by its number.
    Erase {
        /// As the loader counts pages.
        page: u16,
    },
    /// Erase the whole flash.
    EraseAll,
    /// Start what is at `address`.
    Go {
        /// Where its vector table is.
        address: u32,
    },
}

impl Command {
    /// Its code, for logs and errors.
    pub fn code(self, extended: bool) -> u8 {
        match self {
            Command::Sync => SYNC,
            Command::Get => code::GET,
            Command::GetId => code::GET_ID,
            Command::Read { .. } => code::READ,
            Command::Write { .. } => code::WRITE,
            Command::Go { .. } => code::GO,
            Command::Erase { .. } | Command::EraseAll => match extended {
                true => code::EXTENDED_ERASE,
                false => code::ERASE,
            },
        }
    }
}

/// A short part of a command, at most five bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Part {
    bytes: [u8; 5],
    len: u8,
}

impl Part {
    pub(crate) const EMPTY: Part = Part {
        bytes: [0; 5],
        len: 0,
    };

    pub(crate) fn new(bytes: &[u8]) -> Part {
        let mut part = Part::default();
        for (to, from) in part.bytes.iter_mut().zip(bytes) {
            *to = *from;
            part.len += 1;
        }
        part
    }

    /// Code and complement; the baud rate's byte alone.
    pub(crate) fn code(command: Command, extended: bool) -> Part {
        let code = command.code(extended);
        match command {
            Command::Sync => Part::new(&[code]),
            _ => Part::new(&[code, !code]),
        }
    }

    pub(crate) fn address(address: u32) -> Part {
        let [a, b, c, d] = address.to_be_bytes();
        Part::new(&[a, b, c, d, a ^ b ^ c ^ d])
    }

    /// A count of 1 to 256 bytes to read.
    pub(crate) fn count(len: u16) -> Part {
        let count = len.wrapping_sub(1) as u8;
        Part::new(&[count, !count])
    }

    pub(crate) fn page(page: u16, extended: bool) -> Part {
        let [high, low] = page.to_be_bytes();
        match extended {
            true => Part::new(&[0, 0, high, low, high ^ low]),
            false => Part::new(&[0, low, low]),
        }
    }

    pub(crate) fn all_pages(extended: bool) -> Part {
        match extended {
            true => Part::new(&[0xFF, 0xFF, 0]),
            false => Part::new(&[0xFF, 0]),
        }
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_those_of_the_note() {
        let code = |command| Part::code(command, false);
        assert_eq!(code(Command::Sync).as_slice(), [0x7F]);
        assert_eq!(code(Command::GetId).as_slice(), [0x02, 0xFD]);
        assert_eq!(code(Command::EraseAll).as_slice(), [0x43, 0xBC]);
        assert_eq!(Part::code(Command::EraseAll, true).as_slice(), [0x44, 0xBB]);
        assert_eq!(
            Part::address(0x0800_1234).as_slice(),
            [0x08, 0x00, 0x12, 0x34, 0x2E]
        );
        assert_eq!(Part::count(256).as_slice(), [0xFF, 0x00]);
        assert_eq!(Part::page(3, false).as_slice(), [0, 3, 3]);
        assert_eq!(Part::page(0x0103, true).as_slice(), [0, 0, 1, 3, 2]);
        assert_eq!(xor(&[0xFF, 0xFF]), 0);
    }
}
