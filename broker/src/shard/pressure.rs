//! Back-pressure: publishers are not read while a receiver's buffer, or another shard's mailbox, is full.
//!
//! Never without a bound: a receiver that stays full for `PATIENCE` is no longer waited for until its buffer
//! is half empty, or one client that does not read could stop every publisher.

use std::time::Duration;

use super::{Shard, with};
use crate::node::Overload;
use crate::router::trie::SessionRef;

/// Bytes waiting for a connection above which its publishers wait.
pub(super) const HIGH: usize = 512 * 1024;
/// Bytes waiting below which they go on.
const LOW: usize = HIGH / 2;
/// How long a receiver may keep publishers waiting.
const PATIENCE: Duration = Duration::from_millis(100);

impl Shard {
    /// The receiver in `slot` is full: its publisher waits, if it is one that may be made to.
    pub(super) fn press(&mut self, slot: u32, publisher: Option<SessionRef>) {
        let Some(publisher) = publisher else { return };
        let Some(client) = self.at(slot) else { return };
        let receiver = client.session.me;
        let Some(conn) = client.conn.as_mut() else { return };
        if conn.lagging || conn.waiting.contains(&publisher) || conn.listener.mqtt.overload == Overload::Drop
        {
            return;
        }
        let first = conn.waiting.is_empty();
        conn.waiting.push(publisher);
        self.hold(publisher);
        if first {
            tokio::spawn(async move {
                tokio::time::sleep(PATIENCE).await;
                with(|shard| shard.lose_patience(receiver));
            });
        }
    }

    /// Makes a publisher wait for one more thing, on whatever shard it lives.
    fn hold(&mut self, publisher: SessionRef) {
        if publisher.shard != self.index {
            self.node.inboxes[usize::from(publisher.shard)].run(move |shard| shard.hold(publisher));
            return;
        }
        if let Some(conn) = self.client(publisher).and_then(|c| c.conn.as_mut()) {
            conn.waits_for += 1;
        }
    }

    /// Lets a publisher go on, if that was the last thing it waited for.
    fn release(&mut self, publisher: SessionRef) {
        if publisher.shard != self.index {
            self.node.inboxes[usize::from(publisher.shard)].run(move |shard| shard.release(publisher));
            return;
        }
        if let Some(conn) = self.client(publisher).and_then(|c| c.conn.as_mut()) {
            conn.waits_for = conn.waits_for.saturating_sub(1);
            if conn.waits_for == 0 {
                conn.wake();
            }
        }
    }

    /// Some bytes left the receiver's buffer, or all of them.
    pub(super) fn drained(&mut self, receiver: SessionRef) {
        let Some(client) = self.client(receiver) else {
            return;
        };
        let Some(conn) = client.conn.as_mut() else { return };
        if conn.out.len() > LOW {
            return;
        }
        conn.lagging = false;
        let waiting = std::mem::take(&mut conn.waiting);
        if client.session.has_waiting() {
            self.pump(receiver.slot);
        }
        for publisher in waiting {
            self.release(publisher);
        }
    }

    /// Nobody waits for this connection any more: it is gone.
    pub(super) fn release_all(&mut self, waiting: Vec<SessionRef>) {
        for publisher in waiting {
            self.release(publisher);
        }
    }

    fn lose_patience(&mut self, receiver: SessionRef) {
        let Some(conn) = self.client(receiver).and_then(|c| c.conn.as_mut()) else {
            return;
        };
        if conn.waiting.is_empty() {
            return;
        }
        conn.lagging = true;
        let waiting = std::mem::take(&mut conn.waiting);
        self.release_all(waiting);
    }

    /// A publisher that goes too fast is not read for a while.
    pub(super) fn pause(&mut self, publisher: SessionRef, time: Duration) {
        let Some(conn) = self.client(publisher).and_then(|c| c.conn.as_ref()) else {
            return;
        };
        if conn.waits_for > 0 {
            return;
        }
        self.hold(publisher);
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            with(|shard| shard.release(publisher));
        });
    }

    /// Another shard's mailbox is full: the publisher waits until that shard has worked it off.
    pub(super) fn wait_for_shard(&mut self, publisher: SessionRef, shard: usize) {
        let Some(conn) = self.client(publisher).and_then(|c| c.conn.as_mut()) else {
            return;
        };
        if conn.waits_for > 0 {
            return;
        }
        self.hold(publisher);
        let home = usize::from(self.index);
        // Runs there after everything that is in that mailbox now.
        self.node.inboxes[shard].run(move |there| {
            there.node.inboxes[home].run(move |here| here.release(publisher));
        });
    }
}
