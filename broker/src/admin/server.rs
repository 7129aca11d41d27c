//! The sockets of the admin API: the unix socket, and `admin.http_bind`. Each request gets the
//! [`Connection`] it came over; who may do what is decided in `api`.

use std::fs;
use std::io;
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

use super::api::Connection;

/// A request's head must be there by then, and a TLS handshake too.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections at once on `admin.http_bind`.
const HTTP_MAX: usize = 256;

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
pub async fn serve_http(listener: TcpListener, tls: Option<Arc<rustls::ServerConfig>>, router: Router) {
    let slots = Arc::new(Semaphore::new(HTTP_MAX));
    let acceptor = tls.map(TlsAcceptor::from);
    let mut tasks = JoinSet::new();
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, address)) => {
                let connection = Connection::Http {
                    ip: address.ip().to_canonical(),
                };
                let (router, acceptor) = (router.clone(), acceptor.clone());
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
