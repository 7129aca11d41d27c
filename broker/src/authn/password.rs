//! The password file as a source of `auth.chain`. Hashes are computed off the reactor, few at a time.
//!
//! What does not live here: the file's format and the hashes (`auth::Passwords`).

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use auth::credentials::{PasswdError, Passwords as File, Verdict};
use tokio::sync::Semaphore;

use super::chain::{Credentials, Opinion, Verified};
use crate::audit::AuthnReason;
use crate::metrics::AuthMethod;

/// The users of the password file, replaced whole at a reload.
#[derive(Debug)]
pub struct Passwords {
    file: ArcSwap<File>,
    /// argon2id takes tens of MiB and milliseconds a time: so many at once.
    turns: Semaphore,
}

impl Passwords {
    /// Verifies up to `at_once` passwords at the same time.
    pub fn new(file: File, at_once: usize) -> Self {
        Self {
            file: ArcSwap::from_pointee(file),
            turns: Semaphore::new(at_once.max(1)),
        }
    }

    /// Reads the file. One that does not exist has no users.
    pub fn read(path: &Path) -> Result<File, String> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(format!("{}: {error}", path.display())),
        };
        let (file, errors) = File::parse(&text);
        let describe = |e: &PasswdError| format!("{}:{}:{}: {}", path.display(), e.line, e.col, e.message);
        if errors.is_empty() {
            Ok(file)
        } else {
            Err(errors.iter().map(describe).collect::<Vec<_>>().join("\n"))
        }
    }

    /// Takes another file's users from now on.
    pub fn replace(&self, file: File) {
        self.file.store(Arc::new(file));
    }

    /// Accepts a user of the file with the right password, rejects a wrong one, ignores whom it does not know.
    pub async fn verify(&self, shown: &Credentials<'_>) -> Opinion {
        let (Some(user), Some(password)) = (shown.username, shown.password) else {
            return Opinion::Ignore;
        };
        let (file, user, password) = (self.file.load_full(), user.to_owned(), password.to_vec());
        let Ok(_turn) = self.turns.acquire().await else {
            return Opinion::Ignore;
        };
        let verdict = tokio::task::spawn_blocking(move || file.verify(&user, &password)).await;
        match verdict {
            Ok(Verdict::Accepted) => Opinion::Accept(Verified::by(AuthMethod::PasswordFile)),
            Ok(Verdict::BadPassword) => Opinion::Reject(AuthnReason::BadCredentials),
            Ok(Verdict::UnknownUser) => Opinion::Ignore,
            Err(_) => Opinion::Reject(AuthnReason::BackendError),
        }
    }
}
