//! The header stage: field lines of an upgrade request to the result (peername 6).
//! Not here: HTTP parsing (`listeners`), the PROXY stage (`proxy`).

mod collect;
mod element;
mod forwarded;
mod port;
mod walk;

use crate::addr::Addr;
use crate::code::{Code, Detail, Warning};
use crate::outcome::{Found, Reject, finish, resolve_socket};
use crate::peer::{ClaimedAddr, HeaderUse, Hop, Link, Peer, Strategy};
use crate::policy::{HeaderPolicy, Policy};
use crate::steps::{HeaderFound, PortFound, Step};
use crate::text::escape;
use collect::{Collected, Fields};
use element::Node;
use port::{PortNote, Ports};
use walk::Unresolved;

/// Who the client is, by the field lines (name, value) of its upgrade request in the order received. On a
/// listener without a header stage the lines are not looked at.
///
/// The error is a request to be refused with [`Reject::http_status`], an empty body and no reason.
pub fn resolve_headers<'a>(
    policy: &Policy,
    hop: &Hop,
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) -> Result<Peer, Reject> {
    let Some(header) = &policy.header else {
        return Ok(resolve_socket(policy, hop));
    };
    let stage = HeaderStage {
        policy,
        header,
        hop: hop.clone(),
    };
    stage.run(&Fields::of(header, fields))
}

struct HeaderStage<'p> {
    policy: &'p Policy,
    header: &'p HeaderPolicy,
    /// A copy that gathers the warnings and steps of this stage too.
    hop: Hop,
}

impl HeaderStage<'_> {
    fn run(mut self, fields: &Fields<'_>) -> Result<Peer, Reject> {
        let hop = self.hop.addr;
        let Some(range) = self.header.trusted.gate(&hop) else {
            return self.untrusted(fields);
        };
        if fields.bytes > self.header.bytes_max {
            return Err(self.refuse(HeaderFound::TooLarge, Code::HeaderTooLarge));
        }
        let elements = match collect::elements(self.header.kind, &fields.address) {
            Collected::Missing if self.header.reject_missing => {
                return Err(self.refuse(HeaderFound::MissingRejected, Code::HeaderMissing));
            }
            Collected::Missing => {
                self.header_step(HeaderFound::Missing(range));
                self.hop.warnings.insert(Warning::HeaderMissing);
                return Ok(finish(self.policy, self.hop, None, None));
            }
            Collected::Elements(elements) if elements.len() > self.header.elements_max => {
                return Err(self.refuse(HeaderFound::TooMany, Code::HeaderElements));
            }
            Collected::Elements(elements) => elements,
            Collected::NotSingle { elements, detail } => {
                self.header_step(HeaderFound::Elements(elements, range));
                return self.unresolved(&[], &Ports::none(), None, &Unresolved { detail, keep: None });
            }
        };
        self.header_step(HeaderFound::Elements(count(elements.len()), range));
        self.elements(&elements, &Ports::of(&fields.port, elements.len()))
    }

    fn untrusted(mut self, fields: &Fields<'_>) -> Result<Peer, Reject> {
        let hop = self.hop.addr;
        if !fields.present {
            self.hop.steps.push(Step::HeaderNotLookedFor);
        } else if self.header.reject_untrusted {
            return Err(self.refuse(HeaderFound::Untrusted(hop), Code::HeaderUntrusted));
        } else {
            self.header_step(HeaderFound::Ignored(hop));
            self.hop.warnings.insert(Warning::HeaderIgnored);
        }
        Ok(finish(self.policy, self.hop, None, None))
    }

    fn elements(mut self, elements: &[&[u8]], ports: &Ports<'_>) -> Result<Peer, Reject> {
        let claimed = self.claimed(elements, ports);
        let scope_check = self.policy.scope_check;
        let walk = walk::Walk {
            header: self.header,
            hop: self.hop.addr,
            elements,
            scope_check,
        };
        match walk.run(&mut self.hop.steps) {
            Ok(hit) => {
                if hit.all_trusted {
                    self.hop.warnings.insert(Warning::AllTrusted);
                }
                let passed = if walk.by_edge() {
                    elements.len()
                } else {
                    hit.index + 1
                };
                let found = self.found(elements, ports, hit.index, passed);
                Ok(finish(self.policy, self.hop, found, claimed))
            }
            Err(unresolved) => self.unresolved(elements, ports, claimed, &unresolved),
        }
    }

    /// The element at `index` as the result; `passed` is the first element right of it that counts as
    /// passed. `None` if it is no address.
    fn found(&mut self, elements: &[&[u8]], ports: &Ports<'_>, index: usize, passed: usize) -> Option<Found> {
        let node = self.node(elements.get(index)?);
        let (addr, note) = ports.addr_at(index, &node)?;
        match (note, &self.header.port_name) {
            (PortNote::Nothing, _) | (_, None) => {}
            (PortNote::Found(found), Some(name)) => {
                match found {
                    PortFound::Misaligned { .. } => self.hop.warnings.insert(Warning::PortMisaligned),
                    PortFound::Invalid(_) => self.hop.warnings.insert(Warning::PortInvalid),
                    PortFound::Value { .. } => {}
                }
                self.hop.steps.push(Step::Port {
                    name: name.clone(),
                    found,
                });
            }
        }
        if matches!(node, Node::Addr { zone: true, .. }) {
            self.hop.warnings.insert(Warning::ZoneStripped);
        }
        let right = elements.iter().enumerate().skip(passed).rev();
        let link = |(i, element): (usize, &&[u8])| {
            let addr = ports.addr_at(i, &self.node(element)).map(|(addr, _)| addr);
            addr.map_or(Link::Unreadable, Link::Addr)
        };
        let passed = right.map(link).collect();
        let HeaderPolicy { name, strategy, .. } = self.header;
        let header = HeaderUse {
            name: name.clone(),
            strategy: *strategy,
            index: count(index),
        };
        Some(Found { addr, header, passed })
    }

    /// on_unresolvable (peername 6.8).
    fn unresolved(
        mut self,
        elements: &[&[u8]],
        ports: &Ports<'_>,
        claimed: Option<ClaimedAddr>,
        unresolved: &Unresolved,
    ) -> Result<Peer, Reject> {
        if !self.header.keep_last_trusted {
            return Err(self.reject(Code::HeaderUnresolvable, Some(unresolved.detail)));
        }
        self.hop.warnings.insert(Warning::Unresolvable);
        let kept = unresolved
            .keep
            .and_then(|index| self.found(elements, ports, index, index + 1));
        self.hop.steps.push(Step::Fallback(unresolved.detail));
        Ok(finish(self.policy, self.hop, kept, claimed))
    }

    /// A left-hand value for display (peername 6.5).
    fn claimed(&mut self, elements: &[&[u8]], ports: &Ports<'_>) -> Option<ClaimedAddr> {
        let strategy = self.header.strategy;
        let is_claim = |addr: &Addr| match strategy {
            Strategy::LeftmostPublic => addr.class() == crate::addr::Class::Public,
            _ => true,
        };
        let looked_at = match strategy {
            Strategy::Leftmost if !self.header.edge_overwrites => 1,
            Strategy::LeftmostPublic => elements.len(),
            _ => 0,
        };
        let (element, addr) = elements
            .iter()
            .enumerate()
            .take(looked_at)
            .find_map(|(i, element)| {
                let (addr, _) = ports.addr_at(i, &self.node(element))?;
                is_claim(&addr).then_some((element, addr))
            })?;
        self.hop.steps.push(Step::Claimed {
            element: escape(element).into(),
            strategy,
        });
        Some(ClaimedAddr(addr))
    }

    fn node(&self, element: &[u8]) -> Node {
        element::node(self.header.kind, element)
    }

    fn header_step(&mut self, found: HeaderFound) {
        self.hop.steps.push(Step::Header {
            name: self.header.name.clone(),
            found,
        });
    }

    fn refuse(mut self, found: HeaderFound, code: Code) -> Reject {
        self.header_step(found);
        self.reject(code, None)
    }

    fn reject(self, code: Code, detail: Detail) -> Reject {
        Reject::new(code, detail, Some(self.hop.addr), self.hop.steps)
    }
}

/// Elements and values are bounded by header_max_bytes, so they fit.
fn count(n: usize) -> u16 {
    u16::try_from(n).unwrap_or(u16::MAX)
}
