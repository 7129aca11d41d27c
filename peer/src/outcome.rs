//! How a resolution ends: the result put together from what the stages found (peername 7), or a refusal.

use crate::addr::Addr;
use crate::code::{Code, Detail, Warning};
use crate::peer::{ClaimedAddr, HeaderUse, Hop, Kind, Link, More, Peer, Source, TrustedPeer};
use crate::policy::Policy;
use crate::steps::{Step, Steps};

/// A refused connection.
#[derive(Debug, Clone)]
pub struct Reject {
    code: Code,
    detail: Detail,
    hop: Option<Addr>,
    steps: Steps,
}

impl Reject {
    pub(crate) fn new(code: Code, detail: Detail, hop: Option<Addr>, steps: Steps) -> Self {
        Self {
            code,
            detail,
            hop,
            steps,
        }
    }

    pub(crate) fn at_hop(mut self, hop: Addr) -> Self {
        self.hop = Some(hop);
        self
    }

    /// Why.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The narrower reason.
    pub fn detail(&self) -> Detail {
        self.detail
    }

    /// The status of the answer if an upgrade request is refused.
    pub fn http_status(&self) -> Option<u16> {
        self.code.http_status()
    }

    /// The hop, if the PROXY stage came that far.
    pub fn hop(&self) -> Option<Addr> {
        self.hop
    }

    /// How it came to that, for `explain`.
    pub fn steps(&self) -> Vec<Step> {
        self.steps.clone().into_vec()
    }
}

/// What the header stage found, in the terms of the result.
pub(crate) struct Found {
    pub(crate) addr: Addr,
    pub(crate) header: HeaderUse,
    /// Trusted or skipped elements, nearest first.
    pub(crate) passed: Vec<Link>,
}

/// The result on a listener without a header stage (tcp, tls): the hop is the peername.
pub fn resolve_socket(policy: &Policy, hop: &Hop) -> Peer {
    finish(policy, hop.clone(), None, None)
}

/// Puts the result together: `found` if the header stage resolved further than the hop, else the hop.
/// `hop` carries the warnings and steps of both stages.
pub(crate) fn finish(policy: &Policy, hop: Hop, found: Option<Found>, claimed: Option<ClaimedAddr>) -> Peer {
    let addr = found.as_ref().map_or(hop.addr, |f| f.addr);
    let source = found.as_ref().map_or(hop.source, |_| Source::Header);
    let mut warnings = hop.warnings;
    let listed = policy.is_listed(&addr);
    let marked = [Warning::AllTrusted, Warning::Unresolvable, Warning::HeaderMissing];
    let ended_early = marked.iter().any(|w| warnings.contains(*w));
    if source != Source::Socket && listed && !ended_early {
        warnings.insert(Warning::ResultIsProxy);
    }
    let unnamed = source == Source::Socket && hop.proxy.is_some();
    let absent = source == Source::Socket && hop.absent;
    if absent {
        warnings.insert(Warning::ProxyAbsent);
    }
    let kind = if listed || ended_early || unnamed || absent {
        Kind::Proxy
    } else {
        Kind::Client
    };
    let chain = found
        .as_ref()
        .map_or_else(|| hop_chain(&hop), |f| header_chain(&hop, f));
    let (plain_steps, steps) = hop.steps.into_parts();
    let more = More {
        header: found.map(|f| f.header),
        proxy: hop.proxy,
        chain: chain.into_boxed_slice(),
        claimed,
        info: hop.info,
        steps,
    };
    Peer {
        peername: TrustedPeer(addr),
        socket: hop.socket,
        hop: hop.addr,
        kind,
        source,
        warnings,
        plain_steps,
        more: more.has_any().then(|| Box::new(more)),
    }
}

impl More {
    fn has_any(&self) -> bool {
        !(self.steps.is_empty() && self.chain.is_empty()) || self.proxy.is_some() || self.claimed.is_some()
    }
}

/// The chain of a result that is the hop.
fn hop_chain(hop: &Hop) -> Vec<Link> {
    if hop.source == Source::Socket {
        Vec::new()
    } else {
        vec![Link::Addr(hop.socket)]
    }
}

/// The chain of a result from the header: the socket, the hop unless it is the socket, then the elements.
fn header_chain(hop: &Hop, found: &Found) -> Vec<Link> {
    let mut chain = Vec::with_capacity(2 + found.passed.len());
    chain.push(Link::Addr(hop.socket));
    if hop.addr != hop.socket {
        chain.push(Link::Addr(hop.addr));
    }
    chain.extend_from_slice(&found.passed);
    chain
}
