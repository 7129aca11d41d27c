//! Which sessions of a shard are kept on disk, for the other shards: whoever publishes writes a message for all
//! its receivers at once, wherever they live.
//!
//! The only thing of a shard that others look at. What does not live here: what is written (`durable.rs`).

use std::sync::{PoisonError, RwLock};

use crate::router::route::Target;
use crate::router::trie::SessionRef;

/// The kept sessions of one shard: serial and number (0 = not kept) by slot.
#[derive(Debug, Default)]
pub struct KeptSessions(RwLock<Vec<(u32, u64)>>);

impl KeptSessions {
    /// Notes the number of a session, 0 = it is not kept.
    pub fn set(&self, who: SessionRef, sid: u64) {
        let mut list = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let at = who.slot as usize;
        if list.len() <= at {
            list.resize(at + 1, (0, 0));
        }
        list[at] = (who.serial, sid);
    }

    /// The numbers of these receivers, in their order, 0 for each that is not kept; empty if none is.
    pub fn of(&self, targets: &[Target]) -> Vec<u64> {
        let list = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let sid = |target: &Target| match list.get(target.slot as usize) {
            Some(&(serial, sid)) if serial == target.serial => sid,
            _ => 0,
        };
        if targets.iter().all(|target| sid(target) == 0) {
            return Vec::new();
        }
        targets.iter().map(sid).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::route::Identifiers;

    #[test]
    fn only_the_session_with_the_same_serial_is_meant() {
        let kept = KeptSessions::default();
        let who = |slot, serial| SessionRef {
            shard: 1,
            slot,
            serial,
        };
        let to = |slot, serial| Target {
            slot,
            serial,
            options: 1,
            identifiers: Identifiers::None,
        };
        kept.set(who(2, 7), 70);
        assert_eq!(kept.of(&[to(2, 7), to(0, 1), to(9, 9)]), [70, 0, 0]);
        assert!(
            kept.of(&[to(2, 8)]).is_empty(),
            "another session in the same place"
        );
        kept.set(who(2, 7), 0);
        assert!(kept.of(&[to(2, 7)]).is_empty());
    }
}
