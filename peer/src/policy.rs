//! A listener's keys as meant (peername 3.1). A `Policy` that exists has no errors of peername 3.4.
//! Not here: the keys as written (`raw`), what is checked about them (`check`).

mod check;
mod raw;
#[cfg(test)]
mod tests;

pub use check::{ConfigCode, Problem};
pub use raw::{Checked, KEYS, RawPolicy, Value};

use crate::addr::Addr;
use crate::code::codes;
use crate::peer::{Kind, Strategy};
use crate::trust::TrustSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

codes! {
    /// The transports of a listener.
    Transport {
        /// MQTT over TCP.
        Tcp = "tcp",
        /// MQTT over TLS.
        Tls = "tls",
        /// MQTT over WebSocket.
        Ws = "ws",
        /// MQTT over WebSocket over TLS.
        Wss = "wss",
    }
}

codes! {
    /// proxy_protocol.
    ProxyMode {
        /// No header is expected.
        Off = "off",
        /// Listed sockets may send one.
        Optional = "optional",
        /// Every connection starts with one.
        Required = "required",
    }
}

codes! {
    /// proxy_versions.
    ProxyVersions {
        /// Both.
        Any = "any",
        /// Version 1 only.
        V1 = "v1",
        /// Version 2 only.
        V2 = "v2",
    }
}

codes! {
    /// address_header_kind, where `auto` has been decided by the field's name.
    HeaderKind {
        /// Comma-separated addresses over one or more lines.
        List = "list",
        /// One address in one line.
        Single = "single",
        /// RFC 7239.
        Forwarded = "forwarded",
    }
}

/// Everything that decides about a connection's address on one listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub(crate) transport: Transport,
    pub(crate) proxy: ProxyPolicy,
    /// `None`: the header stage is off (no address_header, or no HTTP on this listener).
    pub(crate) header: Option<HeaderPolicy>,
    pub(crate) scope_check: bool,
}

/// The PROXY stage's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProxyPolicy {
    pub(crate) mode: ProxyMode,
    pub(crate) versions: ProxyVersions,
    pub(crate) trusted: TrustSet,
    pub(crate) ignore_untrusted: bool,
    pub(crate) timeout: Duration,
    /// Bytes of a whole v2 header.
    pub(crate) header_max: usize,
    pub(crate) close_local: bool,
    pub(crate) reject_unknown: bool,
    pub(crate) require_tls: bool,
    pub(crate) require_client_cert: bool,
    pub(crate) cn_as_username: bool,
    pub(crate) expose: TypeSet,
}

/// The header stage's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeaderPolicy {
    pub(crate) name: Arc<str>,
    pub(crate) kind: HeaderKind,
    pub(crate) port_name: Option<Arc<str>>,
    pub(crate) strategy: Strategy,
    /// Own proxies including the hop; 0 unless the strategy is trusted_hops.
    pub(crate) hops: u8,
    pub(crate) edge_overwrites: bool,
    pub(crate) trusted: TrustSet,
    pub(crate) reject_untrusted: bool,
    pub(crate) reject_missing: bool,
    pub(crate) keep_last_trusted: bool,
    pub(crate) bytes_max: usize,
    pub(crate) elements_max: usize,
}

/// A set of TLV types.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct TypeSet([u64; 4]);

impl TypeSet {
    pub(crate) fn insert(&mut self, kind: u8) {
        if let Some(word) = self.0.get_mut(usize::from(kind >> 6)) {
            *word |= 1 << (kind & 63);
        }
    }

    pub(crate) fn contains(self, kind: u8) -> bool {
        self.0
            .get(usize::from(kind >> 6))
            .is_some_and(|word| word & (1 << (kind & 63)) != 0)
    }
}

impl fmt::Debug for TypeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries((0..=255).filter(|kind| self.contains(*kind)))
            .finish()
    }
}

impl Policy {
    /// The policy of a listener with no key set: nobody is believed, the socket is the client.
    pub fn defaults(transport: Transport) -> Self {
        let checked = RawPolicy::default().check(transport, &|_| None);
        checked
            .policy
            .unwrap_or_else(|| unreachable!("no key is set, so none is wrong"))
    }

    /// The listener's transport.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// proxy_protocol.
    pub fn proxy_mode(&self) -> ProxyMode {
        self.proxy.mode
    }

    /// trusted_proxies.
    pub fn trusted_proxies(&self) -> &TrustSet {
        &self.proxy.trusted
    }

    /// How long after accept the PROXY header may take; the deadline is one instant.
    pub fn proxy_header_timeout(&self) -> Duration {
        self.proxy.timeout
    }

    /// Whether the header stage is on: a ws or wss listener with an address_header.
    pub fn header_stage(&self) -> bool {
        self.header.is_some()
    }

    /// address_header as configured; empty if the header stage is off.
    pub fn address_header(&self) -> &str {
        self.header.as_ref().map_or("", |h| &h.name)
    }

    /// port_header as configured; empty if none is used.
    pub fn port_header(&self) -> &str {
        self.header
            .as_ref()
            .and_then(|h| h.port_name.as_deref())
            .unwrap_or("")
    }

    /// header_trusted_proxies, if the header stage is on.
    pub fn header_trusted_proxies(&self) -> Option<&TrustSet> {
        self.header.as_ref().map(|h| &h.trusted)
    }

    /// Whether the address is listed, wildcards left out, in a list that is in use: such a socket is
    /// exempt from limit A (peername 12), such a peername is a proxy (peername 7.2).
    pub fn is_listed(&self, addr: &Addr) -> bool {
        let by_proxy = self.proxy.mode != ProxyMode::Off && self.proxy.trusted.contains(addr).is_some();
        by_proxy
            || self
                .header
                .as_ref()
                .is_some_and(|h| h.trusted.contains(addr).is_some())
    }

    /// The kind of a peername that is `addr`, as far as the lists say.
    pub(crate) fn listed_kind(&self, addr: &Addr) -> Kind {
        if self.is_listed(addr) {
            Kind::Proxy
        } else {
            Kind::Client
        }
    }
}
