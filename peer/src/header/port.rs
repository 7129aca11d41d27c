//! Ports from a header of their own: the value at the same index, or none (peername 6.7).

use super::element::Node;
use super::{collect, count};
use crate::addr::{self, Addr};
use crate::steps::PortFound;

/// The values of the port header beside so many elements.
pub(super) struct Ports<'a> {
    values: Vec<&'a [u8]>,
    elements: usize,
}

/// What the port header had to say about one element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PortNote {
    /// It was not asked, or has no value.
    Nothing,
    Found(PortFound),
}

impl<'a> Ports<'a> {
    pub(super) fn none() -> Self {
        Self {
            values: Vec::new(),
            elements: 0,
        }
    }

    /// Empty values at both ends are dropped: `"$http_x_forwarded_port, $remote_port"` makes one when the
    /// client sent none.
    pub(super) fn of(lines: &[&'a [u8]], elements: usize) -> Self {
        let mut values: Vec<&[u8]> = collect::values(lines).skip_while(|v| v.is_empty()).collect();
        while values.last().is_some_and(|v| v.is_empty()) {
            values.pop();
        }
        Self { values, elements }
    }

    /// The address of the element at `index`, with its own port or the one at the same index. `None` if it
    /// is no address.
    pub(super) fn addr_at(&self, index: usize, node: &Node) -> Option<(Addr, PortNote)> {
        match *node {
            Node::Other(_) => None,
            Node::Addr {
                ip, port: Some(port), ..
            } => Some((Addr::new(ip, port), PortNote::Nothing)),
            Node::Addr { ip, port: None, .. } => {
                let note = self.at(index);
                let port = match note {
                    PortNote::Found(PortFound::Value { port, .. }) => port,
                    _ => 0,
                };
                Some((Addr::new(ip, port), note))
            }
        }
    }

    fn at(&self, index: usize) -> PortNote {
        let (of, number) = (count(self.values.len()), count(index + 1));
        if self.values.is_empty() {
            return PortNote::Nothing;
        }
        if self.values.len() != self.elements {
            return PortNote::Found(PortFound::Misaligned {
                values: of,
                addresses: count(self.elements),
            });
        }
        let value = self.values.get(index).copied().unwrap_or_default();
        PortNote::Found(match addr::parse_port(value) {
            Some(port) => PortFound::Value { number, of, port },
            None if value.is_empty() => PortFound::Value { number, of, port: 0 },
            None => PortFound::Invalid(number),
        })
    }
}
