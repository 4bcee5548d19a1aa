//! The packages' files, kept under their SHA-256.
//!
//! An upload is a stream: it is hashed while it is written to a temporary object and renamed when its digests are
//! known, so memory does not grow with it and a reader never sees half a file. What an interrupted upload leaves
//! behind is removed at once, or, after a power cut, at the next start.
//!
//! | path | holds |
//! |---|---|
//! | `uploads/<n>` | uploads under way; emptied at start |
//! | `sha256/<first two digits>/<64 digits>` | whole files |

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use md5::Md5;
use object_store::local::LocalFileSystem;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload};
use sha2::{Digest, Sha256};
use sota_errors::CenterError;

use crate::domain::{FILE_LIMIT_BYTES, PackageFile, Problem};

/// Bytes gathered before a write: bounds the memory of one upload.
const PART: usize = 1 << 20;

/// The store of files.
#[derive(Clone)]
pub struct Blobs {
    store: Arc<dyn ObjectStore>,
    root: PathBuf,
    uploads: Arc<AtomicU64>,
    references: Arc<tokio::sync::Mutex<()>>,
}

/// What the uploader says the file must be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// Length in bytes.
    pub length: Option<u64>,
    /// SHA-256, 64 hex digits.
    pub sha256: Option<String>,
}

impl Blobs {
    /// Opens the folder, makes it if it is not there, and removes what interrupted uploads left.
    pub fn open(root: &Path) -> Result<Blobs, Problem> {
        let unusable = |e: std::io::Error| {
            let detail = format!("{}: {e}", root.display());
            match e.kind() {
                std::io::ErrorKind::StorageFull => Problem::new(CenterError::StorageFull, detail),
                _ => Problem::new(CenterError::StoreUnusable, detail),
            }
        };
        let uploads = root.join("uploads");
        if uploads.exists() {
            std::fs::remove_dir_all(&uploads).map_err(unusable)?;
        }
        std::fs::create_dir_all(&uploads).map_err(unusable)?;
        std::fs::create_dir_all(root.join("sha256")).map_err(unusable)?;
        let store = LocalFileSystem::new_with_prefix(root).map_err(|e| failure(&e))?;
        Ok(Blobs {
            store: Arc::new(store.with_fsync(true)),
            root: root.to_owned(),
            uploads: Arc::default(),
            references: Arc::default(),
        })
    }

    /// Begins an upload of this name.
    pub async fn upload(&self, file_name: &str) -> Result<Upload, Problem> {
        PackageFile::check_name(file_name)?;
        let number = self.uploads.fetch_add(1, Ordering::Relaxed);
        let path = object_store::path::Path::from(format!("uploads/{number}"));
        let writer = self
            .store
            .put_multipart(&path)
            .await
            .map_err(|e| failure(&e))?;
        Ok(Upload {
            blobs: self.clone(),
            path,
            writer,
            part: BytesMut::new(),
            length: 0,
            md5: Md5::new(),
            sha256: Sha256::new(),
            crc32: CRC32.digest(),
            file_name: file_name.to_owned(),
        })
    }

    /// Held from a file's finish to the commit of the package that refers to it, and from the commit of a deletion
    /// to the file's removal. Otherwise one request would remove the same content that another has just stored.
    pub async fn references(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.references.lock().await
    }

    /// Removes a file. One that is not there is no error.
    pub async fn remove(&self, sha256: &str) -> Result<(), Problem> {
        match self.store.delete(&blob_path(sha256)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(failure(&e)),
        }
    }

    /// The reader for the device endpoint.
    pub fn source(&self) -> PackageSource {
        PackageSource {
            root: self.root.clone(),
        }
    }
}

static CRC32: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);

fn blob_path(sha256: &str) -> object_store::path::Path {
    object_store::path::Path::from(format!("sha256/{}/{sha256}", sha256.get(..2).unwrap_or("")))
}

/// A full disk has a line of its own; everything else is the Center's own fault.
fn failure(error: &object_store::Error) -> Problem {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(e) = cause {
        let io = e.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        if let Some(std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded) = io {
            return Problem::new(CenterError::StorageFull, "");
        }
        cause = e.source();
    }
    Problem::new(CenterError::Internal, error.to_string())
}

/// An upload under way. Dropped before [`finish`](Upload::finish), it leaves nothing.
pub struct Upload {
    blobs: Blobs,
    path: object_store::path::Path,
    writer: Box<dyn MultipartUpload>,
    part: BytesMut,
    length: u64,
    md5: Md5,
    sha256: Sha256,
    crc32: crc::Digest<'static, u32>,
    file_name: String,
}

impl Upload {
    /// Takes the next bytes. A file that grows over the limit is refused here, before the rest is read.
    pub async fn write(&mut self, bytes: &Bytes) -> Result<(), Problem> {
        self.length += bytes.len() as u64;
        if self.length > FILE_LIMIT_BYTES {
            return Err(Problem::of(
                CenterError::FileTooLarge,
                "file",
                &self.file_name,
            ));
        }
        self.md5.update(bytes);
        self.sha256.update(bytes);
        self.crc32.update(bytes);
        self.part.extend_from_slice(bytes);
        while self.part.len() >= PART {
            let part = self.part.split_to(PART).freeze();
            self.put(part).await?;
        }
        Ok(())
    }

    async fn put(&mut self, part: Bytes) -> Result<(), Problem> {
        self.writer
            .put_part(PutPayload::from(part))
            .await
            .map_err(|e| failure(&e))
    }

    /// The stream is over: checks what was expected and makes the file visible under its SHA-256.
    pub async fn finish(mut self, expected: &Expected) -> Result<PackageFile, Problem> {
        let file = PackageFile {
            file_name: self.file_name.clone(),
            length: self.length,
            md5: hex::encode(self.md5.finalize_reset()),
            crc32: self.crc32.clone().finalize(),
            sha256: hex::encode(self.sha256.finalize_reset()),
        };
        match self.complete(&file, expected).await {
            Ok(()) => Ok(file),
            Err(problem) => {
                self.abort().await;
                Err(problem)
            }
        }
    }

    /// Gives up: nothing is left when the future is ready. (Merely dropped, it is removed a little later.)
    pub async fn abort(mut self) {
        // both may fail because there is nothing: that is what is wanted
        let _ = self.writer.abort().await;
        let _ = self.blobs.store.delete(&self.path).await;
    }

    async fn complete(&mut self, file: &PackageFile, expected: &Expected) -> Result<(), Problem> {
        PackageFile::check_length(&file.file_name, file.length)?;
        if expected.length.is_some_and(|l| l != file.length) {
            let detail = format!("{}: {} bytes came", file.file_name, file.length);
            return Err(Problem::of(
                CenterError::FileTruncated,
                "expected_length",
                detail,
            ));
        }
        if expected
            .sha256
            .as_ref()
            .is_some_and(|s| !s.eq_ignore_ascii_case(&file.sha256))
        {
            let detail = format!("{}: what came has {}", file.file_name, file.sha256);
            return Err(Problem::of(
                CenterError::FileHashMismatch,
                "expected_sha256",
                detail,
            ));
        }
        let rest = core::mem::take(&mut self.part).freeze();
        if !rest.is_empty() {
            self.put(rest).await?;
        }
        self.writer.complete().await.map_err(|e| failure(&e))?;
        let blob = blob_path(&file.sha256);
        self.blobs
            .store
            .rename(&self.path, &blob)
            .await
            .map_err(|e| failure(&e))
    }
}

/// Finds packages' files by SHA-256 and reads them without any runtime: for the endpoint's thread.
#[derive(Clone, Debug)]
pub struct PackageSource {
    root: PathBuf,
}

/// One file, open for reading at any offset.
#[derive(Debug)]
pub struct PackageReader {
    file: File,
    length: u64,
}

impl PackageSource {
    /// Opens the file with this SHA-256; `None` if the store has none.
    pub fn open(&self, sha256: &[u8; 32]) -> std::io::Result<Option<PackageReader>> {
        let name = hex::encode(sha256);
        let path = self.root.join("sha256").join(&name[..2]).join(&name);
        match File::open(path) {
            Ok(file) => {
                let length = file.metadata()?.len();
                Ok(Some(PackageReader { file, length }))
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }
}

impl PackageReader {
    /// Bytes of the file.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Reads from `offset` until `out` is full or the file ends; says how many bytes.
    pub fn read_at(&self, offset: u64, out: &mut [u8]) -> std::io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = out.get_mut(done..).filter(|r| !r.is_empty()) {
            match self.file.read_at(rest, offset.saturating_add(done as u64)) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn put(
        blobs: &Blobs,
        name: &str,
        data: &[u8],
        expected: &Expected,
    ) -> Result<PackageFile, Problem> {
        let mut upload = blobs.upload(name).await?;
        for chunk in data.chunks(70_000) {
            upload.write(&Bytes::copy_from_slice(chunk)).await?;
        }
        upload.finish(expected).await
    }

    fn files_below(path: &Path) -> usize {
        let entries = std::fs::read_dir(path).expect("folder");
        entries
            .map(|e| e.expect("entry").path())
            .map(|p| if p.is_dir() { files_below(&p) } else { 1 })
            .sum()
    }

    #[tokio::test]
    async fn a_file_is_kept_under_its_digest_and_read_anywhere() {
        let folder = tempfile::tempdir().expect("folder");
        let blobs = Blobs::open(folder.path()).expect("open");
        let data: Vec<u8> = (0..3_000_000u32).map(|i| (i * 7 + i / 251) as u8).collect();
        let file = put(&blobs, "a.bin", &data, &Expected::default())
            .await
            .expect("stored");
        assert_eq!(file.length, 3_000_000);
        assert_eq!(file.sha256, hex::encode(Sha256::digest(&data)));
        assert_eq!(file.md5, hex::encode(Md5::digest(&data)));
        assert_eq!(file.crc32, CRC32.checksum(&data));
        let sha: [u8; 32] = Sha256::digest(&data).into();
        let reader = blobs.source().open(&sha).expect("readable").expect("there");
        let mut out = [0u8; 1000];
        assert_eq!(reader.read_at(2_999_500, &mut out).expect("read"), 500);
        assert_eq!(out[..500], data[2_999_500..]);
        assert_eq!(reader.read_at(3_000_000, &mut out).expect("read"), 0);
        assert!(blobs.source().open(&[7; 32]).expect("readable").is_none());
    }

    #[tokio::test]
    async fn digests_of_a_known_text() {
        let folder = tempfile::tempdir().expect("folder");
        let blobs = Blobs::open(folder.path()).expect("open");
        let file = put(&blobs, "a.hex", b"123456789", &Expected::default())
            .await
            .expect("stored");
        assert_eq!(file.crc32, 0xcbf4_3926); // the check value of CRC-32/ISO-HDLC
        assert_eq!(file.md5, "25f9e794323b453885f5181f1b624d0b");
    }

    #[tokio::test]
    async fn refused_uploads_leave_nothing() {
        let folder = tempfile::tempdir().expect("folder");
        let blobs = Blobs::open(folder.path()).expect("open");
        let short = Expected {
            length: Some(10),
            sha256: None,
        };
        let wrong = Expected {
            length: None,
            sha256: Some("00".repeat(32)),
        };
        for (data, expected, error) in [
            (&b""[..], Expected::default(), CenterError::FileEmpty),
            (&b"abc"[..], short, CenterError::FileTruncated),
            (&b"abc"[..], wrong, CenterError::FileHashMismatch),
        ] {
            let problem = put(&blobs, "a.bin", data, &expected)
                .await
                .expect_err("refused");
            assert_eq!(problem.error, error);
        }
        let problem = put(&blobs, "a.exe", b"abc", &Expected::default())
            .await
            .expect_err("refused");
        assert_eq!(problem.error, CenterError::FileFormatUnknown);
        let mut upload = blobs.upload("big.bin").await.expect("begun");
        let block = Bytes::from(vec![0u8; 8 << 20]);
        let mut result = Ok(());
        while result.is_ok() {
            result = upload.write(&block).await;
        }
        assert_eq!(
            result.expect_err("refused").error,
            CenterError::FileTooLarge
        );
        upload.abort().await;
        assert_eq!(files_below(folder.path()), 0);
    }

    #[tokio::test]
    async fn what_a_power_cut_left_is_removed_at_start() {
        let folder = tempfile::tempdir().expect("folder");
        let blobs = Blobs::open(folder.path()).expect("open");
        let kept = put(&blobs, "a.bin", b"kept", &Expected::default())
            .await
            .expect("stored");
        std::fs::write(folder.path().join("uploads/7#1"), b"half").expect("write");
        let blobs = Blobs::open(folder.path()).expect("open");
        assert_eq!(files_below(folder.path()), 1);
        blobs.remove(&kept.sha256).await.expect("removed");
        blobs.remove(&kept.sha256).await.expect("nothing to remove");
        assert_eq!(files_below(folder.path()), 0);
    }

    #[test]
    fn a_full_disk_has_its_own_error() {
        let full = std::io::Error::from_raw_os_error(28); // ENOSPC
        let error = object_store::Error::Generic {
            store: "test",
            source: Box::new(full),
        };
        assert_eq!(failure(&error).error, CenterError::StorageFull);
    }
}
