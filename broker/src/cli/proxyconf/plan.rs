//! What a proxy is to do for a listener, read from the listener's settings.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use peer::TrustSet;

use crate::config::{Bind, Config, ListenerConfig};

/// How the proxy names the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// A PROXY header before the bytes, which are passed on as they are.
    Proxy,
    /// A field of the WebSocket upgrade request.
    Header,
}

/// How the address header is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderKind {
    /// One address.
    Plain,
    /// RFC 7239.
    Forwarded,
}

/// The task.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// The listener.
    pub(super) name: String,
    /// How clients are named.
    pub(super) way: Way,
    /// `v1`, `v2`, `any`.
    pub(super) versions: String,
    /// The proxy must end TLS and ask for a client certificate: TLV facts are required.
    pub(super) client_tls: Option<Certificates>,
    /// The broker's side speaks TLS itself (wss behind an HTTP proxy).
    pub(super) tls_to_broker: bool,
    /// The field with the address, and how it is written.
    pub(super) address_header: String,
    pub(super) header_kind: HeaderKind,
    /// The field with the port, if one is read.
    pub(super) port_header: Option<String>,
    /// The WebSocket path.
    pub(super) path: String,
    /// Where the proxy listens.
    pub(super) listen: SocketAddr,
    /// Where it reaches the broker.
    pub(super) backend: SocketAddr,
    /// Port of `metrics.bind`, for checks.
    pub(super) health_port: Option<u16>,
    key: &'static str,
    trusted: Vec<String>,
    ranges: TrustSet,
}

/// What the listener wants to know of the client's TLS at the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Certificates {
    /// TLS is enough.
    None,
    /// A certificate if there is one.
    Optional,
    /// A certificate always.
    Required,
}

impl Plan {
    /// Reads the listener; the error says which setting is missing.
    pub(super) fn new(
        config: &Config,
        name: &str,
        listen: Option<SocketAddr>,
        backend: Option<SocketAddr>,
    ) -> Result<Self, String> {
        let listener = config.listeners.iter().find(|listener| listener.name == name);
        let listener = listener.ok_or_else(|| format!("there is no listener {name}"))?;
        let settings = &listener.peername;
        let way = if settings.proxy_protocol != "off" {
            Way::Proxy
        } else if settings.address_header.is_empty() {
            let header = if listener.transport.is_websocket() {
                " or address_header"
            } else {
                ""
            };
            return Err(format!(
                "listeners.{name} takes no client address from anyone, behind a proxy all clients would have the \
                 proxy's; set proxy_protocol=\"required\"{header}, and trusted_proxies"
            ));
        } else {
            Way::Header
        };
        let (key, trusted) = match (way, &settings.header_trusted_proxies) {
            (Way::Header, Some(list)) => ("header_trusted_proxies", list),
            _ => ("trusted_proxies", &settings.trusted_proxies),
        };
        let resolve =
            |entry: &String| match entry.strip_prefix('@').and_then(|name| config.networks.get(name)) {
                Some(ranges) => ranges.clone(),
                None => vec![entry.clone()],
            };
        let ranges: Vec<String> = trusted.iter().flat_map(resolve).collect();
        Ok(Self {
            name: name.to_owned(),
            way,
            versions: settings.proxy_versions.clone(),
            client_tls: certificates(listener),
            tls_to_broker: listener.transport.is_tls() && way == Way::Header,
            address_header: settings.address_header.clone(),
            header_kind: header_kind(listener),
            port_header: Some(settings.port_header.clone()).filter(|field| !field.is_empty()),
            path: listener
                .websocket
                .as_ref()
                .map_or_else(|| "/mqtt".to_owned(), |ws| ws.path.clone()),
            listen: listen.unwrap_or_else(|| default_listen(listener)),
            backend: match backend {
                Some(backend) => backend,
                None => default_backend(listener)?,
            },
            health_port: config
                .metrics
                .bind
                .map(|bind| bind.port())
                .filter(|port| *port != 0),
            key,
            trusted: trusted.clone(),
            ranges: TrustSet::parse(ranges).unwrap_or_default(),
        })
    }

    /// What the broker has to know: comment lines that all four formats understand.
    pub(super) fn trust(&self) -> String {
        let mut text = format!(
            "\n# broker, [listeners.{}]: the address this proxy connects from is listed in\n",
            self.name
        );
        let list: Vec<String> = self.trusted.iter().map(|entry| format!("\"{entry}\"")).collect();
        let _ = writeln!(text, "#   {} = [{}]", self.key, list.join(", "));
        let named: Vec<&str> = self.ranges.written().collect();
        if self.trusted.iter().any(|entry| entry.starts_with('@')) {
            let _ = writeln!(text, "#   which is {}", named.join(", "));
        }
        let own = SocketAddr::new(self.backend.ip(), 0);
        if self.backend.ip().is_loopback() && self.ranges.gate(&own.into()).is_none() {
            let _ = writeln!(
                text,
                "# add \"{}\": to a broker on its own machine this proxy comes from there",
                own.ip()
            );
        }
        text.push_str("# and nothing else may reach that port.\n");
        text
    }

    /// `host:port` of the backend's check port.
    pub(super) fn listen_port(&self) -> String {
        match self.listen.ip() {
            ip if ip.is_unspecified() => self.listen.port().to_string(),
            _ => self.listen.to_string(),
        }
    }
}

fn header_kind(listener: &ListenerConfig) -> HeaderKind {
    let settings = &listener.peername;
    let by_name =
        settings.address_header_kind == "auto" && settings.address_header.eq_ignore_ascii_case("forwarded");
    if by_name || settings.address_header_kind == "forwarded" {
        HeaderKind::Forwarded
    } else {
        HeaderKind::Plain
    }
}

fn certificates(listener: &ListenerConfig) -> Option<Certificates> {
    let settings = &listener.peername;
    if settings.pp2_require_client_cert {
        Some(Certificates::Required)
    } else if settings.pp2_cn_as_username {
        Some(Certificates::Optional)
    } else {
        settings.pp2_require_tls.then_some(Certificates::None)
    }
}

/// All addresses, and the port that clients of this kind expect.
fn default_listen(listener: &ListenerConfig) -> SocketAddr {
    let tls_here = listener.transport.is_tls() || certificates(listener).is_some();
    let port = match (listener.transport.is_websocket(), tls_here) {
        (false, false) => 1883,
        (false, true) => 8883,
        (true, false) => 8083,
        (true, true) => 8084,
    };
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)
}

/// The listener's own address; an unspecified one as loopback.
fn default_backend(listener: &ListenerConfig) -> Result<SocketAddr, String> {
    match &listener.bind {
        Bind::Tcp(address) => {
            let ip = match address.ip() {
                IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
                IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
                ip => ip,
            };
            Ok(SocketAddr::new(ip, address.port()))
        }
        Bind::Unix(_) => Err(format!(
            "listeners.{} is a unix socket: say --backend ADDR",
            listener.name
        )),
    }
}
