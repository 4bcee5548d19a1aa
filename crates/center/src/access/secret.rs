//! Secrets that prove who calls: made here, kept by the caller, known to the store by their digest alone.

use sha2::{Digest, Sha256};
use sota_errors::CenterError;

use crate::domain::Problem;

/// Head of every API token, so that a person or a scanner of leaked secrets knows what it is.
const TOKEN_HEAD: &str = "sota_";

/// 256 random bits in hex.
pub(crate) fn make() -> Result<String, Problem> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|e| Problem::new(CenterError::Internal, format!("no random bytes: {e}")))?;
    Ok(hex::encode(bytes))
}

/// A new API token.
pub(crate) fn make_token() -> Result<String, Problem> {
    Ok(format!("{TOKEN_HEAD}{}", make()?))
}

/// What the store keeps of a secret.
pub(crate) fn digest(secret: &str) -> String {
    hex::encode(Sha256::digest(secret.as_bytes()))
}

/// The mark that every form of a page carries: only who has the cookie can know it, and no other site reads cookie
/// or page. It does not lead back to the cookie.
pub(crate) fn form_mark(cookie: &str) -> String {
    digest(&format!("form {cookie}"))
}

/// Compares without telling by its time how much was right.
pub(crate) fn same(a: &str, b: &str) -> bool {
    let differ = a.bytes().zip(b.bytes()).fold(0, |d, (a, b)| d | (a ^ b));
    a.len() == b.len() && differ == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_differ_and_their_marks_do_not_show_them() {
        let (a, b) = (make().expect("random"), make_token().expect("random"));
        assert_eq!((a.len(), b.len()), (64, 69));
        assert_ne!(a, make().expect("random"));
        assert_ne!(digest(&a), form_mark(&a));
        assert!(same(&a, &a.clone()) && !same(&a, &b) && !same(&a, &a[..63]));
    }
}
