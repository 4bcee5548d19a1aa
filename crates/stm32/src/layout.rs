//! What a product configures: the chip's pages, times and lines.

use crate::wire::BLOCK;

/// Pages of one size that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pages {
    /// How many.
    pub count: u16,
    /// Bytes of each.
    pub size: u32,
}

/// The pages that an image may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Where the image begins, which is where its vector table is: the begin of a page.
    pub base: u32,
    /// That page's number, as the loader counts them.
    pub first_page: u16,
    /// The pages from there on.
    pub pages: &'static [Pages],
    /// Bytes that the chip writes at once: 4, 8, 16 or 32. An image's end is filled up to it.
    pub word: u8,
    /// What an erased byte reads as: FF, on STM32L0 and L1 00.
    pub erased: u8,
}

/// A page by its number, and which bytes of the image it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) number: u16,
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Layout {
    /// Bytes that an image may have.
    pub fn size(&self) -> u32 {
        let sum = |sum: u32, pages: &Pages| {
            sum.saturating_add(u32::from(pages.count).saturating_mul(pages.size))
        };
        self.pages.iter().fold(0, sum)
    }

    /// Whether it can be worked with.
    pub fn is_usable(&self) -> bool {
        let block = BLOCK as u32;
        let whole = |pages: &Pages| pages.size >= block && pages.size.is_multiple_of(block);
        self.base.is_multiple_of(block)
            && self.size() > 0
            && self.base.checked_add(self.size()).is_some()
            && self.pages.iter().all(whole)
            && matches!(self.word, 4 | 8 | 16 | 32)
    }

    /// The page that holds this byte of the image.
    pub(crate) fn page(&self, offset: u32) -> Option<Page> {
        let (mut number, mut start) = (self.first_page, 0_u32);
        for pages in self.pages {
            for _ in 0..pages.count {
                let end = start.checked_add(pages.size)?;
                if offset < end {
                    return Some(Page { number, start, end });
                }
                number = number.checked_add(1)?;
                start = end;
            }
        }
        None
    }
}

/// How flash is erased.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Erase {
    /// Page by page, only those that the image needs and that hold something else.
    #[default]
    Pages,
    /// All at once; what else is in the flash is gone.
    Mass,
}

/// How the image is started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// BOOT0 low and a reset: as after any power-on.
    #[default]
    Reset,
    /// The loader jumps to it; peripherals stay as the loader left them.
    Go,
}

/// Times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// How long NRST is held low.
    pub reset_ms: u32,
    /// From there until the loader listens.
    pub boot_ms: u32,
    /// Longest wait for the answer to the baud rate's byte.
    pub sync_ms: u32,
    /// The same for any answer that needs no flash.
    pub answer_ms: u32,
    /// The same for 256 bytes written.
    pub write_ms: u32,
    /// The same for one page erased; a sector of 128 KiB takes up to 4 s.
    pub page_erase_ms: u32,
    /// The same for the whole flash.
    pub mass_erase_ms: u32,
    /// Pause after `tries` failures in a row.
    pub pause_ms: u32,
}

impl Times {
    /// Fits every chip of the application note.
    pub const DEFAULT: Times = Times {
        reset_ms: 10,
        boot_ms: 100,
        sync_ms: 500,
        answer_ms: 1_000,
        write_ms: 2_000,
        page_erase_ms: 5_000,
        mass_erase_ms: 40_000,
        pause_ms: 5_000,
    };
}

impl Default for Times {
    fn default() -> Self {
        Times::DEFAULT
    }
}

/// What a product configures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// The pages.
    pub layout: Layout,
    /// Product id that the chip must have; `None`: any.
    pub chip: Option<u16>,
    /// How flash is erased.
    pub erase: Erase,
    /// How the image is started.
    pub start: Start,
    /// Bits per second of the UART, which only prolongs the waits.
    pub baud: u32,
    /// Failures in a row before they are told and a pause is made.
    pub tries: u8,
    /// The times.
    pub times: Times,
}

#[cfg(test)]
mod tests {
    use super::*;

    const F4: Layout = Layout {
        base: 0x0800_0000,
        first_page: 0,
        pages: &[
            Pages {
                count: 4,
                size: 16 << 10,
            },
            Pages {
                count: 1,
                size: 64 << 10,
            },
            Pages {
                count: 7,
                size: 128 << 10,
            },
        ],
        word: 4,
        erased: 0xFF,
    };

    #[test]
    fn pages_of_several_sizes() {
        assert_eq!(F4.size(), 1 << 20);
        assert!(F4.is_usable());
        let page = |offset| F4.page(offset).map(|p| (p.number, p.start, p.end));
        assert_eq!(page(0), Some((0, 0, 0x4000)));
        assert_eq!(page(0x3FFF), Some((0, 0, 0x4000)));
        assert_eq!(page(0x1_0000), Some((4, 0x1_0000, 0x2_0000)));
        assert_eq!(page(0xF_FFFF), Some((11, 0xE_0000, 0x10_0000)));
        assert_eq!(page(0x10_0000), None);
    }

    #[test]
    fn what_cannot_be_worked_with() {
        let with = |change: fn(&mut Layout)| {
            let mut layout = F4;
            change(&mut layout);
            layout.is_usable()
        };
        assert!(!with(|l| l.word = 2));
        assert!(!with(|l| l.base += 128));
        assert!(!with(|l| l.base = 0xFFFF_FF00));
        assert!(!with(|l| l.pages = &[]));
        assert!(!with(|l| l.pages = &[Pages {
            count: 8,
            size: 1000
        }]));
    }
}
