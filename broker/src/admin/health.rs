//! The port of `metrics.bind`: `/metrics`, `/healthz`, `/readyz`, plain HTTP, no client data.
//!
//! A load balancer that speaks PROXY sends a header in its HTTP checks too. One leading header, from anyone,
//! is skipped here and never believed; none is needed.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::backend::Backend;
use super::server::{back_off, serve_http1};

/// The runtime has to answer within this, or `/healthz` says 503.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// The first bytes have to be there by then.
const HEADER_WITHIN: Duration = Duration::from_secs(5);
/// Checks at once.
const CONNECTIONS_MAX: usize = 128;
/// PROXY v1 line, v2 header without its addresses (PROXY protocol specification 2.1, 2.2).
const V1_MAX: usize = 107;
const V1_START: &[u8] = b"PROXY ";
const V2_START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const V2_FIXED: usize = 16;

/// Serves the port until the future is dropped.
pub async fn serve(listener: TcpListener, backend: Arc<dyn Backend>) {
    let router = router(backend);
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut tasks = JoinSet::new();
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, address)) => {
                let router = router.clone();
                tasks.spawn(async move {
                    let _slot = slot;
                    match tokio::time::timeout(HEADER_WITHIN, skip_header(stream)).await {
                        Ok(Ok(stream)) => serve_http1(stream, router).await,
                        Ok(Err(error)) => tracing::debug!(%address, %error, "metrics.bind: no HTTP request"),
                        Err(_) => tracing::debug!(%address, "metrics.bind: no request in time"),
                    }
                });
            }
            Err(error) => back_off("metrics.bind", &error).await,
        }
        while tasks.try_join_next().is_some() {}
    }
}

fn router(backend: Arc<dyn Backend>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(backend)
}

async fn metrics(State(backend): State<Arc<dyn Backend>>) -> Response {
    match backend.metrics().await {
        Ok(text) => (
            [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
            text,
        )
            .into_response(),
        Err(failure) => failure.into_response(),
    }
}

async fn healthz(State(backend): State<Arc<dyn Backend>>) -> Response {
    match tokio::time::timeout(ANSWER_WITHIN, backend.health()).await {
        Ok(Ok(_)) => (StatusCode::OK, "ok\n").into_response(),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "the broker does not answer\n").into_response(),
    }
}

async fn readyz(State(backend): State<Arc<dyn Backend>>) -> Response {
    let answer = tokio::time::timeout(ANSWER_WITHIN, backend.health()).await;
    let Ok(Ok(health)) = answer else {
        return (StatusCode::SERVICE_UNAVAILABLE, "the broker does not answer\n").into_response();
    };
    let status = if health.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (
        status,
        [(header::CONTENT_TYPE, "application/json")],
        serde_json::to_vec(&health).unwrap_or_default(),
    )
        .into_response()
}

/// What the bytes so far are.
#[derive(Debug, PartialEq, Eq)]
enum Start {
    /// A header of this length comes first.
    Header(usize),
    /// None.
    Plain,
    /// More bytes are needed to tell.
    Undecided,
}

fn start(bytes: &[u8]) -> Start {
    let begins = |whole: &[u8]| bytes.iter().zip(whole).all(|(a, b)| a == b);
    if begins(V2_START) {
        return match bytes.get(14..V2_FIXED) {
            Some(&[high, low]) => Start::Header(V2_FIXED + usize::from(u16::from_be_bytes([high, low]))),
            _ => Start::Undecided,
        };
    }
    if !begins(V1_START) {
        return Start::Plain;
    }
    let line = bytes.get(..V1_MAX).unwrap_or(bytes);
    match line.windows(2).position(|two| two == b"\r\n") {
        Some(end) => Start::Header(end + 2),
        None if bytes.len() >= V1_MAX => Start::Plain,
        None => Start::Undecided,
    }
}

/// Reads until it is clear whether a PROXY header comes first, takes it off, and gives a stream of the rest.
async fn skip_header<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
) -> io::Result<impl AsyncRead + AsyncWrite + Unpin> {
    let mut bytes = Vec::new();
    let skip = loop {
        match start(&bytes) {
            Start::Plain => break 0,
            Start::Header(length) if bytes.len() >= length => break length,
            Start::Header(_) | Start::Undecided => {}
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    bytes.drain(..skip);
    let (read, write) = tokio::io::split(stream);
    Ok(tokio::io::join(io::Cursor::new(bytes).chain(read), write))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;

    use super::super::mock::Mock;
    use super::*;

    const V2_LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";
    const V2_TCP4: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\x7f\0\0\x01\x7f\0\0\x01\x00\x01\x00\x02";

    #[test]
    fn one_leading_header_is_told_from_http_at_every_cut() {
        for (bytes, expect) in [
            (&b"GET /readyz"[..], Start::Plain),
            (b"P", Start::Undecided),
            (b"PUT / HTTP/1.1", Start::Plain),
            (b"PROXY UNKNOWN\r\nGET", Start::Header(15)),
            (b"\r\nGET / HTTP/1.1", Start::Plain),
            (V2_LOCAL, Start::Header(16)),
            (V2_TCP4, Start::Header(28)),
            (&[b'P'; 200], Start::Plain),
        ] {
            assert_eq!(start(bytes), expect, "{bytes:?}");
        }
        let endless = [V1_START, &[b'x'; 120]].concat();
        assert_eq!(start(&endless), Start::Plain);
        for header in [&b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n"[..], V2_TCP4] {
            for cut in 0..header.len() {
                assert_ne!(start(&header[..cut]), Start::Plain, "cut {cut}");
            }
        }
    }

    #[test]
    fn checks_answer_with_and_without_a_header() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        for healthy in [true, false] {
            let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            tcp.set_nonblocking(true).unwrap();
            let address = tcp.local_addr().unwrap();
            let guard = runtime.enter();
            let backend = Arc::new(Mock {
                healthy,
                ..Mock::default()
            });
            runtime.spawn(serve(TcpListener::from_std(tcp).unwrap(), backend));
            drop(guard);
            let ready = if healthy {
                "200 OK"
            } else {
                "503 Service Unavailable"
            };
            let body = format!(
                "{{\"ready\":{healthy},\"checks\":{{\"listeners\":\"ok\",\"store\":\"{}\",\"draining\":\"no\"}}}}",
                if healthy { "ok" } else { "loading" }
            );
            for (header, path, status, part) in [
                (&b""[..], "/readyz", ready, body.as_str()),
                (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", "/readyz", ready, &body),
                (V2_LOCAL, "/readyz", ready, &body),
                (V2_TCP4, "/healthz", "200 OK", "ok"),
                (b"", "/metrics", "200 OK", "broker_bans 2"),
                (b"", "/clients", "404 Not Found", ""),
            ] {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                stream.write_all(header).unwrap();
                let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
                stream.write_all(request.as_bytes()).unwrap();
                let mut answer = String::new();
                stream.read_to_string(&mut answer).unwrap();
                assert!(
                    answer.starts_with(&format!("HTTP/1.1 {status}")),
                    "{path}: {answer}"
                );
                assert!(answer.contains(part), "{path}: {answer}");
            }
        }
    }
}
