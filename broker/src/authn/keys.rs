//! Keys that verify tokens: a secret, a PEM key or certificate, a JSON Web Key Set in a file or behind a URL.
//!
//! What does not live here: what a token must say (`jwt`).

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use base64::Engine as _;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{AlgorithmFamily, DecodingKey, Header};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use tokio::sync::Mutex;
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo, X509Certificate};

use super::web::{Site, WebError};
use crate::config::{JwtAlgorithm, JwtConfig};

/// Time for connecting to a key server, and for its whole answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// A key server that failed is asked again after this time.
const RETRY: Duration = Duration::from_secs(10);

/// One key.
pub struct Key {
    id: Option<String>,
    /// The only algorithm it is for, if it says so.
    algorithm: Option<String>,
    decoding: DecodingKey,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The secret stays out of logs.
        f.debug_struct("Key")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Key {
    fn new(key: DecodingKey) -> Self {
        Self {
            id: None,
            algorithm: None,
            decoding: key,
        }
    }

    /// Whether it may have signed a token with this header.
    pub fn is_for(&self, header: &Header) -> bool {
        let same = |ours: &Option<String>, theirs: Option<&str>| match (ours, theirs) {
            (Some(ours), Some(theirs)) => ours == theirs,
            _ => true,
        };
        let algorithm = format!("{:?}", header.alg);
        self.decoding.family().algorithms().contains(&header.alg)
            && same(&self.algorithm, Some(&algorithm))
            && same(&self.id, header.kid.as_deref())
    }

    /// For the decoder.
    pub fn decoding(&self) -> &DecodingKey {
        &self.decoding
    }
}

/// Where keys come from.
#[derive(Debug)]
pub enum Keys {
    /// They were read at start.
    Here(Arc<Vec<Key>>),
    /// They are behind a URL.
    There(Remote),
}

impl Keys {
    /// Reads the files that the configuration names.
    ///
    /// # Errors
    /// What is wrong with one, with its name.
    pub fn read(config: &JwtConfig) -> Result<Self, String> {
        if config.algorithm == JwtAlgorithm::HmacBased {
            let path = config
                .secret_file
                .as_ref()
                .ok_or("auth.jwt.secret_file is not set")?;
            let key = secret(&bytes(path)?, config.secret_base64_encoded);
            let key = key.map_err(|problem| format!("{}: {problem}", path.display()))?;
            return Ok(Self::Here(Arc::new(vec![key])));
        }
        let mut keys = Vec::new();
        for (path, parse) in [
            (
                &config.public_key_file,
                pem as fn(&[u8]) -> Result<Vec<Key>, String>,
            ),
            (&config.jwks_file, key_set),
        ] {
            if let Some(path) = path {
                let more = parse(&bytes(path)?);
                keys.extend(more.map_err(|problem| format!("{}: {problem}", path.display()))?);
            }
        }
        match &config.endpoint {
            Some(url) if keys.is_empty() => Ok(Self::There(Remote::new(url, config.refresh_interval)?)),
            _ => Ok(Self::Here(Arc::new(keys))),
        }
    }

    /// The keys now.
    ///
    /// # Errors
    /// None were ever read from the URL, and it does not answer.
    pub async fn current(&self) -> Result<Arc<Vec<Key>>, String> {
        match self {
            Self::Here(keys) => Ok(Arc::clone(keys)),
            Self::There(remote) => remote.current().await,
        }
    }
}

/// Keys behind a URL, read again when they are old.
#[derive(Debug)]
pub struct Remote {
    site: Site,
    path: String,
    every: Duration,
    last: ArcSwapOption<Fetched>,
    fetching: Mutex<()>,
}

#[derive(Debug)]
struct Fetched {
    keys: Result<Arc<Vec<Key>>, String>,
    again: Instant,
}

impl Remote {
    fn new(url: &str, every: Duration) -> Result<Self, String> {
        let (site, path) = Site::of_url(url, None)?;
        Ok(Self {
            site,
            path,
            every,
            last: ArcSwapOption::empty(),
            fetching: Mutex::new(()),
        })
    }

    /// Who finds the keys old reads them again; who comes meanwhile takes the old ones, or waits if there are none.
    async fn current(&self) -> Result<Arc<Vec<Key>>, String> {
        let last = self.last.load_full();
        let fresh = last.as_ref().filter(|last| last.again > Instant::now());
        if let Some(fresh) = fresh {
            return fresh.keys.clone();
        }
        let _turn = match (self.fetching.try_lock(), &last) {
            (Ok(turn), _) => turn,
            (Err(_), Some(old)) if old.keys.is_ok() => return old.keys.clone(),
            (Err(_), _) => self.fetching.lock().await,
        };
        if let Some(fetched) = self.last.load_full().filter(|last| last.again > Instant::now()) {
            return fetched.keys.clone();
        }
        let (keys, wait) = match (self.fetch().await, last) {
            (Ok(keys), _) => (Ok(Arc::new(keys)), self.every),
            (Err(problem), Some(old)) if old.keys.is_ok() => {
                tracing::warn!("auth.jwt.endpoint: the keys stay as they were: {problem}");
                (old.keys.clone(), RETRY)
            }
            (Err(problem), _) => (Err(problem), RETRY),
        };
        let fetched = Fetched {
            keys: keys.clone(),
            again: Instant::now() + wait,
        };
        self.last.store(Some(Arc::new(fetched)));
        keys
    }

    async fn fetch(&self) -> Result<Vec<Key>, String> {
        let answer = async {
            let mut connection = self.site.connect(PATIENCE).await?;
            let request = self.site.get(&self.path)?;
            connection.ask(request).await
        };
        let answer = tokio::time::timeout(PATIENCE, answer).await;
        let (status, body) = answer
            .unwrap_or(Err(WebError::TimedOut))
            .map_err(|error| error.to_string())?;
        if status != 200 {
            return Err(format!("HTTP {status}"));
        }
        key_set(&body)
    }
}

fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// White space around a secret is an editor's, not part of it.
fn secret(text: &[u8], base64: bool) -> Result<Key, String> {
    let text = text.trim_ascii();
    let secret = if base64 {
        let decoded = base64::engine::general_purpose::STANDARD.decode(text);
        decoded.map_err(|error| error.to_string())?
    } else {
        text.to_vec()
    };
    if secret.is_empty() {
        return Err("the secret is empty".to_owned());
    }
    Ok(Key::new(DecodingKey::from_secret(&secret)))
}

/// Every public key and certificate of a PEM file.
fn pem(text: &[u8]) -> Result<Vec<Key>, String> {
    let mut keys = Vec::new();
    for key in SubjectPublicKeyInfoDer::pem_slice_iter(text) {
        let der = key.map_err(|error| error.to_string())?;
        let (_, info) = SubjectPublicKeyInfo::from_der(&der).map_err(|error| error.to_string())?;
        keys.push(public_key(&info)?);
    }
    for certificate in CertificateDer::pem_slice_iter(text) {
        let der = certificate.map_err(|error| error.to_string())?;
        let (_, certificate) = X509Certificate::from_der(&der).map_err(|error| error.to_string())?;
        keys.push(public_key(certificate.public_key())?);
    }
    if keys.is_empty() {
        return Err("neither a PUBLIC KEY nor a CERTIFICATE is in it".to_owned());
    }
    Ok(keys)
}

fn public_key(info: &SubjectPublicKeyInfo<'_>) -> Result<Key, String> {
    let bits = &info.subject_public_key.data;
    // RFC 3279, RFC 5480, RFC 8410.
    let key = match info.algorithm.algorithm.to_id_string().as_str() {
        "1.2.840.113549.1.1.1" => DecodingKey::from_rsa_der(bits),
        "1.2.840.10045.2.1" => DecodingKey::from_ec_der(bits),
        "1.3.101.112" => DecodingKey::from_ed_der(bits),
        other => return Err(format!("a key of algorithm {other} is not known here")),
    };
    Ok(Key::new(key))
}

/// The keys of a set (RFC 7517) that sign; others, and kinds we do not know, are left out.
fn key_set(json: &[u8]) -> Result<Vec<Key>, String> {
    let set: JwkSet = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    let keys: Vec<Key> = set.keys.iter().filter_map(of_jwk).collect();
    if keys.is_empty() {
        return Err("no key of the set can verify a token".to_owned());
    }
    Ok(keys)
}

fn of_jwk(jwk: &Jwk) -> Option<Key> {
    use jsonwebtoken::jwk::PublicKeyUse;
    let signs = !matches!(jwk.common.public_key_use, Some(PublicKeyUse::Encryption));
    let key = DecodingKey::from_jwk(jwk).ok()?;
    // A shared secret in a set of public keys would turn a public key into a secret.
    (signs && key.family() != AlgorithmFamily::Hmac).then(|| Key {
        id: jwk.common.key_id.clone(),
        algorithm: jwk.common.key_algorithm.map(|algorithm| algorithm.to_string()),
        decoding: key,
    })
}
