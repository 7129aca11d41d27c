//! What a listener is told to be: address, transport, limits and deadlines, as meant (the broker's
//! configuration checks what was written). What does not live here: the rules about addresses
//! (`peer::Policy`), certificates (`tls`).

use crate::tls::TlsSettings;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// Where a listener listens.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Bind {
    /// `0.0.0.0:1883`; `[::]:1883` takes IPv4 as well.
    Tcp(SocketAddr),
    /// `unix:/path`.
    Unix(PathBuf),
}

/// The text is no address to bind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BindError(String);

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is no address: write IP:PORT, [IPV6]:PORT or unix:/PATH",
            self.0.escape_debug()
        )
    }
}

impl std::error::Error for BindError {}

impl FromStr for Bind {
    type Err = BindError;

    fn from_str(text: &str) -> Result<Self, BindError> {
        match text.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            Some(_) => Err(BindError(text.to_owned())),
            None => text
                .parse()
                .map(Self::Tcp)
                .map_err(|_| BindError(text.to_owned())),
        }
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What is spoken below MQTT.
pub use peer::Transport as TransportKind;

/// TLS is ended on such a listener.
pub(crate) fn has_tls(kind: TransportKind) -> bool {
    matches!(kind, TransportKind::Tls | TransportKind::Wss)
}

/// An HTTP upgrade comes first on such a listener.
pub(crate) fn has_ws(kind: TransportKind) -> bool {
    matches!(kind, TransportKind::Ws | TransportKind::Wss)
}

/// The application protocols offered in TLS.
pub(crate) fn alpn(kind: TransportKind) -> &'static [&'static str] {
    if has_ws(kind) { &["http/1.1"] } else { &["mqtt"] }
}

/// The WebSocket upgrade of a listener.
#[derive(Clone, Debug)]
pub struct WsSettings {
    /// The one path; a query is not looked at.
    pub path: String,
    /// Subprotocols of which the request must offer one.
    pub subprotocols: Vec<String>,
    /// Origins of web pages that may connect; empty = any.
    pub allowed_origins: Vec<String>,
    /// Local mode: a web page must come from this machine.
    pub loopback_origin_only: bool,
    /// Largest HTTP head in bytes.
    pub upgrade_max_bytes: usize,
    /// Most field lines in the head.
    pub upgrade_max_lines: usize,
    /// From the step before to the whole head.
    pub upgrade_timeout: Duration,
}

impl Default for WsSettings {
    fn default() -> Self {
        Self {
            path: "/mqtt".to_owned(),
            subprotocols: vec!["mqtt".to_owned(), "mqttv3.1".to_owned()],
            allowed_origins: Vec::new(),
            loopback_origin_only: false,
            upgrade_max_bytes: 16 * 1024,
            upgrade_max_lines: 100,
            upgrade_timeout: Duration::from_secs(10),
        }
    }
}

/// A listener as meant. A change meets connections accepted after it.
#[derive(Clone, Debug)]
pub struct ListenerSpec {
    /// The name in the configuration.
    pub name: Arc<str>,
    /// Where it listens.
    pub bind: Bind,
    /// Connections the kernel keeps for us before we accept them.
    pub backlog: u32,
    /// Whom to believe about the client's address.
    pub policy: Arc<peer::Policy>,
    /// Certificates; present exactly for tls and wss.
    pub tls: Option<Arc<TlsSettings>>,
    /// The upgrade; of use for ws and wss only.
    pub ws: WsSettings,
    /// From accept to CONNACK, in all.
    pub login_timeout: Duration,
    /// From the step before to a whole CONNECT.
    pub connect_timeout: Duration,
    /// From the step before to the end of the TLS handshake.
    pub handshake_timeout: Duration,
    /// Most connections; `None` = unlimited.
    pub max_connections: Option<u32>,
    /// Most connections of kind=proxy, which quotas exempt; `None` = unlimited.
    pub max_connections_proxy: Option<u32>,
    /// Most unfinished logins; beyond it the oldest of them is closed.
    pub max_pending: u32,
}

impl ListenerSpec {
    /// A listener with the default limits; tls and wss need [`ListenerSpec::tls`] set.
    pub fn new(name: &str, bind: Bind, policy: Arc<peer::Policy>) -> Self {
        Self {
            name: name.into(),
            bind,
            backlog: 1024,
            policy,
            tls: None,
            ws: WsSettings::default(),
            login_timeout: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(10),
            max_connections: None,
            max_connections_proxy: None,
            max_pending: 10_000,
        }
    }

    /// What is spoken below MQTT.
    pub fn kind(&self) -> TransportKind {
        self.policy.transport()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, shown: Option<&str>) {
        let parsed = text.parse::<Bind>().ok().map(|b| b.to_string());
        assert_eq!(parsed.as_deref(), shown);
    }

    #[test]
    fn binds() {
        check("0.0.0.0:1883", Some("0.0.0.0:1883"));
        check("[::]:1883", Some("[::]:1883"));
        check("unix:/run/b.sock", Some("unix:/run/b.sock"));
        check("unix:b.sock", None);
        check("1883", None);
        check("localhost:1883", None);
        check("", None);
    }
}
