//! The steps the resolver took, kept compactly for `explain` and the audit (peername 10).
//! Not here: how they are printed (`explain`).

use crate::addr::Addr;
use crate::code::{Code, Detail};
use crate::peer::{Command, Strategy};
use crate::trust::Range;
use std::sync::Arc;

/// One step of a resolution. Foreign text in it is escaped already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The PROXY stage is off.
    SocketOff,
    /// The socket is listed in trusted_proxies.
    SocketListed(Range),
    /// The socket is not listed.
    SocketUnlisted,
    /// `optional`, and there is no header.
    ProxyNone,
    /// The header's source is the hop.
    ProxyUsed {
        /// 1 or 2.
        version: u8,
        /// The hop.
        source: Addr,
        /// Where the client went to, by the header.
        destination: Addr,
    },
    /// LOCAL or UNKNOWN: the socket's address is kept.
    ProxyNoClient {
        /// 1 or 2.
        version: u8,
        /// Which of both.
        command: Command,
    },
    /// The header was consumed and not believed.
    ProxyIgnored {
        /// 1 or 2.
        version: u8,
        /// What it said.
        command: Command,
    },
    /// The stage ended the connection.
    ProxyEnded {
        /// Why.
        code: Code,
        /// The narrower reason.
        detail: Detail,
    },
    /// The hop is not listed and sent no header.
    HeaderNotLookedFor,
    /// The address header was looked at as a whole.
    Header {
        /// Its name as configured.
        name: Arc<str>,
        /// What was found.
        found: HeaderFound,
    },
    /// An element is kept for display.
    Claimed {
        /// The element.
        element: Box<str>,
        /// Why.
        strategy: Strategy,
    },
    /// One element was judged.
    Element {
        /// By which rule.
        by: ElementRule,
        /// Its index from 0 at the left.
        index: u16,
        /// Its text.
        element: Box<str>,
        /// The judgement.
        found: ElementFound,
    },
    /// So many elements left of the client were not looked at.
    LeftOfClient(u16),
    /// trusted_hops, and there are fewer elements than hops.
    TooFewHops {
        /// As configured.
        hops: u8,
        /// Elements there are.
        elements: u16,
    },
    /// The port header was looked at.
    Port {
        /// Its name as configured.
        name: Arc<str>,
        /// What was found.
        found: PortFound,
    },
    /// on_unresolvable = last_trusted.
    Fallback(&'static str),
}

/// What the address header as a whole is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderFound {
    /// From a hop that is not listed; ignored.
    Ignored(Addr),
    /// From a hop that is not listed; refused.
    Untrusted(Addr),
    /// Longer than header_max_bytes.
    TooLarge,
    /// Missing, and that is refused.
    MissingRejected,
    /// Missing although the hop is listed: the hop is kept.
    Missing(Range),
    /// More than header_max_elements.
    TooMany,
    /// So many elements, and the entry that lists the hop.
    Elements(u16, Range),
}

/// The rule an element was judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElementRule {
    /// The walk from the right.
    Walk,
    /// trusted_hops; the number counts from the right, from 1.
    Hops(u8),
    /// leftmost with edge_overwrites.
    Leftmost,
}

/// The judgement on an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElementFound {
    /// Listed: the walk goes on.
    Trusted(Range),
    /// This is the client.
    Client,
    /// It is no address: the class of what it is.
    NoAddress(&'static str),
    /// A scope violation: which.
    Scope(&'static str),
}

/// What the port header says about the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortFound {
    /// Value I (from 1) of N is the port.
    Value {
        /// Which value, from 1.
        number: u16,
        /// Of how many.
        of: u16,
        /// The port.
        port: u16,
    },
    /// So many values for so many addresses.
    Misaligned {
        /// Values.
        values: u16,
        /// Addresses.
        addresses: u16,
    },
    /// Value I (from 1) is no port.
    Invalid(u16),
}

/// Steps in the making. Those without content that a client takes who comes straight in are bits, so that
/// such a client needs no allocation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Steps {
    plain: u8,
    list: Vec<Step>,
}

/// In the order in which they can follow each other; the bit of each is its place.
const PLAIN: [Step; 4] = [
    Step::SocketOff,
    Step::SocketUnlisted,
    Step::ProxyNone,
    Step::HeaderNotLookedFor,
];

impl Steps {
    pub(crate) fn push(&mut self, step: Step) {
        let bit = match step {
            Step::SocketOff => 1,
            Step::SocketUnlisted => 1 << 1,
            Step::ProxyNone => 1 << 2,
            Step::HeaderNotLookedFor => 1 << 3,
            _ => 0,
        };
        if bit != 0 && self.list.is_empty() {
            self.plain |= bit;
        } else {
            self.list.push(step);
        }
    }

    /// The bits, and the steps after them.
    pub(crate) fn into_parts(self) -> (u8, Box<[Step]>) {
        (self.plain, self.list.into_boxed_slice())
    }

    /// All steps in order.
    pub(crate) fn into_vec(self) -> Vec<Step> {
        Self::plain(self.plain).chain(self.list).collect()
    }

    /// The steps that the bits stand for.
    pub(crate) fn plain(bits: u8) -> impl Iterator<Item = Step> {
        PLAIN
            .into_iter()
            .enumerate()
            .filter(move |(i, _)| bits & (1 << i) != 0)
            .map(|(_, step)| step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_steps_need_no_list_and_keep_their_order() {
        let mut steps = Steps::default();
        steps.push(Step::SocketUnlisted);
        steps.push(Step::ProxyNone);
        steps.push(Step::HeaderNotLookedFor);
        assert_eq!(steps.list.capacity(), 0);
        assert_eq!(
            steps.into_vec(),
            [Step::SocketUnlisted, Step::ProxyNone, Step::HeaderNotLookedFor]
        );
    }

    #[test]
    fn each_plain_step_has_its_bit() {
        for step in PLAIN {
            let mut steps = Steps::default();
            steps.push(step.clone());
            assert_eq!(steps.into_vec(), [step]);
        }
    }

    #[test]
    fn after_a_step_with_content_all_are_listed() {
        let mut steps = Steps::default();
        steps.push(Step::SocketListed(Range::Unix));
        steps.push(Step::ProxyNone);
        assert_eq!(
            steps.into_vec(),
            [Step::SocketListed(Range::Unix), Step::ProxyNone]
        );
    }
}
