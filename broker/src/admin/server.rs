//! The sockets of the admin API: the unix socket, and `admin.http_bind`. Each request gets the
//! [`Connection`] it came over; who may do what is decided in `api`.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::api::{Api, Connection};
use super::backend::Backend;
use super::health;
use super::tokens::Tokens;
use crate::config::Config;
use crate::doors;
use listeners::{Reloaded, TlsSettings, TransportKind};

/// A request's head must be there by then, and a TLS handshake too.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections at once on `admin.http_bind`.
const HTTP_MAX: usize = 256;

/// All sockets of the administration.
#[derive(Debug)]
pub struct Sockets {
    unix: UnixListener,
    http: Option<(TcpListener, Option<Arc<TlsSettings>>)>,
    health: Option<TcpListener>,
}

impl Sockets {
    /// Binds `admin.socket`, `admin.http_bind` and `metrics.bind` (inside a tokio runtime). The error names
    /// the key and what stands in the way.
    pub fn bind(config: &Config) -> Result<Self, String> {
        let admin = &config.admin;
        let unix = bind_unix(&admin.socket, admin.socket_mode, admin.socket_group.as_deref());
        let unix =
            unix.map_err(|e| format!("admin.socket: cannot listen on {}: {e}", admin.socket.display()))?;
        let tls = match &admin.tls {
            Some(tls) => {
                let tls = TlsSettings::load(doors::options(tls), TransportKind::Wss);
                Some(Arc::new(tls.map_err(|e| format!("admin.tls: {e}"))?))
            }
            None => None,
        };
        let http = admin
            .http_bind
            .map(|at| bind_tcp("admin.http_bind", at))
            .transpose()?;
        let health = config
            .metrics
            .bind
            .map(|at| bind_tcp("metrics.bind", at))
            .transpose()?;
        Ok(Self {
            unix,
            http: http.map(|listener| (listener, tls)),
            health,
        })
    }

    /// Where `metrics.bind` really listens.
    pub fn health_address(&self) -> Option<SocketAddr> {
        self.health.as_ref()?.local_addr().ok()
    }

    /// Serves them until the future is dropped.
    pub async fn serve(self, backend: Arc<dyn Backend>, config: &Config) {
        let tokens = Arc::new(Tokens::new(config.admin.tokens_file.clone()));
        let router = Api::new(Arc::clone(&backend), tokens)
            .behind(policy(config))
            .router();
        let tls = self.http.as_ref().and_then(|(_, tls)| tls.clone());
        let http = async {
            match self.http {
                Some((listener, tls)) => serve_http(listener, tls, router.clone()).await,
                None => std::future::pending().await,
            }
        };
        let health = async {
            match self.health {
                Some(listener) => health::serve(listener, backend).await,
                None => std::future::pending().await,
            }
        };
        let certificates = async {
            match (&tls, &config.admin.tls) {
                (Some(tls), Some(settings)) => keep_certificate_fresh(tls, settings.reload_interval).await,
                _ => std::future::pending().await,
            }
        };
        tokio::join!(certificates, serve_unix(self.unix, router.clone()), http, health);
    }
}

/// Changed files load by themselves; bad ones keep the old certificate.
async fn keep_certificate_fresh(tls: &Arc<TlsSettings>, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        let settings = Arc::clone(tls);
        match tokio::task::spawn_blocking(move || settings.reload()).await {
            Ok(Ok(Reloaded::Changed(summary))) => {
                tracing::info!("admin.tls: new certificate {}", summary.subject);
            }
            Ok(Ok(Reloaded::Same)) | Err(_) => {}
            Ok(Err(error)) => tracing::warn!("admin.tls: the new certificate is refused: {error}"),
        }
    }
}

fn bind_tcp(key: &str, at: SocketAddr) -> Result<TcpListener, String> {
    let wrong = |e: io::Error| format!("{key}: cannot listen on {at}: {e}");
    let listener = std::net::TcpListener::bind(at).map_err(wrong)?;
    listener.set_nonblocking(true).map_err(wrong)?;
    TcpListener::from_std(listener).map_err(wrong)
}

/// Who may name the callers of `admin.http_bind`.
fn policy(config: &Config) -> peer::Policy {
    let mut raw = peer::RawPolicy::default();
    let proxies = config
        .admin
        .trusted_proxies
        .iter()
        .cloned()
        .map(peer::Value::Str)
        .collect();
    if !config.admin.address_header.is_empty() {
        raw.set("trusted_proxies", peer::Value::List(proxies));
        raw.set(
            "address_header",
            peer::Value::Str(config.admin.address_header.clone()),
        );
    }
    let networks = |name: &str| config.networks.get(name).cloned();
    let checked = raw.check(TransportKind::Ws, &networks).into_result();
    // With an error in these keys nobody may name callers; the configuration's own check has told it.
    checked.map_or_else(
        |_| peer::Policy::defaults(TransportKind::Ws),
        |(policy, _)| policy,
    )
}

/// Binds the control socket: makes its directory (0750; 0700 if the socket is for one user only), takes the
/// place of a socket nobody listens on, sets mode and group. An error names what stands in the way.
pub fn bind_unix(path: &Path, mode: u32, group: Option<&str>) -> io::Result<UnixListener> {
    if let Some(directory) = path.parent().filter(|directory| !directory.exists()) {
        let mode = if mode & 0o070 == 0 { 0o700 } else { 0o750 };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(mode)
            .create(directory)?;
    }
    if let Ok(meta) = fs::symlink_metadata(path) {
        if !meta.file_type().is_socket() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "there is a file that is no socket",
            ));
        }
        if StdUnixStream::connect(path).is_ok() {
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                "another broker listens there",
            ));
        }
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    if let Some(group) = group {
        let gid = group_id(group)?;
        std::os::unix::fs::chown(path, None, Some(gid))?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    Ok(listener)
}

/// The number of a group in /etc/group.
fn group_id(name: &str) -> io::Result<u32> {
    let groups = fs::read_to_string("/etc/group")?;
    let line = groups.lines().map(|line| line.split(':')).find_map(|mut fields| {
        (fields.next() == Some(name))
            .then(|| fields.nth(1).and_then(|gid| gid.parse().ok()))
            .flatten()
    });
    line.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no group {name}")))
}

/// Serves the control socket until the future is dropped, which also ends its connections.
pub async fn serve_unix(listener: UnixListener, router: Router) {
    let mut tasks = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => match stream.peer_cred() {
                Ok(cred) => {
                    let connection = Connection::Unix { uid: cred.uid() };
                    tasks.spawn(serve_connection(stream, router.clone(), connection));
                }
                Err(error) => tracing::warn!(%error, "admin socket: no credentials of the peer"),
            },
            Err(error) => back_off("admin socket", &error).await,
        }
        while tasks.try_join_next().is_some() {}
    }
}

/// Serves `admin.http_bind` until the future is dropped; plain HTTP without `tls` (loopback only, which
/// the configuration checks).
pub async fn serve_http(listener: TcpListener, tls: Option<Arc<TlsSettings>>, router: Router) {
    let slots = Arc::new(Semaphore::new(HTTP_MAX));
    let mut tasks = JoinSet::new();
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, address)) => {
                let connection = Connection::Http { socket: address };
                // Asked each time: the certificate may have been swapped.
                let acceptor = tls.as_ref().map(|tls| TlsAcceptor::from(tls.config()));
                let router = router.clone();
                tasks.spawn(async move {
                    let _slot = slot;
                    let Some(acceptor) = acceptor else {
                        return serve_connection(stream, router, connection).await;
                    };
                    match tokio::time::timeout(HEAD_TIMEOUT, acceptor.accept(stream)).await {
                        Ok(Ok(stream)) => serve_connection(stream, router, connection).await,
                        Ok(Err(error)) => tracing::debug!(%address, %error, "admin: TLS handshake failed"),
                        Err(_) => tracing::debug!(%address, "admin: TLS handshake timed out"),
                    }
                });
            }
            Err(error) => back_off("admin.http_bind", &error).await,
        }
        while tasks.try_join_next().is_some() {}
    }
}

/// Out of file descriptors or the like: wait a moment instead of spinning.
pub(super) async fn back_off(what: &str, error: &io::Error) {
    tracing::warn!(%error, "{what}: accept failed");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

async fn serve_connection<S>(stream: S, router: Router, connection: Connection)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    serve_http1(stream, router.layer(Extension(connection))).await;
}

/// HTTP/1.1 over any stream.
pub(super) async fn serve_http1<S>(stream: S, router: Router)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = TowerToHyperService::new(router);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "admin: connection ended");
    }
}
