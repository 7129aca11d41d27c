//! Who asks and what for: the facts that a rule may look at, and nothing else (never `claimed`).

use std::borrow::Cow;

use peer::{Addr, Kind, Peer, Source};

use crate::raw::{ActionKind, FlagKey, Placeholder, TextKey};

/// Where the client's TLS ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TlsBy {
    /// No TLS that we know of.
    Nobody,
    /// At a trusted proxy, which says so in its header.
    Proxy,
    /// At this broker.
    Broker,
}

/// A cloud provider's id of the endpoint that the client came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint<'a> {
    /// AWS.
    Name(&'a str),
    /// Azure, GCP.
    Number(u64),
}

/// What is known about a client. `None` and the empty string are both "the client does not have it".
///
/// Decisions are made for a [`Subject`], whose address facts come from a resolved [`Peer`]; facts made by hand
/// only answer questions ("what if": [`Policy::explain`](crate::Policy::explain)).
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The peername.
    pub ip: Option<Addr>,
    /// The accepted socket's peer.
    pub socket: Option<Addr>,
    /// Whether the peername is the client or one of our proxies.
    pub kind: Kind,
    /// Where the peername came from.
    pub via: Option<Source>,
    /// Listener name.
    pub listener: Option<&'a str>,
    /// Client id.
    pub client_id: Option<&'a str>,
    /// Username.
    pub username: Option<&'a str>,
    /// Common name of the client's certificate: own TLS, or the proxy's with `pp2_cn_as_username`.
    pub cn: Option<&'a str>,
    /// Subject alternative names of the client's certificate.
    pub san: &'a [String],
    /// Server name asked for: own TLS, or the authority TLV of a trusted sender.
    pub sni: Option<&'a str>,
    /// Cloud endpoint id of a trusted sender.
    pub vpce: Option<Endpoint<'a>>,
    /// Whether the name was verified; `None` = not known.
    pub auth: Option<bool>,
    /// Where TLS ends; `None` = not known.
    pub tls: Option<TlsBy>,
}

impl Default for Facts<'_> {
    fn default() -> Self {
        Self {
            ip: None,
            socket: None,
            kind: Kind::Client,
            via: None,
            listener: None,
            client_id: None,
            username: None,
            cn: None,
            san: &[],
            sni: None,
            vpce: None,
            auth: None,
            tls: None,
        }
    }
}

impl<'a> Facts<'a> {
    /// The text of a term; `None` if the client has none. `San` has several: see `san`.
    pub(crate) fn text(&self, key: TextKey) -> Option<Cow<'a, str>> {
        let text = match key {
            TextKey::User => self.username,
            TextKey::Client => self.client_id,
            TextKey::Listener => self.listener,
            TextKey::Cn => self.cn,
            TextKey::Sni => self.sni,
            TextKey::San => self.san.first().map(String::as_str),
            TextKey::Vpce => match self.vpce? {
                Endpoint::Name(name) => Some(name),
                Endpoint::Number(number) => return Some(Cow::Owned(number.to_string())),
            },
        };
        text.filter(|t| !t.is_empty()).map(Cow::Borrowed)
    }

    /// The bit of a property in the order of [`FlagKey::words`]; `None` if it is not known.
    pub(crate) fn flag(&self, key: FlagKey) -> Option<u8> {
        Some(match key {
            FlagKey::Kind => match self.kind {
                Kind::Client => 0,
                Kind::Proxy => 1,
            },
            FlagKey::Via => match self.via? {
                Source::Socket => 0,
                Source::ProxyV1 => 1,
                Source::ProxyV2 => 2,
                Source::Header => 3,
            },
            FlagKey::Auth => u8::from(self.auth?),
            FlagKey::Tls => match self.tls? {
                TlsBy::Nobody => 0,
                TlsBy::Proxy => 1,
                TlsBy::Broker => 2,
            },
        })
    }

    /// The value of a placeholder, if it may stand for a whole level: not empty, without `/ + #`, and the
    /// address only of a client (CVE-2017-7650).
    pub(crate) fn hole(&self, hole: Placeholder) -> Option<Cow<'a, str>> {
        let value = match hole {
            Placeholder::ClientId => self.text(TextKey::Client)?,
            Placeholder::Username => self.text(TextKey::User)?,
            Placeholder::Cn => self.text(TextKey::Cn)?,
            Placeholder::Listener => self.text(TextKey::Listener)?,
            Placeholder::PeerHost => match (self.kind, self.ip) {
                (Kind::Client, Some(addr)) => Cow::Owned(addr.host_text().to_string()),
                _ => return None,
            },
        };
        (!value.contains(['/', '+', '#'])).then_some(value)
    }
}

/// A client of this broker: its address facts come from its resolved [`Peer`].
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a>(Facts<'a>);

impl<'a> Subject<'a> {
    /// What is known before CONNECT: the peer with what its trusted proxy told, and the listener's name.
    pub fn new(peer: &'a Peer, listener: &'a str) -> Self {
        let info = peer.info();
        let by_proxy = info.is_some_and(|i| i.ssl.as_ref().is_some_and(|ssl| ssl.client_tls));
        let vpce = info.and_then(|i| {
            i.aws_vpce_id
                .as_deref()
                .map(Endpoint::Name)
                .or(i.azure_link_id.map(|id| Endpoint::Number(id.into())))
                .or(i.gcp_psc_connection_id.map(Endpoint::Number))
        });
        Self(Facts {
            ip: Some(peer.peername().addr()),
            socket: Some(peer.socket()),
            kind: peer.kind(),
            via: Some(peer.source()),
            listener: Some(listener),
            cn: info.and_then(|i| i.username.as_deref()),
            sni: info.and_then(|i| i.authority.as_deref()),
            vpce,
            auth: Some(false),
            tls: Some(if by_proxy { TlsBy::Proxy } else { TlsBy::Nobody }),
            ..Facts::default()
        })
    }

    /// Own TLS, which goes before anything a proxy said.
    #[must_use]
    pub fn with_tls(mut self, sni: Option<&'a str>, cn: Option<&'a str>, san: &'a [String]) -> Self {
        self.0.tls = Some(TlsBy::Broker);
        self.0.sni = sni.or(self.0.sni);
        self.0.cn = cn.or(self.0.cn);
        self.0.san = san;
        self
    }

    /// What CONNECT says, and whether the name was verified.
    #[must_use]
    pub fn with_client(mut self, client_id: &'a str, username: Option<&'a str>, authenticated: bool) -> Self {
        self.0.client_id = Some(client_id);
        self.0.username = username;
        self.0.auth = Some(authenticated);
        self
    }

    /// The facts.
    pub fn facts(&self) -> &Facts<'a> {
        &self.0
    }
}

/// What is asked for. Topics and filters are valid ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action<'a> {
    /// To be here.
    Connect,
    /// To send; a will is asked for like a publish.
    Publish {
        /// The topic, after rewriting; of `$delayed/N/topic` the topic.
        topic: &'a str,
        /// 0, 1 or 2.
        qos: u8,
        /// The retain flag.
        retain: bool,
    },
    /// To receive.
    Subscribe {
        /// The filter, after rewriting; of `$share/GROUP/filter` the filter.
        filter: &'a str,
        /// 0, 1 or 2.
        qos: u8,
        /// Whether it came as `$share/...`.
        shared: bool,
    },
}

impl<'a> Action<'a> {
    /// A subscription as it came from the client: the inner filter of a shared one is asked about.
    pub fn subscribe(filter: &'a str, qos: u8) -> Self {
        let inner = filter
            .strip_prefix("$share/")
            .and_then(|rest| rest.split_once('/'));
        match inner {
            Some((_, filter)) => Self::Subscribe {
                filter,
                qos,
                shared: true,
            },
            None => Self::Subscribe {
                filter,
                qos,
                shared: false,
            },
        }
    }

    /// Which rules are asked.
    pub fn kind(&self) -> ActionKind {
        match self {
            Self::Connect => ActionKind::Connect,
            Self::Publish { .. } => ActionKind::Publish,
            Self::Subscribe { .. } => ActionKind::Subscribe,
        }
    }
}
