//! Page tables of some chips, to begin with. A product takes its own chip's from the reference manual.

use crate::layout::{Layout, Pages};

/// A chip by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chip {
    /// Short name.
    pub name: &'static str,
    /// Product id that the loader tells.
    pub id: u16,
    /// All of its flash.
    pub layout: Layout,
}

const fn flash(pages: &'static [Pages], word: u8) -> Layout {
    Layout {
        base: 0x0800_0000,
        first_page: 0,
        pages,
        word,
        erased: 0xFF,
    }
}

const fn pages(count: u16, kib: u32) -> Pages {
    Pages {
        count,
        size: kib << 10,
    }
}

/// The chips.
pub const CHIPS: &[Chip] = &[
    // STM32F103x8, xB: 128 KiB
    Chip {
        name: "f103",
        id: 0x410,
        layout: flash(&[pages(128, 1)], 4),
    },
    // STM32F405, F407: 1 MiB
    Chip {
        name: "f405",
        id: 0x413,
        layout: flash(&[pages(4, 16), pages(1, 64), pages(7, 128)], 4),
    },
    // STM32G071xB: 128 KiB, double words with a check of their own
    Chip {
        name: "g071",
        id: 0x460,
        layout: flash(&[pages(64, 2)], 8),
    },
];

/// The chip with this name.
pub fn by_name(name: &str) -> Option<&'static Chip> {
    CHIPS.iter().find(|chip| chip.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_can_be_worked_with() {
        for chip in CHIPS {
            assert!(chip.layout.is_usable(), "{}", chip.name);
            assert_eq!(by_name(chip.name), Some(chip));
        }
        assert_eq!(by_name("z80"), None);
    }
}
