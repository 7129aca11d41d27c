//! A small HTTP/1.1 client for the services that authentication asks: plain or TLS, time-limited, never blocking.
//!
//! What does not live here: what is asked (`http`, `keys`).

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;

use crate::ctl::client::tls_config;

/// Longest answer that is read, in bytes.
const ANSWER_MAX: usize = 1 << 20;

/// Why there is no answer.
#[derive(Debug)]
pub enum WebError {
    /// Not in time.
    TimedOut,
    /// Nobody there, or no TLS with it.
    Connect(std::io::Error),
    /// The connection broke, or what came is no HTTP.
    Broken(String),
    /// What was to be sent is no HTTP: a header made of what the client says.
    Request(String),
}

impl std::fmt::Display for WebError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Connect(error) => write!(f, "cannot connect: {error}"),
            Self::Broken(problem) => f.write_str(problem),
            Self::Request(problem) => write!(f, "no request can be made of that: {problem}"),
        }
    }
}

impl std::error::Error for WebError {}

/// A request ready to go.
pub type Asked = Request<Full<Bytes>>;

/// Scheme, host and port of a URL.
pub struct Site {
    host: String,
    port: u16,
    authority: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl std::fmt::Debug for Site {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Site({})", self.authority)
    }
}

impl Site {
    /// The site of a URL, and its path with the query. `ca` is a PEM file with the authorities to trust for `https`;
    /// the system's by default.
    ///
    /// # Errors
    /// What is wrong with the URL or the file.
    pub fn of_url(url: &str, ca: Option<&Path>) -> Result<(Self, String), String> {
        let (tls, rest) = match url.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            _ => return Err(format!("{url}: no http:// or https:// URL")),
        };
        let path_at = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(path_at);
        let path = if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/{path}")
        };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (
                host,
                port.parse().map_err(|_| format!("{url}: `{port}` is no port"))?,
            ),
            _ => (authority, if tls { 443 } else { 80 }),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() || host.contains(['@', '$', '#']) {
            return Err(format!("{url}: no host"));
        }
        let tls = if tls {
            let config = tls_config(ca).map_err(|error| format!("{url}: {error}"))?;
            let name = ServerName::try_from(host.clone()).map_err(|error| format!("{url}: {error}"))?;
            Some((TlsConnector::from(config), name))
        } else {
            None
        };
        let site = Self {
            host,
            port,
            authority: authority.to_owned(),
            tls,
        };
        Ok((site, path))
    }

    /// A request of this site.
    pub fn request(&self, method: &str, path: &str) -> hyper::http::request::Builder {
        Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.authority)
    }

    /// A `GET` that wants JSON.
    ///
    /// # Errors
    /// [`WebError::Request`]
    pub fn get(&self, path: &str) -> Result<Asked, WebError> {
        let request = self
            .request("GET", path)
            .header(header::ACCEPT, "application/json");
        let request = request.body(Full::default());
        request.map_err(|error| WebError::Request(error.to_string()))
    }

    /// Connects within `patience`.
    ///
    /// # Errors
    /// [`WebError::TimedOut`], [`WebError::Connect`], [`WebError::Broken`]
    pub async fn connect(&self, patience: Duration) -> Result<Connection, WebError> {
        let connection = tokio::time::timeout(patience, Box::pin(self.open()));
        connection.await.unwrap_or(Err(WebError::TimedOut))
    }

    async fn open(&self) -> Result<Connection, WebError> {
        let stream = TcpStream::connect((self.host.as_str(), self.port))
            .await
            .map_err(WebError::Connect)?;
        // A request is one small write.
        stream.set_nodelay(true).map_err(WebError::Connect)?;
        match &self.tls {
            None => Connection::over(stream).await,
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), stream).await;
                Connection::over(stream.map_err(WebError::Connect)?).await
            }
        }
    }
}

/// An open connection, for one request after the other.
#[derive(Debug)]
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
}

impl Connection {
    async fn over<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S) -> Result<Self, WebError> {
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (sender, driver) = handshake.map_err(|error| WebError::Broken(error.to_string()))?;
        // It ends with the last sender; its errors reach who asks.
        tokio::spawn(driver);
        Ok(Self { sender })
    }

    /// Whether another request may go over it.
    pub fn is_open(&self) -> bool {
        self.sender.is_ready() && !self.sender.is_closed()
    }

    /// Sends a request; status and body of the answer.
    ///
    /// # Errors
    /// [`WebError::Broken`]
    pub async fn ask(&mut self, request: Asked) -> Result<(u16, Bytes), WebError> {
        let broken = |error: &dyn std::fmt::Display| WebError::Broken(error.to_string());
        self.sender.ready().await.map_err(|error| broken(&error))?;
        let response = self.sender.send_request(request).await;
        let response = response.map_err(|error| broken(&error))?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
        let body = body.map_err(|error| broken(&error))?.to_bytes();
        Ok((status, body))
    }
}

/// Connections to one site: so many at most, kept open between requests.
#[derive(Debug)]
pub struct Pool {
    site: Site,
    connect_timeout: Duration,
    idle: Mutex<Vec<Connection>>,
    turns: Semaphore,
}

impl Pool {
    /// Of up to `size` connections.
    pub fn new(site: Site, size: usize, connect_timeout: Duration) -> Self {
        Self {
            site,
            connect_timeout,
            idle: Mutex::default(),
            turns: Semaphore::new(size.max(1)),
        }
    }

    /// Where it goes.
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// Asks within `patience`, waiting for a connection included.
    ///
    /// # Errors
    /// Any of [`WebError`].
    pub async fn ask(&self, request: Asked, patience: Duration) -> Result<(u16, Bytes), WebError> {
        let answer = tokio::time::timeout(patience, Box::pin(self.ask_now(request)));
        answer.await.unwrap_or(Err(WebError::TimedOut))
    }

    async fn ask_now(&self, request: Asked) -> Result<(u16, Bytes), WebError> {
        let turn = self.turns.acquire().await;
        let _turn = turn.map_err(|error| WebError::Broken(error.to_string()))?;
        if let Some(mut connection) = self.idle_one() {
            // The other side may have closed it just now: then a new one asks again.
            if let Ok(answer) = connection.ask(request.clone()).await {
                self.keep(connection);
                return Ok(answer);
            }
        }
        let mut connection = self.site.connect(self.connect_timeout).await?;
        let answer = connection.ask(request).await?;
        self.keep(connection);
        Ok(answer)
    }

    fn idle_one(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(connection) = idle.pop() {
            if connection.is_open() {
                return Some(connection);
            }
        }
        None
    }

    /// At most as many as there are turns are ever open.
    fn keep(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(connection);
    }
}
