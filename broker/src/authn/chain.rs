//! `auth.chain`: the sources in their order, until one accepts or rejects.

use peer::Peer;
use std::sync::Arc;

use super::password::Passwords;
use crate::audit::AuthnReason;
use crate::config::AuthMethod;
use crate::metrics::AuthMethod as Method;
use crate::node::{ListenerRuntime, Snapshot};

/// What a client shows.
#[derive(Debug)]
pub struct Credentials<'a> {
    /// Where it comes from.
    pub peer: &'a Peer,
    /// Where it came in.
    pub listener: &'a ListenerRuntime,
    /// Its client id.
    pub client_id: &'a str,
    /// The name it gives, or that its certificate gives.
    pub username: Option<&'a str>,
    /// Its password.
    pub password: Option<&'a [u8]>,
    /// Whether the name comes from a verified certificate.
    pub certificate: bool,
}

/// Credentials that are good.
#[derive(Debug)]
pub struct Verified {
    /// The name, if the source says another than the client.
    pub username: Option<Arc<str>>,
    /// Whether anybody verified anything.
    pub authenticated: bool,
    /// When they end, in ms since 1970.
    pub until: Option<u64>,
    /// Who verified them.
    pub method: Method,
}

impl Verified {
    /// By this source.
    pub fn by(method: Method) -> Self {
        Self {
            username: None,
            authenticated: true,
            until: None,
            method,
        }
    }

    fn unverified() -> Self {
        Self {
            username: None,
            authenticated: false,
            until: None,
            method: Method::Anonymous,
        }
    }
}

/// Credentials that are not.
#[derive(Debug)]
pub struct Failure {
    /// Why.
    pub reason: AuthnReason,
    /// Who says so.
    pub method: Method,
}

/// What one source says.
#[derive(Debug)]
pub enum Opinion {
    /// They are good.
    Accept(Verified),
    /// They are not.
    Reject(AuthnReason),
    /// Not its client: ask the next.
    Ignore,
}

/// Verifies credentials.
#[derive(Debug)]
pub struct Authenticator {
    /// The password file.
    pub passwords: Passwords,
}

impl Authenticator {
    /// Asks the sources of `auth.chain` in order; the end of the chain is a rejection. An empty chain verifies
    /// nothing: with anonymous clients allowed any name is taken, else nobody gets in.
    pub async fn verify(&self, shown: &Credentials<'_>, snapshot: &Snapshot) -> Result<Verified, Failure> {
        let anonymous = shown.listener.config.allow_anonymous;
        let chain = &snapshot.config.auth.chain;
        let nothing_shown = shown.username.is_none() && shown.password.is_none();
        if anonymous && (nothing_shown || chain.is_empty()) {
            return Ok(Verified::unverified());
        }
        let mut last = Failure {
            reason: AuthnReason::UnknownUser,
            method: Method::None,
        };
        if nothing_shown {
            last = Failure {
                reason: AuthnReason::NoCredentials,
                method: Method::Anonymous,
            };
        }
        for source in chain {
            let (opinion, method) = match source {
                AuthMethod::Certificate if shown.certificate => (
                    Opinion::Accept(Verified::by(Method::Certificate)),
                    Method::Certificate,
                ),
                AuthMethod::PasswordFile => (self.passwords.verify(shown).await, Method::PasswordFile),
                _ => (Opinion::Ignore, Method::None),
            };
            match opinion {
                Opinion::Accept(verified) => return Ok(verified),
                Opinion::Reject(reason) => return Err(Failure { reason, method }),
                Opinion::Ignore if method != Method::None && !nothing_shown => last.method = method,
                Opinion::Ignore => {}
            }
        }
        Err(last)
    }
}
