//! Version package: 1 to 5 opaque files that bring a component to a version.

use serde::{Deserialize, Serialize};
use sota_errors::CenterError;
use utoipa::ToSchema;

use super::{
    ComponentKind, PackageId, Problem, ProductId, ProjectId, Time, check_name, check_remark,
    check_version,
};

/// Greatest size of one file, in bytes.
pub const FILE_LIMIT_BYTES: u64 = 104_857_600;
/// Greatest number of files.
pub const FILE_COUNT_LIMIT: usize = 5;
/// Endings a file may have. Files are opaque and never unpacked; the ending is only the person's guard
/// against choosing a wrong file.
pub const FORMATS: [&str; 11] = [
    "zip", "rar", "tar", "bin", "pack", "mini_1", "mini_2", "gz", "s19", "py", "hex",
];

/// Full image, or a difference to a source version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum PackageType {
    /// For every source version.
    Full,
    /// For the source versions it names.
    Delta,
}

/// One file of a package. It is kept under its SHA-256.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PackageFile {
    /// Name it was uploaded under.
    pub file_name: String,
    /// Bytes.
    pub length: u64,
    /// MD5, 32 hex digits.
    pub md5: String,
    /// CRC-32/ISO-HDLC.
    pub crc32: u32,
    /// SHA-256, 64 hex digits: the name of its CoAP resource.
    pub sha256: String,
}

/// A version package; once made it is only viewed or deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Package {
    /// Its id.
    pub id: PackageId,
    /// Account it belongs to.
    pub account: i64,
    /// Project it belongs to.
    pub project: ProjectId,
    /// Name, unique in the project, at most 100 characters.
    pub name: String,
    /// Product it is valid for; none = all.
    pub product: Option<ProductId>,
    /// Component type.
    pub component_type: ComponentKind,
    /// Full or Delta.
    pub package_type: PackageType,
    /// Delta only: versions it can start from.
    pub source_versions: Vec<String>,
    /// Version the component reports afterwards, `[A-Za-z0-9_.-]`, at most 64 bytes.
    pub target_version: String,
    /// 1 to 5 files, in the order of their upload.
    pub files: Vec<PackageFile>,
    /// Remark, at most 200 characters.
    pub remark: String,
    /// When it was made.
    pub created_at: Time,
    /// Counts its changes; 0 = not stored yet.
    pub revision: u64,
}

impl Package {
    /// Checks every rule of a package but those of its files, so that bad words are found before bytes are sent.
    pub fn check_words(&self) -> Result<(), Problem> {
        check_name("name", &self.name)?;
        check_version("target_version", &self.target_version)?;
        check_remark("remark", &self.remark)?;
        match self.package_type {
            PackageType::Full if !self.source_versions.is_empty() => {
                return Err(Problem::of(
                    CenterError::SourceVersionOnFull,
                    "source_version",
                    "",
                ));
            }
            PackageType::Delta if self.source_versions.is_empty() => {
                return Err(Problem::of(
                    CenterError::SourceVersionMissing,
                    "source_version",
                    "",
                ));
            }
            _ => {}
        }
        for source in &self.source_versions {
            check_version("source_version", source)?;
            if *source == self.target_version {
                return Err(Problem::of(
                    CenterError::SourceIsTarget,
                    "source_version",
                    source,
                ));
            }
        }
        Ok(())
    }

    /// Checks every rule of a package.
    pub fn check(&self) -> Result<(), Problem> {
        self.check_words()?;
        if self.files.is_empty() || self.files.len() > FILE_COUNT_LIMIT {
            let detail = format!("{} files", self.files.len());
            return Err(Problem::of(CenterError::FileCount, "file", detail));
        }
        for file in &self.files {
            PackageFile::check_name(&file.file_name)?;
            PackageFile::check_length(&file.file_name, file.length)?;
        }
        Ok(())
    }

    /// Whether it can start from this version.
    pub fn starts_from(&self, version: &str) -> bool {
        match self.package_type {
            PackageType::Full => true,
            PackageType::Delta => self.source_versions.iter().any(|s| s == version),
        }
    }
}

impl PackageFile {
    /// Checks the file's name and its ending.
    pub fn check_name(file_name: &str) -> Result<(), Problem> {
        check_name("file", file_name)?;
        let ending = file_name
            .rsplit_once('.')
            .map(|(_, e)| e.to_ascii_lowercase());
        if !ending.is_some_and(|e| FORMATS.contains(&e.as_str())) {
            return Err(Problem::of(
                CenterError::FileFormatUnknown,
                "file",
                file_name,
            ));
        }
        Ok(())
    }

    /// Checks the file's length.
    pub fn check_length(file_name: &str, length: u64) -> Result<(), Problem> {
        match length {
            0 => Err(Problem::of(CenterError::FileEmpty, "file", file_name)),
            FILE_LIMIT_BYTES.. if length > FILE_LIMIT_BYTES => {
                Err(Problem::of(CenterError::FileTooLarge, "file", file_name))
            }
            _ => Ok(()),
        }
    }
}
