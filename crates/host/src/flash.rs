//! NOR flash in a file, with the rules of the real part: erase before write, whole pages, aligned
//! writes.
//!
//! Every operation is one positioned write without a buffer of ours, so a killed process (`kill -9`)
//! leaves exactly what had been done. It does not promise to survive the PC's own power cut.
//!
//! | rule | broken gives |
//! |---|---|
//! | offset and length of a write are multiples of `WRITE` | [`FlashError::NotAligned`] |
//! | an erase covers whole pages of `PAGE` bytes | [`FlashError::NotAligned`] |
//! | nothing beyond the end | [`FlashError::OutOfBounds`] |
//! | only erased (0xFF) words are written | [`FlashError::NotErased`], nothing is changed |
//! | the file can be written | [`FlashError::Io`] |

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash, check_erase, check_read,
    check_write,
};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

/// What an erased byte reads as.
const ERASED: u8 = 0xFF;

/// Why a flash operation was not done.
#[derive(Debug, thiserror::Error)]
pub enum FlashError {
    /// Offset or length is not a multiple of the write or page size.
    #[error("the flash operation is not aligned")]
    NotAligned,
    /// The range ends beyond the flash.
    #[error("the flash operation is out of bounds")]
    OutOfBounds,
    /// A word that is to be written was not erased before.
    #[error("the word at {0:#x} was not erased before the write")]
    NotErased(u32),
    /// The file below failed: a full disk, a vanished mount.
    #[error("the flash's file failed: {0}")]
    Io(#[from] io::Error),
}

impl NorFlashError for FlashError {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            FlashError::NotAligned => NorFlashErrorKind::NotAligned,
            FlashError::OutOfBounds => NorFlashErrorKind::OutOfBounds,
            FlashError::NotErased(_) | FlashError::Io(_) => NorFlashErrorKind::Other,
        }
    }
}

impl From<NorFlashErrorKind> for FlashError {
    fn from(kind: NorFlashErrorKind) -> Self {
        match kind {
            NorFlashErrorKind::NotAligned => FlashError::NotAligned,
            _ => FlashError::OutOfBounds,
        }
    }
}

/// Why a flash file could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be made, opened or filled.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The file is there with another size: it belongs to a flash of another shape.
    #[error("it has {found} bytes, {wanted} are asked for")]
    Size {
        /// Bytes the file has.
        found: u64,
        /// Bytes asked for.
        wanted: u32,
    },
    /// The size asked for is 0 or not a multiple of the page.
    #[error("{wanted} bytes are not a whole number of pages of {page} bytes")]
    Shape {
        /// Bytes asked for.
        wanted: u32,
        /// Page size in bytes.
        page: usize,
    },
}

/// NOR flash in a file. `PAGE` is the erase size and `WRITE` the write size, in bytes.
#[derive(Debug)]
pub struct FileFlash<const PAGE: usize, const WRITE: usize> {
    file: File,
    size: u32,
    erases: u64,
    page_time: Duration,
}

impl<const PAGE: usize, const WRITE: usize> FileFlash<PAGE, WRITE> {
    /// Opens the flash at `path`; makes it, erased, if it is not there.
    ///
    /// # Errors
    /// [`OpenError`]: I/O, a file of another size, or `size` (bytes) that is not whole pages.
    pub fn open(path: &Path, size: u32) -> Result<Self, OpenError> {
        if size == 0 || !(size as usize).is_multiple_of(PAGE) {
            return Err(OpenError::Shape {
                wanted: size,
                page: PAGE,
            });
        }
        if !path.try_exists()? {
            Self::make(path, size)?;
        }
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let found = file.metadata()?.len();
        if found != u64::from(size) {
            return Err(OpenError::Size {
                found,
                wanted: size,
            });
        }
        Ok(FileFlash {
            file,
            size,
            erases: 0,
            page_time: Duration::ZERO,
        })
    }

    /// The file gets its name when it is whole: a kill in between leaves no half flash.
    fn make(path: &Path, size: u32) -> io::Result<()> {
        let new = path.with_extension("new");
        let mut file = File::create(&new)?;
        let page = [ERASED; PAGE];
        for _ in 0..size as usize / PAGE {
            file.write_all(&page)?;
        }
        std::fs::rename(new, path)
    }

    /// From now on the erase of a page takes at least so long, as it does on a real part; meanwhile its owner waits.
    pub fn slow(mut self, page_time: Duration) -> Self {
        self.page_time = page_time;
        self
    }

    /// Pages erased since this was opened: the wear.
    pub fn erases(&self) -> u64 {
        self.erases
    }
}

impl<const PAGE: usize, const WRITE: usize> ErrorType for FileFlash<PAGE, WRITE> {
    type Error = FlashError;
}

impl<const PAGE: usize, const WRITE: usize> ReadNorFlash for FileFlash<PAGE, WRITE> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), FlashError> {
        check_read(self, offset, bytes.len())?;
        Ok(self.file.read_exact_at(bytes, u64::from(offset))?)
    }

    fn capacity(&self) -> usize {
        self.size as usize
    }
}

impl<const PAGE: usize, const WRITE: usize> NorFlash for FileFlash<PAGE, WRITE> {
    const WRITE_SIZE: usize = WRITE;
    const ERASE_SIZE: usize = PAGE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), FlashError> {
        check_erase(self, from, to)?;
        let page = [ERASED; PAGE];
        for at in (from..to).step_by(PAGE) {
            self.file.write_all_at(&page, u64::from(at))?;
            self.erases += 1;
            std::thread::sleep(self.page_time);
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), FlashError> {
        check_write(self, offset, bytes.len())?;
        let mut there = vec![0; bytes.len()];
        self.file.read_exact_at(&mut there, u64::from(offset))?;
        if let Some(at) = there.iter().position(|&byte| byte != ERASED) {
            let word = at - at % WRITE;
            return Err(FlashError::NotErased(offset + word as u32));
        }
        Ok(self.file.write_all_at(bytes, u64::from(offset))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PAGE: usize = 64;
    const WRITE: usize = 8;
    const SIZE: u32 = 512;
    type Flash = FileFlash<PAGE, WRITE>;

    fn flash() -> (tempfile::TempDir, Flash) {
        let dir = tempfile::tempdir().unwrap();
        let flash = Flash::open(&dir.path().join("flash"), SIZE).unwrap();
        (dir, flash)
    }

    #[test]
    fn new_flash_is_erased_and_keeps_what_was_written() {
        let (dir, mut flash) = flash();
        let mut all = [0; SIZE as usize];
        flash.read(0, &mut all).unwrap();
        assert!(all.iter().all(|&b| b == ERASED));
        flash.write(8, &[1; 16]).unwrap();
        drop(flash);
        let mut again = Flash::open(&dir.path().join("flash"), SIZE).unwrap();
        again.read(0, &mut all).unwrap();
        assert_eq!(&all[8..24], &[1; 16]);
        assert_eq!(all[7], ERASED);
    }

    #[test]
    fn write_without_erase_is_refused_and_changes_nothing() {
        let (_dir, mut flash) = flash();
        flash.write(8, &[0x55; 8]).unwrap();
        assert!(matches!(
            flash.write(0, &[0x11; 16]),
            Err(FlashError::NotErased(8))
        ));
        let mut there = [0; 16];
        flash.read(0, &mut there).unwrap();
        assert_eq!(there[..8], [ERASED; 8]);
        assert_eq!(there[8..], [0x55; 8]);
        flash.erase(0, PAGE as u32).unwrap();
        flash.write(0, &[0x11; 16]).unwrap();
        assert_eq!(flash.erases(), 1);
    }

    #[test]
    fn alignment_and_bounds_are_enforced() {
        let (_dir, mut flash) = flash();
        let cases: [(Result<(), FlashError>, NorFlashErrorKind); 6] = [
            (flash.write(4, &[0; 8]), NorFlashErrorKind::NotAligned),
            (flash.write(0, &[0; 7]), NorFlashErrorKind::NotAligned),
            (flash.write(SIZE, &[0; 8]), NorFlashErrorKind::OutOfBounds),
            (flash.erase(0, 32), NorFlashErrorKind::NotAligned),
            (flash.erase(64, 0), NorFlashErrorKind::OutOfBounds),
            (
                flash.read(SIZE - 1, &mut [0; 2]),
                NorFlashErrorKind::OutOfBounds,
            ),
        ];
        for (result, kind) in cases {
            assert_eq!(result.unwrap_err().kind(), kind);
        }
    }

    #[test]
    fn another_size_is_refused() {
        let (dir, _flash) = flash();
        let path = dir.path().join("flash");
        assert!(matches!(
            Flash::open(&path, SIZE * 2),
            Err(OpenError::Size { found: 512, .. })
        ));
        assert!(matches!(
            Flash::open(&path, 100),
            Err(OpenError::Shape { .. })
        ));
    }

    #[test]
    fn full_disk_is_an_error() {
        let mut flash = Flash {
            file: OpenOptions::new()
                .read(true)
                .write(true)
                .open("/dev/full")
                .unwrap(),
            size: SIZE,
            erases: 0,
            page_time: Duration::ZERO,
        };
        let error = flash.erase(0, 64).unwrap_err();
        assert!(
            matches!(&error, FlashError::Io(e) if e.kind() == io::ErrorKind::StorageFull),
            "{error}"
        );
    }

    proptest! {
        /// Against a model in memory: same answers, same contents.
        #[test]
        fn behaves_like_nor(steps in prop::collection::vec((any::<bool>(), 0u32..70, 0usize..12, any::<u8>()), 1..40)) {
            let (_dir, mut flash) = flash();
            let mut model = [ERASED; SIZE as usize];
            for (erase, at, count, value) in steps {
                if erase {
                    let (from, to) = (at / 8 * PAGE as u32, (at / 8 + count as u32 % 3) * PAGE as u32);
                    let done = flash.erase(from, to).is_ok();
                    prop_assert_eq!(done, to <= SIZE);
                    if done { model[from as usize..to as usize].fill(ERASED); }
                } else {
                    let (from, bytes) = ((at as usize) * WRITE, vec![value; count * WRITE]);
                    let to = from + bytes.len();
                    let may = to <= model.len() && model[from..to].iter().all(|&b| b == ERASED);
                    prop_assert_eq!(flash.write(from as u32, &bytes).is_ok(), may);
                    if may { model[from..to].copy_from_slice(&bytes); }
                }
            }
            let mut all = [0; SIZE as usize];
            flash.read(0, &mut all).unwrap();
            prop_assert_eq!(all, model);
        }
    }
}
