//! An authority of our own, with certificates for servers and clients, in files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The authority. Its certificate is `ca.pem`; `server.crt`, `server.key` and both together in `server.pem` are for
/// `localhost`.
pub struct Certs {
    dir: tempfile::TempDir,
    ca: rcgen::CertifiedIssuer<'static, rcgen::KeyPair>,
}

impl Default for Certs {
    fn default() -> Self {
        Self::new()
    }
}

impl Certs {
    /// A new one.
    pub fn new() -> Self {
        let mut params = rcgen::CertificateParams::new(Vec::new()).expect("good names");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "tests");
        let key = rcgen::KeyPair::generate().expect("a key");
        let ca = rcgen::CertifiedIssuer::self_signed(params, key).expect("a certificate");
        let certs = Self {
            dir: tempfile::tempdir().expect("a directory"),
            ca,
        };
        std::fs::write(certs.path("ca.pem"), certs.ca.pem()).expect("a file");
        certs.issue("server", "localhost");
        certs
    }

    /// Where a file of it lies.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Writes `FILE.crt`, `FILE.key` and `FILE.pem` for a name that is CN and DNS name; for 127.0.0.1 too.
    pub fn issue(&self, file: &str, name: &str) {
        let names = vec![name.to_owned(), "127.0.0.1".to_owned()];
        let mut params = rcgen::CertificateParams::new(names).expect("good names");
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = rcgen::KeyPair::generate().expect("a key");
        let cert = params.signed_by(&key, &self.ca).expect("a certificate").pem();
        let key = key.serialize_pem();
        let write = |ending: &str, text: &str| {
            std::fs::write(self.path(&format!("{file}.{ending}")), text).expect("a file");
        };
        write("crt", &cert);
        write("key", &key);
        write("pem", &format!("{cert}{key}"));
    }

    /// [`client`] of this authority.
    pub fn client(&self, file: Option<&str>) -> Arc<ClientConfig> {
        client(self.dir(), file)
    }
}

/// A client that believes only the authority `ca.pem` in this directory; with the certificate `FILE.crt` and its
/// `FILE.key` if named.
///
/// # Panics
/// If the files are not there.
pub fn client(dir: &Path, file: Option<&str>) -> Arc<ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    let ca = CertificateDer::from_pem_file(dir.join("ca.pem")).expect("a certificate");
    roots.add(ca).expect("a good certificate");
    let builder =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
    let config = match file {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let cert = CertificateDer::from_pem_file(dir.join(format!("{file}.crt")));
            let key = PrivateKeyDer::from_pem_file(dir.join(format!("{file}.key")));
            builder
                .with_client_auth_cert(vec![cert.expect("a certificate")], key.expect("a key"))
                .expect("a pair")
        }
    };
    Arc::new(config)
}
