//! Taking out what has expired and nobody asks for: retained messages. The first shard does it, a little in
//! each turn.
//!
//! What does not live here: bans (`bans.rs`), sessions, queued messages and Wills (`timers.rs`, `session::publish_out`).

use super::Shard;

/// Between two sweeps, in ms.
const EVERY: u64 = 60_000;
/// Retained messages looked at in one turn.
const PORTION: usize = 1024;

/// How far the sweep at hand is.
#[derive(Debug, Default)]
pub struct Sweep {
    next: u64,
    after: Option<String>,
}

impl Shard {
    /// Goes on with the sweep, if one is due.
    pub(super) fn sweep(&mut self) {
        if self.index != 0 || self.now < self.sweep.next {
            return;
        }
        let after = self.sweep.after.take();
        let (next, gone) = self.node.retained.sweep(after.as_deref(), PORTION, self.now);
        for message in gone {
            self.forget_retained(message.topic());
        }
        if next.is_none() {
            self.sweep.next = self.now + EVERY;
        }
        self.sweep.after = next;
    }
}
