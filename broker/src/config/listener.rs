//! A listener as the running broker reads it: `[listeners.NAME]` with what it inherits filled in. The address rules
//! are kept as written (`PeernameSettings`); `peer::Policy` is what they mean.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::types::{MqttSettings, de_path_option};
use super::units::{Bind, Limit, de_bind, de_duration, de_size};

/// What a listener speaks below MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// MQTT on TCP.
    Tcp,
    /// MQTT on TLS.
    Tls,
    /// MQTT on WebSocket.
    Ws,
    /// MQTT on WebSocket on TLS.
    Wss,
}

impl Transport {
    /// The value of `transport` that means this.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }

    /// Whether our own TLS is spoken.
    pub const fn is_tls(self) -> bool {
        matches!(self, Self::Tls | Self::Wss)
    }

    /// Whether there is a WebSocket upgrade.
    pub const fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }
}

/// Where the username comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UsernameFrom {
    /// CONNECT.
    Connect,
    /// The common name of the client certificate.
    TlsCn,
    /// Its first DNS name.
    TlsSanDns,
    /// Its first URI.
    TlsSanUri,
}

/// One `[listeners.NAME]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerConfig {
    /// Its name, `[a-z][a-z0-9]*(_[a-z0-9]+)*`.
    pub name: String,
    /// What it speaks.
    pub transport: Transport,
    /// Where.
    #[serde(deserialize_with = "de_bind")]
    pub bind: Bind,
    /// Whether it is started.
    pub enabled: bool,
    /// Connections that the kernel keeps for us.
    pub backlog: u32,
    /// Connections.
    pub max_connections: Limit,
    /// Connections of kind=proxy.
    pub max_connections_proxy: Limit,
    /// Unfinished logins; then the oldest is closed.
    pub max_pending: usize,
    /// From accept to CONNACK.
    #[serde(deserialize_with = "de_duration")]
    pub login_timeout: Duration,
    /// Whether clients without credentials get in here (`auth.allow_anonymous` when inherited).
    pub allow_anonymous: bool,
    /// Where the username comes from.
    pub username_from: UsernameFrom,
    /// Largest HTTP head, in bytes.
    #[serde(deserialize_with = "de_size")]
    pub upgrade_max_bytes: u64,
    /// Most lines of the HTTP head.
    pub upgrade_max_lines: usize,
    /// Who the client is: the keys of peername 3.1.
    pub peername: PeernameSettings,
    /// What those keys mean.
    #[serde(skip, default = "nobody_believed")]
    pub policy: Arc<peer::Policy>,
    /// `[listeners.NAME.tls]`; set on tls and wss.
    pub tls: Option<TlsConfig>,
    /// `[listeners.NAME.websocket]`; set on ws and wss.
    pub websocket: Option<WebSocketConfig>,
    /// `[mqtt]` with `[listeners.NAME.mqtt]` on top.
    pub mqtt: MqttSettings,
}

fn nobody_believed() -> Arc<peer::Policy> {
    Arc::new(peer::Policy::defaults(peer::Transport::Tcp))
}

impl From<Transport> for peer::Transport {
    fn from(transport: Transport) -> Self {
        match transport {
            Transport::Tcp => Self::Tcp,
            Transport::Tls => Self::Tls,
            Transport::Ws => Self::Ws,
            Transport::Wss => Self::Wss,
        }
    }
}

/// The keys of peername 3.1 as written: enumerated values as text, ranges with their `@name`s.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeernameSettings {
    /// off, optional or required.
    pub proxy_protocol: String,
    /// any, v1 or v2.
    pub proxy_versions: String,
    /// Who may send a PROXY header.
    pub trusted_proxies: Vec<String>,
    /// reject or ignore.
    pub untrusted_proxy_header: String,
    /// From accept to the whole header.
    #[serde(deserialize_with = "de_duration")]
    pub proxy_header_timeout: Duration,
    /// Largest v2 header, in bytes.
    pub proxy_header_max: u32,
    /// accept or close.
    pub proxy_local: String,
    /// socket or reject.
    pub proxy_unknown: String,
    /// The client must have used TLS at the proxy.
    pub pp2_require_tls: bool,
    /// And shown a verified certificate.
    pub pp2_require_client_cert: bool,
    /// The common name becomes the username.
    pub pp2_cn_as_username: bool,
    /// Raw TLVs to keep.
    pub pp2_expose_tlvs: Vec<u8>,
    /// Header with the address; empty = off.
    pub address_header: String,
    /// auto, list, single or forwarded.
    pub address_header_kind: String,
    /// Header with the port; empty = off.
    pub port_header: String,
    /// rightmost_untrusted, trusted_hops, leftmost or leftmost_public.
    pub strategy: String,
    /// With trusted_hops: how many.
    pub hops: Option<u8>,
    /// With leftmost: the edge overwrites the header.
    pub edge_overwrites: bool,
    /// Who may send the address header; `None` = trusted_proxies.
    pub header_trusted_proxies: Option<Vec<String>>,
    /// ignore or reject.
    pub untrusted_header: String,
    /// hop or reject.
    pub missing_header: String,
    /// reject or last_trusted.
    pub on_unresolvable: String,
    /// Whether private and loopback claims are checked.
    pub scope_check: bool,
    /// Largest address header, in bytes.
    pub header_max_bytes: u32,
    /// Most elements.
    pub header_max_elements: u32,
}

/// Whether a client certificate is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// No.
    None,
    /// Asked for; one that is shown must be valid.
    Optional,
    /// Needed.
    Require,
}

/// Oldest TLS version served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum TlsVersion {
    /// TLS 1.2
    #[serde(rename = "1.2")]
    V12,
    /// TLS 1.3
    #[serde(rename = "1.3")]
    V13,
}

/// `[listeners.NAME.tls]` and `[admin.tls]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// PEM chain, ours first.
    pub cert_file: PathBuf,
    /// PEM key.
    pub key_file: PathBuf,
    /// PEM certificate authorities of clients.
    #[serde(deserialize_with = "de_path_option")]
    pub client_ca_file: Option<PathBuf>,
    /// PEM revocation lists.
    #[serde(deserialize_with = "de_path_option")]
    pub crl_file: Option<PathBuf>,
    /// Whether a client certificate is asked for.
    pub client_auth: ClientAuth,
    /// Oldest version served.
    pub min_version: TlsVersion,
    /// Time for the handshake.
    #[serde(deserialize_with = "de_duration")]
    pub handshake_timeout: Duration,
    /// Time between two looks at the files.
    #[serde(deserialize_with = "de_duration")]
    pub reload_interval: Duration,
}

/// `[listeners.NAME.websocket]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebSocketConfig {
    /// Path of the request.
    pub path: String,
    /// Subprotocols; the request must offer one [MQTT-6.0.0-3].
    pub subprotocols: Vec<String>,
    /// Values of Origin let in (a missing one always is); empty = any; `@loopback` = any on this machine.
    pub allowed_origins: Vec<String>,
    /// Time for the HTTP head.
    #[serde(deserialize_with = "de_duration")]
    pub upgrade_timeout: Duration,
}
