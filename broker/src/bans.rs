//! Bans as the store keeps them: written when made, deleted when lifted or over, read back at start.
//!
//! What does not live here: what a ban meets (`auth`), who makes one (`gate`, `control`), files (`store`).

use std::sync::Arc;

use auth::bans::{Ban, Target};
use serde::{Deserialize, Serialize};

use crate::node::Node;
use crate::store::{Log, Rec};

/// The record's value; its key is the target.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    reason: String,
    by: String,
    automatic: bool,
    since: u64,
    until: Option<u64>,
}

/// The target as a text that reads back as it is.
fn key(target: &Target) -> String {
    match target {
        Target::Net(net) => net.to_string(),
        Target::Client(id) => format!("client:{id}"),
        Target::User(name) => format!("user:{name}"),
    }
}

fn value(ban: &Ban) -> Vec<u8> {
    let kept = Kept {
        reason: ban.reason.to_string(),
        by: ban.by.to_string(),
        automatic: ban.automatic,
        since: ban.since,
        until: ban.until,
    };
    // Plain texts and numbers always serialise.
    serde_json::to_vec(&kept).unwrap_or_default()
}

fn read(key: &str, value: &[u8]) -> Option<Ban> {
    let kept: Kept = serde_json::from_slice(value).ok()?;
    Some(Ban {
        target: key.parse().ok()?,
        reason: Arc::from(kept.reason),
        by: Arc::from(kept.by),
        automatic: kept.automatic,
        since: kept.since,
        until: kept.until,
    })
}

impl Node {
    /// Keeps a ban beyond this process.
    pub fn keep_ban(&self, ban: &Ban) {
        let (key, value) = (key(&ban.target), value(ban));
        self.store.append(
            Log::State,
            &[Rec::BanPut {
                key: &key,
                value: &value,
            }],
        );
    }

    /// Keeps it no longer.
    pub fn forget_ban(&self, target: &Target) {
        self.store
            .append(Log::State, &[Rec::BanDel { key: &key(target) }]);
    }

    /// Takes out the bans that have ended.
    pub fn sweep_bans(&self) {
        let now = self.clock.now();
        for target in self.gate.with_bans(|bans| bans.sweep(now)) {
            self.forget_ban(&target);
        }
    }

    /// Takes what was kept.
    pub fn restore_bans(&self, kept: &[(String, Vec<u8>)]) {
        let bans = kept.iter().filter_map(|(key, value)| {
            let ban = read(key, value);
            if ban.is_none() {
                tracing::warn!(
                    "store: the ban of {} cannot be read and is left out",
                    auth::shown(key)
                );
            }
            ban
        });
        let bans: Vec<Ban> = bans.collect();
        self.gate.with_bans(|known| known.restore(bans));
        self.sweep_bans();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ban_reads_back_as_it_was_written() {
        for what in ["10.0.0.0/8", "2001:db8::1", "client:a b\n\"c\"", "user:ops-*"] {
            let ban = Ban {
                target: what.parse().unwrap(),
                reason: "\"why\"".into(),
                by: "fail2ban".into(),
                automatic: what.starts_with("user"),
                since: 5,
                until: (what != "10.0.0.0/8").then_some(7),
            };
            assert_eq!(read(&key(&ban.target), &value(&ban)), Some(ban), "{what}");
        }
        assert_eq!(read("10.0.0.0/8", b"torn"), None);
    }
}
