//! The hash of an MCUboot image, found in its TLVs (MCUboot `docs/design.md`, "Image format"; little-endian).
//!
//! | at | |
//! |---|---|
//! | 0 | magic `96F3B83D` |
//! | 8 | 2: header's size; 2: size of the protected TLVs |
//! | 12 | 4: image's size |
//! | header + image | protected TLVs, if any, then TLVs: magic 2 (`6907`), size of all 2, then of each: type 2, length 2, value |
//!
//! Types `10`, `11`, `12` are the SHA-256, 384 and 512 over header, image and protected TLVs, which the SMP server tells of its
//! slots. An image may come in pieces of which one is there at a time: [`Scan`] says which bytes it wants next. After a reset of
//! the module the header may be gone while the TLVs are there: [`Scan::tail`] looks for a list of TLVs that ends where
//! the package does.

use crate::SmpError;
use crate::message::Hash;

const MAGIC: u32 = 0x96F3_B83D;
const HEADER: usize = 32;
const TLV: u16 = 0x6907;
const TLV_HEAD: usize = 4;
/// TLVs are looked for in this many last bytes: signatures of RSA-4096 and certificates fit.
const TAIL: u32 = 2048;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Header,
    Tlvs,
    Entry { end: u32 },
    Value,
    Found,
    Nothing,
}

/// Looks for the hash.
#[derive(Clone, Debug)]
pub struct Scan {
    length: u32,
    step: Step,
    at: u32,
    buffer: [u8; 64],
    have: u8,
    want: u8,
    hash: Option<Hash>,
    /// The TLVs are looked for from here on.
    tail: Option<u32>,
}

impl Scan {
    /// Of a package of so many bytes, from its header on.
    pub const fn new(length: u32) -> Scan {
        Scan {
            length,
            step: Step::Header,
            at: 0,
            buffer: [0; 64],
            have: 0,
            want: HEADER as u8,
            hash: None,
            tail: None,
        }
    }

    /// The same without its header, of which only the bytes from `start` on are there.
    pub fn tail(length: u32, start: u32) -> Scan {
        let from = start.max(length.saturating_sub(TAIL));
        let mut scan = Scan::new(length);
        scan.tail = Some(from);
        scan.go(from, TLV_HEAD, Step::Tlvs);
        scan
    }

    /// Where the next bytes are that it wants, and how many; `None`: it has ended.
    pub fn wants(&self) -> Option<(u32, usize)> {
        match self.step {
            Step::Found | Step::Nothing => None,
            _ => Some((
                self.at + u32::from(self.have),
                usize::from(self.want - self.have),
            )),
        }
    }

    /// The hash.
    pub fn hash(&self) -> Option<&Hash> {
        self.hash.as_ref()
    }

    /// It ended without a hash.
    pub fn has_failed(&self) -> bool {
        self.step == Step::Nothing
    }

    /// It looks for the end's TLVs.
    pub fn is_tail(&self) -> bool {
        self.tail.is_some()
    }

    /// What it wants is not there: it looks at the next place of the end.
    pub fn skip(&mut self) {
        self.no();
    }

    /// Takes the bytes that it wants, or the first of them.
    ///
    /// # Errors
    /// [`SmpError::SmpNotMcuboot`].
    pub fn put(&mut self, bytes: &[u8]) -> Result<(), SmpError> {
        let (have, want) = (usize::from(self.have), usize::from(self.want));
        for (to, from) in self.buffer.iter_mut().take(want).skip(have).zip(bytes) {
            *to = *from;
            self.have += 1;
        }
        if self.have < self.want {
            return Ok(());
        }
        self.work();
        match self.step {
            Step::Nothing => Err(SmpError::SmpNotMcuboot),
            _ => Ok(()),
        }
    }

    fn half(&self, at: usize) -> u16 {
        let low = self.buffer.get(at).copied().unwrap_or(0);
        let high = self.buffer.get(at + 1).copied().unwrap_or(0);
        u16::from_le_bytes([low, high])
    }

    fn word(&self, at: usize) -> u32 {
        u32::from(self.half(at)) | u32::from(self.half(at + 2)) << 16
    }

    fn go(&mut self, at: u32, want: usize, step: Step) {
        let inside = at
            .checked_add(want as u32)
            .is_some_and(|end| end <= self.length);
        (self.at, self.have, self.want) = (at, 0, want as u8);
        self.step = if inside { step } else { Step::Nothing };
    }

    /// What was looked at is no list of TLVs.
    fn no(&mut self) {
        self.step = Step::Nothing;
        if let Some(from) = self.tail {
            self.tail = Some(from + 1);
            self.go(from + 1, TLV_HEAD, Step::Tlvs);
        }
    }

    fn work(&mut self) {
        match self.step {
            Step::Header => {
                let (header, protected) = (self.half(8), self.half(10));
                let tlvs = u32::from(header)
                    .checked_add(self.word(12))
                    .and_then(|end| end.checked_add(protected.into()));
                match tlvs {
                    Some(at) if self.word(0) == MAGIC && usize::from(header) >= HEADER => {
                        self.go(at, TLV_HEAD, Step::Tlvs);
                    }
                    _ => self.step = Step::Nothing,
                }
            }
            Step::Tlvs => {
                let end = self.at.checked_add(self.half(2).into());
                match end {
                    Some(end)
                        if self.half(0) == TLV
                            && end <= self.length
                            && (self.tail.is_none() || end == self.length) =>
                    {
                        self.go(self.at + TLV_HEAD as u32, TLV_HEAD, Step::Entry { end });
                    }
                    _ => self.no(),
                }
            }
            Step::Entry { end } => {
                let (kind, length) = (self.half(0), self.half(2));
                let value = self.at + TLV_HEAD as u32;
                let after = value.saturating_add(length.into());
                let is_hash = matches!((kind, length), (0x10, 32) | (0x11, 48) | (0x12, 64));
                if after > end {
                    self.no();
                } else if is_hash {
                    self.go(value, length.into(), Step::Value);
                } else if after.saturating_add(TLV_HEAD as u32) > end {
                    self.no(); // that was the last one
                } else {
                    self.go(after, TLV_HEAD, Step::Entry { end });
                }
            }
            Step::Value => {
                let value = self.buffer.get(..usize::from(self.want));
                self.hash = value.and_then(Hash::new);
                self.step = match self.hash {
                    Some(_) => Step::Found,
                    None => Step::Nothing,
                };
            }
            Step::Found | Step::Nothing => {}
        }
    }
}

#[cfg(test)]
mod tests;
