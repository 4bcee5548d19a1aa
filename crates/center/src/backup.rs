//! A copy of the data folder that a Center can be started with, made while another one writes there.
//!
//! The files first, then the database, then the files that came meanwhile: a file is kept as long as a package names
//! it, so only one that was removed between the two last steps can be absent, and then all is done once more. The copy
//! is made in `<TO>.part` and gets its name when it is whole and on the disk: what has the name can be trusted.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use sota_errors::CenterError;

use crate::domain::Problem;
use crate::store::{StoreError, snapshot};

/// How often a copy is begun anew because a package was deleted while it was made.
const TRIES: usize = 5;

/// What a backup holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Bytes of the database.
    pub database_bytes: u64,
    /// Files of packages.
    pub files: u64,
    /// Their bytes.
    pub file_bytes: u64,
}

/// Copies the data folder `data` into the new folder `to`.
pub async fn backup(data: &Path, to: &Path) -> Result<Copied, Problem> {
    let database = data.join("center.db");
    if !database.is_file() {
        let detail = format!("{}: no such file", database.display());
        return Err(Problem::new(CenterError::StoreUnusable, detail));
    }
    if to.exists() {
        let detail = format!("{} is there already", to.display());
        return Err(Problem::new(CenterError::BackupFolder, detail));
    }
    let mut name = to.as_os_str().to_owned();
    name.push(".part");
    let part = Part::make(PathBuf::from(name))?;
    let copied = part.fill(data, &database).await?;
    std::fs::rename(&part.0, to).map_err(|e| unwritten(to, &e))?;
    let parent = to.parent().filter(|p| !p.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    sync(parent).map_err(|e| unwritten(parent, &e))?;
    Ok(copied)
}

/// The folder while it is filled; removed unless it was renamed.
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        // After the rename there is nothing to remove.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Part {
    fn make(path: PathBuf) -> Result<Part, Problem> {
        // What an interrupted backup left is of no use.
        if path.exists() {
            std::fs::remove_dir_all(&path).map_err(|e| unwritten(&path, &e))?;
        }
        // It holds what the data folder holds: for this user's eyes only.
        let mut folder = std::fs::DirBuilder::new();
        let made = folder.recursive(true).mode(0o700).create(&path);
        made.map_err(|e| unwritten(&path, &e))?;
        Ok(Part(path))
    }

    async fn fill(&self, data: &Path, database: &Path) -> Result<Copied, Problem> {
        let (from, into) = (data.join("packages"), self.0.join("packages"));
        let copy = self.0.join("center.db");
        let mut missing = String::new();
        for _ in 0..TRIES {
            for sha256 in present(&from)? {
                copy_file(&from, &into, &sha256)?;
            }
            if copy.exists() {
                std::fs::remove_file(&copy).map_err(|e| unwritten(&copy, &e))?;
            }
            // Made here, because SQLite would let others read it; an empty file is what it takes.
            let mut options = File::options();
            let made = options.write(true).create_new(true).mode(0o600).open(&copy);
            drop(made.map_err(|e| unwritten(&copy, &e))?);
            let named = snapshot(database, &copy).await.map_err(|e| match e {
                StoreError::Full => Problem::from(e),
                e => Problem::new(
                    CenterError::StoreUnusable,
                    format!("{}: {e}", database.display()),
                ),
            })?;
            match take(&from, &into, &named)? {
                None => return self.finish(&copy, &into, &named),
                Some(sha256) => missing = sha256,
            }
        }
        let detail = format!("file {missing} of a package is not in {}", from.display());
        Err(Problem::new(CenterError::BackupIncomplete, detail))
    }

    /// Removes what no package names, syncs, counts.
    fn finish(
        &self,
        copy: &Path,
        into: &Path,
        named: &BTreeSet<String>,
    ) -> Result<Copied, Problem> {
        let mut copied = Copied::default();
        for sha256 in present(into)? {
            let path = place(into, &sha256);
            if named.contains(&sha256) {
                copied.files += 1;
                copied.file_bytes += path.metadata().map_err(|e| unwritten(&path, &e))?.len();
            } else {
                std::fs::remove_file(&path).map_err(|e| unwritten(&path, &e))?;
            }
        }
        copied.database_bytes = copy.metadata().map_err(|e| unwritten(copy, &e))?.len();
        for path in [copy, &self.0] {
            sync(path).map_err(|e| unwritten(path, &e))?;
        }
        Ok(copied)
    }
}

/// Copies what is named and not there yet; the first that cannot be found.
fn take(from: &Path, into: &Path, named: &BTreeSet<String>) -> Result<Option<String>, Problem> {
    for sha256 in named {
        if !copy_file(from, into, sha256)? {
            return Ok(Some(sha256.clone()));
        }
    }
    Ok(None)
}

/// The SHA-256 of every file below.
fn present(root: &Path) -> Result<Vec<String>, Problem> {
    let mut found = Vec::new();
    for folder in entries(&root.join("sha256"))? {
        found.extend(entries(&folder)?.iter().filter_map(|path| {
            let name = path.file_name()?.to_str()?;
            // what else lies there is not the Center's
            let digits = name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit());
            digits.then(|| name.to_owned())
        }));
    }
    Ok(found)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, Problem> {
    match std::fs::read_dir(folder) {
        Ok(entries) => entries
            .map(|entry| entry.map(|e| e.path()))
            .collect::<Result<_, _>>()
            .map_err(|e| unread(folder, &e)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(unread(folder, &e)),
    }
}

fn place(root: &Path, sha256: &str) -> PathBuf {
    let head = sha256.get(..2).unwrap_or_default();
    root.join("sha256").join(head).join(sha256)
}

/// Copies one file, and shows that it is what its name says; false: it is not there.
fn copy_file(from: &Path, into: &Path, sha256: &str) -> Result<bool, Problem> {
    let (from, to) = (place(from, sha256), place(into, sha256));
    if to.exists() {
        return Ok(true);
    }
    let mut source = match File::open(&from) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(unread(&from, &e)),
    };
    let folder = to.parent().unwrap_or(into);
    std::fs::create_dir_all(folder).map_err(|e| unwritten(folder, &e))?;
    let mut options = File::options();
    let target = options.write(true).create_new(true).mode(0o600).open(&to);
    let mut target = target.map_err(|e| unwritten(&to, &e))?;
    let (mut digest, mut bytes) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        let count = source.read(&mut bytes).map_err(|e| unread(&from, &e))?;
        if count == 0 {
            break;
        }
        digest.update(&bytes[..count]);
        let written = target.write_all(&bytes[..count]);
        written.map_err(|e| unwritten(&to, &e))?;
    }
    target.sync_all().map_err(|e| unwritten(&to, &e))?;
    if hex::encode(digest.finalize()) != sha256 {
        let detail = format!("{} is not what it was when it was stored", from.display());
        return Err(Problem::new(CenterError::BackupIncomplete, detail));
    }
    Ok(true)
}

fn sync(path: &Path) -> std::io::Result<()> {
    File::open(path)?.sync_all()
}

fn unread(path: &Path, error: &std::io::Error) -> Problem {
    let detail = format!("{}: {error}", path.display());
    Problem::new(CenterError::StoreUnusable, detail)
}

fn unwritten(path: &Path, error: &std::io::Error) -> Problem {
    let detail = format!("{}: {error}", path.display());
    match error.kind() {
        std::io::ErrorKind::StorageFull => Problem::new(CenterError::StorageFull, detail),
        _ => Problem::new(CenterError::BackupFolder, detail),
    }
}
