//! Bearer tokens of the HTTPS side: the file that holds their hashes, and the check of one.
//!
//! The file is written by `broker token` and read again when it changed, so creating and revoking need no
//! reload. A token is 256 random bits, so a plain SHA-256 of it is not worth guessing.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::api::Scope;
use super::hex;
use super::problem::Failure;
use super::views::Timestamp;

/// Wrong tokens one prefix may show in a minute, and how many prefixes are remembered.
const FAILURES_MAX: u32 = 10;
const FAILURES_WINDOW: Duration = Duration::from_secs(60);
const PREFIXES_MAX: usize = 4096;

/// One token as it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Its name, for the audit log.
    pub name: String,
    /// What it may do.
    pub scope: Scope,
    /// SHA-256 of the token, hex.
    pub sha256: String,
    /// From where: addresses, CIDRs, `@name`; empty = anywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_from: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenFile {
    #[serde(default, rename = "token")]
    tokens: Vec<Token>,
}

/// Reads the file; a missing one holds no tokens.
pub fn read(path: &Path) -> io::Result<Vec<Token>> {
    let text = match std::fs::read_to_string(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text?,
    };
    let file: TokenFile = toml::from_str(&text).map_err(|e| io::Error::other(e.to_string()))?;
    Ok(file.tokens)
}

/// Replaces the file in one step. A new one is world-readable (it holds only hashes of random tokens, and
/// the broker's user must read what root wrote); an old one keeps its mode.
pub fn write(path: &Path, tokens: &[Token]) -> io::Result<()> {
    let file = TokenFile {
        tokens: tokens.to_vec(),
    };
    let text = toml::to_string(&file).map_err(|e| io::Error::other(e.to_string()))?;
    let mode = std::fs::metadata(path).map_or(0o644, |meta| meta.permissions().mode() & 0o777);
    let temporary = path.with_extension("toml.new");
    let mut out = std::fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(mode)
        .open(&temporary)?;
    out.write_all(text.as_bytes())?;
    out.sync_all()?;
    std::fs::rename(&temporary, path)
}

/// A new token: what the caller gets (once), and its hash for the file.
pub fn generate() -> io::Result<(String, String)> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(|e| io::Error::other(e.to_string()))?;
    let token = format!("brk_{}", URL_SAFE_NO_PAD.encode(bytes));
    let hash = hash(&token);
    Ok((token, hash))
}

fn hash(token: &str) -> String {
    hex(&Sha256::digest(token.as_bytes()))
}

/// Where a token was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct From {
    /// The resolved address of the request.
    pub ip: IpAddr,
    /// It is the client's own; a proxy's address meets no `allow_from`.
    pub is_client: bool,
}

/// The tokens of the running broker.
#[derive(Debug)]
pub struct Tokens {
    path: PathBuf,
    read: Mutex<(Option<SystemTime>, Vec<Token>)>,
    failures: Mutex<HashMap<IpNet, (Instant, u32)>>,
}

impl Tokens {
    /// The tokens in this file, read when first asked for and whenever it changed.
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            read: Mutex::default(),
            failures: Mutex::default(),
        }
    }

    /// Checks a token: its name and scope, or why not. `network` gives the ranges of `@name`.
    pub fn verify(
        &self,
        token: &str,
        from: From,
        network: &dyn Fn(&str) -> Option<Vec<IpNet>>,
    ) -> Result<(String, Scope), Failure> {
        self.verify_at(token, from, network, Instant::now(), SystemTime::now().into())
    }

    fn verify_at(
        &self,
        token: &str,
        from: From,
        network: &dyn Fn(&str) -> Option<Vec<IpNet>>,
        now: Instant,
        wall: Timestamp,
    ) -> Result<(String, Scope), Failure> {
        let ip = from.ip.to_canonical();
        let prefix = IpNet::new_assert(ip, if ip.is_ipv4() { 32 } else { 64 }).trunc();
        if self.blocked(prefix, now) {
            return Err(Failure::TooManyAttempts);
        }
        let hash = hash(token);
        let found = self
            .current()?
            .into_iter()
            .find(|t| bool::from(t.sha256.as_bytes().ct_eq(hash.as_bytes())));
        let valid = found.filter(|t| {
            t.expires_at.is_none_or(|end| wall < end)
                && (t.allow_from.is_empty()
                    || from.is_client && t.allow_from.iter().any(|range| covers(range, ip, network)))
        });
        if let Some(token) = valid {
            return Ok((token.name, token.scope));
        }
        self.failed(prefix, now);
        Err(Failure::Unauthorized)
    }

    fn current(&self) -> Result<Vec<Token>, Failure> {
        let modified = std::fs::metadata(&self.path)
            .and_then(|meta| meta.modified())
            .ok();
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if read.0 != modified || modified.is_none() {
            let tokens = self::read(&self.path);
            *read = (
                modified,
                tokens.map_err(|e| Failure::Internal(format!("tokens file: {e}")))?,
            );
        }
        Ok(read.1.clone())
    }

    fn blocked(&self, prefix: IpNet, now: Instant) -> bool {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = failures.get(&prefix);
        entry.is_some_and(|(since, n)| *n >= FAILURES_MAX && now.duration_since(*since) < FAILURES_WINDOW)
    }

    fn failed(&self, prefix: IpNet, now: Instant) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= PREFIXES_MAX {
            failures.retain(|_, (since, _)| now.duration_since(*since) < FAILURES_WINDOW);
        }
        if failures.len() >= PREFIXES_MAX {
            failures.clear();
        }
        let entry = failures.entry(prefix).or_insert((now, 0));
        if now.duration_since(entry.0) >= FAILURES_WINDOW {
            *entry = (now, 0);
        }
        entry.1 += 1;
    }
}

fn covers(range: &str, ip: IpAddr, network: &dyn Fn(&str) -> Option<Vec<IpNet>>) -> bool {
    match range.strip_prefix('@') {
        Some(name) => network(name).is_some_and(|nets| nets.iter().any(|net| net.contains(&ip))),
        None => {
            range.parse::<IpNet>().is_ok_and(|net| net.contains(&ip))
                || range
                    .parse::<IpAddr>()
                    .is_ok_and(|address| address.to_canonical() == ip)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    struct World {
        _dir: tempfile::TempDir,
        tokens: Tokens,
        secret: String,
        start: Instant,
    }

    fn world(allow_from: &[&str], expires_at: Option<Timestamp>) -> World {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.toml");
        let (secret, sha256) = generate().unwrap();
        let allow_from = allow_from.iter().map(|s| (*s).to_owned()).collect();
        let token = Token {
            name: "grafana".into(),
            scope: Scope::Read,
            sha256,
            allow_from,
            created_at: NOW,
            expires_at,
        };
        write(&path, &[token]).unwrap();
        World {
            _dir: dir,
            tokens: Tokens::new(path),
            secret,
            start: Instant::now(),
        }
    }

    impl World {
        fn ask(&self, token: &str, ip: &str, after: u64) -> Result<(String, Scope), Failure> {
            let network = |name: &str| (name == "office").then(|| vec!["203.0.113.0/24".parse().unwrap()]);
            self.tokens.verify_at(
                token,
                From {
                    ip: ip.parse().unwrap(),
                    is_client: ip != "10.0.0.3",
                },
                &network,
                self.start + Duration::from_secs(after),
                Timestamp(NOW.0 + after * 1000),
            )
        }
    }

    #[test]
    fn a_token_opens_from_its_ranges_until_it_expires() {
        let world = world(
            &["@office", "10.0.0.1", "10.0.0.3"],
            Some(Timestamp(NOW.0 + 60_000)),
        );
        let ok = Ok(("grafana".to_owned(), Scope::Read));
        assert_eq!(world.ask(&world.secret, "203.0.113.9", 0), ok);
        assert_eq!(world.ask(&world.secret, "::ffff:10.0.0.1", 0), ok);
        assert_eq!(
            world.ask(&world.secret, "10.0.0.2", 0),
            Err(Failure::Unauthorized)
        );
        assert_eq!(
            world.ask(&world.secret, "10.0.0.1", 60),
            Err(Failure::Unauthorized)
        );
        assert_eq!(world.ask("brk_wrong", "10.0.0.1", 0), Err(Failure::Unauthorized));
    }

    #[test]
    fn guessing_is_cut_off_by_prefix_and_for_a_minute() {
        let world = world(&[], None);
        for _ in 0..FAILURES_MAX {
            assert_eq!(
                world.ask("brk_guess", "2001:db8::1", 0),
                Err(Failure::Unauthorized)
            );
        }
        assert_eq!(
            world.ask(&world.secret, "2001:db8::2", 1),
            Err(Failure::TooManyAttempts)
        );
        assert!(world.ask(&world.secret, "2001:db8:0:1::2", 1).is_ok());
        assert!(world.ask(&world.secret, "2001:db8::2", 60).is_ok());
    }

    #[test]
    fn a_revoked_token_stops_at_once() {
        let world = world(&[], None);
        assert!(world.ask(&world.secret, "10.0.0.1", 0).is_ok());
        std::fs::remove_file(&world.tokens.path).unwrap();
        assert_eq!(
            world.ask(&world.secret, "10.0.0.1", 0),
            Err(Failure::Unauthorized)
        );
    }
}
