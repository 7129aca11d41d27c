//! HTTP/1.1 to the admin API over the unix socket, or over TLS with a token. One connection for one call.

use std::fmt::Write as _;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::CtlError;
use crate::admin::problem::Problem;

/// For connecting and for each answer that is no stream.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Where systems keep the certificates they trust.
const SYSTEM_CA: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

/// How the broker is reached.
#[derive(Clone, Debug)]
pub enum Target {
    /// The control socket.
    Unix(PathBuf),
    /// `admin.http_bind` from afar.
    Url {
        /// `https://host:18083`, or `http://` on loopback.
        url: String,
        /// File with the token.
        token_file: Option<PathBuf>,
        /// PEM file of the authority to trust; the system's by default.
        ca: Option<PathBuf>,
    },
}

/// A way to make calls.
#[derive(Clone, Debug)]
pub struct Client {
    target: Target,
    timeout: Duration,
}

/// Query parameters in the making.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(String);

impl Query {
    /// Adds `key=value` if there is a value.
    pub(crate) fn add(mut self, key: &str, value: Option<impl ToString>) -> Self {
        if let Some(value) = value {
            let mark = if self.0.is_empty() { '?' } else { '&' };
            let _ = write!(self.0, "{mark}{key}={}", encode(&value.to_string()));
        }
        self
    }

    /// The path with these parameters.
    pub(crate) fn to(&self, path: &str) -> String {
        format!("{path}{}", self.0)
    }
}

/// Percent-encodes one path segment or query value.
pub(crate) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

struct Open {
    stream: Box<dyn Stream>,
    host: String,
    token: Option<String>,
}

impl Client {
    /// Calls go there.
    pub fn new(target: Target) -> Self {
        Self {
            target,
            timeout: TIMEOUT,
        }
    }

    /// `GET` of a path below `/api/v1`.
    pub(crate) async fn get(&self, path: &str, query: Query) -> Result<Value, CtlError> {
        self.call(Method::GET, &query.to(path), None).await
    }

    /// `DELETE`.
    pub(crate) async fn delete(&self, path: &str) -> Result<Value, CtlError> {
        self.call(Method::DELETE, path, None).await
    }

    /// `DELETE` with parameters.
    pub(crate) async fn delete_with(&self, path: &str, query: Query) -> Result<Value, CtlError> {
        self.call(Method::DELETE, &query.to(path), None).await
    }

    /// `POST` with a JSON body.
    pub(crate) async fn post(&self, path: &str, body: &impl serde::Serialize) -> Result<Value, CtlError> {
        let body = serde_json::to_string(body).map_err(|e| CtlError::Usage(e.to_string()))?;
        self.call(Method::POST, path, Some(body)).await
    }

    /// `PUT` with a JSON body.
    pub(crate) async fn put(&self, path: &str, body: &impl serde::Serialize) -> Result<Value, CtlError> {
        let body = serde_json::to_string(body).map_err(|e| CtlError::Usage(e.to_string()))?;
        self.call(Method::PUT, path, Some(body)).await
    }

    /// `GET` of a path whose answer is text.
    pub(crate) async fn text(&self, path: &str) -> Result<String, CtlError> {
        let bytes = self.bytes(Method::GET, path, None).await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    async fn call(&self, method: Method, path: &str, body: Option<String>) -> Result<Value, CtlError> {
        let bytes = self.bytes(method, path, body).await?;
        serde_json::from_slice(&bytes).map_err(|e| CtlError::Answer(e.to_string()))
    }

    async fn bytes(&self, method: Method, path: &str, body: Option<String>) -> Result<Bytes, CtlError> {
        let answer = async {
            let response = self.send(method, path, body, None).await?;
            response.into_body().collect().await.map_err(broken)
        };
        let collected = tokio::time::timeout(self.timeout, answer)
            .await
            .map_err(|_| CtlError::TimedOut)??;
        Ok(collected.to_bytes())
    }

    /// Opens an event stream; only its head has a time limit.
    pub(crate) async fn stream(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
        after: Option<u64>,
    ) -> Result<Incoming, CtlError> {
        let response = self.send(method, path, body, after);
        let response = tokio::time::timeout(self.timeout, response)
            .await
            .map_err(|_| CtlError::TimedOut)??;
        Ok(response.into_body())
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
        after: Option<u64>,
    ) -> Result<Response<Incoming>, CtlError> {
        let open = self.open().await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(open.stream))
            .await
            .map_err(broken)?;
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(format!("/api/v1{path}"));
        request = request
            .header(header::HOST, open.host)
            .header(header::CONNECTION, "close");
        if let Some(token) = open.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(after) = after {
            request = request.header("last-event-id", after);
        }
        let body = Full::new(Bytes::from(body.unwrap_or_default()));
        let request = request.body(body).map_err(|e| CtlError::Usage(e.to_string()))?;
        let response = sender.send_request(request).await.map_err(broken)?;
        if response.status() < StatusCode::BAD_REQUEST {
            return Ok(response);
        }
        let status = response.status();
        let body = response.into_body().collect().await.map_err(broken)?.to_bytes();
        let problem: Result<Problem, _> = serde_json::from_slice(&body);
        Err(problem.map_or_else(|_| CtlError::Answer(format!("HTTP {status}")), CtlError::Problem))
    }

    async fn open(&self) -> Result<Open, CtlError> {
        match &self.target {
            Target::Unix(path) => {
                let stream = UnixStream::connect(path).await;
                let stream = stream.map_err(|e| unreachable(&path.display().to_string(), &e))?;
                Ok(Open {
                    stream: Box::new(stream),
                    host: "broker".to_owned(),
                    token: None,
                })
            }
            Target::Url { url, token_file, ca } => {
                let usage = CtlError::Usage;
                let place = parse_url(url).map_err(usage)?;
                let token = token_file.as_ref().map(std::fs::read_to_string).transpose();
                let token = token.map_err(|e| CtlError::Usage(format!("token file: {e}")))?;
                let token = token.map(|text| text.trim().to_owned());
                let stream = TcpStream::connect((place.host.as_str(), place.port)).await;
                let stream = stream.map_err(|e| unreachable(url, &e))?;
                let host = place.authority.clone();
                if !place.tls {
                    return Ok(Open {
                        stream: Box::new(stream),
                        host,
                        token,
                    });
                }
                let connector = TlsConnector::from(tls_config(ca.as_deref()).map_err(usage)?);
                let name = ServerName::try_from(place.host).map_err(|e| CtlError::Usage(e.to_string()))?;
                let stream = connector
                    .connect(name, stream)
                    .await
                    .map_err(|e| unreachable(url, &e))?;
                Ok(Open {
                    stream: Box::new(stream),
                    host,
                    token,
                })
            }
        }
    }
}

struct Place {
    tls: bool,
    host: String,
    port: u16,
    authority: String,
}

/// Scheme, host and port; plain HTTP only to loopback, since it carries a token.
fn parse_url(url: &str) -> Result<Place, String> {
    let (tls, rest) = match url.split_once("://") {
        Some(("https", rest)) => (true, rest),
        Some(("http", rest)) => (false, rest),
        _ => return Err(format!("{url}: https://host:port is wanted")),
    };
    let authority = rest.trim_end_matches('/');
    if authority.is_empty() || authority.contains(['/', '@', '?', '#']) {
        return Err(format!("{url}: nothing but host and port is wanted"));
    }
    let default = if tls { 443 } else { 80 };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (
            host,
            port.parse().map_err(|_| format!("{url}: `{port}` is no port"))?,
        ),
        _ => (authority, default),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if !tls && !loopback {
        return Err(format!(
            "{url}: without TLS only on loopback, the token would be readable"
        ));
    }
    Ok(Place {
        tls,
        host,
        port,
        authority: authority.to_owned(),
    })
}

/// Trusts the authorities of a PEM file, or those of the system.
pub(crate) fn tls_config(ca: Option<&std::path::Path>) -> Result<Arc<rustls::ClientConfig>, String> {
    let system = || {
        SYSTEM_CA
            .into_iter()
            .map(PathBuf::from)
            .find(|path| path.exists())
    };
    let path = ca.map(PathBuf::from).or_else(system);
    let path = path.ok_or("no system certificates here: name a CA file")?;
    let wrong = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let mut roots = rustls::RootCertStore::empty();
    for cert in CertificateDer::pem_file_iter(&path).map_err(|e| wrong(&e))? {
        let cert = cert.map_err(|e| wrong(&e))?;
        // A system's bundle may hold an old oddity; a file that somebody names may not.
        match roots.add(cert) {
            Err(e) if ca.is_some() => return Err(wrong(&e)),
            _ => {}
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|e| wrong(&e))?;
    Ok(Arc::new(
        builder.with_root_certificates(roots).with_no_client_auth(),
    ))
}

fn unreachable(place: &str, error: &io::Error) -> CtlError {
    match error.kind() {
        io::ErrorKind::PermissionDenied => CtlError::Forbidden(format!("{place}: {error}")),
        io::ErrorKind::NotFound => CtlError::Unreachable(format!("{place}: no broker runs there")),
        _ => CtlError::Unreachable(format!("{place}: {error}")),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "used as a function for map_err")]
fn broken(error: hyper::Error) -> CtlError {
    CtlError::Unreachable(format!("the connection broke: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (url, expect) in [
            ("https://b.example:18083", Some((true, "b.example", 18083))),
            ("https://b.example/", Some((true, "b.example", 443))),
            ("https://[2001:db8::1]:18083", Some((true, "2001:db8::1", 18083))),
            ("https://[2001:db8::1]", Some((true, "2001:db8::1", 443))),
            ("http://127.0.0.1:18083", Some((false, "127.0.0.1", 18083))),
            ("http://[::1]:18083", Some((false, "::1", 18083))),
            ("http://b.example:18083", None),
            ("b.example:18083", None),
            ("https://b.example/path", None),
            ("https://u:p@b.example", None),
            ("https://b.example:port", None),
        ] {
            let place = parse_url(url).ok();
            let got = place
                .as_ref()
                .map(|place| (place.tls, place.host.as_str(), place.port));
            assert_eq!(got, expect, "{url}");
        }
    }

    #[test]
    fn segments_and_queries_are_encoded() {
        assert_eq!(encode("a/b c\n\u{e9}"), "a%2Fb%20c%0A%C3%A9");
        let query = Query::default()
            .add("ip", Some("@lb"))
            .add("user", None::<&str>)
            .add("limit", Some(5));
        assert_eq!(query.0, "?ip=%40lb&limit=5");
    }
}
