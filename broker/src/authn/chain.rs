//! `auth.chain`: the sources in their order, until one accepts or rejects.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use auth::credentials::Passwords as File;
use peer::Peer;

use super::http::Service;
use super::jwt::Tokens;
use super::password::Passwords;
use super::permissions::Permissions;
use crate::audit::AuthnReason;
use crate::config::{AuthConfig, AuthMethod};
use crate::metrics::AuthMethod as Method;

/// What a client shows.
#[derive(Clone, Copy, Debug)]
pub struct Credentials<'a> {
    /// Where it comes from.
    pub peer: &'a Peer,
    /// Name of the listener where it came in.
    pub listener: &'a str,
    /// Whether that lets clients in that show nothing.
    pub allow_anonymous: bool,
    /// Its client id.
    pub client_id: &'a str,
    /// The name it gives, or that its certificate gives.
    pub username: Option<&'a str>,
    /// Its password.
    pub password: Option<&'a [u8]>,
    /// Whether the name comes from a verified certificate.
    pub certificate: bool,
    /// Common name of its certificate, ours or one told by a proxy.
    pub cn: Option<&'a str>,
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
    /// What they allow, which only narrows what the rules allow.
    pub permissions: Option<Arc<Permissions>>,
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
            permissions: None,
            method,
        }
    }

    fn unverified() -> Self {
        Self {
            username: None,
            authenticated: false,
            until: None,
            permissions: None,
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

/// What the sources of the chain read at start and at a reload.
#[derive(Debug)]
pub struct Sources {
    passwords: File,
    jwt: Option<Arc<Tokens>>,
    http: Option<Arc<Service>>,
}

impl Sources {
    /// Reads the files of the sources in use.
    ///
    /// # Errors
    /// What is wrong with one, with its name.
    pub fn read(config: &AuthConfig) -> Result<Self, String> {
        let used = |method| config.chain.contains(&method);
        Ok(Self {
            passwords: Passwords::read(&config.password_file.path)?,
            jwt: used(AuthMethod::Jwt)
                .then(|| Tokens::read(&config.jwt).map(Arc::new))
                .transpose()?,
            http: used(AuthMethod::Http)
                .then(|| Service::new(&config.http).map(Arc::new))
                .transpose()?,
        })
    }
}

/// Verifies credentials.
#[derive(Debug)]
pub struct Authenticator {
    passwords: Passwords,
    jwt: ArcSwapOption<Tokens>,
    http: ArcSwapOption<Service>,
}

impl Authenticator {
    /// Verifies up to `at_once` passwords at the same time.
    pub fn new(sources: Sources, at_once: usize) -> Self {
        Self {
            passwords: Passwords::new(sources.passwords, at_once),
            jwt: ArcSwapOption::new(sources.jwt),
            http: ArcSwapOption::new(sources.http),
        }
    }

    /// Takes other sources from now on.
    pub fn replace(&self, sources: Sources) {
        self.passwords.replace(sources.passwords);
        self.jwt.store(sources.jwt);
        self.http.store(sources.http);
    }

    /// Whether a username is a secret itself, so that it must not be shown, logged or kept.
    pub fn is_secret(&self, username: &str) -> bool {
        self.jwt.load().as_ref().is_some_and(|jwt| jwt.is_token(username))
    }

    /// Asks the sources of `auth.chain` in order; the end of the chain is a rejection. An empty chain verifies
    /// nothing: with anonymous clients allowed any name is taken, else nobody gets in.
    /// `now` is in ms since 1970.
    pub async fn verify(
        &self,
        shown: &Credentials<'_>,
        chain: &[AuthMethod],
        now: u64,
    ) -> Result<Verified, Failure> {
        let anonymous = shown.allow_anonymous;
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
                AuthMethod::Jwt => match self.jwt.load_full() {
                    Some(jwt) => (Box::pin(jwt.verify(shown, now)).await, Method::Jwt),
                    None => (Opinion::Ignore, Method::Jwt),
                },
                AuthMethod::Http => match self.http.load_full() {
                    Some(http) => (Box::pin(http.verify(shown)).await, Method::Http),
                    None => (Opinion::Ignore, Method::Http),
                },
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
