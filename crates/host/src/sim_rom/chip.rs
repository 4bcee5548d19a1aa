//! The kinds of chips.

/// A kind of chip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chip {
    /// As it is chosen by name.
    pub name: &'static str,
    /// Product id.
    pub id: u16,
    /// Pages of the flash: how many, of which size.
    pub pages: &'static [(u16, u32)],
    /// It has Extended Erase in place of Erase.
    pub extended: bool,
    /// Bytes that its flash writes at once.
    pub word: u32,
}

/// Where the flash of every chip begins.
pub const FLASH: u32 = 0x0800_0000;

/// The chips that are simulated.
pub const CHIPS: [Chip; 3] = [
    Chip {
        name: "f103",
        id: 0x410,
        pages: &[(128, 1 << 10)],
        extended: false,
        word: 4,
    },
    Chip {
        name: "f405",
        id: 0x413,
        pages: &[(4, 16 << 10), (1, 64 << 10), (7, 128 << 10)],
        extended: true,
        word: 4,
    },
    Chip {
        name: "g071",
        id: 0x460,
        pages: &[(64, 2 << 10)],
        extended: true,
        word: 8,
    },
];

impl Chip {
    /// Bytes of its flash.
    pub fn flash_size(&self) -> usize {
        let bytes = |(count, size): &(u16, u32)| usize::from(*count) * *size as usize;
        self.pages.iter().map(bytes).sum()
    }

    /// Where each page begins in the flash, and where the last one ends.
    pub(super) fn borders(&self) -> Vec<usize> {
        let mut borders = vec![0];
        for (count, size) in self.pages {
            for _ in 0..*count {
                borders.push(borders[borders.len() - 1] + *size as usize);
            }
        }
        borders
    }
}
