//! What a TLS handshake tells: version, cipher, names, and the client's certificate read into the
//! fields that rules and authentication use. What does not live here: whether the certificate is
//! good (rustls checked it before).

use super::CertSummary;
use rustls::pki_types::CertificateDer;
use rustls::server::UnbufferedServerConnection;
use rustls::{HandshakeKind, ProtocolVersion};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};

/// The facts of our own TLS; a proxy's are in `Peer`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsInfo {
    /// `TLSv1.3` or `TLSv1.2`.
    pub version: &'static str,
    /// The cipher suite by its IANA name.
    pub cipher: String,
    /// The server name the client asked for.
    pub sni: Option<Box<str>>,
    /// The application protocol agreed on.
    pub alpn: Option<Box<str>>,
    /// The session goes on from an earlier one.
    pub resumed: bool,
    /// The client's certificate, checked against `client_ca_file`.
    pub identity: Option<Box<CertIdentity>>,
}

/// Who a verified client certificate says the client is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CertIdentity {
    /// The subject's (last) common name.
    pub cn: Option<String>,
    /// Subject alternative names of type DNS, in order.
    pub san_dns: Vec<String>,
    /// Subject alternative names of type URI, in order.
    pub san_uri: Vec<String>,
    /// SHA-256 of the certificate.
    pub sha256: [u8; 32],
    /// Last second of its life, in seconds since 1970.
    pub not_after: i64,
}

impl TlsInfo {
    /// Of a connection whose handshake is done.
    pub(crate) fn of(conn: &UnbufferedServerConnection, sni: Option<Box<str>>) -> Self {
        let leaf = conn.peer_certificates().and_then(<[_]>::first);
        Self {
            version: match conn.protocol_version() {
                Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
                _ => "TLSv1.2",
            },
            cipher: conn
                .negotiated_cipher_suite()
                .and_then(|s| s.suite().as_str())
                .unwrap_or("unknown")
                .to_owned(),
            sni,
            alpn: conn
                .alpn_protocol()
                .and_then(|a| std::str::from_utf8(a).ok())
                .map(Into::into),
            resumed: conn.handshake_kind() == Some(HandshakeKind::Resumed),
            identity: leaf.and_then(CertIdentity::read).map(Box::new),
        }
    }
}

impl CertIdentity {
    /// Reads a certificate; `None` if it cannot be parsed.
    fn read(der: &CertificateDer<'_>) -> Option<Self> {
        let (_, cert) = X509Certificate::from_der(der).ok()?;
        let (mut san_dns, mut san_uri) = (Vec::new(), Vec::new());
        for name in alternative_names(&cert) {
            match name {
                GeneralName::DNSName(dns) => san_dns.push((*dns).to_owned()),
                GeneralName::URI(uri) => san_uri.push((*uri).to_owned()),
                _ => {}
            }
        }
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der);
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(digest.as_ref());
        Some(Self {
            cn: common_name(cert.subject()),
            san_dns,
            san_uri,
            sha256,
            not_after: cert.validity().not_after.timestamp(),
        })
    }
}

/// Our own certificate in a line.
pub(super) fn summary(der: &CertificateDer<'_>) -> Option<CertSummary> {
    let (_, cert) = X509Certificate::from_der(der).ok()?;
    let dns = || {
        alternative_names(&cert).find_map(|name| match name {
            GeneralName::DNSName(dns) => Some((*dns).to_owned()),
            _ => None,
        })
    };
    Some(CertSummary {
        subject: common_name(cert.subject())
            .map(|cn| format!("CN={cn}"))
            .or_else(dns)
            .unwrap_or_else(|| cert.subject().to_string()),
        not_after: cert.validity().not_after.timestamp(),
    })
}

/// The most specific common name, which stands last (RFC 6125 2.3).
fn common_name(name: &X509Name<'_>) -> Option<String> {
    name.iter_common_name()
        .last()
        .and_then(|cn| cn.as_str().ok())
        .map(str::to_owned)
}

fn alternative_names<'a>(cert: &'a X509Certificate<'_>) -> impl Iterator<Item = &'a GeneralName<'a>> {
    cert.subject_alternative_name()
        .ok()
        .flatten()
        .into_iter()
        .flat_map(|san| san.value.general_names.iter())
}
