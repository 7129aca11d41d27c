//! Peers for the tests of other crates (feature `test-util`); the broker itself gets them from the resolver.

use crate::addr::Addr;
use crate::code::{Warning, Warnings};
use crate::info::Info;
use crate::peer::{ClaimedAddr, HeaderUse, Kind, Link, More, Peer, ProxyUse, Source, TrustedPeer};
use std::sync::Arc;

/// Makes a [`Peer`] of any shape. Addresses are text (`ip:port`, `unix`); a text that is no address panics.
#[derive(Clone, Debug)]
pub struct PeerBuilder {
    peer: Peer,
    more: More,
}

impl Peer {
    /// A client that came straight in: socket, hop and peername are the same.
    pub fn test_client(addr: &str) -> Self {
        PeerBuilder::new(addr).build()
    }
}

impl PeerBuilder {
    /// Starts from a client that came straight in.
    pub fn new(addr: &str) -> Self {
        let addr = parse(addr);
        let peer = Peer {
            peername: TrustedPeer(addr),
            socket: addr,
            hop: addr,
            kind: Kind::Client,
            source: Source::Socket,
            warnings: Warnings::default(),
            plain_steps: 0,
            more: None,
        };
        Self {
            peer,
            more: More::default(),
        }
    }

    /// Behind a proxy: socket and hop are `socket`, the chain is that socket, the source is `via`.
    #[must_use]
    pub fn behind(mut self, socket: &str, via: Source) -> Self {
        let socket = parse(socket);
        self.peer.socket = socket;
        self.peer.hop = if via == Source::Header {
            socket
        } else {
            self.peer.peername.0
        };
        self.peer.source = via;
        self.more.chain = Box::new([Link::Addr(socket)]);
        self
    }

    /// Sets the hop.
    #[must_use]
    pub fn hop(mut self, hop: &str) -> Self {
        self.peer.hop = parse(hop);
        self
    }

    /// Sets the kind.
    #[must_use]
    pub fn kind(mut self, kind: Kind) -> Self {
        self.peer.kind = kind;
        self
    }

    /// Sets the chain.
    #[must_use]
    pub fn chain(mut self, chain: &[&str]) -> Self {
        self.more.chain = chain.iter().map(|a| Link::Addr(parse(a))).collect();
        self
    }

    /// Sets the claim.
    #[must_use]
    pub fn claimed(mut self, claimed: &str) -> Self {
        self.more.claimed = Some(ClaimedAddr(parse(claimed)));
        self
    }

    /// Sets the header element.
    #[must_use]
    pub fn header(mut self, header: HeaderUse) -> Self {
        self.more.header = Some(header);
        self
    }

    /// Sets the PROXY header.
    #[must_use]
    pub fn proxy(mut self, proxy: ProxyUse) -> Self {
        self.more.proxy = Some(proxy);
        self
    }

    /// Sets the TLV facts.
    #[must_use]
    pub fn info(mut self, info: Info) -> Self {
        self.more.info = Some(Arc::new(info));
        self
    }

    /// Adds warnings.
    #[must_use]
    pub fn warnings(mut self, warnings: &[Warning]) -> Self {
        self.peer.warnings = self.peer.warnings.union(warnings.iter().copied().collect());
        self
    }

    /// The peer.
    pub fn build(mut self) -> Peer {
        self.peer.more = Some(Box::new(self.more));
        self.peer
    }
}

fn parse(addr: &str) -> Addr {
    addr.parse()
        .unwrap_or_else(|_| panic!("{addr:?} is no ip:port, [ipv6]:port or unix"))
}
