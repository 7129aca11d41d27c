//! TLS of a listener: certificates and keys from files, client certificates, reload by swapping, and
//! what a handshake tells about the client. What does not live here: records (`tls::layer`), the
//! deadline (`handshake`).

pub(crate) mod handshake;
mod identity;
pub(crate) mod layer;

pub use identity::{CertIdentity, TlsInfo};

use crate::spec::{TransportKind, alpn};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use std::cell::RefCell;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// Whether clients show certificates.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ClientAuth {
    /// They are not asked.
    #[default]
    None,
    /// They are asked; one that is shown must be good.
    Optional,
    /// Without one there is no connection.
    Require,
}

/// The oldest TLS version that is spoken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MinVersion {
    /// TLS 1.2.
    #[default]
    V12,
    /// TLS 1.3.
    V13,
}

/// The `[listeners.NAME.tls]` keys as meant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsOptions {
    /// PEM: our certificate, then the intermediate ones.
    pub cert_file: PathBuf,
    /// PEM: the key of the first certificate.
    pub key_file: PathBuf,
    /// PEM: who may sign client certificates. Needed unless `client_auth` is `None`.
    pub client_ca_file: Option<PathBuf>,
    /// PEM: revoked client certificates.
    pub crl_file: Option<PathBuf>,
    /// Whether clients show certificates.
    pub client_auth: ClientAuth,
    /// The oldest version.
    pub min_version: MinVersion,
}

/// Why certificates could not be taken (TLS002 when reloading).
#[derive(Debug)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read or holds no PEM of the kind.
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The key is not that of the certificate, or of a kind that is not supported.
    Pair(rustls::Error),
    /// `client_auth` needs a `client_ca_file`.
    NoClientCa,
    /// The client CA or revocation list cannot be used.
    ClientCa(String),
    /// Anything else rustls refuses.
    Rustls(rustls::Error),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, reason } => write!(f, "{}: {reason}", path.display()),
            Self::Pair(e) => write!(f, "key_file does not fit cert_file: {e}"),
            Self::NoClientCa => f.write_str("client_auth needs client_ca_file"),
            Self::ClientCa(e) => write!(f, "client_ca_file or crl_file: {e}"),
            Self::Rustls(e) => e.fmt(f),
        }
    }
}

impl std::error::Error for TlsError {}

/// What a reload did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reloaded {
    /// The files are the same as before.
    Same,
    /// New handshakes use the new ones.
    Changed(CertSummary),
}

/// Our own certificate in a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CertSummary {
    /// `CN=…` or the first DNS name.
    pub subject: String,
    /// Last second of its life, in seconds since 1970.
    pub not_after: i64,
}

/// Certificates of a listener, loaded and swappable.
pub struct TlsSettings {
    options: TlsOptions,
    alpn: &'static [&'static str],
    current: RwLock<Arc<ServerConfig>>,
    loaded: Mutex<Loaded>,
}

/// The bytes of the files in use.
#[derive(Clone, PartialEq, Eq)]
struct Files {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
    crl: Option<Vec<u8>>,
}

struct Loaded {
    files: Files,
    summary: CertSummary,
}

impl fmt::Debug for TlsSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsSettings")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl TlsSettings {
    /// Reads and checks the files.
    pub fn load(options: TlsOptions, kind: TransportKind) -> Result<Self, TlsError> {
        let files = Files::read(&options)?;
        let alpn = alpn(kind);
        let (config, summary) = build(&options, &files, alpn, None)?;
        Ok(Self {
            options,
            alpn,
            current: RwLock::new(config),
            loaded: Mutex::new(Loaded { files, summary }),
        })
    }

    /// The keys it was loaded with.
    pub fn options(&self) -> &TlsOptions {
        &self.options
    }

    /// Our certificate in use.
    pub fn summary(&self) -> CertSummary {
        self.loaded().summary.clone()
    }

    /// Reads the files again and, if they changed and are good, swaps them in. Live connections keep
    /// theirs.
    ///
    /// # Errors
    /// The new files are bad; the old ones stay in use.
    pub fn reload(&self) -> Result<Reloaded, TlsError> {
        let files = Files::read(&self.options)?;
        let mut loaded = self.loaded();
        if loaded.files == files {
            return Ok(Reloaded::Same);
        }
        // A resumed session skips the check of its client certificate, so old tickets end when
        // what they were checked against changes.
        let same_clients = loaded.files.client_ca == files.client_ca && loaded.files.crl == files.crl;
        let old = same_clients.then(|| self.config());
        let (config, summary) = build(&self.options, &files, self.alpn, old.as_deref())?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = config;
        *loaded = Loaded {
            files,
            summary: summary.clone(),
        };
        Ok(Reloaded::Changed(summary))
    }

    /// What the next handshake uses.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn loaded(&self) -> MutexGuard<'_, Loaded> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files {
    fn read(options: &TlsOptions) -> Result<Self, TlsError> {
        let optional = |path: &Option<PathBuf>| path.as_deref().map(read_file).transpose();
        Ok(Self {
            cert: read_file(&options.cert_file)?,
            key: read_file(&options.key_file)?,
            client_ca: optional(&options.client_ca_file)?,
            crl: optional(&options.crl_file)?,
        })
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|e| file_error(path, e.to_string()))
}

fn file_error(path: &Path, reason: impl Into<String>) -> TlsError {
    TlsError::File {
        path: path.to_owned(),
        reason: reason.into(),
    }
}

/// Builds what handshakes use; session tickets go on from `old`.
fn build(
    options: &TlsOptions,
    files: &Files,
    alpn: &[&str],
    old: Option<&ServerConfig>,
) -> Result<(Arc<ServerConfig>, CertSummary), TlsError> {
    let chain = certificates(&options.cert_file, &files.cert)?;
    let key = PrivateKeyDer::from_pem_slice(&files.key)
        .map_err(|e| file_error(&options.key_file, e.to_string()))?;
    let summary = chain
        .first()
        .and_then(|c| identity::summary(c))
        .ok_or_else(|| file_error(&options.cert_file, "the first certificate cannot be read"))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let pair = CertifiedKey::from_der(chain, key, &provider).map_err(TlsError::Pair)?;
    let versions: &[&SupportedProtocolVersion] = match options.min_version {
        MinVersion::V12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
        MinVersion::V13 => &[&rustls::version::TLS13],
    };
    let verifier = client_verifier(options, files, &provider)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(TlsError::Rustls)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(OneCert(Arc::new(pair))));
    config.alpn_protocols = alpn.iter().map(|a| a.as_bytes().to_vec()).collect();
    // One connection at a time is what an MQTT client has.
    config.send_tls13_tickets = 1;
    config.ticketer = match old {
        Some(old) => Arc::clone(&old.ticketer),
        None => aws_lc_rs::Ticketer::new().map_err(TlsError::Rustls)?,
    };
    Ok((Arc::new(config), summary))
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| file_error(path, e.to_string()))?;
    if chain.is_empty() {
        return Err(file_error(path, "no certificate in it"));
    }
    Ok(chain)
}

fn client_verifier(
    options: &TlsOptions,
    files: &Files,
    provider: &Arc<rustls::crypto::CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    if options.client_auth == ClientAuth::None {
        return Ok(WebPkiClientVerifier::no_client_auth());
    }
    let (Some(path), Some(pem)) = (&options.client_ca_file, &files.client_ca) else {
        return Err(TlsError::NoClientCa);
    };
    let mut roots = RootCertStore::empty();
    for root in certificates(path, pem)? {
        roots.add(root).map_err(|e| file_error(path, e.to_string()))?;
    }
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    if let (Some(path), Some(pem)) = (&options.crl_file, &files.crl) {
        let lists = CertificateRevocationListDer::pem_slice_iter(pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| file_error(path, e.to_string()))?;
        if lists.is_empty() {
            return Err(file_error(path, "no revocation list in it"));
        }
        builder = builder.with_crls(lists).only_check_end_entity_revocation();
    }
    if options.client_auth == ClientAuth::Optional {
        builder = builder.allow_unauthenticated();
    }
    builder.build().map_err(|e| TlsError::ClientCa(e.to_string()))
}

/// The listener's one certificate. It also notes the name the client asked for, which rustls keeps
/// to itself on connections without buffers of their own.
#[derive(Debug)]
struct OneCert(Arc<CertifiedKey>);

thread_local! {
    static ASKED_FOR: RefCell<Option<Box<str>>> = const { RefCell::new(None) };
}

/// The server name of the ClientHello that this thread processed since the last call.
pub(crate) fn take_server_name() -> Option<Box<str>> {
    ASKED_FOR.take()
}

impl ResolvesServerCert for OneCert {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        ASKED_FOR.set(hello.server_name().map(Into::into));
        Some(Arc::clone(&self.0))
    }
}
