//! Which element is the client: the walk from the right, and the other strategies (peername 6.5, 6.6).

use super::count;
use super::element::{Node, node};
use crate::addr::{Addr, Class};
use crate::peer::Strategy;
use crate::policy::HeaderPolicy;
use crate::steps::{ElementFound, ElementRule, Step, Steps};
use crate::text::escape;

/// One resolution of a list of elements (at least one).
pub(super) struct Walk<'a> {
    pub(super) header: &'a HeaderPolicy,
    pub(super) hop: Addr,
    pub(super) elements: &'a [&'a [u8]],
    pub(super) scope_check: bool,
}

/// The element that is the result.
pub(super) struct Hit {
    pub(super) index: usize,
    pub(super) all_trusted: bool,
}

/// No element can be the result.
pub(super) struct Unresolved {
    pub(super) detail: &'static str,
    /// What last_trusted falls back to: an element, or the hop.
    pub(super) keep: Option<usize>,
}

impl Walk<'_> {
    /// Whether the outermost proxy overwrites the header, so that its first element is the client.
    pub(super) fn by_edge(&self) -> bool {
        self.header.strategy == Strategy::Leftmost && self.header.edge_overwrites
    }

    pub(super) fn run(&self, steps: &mut Steps) -> Result<Hit, Unresolved> {
        if self.by_edge() {
            return self.leftmost(steps);
        }
        match self.header.strategy {
            Strategy::TrustedHops => self.trusted_hops(steps),
            _ => self.rightmost_untrusted(steps),
        }
    }

    fn rightmost_untrusted(&self, steps: &mut Steps) -> Result<Hit, Unresolved> {
        for index in (0..self.elements.len()).rev() {
            let rule = ElementRule::Walk;
            let addr = match self.node(index) {
                Node::Other(detail) => {
                    self.step(steps, rule, index, ElementFound::NoAddress(detail));
                    return Err(Unresolved {
                        detail,
                        keep: self.right_of(index),
                    });
                }
                Node::Addr { ip, .. } => Addr::new(ip, 0),
            };
            let Some(range) = self.header.trusted.contains(&addr) else {
                self.check_scope(steps, rule, index, &addr)?;
                self.step(steps, rule, index, ElementFound::Client);
                if index > 0 {
                    steps.push(Step::LeftOfClient(count(index)));
                }
                return Ok(Hit {
                    index,
                    all_trusted: false,
                });
            };
            self.step(steps, rule, index, ElementFound::Trusted(range));
        }
        if let Node::Addr { ip, .. } = self.node(0) {
            self.check_scope(steps, ElementRule::Walk, 0, &Addr::new(ip, 0))?;
        }
        Ok(Hit {
            index: 0,
            all_trusted: true,
        })
    }

    fn trusted_hops(&self, steps: &mut Steps) -> Result<Hit, Unresolved> {
        let hops = self.header.hops;
        let Some(index) = self.elements.len().checked_sub(usize::from(hops)) else {
            steps.push(Step::TooFewHops {
                hops,
                elements: count(self.elements.len()),
            });
            return Err(Unresolved {
                detail: "too_few_hops",
                keep: None,
            });
        };
        self.only(steps, ElementRule::Hops(hops), index)
    }

    fn leftmost(&self, steps: &mut Steps) -> Result<Hit, Unresolved> {
        self.only(steps, ElementRule::Leftmost, 0)
    }

    /// The element at `index` is the result or there is none.
    fn only(&self, steps: &mut Steps, rule: ElementRule, index: usize) -> Result<Hit, Unresolved> {
        match self.node(index) {
            Node::Other(detail) => {
                self.step(steps, rule, index, ElementFound::NoAddress(detail));
                Err(Unresolved { detail, keep: None })
            }
            Node::Addr { ip, .. } => {
                self.check_scope(steps, rule, index, &Addr::new(ip, 0))?;
                self.step(steps, rule, index, ElementFound::Client);
                Ok(Hit {
                    index,
                    all_trusted: false,
                })
            }
        }
    }

    /// Whether the address one step nearer may vouch for the result (peername 6.6).
    fn check_scope(
        &self,
        steps: &mut Steps,
        rule: ElementRule,
        index: usize,
        addr: &Addr,
    ) -> Result<(), Unresolved> {
        if !self.scope_check {
            return Ok(());
        }
        let nearer = if rule == ElementRule::Leftmost {
            None
        } else {
            self.right_of(index)
        };
        let asserter = match nearer.map(|i| self.node(i)) {
            None => Some(self.hop.class()),
            Some(Node::Addr { ip, .. }) => Some(Class::of(ip)),
            Some(Node::Other(_)) => None,
        };
        let class = addr.class();
        let detail = if class == Class::Loopback && asserter != Some(Class::Loopback) {
            "scope_loopback"
        } else if rule != ElementRule::Leftmost && class != Class::Public && asserter == Some(Class::Public) {
            "scope_private"
        } else {
            return Ok(());
        };
        self.step(steps, rule, index, ElementFound::Scope(detail));
        Err(Unresolved { detail, keep: nearer })
    }

    /// The element right of `index`; `None` where that is the hop.
    fn right_of(&self, index: usize) -> Option<usize> {
        Some(index + 1).filter(|i| *i < self.elements.len())
    }

    /// Parsed again each time: elements are few, and most are looked at once.
    fn node(&self, index: usize) -> Node {
        node(
            self.header.kind,
            self.elements.get(index).copied().unwrap_or_default(),
        )
    }

    fn step(&self, steps: &mut Steps, by: ElementRule, index: usize, found: ElementFound) {
        let element = escape(self.elements.get(index).copied().unwrap_or_default()).into();
        steps.push(Step::Element {
            by,
            index: count(index),
            element,
            found,
        });
    }
}
