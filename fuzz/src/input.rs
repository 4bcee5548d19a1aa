//! Scripts: how a target takes operations from the fuzzer's bytes, and how the recorder writes them.

/// Takes operations off the front. At the end numbers are 0 and slices empty, so that cut scripts are scripts.
#[derive(Clone, Debug)]
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    /// Nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte.
    pub fn u8(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    /// A bit.
    pub fn flag(&mut self) -> bool {
        self.u8() & 1 != 0
    }

    /// Two bytes, little-endian.
    pub fn u16(&mut self) -> u16 {
        let low = self.u8();
        u16::from_le_bytes([low, self.u8()])
    }

    /// Four bytes, little-endian.
    pub fn u32(&mut self) -> u32 {
        let low = self.u16();
        u32::from(low) | u32::from(self.u16()) << 16
    }

    /// One of these.
    pub fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.u8()) % choices.len()]
    }

    /// Up to `n` bytes.
    pub fn take(&mut self, n: usize) -> &'a [u8] {
        let (head, tail) = self.0.split_at(n.min(self.0.len()));
        self.0 = tail;
        head
    }

    /// A length in two bytes, and so many bytes.
    pub fn chunk(&mut self) -> &'a [u8] {
        let n = self.u16();
        self.take(n.into())
    }
}

/// Writes a script.
#[derive(Clone, Debug, Default)]
pub struct Script(pub Vec<u8>);

impl Script {
    /// Bytes as they are: operations and their one-byte numbers.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// What [`Input::u16`] takes.
    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// What [`Input::u32`] takes.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// What [`Input::chunk`] takes; at most 65,535 bytes.
    pub fn chunk(&mut self, bytes: &[u8]) -> &mut Self {
        self.u16(bytes.len() as u16).bytes(bytes)
    }
}
