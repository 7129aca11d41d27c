//! Messages sent at QoS 1 and 2 and not yet acknowledged, in the order of their sending.
//!
//! What does not live here: packet identifiers' choice (`packet_id.rs`), waiting messages (`queue.rs`).

use std::collections::VecDeque;

use super::queue::Queued;

/// How far the exchange has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// PUBLISH sent, PUBACK or PUBREC awaited.
    Published,
    /// PUBREL sent, PUBCOMP awaited; the message itself is the receiver's now.
    Released,
}

/// One exchange.
#[derive(Debug)]
pub struct Inflight {
    /// Its packet identifier, not 0.
    pub packet_id: u16,
    /// How far it is.
    pub stage: Stage,
    /// What was sent; `None` once released.
    pub message: Option<Queued>,
    /// Where the store has its message; 0 = nowhere.
    pub stored: u64,
    /// Whether it was sent on this connection: after a reconnect everything is sent again.
    pub sent: bool,
}

impl Inflight {
    /// As it was when the broker stopped.
    pub fn restored(packet_id: u16, stage: Stage, item: Queued) -> Self {
        let stored = item.stored;
        let message = (stage == Stage::Published).then_some(item);
        Self {
            packet_id,
            stage,
            message,
            stored,
            sent: false,
        }
    }
}

/// All exchanges of a session.
#[derive(Debug, Default)]
pub struct Window {
    list: VecDeque<Inflight>,
    unsent: usize,
}

impl Window {
    /// Number of exchanges.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// True without exchanges.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// True if the packet identifier is in use.
    pub fn contains(&self, packet_id: u16) -> bool {
        self.position(packet_id).is_some()
    }

    /// Opens an exchange.
    pub fn open(&mut self, packet_id: u16, message: Queued) {
        self.list.push_back(Inflight {
            packet_id,
            stored: message.stored,
            stage: Stage::Published,
            message: Some(message),
            sent: true,
        });
    }

    /// Puts back an exchange that was known before a restart.
    pub fn restore(&mut self, exchange: Inflight) {
        self.unsent += usize::from(!exchange.sent);
        self.list.push_back(exchange);
    }

    /// A new connection: nothing was sent on it yet.
    pub fn start_over(&mut self) {
        self.list.iter_mut().for_each(|x| x.sent = false);
        self.unsent = self.list.len();
    }

    /// Number of exchanges that this connection has not seen yet.
    pub fn unsent(&self) -> usize {
        self.unsent
    }

    /// The oldest exchange in `stage` that this connection has not seen yet; it counts as sent from now on.
    pub fn next_unsent(&mut self, stage: Stage) -> Option<&Inflight> {
        if self.unsent == 0 {
            return None;
        }
        let exchange = self.list.iter_mut().find(|x| !x.sent && x.stage == stage)?;
        exchange.sent = true;
        self.unsent -= 1;
        Some(exchange)
    }

    /// Moves an exchange on to PUBREL, which is about to be sent; its message, if it still had it.
    pub fn release(&mut self, packet_id: u16) -> Option<Queued> {
        let at = self.position(packet_id)?;
        let exchange = self.list.get_mut(at)?;
        self.unsent -= usize::from(!exchange.sent);
        exchange.sent = true;
        exchange.stage = Stage::Released;
        exchange.message.take()
    }

    /// The exchange with this packet identifier.
    pub fn get(&self, packet_id: u16) -> Option<&Inflight> {
        let at = self.position(packet_id)?;
        self.list.get(at)
    }

    /// Ends an exchange.
    pub fn close(&mut self, packet_id: u16) -> Option<Inflight> {
        let at = self.position(packet_id)?;
        let exchange = self.list.remove(at)?;
        self.unsent -= usize::from(!exchange.sent);
        Some(exchange)
    }

    /// Where the store has the message of an exchange; 0 = nowhere.
    pub fn stored(&self, packet_id: u16) -> u64 {
        self.get(packet_id).map_or(0, |exchange| exchange.stored)
    }

    /// Every exchange, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Inflight> {
        self.list.iter()
    }

    /// Number of released exchanges (`awaiting_rel` of the peer's side is another thing).
    pub fn released(&self) -> usize {
        self.list.iter().filter(|x| x.stage == Stage::Released).count()
    }

    // Acknowledgements come in the order of sending, so the search ends at once as a rule.
    fn position(&self, packet_id: u16) -> Option<usize> {
        self.list.iter().position(|x| x.packet_id == packet_id)
    }
}
