//! Checks of names and folders that come from the command line, before anything is started.

use crate::failure::Failure;
use sota_errors::ProgramError;
use std::path::Path;

/// A component identifier: 1..=32 bytes without what AT commands and the version list use.
pub(crate) fn component(name: &str) -> Result<(), Failure> {
    let bad = |c: char| matches!(c, ':' | ';' | '"' | ',') || c.is_control();
    if name.is_empty() || name.len() > 32 || name.contains(bad) {
        return Err(Failure::new(
            ProgramError::NameUnusable,
            format!("component {name:?}"),
        ));
    }
    Ok(())
}

/// A version: 1..=64 bytes of letters, digits, `_`, `.` and `-`.
pub(crate) fn version(version: &str) -> Result<(), Failure> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if version.is_empty() || version.len() > 64 || !version.chars().all(good) {
        return Err(Failure::new(
            ProgramError::NameUnusable,
            format!("version {version:?}"),
        ));
    }
    Ok(())
}

/// A product key or device key: 1..=64 letters, digits, `_` and `-`.
pub(crate) fn key(what: &str, key: &str) -> Result<(), Failure> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if key.is_empty() || key.len() > 64 || !key.chars().all(good) {
        return Err(Failure::new(
            ProgramError::KeysUnusable,
            format!("{what} {key:?}"),
        ));
    }
    Ok(())
}

/// Makes a state folder.
pub(crate) fn folder(path: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(path).map_err(|e| {
        Failure::new(
            ProgramError::StateFolder,
            format!("{}: {e}", path.display()),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_names() {
        assert!(component("STM32").is_ok() && component(&"c".repeat(32)).is_ok());
        for bad in ["", "a:b", "a;b", "a\"b", "a,b", "a\n", &"c".repeat(33)] {
            assert!(component(bad).is_err(), "{bad:?}");
        }
        assert!(version("V1_0.2-rc").is_ok() && version(&"1".repeat(64)).is_ok());
        for bad in ["", "1 0", "1:0", &"1".repeat(65)] {
            assert!(version(bad).is_err(), "{bad:?}");
        }
        assert!(key("product key", "p-1_A").is_ok());
        for bad in ["", "a:b", &"k".repeat(65)] {
            assert!(key("product key", bad).is_err(), "{bad:?}");
        }
    }
}
