//! The result: whose connection this is, and what is known about how it came (peername 7).
//! Readable by all, made only by the resolver (and by tests, feature `test-util`).
//! Not here: how it is found (`proxy`, `header`, `outcome`).

use crate::addr::Addr;
use crate::code::{Warnings, codes};
use crate::info::Info;
use crate::steps::{Step, Steps};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// The address that security may use. There is no way from a [`ClaimedAddr`] to it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TrustedPeer(pub(crate) Addr);

/// What a client may have forged; for display only.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClaimedAddr(pub(crate) Addr);

codes! {
    /// What the peername is.
    Kind {
        /// The end of the chain that can be verified.
        Client = "client",
        /// The chain ended at one of our own proxies; the client is unknown.
        Proxy = "proxy",
    }
}

codes! {
    /// Where the peername's address came from; printed as `via`.
    Source {
        /// The accepted socket.
        Socket = "socket",
        /// A PROXY v1 header.
        ProxyV1 = "proxy_v1",
        /// A PROXY v2 header.
        ProxyV2 = "proxy_v2",
        /// The address header.
        Header = "header",
    }
}

codes! {
    /// How a header's elements are read (peername 6.5).
    Strategy {
        /// From the right, the first that is not listed.
        RightmostUntrusted = "rightmost_untrusted",
        /// A fixed number of own proxies.
        TrustedHops = "trusted_hops",
        /// The first element; a claim unless the edge overwrites the header.
        Leftmost = "leftmost",
        /// The first public element, as a claim.
        LeftmostPublic = "leftmost_public",
    }
}

codes! {
    /// What a used PROXY header said.
    Command {
        /// It names a client.
        Proxy = "PROXY",
        /// The proxy speaks for itself (v2).
        Local = "LOCAL",
        /// It names no address that can be used.
        Unknown = "UNKNOWN",
    }
}

codes! {
    /// Address family and transport of a used PROXY header.
    Family {
        /// TCP over IPv4.
        Tcp4 = "tcp4",
        /// UDP over IPv4.
        Udp4 = "udp4",
        /// TCP over IPv6.
        Tcp6 = "tcp6",
        /// UDP over IPv6.
        Udp6 = "udp6",
        /// A unix-domain socket.
        Unix = "unix",
        /// None, or one that is not looked at.
        Unspec = "unspec",
    }
}

/// A PROXY header that was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ProxyUse {
    /// 1 or 2.
    pub version: u8,
    /// What it said.
    pub command: Command,
    /// Which addresses it carried.
    pub family: Family,
}

/// The header element that became the peername.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct HeaderUse {
    /// The field name as configured.
    pub name: Arc<str>,
    /// The listener's strategy.
    pub strategy: Strategy,
    /// Which element, from 0 at the left.
    pub index: u16,
}

/// One proxy passed on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Its address.
    Addr(Addr),
    /// A skipped element that is no address; printed as `?`.
    Unreadable,
}

/// The outcome of the PROXY stage: the hop, and what the header said about it. The header stage goes on
/// from here.
#[derive(Clone, Debug)]
pub struct Hop {
    pub(crate) socket: Addr,
    pub(crate) addr: Addr,
    pub(crate) kind: Kind,
    pub(crate) source: Source,
    pub(crate) warnings: Warnings,
    /// `optional`, and a listed socket came without a header.
    pub(crate) absent: bool,
    pub(crate) proxy: Option<ProxyUse>,
    pub(crate) info: Option<Arc<Info>>,
    pub(crate) steps: Steps,
}

/// Who the client is. About 80 bytes for a client that came straight in; everything that only some
/// connections have is boxed.
#[derive(Clone, Debug)]
pub struct Peer {
    pub(crate) peername: TrustedPeer,
    pub(crate) socket: Addr,
    pub(crate) hop: Addr,
    pub(crate) kind: Kind,
    pub(crate) source: Source,
    pub(crate) warnings: Warnings,
    pub(crate) plain_steps: u8,
    pub(crate) more: Option<Box<More>>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct More {
    pub(crate) header: Option<HeaderUse>,
    pub(crate) proxy: Option<ProxyUse>,
    pub(crate) chain: Box<[Link]>,
    pub(crate) claimed: Option<ClaimedAddr>,
    pub(crate) info: Option<Arc<Info>>,
    pub(crate) steps: Box<[Step]>,
}

impl Hop {
    /// The accepted socket's address.
    pub fn socket(&self) -> Addr {
        self.socket
    }

    /// The address after the PROXY stage: the header's source, else the socket's.
    pub fn addr(&self) -> Addr {
        self.addr
    }

    /// The kind a peername would have that ended here (peername 12: limit B is for `Client` only).
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether the address came from the socket or from a PROXY header.
    pub fn source(&self) -> Source {
        self.source
    }

    /// The header that was used.
    pub fn proxy(&self) -> Option<ProxyUse> {
        self.proxy
    }

    /// What the PROXY stage found noteworthy.
    pub fn warnings(&self) -> Warnings {
        self.warnings
    }

    /// What its TLVs told; `None` if nothing.
    pub fn info(&self) -> Option<&Info> {
        self.info.as_deref()
    }
}

impl Peer {
    /// The address that security may use. A rule that allows by address asks [`Peer::client`] instead.
    pub fn peername(&self) -> TrustedPeer {
        self.peername
    }

    /// The peername if it is a client's; `None` if it is a proxy's and the client is unknown.
    pub fn client(&self) -> Option<&TrustedPeer> {
        (self.kind == Kind::Client).then_some(&self.peername)
    }

    /// What the peername is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The accepted socket's address, as the kernel told it.
    pub fn socket(&self) -> Addr {
        self.socket
    }

    /// The address after the PROXY stage.
    pub fn hop(&self) -> Addr {
        self.hop
    }

    /// Where the peername came from; printed as `via`.
    pub fn source(&self) -> Source {
        self.source
    }

    /// What was noteworthy.
    pub fn warnings(&self) -> Warnings {
        self.warnings
    }

    /// The header element that became the peername; `None` unless the source is the header.
    pub fn header(&self) -> Option<&HeaderUse> {
        self.more.as_ref()?.header.as_ref()
    }

    /// The PROXY header that was used.
    pub fn proxy(&self) -> Option<ProxyUse> {
        self.more.as_ref()?.proxy
    }

    /// The proxies passed, nearest first, without the peername itself.
    pub fn chain(&self) -> &[Link] {
        self.more.as_ref().map_or(&[], |m| &m.chain)
    }

    /// What a left-hand header value claims; for display only.
    pub fn claimed(&self) -> Option<ClaimedAddr> {
        self.more.as_ref()?.claimed
    }

    /// TLV facts; `None` if there are none.
    pub fn info(&self) -> Option<&Info> {
        self.more.as_ref()?.info.as_deref()
    }

    /// The username that pp2_cn_as_username took from a verified certificate; it replaces CONNECT's.
    pub fn username(&self) -> Option<&str> {
        self.info()?.username.as_deref()
    }

    /// How it was found, for `explain`.
    pub fn steps(&self) -> Vec<Step> {
        let listed = self.more.as_ref().map_or(&[][..], |m| &m.steps);
        Steps::plain(self.plain_steps)
            .chain(listed.iter().cloned())
            .collect()
    }
}

impl TrustedPeer {
    /// Address and port.
    pub fn addr(&self) -> Addr {
        self.0
    }

    /// The IP address; `None` for a unix-domain peer.
    pub fn ip(&self) -> Option<IpAddr> {
        self.0.ip()
    }

    /// The port; 0 if it is not known.
    pub fn port(&self) -> u16 {
        self.0.port()
    }
}

impl ClaimedAddr {
    /// The IP address, to be shown.
    pub fn ip(&self) -> Option<IpAddr> {
        self.0.ip()
    }

    /// The port, to be shown; 0 if it is not known.
    pub fn port(&self) -> u16 {
        self.0.port()
    }
}

/// `Display`, `Debug` and JSON of a newtype are those of its address.
macro_rules! shown_as_addr {
    ($($name:ident),+) => { $(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(&self.0)
            }
        }
    )+ };
}
shown_as_addr!(TrustedPeer, ClaimedAddr);

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addr(addr) => addr.fmt(f),
            Self::Unreadable => f.write_str("?"),
        }
    }
}

impl serde::Serialize for Link {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_client_is_small() {
        assert!(size_of::<Peer>() <= 80, "{}", size_of::<Peer>());
    }
}
