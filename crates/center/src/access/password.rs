//! Passwords by argon2id with the crate's parameters (OWASP's: 19 MiB, 2 passes).

use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use sota_errors::CenterError;
use tokio::sync::Semaphore;

use crate::domain::Problem;

/// Hashes at once: each takes 19 MiB and a processor for some ten milliseconds, and strangers can ask for them.
const AT_ONCE: usize = 2;

/// Makes and checks argon2 strings on threads of their own.
#[derive(Clone)]
pub(super) struct Passwords(Arc<Semaphore>);

impl Passwords {
    pub(super) fn new() -> Passwords {
        Passwords(Arc::new(Semaphore::new(AT_ONCE)))
    }

    pub(super) async fn hash(&self, password: String) -> Result<String, Problem> {
        self.run(move || {
            let hash = Argon2::default().hash_password(password.as_bytes());
            hash.map(|h| h.to_string()).map_err(|e| e.to_string())
        })
        .await?
        .map_err(|e| Problem::new(CenterError::Internal, format!("argon2: {e}")))
    }

    /// Whether the password belongs to the string. Without a string it takes as long and is wrong: a stranger must
    /// not learn from the time which names exist.
    pub(super) async fn check(
        &self,
        password: String,
        hash: Option<String>,
    ) -> Result<bool, Problem> {
        self.run(move || match hash {
            Some(hash) => {
                let hash = argon2::password_hash::phc::PasswordHash::new(&hash);
                hash.is_ok_and(|hash| {
                    let argon2 = Argon2::default();
                    argon2.verify_password(password.as_bytes(), &hash).is_ok()
                })
            }
            None => {
                let made = Argon2::default().hash_password(password.as_bytes());
                drop(made);
                false
            }
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let failed = |e: String| Problem::new(CenterError::Internal, e);
        let permit = self.0.clone().acquire_owned().await;
        let _permit = permit.map_err(|e| failed(e.to_string()))?;
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|e| failed(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_known_again_and_another_is_not() {
        let passwords = Passwords::new();
        let hash = passwords.hash("correct horse".into()).await.expect("made");
        assert!(hash.starts_with("$argon2id$"), "{hash}");
        let check = |word: &str, hash: Option<&str>| {
            passwords.check(word.to_owned(), hash.map(str::to_owned))
        };
        assert!(check("correct horse", Some(&hash)).await.expect("checked"));
        assert!(!check("correct hors", Some(&hash)).await.expect("checked"));
        assert!(!check("correct horse", None).await.expect("checked"));
        assert!(!check("x", Some("not a hash")).await.expect("checked"));
    }
}
